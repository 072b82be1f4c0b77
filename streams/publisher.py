"""What a chunk says to the world, acknowledged before it is committed: derived records, dead letters, facts, buckets.

One batch in flight per topic and partition: the next is handed over after the ack of the one before, because a fresh
idempotent producer would accept batch 2 after batch 1 was refused. Any failure ends the producer; the next is fresh.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    IllegalOperation,
    KafkaError,
    MessageSizeTooLargeError,
    RecordTooLargeError,
    TopicAuthorizationFailedError,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from processors.output import Output
from processors.signature import seal
from schemas import aggregates
from schemas.records import SignedDerived, tick
from schemas.topics import Topics
from streams.clients import stop_producer
from streams.errors import PublishFailed, PublishRefused

ACK_SECONDS = 30.0
"""aiokafka's sends never time out by themselves."""

BATCH_BYTES = 4 * 1024 * 1024
"""Uncompressed; a chunk of 5,000 facts is one batch. Compressed it stays far under the topic's 8 MB."""

REFUSED = (MessageSizeTooLargeError, RecordTooLargeError, TopicAuthorizationFailedError)

Message = tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]
NO_HEADERS: list[tuple[str, bytes]] = []


class Publisher:
    """Owns the producer of one worker. `sign` is the workers' key and its id."""

    def __init__(
        self,
        bootstrap: str,
        topics: Topics,
        sign: tuple[str, Ed25519PrivateKey],
        *,
        fail: Callable[[str], None] = lambda point: None,
    ) -> None:
        self.bootstrap, self.topics, self.sign, self.fail = bootstrap, topics, sign, fail
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()

    async def publish(self, partition: int, out: Output, clock: int) -> None:
        """Everything of one chunk, each topic in order. Raises `PublishFailed`, or `PublishRefused` for good."""
        letters = [(letter.key, letter.value, letter.kafka_headers()) for letter in out.letters]
        facts = zip(out.fact_keys, out.facts, strict=True)
        buckets = ((None, aggregates.encode(bucket), NO_HEADERS) for bucket in out.buckets)
        try:
            producer = await self._ready()
            if out.forwards:
                await self._forward(producer, out, clock)
            await self._send(producer, self.topics.dead_letters.name, partition, letters, clock)
            self.fail("publish.half")
            rows = ((key, value, NO_HEADERS) for key, value in facts)
            await asyncio.gather(
                self._send(producer, self.topics.facts.name, partition, rows, clock),
                self._send(producer, self.topics.aggregates.name, partition, buckets, clock),
            )
        except REFUSED as error:
            await self.restart()
            raise PublishRefused(f"partition {partition}: {error!r}") from error
        except (KafkaError, IllegalOperation, TimeoutError, OSError) as error:
            await self.restart()
            raise PublishFailed(f"partition {partition}: {error!r}") from error

    async def tick(self, partition: int, owner: str, clock: int) -> None:
        """Append a tick. The broker stamps it; a log of history keeps the partition's clock."""
        try:
            producer = await self._ready()
            await self._send(producer, self.topics.actions.name, partition, [(None, tick(owner), NO_HEADERS)], clock)
        except (KafkaError, IllegalOperation, TimeoutError, OSError) as error:
            await self.restart()
            raise PublishFailed(f"tick for partition {partition}: {error!r}") from error

    async def restart(self) -> None:
        """Close the producer; the next publish makes a fresh one. What it held is decided again."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await stop_producer(producer)

    async def _ready(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self.bootstrap,
                    enable_idempotence=True,
                    acks="all",
                    compression_type="zstd",
                    max_batch_size=BATCH_BYTES,
                    max_request_size=2 * BATCH_BYTES,
                    request_timeout_ms=15_000,
                )
                try:
                    await asyncio.wait_for(producer.start(), timeout=ACK_SECONDS)
                except BaseException:
                    await stop_producer(producer)  # else its connection and its task stay for ever
                    raise
                self._producer = producer
            return self._producer

    async def _forward(self, producer: AIOKafkaProducer, out: Output, clock: int) -> None:
        """Derived records to their partitions, in order of cause: the receiver ignores what is not above the last."""
        by_home: dict[int, list[Message]] = {}
        key_id, private = self.sign
        for home, record in out.forwards:
            value = seal(SignedDerived, key_id, private, msgspec.json.encode(record))
            by_home.setdefault(home, []).append((record.member_id.encode(), value, NO_HEADERS))
        for home, rows in by_home.items():
            await self._send(producer, self.topics.actions.name, home, rows, clock)

    async def _send(
        self, producer: AIOKafkaProducer, topic: str, partition: int, rows: Iterable[Message], clock: int
    ) -> None:
        batch: Any = None
        for key, value, headers in rows:
            batch = batch or producer.create_batch()
            if batch.append(key=key, value=value, timestamp=clock, headers=headers) is None:
                await self._acked(producer, batch, topic, partition)
                batch = producer.create_batch()
                if batch.append(key=key, value=value, timestamp=clock, headers=headers) is None:
                    raise RecordTooLargeError(f"{topic}: a record of {len(value or b'')} bytes")
        if batch is not None:
            await self._acked(producer, batch, topic, partition)

    async def _acked(self, producer: AIOKafkaProducer, batch: Any, topic: str, partition: int) -> None:
        batch.close()
        sent = await asyncio.wait_for(producer.send_batch(batch, topic, partition=partition), timeout=ACK_SECONDS)
        await asyncio.wait_for(sent, timeout=ACK_SECONDS)
