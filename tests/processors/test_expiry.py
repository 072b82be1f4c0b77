"""Lots end at the start of a month, 13 months after they were earned, and are warned of 30 and 7 days before."""

from __future__ import annotations

import datetime as dt

import pytest

from processors.lots import by_end
from schemas.facts import Ledger, PointsExpiring
from tests.processors.book import check_sums
from tests.processors.story import DAY, RULES, START, Story, told

END = int(dt.datetime(2027, 3, 31, 16, tzinfo=dt.UTC).timestamp() * 1000)  # 1 April 2027 in Shanghai
"""When points of March 2026 end; stories begin on the 2nd of that month."""
LAST = (END - START) / DAY
SECOND = 1 / 86_400


def expiring(story: Story) -> list[str]:
    """Warnings and expiries in words: days before the end, and points."""
    found = []
    for _, _, fact in story.facts:
        if isinstance(fact, PointsExpiring):
            found.append(f"{(fact.ends_at - fact.effective_at) / DAY:g} d before: {fact.points} will expire")
        elif isinstance(fact, Ledger) and fact.entry == "expired":
            assert fact.effective_at == END
            found.append(f"{fact.expired} expired")
    return found


def test_points_of_march_2026_end_on_1_april_2027() -> None:
    assert RULES.lot_ends[2026 * 12 + 2] == END


@pytest.mark.parametrize(
    ("amount", "looked_at", "said"),
    [
        (9_900, LAST - 30, []),
        (10_000, LAST - 30 - SECOND, []),
        (10_000, LAST - 30, ["30 d before: 100 will expire"]),
        (10_000, LAST - 7 - SECOND, ["30 d before: 100 will expire"]),
        (10_000, LAST - 7, ["30 d before: 100 will expire", "7 d before: 100 will expire"]),
        (10_000, LAST - SECOND, ["30 d before: 100 will expire", "7 d before: 100 will expire"]),
        (10_000, LAST, ["30 d before: 100 will expire", "7 d before: 100 will expire", "100 expired"]),
        (9_900, LAST - SECOND, []),
        (9_900, LAST, ["99 expired"]),
    ],
    ids=[
        "99 points are too few for a warning",
        "1 s before the first warning",
        "the first warning",
        "1 s before the second",
        "the second",
        "1 s before the end",
        "the end",
        "99 points, 1 s before the end",
        "99 points end without a warning",
    ],
)
def test_a_lot_is_warned_of_and_ends(amount: int, looked_at: float, said: list[str]) -> None:
    story = told([(1, "purchase", 1, {"amount": amount}), (looked_at, "tick")])
    check_sums(story)
    assert expiring(story) == said
    gone = bool(said) and said[-1].endswith(" expired")
    assert story.state.expired == (amount // 100 if gone else 0)


def test_one_warning_for_all_points_of_an_end() -> None:
    story = told([(1, "purchase", 1, {"amount": 6_000}), (9, "purchase", 9, {"amount": 6_000}), (LAST - 20, "tick")])
    assert expiring(story) == ["30 d before: 120 will expire"]


def test_a_month_later_is_another_lot() -> None:
    story = told([(1, "purchase"), (35, "purchase"), (LAST, "tick")])
    assert (story.state.expired, story.state.active) == (99, 99 + 50)
    assert by_end(story.state) == {RULES.lot_ends[2026 * 12 + 3]: 99 + 50}
    check_sums(story)


def test_a_late_action_joins_the_lot_of_its_own_month() -> None:
    story = told([(40, "check_in"), (40, "purchase", 12), (48, "tick")])
    assert by_end(story.state) == {RULES.lot_ends[2026 * 12 + 2]: 99, RULES.lot_ends[2026 * 12 + 3]: 5}


def test_everything_falls_due_at_its_own_moment_however_late_it_is_looked_at() -> None:
    story = told([(1, "purchase", 1, {"amount": 50_000}), (LAST + 100, "tick")])
    moments = [fact.effective_at for _, _, fact in story.facts if isinstance(fact, Ledger | PointsExpiring)]
    assert moments == [START + DAY, START + 8 * DAY, END - 30 * DAY, END - 7 * DAY, END]
