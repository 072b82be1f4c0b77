"""Rhythm and active days against the plainest way to say what they are."""

from __future__ import annotations

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from processors import days, rhythm
from schemas.member import ACTIVE_DAYS, DAY_BITS, MemberState
from tests.processors.story import RULES

RULE = RULES.programme.tiers.rhythm


@given(st.sets(st.integers(1, 420), min_size=15, max_size=200))
def test_the_rhythm_is_the_nearest_rank_of_the_gaps(back: set[int]) -> None:
    active = sorted(one for one in back | {0} if one < RULE.window_days)
    gaps = sorted(later - one for one, later in itertools.pairwise(active))
    expected = 0
    if len(gaps) >= RULE.gaps_from:
        expected = max(RULE.days_from, gaps[math.ceil(RULE.percentile * len(gaps) / 100) - 1])
    assert rhythm.gap_of(RULES, sum(1 << one for one in back | {0})) == expected


@given(st.lists(st.integers(1, 450), max_size=30))
def test_active_days_are_known_for_as_long_as_anybody_asks(steps: list[int]) -> None:
    state, day, active = MemberState(today=20_000), 20_000, {20_000}
    state.active_bits = 1
    for step in steps:
        day += step
        days.roll(RULES.activity, state, day)
        state.active_bits |= 1
        active.add(day)
    wanted = sum(1 << day - one for one in active if day - one < ACTIVE_DAYS)
    assert rhythm.active_days(state) == wanted
    assert len(state.active_older) <= (ACTIVE_DAYS - DAY_BITS) // 8


def test_who_came_lately_alone_keeps_no_older_days() -> None:
    state = MemberState(today=20_000, active_bits=1)
    days.roll(RULES.activity, state, 20_063)
    assert state.active_older == b""
    days.roll(RULES.activity, state, 20_064)
    assert state.active_older == b"\x01"
