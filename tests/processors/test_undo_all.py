"""A full refund undoes what followed from the order too: everything that handbook 3.5 lists, over all rules at once.

The history without the order has a login in its place: that the member acted is not undone. Redemptions are forced
there. What is by arrival alone (holds) is switched off, and what 3.5 does not list is not compared: the badge of an
index at day ends, warnings, the value tier.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple
from unittest import mock

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from processors import growth, levels, lots, orders, referral, refund, tasks
from processors.conditions import key_of
from processors.population import Population, decode
from processors.programme import Rules
from schemas.actions import Line
from schemas.facts import Fact
from schemas.member import BADGE
from schemas.programme import parse
from schemas.records import Referral
from tests.processors.book import check_sums
from tests.processors.story import DAY, DEFAULT, START, Story, an_action
from tests.processors.test_undo import HOUR, Step, accepted, forced, in_parts, named

PAYING: dict[str, Any] = {
    "spender": {
        "title": "300 yuan a month",
        "window": {"begins": "month"},
        "resets": True,
        "conditions": [
            {"name": "yuan", "measure": "amount", "at_least": 30_000, "of": [{"action": "purchase"}]},
        ],
        "reward": {"points": 30},
    },
    "regular": {
        "title": "2 orders a month",
        "window": {"begins": "month"},
        "conditions": [{"name": "orders", "measure": "count", "at_least": 2, "of": [{"action": "purchase"}]}],
        "reward": {"points": 450, "badge": "regular"},
    },
}


def everything() -> Rules:
    """The default programme, tasks that pay for orders, a badge by one, a campaign; nothing is ever held."""
    programme = parse(DEFAULT).model_dump(mode="json")
    programme["tasks"] |= PAYING
    programme["badges"]["regular"] = {"title": "Regular"}
    programme["fraud"]["points"]["day_over"] = 60_000
    programme["fraud"]["level"]["steps"] = 11
    monday = {"name": "Monday", "factor": 3, "actions": ["purchase", "share"], "weekdays": [0]}
    monday |= {"begins": "2026-03-01T00:00:00+08:00", "ends": "2026-12-31T00:00:00+08:00"}
    programme["points"]["factors"]["campaigns"] = [monday]
    return Rules(parse(json.dumps(programme)), 1, 0)


RULES = everything()
CLOCKS = (1, 20, 45, 80, 120, 200, 300, 420)
"""Days after the end for which the level is foreseen."""


class Pair(NamedTuple):
    """A member and who invited it, who hears what the member's orders bring."""

    member: Story
    referrer: Story


def play(steps: list[Step], until: int) -> Pair:
    """Everything arrives when it happens; steps of one hour in the order given."""
    pair = Pair(Story(RULES), Story(RULES, name="m-2"))
    for number, step in sorted(enumerate(steps), key=lambda it: it[1].hour):
        at = START + step.hour * HOUR
        decision = pair.member.act(an_action(step.what, at, number, **dict(step.fields)), at)
        pair.referrer.tick(at)
        for body in decision.derived:
            if isinstance(body, Referral):
                pair.referrer.hear(body, at)
        check_sums(pair.member)
    for story in pair:
        story.tick(START + until * HOUR)
        check_sums(story)
    return pair


def kept(story: Story) -> dict[str, Any]:
    """What a refund leaves as if its order had never been."""
    state, clock = story.state, story.clock
    months = growth.by_month(state)
    for day, row, _ in growth.rows(state):
        month = RULES.calendar.month(day)
        months[month] = months.get(month, 0) + (row >> 1)
    talent = key_of("active_talent")
    return {
        "balances": (state.active, state.pending, state.spent, state.expired, state.debt),
        "issued": state.issued - state.reversed,
        "lots": lots.by_end(state),
        "spend": {month: amount for month, amount in orders.spend_by_month(state).items() if amount},
        "growth": {month: points for month, points in months.items() if points},
        "level": (state.level, state.level_at, [levels.projected(RULES, state, clock + n * DAY) for n in CLOCKS]),
        "tasks": (state.tasks_done, tasks.progress(RULES, state, clock)),
        "badges": sorted(row[:3] for row in BADGE.iter_unpack(state.badges) if row[0] != talent and row[2]),
        "first order": (state.first_order_key, state.referred_by),
        "buying": (state.buying, state.buying_at, state.last_purchase),
        "streak": state.check_in_bits,
        "population": population(story.facts, story.clock),
    }


def population(facts: list[tuple[int, int, Fact]], clock: int) -> list[Any]:
    """R, F, M and the sum that ABC goes by, at several days' ends."""
    found = Population([RULES])
    for offset, index, fact in facts:
        found.add(
            decode(msgspec.json.encode(msgspec.structs.replace(fact, offset=offset, index=index, partition=0, n=1)))
        )
    today = RULES.calendar.day(clock)
    return [found.counts(RULES, day) for day in (today - 1, today + 60)]


def invitation(story: Story) -> dict[str, Any]:
    """What of the referrer's is as if the order had never been."""
    state = story.state
    return {
        "points": (state.active + state.pending, state.debt, state.issued - state.reversed),
        "completed": len(referral.completed_at(state)),
    }


DAYS = 80
hours = st.integers(0, DAYS * 24)
early = st.integers(0, 8 * 24)
items = st.sampled_from(["i-1", "i-2"])


