"""Which version judged: by the moment of an action, the clock of a timer, and what the log holds at an offset."""

from __future__ import annotations

import datetime as dt

import msgspec
import pytest

from schemas.facts import InForce, Ledger, TierEntered
from schemas.records import ProgrammeControl
from tests.crash.traffic import PROGRAMME, control, instant
from tests.processors.test_partition import DAY, HERE, START, Bench

HOUR, MINUTE = 3_600_000, 60_000
SHANGHAI = dt.timezone(dt.timedelta(hours=8))
ME, SILENT = HERE[0], HERE[1]


def version(number: int, holds_from: int, text: str = PROGRAMME) -> bytes:
    """Version n pays 10 x n points for a share."""
    paid = text.replace("share: {points: 5", f"share: {{points: {10 * number}")
    assert paid != text
    return control(
        ProgrammeControl(id="programme", number=number, by="ann", approved_by="bob", text=paid, holds_from=holds_from)
    )


def shared(bench: Bench, happened: int) -> tuple[int, int]:
    """A share of that moment: its points, and the version that its entry names."""
    action = {"action": "share", "target": "content", "event_id": f"s-{bench.offset}", "source": "app"}
    action |= {"member_id": ME, "occurred_at": instant(happened)}
    bench.give(msgspec.json.encode(action))
    entry = next(fact for fact in reversed(bench.facts) if isinstance(fact, Ledger) and fact.rule == "share")
    return entry.points, entry.programme


@pytest.mark.parametrize(
    ("name", "arrives", "happened", "judged"),
    [
        ("before it holds", HOUR - 1, HOUR - 1, (5, 1)),
        ("as it begins to hold", HOUR, HOUR, (20, 2)),
        ("a millisecond before, told late", 3 * DAY, HOUR - 1, (5, 1)),
        ("at its moment, told late", 3 * DAY, HOUR, (20, 2)),
        ("as the next one begins", 3 * DAY, DAY, (30, 3)),
        ("before the next one begins", 3 * DAY, DAY - 1, (20, 2)),
    ],
)
def test_an_action_is_judged_by_the_version_of_its_moment(
    name: str, arrives: int, happened: int, judged: tuple[int, int]
) -> None:
    bench = Bench()
    bench.give(version(2, START + HOUR))
    bench.give(version(3, START + DAY))
    bench.now = START + arrives
    assert shared(bench, START + happened) == judged


def test_a_version_that_the_log_brings_later_judges_nothing_before_its_record() -> None:
    """The same moment, told before and after the record: what is not in the log yet judges nobody."""
    bench = Bench()
    assert shared(bench, START + MINUTE) == (5, 1)  # ahead of the clock by a minute, which is allowed
    bench.give(version(2, START + MINUTE))
    assert shared(bench, START + MINUTE) == (20, 2)


def test_of_two_that_hold_from_one_moment_the_later_record_counts() -> None:
    bench = Bench()
    bench.give(version(2, START + HOUR))
    bench.give(version(3, START + HOUR))
    bench.now = START + HOUR
    assert shared(bench, bench.now) == (30, 3)


def test_one_that_is_put_in_force_before_another_takes_its_place_between() -> None:
    bench = Bench()
    bench.give(version(2, START + 2 * HOUR))
    bench.give(version(3, START + HOUR))
    bench.now = START + 3 * HOUR
    assert [shared(bench, START + hours * HOUR) for hours in (0, 1, 2)] == [(5, 1), (30, 3), (20, 2)]


@pytest.mark.parametrize(("days", "happened"), [(29, HOUR - 1), (30, 0)])
def test_a_superseded_version_judges_until_the_horizon(days: int, happened: int) -> None:
    """Also when others have come since: what it judged may be told as late as an action may come."""
    bench = Bench()
    bench.give(version(2, START + HOUR))
    bench.now = START + days * DAY
    bench.give(version(3, bench.now + DAY))
    assert shared(bench, START + happened) == (5, 1)


def test_a_timer_is_judged_by_the_version_in_force_at_the_clock() -> None:
    """Silent for 5 days: the version of before says 7, that of the fourth day says 5."""
    bench = Bench()
    bench.act(SILENT)
    shorter = PROGRAMME.replace("yellow, after_days: 7", "yellow, after_days: 5")
    bench.give(version(2, START + 4 * DAY, shorter))
    bench.act(after=5 * DAY - 1)
    assert not [fact for fact in bench.facts if isinstance(fact, TierEntered)]
    bench.act(after=1)
    (entered,) = [fact for fact in bench.facts if isinstance(fact, TierEntered) and fact.member_id == SILENT]
    assert (entered.effective_at - START, entered.programme) == (5 * DAY, 2)


def test_the_end_of_a_pilot_reaches_silent_members() -> None:
    """Its members turn yellow after 20 days; at its end on the 10th day they have been yellow since the 7th."""
    end = dt.datetime.fromtimestamp((START + 10 * DAY) / 1000, SHANGHAI).date().isoformat()
    tiers = "tiers.presence: [{tier: yellow, after_days: 20}]"
    bench = Bench(PROGRAMME + f"pilots: {{calm: {{percent: 100, end: {end}, overrides: {{{tiers}}}}}}}\n")
    bench.act(SILENT)
    bench.act(after=9 * DAY)
    bench.act(after=12 * HOUR)
    assert not [fact for fact in bench.facts if isinstance(fact, TierEntered)]
    for _ in range(3):
        bench.act(after=8 * HOUR)
    entered = [fact for fact in bench.facts if isinstance(fact, TierEntered) and fact.member_id == SILENT]
    assert [(fact.tier, fact.effective_at - START) for fact in entered] == [("yellow", 7 * DAY)]


def test_each_partition_says_when_a_version_holds() -> None:
    bench = Bench()
    bench.give(version(2, START + HOUR))
    said = [fact for fact in bench.facts if isinstance(fact, InForce)]
    assert [(fact.number, fact.holds_from) for fact in said] == [(1, 0), (2, START + HOUR)]
