"""Levels: up at once, down by missed days, at each limit and a second beside it; corrected by what comes late."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors import levels
from processors.course import begun, course
from processors.level_judge import Look
from processors.programme import Rules
from processors.windows import joined_at
from schemas.facts import LevelChanged, LevelWarning
from schemas.programme import ProgrammeError, parse
from tests.processors.story import DAY, PROGRAMME, RULES, START, Story, an_action, told, when
from tests.strategies import Sent, histories, redelivered

SECOND = 1 / 86_400
YEAR = 364  # 1 March of the next year: spend of March drops out of the sum


def bought(at: float, yuan: float, order: str = "o", arrives: float | None = None) -> tuple[Any, ...]:
    fields = {"amount": round(yuan * 100), "order_id": order}
    return (at if arrives is None else arrives, "purchase", at, fields)


def refunded(at: float, yuan: float, order: str = "o") -> tuple[Any, ...]:
    return (at, "refund", at, {"amount": round(yuan * 100), "order_id": order})


def check_ins(*days: float, late: float = 0) -> list[tuple[Any, ...]]:
    return [(max(day, late), "check_in", day) for day in days]


def moves(story: Story) -> list[str]:
    """Every change and warning in words."""
    found = []
    for _, _, fact in story.facts:
        if isinstance(fact, LevelChanged):
            found.append(f"{fact.level} from {when(fact.effective_at)}: {fact.reason}")
        if isinstance(fact, LevelWarning):
            found.append(f"warned of {fact.next_level} from {when(fact.effective_at)}: {fact.because}")
    return found


def level(story: Story) -> str:
    return RULES.levels.names[story.state.level]


WARN, FALL = YEAR + 60, YEAR + 90


def test_one_step_at_a_time_and_never_below_the_floor() -> None:
    story = told([bought(1, 6_000), (2_000, "tick")])
    falls = [line.split(":")[0] for line in moves(story) if line.endswith("missed")]
    assert falls == [
        f"gold from {FALL}",
        f"silver from {FALL + 90}",
        f"bronze from {FALL + 180}",
    ]
    assert story.state.level_due == 0


def test_a_streak_that_ended_is_missed_from_its_first_day_without() -> None:
    story = told([*check_ins(*range(1, 8)), (8 + 90 - SECOND, "tick")])
    assert level(story) == "silver"
    story.tick(START + (8 + 90) * DAY)
    assert moves(story)[-1] == "bronze from 98: missed"


def test_every_correction_names_the_change_that_was_not_so() -> None:
    story = told([bought(1, 200), refunded(3, 200)])
    first, second = [fact for _, _, fact in story.facts if isinstance(fact, LevelChanged)]
    assert second.amends == next((offset, index) for offset, index, fact in story.facts if fact is first)
    assert first.because == "net spend of 200 meets 200"
    assert (first.net_spend, first.growth) == (20_000, 20_000)


def test_held_points_count_for_growth_once_they_are_released() -> None:
    seven = [(1 + n / 86_400, "message") for n in range(7)]
    story = told(seven)
    assert story.state.growth == 6 * 2, "the seventh within a minute is held"
    story.tick(START + 40 * DAY)
    assert story.state.growth == 7 * 2


# -- bonus --------------------------------------------------------------------------------------------------------


def lifted(story: Story, at: float) -> Look:
    story.tick(START + round(at * DAY))
    facts: list[Any] = []
    now = story.clock
    return Look(RULES, story.state, "m-1", now, now, now, story.offset, 0, facts)


def redeeming(yuan: float) -> Story:
    """A member on a level by spend, whose points pay a step on day 20."""
    reward = {"redeem_id": "r-1", "points": 100, "reward": "level_step"}
    return told([bought(1, yuan), (20, "redeem", 20, reward)])


@pytest.mark.parametrize(("yuan", "expected"), [(6_500.01, "contributor 3"), (8_000.01, "contributor 3")])
def test_steps_never_lift_beyond_the_limit(yuan: float, expected: str) -> None:
    assert levels.projected(RULES, redeeming(yuan).state, START + 30 * DAY) == expected


def test_each_full_three_completed_referrals_lift_a_step() -> None:
    story = told([(1, "login"), (100, "tick")])
    moments = [START + day * DAY for day in (100, 101, 102, 103, 104)]
    levels.completed(lifted(story, 105), moments)
    assert levels.projected(RULES, story.state, START + 105 * DAY) == "silver"
    levels.completed(lifted(story, 106), [*moments, START + 105 * DAY])
    assert levels.projected(RULES, story.state, START + 106 * DAY) == "gold"
    levels.completed(lifted(story, 107), moments[:2])
    assert levels.projected(RULES, story.state, START + 107 * DAY) == "bronze"


# -- properties ---------------------------------------------------------------------------------------------------

QUICK = Rules(
    parse(
        PROGRAMME.model_dump_json()
        .replace('"miss_days":90,"warn_days":60', '"miss_days":9,"warn_days":6')
        .replace('"growth_from":500', '"growth_from":30')
        .replace('"growth_from":2000', '"growth_from":60')
        .replace('"spend_from":200,"spend_above":null,"streak":7', '"spend_from":20,"spend_above":null,"streak":3')
        .replace('"months":12,"tenure_months":3', '"months":1,"tenure_months":2')
    ),
    1,
    0,
)
"""Small limits, so that short histories rise, fall, and are warned; tenure is longer than a joining may be late."""

ACTIONS = ("check_in", "check_in", "message", "share", "purchase", "purchase", "join")


def cheap(history: list[Sent]) -> list[Sent]:
    """Orders near the limits of the levels."""
    return [
        one._replace(fields=(("amount", dict(one.fields)["amount"] % 4_000),)) if one.what == "purchase" else one
        for one in history
    ]


def lived(history: list[Sent], rules: Rules, end: int) -> Story:
    story = Story(rules)
    for number, one in sorted(enumerate(history), key=lambda pair: pair[1].arrives):
        story.act(an_action(one.what, START + one.happened, number, **dict(one.fields)), START + one.arrives)
    story.tick(START + end)
    return story


def standing(story: Story, at: int) -> tuple[str, str, int, int, int]:
    """Base level as told and as the course says, missed days, growth ever, since when it is held."""
    run = course(story.rules, story.state, begun(story.state))
    run.run(max(story.rules.calendar.day(at), story.state.today), at)
    names, since = story.rules.levels.names, story.state.level_at or joined_at(story.state)
    return names[story.state.level], names[run.base(at)], run.missed, story.state.growth, since


two_orders = (
    histories(45, 25, ACTIONS, min_size=1).map(cheap).flatmap(lambda it: st.tuples(st.just(it), redelivered(it)))
)


@given(two_orders, st.sampled_from([76, 80, 90]))
@settings(deadline=None, max_examples=200)
def test_base_level_its_moment_and_missed_days_are_free_of_order(
    orders: tuple[list[Sent], list[Sent]], end: int
) -> None:
    first, second = orders
    one, other = lived(first, QUICK, end * DAY), lived(second, QUICK, end * DAY)
    found = standing(one, START + end * DAY)
    assert found == standing(other, START + end * DAY)
    assert found[0] == found[1], "what was told is what is true"


@given(histories(45, 25, ACTIONS, min_size=1).map(cheap), st.integers(76, 140))
@settings(deadline=None, max_examples=100)
def test_a_projected_level_is_the_one_that_comes(history: list[Sent], at: int) -> None:
    story = lived(history, QUICK, 75 * DAY)
    expected = levels.projected(QUICK, story.state, START + at * DAY)
    for day in range(75, at + 1):
        story.tick(START + day * DAY)
    assert QUICK.levels.names[QUICK.levels.shown(story.state.level, story.state.level_bonus)] == expected


@given(histories(45, 20, ACTIONS).map(cheap), st.integers(0, 45 * 24), st.integers(1, 4_000), st.integers(0, 20))
@settings(deadline=None, max_examples=150)
def test_a_full_refund_leaves_the_level_as_if_the_order_had_never_been(
    history: list[Sent], hour: int, amount: int, later: int
) -> None:
    order = Sent("purchase", hour * DAY // 24, 0, (("amount", amount), ("order_id", "undone")))
    back = Sent("refund", order.happened + later * DAY, 0, (("amount", amount), ("order_id", "undone")))
    own = [one._replace(delay=0) for one in history]
    # Only what earns is compared: the order itself is an act, and the earliest one begins the tenure.
    first = Sent("join", 0, 0)
    plain = lived([first, *own], QUICK, 90 * DAY)
    undone = lived([first, *own, order, back], QUICK, 90 * DAY)
    assert standing(undone, START + 90 * DAY)[:3] == standing(plain, START + 90 * DAY)[:3]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('"warn_days":60', '"warn_days":90', "before miss_days"),
        ('"up_to":"contributor 3"', '"up_to":"contributor 9"', "no such level"),
        ('"level":"silver","floor":null', '"level":"silver","floor":"tenure"', "a floor, or has standards"),
        ('"level":"gold"', '"level":"silver"', "twice"),
    ],
)
def test_a_ladder_that_cannot_be_climbed_is_refused(before: str, after: str, words: str) -> None:
    text = PROGRAMME.model_dump_json()
    assert before in text
    with pytest.raises(ProgrammeError, match=words):
        parse(text.replace(before, after))
