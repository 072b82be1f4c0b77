"""Orders: known by `order_id` for longer than actions by their ids, counted without excluded categories."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from processors.identity import hasher
from schemas.actions import Line, Purchase
from schemas.facts import OrderConflict, OrderRepeat
from schemas.member import EXCLUDED, ORDER, REFUNDED, SPEND, MemberState
from schemas.part import THOUSANDTHS

if TYPE_CHECKING:
    from processors.member import Moment
    from processors.programme import Rules

SIZE = ORDER.size
HASH_SIZE = 8
SPEND_MONTHS = 25  # a year of spend, the month a late order falls in, and as much again for what is judged over it
COUPON = 1  # flag: a coupon was used
OTHERS_BIT = 4  # above it stands the product of the factors but that of the first order
UNPAID = 2  # flag: it was paid wholly by points, and they were given back


class Order(NamedTuple):
    """A row of the order list.

    `points` are those it gives now, less what was taken back; `per_unit` is in thousandths; `offset` and `idx` name
    the entry that earned them.
    """

    key: bytes
    at: int
    amount: int
    counted: int
    points: int
    per_unit: int
    factor: int
    flags: int
    offset: int
    idx: int

    def worth(self, counted: int, minor: int) -> int:
        """The points of so much counted amount, with the order's own factor."""
        return base(counted, self.per_unit, minor) * self.factor


class Refunded(NamedTuple):
    """What of an order was given back: in all, without lines, what counted of that with lines; the latest moment."""

    key: bytes
    amount: int = 0
    plain: int = 0
    lined: int = 0
    at: int = 0

    def counted(self, order: Order) -> int:
        """The counted refund so far, in any order of the refunds: without lines in the order's own proportion."""
        if self.amount >= order.amount:
            return order.counted
        share = (2 * self.plain * order.counted + order.amount) // (2 * order.amount)  # rounded half up
        return min(order.counted, self.lined + share)


def base(counted: int, per_unit: int, minor: int) -> int:
    """The points of a counted amount (minor units) at so many thousandths of a point per unit, floored once."""
    return counted * per_unit // (minor * THOUSANDTHS)


def order_key(id_key: bytes, order_id: str) -> bytes:
    """The 8 bytes an order is known by."""
    keyed = hasher(id_key, HASH_SIZE).copy()
    keyed.update(b"order\x1f" + order_id.encode())
    return keyed.digest()


def repeated(
    rules: Rules, state: MemberState, key: bytes, action: Purchase, moment: Moment
) -> OrderRepeat | OrderConflict | None:
    """The fact about an order that this member has reported before: the first counts, whatever its source."""
    first = find(rules, state, key, moment.clock)
    if first is None:
        return None
    fact: OrderRepeat | OrderConflict
    if first.amount == action.amount:
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
            first_amount=first.amount,
        )
    return fact


def counted_amount(rules: Rules, action: Purchase) -> int:
    """The amount less the lines of categories that the programme excludes, in minor units, at least 0."""
    if not rules.excluded or not action.lines:
        return action.amount
    return max(0, action.amount - excluded(rules, action.lines))


def excluded(rules: Rules, lines: tuple[Line, ...]) -> int:
    """What of an order's or a refund's lines does not count, in minor units."""
    return sum(line.amount for line in lines if line.category in rules.excluded)


def note_excluded(rules: Rules, state: MemberState, key: bytes, lines: tuple[Line, ...]) -> None:
    """Note which categories of an order do not count, for its refunds: later versions may exclude others."""
    categories = sorted({category_key(line.category) for line in lines if line.category in rules.excluded})
    state.excluded += b"".join(EXCLUDED.pack(key, category) for category in categories)


def noted_excluded(state: MemberState, key: bytes) -> frozenset[int]:
    """The categories, by their keys, of an order that did not count when it was judged."""
    return frozenset(category for order, category in EXCLUDED.iter_unpack(state.excluded) if order == key)


def category_key(category: str) -> int:
    """What a category is known by beside an order or a refund: names of 500 lines would be too long."""
    return zlib.crc32(category.encode())


