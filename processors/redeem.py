"""Redeem and cancel: one answer a request, whole or not at all; what comes back goes to the lots it came from.

An answer is remembered with its `redeem_id`, refusals too: a second request with that id gets the first one's answer
and changes nothing. A cancel that comes before its redeem waits for it, which is refused then. Points that pay a part
of an order come back with its refunds, in proportion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from processors import ledger, orders, waiting
from processors.waiting import Due
from schemas.actions import Action, Purchase, Redeem, RedeemCancel, Refund
from schemas.facts import Fact, RedeemAccepted, RedeemCancelOrphan, RedeemRefused
from schemas.member import MemberState

if TYPE_CHECKING:
    from processors.member import Moment
    from processors.orders import Order
    from processors.programme import Rules
    from processors.refund import Counted
    from processors.told import Told

Place = tuple[int, int]  # offset and index of a fact


class Redemption(Struct, array_like=True, gc=False):
    """A request and its answer; `reason` says why it was refused. Packed rows of `state.redemptions`, oldest first.

    `lots` (end, points) is what is still spent, in the order in which it was; `returned` came back by refunds of
    `order_id`. `entry` is where the ledger entry stands, `said` where the answer does. `step_until`: a level step runs.
    """

    redeem_id: str
    at: int
    points: int
    said: Place
    reason: str = ""
    missing: int = 0
    because: str = ""
    reward: str = ""
    order_id: str = ""
    entry: Place = (0, 0)
    lots: tuple[tuple[int, int], ...] = ()
    returned: int = 0
    cancelled: bool = False
    step_until: int = 0

    @property
    def stands(self) -> bool:
        """Whether its points are spent still, but for what refunds gave back."""
        return not self.reason and not self.cancelled


class Early(Struct, array_like=True, gc=False):
    """A cancel that waits `until` for its redeem. Packed rows of `state.cancels`."""

    redeem_id: str
    until: int
    source: str
    event_id: str
    region: str
    group_id: str


_encode = msgspec.msgpack.Encoder().encode
_redemptions = msgspec.msgpack.Decoder(list[Redemption]).decode
_cancels = msgspec.msgpack.Decoder(list[Early]).decode


def redemptions(state: MemberState) -> list[Redemption]:
    """What is remembered of requests and answers, in the order of their arrival."""
    return _redemptions(state.redemptions) if state.redemptions else []


def level_step_until(state: MemberState, clock: int) -> int:
    """Until when a level step that was redeemed runs (ms); 0 = none does."""
    if not state.redemptions:
        return 0
    return max((it.step_until for it in redemptions(state) if it.stands and it.step_until > clock), default=0)


# -- a request ----------------------------------------------------------------------------------------------------


def repeated(rules: Rules, state: MemberState, action: Redeem, moment: Moment) -> RedeemAccepted | RedeemRefused | None:
    """The first one's answer to a request with a `redeem_id` that was answered before."""
    first = _find(rules, redemptions(state), action.redeem_id, moment.clock)
    if first is None:
        return None
    fact = _refusal(rules, action, moment, first) if first.reason else _acceptance(rules, action, moment, first)
    fact.repeats = first.said
    return fact


def ask(rules: Rules, state: MemberState, action: Redeem, moment: Moment, day: int, facts: list[Fact]) -> None:
    """Answer a request: spend its points, or say what is missing."""
    reason, because = refusal(rules, state, action, moment.clock)
    if reason:
        return _refuse(rules, state, action, moment, reason, because, facts)
    what = action.reward or f"order {action.order_id}"
    because = f"{action.points} of {state.active} active points for {what}"
    fact = ledger.entry(rules, state, action, moment, rules.calendar.month(day), "redeem", 0, because)
    fact.entry, fact.order_id = "spent", action.order_id
    place = (moment.offset, moment.index + len(facts))
    taken = ledger.spend(state, fact, action.points)
    facts.append(fact)
    row = Redemption(
        redeem_id=action.redeem_id,
        at=moment.at,
        points=action.points,
        said=(place[0], place[1] + 1),
        reward=action.reward,
        order_id=action.order_id,
        because=because,
        entry=place,
        lots=tuple(taken),
        step_until=moment.at + rules.level_step_ms if action.reward == rules.level_step else 0,
    )
    _remember(rules, state, row, moment.clock)
    facts.append(_acceptance(rules, action, moment, row))


