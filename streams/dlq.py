"""Dead letters as a person meets them: listed, shown whole, and appended to the log again after the cure.

A letter is named by where it stands in the dead-letter topic, `P:OFFSET`. Replayed, it is a new record at the log's end
with the original bytes; its old offset stays refused for ever.
"""

from __future__ import annotations

import asyncio
import heapq
import re
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.errors import KafkaError

from processors.partitioner import partition_of
from schemas.actions import Action
from schemas.dead_letters import read_headers
from schemas.decoding import decode
from schemas.records import FRAME
from schemas.settings import Settings
from schemas.topics import topics
from schemas.verdicts import Reason, Rejected
from streams.clients import stop_producer
from streams.errors import BrokerUnavailable, UsageError
from streams.log_reader import LogReader

ANSWER_S = 30.0
FIRST_OWN = "__streams.errors.exception"
"""The first header that the worker adds; what stands before its last occurrence came with the record."""

Headers = Sequence[tuple[str, bytes]]


class Letter(NamedTuple):
    """One dead letter: where it stands, what was refused, and why."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    rejected: Rejected
    origin: int
    """The offset in `member.actions`, in the partition of the same number."""

    @property
    def name(self) -> str:
        """`P:OFFSET`."""
        return f"{self.partition}:{self.offset}"

    @property
    def header(self) -> dict[str, str]:
        """The headers as text; of two with one name the later."""
        return {name: (content or b"").decode(errors="replace") for name, content in self.headers}

    @property
    def original_headers(self) -> list[tuple[str, bytes]]:
        """What came with the record before it was refused."""
        own = max(at for at, (name, _) in enumerate(self.headers) if name == FIRST_OWN)
        return list(self.headers[:own])

    def why_not_replayed(self) -> str:
        """Why the original bytes cannot be appended again, or ""."""
        if "blanked" in {name for name, _ in self.headers[len(self.original_headers) :]}:
            return "it was blanked: personal values are gone, ask the sender to send it without them"
        if self.value is None:
            return "it has no value"
        if re.fullmatch(rb"sha256:[0-9a-f]{64}", self.value):
            return "only a hash was kept: it was too big"
        return ""

    def as_json(self) -> dict[str, Any]:
        """For a machine."""
        return {
            "letter": self.name,
            "timestamp": self.timestamp,
            "origin": f"{self.partition}:{self.origin}",
            "reason": self.rejected.reason.value,
            "pointer": self.rejected.pointer,
            "detail": self.rejected.detail,
            "source": self.rejected.source,
            "key": None if self.key is None else self.key.decode(errors="replace"),
            "value": None if self.value is None else self.value.decode(errors="replace"),
        }


def letter_of(record: ConsumerRecord) -> Letter | None:
    """A record of the dead-letter topic; None for what no worker of this release has written."""
    headers = [(name, content or b"") for name, content in record.headers]
    try:
        rejected, _, _, origin = read_headers(tuple(headers))
    except (KeyError, ValueError):
        return None
    return Letter(
        record.partition, record.offset, record.timestamp, record.key, record.value, headers, rejected, origin
    )


class DeadLetters:
    """The dead letters of one log. Use it as an async context manager."""

    def __init__(self, settings: Settings) -> None:
        self.topics = topics(settings.log, partitions=settings.partitions)
        self.partitions = settings.partitions
        self._bootstrap = settings.kafka.bootstrap
        self._reader = LogReader(self._bootstrap, self.topics.dead_letters.name)

    async def __aenter__(self) -> DeadLetters:
        await self._reader.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._reader.__aexit__(*error)

    async def count(self) -> int:
        """How many there are."""
        return sum(end - first for first, end in (await self._reader.all_bounds(range(self.partitions))).values())

    async def all(self, reason: Reason | None = None, last: int | None = None) -> AsyncIterator[Letter]:
        """Each partition's letters in order; with `last`, of each partition at most so many of the newest.

        A refused record is one letter, however often it was decided again after a rebuild or a crash.
        """
        bounds = await self._reader.all_bounds(range(self.partitions))
        spans = {p: (first if last is None else max(first, end - last), end) for p, (first, end) in bounds.items()}
        seen = set[tuple[int, int]]()
        async for records in self._reader.read_all(spans):
            for letter in filter(None, map(letter_of, records)):
                where = letter.partition, letter.origin
                if where in seen:
                    continue
                seen.add(where)
                if reason is None or letter.rejected.reason is reason:
                    yield letter

    async def newest(self, limit: int, reason: Reason | None = None) -> list[Letter]:
        """The newest letters, newest first."""
        last = limit if reason is None else None
        heap: list[tuple[tuple[int, int, int], Letter]] = []
        async for letter in self.all(reason, last):
            entry = ((letter.timestamp, letter.partition, letter.offset), letter)
            (heapq.heappush if len(heap) < limit else heapq.heappushpop)(heap, entry)
        return [letter for _, letter in sorted(heap, reverse=True)]

    async def get(self, name: str) -> Letter:
        """The letter at `P:OFFSET`. Raises `UsageError`."""
        partition, offset = place_of(name, self.partitions)
        first, end = await self._reader.bounds(partition)
        if first <= offset < end:
            async for records in self._reader.read(partition, offset, offset + 1):
                if letter := letter_of(records[0]):
                    return letter
        raise UsageError(f"there is no dead letter {name}", remedy="see `memberflow dlq list`")

    async def replay(self, letters: Sequence[Letter], progress: Callable[[], None] = lambda: None) -> list[str]:
        """Append the original bytes of each again; where each now stands, `P:OFFSET` of `member.actions`."""
        producer = AIOKafkaProducer(bootstrap_servers=self._bootstrap, acks="all", enable_idempotence=True)
        stand = []
        try:
            await asyncio.wait_for(producer.start(), timeout=ANSWER_S)
            for letter in letters:
                sent = producer.send_and_wait(
                    self.topics.actions.name,
                    letter.value,
                    key=letter.key,
                    partition=self.home(letter),
                    headers=letter.original_headers,
                )
                told = await asyncio.wait_for(sent, timeout=ANSWER_S)
                stand.append(f"{told.partition}:{told.offset}")
                progress()
        except (KafkaError, OSError, TimeoutError) as error:
            what = f"{len(stand)} of {len(letters)} letters replayed, then {error!r}"
            raise BrokerUnavailable(what, remedy="check Kafka, then repeat: what came twice counts once") from error
        finally:
            await stop_producer(producer)
        return stand

    def home(self, letter: Letter) -> int:
        """The partition a letter goes to: of its member if it names one, else the one it came from."""
        value = letter.value or b""
        item = None if value.startswith(FRAME) else decode(value, letter.original_headers)
        if isinstance(item, Action):
            return partition_of(item.member_id, self.partitions)
        return letter.partition


def place_of(name: str, partitions: int) -> tuple[int, int]:
    """`P:OFFSET` as numbers. Raises `UsageError`."""
    found = re.fullmatch(r"(\d{1,6}):(\d{1,18})", name)
    if found is None or int(found[1]) >= partitions:
        raise UsageError(f"{name} is not P:OFFSET", remedy="take one from `memberflow dlq list`, such as 3:17")
    return int(found[1]), int(found[2])
