"""Lots end at the start of a month, 13 months after they were earned, and are warned of 30 and 7 days before."""

from __future__ import annotations

import datetime as dt

from schemas.facts import Ledger, PointsExpiring
from tests.processors.story import DAY, RULES, START, told

END = int(dt.datetime(2027, 3, 31, 16, tzinfo=dt.UTC).timestamp() * 1000)  # 1 April 2027 in Shanghai
"""When points of March 2026 end; stories begin on the 2nd of that month."""
LAST = (END - START) / DAY


def test_points_of_march_2026_end_on_1_april_2027() -> None:
    assert RULES.lot_ends[2026 * 12 + 2] == END


def test_everything_falls_due_at_its_own_moment_however_late_it_is_looked_at() -> None:
    story = told([(1, "purchase", 1, {"amount": 50_000}), (LAST + 100, "tick")])
    moments = [fact.effective_at for _, _, fact in story.facts if isinstance(fact, Ledger | PointsExpiring)]
    assert moments == [START + DAY, START + 8 * DAY, END - 30 * DAY, END - 7 * DAY, END]
