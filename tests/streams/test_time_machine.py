"""A member and a partition at any moment: the past as a worker had it then, the future as ticks will bring it.

Seeds: traffic 1 to 3, and 5 beside them where a leader is wanted; moments 5.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from processors.ahead import ahead
from processors.calendar import Calendar
from processors.output import Failure, Output
from processors.partition import Partition
from processors.partitioner import partition_of
from processors.versions import versions_of
from schemas import facts as fact_codec
from schemas import partition as partition_codec
from schemas.facts import Fact, LevelChanged
from schemas.member import STATE_VERSION
from schemas.partition import PartitionState
from schemas.records import Record, Thresholds, tick
from schemas.settings import Settings
from schemas.topics import topics
from streams import snapshot
from streams.errors import StateLost, UsageError
from streams.lane import Lane, Refetch
from streams.member_words import Shown, shown
from streams.memory_store import MemoryStore
from streams.metrics import Metrics
from streams.replay import Replay
from streams.store import Acquired, Dump, Identity
from streams.time_machine import TimeMachine, moment_of
from streams.worker import Worker
from tests.crash.traffic import PROGRAMME, WORKERS, Traffic, control, instant
from tests.doubles import Line, ListPublisher, ListSource, MemoryLog, StoreLink, instantly

LOG, PARTITIONS, PARTITION = "then-1", 3, 0
TOPICS, IDENTITY = topics(LOG, partitions=PARTITIONS), Identity(LOG, "topic-1", PARTITIONS)
HOUR, DAY = 3_600_000, 86_400_000
SETTINGS = Settings(log=LOG, partitions=PARTITIONS, _env_file=None)
SHANGHAI = Calendar("Asia/Shanghai", 0)
STEEP = {
    "spend_from: 200, streak": "spend_from: 20, streak",
    "spend_above: 5000": "spend_above: 50",
    "spend_above: 6500": "spend_above: 60",
    "spend_above: 8000": "spend_above: 70",
    "spend_above: 10000": "spend_above: 80",
    "spend_above: 15000": "spend_above: 120",
    "spend_above: 20000": "spend_above: 160",
    "miss_days: 90": "miss_days: 9",
    "warn_days: 60": "warn_days: 6",
    "{percent: 10, days: 30,": "{percent: 10, days: 12,",
}
"""A ladder that a few purchases climb, from whose top who falls silent is gone within days."""


def steep() -> str:
    """The programme of traffic with that ladder."""
    text = PROGRAMME
    for said, instead in STEEP.items():
        assert text.count(said) == 1, said
        text = text.replace(said, instead)
    return text


class Lived:
    """A log that a worker took record by record, and the digest of its partition after each."""

    def __init__(self, seed: int) -> None:
        self.rnd = Random(seed)
        self.log, self.store = MemoryLog(), MemoryStore(LOG)
        self.traffic = Traffic(self.rnd, self.log, TOPICS, steep())
        link = StoreLink(self.store, Line())
        publisher = ListPublisher(self.log, Line(), TOPICS, ("workers", WORKERS))
        self.worker = Worker(link, publisher, Metrics(), cache_per_lane=5)
        self.digests: dict[int, str] = {}  # next offset of PARTITION -> digest
        self.images: list[Dump] = []

    async def live(self, bursts: int) -> None:
        lanes = {}
        for partition in range(PARTITIONS):
            await self.store.bootstrap(partition, IDENTITY, "life")
            got = await self.store.acquire(partition, IDENTITY, state_version=STATE_VERSION)
            assert isinstance(got, Acquired)
            fold = Partition(TOPICS.actions.name, partition, PARTITIONS, PartitionState(), got.timers, got.buckets)
            lanes[partition] = Lane(fold, got)
        for number in range(bursts):
            if number in (4, 9):
                self.traffic.change_programme()
            if number in (6, 12):
                self.publish(number)
            self.traffic.burst(40)
            while unread := [
                (lane, record)
                for partition, lane in lanes.items()
                for record in self.log.read(TOPICS.actions.name, partition, lane.next_offset)
            ]:  # what members of other partitions bring about comes after
                for lane, record in unread:
                    await self.one(lane, record)
            image = await self.store.dump(PARTITION)
            assert image is not None
            self.images.append(image)

    def publish(self, number: int) -> None:
        """A threshold of the most active, each higher than the one before."""
        values, counts = {"community": [number / 3]}, {"community": 120}
        body = Thresholds(id="thresholds", number=number, by="op", day=20_513, values=values, counts=counts)
        for partition in range(PARTITIONS):
            self.log.append(TOPICS.actions.name, partition, control(body))

    async def one(self, lane: Lane, record: Record) -> None:
        try:
            await self.worker.chunk(lane, [record])
        except Refetch:  # a gap is fetched again once
            await self.worker.chunk(lane, [record])
        if lane.fold.number == PARTITION:
            image = await self.store.dump(PARTITION)
            assert image is not None
            assert image.next_offset == record.offset + 1
            self.digests[record.offset + 1] = image.digest()

    def machine(self, chunk: int = 500, folder: Path | None = None) -> TimeMachine:
        return TimeMachine(
            SETTINGS, self.store, ListSource(self.log, TOPICS.actions.name, chunk), nothing, folder=folder
        )

    def records(self) -> list[Record]:
        return self.log.read(TOPICS.actions.name, PARTITION)

    def standing_at(self, at: int) -> int:
        """Where the partition stood before its clock passed a moment: in a log walked by hand."""
        clock, stands = 0, 0
        for record in self.records():
            clock = max(clock, record.timestamp)
            if clock > at:
                break
            stands = record.offset + 1
        return stands


async def nothing(partition: int) -> dict[int, Failure]:
    return {}


@cache
def lived(seed: int) -> Lived:
    found = Lived(seed)
    instantly(found.live(14))
    return found


def some_moments(it: Lived) -> list[int]:
    """Between the log's ends, on records' own moments and between them."""
    rnd, stamps = Random(5), [record.timestamp for record in it.records()]
    first, last = stamps[0], max(stamps) - 1
    exact = [at for at in rnd.sample(stamps, 25) if at <= last]
    return [*exact, *(rnd.randint(first, last) for _ in range(50 - len(exact)))]


@pytest.mark.parametrize(("seed", "chunk"), [(1, 500), (2, 7), (3, 64)])
async def test_fifty_moments_of_the_past_are_what_was_lived(seed: int, chunk: int, tmp_path: Path) -> None:
    it = await asyncio.to_thread(lived, seed)
    inside = 0
    for number, image in enumerate(it.images[::4]):
        snapshot.write(tmp_path, snapshot.Snapshot(snapshot.FORMAT, PARTITION, image.digest(), image))
        assert number < 4
    for folder in (None, tmp_path):
        for at in some_moments(it):
            replay = await it.machine(chunk, folder).past(PARTITION, at)
            assert replay.next_offset == it.standing_at(at)
            assert (await replay.dump()).digest() == it.digests[replay.next_offset]
            inside += replay.next_offset % chunk != 0
    assert inside > 50, "moments lie inside of chunks"


async def test_an_image_saves_the_log_below_it(tmp_path: Path) -> None:
    it = await asyncio.to_thread(lived, 1)
    image = it.images[10]
    snapshot.write(tmp_path, snapshot.Snapshot(snapshot.FORMAT, PARTITION, image.digest(), image))
    read: list[int] = []
    machine = it.machine(50, tmp_path)
    machine.progress = read.append
    later = next(record.timestamp for record in it.records() if record.offset > image.next_offset + 20)
    replay = await machine.past(PARTITION, later)
    assert sum(read) <= replay.next_offset - image.next_offset < replay.next_offset // 2
    read.clear()
    sooner = await machine.past(PARTITION, it.records()[5].timestamp)
    assert sum(read) > 0
    assert (await sooner.dump()).digest() == it.digests[sooner.next_offset]


async def test_what_no_worker_has_committed_yet_is_folded_from_where_they_stand() -> None:
    it = await asyncio.to_thread(lived, 2)
    behind = MemoryStore(LOG)
    await behind.bootstrap(PARTITION, IDENTITY, "life", dump=it.images[10])
    read: list[int] = []
    source = ListSource(it.log, TOPICS.actions.name, 50)
    machine = TimeMachine(SETTINGS, behind, source, nothing, progress=read.append)
    at = max(record.timestamp for record in it.records()) - 1
    replay = await machine.past(PARTITION, at)
    assert (await replay.dump()).digest() == it.digests[replay.next_offset]
    assert sum(read) < replay.next_offset - it.images[9].next_offset


async def test_a_member_of_the_past_is_shown_as_it_was() -> None:
    it = await asyncio.to_thread(lived, 1)
    clocks = [(image, partition_codec.decode(image.partition_state)) for image in it.images[6:]]
    image, own = next(pair for pair in clocks if it.standing_at(pair[1].clock) == pair[0].next_offset)
    name = max(image.states, key=lambda name: len(image.states[name]))
    then = await it.machine().show(name, instant(own.clock))
    assert (then.next_offset, then.as_of) == (image.next_offset, then.as_of)
    now = await it.machine().show(name, "2099-01-01T00:00:00+00:00")
    assert not then.foreseen
    assert now.foreseen
    assert then.issued <= now.issued
    live = await shown_in(image, name)
    assert then == live


async def shown_in(image: Dump, name: str, *, foreseen: bool = False) -> Shown:
    """A member of an image, at its clock."""
    replay = Replay(IDENTITY, TOPICS.actions.name, PARTITION)
    await replay.begin(image)
    member, own = await replay.member(name), replay.own_state
    rules = versions_of(own).in_force
    assert member is not None
    assert rules is not None
    return shown(name, member.state, rules, own.clock, (LOG, PARTITION, image.next_offset), foreseen=foreseen)


# -- the future


@cache
def thirty_days(seed: int) -> tuple[dict[str, Shown], dict[str, list[dict[str, Any]]], int]:
    """What ticks make of every member: one each two hours, the last at the very end of 30 days."""
    it = lived(seed)
    image, heard = it.images[-1], list[bytes]()

    def hear(out: Output) -> None:
        heard.extend(out.facts)

    async def ticks() -> tuple[dict[str, Shown], int]:
        clock = partition_codec.decode(image.partition_state).clock
        replay = Replay(IDENTITY, TOPICS.actions.name, PARTITION, hear=hear)
        await replay.begin(image)
        stamps = [clock + hours * HOUR for hours in range(2, 30 * 24, 2)] + [clock + 30 * DAY]
        await replay.feed([Record(image.next_offset + n, at, None, tick()) for n, at in enumerate(stamps)])
        after = await replay.dump()
        return {name: await shown_in(after, name, foreseen=True) for name in after.states}, clock + 30 * DAY

    found, at = asyncio.run(ticks())
    told: dict[str, list[dict[str, Any]]] = {}
    for raw in heard:
        fact = fact_codec.decode(raw)
        told.setdefault(fact.member_id, []).append(bare(fact))
    return found, told, at


def milliseconds(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).timestamp() * 1000)


def bare(fact: Fact) -> dict[str, Any]:
    """A fact without what depends on when the tick came."""
    data: dict[str, Any] = msgspec.to_builtins(fact)
    return {name: value for name, value in data.items() if name not in PLACES}


PLACES = ("log", "partition", "offset", "index", "n", "decided_at", "amends")


@pytest.mark.parametrize("seed", [1, 3, 5])
async def test_a_moment_to_come_is_what_thirty_days_of_ticks_bring(seed: int) -> None:
    it = await asyncio.to_thread(lived, seed)
    expected, told, at = await asyncio.to_thread(thirty_days, seed)
    before = await it.store.dump(PARTITION)
    for name, then in expected.items():
        foreseen = await it.machine().show(name, instant(at))
        assert foreseen == msgspec.structs.replace(then, next_offset=foreseen.next_offset)
    own, happened = partition_codec.decode(it.images[-1].partition_state), 0
    for name in expected:
        replay = Replay(IDENTITY, TOPICS.actions.name, PARTITION)
        await replay.begin(it.images[-1])
        member = await replay.member(name)
        assert member is not None
        _, facts = ahead(own, member, at, it.images[-1].next_offset)
        assert [bare(fact) for fact in facts] == told.get(name, [])
        happened += len(facts)
    assert happened > 5
    told_of_levels = [fact for facts in told.values() for fact in facts if fact["kind"] == "level.changed"]
    assert any(fact["level_before"].startswith("leader") for fact in told_of_levels), "thresholds matter"
    assert await it.store.dump(PARTITION) == before, "nothing live was touched"


@pytest.mark.parametrize("seed", [1, 3, 5])
async def test_what_is_said_to_come_if_nothing_happens_does(seed: int) -> None:
    it, came = await asyncio.to_thread(lived, seed), 0
    for image in it.images[7:]:
        own = partition_codec.decode(image.partition_state)
        until = own.clock + 30 * DAY
        for name in image.states:
            said = [(one.level, milliseconds(one.at)) for one in (await shown_in(image, name)).level.coming]
            replay = Replay(IDENTITY, TOPICS.actions.name, PARTITION)
            await replay.begin(image)
            member = await replay.member(name)
            assert member is not None
            _, facts = ahead(own, member, until, image.next_offset)
            changes = [fact for fact in facts if isinstance(fact, LevelChanged)]
            if changes:
                assert (changes[0].level, changes[0].effective_at) == said[0]
                came += 1
            else:
                assert not said or said[0][1] > until
    assert came > 1


async def test_at_the_clock_itself_nothing_is_foreseen_yet() -> None:
    it = await asyncio.to_thread(lived, 3)
    image = it.images[-1]
    clock = partition_codec.decode(image.partition_state).clock
    for name in image.states:
        assert await it.machine().show(name, instant(clock)) == await shown_in(image, name, foreseen=True)


# -- what a person types


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2026-09-01T12:00", 1_788_235_200_000),
        ("2026-09-01T12:00:00.250", 1_788_235_200_250),
        ("2026-09-01T04:00Z", 1_788_235_200_000),
        ("2026-09-01T12:00+08:00", 1_788_235_200_000),
        ("2026-09-01", 1_788_192_000_000),
        ("2099-12-31T23:59:59Z", 4_102_444_799_000),
    ],
)
def test_a_moment_is_in_the_zone_of_the_programme_unless_it_says_otherwise(text: str, ms: int) -> None:
    assert moment_of(text, SHANGHAI) == ms


@pytest.mark.parametrize("text", ["", "noon", "2026-13-01", "2026-09-01T25:00", "2026-09-01T12:00+99:00"])
def test_what_is_no_moment_is_told_with_how_to_write_one(text: str) -> None:
    with pytest.raises(UsageError, match="is no moment; write 2026-09-01T12:00"):
        moment_of(text, SHANGHAI)


@pytest.mark.parametrize("text", ["2100-01-01T00:00Z", "9999-12-31T23:59"])
def test_nothing_is_told_beyond_2099(text: str) -> None:
    with pytest.raises(UsageError, match="is after the year 2099"):
        moment_of(text, SHANGHAI)


Asks = Callable[[Lived], Awaitable[object]]


async def before_all(it: Lived) -> object:
    return await it.machine().show(next(iter(it.images[-1].states)), instant(it.records()[0].timestamp - 1))


async def long_before_all(it: Lived) -> object:
    return await it.machine().show(next(iter(it.images[-1].states)), "0001-01-01")


async def not_seen_yet(it: Lived) -> object:
    return await it.machine().show(next(iter(it.images[-1].states)), instant(it.records()[0].timestamp))


async def nobody(it: Lived) -> object:
    name = next(name for name in map("nobody-{}".format, range(99)) if partition_of(name, PARTITIONS) == PARTITION)
    return await it.machine().show(name, "2099-01-01")


async def no_state(it: Lived) -> object:
    source = ListSource(it.log, TOPICS.actions.name, 9)
    return await TimeMachine(SETTINGS, MemoryStore(LOG), source, nothing).show("m-1", "2026-05-01")


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (before_all, f"log {LOG} began at 2026-03-02 00:00:00+08:00, after that; choose a later moment"),
        (long_before_all, f"log {LOG} began at 2026-03-02 00:00:00+08:00, after that; choose a later moment"),
        (not_seen_yet, f"log {LOG} had no member"),
        (nobody, f"log {LOG} has no member nobody-"),
        (no_state, "has no state"),
    ],
    ids=lambda it: getattr(it, "__name__", ""),
)
async def test_what_cannot_be_told_is_one_line(ask: Asks, told: str) -> None:
    it = await asyncio.to_thread(lived, 1)
    with pytest.raises((UsageError, StateLost)) as refused:
        await ask(it)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


async def test_an_image_later_than_what_is_left_of_the_log_does_not_pass_for_the_past(tmp_path: Path) -> None:
    it = await asyncio.to_thread(lived, 1)
    image = it.images[8]
    snapshot.write(tmp_path, snapshot.Snapshot(snapshot.FORMAT, PARTITION, image.digest(), image))

    class Shortened(ListSource):
        async def bounds(self, partition: int) -> tuple[int, int]:
            return image.next_offset, self.log.end(self.topic, partition)

        async def offset_at(self, partition: int, timestamp: int) -> int | None:
            found = await super().offset_at(partition, timestamp)
            return None if found is None else max(found, image.next_offset)

    source = Shortened(it.log, TOPICS.actions.name, 50)
    for folder, told in ((tmp_path, "what is left of the log begins at"), (None, "name its folder with --from")):
        machine = TimeMachine(SETTINGS, it.store, source, nothing, folder=folder)
        with pytest.raises(StateLost, match=told):
            await machine.past(PARTITION, it.records()[20].timestamp)
