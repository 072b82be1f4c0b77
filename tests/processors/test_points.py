"""What earns points, beyond its tables: excluded lines, the arithmetic in words, lots, other currencies."""

from __future__ import annotations

from typing import Any

import pytest

from processors.lots import by_end
from processors.programme import Rules
from schemas.actions import Line
from schemas.facts import Ledger
from schemas.programme import parse
from schemas.verdicts import Verdict
from tests.processors.book import check_sums, ledger
from tests.processors.story import DEFAULT, PROGRAMME, RULES, START, Story, an_action, told

Steps = list[tuple[Any, ...]]


def buys(amount: int, at: float = 0, **fields: Any) -> tuple[Any, ...]:
    return (at, "purchase", at, {"amount": amount, **fields})


def says(length: int | None, at: float = 0) -> tuple[Any, ...]:
    return (at, "message", at, {"length": length})


LINES = [
    {"sku": "s-1", "category": "gift_card", "amount": 12_000},
    {"sku": "s-2", "category": "tea", "amount": 30_000},
]
EXCLUDING = Rules(
    parse(PROGRAMME.model_dump_json().replace('"excluded_categories":[]', '"excluded_categories":["gift_card"]')),
    1,
    0,
)


@pytest.mark.parametrize(
    ("name", "amount", "of_lines", "points", "reason", "because"),
    [
        ("all counts without lines", 42_000, 0, 420, "", "420 = 420 yuan"),
        ("an excluded category does not count", 42_000, 2, 300, "", "300 = 300 yuan (120 excluded)"),
        ("nothing but excluded", 12_000, 1, 0, "excluded", "0: 0 yuan (120 excluded)"),
        ("never below nothing", 11_000, 1, 0, "excluded", "0: 0 yuan (110 excluded)"),
        ("the rest is floored", 42_050, 2, 300, "", "300 = 300.50 yuan, floored (120 excluded)"),
    ],
)
def test_lines_of_excluded_categories_do_not_count(
    name: str, amount: int, of_lines: int, points: int, reason: str, because: str
) -> None:
    of_order = tuple(Line(**one) for one in LINES[:of_lines])  # type: ignore[arg-type]
    story = told([buys(amount, lines=of_order)], EXCLUDING)
    (entry,) = ledger(story)
    assert (entry.points, entry.reason, entry.because) == (points, reason, because)
    assert entry.spend == min(amount, amount - sum(one.amount for one in of_order if one.category == "gift_card")) or (
        entry.spend == 0
    )
    check_sums(story)


@pytest.mark.parametrize(
    ("name", "steps", "because"),
    [
        ("a check-in", [(0, "check_in")], "5 = a check-in"),
        ("the streak", [(n, "check_in") for n in range(7)], "10 = 5 x2 streak of 7"),
        ("a second check-in", [(0, "check_in"), (0, "check_in")], "0: the day's check-in was there already"),
        ("a message", [says(9), says(9)], "2 = message 2 of the day's 10"),
        ("the 11th message", [says(9)] * 11, "0: the day's 10 messages are reached"),
        ("a short message", [says(3)], "0: shorter than 4 characters"),
        ("a share", [(0, "share")], "5 = share 1 of the day's 5"),
        ("the 6th share", [(0, "share")] * 6, "0: the day's 5 shares are reached"),
        ("a purchase", [buys(42_000)], "420 = 420 yuan"),
        ("a purchase with fen", [buys(42_005)], "420 = 420.05 yuan, floored"),
        ("less than a yuan", [buys(66)], "0: 0.66 yuan, floored"),
        ("a comeback", [(0, "login"), (34, "login")], "50 = back after 34 days, number 1 of the year"),
    ],
)
def test_every_entry_explains_its_arithmetic(name: str, steps: Steps, because: str) -> None:
    assert ledger(told(steps))[-1].because == because


