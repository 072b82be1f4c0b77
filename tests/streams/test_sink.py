"""The sink on a real broker and the embedded engine: every fact once, whatever fails in between."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest
from kafka import TopicPartition as AdminPartition
from structlog.testing import capture_logs

from schemas.tables import BLOCK_ROWS_MAX
from schemas.topics import topics
from streams.analytics import AnalyticsStore, open_store
from streams.errors import UsageError
from streams.landing import Source
from streams.migrations import migrate
from streams.sequence import LastSeen, decode
from streams.sink import Sink
from streams.sink_start import Gap, accept_gap, committed, gaps, group_of, start_of
from streams.topics import admin
from tests.contracts.analytics_stores import chdb_settings
from tests.rows import day_bucket, facts_of
from tests.streams.sink_bench import PARTITIONS, Counters, Flaky, publish, running, until

# -- where to start and what to admit ----------------------------------------------------------------------

SEEN = LastSeen(n=50, row=79).encode()
ANEW = LastSeen(n=None)

STARTS = {
    # name: committed, highest row in the table, first and end of the topic -> next offset, last number seen
    "a new log": (None, None, 0, 0, 0, 0),
    "a new sink on a full topic": (None, None, 0, 90, 0, 0),
    "a new sink, the beginning is gone": (None, None, 30, 90, 30, 0),
    "as it was left": ((80, SEEN), 79, 0, 90, 80, 50),
    "killed before the commit": ((80, SEEN), 85, 0, 90, 80, 50),
    "only repeats since the last row": ((85, SEEN), 79, 0, 90, 85, 50),
    "stopped before its first fact": ((0, LastSeen(gap=5).encode()), None, 0, 90, 0, 0),
    "the commits are gone": (None, 79, 0, 90, 0, 0),
    "the commits and the beginning are gone": (None, 79, 30, 90, 30, None),
    "the table is empty": ((80, SEEN), None, 0, 90, 0, 0),
    "the table is empty, the beginning is gone": ((80, SEEN), None, 30, 90, 30, 0),
    "the table was restored": ((80, SEEN), 60, 0, 90, 0, 0),
    "the table was restored, the beginning is gone": ((80, SEEN), 60, 30, 90, 30, None),
    "restored, more than a block ago": (
        (500_000, LastSeen(n=7, row=499_999).encode()), 400_000, 0, 600_000, 400_001 - BLOCK_ROWS_MAX, None
    ),
    "retention passed us": ((80, SEEN), 79, 85, 90, 85, 50),
    "metadata that says nothing": ((80, ""), 79, 0, 90, 80, None),
}  # fmt: skip


@pytest.mark.parametrize("name", STARTS)
def test_the_sink_starts_at_the_lower_of_commit_and_table(name: str) -> None:
    was, highest, first, end, next_offset, last = STARTS[name]
    start = start_of(was, highest, first, end)
    assert (start.next_offset, start.seen.n, start.halt) == (next_offset, last, "")


def test_a_topic_that_ends_below_the_commit_is_another_one() -> None:
    assert "another one" in start_of((80, SEEN), 79, 0, 12).halt


ADMISSIONS = [
    (LastSeen(n=4), 5, "next", 5),
    (LastSeen(n=4), 4, "repeat", 4),
    (LastSeen(n=4), 1, "repeat", 4),
    (LastSeen(n=4), 6, "gap", 4),
    (LastSeen(n=0), 1, "next", 1),
    (LastSeen(n=0), 2, "gap", 0),
    (LastSeen(n=None), 900, "next", 900),
    (LastSeen(n=4, accept=9), 9, "next", 9),
    (LastSeen(n=4, accept=9), 5, "next", 5),
    (LastSeen(n=4, accept=9), 8, "gap", 4),
    (LastSeen(n=4, accept=9), 10, "gap", 4),
]


@pytest.mark.parametrize(("seen", "n", "answer", "last"), ADMISSIONS)
def test_first_occurrences_ascend_by_one(seen: LastSeen, n: int, answer: str, last: int | None) -> None:
    seen = decode(seen.encode())
    assert seen.admit(n) == answer
    assert seen.n == last
    assert seen.gap == (n if answer == "gap" else 0)


# -- on real parts -----------------------------------------------------------------------------------------


def held(store: AnalyticsStore) -> dict[int, tuple[int, int]]:
    """By partition: the last number, and how many numbers are missing below it."""
    rows = store.query("SELECT src_partition, last_n, last_n - held FROM completeness")
    return {partition: (last, missing) for partition, last, missing in rows}


def actions(store: AnalyticsStore) -> int:
    return int(store.query("SELECT sum(actions) FROM agg_day_now")[0][0])


def numbered(source: Source, count: int, *, first: int = 1) -> dict[int, list[bytes]]:
    return {p: facts_of(source.log, p, count, first=first) for p in range(PARTITIONS)}


@pytest.mark.real
async def test_facts_and_aggregates_arrive_and_the_next_sink_goes_on_behind_them(
    source: Source, store: AnalyticsStore
) -> None:
    totals = {
        p: [day_bucket(source.log, p, 0, 9, actions=3), day_bucket(source.log, p, 0, 40, actions=8)] for p in (0, 2)
    }
    await publish(source, numbered(source, 400), totals)
    counters = Counters()
    async with running(Sink(source, store, metrics=counters)):
        await until(lambda: held(store) == dict.fromkeys(range(PARTITIONS), (400, 0)) and actions(store) == 16)
        await until(lambda: counters.behind == dict.fromkeys(range(PARTITIONS), 0))
    assert counters.rows["facts"] == 1_200
    known = await committed(source.bootstrap, group_of(source.log))
    names = topics(source.log)
    facts_at = {at.partition: place for at, place in known.items() if at.topic == names.facts.name}
    assert {p: (at.offset, decode(at.metadata).n) for p, at in facts_at.items()} == dict.fromkeys(range(3), (400, 400))

    await publish(source, numbered(source, 50, first=401), {})
    second = Counters()
    async with running(Sink(source, store, metrics=second)):
        await until(lambda: held(store) == dict.fromkeys(range(PARTITIONS), (450, 0)))
    assert second.rows == {"facts": 150}


@pytest.mark.real
async def test_a_run_published_again_is_dropped_also_by_a_sink_that_starts_inside_it(
    source: Source, store: AnalyticsStore
) -> None:
    first, again = facts_of(source.log, 0, 100), facts_of(source.log, 0, 120, first=61)
    await publish(source, {0: [*first, *again[:20]]}, {})
    counters = Counters()
    async with running(Sink(source, store, metrics=counters)):
        await until(lambda: counters.repeats == 20 and held(store) == {0: (100, 0)})
    await publish(source, {0: again[20:]}, {})
    second = Counters()
    async with running(Sink(source, store, metrics=second)):
        await until(lambda: held(store) == {0: (180, 0)})
    assert (second.repeats, second.rows["facts"]) == (20, 80)
    assert store.query("SELECT count(), uniqExact(topic_offset) FROM facts_now") == [(180, 180)]


@pytest.mark.real
async def test_a_gap_stops_its_partition_until_a_person_accepts_it(source: Source, store: AnalyticsStore) -> None:
    broken = [*facts_of(source.log, 1, 10), *facts_of(source.log, 1, 10, first=15)]
    await publish(source, {0: facts_of(source.log, 0, 30), 1: broken}, {})
    counters, sink = Counters(), Sink(source, store)
    sink = Sink(source, store, metrics=counters)
    async with running(sink):
        await until(lambda: held(store) == {0: (30, 0), 1: (10, 0)} and counters.stopped == 1)
        assert "fact 15 at offset 10 follows fact 10" in sink.halted[1]
        await until_gap(source, [Gap(partition=1, next_offset=10, last=10, found=15)])
        await publish(source, {0: facts_of(source.log, 0, 10, first=31)}, {})
        await until(lambda: held(store)[0] == (40, 0))
        with pytest.raises(UsageError, match="stop the sink first"):
            await accept_gap(source.bootstrap, source.log, [1])
    async with running(Sink(source, store, metrics=counters)) as task:
        await until(lambda: counters.stopped == 1)
        assert not task.done()
    with pytest.raises(UsageError, match="partition 0 is not stopped at a gap"):
        await accept_gap(source.bootstrap, source.log, [0])
    assert await accept_gap(source.bootstrap, source.log, [1]) == [Gap(1, 10, 10, 15)]
    async with running(Sink(source, store)):
        await until(lambda: held(store)[1] == (24, 4))
    assert await gaps(source.bootstrap, source.log) == []


async def until_gap(source: Source, wanted: list[Gap]) -> None:
    async with asyncio.timeout(10):
        while await gaps(source.bootstrap, source.log) != wanted:
            await asyncio.sleep(0.1)


@pytest.mark.real
@pytest.mark.parametrize(
    "damage", [b"{", b'{"n":"x","effective_at":1}', b'{"n":6,"effective_at":253402300800000}', b"\xff\xfe", b""]
)
async def test_what_cannot_be_read_stops_its_partition_and_no_other(
    source: Source, store: AnalyticsStore, damage: bytes
) -> None:
    await publish(source, {0: [*facts_of(source.log, 0, 5), damage], 1: facts_of(source.log, 1, 9)}, {2: [damage]})
    counters = Counters()
    sink = Sink(source, store, metrics=counters)
    async with running(sink):
        await until(lambda: held(store) == {0: (5, 0), 1: (9, 0)} and set(sink.halted) == {0, 2})
        assert "offset 5 cannot be read" in sink.halted[0]
        assert counters.stopped == 2
        await sink.on_partitions_revoked(set())
        assert counters.stopped == 0, "whoever owns them next says so"


@pytest.mark.real
@pytest.mark.parametrize("failures", [{"fail_before": 3}, {"fail_after": 3}])
async def test_inserts_that_fail_are_repeated_until_they_are_in(
    source: Source, store: AnalyticsStore, failures: dict[str, int]
) -> None:
    await publish(source, numbered(source, 100), {0: [day_bucket(source.log, 0, 0, 9, actions=3)]})
    counters = Counters()
    async with running(Sink(source, Flaky(store, **failures), metrics=counters)):
        await until(lambda: held(store) == dict.fromkeys(range(PARTITIONS), (100, 0)) and actions(store) == 3)
        await until(lambda: counters.behind == dict.fromkeys(range(PARTITIONS), 0))
    assert counters.failures == 3
    assert store.query("SELECT count(), sum(points) FROM facts_now") == [(300, 1_500)]


@pytest.mark.real
@pytest.mark.parametrize("table", ["facts", "agg_day"])
async def test_a_store_that_refuses_every_insert_is_told_shown_and_waited_for(
    source: Source, store: AnalyticsStore, table: str
) -> None:
    """No outage: the engine answers all the while, so neither waiting nor starting again cures it."""
    await publish(source, numbered(source, 20), {0: [day_bucket(source.log, 0, 0, 9, actions=3)]})
    counters = Counters()
    patience_s = 8.0  # far above the 2 s that aggregates wait for company
    sink = Sink(source, store, metrics=counters, watchdog_s=patience_s)
    with capture_logs() as lines:
        async with running(sink) as task:
            await until(lambda: counters.behind == dict.fromkeys(range(PARTITIONS), 0) and actions(store) == 3)
            store.command(f"RENAME TABLE {table} TO {table}_gone")
            facts, totals = numbered(source, 10, first=21), {0: [day_bucket(source.log, 0, 0, 19, actions=4)]}
            refused_first, later = ((facts, {}), ({}, totals)) if table == "facts" else (({}, totals), (facts, {}))
            await publish(source, *refused_first)
            await until(lambda: counters.failures >= 1)
            await publish(source, *later)
            await until(lambda: counters.failures >= 3)
            await asyncio.sleep(1.5 * patience_s)
            assert not task.done()
            assert counters.stopped == PARTITIONS
            assert counters.behind == dict.fromkeys(range(PARTITIONS), 10)
            assert set(counters.since) == set(range(PARTITIONS))
            known = await committed(source.bootstrap, group_of(source.log))
            name = topics(source.log).facts.name
            assert {it.offset for at, it in known.items() if at.topic == name} == {20}
            store.command(f"RENAME TABLE {table}_gone TO {table}")
            await until(lambda: held(store) == dict.fromkeys(range(PARTITIONS), (30, 0)) and actions(store) == 4)
            await until(lambda: counters.stopped == 0 and not counters.since)
    refused = [line for line in lines if line["event"] == "insert refused and is repeated"]
    assert {(line["log_level"], line["table"]) for line in refused} == {("error", table)}
    assert all("\n" not in line["error"] and "`memberflow migrate`" in line["error"] for line in refused)


@pytest.mark.real
async def test_facts_that_wait_for_a_store_that_is_down_are_seen_to_wait(source: Source, store: AnalyticsStore) -> None:
    """Also by a sink that had stored everything, and by one that never stored any."""
    counters = Counters()
    flaky = Flaky(store)
    async with running(Sink(source, flaky, metrics=counters)):
        await publish(source, {0: facts_of(source.log, 0, 5)}, {})
        await until(lambda: counters.behind == {0: 0} and not counters.since)
        flaky.fail_before = 1_000
        await publish(source, {0: facts_of(source.log, 0, 5, first=6), 1: facts_of(source.log, 1, 7)}, {})
        await until(lambda: counters.failures >= 1 and counters.behind == {0: 5, 1: 7})
        assert set(counters.since) == {0, 1}
        flaky.fail_before = 0
        await until(lambda: counters.behind == {0: 0, 1: 0} and not counters.since)


@pytest.mark.real
async def test_a_table_that_was_lost_is_filled_again_from_the_topic(source: Source, store: AnalyticsStore) -> None:
    await publish(source, numbered(source, 60), {1: [day_bucket(source.log, 1, 0, 9, actions=3)]})
    everything = dict.fromkeys(range(PARTITIONS), (60, 0))
    async with running(Sink(source, store)):
        await until(lambda: held(store) == everything and actions(store) == 3)
    for table in ("facts", "agg_day"):
        store.command(f"TRUNCATE TABLE {table}")
    async with running(Sink(source, store)):
        await until(lambda: held(store) == everything and actions(store) == 3)


@pytest.mark.real
async def test_facts_that_retention_took_unread_are_a_gap(source: Source, store: AnalyticsStore) -> None:
    await publish(source, numbered(source, 50), {})
    with admin(source.bootstrap) as client:
        client.delete_records({AdminPartition(topics(source.log).facts.name, 2): 20})
    sink = Sink(source, store)
    async with running(sink):
        await until(lambda: held(store) == {0: (50, 0), 1: (50, 0)} and 2 in sink.halted)
        assert "fact 21 at offset 20 follows fact 0" in sink.halted[2]
        await until_gap(source, [Gap(2, 20, 0, 21)])
    await accept_gap(source.bootstrap, source.log, [2])
    async with running(Sink(source, store)):
        await until(lambda: held(store).get(2) == (50, 20))


@pytest.mark.real
async def test_two_sinks_share_the_partitions_and_one_takes_over(source: Source, store: AnalyticsStore) -> None:
    """With the embedded engine both use one process; a server lets them run anywhere."""
    await publish(source, numbered(source, 200), {})
    async with running(Sink(source, store)):
        await until(lambda: len(held(store)) == PARTITIONS)
        async with running(Sink(source, store)):
            await publish(source, numbered(source, 200, first=201), {})
            await until(lambda: held(store) == dict.fromkeys(range(PARTITIONS), (400, 0)))
        await publish(source, numbered(source, 100, first=401), {})
        await until(lambda: held(store) == dict.fromkeys(range(PARTITIONS), (500, 0)))


CRASHING = """
import asyncio, os, signal, sys
from pathlib import Path
from streams.chdb_store import ChdbStore
from streams.landing import Source
from streams.sink import Sink
passed = 0
def crash(name):
    global passed
    passed += name == sys.argv[4]
    if passed >= 6:
        os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(Sink(Source(sys.argv[1], sys.argv[2]), ChdbStore(Path(sys.argv[3]), "flow"), crash=crash).run())
