"""A ClickHouse server, spoken to in its native protocol.

Every call is bounded; after any failure the connection is closed, for what it would answer next is unknown.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import clickhouse_driver
import clickhouse_driver.errors
import msgspec

from schemas.settings import ClickHouse
from schemas.tables import TABLES, Table, row_struct
from streams.analytics import CONNECT_S, QUERY_S, Block, Params, Probe, Row, StatementRefused, bind
from streams.errors import AnalyticsUnavailable, RefusedToStart

ENGINE = "server"
# The oldest one tried, Debian's: what it lacks is asked for, not assumed.
OLDEST = (18, 16)
SEND_RECEIVE_S = 30.0

# Settings that matter where they exist; an old server only writes a line into its log about an unknown one.
_WANTED = {"async_insert": 0, "fsync_after_insert": 1}

# What the driver lets out: its own errors, and bare ones of the socket.
_UNKNOWN_OUTCOME = (
    clickhouse_driver.errors.NetworkError,
    clickhouse_driver.errors.SocketTimeoutError,
    clickhouse_driver.errors.PartiallyConsumedQueryError,
    clickhouse_driver.errors.UnexpectedPacketFromServerError,
    OSError,
    EOFError,
)
# Errors that say nothing against the statement: too slow, too busy, out of memory, too many parts.
_PASSING = {159, 160, 202, 209, 210, 236, 241, 242, 243, 252, 394, 439, 473, 999}


class ServerStore:
    """One database of a server, over one connection at a time."""

    def __init__(
        self,
        settings: ClickHouse,
        *,
        connect_s: float = CONNECT_S,
        send_receive_s: float = SEND_RECEIVE_S,
        query_s: float = QUERY_S,
    ) -> None:
        self.database = settings.database
        self._settings = settings
        self._connect_s = connect_s
        self._send_receive_s = send_receive_s
        self._query_s = query_s
        self._lock = threading.Lock()
        self._client: Any = None
        self._insert_settings: dict[str, int] = {}
        self._rows = {table.name: _Rows(table) for table in TABLES}

    def probe(self) -> Probe:
        """The server's version and which of the settings we want it knows."""
        answer = self.query("SELECT version()")
        version = str(answer[0][0])
        if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
            raise RefusedToStart(f"the ClickHouse server is {version}", remedy="18.16 is the oldest one tried")
        known = self.query("SELECT name FROM system.settings WHERE name IN %(names)s", {"names": [*_WANTED]})
        self._insert_settings = {name: _WANTED[name] for (name,) in known}
        return Probe(ENGINE, version, tuple(self._insert_settings.items()))

    def insert(self, block: Block) -> None:
        """One native block, column by column."""
        names = ", ".join(f"`{name}`" for name in block.table.names)
        columns = self._rows[block.table.name].columns(block)
        self._do(
            lambda client: client.execute(
                f"INSERT INTO `{block.table.name}` ({names}) VALUES",
                columns,
                columnar=True,
                settings=self._insert_settings,
            )
        )

    def query(self, sql: str, params: Params | None = None) -> list[Row]:
        """Rows of a SELECT, bounded by the server as well."""
        text = bind(sql, params)
        limit = {"max_execution_time": max(1, round(self._query_s)), "readonly": 2}
        rows: list[Row] = self._do(lambda client: client.execute(text, settings=limit))
        return rows

    def command(self, sql: str) -> None:
        """A statement without rows."""
        self._do(lambda client: client.execute(sql))

    def migration_connection(self) -> Any:
        """A connection of its own: the library closes it when it is done."""
        from clickhouse_migrations.connection import ClickhouseDriverConnection

        self._create_database()
        return ClickhouseDriverConnection(self._connect(self.database))

    def close(self) -> None:
        """Ends the connection; the next call opens another."""
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()

    def _create_database(self) -> None:
        client = self._connect("")
        try:
            _told(lambda: client.execute(f"CREATE DATABASE IF NOT EXISTS `{self.database}`"))
        finally:
            client.disconnect()

    def _do(self, work: Callable[[Any], Any]) -> Any:
        with self._lock:
            if self._client is None:
                self._client = self._connect(self.database)
            try:
                return _told(lambda: work(self._client))
            except BaseException:
                self.close()
                raise

    def _connect(self, database: str) -> Any:
        return clickhouse_driver.Client(
            self._settings.host,
            port=self._settings.port,
            database=database,
            user=self._settings.user,
            password=self._settings.password.get_secret_value(),
            connect_timeout=self._connect_s,
            send_receive_timeout=self._send_receive_s,
            sync_request_timeout=self._connect_s,
        )


class _Rows:
    """Messages of one table as columns."""

    def __init__(self, table: Table) -> None:
        row = row_struct(table)
        self._decode = msgspec.json.Decoder(row).decode
        place = {field: at for at, field in enumerate(row.__struct_encode_fields__)}
        self._plan = [(c.name, place.get(c.field, -1), c.at) for c in table.columns]

    def columns(self, block: Block) -> list[Any]:
        """The block's columns in the table's order."""
        decode, as_tuple = self._decode, msgspec.structs.astuple
        try:
            fields = list(zip(*[as_tuple(decode(text)) for text in block.fields], strict=True))
        except msgspec.DecodeError as error:
            raise StatementRefused(f"a message for {block.table.name} cannot be read: {error}") from error
        own = {"body": block.bodies, "topic_offset": block.offsets}
        return [
            own[name] if place < 0 else [pair[at] for pair in fields[place]] if at >= 0 else fields[place]
            for name, place, at in self._plan
        ]


def _told(work: Callable[[], Any]) -> Any:
    """Runs it; whatever the driver lets out becomes one of our errors, on one line."""
    try:
        return work()
    except _UNKNOWN_OUTCOME as error:
        raise AnalyticsUnavailable(f"ClickHouse does not answer: {_one_line(error)}") from error
    except clickhouse_driver.errors.ServerException as error:
        kind = AnalyticsUnavailable if error.code in _PASSING else StatementRefused
        raise kind(f"ClickHouse: {_one_line(error)}") from error
    except clickhouse_driver.errors.Error as error:
        raise StatementRefused(f"ClickHouse: {_one_line(error)}") from error


def _one_line(error: BaseException) -> str:
    text = str(error).split("Stack trace", 1)[0]
    return " ".join(text.split())[:500] or type(error).__name__
