"""Both analytics stores for the contract suite: each test gets an empty database of its own."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from schemas.settings import ClickHouse
from streams.analytics import AnalyticsStore, open_store
from streams.chdb_store import ChdbStore
from streams.server_store import ServerStore

_NUMBERS = itertools.count(1)

Open = Callable[..., AnalyticsStore]


def chdb_settings(folder: Path) -> ClickHouse:
    """The embedded engine in a folder."""
    return ClickHouse(adapter="chdb", folder=folder, database="flow")


def server_settings(server: tuple[str, int, int]) -> ClickHouse:
    """A database of a real server that nobody has used."""
    host, port, http_port = server
    database = f"flow_{os.getpid()}_{next(_NUMBERS)}"
    return ClickHouse(adapter="server", host=host, port=port, http_port=http_port, database=database)


def opened(settings: ClickHouse, **limits: float) -> AnalyticsStore:
    """The settings' store, with bounds of the test's choice."""
    if settings.adapter == "server":
        return ServerStore(settings, **limits)
    query_s = limits.get("query_s")
    return ChdbStore(settings.folder, settings.database, **({} if query_s is None else {"query_s": query_s}))


@contextmanager
def running(settings: ClickHouse, **limits: float) -> Iterator[Any]:
    """A store with its tables, closed at the end."""
    from streams.migrations import migrate

    store = open_store(settings) if not limits else opened(settings, **limits)
    try:
        migrate(store)
        yield store
    finally:
        store.close()
