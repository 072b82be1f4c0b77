"""Factors: birthday, paid membership, campaigns, streak, first order, and the ceiling of their product."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.factors import is_birthday
from processors.orders import known
from processors.programme import Rules
from schemas.facts import MembershipPaid
from schemas.programme import parse
from tests.processors.book import check_sums, ledger, lines
from tests.processors.story import DAY, DEFAULT, EPOCH, START, Story, an_action, told

PLAIN = DEFAULT.replace("first_order: {factor: 2,", "first_order: {factor: 1,")
SEASON = 'begins: "2026-03-01T00:00:00+08:00", ends: "2026-12-01T00:00:00+08:00"'
DAY_TWO = 'begins: "2026-03-04T00:00:00+08:00", ends: "2026-03-05T00:00:00+08:00"'
CAMPAIGNS = f"""campaigns:
      - {{name: eleventh, factor: 3, actions: [purchase, message], {DAY_TWO}}}
      - {{name: weekend, factor: 2, actions: [share], {SEASON}, weekdays: [5, 6]}}
      - {{name: last day, factor: 2, actions: [check_in], {SEASON}, days_of_month: [31]}}
"""
EARNS = "earns: {points: 7, per_day: 2, growth: true}"
RULES = Rules(parse(PLAIN), 1, 0)
WITH_CAMPAIGNS = Rules(parse(PLAIN.replace("campaigns: []", CAMPAIGNS.rstrip())), 1, 0)
FIRST = Rules(parse(DEFAULT), 1, 0)
SMALL = {"amount": 1_000}


def earned(story: Story) -> list[str]:
    """Every entry in words, without what becomes active."""
    check_sums(story)
    return [line for line in lines(story) if " active " not in line]


@pytest.mark.parametrize(
    ("day", "is_one"), [("2028-02-29", True), ("2028-02-28", False), ("2027-02-28", True), ("2027-03-01", False)]
)
def test_who_was_born_on_29_february_has_the_last_day_of_a_shorter_one(day: str, is_one: bool) -> None:  # noqa: FBT001
    number = dt.date.fromisoformat(day).toordinal() - dt.date(1970, 1, 1).toordinal()
    assert is_birthday(RULES.calendar, number, 229) is is_one


def paid(day: float, until: float) -> tuple[Any, ...]:
    end = EPOCH + dt.timedelta(milliseconds=START + round(until * DAY))
    return (day, "subscribe", day, {"plan": "gold", "paid_until": end})


def test_what_is_paid_is_a_fact() -> None:
    (first, second) = [
        fact for _, _, fact in told([paid(1, 3), paid(2, 9)], RULES).facts if isinstance(fact, MembershipPaid)
    ]
    assert (first.until, second.until) == (START + 3 * DAY, START + 9 * DAY)
    assert first.because == "plan gold"


def test_the_product_has_a_ceiling_and_the_words_say_all() -> None:
    story = told([(0, "profile", 0, {"birthday": "03-04"}), (2, "purchase", 2, SMALL), (2, "message")], WITH_CAMPAIGNS)
    bought, wrote = ledger(story)
    assert (bought.points, bought.base, bought.factor) == (40, 10, 4)
    assert bought.because == "40 = 10 yuan x2 birthday x3 eleventh, at most x4"
    assert wrote.because == "8 = 2 x2 birthday x3 eleventh, at most x4: message 1 of the day's 10"


@pytest.mark.parametrize("name", ["quiz", "3d_tour"])
def test_a_campaign_of_a_custom_action_says_so(name: str) -> None:
    campaign = CAMPAIGNS.replace("actions: [share]", f"actions: [{name}]").rstrip()
    text = PLAIN.replace("campaigns: []", campaign) + f"custom: {{{name}: {{weight: 0, own: true, {EARNS}}}}}\n"
    story = told([(5, "custom", 5, {"name": name})], Rules(parse(text), 1, 0))
    (entry,) = ledger(story)
    assert (entry.points, entry.base, entry.factor, entry.rule) == (14, 7, 2, name)
    assert entry.because == f"14 = 7 x2 weekend: {name} 1 of the day's 2"
    assert story.state.growth == 7, "growth counts the base"


def test_a_healed_streak_counts_the_other_factors_too() -> None:
    """Day 6 is a birthday: known as the first of a run it was x2, as the seventh it is x4."""
    days = [(day + 0.1, "check_in") for day in (0, 1, 2, 4, 5)]
    story = told([(0, "profile", 0, {"birthday": "03-08"}), *days, (6.1, "check_in"), (6.2, "check_in", 3.1)], RULES)
    assert earned(story)[-3:] == ["check_in 10 x2", "check_in 5", "check_in 10 x4 corrects day 6.1"]


# -- first order ----------------------------------------------------------------------------------------------------


def buys(at: float, amount: int, order: str, arrives: float | None = None) -> tuple[Any, ...]:
    return (at if arrives is None else arrives, "purchase", at, {"amount": amount, "order_id": order})


A, B = buys(1, 1_000, "a"), buys(2, 2_000, "b")


def points_of(story: Story) -> dict[str, int]:
    """What each order of the story gives, by its id, as its entries say."""
    check_sums(story)
    found: dict[str, int] = {}
    for it in ledger(story):
        if it.order_id:
            found[it.order_id] = found.get(it.order_id, 0) + it.points - it.reversed
    assert sorted(found.values()) == sorted(order.points for order in known(story.state))
    return found


def test_the_correction_names_the_order_and_counts_where_it_did() -> None:
    story = told(
        [(5, "purchase", 5, {"amount": 1_000, "order_id": "a", "region": "east"}), buys(2, 2_000, "b", 6)], FIRST
    )
    (moved,) = [it for it in ledger(story) if it.rule == "first_order"]
    assert (moved.entry, moved.amends, moved.points, moved.order_id, moved.region) == (
        "corrected",
        (1, 0),
        -10,
        "a",
        "east",
    )
    assert moved.because == "-10 to x1: it is not the first order"


histories = st.lists(
    st.tuples(st.integers(0, 25), st.integers(100, 5_000), st.none() | st.integers(0, 25)), min_size=1, max_size=4
)


@given(histories, st.randoms(use_true_random=False))
def test_first_order_is_the_same_in_any_order_of_arrival(history: Any, rnd: Any) -> None:
    parts: list[tuple[int, str, dict[str, Any]]] = []
    for number, (day, amount, back) in enumerate(history):
        order = {"order_id": f"o{number}", "amount": amount}
        parts.append((day, "purchase", order))
        if back is not None:
            parts.append((min(27, day + back), "refund", order))

    def played(arrival: list[int]) -> tuple[Any, ...]:
        story = Story(FIRST)
        for number in arrival:
            day, name, fields = parts[number]
            story.act(an_action(name, START + day * DAY + number, number, **fields), START + 28 * DAY)
        story.tick(START + 60 * DAY)
        return points_of(story), story.state.issued - story.state.reversed, story.state.active, story.state.debt

    shuffled = list(range(len(parts)))
    rnd.shuffle(shuffled)
    assert played(list(range(len(parts)))) == played(shuffled)
