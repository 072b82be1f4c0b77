"""Thresholds taken from ClickHouse are those of the same facts summed up here; both engines."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from processors.population import Population, added, decode
from schemas import facts
from schemas.facts import Fact, Ledger, Score
from schemas.settings import ClickHouse
from streams.analytics import AnalyticsStore
from streams.thresholds import behind, cuts_of, record, taken
from tests.oracles.population import cuts
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
    assert found == cuts(told, RULES, TODAY)
    assert set(found) == {"community", "recency", "frequency", "spend", "abc"}
    assert found["abc"].members == found["recency"].members
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


def test_before_any_fact_nothing_is_guessed(store: AnalyticsStore) -> None:
    assert taken(store, "live-1", RULES, TODAY) == {}


def test_a_sink_that_runs_behind_is_seen(store: AnalyticsStore) -> None:
    told = population()[:10]
    for block in blocks_of([facts.encode(fact) for fact in told]):
        store.insert(block)
    assert behind(store, "live-1", {0: 10}) == []
    assert behind(store, "live-1", {0: 11, 1: 1}) == [0, 1]
