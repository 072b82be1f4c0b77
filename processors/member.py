"""The only entry of the rules: what an action means for a member, and what becomes true without any.

`decide` reads as the list of what happens. It changes the member in place and returns the facts; nothing here
reads a clock, a file or a random number, so the same record on the same state gives the same bytes anywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from processors import (
    activity,
    adjust,
    badges,
    beside,
    churn,
    days,
    echoes,
    factors,
    first_order,
    holds,
    identity,
    levels,
    lots,
    opening,
    orders,
    overlays,
    path,
    points,
    redeem,
    referral,
    refund,
    rhythm,
    rungs,
    tasks,
    value_drop,
    waiting,
    windows,
)
from processors.comeback import came_back
from processors.decision import APPLIED as APPLIED
from processors.decision import NAMES as NAMES
from processors.decision import Decision as Decision
from processors.decision import Member as Member
from processors.decision import Moment as Moment
from processors.decision import about
from processors.level_judge import Look, judge
from processors.orders import Order
from processors.programme import Rules
from processors.waiting import LOOK, Due
from processors.ways import Way, way_of
from schemas.actions import (
    Action,
    Adjust,
    Complaint,
    Content,
    Custom,
    Message,
    Opening,
    Purchase,
    Redeem,
    RedeemCancel,
    Refund,
    Subscribe,
    Support,
)
from schemas.facts import Conflict, Fact, Late, Ledger, OrderConflict, Score
from schemas.member import MemberState
from schemas.records import AnyDerived, Award, Echo, Referral
from schemas.verdicts import Verdict


def decide(rules: Rules, in_force: Rules, id_key: bytes, member: Member, action: Action, moment: Moment) -> Decision:
    """Judge an action by `rules`, the version of its moment; what is due by `in_force`, that of the clock.

    Never raises for an action that decodes.
    """
    state, at, clock = member.state, moment.at, moment.clock
    if rules.variants is not None or in_force.variants is not None:
        rules, in_force = overlays.own(rules, member.id, state, at), overlays.own(in_force, member.id, state, clock)
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
    kind, day, verdict = type(action), rules.calendar.day(at), APPLIED
    way, known_by_more = rules.ways.get(kind) or way_of(rules, kind), KNOWN_BY_MORE.get(kind)
    own = is_own(rules, action) if way.own is None else way.own
    if known_by_more is None:
        _apply(rules, in_force, way, state, action, moment, day, facts, own=own)
    else:
        verdict = known_by_more(rules, in_force, id_key, state, action, moment, day, facts)
        if state.referrer:
            referral.tell(in_force, state, action, moment)
    if state.holds or state.day_points > rules.limits.day_over:
        holds.review(rules, state, action.member_id, moment, facts, action)
    if in_force.variants is not None:
        in_force = _still_own(in_force, member, clock)
    wake_at = _settle(in_force, member, clock, moment.offset, moment.index, facts)
    return Decision(verdict, facts, wake_at, page, gone, day=day, own=own, derived=moment.told or ())


def hear(in_force: Rules, member: Member, body: AnyDerived, moment: Moment) -> Decision:
    """A derived record of a kind in `HEARD`: what another partition, a board or the dispatcher says of the member."""
    facts: list[Fact] = []
    in_force = overlays.own(in_force, member.id, member.state, moment.clock)
    HEARD[type(body)](in_force, member.state, body, moment, facts)
    if isinstance(body, Referral):
        _lifted(in_force, member, moment, facts)
    if member.state.holds:
        holds.review(in_force, member.state, member.id, moment, facts)
    wake_at = _settle(in_force, member, moment.clock, moment.offset, moment.index, facts)
    return Decision(APPLIED, facts, wake_at)


def unheard(in_force: Rules, body: AnyDerived, moment: Moment) -> Decision:
    """A derived record to somebody never seen: nothing is remembered, and an invitation says why it gives nothing."""
    facts: list[Fact] = []
    if isinstance(body, Referral):
        referral.unknown(in_force, body, moment, facts)
    return Decision(APPLIED, facts, 0, changed=False)


def _lifted(in_force: Rules, member: Member, moment: Moment, facts: list[Fact]) -> None:
    """So many completed referrals lift the level by a step; undone, the step goes."""
    state, done = member.state, referral.completed_at(member.state)
    if state.level_steps or len(done) >= in_force.levels.referrals:
        look = Look(
            in_force, state, member.id, moment.at, moment.clock, moment.clock, moment.offset, moment.index, facts
        )
        levels.completed(look, done)


def wake(in_force: Rules, member: Member, clock: int, offset: int, index: int) -> Decision:
    """Judge all that is due by the clock: points become active, tiers become true, old ids are dropped."""
    facts: list[Fact] = []
    state = member.state
    in_force = overlays.own(in_force, member.id, state, clock)
    ids, later, until, watched = state.ids, state.later, state.tasks_until, beside.watched(state)
    state.later = LOOK  # a wake may show the member a new programme
    state.tasks_until = max(until, windows.until(in_force, state))
    beside.look_again(in_force, state, clock)
    gone = _forget(in_force, member, clock)
    wake_at = _settle(in_force, member, clock, offset, index, facts)
    changed = bool(facts or gone) or ids is not state.ids or watched != beside.watched(state)
    changed = changed or (later, until) != (state.later, state.tasks_until)
    return Decision(APPLIED, facts, wake_at, b"", gone, changed)


def _still_own(in_force: Rules, member: Member, clock: int) -> Rules:
    """The member's rules after an action that may have moved its home: what waits is looked at by the new ones."""
    state = member.state
    now = overlays.own(in_force, member.id, state, clock)
    if now is not in_force:
        state.later = LOOK
        state.tasks_until = max(state.tasks_until, windows.until(now, state))
        beside.look_again(now, state, clock)
    return now


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
    rules: Rules,
    in_force: Rules,
    way: Way,
    state: MemberState,
    action: Action,
    moment: Moment,
    day: int,
    facts: list[Fact],
    earns: points.Earning | None = None,
    *,
    own: bool,
) -> int:
    """An accepted action: its day, its weight, its points, then what it says of silence and of the member.

    Returns where the action's own entry stands in `facts`, if it has one.
    """
    kind = type(action)
    if day > state.today:
        badges.new_day(rules, state, day)
        holds.new_day(rules, state, day)
        levels.new_day(in_force, state, action, moment, day, facts)
        days.roll(rules.activity, state, day)
    weight = way.weight
    if weight is None:
        weight = rules.activity.of(action)
    if weight:
        activity.add(rules.activity, state, day, weight)
    ahead = len(facts)  # what a newer day brought about stands before the action's own entry
    earn = earns or way.earn
    if kind is Custom and rules.custom_earns.get(action.name):  # type: ignore[attr-defined]  # a custom action
        earn = points.earn_custom
    if earn is not None:
        earn(rules, state, action, moment, day, facts)
        fact = facts[ahead]
        if type(fact) is Ledger:  # the action's own entry, and no answer to a request
            fact.weight = weight
            fact.home = state.profile_region or state.join_region
    elif weight:
        facts.append(_score(rules, state, action, moment, weight))
    if way.leveled:
        own_entry = facts[ahead] if len(facts) > ahead else None
        levels.counted(in_force, state, action, moment, day, weight, own_entry, facts)
    if own:
        if not state.active_bits >> state.today - day & 1:
            beside.active_day(in_force, state, moment, day)
        newer = moment.at > state.last_own
        if not 0 <= moment.at - state.last_own < rules.comeback_ms:
            came_back(rules, state, action, moment, facts)
        churn.silence_ended(in_force, state, action, moment, facts)
        if newer and state.beside is not None:
            rhythm.acted(in_force, state, action, moment, facts)
    if way.noted is not None:
        way.noted(in_force, state, action, moment, facts)
    told = len(facts)
    for counted in way.counted:
        counted(rules, state, action, moment, facts)
    if moment.at < state.tasks_until:
        earliest, done = state.first_at, state.tasks_done
        tasks.note(rules, state, action, moment, facts)
        if earliest != state.first_at or done is not state.tasks_done:
            levels.look_again(state)
    if kind is Message:
        holds.message(rules, state, action, moment, day, facts)  # type: ignore[arg-type]  # a message
    if action.device_id:
        holds.seen_on(state, rules, action.device_id)
    if len(facts) > told or not state.growth_next:
        levels.given(in_force, state, action, moment, told, facts)
    return ahead


