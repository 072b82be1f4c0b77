"""Points held on suspicion: from a trigger on, what its scope earns is pending until staff judge it, or for some time.

The entry that goes beyond a limit is held already; one hold of a scope is open at a time. Held points count for
nothing: no lot, no growth. A hold ends as a whole: released into the lots of their months, or reversed. It is looked
for after an action's entries are booked, so what earns points need not know of it.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from processors import days, ledger, levels, lots, waiting
from processors.calendar import DAY_MS
from processors.conditions import HOUR_MS
from processors.held import MESSAGES, POINTS, REFERRALS, Hold, read, remember, write
from processors.suspicion import suspect
from processors.waiting import Due
from schemas.actions import Action, Adjust, Message
from schemas.facts import Fact, Ledger, PointsReleased
from schemas.member import (
    DAY_COUNTS,
    EARNED_DAY,
    INVITED,
    KNOWN,
    MESSAGE_DAY,
    MESSAGE_SEEN,
    PENDING,
    MemberState,
)
from schemas.programme import Programme
from schemas.records import Referral

if TYPE_CHECKING:
    from processors.member import Moment
    from processors.programme import Rules

COUNT_MAX = 0xFFFF
EARNING = frozenset({"earned", "corrected"})
REFUNDED, SHARED = 1, 2  # bits of a row of INVITED


class Limits:
    """What the programme says of suspicion, compiled."""

    def __init__(self, programme: Programme) -> None:
        points, messages = programme.fraud.points, programme.fraud.messages
        self.day_over, self.times_mean = points.day_over, points.times_mean
        self.active_days, self.active_days_min = points.active_days, points.active_days_min
        self.burst, self.burst_ms, self.per_day = messages.burst, messages.burst_seconds * 1000, messages.per_day
        self.near_bytes = 2 * messages.burst * MESSAGE_SEEN.size  # one row of them live, one that comes late between
        self.level_steps, self.level_ms = programme.fraud.level.steps, programme.fraud.level.hours * HOUR_MS
        referral = programme.fraud.referral
        self.joins_per_day, self.devices = referral.joins_per_day, referral.devices
        self.refunded, self.of_last = referral.refunded, referral.of_last
        self.waits_ms = programme.fraud.unjudged_days * DAY_MS
        self.ends_ms = programme.fraud.released_days * DAY_MS


# -- triggers ---------------------------------------------------------------------------------------------------


def message(rules: Rules, state: MemberState, action: Message, moment: Moment, day: int, facts: list[Fact]) -> None:
    """A message: too many within a minute, or of the day, hold those from this one on.

    It counts for the minute and the day at which it happened, however late it comes.
    """
    limits, at = rules.limits, moment.at
    count = _number_of_day(state, day)
    if count > limits.per_day:
        because = f"{count} messages in a programme day, over {limits.per_day}"
        suspect(rules, state, action.member_id, moment, MESSAGES, because, facts, action)
    if at - state.message_at < limits.burst_ms:
        _burst(rules, state, action, moment, facts)
    if at > state.message_at:
        state.message_at = at
    state.messages_near = (state.messages_near + MESSAGE_SEEN.pack(at))[-limits.near_bytes :]


def _number_of_day(state: MemberState, day: int) -> int:
    """Count one more message of a programme day; which one of the day it is, 0 = the day is too old to count."""
    newest, count = state.messages_day >> 16, state.messages_day & COUNT_MAX
    if day == newest:
        count = min(count + 1, COUNT_MAX)
        state.messages_day = newest << 16 | count
        return count
    if day > newest:
        if count:
            before = MESSAGE_DAY.pack(count) + state.messages_before
            state.messages_before = days.moved(before, day - newest - 1, DAY_COUNTS - 1)
        state.messages_day = day << 16 | 1
        return 1
    place = MESSAGE_DAY.size * (newest - day - 1)
    if place >= MESSAGE_DAY.size * (DAY_COUNTS - 1):
        return 0
    ring = bytearray(state.messages_before.ljust(place + MESSAGE_DAY.size, b"\0"))
    (count,) = MESSAGE_DAY.unpack_from(ring, place)
    count = min(int(count) + 1, COUNT_MAX)
    MESSAGE_DAY.pack_into(ring, place, count)
    state.messages_before = bytes(ring)
    return count


def _burst(rules: Rules, state: MemberState, action: Message, moment: Moment, facts: list[Fact]) -> None:
    """A message that others may be near to: were there too many in any so many seconds with it?"""
    limits, at = rules.limits, moment.at
    near = [one for (one,) in MESSAGE_SEEN.iter_unpack(state.messages_near) if abs(one - at) < limits.burst_ms]
    if len(near) < limits.burst:
        return
    near = sorted([*near, at])
    least = min(last - first for first, last in zip(near, near[limits.burst :], strict=False))
    if least < limits.burst_ms:
        because = f"{limits.burst + 1} messages within {least / 1000:g} s"
        because += f", over {limits.burst} in {limits.burst_ms // 1000} s"
        suspect(rules, state, action.member_id, moment, MESSAGES, because, facts, action)


def new_day(rules: Rules, state: MemberState, day: int) -> None:
    """The first action of a newer programme day, before the rings of days move: what the last active one earned."""
    if state.active_bits & 1:
        earned = EARNED_DAY.pack(min(state.day_points, COUNT_MAX))
        state.earned = (earned + state.earned)[: rules.limits.active_days * EARNED_DAY.size]
    state.day_points, state.day_from = 0, rules.calendar.day_start(day)


def seen_on(state: MemberState, rules: Rules, device_id: str) -> None:
    """A device that the member acts from; the last ones are known."""
    _know(state, zlib.crc32(device_id.encode()), rules.limits.devices)


def has_phone(state: MemberState, rules: Rules, phone_hash: str) -> None:
    """A telephone of the member, by its keyed hash."""
    _know(state, zlib.crc32(phone_hash.encode()), rules.limits.devices)


def _know(state: MemberState, key: int, most: int) -> None:
    known = KNOWN.pack(key)
    rows = [state.known[at : at + KNOWN.size] for at in range(0, len(state.known), KNOWN.size)]
    if not rows or rows[0] != known:
        rows = [known, *(row for row in rows if row != known)]
        state.known = b"".join(rows[:most])


def referred(rules: Rules, state: MemberState, body: Referral, moment: Moment, facts: list[Fact]) -> None:
    """What became of somebody invited: too many of a day, one with the same telephone or device, too many refunds."""
    limits, invited = rules.limits, zlib.crc32(body.invited_member_id.encode())
    marks: dict[int, int] = dict(INVITED.iter_unpack(state.invited))
    if body.kind == "accepted":
        day, seen = rules.calendar.day(moment.at), state.joins_day
        count = (seen & COUNT_MAX) + 1 if seen >> 16 == day else 1
        state.joins_day = day << 16 | min(count, COUNT_MAX)
        marks = dict([*marks.items(), (invited, 0)][-limits.of_last :])
        if count > limits.joins_per_day:
            because = f"{count} joins in a programme day, over {limits.joins_per_day}"
            suspect(rules, state, body.member_id, moment, REFERRALS, because, facts)
    what, mark = _shared(state, body), marks.get(invited, 0)
    if what and not mark & SHARED:  # what was judged once is none again with the order
        suspect(rules, state, body.member_id, moment, REFERRALS, f"the same {what} as the invited member", facts)
        mark |= SHARED
    newly = (body.refunded or body.kind == "undone") and not mark & REFUNDED
    if invited in marks:
        marks[invited] = mark | REFUNDED if newly else mark  # it stays, whatever the invited buys then
        count = sum(1 for one in marks.values() if one & REFUNDED)
        if newly and count >= limits.refunded:
            because = f"{count} of the last {len(marks)} invited fully refunded their first order"
            suspect(rules, state, body.member_id, moment, REFERRALS, because, facts)
    state.invited = b"".join(INVITED.pack(*row) for row in marks.items())


def _shared(state: MemberState, body: Referral) -> str:
    """What of the referrer's is known of the invited member too; empty = nothing."""
    mine = {known for (known,) in KNOWN.iter_unpack(state.known)}
    for what, value in (("telephone", body.phone_hash or ""), ("device", body.device_id)):
        if value and zlib.crc32(value.encode()) in mine:
            return what
    return "" if mine.isdisjoint(body.known) else "device or telephone"


