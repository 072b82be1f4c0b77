"""Refunds: whole, in parts, before their purchase, after the points were spent, too old, unknown, too much."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.ledger import spend
from processors.lots import by_end
from processors.orders import known, spend_by_month
from processors.programme import Rules
from schemas.actions import Line
from schemas.facts import Fact, Ledger, RefundOrphan, RefundRefused
from schemas.programme import parse
from tests.processors.book import check_sums, ledger
from tests.processors.story import DAY, EPOCH, PROGRAMME, RULES, START, Story, an_action, told

MARCH = 2026 * 12 + 2
SECOND = 1 / 86_400
EXCLUDING = parse(PROGRAMME.model_dump_json().replace('"excluded_categories":[]', '"excluded_categories":["gift"]'))


def by_policy(policy: str) -> Rules:
    return Rules(parse(PROGRAMME.model_dump_json().replace('"policy":"debt"', f'"policy":"{policy}"')), 1, 0)


def bought(at: float, amount: int, order: str = "o", **fields: Any) -> tuple[Any, ...]:
    return (at, "purchase", at, {"amount": amount, "order_id": order, **fields})


def refunded(at: float, amount: int, order: str = "o", **fields: Any) -> tuple[Any, ...]:
    return (at, "refund", at, {"amount": amount, "order_id": order, **fields})


def line(category: str, amount: int) -> dict[str, Any]:
    return {"lines": (Line(sku="s", category=category, amount=amount),)}


def balances(story: Story) -> tuple[int, ...]:
    """Active, pending, reversed, debt."""
    state = story.state
    return state.active, state.pending, state.reversed, state.debt


def test_the_entry_names_the_order_and_says_its_arithmetic() -> None:
    story = told([bought(1, 9_900), refunded(2, 4_950)])
    first, last = ledger(story)
    assert (last.rule, last.entry, last.amends) == ("refund", "reversed", (1, 0))
    assert (last.spend, last.month, last.order_id) == (-4_950, MARCH, "o")
    assert last.because == "-50: of 99 points, 49 are left of the order"
    assert first.points == 99


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("pending_only", (20, 0, 0, 0)), ("to_zero", (0, 0, 20, 0)), ("debt", (0, 0, 99, 79))],
)
def test_the_policies_when_the_points_are_spent(policy: str, expected: tuple[int, ...]) -> None:
    rules = by_policy(policy)
    story = told([bought(1, 9_900), (9, "tick")], rules)
    spend(story.state, Ledger(member_id="", effective_at=0, decided_at=0, rule="", entry=""), 79)
    story.act(an_action("refund", START + 10 * DAY, 9, order_id="o", amount=9_900), START + 10 * DAY)
    assert balances(story) == expected


def test_a_credit_pays_debt_first() -> None:
    story = told([bought(1, 9_900), (9, "tick")])
    spend(story.state, Ledger(member_id="", effective_at=0, decided_at=0, rule="", entry=""), 99)
    story.act(an_action("refund", START + 10 * DAY, 9, order_id="o", amount=9_900), START + 10 * DAY)
    assert balances(story) == (0, 0, 99, 99)
    decision = story.act(an_action("check_in", START + 11 * DAY, 10), START + 11 * DAY)
    entry = decision.facts[0]
    assert isinstance(entry, Ledger)
    assert (entry.points, entry.active, entry.debt) == (5, 0, -5)
    assert entry.because == "5 = a check-in; 5 paid debt"
    assert balances(story) == (0, 0, 99, 94)


def test_the_lot_of_the_order_pays_first() -> None:
    story = told([bought(1, 9_900, "a"), bought(35, 5_000, "b"), (60, "tick"), refunded(61, 4_000, "b")])
    ends = RULES.lot_ends
    assert by_end(story.state) == {ends[MARCH]: 99, ends[MARCH + 1]: 10 + 50}, "the comeback of day 35 stays"


def test_nothing_is_owed_for_an_order_whose_lot_has_ended() -> None:
    short = Rules(parse(PROGRAMME.model_dump_json().replace('"months":13', '"months":3')), 1, 0)
    story = told([bought(1, 9_900), (100, "tick"), refunded(101, 9_900)], short)
    assert (story.state.expired, *balances(story)) == (99, 0, 0, 0, 0)
    assert (ledger(story)[-1].spend, ledger(story)[-1].reason) == (-9_900, "ended")


@pytest.mark.parametrize(
    ("refund", "left"),
    [
        ({"amount": 2_000, **line("gift", 2_000)}, 80),
        ({"amount": 2_000, **line("food", 2_000)}, 60),
        ({"amount": 5_000}, 40),
        ({"amount": 10_000}, 0),
    ],
    ids=["excluded lines", "counted lines", "in the order's proportion", "all of it"],
)
def test_what_counts_of_a_refund(refund: dict[str, Any], left: int) -> None:
    rules = Rules(EXCLUDING, 1, 0)
    order = {"amount": 10_000, "order_id": "o", **line("gift", 2_000)}
    story = told([(1, "purchase", 1, order), (2, "refund", 2, {"order_id": "o", **refund})], rules)
    assert story.state.pending == left


def test_what_is_excluded_later_counts_as_it_did_when_it_was_bought() -> None:
    order = {"amount": 10_000, "order_id": "o", **line("gift", 2_000)}
    story = told([(1, "purchase", 1, order)])
    story.rules = Rules(EXCLUDING, 2, 0)
    refund = {"amount": 2_000, "order_id": "o", **line("gift", 2_000)}
    story.act(an_action("refund", START + 2 * DAY, 9, **refund), START + 2 * DAY)
    assert story.state.pending == 80


THREE = (Line("g", "gift", 10_000), Line("p", "phone", 10_000), Line("b", "book", 10_000))


def excluding(*categories: str) -> Rules:
    names = ",".join(f'"{name}"' for name in categories)
    changed = PROGRAMME.model_dump_json().replace('"excluded_categories":[]', f'"excluded_categories":[{names}]')
    return Rules(parse(changed), 1, 0)


@pytest.mark.parametrize("days", [1, 150], ids=["at once", "when its version is no longer kept"])
@pytest.mark.parametrize("later", [("gift",), ("gift", "phone"), (), ("book",)])
@pytest.mark.parametrize(
    ("parts", "left"),
    [((0,), 200), ((1,), 100), ((0, 1), 100), ((1, 2), 0), ((2, 0), 100), ((0, 1, 2), 0)],
    ids=["excluded", "counted", "one of each", "all that counts", "counted first", "all of it"],
)
def test_lines_of_a_refund_are_judged_by_the_version_of_the_order(
    parts: tuple[int, ...], left: int, later: tuple[str, ...], days: int
) -> None:
    story = told([(1, "purchase", 1, {"amount": 30_000, "order_id": "o", "lines": THREE})], excluding("gift"))
    story.rules = excluding(*later)
    for number, part in enumerate(parts, 10):
        fields = {"amount": 10_000, "order_id": "o", "lines": (THREE[part],)}
        story.act(an_action("refund", START + (1 + days) * DAY, number, **fields), START + (1 + days) * DAY)
    assert sum(order.points for order in known(story.state)) == left
    assert spend_by_month(story.state)[MARCH] == 100 * left
    check_sums(story)


@pytest.mark.parametrize("then", [("gift", "phone"), ()])
@pytest.mark.parametrize(("parts", "left"), [((0,), 200), ((1,), 100), ((0, 1), 100)])
def test_so_are_those_of_a_refund_that_waits_for_its_order(
    parts: tuple[int, ...], left: int, then: tuple[str, ...]
) -> None:
    story = told([(1, "login")], excluding(*then))
    lines = tuple(THREE[part] for part in parts)
    fields = {"amount": 10_000 * len(parts), "order_id": "o", "lines": lines}
    story.act(an_action("refund", START + 3 * DAY, 9, **fields), START + 3 * DAY)
    story.rules = excluding("gift")
    order = {"amount": 30_000, "order_id": "o", "lines": THREE}
    story.act(an_action("purchase", START + DAY, 10, **order), START + 4 * DAY)
    assert sum(order.points for order in known(story.state)) == left
    check_sums(story)


def test_a_refund_of_many_long_lines_waits() -> None:
    lines = tuple(Line(f"s-{n}", "\U0001f381" * 61 + f"{n:03}", 10**13) for n in range(500))
    fields = {"amount": 10**13, "order_id": "o", "lines": lines}
    story = told([(1, "refund", 1, fields), (2, "purchase", 2, {"amount": 10**13, "order_id": "o"})])
    assert sum(order.points for order in known(story.state)) == 0
    check_sums(story)


def test_what_was_noted_of_excluded_lines_goes_with_the_order() -> None:
    story = told([(1, "purchase", 1, {"amount": 30_000, "order_id": "o", "lines": THREE})], excluding("gift"))
    assert story.state.excluded
    story.act(an_action("purchase", START + 190 * DAY, 9), START + 190 * DAY)
    assert not story.state.excluded


def at_rate(thousandths: int, number: int = 1) -> Rules:
    rate = f'"per_unit":{thousandths // 1_000}.{thousandths % 1_000:03}'
    return Rules(parse(PROGRAMME.model_dump_json().replace('"per_unit":1', rate)), number, 0)


@given(
    st.integers(0, 9_999), st.lists(st.integers(1, 9_999), min_size=1, max_size=5), st.randoms(use_true_random=False)
)
def test_parts_take_back_what_the_order_gave_at_any_rate(thousandths: int, parts: list[int], rnd: Any) -> None:
    """One floor per order: after each part the order is worth what the rest of it would have given alone."""
    amount, gone = sum(parts), 0
    story = told([bought(1, amount)], at_rate(thousandths))
    for number, part in enumerate(rnd.sample(parts, len(parts)), 9):
        gone += part
        story.act(an_action("refund", START + 2 * DAY, number, order_id="o", amount=part), START + 2 * DAY)
        assert story.state.pending == (amount - gone) * thousandths // 100_000
    check_sums(story)
    assert balances(story) == (0, 0, amount * thousandths // 100_000, 0)


def test_an_order_keeps_its_rate_under_later_programmes() -> None:
    story = told([bought(1, 9_900)], at_rate(1_200))
    story.rules = at_rate(3_000, 2)
    story.act(an_action("refund", START + 2 * DAY, 9, order_id="o", amount=4_950), START + 2 * DAY)
    last = ledger(story)[-1]
    assert last.because == "-59: of 118 points, 59 are left of the order"


@pytest.mark.parametrize(
    ("days_before", "reason"), [(181, "plain"), (179, "")], ids=["from before the list", "inside it: it waits"]
)
def test_an_order_from_before_the_list_is_plain(days_before: int, reason: str) -> None:
    when = EPOCH + dt.timedelta(milliseconds=START + (200 - days_before) * DAY)
    story = told(
        [bought(10, 50_000, "seen"), (200, "refund", 200, {"order_id": "x", "amount": 9_950, "purchased_at": when})]
    )
    entries = [entry for entry in ledger(story) if entry.rule == "refund"]
    assert [entry.reason for entry in entries] == ([reason] if reason else [])
    if reason:
        assert (entries[0].reversed, entries[0].spend) == (99, -9_950)
    check_sums(story)


@pytest.mark.parametrize(("day", "orphan"), [(32 - SECOND, 0), (32, 1)])
def test_an_unknown_order_is_waited_for_30_days(day: float, orphan: int) -> None:
    story = told([(1, "login"), refunded(2, 700, "x"), (day, "tick")])
    facts = facts_of(story, RefundOrphan)
    assert len(facts) == orphan
    if orphan:
        assert (facts[0].order_id, facts[0].amount, facts[0].effective_at) == ("x", 700, START + 32 * DAY)


def test_a_refused_refund_says_what_is_left() -> None:
    story = told([bought(1, 9_900), refunded(2, 9_000), refunded(3, 901)])
    (refused,) = facts_of(story, RefundRefused)
    assert (refused.order_id, refused.amount, refused.first_amount, refused.left) == ("o", 901, 9_900, 900)


def facts_of(story: Story, kind: type[Any]) -> list[Any]:
    return [fact for _, _, fact in story.facts if isinstance(fact, kind)]


# -- order of arrival, and undoing ----------------------------------------------------------------------------------

orders_and_refunds = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.integers(100, 30_000),
        st.integers(0, 20),
        st.lists(st.tuples(st.integers(1, 9_000), st.integers(0, 9)), max_size=3),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda order: order[0],
)


def played(parts: list[tuple[int, str, dict[str, Any]]], arrival: list[int], until: int = 40) -> Story:
    """Actions (day, name, fields) that all arrive on day 22, in an order."""
    story = Story()
    for number in arrival:
        day, name, fields = parts[number]
        story.act(an_action(name, START + day * DAY + number, number, **fields), START + 22 * DAY)
        check_sums(story)
    story.tick(START + until * DAY)
    check_sums(story)
    return story


def outcome(story: Story) -> dict[str, Any]:
    state = story.state
    return {
        "balances": (state.issued, *balances(story)),
        "lots": by_end(state),
        "spend": {month: n for month, n in spend_by_month(state).items() if n},
        "buying": (state.buying, state.buying_at, state.last_purchase),
        "orders": sorted((order.key, order.points) for order in known(state)),
    }


@given(orders_and_refunds, st.randoms(use_true_random=False))
def test_refunds_are_the_same_in_any_order_of_arrival(orders: list[Any], rnd: Any) -> None:
    parts: list[tuple[int, str, dict[str, Any]]] = []
    for name, amount, day, refunds in orders:
        parts.append((day, "purchase", {"order_id": name, "amount": amount}))
        left = amount
        for part, later in refunds:
            if part <= left:
                left -= part
                parts.append((min(21, day + later), "refund", {"order_id": name, "amount": part}))
    shuffled = list(range(len(parts)))
    rnd.shuffle(shuffled)
    assert outcome(played(parts, list(range(len(parts))))) == outcome(played(parts, shuffled))


others = st.lists(
    st.tuples(st.integers(0, 20), st.sampled_from(["check_in", "message", "share", "purchase", "login"])), max_size=8
)


@given(others, st.integers(100, 30_000), st.integers(0, 20), st.integers(0, 39))
def test_a_whole_refund_is_as_if_the_order_had_never_been(history: Any, amount: int, day: int, later: int) -> None:
    """But that the member was there: the moment of the order is an own action in both histories."""
    parts: list[tuple[int, str, dict[str, Any]]] = [(at, what, {}) for at, what in history]
    order = {"order_id": "undone", "amount": amount}
    with_order = [*parts, (day, "purchase", order)]
    story = played(with_order, list(range(len(with_order))), 22)
    story.act(an_action("refund", START + (22 + later) * DAY, 99, **order), START + (22 + later) * DAY)
    check_sums(story)
    never = played([*parts, (day, "login", {})], list(range(len(with_order))), 22)
    story.tick(START + 62 * DAY)
    never.tick(START + 62 * DAY)
    found, wanted = outcome(story), outcome(never)
    undone = story.state.reversed
    assert undone == amount // 100
    assert found["balances"][0] - undone == wanted["balances"][0]
    assert found["balances"][1:3] == wanted["balances"][1:3]
    assert (story.state.debt, found["lots"], found["spend"]) == (0, wanted["lots"], wanted["spend"])
    assert found["buying"] == wanted["buying"]


def test_facts_of_refunds_count_once_however_they_are_read() -> None:
    story = told([bought(1, 9_900), refunded(2, 9_900)])
    facts: list[Fact] = [fact for _, _, fact in story.facts]
    assert sum(fact.spend for fact in facts if isinstance(fact, Ledger)) == 0
