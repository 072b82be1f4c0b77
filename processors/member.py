"""The only entry of the rules: what an action means for a member, and what becomes true without any.

`decide` reads as the list of what happens. It changes the member in place and returns the facts; nothing here
reads a clock, a file or a random number, so the same record on the same state gives the same bytes anywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from processors import activity, churn, days, identity, orders, points
from processors.comeback import came_back
from processors.programme import Rules
from schemas.actions import (
    ACTIONS,
    Action,
    Complaint,
    Content,
    Custom,
    Join,
    Leave,
    Profile,
    Purchase,
    Subscribe,
    Support,
)
from schemas.facts import Conflict, Fact, Late, Ledger, OfAction, OrderConflict, Score
from schemas.member import MemberState
from schemas.verdicts import Verdict


class Member(Struct, gc=False):
    """A member as held in memory: the state, and the full pages of ids, joined, oldest first."""

    id: str
    state: MemberState
    pages: bytes = b""


class Moment(Struct, gc=False):
    """When and where an action is judged; `index` is that of this decision's first fact at the offset."""

    at: int  # `occurred_at` as judged, ms
    clock: int
    offset: int
    index: int


class Decision(Struct, gc=False):
    """What became of an action or a wake.

    `wake_at` is 0 or lies above the clock. `page` became full just now, its number is page_first +
    page_count - 1 of the state; `pages_gone` oldest pages were dropped, those before page_first. Where
    `changed` is false the state is as it was and need not be stored. An order reported again is a duplicate
    or conflict, and yet its id is remembered.
    """

    verdict: Verdict
    facts: list[Fact]
    wake_at: int
    page: bytes = b""
    pages_gone: int = 0
    changed: bool = True


def decide(rules: Rules, in_force: Rules, id_key: bytes, member: Member, action: Action, moment: Moment) -> Decision:
    """Judge an action by `rules`, the version of its moment; what is due by `in_force`, that of the clock.

    Never raises for an action that decodes.
    """
    state, at, clock = member.state, moment.at, moment.clock
    if at < clock - rules.horizon_ms:
        return _refused(Verdict.LATE, Late, rules, in_force, member, action, moment)
    identified = identity.identify(id_key, action)
    if seen := identity.look_up(state, member.pages, identified):
        if seen == identity.REPEAT:
            return _refused(Verdict.DUPLICATE, None, rules, in_force, member, action, moment)
        return _refused(Verdict.CONFLICT, Conflict, rules, in_force, member, action, moment)
    facts: list[Fact] = []
    page = identity.remember(state, identified, at if at > clock else clock)
    gone = _turn(rules, member, page, clock) if page else 0
    verdict = Verdict.APPLIED
    if type(action) is Purchase:
        verdict = _order(rules, in_force, id_key, state, action, moment, facts)
    else:
        _apply(rules, in_force, state, action, moment, facts)
    wake_at = _settle(in_force, member, clock, moment.offset, moment.index, facts)
    return Decision(verdict, facts, wake_at, page, gone)


def wake(in_force: Rules, member: Member, clock: int, offset: int, index: int) -> Decision:
    """Judge all that is due by the clock: points become active, tiers become true, old ids are dropped."""
    facts: list[Fact] = []
    ids = member.state.ids
    gone = _forget(in_force, member, clock)
    wake_at = _settle(in_force, member, clock, offset, index, facts)
    changed = bool(facts or gone) or ids is not member.state.ids
    return Decision(Verdict.APPLIED, facts, wake_at, b"", gone, changed)


def is_own(rules: Rules, action: Action) -> bool:
    """Whether the action ends the member's silence; for some kinds that depends on what it says."""
    if action.own:
        return True
    if isinstance(action, Content):
        return action.status == "clicked"
    if isinstance(action, Subscribe):
        return not action.auto_renewal
    if isinstance(action, Complaint | Support):
        return action.status == "opened"
    return isinstance(action, Custom) and rules.custom_own.get(action.name, False)


def _apply(
    rules: Rules, in_force: Rules, state: MemberState, action: Action, moment: Moment, facts: list[Fact]
) -> None:
    """An accepted action: its day, its weight, its points, then what it says of silence and of the member."""
    kind = type(action)
    day = rules.calendar.day(moment.at)
    if day > state.today:
        days.roll(rules.activity, state, day)
    weight = rules.activity.of(action)
    if weight:
        activity.add(rules.activity, state, day, weight)
    earn = points.EARNING.get(kind)
    if earn is not None:
        earn(rules, state, action, moment, day, facts)
    elif weight:
        facts.append(_score(rules, state, action, moment))
    if action.own or is_own(rules, action):
        if not 0 <= moment.at - state.last_own < rules.comeback_ms:
            came_back(rules, state, action, moment, facts)
        churn.silence_ended(in_force, state, action, moment, facts)
    noted = NOTED.get(kind)
    if noted is not None:
        noted(in_force, state, action, moment, facts)


