"""Population values of one partition, folded from its facts: what `streams/thresholds.py` asks ClickHouse for.

A simulation has facts that no table holds. A member's facts are all in one partition, so counts of partitions add up.
What no later day can ask for is forgotten.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from processors.boards import Told
from processors.calendar import DAY_MS
from processors.programme import Rules

NAMES = ("community", "recency", "frequency", "spend", "abc")
ORDERS = ("purchase", "refund")
COUNTED = ("earned", "reversed")

Counts = dict[int, int]
"""value -> members that have it."""


class Noted(Told):
    """What boards and populations read of a fact; other fields pass by."""

    action: str = ""
    month: int = 0
    order_id: str = ""
    bought_at: int = 0


class Row(Noted, array_like=True, gc=False):
    """The same, kept small."""


class Entry(NamedTuple):
    """An order's entry, a refund of it, or a month's spend brought along; true since `at`."""

    month: int
    at: int
    bought_at: int  # 0 = it is no purchase
    spend: int


decode = msgspec.json.Decoder(Noted).decode

Shape = tuple[str, int, frozenset[str]]
"""What of a programme decides on which day an action counts, and whether it does."""


def shape_of(rules: Rules) -> Shape:
    """The shape of a version."""
    calendar = rules.calendar
    return calendar.zone_name, calendar.day_starts_at, frozenset(rules.programme.levels.top.actions)


class Population:
    """The fold. `add` facts in their order; `counts` are those of a closed programme day.

    `versions` are those by which days will be asked for.
    """

    def __init__(self, versions: Iterable[Rules]) -> None:
        self._versions = {shape_of(rules): rules for rules in versions}
        self._days = max((rules.levels.top_days for rules in self._versions.values()), default=0)
        self._months = max((rules.levels.months for rules in self._versions.values()), default=0)
        self._talk: dict[Shape, dict[int, dict[str, int]]] = {shape: {} for shape in self._versions}
        self._orders: dict[str, dict[str, list[Entry]]] = {}
        self._swept = 0

    def add(self, fact: Noted) -> None:
        """One fact more."""
        if not self._versions:
            return
        if fact.kind == "ledger":
            if fact.order_id and fact.rule in ORDERS and fact.entry in COUNTED:
                self._money(fact, fact.order_id, fact.effective_at if fact.rule == "purchase" else 0)
            elif fact.spend:
                self._money(fact, "", 0)
            if fact.rule == fact.action and fact.amends is None:
                self._talked(fact)
        elif fact.kind == "score":
            self._talked(fact)
        elif fact.kind == "spend.brought":
            self._money(fact, "", fact.bought_at)
        if fact.decided_at // DAY_MS != self._swept:
            self._sweep(fact.decided_at)

    def counts(self, rules: Rules, day: int) -> dict[str, Counts]:
        """How many members have each value at the end of a day: weights in thousandths, spend in minor units."""
        levels, calendar = rules.levels, rules.calendar
        talk: Counter[str] = Counter()
        days = self._talk[shape_of(rules)]
        for one in range(day - levels.top_days + 1, day + 1):
            for member_id, weight in days.get(one, {}).items():
                talk[member_id] += min(weight, levels.day_cap)
        last, until = calendar.month(day), calendar.day_start(day + 1)
        first = last - levels.months + 1
        recency: dict[str, int] = {}
        frequency: dict[str, int] = {}
        spend: dict[str, int] = {}
        for member_id, orders in self._orders.items():
            asked = [[it for it in of if it.at < until and first <= it.month <= last] for of in orders.values()]
            bought = [at for entries in asked if (at := _bought_at(entries))]
            if bought:
                recency[member_id] = (until - max(bought)) // DAY_MS
                frequency[member_id] = len(bought)
            amounts = [it.spend for entries in asked for it in entries if it.spend]
            if amounts:
                spend[member_id] = sum(amounts)
        return {
            "community": Counter(talk.values()),
            "recency": Counter(recency.values()),
            "frequency": Counter(frequency.values()),
            "spend": Counter(spend[member_id] for member_id in recency if member_id in spend),
            "abc": Counter(amount for amount in spend.values() if amount > 0),
        }

    def _money(self, fact: Noted, order_id: str, bought_at: int) -> None:
        """Spend of an order, or of none."""
        entry = Entry(fact.month, fact.effective_at, bought_at, fact.spend)
        self._orders.setdefault(fact.member_id, {}).setdefault(order_id, []).append(entry)

    def _talked(self, fact: Noted) -> None:
        for shape, days in self._talk.items():
            if fact.action in shape[2]:
                weights = days.setdefault(self._versions[shape].calendar.day(fact.effective_at), {})
                weights[fact.member_id] = weights.get(fact.member_id, 0) + fact.weight

    def _sweep(self, clock: int) -> None:
        """Once a day: days, and once a month: months that lie too far behind the clock."""
        before, month = self._month(self._swept * DAY_MS), self._month(clock)
        self._swept = clock // DAY_MS
        for shape, days in self._talk.items():
            oldest = self._versions[shape].calendar.day(clock) - self._days - 2
            for day in [day for day in days if day < oldest]:
                del days[day]
        if before != month:
            self._forget(month - self._months - 1)

    def _forget(self, oldest: int) -> None:
        for member_id, orders in list(self._orders.items()):
            for order_id in [it for it, entries in orders.items() if all(entry.month < oldest for entry in entries)]:
                del orders[order_id]
            if not orders:
                del self._orders[member_id]

    def _month(self, clock: int) -> int:
        return max(it.calendar.month(it.calendar.day(clock)) for it in self._versions.values())


def added(parts: Iterable[Mapping[str, Counts]]) -> dict[str, list[tuple[int, int]]]:
    """The counts of all partitions together, values ascending."""
    sums: dict[str, Counter[int]] = {name: Counter() for name in NAMES}
    for part in parts:
        for name, counts in part.items():
            sums[name].update(counts)
    return {name: sorted(counts.items()) for name, counts in sums.items()}


def _bought_at(entries: list[Entry]) -> int:
    """When an order was bought that stands, 0 for one that does not: all that counted of it is refunded."""
    net, counted = sum(entry.spend for entry in entries), sum(entry.spend for entry in entries if entry.bought_at)
    return max((entry.bought_at for entry in entries), default=0) if net > 0 or counted == 0 else 0
