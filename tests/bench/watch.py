"""Looks every few milliseconds how far a store is, and writes down when it saw it: one line a change.

    python -m tests.bench.watch FILE redis URL LOG
    python -m tests.bench.watch FILE sql HOST PORT LOG

A line is the moment in milliseconds, then per partition the first offset that is not there yet. Ends on SIGTERM.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

from schemas.settings import ClickHouse
from schemas.topics import PARTITIONS
from streams.errors import AnalyticsUnavailable
from streams.http_store import HttpStore
from streams.store import key
from tests.bench.population import wall

Place = tuple[int, ...]
REDIS_SECONDS = 0.005
SQL_SECONDS = 0.05


def committed(url: str, log: str) -> Callable[[], Place]:
    """How far the worker's commits are."""
    client = redis.Redis.from_url(url)
    names = [key(log, partition, "header") for partition in range(PARTITIONS)]

    def look() -> Place:
        pipeline = client.pipeline(transaction=False)
        for name in names:
            pipeline.hget(name, "offset")
        return tuple(int(found or 0) for found in pipeline.execute())

    return look


def visible(host: str, port: int, log: str) -> Callable[[], Place]:
    """How far the facts are that a query finds."""
    store = HttpStore(ClickHouse(http_host=host, http_port=port))
    seen = [0] * PARTITIONS
    sql = "SELECT src_partition, max(src_offset) + 1 FROM facts WHERE log = %(log)s AND src_offset >= %(low)s"

    def look() -> Place:
        try:
            rows = store.query(f"{sql} GROUP BY src_partition", {"log": log, "low": max(0, min(seen) - 1)})
        except AnalyticsUnavailable:
            return tuple(seen)  # not up yet, or gone already
        for partition, until in rows:
            seen[int(partition)] = max(seen[int(partition)], int(until))
        return tuple(seen)

    return look


def watch(file: Path, look: Callable[[], Place], every: float) -> None:
    """Until told to end."""
    ending: list[Any] = []
    signal.signal(signal.SIGTERM, lambda *_: ending.append(True))
    lines: list[str] = []
    before: Place = ()
    while not ending:
        began = time.monotonic()
        place = look()
        if place != before:
            lines.append(" ".join(map(str, (int(wall() * 1000), *place))))
            before = place
        time.sleep(max(0.0, began + every - time.monotonic()))
    file.write_text("\n".join(lines) + "\n")


def read(file: Path) -> list[tuple[int, Place]]:
    """What was written down."""
    rows = [tuple(map(int, line.split())) for line in file.read_text().splitlines() if line]
    return [(row[0], row[1:]) for row in rows]


if __name__ == "__main__":
    target, what, *where = sys.argv[1:]
    if what == "redis":
        watch(Path(target), committed(where[0], where[1]), REDIS_SECONDS)
    else:
        watch(Path(target), visible(where[0], int(where[1]), where[2]), SQL_SECONDS)
