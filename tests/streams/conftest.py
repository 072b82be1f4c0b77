"""What the tests of both sinks stand on: a log that has begun, and an engine of its own with our tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.analytics import AnalyticsStore
from streams.chdb_store import ChdbStore
from streams.landing import Source
from streams.migrations import migrate
from tests.contracts.analytics_stores import chdb_settings
from tests.streams.sink_bench import new_log


@pytest.fixture
def source(kafka_bootstrap: str) -> Source:
    return new_log(kafka_bootstrap)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AnalyticsStore]:
    settings = chdb_settings(tmp_path / "chdb")
    opened = ChdbStore(settings.folder, settings.database)
    migrate(opened)
    yield opened
    opened.close()
