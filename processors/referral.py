"""Referral: who invites somebody is paid when that one joins, and when its first order is paid.

The first join that is processed names the referrer for ever. From then on the invited member's partition tells the
referrer's by derived records: accepted, then completed, moved or undone as its orders come and go. It compares what
was told with the first order after every order, refund and cancel. One that is gone for good has no next first order;
a later order completes the invitation again all the same.

The referrer's partition pays: pending points, some days after the join and together with those of the order. Points
of a completion that is undone are taken back by the policy of refunds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from processors import activity, held, holds, ledger, membership, orders
from processors.orders import Order
from processors.points import queue
from processors.waiting import Due
from schemas.actions import Action, Join
from schemas.facts import Fact, Ledger, PointsReleased, ReferralRefused
from schemas.member import KNOWN, PENDING, REFERRED, MemberState
from schemas.records import UNSTAMPED, Cause, Referral

if TYPE_CHECKING:
    from processors.member import Moment
    from processors.programme import Rules

Place = tuple[int, int]  # offset and index of a fact


class Invitation(Struct, array_like=True, gc=False):
    """Somebody invited. `capped`: beyond the year's joins, so it is never paid.

    `place` is the entry of the joining, `active` says that its points became active. `completed_at` is 0 while no
    order completes it; `entry` is that of the completion, `points` and `month` what it gives.
    """

    invited: bytes
    place: Place
    capped: bool = False
    active: bool = False
    completed_at: int = 0
    entry: Place = (-1, -1)
    points: int = 0
    month: int = 0


class Invitations(Struct, array_like=True, gc=False):
    """Those a member invited, oldest first: how many were paid in `year`, of how many ever the points became active."""

    year: int = 0
    paid: int = 0
    active: int = 0
    rows: list[Invitation] = []


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Invitations).decode


# -- the invited member ------------------------------------------------------------------------------------------------


def joined(in_force: Rules, state: MemberState, action: Join, moment: Moment, facts: list[Fact]) -> None:
    """The first join: whom it names is the referrer, if it names one and that is somebody else."""
    referrer = action.referrer_id
    if not referrer:
        return
    if referrer == action.member_id:
        fact = _refusal(in_force, referrer, action.member_id, moment, "own_id", "0: a member named itself")
        fact.source, fact.event_id, fact.action = action.source, action.event_id, "join"
        fact.region, fact.group_id = action.region, action.group_id
        facts.append(fact)
        return
    state.referrer = referrer
    moment.tell(_record(state, action, "accepted", moment.at + in_force.referral_pending_ms, refunded=False))
    tell(in_force, state, action, moment)


def tell(in_force: Rules, state: MemberState, action: Action, moment: Moment) -> None:
    """Tell the referrer what became of the first order, where that is not what it was told last."""
    told = REFERRED.unpack(state.referred_by)[0] if state.referred_by else b""
    listed = {order.key: order for order in orders.known(state)}
    standing = {key: order for key, order in listed.items() if not orders.is_gone(state, order)}
    refunded = told in listed and told not in standing
    first = standing.get(state.first_order_key)
    active_at = _active_at(in_force, state, first) if first else 0
    kind: Literal["completed", "moved", "undone"]
    if not told:
        if not standing or state.older_purchase:  # who has bought before the list began is completed by none
            return
        first = first or _earliest(standing)
        kind, active_at = "completed", _active_at(in_force, state, first)
    elif first is not None and first.key != told:
        kind = "moved"
    elif not standing and not state.older_purchase:
        kind = "undone"
    elif refunded and standing:  # no other may be first any more: nothing is paid or taken back, but suspicion counts
        kind, first = "moved", _earliest(standing)
    else:
        return
    state.referred_by = REFERRED.pack(first.key) if first else b""
    moment.tell(_record(state, action, kind, active_at, refunded=refunded))


def _earliest(standing: dict[bytes, Order]) -> Order:
    return min(standing.values(), key=lambda it: (it.at, it.key))


def _record(
    state: MemberState,
    action: Action,
    kind: Literal["accepted", "completed", "moved", "undone"],
    active_at: int,
    *,
    refunded: bool,
) -> Referral:
    """What the referrer is told, with all that suspicion compares: what is known now may not have been at the join."""
    return Referral(
        UNSTAMPED,
        state.referrer,
        kind,
        action.member_id,
        active_at,
        state.phone_hash or None,
        action.device_id,
        refunded,
        tuple(known for (known,) in KNOWN.iter_unpack(state.known)),
    )


def _active_at(in_force: Rules, state: MemberState, order: Order) -> int:
    """When an order's own points become active, or became."""
    rows: Iterator[tuple[int, int, int, int, int]] = PENDING.iter_unpack(state.pendings)
    mine = (due for due, _, _, *place in rows if place == [order.offset, order.idx])
    return next(mine, order.at + in_force.pending_ms)