"""


@pytest.mark.real
@pytest.mark.parametrize("where", ["sink.before_insert", "sink.mid_insert", "sink.before_commit"])
async def test_a_sink_killed_at_any_step_leaves_nothing_out_and_nothing_twice(
    source: Source, tmp_path: Path, where: str
) -> None:
    settings = chdb_settings(tmp_path / "chdb")
    store = open_store(settings)
    migrate(store)
    store.close()
    command = [sys.executable, "-P", "-c", CRASHING, source.log, source.bootstrap, str(settings.folder), where]
    killed = await asyncio.create_subprocess_exec(*command)
    for round_ in range(2_000):  # it is killed while facts keep coming
        first, version = 1 + 50 * round_, 10 * round_
        totals = {p: [day_bucket(source.log, p, 0, version, actions=round_ + 1)] for p in range(PARTITIONS)}
        await publish(source, numbered(source, 50, first=first), totals)
        if killed.returncode is not None:
            break
        await asyncio.sleep(0.02)
    assert await asyncio.wait_for(killed.wait(), 5) == -signal.SIGKILL
    last = 50 * (round_ + 1)
    again = open_store(settings)
    try:
        async with running(Sink(source, again)):
            await until(lambda: held(again) == dict.fromkeys(range(PARTITIONS), (last, 0)))
            await until(lambda: actions(again) == PARTITIONS * (round_ + 1))
        assert again.query("SELECT count() FROM facts_now") == [(PARTITIONS * last,)]
    finally:
        again.close()