def _score(rules: Rules, state: MemberState, action: Action, moment: Moment) -> Score:
    """The score after an action that weighs and earns nothing."""
    fact = rules.new_score()
    fact.member_id = action.member_id
    fact.effective_at = moment.at
    fact.decided_at = moment.clock
    fact.source = action.source
    fact.event_id = action.event_id
    fact.action = NAMES[type(action)]
    fact.region = action.region
    fact.group_id = action.group_id
    fact.score = score = activity.score(state)
    fact.activity_index = rules.activity.index(score)
    return fact


def _order(
    rules: Rules,
    in_force: Rules,
    id_key: bytes,
    state: MemberState,
    action: Purchase,
    moment: Moment,
    facts: list[Fact],
) -> Verdict:
    """A purchase, known by its `order_id` too: reported again it is a fact and nothing more."""
    key = orders.order_key(id_key, action.order_id)
    again = orders.repeated(rules, state, key, action, moment)
    if again is not None:
        facts.append(_about(again, rules, action))
        return Verdict.CONFLICT if isinstance(again, OrderConflict) else Verdict.DUPLICATE
    _apply(rules, in_force, state, action, moment, facts)
    entry = facts[0]
    assert isinstance(entry, Ledger)
    orders.remember(rules, state, key, moment, action.amount, entry.spend, entry.points)
    return Verdict.APPLIED


def _refused(
    verdict: Verdict,
    kind: type[Late] | type[Conflict] | None,
    rules: Rules,
    in_force: Rules,
    member: Member,
    action: Action,
    moment: Moment,
) -> Decision:
    """An action without effect, and the fact that says so; what is due by now is due all the same."""
    facts: list[Fact] = []
    if kind is not None:
        fact = kind(member_id=action.member_id, effective_at=moment.at, decided_at=moment.clock)
        facts.append(_about(fact, rules, action))
    told = len(facts)
    wake_at = _settle(in_force, member, moment.clock, moment.offset, moment.index, facts)
    return Decision(verdict, facts, wake_at, changed=len(facts) > told)


def _about(fact: OfAction, rules: Rules, action: Action) -> OfAction:
    """Fill in the action a fact is about."""
    fact.programme, fact.rules = rules.number, rules.rules
    fact.source, fact.event_id, fact.action = action.source, action.event_id, NAMES[type(action)]
    fact.region, fact.group_id = action.region, action.group_id
    return fact


def _turn(rules: Rules, member: Member, page: bytes, clock: int) -> int:
    """Put away a page of ids that became full; that is when old ones are looked for."""
    gone = _forget(rules, member, clock)
    member.pages += page
    return gone


def _forget(rules: Rules, member: Member, clock: int) -> int:
    """Drop the pages of ids that no action inside the horizon can name; how many full ones that were."""
    gone = identity.forget(member.state, member.pages, clock - rules.horizon_ms)
    if gone:
        member.pages = member.pages[gone * identity.PAGE_SIZE :]
    return gone


def _settle(in_force: Rules, member: Member, clock: int, offset: int, index: int, facts: list[Fact]) -> int:
    """Judge what is due by the clock and return when the next thing is due; 0 = nothing to come."""
    state = member.state
    if state.pendings and points.next_due(state) <= clock:
        points.activate_due(in_force, state, member.id, clock, facts)
    tier = churn.next_wake(in_force, state)
    if 0 < tier <= clock:
        churn.due(in_force, state, member.id, clock, offset, index, facts)
        tier = churn.next_wake(in_force, state)
    if not state.pendings:
        return tier
    pending = points.next_due(state)
    return pending if not 0 < tier < pending else tier


Noted = Callable[[Rules, MemberState, Any, Moment, list[Fact]], None]


def _profile(in_force: Rules, state: MemberState, action: Profile, moment: Moment, facts: list[Fact]) -> None:
    """The home region of the latest profile that names one; of two at one moment the greater name."""
    if action.home_region and (moment.at, action.home_region) > (state.profile_at, state.profile_region):
        state.profile_at, state.profile_region = moment.at, action.home_region


def _join(in_force: Rules, state: MemberState, action: Join, moment: Moment, facts: list[Fact]) -> None:
    """The region of the first join; of two at one moment the greater name."""
    at, first = moment.at, state.join_at
    if not first or at < first or (at == first and action.region > state.join_region):
        state.join_at, state.join_region = at, action.region


def _leave(in_force: Rules, state: MemberState, action: Leave, moment: Moment, facts: list[Fact]) -> None:
    """Without a group the account is closed."""
    if not action.group_id:
        churn.closed(in_force, state, action, moment, facts)


NAMES = {kind: name for name, kind in ACTIONS.items()}
NOTED: dict[type[Action], Noted] = {
    Purchase: churn.bought,
    Profile: _profile,
    Join: _join,
    Leave: _leave,
}
"""What an accepted action of a kind says of the member beside its points."""
