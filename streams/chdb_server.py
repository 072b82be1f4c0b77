"""Read-only SQL on loopback in ClickHouse's HTTP form, by the process that owns the embedded engine.

`GET /?query=` or `POST /` with the statement as the body; `FORMAT` in the text or `default_format`; errors as
text with a status of 4xx or 5xx. Only reading is possible: the session is read-only, and what such a session
still allows (files, other people's queries) is refused by the words of the statement.
"""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Self

from aiohttp import web

from streams.analytics import StatementRefused
from streams.chdb_store import ChdbStore, Reading
from streams.errors import AnalyticsUnavailable, RefusedToStart
from streams.loopback import refused_request

# Long queries of a board must not keep the audit waiting; more threads would only fight over the cores.
READERS = 3
STATEMENT_BYTES_MAX = 1 << 20

_READING = frozenset({"SELECT", "WITH", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "EXISTS"})
_TOKEN = re.compile(
    r"""
      (?P<skip>\s+|--[^\n]*|\#[^\n]*|/\*.*?\*/)
    | (?P<text>'(?:\\.|''|[^'\\])*')
    | (?P<name>`(?:\\.|``|[^`\\])*`|"(?:\\.|""|[^"\\])*"|[A-Za-z_]\w*)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
# A read-only session may still call these: they read files, look into our process, or change what others see.
_FORBIDDEN_CALLS = frozenset({"file", "python", "catboost", "catboostevaluate"})
_FORBIDDEN_WORDS = frozenset({"OUTFILE", "INFILE"})


class SqlEndpoint:
    """The listening part, with sessions of its own: reading never waits for an insert."""

    def __init__(self, store: ChdbStore, host: str, port: int) -> None:
        self._store = store
        self._host, self._port = host, port
        self._sessions: asyncio.Queue[Reading] = asyncio.Queue()
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="sql")
        self._runner: web.AppRunner | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens; with port 0, the one that was given."""
        assert self._runner is not None
        host, port = self._runner.addresses[0][:2]
        return host, port

    async def start(self) -> Self:
        """Begins to answer. A taken port is an error of one line."""
        for _ in range(READERS):
            self._sessions.put_nowait(Reading(self._store))
        app = web.Application(client_max_size=STATEMENT_BYTES_MAX)
        app.router.add_get("/ping", _ping)
        app.router.add_route("*", "/", self._answer)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            await self.stop()
            raise RefusedToStart(
                f"port {self._port} on {self._host} is taken",
                remedy="set MEMBERFLOW_CLICKHOUSE__HTTP_PORT to a free one",
            ) from error
        return self

    async def stop(self) -> None:
        """Ends listening, then the sessions."""
        if self._runner is not None:
            await self._runner.cleanup()
        self._threads.shutdown()
        while not self._sessions.empty():
            self._sessions.get_nowait().close()

    async def _answer(self, request: web.Request) -> web.Response:
        refused = refused_request(request)
        if refused:
            return _text(403, refused)
        if request.method not in ("GET", "POST"):
            return _text(501, "Code: 48. DB::Exception: GET or POST")
        try:
            body = (await request.read()).decode()
        except UnicodeDecodeError:
            return _text(400, "Code: 62. DB::Exception: the statement is not UTF-8")
        sql = "\n".join(part for part in (request.query.get("query", ""), body) if part).strip()
        if not sql:
            return _text(200, "Ok.\n")
        database = request.query.get("database", self._store.database)
        if database not in (self._store.database, "default", "system"):
            return _text(404, f"Code: 81. DB::Exception: Database {database} does not exist")
        return await self._carry_out(sql, request.query.get("default_format", "TabSeparated"))

    async def _carry_out(self, sql: str, answer_format: str) -> web.Response:
        why_not = refusal(sql) or refusal_of_format(answer_format)
        if why_not:
            return _text(403, f"Code: 164. DB::Exception: {why_not} (READONLY)")
        session = await self._sessions.get()
        try:
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(self._threads, session.ask, sql, answer_format)
        except StatementRefused as error:
            return _text(400, error.what)
        except AnalyticsUnavailable as error:
            return _text(500, error.what)
        finally:
            self._sessions.put_nowait(session)
        return web.Response(body=found, content_type="text/plain", charset="utf-8")


def refusal(sql: str) -> str | None:
    """Why a statement is not one that only reads, or None."""
    words = _tokens(sql)
    while words and words[-1] == (";", "other"):
        words.pop()
    first = next((word for word, kind in words if word != "("), "").upper()
    if first not in _READING:
        return f"only SELECT, SHOW, DESCRIBE and EXPLAIN are answered here, not {first or 'nothing'}"
    for at, (word, kind) in enumerate(words):
        follows = words[at + 1][0] if at + 1 < len(words) else ""
        if word == ";" and kind == "other":
            return "one statement at a time"
        if kind == "name" and word.upper() in _FORBIDDEN_WORDS:
            return f"{word.upper()} is not answered here"
        if kind == "name" and follows == "(" and word.strip('`"').lower() in _FORBIDDEN_CALLS:
            return f"{word}() is not answered here"
    return None


def refusal_of_format(name: str) -> str | None:
    """Why a format's name cannot be one, or None."""
    return None if re.fullmatch(r"[A-Za-z]\w{0,60}", name) else "the format has no such name"


def _tokens(sql: str) -> list[tuple[str, str]]:
    found = ((match[0], match.lastgroup or "") for match in _TOKEN.finditer(sql))
    return [(text, kind) for text, kind in found if kind != "skip"]


async def _ping(_: web.Request) -> web.Response:
    return web.Response(text="Ok.\n")


def _text(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text if text.endswith("\n") else text + "\n")
