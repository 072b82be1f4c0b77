"""Warnings beside the ladders, as the list of what happens to them: activity, mood, path, value, own rhythm.

Most members have none of it: an action then looks at two numbers. What waits for a moment is one `waiting.Kind`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from processors import blue, cases, mood, reasons, rhythm, value_drop
from processors.judgement import CLOSED, of_action, of_time
from processors.ladders import ASIDE
from processors.waiting import Due
from schemas.actions import Action
from schemas.facts import Fact
from schemas.member import MemberState

if TYPE_CHECKING:
    from processors.member import Moment
    from processors.programme import Rules


def active_day(in_force: Rules, state: MemberState, moment: Moment, day: int) -> None:
    """The first own action of a day; call it before `state.last_own` is raised."""
    back = state.today - day
    blue.active_day(in_force, state, moment, back)
    if moment.at > state.last_own:
        rhythm.active_day(in_force, state, moment.at, back)


def closed(in_force: Rules, state: MemberState, action: Action, moment: Moment, facts: list[Fact]) -> None:
    """The account was closed: what stands on things before it ends. `state.closed_at` is raised already."""
    at, later = moment.at, state.last_own > moment.at
    cases.closed(state, at)
    judgement = of_action(in_force, state, action, moment, facts)
    if not later:
        blue.closed(judgement, at)
    for of in ASIDE.values():
        reasons.lift(judgement, of, lambda it: not later or it.since <= at, at, CLOSED)


def look_again(in_force: Rules, state: MemberState, clock: int) -> None:
    """The rules may be others: what stands in the state is found anew by them."""
    blue.look_again(in_force, state, clock)
    if state.beside is not None or state.spend:
        value_drop.look_again(in_force, state, clock)


def watched(state: MemberState) -> tuple[int, int]:
    """The day and the month whose ends are waited for; 0 = none."""
    return state.blue_day, state.beside.month if state.beside else 0


def next_due(in_force: Rules, state: MemberState) -> int:
    """When the next of these tiers comes or is left, if nothing happens; 0 = none."""
    moments = [blue.next_due(in_force, state), rhythm.next_due(in_force, state)]
    if state.beside is not None:
        moments += [reasons.next_end(state), mood.next_due(in_force, state), value_drop.next_due(in_force, state)]
    return min(filter(None, moments), default=0)


def fall_due(due: Due) -> None:
    """A reason is over, a day or a month ends, a complaint is open for too long, silence crosses a limit."""
    state = due.state
    if 0 < reasons.next_end(state) <= due.by:
        for of in ASIDE.values():
            reasons.lift(of_time(due), of, lambda it: 0 < it.until <= due.by, due.by, "over")
    blue.fall_due(due)
    if state.beside is not None:
        mood.fall_due(due)
        value_drop.fall_due(due)
    rhythm.fall_due(due)