# -- the referrer ------------------------------------------------------------------------------------------------------


def heard(in_force: Rules, state: MemberState, body: Referral, moment: Moment, facts: list[Fact]) -> None:
    """What became of somebody invited."""
    holds.referred(in_force, state, body, moment, facts)
    all_of = _read(state)
    key = _key(body.invited_member_id)
    row = next((row for row in all_of.rows if row.invited == key), None)
    if body.kind == "accepted":
        if row is None:
            _accepted(in_force, state, all_of, body, moment, facts)
    elif row is None:
        why = f"0: {body.invited_member_id} joined without being accepted"
        facts.append(_refused(in_force, body, moment, "not_accepted", why))
    elif row.capped:
        if body.kind == "completed":
            facts.append(_entry(in_force, state, body, moment, 0, "0: its joining was beyond the year's cap", "cap"))
    elif body.kind == "completed" and not row.completed_at:
        _completed(in_force, state, row, body, moment, facts, in_force.referral.completed)
    elif body.kind == "moved" and row.completed_at:
        _moved(in_force, state, row, body, moment, facts)
    elif body.kind == "undone" and row.completed_at:
        _undone(in_force, state, row, body, moment, facts)
    state.referrals = _encode(all_of)


def unknown(in_force: Rules, body: Referral, moment: Moment, facts: list[Fact]) -> None:
    """A referrer whom nobody ever saw here: nothing is paid, and nothing is remembered."""
    if body.kind == "accepted":
        why = f"0: nobody knows the referrer of {body.invited_member_id}"
        facts.append(_refused(in_force, body, moment, "unknown", why))


def activated(due: Due, known: int) -> None:
    """Points became active, those told from the fact `known` on: those of invitations say so and are counted."""
    state, all_of = due.state, _read(due.state)
    for fact in due.facts[known:]:
        if not isinstance(fact, Ledger) or fact.amends is None:
            continue
        for row in all_of.rows:
            if fact.amends in (row.place, row.entry):
                fact.rule = "referral"
                what = "the days after the join have" if fact.amends == row.place else "the order's return window has"
                fact.because = fact.because.replace("the return window has", what)
                if fact.amends == row.place:
                    _count(due.in_force, state, all_of, row, due.member_id, fact.effective_at, due.clock, due.facts)
                break
    state.referrals = _encode(all_of)


def released(in_force: Rules, state: MemberState, member_id: str, clock: int, facts: list[Fact]) -> None:
    """Where a hold ended, points of those who joined meanwhile became active with it, or were taken back."""
    for end in [fact for fact in facts if isinstance(fact, PointsReleased)]:
        all_of = _read(state)
        for row in all_of.rows:
            if row.capped or row.active or not _was_held(state, row.place, end):
                continue
            if end.reason != "reversed":
                _count(in_force, state, all_of, row, member_id, end.effective_at, clock, facts)
        for row in all_of.rows:
            if end.reason == "reversed" and row.completed_at and _was_held(state, row.entry, end):
                row.points = 0
        state.referrals = _encode(all_of)


