"""What an owner does each second: ticks at the log's end, Kafka's hint, garbage, and the watchdog."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from time import monotonic

import structlog

from streams.errors import PublishFailed
from streams.lane import Lane
from streams.ownership import Ownership
from streams.publisher import Publisher
from streams.watchdog import Watchdog

log = structlog.get_logger()

TICK_SECONDS = 1.0
LOOK_SECONDS = 0.05
COLLECT_SECONDS = 30.0
"""The automatic collector is off; a worker that is never idle collects this often all the same."""


class Ticker:
    """Keeps the clocks of the owned partitions moving while nobody sends anything."""

    def __init__(self, ownership: Ownership, publisher: Publisher, *, watchdog_s: float) -> None:
        self.ownership, self.publisher = ownership, publisher
        self._watchdog = Watchdog(watchdog_s, self._ask)
        self._next_tick: dict[int, float] = {}
        self._next_collection = monotonic() + COLLECT_SECONDS

    async def run(self, stopped: Callable[[], bool]) -> None:
        """Until stopped. Raises `Stuck`."""
        next_second = monotonic()
        while not stopped():
            await self._ticks()
            if monotonic() >= next_second:
                next_second = monotonic() + TICK_SECONDS
                await self._each_second()
            await asyncio.sleep(LOOK_SECONDS)

    async def _ticks(self) -> None:
        due = [(p, lane) for p, lane in self.ownership.lanes.items() if self._is_due(p, lane)]
        errors = await asyncio.gather(*(self._tick(partition, lane) for partition, lane in due))
        failed = {p: error for (p, _), error in zip(due, errors, strict=True) if error is not None}
        if failed:
            log.warning("ticks not sent", partitions=[*failed], error=str(next(iter(failed.values()))))

    def _is_due(self, partition: int, lane: Lane) -> bool:
        """At the log's end only, and only when the last tick has come back: else a backlog becomes a storm."""
        if lane.tick_sent and not lane.tick_back:
            return False
        if not self.ownership.consumer.at_end(partition) or self.ownership.busy(partition):
            return False
        overdue = lane.fold.timers.overdue(lane.fold.state.clock) > 0 or lane.fold.state.sweep_until > 0
        return overdue or monotonic() >= self._next_tick.get(partition, 0.0)

    async def _tick(self, partition: int, lane: Lane) -> PublishFailed | None:
        self._next_tick[partition] = monotonic() + TICK_SECONDS
        lane.tick_sent, lane.tick_back = True, False
        try:
            await self.publisher.tick(partition, lane.acquired.owner, lane.fold.state.clock)
        except PublishFailed as error:
            lane.tick_sent = False
            return error
        return None

    async def _each_second(self) -> None:
        ownership = self.ownership
        offsets = {partition: lane.next_offset for partition, lane in ownership.lanes.items()}
        if offsets:
            await ownership.consumer.commit_hint(offsets)
        idle = all(ownership.consumer.at_end(partition) for partition in offsets)
        if idle or monotonic() >= self._next_collection:
            gc.collect()
            self._next_collection = monotonic() + COLLECT_SECONDS
        if self._watchdog.due():
            lagging = [partition for partition, lane in ownership.lanes.items() if self._lags(partition, lane)]
            await self._watchdog.look({partition: ownership.moved_at.get(partition) for partition in lagging})

    def _lags(self, partition: int, lane: Lane) -> bool:
        """A consumer that fetches no more knows of no lag, but our own tick stands in the log and does not come."""
        return not self.ownership.consumer.at_end(partition) or (lane.tick_sent and not lane.tick_back)

    async def _ask(self) -> None:
        """Raises with Kafka or Redis away: standing still is right then."""
        await self.ownership.store.offsets([0])
        await self.ownership.consumer.first_offset(0)
