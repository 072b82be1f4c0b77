"""Thresholds taken from ClickHouse are those of the same facts summed up here; both engines."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas import facts
from schemas.facts import Fact, Ledger, Score
from schemas.settings import ClickHouse
from streams.analytics import AnalyticsStore
from streams.thresholds import behind, quintiles, record, taken, top
from tests.processors.story import DAY, RULES, START
from tests.rows import blocks_of

from .analytics_stores import chdb_settings, running, server_settings

pytestmark = pytest.mark.real
TODAY = RULES.calendar.day(START) + 40


@pytest.fixture(params=["chdb", "server"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AnalyticsStore]:
    settings: ClickHouse = (
        chdb_settings(tmp_path / "chdb")
        if request.param == "chdb"
        else server_settings(request.getfixturevalue("clickhouse_server"))
    )
    with running(settings) as opened:
        yield opened


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
    return found


def test_they_are_those_of_the_facts(store: AnalyticsStore) -> None:
    told = population()
    for block in blocks_of([facts.encode(fact) for fact in told]):
        store.insert(block)
        store.insert(block)  # again: nothing counts twice
    found = taken(store, "live-1", RULES, TODAY)
    days: dict[str, Counter[int]] = defaultdict(Counter)
    net: dict[str, Counter[str]] = defaultdict(Counter)
    last: dict[str, dict[str, int]] = defaultdict(dict)
    for fact in told:
        day = RULES.calendar.day(fact.effective_at)
        if getattr(fact, "action", "") in ("message", "check_in", "like") and TODAY - 30 < day <= TODAY:
            days[fact.member_id][day] += getattr(fact, "weight", 0)
        if isinstance(fact, Ledger) and fact.order_id:
            net[fact.member_id][fact.order_id] += fact.spend
            if fact.rule == "purchase":
                last[fact.member_id][fact.order_id] = fact.effective_at
    sums = Counter(sum(min(weight, 30_000) for weight in of.values()) for of in days.values())
    assert found["community"] == top(sorted(sums.items()), 10)
    standing = {m: [o for o, amount in of.items() if amount > 0] for m, of in net.items()}
    buyers = {m: of for m, of in standing.items() if of}
    end = RULES.calendar.day_start(TODAY + 1)
    recency = Counter((end - max(last[m][o] for o in of)) // DAY for m, of in buyers.items())
    assert found["recency"] == quintiles(sorted(recency.items()))
    assert found["frequency"] == quintiles(sorted(Counter(len(of) for of in buyers.values()).items()))
    assert found["spend"] == quintiles(sorted(Counter(sum(net[m].values()) for m in buyers).items()))
    assert found["abc"].members == len(buyers)
    control = record(found, RULES, TODAY, "op", "daily")
    assert control.values["community"] == [found["community"].values[0] / 1000]


def test_before_any_fact_nothing_is_guessed(store: AnalyticsStore) -> None:
    assert taken(store, "live-1", RULES, TODAY) == {}


def test_a_sink_that_runs_behind_is_seen(store: AnalyticsStore) -> None:
    told = population()[:10]
    for block in blocks_of([facts.encode(fact) for fact in told]):
        store.insert(block)
    assert behind(store, "live-1", {0: 10}) == []
    assert behind(store, "live-1", {0: 11, 1: 1}) == [0, 1]
