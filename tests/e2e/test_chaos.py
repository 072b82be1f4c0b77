"""Chaos on real parts: three workers and a sink under load are killed, frozen and cut off; then all must agree.

    CHAOS_SECONDS=300 SEED=7 pytest tests/e2e/test_chaos.py
    pytest -m nightly tests/e2e/test_chaos.py    # a million records and more; CHAOS_RECORDS says how many

It fails if nothing happened: kills by place, fenced zombies, publishes open when Redis and Kafka died, and every kind
of action and correction that `simulate --check` must find again.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from infra.stack import Stack
from schemas import partition as partition_codec
from schemas.facts import TierEntered
from streams.analytics import Reader
from streams.keys import private_key
from tests.e2e.chaos_fleet import ACQUIRED, Fleet, Member
from tests.e2e.chaos_staff import Staff
from tests.e2e.chaos_traffic import Load
from tests.e2e.looking_back import Kept
from tests.e2e.memberflow import COMMAND
from tests.e2e.proof import Proof, Told, in_time
from tests.happened import missing

SECONDS = float(os.environ.get("CHAOS_SECONDS", "120"))
RECORDS = int(os.environ.get("CHAOS_RECORDS", "1000000"))
pytestmark = [pytest.mark.real, pytest.mark.timeout(780 + SECONDS * 10)]
SEED = int(os.environ.get("SEED", "1"))
RATE = int(os.environ.get("CHAOS_RATE", "2000"))
TEXT = Path("schemas/programmes/default.yaml").read_text()
OTHER = TEXT.replace("per_unit: 1 ", "per_unit: 2 ").replace("chat: 1000", "chat: 4000")
PARTITIONS = 6
SESSION_SECONDS = 6
FATES = (
    "CRASH chunk.published",
    "FREEZE chunk.decided",
    "CRASH chunk.published",
    "CRASH chunk.fetched",
    "FREEZE chunk.published",
    "CRASH publish.half",
    "CRASH chunk.published",
    "CRASH chunk.committed",
    "CRASH chunk.published",
    "CRASH chunk.decided",
)
FREEZES = [fate for fate in FATES if fate.startswith("FREEZE")]
PATIENCE = 240
CALM_RATE = 500
"""Of actions a second, once the records of a long run are sent."""
PEOPLE = ("--why", "chaos", "--by", "ana", "--approved-by", "ben")
CHANGES = (("points: 7\n", "after_days: 6}"), ("points: 8\n", "after_days: 7}"))
"""Of the share's points and the first tier, in the two programmes that come into force meanwhile."""

AWAY = "`memberflow doctor`"
"""What a command advises where a part does not answer."""

HOLDS_AFTER = 70
"""Seconds after its record at which a programme holds, and some more for actions that it judges."""


def wall() -> float:
    """Senders have a clock."""
    return time.time()  # noqa: TID251 - the world outside of the log


class Site(Kept):
    """A log of six partitions on a stack of its own, whose parts may be killed."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        super().__init__(stack, folder)
        more = {
            "MEMBERFLOW_PARTITIONS": str(PARTITIONS),
            "MEMBERFLOW_WORKER__SESSION_TIMEOUT_S": str(SESSION_SECONDS),
        }
        self.stack, self.own, self.env = stack, self.own | more, self.env | more

    def tried(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """A command that may fail."""
        command = [str(COMMAND), *arguments]
        return subprocess.run(command, env=self.env, cwd=self.folder, capture_output=True, check=False, timeout=300)


@pytest.fixture
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A log that has begun."""
    folder = tmp_path_factory.mktemp("chaos")
    with Stack(folder / "stack") as stack:
        log = Site(stack, folder)
        log.ok("topics", "apply")
        log.ok("bootstrap")
        log.ok("migrate")
        yield log


