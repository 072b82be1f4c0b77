"""Recorded actions in both ClickHouse engines: what went in comes out, and what was lost is told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import pytest

from schemas.records import Record
from schemas.tables import ACTIONS, month_of
from streams.analytics import AnalyticsStore, Blocks
from streams.archive import NOTHING_BEFORE, UNKNOWN, head_of
from streams.archive_age import forget, older
from streams.archive_reader import PAGE, SPAN, ArchiveReader
from streams.errors import StateLost
from tests.rows import JANUARY

pytestmark = pytest.mark.real

LOG = "live-1"
ODD = [
    Record(0, JANUARY, b"m-1", b'{"action":"check_in"}'),
    Record(1, JANUARY, None, None),
    Record(2, JANUARY, b"", b""),
    Record(5, JANUARY + 1, b"\xff\xfe", b"\xff\x00\xfe not text"),
    Record(6, JANUARY + 1, "会员'\\".encode(), "'; DROP TABLE actions; -- \\ % 会员 \U0001f600".encode()),
    Record(7, JANUARY + 1, b"m\x00", b"\x00", (("ce_id", b"1"), ("ce_id", b"\xff"), ("none", b""))),
    Record(9, -5, b"m-2", b"x"),  # as an importer may stamp it
    Record(10, 1 << 45, b"m-3", b"y"),
    Record(12, JANUARY + 40 * 86_400_000, b"m-4", bytes(200_000)),
]


def store_records(store: AnalyticsStore, records: Sequence[Record], *, partition: int = 0, before: int = -1) -> None:
    """As the sink stores them."""
    blocks = Blocks()
    for record in records:
        month = month_of(max(0, min(record.timestamp, JANUARY)))
        head = head_of(LOG, partition, before, record)
        blocks.add(ACTIONS, month, record.offset, record.value or b"", head)
        before = record.offset
    for block in blocks:
        store.insert(block)


def plain(offsets: Sequence[int]) -> list[Record]:
    return [Record(offset, JANUARY + 100 * offset, b"m-1", b"%d" % offset) for offset in offsets]


def read(store: AnalyticsStore, start: int, end: int, partition: int = 0) -> list[Record]:
    async def work() -> list[Record]:
        return [one async for page in ArchiveReader(store, LOG).read(partition, start, end) for one in page]

    return asyncio.run(work())


def bounds(store: AnalyticsStore, partition: int = 0) -> tuple[int, int]:
    return asyncio.run(ArchiveReader(store, LOG).bounds(partition))


def held(store: AnalyticsStore) -> list[tuple[int, ...]]:
    asked = (
        "SELECT src_partition, first_offset, last_offset, held, unknown, whole FROM actions_held ORDER BY src_partition"
    )
    return [tuple(map(int, row)) for row in store.query(asked)]


def test_every_record_comes_back_to_the_byte(store: AnalyticsStore) -> None:
    store_records(store, ODD)
    store_records(store, plain(range(5)), partition=3)
    assert read(store, 0, 13) == ODD
    assert read(store, 6, 10) == ODD[4:7]
    assert bounds(store) == (0, 13)
    assert read(store, 0, 5, partition=3) == plain(range(5))
    assert (bounds(store, 7), read(store, 0, 0, partition=7)) == ((0, 0), [])
    assert held(store) == [(0, 0, 12, 9, 0, 1), (3, 0, 4, 5, 0, 1)]


def test_records_stored_twice_are_there_once_and_the_row_that_knows_more_stays(store: AnalyticsStore) -> None:
    records = plain(range(0, 40, 2))
    store_records(store, records)
    store_records(store, records[7:], before=UNKNOWN)
    for _ in range(2):
        assert read(store, 0, 39) == records
        assert held(store) == [(0, 0, 38, 20, 0, 1)]
        store.command("OPTIMIZE TABLE actions FINAL")


@pytest.mark.parametrize(
    ("missing", "told"),
    [({0}, (0, 1)), ({40}, (38, 41)), ({40, 42, 44}, (38, 45)), ({78}, (76, 79))],
    ids=["the first", "one", "several", "the one before the end that is asked for"],
)
def test_a_lost_row_is_told_and_a_hole_of_the_log_is_none(
    store: AnalyticsStore, missing: set[int], told: tuple[int, int]
) -> None:
    records = plain([*range(0, 80, 2), *range(300, 320)])
    kept = [it for it in records if it.offset not in missing]
    names = {after.offset: before.offset for before, after in pairwise(records)}
    for record in kept:
        store_records(store, [record], before=names.get(record.offset, NOTHING_BEFORE))
    if 0 in missing:
        assert bounds(store) == (1, 320), "what came after it may be replayed from an image"
        assert read(store, 1, 320) == kept
    else:
        assert (bounds(store), held(store)[0][-1]) == ((0, 320), 0)
        with pytest.raises(
            StateLost, match=f"partition 0 from offset {told[0] + 1} to .*; replay from Kafka, or store"
        ):
            read(store, 0, 79)
    assert read(store, told[1], 320) == [it for it in kept if it.offset >= told[1]]


def test_what_nobody_knows_is_a_gap_unless_no_offset_lies_between(store: AnalyticsStore) -> None:
    store_records(store, plain([0, 1]))
    store_records(store, plain([2, 3]), before=UNKNOWN)
    assert read(store, 0, 4) == plain(range(4))
    store_records(store, plain([7, 8]), before=UNKNOWN)
    with pytest.raises(StateLost, match="from offset 4 to 6"):
        read(store, 0, 9)
    assert read(store, 7, 9) == plain([7, 8])
    store_records(store, plain([5]), partition=1, before=UNKNOWN)
    assert bounds(store, 1) == (5, 6)


def test_what_is_not_stored_yet_is_told(store: AnalyticsStore) -> None:
    store_records(store, plain([0, 1]))
    with pytest.raises(StateLost, match="up to offset 2, wanted is 3; is a sink running"):
        read(store, 0, 3)


def test_offsets_are_found_by_time_as_the_broker_finds_them(store: AnalyticsStore) -> None:
    offsets = [0, 1, 2, SPAN - 1, SPAN, 3 * SPAN, 3 * SPAN + 7]
    stamps = [10, 10, 30, 20, 40, 40, 70]
    records = [Record(at, JANUARY + stamp, b"m", b"") for at, stamp in zip(offsets, stamps, strict=True)]
    store_records(store, records)

    async def found(reader: ArchiveReader) -> list[int | None]:
        return [await reader.offset_at(0, JANUARY + moment) for moment in (0, 10, 11, 31, 40, 41, 70, 71)]

    async def work() -> None:
        reader = ArchiveReader(store, LOG)
        assert await reader.offset_at(4, 0) is None
        assert await found(reader) == [0, 0, 2, SPAN, SPAN, 3 * SPAN + 7, 3 * SPAN + 7, None]
        store_records(store, [Record(9 * SPAN, JANUARY + 99, b"m", b"")], before=offsets[-1])
        assert (await found(reader))[-1] == 9 * SPAN, "what came since it looked"

    asyncio.run(work())


def test_pages_follow_each_other(store: AnalyticsStore) -> None:
    offsets = [at for at in range(4 * PAGE) if not PAGE + 5 < at < 3 * PAGE - 5 and at % 7]
    store_records(store, plain(offsets[:1_500]))
    store_records(store, plain(offsets[1_500:]), before=offsets[1_499])
    assert read(store, 0, offsets[-1] + 1) == plain(offsets)
    assert held(store)[0][3:] == (len(offsets), 0, 1)


def test_old_actions_go_by_partition_and_the_chain_holds(store: AnalyticsStore) -> None:
    for partition in range(4):
        store_records(store, plain(range(0, 20, 2)), partition=partition)
    store_records(store, [Record(3, JANUARY, b"m", b"")], partition=9, before=1)
    younger = [it._replace(timestamp=it.timestamp + 86_400_000) for it in plain(range(20, 30, 2))]
    store_records(store, younger, partition=2, before=18)

    async def work(moment: int) -> dict[int, int]:
        kept = await older(store, LOG, [0, 1, 2, 5, 9], moment)
        if kept:
            await forget(store, LOG, kept)
        return kept

    assert asyncio.run(work(JANUARY + 1_000)) == {0: 10, 1: 10, 2: 10}
    assert [bounds(store, p) for p in range(4)] == [(9, 19), (9, 19), (9, 29), (0, 19)]
    assert read(store, 10, 19, partition=1) == read(store, 9, 19, partition=1) == plain(range(10, 20, 2))
    assert all(row[-1] for row in held(store))
    assert asyncio.run(work(JANUARY + 1_000)) == {}
    assert asyncio.run(work(JANUARY + 86_400_000)) == {0: 18, 1: 18, 2: 20}, "the last one stays"
    assert asyncio.run(work(JANUARY + 86_400_000)) == {}
    assert (bounds(store, 0), read(store, 18, 19)) == ((17, 19), plain([18]))
