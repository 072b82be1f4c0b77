"""The log under another programme: what it was is found again to the row, and another is as if it had been lived.

Seeds: traffic 2 to 7.
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import msgspec
import pytest

from processors.signature import public_text
from processors.simulate import LAST, UNCHANGED, Made, Origin, Slot, Standing, compared, parted, patch_of
from schemas import facts as fact_codec
from schemas import partition as partition_codec
from schemas.facts import Ledger
from schemas.partition import PartitionState
from schemas.records import Keys, ProgrammeControl
from streams import snapshot
from streams.cli_looking import days_of, share_of
from streams.errors import StateLost, TotalsDiffer, UsageError
from streams.recorded import FROM_CLICKHOUSE
from streams.simulate import Asked, Lived, Simulated, Simulation, check_facts
from streams.simulate_partition import EVERYBODY, Outcome, Task, fold, sampled, standings
from streams.simulate_population import Given, Result
from streams.store import Dump
from tests.crash.traffic import PROGRAMME, STAFF, STRANGER, WORKERS, control
from tests.doubles import instantly
from tests.streams.lived import PARTITIONS, LivedLog, changed, deaf, nothing

DAY = 86_400_000
TWICE = changed("per_unit: 1 ", "per_unit: 2 ")
OTHER_MONEY = changed("currencies: [CNY]", "currencies: [XYZ]")


@cache
def log_of(seed: int, bursts: int = 40, text: str = PROGRAMME, *, size: int = 100, changes: bool = False) -> LivedLog:
    """A log of so many bursts of `size` records; with changes of its programme where wanted."""
    it = deaf(LivedLog("lived-1", seed, text))

    def between(burst: int) -> None:
        if changes and burst in (bursts // 3, bursts // 2):
            it.traffic.change_programme()

    instantly(it.live(bursts, size, between))
    return it


class Here:
    """Simulations of a log in this process."""

    def __init__(self, it: LivedLog, folder: Path, begin: Path | None = None) -> None:
        self.it, self.tasks = it, list[Task]()
        self.simulation = Simulation(it.settings, it.store, it.source(), self, nothing, folder, begin=begin)

    async def fold(self, tasks: Sequence[Task]) -> list[Outcome]:
        self.tasks += tasks
        outcomes = [await fold(pickle.loads(pickle.dumps(task)), self.it.source(700)) for task in tasks]
        return [pickle.loads(pickle.dumps(outcome)) for outcome in outcomes]

    async def work(self, function: Callable[[Given], Result], given: Sequence[Given]) -> list[Result]:
        """The same of what all partitions make together."""
        results = [function(pickle.loads(pickle.dumps(it))) for it in given]
        return [pickle.loads(pickle.dumps(it)) for it in results]

    async def run(self, asked: Asked) -> tuple[Lived, Simulated]:
        lived = await self.simulation.lived(asked)
        return lived, await self.simulation.other(lived, asked)

    def members(self) -> dict[str, Standing]:
        """As the other programme leaves them, by the last task of each partition."""
        found: dict[str, Standing] = {}
        for task in self.tasks:
            path = task.folder / f"{task.partition}-{'new' if task.text else 'live'}.members"
            found |= msgspec.msgpack.decode(path.read_bytes(), type=dict[str, Standing])
        return found


async def lived_members(it: LivedLog) -> dict[str, Standing]:
    """As workers left them."""
    found: dict[str, Standing] = {}
    for partition in range(PARTITIONS):
        image = await it.store.dump(partition)
        assert image is not None
        found |= standings(image)
    return found


def entries(it: LivedLog) -> list[Ledger]:
    facts = [
        fact_codec.decode(record.value or b"")
        for partition in range(PARTITIONS)
        for record in it.log.read(it.topics.facts.name, partition)
    ]
    return [fact for fact in facts if isinstance(fact, Ledger)]


# -- as it was lived


async def test_twenty_thousand_records_are_found_again_to_the_row(tmp_path: Path) -> None:
    it = await asyncio.to_thread(log_of, 6, 200, changes=True)
    here = Here(it, tmp_path)
    before = [await it.store.dump(partition) for partition in range(PARTITIONS)]
    lived = await here.simulation.lived(Asked())
    assert sum(task.until for task in lived.tasks.values()) > 20_000
    assert await check_facts(lived, it.facts()) > 10_000
    done = await here.simulation.other(lived, Asked())
    assert (done.difference.changed, done.rederived, done.rounds) == (0, 0, 0)
    assert here.members() == await lived_members(it)
    slots = {slot.origin: slot.said for outcome in lived.outcomes.values() for slot in outcome.slots}
    again = {one.origin: one.said for outcome in lived.outcomes.values() for one in outcome.made}
    assert len(slots) > 100
    assert slots.items() <= again.items(), "what others made is made again"
    assert before == [await it.store.dump(partition) for partition in range(PARTITIONS)], "nothing live was touched"


async def test_a_fact_that_was_not_folded_is_told(tmp_path: Path) -> None:
    it = LivedLog("altered-1", 2)
    await asyncio.to_thread(lambda: instantly(it.live(5, 100)))
    slots = it.log._slots[it.topics.facts.name, 1]
    place = len(slots) // 2
    record = slots[place]
    assert record is not None
    slots[place] = record._replace(value=(record.value or b"").replace(b'"decided_at":1', b'"decided_at":2'))
    lived = await Here(it, tmp_path).simulation.lived(Asked())
    with pytest.raises(TotalsDiffer, match="partition 1: fact"):
        await check_facts(lived, it.facts())
    slots[place] = record
    slots.insert(3, slots[1])  # published again by another owner
    assert await check_facts(lived, it.facts()) > 0
    del slots[-1]
    with pytest.raises(TotalsDiffer, match="facts are folded"):
        await check_facts(lived, it.facts())


# -- another programme


@pytest.mark.parametrize("text", [TWICE, changed("per_day: 10", "per_day: 1"), OTHER_MONEY], ids=["x2", "cap", "money"])
@pytest.mark.parametrize("seed", [5, 7])
async def test_another_programme_is_as_if_it_had_been_lived(text: str, seed: int, tmp_path: Path) -> None:
    it, other = await asyncio.to_thread(lambda: [log_of(seed, 3_000, one, size=1) for one in (PROGRAMME, text)])
    here = Here(it, tmp_path)
    _, done = await here.run(Asked(text))
    assert here.members() == await lived_members(other)
    total = done.difference.total
    assert total.new.issued == sum(entry.points for entry in entries(other))
    assert total.live.issued == sum(entry.points for entry in entries(it)) != total.new.issued
    assert done.difference.changed > 0
    assert (done.rederived > 0) == (text is OTHER_MONEY), "strays are forwarded by what they are, not by what they earn"
    assert done.rounds in ((2, 3) if text is OTHER_MONEY else (1,))


async def test_programmes_of_the_log_give_way_to_the_other_one(tmp_path: Path) -> None:
    it = await asyncio.to_thread(log_of, 6, changes=True)
    lived, _ = await Here(it, tmp_path).run(Asked(TWICE))
    spoken = [(outcome.partition, outcome.facts) for outcome in lived.outcomes.values()]
    for partition, path in spoken:
        image = msgspec.msgpack.decode((tmp_path / f"{partition}-live.image").read_bytes(), type=Dump)
        own = partition_codec.decode(image.partition_state)
        assert len((await it.own(partition)).programmes) > len(own.programmes) == 1
        assert path.exists()


async def test_programmes_may_part_some_days_before_the_end(tmp_path: Path) -> None:
    it = await asyncio.to_thread(log_of, 7)
    lived, done = await Here(it, tmp_path).run(Asked(TWICE, days=30))
    clock = max([(await it.own(partition)).clock for partition in range(PARTITIONS)])
    assert lived.holds_from == clock - 30 * DAY
    after = [
        e for e in entries(it) if e.rule == "purchase" and e.entry == "earned" and e.effective_at >= lived.holds_from
    ]
    before = [e for e in entries(it) if e.rule == "purchase" and e.effective_at < lived.holds_from]
    assert after
    assert before
    total = done.difference.total
    floors = len(after)
    assert 0 <= total.new.issued - total.live.issued - sum(entry.points for entry in after) <= floors
    assert {task.part_at for task in lived.tasks.values()} != {1}


async def test_new_keys_in_the_log_do_not_lock_the_simulation_out(tmp_path: Path) -> None:
    """What is put in or said otherwise after a change of keys still counts."""

    def rotated(text: str) -> LivedLog:
        it = deaf(LivedLog("keys-1", 5, text))
        staff, workers = {"staff": public_text(STAFF)}, {"workers": public_text(WORKERS)}
        body = Keys(id="keys", number=1, by="ann", approved_by="bob", staff_keys=staff, worker_keys=workers)

        def between(burst: int) -> None:
            for partition in range(PARTITIONS) if burst == 50 else ():
                it.log.append(it.topics.actions.name, partition, control(body))
                it.log.append(it.topics.actions.name, partition, control(body, key=STRANGER))

        instantly(it.live(1_000, 1, between))
        return it

    it, other = await asyncio.to_thread(lambda: [rotated(text) for text in (PROGRAMME, OTHER_MONEY)])
    here = Here(it, tmp_path)
    _, done = await here.run(Asked(OTHER_MONEY))
    assert done.rederived > 0
    assert here.members() == await lived_members(other)


def test_a_programme_that_waits_where_they_part_never_holds() -> None:
    def version(number: int, holds_from: int) -> ProgrammeControl:
        return ProgrammeControl(id="programme", number=number, by="ann", text=PROGRAMME, holds_from=holds_from)

    own = PartitionState(programmes=[version(1, 0), version(2, 5 * DAY), version(3, 9 * DAY)], clock=6 * DAY)
    for holds_from, left in ((6 * DAY, [1, 2, 4]), (0, [4])):
        found = parted(own, TWICE, holds_from, ("simulate", "key"))
        assert [one.number for one in found.programmes] == left
        assert found.programmes[-1].text == TWICE


async def test_a_sample_is_of_members_and_each_is_as_among_all(tmp_path: Path) -> None:
    it = await asyncio.to_thread(log_of, 5)
    (tmp_path / "all").mkdir()
    (tmp_path / "some").mkdir()
    everybody, some = Here(it, tmp_path / "all"), Here(it, tmp_path / "some")
    await everybody.run(Asked(TWICE))
    _, done = await some.run(Asked(TWICE, sample=3_000))
    chosen = {name: it for name, it in everybody.members().items() if sampled(name, 3_000)}
    assert some.members() == chosen
    assert 0 < len(chosen) < len(everybody.members())
    assert done.difference.total.live.members == len(chosen)
    assert done.rederived == 0


async def test_a_simulation_begins_with_an_image_where_the_log_is_gone(tmp_path: Path) -> None:
    it = LivedLog("gone-1", 3)
    images = tmp_path / "images"

    async def some_then_more() -> None:
        await it.live(10, 100)
        await snapshot.take(it.store, it.name, PARTITIONS, images)
        for _ in range(10):
            it.traffic.burst(100)
            await it.read()

    await asyncio.to_thread(lambda: instantly(some_then_more()))
    taken = {p: snapshot.newest(images, it.name, p).dump.next_offset for p in range(PARTITIONS)}
    for (topic, partition), slots in it.log._slots.items():
        if topic == it.topics.actions.name:
            slots[: taken[partition]] = [None] * taken[partition]
    (tmp_path / "work").mkdir()
    here = Here(it, tmp_path / "work", images)

    async def bounds(partition: int) -> tuple[int, int]:
        return taken[partition], it.log.end(it.topics.actions.name, partition)

    here.simulation.source.bounds = bounds  # type: ignore[method-assign]
    lived = await here.simulation.lived(Asked())
    assert {p: task.start for p, task in lived.tasks.items()} == taken
    assert await check_facts(lived, it.facts()) > 100
    without = Here(it, tmp_path / "work")
    without.simulation.source.bounds = bounds  # type: ignore[method-assign]
    with pytest.raises(StateLost, match="replay what ClickHouse holds"):
        await without.simulation.lived(Asked())


async def test_a_source_that_has_less_than_the_workers_is_waited_for_and_then_told(tmp_path: Path) -> None:
    it = LivedLog("behind-1", 2)
    await asyncio.to_thread(lambda: instantly(it.live(3, 100)))
    here, ends = Here(it, tmp_path), {p: it.log.end(it.topics.actions.name, p) for p in range(PARTITIONS)}
    short = {1: 5}

    async def bounds(partition: int) -> tuple[int, int]:
        return 0, ends[partition] - short.get(partition, 0)

    here.simulation.source.bounds = bounds  # type: ignore[method-assign]
    what = rf"partition 1 .* up to offset {ends[1] - 5}, its worker stands at {ends[1]}"
    with pytest.raises(StateLost, match=what):
        await here.simulation.lived(Asked())
    here.simulation.lacking = FROM_CLICKHOUSE

    async def coming(partition: int) -> tuple[int, int]:
        short[1] = max(0, short[1] - 2)
        return await bounds(partition)

    here.simulation.source.bounds = coming  # type: ignore[method-assign]
    assert (await here.simulation.lived(Asked())).tasks[1].until == ends[1]


# -- what differs


def test_members_are_counted_where_they_were_and_levels_where_they_are() -> None:
    live = {"a": Standing("east", "silver", "high", 100, 80, 0), "b": Standing("west", "gold", "core", 50, 50, 1)}
    new = {"a": Standing("east", "gold", "high", 150, 130, 2), "b": Standing("west", "gold", "core", 40, 45, 1)}
    found = compared(live, new)
    assert (found.total.live.issued, found.total.new.issued, found.changed) == (150, 190, 2)
    assert (found.total.live.net, found.total.new.net) == (130, 175)
    assert (found.total.live.badges, found.total.new.badges) == (1, 3)
    assert found.by["region"]["east"].new.issued == 150
    assert found.by["value"]["core"].new.issued == 40
    assert (found.by["level"]["silver"].live.members, found.by["level"]["silver"].new.members) == (1, 0)
    assert (found.by["level"]["gold"].live.members, found.by["level"]["gold"].new.members) == (1, 2)
    assert [(one.member_id, one.issued, one.new_level) for one in found.gains] == [("a", 50, "gold")]
    assert [(one.member_id, one.issued) for one in found.losses] == [("b", -10)]


def test_who_is_owed_more_for_the_same_points_is_named_too() -> None:
    live = {name: Standing("", "", "", 100, 80, 0) for name in "abc"}
    new = {"a": Standing("", "", "", 100, 95, 0), "b": Standing("", "", "", 100, 0, 0), "c": live["c"]}
    found = compared(live, new)
    assert [(one.member_id, one.net) for one in found.gains] == [("a", 15)]
    assert [(one.member_id, one.net) for one in found.losses] == [("b", -80)]


def test_members_that_do_not_differ_are_not_named() -> None:
    same = {"a": Standing("east", "", "other", 1, 1, 0)}
    assert compared(same, same).changed == 0
    assert compared(same, {}).total.new.members == 0


# -- derived records


def slot(offset: int, cause: int, said: bytes = b"x", partition: int = 1, nth: int = 0) -> Slot:
    return Slot(offset, Origin(partition, cause, nth), said)


def made(cause: int, at: int, said: bytes = b"x", partition: int = 1, nth: int = 0) -> Made:
    return Made(0, Origin(partition, cause, nth), at, said, b"whole " + said)


PLACE = {10: 3, 20: 6, 30: 50, 99: LAST}

PATCHES: list[tuple[str, list[Slot], list[Made], int, set[int], list[tuple[int, bytes]]]] = [
    ("the same: nothing changes", [slot(5, 1)], [made(1, 10)], 0, set(), []),
    ("the same behind more facts: nothing changes", [slot(5, 1)], [made(1, 10, nth=4)], 0, set(), []),
    ("told twice by the log: nothing changes", [slot(5, 1), slot(9, 1)], [made(1, 10)], 0, set(), []),
    ("not made any more", [slot(5, 1)], [], 0, {5}, []),
    ("made otherwise", [slot(5, 1)], [made(1, 10, b"y")], 0, {5}, [(5, b"y")]),
    ("one of two is new", [slot(5, 1)], [made(1, 10, b"w"), made(1, 10, nth=1)], 0, {5}, [(5, b"w"), (5, b"x")]),
    ("new, at its moment", [], [made(1, 10)], 0, set(), [(3, b"x")]),
    ("new, not after the next of its origin", [slot(40, 2)], [made(1, 30), made(2, 30)], 0, set(), [(40, b"x")]),
    (
        "new, behind one of another origin",
        [slot(40, 2, partition=2)],
        [made(1, 30), made(2, 30, partition=2)],
        0,
        set(),
        [(50, b"x")],
    ),
    ("two new ones stay in order", [], [made(2, 20, b"b"), made(1, 20, b"a")], 0, set(), [(6, b"a"), (6, b"b")]),
    ("never before the programmes part", [], [made(1, 10)], 4, set(), [(4, b"x")]),
    ("what lies before that stays", [slot(3, 1)], [], 4, set(), []),
]


@pytest.mark.parametrize(("case", "slots", "others", "first", "gone", "put"), PATCHES, ids=[row[0] for row in PATCHES])
def test_a_log_is_patched_with_what_others_make_now(
    case: str, slots: list[Slot], others: list[Made], first: int, gone: set[int], put: list[tuple[int, bytes]]
) -> None:
    patch = patch_of(slots, others, PLACE, first)
    assert patch.gone == gone
    assert [(one.before, one.body) for one in patch.put] == [(before, b"whole " + said) for before, said in put]
    assert (patch == UNCHANGED) == (not gone and not put)


# -- what a person types


@pytest.mark.parametrize(("text", "days"), [("", 0), ("30d", 30), ("1d", 1)])
def test_days_are_written_with_their_unit(text: str, days: int) -> None:
    assert days_of(text) == days


@pytest.mark.parametrize("text", ["30", "0d", "-1d", "d", "1w"])
def test_what_is_no_number_of_days_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="write 30d"):
        days_of(text)


@pytest.mark.parametrize(("text", "share"), [("10%", 1_000), ("100%", EVERYBODY), ("0.01%", 1), ("12.5%", 1_250)])
def test_a_sample_is_a_share(text: str, share: int) -> None:
    assert share_of(text) == share


@pytest.mark.parametrize("text", ["10", "0%", "101%", "-1%", "%", "0.001%"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="write 10%"):
        share_of(text)


def test_a_tenth_is_a_tenth_and_always_the_same() -> None:
    chosen = [name for name in map("m-{}".format, range(20_000)) if sampled(name, 1_000)]
    assert 1_850 < len(chosen) < 2_150
    assert sampled("m-1", EVERYBODY)
    assert PROGRAMME != TWICE
