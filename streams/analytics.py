"""The port to ClickHouse: insert, query, migrate. Adapters: `server_store`, and `chdb_store` in our process.

An insert is a `Block`: rows of one table and one of its partitions, at most 100,000, so it is in or not in as
a whole. Inserting a block again is always right. Not guaranteed: that several blocks become visible together.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, NamedTuple, Protocol, runtime_checkable

import msgspec

from schemas.settings import ClickHouse
from schemas.tables import BLOCK_ROWS_MAX, TABLES, Table
from streams.errors import InputInvalid, MemberflowError, RefusedToStart

# What the engine says where no migration has been: an unknown table (60) or database (81).
NOT_MIGRATED = re.compile(r"Code: (60|81)\b")

# A reader waits no longer than this for an answer, and the engine stops working on it.
QUERY_S = 30.0
CONNECT_S = 5.0

Value = str | int | float | bool | date | datetime | None | Sequence[str] | Sequence[int]
Params = Mapping[str, Value]
Row = tuple[Any, ...]


class StatementRefused(MemberflowError):
    """The engine understood and said no: the statement is wrong, or a table is not what we expect."""

    remedy = "correct the statement; after an upgrade run `memberflow migrate`"

    def __init__(self, what: str) -> None:
        super().__init__(what, remedy="run `memberflow migrate`" if NOT_MIGRATED.search(what) else None)


class Probe(NamedTuple):
    """What the engine is and can do, asked once at the start and logged."""

    engine: str
    version: str
    # Settings that every insert must carry because this engine knows them.
    insert_settings: tuple[tuple[str, int], ...]


class Block(NamedTuple):
    """Rows of one insert: the messages as they were published, and where each lies in its topic.

    A table that is `headed` takes its fields from `heads` (JSON), one for each message.
    """

    table: Table
    month: int
    offsets: list[int]
    bodies: list[bytes]
    heads: Sequence[bytes] = ()

    @property
    def fields(self) -> Sequence[bytes]:
        """What the columns are read from, row by row."""
        return self.heads if self.table.headed else self.bodies


@runtime_checkable
class Reader(Protocol):
    """Somebody who may ask."""

    def query(self, sql: str, params: Params | None = None) -> list[Row]:
        """The rows of a SELECT. `%(name)s` in the text is replaced by the escaped value of `params`."""
        ...

    def probe(self) -> Probe:
        """Asks the engine what it is; refuses one that cannot do what we need."""
        ...

    def close(self) -> None:
        """Lets go of everything; closing twice is harmless."""
        ...


class AnalyticsStore(Reader, Protocol):
    """Somebody who may also write. Calls block, so an event loop uses a thread; one insert at a time."""

    def insert(self, block: Block) -> None:
        """Puts a block in. Raises AnalyticsUnavailable if the outcome is unknown: then insert it again."""
        ...

    def command(self, sql: str) -> None:
        """Carries out a statement that has no rows (migrations)."""
        ...

    def migration_connection(self) -> Any:
        """A `clickhouse_migrations.connection.Connection` to this database."""
        ...


class Blocks:
    """Rows on their way in, kept apart by table and partition, given out as blocks with the facts first."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, int], tuple[list[int], list[bytes], list[bytes]]] = {}
        self.count = 0

    def add(self, table: Table, month: int, offset: int, body: bytes, head: bytes = b"") -> None:
        """One row more. `month` is the month of its own moment, 0 for a table without partitions."""
        held = self._rows.get((table.name, month))
        if held is None:
            held = self._rows[table.name, month] = ([], [], [])
        held[0].append(offset)
        held[1].append(body)
        if head:
            held[2].append(head)
        self.count += 1

    def __iter__(self) -> Iterator[Block]:
        for table in TABLES:
            for (name, month), (offsets, bodies, heads) in sorted(self._rows.items(), key=lambda item: item[0]):
                if name == table.name:
                    for at in range(0, len(offsets), BLOCK_ROWS_MAX):
                        end = at + BLOCK_ROWS_MAX
                        yield Block(table, month, offsets[at:end], bodies[at:end], heads[at:end])