def _score(rules: Rules, state: MemberState, action: Action, moment: Moment, weight: int) -> Score:
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
    fact.weight = weight
    return fact


def _order(
    rules: Rules,
    in_force: Rules,
    id_key: bytes,
    state: MemberState,
    action: Purchase,
    moment: Moment,
    day: int,
    facts: list[Fact],
) -> Verdict:
    """A purchase, known by its `order_id` too: reported again it is a fact and nothing more."""
    key = orders.order_key(id_key, action.order_id)
    again = orders.repeated(rules, state, key, action, moment)
    if again is not None:
        facts.append(about(again, rules, action))
        return Verdict.CONFLICT if isinstance(again, OrderConflict) else Verdict.DUPLICATE
    levels.before_order(in_force, state, action, moment, facts)
    first = first_order.takes(state, action, moment.at)
    earns = points.first_purchase if first else None
    place = _apply(rules, in_force, way_of(rules, Purchase), state, action, moment, day, facts, earns, own=action.own)
    entry = facts[place]
    assert isinstance(entry, Ledger), "a purchase has an entry"
    others = factors.others(rules, state, moment.at, day) if first else entry.factor
    order = Order(
        key=key,
        at=moment.at,
        amount=action.amount,
        counted=entry.spend,
        points=entry.points,
        per_unit=rules.per_unit,
        factor=entry.factor,
        flags=others << orders.OTHERS_BIT | (orders.COUPON if action.coupon_id else 0),
        offset=moment.offset,
        idx=moment.index + place,
    )
    if order.counted < order.amount:
        orders.note_excluded(rules, state, key, action.lines)
    orders.remember(rules, state, order, moment.clock)
    told = len(facts)
    first_order.ordered(rules, state, order, action, moment, facts, first=first)
    if state.refunds:
        refund.purchased(rules, in_force, state, order, action, moment, facts)
    if state.redemptions and not action.amount and redeem.undid(state, action.order_id):
        refund.unpaid(rules, in_force, state, key, action, moment, facts)
    levels.given(in_force, state, action, moment, told, facts)
    levels.bought(in_force, state, action, moment, entry.spend, facts)
    if state.beside is not None:
        path.bought(in_force, state, action, moment, facts)
    value_drop.ordered(in_force, state, order, action, moment, facts)
    return APPLIED


