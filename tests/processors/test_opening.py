"""What a member brings along: once, to the point, nothing earned, nobody contacted."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from processors import levels, opening, orders, windows
from processors.aggregate import Buckets
from processors.lots import by_end
from processors.programme import Rules
from schemas.actions import OpeningConsent, OpeningLot
from schemas.facts import LevelChanged, OpeningRefused, PointsExpiring, SpendBrought, TierEntered, TierLeft
from schemas.programme import parse
from tests.processors.book import check_sums, ledger, lines
from tests.processors.story import DEFAULT, EPOCH, START, Story, an_action, told

DAY = dt.timedelta(days=1)
BEGAN = EPOCH + dt.timedelta(milliseconds=START)
SECOND = 1 / 86_400
FIRST = Rules(parse(DEFAULT), 1, 0)  # where a first order counts twice
LOTS = [("2025-10", 40), ("2026-01", 60)]


def brings(day: float, number: int = 1, lots: list[tuple[str, int]] | None = None, **fields: Any) -> tuple[Any, ...]:
    said: dict[str, Any] = {
        "event_id": f"f-1:{number}",
        "reason": "moved",
        "operator": "ann",
        "approved_by": "bob",
        "lots": tuple(OpeningLot(month, points) for month, points in (LOTS if lots is None else lots)),
        "debt": 0,
        "level": "silver",
        "level_since": BEGAN - 50 * DAY,
        "spend": {"2025-12": 90_000},
        "joined_at": BEGAN - 400 * DAY,
    }
    return (day, "opening", day, said | fields)


def balances(story: Story) -> tuple[int, int, int, int]:
    state = story.state
    return state.issued, state.active, state.expired, state.debt


TABLE: list[tuple[str, list[tuple[Any, ...]], tuple[int, int, int, int]]] = [
    # what happens, (issued, active, expired, debt) afterwards
    ("lots", [brings(0)], (100, 100, 0, 0)),
    ("nothing but a level", [brings(0, lots=[])], (0, 0, 0, 0)),
    ("lots and debt stand side by side", [brings(0, debt=30)], (100, 100, 0, 30)),
    ("debt alone", [brings(0, lots=[], debt=30)], (0, 0, 0, 30)),
    ("a lot past its date expires at once", [brings(0, lots=[("2024-01", 9), ("2026-01", 60)])], (69, 60, 9, 0)),
    ("1 s before a lot ends", [brings(30 - SECOND, lots=[("2025-03", 9)])], (9, 9, 0, 0)),
    ("at the moment a lot ends", [brings(30, lots=[("2025-03", 9)])], (9, 0, 9, 0)),
    ("beside what was earned here", [(0, "check_in"), brings(1)], (105, 105, 0, 0)),
    ("a second one", [brings(0), brings(1, 2)], (100, 100, 0, 0)),
    ("the same one again", [brings(0), brings(0)], (100, 100, 0, 0)),
    ("the same one long after", [brings(0), brings(100)], (100, 100, 0, 0)),
    ("late", [(30 + SECOND, *brings(0)[1:])], (0, 0, 0, 0)),
    ("debt is paid by what is earned next", [brings(0, lots=[], debt=3), (1, "check_in")], (5, 2, 0, 0)),
]


@pytest.mark.parametrize(("steps", "wanted"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_what_a_member_brings_along(steps: list[Any], wanted: tuple[int, int, int, int]) -> None:
    story = told(steps)
    assert balances(story) == wanted
    check_sums(story)


def test_a_second_one_is_refused_with_a_fact_that_names_the_first() -> None:
    story = told([brings(0), brings(1, 2)])
    (refused,) = [fact for _, _, fact in story.facts if isinstance(fact, OpeningRefused)]
    (first,) = ledger(story)
    assert (refused.operator, refused.approved_by) == (first.operator, first.approved_by) == ("ann", "bob")
    assert first.rule == "opening"
    assert refused.amends == next((o, i) for o, i, fact in story.facts if fact is first)


def test_lots_keep_their_months() -> None:
    story = told([brings(0)])
    ends = [story.rules.lot_ends[month] for month in (2025 * 12 + 9, 2026 * 12)]
    assert by_end(story.state) == {ends[0]: 40, ends[1]: 60}


def test_spend_joins_its_months() -> None:
    story = told([(0, "purchase"), brings(1, spend={"2026-03": 100, "2025-12": 90_000})])
    assert orders.spend_by_month(story.state) == {2026 * 12 + 2: 10_000, 2025 * 12 + 11: 90_000}


def test_a_fact_of_each_month_tells_the_spend_and_when_the_last_purchase_was() -> None:
    spend = {"2025-12": 90_000, "2025-11": 0, "2025-02": 700}
    last = BEGAN - 20 * DAY
    story = told([brings(0, spend=spend, last_purchase_at=last), brings(1, 2)])
    found = [(fact.month, fact.spend, fact.bought_at) for fact in facts_of(story, SpendBrought)]
    bought_at = START - 20 * 86_400_000
    assert found == [(2025 * 12 + 1, 700, 0), (2025 * 12 + 11, 90_000, 0), (2026 * 12 + 1, 0, bought_at)]
    fact = facts_of(story, SpendBrought)[0]
    assert (fact.action, fact.event_id, fact.effective_at) == ("opening", "f-1:1", START)
    assert fact.because == "net spend of 2025-02"


def test_spend_and_last_purchase_of_one_month_are_one_fact_and_no_moment_lies_after_the_opening() -> None:
    story = told([brings(0, spend={"2026-03": 500}, last_purchase_at=BEGAN + DAY)])
    (fact,) = facts_of(story, SpendBrought)
    assert (fact.month, fact.spend, fact.bought_at) == (2026 * 12 + 2, 500, START)


def test_without_spend_and_purchase_nothing_is_told_of_it() -> None:
    assert facts_of(told([brings(0, spend={})]), SpendBrought) == []


def test_spend_brought_along_is_in_no_total_of_a_day() -> None:
    buckets = Buckets("live-1", 0)
    story = Story(buckets=buckets)
    _, _, _, fields = brings(0)
    story.act(an_action("opening", START, 1, **fields), START)
    assert facts_of(story, SpendBrought)
    assert sum(bucket.spend for bucket in buckets.changed(-1)) == 0


def facts_of(story: Story, kind: type[Any]) -> list[Any]:
    return [fact for _, _, fact in story.facts if isinstance(fact, kind)]


def test_of_joining_the_earlier_counts() -> None:
    earlier, later = START - 400 * 86_400_000, START
    assert windows.joined_at(told([(0, "join"), brings(1)]).state) == earlier
    assert windows.joined_at(told([(0, "join"), brings(1, joined_at=BEGAN + DAY)]).state) == later


def test_of_the_last_purchase_and_the_last_action_the_later_count() -> None:
    moments: dict[str, Any] = {"last_purchase_at": BEGAN - 20 * DAY, "last_action_at": BEGAN - 3 * DAY}
    state = told([brings(0, **moments)]).state
    assert (state.last_purchase, state.last_own) == (START - 20 * 86_400_000, START - 3 * 86_400_000)
    state = told([(0, "purchase"), brings(1, **moments)]).state
    assert (state.last_purchase, state.last_own) == (START, START)


def test_nothing_is_earned_and_the_end_of_a_silence_before_it_is_not_paid() -> None:
    story = told([brings(0, lots=[], last_action_at=BEGAN - 29 * DAY), (0.5, "login")])
    assert lines(story) == ["opening 0"]


def test_the_end_of_a_silence_that_began_before_it_is_a_comeback() -> None:
    story = told([brings(0, lots=[], last_action_at=BEGAN - 29 * DAY), (1, "login")])
    assert lines(story) == ["opening 0", "comeback 50"]


def test_a_tier_due_already_is_entered_and_marked_and_the_next_one_is_as_any_other() -> None:
    story = told([brings(0, last_action_at=BEGAN - 31 * DAY), (500, "tick")])
    entered = [fact for _, _, fact in story.facts if isinstance(fact, TierEntered) and fact.dimension == "presence"]
    due = [fact.tier for fact in entered if fact.effective_at <= START]
    assert due
    assert [fact.tier for fact in entered if fact.brought] == due
    assert any(not fact.brought for fact in entered)


def test_a_tier_held_here_ends_with_a_later_action_brought_along() -> None:
    story = told([(0, "login"), (20, "tick"), brings(20.5, last_action_at=BEGAN + 20 * DAY)])
    assert [fact.tier for _, _, fact in story.facts if isinstance(fact, TierLeft)][-1:] != []
    assert story.state.presence == 0


def test_nobody_is_warned_of_lots_whose_time_of_warning_has_passed() -> None:
    story = told([brings(10, lots=[("2025-03", 500)])])
    assert [fact for _, _, fact in story.facts if isinstance(fact, PointsExpiring)] == []
    story = told([brings(10, lots=[("2025-03", 500)]), (24, "tick")])
    assert [fact.points for _, _, fact in story.facts if isinstance(fact, PointsExpiring)] == [500]


def test_consents_are_kept() -> None:
    given = OpeningConsent("marketing", "all", granted=True, text_version="v1", occurred_at=BEGAN - DAY)
    brought = opening.opened(told([brings(0, consent=(given,))]).state)
    assert brought is not None
    (kept,) = brought.consents
    assert (kept.purpose, kept.contact_channel, kept.granted, kept.text_version) == ("marketing", "all", True, "v1")
    assert kept.at == START - 86_400_000
    assert (brought.level, brought.level_since) == ("silver", START - 50 * 86_400_000)


def levels_told(story: Story) -> list[tuple[str, str]]:
    return [(fact.level, fact.reason) for _, _, fact in story.facts if isinstance(fact, LevelChanged)]


def test_a_level_is_brought_along_with_its_date_and_begins_its_days_anew() -> None:
    story = told([brings(0, spend={})])
    assert levels_told(story)[-1] == ("silver", "opening")
    assert story.state.level_at == START - 50 * 86_400_000
    assert levels.name(story.rules, story.state) == "silver"
    story = told([brings(0, spend={}), (89, "tick")])
    assert levels.name(story.rules, story.state) == "silver"
    story = told([brings(0, spend={}), (92, "tick")])
    assert levels.name(story.rules, story.state) == "bronze"


@pytest.mark.parametrize("level", ["bronze", "explorer 1", "platinum of old"])
def test_a_floor_or_a_level_nobody_knows_is_not_brought(level: str) -> None:
    story = told([brings(0, spend={}, level=level)])
    assert levels.name(story.rules, story.state) == "bronze"  # a year after joining


def test_a_level_is_not_lowered_by_one_brought_along() -> None:
    story = told([(0, "purchase", 0, {"amount": 600_000}), brings(1, spend={})])
    assert levels.name(story.rules, story.state) == "contributor 1"


def test_a_level_brought_along_is_not_undone_by_refunds() -> None:
    bought = (0, "purchase", 0, {"amount": 50_000, "order_id": "o-1"})
    back = (2, "refund", 2, {"amount": 50_000, "order_id": "o-1"})
    story = told([bought, brings(1, spend={}, level="gold"), back])
    assert levels.name(story.rules, story.state) == "gold"


def test_spend_brought_along_counts_for_the_level() -> None:
    story = told([brings(0, lots=[], spend={"2026-01": 900_000}, level="bronze")])
    assert levels.name(story.rules, story.state) == "contributor 3"


def test_who_brings_a_purchase_along_has_had_the_first_order() -> None:
    first = [line for line in lines(told([brings(0, lots=[]), (1, "purchase")], FIRST)) if line.startswith("purchase")]
    again = brings(0, lots=[], last_purchase_at=BEGAN - 20 * DAY)
    second = [line for line in lines(told([again, (1, "purchase")], FIRST)) if line.startswith("purchase")]
    assert first == ["purchase 198 x2"]
    assert second == ["purchase 99"]
