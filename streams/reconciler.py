"""Are the rows in ClickHouse the facts of the topic? Block by block, by number, sums and content; and the repair.

Completeness is a query (view `completeness`), but only this finds an acknowledged insert that was lost later.
Compared is what the facts topic still holds and the sink has committed. Comparing with a replay is the audit's work.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple, Protocol

import msgspec
from aiokafka import ConsumerRecord

from schemas.tables import BLOCK_OFFSETS, FACTS, month_of
from schemas.topics import topics
from streams.analytics import AnalyticsStore, Blocks, Reader
from streams.log_reader import LogReader
from streams.sequence import LastSeen
from streams.sink import Source
from streams.sink_start import committed, group_of

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
    """What the reconciler tells; `schemas/metrics.py` has the name."""

    def mismatches(self, count: int) -> None: ...


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

    def __init__(self, source: Source, reader: Reader, metrics: ReconcilerMetrics | None = None) -> None:
        self._source = source
        self._reader = reader
        self._metrics = metrics
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
        if self._metrics is not None:
            self._metrics.mismatches(len(found))
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
        found = self._found(partition, read)
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
