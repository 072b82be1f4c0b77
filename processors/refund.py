"""Refunds: what an order gave is taken back, by policy, and what followed from it is undone by those it concerns.

Taken back in all = given - what the order is worth without what was refunded, one floor per order. A refund of an
order that is not known yet waits for it, so every order of arrival gives the same.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from processors import churn, ledger, orders, redeem
from processors.ledger import entry
from processors.orders import Order, Refunded
from processors.origins import names, origin, pack, unpack
from processors.told import Told
from processors.waiting import Due, changed
from schemas.actions import Action, Purchase, Refund
from schemas.facts import Fact, Ledger, RefundOrphan, RefundRefused
from schemas.member import PENDING, REFUND, MemberState

if TYPE_CHECKING:
    from processors.member import Moment
    from processors.programme import Rules


EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MILLISECOND = dt.timedelta(milliseconds=1)

TOLD = 5
"""How many names stand before the lines of a claim."""


class Counted(NamedTuple):
    """A refund that was counted.

    The order as it was before, by how much less it counts now, whether all of it is refunded.
    """

    order: Order
    counted: int
    whole: bool


class Claim(NamedTuple):
    """A refund as it was told; `lined` is the counted amount of its lines, -1 = it has none.

    That is by its own version, and holds for an order older than the list. Of one in the list counts what its own
    version counted: for that the `lines` are kept, also while it waits.
    """

    key: bytes
    at: int
    amount: int
    lined: int
    offset: int
    idx: int
    told: tuple[str, ...]  # order_id, source, event_id, region, group_id
    lines: tuple[str, ...]  # key of a category, amount, key, amount ...

    def counted(self, excluded: frozenset[int]) -> int:
        """The counted amount of its lines where these categories do not count."""
        pairs = zip(self.lines[::2], self.lines[1::2], strict=True)
        return max(0, self.amount - sum(int(amount) for category, amount in pairs if int(category) in excluded))


Follow = Callable[[Told, "Rules", Counted], None]

FOLLOWS: list[Follow] = [redeem.refunded]
"""Who is told of a counted refund, after points, spend and the buying tier: (told, in_force, counted).