def refusal(rules: Rules, state: MemberState, action: Redeem, clock: int) -> tuple[str, str]:
    """Why a request is refused, and the arithmetic; ("", "") = it is not."""
    points = action.points
    if any(early.redeem_id == action.redeem_id for early in _waiting(state)):
        return "cancelled", "it was cancelled before it came"
    if points < rules.redeem_smallest:
        return "smallest", f"{points} points are asked for, the smallest is {rules.redeem_smallest}"
    if points % rules.redeem_steps:
        return "steps", f"{points} points are asked for, it goes by steps of {rules.redeem_steps}"
    if action.reward == rules.level_step and level_step_until(state, clock):
        return "running", "a level step runs already"
    if points > state.active:
        return "missing", f"{points - state.active} missing = {points} asked for, less {state.active} active"
    return "", ""


def refuse_late(rules: Rules, state: MemberState, action: Redeem, moment: Moment, facts: list[Fact]) -> None:
    """A request older than the horizon: refused for good, unless it was answered before."""
    if again := repeated(rules, state, action, moment):
        facts.append(again)
    else:
        _refuse(rules, state, action, moment, "late", "it came too late to be judged", facts)


def _refuse(
    rules: Rules, state: MemberState, action: Redeem, moment: Moment, reason: str, because: str, facts: list[Fact]
) -> None:
    row = Redemption(
        redeem_id=action.redeem_id,
        at=moment.at,
        points=action.points,
        said=(moment.offset, moment.index + len(facts)),
        reason=reason,
        missing=action.points - state.active if reason == "missing" else 0,
        because=because,
        order_id=action.order_id if reason == "cancelled" else "",
    )
    _keep_waiting(state, [early for early in _waiting(state) if early.redeem_id != action.redeem_id])
    _remember(rules, state, row, moment.clock)
    facts.append(_refusal(rules, action, moment, row))


def _acceptance(rules: Rules, action: Redeem, moment: Moment, row: Redemption) -> RedeemAccepted:
    head = _head(rules, action, moment, row)
    return RedeemAccepted(**head, reward=row.reward, order_id=row.order_id, until=row.step_until)


def _refusal(rules: Rules, action: Redeem, moment: Moment, row: Redemption) -> RedeemRefused:
    return RedeemRefused(**_head(rules, action, moment, row), reason=row.reason, missing=row.missing)


def _head(rules: Rules, action: Redeem, moment: Moment, row: Redemption) -> dict[str, Any]:
    return {
        "member_id": action.member_id,
        "effective_at": moment.at,
        "decided_at": moment.clock,
        "programme": rules.number,
        "rules": rules.rules,
        "source": action.source,
        "event_id": action.event_id,
        "action": "redeem",
        "region": action.region,
        "group_id": action.group_id,
        "redeem_id": row.redeem_id,
        "points": row.points,
        "because": row.because,
    }


# -- what comes back ----------------------------------------------------------------------------------------------


def cancel(in_force: Rules, state: MemberState, action: RedeemCancel, moment: Moment, facts: list[Fact]) -> str:
    """Give a redemption's points back to their lots; without its redeem the cancel waits for it.

    Returns the `order_id` that the points had paid for; "" = none had.
    """
    rows = redemptions(state)
    row = _find(in_force, rows, action.redeem_id, moment.clock)
    if row is None:
        _wait(in_force, state, action, moment)
        return ""
    month = in_force.calendar.month(in_force.calendar.day(moment.at))
    fact = ledger.entry(in_force, state, action, moment, month, "redeem_cancel", 0, "", "")
    fact.entry, fact.order_id = "restored", row.order_id
    facts.append(fact)
    if not row.stands:
        fact.reason = "refused" if row.reason else "repeat"
        fact.because = f"0: {action.redeem_id} was {'refused' if row.reason else 'cancelled already'}"
        return ""
    points = sum(part for _, part in row.lots)
    fact.amends = row.entry
    fact.because = f"{points} points of {action.redeem_id} go back to the lots they came from"
    ledger.restore(in_force, state, fact, list(row.lots), moment.clock, facts)
    row.cancelled, row.lots, row.step_until = True, (), 0
    state.redemptions = _encode(rows)
    waiting.changed(state)
    return row.order_id


def undid(state: MemberState, order_id: str) -> bool:
    """Whether what paid for an order was all cancelled, before it came or after."""
    of_order = [row for row in redemptions(state) if row.order_id == order_id]
    return bool(of_order) and not any(row.stands for row in of_order)


