"""Asking over HTTP in ClickHouse's form: how all processes but the sink read the embedded engine."""

from __future__ import annotations

import http.client
import urllib.parse

import msgspec

from schemas.settings import ClickHouse
from streams.analytics import CONNECT_S, QUERY_S, Params, Probe, Row, StatementRefused, bind, rows_of
from streams.errors import AnalyticsUnavailable

ENGINE = "http"


class HttpStore:
    """A reader of one database. It holds no connection, so it may be used by any thread."""

    def __init__(self, settings: ClickHouse, *, query_s: float = QUERY_S) -> None:
        self.address = (settings.http_host, settings.http_port)
        self.database = settings.database
        self._user = settings.user
        self._password = settings.password.get_secret_value()
        # The engine gives up after query_s and says so; we wait a little longer to hear it.
        self._timeout_s = query_s + CONNECT_S

    def probe(self) -> Probe:
        """The version of whoever answers."""
        return Probe(ENGINE, str(self.query("SELECT version()")[0][0]), ())

    def query(self, sql: str, params: Params | None = None) -> list[Row]:
        """Rows of a SELECT."""
        status, text = self._ask(bind(sql, params))
        if status != 200:
            said = " ".join(text.decode(errors="replace").split("Stack trace", 1)[0].split())[:500]
            raise StatementRefused(f"ClickHouse: {said}")
        try:
            return rows_of(text)
        except (msgspec.DecodeError, ValueError) as error:
            raise AnalyticsUnavailable("what answers at {}:{} is not ClickHouse".format(*self.address)) from error

    def close(self) -> None:
        """Nothing is held."""

    def _ask(self, sql: str) -> tuple[int, bytes]:
        host, port = self.address
        path = "/?" + urllib.parse.urlencode({"database": self.database, "default_format": "JSONCompact"})
        user = {"X-ClickHouse-User": self._user, "X-ClickHouse-Key": self._password}
        connection = http.client.HTTPConnection(host, port, timeout=self._timeout_s)
        try:
            connection.request("POST", path, body=sql.encode(), headers=user if self._password else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            said = " ".join(str(error).split()) or type(error).__name__
            raise AnalyticsUnavailable(f"nobody answers SQL at {host}:{port} ({said})") from error
        finally:
            connection.close()
