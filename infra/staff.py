"""What staff write among the members' actions, signed: points given and taken back, members brought along.

Two people stand in each record. Some of it comes twice: an entry undone again, a second opening; both are refused.
"""

from __future__ import annotations

import base64
import random
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from msgspec import Raw

from infra.members import DAY_MS, Member
from infra.process import StackError
from schemas.records import SignedStaff

BROUGHT_DAYS = 400
"""How long before its opening a member joined the older programme."""


class Key(NamedTuple):
    """The key of a person at the desk, and the id by which the log knows it."""

    id: str
    private: Ed25519PrivateKey

    @classmethod
    def of(cls, path: Path) -> Key:
        """The key in a file."""
        try:
            found = load_pem_private_key(path.read_bytes(), password=None)
        except (OSError, ValueError) as error:
            raise StackError(f"no key of staff in {path} ({getattr(error, 'strerror', None) or error})") from None
        if not isinstance(found, Ed25519PrivateKey):
            raise StackError(f"{path} is not an ed25519 key")
        return cls(path.stem, found)


class Staff:
    """`share` of the records are theirs. Same seed and calls, same decisions."""

    def __init__(self, key: Key, share: float, origin: str, instant: Callable[[int], str]) -> None:
        self.key, self.share, self.origin, self.instant = key, share, origin, instant
        self.rng = random.Random(f"staff {origin}")
        self.written = 0
        self._given: deque[tuple[Member, str]] = deque(maxlen=100)
        self._brought: deque[Member] = deque(maxlen=100)

    def decide(self, member: Member, at: int) -> tuple[Member, bytes]:
        """What they decide next at `at` (ms), of this member where it is a new matter: whom it is about, the record."""
        self.written += 1
        event_id = f"staff-{self.origin}-{self.written:x}"
        member, said = self.rng.choices((self._points, self._undo, self._bring), (6, 2, 4))[0](member, event_id, at)
        body = msgspec.json.encode(
            {
                "event_id": event_id,
                "source": "staff",
                "member_id": member.id,
                "occurred_at": self.instant(at),
                "reason": "goodwill",
                "operator": "ann",
                "approved_by": "bob",
                **said,
            }
        )
        signature = base64.b64encode(self.key.private.sign(body)).decode()
        return member, msgspec.json.encode(SignedStaff(key_id=self.key.id, signature=signature, body=Raw(body)))

    def _points(self, member: Member, event_id: str, _: int) -> tuple[Member, dict[str, Any]]:
        self._given.append((member, event_id))
        points = self.rng.choice((10, 50, 200, -20))
        return member, {"action": "adjust", "kind": "points", "points": points}

    def _undo(self, member: Member, event_id: str, at: int) -> tuple[Member, dict[str, Any]]:
        if not self._given:
            return self._points(member, event_id, at)
        member, given = self.rng.choice(self._given)
        return member, {"action": "adjust", "kind": "reverse", "refers_to": given}

    def _bring(self, member: Member, _: str, at: int) -> tuple[Member, dict[str, Any]]:
        if self._brought and self.rng.random() < 0.1:
            member = self.rng.choice(self._brought)
        self._brought.append(member)
        joined = self.instant(at - BROUGHT_DAYS * DAY_MS)
        month = self.instant(at - self.rng.randrange(30, 360) * DAY_MS)[:7]
        return member, {
            "action": "opening",
            "lots": [{"month": month, "points": self.rng.randrange(1, 2_000)}],
            "debt": self.rng.choice((0, 0, 0, 30)),
            "level": "bronze",
            "level_since": joined,
            "spend": {month: self.rng.randrange(90_000)},
            "joined_at": joined,
        }