def _redeem(
    rules: Rules,
    in_force: Rules,
    id_key: bytes,
    state: MemberState,
    action: Redeem,
    moment: Moment,
    day: int,
    facts: list[Fact],
) -> Verdict:
    """A request, known by its `redeem_id` too: asked again it gets the first one's answer."""
    again = redeem.repeated(rules, state, action, moment)
    if again is not None:
        facts.append(again)
        return Verdict.DUPLICATE
    _apply(rules, in_force, way_of(rules, Redeem), state, action, moment, day, facts, own=action.own)
    told = len(facts)
    if action.order_id:
        order = orders.find(rules, state, orders.order_key(id_key, action.order_id), moment.clock)
        if order is not None:
            redeem.give_back(rules, in_force, state, order, action.order_id, moment, facts, action)
            if redeem.undid(state, action.order_id):  # it was cancelled before it came
                refund.unpaid(rules, in_force, state, order.key, action, moment, facts)
    levels.given(in_force, state, action, moment, told, facts)
    if action.reward == rules.level_step:
        judge(levels.looked(in_force, state, action, moment, facts))
    return APPLIED


def _redeem_cancel(
    rules: Rules,
    in_force: Rules,
    id_key: bytes,
    state: MemberState,
    action: RedeemCancel,
    moment: Moment,
    day: int,
    facts: list[Fact],
) -> Verdict:
    """A redemption taken back; an order that it paid wholly is gone with it."""
    _apply(rules, in_force, way_of(rules, RedeemCancel), state, action, moment, day, facts, own=action.own)
    told = len(facts)
    order_id = redeem.cancel(in_force, state, action, moment, facts)
    if order_id and redeem.undid(state, order_id):
        refund.unpaid(rules, in_force, state, orders.order_key(id_key, order_id), action, moment, facts)
    levels.given(in_force, state, action, moment, told, facts)
    if state.level_bonus:
        judge(levels.looked(in_force, state, action, moment, facts))
    return APPLIED


