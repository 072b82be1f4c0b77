"""Records of topics into ClickHouse: what the sink of facts and that of recorded actions have in common.

A `Landing` reads its share of some topics in a consumer group of its own, gathers rows, puts them in and commits.
Whatever fails is done again, and that is always right. What a record is, and when rows are due, its subclass says.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
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

from streams.analytics import AnalyticsStore, Block, Blocks, StatementRefused
from streams.clients import stop_consumer
from streams.errors import AnalyticsUnavailable, BrokerUnavailable, MemberflowError
from streams.sequence import LastSeen
from streams.sink_start import ANSWER_S, Start, committed, start_of
from streams.staying import until
from streams.watchdog import WATCHDOG_SECONDS, GroupWatch, Watchdog

log = structlog.get_logger()

BACKOFF_S_MIN = 0.5
BACKOFF_S_MAX = 30.0
# How long a stop waits for an insert that does not succeed: what is not committed is read again by the next.
# Leaving the group comes after it, and the whole process ends within about 5 s.
STOP_S = 2.0
POLL_MS = 50


class LandingMetrics(Protocol):
    """What any landing tells about itself."""

    def rows_inserted(self, table: str, rows: int, seconds: float) -> None: ...
    def insert_failed(self) -> None: ...


class Source(NamedTuple):
    """Which log is read, and where it is."""

    log: str
    bootstrap: str


class Place(msgspec.Struct):
    """One partition of one topic that is being read."""

    next_offset: int
    seen: LastSeen
    stored: int  # as `next_offset`, of what is stored
    timestamp: int = 0
    since: int = 0  # the stamp of the oldest fact that is not stored
    halt: str = ""


class Mark(NamedTuple):
    """What is committed once the rows before it are in."""

    next_offset: int
    metadata: str
    timestamp: int


class Load:
    """Rows that go in together, and what may be committed then."""

    def __init__(self) -> None:
        self.blocks = Blocks()
        self.marks: dict[TopicPartition, Mark] = {}
        self.since: float | None = None


class Landing(ConsumerRebalanceListener, ABC):  # type: ignore[misc]
    """One process' share of some topics' partitions. `run` until `stop`; the store stays the caller's."""

    name: str  # in log lines, and what its points of failure begin with
    topics: tuple[str, ...]  # the first one's partitions are those of all
    fetch_records = 10_000

    def __init__(
        self,
        source: Source,
        store: AnalyticsStore,
        *,
        group: str,
        metrics: LandingMetrics | None = None,
        crash: Callable[[str], None] = lambda _: None,
        watchdog_s: float = WATCHDOG_SECONDS,
    ) -> None:
        self._source = source
        self._store = store
        self._group = group
        self._inserts = metrics
        self._crash = crash
        self._places: dict[TopicPartition, Place] = {}
        # While the store answers and refuses: a person has to look, and starting again would not help.
        self._refused = False
        # Counts assignments: what was begun under an older one commits nothing.
        self._generation = 0
        self._stopping = asyncio.Event()
        self._putting: asyncio.Task[float] | None = None
        self._acquiring: asyncio.Task[None] | None = None
        self._consumer: Any = None
        self._watch = GroupWatch(
            source.bootstrap,
            group,
            self.topics,
            Watchdog(watchdog_s, lambda: asyncio.to_thread(store.query, "SELECT 1")),
            partitions=lambda: self._consumer.partitions_for_topic(self.topics[0]) or (),
            mine=self._may_stand_still,
        )

    # -- what a subclass says --------------------------------------------------------------

    @abstractmethod
    def _take(self, at: TopicPartition, place: Place, records: Sequence[ConsumerRecord]) -> None:
        """Takes records into what is in hand, and marks how far it has come."""

    @abstractmethod
    def _loads(self) -> Iterable[Load]:
        """Everything in hand."""

    @abstractmethod
    def _forget(self) -> None:
        """Lets go of everything in hand."""

    @abstractmethod
    def _due(self) -> bool:
        """Whether what is in hand, or a part of it, is to go in now."""

    @abstractmethod
    def _hand_over(self) -> tuple[Load, ...]:
        """What goes in now, in this order."""

    @abstractmethod
    def _full(self) -> bool:
        """Whether more in hand would gain nothing."""

    @abstractmethod
    def _highest(self) -> Mapping[str, Mapping[int, int]]:
        """By topic and partition, the highest offset that the tables hold. Blocks."""

    async def _turn_to_put(self) -> None:
        """Waits until a block may go in."""

    def _between_loads(self) -> None:
        """A point at which some of what goes in together is in, and some is not."""

    def _tell_stopped(self) -> None:
        """Says how many partitions wait for a person."""

    def _tell_let_go(self) -> None:
        """Says that the partitions are somebody else's."""

    def _tell_stored(self, marks: Mapping[TopicPartition, Mark]) -> None:
        """Says how far it has come."""
        for at, mark in marks.items():
            place = self._places.get(at)
            if place is not None:
                place.stored = mark.next_offset
                place.since = 0 if place.next_offset == mark.next_offset else mark.timestamp

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
            raise BrokerUnavailable(f"the {self.name} lost Kafka ({error!r})") from error
        finally:
            await self._end()

    async def _read(self) -> None:
        await asyncio.wait_for(self._consumer.start(), ANSWER_S)
        self._consumer.subscribe(list(self.topics), listener=self)
        while not self._stopping.is_set():
            await self._turn()

    def _new_consumer(self) -> Any:
        return AIOKafkaConsumer(
            bootstrap_servers=self._source.bootstrap,
            group_id=self._group,
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
                await self._put(tuple(self._loads()), self._generation)
        except TimeoutError:
            log.warning(f"{self.name} stops without its last rows", rows=self._in_hand())

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
        self._forget()
        self._refused = False
        self._tell_let_go()

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
                log.warning(f"{self.name} cannot find where to start", error=str(error))
                await asyncio.sleep(_backoff(attempt))
        if generation == self._generation:
            for at, start in starts.items():
                self._begin(at, start)

    async def _starts(self, wanted: set[TopicPartition]) -> dict[TopicPartition, Start]:
        known = await committed(self._source.bootstrap, self._group)
        held = await asyncio.to_thread(self._highest)
        first = await asyncio.wait_for(self._consumer.beginning_offsets(wanted), ANSWER_S)
        end = await asyncio.wait_for(self._consumer.end_offsets(wanted), ANSWER_S)
        starts = {}
        for at in wanted:
            place = known.get(at)
            was = None if place is None else (place.offset, place.metadata)
            starts[at] = start_of(was, held[at.topic].get(at.partition), first[at], end[at])
        return starts

    def _begin(self, at: TopicPartition, start: Start) -> None:
        self._places[at] = Place(start.next_offset, start.seen, start.next_offset)
        log.info(f"{self.name} starts", topic=at.topic, partition=at.partition, next_offset=start.next_offset)
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
        log.error(f"{self.name} stopped a partition", topic=at.topic, partition=at.partition, why=why)
        self._tell_stopped()

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
            self._putting = asyncio.create_task(self._put(self._hand_over(), self._generation))
        elif self._full():
            self._consumer.pause(*self._places)

    async def _fetch(self) -> dict[TopicPartition, list[ConsumerRecord]]:
        try:
            got: dict[TopicPartition, list[ConsumerRecord]] = await self._consumer.getmany(
                timeout_ms=POLL_MS, max_records=self.fetch_records
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

    def _in_hand(self) -> int:
        return sum(load.blocks.count for load in self._loads())

    def _waited(self, load: Load) -> float:
        return 0.0 if load.since is None else asyncio.get_running_loop().time() - load.since

    # -- storing ----------------------------------------------------------------------

    async def _put(self, loads: Sequence[Load], generation: int) -> float:
        """1 each load's blocks, 2 commit; the seconds they took. Tries until it is done or the partitions are gone."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._crash(f"{self.name}.before_insert")
        for at, load in enumerate(loads):  # 1
            if at:
                self._between_loads()
            for block in load.blocks:
                await self._insert(block, generation)
        self._crash(f"{self.name}.before_commit")
        await self._commit({at: mark for load in loads for at, mark in load.marks.items()}, generation)  # 2
        return loop.time() - began

    async def _insert(self, block: Block, generation: int) -> None:
        loop = asyncio.get_running_loop()
        attempt = 0
        while generation == self._generation:
            await self._turn_to_put()
            began = loop.time()
            try:
                await asyncio.to_thread(self._store.insert, block)
            except (AnalyticsUnavailable, StatementRefused) as error:
                self._failed(block, error, generation)
                await asyncio.sleep(_backoff(attempt))
                attempt += 1
                continue
            self._take_note(refused=False, generation=generation)
            if self._inserts is not None:
                self._inserts.rows_inserted(block.table.name, len(block.bodies), loop.time() - began)
            return

    def _failed(self, block: Block, error: MemberflowError, generation: int) -> None:
        """An outage passes by itself. What is refused waits for a person, who may cure it while we try."""
        refused = isinstance(error, StatementRefused)
        tell, event = (log.error, "insert refused") if refused else (log.warning, "insert failed")
        tell(f"{event} and is repeated", table=block.table.name, error=str(error))
        self._take_note(refused=refused, generation=generation)
        if self._inserts is not None:
            self._inserts.insert_failed()

    def _take_note(self, *, refused: bool, generation: int) -> None:
        if refused != self._refused and generation == self._generation:
            self._refused = refused
            self._tell_stopped()

    async def _commit(self, marks: dict[TopicPartition, Mark], generation: int) -> None:
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

    def _behind(self, at: TopicPartition, next_offset: int) -> int:
        """How many records lie between what is stored and the end that the last fetch saw."""
        return max(0, (self._consumer.highwater(at) or next_offset) - next_offset)


def _backoff(attempt: int) -> float:
    """Seconds until the next try: doubling from half a second to half a minute, up to a half of it at random."""
    full = min(BACKOFF_S_MAX, BACKOFF_S_MIN * 2.0 ** min(attempt, 10))
    return max(BACKOFF_S_MIN, full * random.uniform(0.5, 1.0))
