"""A log's fact topics with a sink on them: what the sink's tests share."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer

from schemas.topics import topics
from streams.analytics import AnalyticsStore, Block, Params, Probe, Row
from streams.errors import AnalyticsUnavailable
from streams.landing import Source
from streams.sink import Sink
from streams.topics import admin, apply

PARTITIONS = 3
_NUMBERS = itertools.count(1)


class Counters:
    """The sink's metrics as plain numbers."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self.failures = 0
        self.repeats = 0
        self.stopped = 0
        self.behind: dict[int, int] = {}
        self.since: dict[int, int] = {}  # the stamp of what waits, where something does

    def rows_inserted(self, table: str, rows: int, seconds: float) -> None:
        assert seconds >= 0
        self.rows[table] = self.rows.get(table, 0) + rows

    def insert_failed(self) -> None:
        self.failures += 1

    def repeats_dropped(self, count: int) -> None:
        self.repeats += count

    def stopped_partitions(self, count: int) -> None:
        self.stopped = count

    def stored(self, partition: int, timestamp_ms: int, behind: int) -> None:
        assert timestamp_ms > 0
        self.behind[partition] = behind
        self.since.pop(partition, None)

    def waiting(self, partition: int, since_ms: int, behind: int) -> None:
        assert since_ms > 0
        self.behind[partition], self.since[partition] = behind, since_ms

    def let_go(self) -> None:
        self.behind.clear()
        self.since.clear()
        self.stopped = 0


class Flaky:
    """A store whose inserts fail as told, before or after the rows are in: the outcome is unknown to the sink."""

    def __init__(self, store: AnalyticsStore, *, fail_before: int = 0, fail_after: int = 0) -> None:
        self._store = store
        self.fail_before, self.fail_after = fail_before, fail_after

    def insert(self, block: Block) -> None:
        if self.fail_before > 0:
            self.fail_before -= 1
            raise AnalyticsUnavailable("told to fail")
        self._store.insert(block)
        if self.fail_after > 0:
            self.fail_after -= 1
            raise AnalyticsUnavailable("told to lose the answer")

    def query(self, sql: str, params: Params | None = None) -> list[Row]:
        return self._store.query(sql, params)

    def probe(self) -> Probe:
        return self._store.probe()

    def command(self, sql: str) -> None:
        self._store.command(sql)

    def migration_connection(self) -> object:
        return self._store.migration_connection()

    def close(self) -> None:
        self._store.close()


def new_log(bootstrap: str) -> Source:
    """A log that nobody has used, with its topics."""
    name = f"sink-test-{os.getpid()}-{next(_NUMBERS)}"
    with admin(bootstrap) as client:
        apply(client, topics(name, partitions=PARTITIONS).all())
    return Source(name, bootstrap)


async def publish(source: Source, facts: Mapping[int, Sequence[bytes]], totals: Mapping[int, Sequence[bytes]]) -> None:
    """Puts facts and aggregates into their topics, by partition and in order."""
    names = topics(source.log)
    async with AIOKafkaProducer(bootstrap_servers=source.bootstrap, acks="all", enable_idempotence=True) as producer:
        sent = [
            await producer.send(topic, message, partition=partition)
            for topic, messages in ((names.facts.name, facts), (names.aggregates.name, totals))
            for partition, mine in messages.items()
            for message in mine
        ]
        await asyncio.gather(*sent)


async def until(check: Callable[[], bool], *, within_s: float = 20.0) -> None:
    """Waits for what comes by itself; fails at the deadline."""
    deadline = time.monotonic() + within_s
    while not check():
        assert time.monotonic() < deadline, "it did not come in time"
        await asyncio.sleep(0.02)


@asynccontextmanager
async def running(sink: Sink) -> AsyncIterator[asyncio.Task[None]]:
    """The sink at work; stopped politely at the end, and what ended it is raised."""
    task = asyncio.create_task(sink.run())
    try:
        yield task
    finally:
        sink.stop()
        await asyncio.wait_for(task, 30)
