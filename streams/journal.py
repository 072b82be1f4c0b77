"""The dispatcher's journal: appended before and after each try, read once when a partition is taken over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas import contacts
from schemas.contacts import AnyEntry, Intent, Live, Planned, Result
from schemas.topics import Topics
from streams.clients import stop_producer
from streams.errors import BrokerUnavailable
from streams.log_reader import LogReader

ACK_SECONDS = 60.0
"""An idempotent producer repeats for ever; what is not acknowledged by then ends the process, which loses nothing."""


class Contact(msgspec.Struct, kw_only=True):
    """A contact that is not closed: what to send, how many tries were begun, when the next is due (ms)."""

    id: str
    partition: int
    endpoint: str
    body: bytes
    planned_at: int
    attempts: int = 0
    due_at: int = 0
    dropped: bool = False


class Memory(msgspec.Struct):
    """What the journal of one partition says. `live` is the number of the fact that said so, 0 = not live."""

    live: int = 0
    known: set[bytes] = msgspec.field(default_factory=set)
    open: dict[str, Contact] = msgspec.field(default_factory=dict)

    def learn(self, partition: int, entry: AnyEntry) -> None:
        """Take one entry in."""
        if isinstance(entry, Live):
            self.live = self.live or entry.n
        elif isinstance(entry, Planned):
            if self.add(entry.id):
                self.open[entry.id] = Contact(
                    id=entry.id,
                    partition=partition,
                    endpoint=entry.endpoint,
                    body=entry.body.encode(),
                    planned_at=entry.at,
                    due_at=entry.at,
                )
        else:
            self._learn_try(entry)

    def add(self, contact_id: str) -> bool:
        """Remember an id, whether open or closed. False: it was known."""
        key = bytes.fromhex(contact_id)
        if key in self.known:
            return False
        self.known.add(key)
        return True

    def _learn_try(self, entry: Intent | Result) -> None:
        self.add(entry.id)  # its plan may have left the journal with its retention
        if isinstance(entry, Result) and not entry.next_at:
            self.open.pop(entry.id, None)
        elif (contact := self.open.get(entry.id)) is not None:
            contact.attempts = max(contact.attempts, entry.attempt)
            # A try without a result may have been received or not: it is due again, under the same id.
            contact.due_at = entry.next_at if isinstance(entry, Result) else entry.at


class Journal(Protocol):
    """Where tries are written down. `append` returns when all is acknowledged."""

    async def append(self, partition: int, entries: Sequence[AnyEntry]) -> None:
        """Add entries of one partition, in order."""
        ...

    async def load(self, partition: int) -> Memory:
        """All that was added to a partition."""
        ...


class KafkaJournal:
    """The journal as a topic; what a fact caused stands in the fact's own partition number."""

    def __init__(self, bootstrap: str, topics: Topics, *, fail: Callable[[str], None] = lambda _: None) -> None:
        self._bootstrap, self._topic, self._fail = bootstrap, topics.contacts.name, fail
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Connect. Raises `BrokerUnavailable`."""
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap, enable_idempotence=True, acks="all", compression_type="zstd"
        )
        try:
            await asyncio.wait_for(self._producer.start(), ACK_SECONDS)
        except BaseException as error:
            await stop_producer(self._producer)
            if isinstance(error, KafkaError | OSError | TimeoutError):
                raise BrokerUnavailable(f"Kafka does not answer ({error!r})") from error
            raise

    async def stop(self) -> None:
        """Disconnect; what was acknowledged is all that counts."""
        if self._producer is not None:
            await stop_producer(self._producer)

    async def append(self, partition: int, entries: Sequence[AnyEntry]) -> None:
        """Raises `BrokerUnavailable` when they are not acknowledged in time: they may stand there or not."""
        assert self._producer is not None, "not started"
        try:
            async with asyncio.timeout(ACK_SECONDS):
                sent = [
                    await self._producer.send(
                        self._topic, contacts.encode(entry), key=entry.id.encode() or b"live", partition=partition
                    )
                    for entry in entries
                ]
                await asyncio.gather(*sent)
        except (KafkaError, OSError, TimeoutError) as error:
            raise BrokerUnavailable(f"the journal {self._topic} was not written ({error!r})") from error

    async def load(self, partition: int) -> Memory:
        """Read a partition from its first record to its end."""
        memory = Memory()
        async with LogReader(self._bootstrap, self._topic) as reader:
            first, end = await reader.bounds(partition)
            async for records in reader.read(partition, first, end):
                for record in records:
                    memory.learn(partition, contacts.decode(record.value))
        return memory
