"""One acquired partition: its fold, where it stands, and whether a chunk fits."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from aiokafka import ConsumerRecord

from processors.output import Halt, Output
from processors.partition import Partition
from schemas.records import Forward
from streams.loading import Cache
from streams.metrics import Metrics
from streams.store import Acquired, Answer


class Refetch(Exception):
    """Fetch again from `offset`: the chunk does not begin where the store stands, or it has a gap."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"expected offset {offset}")
        self.offset = offset


class NotOurs(Exception):
    """The store refused the commit: FENCED, STALE or LOST."""

    def __init__(self, answer: Answer, detail: str) -> None:
        super().__init__(f"{answer}: {detail}")
        self.answer, self.detail = answer, detail


class Lane:
    """One acquired partition: its fold, where it stands, and what it waits for."""

    def __init__(self, fold: Partition, acquired: Acquired) -> None:
        self.fold, self.acquired = fold, acquired
        self.next_offset = acquired.next_offset
        self.cache: Cache = {}
        self.check_crc = acquired.next_offset > 0  # the record before is read once more and must be the same
        self.gap = (-1, -1)  # where one was seen and what followed: fetched again, and the same again is the log's
        self.stop_before: tuple[int, str] | None = None  # an offset that must not be passed, and why
        self.last_timestamp = 0  # of the last record committed
        self._told = dict(fold.verdicts)  # how many records ended as what, as far as it was counted
        self.unsure = True  # something was read from the store since it last said that it is ours
        self.tick_sent = self.tick_back = False  # whether a tick of ours is on its way, and came back

    def check(self, records: Sequence[ConsumerRecord]) -> Sequence[ConsumerRecord]:
        """The run without a gap that a chunk begins with; maybe empty.

        Raises `Refetch` where it begins elsewhere or a gap is seen for the first time, `Halt` for another log.
        """
        if self.check_crc:
            records = self._same_log(records)
            if not records:
                return records
        first = records[0].offset
        if first != self.next_offset:
            seen, self.gap = self.gap, (self.next_offset, first)
            if first < self.next_offset or self.gap != seen:
                raise Refetch(self.next_offset)
            self.fold.pass_markers(first - self.next_offset)
        if self.stop_before is not None and records[-1].offset >= self.stop_before[0]:
            records = [record for record in records if record.offset < self.stop_before[0]]
            if not records:
                raise Halt(*self.stop_before)
        if records[-1].offset - first != len(records) - 1:
            records = [record for at, record in enumerate(records) if record.offset == first + at]
        return records

    def committed(self, out: Output, last: ConsumerRecord, metrics: Metrics) -> None:
        """Count what a commit made true: what became of the records, what was said, whether our tick came back."""
        told, self._told = self._told, dict(self.fold.verdicts)
        for verdict, count in self._told.items():
            if count > told[verdict]:
                metrics["memberflow_records"].labels(verdict.value).inc(count - told[verdict])
        metrics["memberflow_facts_published"].inc(len(out.facts))
        strays = sum(isinstance(record, Forward) for _, record in out.forwards)
        metrics["memberflow_forwarded_records"].inc(strays)
        metrics["memberflow_derived_records"].inc(len(out.forwards) - strays)
        for event in out.holds:
            metrics["memberflow_holds"].labels(event).inc()
        for letter in out.letters:
            source = metrics.source(letter.rejected.source)
            metrics["memberflow_refused_records"].labels(letter.rejected.reason.value, source).inc()
        self.last_timestamp = last.timestamp
        self.tick_back = self.tick_back or self.acquired.owner in out.ticks

    def look_again(self, records: Sequence[ConsumerRecord]) -> None:
        """Not all of a chunk was taken: fetch what follows its first gap once more. Raises `Refetch`."""
        self.gap = self.next_offset, next(r.offset for r in records if r.offset >= self.next_offset)
        raise Refetch(self.next_offset)

    def _same_log(self, records: Sequence[ConsumerRecord]) -> Sequence[ConsumerRecord]:
        """The record before ours is read once more after an acquire: another one is another log."""
        if records[0].offset != self.next_offset - 1:
            raise Refetch(self.next_offset - 1)
        self.check_crc = False
        if crc(records[0]) != self.acquired.crc:
            raise Halt(records[0].offset, f"the record at {records[0].offset} is not the one that was committed")
        return records[1:]


def crc(record: ConsumerRecord) -> int:
    """What tells a record from another one at the same offset."""
    return zlib.crc32(record.value or b"", zlib.crc32(record.key or b""))
