"""Rows against facts: what was lost, changed or added behind our back is found by block and put right."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from schemas.tables import BLOCK_OFFSETS, FACTS
from streams.analytics import AnalyticsStore, Block
from streams.chdb_store import ChdbStore
from streams.migrations import migrate
from streams.reconciler import Completeness, Reconciler
from streams.sink import Sink, Source
from tests.contracts.analytics_stores import chdb_settings
from tests.rows import facts_of
from tests.streams.sink_bench import Counters, new_log, publish, running, until

pytestmark = pytest.mark.real

# The fact with number n comes from offset n + 1, so the third block begins in the middle of these.
FIRST = 2 * BLOCK_OFFSETS - 300
COUNT = 600


@pytest.fixture
async def stored(kafka_bootstrap: str, tmp_path: Path) -> AsyncIterator[tuple[Source, AnalyticsStore]]:
    """Two partitions of facts in the topic and in the table; of one, some are in the topic twice."""
    source = new_log(kafka_bootstrap)
    settings = chdb_settings(tmp_path / "chdb")
    store = ChdbStore(settings.folder, settings.database)
    migrate(store)
    low = facts_of(source.log, 1, 50)
    await publish(source, {1: [*low, *low[20:]]}, {})
    async with running(Sink(source, store)):
        await until(lambda: store.query("SELECT count() FROM facts") == [(50,)])
    # A sink that starts anew at a later number, as after a restore, fills the other partition.
    await publish(source, {0: facts_of(source.log, 0, COUNT, first=1)}, {})
    counters = Counters()
    async with running(Sink(source, store, metrics=counters)):
        await until(lambda: counters.behind.get(0) == 0)
    yield source, store
    store.close()


async def test_what_the_sink_stored_is_what_the_topic_holds(stored: tuple[Source, AnalyticsStore]) -> None:
    source, store = stored
    reconciler = Reconciler(source, store)
    assert reconciler.completeness() == [Completeness(0, 1, COUNT, 0), Completeness(1, 1, 50, 0)]
    assert await reconciler.check() == []
    await publish(source, {1: facts_of(source.log, 1, 5, first=51)}, {})
    async with running(Sink(source, store)):
        await until(lambda: store.query("SELECT max(n) FROM facts WHERE src_partition = 1") == [(55,)])
    assert await reconciler.check() == []


def lose(store: AnalyticsStore, source: Source) -> None:
    store.command("ALTER TABLE facts DELETE WHERE n IN (7, 8) AND src_partition = 0 SETTINGS mutations_sync = 2")


def lose_all(store: AnalyticsStore, source: Source) -> None:
    store.command("ALTER TABLE facts DELETE WHERE src_partition = 0 SETTINGS mutations_sync = 2")


def change(store: AnalyticsStore, source: Source) -> None:
    (body,) = facts_of(source.log, 0, 1, first=9)
    store.insert(Block(FACTS, 202601, [8], [body.replace(b'"points":5', b'"points":6')]))


def change_words(store: AnalyticsStore, source: Source) -> None:
    (body,) = facts_of(source.log, 0, 1, first=9)
    store.insert(Block(FACTS, 202601, [8], [body.replace(b'"rule":"message"', b'"rule":"massage"')]))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lose, "598 rows for 600 facts (rows, points, active, digest differ)"),
        (lose_all, "0 rows for 600 facts (rows, points, active, digest differ)"),
        (change, "600 rows for 600 facts (points, digest differ)"),
        (change_words, "600 rows for 600 facts (digest differ)"),
    ],
)
async def test_a_damaged_block_is_found_and_repaired(
    stored: tuple[Source, AnalyticsStore], damage: Callable[[AnalyticsStore, Source], None], told: str
) -> None:
    source, store = stored
    reconciler = Reconciler(source, store)
    damage(store, source)
    (mismatch,) = await reconciler.check()
    assert str(mismatch) == f"partition 0 block 0: {told}"
    assert await reconciler.repair(mismatch, store) == COUNT
    assert await reconciler.check() == []
    assert await Reconciler(source, store).check() == []


async def test_only_the_damaged_block_of_a_partition_is_told(kafka_bootstrap: str, tmp_path: Path) -> None:
    source = new_log(kafka_bootstrap)
    settings = chdb_settings(tmp_path / "chdb")
    store = ChdbStore(settings.folder, settings.database)
    try:
        migrate(store)
        # The log's beginning is gone: the first number there is becomes the first one known.
        store.insert(Block(FACTS, 202601, [0], facts_of(source.log, 0, 1, first=FIRST - 1)))
        await publish(source, {0: facts_of(source.log, 0, COUNT, first=FIRST)}, {})
        sink = Sink(source, store)
        async with running(sink):
            await until(lambda: 0 in sink.halted)
        from streams.sink_start import accept_gap

        await accept_gap(source.bootstrap, source.log, [0])
        counters = Counters()
        async with running(Sink(source, store, metrics=counters)):
            await until(lambda: counters.behind.get(0) == 0)
        store.command(f"ALTER TABLE facts DELETE WHERE n = {FIRST + 400} SETTINGS mutations_sync = 2")
        reconciler = Reconciler(source, store)
        (mismatch,) = await reconciler.check()
        assert (mismatch.partition, mismatch.block) == (0, 2)
        assert await reconciler.repair(mismatch, store) == mismatch.expected.rows == 301
        assert await reconciler.check() == []
    finally:
        store.close()
