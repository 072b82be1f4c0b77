"""value: a high-value member spends far less than it used to, by an order or by a closed month.

A month is judged when it closes. Only who is high-value then, or is held for the month before, has a timer for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from processors import orders, reasons, waiting
from processors.judgement import of_action, of_time
from processors.ladders import ASIDE, known, tidy
from processors.orders import Order
from processors.reasons import MONTH, ONE, ORDER, Reason
from processors.rhythm import is_refused
from processors.value import is_high
from processors.waiting import Due
from schemas.actions import Action
from schemas.facts import Fact
from schemas.member import MemberState

if TYPE_CHECKING:
    from processors.member import Moment
    from processors.programme import Rules
    from processors.refund import Counted
    from processors.told import Told

VALUE = ASIDE["value"]


def ordered(
    in_force: Rules, state: MemberState, order: Order, action: Action, moment: Moment, facts: list[Fact]
) -> None:
    """An order was put on the list. One older than the latest changes no tier."""
    if is_refused(state):
        return
    spend = orders.spend_by_month(state)
    month = in_force.calendar.month(in_force.calendar.day(moment.at))
    _watch(in_force, state, spend, _first(in_force, state, moment.clock))
    held = any(it.kind == ORDER for it in reasons.all_of(state))
    high = is_high(in_force, spend, month)
    if not (high or held) or moment.at < state.last_purchase or orders.is_gone(state, order):
        return
    rule = in_force.programme.tiers.value.order
    before = [
        it.counted
        for it in orders.known(state)
        if it.at <= order.at and it.key != order.key and not orders.is_gone(state, it)
    ][-rule.of_last :]
    if len(before) < rule.orders_from:
        return
    judgement = of_action(in_force, state, action, moment, facts)
    if not is_low(order.counted, before, rule.percent):
        reasons.lift(judgement, VALUE, lambda it: it.kind == ORDER, moment.at, "order")
    elif high and moment.at > state.closed_at:
        until = moment.at + in_force.warnings.value_order_ms
        reason = Reason(VALUE.number, ORDER, order.key, moment.at, until)
        words = f"an order of {in_words(in_force, order.counted, before, rule.percent)} of the {len(before)} before"
        reasons.add(judgement, VALUE, reason, words, moment.at)


def refunded(told: Told, in_force: Rules, back: Counted) -> None:
    """A refund was counted: an order that is gone is no reason any more; the month has less spend."""
    state, moment = told.state, told.moment
    if back.whole and state.beside is not None:
        judgement = of_action(in_force, state, told.action, moment, told.facts)
        key = back.order.key
        reasons.lift(judgement, VALUE, lambda it: (it.kind, it.key) == (ORDER, key), moment.at, "refund")
    look_again(in_force, state, moment.clock)


def is_low(amount: int, before: Sequence[int], percent: int) -> bool:
    """Whether an amount is under so many percent of the median of others."""
    return 200 * amount < percent * _median_twice(before)


def in_words(in_force: Rules, amount: int, before: Sequence[int], percent: int) -> str:
    """That an amount is under a share of a median, in words."""
    minor = in_force.minor_units
    return f"{amount / minor:.2f} is under {percent}% of {_median_twice(before) / 2 / minor:.2f}, the median"


def _median_twice(amounts: Sequence[int]) -> int:
    """Twice the median, which is whole also where it is the mean of two."""
    ordered, many = sorted(amounts), len(amounts)
    return ordered[many // 2] + ordered[(many - 1) // 2]


def months_before(in_force: Rules, spend: Mapping[int, int], month: int) -> list[int]:
    """Net spend of the months before one, from the first on in which the member spent."""
    of_last = in_force.programme.tiers.value.month.of_last
    return [spend.get(it, 0) for it in range(max(min(spend, default=month), month - of_last), month)]


def look_again(in_force: Rules, state: MemberState, clock: int) -> None:
    """Something that spend of months stands on has changed."""
    if not is_refused(state):
        _watch(in_force, state, orders.spend_by_month(state), _first(in_force, state, clock))


def _first(in_force: Rules, state: MemberState, clock: int) -> int:
    """The first month that is not judged: the current one, or one whose close waits to be."""
    month = in_force.calendar.month(in_force.calendar.day(clock))
    return min(month, state.beside.month or month) if state.beside else month


def _watch(in_force: Rules, state: MemberState, spend: Mapping[int, int], month: int) -> None:
    """Find the next month, from this one on, at whose close something is to be judged, were nothing more spent."""
    held = reasons.has(state, VALUE, MONTH) is not None
    months = range(month, month + in_force.programme.value.months + 1)
    due = next((it for it in months if held or _is_judged(in_force, spend, it)), 0)
    if due != (state.beside.month if state.beside else 0):
        known(state).month = due
        tidy(state)
        waiting.changed(state)


def _is_judged(in_force: Rules, spend: Mapping[int, int], month: int) -> bool:
    enough = in_force.programme.tiers.value.month.months_from
    return is_high(in_force, spend, month) and len(months_before(in_force, spend, month)) >= enough


def next_due(in_force: Rules, state: MemberState) -> int:
    """When the next month closes that is judged; 0 = none is."""
    month = state.beside.month if state.beside else 0
    return in_force.calendar.month_start(month + 1) if month else 0


def fall_due(due: Due) -> None:
    """A month closes."""
    in_force, state = due.in_force, due.state
    at = next_due(in_force, state)
    if not 0 < at <= due.by:
        return
    month, spend, rule = known(state).month, orders.spend_by_month(state), in_force.programme.tiers.value.month
    before, net = months_before(in_force, spend, month), spend.get(month, 0)
    judgement = of_time(due)
    if len(before) >= rule.months_from:
        if not is_low(net, before, rule.percent):
            reasons.lift(judgement, VALUE, lambda it: it.kind == MONTH, at, "month")
        elif is_high(in_force, spend, month) and state.last_own > state.closed_at:
            reason = Reason(VALUE.number, MONTH, ONE, at, at + in_force.warnings.value_month_ms)
            words = f"a month of {in_words(in_force, net, before, rule.percent)} of the {len(before)} before"
            reasons.add(judgement, VALUE, reason, words, in_force.calendar.month_start(month))
    _watch(in_force, state, spend, month + 1)
