"""ClickHouse inside our own process (chdb): the embedded default, owned by the sink alone.

The engine itself parses the messages: they go in as one column of bytes, so a fact costs Python little.
"""

from __future__ import annotations

import fcntl
import os
import re
import threading
from pathlib import Path
from typing import Any, TextIO

import chdb.session
import pyarrow  # type: ignore[import-untyped]

from schemas.tables import BLOCK_ROWS_MAX, Column, Table
from streams.analytics import (
    QUERY_S,
    Block,
    Params,
    Probe,
    Row,
    StatementRefused,
    bind,
    named_rows_of,
    rows_of,
)
from streams.errors import AnalyticsUnavailable, RefusedToStart

ENGINE = "chdb"
# Older engines were not tried: their insert and FINAL semantics differ.
OLDEST = (25, 8)

# One insert must stay one block: the engine may neither cut it nor let it wait.
_INSERT_SETTINGS = (
    ("async_insert", 0),
    ("max_insert_threads", 1),
    ("max_threads", 1),
    ("min_insert_block_size_rows", BLOCK_ROWS_MAX),
    ("min_insert_block_size_bytes", 0),
)
# Errors that say nothing against the statement: the same one may succeed later.
_PASSING = {159, 160, 202, 210, 236, 241, 242, 243, 252, 394, 439, 473, 999}
_CODE = re.compile(r"Code: (\d+)")


class ChdbStore:
    """The engine on one data folder. A second owner is refused; other processes ask this one over HTTP."""

    def __init__(self, folder: Path, database: str, *, query_s: float = QUERY_S) -> None:
        self.database = database
        self._query_s = query_s
        self._lock = threading.Lock()
        self._owner = _own(folder)
        self._folder = folder
        self._writer = self.session()
        self.command(f"CREATE DATABASE IF NOT EXISTS `{database}`")
        self.command(f"USE `{database}`")
        self._reader = Reading(self)
        self._statements: dict[str, str] = {}

    def session(self) -> Any:
        """One more session on the folder."""
        try:
            return chdb.session.Session(str(self._folder))
        except RuntimeError as error:
            raise RefusedToStart(
                f"chdb cannot open {self._folder}: {one_line(error)}",
                remedy="one process may own the folder, and it may open no other: see `memberflow doctor`",
            ) from error

    def reading_session(self) -> Any:
        """A session that can change nothing and gives up in time."""
        session = self.session()
        for statement in (
            f"USE `{self.database}`",
            f"SET max_execution_time = {self._query_s}, max_memory_usage = 2000000000",
            "SET output_format_json_quote_64bit_integers = 0",
            "SET readonly = 1",
        ):
            session.query(statement)
        return session

    def probe(self) -> Probe:
        """The engine's version; refuses one older than those tried."""
        version = str(self.query("SELECT version()")[0][0])
        if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
            raise RefusedToStart(f"chdb's engine is {version}", remedy="install chdb-core 26.9 or newer")
        return Probe(ENGINE, version, _INSERT_SETTINGS)

    def insert(self, block: Block) -> None:
        """One INSERT ... SELECT over a column of messages, parsed by the engine."""
        statement = self._statements.get(block.table.name)
        if statement is None:
            statement = self._statements[block.table.name] = insert_statement(block.table)
        bodies = pyarrow.array(block.bodies, pyarrow.binary())
        messages = pyarrow.table(
            {
                "topic_offset": pyarrow.array(block.offsets, pyarrow.int64()),
                "body": bodies,
                "fields": pyarrow.array(block.heads, pyarrow.binary()) if block.table.headed else bodies,
            }
        )
        with self._lock:
            # chdb finds `messages` by its name among this frame's variables.
            run(self._writer, statement, "TabSeparated")
        del messages

    def query(self, sql: str, params: Params | None = None) -> list[Row]:
        """Rows of a SELECT."""
        return rows_of(self._reader.ask(bind(sql, params), "JSONCompact"))

    def named_rows(self, sql: str) -> list[dict[str, Any]]:
        """Rows of a SELECT by column name."""
        return named_rows_of(self._reader.ask(sql, "JSONCompact"))

    def command(self, sql: str) -> None:
        """A statement without rows."""
        with self._lock:
            run(self._writer, sql, "TabSeparated")

    def migration_connection(self) -> Any:
        """The same engine as the migration library wants to see it."""
        from streams.migrations import ChdbConnection

        return ChdbConnection(self)

    def close(self) -> None:
        """Closes the engine, then lets go of the folder."""
        self._reader.close()
        self._writer.close()
        self._owner.close()


class Reading:
    """A reading session that is replaced after every failure.

    What a failed query had begun to answer stays in the session and would lead the next one (seen in 26.9).
    """

    def __init__(self, store: ChdbStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._session = store.reading_session()

    def ask(self, sql: str, answer_format: str) -> bytes:
        """The answer in the given format, unless the text names one itself."""
        with self._lock:
            try:
                return run(self._session, sql, answer_format)
            except BaseException:
                self._session.close()
                self._session = self._store.reading_session()
                raise

    def close(self) -> None:
        """Ends the session."""
        self._session.close()


def run(session: Any, sql: str, answer_format: str) -> bytes:
    """Carries out one statement in a session; an error becomes one of ours, on one line."""
    try:
        return bytes(session.query(sql, answer_format).bytes())
    except RuntimeError as error:
        found = _CODE.search(str(error))
        code = int(found[1]) if found else 0
        kind = AnalyticsUnavailable if code in _PASSING else StatementRefused
        raise kind(f"ClickHouse: {one_line(error)}") from error


def insert_statement(table: Table) -> str:
    """INSERT ... SELECT that takes a table's columns out of the messages.

    Absent fields are NULL to the parser, so that a default other than 0 can be told from a 0.
    """
    fields = {c.field: _json_type(c) for c in table.columns if c.field}
    shape = ", ".join(f"`{name}` {kind}" for name, kind in fields.items())
    columns = ", ".join(f"`{name}`" for name in table.names)
    values = ", ".join(_value(column) for column in table.columns)
    settings = ", ".join(f"{name} = {value}" for name, value in _INSERT_SETTINGS)
    return (
        f"INSERT INTO `{table.name}` ({columns}) SELECT {values} FROM "
        f"(SELECT topic_offset, body, JSONExtract(fields, 'Tuple({shape})') AS f FROM Python(messages)) "
        f"SETTINGS {settings}"
    )


def _json_type(column: Column) -> str:
    if column.at >= 0:
        return "Tuple(Int64, Int64)"
    return f"Nullable({column.type})" if column.default else column.type


def _value(column: Column) -> str:
    if not column.field:
        return column.name
    value = f"tupleElement(f, '{column.field}')"
    if column.at >= 0:
        return f"tupleElement({value}, {column.at + 1})"
    return f"ifNull({value}, {column.default})" if column.default else value


def one_line(error: BaseException) -> str:
    """The engine's message without its stack trace."""
    return " ".join(str(error).split("Stack trace", 1)[0].split())[:500]


def _own(folder: Path) -> TextIO:
    """The folder's lock, held as long as the file is open; the system lets go of it when the process dies."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / "owner.lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        owner = lock.read().strip() or "unknown"
        lock.close()
        raise RefusedToStart(
            f"process {owner} owns the analytics folder {folder}",
            remedy="stop that sink, or ask it over HTTP instead",
        ) from error
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock
