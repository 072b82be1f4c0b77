"""Members of several partitions who tell each other things: derived records are signed, delivered, and may repeat."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from processors.member import Member
from processors.partition import Partition
from processors.partitioner import partition_of
from processors.signature import seal
from schemas import facts as fact_codec
from schemas.decoding import decode
from schemas.facts import Fact, Ledger
from schemas.member import MemberState
from schemas.partition import PartitionState
from schemas.records import Caused, Record, SignedDerived, tick
from tests.crash.traffic import WORKERS, control, first_programme, instant
from tests.processors.story import START, when

DAY = 86_400_000
PARTITIONS = 3
LOG = "town-1"


def members_of(partition: int) -> Iterator[str]:
    """Names of members of a partition."""
    return (name for n in range(10_000) if partition_of(name := f"m-{n}", PARTITIONS) == partition)


class Town:
    """All partitions of a log, given record after record; `repeats` times each derived record arrives."""

    def __init__(self, text: str, repeats: int = 1) -> None:
        self.now, self.repeats, self.number = START, repeats, 0
        self.folds = [Partition("member.actions", n, PARTITIONS, PartitionState()) for n in range(PARTITIONS)]
        self.ends = [0] * PARTITIONS
        self.facts: list[Fact] = []
        self.sent: list[tuple[int, Caused]] = []
        self.held: list[tuple[int, bytes]] = []
        self.hold = False  # derived records wait for `release`
        for partition in range(PARTITIONS):
            self._append(partition, control(first_programme(LOG, text)))

    def act(self, member: str, what: str, *, at: float | None = None, **fields: Any) -> None:
        """An action that arrives now and happened `at` days of the story, or now."""
        self.number += 1
        happened = self.now if at is None else START + round(at * DAY)
        head = {"action": what, "event_id": f"e-{self.number}", "source": "app", "member_id": member}
        action = {**head, "occurred_at": instant(happened), **fields}
        self._append(partition_of(member, PARTITIONS), msgspec.json.encode(action))

    def until(self, days: float) -> None:
        """Time passes, in every partition."""
        self.now = START + round(days * DAY)
        for partition in range(PARTITIONS):
            self._append(partition, tick())

    def release(self) -> None:
        """What was held back arrives."""
        self.hold, held, self.held = False, self.held, []
        for home, value in held:
            self._append(home, value)

    def state(self, member: str) -> MemberState:
        """A member as it is now."""
        return self.folds[partition_of(member, PARTITIONS)].members[member].state

    def of(self, member: str) -> list[Fact]:
        """Everything said of a member."""
        return [fact for fact in self.facts if fact.member_id == member]

    def lines(self, member: str, rule: str = "referral") -> list[str]:
        """The ledger of a rule in words, with the moment where it matters."""
        return [_line(fact) for fact in self.of(member) if isinstance(fact, Ledger) and fact.rule == rule]

    def _append(self, partition: int, value: bytes) -> None:
        fold, offset = self.folds[partition], self.ends[partition]
        self.ends[partition] += 1
        record = Record(offset, self.now, None, value)
        while fold.run([record], [decode(value)]) == 0:
            ordinals = {one.state.ordinal: name for name, one in fold.members.items()}
            fold.directory.update((ordinal, ordinals[ordinal]) for ordinal in fold.needs.ordinals)
            for name in fold.needs.members:
                fold.members[name] = Member(name, MemberState())
        out = fold.take()
        assert not out.letters, [letter.rejected for letter in out.letters]
        self.facts += [fact_codec.decode(fact) for fact in out.facts]
        for home, body in out.forwards:
            self.sent.append((home, body))
            sealed = seal(SignedDerived, "workers", WORKERS, msgspec.json.encode(body))
            for _ in range(self.repeats):
                if self.hold:
                    self.held.append((home, sealed))
                else:
                    self._append(home, sealed)


def _line(fact: Ledger) -> str:
    parts = {name: getattr(fact, name) for name in ("points", "active", "pending", "reversed", "debt")}
    changes = " ".join(f"{name} {change:+d}" for name, change in parts.items() if change)
    until = f" until {when(fact.pending_until)}" if fact.pending_until else ""
    return f"{fact.entry} {changes or '0'}{until}{f' {fact.reason}' if fact.reason else ''}"
