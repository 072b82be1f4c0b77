"""A log of several partitions that workers took on doubles: what looks back is compared with what they published."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

from processors.output import Failure
from processors.partition import Partition
from schemas import partition as partition_codec
from schemas.member import STATE_VERSION
from schemas.partition import PartitionState
from schemas.settings import Settings
from schemas.topics import topics
from streams.lane import Lane, Refetch
from streams.memory_store import MemoryStore
from streams.metrics import Metrics
from streams.store import Acquired, Identity
from streams.worker import Worker
from tests.crash.traffic import PROGRAMME, WORKERS, Traffic
from tests.doubles import Line, ListPublisher, ListSource, MemoryLog, StoreLink

PARTITIONS = 3


class LivedLog:
    """Every partition read in chunks by a worker of its own store; strays go on to where they belong."""

    def __init__(self, name: str, seed: int, text: str = PROGRAMME) -> None:
        self.name, self.topics = name, topics(name, partitions=PARTITIONS)
        self.identity = Identity(name, "topic-1", PARTITIONS)
        self.settings = Settings(log=name, partitions=PARTITIONS, _env_file=None)
        self.log, self.store = MemoryLog(), MemoryStore(name)
        self.traffic = Traffic(Random(seed), self.log, self.topics, text)
        self.lanes: dict[int, Lane] = {}
        link = StoreLink(self.store, Line())
        publisher = ListPublisher(self.log, Line(), self.topics, ("workers", WORKERS))
        self.worker = Worker(link, publisher, Metrics(), cache_per_lane=10_000)

    async def live(self, bursts: int, size: int, between: Callable[[int], None] = lambda burst: None) -> None:
        """So many bursts of traffic, each read to its end; `between` may do something before one."""
        for partition in range(PARTITIONS):
            await self.store.bootstrap(partition, self.identity, "life")
            got = await self.store.acquire(partition, self.identity, state_version=STATE_VERSION)
            assert isinstance(got, Acquired)
            fold = Partition(self.topics.actions.name, partition, PARTITIONS, PartitionState(), got.timers, got.buckets)
            self.lanes[partition] = Lane(fold, got)
        for burst in range(bursts):
            between(burst)
            self.traffic.burst(size)
            await self.read()

    async def read(self) -> None:
        """Everything that is there; what is forwarded meanwhile too."""
        for lane in (*self.lanes.values(), *self.lanes.values()):
            while records := self.log.read(self.topics.actions.name, lane.fold.number, lane.next_offset):
                try:
                    await self.worker.chunk(lane, records)
                except Refetch:
                    continue

    def source(self, chunk: int = 1_000) -> ListSource:
        """Its actions."""
        return ListSource(self.log, self.topics.actions.name, chunk)

    def facts(self) -> ListSource:
        """What was published."""
        return ListSource(self.log, self.topics.facts.name, 1_000)

    async def own(self, partition: int) -> PartitionState:
        """Where a partition stands."""
        header = (await self.store.headers([partition]))[partition]
        assert header is not None
        return partition_codec.decode(header.partition_state)


def deaf(it: LivedLog) -> LivedLog:
    """The same log with staff who judge no holds: they learn of them from facts, which another programme changes."""
    it.traffic._held = list  # type: ignore[method-assign]
    return it


async def nothing(partition: int) -> dict[int, Failure]:
    """No rule raised."""
    return {}


def changed(old: str, new: str) -> str:
    """The programme of the traffic with one place changed, which must be there."""
    assert len(re.findall(re.escape(old), PROGRAMME)) == 1, old
    return PROGRAMME.replace(old, new)
