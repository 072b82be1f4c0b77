"""What looks back ends when Kafka is gone for good: aiokafka would ask for ever, without a word."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from aiokafka.structs import TopicPartition

from streams.errors import BrokerUnavailable
from streams.log_reader import LogReader
from tests.streams.test_worker import in_no_time


class One(NamedTuple):
    offset: int


class Kafka:
    """Gives one record of each partition a poll, behind a marker, until `silent_from`."""

    def __init__(self, silent_from: int) -> None:
        self.silent_from, self.positions = silent_from, dict[TopicPartition, int]()

    def assign(self, places: list[TopicPartition]) -> None:
        self.positions = dict.fromkeys(places, 0)

    def seek(self, at: TopicPartition, offset: int) -> None:
        self.positions[at] = offset

    def pause(self, at: TopicPartition) -> None:
        """It is read to its end."""

    async def getmany(self, *places: TopicPartition, **_: int) -> dict[TopicPartition, list[Any]]:
        found = {at: [One(self.positions[at] + 1)] for at in places if self.positions[at] < self.silent_from}
        for at in found:
            self.positions[at] += 2
        return found

    async def position(self, at: TopicPartition) -> int:
        return self.positions[at]


async def read(reader: LogReader) -> list[int]:
    return [record.offset async for records in reader.read(0, 0, 8) for record in records]


async def read_all(reader: LogReader) -> list[int]:
    return [record.offset async for records in reader.read_all({0: (0, 8), 1: (0, 2)}) for record in records]


@pytest.mark.parametrize(("way", "whole"), [(read, [1, 3, 5, 7]), (read_all, [1, 1, 3, 5, 7])])
def test_a_silence_below_the_end_is_a_broker_that_is_away(
    way: Any, whole: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    @in_no_time
    async def run() -> None:
        reader = LogReader("127.0.0.1:1", "some")
        for silent_from in (4, 8):
            monkeypatch.setattr(reader, "_consumer", Kafka(silent_from))
            if silent_from == 8:
                assert await way(reader) == whole
            else:
                with pytest.raises(BrokerUnavailable, match="some: nothing came for 30 s"):
                    await way(reader)

    run()
