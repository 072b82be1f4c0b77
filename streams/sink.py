"""Facts and aggregates of one log into ClickHouse, each exactly once in effect.

Rows are read, facts are checked by their number, and what has gathered is put in: facts first, aggregates
second, then the commit of both topics' offsets. Whatever fails is done again, and that is always right.
Not guaranteed: that a bucket's total and the facts it counts become visible at the same moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import msgspec
from aiokafka.structs import ConsumerRecord, TopicPartition

from schemas.tables import BLOCK_ROWS_MAX, BOARDS, FACTS, ON_AGGREGATES, Table, month_of
from schemas.topics import topics
from streams.analytics import AnalyticsStore
from streams.landing import Landing, LandingMetrics, Load, Mark, Place, Source
from streams.sink_start import group_of, highest_rows
from streams.watchdog import WATCHDOG_SECONDS

# Rows wait this long for company. An insert costs 25 ms of a core before its first row, and leaves a part to be
# merged; above 1 s a row is seen too late.
FLUSH_S_MIN = 0.4
FLUSH_S_MAX = 1.0
# Buckets are published once a second and only the newest total counts: waiting saves four inserts.
AGGREGATES_S = 2.0
# More than two full blocks in hand gain nothing and cost memory: reading pauses.
ROWS_IN_HAND_MAX = 2 * BLOCK_ROWS_MAX


class SinkMetrics(LandingMetrics, Protocol):
    """What the sink tells about itself; `schemas/metrics.py` has the names."""

    def repeats_dropped(self, count: int) -> None: ...
    def stopped_partitions(self, count: int) -> None: ...
    def stored(self, partition: int, timestamp_ms: int, behind: int) -> None:
        """The stamp of a partition's last stored fact, and how many facts are not stored yet."""
        ...

    def waiting(self, partition: int, since_ms: int, behind: int) -> None:
        """The stamp of a partition's oldest fact that is not stored yet, and how many these are."""
        ...

    def let_go(self) -> None:
        """The partitions are somebody else's: what was told of them is no longer true."""
        ...


class _FactHead(msgspec.Struct, gc=False):
    n: int
    effective_at: int


class _BucketHead(msgspec.Struct, gc=False):
    kind: str


class _PlaceHead(msgspec.Struct, gc=False):
    board: str
    place: int


_place_head = msgspec.json.Decoder(_PlaceHead).decode
_fact_head = msgspec.json.Decoder(_FactHead).decode
_bucket_head = msgspec.json.Decoder(_BucketHead).decode


