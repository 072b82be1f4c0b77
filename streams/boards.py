"""The boards process: the facts of all partitions folded into boards, shown while they are open, settled when final.

Facts are read like every consumer reads them: by number, what was seen is dropped, a gap stops the partition. Nothing
is committed anywhere: where to read on is stored with what was folded, and without it all is read from the start.

A partition in which nothing happens says nothing; its clock is learnt from the log itself: once a record stamped at or
after a board's last moment is committed by the worker, what it had to say before stands in its facts.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord, TopicPartition

from processors.boards import Boards, Seasons, Span, Told, decode
from processors.programme import compile_programme
from schemas import decoding
from schemas.records import ProgrammeControl
from schemas.settings import Settings
from schemas.topics import topics
from streams.board_checkpoint import Checkpoints, Stored
from streams.board_finals import Finals
from streams.board_server import BoardServer
from streams.clients import stop_consumer
from streams.errors import BrokerUnavailable, UsageError
from streams.keys import Key
from streams.log_reader import LogReader
from streams.programme_log import standing
from streams.sequence import LastSeen
from streams.sink_start import ANSWER_S, committed
from streams.staying import until
from streams.store import StateStore

log = structlog.get_logger()

POLL_MS = 50
FETCH_RECORDS = 5_000
SETTLE_S = 2.0
"""Between looks for boards that have become final; those of silent partitions cost the broker some questions."""

STORE_S = 300.0
"""In which every partition is stored once. Storing one stops the loop for as long as its members take to encode."""


class Place(msgspec.Struct):
    """How far one partition has been read."""

    next_offset: int
    seen: LastSeen
    halt: str = ""


class BoardsProcess:
    """All partitions of a log. `run` until `stop`; raises what it cannot cure."""

    def __init__(
        self,
        settings: Settings,
        store: StateStore,
        sign: Key,
        metrics: Any,
        wall: Callable[[], float],
        *,
        accept_gap: bool = False,
        fail: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.settings, self.store, self.metrics, self.wall = settings, store, metrics, wall
        self.accept_gap = accept_gap
        names = topics(settings.log, partitions=settings.partitions)
        self._facts, self._actions = names.facts.name, names.actions.name
        self._worker_group = f"worker-{settings.log}"
        self.checkpoints = Checkpoints(settings.boards.folder, settings.log, settings.partitions)
        self.finals = Finals(settings, sign, metrics, fail)
        self.programmes: dict[int, ProgrammeControl] = {}
        self.boards = Boards(Seasons([]), settings.partitions)
        self.places: dict[int, Place] = {}
        self._consumer: Any = None
        self._stopping = asyncio.Event()
        self.server = BoardServer(settings, self)

    # -- life ---------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ask it to end: what is known is stored first."""
        self._stopping.set()

    async def run(self) -> None:
        """Read, show, settle, until `stop`."""
        self._consumer = self._new_consumer()
        try:
            await self._answer(self._consumer.start())
            await self.finals.load()
            await self._begin()
            await self.server.start()
            gc.disable()  # a full collection looks at every member and stops the loop meanwhile; `_settle_on` collects
            await until(self._stopping, self._read_on(), self._settle_on(), self._store_on())
            for partition in self.places:
                await self._store(partition)
        except (KafkaError, OSError, TimeoutError) as error:
            raise BrokerUnavailable(f"boards lost Kafka ({error!r})") from error
        finally:
            gc.enable()
            await self.server.stop()
            await stop_consumer(self._consumer)

    def _new_consumer(self) -> Any:
        return AIOKafkaConsumer(
            bootstrap_servers=self.settings.kafka.bootstrap,
            isolation_level="read_committed",
            auto_offset_reset="none",
            enable_auto_commit=False,
            max_partition_fetch_bytes=4 * 1024 * 1024,
            fetch_max_wait_ms=POLL_MS,
        )

    async def _answer(self, call: Awaitable[Any]) -> Any:
        return await asyncio.wait_for(call, ANSWER_S)

    # -- where to begin -----------------------------------------------------------------------------------------

    async def _begin(self) -> None:
        """Take up what was stored under the same programmes; read anew what was not."""
        stored = {partition: self.checkpoints.read(partition) for partition in range(self.settings.partitions)}
        for place in (await standing(self.settings, self.store)).values():
            self._learn(place.state.programmes)
        for found in stored.values():
            self._learn(found.programmes if found else ())
        if not self.programmes:
            self._learn([await self._programme_at(0, 0)])
        seasons = self._seasons()
        places = [TopicPartition(self._facts, partition) for partition in stored]
        first = await self._answer(self._consumer.beginning_offsets(places))
        end = await self._answer(self._consumer.end_offsets(places))
        # No await from here on: who stores or settles meanwhile sees boards and places of one reading.
        self._consumer.assign(places)
        self.boards = Boards(seasons, self.settings.partitions)
        for at in places:
            self._take_up(at, stored[at.partition], seasons, first[at], end[at])

    def _take_up(self, at: TopicPartition, found: Stored | None, seasons: Seasons, first: int, end: int) -> None:
        if found and found.shape == seasons.fingerprint and first <= found.next_offset <= end:
            self.boards.load(at.partition, found.part)
            self.places[at.partition] = Place(found.next_offset, LastSeen(n=found.n))
        else:
            self.places[at.partition] = Place(first, LastSeen(n=0 if first == 0 else None))
        next_offset = self.places[at.partition].next_offset
        self._consumer.seek(at, next_offset)
        log.info("boards read", partition=at.partition, next_offset=next_offset, end=end)

    def _learn(self, programmes: Iterable[ProgrammeControl]) -> None:
        self.programmes.update((it.number, it) for it in programmes)

    def _seasons(self) -> Seasons:
        known = self.programmes.values()
        return Seasons(compile_programme(it.text, it.number, it.holds_from) for it in known)

    async def _programme_at(self, partition: int, offset: int) -> ProgrammeControl:
        """The programme that stands at a place of the log. Raises `UsageError`."""
        async with LogReader(self.settings.kafka.bootstrap, self._actions) as reader:
            async for records in reader.read(partition, offset, offset + 1):
                item = decoding.decode(records[0].value)
                if isinstance(item, decoding.Controlled) and isinstance(item.body, ProgrammeControl):
                    return item.body
        what = f"no programme stands at offset {offset} of partition {partition}"
        raise UsageError(what, remedy="is this the log of these facts? see `memberflow doctor`")

    # -- reading ------------------------------------------------------------------------------------------------

    async def _read_on(self) -> None:
        while not self._stopping.is_set():
            got = await self._consumer.getmany(timeout_ms=POLL_MS, max_records=FETCH_RECORDS)
            for at, records in got.items():
                place = self.places[at.partition]
                if not place.halt and not await self._take(at, place, records):
                    break  # all is read anew
                self.boards.sweep(at.partition)
                await asyncio.sleep(0)  # whoever asks for a board waits for one partition's records at most

    async def _take(self, at: TopicPartition, place: Place, records: list[ConsumerRecord]) -> bool:
        """Fold the facts of one partition; False when a new programme makes all of them be read anew."""
        added = 0
        for record in records:
            try:
                fact = decode(record.value)
            except msgspec.DecodeError as error:
                self._halt(at, place, f"the fact at offset {record.offset} cannot be read: {error}")
                break
            last, answer = place.seen.n, place.seen.admit(fact.n)
            if answer == "gap":
                if not self.accept_gap:
                    self._halt(at, place, f"fact {fact.n} at offset {record.offset} follows fact {last}")
                    break
                place.seen = LastSeen(n=fact.n)
                self.boards.parts[at.partition].known_from = fact.decided_at
            if answer != "repeat":
                if fact.control == "programme" and not await self._known(at.partition, fact):
                    return False
                self.boards.add(at.partition, fact)
                added += 1
            place.next_offset = record.offset + 1
        self.metrics["memberflow_boards_facts"].inc(added)
        behind = max(0, (self._consumer.highwater(at) or 0) - place.next_offset)
        self.metrics["memberflow_boards_lag_records"].labels(str(at.partition)).set(behind)
        return True

    async def _known(self, partition: int, fact: Told) -> bool:
        """Learn a programme that has taken its place; False when boards have another shape under it."""
        if fact.number in self.programmes:
            return True
        self._learn([await self._programme_at(partition, fact.offset)])
        seasons = self._seasons()
        if seasons.fingerprint != self.boards.seasons.fingerprint:
            log.info("boards are made anew: the programme changes them", programme=fact.number)
            await self._begin()
            return False
        self.boards.seasons = seasons
        return True

    def _halt(self, at: TopicPartition, place: Place, why: str) -> None:
        """Stop reading a partition until a person has looked; no board becomes final meanwhile."""
        place.halt = why
        self._consumer.pause(at)
        self.metrics["memberflow_boards_stopped_partitions"].set(len(self.halted))
        log.error("boards stopped a partition", partition=at.partition, why=why)

    @property
    def halted(self) -> list[int]:
        """The partitions that wait for a person."""
        return [partition for partition, place in self.places.items() if place.halt]

    # -- final boards -------------------------------------------------------------------------------------------

    async def _settle_on(self) -> None:
        while not self._stopping.is_set():
            await self.settle()
            gc.collect(0)
            await asyncio.sleep(SETTLE_S)

    async def settle(self) -> None:
        """Make final what no partition can change any more, the earliest first, and let go of it."""
        for span, open_partitions in self.boards.due(round(self.wall() * 1000)):
            bounds = self.boards.bounds(span)
            if open_partitions:
                await self._ask_silent(bounds.final_at, open_partitions)
            if self.boards.is_final(span):
                await self._finish(span)

    async def _finish(self, span: Span) -> None:
        if self.boards.is_whole(span):
            awarded = self.boards.seasons.of_span(span).programme.boards.awarded_places
            boards = list(self.boards.boards_of(span))
            await self.finals.settle(boards, self.boards.bounds(span), awarded)
            log.info("boards are final", period=span[0], at=span[1], boards=len(boards))
        else:
            log.warning("boards are not made final: their first facts are gone", period=span[0], at=span[1])
        self.boards.drop(span)

    async def _ask_silent(self, final_at: int, partitions: Iterable[int]) -> None:
        """Whether the log has passed a moment in partitions that have said nothing since."""
        silent = [p for p in partitions if not self.places[p].halt and self._is_at_end(p)]
        if not silent:
            return
        bootstrap = self.settings.kafka.bootstrap
        done = {at.partition: it.offset for at, it in (await committed(bootstrap, self._worker_group)).items()}
        async with LogReader(bootstrap, self._actions) as reader:
            passed = {p: await reader.offset_at(p, final_at) for p in silent if p in done}
        passed_by = [p for p, offset in passed.items() if offset is not None and offset < done[p]]
        places = [TopicPartition(self._facts, p) for p in passed_by]
        ends = await self._answer(self._consumer.end_offsets(places)) if places else {}
        for at, end in ends.items():  # asked last: what the worker had committed stands below it
            if self.places[at.partition].next_offset >= end:
                self.boards.passed(at.partition, final_at)

    def _is_at_end(self, partition: int) -> bool:
        at = TopicPartition(self._facts, partition)
        return self.places[partition].next_offset >= (self._consumer.highwater(at) or 0)

    # -- storing ------------------------------------------------------------------------------------------------

    async def _store_on(self) -> None:
        while not self._stopping.is_set():
            for partition in list(self.places):
                await asyncio.sleep(STORE_S / self.settings.partitions)
                await self._store(partition)

    async def _store(self, partition: int) -> None:
        place = self.places[partition]
        if place.halt or place.seen.n is None:
            return
        programmes = list(self.programmes.values())
        part = self.boards.parts[partition]
        await self.checkpoints.write(partition, self.boards.seasons, programmes, place.next_offset, place.seen.n, part)
