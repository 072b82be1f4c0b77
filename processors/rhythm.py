"""rhythm: a member is silent for longer than nearly all gaps between its own active days were.

How long that is, is read off when the last active day comes: later knowledge of days before it changes no tier. What
crosses a limit in silence is a `Crossing`: each says in advance at which moment, and what ends it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from processors import reasons, waiting
from processors.judgement import of_action, of_time
from processors.ladders import ASIDE
from processors.reasons import GAPS, ONE, Reason
from processors.waiting import Due
from schemas.actions import Action
from schemas.facts import Fact
from schemas.member import DAY_BITS, MemberState

if TYPE_CHECKING:
    from processors.member import Moment
    from processors.programme import Rules

RHYTHM = ASIDE["rhythm"]


class Crossing(NamedTuple):
    """A reason of silence: when it holds if nothing happens (ms, 0 = never), what it is counted from, and its words."""

    kind: int
    at: Callable[[Rules, MemberState], int]
    counted_from: Callable[[MemberState], int]
    words: Callable[[Rules, MemberState], str]


def active_day(in_force: Rules, state: MemberState, at: int, back: int) -> None:
    """A day that lies so many back becomes active by an action newer than all: the rhythm up to it is read off."""
    rhythm = 0 if is_refused(state) else gap_of(in_force, active_days(state) >> back | 1)
    if rhythm or state.rhythm:
        state.rhythm = rhythm
        if rhythm:
            waiting.sooner(state, in_force.calendar.day_start(in_force.calendar.day(at) + rhythm + 1))


def active_days(state: MemberState) -> int:
    """The active days that are known: bit i is the day i days before `today`."""
    return int.from_bytes(state.active_older, "little") << DAY_BITS | state.active_bits


def gap_of(in_force: Rules, days: int) -> int:
    """The percentile of the gaps between active days (bit i = i days back), at least some days; 0 = too few gaps.

    Days with no active day among the k after them begin a gap longer than k; so gaps are counted all at once.
    """
    rule, window = in_force.programme.tiers.rhythm, in_force.warnings.rhythm_window
    days &= window
    gaps = days.bit_count() - 1
    if gaps < rule.gaps_from:
        return 0
    longer_at_most = gaps + -gaps * rule.percentile // 100  # nearest rank
    reached = 0
    for gap in range(1, rule.window_days):
        reached |= days << gap
        if gap >= rule.days_from and (days & ~reached).bit_count() - 1 <= longer_at_most:
            return gap
    return rule.window_days


def is_refused(state: MemberState) -> bool:
    """Whether profiling is refused: then there is no rhythm and no value."""
    return state.beside is not None and bool(state.beside.profiling)


def by_gaps(in_force: Rules, state: MemberState) -> int:
    """The end of the last of the days that the rhythm allows."""
    if not state.rhythm or state.last_own <= state.closed_at:
        return 0
    calendar = in_force.calendar
    return calendar.day_start(calendar.day(state.last_own) + state.rhythm + 1)


def words_of_gaps(in_force: Rules, state: MemberState) -> str:
    """How long the silence was when it crossed, and what it is compared with."""
    return f"{state.rhythm} days without an own action, as long as {_percent(in_force)}% of the gaps before"


def _percent(in_force: Rules) -> int:
    return in_force.programme.tiers.rhythm.percentile


CROSSINGS = (Crossing(GAPS, by_gaps, lambda state: state.last_own, words_of_gaps),)
"""Each is a reason of its own; the tier is left when none remains."""


def acted(in_force: Rules, state: MemberState, action: Action, moment: Moment, facts: list[Fact]) -> None:
    """An own action newer than all ends the silence; one from before the entry shows that it was never true."""
    held = reasons.has(state, RHYTHM, GAPS)
    if held is None:
        return
    judgement = of_action(in_force, state, action, moment, facts)
    due = by_gaps(in_force, state)
    alone = sum(it.dimension == RHYTHM.number for it in reasons.all_of(state)) == 1
    if moment.at < held.since and 0 < due <= moment.clock and alone:
        if due != held.since:
            reasons.shift(judgement, RHYTHM, held._replace(since=due), moment.at)
        return
    reasons.lift(judgement, RHYTHM, lambda it: it.kind == GAPS, moment.at, "action")


def next_due(in_force: Rules, state: MemberState) -> int:
    """The next crossing; 0 = none."""
    return min((at for at, _ in _coming(in_force, state)), default=0)


def _coming(in_force: Rules, state: MemberState) -> list[tuple[int, Crossing]]:
    crossings = ((one.at(in_force, state), one) for one in CROSSINGS)
    return [(at, one) for at, one in crossings if at and reasons.has(state, RHYTHM, one.kind) is None]


def fall_due(due: Due) -> None:
    """Silence crosses a limit."""
    for at, one in _coming(due.in_force, due.state):
        if at <= due.by:
            reason = Reason(RHYTHM.number, one.kind, ONE, at)
            since, words = one.counted_from(due.state), one.words(due.in_force, due.state)
            reasons.add(of_time(due), RHYTHM, reason, words, since)
