"""Days with a purchase in the plainest way: of the CDNOW file, and of decoded facts."""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from processors.calendar import Calendar
from schemas.facts import Fact, Ledger, SpendBrought
from streams.fit import Customers

EPOCH = dt.date(1970, 1, 1)


def of_cdnow(path: Path) -> dict[str, set[int]]:
    """Customer -> days since 1970 with a purchase."""
    days: dict[str, set[int]] = defaultdict(set)
    for line in path.read_text().splitlines():
        customer, _, date, *_ = line.split()
        days[customer].add((dt.date(int(date[:4]), int(date[4:6]), int(date[6:])) - EPOCH).days)
    return days


def of_facts(facts: Iterable[Fact], calendar: Calendar, end: int) -> dict[str, set[int]]:
    """The same by orders that stand as of a programme day's end."""
    bought: dict[tuple[str, str], int] = {}
    entries: dict[tuple[str, str], list[tuple[str, int]]] = defaultdict(list)
    for fact in facts:
        if fact.effective_at >= calendar.day_start(end + 1):
            continue
        if isinstance(fact, SpendBrought) and fact.bought_at:
            bought[fact.member_id, ""] = fact.bought_at
            entries[fact.member_id, ""].append(("brought", fact.spend))
        if isinstance(fact, Ledger) and fact.order_id and fact.entry in ("earned", "reversed"):
            key = fact.member_id, fact.order_id
            if fact.rule == "purchase":
                bought[key] = fact.effective_at
            if fact.rule in ("purchase", "refund"):
                entries[key].append((fact.rule, fact.spend))
    days: dict[str, set[int]] = defaultdict(set)
    for (member, order), at in bought.items():
        told = entries[member, order]
        counted = any(rule == "purchase" and spend for rule, spend in told)
        if not counted or sum(spend for _, spend in told) > 0:
            days[member].add(calendar.day(at))
    return days


def customers(known: Mapping[str, set[int]], then: Mapping[str, set[int]], cut: int, horizon: int) -> list[Customers]:
    """Histories as of the end of a day, and how many of each bought in the days after it."""
    many: Counter[tuple[int, int, int]] = Counter()
    bought: Counter[tuple[int, int, int]] = Counter()
    for member, all_days in known.items():
        days = sorted(day for day in all_days if day <= cut)
        if days:
            history = len(days) - 1, days[-1] - days[0], cut - days[0]
            many[history] += 1
            bought[history] += any(cut < day <= cut + horizon for day in then.get(member, ()))
    return [Customers(*history, count, bought[history]) for history, count in sorted(many.items())]
