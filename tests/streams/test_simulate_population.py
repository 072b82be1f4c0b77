"""What all partitions make together under another programme: winners and thresholds, at the moments of the log.

Seed: traffic 5.
"""

from __future__ import annotations

import asyncio
import re
from functools import cache
from pathlib import Path

import msgspec
import pytest

from schemas.decoding import Derived, decode
from schemas.records import Award, Thresholds, tick
from streams import snapshot
from streams.simulate import Asked, Simulated
from streams.simulate_partition import Task
from streams.simulate_words import made_words
from tests.crash.traffic import PROGRAMME
from tests.doubles import instantly
from tests.streams.lived import PARTITIONS, LivedLog, deaf
from tests.streams.populace import Populace
from tests.streams.test_simulate import Here, lived_members

BASE = PROGRAMME.replace("members_from: 100", "members_from: 2").replace("spend_from: 200", "spend_from: 90")
for limit in (5_000, 6_500, 8_000, 10_000, 15_000, 20_000):
    BASE = BASE.replace(f"spend_above: {limit}", f"spend_above: {limit // 50}")


def other(old: str, new: str) -> str:
    """The programme with one place changed, which must be there."""
    assert len(re.findall(re.escape(old), BASE)) == 1, old
    return BASE.replace(old, new)


@cache
def lived(text: str = BASE, bursts: int = 1_500) -> tuple[LivedLog, Populace]:
    """A log with its awards and thresholds. Ticks move all its clocks, so none waits for what others are given."""
    it = deaf(LivedLog("together-1", 5, text))
    populace = Populace(it, text)

    async def live() -> None:
        await it.live(0, 0)
        for _ in range(bursts):
            it.traffic.burst(1)
            for partition in range(PARTITIONS):
                it.log.append(it.topics.actions.name, partition, tick("own"))
            await it.read()
            await populace.meet()

    instantly(live())
    return it, populace


OTHERS = {
    "other points": other("per_unit: 1 ", "per_unit: 2 "),
    "one message a day": other("messages_per_day: 30", "messages_per_day: 1"),
    "three places": other("awarded_places: 1", "awarded_places: 3").replace(
        "programme, place: 1", "programme, place: 3"
    ),
    "settled later": other("settle_days: 8", "settle_days: 12"),
    "settled sooner": other("settle_days: 8", "settle_days: 3"),
    "other weights": other("question: 2000", "question: 9000").replace("chat: 1000", "chat: 7000"),
    "more of the most active": other("percent: 10, days", "percent: 60, days"),
    "no refund counts": other("currencies: [CNY]", "currencies: [XYZ]"),
}
ZONE = other("zone: Asia/Shanghai", "zone: America/Lima")


def awarded(it: LivedLog, tasks: dict[int, Task]) -> set[bytes]:
    """The awards of a log as a simulation has changed it."""
    found: set[bytes] = set()
    for partition, task in tasks.items():
        for one in it.log.read(it.topics.actions.name, partition):
            item = decode(one.value, one.headers)
            if isinstance(item, Derived) and isinstance(item.body, Award) and one.offset not in task.patch.gone:
                found.add(msgspec.json.encode(item.body))
        found |= {put.body for put in task.patch.put if b'"award"' in put.body}
    return found


def shown(populace: Populace, tasks: dict[int, Task]) -> dict[int, Thresholds]:
    """The thresholds of a log as a simulation has changed them; all partitions are told the same."""
    found = {one.number: one for one in populace.thresholds}
    said = {body for task in tasks.values() for _, body in task.patch.said}
    changed = [msgspec.json.decode(body, type=Thresholds) for body in said]
    assert len(changed) == len({one.number for one in changed})
    assert {len(task.patch.said) for task in tasks.values()} == {len(changed)}
    return found | {one.number: one for one in changed}


async def simulated(asked: Asked, folder: Path) -> tuple[Here, dict[int, Task], Simulated]:
    """The base log under another programme: the last task of each partition, and what came of it."""
    it, _ = await asyncio.to_thread(lived)
    here = Here(it, folder)
    _, done = await here.run(asked)
    return here, {task.partition: task for task in here.tasks if task.text}, done


