"""Who reads no more ends itself; who waits for another part, for a person or for its turn does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from schemas.settings import Kafka, Settings
from streams.chdb_store import ChdbStore
from streams.dispatcher import Dispatcher
from streams.errors import Stuck
from streams.metrics import Metrics
from streams.migrations import migrate
from streams.sequence import LastSeen
from streams.sink import Sink
from streams.watchdog import NOT_OURS, Watchdog, lagging
from tests.contracts.analytics_stores import chdb_settings
from tests.rows import facts_of
from tests.streams.sink_bench import PARTITIONS, Counters, new_log, publish
from tests.streams.sink_bench import until as comes
from tests.streams.test_worker import in_no_time

PATIENCE = 60.0


@pytest.fixture(autouse=True)
def _loops_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.watchdog.monotonic", lambda: asyncio.get_running_loop().time())


class Parts:
    """What a watchdog asks: all other parts, which answer, fail or hang."""

    state = "answer"

    async def ask(self) -> None:
        if self.state == "fail":
            raise OSError("no route")
        if self.state == "hang":
            await asyncio.sleep(1e5)


async def watched(seconds: float, places: Callable[[float], Mapping[Any, object]], parts: Parts) -> None:
    """So many seconds of looks, with what they see."""
    watchdog, clock = Watchdog(PATIENCE, parts.ask), asyncio.get_running_loop().time
    end = clock() + seconds
    while clock() < end:
        await watchdog.look(places(clock()))
        await asyncio.sleep(1)


@in_no_time
async def test_what_has_lag_and_stands_still_is_stuck_after_the_patience_and_not_before() -> None:
    await watched(PATIENCE - 1, lambda _: {0: 7}, Parts())
    began = asyncio.get_running_loop().time()
    with pytest.raises(Stuck, match="partitions 0 have lag and have not moved for 60 s"):
        await watched(10 * PATIENCE, lambda now: {0: 7, 1: now}, Parts())
    assert asyncio.get_running_loop().time() - began < PATIENCE + 3


HARMLESS: dict[str, Callable[[float], Mapping[Any, object]]] = {
    "it moves now and then": lambda now: {0: now // (PATIENCE - 5)},
    "it goes back": lambda now: {0: -now // (PATIENCE - 5)},
    "it has no lag now and then": lambda now: {} if now % PATIENCE < 2 else {0: 7},
    "it is another one each time": lambda now: {now // (PATIENCE / 2): 7},
    "there is nothing": lambda now: {},
}


@pytest.mark.parametrize("name", HARMLESS)
def test_whatever_moves_is_not_stuck(name: str) -> None:
    in_no_time(watched)(10 * PATIENCE, HARMLESS[name], Parts())


@pytest.mark.parametrize("state", ["fail", "hang"])
def test_while_another_part_is_away_and_a_whole_patience_after_it_nobody_is_stuck(state: str) -> None:
    @in_no_time
    async def run() -> None:
        parts, loop = Parts(), asyncio.get_running_loop()
        parts.state = state
        loop.call_later(5 * PATIENCE, setattr, parts, "state", "answer")
        with pytest.raises(Stuck):
            await watched(20 * PATIENCE, lambda _: {0: 7}, parts)
        assert 6 * PATIENCE <= loop.time() < 6 * PATIENCE + 20

    run()


# -- what a group's commits say --------------------------------------------------------------------------------

A, B = TopicPartition("facts", 0), TopicPartition("facts", 1)
ENDS = {A: (0, 10), B: (4, 10)}


def commits(a: int | None, b: int | None, *, gap: bool = False) -> dict[TopicPartition, OffsetAndMetadata]:
    metadata = LastSeen(gap=9 if gap else 0).encode()
    return {at: OffsetAndMetadata(n, metadata) for at, n in ((A, a), (B, b)) if n is not None}


LAGGING: dict[str, tuple[Any, Any, dict[object, object]]] = {
    # name: what is committed, what is ours and may stand still -> what lags
    "all is read": (commits(10, 10), {A: False, B: False}, {}),
    "both lag": (commits(3, 5), {A: False, B: False}, {"facts/0": 3, "facts/1": 5}),
    "the other one is not ours": (commits(3, 5), {A: False}, {"facts/0": 3}),
    "ours is halted": (commits(3, 5), {A: True, B: False}, {"facts/1": 5}),
    "nothing was committed yet": (commits(None, None), {A: False, B: False}, {"facts/0": 0, "facts/1": 4}),
    "we were given nothing": (commits(3, 10), {}, {NOT_OURS: ((A, 3), (B, 10))}),
    "given nothing, and nobody has ever read": (commits(None, None), {}, {NOT_OURS: ((A, 0), (B, 4))}),
    "given nothing, and all is read": (commits(10, 10), {}, {}),
    "given nothing, and all that lags is at a gap": (commits(3, 5, gap=True), {}, {}),
}


@pytest.mark.parametrize("name", LAGGING)
def test_what_lags_is_what_is_ours_or_a_whole_group_that_nobody_reads(name: str) -> None:
    known, mine, found = LAGGING[name]
    assert lagging(known, ENDS, mine) == found


# -- on a real broker -------------------------------------------------------------------------------------------


async def break_consumer(consumer: Any) -> None:
    """Fetches nothing any more and knows nothing of it, as after a broker's restart that aiokafka did not survive."""
    consumer._fetcher._fetch_task.cancel()
    await asyncio.sleep(1)  # a request that is under way still brings what comes meanwhile


