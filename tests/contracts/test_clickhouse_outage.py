"""A ClickHouse server that stops answering, dies and comes back: calls are bounded, and nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from infra.stack import Stack
from schemas.settings import ClickHouse
from streams.errors import AnalyticsUnavailable
from streams.migrations import migrate
from streams.server_store import ServerStore
from streams.sink import Sink
from tests.conftest import on_path
from tests.rows import blocks_of, facts_of
from tests.streams.sink_bench import PARTITIONS, Counters, new_log, publish, running, until

from .analytics_stores import server_settings

pytestmark = pytest.mark.real

PATIENCE_S = 1.0


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A server of the test's own, to be stopped and killed."""
    on_path("clickhouse-server")
    with Stack(tmp_path_factory.mktemp("clickhouse"), clickhouse="server", parts=()) as stack:
        yield stack


@pytest.fixture
def settings(server: Stack) -> ClickHouse:
    assert server.clickhouse is not None
    return server_settings(server.clickhouse)


@pytest.fixture
def store(settings: ClickHouse) -> Iterator[ServerStore]:
    opened = ServerStore(settings, connect_s=PATIENCE_S, send_receive_s=PATIENCE_S)
    migrate(opened)
    yield opened
    opened.close()


def test_a_server_that_hangs_is_given_up_in_time_and_asked_again(server: Stack, store: ServerStore) -> None:
    (block,) = blocks_of(facts_of("live-1", 0, 5_000))
    store.insert(block)
    server.pause("clickhouse")
    try:
        for work in (lambda: store.insert(block), lambda: store.query("SELECT 1")):
            started = time.monotonic()
            with pytest.raises(AnalyticsUnavailable):
                work()
            assert time.monotonic() - started < 10 * PATIENCE_S
    finally:
        server.resume("clickhouse")
    store.insert(block)
    assert store.query("SELECT count(), uniqExact(n) FROM facts_now") == [(5_000, 5_000)]


def test_a_server_killed_and_started_again_is_met_with_a_new_connection(server: Stack, store: ServerStore) -> None:
    (block,) = blocks_of(facts_of("live-1", 0, 5_000))
    store.insert(block)
    server.kill("clickhouse")
    with pytest.raises(AnalyticsUnavailable):
        store.insert(block)
    server.start("clickhouse")
    store.insert(block)
    assert store.query("SELECT count(), uniqExact(n) FROM facts_now") == [(5_000, 5_000)]


async def test_the_sink_waits_for_its_server_and_loses_nothing(
    server: Stack, store: ServerStore, settings: ClickHouse, kafka_bootstrap: str
) -> None:
    """Asked over a connection of the test's own, since the sink's is busy waiting."""
    source, counters = new_log(kafka_bootstrap), Counters()
    reader = ServerStore(settings)
    asked = "SELECT src_partition, last_n, held FROM completeness ORDER BY src_partition"
    async with running(Sink(source, store, metrics=counters)):
        await publish(source, {p: facts_of(source.log, p, 300) for p in range(PARTITIONS)}, {})
        await until(lambda: sum(counters.rows.values()) == 900)
        server.pause("clickhouse")
        await publish(source, {p: facts_of(source.log, p, 300, first=301) for p in range(PARTITIONS)}, {})
        await until(lambda: counters.failures >= 1)
        await asyncio.to_thread(server.kill, "clickhouse")
        await until(lambda: counters.failures >= 3)
        await asyncio.to_thread(server.start, "clickhouse")
        await until(lambda: counters.behind == dict.fromkeys(range(PARTITIONS), 0), within_s=40)
        await until(lambda: reader.query(asked) == [(p, 600, 600) for p in range(PARTITIONS)])
    assert reader.query("SELECT count() FROM facts_now") == [(1_800,)]
    reader.close()
