"""Recorded actions read out of ClickHouse, in the order of their offsets, and only where none is lost.

Rows are a chain: each names the record that was read before it. Offsets that no record has are the log's own.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import AsyncIterator
from itertools import accumulate

from schemas.records import Record
from schemas.tables import ACTIONS
from streams.analytics import Reader, Row
from streams.archive import NOTHING_BEFORE, UNKNOWN, record_of
from streams.errors import StateLost
from streams.recorded import FROM_CLICKHOUSE

PAGE = 1_000
"""Offsets of one question: half a gigabyte in hexadecimal if all were as long as the log allows."""

SPAN = 10_000
"""Offsets that one entry of the index of times stands for."""

AGAIN = "replay from Kafka, or store them again while Kafka has them: stop the sink, then `memberflow sink reland`"

_ROWS = f"FROM {ACTIONS.name} WHERE log = %(log)s AND src_partition = %(partition)s"
_BOUNDS = f"SELECT min(topic_offset), max(topic_offset), count() {_ROWS} AND topic_offset >= %(start)s"
_BEFORE = f"SELECT max(previous) {_ROWS} AND topic_offset = %(offset)s"
_TIMES = f"""SELECT intDiv(topic_offset, {SPAN}) AS span, max(stamped_at) {_ROWS} GROUP BY span ORDER BY span"""
_AT = f"""SELECT min(topic_offset), count() {_ROWS} AND topic_offset >= %(start)s AND stamped_at >= %(moment)s"""
# Rows that were stored twice may not be merged yet: the one that knows more comes first. Values are no text, and
# Debian's server has no base64.
_PAGE = f"""SELECT topic_offset, previous, stamped_at, key, extra, hex(body) {_ROWS}
AND topic_offset >= %(start)s AND topic_offset < %(end)s ORDER BY topic_offset, previous DESC"""


class ArchiveReader:
    """Reads what a sink has stored of one log's actions: a `streams.replay.Source`."""

    def __init__(self, reader: Reader, log: str) -> None:
        self._reader, self._log = reader, log
        self._times: dict[int, tuple[list[int], list[int]]] = {}

    async def bounds(self, partition: int) -> tuple[int, int]:
        """The offset from which on every record should be here, and the end (next to be stored)."""
        ((first, last, count),) = await self._ask(_BOUNDS, partition, start=0)
        if not count:
            return 0, 0
        before = await self._before(partition, first)
        return (first if before == UNKNOWN else before + 1), last + 1

    async def offset_at(self, partition: int, timestamp: int) -> int | None:
        """The first offset stamped at or after a time (ms); None when there is none."""
        spans, latest = await self._index(partition)
        at = bisect_left(latest, timestamp)
        start = spans[min(at, len(spans) - 1)] * SPAN if spans else 0
        end = f" AND topic_offset < {start + SPAN}" if at < len(spans) else ""  # else what came since
        ((offset, count),) = await self._ask(_AT + end, partition, start=start, moment=timestamp)
        return int(offset) if count else None

    async def read(self, partition: int, start: int, end: int) -> AsyncIterator[list[Record]]:
        """Records with start <= offset < end, in pages. Raises `StateLost` where one of them is missing."""
        _, held = await self.bounds(partition)
        if end > held:
            what = f"ClickHouse holds partition {partition} of log {self._log} up to offset {held}, wanted is {end}"
            raise StateLost(what, remedy=FROM_CLICKHOUSE.behind)
        chain = Chain(partition, start)
        for at in range(start, end, PAGE):
            found = []
            rows = await self._ask(_PAGE, partition, start=at, end=min(at + PAGE, end))
            for offset, previous, stamped_at, key, extra, body in rows:
                if chain.admit(offset, previous):
                    found.append(record_of(offset, stamped_at, key, extra, bytes.fromhex(body)))
            if found:
                yield found
        if chain.last < end - 1:  # only the record behind them tells whether there were more
            ((offset, _, _),) = await self._ask(_BOUNDS, partition, start=end)
            chain.admit(offset, await self._before(partition, offset))

    async def _before(self, partition: int, offset: int) -> int:
        return int((await self._ask(_BEFORE, partition, offset=offset))[0][0])

    async def _index(self, partition: int) -> tuple[list[int], list[int]]:
        """Spans of offsets, and the latest stamp up to the end of each."""
        if partition not in self._times:
            rows = await self._ask(_TIMES, partition)
            self._times[partition] = [span for span, _ in rows], [*accumulate((stamp for _, stamp in rows), max)]
        return self._times[partition]

    async def _ask(self, sql: str, partition: int, **more: int) -> list[Row]:
        return await asyncio.to_thread(self._reader.query, sql, {"log": self._log, "partition": partition, **more})


class Chain:
    """The rows of a partition from one offset on: whether each is the one after the last."""

    def __init__(self, partition: int, start: int) -> None:
        self.partition, self.start = partition, start
        self.last = start - 1

    def admit(self, offset: int, previous: int) -> bool:
        """Whether a row is the next one, and not stored twice. Raises `StateLost` where a row is missing before it."""
        if offset == self.last:
            return False
        begins = self.last < self.start  # what lies below `start` is none of ours
        follows = NOTHING_BEFORE <= previous <= self.last if begins else previous == self.last
        if not follows and offset != self.last + 1:
            span = f"from offset {self.last + 1} to {offset - 1}"
            raise StateLost(f"ClickHouse has lost actions of partition {self.partition} {span}", remedy=AGAIN)
        self.last = offset
        return True
