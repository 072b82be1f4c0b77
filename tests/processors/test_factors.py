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

SECOND = 1 / 86_400
PLAIN = DEFAULT.replace("first_order: {factor: 2,", "first_order: {factor: 1,")
SEASON = 'begins: "2026-03-01T00:00:00+08:00", ends: "2026-12-01T00:00:00+08:00"'
DAY_TWO = 'begins: "2026-03-04T00:00:00+08:00", ends: "2026-03-05T00:00:00+08:00"'
CAMPAIGNS = f"""campaigns:
      - {{name: eleventh, factor: 3, actions: [purchase, message], {DAY_TWO}}}
      - {{name: weekend, factor: 2, actions: [share], {SEASON}, weekdays: [5, 6]}}
      - {{name: last day, factor: 2, actions: [check_in], {SEASON}, days_of_month: [31]}}
"""
BORN = (0, "profile", 0, {"birthday": "03-05"})  # day 3 of the story
RULES = Rules(parse(PLAIN), 1, 0)
WITH_CAMPAIGNS = Rules(parse(PLAIN.replace("campaigns: []", CAMPAIGNS.rstrip())), 1, 0)
FIRST = Rules(parse(DEFAULT), 1, 0)
SMALL = {"amount": 1_000}


def earned(story: Story) -> list[str]:
    """Every entry in words, without what becomes active."""
    check_sums(story)
    return [line for line in lines(story) if " active " not in line]


