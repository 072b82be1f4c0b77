"""The activity score and its index, as tables a growth manager can check with a calculator."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors import activity, days
from schemas.actions import ACTIONS, Action
from schemas.member import MemberState
from schemas.programme import CustomAction, parse

PROGRAMME = parse(Path("schemas/programmes/default.yaml").read_text())
WEIGHTS = activity.Weights(PROGRAMME)
FIRST = 20_000
NOON = dt.datetime(2024, 10, 4, 12, tzinfo=dt.UTC)


def an_action(named: str, /, **fields: Any) -> Action:
    head = {"event_id": "e-1", "source": "app", "member_id": "m-1", "occurred_at": NOON}
    return ACTIONS[named](**{**head, **fields})


def scored(history: list[tuple[int, int]], today: int) -> MemberState:
    """A member with these (day, weight in thousandths), in this order of arrival, seen on a day."""
    state = MemberState()
    for day, weight in history:
        if FIRST + day > state.today:
            days.roll(WEIGHTS, state, FIRST + day)
        activity.add(WEIGHTS, state, FIRST + day, weight)
    if FIRST + today > state.today:
        days.roll(WEIGHTS, state, FIRST + today)
    return state


@pytest.mark.parametrize(
    ("name", "action", "weight"),
    [
        ("login", an_action("login"), 500),
        ("check-in", an_action("check_in"), 1000),
        ("chat", an_action("message", kind="chat"), 1000),
        ("question", an_action("message", kind="question"), 2000),
        ("answer", an_action("message", kind="answer"), 3000),
        ("experience", an_action("message", kind="experience"), 3000),
        ("share", an_action("share", target="content"), 3000),
        ("comment", an_action("comment", item_id="i"), 1000),
        ("like", an_action("like", item_id="i"), 500),
        ("a live seen to its end", an_action("live", item_id="i", completion=1.0), 3000),
        ("a live half seen", an_action("live", item_id="i", completion=0.5), 1500),
        ("a live is floored", an_action("live", item_id="i", completion=0.3333), 999),
        ("but not below what was sent", an_action("live", item_id="i", completion=0.57), 1710),
        ("a live not seen", an_action("live", item_id="i", completion=0.0), 0),
        ("purchase", an_action("purchase", order_id="o", amount=1, currency="CNY"), 5000),
        ("browse", an_action("browse", item_id="i"), 0),
        ("refund", an_action("refund", order_id="o", amount=1, currency="CNY"), 0),
        ("a custom action nobody declared", an_action("custom", name="quiz"), 0),
    ],
)
def test_an_action_weighs(name: str, action: Action, weight: int) -> None:
    assert WEIGHTS.of(action) == weight, name


def test_a_day_beyond_those_that_the_programme_looks_back_weighs_nothing() -> None:
    for back in (1, 7, 30, 57):
        short = PROGRAMME.activity.model_copy(update={"days": back})
        decay = activity.Weights(PROGRAMME.model_copy(update={"activity": short})).decay
        assert decay == WEIGHTS.decay[:back] + (0,) * (57 - back)


def test_a_custom_action_weighs_what_the_programme_declares() -> None:
    declared = PROGRAMME.model_copy(update={"custom": {"quiz": CustomAction(weight=1500, own=True)}})
    assert activity.Weights(declared).of(an_action("custom", name="quiz")) == 1500


@pytest.mark.parametrize(
    ("name", "history", "today", "score"),
    [
        ("nothing", [], 0, 0),
        ("one purchase today", [(0, 5000)], 0, 5000),
        ("sums of the day", [(0, 5000), (0, 1000)], 0, 6000),
        ("one day later x 0.905724", [(0, 5000)], 1, 4528),
        ("half after 7 days", [(0, 5000)], 7, 2500),
        ("a quarter after 14", [(0, 5000)], 14, 1250),
        ("floored once, not by day: 905.7 + 820.3", [(0, 1000), (1, 1000)], 2, 1726),
        ("30 a day at most", [(0, 29_000), (0, 3000)], 0, 30_000),
        ("30 each day", [(0, 40_000), (1, 40_000)], 1, 30_000 + 27_171),
        ("day 56 still counts x 0.003906", [(0, 30_000)], 56, 117),
        ("day 57 no more", [(0, 30_000)], 57, 0),
        ("a late action counts for its own day", [(7, 1000), (0, 5000)], 7, 3500),
        ("a late action at the cap", [(7, 1000), (0, 29_000), (0, 5000)], 7, 16_000),
    ],
)
def test_the_score(name: str, history: list[tuple[int, int]], today: int, score: int) -> None:
    assert activity.score(scored(history, today)) == score, name


@pytest.mark.parametrize(
    ("score", "index"),
    [(0, 0), (1000, 5), (20_000, 50), (60_000, 75), (100, 0), (101, 1), (80_000, 80), (330_000, 94)],
)
def test_the_index_is_half_at_twenty_and_rounded_half_up(score: int, index: int) -> None:
    assert WEIGHTS.index(score) == index


def test_the_decay_table_is_written_out() -> None:
    assert WEIGHTS.decay == tuple(round(10**6 * 2 ** (-back / 7)) for back in range(57))


histories = st.lists(st.tuples(st.integers(0, 31), st.sampled_from([0, 500, 1000, 3000, 5000, 29_999])))


@given(histories, st.randoms(use_true_random=False), st.integers(31, 100))
def test_the_score_is_the_same_in_any_order_of_arrival(history: list[tuple[int, int]], random: Any, today: int) -> None:
    shuffled = list(history)
    random.shuffle(shuffled)
    one, other = scored(history, today), scored(shuffled, today)
    assert (one.weights, one.score_older) == (other.weights, other.score_older)
    assert activity.score(one) == activity.score(other)


@given(histories, st.integers(31, 100), st.integers(0, 40))
def test_the_running_sum_equals_the_sum_of_all_days(history: list[tuple[int, int]], today: int, later: int) -> None:
    by_day: dict[int, int] = {}
    for day, weight in history:
        by_day[day] = min(30_000, by_day.get(day, 0) + weight)
    table = [round(10**6 * 2 ** (-back / 7)) for back in range(57)]
    state = scored(history, today)
    for asked in (today, today + later):
        total = sum(w * table[asked - d] for d, w in by_day.items() if asked - d < 57)
        assert activity.score_on(WEIGHTS, state, FIRST + asked) == total // 10**6
    assert activity.score(state) == activity.score_on(WEIGHTS, state, FIRST + today)


def test_the_score_of_an_earlier_day_leaves_out_what_came_after() -> None:
    state = scored([(0, 5000), (3, 30_000)], 3)
    assert activity.score_on(WEIGHTS, state, FIRST + 1) == 4528


def test_a_lower_cap_of_a_new_version_takes_nothing_away() -> None:
    lower = activity.Weights(
        PROGRAMME.model_copy(update={"activity": PROGRAMME.activity.model_copy(update={"day_cap": 1000})})
    )
    state = scored([(0, 5000), (1, 5000)], 1)
    activity.add(lower, state, FIRST + 1, 500)
    activity.add(lower, state, FIRST, 500)
    assert activity.score(state) == activity.score(scored([(0, 5000), (1, 5000)], 1))