def lose_patience(process: Any) -> None:
    """Only now: on a busy machine the first join and the first insert take seconds."""
    process._watch._watchdog.patience_s = 3.0


@pytest.mark.real
@pytest.mark.parametrize("halted", [False, True])
async def test_a_sink_whose_consumer_reads_no_more_ends_unless_it_is_halted(
    kafka_bootstrap: str, tmp_path: Path, *, halted: bool
) -> None:
    source, counters = new_log(kafka_bootstrap), Counters()
    settings = chdb_settings(tmp_path / "chdb")
    store = ChdbStore(settings.folder, settings.database)
    migrate(store)
    await publish(source, {p: facts_of(source.log, p, 20) for p in range(PARTITIONS)}, {})
    sink = Sink(source, store, metrics=counters, watchdog_s=15)
    running = asyncio.create_task(sink.run())
    try:
        await comes(lambda: counters.rows.get("facts") == 20 * PARTITIONS)
        lose_patience(sink)
        await asyncio.sleep(7)
        assert not running.done(), f"a sink that has read everything stands still: {running}"
        if not halted:
            await break_consumer(sink._consumer)
        await publish(source, {0: facts_of(source.log, 0, 5, first=22 if halted else 21)}, {})
        if halted:
            await comes(lambda: 0 in sink.halted)
        ended, _ = await asyncio.wait({running}, timeout=8 if halted else 20)
        assert bool(ended) is not halted
        if ended:
            assert isinstance(running.exception(), Stuck)
            assert "facts/0" in str(running.exception())
    finally:
        sink.stop()
        await asyncio.wait({running})
        store.close()


@pytest.mark.real
async def test_a_dispatcher_whose_consumer_reads_no_more_ends(kafka_bootstrap: str) -> None:
    source = new_log(kafka_bootstrap)
    settings = Settings(log=source.log, partitions=PARTITIONS, kafka=Kafka(bootstrap=kafka_bootstrap))
    process = Dispatcher(settings, Metrics("dispatcher"), lambda: 0.0, watchdog_s=15)
    running = asyncio.create_task(process.run())
    try:
        await comes(lambda: len(process.parts) == PARTITIONS)
        await publish(source, {0: facts_of(source.log, 0, 5)}, {})
        await comes(lambda: process.parts[0].place.n == 5)
        lose_patience(process)
        await asyncio.sleep(7)
        assert not running.done(), f"a dispatcher that has read everything stands still: {running}"
        await break_consumer(process._consumer)
        await publish(source, {0: facts_of(source.log, 0, 5, first=6)}, {})
        await asyncio.wait({running}, timeout=20)
        assert running.done()
        assert isinstance(running.exception(), Stuck)
    finally:
        process.stop()
        await asyncio.wait({running})
