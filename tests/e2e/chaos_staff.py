"""Two of staff at work during the chaos: points, entries undone, holds judged, members brought along; some twice."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from random import Random
from typing import Any

import msgspec

from processors.partitioner import partition_of
from processors.signature import seal
from schemas import facts as fact_codec
from schemas.facts import PointsHeld
from schemas.records import SignedStaff
from streams.errors import BrokerUnavailable
from streams.keys import Key
from streams.log_reader import LogReader

LOOK_SECONDS = 2.0
BROUGHT = {
    "action": "opening",
    "lots": [{"month": "2026-05", "points": 700}, {"month": "2026-09", "points": 300}],
    "debt": 20,
    "level": "silver",
    "level_since": "2026-06-01T00:00:00Z",
    "spend": {"2026-08": 12_000},
    "joined_at": "2025-06-01T00:00:00Z",
    "last_purchase_at": "2026-08-05T00:00:00Z",
}


class Staff:
    """What they write. Holds they learn of from the facts, as they would from ClickHouse."""

    def __init__(
        self, bootstrap: str, facts: str, partitions: int, key: Key, rnd: Random, now: Callable[[], float]
    ) -> None:
        self.bootstrap, self.facts, self.partitions = bootstrap, facts, partitions
        self.key, self.rnd, self.now = key, rnd, now
        self.held: deque[tuple[str, str]] = deque(maxlen=200)  # member, hold
        self.given: deque[tuple[str, str, dict[str, Any]]] = deque(maxlen=50)  # member, event_id, what
        self.numbers = 0

    async def listen(self) -> None:
        """Read on in the facts, every few seconds, until cancelled; a broker that is away is asked again."""
        at = dict.fromkeys(range(self.partitions), 0)
        while True:
            with suppress(BrokerUnavailable):
                await self._read(at)
            await asyncio.sleep(LOOK_SECONDS)

    async def _read(self, at: dict[int, int]) -> None:
        async with LogReader(self.bootstrap, self.facts) as reader:
            ends = {partition: end for partition, (_, end) in (await reader.all_bounds(at)).items()}
            spans = {partition: (start, ends[partition]) for partition, start in at.items()}
            async for records in reader.read_all(spans):
                for record in records:
                    if b'"points.held"' in record.value:
                        fact = fact_codec.decode(record.value)
                        assert isinstance(fact, PointsHeld)
                        self.held.append((fact.member_id, fact.hold_id))
                at[records[0].partition] = records[-1].offset + 1

    def record(self, member: str) -> tuple[int, bytes, bytes]:
        """Partition, key and value of what they decide next, of this member where they may choose."""
        self.numbers += 1
        made = (self._points, self._judged, self._reversed, self._brought)
        member, said = self.rnd.choices(made, (4, 3, 2, 3))[0](member)
        head = {
            "event_id": f"s-{self.numbers}",
            "source": "staff",
            "member_id": member,
            "occurred_at": datetime.fromtimestamp(self.now(), UTC).isoformat(),
            "reason": "chaos",
            "operator": "ana",
            "approved_by": "ben",
        }
        value = seal(SignedStaff, *self.key, msgspec.json.encode(head | said))
        return partition_of(member, self.partitions), member.encode(), value

    def _points(self, member: str) -> tuple[str, dict[str, Any]]:
        """A row of a batch; one that was booked comes again under another id."""
        if self.given and self.rnd.random() < 0.1:
            member, _, said = self.rnd.choice(self.given)
            return member, said
        points = self.rnd.choice((5, 200, -30))
        said = {"action": "adjust", "kind": "points", "points": points, "batch_id": "chaos", "row": self.numbers}
        self.given.append((member, f"s-{self.numbers}", said))
        return member, said

    def _judged(self, member: str) -> tuple[str, dict[str, Any]]:
        """A hold that may have ended since: half of them are looked at again."""
        if not self.held:
            return self._points(member)
        at = self.rnd.randrange(len(self.held))
        member, hold = self.held[at]
        if self.rnd.random() < 0.5:
            del self.held[at]
        return member, {"action": "adjust", "kind": self.rnd.choice(("release", "reverse")), "hold_id": hold}

    def _reversed(self, member: str) -> tuple[str, dict[str, Any]]:
        if not self.given:
            return self._points(member)
        member, event_id, _ = self.rnd.choice(self.given)
        return member, {"action": "adjust", "kind": "reverse", "refers_to": event_id}

    def _brought(self, member: str) -> tuple[str, dict[str, Any]]:
        return member, BROUGHT