def _was_held(state: MemberState, place: Place, end: PointsReleased) -> bool:
    """Whether an entry lay in a hold that ended just now."""
    if end.amends is None or end.scope not in (held.POINTS, held.REFERRALS) or place[0] < end.amends[0]:
        return False
    return not _is_held(state, place) and all(row[3:] != place for row in PENDING.iter_unpack(state.pendings))


def _is_held(state: MemberState, place: Place) -> bool:
    """Whether an entry lies in a hold that is open."""
    scopes = (held.POINTS, held.REFERRALS)
    return any(hold.scope in scopes and place >= (hold.offset, hold.index) for hold in held.read(state))


def _count(
    in_force: Rules,
    state: MemberState,
    all_of: Invitations,
    row: Invitation,
    member_id: str,
    at: int,
    clock: int,
    facts: list[Fact],
) -> None:
    """Somebody who joined is paid for good: each full so many lengthen the paid membership."""
    row.active = True
    all_of.active += 1
    paid = in_force.referral.paid
    if all_of.active % paid.each == 0:
        because = f"{paid.days} d for each {paid.each} invited who joined, now {all_of.active}"
        membership.grant(in_force, state, member_id, at, in_force.referral_paid_ms, because, clock, facts)


def accepted_active(state: MemberState) -> int:
    """Of how many of those invited the points of joining became active, ever."""
    return _read(state).active if state.referrals else 0


def completed_at(state: MemberState) -> list[int]:
    """The moments (ms) of the completions that stand, oldest first: each full so many lift the level."""
    return sorted(row.completed_at for row in _read(state).rows if row.completed_at) if state.referrals else []


def _accepted(
    in_force: Rules, state: MemberState, all_of: Invitations, body: Referral, moment: Moment, facts: list[Fact]
) -> None:
    limits, year = in_force.referral, in_force.calendar.year(in_force.calendar.day(moment.clock))
    if year != all_of.year:
        all_of.year, all_of.paid = year, 0
    place = (moment.offset, moment.index + len(facts))
    row = Invitation(_key(body.invited_member_id), place, capped=all_of.paid >= limits.per_year)
    all_of.rows = [*all_of.rows, row][-limits.kept :]
    if row.capped:
        why = f"0: the year's {limits.per_year} joins of invited members are reached"
        facts.append(_entry(in_force, state, body, moment, 0, why, "cap"))
        return
    all_of.paid += 1
    why = f"{limits.accepted} = {body.invited_member_id} joined, number {all_of.paid} of the year's {limits.per_year}"
    fact = _entry(in_force, state, body, moment, limits.accepted, why)
    _wait(state, fact, body.active_at, place)
    facts.append(fact)


def _completed(
    in_force: Rules,
    state: MemberState,
    row: Invitation,
    body: Referral,
    moment: Moment,
    facts: list[Fact],
    points: int,
) -> None:
    row.entry = (moment.offset, moment.index + len(facts))
    fact = _entry(in_force, state, body, moment, points, f"{points} = the first order of {body.invited_member_id}")
    row.completed_at, row.points, row.month = row.completed_at or moment.at, points, fact.month
    _wait(state, fact, body.active_at, row.entry)
    facts.append(fact)


def _moved(
    in_force: Rules, state: MemberState, row: Invitation, body: Referral, moment: Moment, facts: list[Fact]
) -> None:
    """Another order is the first one: the points become active with its own. Where none is, they stay."""
    if not body.active_at or _is_held(state, row.entry):
        return
    if _unqueue(state, row.entry):
        why = f"0: another order is the first one of {body.invited_member_id}, and its points wait with it"
        fact = _entry(in_force, state, body, moment, 0, why, "moved")
        fact.entry, fact.effective_at, fact.month = "corrected", row.completed_at, row.month
        fact.amends, fact.pending_until = row.entry, body.active_at
        facts.append(fact)
        queue(state, (body.active_at, row.month, row.points, *row.entry))
    elif body.active_at > moment.clock:  # active already: they wait once more
        why = f"another order is the first one of {body.invited_member_id}"
        taken = _take_back(in_force, state, row, body, moment, facts, why)
        if taken:
            _completed(in_force, state, row, body, moment, facts, taken)


