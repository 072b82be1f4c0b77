"""Thresholds taken from ClickHouse are those of the same facts summed up here; both engines."""

from __future__ import annotations

import random

import pytest

from processors.population import Population, added, decode
from schemas import facts
from schemas.facts import Fact, Ledger, Score, SpendBrought
from streams.analytics import AnalyticsStore
from streams.thresholds import behind, cuts_of, record, taken
from tests.oracles.population import cuts
from tests.processors.story import DAY, RULES, START
from tests.rows import blocks_of

pytestmark = pytest.mark.real
TODAY = RULES.calendar.day(START) + 40


def population() -> list[Fact]:
    """Members who talk a little or a lot, now or long ago, some of whom buy and give back."""
    rnd = random.Random(7)
    found: list[Fact] = []

    def head(member: int, day: int) -> dict[str, object]:
        n = len(found) + 1
        return {
            "log": "live-1", "partition": 0, "offset": n, "index": 0, "n": n, "member_id": f"M{member:03}",
            "effective_at": START + day * DAY + rnd.randrange(DAY), "decided_at": START + 41 * DAY,
        }  # fmt: skip

    for member in range(150):
        for _ in range(rnd.randrange(1, 40)):
            day = rnd.randrange(0, 41)
            kind = rnd.choice(["message", "check_in", "like", "login", "purchase"])
            if kind in ("like", "login"):
                found.append(Score(**head(member, day), action=kind, weight=500, score=1, activity_index=1))  # type: ignore[arg-type]
                continue
            entry = Ledger(**head(member, day), action=kind, rule=kind, entry="earned", weight=3_000)  # type: ignore[arg-type]
            entry.month = RULES.calendar.month(RULES.calendar.day(entry.effective_at))
            if kind == "purchase":
                entry.spend, entry.order_id = rnd.randrange(1, 50_000), f"o-{entry.n}"
            found.append(entry)
            if kind == "purchase" and rnd.random() < 0.3:
                back = Ledger(**head(member, 40), action="refund", rule="refund", entry="reversed")  # type: ignore[arg-type]
                back.month, back.order_id, back.spend, back.amends = entry.month, entry.order_id, -entry.spend, (1, 1)
                found.append(back)
    for member in range(100, 200):  # some of them have done nothing here yet
        day, last = rnd.randrange(0, 41), rnd.randrange(1, 500)
        began = RULES.calendar.month(RULES.calendar.day(START))
        bought_at = START - last * DAY if rnd.random() < 0.7 else 0
        bought_in = RULES.calendar.month(RULES.calendar.day(bought_at))
        for month in sorted({began - 14, began - 11, began - 3, bought_in} if bought_at else {began - 5}):
            said = head(member, day) | {"month": month, "action": "opening", "effective_at": START + day * DAY}
            spend, moment = rnd.choice([0, rnd.randrange(1, 90_000)]), bought_at if month == bought_in else 0
            found.append(SpendBrought(**said, spend=spend, bought_at=moment))  # type: ignore[arg-type]
    return found


def spender(of: str, day: int, spend: int, entry: str = "earned") -> Ledger:
    """One member's order, or its refund, at the beginning of a day."""
    rule = "purchase" if entry == "earned" else "refund"
    fact = Ledger(
        member_id=of, effective_at=RULES.calendar.day_start(day), decided_at=0, rule=rule, entry=entry, spend=spend
    )
    fact.month, fact.order_id = RULES.calendar.month(day), f"o-{of}"
    return fact


def test_they_are_those_of_the_facts(store: AnalyticsStore) -> None:
    told = population()
    for block in blocks_of([facts.encode(fact) for fact in told]):
        store.insert(block)
        store.insert(block)  # again: nothing counts twice
    found = taken(store, "live-1", RULES, TODAY)
    assert found == cuts(told, RULES, TODAY)
    assert set(found) == {"community", "recency", "frequency", "spend", "abc"}
    assert found["abc"].members > found["spend"].members > 100
    control = record(found, RULES, TODAY, "op", "daily")
    assert control.values["community"] == [found["community"].values[0] / 1000]


