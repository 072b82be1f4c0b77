"""Faust's consumer, handing over whole fetched chunks of one partition.

Faust's own loop costs three turns of the event loop and two tasks a message. Here a partition is given one chunk and
stays out of the fetch until it is released; Faust keeps the group, the rebalances and the thread that fetches.
Kafka's committed offset is only a hint: where to start is asked of the state store by a task, never in here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.errors import IllegalStateError, KafkaError, OffsetOutOfRangeError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.clients import stop_consumer

POLL_SECONDS = 0.05
"""How long a fetch may wait while partitions that were released meanwhile have buffered records."""

HINT_SECONDS = 10.0
"""Waited for in the thread too: aiokafka's commit waits for ever for a coordinator, and the thread for its calls."""

FETCH_WAIT_MS = 100
"""The broker's wait. A partition that was not part of the open fetch request waits for it: Faust's 1.5 s is seen."""


class ChunkHandler(Protocol):
    """Who takes the chunks. Both calls return at once; work happens in tasks."""

    def on_chunk(self, partition: int, records: Sequence[ConsumerRecord]) -> None:
        """A chunk of a partition, which is out of the fetch until `release`."""

    def on_out_of_range(self, partition: int, offset: int) -> None:
        """The broker does not have this offset: below the log's start or past its end."""


class ChunkThread(driver.AIOKafkaConsumerThread):
    """The thread with aiokafka's consumer: reads committed, and a partition going away is an empty fetch."""

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        fetcher_settings = {"_isolation_level": "read_committed", "_fetch_max_wait_ms": FETCH_WAIT_MS}
        for name, value in fetcher_settings.items():
            assert hasattr(consumer, name), f"aiokafka has no {name} any more"
            setattr(consumer, name, value)
        return consumer

    async def on_thread_stop(self) -> None:
        """In bounded time: while the process ends, its event loop stands still until this thread has ended."""
        await super(driver.AIOKafkaConsumerThread, self).on_thread_stop()  # theirs would wait for aiokafka for ever
        if self._consumer is not None:
            await stop_consumer(self._consumer)

    async def _fetch_records(self, *args: Any, **kwargs: Any) -> dict[TP, list[ConsumerRecord]]:
        try:
            fetched: dict[TP, list[ConsumerRecord]] = await super()._fetch_records(*args, **kwargs)
        except KeyError:
            return {}  # fetched_records looked at a partition that a rebalance had just taken
        return fetched


class ChunkConsumer(driver.Consumer):
    """Faust's consumer without its per-message loop."""

    handler: ChunkHandler

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.acquired: set[TP] = set()
        self.busy: set[TP] = set()
        self._released = asyncio.Event()

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's alarm for streams that stand still: ours has none, and the watchdog judges its partitions."""

    def _new_consumer_thread(self) -> ChunkThread:
        return ChunkThread(self, loop=self.loop, beacon=self.beacon)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek nothing: an exception or a wait in here would stop the recovery of every worker."""
        return {}

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        """Resume those that are acquired; after a rebalance Faust resumes everything."""
        super().resume_partitions({tp for tp in tps if tp in self.acquired and tp not in self.busy})

    def open(self, tp: TP, offset: int) -> None:
        """Let an acquired partition be fetched from an offset."""
        self.acquired.add(tp)
        self.seek_now(tp, offset)

    def seek_now(self, tp: TP, offset: int) -> None:
        """Fetch a partition from an offset next, whatever is buffered."""
        self.busy.discard(tp)
        with contextlib.suppress(IllegalStateError):  # the thread has lost it already, and we shall be told
            self._thread.seek(tp, offset)
        self._read_offset[tp] = offset or None
        self.resume_partitions({tp})
        self._released.set()

    def release(self, tp: TP) -> None:
        """Let the next chunk of a partition come."""
        self.busy.discard(tp)
        self.resume_partitions({tp})
        self._released.set()

    def shut(self, tps: Iterable[TP]) -> None:
        """Fetch nothing more of these partitions."""
        gone = set(tps)
        self.acquired -= gone
        self.busy -= gone
        self.pause_partitions(gone)

    def at_end(self, tp: TP) -> bool:
        """Whether everything the log has was handed over."""
        end = self.end_offset(tp)
        return end is not None and (self._state(tp).position or 0) >= end

    def end_offset(self, tp: TP) -> int | None:
        """The log's end as the last fetch saw it; None before the first."""
        state = self._state(tp)
        return None if state is None else state.highwater

    def _state(self, tp: TP) -> Any:
        consumer = self._thread._consumer
        subscription = None if consumer is None else consumer._subscription.subscription
        if subscription is None or subscription.assignment is None:
            return None
        return subscription.assignment._tp_state.get(TopicPartition(tp.topic, tp.partition))

    async def commit_hint(self, offsets: Mapping[TP, int]) -> bool:
        """Tell Kafka how far we are, for lag tools. True says that this generation may still commit."""
        found = {TopicPartition(tp.topic, tp.partition): OffsetAndMetadata(o, "") for tp, o in offsets.items()}
        try:
            await asyncio.wait_for(self._thread.call_thread(self._commit_in_thread, found), timeout=HINT_SECONDS + 1)
        except (RuntimeError, TimeoutError):  # Kafka's errors, and those of a thread that has ended
            return False
        return True

    async def _commit_in_thread(self, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        await asyncio.wait_for(self._thread._ensure_consumer().commit(offsets), timeout=HINT_SECONDS)

    async def _drain_messages(self, fetcher: Any) -> None:
        """Fetch for those that are ready, and hand over what came, a chunk a partition."""
        while not (self.should_stop or fetcher.should_stop):
            if not self.flow_active:
                await self.wait(self.can_resume_flow)
                continue
            ready = self._get_active_partitions() & self.acquired
            if not ready:
                await self._wait_for_release()
                continue
            for tp, records in (await self._fetch(ready)).items():
                if records and tp in self.acquired and tp not in self.busy and self.flow_active:
                    self.busy.add(tp)
                    self._get_active_partitions().discard(tp)
                    self.handler.on_chunk(tp.partition, records)

    async def _fetch(self, ready: set[TP]) -> Mapping[TP, Sequence[ConsumerRecord]]:
        try:
            fetched: Mapping[TP, Sequence[ConsumerRecord]] = await self._getmany(ready, timeout=POLL_SECONDS)
            return fetched
        except OffsetOutOfRangeError as error:
            for tp, offset in error.args[0].items():
                self.handler.on_out_of_range(tp.partition, offset)
        except KafkaError as error:
            self.log.warning("fetch: %r", error)
            await asyncio.sleep(POLL_SECONDS)
        return {}

    async def _wait_for_release(self) -> None:
        self._released.clear()
        waiter: Awaitable[Any] = self._released.wait()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(waiter, timeout=POLL_SECONDS)


class ChunkTransport(driver.Transport):
    """Faust's transport with our consumer in it."""

    Consumer = ChunkConsumer