def review(
    rules: Rules,
    state: MemberState,
    member_id: str,
    moment: Moment,
    facts: list[Fact],
    action: Action | None = None,
) -> None:
    """After a decision's entries, where a hold is open or the day's points are above the limit: hold what is to be.

    Points that wait for a moment (referrals) do not wait for it any more.
    """
    if state.day_points > rules.limits.day_over:
        _above_mean(rules, state, member_id, moment, facts, action)
    holds = read(state)
    for place, fact in enumerate(facts if holds else ()):
        if type(fact) is Ledger and fact.entry in EARNING and fact.points > 0:
            hold = next((one for one in holds if one.takes(fact)), None)
            if hold is not None:
                _divert(rules, state, hold, fact, (moment.offset, moment.index + place), moment.clock)
    write(state, holds)


def _above_mean(
    rules: Rules, state: MemberState, member_id: str, moment: Moment, facts: list[Fact], action: Action | None
) -> None:
    """Whether the day's points are so many times the mean of the member's active days before it."""
    limits = rules.limits
    before = [points for (points,) in EARNED_DAY.iter_unpack(state.earned)]
    if len(before) < limits.active_days_min or state.day_points * len(before) <= limits.times_mean * sum(before):
        return
    because = f"{state.day_points} points in a programme day, over {limits.day_over} and {limits.times_mean}x the mean"
    because += f" of {sum(before) / len(before):.1f} on the last {len(before)} active days"
    suspect(rules, state, member_id, moment, POINTS, because, facts, action)


