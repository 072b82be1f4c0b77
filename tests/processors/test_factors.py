"""Factors: birthday, paid membership, campaigns, streak, first order, and the ceiling of their product."""

from __future__ import annotations

import datetime as dt
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
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


def test_an_order_keeps_the_factors_of_the_version_that_judged_it() -> None:
    """A refund under a version with another factor, another ceiling and fewer days changes nothing of them."""
    later = DEFAULT.replace("first_order: {factor: 2, move_days: 30}", "first_order: {factor: 3, move_days: 1}")
    story = told([A, B, buys(3, 3_000, "c")], FIRST)
    story.rules = Rules(parse(later), 2, START + 4 * DAY)
    for day, order in ((20, "a"), (25, "b")):
        amount = 1_000 if order == "a" else 2_000
        story.act(an_action("refund", START + day * DAY, day, order_id=order, amount=amount), START + day * DAY)
    assert points_of(story) == {"a": 0, "b": 0, "c": 60}


@pytest.mark.parametrize(("cancelled", "points"), [(30.9, 40), (31, 20)])
def test_an_order_paid_by_points_hands_on_if_its_redeem_is_cancelled_in_time(cancelled: float, points: int) -> None:
    staff = {"kind": "points", "points": 100, "reason": "r", "operator": "a", "approved_by": "b"}
    redeem = {"redeem_id": "r", "points": 100, "order_id": "z"}
    steps = [(0, "adjust", 0, staff), buys(1, 0, "z"), (1, "redeem", 1, redeem), B]
    story = told([*steps, (cancelled, "redeem_cancel", cancelled, {"redeem_id": "r"})], FIRST)
    check_sums(story)
    assert [order.points for order in known(story.state)] == [0, points]


QUICK = Rules(parse(DEFAULT.replace("factor: 2, move_days: 30", "factor: 2, move_days: 5")), 1, 0)
"""An order moves for so few days that histories inside the horizon meet the end of them."""


class Bought(NamedTuple):
    """An order of a history: when, for how much, and its refunds (days later, share of 4)."""

    day: int
    amount: int
    source: str
    back: tuple[tuple[int, int], ...]


def by_the_definition(history: list[Bought]) -> tuple[dict[str, int], int]:
    """What each order gives, and all that was ever issued, computed from the whole history at once."""
    left, issued, is_open = {}, 0, True
    for number, it in sorted(enumerate(history), key=lambda pair: (pair[1].day, pair[1].source, f"e-{pair[0]}")):
        gone = sum(share for _, share in it.back) == 4
        in_time = all(later < 5 for later, _ in it.back)
        factor = 2 if is_open and not (gone and in_time) else 1
        is_open = is_open and factor == 1
        refunded = sum(it.amount * share // 4 for _, share in it.back)
        left[f"o{number}"] = (it.amount - refunded) // 100 * factor
        issued += it.amount // 100 * factor
    return left, issued


refunds = st.sampled_from([(), ((0, 4),), ((4, 4),), ((5, 4),), ((1, 2), (4, 2)), ((1, 2), (5, 2)), ((1, 1),)])
histories = st.lists(
    st.builds(Bought, st.integers(0, 12), st.integers(1, 50).map(lambda it: it * 400), st.sampled_from("ab"), refunds),
    min_size=1,
    max_size=5,
)


@given(histories, st.data())
@settings(deadline=None)
def test_first_order_is_what_the_definition_says_in_any_order_of_arrival(history: list[Bought], data: Any) -> None:
    """Orders of one moment among them: those are ranked by source and event_id."""
    acts = []
    for number, it in enumerate(history):
        order = {"order_id": f"o{number}", "source": it.source}
        acts.append(an_action("purchase", START + it.day * DAY, number, amount=it.amount, **order))
        for part, (later, share) in enumerate(it.back):
            at, which = START + (it.day + later) * DAY, 100 * (part + 1) + number
            acts.append(an_action("refund", at, which, amount=it.amount * share // 4, **order))
    expected, issued = by_the_definition(history)
    in_time = sorted(acts, key=lambda act: act.occurred_at)
    for arrived, clock in ((in_time, 0), (data.draw(st.permutations(acts)), START + 28 * DAY)):
        story = Story(QUICK)
        for act in arrived:
            story.act(act, clock or (act.occurred_at - EPOCH) // dt.timedelta(milliseconds=1))
        story.tick(START + 60 * DAY)
        assert points_of(story) == expected
        assert (story.state.issued, story.state.reversed) == (issued, issued - sum(expected.values()))
        assert (story.state.active, story.state.debt) == (sum(expected.values()), 0)
