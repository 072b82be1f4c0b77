"""What the CDNOW log must lead to, worked out without any code of the pipeline: plain dates, a few loops.

Each line is an order at noon in New York, in dollars, and the member's only kind of action. `oracle` gives,
as of the start of 1 July 1998, who was in which tier from when to when, points and their lots by earning
month, and the spend of each month. The numbers of the programme are written here once more, on purpose.
"""

from __future__ import annotations

import datetime as dt
import itertools
import zoneinfo
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

NEW_YORK = zoneinfo.ZoneInfo("America/New_York")
END = dt.datetime(1998, 7, 1, tzinfo=NEW_YORK).astimezone(dt.UTC)  # the tick that ends 30 June

BUYING = (("red", 14), ("light", 30), ("medium", 60), ("heavy", 90))
PRESENCE = (("yellow", 7), ("L1", 30), ("L2", 38), ("L3", 46), ("lost", 61))
RETURN_WINDOW = dt.timedelta(days=7)
COMEBACK_AFTER = dt.timedelta(days=30)
COMEBACK_POINTS = 50
COMEBACKS_A_YEAR = 4
LOT_MONTHS = 13


@dataclass(frozen=True)
class Order:
    """A line of the file."""

    member_id: str
    event_id: str
    at: dt.datetime
    cents: int


@dataclass(frozen=True)
class Spell:
    """A tier held from a moment to a moment; `left` is None while it is still held."""

    tier: str
    entered: dt.datetime
    left: dt.datetime | None


@dataclass
class Expected:
    """What must be true of one customer at the end. Months are year x 12 + month - 1, moments UTC."""

    orders: int = 0
    comebacks: int = 0
    issued: int = 0
    active: int = 0
    pending: int = 0
    expired: int = 0
    lots: dict[int, int] = field(default_factory=dict)
    spend: dict[int, int] = field(default_factory=dict)
    buying: list[Spell] = field(default_factory=list)
    presence: list[Spell] = field(default_factory=list)


def oracle(path: Path) -> dict[str, Expected]:
    """What must come out of a file, by member id."""
    by_member: dict[str, list[Order]] = {}
    for order in read(path.read_text().splitlines()):
        by_member.setdefault(order.member_id, []).append(order)
    return {member_id: expected(orders) for member_id, orders in by_member.items()}


def read(lines: Iterable[str]) -> list[Order]:
    """The orders of a file; lines are counted from 1."""
    orders = []
    for number, line in enumerate(lines, 1):
        customer, _, date, _, dollars = line.split()
        noon = dt.datetime.strptime(date, "%Y%m%d").replace(hour=12, tzinfo=NEW_YORK)
        orders.append(
            Order(
                member_id=f"cdnow-{customer}",
                event_id=f"{customer}:{number}",
                at=noon.astimezone(dt.UTC),
                cents=int(Decimal(dollars) * 100),
            )
        )
    return orders


def expected(orders: list[Order], end: dt.datetime = END) -> Expected:
    """What must be true of the customer with these orders."""
    orders = sorted(orders, key=lambda order: order.at)
    result = Expected(orders=len(orders))
    for order in orders:
        month, points = month_of(order.at), order.cents // 100
        result.issued += points
        result.spend[month] = result.spend.get(month, 0) + order.cents
        if order.at + RETURN_WINDOW <= end:
            result.active += points
            _into_lot(result, month, points)
        else:
            result.pending += points
    for moment in comebacks(orders):
        result.comebacks += 1
        result.issued += COMEBACK_POINTS
        result.active += COMEBACK_POINTS
        _into_lot(result, month_of(moment), COMEBACK_POINTS)
    for month in [month for month in result.lots if ms(lot_ends(month)) <= ms(end)]:
        points = result.lots.pop(month)
        result.active -= points
        result.expired += points
    result.buying = spells(orders, BUYING, end)
    result.presence = spells(orders, PRESENCE, end)
    return result


def _into_lot(result: Expected, month: int, points: int) -> None:
    if points:
        result.lots[month] = result.lots.get(month, 0) + points


def month_of(moment: dt.datetime) -> int:
    """The month in New York."""
    local = moment.astimezone(NEW_YORK)
    return local.year * 12 + local.month - 1


def lot_ends(month: int) -> dt.datetime:
    """When the points of a month end: midnight in New York, 13 months after it began."""
    year, index = divmod(month + LOT_MONTHS, 12)
    return dt.datetime(year, index + 1, 1, tzinfo=NEW_YORK)


def comebacks(orders: list[Order]) -> list[dt.datetime]:
    """The orders that follow 30 days of silence, the first four of each year."""
    paid: dict[int, int] = {}
    found = []
    for before, order in itertools.pairwise(orders):
        year = order.at.astimezone(NEW_YORK).year
        if order.at - before.at >= COMEBACK_AFTER and paid.get(year, 0) < COMEBACKS_A_YEAR:
            paid[year] = paid.get(year, 0) + 1
            found.append(order.at)
    return found


def spells(orders: list[Order], ladder: tuple[tuple[str, int], ...], end: dt.datetime) -> list[Spell]:
    """The tiers between each order and the next, or the end. One due at the next order is held for 0 s."""
    moments = sorted({order.at for order in orders})
    found = []
    for last, following in zip(moments, [*moments[1:], None], strict=True):
        until = following or end
        begins = [(tier, last + dt.timedelta(days=days)) for tier, days in ladder]
        held = [(tier, begin) for tier, begin in begins if begin <= until]
        ends = [begin for _, begin in held[1:]]
        found += [Spell(tier, begin, left) for (tier, begin), left in zip(held, [*ends, following], strict=False)]
    return found


def ms(moment: dt.datetime) -> int:
    """A moment as the pipeline writes it."""
    return round(moment.timestamp() * 1000)
