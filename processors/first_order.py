"""The first order: the earliest that is not fully refunded. Its points have a factor of their own.

For some days after its moment it can move: to an earlier one that arrives, or to the next when it is fully refunded;
both are corrected then. Fully refunded later, its factor goes back with its points and no other becomes first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from processors import orders, refund
from processors.ledger import entry
from processors.orders import Order
from processors.origins import names, origin, pack, unpack
from processors.refund import Counted
from schemas.actions import Action, Purchase
from schemas.facts import Fact
from schemas.member import FIRST, MemberState

if TYPE_CHECKING:
    from processors.member import Moment
    from processors.programme import Rules

OPEN, OVER = 0, 1  # `first_order_over`: whether another order may still become first


def takes(state: MemberState, key: bytes, at: int) -> bool:
    """Whether an order that is reported now is the first one; asked before it is in the list."""
    if state.first_order_over:
        return False
    return not state.first_order_key or (at, key) < (state.first_order_at, state.first_order_key)


def ordered(
    rules: Rules, state: MemberState, order: Order, action: Purchase, moment: Moment, facts: list[Fact], *, first: bool
) -> None:
    """An order came into the list; `first` if it was paid as the first one."""
    if _is_settled(rules, state, moment.clock):
        state.first_order_origins = b""
        return
    told = origin((action.region, action.group_id, action.order_id))
    state.first_order_origins += pack(FIRST, (order.key,), told)  # type: ignore[arg-type]
    if first:
        _move(rules, state, order, action, moment, facts)


def refunded(
    rules: Rules,
    in_force: Rules,
    state: MemberState,
    counted: Counted,
    action: Action,
    moment: Moment,
    facts: list[Fact],
) -> None:
    """The first order is gone: the next one follows, unless it is too late for that."""
    if not counted.whole or counted.order.key != state.first_order_key or _is_settled(rules, state, moment.clock):
        return
    for order in sorted(orders.known(state), key=lambda it: (it.at, it.key)):
        if not orders.is_gone(state, order):
            _move(rules, state, order, action, moment, facts)
            return
        if max(orders.refunded(state, order.key).at, counted.at) >= order.at + rules.factors.moves_ms:
            state.first_order_over = OVER
            return
    state.first_order_key, state.first_order_at = b"", 0


def others(order: Order) -> int:
    """The product of an order's other factors."""
    return order.flags >> orders.OTHERS_BIT or 1


def _move(rules: Rules, state: MemberState, to: Order, action: Action, moment: Moment, facts: list[Fact]) -> None:
    """Let another order be first: the one before loses the factor, this one has it."""
    before = next((order for order in orders.known(state) if order.key == state.first_order_key), None)
    state.first_order_key, state.first_order_at = to.key, to.at
    if before is not None and before.key != to.key:
        _price(rules, state, before, 1, action, moment, facts)
    _price(rules, state, to, rules.factors.first_order, action, moment, facts)


def _price(
    rules: Rules, state: MemberState, order: Order, factor: int, action: Action, moment: Moment, facts: list[Fact]
) -> None:
    """Correct an order's points to what they are with or without the factor, there where it counted."""
    due = rules.factors.product(others(order) * factor)
    if due == order.factor:
        return
    month = rules.calendar.month(rules.calendar.day(order.at))
    fact = entry(rules, state, action, moment, month, "first_order", 0, "")
    fact.entry, fact.action, fact.effective_at = "corrected", "purchase", order.at
    for row, told in unpack(FIRST, state.first_order_origins):
        if row[0] == order.key:
            fact.region, fact.group_id, fact.order_id = names(told)
    is_first = factor > 1
    fact.because = "it is the first order now" if is_first else "it is not the first order"
    refund.reprice(rules, state, fact, order, due)
    fact.because = f"{fact.points:+} to x{due}: {fact.because}"
    if fact.points or fact.reversed:
        facts.append(fact)


def _is_settled(rules: Rules, state: MemberState, clock: int) -> bool:
    """Whether nothing that may still be accepted can move it."""
    if state.first_order_over:
        return True
    return bool(state.first_order_key) and clock > state.first_order_at + rules.factors.moves_ms + rules.horizon_ms
