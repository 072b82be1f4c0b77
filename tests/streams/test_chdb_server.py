"""SQL over HTTP from the process that owns the engine: ClickHouse's form, reading only, loopback only."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from schemas.settings import ClickHouse
from streams.analytics import StatementRefused, open_reader
from streams.chdb_server import SqlEndpoint, refusal
from streams.chdb_store import ChdbStore
from streams.errors import AnalyticsUnavailable, RefusedToStart
from streams.http_store import HttpStore
from streams.migrations import migrate
from tests.contracts.analytics_stores import chdb_settings
from tests.rows import blocks_of, facts_of

pytestmark = pytest.mark.real


@pytest.fixture
async def endpoint(tmp_path: Path) -> AsyncIterator[SqlEndpoint]:
    settings = chdb_settings(tmp_path / "chdb")
    store = ChdbStore(settings.folder, settings.database, query_s=2.0)
    migrate(store)
    for block in blocks_of(facts_of("live-1", 0, 100)):
        store.insert(block)
    running = await SqlEndpoint(store, "127.0.0.1", 0).start()
    yield running
    await running.stop()
    store.close()


def reader_of(endpoint: SqlEndpoint) -> HttpStore:
    host, port = endpoint.address
    reader = open_reader(ClickHouse(adapter="chdb", database="flow", http_host=host, http_port=port))
    assert isinstance(reader, HttpStore)
    return reader


async def ask(
    endpoint: SqlEndpoint, sql: str, *, method: str = "POST", headers: dict[str, str] | None = None, **query: str
) -> tuple[int, str]:
    host, port = endpoint.address
    body = sql.encode() if method == "POST" else None
    query = query if method == "POST" else {"query": sql, **query}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"http://{host}:{port}/", params=query, headers=headers, data=body) as answer,
    ):
        return answer.status, await answer.text()


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_answers_are_tab_separated_unless_a_format_is_named(endpoint: SqlEndpoint, method: str) -> None:
    sql = "SELECT count() AS n, sum(points) AS p FROM facts"
    assert await ask(endpoint, sql, method=method) == (200, "100\t500\n")
    assert await ask(endpoint, sql, method=method, default_format="CSV") == (200, "100,500\n")
    status, text = await ask(endpoint, sql + " FORMAT JSONEachRow", method=method)
    assert (status, json.loads(text)) == (200, {"n": 100, "p": 500})


async def test_a_query_may_be_split_between_address_and_body(endpoint: SqlEndpoint) -> None:
    assert await ask(endpoint, "+ 1", query="SELECT 1") == (200, "2\n")


async def test_nothing_asked_and_ping_say_ok(endpoint: SqlEndpoint) -> None:
    assert await ask(endpoint, "") == (200, "Ok.\n")
    host, port = endpoint.address
    async with aiohttp.ClientSession() as session, session.get(f"http://{host}:{port}/ping") as answer:
        assert await answer.text() == "Ok.\n"


@pytest.mark.parametrize(
    ("sql", "status", "told"),
    [
        ("SELECT nothing FROM facts", 400, "Unknown expression identifier"),
        ("SELECT", 400, "Syntax error"),
        ("SELECT 1 FROM missing", 400, "missing"),
        ("SELECT count() FROM system.numbers WHERE number % 7 = 9", 500, "TIMEOUT_EXCEEDED"),
    ],
)
async def test_errors_are_text_with_a_status(endpoint: SqlEndpoint, sql: str, status: int, told: str) -> None:
    got, text = await ask(endpoint, sql)
    assert got == status
    assert told in text
    assert text.count("\n") == 1
    assert await ask(endpoint, "SELECT 1") == (200, "1\n")


FORBIDDEN = (
    "INSERT INTO facts (n) VALUES (1)", "DROP TABLE facts", "TRUNCATE TABLE facts",
    "CREATE TABLE t (a Int8) ENGINE = Memory",
    "ALTER TABLE facts DELETE WHERE 1", "SET readonly = 0", "USE system", "KILL QUERY WHERE 1", "SYSTEM STOP MERGES",
    "OPTIMIZE TABLE facts FINAL", "SELECT 1 INTO OUTFILE '/tmp/never'", "SELECT file('/etc/passwd')",
    "SELECT * FROM file('/etc/passwd', 'LineAsString')", "SELECT `file`('/etc/passwd')", "SELECT FiLe ('/etc/passwd')",
    "SELECT file/* */('/etc/passwd')", "SELECT * FROM Python(store)", "SELECT 1; DROP TABLE facts",
    "SELECT 1; SELECT 2",
    "SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a String')", "SELECT * FROM executable('ls', 'TSV', 'a String')",
    "SELECT 1 SETTINGS readonly = 0", "/* SELECT */ DROP TABLE facts", "-- SELECT\nDROP TABLE facts",
    "(DROP TABLE facts)",
    "WITH 1 AS x INSERT INTO facts (n) SELECT x", "EXPLAIN SELECT file('/etc/passwd')", "GRANT ALL ON *.* TO default",
)  # fmt: skip


@pytest.mark.parametrize("sql", FORBIDDEN)
async def test_only_reading_is_possible(endpoint: SqlEndpoint, sql: str) -> None:
    status, text = await ask(endpoint, sql)
    assert status in (400, 403), text
    assert "root:" not in text
    assert await ask(endpoint, "SELECT count() FROM facts") == (200, "100\n")


ALLOWED = (
    "SELECT ';', 'DROP TABLE facts', 'file(' FROM facts LIMIT 1;", "WITH 1 AS x SELECT x", "SHOW TABLES",
    "DESCRIBE facts",
    "EXPLAIN SELECT 1", "EXISTS TABLE facts", "SELECT * FROM numbers(3)", "(SELECT 1)", "SELECT 1 -- ; DROP",
    "SELECT 'it''s', 'it\\'s; x'", "SELECT number AS file FROM numbers(1)", "# a remark\nSELECT 1",
)  # fmt: skip


@pytest.mark.parametrize("sql", ALLOWED)
async def test_whatever_only_reads_is_answered(endpoint: SqlEndpoint, sql: str) -> None:
    status, text = await ask(endpoint, sql)
    assert status == 200, text


def test_a_refusal_says_why() -> None:
    assert refusal("SELECT 1") is None
    assert "not DROP" in (refusal("DROP TABLE facts") or "")
    assert "one statement" in (refusal("SELECT 1; SELECT 2") or "")
    assert "nothing" in (refusal(" -- only a remark") or "")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:8123"}, 403),
        ({"Host": "localhost:8123"}, 200),
        ({}, 200),
    ],
)
async def test_a_web_page_gets_no_answer(endpoint: SqlEndpoint, headers: dict[str, str], status: int) -> None:
    got, _ = await ask(endpoint, "SELECT 1", headers=headers)
    assert got == status


async def test_other_methods_databases_and_formats_are_refused(endpoint: SqlEndpoint) -> None:
    assert (await ask(endpoint, "", method="PUT"))[0] == 501
    assert (await ask(endpoint, "SELECT 1", database="nobody"))[0] == 404
    assert (await ask(endpoint, "SELECT 1", default_format="CSV; DROP"))[0] == 403


async def test_the_reader_of_other_processes_gets_rows(endpoint: SqlEndpoint) -> None:
    reader = reader_of(endpoint)
    sql = "SELECT count(), min(effective_time), %(text)s FROM facts_now WHERE log = %(log)s"
    (row,) = await asyncio.to_thread(reader.query, sql, {"log": "live-1", "text": "it's"})
    assert (row[0], row[1].isoformat(), row[2]) == (100, "2026-01-01T00:00:01+00:00", "it's")
    assert (await asyncio.to_thread(reader.probe)).engine == "http"
    with pytest.raises(StatementRefused, match="not DROP"):
        await asyncio.to_thread(reader.query, "DROP TABLE facts")


async def test_the_same_reader_asks_a_real_server(clickhouse_server: tuple[str, int, int]) -> None:
    host, _, http_port = clickhouse_server
    reader = HttpStore(ClickHouse(http_host=host, http_port=http_port, database="default"))
    sql = "SELECT toUInt64(18446744073709551615), toDate('2026-01-02'), %(text)s"
    (row,) = await asyncio.to_thread(reader.query, sql, {"text": "it's"})
    assert (row[0], row[1].isoformat(), row[2]) == (2**64 - 1, "2026-01-02", "it's")


async def test_nobody_there_is_an_error_of_one_line(endpoint: SqlEndpoint) -> None:
    reader = reader_of(endpoint)
    await endpoint.stop()
    with pytest.raises(AnalyticsUnavailable, match="nobody answers SQL at"):
        await asyncio.to_thread(reader.query, "SELECT 1")


async def test_many_ask_at_once_while_rows_go_in(endpoint: SqlEndpoint) -> None:
    asked = [ask(endpoint, f"SELECT {n}, sleep(0.05)") for n in range(20)]
    assert [text.split("\t")[0] for _, text in await asyncio.gather(*asked)] == [str(n) for n in range(20)]


async def test_a_taken_port_is_an_error_of_one_line(endpoint: SqlEndpoint) -> None:
    host, port = endpoint.address
    with pytest.raises(RefusedToStart, match=f"port {port} on {host} is taken"):
        await SqlEndpoint(endpoint._store, host, port).start()
