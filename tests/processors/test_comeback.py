"""Comeback: what ends a long silence, how often it is paid, and what a late action takes back or moves."""

from __future__ import annotations

from typing import Any

import pytest

from processors.programme import Rules
from schemas.member import COMEBACK
from schemas.programme import parse
from tests.processors.book import amended, check_sums, ledger, lines
from tests.processors.story import DAY, PROGRAMME, START, told

Steps = list[tuple[Any, ...]]
PAID, CAPPED = "comeback 50", "comeback 0 cap"


def taken(day: float) -> str:
    return f"comeback -50 corrects day {day:g}"


def gaps(count: int, every: float = 31) -> Steps:
    return [(n * every, "login") for n in range(count + 1)]


SHORT = Rules(
    parse(PROGRAMME.model_dump_json().replace('"after_days":30,"per_year":4', '"after_days":5,"per_year":2')), 1, 0
)


@pytest.mark.parametrize(
    ("name", "steps", "expected"),
    [
        (
            "a gap that is taken back lets the third be paid",
            [(0, "login"), (6, "login"), (12, "login"), (18, "login"), (19, "login", 3)],
            [PAID, PAID, CAPPED, taken(6), "comeback 50 corrects day 18"],
        ),
        (
            "a gap cut into two pushes the second out",
            [(0, "login"), (12, "login"), (18, "login"), (19, "login", 6)],
            [PAID, PAID, PAID, taken(18)],
        ),
        (
            "a late first action makes a first gap",
            [(12, "login"), (18, "login"), (24, "login"), (25, "login", 6)],
            [PAID, PAID, PAID, taken(24)],
        ),
        (
            "cut shorter and still long enough it stays as it is",
            [(0, "login"), (12, "login"), (13, "login", 2)],
            [PAID],
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_comeback_within_the_horizon(name: str, steps: Steps, expected: list[str]) -> None:
    story = told(steps, SHORT)
    assert lines(story, "comeback") == expected
    check_sums(story)


def test_a_moved_comeback_is_paid_at_the_moment_and_in_the_month_of_the_late_action() -> None:
    story = told([(-6, "login"), (35, "login"), (36, "like", 28)])
    paid, back, again = ledger(story)
    assert (paid.effective_at, paid.month) == (START + 35 * DAY, 2026 * 12 + 3)
    assert (back.effective_at, back.month, back.points) == (START + 35 * DAY, 2026 * 12 + 3, -50)
    assert (again.effective_at, again.month, again.points) == (START + 28 * DAY, 2026 * 12 + 2, 50)
    assert (back.action, back.event_id, again.action) == ("login", "e-2", "like")
    assert back.because == "-50: a late action shows that the silence before it was shorter"
    assert again.because == "50 = back after 34 days, number 1 of the year"


def test_a_comeback_pushed_out_and_let_in_again_names_each_time_what_it_amends() -> None:
    steps: Steps = [(0, "login"), (12, "login"), (18, "login"), (19, "login", 6), (20, "login", 3)]
    story = told(steps, SHORT)
    assert lines(story, "comeback")[3:] == [taken(18), taken(6), "comeback 50 corrects day 18"]
    out, _, again = ledger(story)[3:]
    assert amended(story, again) is out
    check_sums(story)


def test_comebacks_are_remembered_only_while_they_can_change() -> None:
    story = told(gaps(40))
    assert len(story.state.comebacks) <= 2 * (COMEBACK.size + 12)