def _divert(rules: Rules, state: MemberState, hold: Hold, fact: Ledger, place: tuple[int, int], clock: int) -> None:
    """Let an entry's points be pending in a hold instead of active; what they paid of debt is owed again."""
    if fact.pending:
        rows = PENDING.iter_unpack(state.pendings)
        state.pendings = b"".join(PENDING.pack(*row) for row in rows if row[3:] != place)
    else:
        _unbook(rules, state, fact)
    fact.reason = "held"
    fact.pending_until = hold.at + rules.limits.waits_ms
    part = hold.part(fact)
    part.points += fact.points
    part.base += fact.base
    levels.held(rules, state, fact, clock)


def _unbook(rules: Rules, state: MemberState, fact: Ledger) -> None:
    if fact.debt:
        fact.because = fact.because.removesuffix(f"; {-fact.debt} paid debt")
        state.debt -= fact.debt
        fact.debt = 0
    if fact.active:
        lots.take(state, fact.active, rules.lot_ends[fact.month])
        state.active -= fact.active
    fact.active, fact.pending = 0, fact.points
    state.pending += fact.points


# -- how a hold ends --------------------------------------------------------------------------------------------


def judge(rules: Rules, state: MemberState, action: Adjust, moment: Moment, facts: list[Fact]) -> bool:
    """Staff release or reverse a hold; False = there is no such hold open."""
    holds = read(state)
    hold = next((one for one in holds if one.id == action.hold_id), None)
    if hold is None:
        return False
    write(state, [one for one in holds if one is not hold])
    _forgive(state, hold)
    end = _End(rules, state, action.member_id, hold, moment.clock, moment.clock, facts, action)
    if action.kind == "reverse":
        end.reverse((moment.offset, moment.index + len(facts)))
    else:
        end.release("released", "released by staff")
    return True