def remember(rules: Rules, state: MemberState, order: Order, clock: int) -> None:
    """Add an order to the list, which stays sorted by moment; what is too old or too much leaves it."""
    orders = state.orders
    place = len(orders)
    while place and ORDER.unpack_from(orders, place - SIZE)[1] > order.at:
        place -= SIZE
    orders = orders[:place] + ORDER.pack(*order) + orders[place:]
    many = max(0, len(orders) - rules.orders_kept * SIZE)
    start, oldest = many, clock - rules.orders_ms
    while start < len(orders) and ORDER.unpack_from(orders, start)[1] < oldest:
        start += SIZE
    if start:
        _drop(state, orders[:start], many)
    state.orders = orders[start:]


def find(rules: Rules, state: MemberState, key: bytes, clock: int) -> Order | None:
    """An order of the list by its key, unless it is too old for it."""
    at = _find(state.orders, key)
    if at < 0:
        return None
    order = Order._make(ORDER.unpack_from(state.orders, at))
    return order if order.at >= clock - rules.orders_ms else None


def known(state: MemberState) -> Iterator[Order]:
    """The orders of the list, oldest first."""
    return map(Order._make, ORDER.iter_unpack(state.orders))


def replace(state: MemberState, order: Order) -> None:
    """Write back what changed of an order of the list; its moment stays."""
    at = _find(state.orders, order.key)
    state.orders = state.orders[:at] + ORDER.pack(*order) + state.orders[at + SIZE :]


def refunded(state: MemberState, key: bytes) -> Refunded:
    """What of an order was refunded."""
    for row in REFUNDED.iter_unpack(state.refunded):
        if row[0] == key:
            return Refunded._make(row)
    return Refunded(key)


def note_refunded(state: MemberState, row: Refunded) -> None:
    """Write back what of an order was refunded."""
    others = [REFUNDED.pack(*other) for other in REFUNDED.iter_unpack(state.refunded) if other[0] != row.key]
    state.refunded = b"".join(others) + REFUNDED.pack(*row)


def is_gone(state: MemberState, order: Order) -> bool:
    """Whether an order is fully refunded; one of amount 0 is when its redeem was cancelled."""
    if not order.amount:
        return bool(order.flags & UNPAID)
    return bool(state.refunded) and refunded(state, order.key).amount >= order.amount


def last_standing(state: MemberState) -> int:
    """The moment of the newest order that is not fully refunded; 0 = there is none."""
    return max((order.at for order in known(state) if not is_gone(state, order)), default=0) or state.older_purchase


def begins_at(rules: Rules, state: MemberState, clock: int) -> int:
    """From which moment on every order is in the list."""
    return max(clock - rules.orders_ms, state.dropped_until + 1 if state.dropped_until else 0)


def spend(state: MemberState, month: int, counted: int) -> None:
    """Add a counted amount to the programme month of its order; months are sorted, the newest are kept."""
    rows = state.spend
    last = len(rows) - SPEND.size
    if last >= 0 and SPEND.unpack_from(rows, last)[0] == month:
        state.spend = rows[:last] + SPEND.pack(month, SPEND.unpack_from(rows, last)[1] + counted)
        return
    months = spend_by_month(state)
    if counted >= 0 or month in months:
        months[month] = months.get(month, 0) + counted
        state.spend = b"".join(SPEND.pack(*row) for row in sorted(months.items())[-SPEND_MONTHS:])


def spend_by_month(state: MemberState) -> dict[int, int]:
    """Net spend in minor units by programme month, oldest first."""
    return dict(SPEND.iter_unpack(state.spend))


def _drop(state: MemberState, rows: bytes, many: int) -> None:
    """Orders that leave the list: the first `many` bytes because it is full, the others because of their age."""
    gone = [Order._make(row) for row in ORDER.iter_unpack(rows)]
    if many:
        state.dropped_until = max(state.dropped_until, gone[many // SIZE - 1].at)
    for order in gone:
        if not is_gone(state, order):
            state.older_purchase = max(state.older_purchase, order.at)
    keys = {order.key for order in gone}
    if state.excluded:
        noted = [EXCLUDED.pack(*row) for row in EXCLUDED.iter_unpack(state.excluded) if row[0] not in keys]
        state.excluded = b"".join(noted)
    if state.refunded:
        kept = [REFUNDED.pack(*row) for row in REFUNDED.iter_unpack(state.refunded) if row[0] not in keys]
        state.refunded = b"".join(kept)


def _find(orders: bytes, key: bytes) -> int:
    at = orders.find(key)
    while at >= 0 and at % SIZE:
        at = orders.find(key, at + 1)
    return at
