"""Churn warnings: who enters, leaves, or never was in a tier of the two ladders.

A tier is entered by a timer at the exact moment its time has passed, and left at the moment of the action
that ends it. Whoever decides calls, in this order and only what applies:

    comeback: reads state.last_own before
    silence_ended(in_force, state, action, moment, facts): an own action; raises last_own, corrects presence
    bought(in_force, state, action, moment, facts): an accepted order; the same for last_purchase and buying
    closed(in_force, state, action, moment, facts): `leave` without group; raises closed_at, ends both
    fall_due(due): what next_wake() says is due
    next_wake(in_force, state): the ladders' part of wake_at; 0 = nothing to come

`in_force` is the Rules in force at the clock. A fact's index is `index` (moment.index) + its place there.
While an account is closed nothing is due: a ladder runs only if its last action is newer than `closed_at`.
`next_at` is told as if nothing else happened, `score` and `activity_index` are those at `effective_at`. Two
facts of one change (left for the next tier and entered, voided and entered) tell the `overall` after both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from processors.judgement import CLOSED, of_action, of_time
from processors.ladders import AnyLadder, Step
from processors.waiting import Due
from schemas.actions import Action
from schemas.facts import Fact, TierEntered
from schemas.member import MemberState

if TYPE_CHECKING:
    from processors.member import Moment
    from processors.programme import Rules


def silence_ended(in_force: Rules, state: MemberState, action: Action, moment: Moment, facts: list[Fact]) -> None:
    """An own action at `moment.at`: raises `last_own`; one that ends silence leaves, moves or voids the presence tier.

    The programme may name the own actions that end silence. One not newer than the latest known changes nothing.
    """
    at, kinds = moment.at, in_force.presence_kinds
    if at > state.last_own:
        state.last_own = at
    if at > state.last_present and (kinds is None or type(action) in kinds):
        state.last_present = at
        if state.presence:
            _answer(in_force, in_force.ladders.presence, state, action, moment, facts)


def bought(in_force: Rules, state: MemberState, action: Action, moment: Moment, facts: list[Fact]) -> None:
    """An accepted order at `moment.at`: the same for `last_purchase` and the buying tier."""
    at = moment.at
    if at > state.last_purchase:
        state.last_purchase = at
        if state.buying:
            _answer(in_force, in_force.ladders.buying, state, action, moment, facts)


def unbought(in_force: Rules, state: MemberState, action: Action, last: int, moment: Moment, facts: list[Fact]) -> None:
    """The latest purchase was fully refunded: `last` is the one before it, 0 = none; the tier is judged from there."""
    state.last_purchase = last
    ladder = in_force.ladders.buying
    due = ladder.reached(moment.clock - last) if last > state.closed_at else None
    judgement = of_action(in_force, state, action, moment, facts)
    judgement.anew(ladder, last, due)


def brought(
    in_force: Rules, state: MemberState, action: Action, acted: int, last: int, moment: Moment, facts: list[Fact]
) -> None:
    """A member brings its last own action and its last purchase along (ms, 0 = none): the later ones count.

    What is due by the clock is entered at once, marked `brought`.
    """
    first = len(facts)
    if acted > state.last_own:
        state.last_own = acted
    if acted > state.last_present:
        state.last_present = acted
        if state.presence:
            then = msgspec.structs.replace(moment, at=acted)
            _answer(in_force, in_force.ladders.presence, state, action, then, facts)
    if last > state.last_purchase:
        state.last_purchase = last
        if state.buying:
            then = msgspec.structs.replace(moment, at=last)
            _answer(in_force, in_force.ladders.buying, state, action, then, facts)
    by, offset, index = moment.clock, moment.offset, moment.index
    fall_due(Due(in_force, state, action.member_id, by, by, offset, index, facts))
    for fact in facts[first:]:
        if type(fact) is TierEntered:
            fact.brought = True


def _answer(
    in_force: Rules,
    ladder: AnyLadder,
    state: MemberState,
    action: Action,
    moment: Moment,
    facts: list[Fact],
) -> None:
    """A newer action met a tier: judge it anew from there."""
    due = ladder.reached(moment.clock - moment.at) if moment.at > state.closed_at else None
    judgement = of_action(in_force, state, action, moment, facts)
    judgement.end(ladder, moment.at, ladder.ended, due)


def closed(in_force: Rules, state: MemberState, action: Action, moment: Moment, facts: list[Fact]) -> None:
    """The account was closed at `moment.at`: ends tiers of older actions (voids one entered later).

    Until an action newer than that nothing is due any more.
    """
    at = moment.at
    state.closed_at = max(state.closed_at, at)
    for ladder in (in_force.ladders.presence, in_force.ladders.buying):
        if ladder.held(state).code and ladder.anchor(state) <= at:
            judgement = of_action(in_force, state, action, moment, facts)
            judgement.end(ladder, at, CLOSED, None)


def fall_due(due: Due) -> None:
    """Enter every tier due, in order of time; each one passed is left by the next."""
    in_force, state = due.in_force, due.state
    judgement = of_time(due)
    while 0 < next_wake(in_force, state) <= due.by:
        ladder, step = min(_coming(in_force, state), key=lambda pair: pair[0].anchor(state) + pair[1].after)
        judgement.climb(ladder, step)


def _coming(in_force: Rules, state: MemberState) -> list[tuple[AnyLadder, Step]]:
    """The next step of each ladder that runs."""
    ladders: tuple[AnyLadder, ...] = (in_force.ladders.presence, in_force.ladders.buying)
    running = [ladder for ladder in ladders if ladder.anchor(state) > state.closed_at]
    steps = [(ladder, ladder.next[ladder.held(state).code]) for ladder in running]
    return [(ladder, step) for ladder, step in steps if step]


def next_wake(in_force: Rules, state: MemberState) -> int:
    """When the next tier of either ladder comes if nothing happens; 0 = never."""
    ladders = in_force.ladders
    wake = 0
    if state.last_present > state.closed_at:
        after = ladders.presence.after[state.presence]
        if after:
            wake = state.last_present + after
    if state.last_purchase > state.closed_at:
        after = ladders.buying.after[state.buying]
        if after and not 0 < wake <= state.last_purchase + after:
            wake = state.last_purchase + after
    return wake
