"""Which partitions this worker owns, from assignment to revocation: acquire, run, fail, halt, resume, tick.

A partition is acquired by a task with backoff, never inside a rebalance callback. Every failure ends the same way: the
lane is dropped with its cache, and the partition is acquired anew or halted until a person has looked.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from time import monotonic
from typing import Any

import structlog
from aiokafka import ConsumerRecord

from processors.output import Failure, Halt, RuleFailed
from processors.partition import Partition
from schemas import partition as partition_codec
from schemas.member import STATE_VERSION
from schemas.partition import PartitionState
from streams.errors import (
    BrokerUnavailable,
    LogMismatch,
    PublishFailed,
    PublishRefused,
    StateLost,
    StoreUnavailable,
)
from streams.lane import Lane, NotOurs, Refetch
from streams.store import Acquired, Answer, Identity, Refused, StateStore
from streams.worker import Worker

log = structlog.get_logger()

BACKOFF_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)
DRAIN_SECONDS = 5.0
"""How long a revocation waits for chunks under way; the next owner decides again what is not committed."""

CLOSE_SECONDS = 2.5
"""The same for a process that ends, Kafka's hint included: half of the 5 s it has in all."""

RESUME_POLL_SECONDS = 1.0

RuleFailures = Callable[[int, int], Awaitable[dict[int, Failure]]]


class Consumer:
    """What ownership needs of the transport; partitions by number. `streams.app` binds it to Faust."""

    def open(self, partition: int, offset: int) -> None:
        """Fetch an acquired partition from an offset."""
        raise NotImplementedError

    def release(self, partition: int) -> None:
        """Let the next chunk come."""
        raise NotImplementedError

    def shut(self, partitions: Sequence[int]) -> None:
        """Fetch no more of these."""
        raise NotImplementedError

    async def first_offset(self, partition: int) -> int:
        """Where the log begins."""
        raise NotImplementedError

    async def commit_hint(self, offsets: dict[int, int]) -> bool:
        """Tell Kafka; True says that this generation may still commit."""
        raise NotImplementedError

    def at_end(self, partition: int) -> bool:
        """Whether everything the log has was handed over."""
        raise NotImplementedError

    def end_offset(self, partition: int) -> int | None:
        """The log's end as the last fetch saw it."""
        raise NotImplementedError


