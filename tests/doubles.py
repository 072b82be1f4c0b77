"""Kafka without Kafka, and time without waiting: a log in memory, a producer and a consumer on it, a loop that jumps.

Only the world is doubled. Worker, Lane, Ownership, Publisher and MemoryStore run on these as they are; a `Line` is all
that one process has to the world, so cutting, freezing or breaking it is what happens to a process.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple

from aiokafka.errors import KafkaError, KafkaTimeoutError, MessageSizeTooLargeError
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.records import Record
from schemas.topics import Topics
from streams.errors import StoreUnavailable
from streams.memory_store import MemoryStore
from streams.ownership import Consumer
from streams.publisher import Publisher
from streams.store import Acquired, Answer, Commit, Identity, Refused


class Died(BaseException):
    """The process was killed here; no `except Exception` of ours may notice."""


# -- time ---------------------------------------------------------------------------------------------------------


class _Instant(selectors.DefaultSelector):
    """Waits for nothing: when a loop has nothing to do, its clock jumps to what comes next."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise RuntimeError("everybody waits for somebody: nothing will ever happen again")
        self.now += max(0.0, timeout)
        return super().select(0)


class InstantLoop(asyncio.SelectorEventLoop):
    """An event loop whose seconds cost nothing; the order of events depends on the code alone."""

    def __init__(self) -> None:
        self._instant = _Instant()
        super().__init__(self._instant)
        self.set_exception_handler(lambda loop, context: None)  # who died leaves futures nobody asks for

    def time(self) -> float:
        """Seconds since the loop began."""
        return self._instant.now


def instantly(main: Awaitable[None]) -> None:
    """Run until `main` ends, without waiting for anything."""

    async def run() -> None:
        await main

    with asyncio.Runner(loop_factory=InstantLoop) as runner:
        runner.run(run())


# -- the broker ---------------------------------------------------------------------------------------------------


class MemoryLog:
    """Topics of partitions of records, stamped by a clock that the test moves. A slot without record is a marker."""

    def __init__(self, now: int = 1_772_380_800_000) -> None:
        self.now = now
        self._slots: dict[tuple[str, int], list[Record | None]] = {}

    def append(
        self,
        topic: str,
        partition: int,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Iterable[tuple[str, bytes]] = (),
    ) -> int:
        """One more record; returns its offset."""
        slots = self._slots.setdefault((topic, partition), [])
        slots.append(Record(len(slots), self.now, key, value, tuple(headers)))
        return len(slots) - 1

    def mark(self, topic: str, partition: int, count: int = 1) -> None:
        """Offsets that no consumer is given: a transaction's marker, what was aborted."""
        self._slots.setdefault((topic, partition), []).extend([None] * count)

    def end(self, topic: str, partition: int) -> int:
        """Next to be written."""
        return len(self._slots.get((topic, partition), ()))

    def read(self, topic: str, partition: int, start: int = 0, end: int | None = None) -> list[Record]:
        """What a consumer is given of start <= offset < end."""
        found = self._slots.get((topic, partition), [])[start:end]
        return [record for record in found if record is not None]


class ListSource:
    """What a log is read through, chunks of one size at a time."""

    def __init__(self, log: MemoryLog, topic: str, chunk: int) -> None:
        self.log, self.topic, self.chunk = log, topic, chunk

    async def bounds(self, partition: int) -> tuple[int, int]:
        """From the first record on."""
        return 0, self.log.end(self.topic, partition)

    async def offset_at(self, partition: int, timestamp: int) -> int | None:
        """The first offset stamped at or after a time."""
        records = self.log.read(self.topic, partition)
        return next((record.offset for record in records if record.timestamp >= timestamp), None)

    async def read(self, partition: int, start: int, end: int) -> AsyncIterator[list[Record]]:
        """The records of start <= offset < end."""
        records = self.log.read(self.topic, partition, start, end)
        for at in range(0, len(records), self.chunk):
            yield records[at : at + self.chunk]


class Line:
    """What one process has to the world. A test subclasses `fate` and `delay`, closes `open`, or sets `cut`."""

    def __init__(self) -> None:
        self.cut = False
        self.open = asyncio.Event()
        self.open.set()

    def fate(self, call: str) -> str:
        """What becomes of a call: `ok`, `lost` on its way, `unanswered` though it arrived, `refused` for good."""
        return "ok"

    def delay(self) -> float:
        """Seconds that a call takes."""
        return 0.001

    def alive(self) -> None:
        """Raises `Died` where the process is gone."""
        if self.cut:
            raise Died

    async def turn(self, call: str) -> str:
        """The way to the world: takes time, stands still while frozen, never ends for the dead. Returns the fate."""
        self.alive()
        await asyncio.sleep(self.delay())
        await self.open.wait()
        self.alive()
        return self.fate(call)


class Batch:
    """Rows on their way; full at `most` rows."""

    def __init__(self, most: int) -> None:
        self.most, self.rows = most, list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]]()

    def append(self, *, key: bytes | None, value: bytes | None, timestamp: int, headers: Any) -> object | None:
        """None when there is no room."""
        if len(self.rows) >= self.most:
            return None
        self.rows.append((key, value, headers))
        return self

    def close(self) -> None:
        """Nothing more will be appended."""


