"""The rings of days: what a day counts stays with that day as days go by, and leaves at the ring's end."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors import days
from processors.activity import Weights
from processors.calendar import DAY_MS, MINUTE_MS, Calendar
from processors.programme import Rules
from schemas.facts import Ledger
from schemas.member import MemberState
from schemas.programme import FUTURE_MINUTES_MAX, HORIZON_MAX, parse
from schemas.verdicts import Verdict
from tests.processors.story import PROGRAMME, told

WEIGHTS = Weights(parse(Path("schemas/programmes/default.yaml").read_text()))
FIRST = 20_000  # a programme day in 2024


def a_member(today: int = FIRST) -> MemberState:
    state = MemberState()
    days.roll(WEIGHTS, state, today)
    return state


def checking_in(on: list[int], today: int) -> MemberState:
    """A member who checked in on these days, each reported on the day itself."""
    state = MemberState()
    for day in on:
        if day > state.today:
            days.roll(WEIGHTS, state, day)
        days.check_in(state, day)
    if today > state.today:
        days.roll(WEIGHTS, state, today)
    return state


def test_a_first_action_sets_today_and_nothing_else() -> None:
    assert a_member() == MemberState(today=FIRST)


@pytest.mark.parametrize(
    ("name", "on", "asked", "run"),
    [
        ("the day itself", [0], 0, 1),
        ("a day without check-in", [0], 1, 0),
        ("three in a row", [0, 1, 2], 2, 3),
        ("asked for a day in the middle", [0, 1, 2], 1, 2),
        ("a gap begins anew", [0, 1, 3, 4], 4, 2),
        ("exactly the bitmap", list(range(64)), 63, 64),
        ("one more than the bitmap", list(range(65)), 64, 65),
        ("a year", list(range(365)), 364, 365),
        ("a year, then a gap", [*range(365), 366], 366, 1),
        ("a year, asked for ten days ago", list(range(365)), 354, 355),
    ],
)
def test_a_run_of_check_ins_ends_on_a_day(name: str, on: list[int], asked: int, run: int) -> None:
    state = checking_in([FIRST + day for day in on], FIRST + max(on[-1], asked))
    assert days.run_ending(state, FIRST + asked) == run, name


def test_a_run_longer_than_the_bitmap_survives_quiet_days_as_history_only() -> None:
    state = checking_in([FIRST + day for day in range(100)], FIRST + 103)
    assert days.run_ending(state, FIRST + 103) == 0
    assert days.run_ending(state, FIRST + 99) == 100


def test_a_late_check_in_joins_two_runs() -> None:
    state = checking_in([FIRST + day for day in (0, 1, 2, 4, 5)], FIRST + 5)
    late = FIRST + 3
    assert (days.run_ending(state, late - 1), days.run_after(state, late)) == (3, 2)
    days.check_in(state, late)
    assert days.run_ending(state, FIRST + 5) == 6


@given(st.sets(st.integers(0, 200), min_size=1), st.integers(0, 60))
def test_runs_agree_with_counting_days_one_by_one(on: set[int], quiet: int) -> None:
    today = max(on) + quiet
    state = checking_in(sorted(FIRST + day for day in on), FIRST + today)
    for day in range(max(0, today - 30), today + 1):
        before, after = 0, 0
        while day - before in on:
            before += 1
        while day + after + 1 in on:
            after += 1
        assert days.run_ending(state, FIRST + day) == before
        assert days.run_after(state, FIRST + day) == after
        assert days.checked_in(state, FIRST + day) == (day in on)


@given(st.permutations(range(20)), st.integers(20, 40))
def test_late_check_ins_leave_the_same_bitmap_in_any_order(order: list[int], today: int) -> None:
    state = a_member(FIRST + today)
    for day in order:
        days.check_in(state, FIRST + day)
    assert state == checking_in([FIRST + day for day in range(20)], FIRST + today)


def test_messages_and_shares_of_a_day_are_counted_apart() -> None:
    state = a_member()
    for _ in range(3):
        days.count(state, FIRST, days.MESSAGES)
    days.count(state, FIRST, days.SHARES)
    assert days.counted(state, FIRST, days.MESSAGES) == 3
    assert days.counted(state, FIRST, days.SHARES) == 1
    assert days.counted(state, FIRST - 1, days.MESSAGES) == 0


def test_a_count_moves_back_as_days_go_by_and_takes_late_ones() -> None:
    state = a_member()
    days.count(state, FIRST, days.SHARES)
    days.roll(WEIGHTS, state, FIRST + 30)
    days.count(state, FIRST, days.SHARES)
    days.count(state, FIRST + 29, days.MESSAGES)
    assert days.counted(state, FIRST, days.SHARES) == 2
    assert days.counted(state, FIRST + 29, days.MESSAGES) == 1
    assert days.counted(state, FIRST + 30, days.MESSAGES) == 0


def test_a_day_older_than_the_counts_is_full() -> None:
    state = a_member()
    days.count(state, FIRST - 32, days.MESSAGES)
    assert state.counts == b""
    assert days.counted(state, FIRST - 31, days.MESSAGES) == 0
    assert days.counted(state, FIRST - 32, days.MESSAGES) == 255


@pytest.mark.parametrize(
    "zone", ["Asia/Shanghai", "America/New_York", "Australia/Lord_Howe", "Antarctica/Casey", "Antarctica/Troll"]
)
def test_a_day_is_counted_as_long_as_an_action_of_it_may_come(zone: str) -> None:
    """The latest of any day, when the newest action known lies as far ahead as a programme may allow."""
    calendar = Calendar(zone, 0)
    later = HORIZON_MAX * DAY_MS + FUTURE_MINUTES_MAX * MINUTE_MS
    for day in range(FIRST, FIRST + 366):
        state = a_member(calendar.day(calendar.day_start(day + 1) - 1 + later))
        days.count(state, day, days.SHARES)
        assert days.counted(state, day, days.SHARES) == 1, calendar.date(day)


def test_late_actions_at_the_very_horizon_are_paid_up_to_the_cap_of_their_day() -> None:
    longest = Rules(PROGRAMME.model_copy(update={"horizon_days": HORIZON_MAX}), 1, 0)
    first, at = 1 - 1 / 86_400, HORIZON_MAX + 1 - 1 / 86_400  # a second before midnight
    story = told([(at, "share"), *[(at, "share", first)] * 6, (at, "share", first - 1 / 86_400)], longest)
    assert story.verdicts == [Verdict.APPLIED] * 7 + [Verdict.LATE]
    entries = [fact for _, _, fact in story.facts if isinstance(fact, Ledger) and fact.rule == "share"]
    assert [fact.points for fact in entries] == [5] + [5] * 5 + [0]


def test_a_count_stops_at_what_a_byte_holds() -> None:
    state = a_member()
    for _ in range(300):
        days.count(state, FIRST, days.MESSAGES)
    assert days.counted(state, FIRST, days.MESSAGES) == 255


def test_quiet_days_cost_no_memory() -> None:
    state = a_member()
    days.count(state, FIRST, days.SHARES)
    days.roll(WEIGHTS, state, FIRST + 5)
    assert len(state.counts) == 2 * 6
    days.roll(WEIGHTS, state, FIRST + 32)
    assert state.counts == b""


def test_bits_of_active_days_leave_with_the_bitmap() -> None:
    state = a_member()
    state.active_bits = 1
    days.roll(WEIGHTS, state, FIRST + 63)
    assert state.active_bits == 1 << 63
    days.roll(WEIGHTS, state, FIRST + 64)
    assert state.active_bits == 0
