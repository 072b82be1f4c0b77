"""History into the log before it opens to live traffic: one programme day at a time, each ended by a tick.

The log stamps records with the times they carry until `finish`. A day's records are sorted, each goes to the right
partition, and a tick in every partition ends the day; the next day waits until all have committed it, so timers fire
at most a day late by the clock (what they say carries the exact moment). Where it stopped is read from the
partitions' own clocks: running an import again goes on there, and what is appended twice is a duplicate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from types import TracebackType
from typing import Any, NamedTuple, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from processors.calendar import Calendar
from schemas import partition as partition_codec
from schemas.decoding import Controlled, decode
from schemas.programme import Programme, parse
from schemas.records import ProgrammeControl, tick
from schemas.settings import Settings
from schemas.topics import Stamp, topics
from streams import topics as topic_admin
from streams.clients import stop_producer
from streams.errors import BrokerUnavailable, InputInvalid, PartitionHalted, UsageError
from streams.log_reader import LogReader
from streams.store import StateStore

BATCH_BYTES = 200_000
"""The topic takes 256 kB a batch; this is before compression."""

ACK_S = 30.0
POLL_S = 0.005
NOTICE_S = 5.0
PATIENCE_S = 60.0
"""How long nothing may move before we give up: a worker that was just started needs some seconds."""

IMPORTER = "importer"
SHOWN_MAX = 5


class Entry(NamedTuple):
    """One action of the past, ready to be appended."""

    at: int
    partition: int
    key: bytes
    value: bytes


class Plan(NamedTuple):
    """What is imported: entries by programme day, and the moment at which the last day ends at the latest."""

    days: Mapping[int, Sequence[Entry]]
    end: int


class Imported(NamedTuple):
    """What an import did."""

    days: int
    actions: int
    skipped: int  # on days that the log has behind it
    clock: int


class BadLines:
    """Lines that cannot be imported, told together: the file is corrected once, not ten times."""

    def __init__(self, name: str) -> None:
        self.name, self.found = name, list[tuple[int, str]]()

    def add(self, number: int, what: str) -> None:
        """A line and what is wrong with it."""
        self.found.append((number, what))

    def raise_any(self) -> None:
        """Raise `InputInvalid` if there is one; nothing was appended yet."""
        if self.found:
            more = len(self.found) - SHOWN_MAX
            lines = [f"{self.name}:{number}: {what}" for number, what in sorted(self.found)[:SHOWN_MAX]]
            told = "; ".join(lines) + (f"; and {more} more" if more > 0 else "")
            raise InputInvalid(told, remedy="nothing was imported; correct the file and run the command again")


async def first_programme(settings: Settings) -> tuple[Programme, ProgrammeControl]:
    """What the log began with. Raises `UsageError` for a log that has not begun."""
    name = topics(settings.log, partitions=settings.partitions).actions.name
    async with LogReader(settings.kafka.bootstrap, name) as reader:
        _, end = await reader.bounds(0)
        async for records in reader.read(0, 0, min(1, end)):
            item = decode(records[0].value, records[0].headers)
            if isinstance(item, Controlled) and isinstance(item.body, ProgrammeControl):
                return parse(item.body.text), item.body
    raise UsageError(f"log {settings.log} has not begun", remedy="begin it with `memberflow bootstrap --history`")


def calendar_of(text: str) -> Calendar:
    """The calendar of a programme's text."""
    programme = parse(text)
    return Calendar(programme.zone, programme.day_starts_at)


def plan(entries: Sequence[Entry], calendar: Calendar, end: int) -> Plan:
    """Entries by programme day, sorted by time; of equal times in the order given."""
    days: dict[int, list[Entry]] = {}
    for entry in entries:
        days.setdefault(calendar.day(entry.at), []).append(entry)
    for day in days.values():
        day.sort(key=lambda entry: entry.at)
    return Plan(days, end)


