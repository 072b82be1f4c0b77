"""Reading a partition of a topic from one offset to another, outside of the consumer group.

For what looks back: replay, audit, rebuild, the dead letters of a new owner, the commands.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from streams.clients import stop_consumer
from streams.errors import BrokerUnavailable

ANSWER_SECONDS = 30.0
POLL_MS = 500
SILENT_POLLS = 60
"""Below a log's end something comes with every poll. aiokafka goes on asking a broker that is gone and says nothing;
after so many polls in a row, which take 30 s, it is away.
"""


class LogReader:
    """Reads committed records of one topic. Use it as an async context manager."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.topic = topic
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            isolation_level="read_committed",
            auto_offset_reset="none",
            enable_auto_commit=False,
            max_partition_fetch_bytes=4 * 1024 * 1024,
            fetch_max_wait_ms=100,
        )

    async def __aenter__(self) -> Self:
        try:
            await asyncio.wait_for(self._consumer.start(), timeout=ANSWER_SECONDS)
        except BaseException as error:
            await stop_consumer(self._consumer)
            if isinstance(error, KafkaError | OSError | TimeoutError):
                raise BrokerUnavailable(f"Kafka does not answer ({error!r})") from error
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await stop_consumer(self._consumer)

    async def bounds(self, partition: int) -> tuple[int, int]:
        """The log's first offset, and its end (next to be written)."""
        at = TopicPartition(self.topic, partition)
        first = await self._answer(self._consumer.beginning_offsets([at]))
        end = await self._answer(self._consumer.end_offsets([at]))
        return first[at], end[at]

    async def all_bounds(self, partitions: Iterable[int]) -> dict[int, tuple[int, int]]:
        """The same for several partitions, in two requests."""
        places = {partition: TopicPartition(self.topic, partition) for partition in partitions}
        first = await self._answer(self._consumer.beginning_offsets(places.values()))
        end = await self._answer(self._consumer.end_offsets(places.values()))
        return {partition: (first[at], end[at]) for partition, at in places.items()}

    async def offset_at(self, partition: int, timestamp: int) -> int | None:
        """The first offset stamped at or after a time (ms); None when there is none."""
        at = TopicPartition(self.topic, partition)
        found = await self._answer(self._consumer.offsets_for_times({at: timestamp}))
        return None if found[at] is None else int(found[at].offset)

    async def read(self, partition: int, start: int, end: int) -> AsyncIterator[list[ConsumerRecord]]:
        """Records with start <= offset < end, in chunks; markers are passed in silence."""
        if start >= end:
            return
        at = TopicPartition(self.topic, partition)
        self._consumer.assign([at])
        self._consumer.seek(at, start)
        silent = 0
        while start < end:
            got = await self._answer(self._consumer.getmany(at, timeout_ms=POLL_MS, max_records=5_000))
            records = [record for record in got.get(at, []) if record.offset < end]
            if records:
                yield records
            was, start = start, await self._answer(self._consumer.position(at))
            silent = self._still(silent, moved=start > was)

    async def read_all(self, spans: Mapping[int, tuple[int, int]]) -> AsyncIterator[list[ConsumerRecord]]:
        """The same for several partitions at once: chunks of one partition each, in order within a partition."""
        ends = {TopicPartition(self.topic, p): end for p, (start, end) in spans.items() if start < end}
        self._consumer.assign(list(ends))
        for at in ends:
            self._consumer.seek(at, spans[at.partition][0])
        silent, stood = 0, sum(spans[at.partition][0] for at in ends)
        while ends:
            got = await self._answer(self._consumer.getmany(*ends, timeout_ms=POLL_MS, max_records=5_000))
            for at, records in got.items():
                if below := [record for record in records if record.offset < ends[at]]:
                    yield below
            positions = {at: await self._answer(self._consumer.position(at)) for at in ends}
            silent = self._still(silent, moved=sum(positions.values()) != stood)
            for at in [at for at, position in positions.items() if position >= ends[at]]:
                del ends[at], positions[at]
                self._consumer.pause(at)
            stood = sum(positions.values())

    def _still(self, silent: int, *, moved: bool) -> int:
        """How many polls in a row have brought nothing. Raises `BrokerUnavailable` where they are too many."""
        if moved:
            return 0
        if silent + 1 >= SILENT_POLLS:
            raise BrokerUnavailable(f"{self.topic}: nothing came for {SILENT_POLLS * POLL_MS // 1000} s")
        return silent + 1

    async def _answer(self, call: Awaitable[Any]) -> Any:
        try:
            return await asyncio.wait_for(call, timeout=ANSWER_SECONDS)
        except (KafkaError, OSError, TimeoutError) as error:
            raise BrokerUnavailable(f"{self.topic}: {error!r}") from error
