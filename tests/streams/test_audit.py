"""What an audit says when stores differ; that they do not is shown on real parts (`tests/e2e/test_rebuild.py`)."""

from __future__ import annotations

import io

import msgspec
import pytest
from rich.console import Console

from schemas.aggregates import Bucket
from schemas.tables import AGGREGATES
from streams.analytics import Row
from streams.audit import (
    Audit,
    PartitionAudit,
    Sums,
    _compare_buckets,
    _place,
    _totals_sql,
    _unlike,
    _unlike_images,
    tables,
)
from streams.replay import Replay
from streams.store import Dump, Identity
from tests.processors.golden.recorded import LOG, PARTITION, PARTITIONS, record

DAY = Bucket(
    log=LOG,
    partition=0,
    block=2,
    version=70,
    kind="day",
    at=20_000,
    region="east",
    action="share",
    actions=3,
    points=15,
)
TIERS = Bucket(
    log=LOG, partition=0, block=2, version=71, kind="tiers", at=20_000, dimension="buying", tier="red", members=4
)


def row(bucket: Bucket, **changed: int) -> Row:
    """A bucket as ClickHouse answers for it."""
    it = msgspec.structs.replace(bucket, **changed)
    sums = (it.actions, it.points, it.spend) if it.kind == "day" else (it.members,)
    return (*_place(it)[1], it.version, *sums)


def compared(day: list[Row], tiers: list[Row], published_until: int = 80) -> tuple[PartitionAudit, list[str]]:
    result = PartitionAudit(0, 100, {})
    published = {_place(bucket): bucket for bucket in (DAY, TIERS)}
    found = {"agg_day": day, "agg_tiers": tiers}
    rows = [(table, found.get(table.name, [])) for table in AGGREGATES.values()]
    return result, _compare_buckets(result, published, published_until, rows)


def test_equal_buckets_are_counted_on_both_sides() -> None:
    result, wrong = compared([row(DAY)], [row(TIERS)])
    assert wrong == []
    assert result.replay == result.clickhouse == Sums(buckets=2, bucket_actions=3, bucket_points=15)


@pytest.mark.parametrize(
    ("day", "tiers", "said"),
    [
        (
            [row(DAY, points=16)],
            [row(TIERS)],
            "1 buckets differ in ClickHouse: agg_day (20000, 'east', '', 'share', 2)",
        ),
        (
            [row(DAY, version=69)],
            [row(TIERS)],
            "1 buckets differ in ClickHouse: agg_day (20000, 'east', '', 'share', 2)",
        ),
        ([row(DAY)], [], "1 buckets differ in ClickHouse: agg_tiers (20000, '', 'buying', 'red', 2) is missing"),
        (
            [row(DAY), row(DAY, at=20_001)],
            [row(TIERS)],
            "1 buckets differ in ClickHouse: agg_day (20001, 'east', '', 'share', 2)",
        ),
    ],
    ids=["other points", "an older version", "missing", "one too many"],
)
def test_a_bucket_that_differs_is_named(day: list[Row], tiers: list[Row], said: str) -> None:
    assert compared(day, tiers)[1] == [said]


def test_a_bucket_counted_further_since_is_no_difference() -> None:
    result, wrong = compared([row(DAY, version=81, points=99)], [row(TIERS)])
    assert wrong == []
    assert (result.buckets_moved_on, result.clickhouse.buckets) == (1, 1)


def test_every_table_of_totals_can_be_asked() -> None:
    for table in AGGREGATES.values():
        assert f"FROM {table.name} WHERE log" in _totals_sql(table)
        assert "argMax" in _totals_sql(table)


ONE, NONE, OTHER = (1, 1, 0, 0, 0, 0, 0), (0,) * 7, (2, 1, 1, 0, 0, 0, 0)


def test_members_whose_points_differ_are_named_and_none_means_zero() -> None:
    assert _unlike("Redis", {"a": ONE, "b": NONE}, "ClickHouse", {"a": ONE}) == []
    assert _unlike("Redis", {"a": ONE}, "ClickHouse", {"a": OTHER, "b": ONE}) == [
        f"points of 2 members differ, a: Redis has {ONE}, ClickHouse {OTHER} "
        "(issued, active, pending, spent, expired, reversed, debt)"
    ]


async def image() -> Dump:
    replay = Replay(Identity(LOG, "t", PARTITIONS), "member.actions", PARTITION)
    await replay.begin()
    await replay.feed(record(300, 11))
    return await replay.dump()


async def test_images_that_differ_say_where() -> None:
    ours, theirs = await image(), await image()
    assert _unlike_images(ours, theirs) == []
    member = sorted(ours.states)[0]
    ours.states[member] += b"x"
    theirs.timers[member] = 7
    assert _unlike_images(ours, theirs) == [f"1 states ({member})", f"1 timers ({member})"]


def test_the_tables_show_each_store_and_each_partition() -> None:
    sums = Sums(members=2, issued=1_500, active=1_400, pending=100, facts=9)
    good = PartitionAudit(0, 40, {}, "aa" * 32, "aa" * 32, sums, sums, sums)
    bad = PartitionAudit(1, 41, {}, "bb" * 32, "cc" * 32, sums, sums, sums, differences=["Redis is not the log"])
    found = Audit("live-1", [good, bad])
    assert found.differences == ["partition 1: Redis is not the log"]
    console = Console(width=160, file=io.StringIO())
    for table in tables(found):
        console.print(table)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "points issued" in shown
    assert shown.count("3,000") == 3
    assert "equal" in shown
    assert "Redis is not the log" in shown