class Importer:
    """Appends the days of a plan; an async context manager, for it owns a producer."""

    def __init__(
        self, settings: Settings, store: StateStore, calendar: Calendar, *, notice: Callable[[str], None]
    ) -> None:
        self.settings, self.store, self.calendar, self.notice = settings, store, calendar, notice
        self.topic = topics(settings.log, partitions=settings.partitions).actions.name
        self.partitions = range(settings.partitions)
        self._producer = AIOKafkaProducer(
            bootstrap_servers=settings.kafka.bootstrap,
            enable_idempotence=True,
            acks="all",
            compression_type="zstd",
            max_batch_size=BATCH_BYTES,
        )

    async def __aenter__(self) -> Self:
        try:
            await asyncio.wait_for(self._producer.start(), ACK_S)
        except (KafkaError, OSError, TimeoutError) as error:
            await stop_producer(self._producer)
            raise BrokerUnavailable(f"Kafka does not answer ({error!r})") from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await stop_producer(self._producer)

    async def remaining(self, it: Plan) -> range:
        """The programme days that the log does not have behind it yet."""
        await self.caught_up()
        first = max(self.calendar.day(await self.clock()), min(it.days, default=self.calendar.day(it.end)))
        return range(first, self.calendar.day(it.end - 1) + 1)

    async def run(self, it: Plan, days: range, *, progress: Callable[[int], None] = lambda days: None) -> Imported:
        """Append these days of the plan, one after the other."""
        appended = 0
        for day in days:
            entries = it.days.get(day, ())
            ends = await self._append(entries, min(self.calendar.day_start(day + 1), it.end))
            await self.committed(ends)
            appended += len(entries)
            progress(1)
        skipped = sum(len(entries) for day, entries in it.days.items() if day < days.start)
        return Imported(len(days), appended, skipped, await self.clock())

    async def clock(self) -> int:
        """The lowest clock of a partition: everything before it is in the log and committed."""
        heads = await self.store.headers(self.partitions)
        states = [head.partition_state for head in heads.values() if head is not None]
        if len(states) < len(self.partitions):
            raise UsageError(f"log {self.settings.log} has no state", remedy="begin it with `memberflow bootstrap`")
        return min(partition_codec.decode(state).clock if state else 0 for state in states)

    async def caught_up(self) -> None:
        """Wait until everything in the log is committed."""
        async with LogReader(self.settings.kafka.bootstrap, self.topic) as reader:
            ends = {partition: (await reader.bounds(partition))[1] for partition in self.partitions}
        await self.committed(ends)

    async def committed(self, ends: Mapping[int, int]) -> None:
        """Wait until every partition has committed its end. Raises when one is halted, or nothing moves."""
        moved, noticed, before = monotonic(), False, -1
        while True:
            found = {
                partition: offset or 0 for partition, offset in (await self.store.offsets(self.partitions)).items()
            }
            behind = [partition for partition, end in ends.items() if found[partition] < end]
            if not behind:
                return
            if sum(found.values()) != before:
                moved, before = monotonic(), sum(found.values())
            still = monotonic() - moved
            if still > NOTICE_S / 5 and (halted := await self.store.halted(behind)):
                partition, reason = next(iter(halted.items()))
                raise PartitionHalted(f"partition {partition} is halted: {reason}")
            where = (
                f"partition {behind[0]} of log {self.settings.log} stands at {found[behind[0]]} of {ends[behind[0]]}"
            )
            if still > NOTICE_S and not noticed:
                noticed = True
                self.notice(f"waiting for a worker: {where}")
            if still > PATIENCE_S:
                raise UsageError(where, remedy="start `memberflow worker` for this log, then run the import again")
            await asyncio.sleep(POLL_S)

    async def _append(self, entries: Sequence[Entry], ends_at: int) -> dict[int, int]:
        """A day's records and the tick that ends it, all partitions at once; the offsets after the ticks."""
        by_partition: dict[int, list[Entry]] = {partition: [] for partition in self.partitions}
        for entry in entries:
            by_partition[entry.partition].append(entry)
        end = Entry(ends_at, -1, b"", tick(IMPORTER))
        try:
            sent = [self._partition(partition, [*some, end]) for partition, some in by_partition.items()]
            return dict(zip(by_partition, await asyncio.gather(*sent), strict=True))
        except (KafkaError, OSError, TimeoutError) as error:
            raise BrokerUnavailable(f"history not appended ({error!r})") from error

    async def _partition(self, partition: int, entries: Sequence[Entry]) -> int:
        """Batch after batch, each acknowledged before the next; the offset after the last record."""
        batch, end = self._producer.create_batch(), 0
        for entry in entries:
            row: dict[str, Any] = {"key": entry.key or None, "value": entry.value, "timestamp": entry.at}
            if batch.append(**row, headers=[]) is None:
                end = await self._acked(batch, partition)
                batch = self._producer.create_batch()
                if batch.append(**row, headers=[]) is None:
                    raise InputInvalid(f"an action of {len(entry.value)} bytes is too big")
        return await self._acked(batch, partition) or end

    async def _acked(self, batch: Any, partition: int) -> int:
        count: int = batch.record_count()
        batch.close()
        sent = await asyncio.wait_for(self._producer.send_batch(batch, self.topic, partition=partition), ACK_S)
        return int((await asyncio.wait_for(sent, ACK_S)).offset) + count


def check_stamp(settings: Settings, client: Any) -> None:
    """Refuse a log that takes live traffic: its broker would stamp history with today. Raises `UsageError`."""
    if stamp_of(settings, client) != "CreateTime":
        what = f"log {settings.log} is open to live traffic, history goes in before"
        raise UsageError(what, remedy="begin another log with `memberflow bootstrap --history`")


def stamp_of(settings: Settings, client: Any) -> Stamp:
    """How the log stamps its records now. Raises `UsageError` where there is no log."""
    declared = topics(settings.log, partitions=settings.partitions, history=True).actions
    found = {it.what: it.found for it in topic_admin.compare(client, [declared])}
    if found.get("topic") == "missing":
        what = f"there is no log {settings.log}"
        raise UsageError(what, remedy="begin it with `memberflow bootstrap --history`")
    return "LogAppendTime" if "message.timestamp.type" in found else "CreateTime"


def finish(settings: Settings, client: Any) -> bool:
    """Let the broker's clock stamp what comes from now on; old stamps stay. False where it does so already."""
    if stamp_of(settings, client) == "LogAppendTime":
        return False
    name = topics(settings.log, partitions=settings.partitions).actions.name
    topic_admin.set_stamp(client, name, "LogAppendTime")
    return True