def test_an_entry_tells_what_brought_it_about_and_the_score_after_it() -> None:
    fields = {"region": "east", "group_id": "g-1", "length": 9}
    (entry,) = ledger(told([(0.5, "message", 0.5, fields)]))
    assert entry == Ledger(
        member_id="m-1",
        effective_at=START + 43_200_000,
        decided_at=START + 43_200_000,
        programme=1,
        rules=1,
        source="app",
        event_id="e-0",
        action="message",
        region="east",
        group_id="g-1",
        rule="message",
        entry="earned",
        points=2,
        active=2,
        base=2,
        month=2026 * 12 + 2,
        because="2 = message 1 of the day's 10",
        score=1_000,
        activity_index=5,
        weight=1_000,
    )


def test_points_lie_in_the_lot_of_the_month_they_were_earned_in() -> None:
    steps: Steps = [
        (28, "share"),  # 30 March
        (29, "share"),
        (30, "share"),  # 1 April
        (31, "share", 28.5),  # late, of March
        buys(10_000, 29.5),  # earned in March, active in April
        (40, "tick"),
    ]
    story = told(sorted(steps, key=lambda step: step[0]))
    ends = RULES.lot_ends
    assert by_end(story.state) == {ends[2026 * 12 + 2]: 15 + 100, ends[2026 * 12 + 3]: 5}
    check_sums(story)


def test_the_currency_of_the_programme_names_its_unit() -> None:
    dollars = Rules(parse(PROGRAMME.model_dump_json().replace('"CNY"', '"USD"')), 1, 0)
    (entry,) = ledger(told([buys(1_177, currency="USD")], dollars))
    assert entry.because == "11 = 11.77 USD, floored"
    assert (entry.currency, entry.spend) == ("USD", 1_177)


def at_rate(rate: str) -> Rules:
    return Rules(parse(PROGRAMME.model_dump_json().replace('"per_unit":1', f'"per_unit":{rate}')), 1, 0)


def test_more_points_per_unit_are_floored_once() -> None:
    (entry,) = ledger(told([buys(150)], at_rate("3")))
    assert (entry.points, entry.because) == (4, "4 = 1.50 yuan x 3, floored")


@pytest.mark.parametrize(
    ("rate", "amount", "because"),
    [
        ("1.2", 35_000, "420 = 350 yuan x 1.2"),
        ("1.2", 450, "5 = 4.50 yuan x 1.2, floored"),
        ("1.2", 83, "0: 0.83 yuan x 1.2, floored"),
        ("1.2", 84, "1 = 0.84 yuan x 1.2, floored"),
        ("1.001", 100_000, "1001 = 1000 yuan x 1.001"),
        ("0.5", 199, "0: 1.99 yuan x 0.5, floored"),
        ("0.5", 200, "1 = 2 yuan x 0.5"),
        ("0", 9_900, "0: 99 yuan x 0"),
    ],
)
def test_a_rate_with_decimals_is_exact_and_said(rate: str, amount: int, because: str) -> None:
    (entry,) = ledger(told([buys(amount)], at_rate(rate)))
    assert (str(entry.points), entry.because) == (because.split()[0].rstrip(":"), because)


def test_the_base_is_floored_before_the_factors() -> None:
    first = parse(DEFAULT.replace("per_unit: 1 ", "per_unit: 1.2 "))
    (entry,) = ledger(told([buys(450)], Rules(first, 1, 0)))
    assert (entry.points, entry.base) == (10, 5)
    assert entry.because == "10 = 4.50 yuan x 1.2, floored x2 first order"


def test_a_repeat_of_any_earning_action_pays_nothing() -> None:
    for what in ("check_in", "message", "share", "purchase"):
        story = Story()
        action = an_action(what, START, 1)
        story.act(action, START)
        before, facts = story.state.issued, len(story.facts)
        for _ in range(3):
            assert story.act(action, START + 1).verdict is Verdict.DUPLICATE
        assert (story.state.issued, len(story.facts)) == (before, facts)
