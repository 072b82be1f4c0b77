"""What both ClickHouse adapters promise: one suite, a real server and the embedded engine."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from schemas import facts
from schemas.facts import AnyFact, InForce, Ledger, Score, TierEntered, TierVoided
from schemas.settings import ClickHouse
from schemas.tables import BLOCK_ROWS_MAX, FACTS, TABLES
from streams.analytics import AnalyticsStore, StatementRefused, differences, open_reader, require_tables
from streams.errors import AnalyticsUnavailable, InputInvalid, RefusedToStart
from streams.migrations import FOLDER, MigrationsDiffer, migrate, status
from tests.rows import JANUARY, blocks_of, day_bucket, facts_of, ledger

from .analytics_stores import chdb_settings, opened, running, server_settings

pytestmark = pytest.mark.real

SEED = 20260731


@pytest.fixture(params=["chdb", "server"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> ClickHouse:
    if request.param == "chdb":
        return chdb_settings(tmp_path / "chdb")
    return server_settings(request.getfixturevalue("clickhouse_server"))


@pytest.fixture
def store(settings: ClickHouse) -> Iterator[AnalyticsStore]:
    with running(settings) as opened_store:
        yield opened_store


def insert(store: AnalyticsStore, messages: list[bytes], *, first_offset: int = 0) -> int:
    blocks = list(blocks_of(messages, first_offset=first_offset))
    for block in blocks:
        store.insert(block)
    return len(blocks)


def parts(store: AnalyticsStore, table: str) -> list[int]:
    rows = store.query(
        "SELECT rows FROM system.parts WHERE database = currentDatabase() AND table = %(table)s AND active",
        {"table": table},
    )
    return sorted(rows_in for (rows_in,) in rows)


def test_the_probe_tells_engine_and_version(store: AnalyticsStore, settings: ClickHouse) -> None:
    probe = store.probe()
    assert probe.engine == settings.adapter
    assert int(probe.version.split(".")[0]) >= 18


ODD = "O'Brien \\ \" \t \n % {x} 会员 \U0001f600 \x00 --"
FACTS_OF_ALL_SHAPES: dict[str, AnyFact] = {
    "ledger": ledger("live-1", 0, 1),
    "with odd text": Ledger(
        log="live-1",
        partition=0,
        offset=3,
        index=2,
        n=2,
        member_id=ODD,
        effective_at=JANUARY,
        decided_at=JANUARY,
        rule="purchase",
        entry="corrected",
        because=ODD,
        reason=ODD,
        points=-(2**62),
        pending=2**62,
        factor=2,
        amends=(7, 1),
        order_id="4711",
        spend=12_345,
        currency="CNY",
    ),
    "factor 0 is not the default": Ledger(
        log="live-1", partition=0, offset=5, index=1, n=3, member_id="M1", effective_at=JANUARY,
        decided_at=JANUARY, rule="x", entry="earned", factor=0,
    ),
    "score": Score(
        log="live-1", partition=0, offset=6, index=0, n=4, member_id="M1", effective_at=JANUARY,
        decided_at=JANUARY, score=0, activity_index=0,
    ),
    "tier entered": TierEntered(
        log="live-1", partition=0, offset=7, index=0, n=5, member_id="M1", effective_at=JANUARY,
        decided_at=JANUARY, dimension="presence", tier="silent", silent_since=JANUARY - 5, reason="silence",
        next_tier="lost", next_at=JANUARY + 5, unsure=True, overall="silent", overall_since=JANUARY,
    ),
    "tier voided": TierVoided(
        log="live-1", partition=0, offset=8, index=0, n=6, member_id="M1", effective_at=JANUARY,
        decided_at=JANUARY, dimension="presence", tier="silent", entered_at=3, amends=(0, 0),
    ),
    "in force": InForce(
        log="live-1", partition=0, offset=0, index=0, n=7, member_id="", effective_at=JANUARY,
        decided_at=JANUARY, control="programme", id="main", number=3, holds_from=JANUARY,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FACTS_OF_ALL_SHAPES)
def test_a_fact_comes_back_field_by_field_and_byte_by_byte(store: AnalyticsStore, name: str) -> None:
    fact = FACTS_OF_ALL_SHAPES[name]
    message = facts.encode(fact)
    insert(store, [message], first_offset=77)
    (row,) = store.query(f"SELECT {', '.join(FACTS.names)}, effective_time FROM facts")
    got = dict(zip([*FACTS.names, "effective_time"], row, strict=True))
    expected = {column.name: field_of(fact, column.field, column.at, column.type) for column in FACTS.columns}
    expected |= {"body": message.decode(), "topic_offset": 77, "kind": fact.__struct_config__.tag}
    expected |= {"effective_time": datetime.fromtimestamp(fact.effective_at // 1000, UTC)}
    if got["factor"] == 1:
        expected["factor"] = 1
    assert got == expected


def field_of(fact: AnyFact, field: str, at: int, kind: str) -> object:
    value = getattr(fact, field, None)
    if at >= 0:
        return value[at] if value else 0
    if value is None:
        return "" if kind == "String" else 0
    return int(value) if kind != "String" else value


def test_a_repeated_block_changes_nothing(store: AnalyticsStore) -> None:
    messages = [*facts_of("live-1", 3, 500), day_bucket("live-1", 3, 0, 400, actions=500)]
    for first_offset in (0, 0, 900):
        insert(store, messages, first_offset=first_offset)
    for _ in range(2):
        assert store.query("SELECT count(), sum(points) FROM facts_now") == [(500, 2_500)]
        assert store.query("SELECT actions, points, spend FROM agg_day_now") == [(500, 1_000, 1_500)]
        assert store.query("SELECT first_n, last_n, held, missing FROM completeness") == [(1, 500, 500, 0)]
        for table in TABLES:
            store.command(f"OPTIMIZE TABLE {table.name} FINAL")


def test_totals_are_read_right_before_any_merge(store: AnalyticsStore) -> None:
    """Three versions of one bucket, the newest in the middle; another block and partition beside it."""
    for partition, block, version, actions in (
        (0, 0, 10, 4), (0, 0, 90, 7), (0, 0, 50, 6), (0, 1, 100_020, 2), (5, 0, 33, 1),
    ):  # fmt: skip
        insert(store, [day_bucket("live-1", partition, block, version, actions=actions)])
    insert(store, [day_bucket("other-1", 0, 0, 90, actions=1_000)])
    asked = "SELECT date, actions, points, spend FROM agg_day_now WHERE log = %(log)s"
    assert store.query(asked, {"log": "live-1"}) == [(date(2026, 1, 1), 10, 20, 30)]


def test_months_apart_are_separate_blocks_and_none_is_lost(store: AnalyticsStore) -> None:
    moments = [JANUARY + days * 86_400_000 for days in (-1, 0, 30, 31, 59, 400)]
    messages = [facts.encode(ledger("live-1", 0, n, at=at)) for n, at in enumerate(moments, 1)]
    blocks = list(blocks_of(messages))
    assert [block.month for block in blocks] == [202512, 202601, 202602, 202603, 202702]
    for block in blocks:
        store.insert(block)
    assert parts(store, "facts") == [1, 1, 1, 1, 2]
    assert store.query("SELECT toYYYYMM(effective_time) AS m, count() FROM facts GROUP BY m ORDER BY m") == [
        (202512, 1), (202601, 2), (202602, 1), (202603, 1), (202702, 1),
    ]  # fmt: skip


def test_a_block_of_100_000_rows_is_one_part(store: AnalyticsStore) -> None:
    messages = [facts.encode(ledger("live-1", 0, n, at=JANUARY + n)) for n in range(1, BLOCK_ROWS_MAX + 11)]
    blocks = list(blocks_of(messages))
    assert [len(block.bodies) for block in blocks] == [BLOCK_ROWS_MAX, 10]
    store.insert(blocks[0])
    assert parts(store, "facts") == [BLOCK_ROWS_MAX]
    store.insert(blocks[1])
    assert store.query("SELECT first_n, last_n, missing FROM completeness") == [(1, BLOCK_ROWS_MAX + 10, 0)]


def test_an_empty_set_of_blocks_inserts_nothing(store: AnalyticsStore) -> None:
    assert insert(store, []) == 0


INJECTIONS = (
    "'; DROP TABLE facts; --", "\\'; DROP TABLE facts; --", "' OR 1=1 --", "%(member)s", "{x:String}",
    "\\", "'", "''", "a\x00b", "/* */", "会员\U0001f600", "\n\t\r", ODD, "",
)  # fmt: skip


@pytest.mark.parametrize("text", INJECTIONS)
def test_a_parameter_is_never_read_as_sql(store: AnalyticsStore, text: str) -> None:
    fact = ledger("live-1", 0, 1)
    fact.member_id = text
    insert(store, [facts.encode(fact), *facts_of("live-1", 0, 3, first=2)])
    found = store.query("SELECT n, %(member)s FROM facts WHERE member_id = %(member)s", {"member": text})
    assert found == [(1, text)]
    listed = store.query("SELECT count() FROM facts WHERE member_id IN %(members)s", {"members": [text, "x'"]})
    assert listed == [(1,)]
    assert store.query("SELECT count() FROM facts") == [(4,)]


def test_parameters_of_every_kind_keep_their_value(store: AnalyticsStore) -> None:
    moment = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    params = {"i": -(2**62), "f": 0.1, "b": True, "none": None, "d": date(2026, 3, 4), "t": moment}
    sql = "SELECT %(i)s, %(f)s, %(b)s, %(none)s IS NULL, toDate(%(d)s), toDateTime(%(t)s, 'UTC')"
    (row,) = store.query(sql, params)
    assert row == (-(2**62), 0.1, 1, 1, date(2026, 3, 4), moment)


@pytest.mark.parametrize(
    ("sql", "params"),
    [("SELECT %(a)s", {"b": 1}), ("SELECT %(a)s", {"a": float("nan")}), ("%(a)s", {"a": "\ud800"})],
)
def test_parameters_that_cannot_be_meant_are_refused(
    store: AnalyticsStore, sql: str, params: dict[str, str | int | float]
) -> None:
    with pytest.raises(InputInvalid):
        store.query(sql, params)


def test_a_wrong_statement_is_refused_on_one_line_and_the_store_goes_on(store: AnalyticsStore) -> None:
    for sql in ("SELECT nothing FROM nowhere", "SELEC 1", "SELECT 1 FROM facts WHERE"):
        with pytest.raises(StatementRefused, match="ClickHouse: ") as refused:
            store.query(sql)
        assert "\n" not in str(refused.value)
    assert store.query("SELECT 1") == [(1,)]


def test_what_was_never_migrated_is_to_be_migrated(store: AnalyticsStore) -> None:
    for sql in ("SELECT 1 FROM nowhere", "SELECT 1 FROM never_made.facts"):
        with pytest.raises(StatementRefused, match=r"; run `memberflow migrate`$"):
            store.query(sql)


def test_a_query_cannot_write(store: AnalyticsStore) -> None:
    for sql in (
        "DROP TABLE facts",
        "INSERT INTO facts (n) SELECT 1",
        "CREATE TABLE t (a Int8) ENGINE = Memory",
    ):
        with pytest.raises(StatementRefused):
            store.query(sql)
    assert store.query("SELECT count() FROM facts") == [(0,)]


def test_a_query_that_takes_too_long_is_given_up(settings: ClickHouse) -> None:
    with running(settings):
        pass
    store = opened(settings, query_s=1.0)
    try:
        started = time.monotonic()
        with pytest.raises(AnalyticsUnavailable):
            store.query("SELECT count() FROM (SELECT number FROM system.numbers) WHERE number % 7 = 9")
        assert time.monotonic() - started < 10
        assert store.query("SELECT 1") == [(1,)]
    finally:
        store.close()


# -- migrations ----------------------------------------------------------------------


NUMBERS = [int(path.name[:4]) for path in sorted(FOLDER.glob("*.sql"))]


def test_migrating_twice_is_harmless(store: AnalyticsStore) -> None:
    insert(store, facts_of("live-1", 0, 10))
    assert [migration.state for migration in status(store)] == ["applied"] * len(NUMBERS)
    assert migrate(store) == []
    assert store.query("SELECT count() FROM facts") == [(10,)]


def test_a_dry_run_changes_nothing(settings: ClickHouse) -> None:
    store = opened(settings)
    try:
        assert [migration.state for migration in status(store)] == ["pending"] * len(NUMBERS)
        assert [migration.version for migration in migrate(store, dry_run=True)] == NUMBERS
        found = store.query("SELECT name FROM system.tables WHERE database = %(db)s", {"db": settings.database})
        assert found == []
        assert [migration.version for migration in migrate(store)] == NUMBERS
    finally:
        store.close()


def test_a_migration_that_was_cut_off_begins_again(settings: ClickHouse, tmp_path: Path) -> None:
    """As a kill leaves it: the first columns are there, and nobody has written down that the file was applied."""
    store = opened(settings)
    try:
        for path in sorted(FOLDER.glob("*.sql"))[:3]:
            (tmp_path / path.name).write_text(path.read_text())
        assert [migration.version for migration in migrate(store, folder=tmp_path)] == NUMBERS[:3]
        store.command("ALTER TABLE facts ADD COLUMN spent Int64")
        assert [migration.version for migration in migrate(store)] == NUMBERS[3:]
        assert differences(store, settings.database) == []
    finally:
        store.close()


def test_a_migration_changed_after_it_was_applied_is_found_and_nothing_runs(
    store: AnalyticsStore, tmp_path: Path
) -> None:
    folder = tmp_path / "changed"
    folder.mkdir()
    for path in FOLDER.glob("*.sql"):
        (folder / path.name).write_text(path.read_text())
    (folder / "0002_aggregates.sql").write_text("-- changed\nSELECT 1;\n")
    (folder / f"{NUMBERS[-1] + 1:04}_new.sql").write_text("CREATE TABLE never (a Int8) ENGINE = Memory;\n")
    assert [m.state for m in status(store, folder)] == [
        *("applied", "md5-mismatch", "applied"),
        *["applied"] * (len(NUMBERS) - 3),
        "pending",
    ]
    with pytest.raises(MigrationsDiffer, match=r"migration 0002 \(0002_aggregates.sql\) is changed"):
        migrate(store, folder=folder)
    (folder / "0002_aggregates.sql").unlink()
    with pytest.raises(MigrationsDiffer, match="migration 0002"):
        migrate(store, folder=folder)
    assert store.query("EXISTS TABLE never") == [(0,)]


def test_a_table_that_is_not_what_the_code_expects_is_named(store: AnalyticsStore, settings: ClickHouse) -> None:
    assert differences(store, settings.database) == []
    require_tables(store, settings.database)
    store.command("ALTER TABLE facts DROP COLUMN because")
    store.command("DROP TABLE agg_tiers")
    found = differences(store, settings.database)
    assert found == ["facts.because is missing and must be String", "there is no table agg_tiers"]
    with pytest.raises(RefusedToStart, match=r"facts.because .* \(and 1 more\); run `memberflow migrate`"):
        require_tables(store, settings.database)


# -- kills ----------------------------------------------------------------------

WRITER = """
import sys
from schemas.settings import ClickHouse
from streams.analytics import open_store
from tests.rows import blocks_of, facts_of
store = open_store(ClickHouse.model_validate_json(sys.argv[1]))
messages = [m for p in range(4) for m in facts_of("live-1", p, 3_000)]
blocks = list(blocks_of(messages, first_offset=int(sys.argv[2])))
print("ready", flush=True)
for block in blocks * 1_000:
    store.insert(block)
    print("inserted", flush=True)