def refunded(told: Told, in_force: Rules, counted: Counted) -> None:
    """An order was refunded: the points that paid a part of it come back in proportion."""
    action = told.action
    if told.state.redemptions and isinstance(action, Refund | Purchase):
        give_back(told.rules, in_force, told.state, counted.order, action.order_id, told.moment, told.facts, action)


def give_back(
    rules: Rules,
    in_force: Rules,
    state: MemberState,
    order: Order,
    order_id: str,
    moment: Moment,
    facts: list[Fact],
    action: Action,
) -> None:
    """Of points that paid for an order, as much comes back as is refunded of its amount, last spent first."""
    part = orders.refunded(state, order.key).amount
    if not part:
        return
    rows = redemptions(state)
    of_order = [row for row in rows if row.order_id == order_id and row.stands]
    due = sum(row.points for row in of_order) * part // order.amount - sum(row.returned for row in of_order)
    why = f"{part} of {order.amount} of the order are refunded"
    for row in reversed(of_order):
        if due > 0 and row.lots:
            due -= _return(rules, in_force, state, row, due, why, action, moment, facts)
    state.redemptions = _encode(rows)


def _return(
    rules: Rules,
    in_force: Rules,
    state: MemberState,
    row: Redemption,
    due: int,
    why: str,
    action: Action,
    moment: Moment,
    facts: list[Fact],
) -> int:
    """Give back up to so many points of a redemption; how many those were."""
    back: list[tuple[int, int]] = []
    kept = list(row.lots)
    left = due
    while left and kept:
        end, there = kept.pop()
        part = min(there, left)
        left -= part
        back.append((end, part))
        if there > part:
            kept.append((end, there - part))
    points = due - left
    month = in_force.calendar.month(in_force.calendar.day(moment.at))
    fact = ledger.entry(rules, state, action, moment, month, "redeem", 0, f"{points} of {row.points} come back: {why}")
    fact.entry, fact.order_id, fact.amends = "restored", row.order_id, row.entry
    facts.append(fact)
    ledger.restore(in_force, state, fact, back, moment.clock, facts)
    row.lots, row.returned = tuple(kept), row.returned + points
    return points


# -- cancels that wait --------------------------------------------------------------------------------------------


def next_due(in_force: Rules, state: MemberState) -> int:
    """When the first waiting cancel has waited long enough; 0 = none waits."""
    return min((early.until for early in _waiting(state)), default=0)


def fall_due(due: Due) -> None:
    """Cancels whose redeem never came go to the staff."""
    late = [early for early in _waiting(due.state) if early.until <= due.by]
    for early in sorted(late, key=lambda it: it.until):
        due.facts.append(
            RedeemCancelOrphan(
                member_id=due.member_id,
                effective_at=early.until,
                decided_at=due.clock,
                programme=due.in_force.number,
                rules=due.in_force.rules,
                source=early.source,
                event_id=early.event_id,
                action="redeem_cancel",
                region=early.region,
                group_id=early.group_id,
                redeem_id=early.redeem_id,
            )
        )
    _keep_waiting(due.state, [early for early in _waiting(due.state) if early.until > due.by])


def _wait(in_force: Rules, state: MemberState, action: RedeemCancel, moment: Moment) -> None:
    rows = _waiting(state)
    if all(early.redeem_id != action.redeem_id for early in rows):
        until = moment.at + in_force.cancel_wait_ms
        place = (action.source, action.event_id, action.region, action.group_id)
        _keep_waiting(state, [*rows, Early(action.redeem_id, until, *place)])


def _waiting(state: MemberState) -> list[Early]:
    return _cancels(state.cancels) if state.cancels else []


def _keep_waiting(state: MemberState, rows: list[Early]) -> None:
    if rows or state.cancels:
        state.cancels = _encode(rows) if rows else b""
        waiting.changed(state)


# -- what is remembered -------------------------------------------------------------------------------------------


def _find(rules: Rules, rows: list[Redemption], redeem_id: str, clock: int) -> Redemption | None:
    since = clock - rules.redemptions_ms
    return next((row for row in rows if row.redeem_id == redeem_id and row.at >= since), None)


def _remember(rules: Rules, state: MemberState, row: Redemption, clock: int) -> None:
    since = clock - rules.redemptions_ms
    rows = [it for it in redemptions(state) if it.at >= since]
    state.redemptions = _encode([*rows, row][-rules.redemptions_kept :])
