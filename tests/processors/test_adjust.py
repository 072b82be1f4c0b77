"""What staff give and take: by two people, at most once, undone exactly."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.lots import by_end
from processors.programme import Rules
from schemas.facts import AdjustRefused, Fact
from tests.processors.book import check_sums, ledger
from tests.processors.story import PROGRAMME, Story, told

PEOPLE = {"reason": "lost points", "operator": "ann", "approved_by": "bob"}


def gives(day: float, points: int, row: int = 1, batch: str = "b-1", **fields: Any) -> tuple[Any, ...]:
    said = {"kind": "points", "points": points, "batch_id": batch, "row": row, "event_id": f"{batch}:{row}"}
    return (day, "adjust", day, PEOPLE | said | fields)


def undoes(day: float, batch: str = "b-1", event_id: str = "undo") -> tuple[Any, ...]:
    return (day, "adjust", day, PEOPLE | {"kind": "undo_batch", "batch_id": batch, "event_id": event_id})


def reverses(day: float, refers_to: str) -> tuple[Any, ...]:
    return (day, "adjust", day, PEOPLE | {"kind": "reverse", "refers_to": refers_to, "event_id": f"re-{refers_to}"})


def lines(story: Story) -> list[str]:
    """Every entry and refusal of staff in words."""
    found = []
    for _, _, fact in story.facts:
        if isinstance(fact, AdjustRefused):
            found.append(f"refused: {fact.reason}")
        elif getattr(fact, "rule", "") == "adjust":
            found.append(_entry(fact))
    return found


def _entry(fact: Fact) -> str:
    names = ("points", "active", "reversed", "debt", "expired")
    said = [f"{name} {value:+}" for name in names if (value := getattr(fact, name))]
    return ", ".join(said) or getattr(fact, "reason", "")


GIVEN, FIFTY, BACK = "points +100, active +100", "points +50, active +50", "active -100, reversed +100"


def test_every_entry_names_both_people_and_why() -> None:
    for fact in ledger(told([gives(0, 100), gives(1, -30, 2), undoes(2)])):
        assert (fact.operator, fact.approved_by, fact.why, fact.batch_id) == ("ann", "bob", "lost points", "b-1")


def test_points_given_join_the_lot_of_their_own_month_and_taken_ones_leave_it_first() -> None:
    story = told([gives(0, 100), gives(40, 50, 2), gives(41, -70, 3)])
    march, april = sorted(story.rules.lot_ends[2026 * 12 + month] for month in (2, 3))
    assert by_end(story.state) == {march: 80}
    story = told([gives(0, 100), gives(40, 50, 2), gives(41, -70, 3), undoes(42)])
    assert by_end(story.state) == {}
    story = told([gives(0, 100), gives(40, 50, 2), gives(41, -70, 3), reverses(42, "b-1:3")])
    assert by_end(story.state) == {march: 100, april: 50}


@pytest.mark.parametrize("policy", ["to_zero", "pending_only"])
def test_where_refunds_owe_nothing_points_taken_do_neither(policy: str) -> None:
    points = PROGRAMME.points
    changed = points.model_copy(update={"refund": points.refund.model_copy(update={"policy": policy})})
    rules = Rules(PROGRAMME.model_copy(update={"points": changed}), 1, 0)
    story = told([gives(0, 20), gives(1, -30, 2), undoes(2)], rules)
    assert lines(story)[:2] == ["points +20, active +20", "active -20, reversed +20"]
    assert (story.state.active, story.state.debt) == (0, 0)
    check_sums(story)


@given(st.lists(st.integers(-200, 200).filter(bool), min_size=1, max_size=6), st.integers(-50, 50).filter(bool))
def test_a_batch_undone_leaves_the_balances_as_they_were(batch: list[int], before: int) -> None:
    first = told([gives(0, before, batch="b-0")])
    steps = [gives(1, points, row) for row, points in enumerate(batch)]
    story = told([gives(0, before, batch="b-0"), *steps, undoes(2)])
    assert (story.state.active, story.state.debt) == (first.state.active, first.state.debt)
    assert by_end(story.state) == by_end(first.state)
    check_sums(story)
