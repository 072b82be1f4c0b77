"""Are the rows in ClickHouse the facts of the topic? Block by block, by number, sums and content; and the repair.

Completeness is a query (view `completeness`), but only this finds an acknowledged insert that was lost later.
Compared is what the facts topic still holds and the sink has committed. Comparing with a replay is the audit's work.
`Rounds` does it again and again and tells what it found; what differs is repaired by a person's command.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple, Protocol

import msgspec
import structlog
from aiokafka import ConsumerRecord
from aiokafka.errors import KafkaError

from schemas.tables import BLOCK_OFFSETS, FACTS, month_of
from schemas.topics import topics
from streams.analytics import AnalyticsStore, Blocks, Reader
from streams.errors import MemberflowError
from streams.landing import Source
from streams.log_reader import LogReader
from streams.sequence import LastSeen
from streams.sink_start import committed, group_of
from streams.staying import until

log = structlog.get_logger()

ANEW_S = 86_400
"""A round looks at what came since and at what differed; once a day at everything, for a row may be lost later."""

SETTLE_S = 5.0
"""Rows of one batch become visible one after another: what is missing only for a moment is no gap."""

KINDS = ("missing", "extra", "altered", "gap")
_WRAP = 1 << 64


class Content(NamedTuple):
    """What is compared of one block: how many facts, what they add up to, and a digest of their bytes."""

    rows: int = 0
    points: int = 0
    active: int = 0
    pending: int = 0
    spend: int = 0
    digest: int = 0


class Mismatch(NamedTuple):
    """A block whose rows are not the facts of the topic; `start` and `end` bound it in the topic."""

    partition: int
    block: int
    expected: Content
    found: Content
    start: int
    end: int

    @property
    def kind(self) -> str:
        """Whether rows are missing, there are too many, or they say something else."""
        if self.found.rows == self.expected.rows:
            return "altered"
        return "missing" if self.found.rows < self.expected.rows else "extra"

    def __str__(self) -> str:
        differ = [name for name in Content._fields if getattr(self.expected, name) != getattr(self.found, name)]
        return (
            f"partition {self.partition} block {self.block}: {self.found.rows} rows for "
            f"{self.expected.rows} facts ({', '.join(differ)} differ)"
        )


class Completeness(NamedTuple):
    """The numbers of one partition's facts in the table."""

    partition: int
    first_n: int
    last_n: int
    missing: int


class ReconcilerMetrics(Protocol):
    """What the rounds tell; `schemas/metrics.py` has the names."""

    def compared(self, found: Mapping[str, int]) -> None: ...


class _Fact(msgspec.Struct, gc=False):
    n: int
    offset: int
    effective_at: int
    points: int = 0
    active: int = 0
    pending: int = 0
    spend: int = 0


_decode = msgspec.json.Decoder(_Fact).decode


class _Range(NamedTuple):
    """What was read of one partition: offsets of the topic, numbers, and the lowest source offset."""

    end: int
    first_n: int
    last_n: int
    first_source: int


class _Tally(msgspec.Struct):
    """The running content of one block, and where it lies in the topic."""

    start: int
    end: int
    content: list[int] = msgspec.field(default_factory=lambda: [0] * len(Content._fields))


class Reconciler:
    """Compares one log. A second `check` looks only at what came after the blocks that were right."""

    def __init__(self, source: Source, reader: Reader) -> None:
        self._source = source
        self._reader = reader
        self._topic = topics(source.log).facts.name
        # By partition: the topic's offset and the last number up to which everything was right.
        self._right: dict[int, tuple[int, int]] = {}

    async def check(self) -> list[Mismatch]:
        """The blocks that differ, by partition and block."""
        known = await committed(self._source.bootstrap, group_of(self._source.log))
        ends = {at.partition: place.offset for at, place in known.items() if at.topic == self._topic}
        found: list[Mismatch] = []
        async with LogReader(self._source.bootstrap, self._topic) as log_reader:
            for partition, end in sorted(ends.items()):
                found += await self._check_partition(log_reader, partition, end)
        return found

    async def repair(self, mismatch: Mismatch, store: AnalyticsStore) -> int:
        """Inserts the block's facts again and says how many: always harmless. Rows that no fact has stay."""
        blocks = Blocks()
        async with LogReader(self._source.bootstrap, self._topic) as log_reader:
            seen = LastSeen(n=None)
            async for record in _records(log_reader, mismatch.partition, mismatch.start, mismatch.end):
                fact = _decode(record.value)
                if seen.admit(fact.n) != "repeat" and fact.offset // BLOCK_OFFSETS == mismatch.block:
                    blocks.add(FACTS, month_of(fact.effective_at), record.offset, record.value)
        for block in blocks:
            store.insert(block)
        return blocks.count

    def completeness(self) -> list[Completeness]:
        """By partition, whether numbers are missing among the facts of the table."""
        sql = (
            "SELECT src_partition, first_n, last_n, missing FROM completeness "
            "WHERE log = %(log)s ORDER BY src_partition"
        )
        return [Completeness(*row) for row in self._reader.query(sql, {"log": self._source.log})]

    async def _check_partition(self, log_reader: LogReader, partition: int, end: int) -> list[Mismatch]:
        first, _ = await log_reader.bounds(partition)
        start, last_n = self._right.get(partition, (0, 0))
        if start < first:
            start, last_n = first, 0
        expected: dict[int, _Tally] = {}
        read = await _tally(log_reader, partition, start, end, last_n, expected)
        if read is None:
            return []
        found = await asyncio.to_thread(self._found, partition, read)
        differ = []
        for block in sorted(expected.keys() | found.keys()):
            tally = expected.get(block) or _Tally(start, end)
            wanted, have = Content(*tally.content), found.get(block, Content())
            if wanted != have:
                differ.append(Mismatch(partition, block, wanted, have, tally.start, tally.end))
        if not differ:
            self._right[partition] = (read.end, read.last_n)
        return differ

    def _found(self, partition: int, read: _Range) -> Mapping[int, Content]:
        sql = (
            f"SELECT intDiv(src_offset, {BLOCK_OFFSETS}) AS block, count(), sum(points), sum(active), "
            "sum(pending), sum(spend), sum(halfMD5(body)) FROM facts FINAL "
            "WHERE log = %(log)s AND src_partition = %(partition)s AND src_offset >= %(first_source)s "
            "AND n >= %(first_n)s AND n <= %(last_n)s GROUP BY block"
        )
        params: dict[str, str | int] = {"log": self._source.log, "partition": partition}
        params |= {"first_n": read.first_n, "last_n": read.last_n, "first_source": read.first_source}
        rows = self._reader.query(sql, params)
        return {int(block): Content(*content) for block, *content in rows}


