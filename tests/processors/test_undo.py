"""A full refund leaves the member as if the order had never been; and money bugs of other systems, which ours has not.

What is compared is what handbook 3.5 lists: balances, lots, spend, buying tier. Redemptions that were accepted stay
accepted: in the history without the order they are forced, and what is missing is debt. Where a redemption took points
of the order, the lots agree if no points joined an older lot after it: the nearest end pays what is not there.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from hypothesis import example, given, settings
from hypothesis import strategies as st

from processors import ledger, lots, orders, redeem
from processors.lots import by_end
from processors.programme import Rules
from schemas.facts import Ledger, RedeemAccepted
from schemas.member import MemberState
from schemas.programme import parse
from schemas.verdicts import Verdict
from tests.processors.book import check_sums
from tests.processors.everything import HOUR, Step, overtaken
from tests.processors.story import DAY, DEFAULT, RULES, START, Story, an_action, told


def play(steps: list[Step], until: int, rules: Rules = RULES) -> Story:
    """Everything arrives when it happens; steps of one hour in the order given."""
    story = Story(rules)
    for number, step in sorted(enumerate(steps), key=lambda pair: pair[1].hour):
        at = START + step.hour * HOUR
        story.act(an_action(step.what, at, number, **dict(step.fields)), at)
        check_sums(story)
    story.tick(START + until * HOUR)
    check_sums(story)
    return story


def accepted(story: Story) -> set[str]:
    return {fact.redeem_id for _, _, fact in story.facts if isinstance(fact, RedeemAccepted)}


@contextmanager
def forced(ids: set[str]) -> Iterator[None]:
    """Requests of these ids are accepted whatever there is, all others refused; what is missing is debt."""

    def refusal(rules: Any, state: MemberState, action: Any, clock: int) -> tuple[str, str]:
        return ("", "") if action.redeem_id in ids else ("missing", "as it was with the order")

    def spend(state: MemberState, fact: Ledger, points: int) -> lots.Rows:
        there = min(points, state.active)
        taken = lots.take(state, there)
        state.active -= there
        state.spent += points
        state.debt += points - there
        fact.active, fact.spent, fact.debt = -there, points, points - there
        fact.lots = tuple((end, -part) for end, part in taken)
        return taken

    with mock.patch.object(redeem, "refusal", refusal), mock.patch.object(ledger, "spend", spend):
        yield


def kept(story: Story) -> dict[str, Any]:
    """What a refund leaves as if its order had never been."""
    state = story.state
    return {
        "balances": (state.active, state.pending, state.spent, state.expired, state.debt),
        "lots": by_end(state),
        "spend": {month: amount for month, amount in orders.spend_by_month(state).items() if amount},
        "buying": (state.buying, state.buying_at, state.last_purchase),
        "streak and silence": (state.check_in_bits, state.first_own, state.last_own, state.presence, state.presence_at),
    }


DAYS = 60
hours = st.integers(0, DAYS * 24)
amounts = st.one_of(st.sampled_from([0, 99, 100, 199]), st.integers(0, 60_000))
plain = st.tuples(hours, st.sampled_from(["check_in", "message", "share", "login"])).map(lambda it: Step(*it))
buys = st.builds(lambda hour, amount: Step(hour, "purchase", (("amount", amount),)), hours, amounts)
asks = st.builds(
    lambda hour, points: Step(hour, "redeem", (("points", points), ("reward", "cup"))),
    hours,
    st.sampled_from([100, 200, 300, 500]),
)
histories = st.lists(st.one_of(plain, plain, buys, buys, asks, asks), max_size=14)


def named(history: list[Step]) -> list[Step]:
    """With an id for each request."""
    return [
        step._replace(fields=(*step.fields, ("redeem_id", f"r-{number}"))) if step.what == "redeem" else step
        for number, step in enumerate(history)
    ]


def in_parts(amount: int, cuts: list[int]) -> list[int]:
    """An amount in parts, cut at shares of 1,000."""
    places = sorted({0, amount, *(amount * cut // 1_000 for cut in cuts)})
    return [b - a for a, b in itertools.pairwise(places)]


@given(
    histories,
    hours,
    st.integers(1, 60_000),
    st.lists(st.tuples(st.integers(0, 1_000), hours), max_size=2),
    st.integers(0, 30 * 24),
)
@settings(deadline=None, max_examples=300)
def test_a_full_refund_leaves_the_member_as_if_the_order_had_never_been(
    history: list[Step], bought_at: int, amount: int, cuts: list[tuple[int, int]], later: int
) -> None:
    history, until = named(history), (DAYS + 31) * 24
    refunds = [
        Step(bought_at + later + (cuts[n][1] % 48 if n < len(cuts) else 0), "refund", (("amount", part),))
        for n, part in enumerate(in_parts(amount, [cut for cut, _ in cuts]))
    ]
    of_order = [Step(bought_at, "purchase", (("amount", amount),)), *refunds]
    of_order = [step._replace(fields=(*step.fields, ("order_id", "undone"))) for step in of_order]
    with_order = play([*history, *of_order], until)
    with forced(accepted(with_order)):
        without = play([*history, Step(bought_at, "login")], until)
    found, expected = kept(with_order), kept(without)
    if overtaken(with_order) or overtaken(without):
        found["lots"] = expected["lots"]
    assert found == expected
    gave = amount // 100
    assert with_order.state.issued - without.state.issued == with_order.state.reversed == gave


@given(histories, hours, st.integers(1, 60_000), st.integers(0, 29 * 24))
@settings(deadline=None, max_examples=150)
def test_a_refund_before_its_purchase_is_the_same(history: list[Step], bought_at: int, amount: int, early: int) -> None:
    """The order arrives so many hours after it was made, its refund in between."""
    history, until = [step for step in named(history) if step.what != "redeem"], (DAYS + 31) * 24
    arrives = bought_at + early
    story = Story()
    acts = [(step.hour, number, step.hour, step.what, dict(step.fields)) for number, step in enumerate(history)]
    order = {"order_id": "undone", "amount": amount}
    acts += [(bought_at + early // 2, 98, bought_at, "refund", order), (arrives, 99, bought_at, "purchase", order)]
    for arrived, number, hour, what, fields in sorted(acts, key=lambda act: act[:2]):
        story.act(an_action(what, START + hour * HOUR, number, **fields), START + arrived * HOUR)
        check_sums(story)
    story.tick(START + until * HOUR)
    without = play([*history, Step(bought_at, "login")], until)
    assert kept(story) == kept(without)


FIRST = Rules(parse(DEFAULT), 1, 0)
"""Where the first order counts twice."""

told_of = st.tuples(hours, st.integers(1, 400).map(lambda it: it * 100), st.none() | st.integers(0, 45 * 24))


@given(st.lists(told_of, max_size=3), hours, st.integers(0, 30 * 24 - 1))
@settings(deadline=None, max_examples=200)
@example([(240, 30_000, 600), (480, 20_000, None)], 12, 480)  # another, refunded in its own time, hands on too
@example([(600, 10_000, 792), (960, 10_000, None)], 12, 480)  # the same, each alone when it is refunded
@example([(240, 30_000, 960), (480, 20_000, None)], 12, 480)  # another, refunded too late, keeps it
def test_the_first_order_is_as_if_an_order_undone_within_30_d_had_never_been(
    others: list[tuple[int, int, int | None]], bought_at: int, later: int
) -> None:
    history, until = [], (DAYS + 46) * 24
    for number, (hour, amount, back) in enumerate(others):
        fields = (("order_id", f"other-{number}"), ("amount", amount))
        history.append(Step(hour, "purchase", fields))
        if back is not None:
            history.append(Step(hour + back, "refund", fields))
    fields = (("order_id", "undone"), ("amount", 50_000))
    undone = [Step(bought_at, "purchase", fields), Step(bought_at + later, "refund", fields)]
    with_order = play([*history, *undone], until, FIRST)
    without = play([*history, Step(bought_at, "login")], until, FIRST)
    assert kept(with_order) == kept(without)
    assert with_order.state.first_order_key == without.state.first_order_key
    given_back = with_order.state.reversed - without.state.reversed
    assert with_order.state.issued - without.state.issued == given_back == 500


# -- bugs of other systems ----------------------------------------------------------------------------------------


def test_a_refund_takes_the_points_back_even_after_they_were_spent() -> None:
    """Elsewhere a refund kept its points, so a member could buy, redeem and send back for ever."""
    round_trip: list[tuple[Any, ...]] = []
    for turn in range(3):
        day, order = 20 * turn, {"order_id": f"o-{turn}", "amount": 20_000}
        round_trip += [
            (day, "purchase", day, order),
            (day + 8, "redeem", day + 8, {"redeem_id": f"r-{turn}", "points": 200, "reward": "cup"}),
            (day + 9, "refund", day + 9, order),
        ]
    story = told(round_trip)
    check_sums(story)
    assert accepted(story) == {"r-0"}
    assert (story.state.active, story.state.debt) == (0, 200)


def test_an_order_reported_by_two_systems_is_paid_once_and_taken_back_once() -> None:
    order = {"order_id": "o", "amount": 20_000}
    story = told(
        [
            (0, "purchase", 0, {"source": "shop", **order}),
            (0.1, "purchase", 0, {"source": "erp", **order}),
            (2, "refund", 2, {"source": "shop", **order}),
            (2.1, "refund", 2, {"source": "erp", **order}),
        ]
    )
    check_sums(story)
    assert story.verdicts[:2] == [Verdict.APPLIED, Verdict.DUPLICATE]
    assert (story.state.issued, story.state.reversed, story.state.pending, story.state.debt) == (200, 200, 0, 0)


replayed = st.lists(
    st.tuples(
        st.integers(0, 25 * 24),
        st.sampled_from(["purchase", "purchase", "refund", "redeem", "redeem_cancel", "check_in", "share"]),
        st.integers(1, 4),
        st.sampled_from([100, 200, 10_000, 30_000]),
    ),
    max_size=14,
)


@given(replayed)
@settings(deadline=None, max_examples=100)
def test_everything_sent_again_pays_nothing_and_takes_nothing(sent: list[tuple[int, str, int, int]]) -> None:
    """Elsewhere a replay paid twice."""
    story, acts = Story(), []
    for number, (hour, what, which, size) in enumerate(sorted(sent)):
        fields: dict[str, Any] = {}
        if what in ("purchase", "refund"):
            fields = {"order_id": f"o-{which}", "amount": size}
        if what.startswith("redeem"):
            fields = {"redeem_id": f"r-{which}"}
        if what == "redeem":
            fields |= {"points": size, "reward": "cup"}
        acts.append((START + hour * HOUR, what, number, fields))
    for at, what, number, fields in acts:
        story.act(an_action(what, at, number, **fields), at)
    story.tick(START + 26 * DAY)
    balances, facts = kept(story), len(story.facts)
    for at, what, number, fields in acts:
        assert story.act(an_action(what, at, number, **fields), story.clock).verdict is Verdict.DUPLICATE
    assert kept(story) == balances
    assert len(story.facts) == facts
    check_sums(story)
