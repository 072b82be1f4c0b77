"""Facts to webhooks: members' warning tiers reach the configured endpoints, at least once and under one id.

The facts are read like every consumer reads them: by number, what was seen is dropped, a gap stops the partition.
A contact is written into the journal before its fact is committed, and lives from the journal alone afterwards.
Nothing decided before `go_live` is ever sent; import, rebuild and replay send nothing.

Not guaranteed: exactly once (a death between post and result costs one more try, with the same id), and order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata, TopicPartition

from schemas import facts as fact_codec
from schemas.contacts import BODY_BYTES_MAX, AnyEntry, Live, Planned, body_of, contact_id, origin_of
from schemas.facts import InForce, TierEntered
from schemas.settings import Settings
from schemas.topics import topics
from streams.clients import kafka_answers, stop_consumer
from streams.deliveries import SCHEDULE, Deliveries, Patience
from streams.errors import BrokerUnavailable, UsageError
from streams.journal import KafkaJournal, Memory
from streams.sequence import LastSeen
from streams.sink_start import ANSWER_S, committed
from streams.staying import until
from streams.watchdog import WATCHDOG_SECONDS, GroupWatch, Watchdog
from streams.webhook import Lookup, Receiver

log = structlog.get_logger()

POLL_MS = 200
FETCH_RECORDS = 2_000
STOP_S = 2.5
"""For tries that are under way when the process ends. One that takes longer is made again, under the same id."""


class Head(msgspec.Struct, gc=False):
    """What every fact begins with; kinds that this code does not know pass by."""

    kind: str
    n: int


class Place(LastSeen, omit_defaults=True):
    """What is committed beside an offset: the last number seen, and the number that said `go_live`."""

    live: int = 0


class Part(msgspec.Struct):
    """One partition that is being read."""

    place: Place
    memory: Memory
    halt: str = ""


_head = msgspec.json.Decoder(Head).decode
_place = msgspec.json.Decoder(Place).decode


class Dispatcher(ConsumerRebalanceListener):  # type: ignore[misc]
    """One process' share of a log's facts. `run` until `stop`; raises what it cannot cure."""

    def __init__(
        self,
        settings: Settings,
        metrics: Any,
        wall: Callable[[], float],
        *,
        schedule: tuple[float, ...] = SCHEDULE,
        breaker_rest_s: float = Patience().breaker_rest_s,
        lookup: Lookup | None = None,
        fail: Callable[[str], None] = lambda _: None,
        watchdog_s: float = WATCHDOG_SECONDS,
    ) -> None:
        """Raises `UsageError` for an endpoint that can never work. `fail` is told every step, for crash tests."""
        own = settings.dispatcher
        names = topics(settings.log, partitions=settings.partitions)
        if len({endpoint.name for endpoint in own.endpoints}) < len(own.endpoints):
            raise UsageError("two endpoints share a name", remedy="correct MEMBERFLOW_DISPATCHER__ENDPOINTS")
        self.settings, self.metrics, self.wall, self._fail = settings, metrics, wall, fail
        self.group, self.topic = f"dispatcher-{settings.log}", names.facts.name
        self.journal = KafkaJournal(settings.kafka.bootstrap, names)
        patience = Patience(schedule=schedule, attempts=own.attempts, breaker_rest_s=breaker_rest_s)
        self.queues: dict[str, Deliveries] = {}
        for endpoint in own.endpoints:
            receiver = Receiver(endpoint, wall, allow_private=own.allow_private, timeout_s=own.timeout_s, lookup=lookup)
            self.queues[endpoint.name] = Deliveries(receiver, self.journal, wall, metrics, patience, fail=fail)
        self.parts: dict[int, Part] = {}
        self._acquiring: dict[int, asyncio.Task[None]] = {}
        self._ended: asyncio.Future[None] | None = None
        self._stopping = asyncio.Event()
        self._consumer: Any = None
        self._watch = GroupWatch(
            settings.kafka.bootstrap,
            self.group,
            (self.topic,),
            Watchdog(watchdog_s, lambda: kafka_answers(settings.kafka.bootstrap)),
            partitions=lambda: range(settings.partitions),
            mine=self._may_stand_still,
        )

    # -- life ---------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ask it to end: tries under way are finished and written down."""
        self._stopping.set()

    async def run(self) -> None:
        """Read, try, retry, until `stop`."""
        await self.journal.start()
        tasks = [asyncio.create_task(queue.run()) for queue in self.queues.values()]
        self._ended = asyncio.get_running_loop().create_future()
        for task in tasks:
            task.add_done_callback(self._on_end)
        self._consumer = self._new_consumer()
        try:
            await until(self._stopping, self._read_on(), self._watch.run(), self._ended)
        except (KafkaError, OSError, TimeoutError) as error:
            raise BrokerUnavailable(f"the dispatcher lost Kafka ({error!r})") from error
        finally:
            await self._close(tasks)

    async def _read_on(self) -> None:
        await self._answer(self._consumer.start())
        self._consumer.subscribe([self.topic], listener=self)
        while not self._stopping.is_set():
            await self._turn()

    def _new_consumer(self) -> Any:
        # `earliest` skips in silence what retention has deleted; here the numbers of the facts would tell.
        return AIOKafkaConsumer(
            bootstrap_servers=self.settings.kafka.bootstrap,
            group_id=self.group,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=10_000,
            heartbeat_interval_ms=2_000,
        )

    async def _close(self, tasks: list[asyncio.Task[None]]) -> None:
        try:
            await asyncio.wait_for(self._forget(list(self.parts)), STOP_S)
        except TimeoutError:
            log.warning("tries are still under way; the next start repeats them under the same id")
        for task in (*tasks, *self._acquiring.values()):
            task.cancel()
        await asyncio.gather(*tasks, *self._acquiring.values(), return_exceptions=True)
        await asyncio.gather(stop_consumer(self._consumer), self.journal.stop())

    def _on_end(self, task: asyncio.Task[None]) -> None:
        assert self._ended is not None
        if not task.cancelled() and (error := task.exception()) is not None and not self._ended.done():
            self._ended.set_exception(_first(error))

    def _may_stand_still(self) -> dict[TopicPartition, bool]:
        """What is being taken over may: reading its journal takes as long as it takes, and fails in time."""
        return {at: self._is_halted(at.partition) for at in self._consumer.assignment()}

    def _is_halted(self, partition: int) -> bool:
        taking_over = self._acquiring.get(partition)
        part = self.parts.get(partition)
        return bool(part and part.halt) or (taking_over is not None and not taking_over.done())

    # -- partitions ---------------------------------------------------------------------------------------------

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Let them wait until a task has read their journal."""
        self._consumer.pause(*assigned)
        for at in assigned:
            task = self._acquiring[at.partition] = asyncio.create_task(self._acquire(at))
            task.add_done_callback(self._on_end)

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Forget them; tries under way are finished first, so that the next owner knows of them."""
        await self._forget([at.partition for at in revoked])

    async def _forget(self, partitions: Iterable[int]) -> None:
        for partition in partitions:
            if (task := self._acquiring.pop(partition, None)) is not None:
                task.cancel()
            self.parts.pop(partition, None)
            await asyncio.gather(*(queue.drop(partition) for queue in self.queues.values()))
        self._count_halted()

    async def _acquire(self, at: TopicPartition) -> None:
        known = (await committed(self.settings.kafka.bootstrap, self.group)).get(at)
        memory = await self.journal.load(at.partition)
        first = (await self._answer(self._consumer.beginning_offsets([at])))[at]
        end = (await self._answer(self._consumer.end_offsets([at])))[at]
        place, next_offset = _start(known, first)
        part = self.parts[at.partition] = Part(place, memory)
        place.live = place.live or memory.live
        if place.live and not memory.live:  # its entry has left the journal with its retention
            await self.journal.append(at.partition, [self._live(place.live)])
        log.info("partition taken over", partition=at.partition, next_offset=next_offset, open=len(memory.open))
        waiting, memory.open = memory.open, {}
        for contact in waiting.values():
            if (queue := self.queues.get(contact.endpoint)) is not None:
                queue.add(contact)
        if next_offset > end:
            self._halt(at, part, f"the topic ends at {end}, below our {next_offset}: it is another one")
            return
        self._consumer.seek(at, next_offset)
        self._consumer.resume(at)

    async def _answer(self, call: Awaitable[Any]) -> Any:
        return await asyncio.wait_for(call, ANSWER_S)

    def _halt(self, at: TopicPartition, part: Part, why: str) -> None:
        """Stop reading a partition until a person has looked; contacts it already has are still tried."""
        part.halt = why
        self._consumer.pause(at)
        self._count_halted()
        log.error("dispatcher stopped a partition", partition=at.partition, why=why)

    def _count_halted(self) -> None:
        halted = sum(1 for it in self.parts.values() if it.halt)
        self.metrics["memberflow_dispatcher_stopped_partitions"].set(halted)

    # -- facts --------------------------------------------------------------------------------------------------

    async def _turn(self) -> None:
        try:
            got = await self._consumer.getmany(timeout_ms=POLL_MS, max_records=FETCH_RECORDS)
        except KeyError:
            return  # a partition that a rebalance took away during the fetch
        for at, records in got.items():
            part = self.parts.get(at.partition)
            if part is not None and not part.halt and records:
                await self._take(at, part, records)

    async def _take(self, at: TopicPartition, part: Part, records: list[ConsumerRecord]) -> None:
        """1 plans and `go_live` into the journal, 2 into the queues, 3 commit."""
        entries: list[AnyEntry] = []
        next_offset = records[0].offset
        for record in records:
            try:
                entries += self._read(part, record.value)
            except (msgspec.DecodeError, Gap) as error:
                self._halt(at, part, f"fact at offset {record.offset}: {error}")
                break
            next_offset = record.offset + 1
        if entries:
            await self.journal.append(at.partition, entries)  # 1
        self._fail("dispatcher.planned")
        if self.parts.get(at.partition) is not part:
            return  # handed over meanwhile
        for entry in entries:
            part.memory.learn(at.partition, entry)
            if isinstance(entry, Planned) and (contact := part.memory.open.pop(entry.id, None)) is not None:
                self.queues[entry.endpoint].add(contact)  # 2
        await self._commit(at, next_offset, part.place)  # 3

    def _read(self, part: Part, value: bytes) -> list[AnyEntry]:
        """What one fact adds to the journal. Raises `Gap`."""
        head, place = _head(value), part.place
        admission = place.admit(head.n)
        if admission == "gap":
            raise Gap(f"number {head.n} follows {place.n}: some are missing")
        if admission == "repeat" or head.kind not in ("in_force", "tier.entered"):
            return []
        fact = fact_codec.decode(value)
        if isinstance(fact, InForce):
            if fact.control != "go_live" or place.live:
                return []
            place.live = fact.n
            return [self._live(fact.n)]
        assert isinstance(fact, TierEntered)
        if not place.live or fact.n <= place.live:
            self.metrics["memberflow_webhooks_suppressed"].labels("before_go_live").inc(len(self.queues))
            return []
        if fact.brought:  # due before the member was brought along: it fires no step
            self.metrics["memberflow_webhooks_suppressed"].labels("brought").inc(len(self.queues))
            return []
        return self._plan(part, fact)

    def _plan(self, part: Part, fact: TierEntered) -> list[AnyEntry]:
        body, origin = body_of(fact), origin_of(fact)
        if len(body) >= BODY_BYTES_MAX:
            self.metrics["memberflow_webhooks_suppressed"].labels("too_big").inc(len(self.queues))
            return []
        ids = [(name, contact_id(fact.tier, fact.member_id, origin, name)) for name in self.queues]
        at = round(self.wall() * 1000)
        return [
            Planned(id=contact, at=at, endpoint=name, body=body.decode())
            for name, contact in ids
            if bytes.fromhex(contact) not in part.memory.known
        ]

    def _live(self, n: int) -> Live:
        return Live(id="", at=round(self.wall() * 1000), n=n)

    async def _commit(self, at: TopicPartition, next_offset: int, place: Place) -> None:
        # Refused when another dispatcher owns it now; the journal tells that one what was planned.
        with suppress(CommitFailedError, IllegalStateError):
            await self._answer(self._consumer.commit({at: OffsetAndMetadata(next_offset, place.encode())}))


class Gap(Exception):
    """A number that does not follow the last one seen."""


def _start(known: OffsetAndMetadata | None, first: int) -> tuple[Place, int]:
    """Where to begin. Metadata is lost when a person rewinds the group, and the numbers then start anew."""
    if known is None:
        return Place(n=None if first else 0), first
    try:
        place = _place(known.metadata)
    except msgspec.DecodeError:
        place = Place(n=None)
    place.gap = 0
    return place, known.offset


def _first(error: BaseException) -> BaseException:
    """The error inside a group of errors."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