class ListProducer:
    """A producer on a `MemoryLog`, with the calls of aiokafka's that we use."""

    def __init__(self, log: MemoryLog, line: Line, most: int = 1_000) -> None:
        self.log, self.line, self.most = log, line, most
        self.stopped = False

    def create_batch(self) -> Batch:
        """An empty batch."""
        return Batch(self.most)

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> Awaitable[None]:
        """A batch is in the log whole or not at all; its ack is awaited apart."""
        fate = await self.line.turn(f"send {topic}")
        if self.stopped:
            raise KafkaError("the producer was closed")
        if fate in ("ok", "unanswered"):
            for key, value, headers in batch.rows:
                self.log.append(topic, partition, value, key=key, headers=headers or ())
        return self._ack(fate)

    async def _ack(self, fate: str) -> None:
        await self.line.turn("ack")
        if fate == "refused":
            raise MessageSizeTooLargeError
        if fate != "ok":
            raise KafkaTimeoutError(fate)

    async def stop(self) -> None:
        """Take nothing more."""
        self.stopped = True


class ListPublisher(Publisher):
    """The publisher with a producer in memory; counts the producers it used up."""

    def __init__(
        self,
        log: MemoryLog,
        line: Line,
        topics: Topics,
        sign: tuple[str, Ed25519PrivateKey],
        *,
        fail: Callable[[str], None] = lambda point: None,
        most: int = 1_000,
    ) -> None:
        super().__init__("", topics, sign, fail=fail)
        self.log, self.line, self.most = log, line, most
        self.producers = 0

    async def _ready(self) -> Any:
        if self._producer is None:
            self._producer = ListProducer(self.log, self.line, self.most)
            self.producers += 1
        return self._producer


# -- the group ----------------------------------------------------------------------------------------------------


class Given(NamedTuple):
    """Where a partition is read, and whether a chunk of it is out."""

    position: int
    busy: bool


class ListConsumer(Consumer):
    """Hands out chunks of a topic of a `MemoryLog`, of at most `sizes()` records. `member`: of the group or not."""

    def __init__(self, log: MemoryLog, topic: str, sizes: Callable[[], int] = lambda: 5_000) -> None:
        self.log, self.topic, self.sizes = log, topic, sizes
        self.member = True
        self.given: dict[int, Given] = {}
        self.hints: dict[int, int] = {}
        self.starts: dict[int, int] = {}

    def open(self, partition: int, offset: int) -> None:
        """Fetch an acquired partition from an offset."""
        self.given[partition] = Given(offset, busy=False)

    def release(self, partition: int) -> None:
        """Let the next chunk come."""
        if partition in self.given:
            self.given[partition] = self.given[partition]._replace(busy=False)

    def shut(self, partitions: Sequence[int]) -> None:
        """Fetch no more of these."""
        for partition in partitions:
            self.given.pop(partition, None)

    def next_chunk(self, partition: int) -> list[Record]:
        """What a fetch gives now; the position moves on, also over markers at the log's end."""
        given = self.given.get(partition)
        if given is None or given.busy:
            return []
        records = self.log.read(self.topic, partition, given.position)[: self.sizes()]
        if records:
            self.given[partition] = Given(records[-1].offset + 1, busy=True)
        elif given.position < self.log.end(self.topic, partition):
            self.given[partition] = Given(self.log.end(self.topic, partition), busy=False)
        return records

    async def first_offset(self, partition: int) -> int:
        """Where the log begins."""
        return self.starts.get(partition, 0)

    async def commit_hint(self, offsets: dict[int, int]) -> bool:
        """Taken from members of the group alone."""
        if self.member:
            self.hints.update(offsets)
        return self.member

    def at_end(self, partition: int) -> bool:
        """Whether everything the log has was handed over."""
        given = self.given.get(partition)
        return given is not None and given.position >= self.log.end(self.topic, partition)

    def end_offset(self, partition: int) -> int | None:
        """The log's end."""
        return self.log.end(self.topic, partition)


class StoreLink(MemoryStore):
    """One process' way to a store in memory that several share."""

    def __init__(self, shared: MemoryStore, line: Line) -> None:
        super().__init__(shared.log, token=shared._token)
        self._partitions, self._halted, self._spoiled = shared._partitions, shared._halted, shared._spoiled
        self.line = line

    async def _sent(self, call: str) -> bool:
        """Whether the answer will come back. Raises where the request did not arrive."""
        fate = await self.line.turn(call)
        if fate == "lost":
            raise StoreUnavailable(f"{call} did not arrive")
        return fate == "ok"

    async def acquire(self, partition: int, identity: Identity, *, state_version: int) -> Acquired | Refused:
        """Own the partition, perhaps without learning it."""
        answered = await self._sent("acquire")
        got = await super().acquire(partition, identity, state_version=state_version)
        if not answered:
            raise StoreUnavailable("acquire was not answered")
        return got

    async def load(self, partition: int, members: Sequence[str]) -> list[bytes | None]:
        """States in the order asked."""
        await self._sent("load")
        return await super().load(partition, members)

    async def load_pages(self, partition: int, fields: Sequence[str]) -> list[bytes | None]:
        """Pages in the order asked."""
        await self._sent("load")
        return await super().load_pages(partition, fields)

    async def commit(self, commit: Commit) -> tuple[Answer, str]:
        """Everything or nothing, perhaps without learning it."""
        answered = await self._sent("commit")
        answer = await super().commit(commit)
        if not answered:
            raise StoreUnavailable("commit was not answered")
        return answer

    async def ask(self, partition: int, incarnation: str, owner: str, offset: int) -> tuple[Answer, str]:
        """What a commit would be answered now."""
        if not await self._sent("ask"):
            raise StoreUnavailable("ask was not answered")
        return await super().ask(partition, incarnation, owner, offset)

    async def halt(self, partition: int, reason: str) -> None:
        """Refuse the partition to every owner."""
        await self._sent("halt")
        await super().halt(partition, reason)