def _undone(
    in_force: Rules, state: MemberState, row: Invitation, body: Referral, moment: Moment, facts: list[Fact]
) -> None:
    why = f"{body.invited_member_id} has no order left that is not fully refunded"
    _take_back(in_force, state, row, body, moment, facts, why)
    row.completed_at, row.entry, row.points = 0, (-1, -1), 0


def _take_back(
    in_force: Rules,
    state: MemberState,
    row: Invitation,
    body: Referral,
    moment: Moment,
    facts: list[Fact],
    why: str,
) -> int:
    """Take a completion's points back, active ones by the policy of refunds; how many those were."""
    fact = _entry(in_force, state, body, moment, 0, f"-{row.points}: {why}")
    fact.entry, fact.month, fact.amends, fact.base = "reversed", row.month, row.entry, -row.points
    facts.append(fact)
    if _unqueue(state, row.entry):
        ledger.cancel(state, fact, row.points)
        return row.points
    return ledger.take_back(in_force, state, fact, row.points, in_force.lot_ends[row.month], moment.clock)


def _entry(
    in_force: Rules, state: MemberState, body: Referral, moment: Moment, points: int, because: str, reason: str = ""
) -> Ledger:
    """An entry at the moment the record arrived, named by its cause; nothing is booked yet."""
    fact = in_force.new_entry()
    fact.member_id = body.member_id
    fact.effective_at, fact.decided_at = moment.at, moment.clock
    fact.rule = fact.action = "referral"
    fact.source, fact.event_id = _named(body.cause)
    fact.month = in_force.calendar.month(in_force.calendar.day(moment.at))
    fact.points = fact.active = fact.base = points
    fact.because, fact.reason = because, reason
    fact.score = score = activity.score(state)
    fact.activity_index = in_force.activity.index(score)
    return fact


def _wait(state: MemberState, fact: Ledger, until: int, place: Place) -> None:
    fact.pending_until = until
    ledger.wait(state, fact)
    queue(state, (until, fact.month, fact.points, *place))


def _unqueue(state: MemberState, place: Place) -> bool:
    """Take an entry's points out of those that wait; whether they did."""
    rows = list(PENDING.iter_unpack(state.pendings))
    kept = [row for row in rows if row[3:] != place]
    state.pendings = b"".join(PENDING.pack(*row) for row in kept)
    return len(kept) < len(rows)


def _refused(in_force: Rules, body: Referral, moment: Moment, reason: str, because: str) -> ReferralRefused:
    fact = _refusal(in_force, body.member_id, body.invited_member_id, moment, reason, because)
    fact.source, fact.event_id = _named(body.cause)
    fact.action = "referral"
    return fact


def _named(cause: Cause) -> tuple[str, str]:
    """A derived record as source and event: what brought it about lies there in the log."""
    return cause.log, f"{cause.partition}:{cause.offset}:{cause.index}"


def _refusal(
    in_force: Rules, member_id: str, invited: str, moment: Moment, reason: str, because: str
) -> ReferralRefused:
    return ReferralRefused(
        member_id=member_id,
        effective_at=moment.at,
        decided_at=moment.clock,
        programme=in_force.number,
        rules=in_force.rules,
        invited_member_id=invited,
        reason=reason,
        because=because,
    )


def _read(state: MemberState) -> Invitations:
    return _decode(state.referrals) if state.referrals else Invitations()


def _key(member_id: str) -> bytes:
    return hashlib.sha256(member_id.encode()).digest()[:8]
