"""Facts and aggregates of one log into ClickHouse, each exactly once in effect.

Rows are read, facts are checked by their number, and what has gathered is put in: facts first, aggregates
second, then the commit of both topics' offsets. Whatever fails is done again, and that is always right.
Not guaranteed: that a bucket's total and the facts it counts become visible at the same moment.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata, TopicPartition

from schemas.tables import BLOCK_ROWS_MAX, BOARDS, FACTS, ON_AGGREGATES, Table, month_of
from schemas.topics import topics
from streams.analytics import AnalyticsStore, Block, Blocks, StatementRefused
from streams.clients import stop_consumer
from streams.errors import AnalyticsUnavailable, BrokerUnavailable, MemberflowError
from streams.sequence import LastSeen
from streams.sink_start import ANSWER_S, Start, committed, group_of, highest_rows, start_of
from streams.staying import until
from streams.watchdog import WATCHDOG_SECONDS, GroupWatch, Watchdog

log = structlog.get_logger()

# Rows wait this long for company. An insert costs 25 ms of a core before its first row, and leaves a part to be
# merged; above 1 s a row is seen too late.
FLUSH_S_MIN = 0.4
FLUSH_S_MAX = 1.0
# Buckets are published once a second and only the newest total counts: waiting saves four inserts.
AGGREGATES_S = 2.0
# More than two full blocks in hand gain nothing and cost memory: reading pauses.
ROWS_IN_HAND_MAX = 2 * BLOCK_ROWS_MAX
BACKOFF_S_MIN = 0.5
BACKOFF_S_MAX = 30.0
# How long a stop waits for an insert that does not succeed: what is not committed is read again by the next.
# Leaving the group comes after it, and the whole process ends within about 5 s.
STOP_S = 2.0
POLL_MS = 50
FETCH_RECORDS = 10_000


class SinkMetrics(Protocol):
    """What the sink tells about itself; `schemas/metrics.py` has the names."""

    def rows_inserted(self, table: str, rows: int, seconds: float) -> None: ...
    def insert_failed(self) -> None: ...
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


class Source(NamedTuple):
    """Which log is read, and where it is."""

    log: str
    bootstrap: str


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


class _Place(msgspec.Struct):
    """One partition of one topic that is being read."""

    next_offset: int
    seen: LastSeen
    stored: int  # as `next_offset`, of what is stored
    timestamp: int = 0
    since: int = 0  # the stamp of the oldest fact that is not stored
    halt: str = ""


class _Mark(NamedTuple):
    """What is committed once the rows before it are in."""

    next_offset: int
    metadata: str
    timestamp: int


class _Load:
    """Rows that go in together, and what may be committed then."""

    def __init__(self) -> None:
        self.blocks = Blocks()
        self.marks: dict[TopicPartition, _Mark] = {}
        self.since: float | None = None


class Sink(ConsumerRebalanceListener):  # type: ignore[misc]
    """One process' share of a log's partitions. `run` until `stop`; the store stays the caller's."""

    def __init__(
        self,
        source: Source,
        store: AnalyticsStore,
        *,
        metrics: SinkMetrics | None = None,
        crash: Callable[[str], None] = lambda _: None,
        watchdog_s: float = WATCHDOG_SECONDS,
    ) -> None:
        self._source = source
        self._store = store
        self._metrics = metrics
        self._crash = crash
        names = topics(source.log)
        self._facts_topic, self._aggregates_topic = names.facts.name, names.aggregates.name
        self._boards_topic = names.boards.name
        self._places: dict[TopicPartition, _Place] = {}
        self._facts, self._totals = _Load(), _Load()
        self._flush_s = FLUSH_S_MIN
        # While the store answers and refuses: a person has to look, and starting again would not help.
        self._refused = False
        # Counts assignments: what was begun under an older one commits nothing.
        self._generation = 0
        self._stopping = asyncio.Event()
        self._putting: asyncio.Task[None] | None = None
        self._acquiring: asyncio.Task[None] | None = None
        self._consumer: Any = None
        self._watch = GroupWatch(
            source.bootstrap,
            group_of(source.log),
            (self._facts_topic, self._aggregates_topic, self._boards_topic),
            Watchdog(watchdog_s, lambda: asyncio.to_thread(store.query, "SELECT 1")),
            partitions=lambda: self._consumer.partitions_for_topic(self._facts_topic) or (),
            mine=self._may_stand_still,
        )

    # -- life ----------------------------------------------------------------------

    def stop(self) -> None:
        """Asks the sink to end: what is in hand is put in and committed first."""
        self._stopping.set()

    @property
    def halted(self) -> dict[int, str]:
        """Partitions that wait for a person, and why."""
        return {at.partition: place.halt for at, place in self._places.items() if place.halt}

    async def run(self) -> None:
        """Reads and stores until `stop`. Raises `Stuck` when nothing moves any more and no other part is to blame."""
        self._consumer = self._new_consumer()
        try:
            await until(self._stopping, self._read(), self._watch.run())
            await self._drain()
        except (KafkaError, OSError, TimeoutError) as error:
            raise BrokerUnavailable(f"the sink lost Kafka ({error!r})") from error
        finally:
            await self._end()

    async def _read(self) -> None:
        await asyncio.wait_for(self._consumer.start(), ANSWER_S)
        self._consumer.subscribe([self._facts_topic, self._aggregates_topic, self._boards_topic], listener=self)
        while not self._stopping.is_set():
            await self._turn()

    def _new_consumer(self) -> Any:
        return AIOKafkaConsumer(
            bootstrap_servers=self._source.bootstrap,
            group_id=group_of(self._source.log),
            isolation_level="read_committed",
            auto_offset_reset="none",
            enable_auto_commit=False,
            # What is said of a partition goes to the same process.
            partition_assignment_strategy=(RangePartitionAssignor,),
            session_timeout_ms=6_000,
            heartbeat_interval_ms=1_500,
            max_partition_fetch_bytes=4 * 1024 * 1024,
            fetch_max_wait_ms=POLL_MS,
        )

    async def _drain(self) -> None:
        """What is in hand goes in, unless the store does not take it in time."""
        try:
            async with asyncio.timeout(STOP_S):
                if self._putting is not None:
                    await self._putting
                await self._put(self._facts, self._totals, self._generation)
        except TimeoutError:
            log.warning("sink stops without its last rows", rows=self._in_hand())

    async def _end(self) -> None:
        for task in (self._putting, self._acquiring):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await stop_consumer(self._consumer)

    def _may_stand_still(self) -> dict[TopicPartition, bool]:
        held = {at for at, place in self._places.items() if place.halt or self._refused}
        return {at: at in held for at in self._consumer.assignment()}

    # -- partitions ----------------------------------------------------------------------

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Forgets them: what was not committed is read again by whoever owns them next."""
        self._generation += 1
        self._places.clear()
        self._facts, self._totals = _Load(), _Load()
        self._refused = False
        if self._metrics is not None:
            self._metrics.let_go()

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Lets them wait until a task has found out where to start: neither raises nor waits here."""
        self._generation += 1
        self._consumer.pause(*assigned)
        if self._acquiring is not None:
            self._acquiring.cancel()
        self._acquiring = asyncio.create_task(self._acquire(set(assigned), self._generation))

    async def _acquire(self, wanted: set[TopicPartition], generation: int) -> None:
        for attempt in itertools.count():
            try:
                starts = await self._starts(wanted)
                break
            except (MemberflowError, KafkaError, OSError, TimeoutError) as error:
                log.warning("sink cannot find where to start", error=str(error))
                await asyncio.sleep(_backoff(attempt))
        if generation == self._generation:
            for at, start in starts.items():
                self._begin(at, start)

    async def _starts(self, wanted: set[TopicPartition]) -> dict[TopicPartition, Start]:
        known = await committed(self._source.bootstrap, group_of(self._source.log))
        highest = await asyncio.to_thread(highest_rows, self._store, self._source.log)
        held = dict(zip((self._facts_topic, self._aggregates_topic, self._boards_topic), highest, strict=True))
        first = await asyncio.wait_for(self._consumer.beginning_offsets(wanted), ANSWER_S)
        end = await asyncio.wait_for(self._consumer.end_offsets(wanted), ANSWER_S)
        starts = {}
        for at in wanted:
            place = known.get(at)
            was = None if place is None else (place.offset, place.metadata)
            starts[at] = start_of(was, held[at.topic].get(at.partition), first[at], end[at])
        return starts

    def _begin(self, at: TopicPartition, start: Start) -> None:
        self._places[at] = _Place(start.next_offset, start.seen, start.next_offset)
        log.info("sink starts", topic=at.topic, partition=at.partition, next_offset=start.next_offset)
        if start.halt:
            self._halt(at, start.halt)
            return
        self._consumer.seek(at, start.next_offset)
        if not self._full():
            self._consumer.resume(at)

    def _halt(self, at: TopicPartition, why: str) -> None:
        """Stops a partition until a person has looked; the others go on."""
        self._places[at].halt = why
        self._consumer.pause(at)
        log.error("sink stopped a partition", topic=at.topic, partition=at.partition, why=why)
        self._tell_stopped()

    def _tell_stopped(self) -> None:
        if self._metrics is not None:
            waiting = {at.partition for at, place in self._places.items() if place.halt or self._refused}
            self._metrics.stopped_partitions(len(waiting))

    # -- reading ----------------------------------------------------------------------

    async def _turn(self) -> None:
        """Takes what has come, and begins to put in what is due."""
        for at, records in (await self._fetch()).items():
            place = self._places.get(at)
            if place is not None and not place.halt and records:
                self._take(at, place, records)
        if self._acquiring is not None and self._acquiring.done() and not self._acquiring.cancelled():
            self._acquiring.result()
        if self._putting is not None and self._putting.done():
            self._putting.result()
            self._putting = None
            self._consumer.resume(*(at for at, place in self._places.items() if not place.halt))
        if self._putting is None and self._due():
            facts, self._facts = self._facts, _Load()
            totals = _Load()
            if self._waited(self._totals) >= AGGREGATES_S or self._totals.blocks.count >= BLOCK_ROWS_MAX:
                totals, self._totals = self._totals, _Load()
            self._putting = asyncio.create_task(self._put(facts, totals, self._generation))
        elif self._full():
            self._consumer.pause(*self._places)

    async def _fetch(self) -> dict[TopicPartition, list[ConsumerRecord]]:
        try:
            got: dict[TopicPartition, list[ConsumerRecord]] = await self._consumer.getmany(
                timeout_ms=POLL_MS, max_records=FETCH_RECORDS
            )
        except (KeyError, NoOffsetForPartitionError):
            # A partition that a rebalance took away, or one whose start is still being looked up.
            return {}
        except OffsetOutOfRangeError as error:
            log.warning("the topic does not hold what comes next", error=repr(error))
            await self.on_partitions_revoked(set())
            await self.on_partitions_assigned(self._consumer.assignment())
            return {}
        return got

    def _take(self, at: TopicPartition, place: _Place, records: list[ConsumerRecord]) -> None:
        load = self._facts if at.topic == self._facts_topic else self._totals
        if load.since is None:
            load.since = asyncio.get_running_loop().time()
        if load is self._facts:
            self._take_facts(at, place, records)
        else:
            self._take_totals(at, place, records)
        load.marks[at] = _Mark(place.next_offset, place.seen.encode(), place.timestamp)

    def _take_facts(self, at: TopicPartition, place: _Place, records: list[ConsumerRecord]) -> None:
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

    def _take_totals(self, at: TopicPartition, place: _Place, records: list[ConsumerRecord]) -> None:
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

    def _in_hand(self) -> int:
        return self._facts.blocks.count + self._totals.blocks.count

    def _full(self) -> bool:
        return self._in_hand() >= ROWS_IN_HAND_MAX

    def _waited(self, load: _Load) -> float:
        return 0.0 if load.since is None else asyncio.get_running_loop().time() - load.since

    def _due(self) -> bool:
        return (
            self._in_hand() >= BLOCK_ROWS_MAX
            or self._waited(self._facts) >= self._flush_s
            or self._waited(self._totals) >= AGGREGATES_S
        )

    # -- storing ----------------------------------------------------------------------

    async def _put(self, facts: _Load, totals: _Load, generation: int) -> None:
        """1 facts, 2 aggregates, 3 commit. Tries until it is done or the partitions are gone."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._crash("sink.before_insert")
        for block in facts.blocks:  # 1
            await self._insert(block, generation)
        self._crash("sink.mid_insert")
        for block in totals.blocks:  # 2
            await self._insert(block, generation)
        self._crash("sink.before_commit")
        await self._commit(facts.marks | totals.marks, generation)  # 3
        # The longer an insert takes, the more rows the next one should hold.
        self._flush_s = min(FLUSH_S_MAX, max(FLUSH_S_MIN, 3 * (loop.time() - began)))

    async def _insert(self, block: Block, generation: int) -> None:
        loop = asyncio.get_running_loop()
        attempt = 0
        while generation == self._generation:
            began = loop.time()
            try:
                await asyncio.to_thread(self._store.insert, block)
            except (AnalyticsUnavailable, StatementRefused) as error:
                self._failed(block, error, generation)
                await asyncio.sleep(_backoff(attempt))
                attempt += 1
                continue
            self._take_note(refused=False, generation=generation)
            if self._metrics is not None:
                self._metrics.rows_inserted(block.table.name, len(block.bodies), loop.time() - began)
            return

    def _failed(self, block: Block, error: MemberflowError, generation: int) -> None:
        """An outage passes by itself. What is refused waits for a person, who may cure it while we try."""
        refused = isinstance(error, StatementRefused)
        tell, event = (log.error, "insert refused") if refused else (log.warning, "insert failed")
        tell(f"{event} and is repeated", table=block.table.name, error=str(error))
        self._take_note(refused=refused, generation=generation)
        if self._metrics is not None:
            self._metrics.insert_failed()

    def _take_note(self, *, refused: bool, generation: int) -> None:
        if refused != self._refused and generation == self._generation:
            self._refused = refused
            self._tell_stopped()

    async def _commit(self, marks: dict[TopicPartition, _Mark], generation: int) -> None:
        places = {at: OffsetAndMetadata(mark.next_offset, mark.metadata) for at, mark in marks.items()}
        attempt = 0
        while places and generation == self._generation:
            try:
                await asyncio.wait_for(self._consumer.commit(places), ANSWER_S)
            except (CommitFailedError, IllegalStateError):
                return  # the group has given them to somebody else, who starts at the commit before
            except (KafkaError, TimeoutError) as error:
                log.warning("commit failed and is repeated", error=repr(error))
                await asyncio.sleep(_backoff(attempt))
                attempt += 1
                continue
            self._tell_stored(marks)
            return

    def _tell_stored(self, marks: dict[TopicPartition, _Mark]) -> None:
        for at, mark in marks.items():
            place = self._places.get(at)
            if place is not None:
                place.stored = mark.next_offset
                place.since = 0 if place.next_offset == mark.next_offset else mark.timestamp
            if self._metrics is not None and at.topic == self._facts_topic and mark.timestamp:
                self._metrics.stored(at.partition, mark.timestamp, self._behind(at, mark.next_offset))

    def _behind(self, at: TopicPartition, next_offset: int) -> int:
        """How many facts lie between what is stored and the end that the last fetch saw."""
        return max(0, (self._consumer.highwater(at) or next_offset) - next_offset)


def _backoff(attempt: int) -> float:
    """Seconds until the next try: doubling from half a second to half a minute, up to a half of it at random."""
    full = min(BACKOFF_S_MAX, BACKOFF_S_MIN * 2.0 ** min(attempt, 10))
    return max(BACKOFF_S_MIN, full * random.uniform(0.5, 1.0))