class Chaos:
    """What is done to the fleet while the load runs."""

    def __init__(self, log: Site, fleet: Fleet, rnd: Random, load: Load, records: int) -> None:
        self.log, self.fleet, self.rnd, self.load, self.records = log, fleet, rnd, load, records
        self.happened: dict[str, int] = {}
        self.frozen_since: dict[Member, float] = {}
        self.whole = True  # no part is down
        self.until = time.monotonic() + SECONDS

    def count(self, what: str) -> None:
        self.happened[what] = self.happened.get(what, 0) + 1

    async def run(self) -> None:
        """The faults that must happen, then kills anywhere until the time is over."""
        assert await in_time(self._working, 90), "the workers never began"
        change = asyncio.create_task(self._change(*CHANGES[0]))
        for part, seconds in (("redis", 2.0), ("kafka", 4.0)):
            await self._pause(SECONDS / 8)
            await self._outage(part, seconds)
        await change
        await self._change(*CHANGES[1])
        self.until = max(self.until, time.monotonic() + HOLDS_AFTER)
        if self.records:
            await self._many()
        while time.monotonic() < self.until or self.frozen_since or self.fleet.fated() or self._owed():
            await self._pause(5)
            if not self.records:
                await self._kill()
            assert time.monotonic() < self.until + PATIENCE, f"fates that were not met: {self._unmet()}"

    async def _many(self) -> None:
        """So many records with a kill now and then; what is left of them is worked off before the last fates."""
        while self.load.meant < self.records:
            await self._pause(20)
            await self._kill()
        self.load.rate = min(self.load.rate, CALM_RATE)
        deadline = time.monotonic() + self.records / 1_000
        while not await Proof(self.log.settings).settled(within_s=1):
            await self._pause(1)
            assert time.monotonic() < deadline, "the records were not worked off"
        self.until = max(self.until, time.monotonic())

    async def _change(self, points: str, after: str) -> None:
        """One more programme into every partition: who meets an outage types it again, as the command says."""
        programme = self.log.folder / "programme.yaml"
        programme.write_text(TEXT.replace("points: 5\n", points).replace("after_days: 7}", after))

        async def stands() -> bool:
            done = await asyncio.to_thread(self.log.tried, "programme", "apply", str(programme), *PEOPLE)
            told = done.stderr.decode()
            assert done.returncode == 0 or AWAY in told, told
            return done.returncode == 0

        assert await in_time(stands, PATIENCE)

    async def _working(self) -> bool:
        """Three have had partitions; on a fast machine a fate may already have met the first of them."""
        await asyncio.to_thread(self.fleet.tend)
        self._thaw()
        begun = [one for one in self.fleet.ever if one.command == "worker" and one.said(ACQUIRED)]
        return len(begun) >= 3

    async def _pause(self, seconds: float) -> None:
        """Time goes by, and the fleet is tended."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await asyncio.sleep(0.1)
            await asyncio.to_thread(self.fleet.tend)
            self._thaw()

    def _owed(self) -> bool:
        """Zombies that nobody fenced (their store died while they stood still) show nothing: their fates come again."""
        owed = [fate for fate in FREEZES if not self.fleet.fenced(fate)]
        self.fleet.fates["worker"] += [f"{fate}:10" for fate in owed if not self.fleet.to_come(fate)]
        return bool(owed)

    def _unmet(self) -> list[str]:
        """What is still to come: fates nobody has yet, fates of those that run, and zombies that were not fenced."""
        given = [m.fate for m in self.fleet.members if m.fate]
        return [*self.fleet.fates["worker"], *given, *(fate for fate in FREEZES if not self.fleet.fenced(fate))]

    async def _stuck_chunks(self) -> int:
        """How many chunks are decided and not committed, of a part that does not move: seen twice, none gets past."""
        before = 0
        for _ in range(5):
            found = await asyncio.to_thread(self.fleet.in_flight)
            if before and found:
                return min(before, found)
            before = found
            await self._pause(0.2)
        return 0

    def _thaw(self) -> None:
        """Those stopped until others own what they did wake with the chunk they held: they must learn it."""
        now = time.monotonic()
        for worker in self.fleet.frozen():
            since = self.frozen_since.setdefault(worker, now)
            if now - since < SESSION_SECONDS or not self.whole:  # a store that is down cannot fence it
                continue
            if not self.fleet.holds(worker):
                del self.frozen_since[worker]
                point = worker.point
                self.fleet.thaw(worker)
                self.count(f"zombies woken at {point}")

    async def _outage(self, part: str, seconds: float) -> None:
        """Stopped until a publish (Kafka) or a commit of what was published (Redis) hangs, killed, started again."""
        self.whole = False
        for _ in range(20):  # it may find every chunk before its publish: then all go on, and it is stopped again
            self.log.stack.pause(part)
            self.happened[f"open when {part} died"] = stuck = await self._stuck_chunks()
            if stuck:
                break
            self.log.stack.resume(part)
            await self._pause(0.5)
        await asyncio.to_thread(self.log.stack.kill, part)
        await self._pause(seconds)
        await asyncio.to_thread(self.log.stack.start, part)
        await self._pause(6)
        self.whole = True

    async def _kill(self) -> None:
        """One that has no fate of its own."""
        if chosen := self.fleet.mortal():
            self.fleet.kill(self.rnd.choice(chosen), "anywhere")


async def test_whatever_dies_the_log_decides(log: Site, record_property: Callable[[str, object], None]) -> None:
    await survived(log, record_property)


@pytest.mark.nightly
@pytest.mark.timeout(10_800)
async def test_a_million_records_of_chaos_are_found_again_to_the_row(
    log: Site, record_property: Callable[[str, object], None]
) -> None:
    """And another programme folds the same records."""
    await survived(log, record_property, RECORDS)
    (log.folder / "other.yaml").write_text(OTHER)
    began = time.monotonic()
    figures = await asyncio.to_thread(
        log.patiently, "simulate", "--programme", str(log.folder / "other.yaml"), "--json"
    )
    record_property("another programme, seconds", round(time.monotonic() - began))
    data = json.loads(figures)
    assert data["records"] >= RECORDS
    assert data["total"]["new"]["points_issued"] > data["total"]["live"]["points_issued"]


async def survived(log: Site, record_property: Callable[[str, object], None], records: int = 0) -> None:
    """Chaos over so many records, or over its seconds; then every store says what the log says."""
    rnd = Random(SEED)
    fates = [f"{point}:{rnd.randint(10, 30)}" for point in FATES]
    sink_fates = [f"CRASH {point}:{rnd.randint(3, 9)}" for point in ("sink.mid_insert", "sink.before_commit")]
    fleet = Fleet(log, 3, fates, sink_fates)
    proof = Proof(log.settings)
    bootstrap, keys = log.settings.kafka.bootstrap, log.settings.keys
    key = private_key(keys.folder, keys.staff)
    staff = Staff(bootstrap, proof.topics.facts.name, PARTITIONS, key, Random(SEED), wall)
    load = Load(bootstrap, proof.topics.actions.name, PARTITIONS, SEED, RATE, wall, staff)
    chaos = Chaos(log, fleet, rnd, load, records)
    try:
        fleet.tend()
        sending = asyncio.create_task(load.run())
        await chaos.run()
        load.stopping = True
        await sending
        assert await calm(fleet, proof, 60 + records // 5_000), f"not settled: {fleet.unexpected}"
        fleet.end("worker")
        told = await proof.holds()
        await complete(log, told, 120 + records // 2_000)
        fleet.end("sink")
    finally:
        load.stopping = True
        fleet.bury()
        happened = f"{dict(fleet.deaths)} {chaos.happened} sent {load.meant} again {load.resent}"
        record_property(f"SEED={SEED}", happened)
    assert not fleet.unexpected
    moved(fleet, chaos, told)


async def calm(fleet: Fleet, proof: Proof, within_s: float) -> bool:
    """Everything is committed in time after the last fault, and the last programme has reached everybody."""
    fleet.fates["worker"].clear()
    fleet.tend()
    tending = asyncio.create_task(tend(fleet))

    async def swept() -> bool:
        states = [partition_codec.decode(image.partition_state) for image in (await proof.images()).values()]
        numbers = {state.numbers["programme:programme"] for state in states}
        return (
            len(numbers) == 1
            and max(numbers) > len(CHANGES)
            and all(not state.sweep_until and state.clock >= state.programmes[-1].holds_from for state in states)
        )

    try:
        return await proof.settled(within_s=within_s) and await in_time(swept, 120) and await proof.settled(within_s=60)
    finally:
        tending.cancel()


async def tend(fleet: Fleet) -> None:
    """Fates that are still to come are met, and others take over."""
    while True:
        await asyncio.sleep(0.5)
        await asyncio.to_thread(fleet.tend)


async def complete(log: Site, told: dict[int, Told], within_s: float) -> None:
    """ClickHouse holds every fact once, without a gap, and its sums are those of the log (O4)."""
    reader = log.reader()
    try:
        wanted = {p: (len(one.facts), len(one.facts)) for p, one in told.items()}

        async def all_in() -> bool:
            return await asyncio.to_thread(held, reader, log.name) == wanted

        assert await in_time(all_in, within_s), (held(reader, log.name), wanted)
    finally:
        reader.close()
    assert "equal: Redis, the log replayed, and ClickHouse" in await asyncio.to_thread(log.patiently, "audit")
    assert (await asyncio.to_thread(log.patiently, "simulate", "--check")).startswith("equal: ")


def held(reader: Reader, name: str) -> dict[int, tuple[int, int]]:
    """By partition: how many numbers from the first to the last, and how many different ones."""
    rows = reader.query(
        "SELECT src_partition, max(n) - min(n) + 1, uniqExact(n) FROM facts WHERE log = %(log)s GROUP BY src_partition",
        {"log": name},
    )
    return {int(str(p)): (int(str(span)), int(str(unique))) for p, span, unique in rows}


def moved(fleet: Fleet, chaos: Chaos, told: dict[int, Told]) -> None:
    """What was to be shown did happen."""
    deaths, happened = fleet.deaths, chaos.happened
    verdicts = {name: sum(one.verdicts.get(name, 0) for one in told.values()) for name in VERDICTS}
    facts = [fact for one in told.values() for fact in one.facts]
    assert deaths["chunk.published"] >= 3, deaths
    assert sum(count for place, count in deaths.items() if not place.startswith("sink")) >= 6, deaths
    assert deaths["sink.mid_insert"] >= 1, deaths
    assert sum(bool(fleet.fenced(fate)) for fate in FREEZES) >= 2, happened
    assert happened["open when redis died"] >= 1, happened
    assert happened["open when kafka died"] >= 1, happened
    assert sum(one.repeats for one in told.values()) > 0
    assert min(verdicts.values()) > 0, verdicts
    assert len({fact.programme for fact in facts} - {0}) > len(CHANGES)
    assert any(isinstance(fact, TierEntered) for fact in facts)
    assert not missing(facts), missing(facts)


VERDICTS = ("applied", "duplicate", "dead_letter", "forwarded", "tick", "control", "derived")
