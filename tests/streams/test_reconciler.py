"""Rows against facts: what was lost, changed or added behind our back is found by block and put right."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import msgspec
import pytest

from schemas import facts
from schemas.tables import BLOCK_OFFSETS, FACTS
from streams.analytics import AnalyticsStore, Block, Params, Row
from streams.chdb_store import ChdbStore
from streams.errors import AnalyticsUnavailable
from streams.landing import Source
from streams.migrations import migrate
from streams.reconciler import KINDS, Completeness, Reconciler, Rounds
from streams.sink import Sink
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


class Told:
    """What the rounds told, one after the other."""

    def __init__(self) -> None:
        self.found: list[dict[str, int]] = []

    def compared(self, found: Mapping[str, int]) -> None:
        self.found.append(dict(found))


def lose_for_good(store: AnalyticsStore, source: Source) -> None:
    """Facts that the topic does not hold any longer: only their numbers tell."""
    last = facts_of(source.log, 0, 1, first=COUNT + 3)
    store.insert(Block(FACTS, 202601, [8], last))


def add(store: AnalyticsStore, source: Source) -> None:
    (body,) = facts_of(source.log, 0, 1, first=9)
    other = msgspec.structs.replace(facts.decode(body), index=7)
    store.insert(Block(FACTS, 202601, [8], [facts.encode(other)]))


def nothing(store: AnalyticsStore, source: Source) -> None:
    """All is well."""


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (nothing, {}),
        (lose, {"missing": 1, "gap": 2}),
        (change, {"altered": 1}),
        (add, {"extra": 1}),
        (lose_for_good, {"gap": 2}),
    ],
)
async def test_every_round_tells_by_kind_what_differs(
    stored: tuple[Source, AnalyticsStore], damage: Callable[[AnalyticsStore, Source], None], told: dict[str, int]
) -> None:
    source, store = stored
    tells = Told()
    damage(store, source)
    rounds = Rounds(source, store, tells, every_s=0.05, settle_s=0.01)
    task = asyncio.create_task(rounds.run())
    await until(lambda: len(tells.found) >= 2 or task.done())
    rounds.stop()
    await asyncio.wait_for(task, 10)
    assert tells.found[:2] == [dict.fromkeys(KINDS, 0) | told] * 2


async def test_what_is_lost_after_it_was_right_is_found_when_all_is_compared_anew(
    stored: tuple[Source, AnalyticsStore],
) -> None:
    source, store = stored
    tells = Told()
    rounds = Rounds(source, store, tells, every_s=0.05, anew_s=0.0, settle_s=0.01)
    task = asyncio.create_task(rounds.run())
    await until(lambda: len(tells.found) >= 1 or task.done())
    lose(store, source)
    await until(lambda: tells.found[-1]["missing"] == 1 or task.done())
    rounds.stop()
    await asyncio.wait_for(task, 10)


async def test_who_does_not_answer_is_asked_again_in_the_next_round(stored: tuple[Source, AnalyticsStore]) -> None:
    source, store = stored
    query, failed = store.query, list[str]()

    class Away:
        def query(self, sql: str, params: Params | None = None) -> list[Row]:
            if not failed:
                failed.append(sql)
                raise AnalyticsUnavailable("told to fail")
            return query(sql, params)

        probe, close = store.probe, store.close

    tells = Told()
    rounds = Rounds(source, Away(), tells, every_s=0.05, settle_s=0.01)
    task = asyncio.create_task(rounds.run())
    await until(lambda: len(tells.found) >= 1 or task.done())
    rounds.stop()
    await asyncio.wait_for(task, 10)
    assert failed
    assert tells.found[0] == dict.fromkeys(KINDS, 0)


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