class Rounds:
    """A process that compares, waits and compares again, until `stop`. The reader stays the caller's."""

    def __init__(
        self,
        source: Source,
        reader: Reader,
        metrics: ReconcilerMetrics,
        *,
        every_s: float,
        anew_s: float = ANEW_S,
        settle_s: float = SETTLE_S,
    ) -> None:
        self._source, self._reader, self._metrics = source, reader, metrics
        self._every_s, self._anew_s, self._settle_s = every_s, anew_s, settle_s
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Asks it to end; nothing is half done by a round that is cut."""
        self._stopping.set()

    async def run(self) -> None:
        """Until `stop`. What does not answer is asked again in the next round."""
        await until(self._stopping, self._run())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        reconciler, begun = Reconciler(self._source, self._reader), loop.time()
        while True:
            if loop.time() >= begun + self._anew_s:
                reconciler, begun = Reconciler(self._source, self._reader), loop.time()
            try:
                await self._round(reconciler)
            except (MemberflowError, KafkaError, OSError, TimeoutError) as error:
                log.warning("rows and facts not compared", error=str(error))
            await asyncio.sleep(self._every_s)

    async def _round(self, reconciler: Reconciler) -> None:
        differ = await reconciler.check()
        for mismatch in differ:
            log.error("rows are not the facts of the topic", mismatch=str(mismatch), kind=mismatch.kind)
        counts = Counter(mismatch.kind for mismatch in differ)
        counts["gap"] = await self._gap(reconciler)
        self._metrics.compared({kind: counts[kind] for kind in KINDS})
        log.info("rows and facts compared", differ=len(differ), missing=counts["gap"])

    async def _gap(self, reconciler: Reconciler) -> int:
        """How many numbers the table lacks, and still lacks a moment later."""
        first = await asyncio.to_thread(reconciler.completeness)
        if not any(it.missing for it in first):
            return 0
        await asyncio.sleep(self._settle_s)
        then = {it.partition: it.missing for it in await asyncio.to_thread(reconciler.completeness)}
        return sum(min(it.missing, then.get(it.partition, 0)) for it in first)


async def _tally(
    log_reader: LogReader, partition: int, start: int, end: int, last_n: int, tallies: dict[int, _Tally]
) -> _Range | None:
    """Adds up the first occurrence of every fact after `last_n`; None if there is none."""
    first: _Fact | None = None
    last = last_n
    async for record in _records(log_reader, partition, start, end):
        fact = _decode(record.value)
        if fact.n <= last:
            continue
        first = first or fact
        last = fact.n
        tally = tallies.setdefault(fact.offset // BLOCK_OFFSETS, _Tally(record.offset, 0))
        tally.end = record.offset + 1
        _add(tally.content, fact, record.value)
    return None if first is None else _Range(end, first.n, last, first.offset)


def _add(content: list[int], fact: _Fact, body: bytes) -> None:
    half = int.from_bytes(hashlib.md5(body, usedforsecurity=False).digest()[:8], "big")
    for at, value in enumerate((1, fact.points, fact.active, fact.pending, fact.spend)):
        content[at] += value
    content[5] = (content[5] + half) % _WRAP


async def _records(log_reader: LogReader, partition: int, start: int, end: int) -> AsyncIterator[ConsumerRecord]:
    async for records in log_reader.read(partition, start, end):
        for record in records:
            yield record