def _refund(
    rules: Rules,
    in_force: Rules,
    id_key: bytes,
    state: MemberState,
    action: Refund,
    moment: Moment,
    day: int,
    facts: list[Fact],
) -> Verdict:
    """Money given back for an order, which may be yet to come."""
    refund.refund(rules, in_force, id_key, state, action, moment, facts)
    levels.given(in_force, state, action, moment, 0, facts)
    return APPLIED


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
        facts.append(about(fact, rules, action))
    told = len(facts)
    if verdict is Verdict.LATE and type(action) is Redeem:
        redeem.refuse_late(rules, member.state, action, moment, facts)
    wake_at = _settle(in_force, member, moment.clock, moment.offset, moment.index, facts)
    return Decision(verdict, facts, wake_at, changed=len(facts) > told)


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
    """Judge what is due by the clock, in the order of its moments; when the next thing is due, 0 = nothing to come."""
    state = member.state
    while True:
        pending = points.next_due(state) if state.pendings else 0
        if state.later < 0:
            state.later = waiting.next_of(LATER, in_force, state)
        later, tier = state.later, churn.next_wake(in_force, state)
        at = pending
        if later and not 0 < at <= later:
            at = later
        if tier and not 0 < at <= tier:
            at = tier
        if not 0 < at <= clock:
            if state.referrals:
                referral.released(in_force, state, member.id, clock, facts)
            return at
        due = Due(in_force, state, member.id, at, clock, offset, index, facts)
        if at == pending:
            known = len(facts)
            points.activate_due(due)
            if state.referrals:
                referral.activated(due, known)
        elif at == later:
            state.later = LOOK
            for kind in LATER:
                if 0 < kind.next_due(in_force, state) <= at:
                    kind.fall_due(due)
        else:
            churn.fall_due(due)


LATER: tuple[waiting.Kind, ...] = (
    waiting.Kind(lots.next_due, lots.fall_due),
    waiting.Kind(redeem.next_due, redeem.fall_due),
    waiting.Kind(refund.next_due, refund.fall_due),
    waiting.Kind(tasks.next_due, tasks.fall_due),
    waiting.Kind(rungs.next_due, rungs.fall_due),
    waiting.Kind(badges.next_due, badges.fall_due),
    waiting.Kind(holds.next_due, holds.fall_due),
    waiting.Kind(levels.next_due, levels.fall_due),
    waiting.Kind(beside.next_due, beside.fall_due),
)
"""What waits beside points and tiers, in the order in which things of one moment fall due."""


refund.FOLLOWS += [first_order.refunded, tasks.refunded, rungs.refunded, levels.refunded, value_drop.refunded]


HEARD: dict[type[AnyDerived], Callable[[Rules, MemberState, Any, Moment, list[Fact]], None]] = {
    Award: badges.won,
    Referral: referral.heard,
    Echo: echoes.heard,
}
"""What a derived record changes of the member it is sent to; those of other kinds change nothing."""
KNOWN_BY_MORE: dict[type[Action], Callable[..., Verdict]] = {
    Purchase: _order,
    Refund: _refund,
    Redeem: _redeem,
    RedeemCancel: _redeem_cancel,
    Adjust: adjust.decided,
    Opening: opening.brought,
}
"""Actions that name an order, a redemption or a batch: what comes again is told so, and nothing is done twice."""
