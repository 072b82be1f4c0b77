"""Numbered SQL in `schemas/clickhouse`: what was applied, what is pending, what was changed afterwards.

The runner is clickhouse-migrations; here it gets a connection to either engine, and its complaints become one
line.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import structlog
from clickhouse_migrations.connection import Connection
from clickhouse_migrations.exceptions import MigrationException
from clickhouse_migrations.migration import MigrationStorage
from clickhouse_migrations.migrator import Migrator

from schemas.settings import ClickHouse
from streams.analytics import AnalyticsStore, literal, open_store, require_tables
from streams.errors import RefusedToStart

log = structlog.get_logger()

FOLDER = Path(str(resources.files("schemas"))) / "clickhouse"
BOOKKEEPING = "schema_versions"
ADD_COLUMN = re.compile(r"^ALTER TABLE (\w+) ADD COLUMN (\w+) ", re.MULTILINE)
CODEC = re.compile(r" CODEC\((?:[\w, ]|\(\d+\))*\)")
CODECS_SINCE = (19, 1)

State = Literal["applied", "pending", "md5-mismatch", "unknown"]
_T = TypeVar("_T")


class Migration(NamedTuple):
    """One numbered file and what became of it."""

    version: int
    name: str
    state: State


class MigrationsDiffer(RefusedToStart):
    """The files are not those that were applied here."""

    remedy = "restore the file, and correct it by a new migration with the next number"


def status(store: AnalyticsStore, folder: Path = FOLDER) -> list[Migration]:
    """Every migration, by number. Changes nothing, also where nothing was ever applied."""
    storage = MigrationStorage(folder)
    names = storage.migration_filenames()
    with store.migration_connection() as connection:
        rows = _told(lambda: _status_rows(connection, storage))
    return [Migration(row.version, names.get(row.version, "?"), row.state) for row in rows]


def migrate(store: AnalyticsStore, *, dry_run: bool = False, folder: Path = FOLDER) -> list[Migration]:
    """Applies what is pending, in order, and returns it; with `dry_run` only says what it would apply.

    Refuses before the first statement if an applied file was changed or is gone. Harmless when repeated.
    """
    before = status(store, folder)
    wrong = [migration for migration in before if migration.state in ("md5-mismatch", "unknown")]
    if wrong:
        how = "changed since it was applied" if wrong[0].state == "md5-mismatch" else "applied, but has no file"
        raise MigrationsDiffer(f"migration {wrong[0].version:04} ({wrong[0].name}) is {how}")
    pending = [migration for migration in before if migration.state == "pending"]
    if pending and not dry_run:
        with store.migration_connection() as connection:
            migrator = Migrator(Repeatable(connection))
            _told(migrator.init_schema)
            _told(lambda: migrator.apply_migration(MigrationStorage(folder).migrations(), multi_statement=True))
    return pending


def open_migrated(settings: ClickHouse) -> AnalyticsStore:
    """The store for the process that writes, with the engine probed and the tables as the code expects them.

    The embedded engine is migrated here, for nobody else can open its folder while the sink runs; a server is
    migrated by command only.
    """
    store = open_store(settings)
    try:
        if settings.adapter == "chdb":
            migrate(store)
        probe = store.probe()
        log.info("analytics store", engine=probe.engine, version=probe.version, **dict(probe.insert_settings))
        require_tables(store, settings.database)
    except BaseException:
        store.close()
        raise
    return store


def statements(version: int, folder: Path = FOLDER) -> list[str]:
    """The statements of one migration, as a dry run shows them."""
    scripts = {found.version: found.script for found in MigrationStorage(folder).migrations()}
    found: list[str] = Migrator.script_to_statements(scripts[version], multi_statement=True)
    return found


class Repeatable(Connection):  # type: ignore[misc]
    """A connection over which a migration that was cut off can begin again: a column that is there is not added.

    Debian's server knows no `ADD COLUMN IF NOT EXISTS`, and no codecs either: there columns go without.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def command(self, statement: str, log_statement: str | None = None) -> None:
        if (added := ADD_COLUMN.search(statement)) is not None and self._has(*added.groups()):
            return
        if CODEC.search(statement) and not self._has_codecs():
            statement = CODEC.sub("", statement)
        self._connection.command(statement, log_statement)

    def query(self, statement: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._connection.query(statement)
        return rows

    def insert(self, table: str, rows: list[dict[str, Any]]) -> None:
        self._connection.insert(table, rows)

    def _has(self, table: str, column: str) -> bool:
        where = f"database = currentDatabase() AND table = '{table}' AND name = '{column}'"
        return bool(self.query(f"SELECT name FROM system.columns WHERE {where}"))

    def _has_codecs(self) -> bool:
        version = str(self.query("SELECT version() AS version")[0]["version"])
        return tuple(int(part) for part in version.split(".")[:2]) >= CODECS_SINCE

    def __enter__(self) -> Repeatable:
        return self

    def __exit__(self, *_: object) -> None:
        """The store is not ours."""


class _Embedded(Protocol):
    def command(self, sql: str) -> None: ...
    def named_rows(self, sql: str) -> list[dict[str, Any]]: ...


class ChdbConnection(Connection):  # type: ignore[misc]
    """The embedded engine as the library wants to see it; it stays open when the library is done with it."""

    def __init__(self, store: _Embedded) -> None:
        self._store = store

    def command(self, statement: str, log_statement: str | None = None) -> None:
        self._store.command(statement)

    def query(self, statement: str) -> list[dict[str, Any]]:
        return self._store.named_rows(statement)

    def insert(self, table: str, rows: list[dict[str, Any]]) -> None:
        columns = ", ".join(rows[0])
        values = ", ".join(literal(tuple(row.values())) for row in rows)
        self._store.command(f"INSERT INTO {table} ({columns}) VALUES {values}")

    def __enter__(self) -> ChdbConnection:
        return self

    def __exit__(self, *_: object) -> None:
        """The store is not ours."""


def _status_rows(connection: Any, storage: MigrationStorage) -> list[Any]:
    incoming = storage.migrations()
    migrator = Migrator(connection)
    known = connection.query(f"EXISTS TABLE {BOOKKEEPING}")
    if not int(next(iter(known[0].values()))):
        found: list[Any] = migrator._build_status(incoming, {})
        return found
    rows: list[Any] = migrator.migration_status(incoming)
    return rows


def _told(work: Callable[[], _T]) -> _T:
    try:
        return work()
    except MigrationException as error:
        raise MigrationsDiffer(" ".join(str(error).split())) from error