class Sink(Landing):
    """One process' share of a log's partitions. `run` until `stop`; the store stays the caller's."""

    name = "sink"

    def __init__(
        self,
        source: Source,
        store: AnalyticsStore,
        *,
        metrics: SinkMetrics | None = None,
        crash: Callable[[str], None] = lambda _: None,
        watchdog_s: float = WATCHDOG_SECONDS,
    ) -> None:
        names = topics(source.log)
        self._facts_topic, self._boards_topic = names.facts.name, names.boards.name
        self.topics = (names.facts.name, names.aggregates.name, names.boards.name)
        self._facts, self._totals = Load(), Load()
        self._flush_s = FLUSH_S_MIN
        self._metrics = metrics
        group = group_of(source.log)
        super().__init__(source, store, group=group, metrics=metrics, crash=crash, watchdog_s=watchdog_s)

    @property
    def busy(self) -> bool:
        """Whether rows go in, or are nearly due: what else is to be stored waits until they are in."""
        return not self._stopping.is_set() and (self._putting is not None or self._due(within_s=self._flush_s / 2))

    # -- taking ----------------------------------------------------------------------

    def _take(self, at: TopicPartition, place: Place, records: Sequence[ConsumerRecord]) -> None:
        load = self._facts if at.topic == self._facts_topic else self._totals
        if load.since is None:
            load.since = asyncio.get_running_loop().time()
        if load is self._facts:
            self._take_facts(at, place, records)
        else:
            self._take_totals(at, place, records)
        load.marks[at] = Mark(place.next_offset, place.seen.encode(), place.timestamp)

    def _take_facts(self, at: TopicPartition, place: Place, records: Sequence[ConsumerRecord]) -> None:
        seen, add, repeats = place.seen, self._facts.blocks.add, 0
        place.since = place.since or records[0].timestamp
        for record in records:
            try:
                head = _fact_head(record.value)
                month = month_of(head.effective_at)
            except (msgspec.DecodeError, ValueError, OverflowError) as error:  # no such month: a year above 9999
                self._halt(at, f"the fact at offset {record.offset} cannot be read: {error}")
                break
            answer = seen.admit(head.n)
            if answer == "gap":
                self._halt(at, f"fact {head.n} at offset {record.offset} follows fact {seen.n}: some are missing")
                break
            if answer == "next":
                add(FACTS, month, record.offset, record.value)
                seen.row = record.offset
            else:
                repeats += 1
            place.next_offset = record.offset + 1
            place.timestamp = record.timestamp
        if self._metrics is not None:
            if repeats:
                self._metrics.repeats_dropped(repeats)
            self._metrics.waiting(at.partition, place.since, self._behind(at, place.stored))

    def _take_totals(self, at: TopicPartition, place: Place, records: Sequence[ConsumerRecord]) -> None:
        for record in records:
            try:
                table = self._table_of(at, record.value)
            except (msgspec.DecodeError, KeyError) as error:
                self._halt(at, f"the row at offset {record.offset} of {at.topic} cannot be read: {error}")
                break
            self._totals.blocks.add(table, 0, record.offset, record.value)
            place.next_offset, place.seen.row = record.offset + 1, record.offset

    def _table_of(self, at: TopicPartition, value: bytes) -> Table:
        """Where a message belongs that is no fact. Raises for one that nobody can read."""
        if at.topic == self._boards_topic:
            _place_head(value)
            return BOARDS
        return ON_AGGREGATES[_bucket_head(value).kind]

    # -- what is in hand ---------------------------------------------------------------

    def _loads(self) -> Iterable[Load]:
        return self._facts, self._totals

    def _forget(self) -> None:
        self._facts, self._totals = Load(), Load()

    def _full(self) -> bool:
        return self._in_hand() >= ROWS_IN_HAND_MAX

    def _due(self, within_s: float = 0.0) -> bool:
        return (
            self._in_hand() >= BLOCK_ROWS_MAX
            or self._waited(self._facts) >= self._flush_s - within_s
            or self._waited(self._totals) >= AGGREGATES_S - within_s
        )

    def _hand_over(self) -> tuple[Load, ...]:
        """Facts first; aggregates when they are due themselves."""
        facts, self._facts = self._facts, Load()
        totals = Load()
        if self._waited(self._totals) >= AGGREGATES_S or self._totals.blocks.count >= BLOCK_ROWS_MAX:
            totals, self._totals = self._totals, Load()
        return facts, totals

    async def _put(self, loads: Sequence[Load], generation: int) -> float:
        took = await super()._put(loads, generation)
        # The longer an insert takes, the more rows the next one should hold.
        self._flush_s = min(FLUSH_S_MAX, max(FLUSH_S_MIN, 3 * took))
        return took

    def _between_loads(self) -> None:
        self._crash("sink.mid_insert")

    def _highest(self) -> Mapping[str, Mapping[int, int]]:
        return dict(zip(self.topics, highest_rows(self._store, self._source.log), strict=True))

    # -- telling ----------------------------------------------------------------------

    def _tell_stopped(self) -> None:
        if self._metrics is not None:
            waiting = {at.partition for at, place in self._places.items() if place.halt or self._refused}
            self._metrics.stopped_partitions(len(waiting))

    def _tell_let_go(self) -> None:
        if self._metrics is not None:
            self._metrics.let_go()

    def _tell_stored(self, marks: Mapping[TopicPartition, Mark]) -> None:
        super()._tell_stored(marks)
        for at, mark in marks.items():
            if self._metrics is not None and at.topic == self._facts_topic and mark.timestamp:
                self._metrics.stored(at.partition, mark.timestamp, self._behind(at, mark.next_offset))
