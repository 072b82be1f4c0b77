"""A level that rises too fast, as those who judge it would check it: one row, one case (decision 0012)."""

from __future__ import annotations

from typing import Any

import pytest

from processors.level_judge import Look
from processors.levels import completed
from processors.programme import Rules
from schemas.facts import Fact, LevelChanged, PointsHeld
from schemas.programme import parse
from tests.processors.book import check_sums, ledger
from tests.processors.story import DAY, DEFAULT, EPOCH, START, Story, told

SECOND_OF_DAY = 1 / 86_400

STEEP = Rules(
    parse(
        DEFAULT.replace("{day_over: 100,", "{day_over: 60000,")
        .replace("contributor 1, spend_above: 5000", "contributor 1, growth_from: 3000, spend_above: 5000")
        .replace(
            "tasks:  ",
            "custom: {quiz: {weight: 0, own: true, earns: {points: 500, per_day: 100, growth: true}}}\ntasks:  ",
        )
    ),
    1,
    0,
)
"""Silver from a growth of 500, gold from 2,000, contributor 1 from 3,000; a quiz is 500."""

Step = tuple[Any, ...]


def quizzes(at: float, count: int) -> list[Step]:
    return [(at, "quiz")] * count


def lived(steps: list[Step]) -> Story:
    named = [(at, "custom", at, {"name": "quiz"}) if what == "quiz" else (at, what, *more) for at, what, *more in steps]
    story = told(named, STEEP)
    check_sums(story)
    return story


def opened(story: Story) -> list[str]:
    return [fact.because for _, _, fact in story.facts if isinstance(fact, PointsHeld)]


def levels(story: Story) -> list[str]:
    return [fact.level for _, _, fact in story.facts if isinstance(fact, LevelChanged)]


def bought(at: float, yuan: int, order: str = "o-1", happened: float | None = None) -> Step:
    return (at, "purchase", at if happened is None else happened, {"order_id": order, "amount": yuan * 100})


SUSPECTED = ["3 steps of the level in 24 h without a purchase"]
UP = [(0.5, "login")]
GOLD = [*UP, *quizzes(0.6, 4)]
TABLE: list[tuple[str, list[Step], list[str]]] = [
    ("silver, over floors that only time and tasks give, is one step", [*UP, *quizzes(0.6, 1)], []),
    ("gold from a floor is two", GOLD, []),
    ("contributor 1 is the third", [*UP, *quizzes(0.6, 6)], SUSPECTED),
    ("the third 1 s before 24 h have passed", [*GOLD, *quizzes(1.6 - SECOND_OF_DAY, 2)], SUSPECTED),
    ("the third 24 h after the first", [*GOLD, *quizzes(1.6, 2)], []),
    ("a purchase of a fen in between", [*GOLD, (0.7, "purchase", 0.7, {"amount": 1}), *quizzes(1, 2)], []),
    (
        "a purchase 1 s less than 24 h before",
        [(0.6, "purchase", 0.6, {"amount": 1}), *quizzes(0.7, 4), *quizzes(1.6 - SECOND_OF_DAY, 2)],
        [],
    ),
    ("a purchase 24 h before", [(0.6, "purchase", 0.6, {"amount": 1}), *quizzes(0.7, 4), *quizzes(1.6, 2)], SUSPECTED),
    ("three by one order", [*UP, bought(0.6, 5_001)], []),
    ("three by an order of two days ago that is told late", [*UP, (3, "login"), bought(3, 5_001, happened=1)], []),
    ("one more than an order gives", [(0.5, "login"), bought(0.5, 4_000), *quizzes(2, 1)], []),
]


@pytest.mark.parametrize(("name", "steps", "because"), TABLE, ids=[row[0] for row in TABLE])
def test_steps_of_the_level(name: str, steps: list[Step], because: list[str]) -> None:
    story = lived(steps)
    assert opened(story) == because


def test_what_made_it_rise_is_held_and_the_level_stands_without_it() -> None:
    story = lived([*UP, *quizzes(0.6, 6), (0.7, "check_in")])
    assert levels(story) == ["silver", "gold", "contributor 1", "gold"]
    assert [(fact.rule, fact.active, fact.pending) for fact in ledger(story)[-2:]] == [
        ("quiz", 0, 500),
        ("check_in", 0, 5),
    ]


def test_released_by_nobody_they_lift_the_level_again_without_a_new_suspicion() -> None:
    story = lived([*UP, *quizzes(0.6, 6), (30.6, "tick")])
    assert opened(story) == SUSPECTED
    assert levels(story)[-1] == "contributor 1"


def test_seven_check_ins_in_a_row_are_no_suspicion() -> None:
    """Of the default programme: from explorer 1 to silver is four places of the ladder."""
    story = told([(day + 0.5, "check_in") for day in range(8)], Rules(parse(DEFAULT), 1, 0))
    assert levels(story) == ["silver"]
    assert opened(story) == []


def lifted(story: Story, at: float, referrals: int) -> None:
    """So many completed referrals stand at a moment."""
    ms = START + round(at * DAY)
    story.tick(ms)
    facts: list[Fact] = []
    completed(Look(STEEP, story.state, "m-1", ms, ms, story.clock, story.offset, 0, facts), [ms] * referrals)
    story.facts += [(story.offset, place, fact) for place, fact in enumerate(facts)]


@pytest.mark.parametrize(
    ("name", "completions", "because"),
    [
        ("six referrals are two steps", [(9, 6)], []),
        ("nine are three", [(9, 9)], SUSPECTED),
        ("nine, three of them 24 h before", [(9, 3), (10, 9)], []),
        ("nine, three of them 1 s later than that", [(9 + SECOND_OF_DAY, 3), (10, 9)], SUSPECTED),
        ("what was undone and came again rose once", [(9, 3), (9.1, 0), (9.2, 3), (9.3, 0), (9.4, 6)], []),
    ],
)
def test_steps_of_bonus(name: str, completions: list[tuple[float, int]], because: list[str]) -> None:
    story = lived([*UP, *quizzes(0.6, 1)])
    for at, referrals in completions:
        lifted(story, at, referrals)
    assert opened(story) == because


def test_what_a_member_brings_along_is_no_suspicion() -> None:
    brought = {"level": "contributor 1", "level_since": EPOCH, "lots": [], "debt": 0, "spend": {}, "joined_at": EPOCH}
    people = {"reason": "moved here", "operator": "ann", "approved_by": "bob"}
    story = lived([*UP, (0.6, "opening", 0.6, brought | people)])
    assert levels(story) == ["contributor 1"]
    assert opened(story) == []