Levels are judged once, when all of them have taken back what followed from the order. The action at hand is the refund,
the order it waited for, or the cancel of the redeem that paid an order of amount 0. Of an order older than the list
little is known: its `order` has the moment and no points, and is never whole.
"""


def refund(
    rules: Rules, in_force: Rules, id_key: bytes, state: MemberState, action: Refund, moment: Moment, facts: list[Fact]
) -> None:
    """An accepted refund: counted at once if its order is known, plain if that is too old, else it waits."""
    lined = max(0, action.amount - orders.excluded(rules, action.lines)) if action.lines else -1
    told = (action.order_id, action.source, action.event_id, action.region, action.group_id)
    key = orders.order_key(id_key, action.order_id)
    place = (moment.offset, moment.index + len(facts))
    claim = Claim(key, moment.at, action.amount, lined, *place, told, _lines(action))
    order = orders.find(rules, state, key, moment.clock)
    if order is not None:
        _settle(rules, in_force, state, order, claim, action, moment, facts)
    elif action.purchased_at is not None and _ms(action) < orders.begins_at(rules, state, moment.clock):
        _plain(rules, in_force, state, claim, _ms(action), action, moment, facts)
    else:
        _put(state, sorted([*_waiting(state), claim], key=lambda it: (it.at, it.offset, it.idx)))


def purchased(
    rules: Rules, in_force: Rules, state: MemberState, order: Order, action: Purchase, moment: Moment, facts: list[Fact]
) -> None:
    """An order was reported that refunds may wait for."""
    mine = [claim for claim in _waiting(state) if claim.key == order.key]
    if mine:
        _put(state, [claim for claim in _waiting(state) if claim.key != order.key])
    for claim in mine:
        now = orders.find(rules, state, order.key, moment.clock)
        if now is not None:
            _settle(rules, in_force, state, now, claim, action, moment, facts)
        else:  # the list is full of newer ones
            _plain(rules, in_force, state, claim, order.at, action, moment, facts)


def unpaid(
    rules: Rules, in_force: Rules, state: MemberState, key: bytes, action: Action, moment: Moment, facts: list[Fact]
) -> None:
    """The redeem that paid an order of amount 0 was cancelled: the order counts no longer."""
    order = orders.find(rules, state, key, moment.clock)
    if order is not None and not order.amount and not order.flags & orders.UNPAID:
        orders.replace(state, order._replace(flags=order.flags | orders.UNPAID))
        orders.note_refunded(state, orders.refunded(state, key)._replace(at=moment.at))
        _tell(rules, in_force, state, Counted(order, 0, whole=True), action, moment, facts)


def next_due(in_force: Rules, state: MemberState) -> int:
    """When the first refund has waited long enough; 0 = none waits."""
    return REFUND.unpack_from(state.refunds)[1] + in_force.refund_waits_ms if state.refunds else 0


def fall_due(due: Due) -> None:
    """Give up on refunds whose order never came: they go on a staff list."""
    rest = _waiting(due.state)
    while rest and rest[0].at + due.in_force.refund_waits_ms <= due.by:
        claim = rest.pop(0)
        fact = RefundOrphan(
            member_id=due.member_id,
            effective_at=claim.at + due.in_force.refund_waits_ms,
            decided_at=due.clock,
            order_id=claim.told[0],
            amount=claim.amount,
        )
        due.facts.append(_about(fact, due.in_force, claim))
    _put(due.state, rest)


def reprice(rules: Rules, state: MemberState, fact: Ledger, order: Order, factor: int) -> None:
    """Let an order's points be those of another factor, as a correction; `fact` is its entry and says by how much.

    The entry's `points` become the change; pending points stay pending, active ones join or leave their lot.
    """
    back = orders.refunded(state, order.key)
    now, minor = order._replace(factor=factor), rules.minor_units
    points = now.worth(order.counted - back.counted(order), minor)
    change = points - order.points
    issued = now.worth(order.counted, minor) - order.worth(order.counted, minor)
    # Of what was taken back the same share changes, or refund and correction would not give the same in any order.
    taken = max(issued - change, -state.reversed)
    state.issued += taken
    state.reversed += taken
    fact.points, fact.base, fact.factor, fact.reversed = change, change, factor, taken
    fact.amends = (order.offset, order.idx)
    waits = _pending(state, order)
    if waits >= 0:
        fact.active, fact.pending = 0, change
        state.issued += change
        state.pending += change
        _repend(state, waits, change)
    else:
        ledger.correct(rules, state, fact)
    fact.points += taken
    orders.replace(state, now._replace(points=points))


def _settle(
    rules: Rules,
    in_force: Rules,
    state: MemberState,
    order: Order,
    claim: Claim,
    action: Action,
    moment: Moment,
    facts: list[Fact],
) -> None:
    """Count a refund against its order."""
    before = orders.refunded(state, order.key)
    if before.amount + claim.amount > order.amount:
        left = order.amount - before.amount
        refused = RefundRefused(
            member_id=action.member_id,
            effective_at=claim.at,
            decided_at=moment.clock,
            order_id=claim.told[0],
            amount=claim.amount,
            first_amount=order.amount,
            left=left,
            reason="above_amount",
        )
        facts.append(_about(refused, rules, claim))
        return
    # Of an order without excluded lines nothing is excluded later: what was noted with it counts.
    plain = claim.lined < 0 or order.counted == order.amount
    first = len(facts)
    after = Refunded(
        order.key,
        before.amount + claim.amount,
        before.plain + (claim.amount if plain else 0),
        before.lined + (0 if plain else claim.counted(orders.noted_excluded(state, order.key))),
        max(before.at, claim.at) if claim.amount else before.at,  # a refund of nothing makes no order gone later
    )
    orders.note_refunded(state, after)
    less = after.counted(order) - before.counted(order)
    points = order.worth(order.counted - after.counted(order), rules.minor_units)
    month = rules.calendar.month(rules.calendar.day(order.at))
    orders.spend(state, month, -less)
    fact = _entry(rules, state, claim, action, moment, month)
    fact.amends, fact.spend = (order.offset, order.idx), -less
    owed = order.points - points
    fact.because = (
        f"-{owed}: of {order.points} points, {points} are left of the order" if owed else "0: no point changes"
    )
    _take_back(rules, state, fact, order, owed, moment.clock)
    if not (owed or less):
        fact.reason = "excluded"
    facts.append(fact)
    orders.replace(state, order._replace(points=points))
    _tell(rules, in_force, state, Counted(order, less, after.amount >= order.amount), action, moment, facts)
    ledger.credits_first(rules, state, facts[first:], moment.clock)


def _tell(
    rules: Rules,
    in_force: Rules,
    state: MemberState,
    counted: Counted,
    action: Action,
    moment: Moment,
    facts: list[Fact],
) -> None:
    """The buying tier is judged from the newest order that stands; then everybody is told."""
    if counted.whole:
        last = orders.last_standing(state)
        if last < state.last_purchase:
            churn.unbought(in_force, state, action, last, moment, facts)
    told = Told(rules, state, action, moment, facts, refund=True)
    for follow in FOLLOWS:
        follow(told, in_force, counted)


def _take_back(rules: Rules, state: MemberState, fact: Ledger, order: Order, owed: int, clock: int) -> None:
    """Pending points first; then, by policy, active ones of the order's own lot, of the others, and debt."""
    waits = _pending(state, order)
    if waits >= 0 and owed:
        ledger.cancel(state, fact, owed)
        _repend(state, waits, -owed)
        return
    ledger.take_back(rules, state, fact, owed, rules.lot_ends[fact.month], clock)