def step(what: str, hour: st.SearchStrategy[int] = hours, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    return st.builds(lambda at, told: Step(at, what, tuple(told.items())), hour, st.fixed_dictionaries(fields))


def a_purchase(hour: st.SearchStrategy[int]) -> st.SearchStrategy[Step]:
    amounts = st.sampled_from([9_999, 15_000, 20_001, 30_000, 50_000, 600_000, 1_600_000])
    return st.builds(
        lambda at, amount, sku, coupon: Step(at, "purchase", bought(amount, sku, coupon)),
        hour,
        amounts,
        st.sampled_from(["i-1", "i-2", "i-3"]),
        st.sampled_from([None, "c-1"]),
    )


def bought(amount: int, sku: str, coupon: str | None) -> tuple[tuple[str, Any], ...]:
    lines = [{"sku": sku, "category": "tea", "amount": amount}]
    return (("amount", amount), ("coupon_id", coupon), ("lines", tuple(msgspec.convert(lines, list[Line]))))


newcomer = st.one_of(
    step("profile", early),
    step("message", early, group_id=st.sampled_from(["", "g-1"])),
    step("event", early, activity_id=st.just("a"), kind=st.just("trial"), status=st.just("joined")),
)
plain = st.one_of(step("check_in"), step("share"), newcomer, a_purchase(early), a_purchase(hours), a_purchase(hours))
asks = step("redeem", points=st.sampled_from([100, 300, 500]), reward=st.just("cup"))


CLIMB = ("browse", "like", "comment")
NEWCOMER = [Step(1, "profile"), Step(2, "check_in"), Step(3, "message", (("group_id", "g-1"),))]


@st.composite
def climbs(draw: st.DrawFn, hour: int) -> list[Step]:
    """An item browsed, liked and commented on about the time of the order: it may be the order that climbs on."""
    item = (("item_id", draw(items)),)
    begin = hour - draw(st.integers(-1, 5 * 24))
    return [Step(max(0, begin + n * draw(st.integers(0, 12))), what, item) for n, what in enumerate(CLIMB)]


first_one = st.lists(newcomer, max_size=3).map(lambda some: [*some, *NEWCOMER[: len(some)]])


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Step], Step, int]:
    """What a member did, the order that is to be undone, and after how many hours it is."""
    order = draw(st.one_of(a_purchase(early), a_purchase(hours)))
    acts = draw(st.lists(plain, max_size=12)) + draw(first_one)
    for one in draw(st.lists(climbs(order.hour), max_size=2)):
        acts += one
    return acts, order, draw(st.one_of(st.integers(0, 30 * 24 - 1), st.just(30 * 24 - 1)))


JOIN = Step(0, "join", (("referrer_id", "m-2"),))


def check(history: list[Step], order: Step, later: int, cuts: list[int]) -> None:
    """With the order and its refund, and without: all that 3.5 lists is the same."""
    until = max(DAYS * 24, order.hour + later) + 40 * 24
    id_of = ("order_id", "undone")
    amount = dict(order.fields)["amount"]
    refunds = [Step(order.hour + later, "refund", (id_of, ("amount", part))) for part in in_parts(amount, cuts)]
    history = [JOIN, *named(history)]
    of_order = [order._replace(fields=(*order.fields, id_of)), *refunds]
    with_order = play([*history, *of_order], until)
    with forced(accepted(with_order.member)):
        without = play([*history, Step(order.hour, "login")], until)
    first, second = kept(with_order.member), kept(without.member)
    assert first == second
    assert invitation(with_order.referrer) == invitation(without.referrer)


LONG_AGO = (
    [Step(100 * 24, "purchase", bought(6_000, "i-1", None))],
    Step(101 * 24, "purchase", bought(3_000, "i-1", None)),
    0,
)


@given(histories(), st.lists(st.integers(1, 999), max_size=1))
@settings(deadline=None, max_examples=150)
def test_what_followed_from_an_order_is_as_if_it_had_never_been(
    history: tuple[list[Step], Step, int], cuts: list[int]
) -> None:
    check(*history, cuts)


@given(histories(), st.lists(asks, min_size=1, max_size=4))
@settings(deadline=None, max_examples=80)
def test_and_points_spent_meanwhile_stay_spent(history: tuple[list[Step], Step, int], spent: list[Step]) -> None:
    acts, order, later = history
    check([*acts, *spent], order, later, [])


@given(histories(), st.integers(0, 170 * 24), st.integers(1, 1_000), st.permutations(range(len(refund.FOLLOWS))))
@settings(deadline=None, max_examples=80)
@example(LONG_AGO, 130 * 24, 1_000, [3, 4, 2, 1, 0, 5])  # by the order, and by what it paid, a level was reached
def test_whoever_is_told_of_a_refund_first_the_outcome_is_the_same(
    history: tuple[list[Step], Step, int], later: int, share: int, turns: list[int]
) -> None:
    """Also where the day on which it counted is judged for good by the refund itself."""
    acts, order, _ = history
    id_of, amount = ("order_id", "undone"), dict(order.fields)["amount"]
    back = Step(order.hour + later, "refund", (id_of, ("amount", max(1, amount * share // 1_000))))
    steps = [JOIN, *acts, order._replace(fields=(*order.fields, id_of)), back]
    found = []
    for follows in (refund.FOLLOWS, [refund.FOLLOWS[turn] for turn in turns]):
        with mock.patch.object(refund, "FOLLOWS", follows):
            found.append(kept(play(steps, max(DAYS * 24, order.hour) + later + 24).member))
    assert found[0] == found[1]


def test_the_level_is_judged_when_all_that_followed_from_the_order_is_taken_back() -> None:
    """The refund itself is what judges the day of the order for good, with or without the points of its task."""
    acts, order, _ = LONG_AGO
    check(acts, order, 130 * 24, [])
