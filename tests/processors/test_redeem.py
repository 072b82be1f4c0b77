"""Redeem and cancel: whole or not at all, one answer a request, and back to the lots with their own dates."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors import redeem
from processors.lots import by_end
from schemas.facts import Late, PointsExpiring, RedeemAccepted, RedeemCancelOrphan, RedeemRefused
from schemas.verdicts import Verdict
from tests.processors.book import check_sums
from tests.processors.story import DAY, RULES, START, Story, an_action, told

SECOND = 1 / 86_400
MARCH = RULES.lot_ends[2026 * 12 + 2]  # stories begin on 2 March 2026
APRIL = RULES.lot_ends[2026 * 12 + 3]
MARCH_ENDS = (MARCH - START) / DAY


def bought(day: float, points: int) -> tuple[Any, ...]:
    return (day, "purchase", day, {"amount": points * 100})


def asks(day: float, points: int, redeem_id: str = "r-1", happened: float | None = None, **fields: Any) -> Any:
    fields = {"reward": "cup"} | fields
    return (day, "redeem", day if happened is None else happened, {"redeem_id": redeem_id, "points": points, **fields})


def cancels(day: float, redeem_id: str = "r-1") -> tuple[Any, ...]:
    return (day, "redeem_cancel", day, {"redeem_id": redeem_id})


def answers(story: Story) -> list[str]:
    """Every answer in words."""
    found = []
    for _, _, fact in story.facts:
        if isinstance(fact, RedeemAccepted):
            found.append(f"{fact.redeem_id} accepted {fact.points}" + (" again" if fact.repeats else ""))
        elif isinstance(fact, RedeemRefused):
            missing = f" {fact.missing}" if fact.missing else ""
            found.append(f"{fact.redeem_id} refused: {fact.reason}{missing}" + (" again" if fact.repeats else ""))
        elif isinstance(fact, RedeemCancelOrphan):
            found.append(f"{fact.redeem_id} on the staff list")
    return found


def test_an_answer_tells_the_arithmetic() -> None:
    story = told([bought(0, 250), asks(8, 200), asks(8, 100, "r-2")])
    accepted, refused = [fact for _, _, fact in story.facts if isinstance(fact, RedeemAccepted | RedeemRefused)]
    assert accepted.because == "200 of 250 active points for cup"
    assert refused.because == "50 missing = 100 asked for, less 50 active"


def test_twenty_requests_at_once_spend_what_is_there_once() -> None:
    """Elsewhere 20 concurrent gifts turned 100 points into 2,000."""
    story = told([bought(0, 100), *[asks(8, 100, f"r-{number}") for number in range(20)]])
    check_sums(story)
    assert answers(story) == ["r-0 accepted 100", *[f"r-{n} refused: missing 100" for n in range(1, 20)]]
    assert (story.state.active, story.state.spent) == (0, 100)


def test_one_request_sent_twenty_times_spends_once() -> None:
    story = told([bought(0, 5_000), *[asks(8, 100) for _ in range(20)]])
    assert story.state.spent == 100
    assert story.verdicts[1:] == [Verdict.APPLIED] + [Verdict.DUPLICATE] * 19


def test_a_late_request_is_a_late_fact_too() -> None:
    story = told([asks(60, 100, happened=8)])
    assert [type(fact) for _, _, fact in story.facts] == [Late, RedeemRefused]
    assert story.verdicts == [Verdict.LATE]


def test_the_nearest_end_is_spent_first() -> None:
    steps = [bought(0, 100), (20, "login"), bought(31, 300)]
    story = told([*steps, asks(40, 200)])
    assert by_end(story.state) == {APRIL: 200}
    check_sums(story)


def test_a_redeem_ends_silence_a_cancel_does_not() -> None:
    story = told([bought(0, 200), asks(6, 200), cancels(12)])
    assert story.state.last_own == START + 6 * DAY


# -- cancel -------------------------------------------------------------------------------------------------------


def test_a_cancelled_redemption_goes_back_to_its_lots_with_their_dates() -> None:
    story = told([bought(0, 100), (20, "login"), bought(31, 300), asks(40, 200), cancels(50)])
    check_sums(story)
    assert by_end(story.state) == {MARCH: 100, APRIL: 300}
    assert story.state.spent == 0


def test_a_cancel_1_s_after_180_d_finds_nothing() -> None:
    story = told([bought(0, 300), asks(8, 200), cancels(188 + SECOND), (300, "tick")])
    assert answers(story) == ["r-1 accepted 200", "r-1 on the staff list"]
    assert story.state.spent == 200


def test_a_cancel_does_not_launder_expiry() -> None:
    """Elsewhere a cancelled redemption came back as fresh points."""
    steps = [bought(0, 300), asks(MARCH_ENDS - 10, 300), cancels(MARCH_ENDS - 5)]
    story = told([*steps, (MARCH_ENDS, "tick")])
    check_sums(story)
    assert (by_end(story.state).get(MARCH, 0), story.state.spent, story.state.expired) == (0, 0, 300)


def test_what_was_spent_does_not_expire_as_well() -> None:
    """Elsewhere spending and then expiring took the same points twice."""
    story = told([bought(0, 300), asks(8, 200), (MARCH_ENDS, "tick")])
    check_sums(story)
    assert (story.state.active, story.state.spent, story.state.expired) == (0, 200, 100)


WARNED = [
    # days before the end at which it is cancelled, points restored, points that stayed, warnings
    (31, 200, 0, ["30 d: 200", "7 d: 200"]),
    (30, 200, 0, ["30 d: 200", "7 d: 200"]),
    (20, 200, 0, ["20 d: 200", "7 d: 200"]),
    (20, 100, 100, ["30 d: 100", "20 d: 200", "7 d: 200"]),
    (7, 200, 0, ["7 d: 200"]),
    (5, 200, 0, ["5 d: 200"]),
]


@pytest.mark.parametrize(("before", "points", "stayed", "said"), WARNED)
def test_restored_points_are_warned_of_at_once(before: float, points: int, stayed: int, said: list[str]) -> None:
    steps = [bought(0, points + stayed), asks(MARCH_ENDS - 100, points), cancels(MARCH_ENDS - before)]
    story = told([*steps, (MARCH_ENDS, "tick")])
    check_sums(story)
    warnings = [fact for _, _, fact in story.facts if isinstance(fact, PointsExpiring)]
    assert [f"{(it.ends_at - it.effective_at) / DAY:g} d: {it.points}" for it in warnings] == said


def test_restored_points_that_are_too_few_are_not_warned_of() -> None:
    rules = RULES.programme.points.redeem
    assert rules.smallest >= RULES.warn_from, "so a lot of under 100 comes only from a redemption over two lots"
    steps = [bought(0, 60), (20, "login"), bought(31, 140), asks(MARCH_ENDS - 60, 200), cancels(MARCH_ENDS - 20)]
    story = told([*steps, (MARCH_ENDS - 1, "tick")])
    assert by_end(story.state)[MARCH] == 60
    assert [fact for _, _, fact in story.facts if isinstance(fact, PointsExpiring)] == []


def test_a_restored_lot_pays_debt_first() -> None:
    story = told([bought(0, 300), asks(8, 300)])
    story.state.debt, story.state.reversed = 120, 120  # as a refund after the points were spent would leave it
    story.act(an_action("redeem_cancel", START + 9 * DAY, 90, redeem_id="r-1"), START + 9 * DAY)
    assert (story.state.active, story.state.debt, story.state.spent) == (180, 0, 0)


def test_a_level_step_is_told_while_it_runs() -> None:
    story = told([bought(0, 500), asks(8, 100, reward="level_step")])
    end = START + 98 * DAY
    assert redeem.level_step_until(story.state, story.clock) == end
    assert redeem.level_step_until(story.state, end - 1) == end
    assert redeem.level_step_until(story.state, end) == 0


# -- any order of requests ----------------------------------------------------------------------------------------

things = st.sampled_from(["redeem", "redeem", "redeem", "redeem_cancel", "purchase", "share", "tick"])
steps_of_days = st.lists(
    st.tuples(st.integers(0, 40), things, st.integers(1, 6), st.sampled_from([100, 200, 300, 150])), max_size=30
)


@given(steps_of_days)
@settings(deadline=None, max_examples=150)
def test_the_sums_hold_and_nothing_falls_below_zero(steps: list[tuple[int, str, int, int]]) -> None:
    story, day, spent = Story(), 0, dict[str, int]()
    for number, (later, what, which, points) in enumerate(steps):
        day += later
        at = START + day * DAY
        if what == "tick":
            story.tick(at)
            check_sums(story)
            continue
        fields: dict[str, Any] = {"redeem_id": f"r-{which}"} if what.startswith("redeem") else {}
        if what == "redeem":
            fields |= {"points": points, "reward": "cup"}
        if what == "purchase":
            fields = {"amount": points * 200}
        story.act(an_action(what, at, number, **fields), at)
        check_sums(story)
    for _, _, fact in story.facts:
        if isinstance(fact, RedeemAccepted) and not fact.repeats:
            spent[fact.redeem_id] = spent.get(fact.redeem_id, 0) + fact.points
    assert story.state.spent <= sum(spent.values())


# -- points as a part of the payment of an order ------------------------------------------------------------------

PAID: dict[str, Any] = {"reward": "", "order_id": "o-shoes"}


def shoes(day: float, amount: int = 10_000) -> tuple[Any, ...]:
    return (day, "purchase", day, {"order_id": "o-shoes", "amount": amount})


def refunds(day: float, amount: int) -> tuple[Any, ...]:
    return (day, "refund", day, {"order_id": "o-shoes", "amount": amount})


def test_what_comes_back_is_what_was_spent_last_and_goes_to_its_own_lot() -> None:
    steps = [bought(0, 100), (20, "login"), bought(31, 300), asks(40, 200, **PAID), shoes(40)]
    story = told([*steps, refunds(41, 7_500), (46, "tick")])
    check_sums(story)
    # 200 = 100 of March, then 100 of April; 150 come back: April's 100 first, then 50 of March.
    assert by_end(story.state) == {MARCH: 50, APRIL: 300}


FREE = [
    ("the redeem of an order of 0 is cancelled", [asks(20, 300, **PAID), shoes(20, 0), cancels(21)], 0),
    ("cancelled before its order comes", [asks(20, 300, **PAID), cancels(21), (22, *shoes(20, 0)[1:])], 0),
    ("an order of 0 that was not paid by points", [shoes(20, 0)], 20),
    ("one of its two redeems stands", [asks(20, 300, **PAID), asks(20, 100, "r-2", **PAID), shoes(20, 0), cancels(21)],
     20),
    ("an order that money paid, too", [asks(20, 300, **PAID), shoes(20, 100), cancels(21)], 20),
]  # fmt: skip


@pytest.mark.parametrize(("name", "steps", "last"), FREE, ids=[case[0] for case in FREE])
def test_an_order_paid_wholly_by_points_is_undone_by_the_cancel(
    name: str, steps: list[tuple[Any, ...]], last: float
) -> None:
    story = told([bought(0, 1_000), *steps])
    check_sums(story)
    assert story.state.last_purchase == START + last * DAY


@pytest.mark.parametrize("arrival", list(itertools.permutations(["purchase", "redeem", "cancel"])), ids="-".join)
def test_it_is_undone_however_purchase_redeem_and_cancel_arrive(arrival: tuple[str, ...]) -> None:
    parts = {"purchase": shoes(20, 0), "redeem": asks(20, 300, **PAID), "cancel": cancels(20.5)}
    story = told([bought(0, 1_000), *((21, *parts[what][1:]) for what in arrival)])
    check_sums(story)
    assert story.state.last_purchase == START
    assert (story.state.active, story.state.spent) == (1_000, 0)


def test_the_order_stands_if_another_request_pays_it() -> None:
    """The first request was cancelled before it came, then the member asked again."""
    story = told([bought(0, 1_000), cancels(20), shoes(21, 0), asks(21, 300, "r-2", **PAID), asks(22, 300, **PAID)])
    check_sums(story)
    assert story.state.last_purchase == START + 21 * DAY