def open_store(settings: ClickHouse) -> AnalyticsStore:
    """The store that the settings name, for the process that writes. chdb is imported only when used."""
    if settings.adapter == "server":
        from streams.server_store import ServerStore

        return ServerStore(settings)
    from streams.chdb_store import ChdbStore

    return ChdbStore(settings.folder, settings.database)


def open_reader(settings: ClickHouse) -> Reader:
    """Somebody to ask: the server itself, or the sink that owns the embedded engine."""
    if settings.adapter == "server":
        from streams.server_store import ServerStore

        return ServerStore(settings)
    from streams.http_store import HttpStore

    return HttpStore(settings)


def require_tables(store: Reader, database: str) -> None:
    """Refuses to go on where a table is not what `schemas/tables.py` says: never altered in silence."""
    wrong = differences(store, database)
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise RefusedToStart(f"ClickHouse: {wrong[0]}{more}", remedy="run `memberflow migrate`")


def differences(store: Reader, database: str) -> list[str]:
    """What the engine's tables lack or have otherwise, one line each."""
    found: dict[str, dict[str, str]] = {}
    rows = store.query(
        "SELECT table, name, type FROM system.columns WHERE database = %(database)s", {"database": database}
    )
    for table, name, kind in rows:
        found.setdefault(table, {})[name] = kind
    return [line for table in TABLES for line in _table_differences(table, found.get(table.name))]


def _table_differences(table: Table, found: dict[str, str] | None) -> list[str]:
    if found is None:
        return [f"there is no table {table.name}"]
    return [
        f"{table.name}.{name} is {found.get(name, 'missing')} and must be {kind}"
        for name, kind in table.expected().items()
        if found.get(name) != kind
    ]


def bind(sql: str, params: Params | None) -> str:
    """The text with its parameters put in as literals: no other way is understood by every engine alike."""
    if not params:
        return sql
    try:
        return sql % {name: literal(value) for name, value in params.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise InputInvalid(f"the query's parameters do not fit its text: {error}") from error


def literal(value: Value) -> str:
    """A value as ClickHouse reads it back, whatever it contains."""
    match value:
        case None:
            return "NULL"
        case bool():
            return "1" if value else "0"
        case int():
            return str(value)
        case float():
            return _float(value)
        case str():
            return _quoted(value)
        case datetime():
            return _quoted(value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S"))
        case date():
            return _quoted(value.isoformat())
        case _:
            return "(" + ", ".join(literal(item) for item in value) + ")"


def _float(value: float) -> str:
    if not math.isfinite(value):
        raise InputInvalid(f"a query cannot be asked with {value}")
    return repr(value)


def _quoted(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputInvalid("a query cannot be asked with a lone surrogate in its text") from error
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\0", "\\0") + "'"


class _Meta(msgspec.Struct):
    name: str
    type: str


class _Answer(msgspec.Struct):
    """What ClickHouse answers in its format JSONCompact."""

    meta: list[_Meta]
    data: list[list[Any]]


_answer = msgspec.json.Decoder(_Answer).decode


def rows_of(text: bytes) -> list[Row]:
    """The rows of an answer in JSONCompact, with the Python types that the native protocol would give."""
    return _cast_rows(_answer(text))


def named_rows_of(text: bytes) -> list[dict[str, Any]]:
    """The same, each row by its column names."""
    answer = _answer(text)
    names = [meta.name for meta in answer.meta]
    return [dict(zip(names, row, strict=True)) for row in _cast_rows(answer)]


def _cast_rows(answer: _Answer) -> list[Row]:
    casts = [(at, cast) for at, meta in enumerate(answer.meta) if (cast := _cast(meta.type)) is not None]
    for row in answer.data:
        for at, cast in casts:
            if row[at] is not None:
                row[at] = cast(row[at])
    return [tuple(row) for row in answer.data]


def _cast(kind: str) -> Callable[[Any], Any] | None:
    if kind.startswith("Nullable("):
        kind = kind[len("Nullable(") : -1]
    if kind.startswith(("UInt", "Int")):
        return int
    if kind.startswith("DateTime"):
        return lambda text: datetime.fromisoformat(text).replace(tzinfo=UTC)
    return date.fromisoformat if kind == "Date" else None