class Ownership:
    """The partitions assigned to this worker, each on its way: waiting, acquired (a lane), or halted."""

    def __init__(
        self,
        worker: Worker,
        store: StateStore,
        identity: Identity,
        topic: str,
        consumer: Consumer,
        rule_failures: RuleFailures,
        *,
        crash: Callable[[BaseException], None],
    ) -> None:
        self.worker, self.store, self.identity, self.topic = worker, store, identity, topic
        self.consumer, self.rule_failures, self.crash = consumer, rule_failures, crash
        self.lanes: dict[int, Lane] = {}
        self.halted: dict[int, str] = {}
        self.moved_at: dict[int, float] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._pending: dict[int, tuple[int, str]] = {}  # a lane acquired next must not pass this
        self._failures: dict[int, dict[int, Failure]] = {}
        self._leaving: set[int] = set()  # being revoked right now
        self._returning: set[int] = set()  # of those, assigned again meanwhile

    # -- assignment ---------------------------------------------------------------------------------------------

    def assigned(self, partitions: Sequence[int]) -> None:
        """Begin to acquire what is new; what is just being let go of comes after that."""
        self._returning.update(self._leaving.intersection(partitions))
        for partition in partitions:
            if partition not in self._tasks and partition not in self.lanes and partition not in self._leaving:
                self._start(partition, self._acquire(partition))

    async def revoked(self, partitions: Sequence[int]) -> None:
        """Let chunks under way end, then forget everything about these partitions.

        Nothing of them is acquired or opened from here on, whatever their tasks still meet: it would fence others.
        """
        self.consumer.shut(partitions)
        self._leaving.update(partitions)
        self._returning.difference_update(partitions)
        under_way = [task for p in partitions if (task := self._tasks.get(p)) and p in self.lanes]
        for partition in partitions:
            if partition not in self.lanes:
                self._cancel(partition)
        if under_way:
            await asyncio.wait(under_way, timeout=DRAIN_SECONDS)
        await self._hint(partitions)
        self._forget(partitions)
        self._leaving.difference_update(partitions)
        self.assigned(sorted(self._returning.intersection(partitions)))

    async def close(self) -> None:
        """Drain and let go of everything: a clean stop. A part that does not answer is not waited for any longer."""
        partitions = [*{*self.lanes, *self._tasks}]
        try:
            await asyncio.wait_for(self.revoked(partitions), CLOSE_SECONDS)
        except TimeoutError:
            if self._tasks:  # else it was the hint alone
                log.warning("stopped without the last chunks: they are decided again", partitions=[*self._tasks])
        self._forget(partitions)

    def busy(self, partition: int) -> bool:
        """Whether a chunk of the partition is under way."""
        return partition in self._tasks

    # -- one partition ------------------------------------------------------------------------------------------

    def on_chunk(self, partition: int, records: Sequence[ConsumerRecord]) -> None:
        """A chunk came: work on it in a task of its own."""
        lane = self.lanes.get(partition)
        if lane is None:
            return  # dropped meanwhile: whoever acquires it next seeks
        assert partition not in self._tasks, "a second chunk of a partition whose first is under way"
        self._start(partition, self._chunk(partition, lane, records))

    def on_out_of_range(self, partition: int, offset: int) -> None:
        """Retention passed us by, or the log ends before our offset: nothing is skipped in silence."""
        reason = f"offset {offset} is not in the log: below its start or past its end"
        if partition in self.lanes:
            self._drop(partition)
            self._start(partition, self._halt(partition, reason))

    async def _chunk(self, partition: int, lane: Lane, records: Sequence[ConsumerRecord]) -> None:
        try:
            await self.worker.chunk(lane, records)
        except Refetch as refetch:
            self._count("gap")
            if self._ours(partition):
                self.consumer.open(partition, refetch.offset)
        except Exception as error:  # noqa: BLE001 - whatever failed, the lane is dropped
            self._note(partition, error)
            if self._ours(partition):
                await self._failed(partition, lane, error)
        else:
            if self._ours(partition):
                self.consumer.release(partition)
        self.moved_at[partition] = monotonic()

    def _note(self, partition: int, error: Exception) -> None:
        """Count and tell why a chunk was dropped."""
        if isinstance(error, RuleFailed):
            self._count("rule")
        elif isinstance(error, NotOurs):
            self._count(error.answer.value)
            log.warning("commit refused", partition=partition, answer=error.answer.value, detail=error.detail)
        elif isinstance(error, PublishFailed | StoreUnavailable):
            self._count("unavailable")
            log.warning("chunk dropped", partition=partition, error=str(error))

    async def _failed(self, partition: int, lane: Lane, error: Exception) -> None:
        """Drop the lane; what to do next depends on the cause, the state of it does not."""
        self._drop(partition)
        if isinstance(error, RuleFailed):
            text = "".join(traceback.format_exception(error.cause))[-8_000:]
            failure = Failure(type(error.cause).__name__, str(error.cause), text)
            self._failures.setdefault(partition, {})[error.offset] = failure
        elif isinstance(error, Halt):
            if error.offset > lane.next_offset and lane.stop_before is None:
                self._pending[partition] = (error.offset, error.reason)  # first commit what stands before it
            else:
                return await self._halt(partition, error.reason)
        elif isinstance(error, PublishRefused | StateLost):
            return await self._halt(partition, str(error))
        elif isinstance(error, NotOurs):
            if error.answer is Answer.LOST:
                return await self._halt(partition, lost(partition, error.detail))
            if error.answer is Answer.FENCED:
                await self._may_commit(partition, lane.next_offset)
        elif not isinstance(error, PublishFailed | StoreUnavailable):
            return self.crash(error)
        await self._acquire(partition)

    async def _acquire(self, partition: int) -> None:
        """Try until the partition is ours, halted or revoked; then let it be fetched."""
        for attempt in range(1 << 30):
            try:
                got = await self.store.acquire(partition, self.identity, state_version=STATE_VERSION)
                if isinstance(got, Acquired):
                    return await self._open(partition, got)
            except (StoreUnavailable, BrokerUnavailable, PublishFailed) as error:
                log.warning("not acquired yet", partition=partition, error=str(error))
                got = None
            except StateLost as error:  # spoiled after the script had looked at it
                got = Refused("LOST", error.what)
            except Exception as error:  # noqa: BLE001 - not curable in here: the process ends
                return self.crash(error)
            if isinstance(got, Refused):
                if got.answer == "OTHER":
                    return self.crash(LogMismatch(f"partition {partition}: {got.detail}"))
                if got.answer == "LOST":
                    await self._refuse(partition, lost(partition, got.detail))
                elif self.halted.get(partition) != got.detail:
                    self.halted[partition] = got.detail
                    log.error("partition not acquired", partition=partition, answer=got.answer, detail=got.detail)
                await asyncio.sleep(RESUME_POLL_SECONDS)
            else:
                await asyncio.sleep(BACKOFF_SECONDS[min(attempt, len(BACKOFF_SECONDS) - 1)])

    async def _open(self, partition: int, acquired: Acquired) -> None:
        raw = acquired.partition_state
        state = partition_codec.decode(raw) if raw else PartitionState()
        known = await self.rule_failures(partition, state.clock)
        skip = {**self._failures.get(partition, {}), **known}
        fold = Partition(
            self.topic, partition, self.identity.partitions, state, acquired.timers, acquired.buckets, skip
        )
        lane = Lane(fold, acquired)
        lane.stop_before = self._pending.pop(partition, None)
        start = acquired.next_offset
        if start > 0 and await self.consumer.first_offset(partition) < start:
            start -= 1
        lane.check_crc = start < acquired.next_offset
        if not self._ours(partition):
            return
        self.halted.pop(partition, None)
        self.lanes[partition] = lane
        self.moved_at[partition] = monotonic()
        self.consumer.open(partition, start)
        log.info("partition acquired", partition=partition, next_offset=acquired.next_offset)

    async def _halt(self, partition: int, reason: str) -> None:
        """Stop here until `partition resume`; the others go on."""
        self._drop(partition)
        await self._refuse(partition, reason)
        await self._acquire(partition)

    async def _refuse(self, partition: int, reason: str) -> None:
        """Write the halt down, for this worker and every later one."""
        self.halted[partition] = reason
        log.error("partition halted", partition=partition, reason=reason)
        while True:
            try:
                return await self.store.halt(partition, reason)
            except StateLost:
                return  # no place for a reason: what stands there halts it by itself
            except StoreUnavailable:
                await asyncio.sleep(RESUME_POLL_SECONDS)

    async def _may_commit(self, partition: int, offset: int) -> None:
        """Wait until Kafka takes a commit of this generation: else two live workers would fence each other in turn."""
        while not await self.consumer.commit_hint({partition: offset}):
            await asyncio.sleep(0.5)

    def _forget(self, partitions: Sequence[int]) -> None:
        for partition in partitions:
            self._cancel(partition)
            self.lanes.pop(partition, None)
            self.halted.pop(partition, None)

    def _drop(self, partition: int) -> None:
        self.lanes.pop(partition, None)
        self.consumer.shut([partition])

    def _ours(self, partition: int) -> bool:
        """Whether the task at hand still speaks for the partition: who waits may not notice a cancellation."""
        return self._tasks.get(partition) is asyncio.current_task() and partition not in self._leaving

    def _cancel(self, partition: int) -> None:
        if task := self._tasks.pop(partition, None):
            task.cancel()

    def _start(self, partition: int, work: Coroutine[Any, Any, None]) -> None:
        async def run() -> None:
            try:
                await work
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 - a task must not fail unseen
                self.crash(error)
            finally:
                if self._tasks.get(partition) is task:
                    del self._tasks[partition]

        self._cancel(partition)
        task = asyncio.get_running_loop().create_task(run())
        task.add_done_callback(lambda _: work.close())  # cancelled before it began, it was never awaited
        self._tasks[partition] = task

    async def _hint(self, partitions: Sequence[int]) -> None:
        offsets = {p: self.lanes[p].next_offset for p in partitions if p in self.lanes}
        if offsets:
            await self.consumer.commit_hint(offsets)

    def _count(self, cause: str) -> None:
        self.worker.metrics["memberflow_chunks_dropped"].labels(cause).inc()


def lost(partition: int, detail: str) -> str:
    """Why a partition halts whose state is gone or damaged."""
    return f"state lost: {detail}; restore it with `memberflow rebuild {partition}`"