def _plain(
    rules: Rules,
    in_force: Rules,
    state: MemberState,
    claim: Claim,
    bought_at: int,
    action: Action,
    moment: Moment,
    facts: list[Fact],
) -> None:
    """A refund of an order from before the list: its worth at factor 1, by the same policy, marked `plain`."""
    counted = claim.lined if claim.lined >= 0 else claim.amount
    month = rules.calendar.month(rules.calendar.day(bought_at))
    spent = orders.spend_by_month(state).get(month, 0)
    less = min(spent, counted)
    orders.spend(state, month, -less)
    owed = orders.base(counted, rules.per_unit, rules.minor_units)
    fact = _entry(rules, state, claim, action, moment, month)
    fact.because = f"-{owed}: the order is older than the list, so plain"
    ledger.take_back(rules, state, fact, owed, rules.lot_ends[month], moment.clock)
    fact.spend, fact.reason = -less, "plain"
    facts.append(fact)
    order = Order(claim.key, bought_at, claim.amount, less, 0, rules.per_unit, 1, 0, claim.offset, claim.idx)
    _tell(rules, in_force, state, Counted(order, less, whole=False), action, moment, facts)


def _entry(rules: Rules, state: MemberState, claim: Claim, action: Action, moment: Moment, month: int) -> Ledger:
    """An entry of 0 of the refund, which may have waited for the action at hand."""
    fact = entry(rules, state, action, moment, month, "refund", 0, "")
    fact.entry, fact.effective_at = "reversed", claim.at
    fact.order_id, fact.source, fact.event_id, fact.region, fact.group_id = claim.told
    return fact


def _about(fact: Any, rules: Rules, claim: Claim) -> Any:
    fact.programme, fact.rules, fact.action = rules.number, rules.rules, "refund"
    fact.order_id, fact.source, fact.event_id, fact.region, fact.group_id = claim.told
    return fact


def _pending(state: MemberState, order: Order) -> int:
    """Where the order's points wait in the pending ones; -1 = they do not."""
    for place, row in enumerate(PENDING.iter_unpack(state.pendings)):
        if row[3:] == (order.offset, order.idx):
            return place * PENDING.size
    return -1


def _repend(state: MemberState, place: int, change: int) -> None:
    """Change the points of a pending row; one without points goes."""
    due, month, points, offset, index = PENDING.unpack_from(state.pendings, place)
    row = PENDING.pack(due, month, points + change, offset, index) if points + change else b""
    state.pendings = state.pendings[:place] + row + state.pendings[place + PENDING.size :]


def _waiting(state: MemberState) -> list[Claim]:
    rows = ((row, names(told)) for row, told in unpack(REFUND, state.refunds))
    return [Claim._make((*row, told[:TOLD], told[TOLD:])) for row, told in rows]


def _put(state: MemberState, claims: list[Claim]) -> None:
    state.refunds = b"".join(pack(REFUND, claim[:-2], origin(claim.told + claim.lines)) for claim in claims)  # type: ignore[arg-type]
    changed(state)


def _lines(action: Refund) -> tuple[str, ...]:
    return tuple(str(it) for line in action.lines for it in (orders.category_key(line.category), line.amount))


def _ms(action: Refund) -> int:
    assert action.purchased_at is not None
    return (action.purchased_at - EPOCH) // MILLISECOND