"""


def test_a_writer_killed_in_mid_insert_then_repeated_leaves_exactly_the_facts(settings: ClickHouse) -> None:
    with running(settings):
        pass
    rnd = random.Random(SEED)  # printed by nobody: the moment of a kill is no replay anyway
    for kill in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-P", "-c", WRITER, settings.model_dump_json(), str(kill)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        time.sleep(rnd.random() * 0.15)  # the kill is meant to fall anywhere in an insert
        writer.kill()
        writer.wait()
        writer.stdout.close()
    with running(settings) as store:
        insert(store, [m for p in range(4) for m in facts_of("live-1", p, 3_000)])
        held = store.query("SELECT src_partition, last_n, held, missing FROM completeness ORDER BY src_partition")
        assert held == [(p, 3_000, 3_000, 0) for p in range(4)]
        assert store.query("SELECT count(), uniqExact(body), sum(points) FROM facts_now") == [(12_000, 12_000, 60_000)]


# -- what only one of them has ----------------------------------------------------------------------


def test_a_second_owner_of_the_embedded_engine_is_refused_on_one_line(tmp_path: Path) -> None:
    settings = chdb_settings(tmp_path / "chdb")
    second = (
        "import sys\nfrom streams.analytics import open_store\nfrom schemas.settings import ClickHouse\n"
        "from streams.errors import MemberflowError\n"
        "try: open_store(ClickHouse.model_validate_json(sys.argv[1]))\n"
        "except MemberflowError as error: print(error); sys.exit(error.exit_code)\n"
    )
    with running(settings):
        ended = subprocess.run(
            [sys.executable, "-P", "-c", second, settings.model_dump_json()],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert ended.returncode == 2
    assert ended.stdout.startswith("process ")
    assert "owns the analytics folder" in ended.stdout
    assert ended.stdout.count("\n") == 1
    assert ended.stderr == ""


def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    settings = ClickHouse(adapter="server", port=1, database="flow")
    with pytest.raises(AnalyticsUnavailable, match="does not answer"):
        open_reader(settings).query("SELECT 1")
