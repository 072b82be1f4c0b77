"""Streaks of check-ins: when the factor begins and ends, and what a late check-in repays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from processors.programme import Rules
from schemas.member import CHECK_IN
from schemas.programme import parse
from tests.processors.book import amended, check_sums, ledger, lines
from tests.processors.story import DAY, PROGRAMME, START, Story, an_action, told

FIVE, TEN = "check_in 5", "check_in 10 x2"


def lifted(day: int) -> str:
    return f"check_in 5 x2 corrects day {day}"


CASES: list[tuple[str, Sequence[tuple[float, float]], list[str]]] = [
    # name, check-ins as (arrives, happened) in days, entries
    ("six days in a row are six times 5", [(n, n) for n in range(6)], [FIVE] * 6),
    ("the 7th day in a row doubles", [(n, n) for n in range(7)], [FIVE] * 6 + [TEN]),
    ("and every further one", [(n, n) for n in range(10)], [FIVE] * 6 + [TEN] * 4),
    (
        "a day without check-in ends the streak",
        [(n, n) for n in range(7)] + [(n, n) for n in range(8, 15)],
        [FIVE] * 6 + [TEN] + [FIVE] * 6 + [TEN],
    ),
    (
        "the last second of a day and the first of the next are two days in a row",
        [(n + 1 - 1 / 86_400, n + 1 - 1 / 86_400) for n in range(6)] + [(6, 6)],
        [FIVE] * 6 + [TEN],
    ),
    (
        "a late check-in heals: the days after it that were paid too little get the rest",
        [(n, n) for n in (0, 1, 2, 4, 5, 6, 7)] + [(7.5, 3)],
        [FIVE] * 8 + [lifted(6), lifted(7)],
    ),
    (
        "a late 7th day is itself doubled",
        [(n, n) for n in range(6)] + [(8, 7)] + [(8.1, 6)],
        [FIVE] * 7 + [TEN, lifted(7)],
    ),
    (
        "days before the healed one get nothing more",
        [(n, n) for n in range(6)] + [(6.5, 6.5)] + [(7, 5.2)],
        [FIVE] * 6 + [TEN, "check_in 0 cap"],
    ),
    (
        "nothing to heal behind a second gap",
        [(n, n) for n in (0, 1, 2, 4, 5, 8, 9)] + [(9.5, 3)],
        [FIVE] * 8,
    ),
    (
        "what was doubled already is not lifted again",
        [(n, n) for n in range(1, 9)] + [(8.5, 0)],
        [FIVE] * 6 + [TEN] * 2 + [FIVE, lifted(6)],
    ),
    (
        "two late ones together heal",
        [(n, n) for n in (0, 1, 2, 5, 6, 7)] + [(8, 3), (8, 4)],
        [FIVE] * 8 + [lifted(6), lifted(7)],
    ),
    (
        "a check-in late by the whole horizon heals as well",
        [(n, n) for n in range(1, 7)] + [(30, 0)],
        [FIVE] * 7 + [lifted(6)],
    ),
]


@pytest.mark.parametrize(("name", "days", "expected"), CASES, ids=[case[0] for case in CASES])
def test_streaks(name: str, days: Sequence[tuple[float, float]], expected: list[str]) -> None:
    story = told([(arrives, "check_in", happened) for arrives, happened in days])
    assert lines(story, "check_in") == expected
    check_sums(story)


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
