"""One worker process on doubles: what a test of its parts needs, with everything in reach."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from processors.output import Failure
from processors.partition import Partition
from schemas import partition as partition_codec
from schemas.member import STATE_VERSION
from schemas.partition import PartitionState
from schemas.records import Record
from schemas.topics import topics
from streams.lane import Lane
from streams.memory_store import MemoryStore
from streams.metrics import Metrics
from streams.ownership import Ownership
from streams.store import Acquired, Identity
from streams.worker import Worker
from tests.crash.traffic import WORKERS, control, first_programme
from tests.doubles import Line, ListConsumer, ListPublisher, MemoryLog, StoreLink

LOG = "log-1"
PARTITIONS = 3
ALL = topics(LOG, partitions=PARTITIONS)
IDENTITY = Identity(LOG, "topic-1", PARTITIONS)


class Site:
    """A log whose partitions begin with their programme, a store that knows them, and a worker on its line."""

    def __init__(self, *, fail: Callable[[str], None] = lambda point: None, cache: int = 1_000) -> None:
        self.log, self.shared, self.line = MemoryLog(), MemoryStore(LOG), Line()
        self.metrics = Metrics()
        self.store = StoreLink(self.shared, self.line)
        self.publisher = ListPublisher(self.log, self.line, ALL, ("workers", WORKERS), fail=fail)
        self.worker = Worker(self.store, self.publisher, self.metrics, cache_per_lane=cache, fail=fail)
        self.consumer = ListConsumer(self.log, ALL.actions.name)
        self.errors: list[BaseException] = []
        self.failures: dict[int, Failure] = {}
        self.ownership = Ownership(
            self.worker, self.store, IDENTITY, ALL.actions.name, self.consumer, self._failures, crash=self.errors.append
        )
        for partition in range(PARTITIONS):
            self.add(control(first_programme(LOG)), partition)

    async def _failures(self, partition: int, clock: int) -> dict[int, Failure]:
        return dict(self.failures)

    def add(self, value: bytes | None, partition: int = 0) -> int:
        """One more record of the log."""
        return self.log.append(ALL.actions.name, partition, value)

    def records(self, start: int = 0, end: int | None = None, partition: int = 0) -> list[Record]:
        """The log from an offset on."""
        return self.log.read(ALL.actions.name, partition, start, end)

    async def bootstrap(self) -> None:
        """Every partition may be acquired."""
        for partition in range(PARTITIONS):
            await self.shared.bootstrap(partition, IDENTITY, f"life-{partition}")

    async def lane(self, partition: int = 0) -> Lane:
        """A partition acquired, without an ownership around it."""
        got = await self.shared.acquire(partition, IDENTITY, state_version=STATE_VERSION)
        assert isinstance(got, Acquired)
        raw = got.partition_state
        state = partition_codec.decode(raw) if raw else PartitionState()
        return Lane(Partition(ALL.actions.name, partition, PARTITIONS, state, got.timers, got.buckets), got)

    def facts(self, partition: int = 0) -> list[bytes]:
        """What the facts topic holds."""
        return [record.value or b"" for record in self.log.read(ALL.facts.name, partition)]

    async def offset(self, partition: int = 0) -> int | None:
        """Where the store stands."""
        return (await self.shared.offsets([partition]))[partition]

    def hand_out(self) -> int:
        """Give every open partition its next chunk; how many records that were."""
        given = 0
        for partition in list(self.consumer.given):
            chunk = self.consumer.next_chunk(partition)
            if chunk:
                self.ownership.on_chunk(partition, chunk)
            given += len(chunk)
        return given

    async def until(self, check: Callable[[], Any], seconds: float = 60.0) -> None:
        """Hand out chunks until the check holds; the loop's time costs nothing."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not check():
            assert asyncio.get_running_loop().time() < deadline, (self.ownership.halted, self.errors)
            self.hand_out()
            await asyncio.sleep(0.05)

    def dropped(self, cause: str) -> float:
        """Chunks dropped for a cause."""
        return float(self.metrics["memberflow_chunks_dropped"].labels(cause)._value.get())
