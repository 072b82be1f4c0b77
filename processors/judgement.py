"""What a change of a warning tier needs, whatever the dimension: the facts it makes, and the overall tier after it.

A dimension holds at most one tier; ladders climb from one to the next, the others hold one or none. Every fact tells
all the tiers held after it, and the overall one: the gravest, with the moment that it was entered itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from processors.activity import score_on
from processors.ladders import NAMES, NONE, AnyDimension, AnyLadder, Held, Step, all_held
from schemas.actions import Action
from schemas.facts import Fact, Tier, TierEntered, TierLeft, TierMoved, TierVoided
from schemas.member import MemberState

if TYPE_CHECKING:
    from processors.member import Moment
    from processors.programme import Rules
    from processors.waiting import Due

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
            self.leave(ladder, held, at, NEXT)
        self._climbed(ladder, step, at)
        self.tell_overall(first)

    def end(self, ladder: AnyLadder, at: int, reason: str, due: Step | None) -> None:
        """An action at `at` ends the tier held, or shows it was never true; `due` is what is due by now."""
        first, held = len(self.facts), ladder.held(self.state)
        if at >= held.at:
            self.leave(ladder, held, at, reason)
        elif due and due.code == held.code:
            self.move(ladder, held, at + due.after, at)
        else:
            self.void(ladder, held, at)
            if due:
                self._climbed(ladder, due, at + due.after)
        self.tell_overall(first)

    def anew(self, ladder: AnyLadder, anchor: int, due: Step | None) -> None:
        """Another action is counted from: the tier held never was, or is true from another moment, or is new."""
        first, held = len(self.facts), ladder.held(self.state)
        if held.code and due and due.code == held.code:
            if anchor + due.after != held.at:
                self.move(ladder, held, anchor + due.after, anchor)
        else:
            if held.code:
                self.void(ladder, held, anchor)
            if due:
                self._climbed(ladder, due, anchor + due.after)
        self.tell_overall(first)

    def _climbed(self, ladder: AnyLadder, step: Step, at: int) -> None:
        anchor, following = ladder.anchor(self.state), ladder.next[step.code]
        comes = (NAMES[following.code], anchor + following.after) if following else ("", 0)
        self.enter(ladder, step.code, at, anchor, step.reason, comes)

    def enter(
        self,
        of: AnyDimension,
        code: int,
        at: int,
        counted_from: int,
        reason: str,
        comes: tuple[str, int] = ("", 0),
        ends_at: int = 0,
    ) -> None:
        """A dimension without a tier has one since `at`; `comes` is the next one and when, if nothing happens."""
        rules, state = self.in_force, self.state
        region, place = home_region(state), self.index + len(self.facts)
        of.hold(state, Held(code, at, self.offset, place, region))
        score = score_on(rules.activity, state, rules.calendar.day(at))
        self.facts.append(
            TierEntered(
                member_id=self.member_id,
                effective_at=at,
                decided_at=self.clock,
                programme=rules.number,
                rules=rules.rules,
                dimension=of.dimension,
                tier=NAMES[code],
                region=region,
                silent_since=counted_from,
                reason=reason,
                next_tier=comes[0],
                next_at=comes[1],
                score=score,
                activity_index=rules.activity.index(score),
                ends_at=ends_at,
            )
        )

    def leave(self, of: AnyDimension, held: Held, at: int, reason: str) -> None:
        """The tier held is left at a moment."""
        of.hold(self.state, NONE)
        action = None if reason == NEXT else self.action
        self.facts.append(TierLeft(**self._of_held(of, held, at, action), reason=reason))

    def void(self, of: AnyDimension, held: Held, at: int) -> None:
        """What happened at a moment shows that the tier held was never true."""
        of.hold(self.state, NONE)
        amends = (held.offset, held.place)
        self.facts.append(TierVoided(**self._of_held(of, held, at, self.action), amends=amends))

    def move(self, of: AnyDimension, held: Held, at: int, anchor: int) -> None:
        """The entry stays the fact to amend, however often its moment is corrected."""
        of.hold(self.state, held._replace(at=at))
        amends = (held.offset, held.place)
        self.facts.append(TierMoved(**self._of_held(of, held, at, self.action), amends=amends, silent_since=anchor))

    def _of_held(self, of: AnyDimension, held: Held, at: int, action: Action | None) -> dict[str, Any]:
        """What every fact says of a tier that is held."""
        return {
            "member_id": self.member_id,
            "effective_at": at,
            "decided_at": self.clock,
            "programme": self.in_force.number,
            "rules": self.in_force.rules,
            "dimension": of.dimension,
            "tier": NAMES[held.code],
            "region": held.region,
            "entered_at": held.at,
            "source": action.source if action else "",
            "event_id": action.event_id if action else "",
        }

    def tell_overall(self, first: int) -> None:
        """Let the facts of one change, from the place `first` on, say what is held after it."""
        tier, since = overall(self.in_force, self.state)
        held = tuple((dimension, NAMES[it.code], it.at) for dimension, it in all_held(self.state))
        for fact in self.facts[first:]:
            if isinstance(fact, Tier):
                fact.overall, fact.overall_since, fact.held = tier, since, held


def of_action(in_force: Rules, state: MemberState, action: Action, moment: Moment, facts: list[Fact]) -> Judgement:
    """A judgement that an action brings about."""
    return Judgement(in_force, state, action.member_id, moment.clock, moment.offset, moment.index, facts, action)


def of_time(due: Due) -> Judgement:
    """A judgement that a moment brings about."""
    return Judgement(due.in_force, due.state, due.member_id, due.clock, due.offset, due.index, due.facts)


def overall(in_force: Rules, state: MemberState) -> tuple[str, int]:
    """The gravest tier held and the moment that one was entered; ("", 0) = none."""
    rank = in_force.ladders.rank
    code, at = (
        (state.presence, state.presence_at)
        if rank[state.presence] > rank[state.buying]
        else (state.buying, state.buying_at)
    )
    if state.beside is not None:
        for _, held in all_held(state):
            if rank[held.code] > rank[code]:
                code, at = held.code, held.at
    return NAMES[code], at


def home_region(state: MemberState) -> str:
    """Where rules and tiers count the member: the region of the latest profile, else of the first join."""
    return state.profile_region or state.join_region