SPREAD = [(3 + n / 99, "message") for n in range(11)]
BIRTHDAY: list[tuple[str, list[tuple[Any, ...]], list[str]]] = [
    ("all day", [BORN, (3, "message"), (4 - SECOND, "message")], ["message 4 x2", "message 4 x2"]),
    ("1 s before", [BORN, (3 - SECOND, "message")], ["message 2"]),
    ("1 s after its end", [BORN, (4, "message")], ["message 2"]),
    ("check-in, share, purchase", [BORN, (3, "check_in"), (3, "share"), (3, "purchase", 3, SMALL)],
     ["check_in 10 x2", "share 10 x2", "purchase 20 x2"]),
    ("not known yet", [(3, "message"), (3, *BORN[1:2], 3, BORN[3]), (3, "message")], ["message 2", "message 4 x2"]),
    ("beyond the cap nothing is doubled", [BORN, *SPREAD], [*["message 4 x2"] * 10, "message 0 cap"]),
    ("a late message of the day", [BORN, (9, "message", 3.5)], ["message 4 x2"]),
    ("the first change counts", [BORN, (1, "profile", 1, {"birthday": "03-06"}), (3, "message"), (4, "message")],
     ["message 2", "message 4 x2"]),
    ("a second one within 365 d does not",
     [BORN, (1, "profile", 1, {"birthday": "03-06"}), (2, "profile", 2, BORN[3]), (3, "message"), (4, "message")],
     ["message 2", "message 4 x2"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "steps", "expected"), BIRTHDAY, ids=[row[0] for row in BIRTHDAY])
def test_birthday(name: str, steps: list[tuple[Any, ...]], expected: list[str]) -> None:
    assert earned(told(steps, RULES)) == expected, name


@pytest.mark.parametrize(
    ("day", "is_one"), [("2028-02-29", True), ("2028-02-28", False), ("2027-02-28", True), ("2027-03-01", False)]
)
def test_who_was_born_on_29_february_has_the_last_day_of_a_shorter_one(day: str, is_one: bool) -> None:  # noqa: FBT001
    number = dt.date.fromisoformat(day).toordinal() - dt.date(1970, 1, 1).toordinal()
    assert is_birthday(RULES.calendar, number, 229) is is_one


def paid(day: float, until: float) -> tuple[Any, ...]:
    end = EPOCH + dt.timedelta(milliseconds=START + round(until * DAY))
    return (day, "subscribe", day, {"plan": "gold", "paid_until": end})


PAID: list[tuple[str, list[tuple[Any, ...]], list[str]]] = [
    ("from the very moment", [paid(1, 31), (1, "purchase", 1, SMALL)], ["purchase 20 x2"]),
    ("1 s before", [paid(1, 31), (2, "purchase", 1 - SECOND, SMALL)], ["purchase 10"]),
    ("1 s before its end", [paid(1, 3), (3 - SECOND, "purchase", 3 - SECOND, SMALL)], ["purchase 20 x2"]),
    ("its end", [paid(1, 3), (3, "purchase", 3, SMALL)], ["purchase 10"]),
    ("by arrival", [(2, "purchase", 2, SMALL), (2, "subscribe", 1, paid(1, 9)[3])], ["purchase 10"]),
    ("purchases alone", [paid(1, 31), (2, "message")], ["message 2"]),
    ("renewed", [paid(1, 3), paid(2, 9), (5, "purchase", 5, SMALL)], ["purchase 20 x2"]),
    ("a late purchase in an earlier time",
     [paid(1, 3), paid(5, 9), (6, "purchase", 2, SMALL), (6, "purchase", 4, SMALL)],
     ["purchase 20 x2", "purchase 10"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "steps", "expected"), PAID, ids=[row[0] for row in PAID])
def test_paid_membership(name: str, steps: list[tuple[Any, ...]], expected: list[str]) -> None:
    assert earned(told(steps, RULES)) == expected, name


def test_what_is_paid_is_a_fact() -> None:
    (first, second) = [
        fact for _, _, fact in told([paid(1, 3), paid(2, 9)], RULES).facts if isinstance(fact, MembershipPaid)
    ]
    assert (first.until, second.until) == (START + 3 * DAY, START + 9 * DAY)
    assert first.because == "plan gold"


CAMPAIGN: list[tuple[str, list[tuple[Any, ...]], list[str]]] = [
    ("while it lasts", [(2, "message"), (3 - SECOND, "message")], ["message 6 x3"] * 2),
    ("1 s before", [(2 - SECOND, "message")], ["message 2"]),
    ("its end", [(3, "message")], ["message 2"]),
    ("other actions", [(2, "share")], ["share 5"]),
    ("by `occurred_at`", [(9, "message", 2.5)], ["message 6 x3"]),
    ("on its weekdays", [(5, "share"), (6, "share"), (7, "share")], ["share 10 x2", "share 10 x2", "share 5"]),
    ("on its day of the month", [(28, "check_in"), (29, "check_in")], ["check_in 5", "check_in 10 x2"]),
    ("a month without it: the last day", [(58, "check_in"), (59, "check_in")], ["check_in 5", "check_in 10 x2"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "steps", "expected"), CAMPAIGN, ids=[row[0] for row in CAMPAIGN])
def test_campaigns(name: str, steps: list[tuple[Any, ...]], expected: list[str]) -> None:
    assert earned(told(steps, WITH_CAMPAIGNS))[: len(expected)] == expected, name


def test_the_product_has_a_ceiling_and_the_words_say_all() -> None:
    story = told([(0, "profile", 0, {"birthday": "03-04"}), (2, "purchase", 2, SMALL), (2, "message")], WITH_CAMPAIGNS)
    bought, wrote = ledger(story)
    assert (bought.points, bought.base, bought.factor) == (40, 10, 4)
    assert bought.because == "40 = 10 yuan x2 birthday x3 eleventh, at most x4"
    assert wrote.because == "8 = 2 x2 birthday x3 eleventh, at most x4: message 1 of the day's 10"


def test_a_healed_streak_counts_the_other_factors_too() -> None:
    """Day 6 is a birthday: known as the first of a run it was x2, as the seventh it is x4."""
    days = [(day + 0.1, "check_in") for day in (0, 1, 2, 4, 5)]
    story = told([(0, "profile", 0, {"birthday": "03-08"}), *days, (6.1, "check_in"), (6.2, "check_in", 3.1)], RULES)
    assert earned(story)[-3:] == ["check_in 10 x2", "check_in 5", "check_in 10 x4 corrects day 6.1"]


QUIZ = Rules(
    parse(PLAIN + "\ncustom: {quiz: {weight: 0, own: true, earns: {points: 7, per_day: 2, growth: true}}}\n"), 1, 0
)


def test_a_custom_action_earns_what_is_declared_up_to_its_cap() -> None:
    quiz = {"name": "quiz"}
    story = told([*[(1, "custom", 1, quiz)] * 3, (2, "custom", 2, quiz), (3, "custom", 1.5, quiz)], QUIZ)
    assert earned(story) == ["quiz 7", "quiz 7", "quiz 0 cap", "quiz 7", "quiz 0 cap"]
    assert ledger(story)[1].because == "7 = quiz 2 of the day's 2"


# -- first order ----------------------------------------------------------------------------------------------------


def buys(at: float, amount: int, order: str, arrives: float | None = None) -> tuple[Any, ...]:
    return (at if arrives is None else arrives, "purchase", at, {"amount": amount, "order_id": order})


def refunds(at: float, amount: int, order: str) -> tuple[Any, ...]:
    return (at, "refund", at, {"amount": amount, "order_id": order})


A, B = buys(1, 1_000, "a"), buys(2, 2_000, "b")
FIRST_ORDER: list[tuple[str, list[tuple[Any, ...]], dict[str, int]]] = [
    ("the first one alone", [A, B], {"a": 20, "b": 20}),
    ("an earlier one arrives", [buys(5, 1_000, "a"), buys(2, 2_000, "b", 6)], {"a": 10, "b": 40}),
    ("fully refunded: the next", [A, B, refunds(9, 1_000, "a")], {"a": 0, "b": 40}),
    ("partly refunded it stays", [A, B, refunds(9, 500, "a")], {"a": 10, "b": 20}),
    ("1 s before 30 d it still moves", [A, B, refunds(31 - SECOND, 1_000, "a")], {"a": 0, "b": 40}),
    ("at 30 d no more", [A, B, refunds(31, 1_000, "a")], {"a": 0, "b": 20}),
    ("none is there: the next to come", [A, refunds(9, 1_000, "a"), buys(40, 2_000, "b")], {"a": 0, "b": 40}),
    ("too late for the next to come", [A, refunds(32, 1_000, "a"), buys(40, 2_000, "b")], {"a": 0, "b": 20}),
    ("refunded before it arrives", [B, refunds(3, 1_000, "a"), buys(1, 1_000, "a", 4)], {"a": 0, "b": 40}),
    ("it moves twice",
     [A, B, buys(3, 3_000, "c"), refunds(9, 1_000, "a"), refunds(10, 2_000, "b")],
     {"a": 0, "b": 0, "c": 60}),
]  # fmt: skip


def points_of(story: Story) -> dict[str, int]:
    """What each order of the story gives, by its id, as its entries say."""
    check_sums(story)
    found: dict[str, int] = {}
    for it in ledger(story):
        if it.order_id:
            found[it.order_id] = found.get(it.order_id, 0) + it.points - it.reversed
    assert sorted(found.values()) == sorted(order.points for order in known(story.state))
    return found


@pytest.mark.parametrize(("name", "steps", "expected"), FIRST_ORDER, ids=[row[0] for row in FIRST_ORDER])
def test_first_order(name: str, steps: list[tuple[Any, ...]], expected: dict[str, int]) -> None:
    assert points_of(told(steps, FIRST)) == expected, name


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
