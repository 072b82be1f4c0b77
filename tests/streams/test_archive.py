"""Recorded actions on their way into ClickHouse: none is lost and the chain holds, whatever happens on the way."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from kafka import TopicPartition as AdminPartition
from structlog.testing import capture_logs

from schemas.topics import topics
from streams.analytics import AnalyticsStore, Block, open_store
from streams.archive import BLOCK_ROWS, Archive, group_of
from streams.archive_reader import ArchiveReader
from streams.errors import StateLost, UsageError
from streams.landing import Source
from streams.log_reader import LogReader
from streams.migrations import migrate
from streams.replay import Source as Recorded
from streams.sink import Sink
from streams.sink_start import begin_again, committed
from streams.topics import admin
from tests.contracts.analytics_stores import chdb_settings
from tests.rows import facts_of
from tests.streams.sink_bench import PARTITIONS, Counters, Flaky, publish, running, until

pytestmark = pytest.mark.real


class Told(Counters):
    """Also what is said of recorded actions."""

    def __init__(self) -> None:
        super().__init__()
        self.left: dict[int, int] = {}

    def archived(self, partition: int, behind: int) -> None:
        self.left[partition] = behind

    def archive_let_go(self) -> None:
        self.left.clear()


def topic(source: Source) -> str:
    return topics(source.log).actions.name


async def append(source: Source, count: int, *, partitions: Sequence[int] = range(PARTITIONS), size: int = 10) -> None:
    async with AIOKafkaProducer(bootstrap_servers=source.bootstrap, acks="all", linger_ms=20) as producer:
        sent = [
            await producer.send(topic(source), b"%d" % at + bytes(size), key=b"m-%d" % at, partition=partition)
            for at in range(count)
            for partition in partitions
        ]
        await asyncio.gather(*sent)


async def transaction(source: Source, name: str, *, aborted: bool) -> None:
    """Some records that come true together, or not at all: their markers take offsets too."""
    async with AIOKafkaProducer(
        bootstrap_servers=source.bootstrap, transactional_id=f"{source.log}-{name}"
    ) as producer:
        await producer.begin_transaction()
        for partition in range(PARTITIONS):
            await producer.send_and_wait(topic(source), b"together", partition=partition)
        await (producer.abort_transaction() if aborted else producer.commit_transaction())


async def all_of(recorded: Recorded, end: int, partition: int, start: int = 0) -> list[tuple[object, ...]]:
    return [
        (it.offset, it.timestamp, it.key, it.value, tuple(it.headers))
        async for records in recorded.read(partition, start, end)
        for it in records
    ]


def held(store: AnalyticsStore) -> dict[int, tuple[int, bool]]:
    """By partition: the last offset, and whether no row before it is missing."""
    rows = store.query("SELECT src_partition, last_offset, whole, before_first FROM actions_held")
    return {partition: (last, bool(whole) and before == -1) for partition, last, whole, before in rows}


async def same(source: Source, store: AnalyticsStore) -> bool:
    """Whether ClickHouse has the log to the byte. Raises where it has lost a part."""
    reader = ArchiveReader(store, source.log)
    async with LogReader(source.bootstrap, topic(source)) as kafka:
        for partition in range(PARTITIONS):
            _, end = await reader.bounds(partition)
            ours, theirs = [await all_of(it, end, partition) for it in (reader, kafka)]
            if ours != theirs:
                return False
            _, last = await kafka.bounds(partition)
            if await all_of(kafka, last, partition, end):
                return False
    return True


async def settled(source: Source, store: AnalyticsStore) -> None:
    async with asyncio.timeout(30):
        while not await same(source, store):
            await asyncio.sleep(0.1)


async def test_the_log_is_stored_to_the_byte_over_restarts_and_markers(source: Source, store: AnalyticsStore) -> None:
    told = Told()
    await append(source, 700)
    async with running(Archive(source, store, metrics=told)):
        await transaction(source, "a", aborted=False)
        await settled(source, store)
        await until(lambda: told.left == dict.fromkeys(range(PARTITIONS), 0) or max(told.left.values()) <= 1)
    await transaction(source, "b", aborted=True)
    await append(source, 50)
    async with running(Archive(source, store)):
        await settled(source, store)
    assert all(whole for _, whole in held(store).values())
    assert told.rows == {"actions": PARTITIONS * 701}
    known = await committed(source.bootstrap, group_of(source.log))
    assert {at.partition for at in known} == set(range(PARTITIONS))


async def test_a_stop_stores_what_is_in_hand(source: Source, store: AnalyticsStore) -> None:
    archive = Archive(source, store)
    async with running(archive):
        await until(lambda: len(archive._places) == PARTITIONS)
        await append(source, 20)
        await until(lambda: archive._in_hand() == 20 * PARTITIONS)
        assert held(store) == {}, "nobody waits for them"
    assert held(store) == dict.fromkeys(range(PARTITIONS), (19, True))


@pytest.mark.parametrize("failures", [{"fail_before": 3}, {"fail_after": 3}])
async def test_inserts_that_fail_are_repeated(source: Source, store: AnalyticsStore, failures: dict[str, int]) -> None:
    await append(source, 100)
    told = Told()
    async with running(Archive(source, Flaky(store, **failures), metrics=told)):
        await settled(source, store)
    assert told.failures == 3


async def test_a_table_that_was_lost_or_restored_is_filled_again(source: Source, store: AnalyticsStore) -> None:
    await append(source, 300)
    async with running(Archive(source, store)):
        await settled(source, store)
    store.command("TRUNCATE TABLE actions")
    async with running(Archive(source, store)):
        await settled(source, store)
    whole = dict.fromkeys(range(PARTITIONS), (299, True))
    assert held(store) == whole
    store.command("ALTER TABLE actions DELETE WHERE topic_offset >= 120 SETTINGS mutations_sync = 2")
    async with running(Archive(source, store)):
        await until(lambda: held(store) == whole)


async def test_rows_lost_in_the_middle_are_read_again_when_a_person_asks(source: Source, store: AnalyticsStore) -> None:
    await append(source, 300)
    async with running(Archive(source, store)):
        await settled(source, store)
        with pytest.raises(UsageError, match="stop the sink first"):
            await begin_again(source.bootstrap, group_of(source.log), topic(source), [1], 0)
    lost = "src_partition = 1 AND topic_offset BETWEEN 100 AND 130"
    store.command(f"ALTER TABLE actions DELETE WHERE {lost} SETTINGS mutations_sync = 2")
    async with running(Archive(source, store)):
        await append(source, 10)
        await until(lambda: held(store).get(0) == (309, True))
        with pytest.raises(StateLost, match=r"partition 1 from offset 100 to 130; .*`memberflow sink reland`"):
            await same(source, store)
    await begin_again(source.bootstrap, group_of(source.log), topic(source), [1], 90)
    async with running(Archive(source, store)):
        await until(lambda: held(store) == dict.fromkeys(range(PARTITIONS), (309, True)))
    assert await same(source, store)


async def test_what_kafka_let_go_before_it_was_stored_is_a_gap(source: Source, store: AnalyticsStore) -> None:
    await append(source, 100)
    async with running(Archive(source, store)):
        await settled(source, store)
    await append(source, 100)
    with admin(source.bootstrap) as client:
        client.delete_records({AdminPartition(topic(source), 2): 150})
    with capture_logs() as lines:
        async with running(Archive(source, store)):
            await until(lambda: {p: at for p, (at, _) in held(store).items()} == dict.fromkeys(range(PARTITIONS), 199))
    assert held(store) == {0: (199, True), 1: (199, True), 2: (199, False)}
    assert [it["partition"] for it in lines if it["event"] == "archive does not know what came before"] == [2]
    with pytest.raises(StateLost, match="partition 2 from offset 100 to 149"):
        await all_of(ArchiveReader(store, source.log), 200, 2)


async def test_actions_of_which_the_beginning_is_gone_are_stored_from_where_they_begin(
    source: Source, store: AnalyticsStore
) -> None:
    await append(source, 100)
    with admin(source.bootstrap) as client:
        client.delete_records({AdminPartition(topic(source), 0): 40})
    async with running(Archive(source, store)):
        await until(lambda: len(held(store)) == PARTITIONS)
    reader = ArchiveReader(store, source.log)
    assert [await reader.bounds(p) for p in range(PARTITIONS)] == [(40, 100), (0, 100), (0, 100)]
    assert len(await all_of(reader, 100, 0, 40)) == 60


async def test_two_share_the_partitions_and_one_takes_over(source: Source, store: AnalyticsStore) -> None:
    await append(source, 200)
    async with running(Archive(source, store)):
        async with running(Archive(source, store)):
            await append(source, 200)
            await settled(source, store)
        await append(source, 100)
        await settled(source, store)
    assert held(store) == dict.fromkeys(range(PARTITIONS), (499, True))


class Ordered(Flaky):
    """A store that notes what goes in, and lets facts in only when told."""

    def __init__(self, store: AnalyticsStore) -> None:
        super().__init__(store)
        self.tables: list[str] = []

    def insert(self, block: Block) -> None:
        if block.table.name == "facts":
            super().insert(block)  # may be told to fail
        else:
            self._store.insert(block)
        self.tables.append(block.table.name)


async def test_actions_wait_while_facts_are_due(source: Source, store: AnalyticsStore) -> None:
    """Facts that a store does not take keep actions out, and no watchdog minds; then facts go in first."""
    ordered = Ordered(store)
    ordered.fail_before = 1_000
    facts = Sink(source, ordered)
    archive = Archive(source, ordered, busy=lambda: facts.busy, watchdog_s=3.0)
    await publish(source, {p: facts_of(source.log, p, 100) for p in range(PARTITIONS)}, {})
    async with running(facts):
        await until(lambda: ordered.fail_before < 1_000)
        async with running(archive) as task:
            await append(source, BLOCK_ROWS // PARTITIONS + 1_000)
            await until(lambda: archive._waits)
            await asyncio.sleep(6.0)  # longer than the watchdog's patience: nothing may happen
            assert (ordered.tables, task.done()) == ([], False)
            assert archive._in_hand() <= BLOCK_ROWS + 2 * archive.fetch_records
            ordered.fail_before = 0
            await settled(source, store)
    assert ordered.tables[0] == "facts"
    assert "actions" in ordered.tables


CRASHING = """
import asyncio, os, signal, sys
from pathlib import Path
import streams.archive
from streams.archive import Archive
from streams.chdb_store import ChdbStore
from streams.landing import Source
streams.archive.FLUSH_S = 0.2
passed = 0
def crash(name):
    global passed
    passed += name == sys.argv[4]
    if passed >= 4:
        os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(Archive(Source(sys.argv[1], sys.argv[2]), ChdbStore(Path(sys.argv[3]), "flow"), crash=crash).run())
"""


@pytest.mark.parametrize("where", ["archive.before_insert", "archive.before_commit"])
async def test_one_killed_at_any_step_leaves_nothing_out(source: Source, tmp_path: Path, where: str) -> None:
    settings = chdb_settings(tmp_path / "chdb")
    store = open_store(settings)
    migrate(store)
    store.close()
    command = [sys.executable, "-P", "-c", CRASHING, source.log, source.bootstrap, str(settings.folder), where]
    killed = await asyncio.create_subprocess_exec(*command)
    for _ in range(1_000):  # it is killed while actions keep coming
        await append(source, 20)
        if killed.returncode is not None:
            break
        await asyncio.sleep(0.02)
    assert await asyncio.wait_for(killed.wait(), 5) == -signal.SIGKILL
    again = open_store(settings)
    try:
        async with running(Archive(source, again)):
            await settled(source, again)
        assert all(whole for _, whole in held(again).values())
    finally:
        again.close()
