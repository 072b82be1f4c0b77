"""Streaks of check-ins: when the factor begins and ends, and what a late check-in repays."""

from __future__ import annotations

from collections import Counter

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
