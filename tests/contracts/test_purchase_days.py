"""Days with a purchase as both engines count them are those of the same facts gone through one by one."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from processors.calendar import DAY_MS, Calendar
from schemas import aggregates, facts
from schemas.aggregates import Calibration
from schemas.facts import Fact, Ledger, SpendBrought
from schemas.tables import CALIBRATION
from streams.analytics import AnalyticsStore, Block
from streams.purchase_days import histories, spans_of
from streams.sink_start import highest_rows
from tests.oracles.cdnow import read
from tests.oracles.purchase_days import customers, of_cdnow, of_facts
from tests.rows import blocks_of

pytestmark = pytest.mark.real

SAMPLE = Path("tests/data/cdnow_sample.txt")
HOUR = 3_600_000
CALENDARS = [
    Calendar("Asia/Shanghai", 0),
    Calendar("America/New_York", 4),  # two changes of clocks a year, and a day that begins late
    Calendar("Australia/Lord_Howe", 0),  # half an hour of them
]
FIRST = 20_089  # 1 January 2025


def lived(calendar: Calendar) -> list[Fact]:
    """A year and a half of orders around the edges of days, some given back, some of nothing; and openings."""
    rnd, found = random.Random(11), list[Fact]()

    def head(member: str, at: int) -> dict[str, object]:
        n = len(found) + 1
        place = {"log": "live-1", "partition": 0, "offset": n, "index": 0, "n": n}
        return place | {"member_id": member, "effective_at": at, "decided_at": at}

    for number in range(400):
        member, day = f"M{number:03}", FIRST + rnd.randrange(0, 400)
        for order in range(rnd.choice([1, 1, 1, 2, 3, 8])):
            edge = rnd.choice([0, 0, HOUR // 2, HOUR, 12 * HOUR, 23 * HOUR, -1, -HOUR, -2 * HOUR + 1])
            at = calendar.day_start(day + (edge < 0)) + edge
            spend = rnd.choice([0, 5_000, 70_000])
            bought = Ledger(**head(member, at), rule="purchase", action="purchase", entry="earned", spend=spend)  # type: ignore[arg-type]
            bought.order_id = f"o-{number}-{order}"
            found.append(bought)
            if rnd.random() < 0.3:
                later = at + rnd.randrange(1, 60 * DAY_MS)
                back = Ledger(**head(member, later), rule="refund", action="refund", entry="reversed")  # type: ignore[arg-type]
                back.order_id, back.spend, back.amends = bought.order_id, -rnd.choice([spend, spend // 2]), (1, 1)
                found.append(back)
            day += rnd.choice([0, 0, 1, 7, 30, 90])
    for number in range(380, 420):
        at = calendar.day_start(FIRST + rnd.randrange(300))
        brought = SpendBrought(**head(f"M{number:03}", at), month=24_000, spend=100)  # type: ignore[arg-type]
        brought.bought_at = rnd.choice([0, at - 40 * DAY_MS])
        found.append(brought)
    return found


@pytest.mark.parametrize("calendar", CALENDARS, ids=lambda it: it.zone_name)
def test_histories_are_those_of_the_facts(store: AnalyticsStore, calendar: Calendar) -> None:
    told = lived(calendar)
    for block in blocks_of([facts.encode(fact) for fact in told]):
        store.insert(block)
        store.insert(block)  # again: nothing counts twice
    edges = {calendar.day_start(day + 1) - calendar.day_start(day) for day in range(FIRST, FIRST + 400)}
    assert (edges == {DAY_MS}) == (calendar.zone_name == "Asia/Shanghai")
    for cut, horizon in ((FIRST + 100, 30), (FIRST + 250, 273), (FIRST + 400, 0), (FIRST - 60, 30)):
        known, then = of_facts(told, calendar, cut), of_facts(told, calendar, cut + horizon)
        found = histories(store, "live-1", (calendar, FIRST - 10), cut, horizon)
        assert found == customers(known, then, cut, horizon)
        assert (sum(it.customers for it in found) > 100) == (cut > FIRST)
        assert (sum(it.bought for it in found) > 10) == (cut > FIRST and horizon > 0)
    assert histories(store, "live-2", (calendar, FIRST), FIRST + 100) == []


def test_the_sample_gives_the_summary_that_everybody_uses(store: AnalyticsStore) -> None:
    """2,357 customers after 39 weeks, 1,411 of whom bought on one day only."""
    calendar = Calendar("America/New_York", 0)
    told: list[bytes] = []
    for n, order in enumerate(read(SAMPLE.read_text().splitlines()), 1):
        at = round(order.at.timestamp() * 1000)
        fact = Ledger(member_id=order.member_id, effective_at=at, decided_at=at, rule="purchase", entry="earned")
        fact.log, fact.offset, fact.n, fact.order_id, fact.spend = "cdnow-1", n, n, order.event_id, order.cents
        told.append(facts.encode(fact))
    for block in blocks_of(told):
        store.insert(block)
    cut = 10_134  # 30 September 1997
    days = of_cdnow(SAMPLE)
    found = histories(store, "cdnow-1", (calendar, 9_862), cut, 273)
    assert found == customers(days, days, cut, 273)
    assert sum(it.customers for it in found) == 2_357
    assert sum(it.customers for it in found if not it.repeats) == 1_411


@pytest.mark.parametrize("calendar", CALENDARS, ids=lambda it: it.zone_name)
def test_spans_find_the_day_of_every_moment(calendar: Calendar) -> None:
    spans = spans_of(calendar, FIRST, FIRST + 800)
    assert len(spans.starts) <= 6
    for day in range(FIRST, FIRST + 800):
        start, end = calendar.day_start(day), calendar.day_start(day + 1)
        for moment in (start, start + 1, (start + end) // 2, end - HOUR, end - 1):
            at = sum(begin <= moment for begin in spans.starts) - 1
            assert min((moment + spans.shifts[at]) // DAY_MS, spans.lasts[at]) == day


def test_the_newest_calibration_counts_and_shows_shares(store: AnalyticsStore) -> None:
    def row(version: int, bought: int) -> bytes:
        return aggregates.encode(
            Calibration(
                log="live-1", at=20_000, horizon=30, decile=10, version=version, customers=200, bought=bought,
                predicted=50_000_000,
            )
        )  # fmt: skip

    for offset, message in enumerate([row(2, 60), row(1, 40)], 5):
        store.insert(Block(CALIBRATION, 0, [offset], [message]))
    shown = "SELECT toString(date), horizon, decile, customers, predicted_share, bought_share, gap FROM calibration_now"
    ((date, horizon, decile, many, predicted, bought, gap),) = store.query(shown)
    assert (date, horizon, decile, many, predicted, bought) == ("2024-10-04", 30, 10, 200, 0.25, 0.3)
    assert gap == pytest.approx(0.05)
    assert highest_rows(store, "live-1")[1] == {0: 6}
