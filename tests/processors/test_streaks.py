"""Streaks of check-ins: when the factor begins and ends, and what a late check-in repays."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections import Counter

import pytest

from processors.programme import Rules
from schemas.member import CHECK_IN
from schemas.programme import parse
from tests.processors.book import amended, check_sums, ledger, lines
from tests.processors.story import DAY, PROGRAMME, START, Story, an_action, told

FIVE, TEN = "check_in 5", "check_in 10 x2"


def lifted(day: int) -> str:
    return f"check_in 5 x2 corrects day {day}"


def test_a_correction_names_its_entry_and_belongs_to_its_day_and_month() -> None:
    days = (25, 26, 27, 29, 30, 31, 32)  # 27 to 29, 31 March, 1 to 3 April
    story = told([(n, "check_in") for n in days] + [(32.5, "check_in", 28)])
    first, second = [entry for entry in ledger(story) if entry.entry == "corrected"]
    assert [first.effective_at, second.effective_at] == [START + 31 * DAY, START + 32 * DAY]
    assert first.month == second.month == 2026 * 12 + 3
    assert (first.event_id, first.action) == ("e-7", "check_in"), "it says which action brought it about"
    assert amended(story, second).effective_at == START + 32 * DAY
    assert second.because == "5 = 5 x2 streak of 8, less 5 paid before a late check-in"


def test_a_streak_of_a_hundred_days_is_one_streak() -> None:
    story = told([(n, "check_in") for n in range(1, 100)] + [(99.5, "check_in", 70.1)])
    assert Counter(lines(story)) == Counter({FIVE: 6, TEN: 93, "check_in 0 cap": 1})
    assert ledger(story)[-2].because == "10 = 5 x2 streak of 99"


def test_a_late_check_in_joins_runs_longer_than_the_bitmap() -> None:
    days = [n for n in range(100) if n != 80]
    story = told([(n, "check_in") for n in days] + [(99.5, "check_in", 80)])
    assert ledger(story)[99].because == "10 = 5 x2 streak of 81"
    assert lines(story)[100:] == [lifted(n) for n in range(81, 87)]
    check_sums(story)


def test_what_is_remembered_of_check_ins_stays_small() -> None:
    story = told([(n, "check_in") for n in range(0, 800, 2)])
    assert len(story.state.check_ins) <= 17 * (CHECK_IN.size + 5)
    story = told([(n, "check_in") for n in range(200)])
    assert len(story.state.check_ins) <= 6 * (CHECK_IN.size + 5)


def test_each_version_lifts_by_what_the_entry_was_paid() -> None:
    """The late check-in is judged by the version of its day; what it lifts keeps the base it was paid by."""
    richer = Rules(parse(PROGRAMME.model_dump_json().replace('{"points":5,"streak"', '{"points":8,"streak"')), 2, 0)
    story = Story()
    for n in (0, 1, 2, 4, 5):
        story.act(an_action("check_in", START + n * DAY, n), START + n * DAY)
    story.rules = richer
    story.act(an_action("check_in", START + 6 * DAY, 6), START + 6 * DAY)
    story.rules = Rules(PROGRAMME, 1, 0)
    story.act(an_action("check_in", START + 3 * DAY, 3), START + 7 * DAY)
    assert [entry.points for entry in ledger(story)] == [5, 5, 5, 5, 5, 8, 5, 8]
    check_sums(story)


ZONES = [("Asia/Shanghai", 0), ("Asia/Shanghai", 4), ("America/New_York", 0), ("Pacific/Auckland", 0), ("UTC", 0)]


def at_wall(zone: str, day: int, hour: int, minute: int) -> int:
    """The moment (ms) at which a zone's clocks show a time, so many days after 5 March 2026."""
    wall = dt.datetime(2026, 3, 5, hour, minute, tzinfo=zoneinfo.ZoneInfo(zone)) + dt.timedelta(days=day)
    return round(wall.timestamp() * 1000)


@pytest.mark.parametrize(("zone", "starts"), ZONES)
def test_a_streak_goes_by_programme_days_whatever_day_utc_has(zone: str, starts: int) -> None:
    """A minute after a programme day begins and a minute before it ends, in turn: in UTC two fall on one day.

    In New York the clocks go forward on 8 March, amid the streak.
    """
    rules = Rules(PROGRAMME.model_copy(update={"zone": zone, "day_starts_at": starts}), 1, 0)
    story, moments = Story(rules), []
    story.clock = at_wall(zone, -1, 12, 0)
    for day in range(8):
        into = (starts * 60 + (1 if day % 2 else 24 * 60 - 1)) % (24 * 60)
        moments.append(at_wall(zone, day + (starts > 0 and not day % 2), into // 60, into % 60))
    utc_days = [moment // DAY for moment in moments]
    assert (len(set(utc_days)) < len(moments)) == (zone != "UTC"), "else this tells nothing"
    for number, moment in enumerate(moments):
        story.act(an_action("check_in", moment, number), moment)
    assert lines(story) == [FIVE] * 6 + [TEN] * 2
    story.tick(moments[-1] + 2 * DAY)
    check_sums(story)


@pytest.mark.parametrize(("zone", "starts"), ZONES)
def test_a_programme_day_without_check_in_ends_it_though_no_day_of_utc_is_without(zone: str, starts: int) -> None:
    """Late on one day, early on the day after next: the day between has none, and they may be days in a row in UTC."""
    rules = Rules(PROGRAMME.model_copy(update={"zone": zone, "day_starts_at": starts}), 1, 0)
    story = Story(rules)
    story.clock = at_wall(zone, -1, 12, 0)
    moments = [at_wall(zone, day, (starts + 12) % 24, 0) for day in range(5)]
    moments.append(at_wall(zone, 5 + (starts > 0), (starts - 1) % 24, 59))
    moments.append(at_wall(zone, 7, starts, 1))
    for number, moment in enumerate(moments):
        story.act(an_action("check_in", moment, number), moment)
    assert lines(story) == [FIVE] * 7
