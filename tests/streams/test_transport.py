"""What our consumer makes of Faust's: chunks one at a time a partition, and nothing that a rebalance can break."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaTimeoutError,
    OffsetOutOfRangeError,
)
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from schemas.records import Record
from streams.transport import ChunkConsumer, ChunkThread

ONE, TWO = TP("actions", 1), TP("actions", 2)


class Thread:
    """The thread with aiokafka's consumer, told what to answer."""

    _consumer = None

    def __init__(self) -> None:
        self.sought: list[tuple[TP, int]] = []
        self.error: BaseException | None = None

    def seek(self, tp: TP, offset: int) -> None:
        if self.error is not None:
            raise self.error
        self.sought.append((tp, offset))

    async def call_thread(self, call: Callable[..., Any], offsets: Any) -> None:
        if self.error is not None:
            raise self.error


class Heard:
    """Who is handed the chunks."""

    def __init__(self) -> None:
        self.chunks: list[tuple[int, list[int]]] = []
        self.gone: list[tuple[int, int]] = []

    def on_chunk(self, partition: int, records: Sequence[Any]) -> None:
        self.chunks.append((partition, [record.offset for record in records]))

    def on_out_of_range(self, partition: int, offset: int) -> None:
        self.gone.append((partition, offset))


class Bare(ChunkConsumer):
    """Our consumer without Faust's service around it; fetches are given by the test."""

    flow_active = True

    def __init__(self, fetches: list[Any]) -> None:
        self.acquired, self.busy, self._released = set(), set(), asyncio.Event()
        self._active_partitions, self._paused_partitions = {ONE, TWO}, set[TP]()
        self.log = logging.getLogger(__name__)
        self._read_offset: dict[TP, int | None] = {}
        self._thread: Any = Thread()
        self.fetches, self.asked = fetches, list[set[TP]]()
        self.handler = self.heard = Heard()

    should_stop = False

    async def _wait_for_release(self) -> None:
        """Nothing is ready any more: the story is over."""
        self.should_stop = True

    async def _getmany(self, active: set[TP], timeout: float) -> Mapping[TP, Any]:
        self.asked.append(set(active))
        if not self.fetches:
            self.should_stop = True
            return {}
        found = self.fetches.pop(0)
        if isinstance(found, Exception):
            raise found
        return {tp: [Record(offset, 0, None, b"") for offset in offsets] for tp, offsets in found.items()}


class Fetcher:
    """Faust's, as far as the loop looks at it."""

    should_stop = False


async def drained(consumer: Bare) -> Heard:
    await asyncio.wait_for(consumer._drain_messages(Fetcher()), 5)
    return consumer.heard


def test_a_partition_that_stands_quiet_is_no_alarm_of_fausts() -> None:
    """It would tell of streams that stand still, an hour into a quiet night; no stream of theirs runs."""
    consumer = Bare([])
    assert hasattr(consumer._thread, "verify_event_path") is False  # what Faust's own method asks
    for later in (600.0, 36_000.0):
        consumer.verify_event_path(later, ONE)


async def test_only_what_is_acquired_is_fetched() -> None:
    consumer = Bare([{ONE: [5, 6]}])
    consumer.open(ONE, 5)
    consumer.resume_partitions({ONE, TWO})
    heard = await drained(consumer)
    assert consumer.asked[0] == {ONE}
    assert consumer._thread.sought == [(ONE, 5)]
    assert heard.chunks == [(1, [5, 6])]


async def test_a_partition_gets_no_second_chunk_before_it_is_released() -> None:
    consumer = Bare([{ONE: [5], TWO: [7]}, {ONE: [6], TWO: [8]}])
    consumer.open(ONE, 5)
    consumer.open(TWO, 7)
    assert (await drained(consumer)).chunks == [(1, [5]), (2, [7])]
    consumer.should_stop = False
    consumer.release(TWO)
    assert (await drained(consumer)).chunks == [(1, [5]), (2, [7]), (2, [8])]
    assert [sorted(tp.partition for tp in asked) for asked in consumer.asked] == [[1, 2], [2]]


async def test_what_was_fetched_for_a_partition_that_is_shut_is_dropped() -> None:
    consumer = Bare([])
    consumer.open(ONE, 5)

    async def shut_meanwhile(active: set[TP], timeout: float) -> Mapping[TP, Any]:
        consumer.shut([ONE])
        consumer.should_stop = True
        return {ONE: [Record(5, 0, None, b"")]}

    consumer._getmany = shut_meanwhile  # type: ignore[method-assign]
    assert (await drained(consumer)).chunks == []
    assert consumer.acquired == consumer.busy == set()


async def test_an_offset_that_the_log_does_not_have_is_told_by_partition() -> None:
    consumer = Bare([OffsetOutOfRangeError({ONE: 17}), {ONE: [5]}])
    consumer.open(ONE, 17)
    heard = await drained(consumer)
    assert heard.gone == [(1, 17)]


async def test_an_error_of_kafkas_is_an_empty_fetch() -> None:
    consumer = Bare([KafkaTimeoutError(), {ONE: [5]}])
    consumer.open(ONE, 5)
    assert (await drained(consumer)).chunks == [(1, [5])]


async def test_a_seek_of_what_the_thread_has_lost_ends_nothing() -> None:
    consumer = Bare([])
    consumer._thread.error = IllegalStateError("No current assignment for partition")
    consumer.open(ONE, 5)
    assert not consumer._thread.sought


@pytest.mark.parametrize(
    ("error", "may_commit"),
    [
        (None, True),
        (CommitFailedError(), False),
        (IllegalStateError("not assigned"), False),
        (TimeoutError(), False),
        (RuntimeError("Event loop is closed"), False),
    ],
    ids=str,
)
async def test_whether_this_generation_may_still_commit_is_an_answer(
    error: BaseException | None, *, may_commit: bool
) -> None:
    consumer = Bare([])
    consumer._thread.error = error
    assert await consumer.commit_hint({ONE: 5}) is may_commit


async def test_seeking_to_what_kafka_knows_is_nothing_at_all() -> None:
    assert await Bare([]).seek_to_committed() == {}


async def test_a_fetch_of_a_partition_that_was_just_taken_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    async def taken(*_: Any, **__: Any) -> Any:
        raise KeyError(ONE)

    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "_fetch_records", taken)
    assert await ChunkThread._fetch_records(object.__new__(ChunkThread)) == {}


async def test_where_a_partition_stands_is_unknown_before_there_is_a_consumer() -> None:
    consumer = Bare([])
    assert consumer.end_offset(ONE) is None
    assert not consumer.at_end(ONE)