def test_a_fold_of_the_facts_counts_as_the_engine_does(store: AnalyticsStore) -> None:
    told = [facts.encode(fact) for fact in population()]
    for block in blocks_of(told):
        store.insert(block)
    folded = [Population([RULES]), Population([RULES])]  # of two partitions
    for raw in told:
        fact = decode(raw)
        folded[int(fact.member_id[1:]) % 2].add(fact)
    for today in (TODAY - 20, TODAY - 1, TODAY, TODAY + 20, TODAY + 400):
        counts = added(one.counts(RULES, today) for one in folded)
        assert cuts_of(counts, RULES) == taken(store, "live-1", RULES, today)
        assert cuts_of(counts, RULES) == cuts(population(), RULES, today)


def test_what_comes_after_the_day_changes_nothing_of_it(store: AnalyticsStore) -> None:
    """The record of a day is the same whenever it is taken: an order, a refund and an opening at the day's end."""
    day = RULES.calendar.day(START) + 9
    by_then = [spender("a", day, 30_000), spender("b", day, 10_000)]
    after = [spender("a", day + 1, -30_000, "reversed"), spender("c", day + 1, 70_000), spender("b", day + 1, 500)]
    month, opened = RULES.calendar.month(day), RULES.calendar.day_start(day + 1)
    after_too = SpendBrought(
        member_id="d", effective_at=opened, decided_at=0, action="opening", month=month, spend=9, bought_at=opened - 1
    )
    told = [*by_then, *after, after_too]
    fold = Population([RULES])
    for n, fact in enumerate(told, 1):
        fact.log, fact.partition, fact.offset, fact.index, fact.n = "live-1", 0, n, 0, n
        fold.add(decode(facts.encode(fact)))
    for block in blocks_of([facts.encode(fact) for fact in told]):
        store.insert(block)
    found = taken(store, "live-1", RULES, day)
    assert (
        found == cuts(told, RULES, day) == cuts_of(added([fold.counts(RULES, day)]), RULES) == cuts(by_then, RULES, day)
    )
    assert found["abc"] == ([30_000, 10_000], 2)
    assert found["recency"].members == found["spend"].members == 2


def test_what_an_opening_brings_along_counts(store: AnalyticsStore) -> None:
    """Spend in ABC and M, the last purchase in R and as one of F; who brings spend alone is no buyer."""
    day = RULES.calendar.day(START)
    opened = RULES.calendar.day_start(day)
    head = {"effective_at": opened, "decided_at": opened, "action": "opening"}
    month = RULES.calendar.month(day)
    told: list[Fact] = [
        SpendBrought(**head, member_id="a", month=month - 3, spend=40_000),  # type: ignore[arg-type]
        SpendBrought(**head, member_id="a", month=month - 1, spend=20_000, bought_at=opened - 5 * DAY),  # type: ignore[arg-type]
        SpendBrought(**head, member_id="b", month=month - 11, spend=5_000),  # type: ignore[arg-type]
        SpendBrought(**head, member_id="b", month=month - 12, spend=900_000, bought_at=opened - 360 * DAY),  # type: ignore[arg-type]
    ]
    for n, fact in enumerate(told, 1):
        fact.log, fact.partition, fact.offset, fact.index, fact.n = "live-1", 0, 1, n, n
    for block in blocks_of([facts.encode(fact) for fact in told]):
        store.insert(block)
    found = taken(store, "live-1", RULES, day)
    assert found == cuts(told, RULES, day)
    assert found["abc"] == ([60_000, 60_000], 2)
    assert found["spend"] == ([60_000] * 4, 1)
    assert found["recency"] == ([6] * 4, 1)
    assert found["frequency"] == ([1] * 4, 1)


def test_before_any_fact_nothing_is_guessed(store: AnalyticsStore) -> None:
    assert taken(store, "live-1", RULES, TODAY) == {}


def test_a_sink_that_runs_behind_is_seen(store: AnalyticsStore) -> None:
    told = population()[:10]
    for block in blocks_of([facts.encode(fact) for fact in told]):
        store.insert(block)
    assert behind(store, "live-1", {0: 10}) == []
    assert behind(store, "live-1", {0: 11, 1: 1}) == [0, 1]
