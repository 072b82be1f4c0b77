"""Orders: known by `order_id` for longer than actions by their ids, counted without excluded categories."""

from __future__ import annotations

from typing import TYPE_CHECKING

from processors.identity import hasher
from schemas.actions import Purchase
from schemas.facts import OrderConflict, OrderRepeat
from schemas.member import ORDER, SPEND, MemberState

if TYPE_CHECKING:
    from processors.member import Moment
    from processors.programme import Rules

SIZE = ORDER.size
HASH_SIZE = 8
SPEND_MONTHS = 25  # a year of spend, the month a late order falls in, and as much again for what is judged over it


def order_key(id_key: bytes, order_id: str) -> bytes:
    """The 8 bytes an order is known by."""
    keyed = hasher(id_key, HASH_SIZE).copy()
    keyed.update(b"order\x1f" + order_id.encode())
    return keyed.digest()


def repeated(
    rules: Rules, state: MemberState, key: bytes, action: Purchase, moment: Moment
) -> OrderRepeat | OrderConflict | None:
    """The fact about an order that this member has reported before: the first counts, whatever its source."""
    at = _find(state.orders, key)
    if at < 0:
        return None
    _, ordered_at, first_amount, _, _ = ORDER.unpack_from(state.orders, at)
    if ordered_at < moment.clock - rules.orders_ms:
        return None
    fact: OrderRepeat | OrderConflict
    if first_amount == action.amount:
        fact = OrderRepeat(
            member_id=action.member_id,
            effective_at=moment.at,
            decided_at=moment.clock,
            order_id=action.order_id,
        )
    else:
        fact = OrderConflict(
            member_id=action.member_id,
            effective_at=moment.at,
            decided_at=moment.clock,
            order_id=action.order_id,
            amount=action.amount,
            first_amount=first_amount,
        )
    return fact


def counted_amount(rules: Rules, action: Purchase) -> int:
    """The amount less the lines of categories that the programme excludes, in minor units, at least 0."""
    if not rules.excluded or not action.lines:
        return action.amount
    without = sum(line.amount for line in action.lines if line.category in rules.excluded)
    return max(0, action.amount - without)


def remember(
    rules: Rules, state: MemberState, key: bytes, moment: Moment, amount: int, counted: int, points: int
) -> None:
    """Add an order to the list, which stays sorted by moment; what is too old or too much leaves it."""
    orders = state.orders
    row = ORDER.pack(key, moment.at, amount, counted, points)
    place = len(orders)
    while place and ORDER.unpack_from(orders, place - SIZE)[1] > moment.at:
        place -= SIZE
    orders = orders[:place] + row + orders[place:]
    start = max(0, len(orders) - rules.orders_kept * SIZE)
    oldest = moment.clock - rules.orders_ms
    while start < len(orders) and ORDER.unpack_from(orders, start)[1] < oldest:
        start += SIZE
    state.orders = orders[start:]


def spend(state: MemberState, month: int, counted: int) -> None:
    """Add a counted amount to the programme month of its order; months are sorted, the newest are kept."""
    rows = state.spend
    last = len(rows) - SPEND.size
    if last >= 0 and SPEND.unpack_from(rows, last)[0] == month:
        state.spend = rows[:last] + SPEND.pack(month, SPEND.unpack_from(rows, last)[1] + counted)
        return
    months = spend_by_month(state)
    months[month] = months.get(month, 0) + counted
    state.spend = b"".join(SPEND.pack(*row) for row in sorted(months.items())[-SPEND_MONTHS:])


def spend_by_month(state: MemberState) -> dict[int, int]:
    """Net spend in minor units by programme month, oldest first."""
    return dict(SPEND.iter_unpack(state.spend))


def _find(orders: bytes, key: bytes) -> int:
    at = orders.find(key)
    while at >= 0 and at % SIZE:
        at = orders.find(key, at + 1)
    return at
