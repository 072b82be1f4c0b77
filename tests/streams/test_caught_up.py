"""What is computed from ClickHouse waits until it has the facts that were published, and says so where none come."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from schemas.partition import PartitionState
from schemas.settings import Settings
from streams import cli_analytics
from streams.errors import UsageError
from streams.programme_log import Standing

AT = {0: Standing(90, PartitionState(n=7)), 1: Standing(5, PartitionState(n=2))}
INVOCATION: Any = SimpleNamespace(settings=Settings(partitions=2, _env_file=None))


class Filling:
    """A ClickHouse into which facts go while it is asked."""

    def __init__(self, *held: dict[int, int]) -> None:
        self.held, self.asked, self.closed = list(held), 0, False

    def query(self, sql: str, params: Any = None) -> list[tuple[int, int]]:
        self.asked += 1
        return list((self.held.pop(0) if len(self.held) > 1 else self.held[0]).items())

    def close(self) -> None:
        self.closed = True


def reading(monkeypatch: pytest.MonkeyPatch, filling: Filling, within_s: float) -> None:
    monkeypatch.setattr("streams.analytics.open_reader", lambda settings: filling)
    monkeypatch.setattr(cli_analytics, "CAUGHT_UP_S", within_s)
    monkeypatch.setattr(cli_analytics, "LOOK_S", 0.001)


async def test_facts_that_are_on_their_way_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    filling = Filling({}, {0: 7}, {0: 9, 1: 1}, {0: 9, 1: 2})
    reading(monkeypatch, filling, 60)
    async with cli_analytics.caught_up(INVOCATION, AT):
        assert filling.asked == 4
    assert filling.closed


async def test_where_none_come_the_partitions_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    filling = Filling({0: 7, 1: 1})
    reading(monkeypatch, filling, 0)
    with pytest.raises(UsageError, match="has not all facts of partitions 1 yet; is the sink running"):
        async with cli_analytics.caught_up(INVOCATION, AT):
            raise AssertionError
    assert filling.closed