def next_due(in_force: Rules, state: MemberState) -> int:
    """When the oldest hold was not judged for long enough; 0 = none is open."""
    return min((hold.at for hold in read(state)), default=-in_force.limits.waits_ms) + in_force.limits.waits_ms


def fall_due(due: Due) -> None:
    """Release what nobody judged."""
    rules, state = due.in_force, due.state
    holds = read(state)
    for hold in holds:
        at = hold.at + rules.limits.waits_ms
        if at <= due.by:
            write(state, [one for one in read(state) if one.id != hold.id])
            _forgive(state, hold)
            _End(rules, state, due.member_id, hold, at, due.clock, due.facts).release(
                "unjudged", "released, not judged in time"
            )


def _forgive(state: MemberState, hold: Hold) -> None:
    """What was judged does not count for the next suspicion."""
    waiting.changed(state)
    if hold.scope == MESSAGES:
        state.messages_near, state.messages_day, state.messages_before = b"", 0, b""
    elif hold.scope == POINTS:
        state.day_points, state.rises = 0, b""
    elif hold.scope == REFERRALS:
        rows = INVITED.iter_unpack(state.invited)
        state.invited = b"".join(INVITED.pack(invited, mark & ~REFUNDED) for invited, mark in rows)


class _End:
    """The end of a hold at a moment, told in entries: one for each rule and month."""

    def __init__(
        self,
        rules: Rules,
        state: MemberState,
        member_id: str,
        hold: Hold,
        at: int,
        clock: int,
        facts: list[Fact],
        action: Adjust | None = None,
    ) -> None:
        self.rules, self.state, self.member_id, self.hold = rules, state, member_id, hold
        self.at, self.clock, self.facts, self.action = at, clock, facts, action

    def release(self, reason: str, why: str) -> None:
        """Held points join the lots of their months; a lot that ends too soon is one that ends later."""
        self._tell(reason, sum(part.points for part in self.hold.parts))
        for part in self.hold.parts:
            end, soonest = self.rules.lot_ends[part.month], self.at + self.rules.limits.ends_ms
            fact = self._entry(part.month, part.rule, "released", f"{part.points} points of hold {self.hold.id} {why}")
            fact.base = part.base
            if end < soonest:
                fact.because += f"; they end {self.rules.limits.ends_ms // DAY_MS} days after"
            ledger.activate(self.rules, self.state, fact, part.points, max(end, soonest))
            if end < soonest and fact.active:
                fact.lots = ((soonest, fact.active),)
            self.facts.append(fact)
            levels.released(self.rules, self.state, fact)

    def reverse(self, place: tuple[int, int]) -> None:
        """Held points are taken back, those of entries before this place; a correction of them finds nothing."""
        remember(self.state, self.hold, place)
        self._tell("reversed", 0)
        for part in self.hold.parts:
            fact = self._entry(
                part.month, part.rule, "reversed", f"{part.points} points of hold {self.hold.id} reversed by staff"
            )
            ledger.cancel(self.state, fact, part.points)
            self.facts.append(fact)

    def _tell(self, reason: str, points: int) -> None:
        self.facts.append(
            PointsReleased(
                member_id=self.member_id,
                effective_at=self.at,
                decided_at=self.clock,
                programme=self.rules.number,
                rules=self.rules.rules,
                source=self.action.source if self.action else "",
                event_id=self.action.event_id if self.action else "",
                hold_id=self.hold.id,
                scope=self.hold.scope,
                points=points,
                reason=reason,
                by=self.action.operator if self.action else "",
                approved_by=self.action.approved_by if self.action else "",
                amends=(self.hold.offset, self.hold.said),
            )
        )

    def _entry(self, month: int, rule: str, entry: str, because: str) -> Ledger:
        return Ledger(
            member_id=self.member_id,
            effective_at=self.at,
            decided_at=self.clock,
            programme=self.rules.number,
            rules=self.rules.rules,
            source=self.action.source if self.action else "",
            event_id=self.action.event_id if self.action else "",
            rule=rule,
            entry=entry,
            month=month,
            because=because,
        )
