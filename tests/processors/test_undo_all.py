"""A full refund undoes what followed from the order too: everything that handbook 3.5 lists, over all rules at once.

The history without the order has a login in its place: that the member acted is not undone. Redemptions are forced
there. What is by arrival alone (holds) is switched off, and what 3.5 does not list is not compared: the badge of an
index at day ends, warnings, the value tier.
"""

from __future__ import annotations

from unittest import mock

from hypothesis import example, given, settings
from hypothesis import strategies as st

from processors import refund
from tests.processors.everything import (
    DAYS,
    JOIN,
    Pair,
    Step,
    a_purchase,
    bought,
    invitation,
    kept,
    overtaken,
    play,
    step,
)
from tests.processors.test_undo import accepted, forced, in_parts, named

hours = st.integers(0, DAYS * 24)
early = st.integers(0, 8 * 24)
items = st.sampled_from(["i-1", "i-2"])


newcomer = st.one_of(
    step("profile", early),
    step("message", early, group_id=st.sampled_from(["", "g-1"])),
    step("event", early, activity_id=st.just("a"), kind=st.just("trial"), status=st.just("joined")),
)
purchases = st.one_of(a_purchase(early), a_purchase(hours))
plain = st.one_of(step("check_in", hours), step("share", hours), newcomer, purchases, purchases)
asks = step("redeem", hours, points=st.sampled_from([100, 300, 500]), reward=st.just("cup"))


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
    order = draw(purchases)
    acts = draw(st.lists(plain, max_size=12)) + draw(first_one)
    for one in draw(st.lists(climbs(order.hour), max_size=2)):
        acts += one
    return acts, order, draw(st.one_of(st.integers(0, 30 * 24 - 1), st.just(30 * 24 - 1)))


def both(history: list[Step], order: Step, later: int, cuts: list[int]) -> tuple[Pair, Pair]:
    """A history with the order and its refund, and without."""
    until = max(DAYS * 24, order.hour + later) + 40 * 24
    id_of = ("order_id", "undone")
    amount = dict(order.fields)["amount"]
    refunds = [Step(order.hour + later, "refund", (id_of, ("amount", part))) for part in in_parts(amount, cuts)]
    history = [JOIN, *named(history)]
    of_order = [order._replace(fields=(*order.fields, id_of)), *refunds]
    with_order = play([*history, *of_order], until)
    with forced(accepted(with_order.member)):
        without = play([*history, Step(order.hour, "login")], until)
    return with_order, without


def check(history: list[Step], order: Step, later: int, cuts: list[int]) -> None:
    """With the order and its refund, and without: all that 3.5 lists is the same."""
    with_order, without = both(history, order, later, cuts)
    first, second = kept(with_order.member), kept(without.member)
    if overtaken(with_order.member) or overtaken(without.member):
        first["lots"] = second["lots"] = {}
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


def test_what_a_refund_gives_covers_what_it_takes_before_points_that_end_later_do() -> None:
    """The task is done by another order of March, for the same points: those of April, still there, are not touched."""
    other, third = ordered(10, 9_000), ordered(11, 10_000)
    later = ordered(30, 200_000)
    spent = Step(37 * 24 + 12, "redeem", (("points", 900), ("reward", "cup")))
    with_order, without = both([other, third, later, spent], ordered(9, 14_900), 29 * 24, [])
    assert accepted(with_order.member) == {"r-3"}
    assert kept(with_order.member) == kept(without.member)


def ordered(day: int, amount: int) -> Step:
    return Step(day * 24, "purchase", bought(amount, "i-3", None))
