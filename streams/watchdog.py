"""Ends a process whose consumer reads no more: after a broker's restart aiokafka may never rejoin its group (#1154).

Shared by the worker, whose lag its own consumer tells, and by sink and dispatcher, who look at their group from the
outside: a consumer that reads no more does not notice what it misses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterable, Mapping
from time import monotonic
from typing import Any

from aiokafka.structs import TopicPartition

from streams.errors import MemberflowError, Stuck
from streams.log_reader import LogReader
from streams.sequence import decode
from streams.sink_start import committed

WATCHDOG_SECONDS = 60.0
"""Longer than any rebalance, backoff or restart of a part takes; a reader of facts is late by that much at most."""

LOOK_SECONDS = 10.0
"""Between looks at most; a look from the outside opens a client per topic and one more."""

ANSWER_SECONDS = 5.0
NOT_OURS = "the group"


class Watchdog:
    """Tells when what has lag has not moved for `patience_s` although every other part answered all the while."""

    def __init__(self, patience_s: float, ask: Callable[[], Awaitable[object]]) -> None:
        """`ask` raises where another part does not answer: standing still is right then."""
        self.patience_s, self._ask = patience_s, ask
        self._seen: dict[Hashable, tuple[object, float]] = {}
        self._next_look = 0.0

    async def look(self, places: Mapping[Any, object]) -> None:
        """`places`: how far each partition has come that has lag and is not halted. Raises `Stuck`."""
        now = monotonic()
        still = {
            key: self._seen[key] for key, place in places.items() if key in self._seen and self._seen[key][0] == place
        }
        self._seen = {key: (place, now) for key, place in places.items()} | still
        if still and not await self._others_answer():
            self._seen.clear()  # patience begins when they are back
            return
        stuck = sorted(str(key) for key, (_, since) in still.items() if now - since > self.patience_s)
        if stuck:
            raise Stuck(f"partitions {', '.join(stuck)} have lag and have not moved for {self.patience_s:.0f} s")

    def due(self) -> bool:
        """For who comes by more often than a look is worth."""
        if monotonic() < self._next_look:
            return False
        self._next_look = monotonic() + min(LOOK_SECONDS, self.patience_s / 6)
        return True

    async def _others_answer(self) -> bool:
        try:
            await asyncio.wait_for(self._ask(), ANSWER_SECONDS)
        except Exception:  # noqa: BLE001 - whatever it is, somebody else does not answer
            return False
        return True


class GroupWatch:
    """A watchdog over one member of a consumer group, with clients of its own."""

    def __init__(
        self,
        bootstrap: str,
        group: str,
        topics: Collection[str],
        watchdog: Watchdog,
        *,
        partitions: Callable[[], Iterable[int]],
        mine: Callable[[], Mapping[TopicPartition, bool]],
    ) -> None:
        """`mine`: the partitions this member was given, and whether each may stand still, as a halted one does.

        Only records are counted on: a topic that ends with a foreign transaction's marker would look like lag.
        """
        self._bootstrap, self._group, self._topics = bootstrap, group, topics
        self._watchdog, self._partitions, self._mine = watchdog, partitions, mine

    async def run(self) -> None:
        """For ever. Raises `Stuck`."""
        while True:
            await asyncio.sleep(min(LOOK_SECONDS, self._watchdog.patience_s / 6))
            try:
                places = await asyncio.wait_for(self._places([*self._partitions()]), 2 * ANSWER_SECONDS)
            except (MemberflowError, TimeoutError):
                places = {}  # Kafka does not answer: patience begins when it is back
            await self._watchdog.look(places)

    async def _places(self, partitions: list[int]) -> dict[object, object]:
        known = await committed(self._bootstrap, self._group)
        ends: dict[TopicPartition, tuple[int, int]] = {}
        for topic in self._topics:
            async with LogReader(self._bootstrap, topic) as reader:
                for partition, bounds in (await reader.all_bounds(partitions)).items():
                    ends[TopicPartition(topic, partition)] = bounds
        return lagging(known, ends, self._mine())


def lagging(
    known: Mapping[TopicPartition, Any],
    ends: Mapping[TopicPartition, tuple[int, int]],
    mine: Mapping[TopicPartition, bool],
) -> dict[object, object]:
    """How far each partition has come that has lag, as the group's commits say.

    A member that was given nothing answers for the group as a whole, which stands still only when nobody reads at all:
    members in excess are not stuck while others work.
    """
    at = {it: known[it].offset if it in known else first for it, (first, _) in ends.items()}
    behind = {it for it, (_, end) in ends.items() if at[it] < end}
    if mine:
        return {f"{it.topic}/{it.partition}": at[it] for it in behind if it in mine and not mine[it]}
    waiting = [it for it in behind if it not in known or not decode(known[it].metadata).gap]
    return {NOT_OURS: tuple(sorted(at.items()))} if waiting else {}
