"""Churn warnings: who enters, leaves, or never was in a tier of the ladders.

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
from msgspec import Struct

from processors.activity import score_on
from processors.ladders import NAMES, NONE, AnyLadder, Held, Step
from processors.waiting import Due
from schemas.actions import Action
from schemas.facts import Fact, Tier, TierEntered, TierLeft, TierMoved, TierVoided
from schemas.member import MemberState

if TYPE_CHECKING:
    from processors.member import Moment
    from processors.programme import Rules

NEXT, CLOSED = "next", "closed"  # reasons of a tier left, beside those of the action that ends it


class Judgement(Struct, gc=False):
    """Who is judged, when, and where the facts go: what every change of a tier needs."""

    in_force: Rules
    state: MemberState
    member_id: str
    clock: int
    offset: int
    index: int
    facts: list[Fact]
    action: Action | None = None

    def climb(self, ladder: AnyLadder, step: Step) -> None:
        """The next tier of a ladder is due: it ends the one held, if any, at the same moment."""
        first, held = len(self.facts), ladder.held(self.state)
        at = max(ladder.anchor(self.state) + step.after, held.at)
        if held.code:
            self._leave(ladder, held, at, "next")
        self._enter(ladder, step, at)
        self._tell_overall(first)

    def end(self, ladder: AnyLadder, at: int, reason: str, due: Step | None) -> None:
        """An action at `at` ends the tier held, or shows it was never true; `due` is what is due by now."""
        first, held = len(self.facts), ladder.held(self.state)
        if at >= held.at:
            self._leave(ladder, held, at, reason)
        elif due and due.code == held.code:
            self._move(ladder, held, at + due.after, at)
        else:
            self._void(ladder, held, at)
            if due:
                self._enter(ladder, due, at + due.after)
        self._tell_overall(first)

    def anew(self, ladder: AnyLadder, anchor: int, due: Step | None) -> None:
        """Another action is counted from: the tier held never was, or is true from another moment, or is new."""
        first, held = len(self.facts), ladder.held(self.state)
        if held.code and due and due.code == held.code:
            if anchor + due.after != held.at:
                self._move(ladder, held, anchor + due.after, anchor)
        else:
            if held.code:
                self._void(ladder, held, anchor)
            if due:
                self._enter(ladder, due, anchor + due.after)
        self._tell_overall(first)

    def _enter(self, ladder: AnyLadder, step: Step, at: int) -> None:
        rules, state = self.in_force, self.state
        region, place = home_region(state), self.index + len(self.facts)
        ladder.hold(state, Held(step.code, at, self.offset, place, region))
        anchor, following = ladder.anchor(state), ladder.next[step.code]
        score = score_on(rules.activity, state, rules.calendar.day(at))
        self.facts.append(
            TierEntered(
                member_id=self.member_id,
                effective_at=at,
                decided_at=self.clock,
                programme=rules.number,
                rules=rules.rules,
                dimension=ladder.dimension,
                tier=NAMES[step.code],
                region=region,
                silent_since=anchor,
                reason=step.reason,
                next_tier=NAMES[following.code] if following else "",
                next_at=anchor + following.after if following else 0,
                score=score,
                activity_index=rules.activity.index(score),
            )
        )

    def _leave(self, ladder: AnyLadder, held: Held, at: int, reason: str) -> None:
        action = None if reason == NEXT else self.action
        ladder.hold(self.state, NONE)
        self.facts.append(
            TierLeft(
                member_id=self.member_id,
                effective_at=at,
                decided_at=self.clock,
                programme=self.in_force.number,
                rules=self.in_force.rules,
                dimension=ladder.dimension,
                tier=NAMES[held.code],
                region=held.region,
                entered_at=held.at,
                reason=reason,
                source=action.source if action else "",
                event_id=action.event_id if action else "",
            )
        )

    def _void(self, ladder: AnyLadder, held: Held, at: int) -> None:
        ladder.hold(self.state, NONE)
        self.facts.append(
            TierVoided(
                member_id=self.member_id,
                effective_at=at,
                decided_at=self.clock,
                programme=self.in_force.number,
                rules=self.in_force.rules,
                dimension=ladder.dimension,
                tier=NAMES[held.code],
                region=held.region,
                entered_at=held.at,
                amends=(held.offset, held.place),
                source=self.action.source if self.action else "",
                event_id=self.action.event_id if self.action else "",
            )
        )

    def _move(self, ladder: AnyLadder, held: Held, at: int, anchor: int) -> None:
        """The entry stays the fact to amend, however often its moment is corrected."""
        ladder.hold(self.state, held._replace(at=at))
        self.facts.append(
            TierMoved(
                member_id=self.member_id,
                effective_at=at,
                decided_at=self.clock,
                programme=self.in_force.number,
                rules=self.in_force.rules,
                dimension=ladder.dimension,
                tier=NAMES[held.code],
                region=held.region,
                entered_at=held.at,
                amends=(held.offset, held.place),
                silent_since=anchor,
                source=self.action.source if self.action else "",
                event_id=self.action.event_id if self.action else "",
            )
        )

    def _tell_overall(self, first: int) -> None:
        tier, since = overall(self.in_force, self.state)
        for fact in self.facts[first:]:
            if isinstance(fact, Tier):
                fact.overall, fact.overall_since = tier, since


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
    judgement = Judgement(in_force, state, action.member_id, moment.clock, moment.offset, moment.index, facts, action)
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
    judgement = Judgement(in_force, state, action.member_id, moment.clock, moment.offset, moment.index, facts, action)
    judgement.end(ladder, moment.at, ladder.ended, due)


def closed(in_force: Rules, state: MemberState, action: Action, moment: Moment, facts: list[Fact]) -> None:
    """The account was closed at `moment.at`: ends tiers of older actions (voids one entered later).

    Until an action newer than that nothing is due any more.
    """
    at = moment.at
    state.closed_at = max(state.closed_at, at)
    for ladder in (in_force.ladders.presence, in_force.ladders.buying):
        if ladder.held(state).code and ladder.anchor(state) <= at:
            judgement = Judgement(
                in_force, state, action.member_id, moment.clock, moment.offset, moment.index, facts, action
            )
            judgement.end(ladder, at, CLOSED, None)


def fall_due(due: Due) -> None:
    """Enter every tier due, in order of time; each one passed is left by the next."""
    in_force, state = due.in_force, due.state
    judgement = Judgement(in_force, state, due.member_id, due.clock, due.offset, due.index, due.facts)
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


def overall(in_force: Rules, state: MemberState) -> tuple[str, int]:
    """The gravest tier held and the moment that one was entered; ("", 0) = none."""
    rank = in_force.ladders.rank
    if rank[state.presence] > rank[state.buying]:
        return NAMES[state.presence], state.presence_at
    return NAMES[state.buying], state.buying_at


def home_region(state: MemberState) -> str:
    """Where rules and tiers count the member: the region of the latest profile, else of the first join."""
    return state.profile_region or state.join_region
