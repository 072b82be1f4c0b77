"""Population values of a programme day, from decoded facts, in the plainest way: handbook 4.1 and 5."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from processors.programme import Rules
from schemas.facts import Fact, Ledger, Score, SpendBrought
from streams.thresholds import Cuts, classes, quintiles, top

DAY = 86_400_000


def cuts(facts: Iterable[Fact], rules: Rules, today: int) -> dict[str, Cuts]:
    """All of them; one that nobody has any of is left out."""
    levels, calendar = rules.levels, rules.calendar
    month, percent = calendar.month(today), rules.programme.levels.top.percent
    talk: dict[str, Counter[int]] = defaultdict(Counter)
    net: dict[str, Counter[str]] = defaultdict(Counter)
    counted: dict[str, Counter[str]] = defaultdict(Counter)
    last: dict[str, dict[str, int]] = defaultdict(dict)
    elsewhere: dict[str, int] = {}  # the last purchase of who brought one along
    spent: Counter[str] = Counter()
    end = calendar.day_start(today + 1)
    for fact in facts:
        if fact.effective_at >= end:
            continue
        if isinstance(fact, Ledger | Score) and _talks(fact, rules):
            day = calendar.day(fact.effective_at)
            if today - levels.top_days < day <= today:
                talk[fact.member_id][day] += fact.weight
        if not isinstance(fact, Ledger | SpendBrought) or not month - levels.months < fact.month <= month:
            continue
        if fact.spend:
            spent[fact.member_id] += fact.spend
        if isinstance(fact, SpendBrought):
            if fact.bought_at:
                elsewhere[fact.member_id] = fact.bought_at
            continue
        if fact.order_id and fact.rule in ("purchase", "refund") and fact.entry in ("earned", "reversed"):
            net[fact.member_id][fact.order_id] += fact.spend
            last[fact.member_id].setdefault(fact.order_id, 0)
            if fact.rule == "purchase":
                counted[fact.member_id][fact.order_id] += fact.spend
                last[fact.member_id][fact.order_id] = fact.effective_at
    buyers: dict[str, list[int]] = defaultdict(list)
    for member, at in elsewhere.items():
        buyers[member].append(at)
    for member, orders in last.items():
        stand = [at for o, at in orders.items() if at and (net[member][o] > 0 or not counted[member][o])]
        if stand:
            buyers[member] += stand
    found = {
        "community": top(_counts(sum(min(w, levels.day_cap) for w in of.values()) for of in talk.values()), percent),
        "recency": quintiles(_counts((end - max(of)) // DAY for of in buyers.values())),
        "frequency": quintiles(_counts(len(of) for of in buyers.values())),
        "spend": quintiles(_counts(spent[member] for member in buyers if member in spent)),
        "abc": classes(_counts(amount for amount in spent.values() if amount > 0), (60, 90)),
    }
    return {name: it for name, it in found.items() if it.members}


def _talks(fact: Ledger | Score, rules: Rules) -> bool:
    if isinstance(fact, Ledger) and (fact.amends is not None or fact.rule != fact.action):
        return False
    return fact.action in rules.programme.levels.top.actions


def _counts(values: Iterable[int]) -> list[tuple[int, int]]:
    return sorted(Counter(values).items())