@pytest.mark.parametrize("name", OTHERS)
async def test_winners_and_thresholds_are_as_if_they_had_been_lived(name: str, tmp_path: Path) -> None:
    (it, populace), (theirs, truth) = await asyncio.to_thread(lambda: (lived(), lived(OTHERS[name])))
    here, tasks, done = await simulated(Asked(OTHERS[name]), tmp_path)
    wanted = {msgspec.json.encode(award): at for at, award in truth.awards}
    assert awarded(it, tasks) == set(wanted)
    puts = [put for task in tasks.values() for put in task.patch.put if put.body in wanted]
    assert all(put.at == wanted[put.body] for put in puts), "at the moments at which they would have been given"
    ours = {number: (one.day, one.values, one.counts) for number, one in shown(populace, tasks).items()}
    assert ours == {one.number: (one.day, one.values, one.counts) for one in truth.thresholds}
    assert here.members() == await lived_members(theirs)
    assert done.live == ()
    assert done.difference.changed > 0 or name in ("settled later", "settled sooner", "other weights")
    assert (done.awards > 0) == (name not in ("other points", "more of the most active"))
    assert (done.thresholds > 0) == (name in ("other weights", "more of the most active", "no refund counts"))


async def test_the_programme_in_force_makes_the_same_awards_and_thresholds(tmp_path: Path) -> None:
    _, _, done = await simulated(Asked(BASE), tmp_path)
    assert (done.difference.changed, done.awards, done.thresholds, done.rederived, done.rounds) == (0, 0, 0, 0, 1)


async def test_days_of_another_zone_have_other_numbers(tmp_path: Path) -> None:
    (it, populace), (_, truth) = await asyncio.to_thread(lambda: (lived(), lived(ZONE)))
    _, tasks, _ = await simulated(Asked(ZONE), tmp_path)
    assert awarded(it, tasks) == {msgspec.json.encode(award) for _, award in truth.awards}
    apart = {one.day - shown(populace, tasks)[one.number].day for one in populace.thresholds}
    assert apart == {0, 1}, "midnight in Shanghai is the morning before in Lima"


async def test_a_sample_keeps_the_awards_and_thresholds_of_everybody(tmp_path: Path) -> None:
    _, tasks, done = await simulated(Asked(OTHERS["other weights"], sample=5_000), tmp_path)
    assert (done.awards, done.thresholds, done.live) == (0, 0, ("awards", "thresholds"))
    assert all(not task.patch.said and not task.patch.put for task in tasks.values())
    assert made_words(done).endswith("; awards and thresholds are the live ones")


async def test_what_was_given_and_shown_before_the_programmes_part_stays(tmp_path: Path) -> None:
    it, populace = await asyncio.to_thread(lived)
    _, tasks, done = await simulated(Asked(OTHERS["other weights"], days=60), tmp_path)
    clock = max([(await it.own(partition)).clock for partition in range(PARTITIONS)])
    since = clock - 60 * 86_400_000
    assert all(offset >= task.part_at for task in tasks.values() for offset in task.patch.gone)
    assert all(put.at >= since for task in tasks.values() for put in task.patch.put)
    assert all(offset >= task.part_at for task in tasks.values() for offset, _ in task.patch.said)
    assert 0 < done.awards < len(populace.awards)
    assert 0 < done.thresholds < len(populace.thresholds)


async def test_awards_that_the_log_does_not_hold_yet_are_left_out(tmp_path: Path) -> None:
    it = LivedLog("behind-1", 5, BASE)
    await asyncio.to_thread(lambda: instantly(it.live(40, 20)))
    here = Here(it, tmp_path)
    _, done = await here.run(Asked(OTHERS["one message a day"]))
    assert done.awards == 0, "nobody was given any: the boards process has not been there"


async def test_without_its_beginning_a_log_keeps_thresholds_and_the_awards_of_boards_from_before(
    tmp_path: Path,
) -> None:
    it = LivedLog("gone-2", 5, BASE)
    populace = Populace(it, BASE)
    images = tmp_path / "images"

    async def some_then_more() -> None:
        await it.live(0, 0)
        for burst in range(900):
            it.traffic.burst(1)
            await it.read()
            await populace.meet()
            if burst == 300:
                await snapshot.take(it.store, it.name, PARTITIONS, images)
                it.taken_at = it.log.now  # type: ignore[attr-defined]

    await asyncio.to_thread(lambda: instantly(some_then_more()))
    (tmp_path / "work").mkdir()
    here = Here(it, tmp_path / "work", images)
    _, done = await here.run(Asked(OTHERS["one message a day"], days=40))
    tasks = {task.partition: task for task in here.tasks if task.text}
    assert all(task.start > 1 for task in tasks.values())
    assert done.live == ("thresholds", "awards of boards that began before")
    assert done.thresholds == 0
    calendar = populace.rules.calendar
    first = calendar.day(it.taken_at)  # type: ignore[attr-defined]
    weeks = {
        award.at
        for task in tasks.values()
        for put in task.patch.put
        if (award := msgspec.json.decode(put.body, type=Award)).period == "week"
    }
    assert weeks
    assert min(weeks) > first
