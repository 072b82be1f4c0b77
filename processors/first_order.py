"""The first order: the earliest that is not fully refunded. Its points have a factor of their own.

For some days after its moment it can move: to an earlier one that arrives, or to the next when it is fully refunded;
all are corrected then. Fully refunded later, its factor goes back with its points and no other becomes first. So one
order at most has the factor, and which one follows from the orders and their refunds, however they arrived.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from processors import orders, refund
from processors.calendar import DAY_MS
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
    from processors.told import Told

OVER = 1  # `first_order_over`: no other order may become first any more


class Candidate(NamedTuple):
    """What was noted with an order that may be the first one, by the version that judged it.

    `factor` is that of its points if it is the first, `days` for how long it can move.
    """

    key: bytes
    factor: int
    days: int
    region: str
    group_id: str
    order_id: str
    source: str
    event_id: str

    @property
    def rank(self) -> tuple[str, str]:
        """Which of several orders of one moment is before the others."""
        return self.source, self.event_id


def takes(state: MemberState, action: Purchase, at: int) -> bool:
    """Whether an order that is reported now is the first one; asked before it is in the list."""
    if state.first_order_over:
        return False
    if not state.first_order_key:
        return True
    if at != state.first_order_at:
        return at < state.first_order_at and bool(state.first_order_origins)
    first = _candidate(state, state.first_order_key)
    return first is not None and (action.source, action.event_id) < first.rank


def ordered(
    rules: Rules, state: MemberState, order: Order, action: Purchase, moment: Moment, facts: list[Fact], *, first: bool
) -> None:
    """An order came into the list; `first` if it was paid as the first one."""
    if _is_settled(rules, state, moment.clock):
        state.first_order_origins = b""
        return
    factor = rules.factors.product(others(order) * rules.factors.first_order)
    told = origin((action.region, action.group_id, action.order_id, action.source, action.event_id))
    row = (order.key, factor, rules.factors.move_days)
    state.first_order_origins += pack(FIRST, row, told)  # type: ignore[arg-type]  # the key is bytes
    if first:
        _move(rules, state, order, action, moment, facts)


def refunded(told: Told, in_force: Rules, counted: Counted) -> None:
    """The first order is gone: the next one follows, unless it is too late for that."""
    rules, state, moment = told.rules, told.state, told.moment
    if not counted.whole or counted.order.key != state.first_order_key or _is_settled(rules, state, moment.clock):
        return
    noted = {it.key: it for it in _candidates(state)}
    known = [order for order in orders.known(state) if order.key in noted]
    passed, follows = set(), None
    for order in sorted(known, key=lambda it: (it.at, noted[it.key].rank)):
        # Each by its own refund: one that was gone in time has handed on, whenever this is asked.
        ends = order.at + noted[order.key].days * DAY_MS
        if not orders.is_gone(state, order) or orders.refunded(state, order.key).at >= ends:
            follows = order
            break
        passed.add(order.key)
    _move(rules, state, follows, told.action, moment, told.facts)
    kept = (it for it in unpack(FIRST, state.first_order_origins) if it[0][0] not in passed)
    state.first_order_origins = b"".join(pack(FIRST, *row) for row in kept)


def others(order: Order) -> int:
    """The product of an order's other factors."""
    return order.flags >> orders.OTHERS_BIT or 1


def _move(
    rules: Rules, state: MemberState, to: Order | None, action: Action, moment: Moment, facts: list[Fact]
) -> None:
    """Let another order be first, or none: the one before loses the factor, this one has it."""
    before = next((order for order in orders.known(state) if order.key == state.first_order_key), None)
    state.first_order_key, state.first_order_at = (to.key, to.at) if to else (b"", 0)
    if before is not None and before.key != state.first_order_key:
        _price(rules, state, before, action, moment, facts, is_first=False)
    if to is not None:
        _price(rules, state, to, action, moment, facts, is_first=True)


def _price(
    rules: Rules, state: MemberState, order: Order, action: Action, moment: Moment, facts: list[Fact], *, is_first: bool
) -> None:
    """Correct an order's points to what they are with or without the factor, there where it counted."""
    noted = _candidate(state, order.key)
    if noted is None:
        return
    due = noted.factor if is_first else others(order)
    if due == order.factor:
        return
    month = rules.calendar.month(rules.calendar.day(order.at))
    fact = entry(rules, state, action, moment, month, "first_order", 0, "")
    fact.entry, fact.action, fact.effective_at = "corrected", "purchase", order.at
    fact.region, fact.group_id, fact.order_id = noted.region, noted.group_id, noted.order_id
    refund.reprice(rules, state, fact, order, due)
    fact.because = f"{fact.points:+} to x{due}: it is {'the first order now' if is_first else 'not the first order'}"
    if fact.points or fact.reversed:
        facts.append(fact)


def _is_settled(rules: Rules, state: MemberState, clock: int) -> bool:
    """Whether nothing that may still be accepted can move it."""
    if state.first_order_over:
        return True
    if not state.first_order_key:
        return False
    first = _candidate(state, state.first_order_key)
    return first is None or clock > state.first_order_at + first.days * DAY_MS + rules.horizon_ms


def _candidate(state: MemberState, key: bytes) -> Candidate | None:
    return next((it for it in _candidates(state) if it.key == key), None)


def _candidates(state: MemberState) -> Iterator[Candidate]:
    return (Candidate(*row, *names(told)) for row, told in unpack(FIRST, state.first_order_origins))
