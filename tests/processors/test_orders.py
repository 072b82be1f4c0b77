"""Orders: known by their id beyond the horizon and across sources, and the spend they add up to."""

from __future__ import annotations

from typing import Any

import pytest

from processors.orders import spend_by_month
from processors.programme import Rules
from schemas.facts import OrderConflict, OrderRepeat
from schemas.member import ORDER
from schemas.programme import parse
from schemas.verdicts import Verdict
from tests.processors.book import check_sums, lines
from tests.processors.story import DAY, PROGRAMME, START, Story, an_action, told

SECOND = 1 / 86_400


def order(story: Story, number: int, day: float, **fields: Any) -> Verdict:
    at = START + round(day * DAY)
    return story.act(an_action("purchase", at, number, **fields), at).verdict


CASES = [
    # name, day of the second report, its fields, verdict
    ("the same order from another source", 1.0, {"source": "erp"}, Verdict.DUPLICATE),
    ("the same order under another event", 1.0, {}, Verdict.DUPLICATE),
    ("with another amount", 1.0, {"amount": 9_901}, Verdict.CONFLICT),
    ("another order", 1.0, {"order_id": "o-2"}, Verdict.APPLIED),
    ("one second before 180 d", 180 - SECOND, {}, Verdict.DUPLICATE),
    ("at 180 d", 180.0, {}, Verdict.DUPLICATE),
    ("one second after 180 d", 180 + SECOND, {}, Verdict.APPLIED),
]


@pytest.mark.parametrize(("name", "day", "fields", "verdict"), CASES, ids=[case[0] for case in CASES])
def test_an_order_reported_again(name: str, day: float, fields: dict[str, Any], verdict: Verdict) -> None:
    story = Story()
    order(story, 1, 0)
    assert order(story, 2, day, **{"order_id": "o-1", **fields}) is verdict
    paid = [line for line in lines(story, "purchase") if "active" not in line]
    assert paid == ["purchase 99"] * (2 if verdict is Verdict.APPLIED else 1)
    check_sums(story)


def test_a_repeat_is_a_fact_with_the_order_and_a_conflict_tells_both_amounts() -> None:
    story = Story()
    order(story, 1, 0)
    order(story, 2, 1, order_id="o-1", region="east")
    order(story, 3, 1, order_id="o-1", amount=1)
    head: dict[str, Any] = {
        "member_id": "m-1",
        "effective_at": START + DAY,
        "decided_at": START + DAY,
        "programme": 1,
        "rules": 1,
        "source": "app",
        "action": "purchase",
        "order_id": "o-1",
    }
    assert [fact for _, _, fact in story.facts[1:]] == [
        OrderRepeat(event_id="e-2", region="east", **head),
        OrderConflict(event_id="e-3", amount=1, first_amount=9_900, **head),
    ]


def test_a_repeat_neither_pays_nor_weighs_nor_ends_silence_and_its_id_is_remembered() -> None:
    story = Story()
    order(story, 1, 0)
    last_own, weights, spend = story.state.last_own, story.state.weights, story.state.spend
    assert order(story, 2, 5, order_id="o-1") is Verdict.DUPLICATE
    assert (story.state.last_own, story.state.weights, story.state.spend) == (last_own, weights, spend)
    facts = len(story.facts)
    assert order(story, 2, 5, order_id="o-1") is Verdict.DUPLICATE
    assert len(story.facts) == facts, "the repeat of a repeat says nothing"


def test_a_repeated_order_is_a_change_to_be_stored() -> None:
    story = Story()
    order(story, 1, 0)
    decision = story.act(an_action("purchase", START, 2, order_id="o-1"), START)
    assert (decision.verdict, decision.changed) == (Verdict.DUPLICATE, True)


def test_the_list_keeps_the_newest_orders_up_to_its_limit_sorted_by_their_moments() -> None:
    few = Rules(parse(PROGRAMME.model_dump_json().replace('"kept":200', '"kept":3')), 1, 0)
    days = [1, 3, 2, 5, 4]
    story = told([(5, "purchase", day) for day in days], few)
    moments = [row[1] for row in ORDER.iter_unpack(story.state.orders)]
    assert moments == [START + day * DAY for day in (3, 4, 5)]


def test_orders_older_than_their_days_leave_the_list() -> None:
    story = told([(n * 50, "purchase") for n in range(8)])
    assert len(story.state.orders) == 4 * ORDER.size


def test_spend_is_by_the_programme_month_of_the_order() -> None:
    story = told(
        [
            (29, "purchase", 29, {"amount": 100}),  # 31 March
            (29.99, "purchase", 29.99, {"amount": 20}),
            (30, "purchase", 30, {"amount": 3_000}),  # 1 April, 00:00 in Shanghai
            (31, "purchase", 30 - SECOND, {"amount": 7}),
            (60, "purchase", 60, {"amount": 50_000}),  # 1 May
        ]
    )
    assert spend_by_month(story.state) == {2026 * 12 + 2: 127, 2026 * 12 + 3: 3_000, 2026 * 12 + 4: 50_000}


def test_spend_keeps_two_years() -> None:
    story = told([(n * 31, "purchase") for n in range(60)])
    months = list(spend_by_month(story.state))
    assert len(months) == 25
    assert months == sorted(months)
