"""The real parts the contract suites run on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.settings import ClickHouse
from streams.analytics import AnalyticsStore

from .analytics_stores import chdb_settings, running, server_settings
from .redis_server import RedisServer


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One Redis for all tests that share; each uses a log name of its own."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=["chdb", "server"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AnalyticsStore]:
    """An empty store of either kind, for contracts of what is asked of both."""
    settings: ClickHouse = (
        chdb_settings(tmp_path / "chdb")
        if request.param == "chdb"
        else server_settings(request.getfixturevalue("clickhouse_server"))
    )
    with running(settings) as opened:
        yield opened
