"""The main path: one chunk of one partition, in seven steps.

    1 take      a chunk that the transport fetched                                   (given)
    2 check     its first offset is the one the store expects; gaps                  `Lane.check`
    3 decode    bytes to actions, refusals are values                                `decode`
    4 load      members that are not in the cache, in one call                       `_load`
    5 decide    record by record, states in place                                    `Partition.run`
    6 publish   derived records, dead letters, facts, buckets; acknowledged          `Publisher.publish`
    7 commit    states, timers, buckets, pages, own state and offset in one script   `_commit`

One chunk is in flight per partition, partitions overlap. Whoever dies between 6 and 7 leaves facts that the next owner
publishes again, byte for byte, under the same numbers. Every failure is an exception: whoever runs a lane drops it
and acquires the partition anew.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter

from aiokafka import ConsumerRecord

from processors.output import Halt, Needs, Output, RuleFailed
from schemas import member as member_codec
from schemas.decoding import Decoded, decode
from schemas.metrics import STAGES
from streams.lane import Lane, NotOurs, crc
from streams.loading import keep, load
from streams.metrics import Metrics
from streams.publisher import Publisher
from streams.store import Answer, Commit, StateStore


class Worker:
    """Takes chunks through the steps."""

    def __init__(
        self,
        store: StateStore,
        publisher: Publisher,
        metrics: Metrics,
        *,
        cache_per_lane: int,
        fail: Callable[[str], None] = lambda point: None,
    ) -> None:
        self.store, self.publisher, self.metrics, self.fail = store, publisher, metrics, fail
        self.cache_per_lane = cache_per_lane
        self._stages = {stage: metrics["memberflow_stage_seconds"].labels(stage) for stage in STAGES}

    async def chunk(self, lane: Lane, records: Sequence[ConsumerRecord]) -> None:
        """Steps 2 to 7. A chunk may be cut where members are missing: nothing depends on where a chunk ends."""
        self.fail("chunk.fetched")
        whole, records = records, lane.check(records)
        with self.timed("decode"):
            items = [decode(record.value, record.headers) for record in records]
        done = 0
        while done < len(records):
            await self._load(lane, lane.fold.wants(records[done:], items[done:]))
            before, done = done, await self._decide(lane, records, items, done)
            if done > before:
                self.fail("chunk.decided")
                await self._finish(lane, records[done - 1])
            if done < len(records):
                await self._load(lane, lane.fold.needs)
        self.metrics["memberflow_chunk_records"].observe(len(records))
        if whole[-1].offset >= lane.next_offset:
            lane.look_again(whole)

    async def _load(self, lane: Lane, needs: Needs) -> None:
        with self.timed("load"):
            lane.unsure |= await load(self.store, lane.fold, needs, lane.cache)

    async def _decide(self, lane: Lane, records: Sequence[ConsumerRecord], items: Sequence[Decoded], start: int) -> int:
        """What a rule raises on is its record's fault only if what it judged was ours."""
        try:
            with self.timed("decide"):
                return lane.fold.run(records, items, start)
        except (RuleFailed, Halt):
            if lane.unsure:
                await self._make_sure(lane)
            raise

    async def _finish(self, lane: Lane, last: ConsumerRecord) -> None:
        """Steps 6 and 7 for everything decided so far."""
        out = lane.fold.take()
        self.metrics["memberflow_chunks_in_flight"].inc()
        try:
            if out.publishes():
                if lane.unsure:
                    await self._make_sure(lane)
                with self.timed("publish"):
                    await self.publisher.publish(lane.fold.number, out, lane.fold.state.clock)
            self.fail("chunk.published")
            with self.timed("commit"):
                await self._commit(lane, out, last)
        finally:
            self.metrics["memberflow_chunks_in_flight"].dec()
        self.fail("chunk.committed")
        lane.committed(out, last, self.metrics)

    async def _make_sure(self, lane: Lane) -> None:
        """What was read may be another owner's, or of a store that went back: nothing decided on that gets out."""
        ours = lane.acquired
        with self.timed("check"):
            got = await self.store.ask(lane.fold.number, ours.incarnation, ours.owner, lane.next_offset)
        if got[0] is not Answer.OK:
            raise NotOurs(*got)
        lane.unsure = False

    async def _commit(self, lane: Lane, out: Output, last: ConsumerRecord) -> None:
        """One script: everything the chunk changed, and the offset after its last record."""
        fold, acquired = lane.fold, lane.acquired
        states = {member_id: member_codec.encode(member.state) for member_id, member in out.touched.items()}
        commit = Commit(
            partition=fold.number,
            incarnation=acquired.incarnation,
            owner=acquired.owner,
            from_offset=lane.next_offset,
            next_offset=last.offset + 1,
            commit_id=secrets.token_hex(8),
            crc=crc(last),
            buckets=fold.take_buckets(out),
            partition_state=fold.encode_state(),
            states=states,
            timers=out.timers,
            timers_gone=list(out.timers_gone),
            buckets_gone=list(out.buckets_gone),
            pages=out.pages,
            pages_gone=out.pages_gone,
        )
        answer, detail = await self.store.commit(commit)
        self.metrics["memberflow_commits"].labels(answer.value).inc()
        if answer not in (Answer.OK, Answer.OK_DUPLICATE):
            raise NotOurs(answer, detail)
        lane.next_offset = last.offset + 1
        keep(lane.cache, fold.members, states, self.cache_per_lane)
        fold.members.clear()

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Observe the time of a stage."""
        began = perf_counter()
        yield
        self._stages[stage].observe(perf_counter() - began)
