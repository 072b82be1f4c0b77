"""blue: a member who was active on many days is so on far fewer. Judged at each day's end, on what is known then.

No member needs a timer each day: from the bitmap of active days it follows at which day's end blue comes, or is left,
were the member silent from now on, and the timer stands there. `state.blue_day` is that day, or an earlier one: another
active day puts blue off for a whole span, so the day that is known stays a lower bound and is looked at when it comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from processors import waiting
from processors.judgement import CLOSED, Judgement, of_time
from processors.ladders import ASIDE, tidy
from processors.waiting import Due
from schemas.member import MemberState

if TYPE_CHECKING:
    from processors.member import Moment
    from processors.programme import Rules

BLUE = ASIDE["activity"]


def counts(in_force: Rules, state: MemberState, day: int, bits: int) -> tuple[int, int]:
    """Active days of the last span of days that ends with a day, and of the span before it."""
    shift, days = day - state.today, in_force.warnings.blue_days
    bits = bits << shift if shift >= 0 else bits >> -shift
    span = (1 << days) - 1
    return (bits & span).bit_count(), (bits >> days & span).bit_count()


def is_blue(in_force: Rules, recent: int, before: int) -> bool:
    """Whether so many active days, and so many before them, are blue."""
    rule = in_force.programme.tiers.activity
    return before >= rule.before_from and 100 * recent <= rule.percent_max * before


def in_words(in_force: Rules, recent: int, before: int) -> str:
    """Why so many active days, and so many before them, are blue."""
    days = in_force.warnings.blue_days
    return f"{recent} active days of the last {days}, {before} of the {days} before"


def active_day(in_force: Rules, state: MemberState, moment: Moment, back: int) -> None:
    """A day that lies so many back becomes an active one; the bitmap is marked after the decision."""
    warnings = in_force.warnings
    bits = state.active_bits | 1 << back
    if state.beside is None or not BLUE.held(state).code:
        known = state.blue_day
        if not back and 0 < known <= state.today + warnings.blue_days:
            return
        if not known and (bits & warnings.blue_span).bit_count() < warnings.blue_from:
            return
    _look(in_force, state, in_force.calendar.day(moment.clock), bits)


def comes(in_force: Rules, state: MemberState, day: int, bits: int) -> int:
    """The next day, from this one on, at whose end blue is entered or left if nobody acts; 0 = none."""
    held = bool(BLUE.held(state).code)
    days = range(day, day + 2 * in_force.warnings.blue_days + 1)
    return next((it for it in days if is_blue(in_force, *counts(in_force, state, it, bits)) != held), 0)


def _look(in_force: Rules, state: MemberState, day: int, bits: int) -> None:
    state.blue_day = comes(in_force, state, day, bits)
    if state.blue_day:
        waiting.sooner(state, in_force.calendar.day_start(state.blue_day + 1))


def look_again(in_force: Rules, state: MemberState, clock: int) -> None:
    """Another version may count otherwise; a day whose end waits to be judged is not passed over."""
    if state.blue_day or (state.active_bits & in_force.warnings.blue_span).bit_count() >= in_force.warnings.blue_from:
        day = in_force.calendar.day(clock)
        _look(in_force, state, min(day, state.blue_day or day), state.active_bits)


def next_due(in_force: Rules, state: MemberState) -> int:
    """The next day's end at which blue may change; 0 = at none."""
    return in_force.calendar.day_start(state.blue_day + 1) if state.blue_day else 0


def fall_due(due: Due) -> None:
    """A day ends."""
    in_force, state = due.in_force, due.state
    day = state.blue_day
    if not day or in_force.calendar.day_start(day + 1) > due.by:
        return
    if state.last_own <= state.closed_at:
        state.blue_day = 0
        return
    held = BLUE.held(state)
    recent, before = counts(in_force, state, day, state.active_bits)
    if is_blue(in_force, recent, before) != bool(held.code):
        judgement, first = of_time(due), len(due.facts)
        at = in_force.calendar.day_start(day + 1)
        if held.code:
            judgement.leave(BLUE, held, at, reason="days")
        else:
            judgement.enter(BLUE, BLUE.code, at, state.last_own, in_words(in_force, recent, before))
        judgement.tell_overall(first)
        tidy(state)
    _look(in_force, state, day + 1, state.active_bits)


def closed(judgement: Judgement, at: int) -> None:
    """The account was closed."""
    state = judgement.state
    state.blue_day = 0
    held = BLUE.held(state)
    if held.code:
        first = len(judgement.facts)
        if at >= held.at:
            judgement.leave(BLUE, held, at, CLOSED)
        else:
            judgement.void(BLUE, held, at)
        judgement.tell_overall(first)
        tidy(state)
