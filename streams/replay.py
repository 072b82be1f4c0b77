"""The log folded again in memory: what state, facts and aggregates must be at an offset, whatever any store says.

`python -m streams.replay --log-file LOG --out DIGESTS` folds a recorded log in a process of its own. Chunk size,
cache and crashes are chosen freely because nothing may depend on them; a proof runs it with several and compares.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec import Struct

from processors.member import Member
from processors.output import Failure, Halt, Output, RecordLike, RuleFailed
from processors.partition import Partition
from schemas import aggregates
from schemas import member as member_codec
from schemas import partition as partition_codec
from schemas.decoding import Decoded, decode
from schemas.member import STATE_VERSION
from schemas.partition import PartitionState
from schemas.records import Record
from schemas.settings import Settings
from schemas.topics import topics
from streams.dead_letters import rule_failures
from streams.errors import PartitionHalted, StateLost
from streams.lane import crc
from streams.loading import load, read_member
from streams.log_reader import LogReader
from streams.memory_store import MemoryStore
from streams.store import Acquired, Commit, Dump, Identity

CHUNK = 5_000
"""The worker's longest chunk unless its settings say otherwise."""

BITE = 1_000
"""Records folded before others of the loop have their turn: whoever folds several partitions waits for Kafka's and
Redis' answers meanwhile, and an answer that nobody could take for 10 s would count as none.
"""

LOG_GONE = "begin with a snapshot that is recent enough: name its folder with --from"


class Source(Protocol):
    """What a log is read through: see `LogReader`."""

    async def bounds(self, partition: int) -> tuple[int, int]: ...
    async def offset_at(self, partition: int, timestamp: int) -> int | None: ...
    def read(self, partition: int, start: int, end: int) -> AsyncIterator[Sequence[RecordLike]]: ...


class Manner(Struct, frozen=True):
    """How a replay goes about it; none of this may change what comes out. `hash` is of proofs alone."""

    cache: int = 1 << 40  # members kept decoded between two commits
    ahead: bool = True  # load a whole chunk's members in one call, instead of each when its record comes
    crash: bool = False  # drop everything in memory after each decision and after each commit
    hash: bool = True  # hash what would be published, for `digests`; a sixth of the time


class Digests(Struct, frozen=True):
    """What two replays of one log must agree about, to the byte."""

    next_offset: int
    n: int
    state: str  # states, timers, buckets, pages and the partition's own state
    timers: str
    facts: str
    aggregates: str
    letters: str
    forwards: str


class Replay:
    """The fold of one partition over a memory store of its own. `hear` is given what each commit would publish."""

    def __init__(
        self,
        identity: Identity,
        topic: str,
        partition: int,
        *,
        skip: dict[int, Failure] | None = None,
        manner: Manner | None = None,
        hear: Callable[[Output], None] = lambda out: None,
    ) -> None:
        self.identity, self.topic, self.partition = identity, topic, partition
        self.skip, self.manner, self.hear = dict(skip or {}), manner or Manner(), hear
        self.failures: dict[int, Failure] = {}  # of rules, at offsets that `skip` did not name
        self.next_offset = 0
        self._store = MemoryStore(identity.log)
        self._seen = {name: hashlib.sha256() for name in ("facts", "aggregates", "letters", "forwards")}
        self._commits = 0

    async def begin(self, image: Dump | None = None) -> None:
        """Stand before the log's first record, or where an image of the partition stands."""
        await self._store.bootstrap(self.partition, self.identity, "replay", dump=image)
        await self._acquire()

    async def feed(self, records: Sequence[RecordLike]) -> None:
        """Fold the next records. A gap in their offsets is the log's own: markers, passed and counted."""
        for run in unbroken(records):
            items = [decode(record.value, record.headers) for record in run]
            done = 0
            while done < len(run):
                done = await self._step(run, items, done)

    async def dump(self) -> Dump:
        """The partition as its store would hold it now."""
        image = await self._store.dump(self.partition)
        assert image is not None, "begin() comes first"
        return image

    async def member(self, member_id: str) -> Member | None:
        """A member as it stands, with its pages; None for one not seen yet."""
        return await read_member(self._store, self.partition, member_id)

    async def digests(self) -> Digests:
        """What came of all records so far."""
        image = await self.dump()
        timers = msgspec.json.encode(sorted(image.timers.items()))
        return Digests(
            next_offset=image.next_offset,
            n=self.own_state.n,
            state=image.digest(),
            timers=hashlib.sha256(timers).hexdigest(),
            **{name: seen.hexdigest() for name, seen in self._seen.items()},
        )

    @property
    def own_state(self) -> PartitionState:
        """The partition's own state; do not change it."""
        return self._fold.state

    async def _acquire(self) -> None:
        """Everything in memory anew from the store, as after the death of an owner."""
        got = await self._store.acquire(self.partition, self.identity, state_version=STATE_VERSION)
        if not isinstance(got, Acquired):
            raise StateLost(f"partition {self.partition}: {got.answer} {got.detail}")
        raw = got.partition_state
        state = partition_codec.decode(raw) if raw else PartitionState()
        number, partitions, skip = self.partition, self.identity.partitions, {**self.failures, **self.skip}
        self._fold = Partition(self.topic, number, partitions, state, got.timers, got.buckets, skip)
        self._owner, self.next_offset = got.owner, got.next_offset

    async def _step(self, records: Sequence[RecordLike], items: Sequence[Decoded], start: int) -> int:
        """Decide and commit as far as the cache allows, at least one record; returns where it stands."""
        try:
            end, out = await self._decide(records, items, start)
            if self.manner.crash:
                lost = out
                await self._acquire()
                end, out = await self._decide(records, items, start)
                if (lost.facts, lost.buckets) != (out.facts, out.buckets):
                    raise StateLost(f"offset {records[start].offset}: decided again, the facts are others")
        except RuleFailed as error:
            self.failures[error.offset] = Failure(type(error.cause).__name__, str(error.cause))
            await self._acquire()
            return start
        except Halt as halt:
            raise PartitionHalted(f"partition {self.partition} at {halt.offset}: {halt.reason}") from halt
        await self._commit(out, records[end - 1])
        self.hear(out)
        if self.manner.hash:
            self._note(out)
        if self.manner.crash:
            await self._acquire()
        return end

    async def _decide(self, records: Sequence[RecordLike], items: Sequence[Decoded], start: int) -> tuple[int, Output]:
        fold = self._fold
        fold.pass_markers(records[start].offset - self.next_offset)
        if self.manner.ahead:
            await load(self._store, fold, fold.wants(records[start:], items[start:]), {})
        while (end := fold.run(records, items, start)) == start:
            await load(self._store, fold, fold.needs, {})
        return end, fold.take()

    async def _commit(self, out: Output, last: RecordLike) -> None:
        fold = self._fold
        self._commits += 1
        commit = Commit(
            partition=self.partition,
            incarnation="replay",
            owner=self._owner,
            from_offset=self.next_offset,
            next_offset=last.offset + 1,
            commit_id=str(self._commits),
            crc=crc(last),
            buckets=fold.take_buckets(out),
            partition_state=fold.encode_state(),
            states={member_id: member_codec.encode(member.state) for member_id, member in out.touched.items()},
            timers=out.timers,
            timers_gone=list(out.timers_gone),
            buckets_gone=list(out.buckets_gone),
            pages=out.pages,
            pages_gone=out.pages_gone,
        )
        answer, detail = await self._store.commit(commit)
        assert answer.value == "ok", f"{answer} {detail}"
        self.next_offset = last.offset + 1
        for member_id in list(islice(fold.members, max(0, len(fold.members) - self.manner.cache))):
            del fold.members[member_id]

    def _note(self, out: Output) -> None:
        """Hash what this commit would have published: length first, so that no two lists look alike."""
        written = {
            "facts": out.facts,
            "aggregates": [aggregates.encode(bucket) for bucket in out.buckets],
            "letters": [
                b"%d %s %s" % (letter.offset, letter.rejected.reason.encode(), letter.value or b"")
                for letter in out.letters
            ],
            "forwards": [msgspec.json.encode(forward) for forward in out.forwards],
        }
        for name, rows in written.items():
            for row in rows:
                self._seen[name].update(len(row).to_bytes(8, "big") + row)


def unbroken(records: Sequence[RecordLike]) -> Iterator[Sequence[RecordLike]]:
    """The runs of records without a gap in their offsets."""
    start = 0
    for at in range(1, len(records) + 1):
        if at == len(records) or records[at].offset != records[at - 1].offset + 1:
            yield records[start:at]
            start = at


def write_log(path: Path, records: Sequence[Record]) -> None:
    """A recorded log as a file; the same records give the same bytes."""
    path.write_bytes(gzip.compress(msgspec.msgpack.encode(records), 9, mtime=0))


def read_log(path: Path) -> list[Record]:
    """The records of such a file."""
    return msgspec.msgpack.decode(gzip.decompress(path.read_bytes()), type=list[Record])


async def from_log(
    settings: Settings,
    identity: Identity,
    partition: int,
    until: int,
    *,
    image: Dump | None = None,
    hear: Callable[[Output], None] = lambda out: None,
    progress: Callable[[int], None] = lambda count: None,
) -> Replay:
    """Fold a partition of the log as far as `until`, from its start or from an image.

    Offsets that a rule choked on are those of the dead letters; another one raises `StateLost`, and so does a log
    that no longer holds what comes next.
    """
    names, bootstrap = topics(settings.log, partitions=settings.partitions), settings.kafka.bootstrap
    skip = await rule_failures(bootstrap, names.dead_letters.name, partition)
    replay = Replay(identity, names.actions.name, partition, skip=skip, manner=Manner(hash=False), hear=hear)
    await replay.begin(image)
    async with LogReader(bootstrap, names.actions.name) as reader:
        await follow(replay, reader, until, progress)
    return replay


async def follow(
    replay: Replay,
    source: Source,
    until: int,
    progress: Callable[[int], None] = lambda count: None,
    feed: Callable[[Sequence[RecordLike]], Awaitable[None]] | None = None,
) -> None:
    """Let a replay go on as far as `until`, fed by itself or by `feed`. Raises `StateLost` as `from_log` does."""
    partition = replay.partition
    first, end = await source.bounds(partition)
    if first > replay.next_offset or until > end:
        held = f"partition {partition} of the log holds offsets {first} to {end}"
        raise StateLost(f"{held}, wanted are {replay.next_offset} to {until}", remedy=LOG_GONE)
    async for records in source.read(partition, replay.next_offset, until):
        for at in range(0, len(records), BITE):
            await (feed or replay.feed)(records[at : at + BITE])
            progress(min(BITE, len(records) - at))
            await asyncio.sleep(0)
    if replay.failures:
        raise StateLost(f"partition {partition}: rules raise at {sorted(replay.failures)}, and no dead letter says so")


async def digests_of(
    records: Sequence[Record], identity: Identity, partition: int, chunk: int, manner: Manner
) -> Digests:
    """Fold a whole recorded partition in chunks of one size."""
    replay = Replay(identity, "member.actions", partition, manner=manner)
    await replay.begin()
    for at in range(0, len(records), chunk):
        await replay.feed(records[at : at + chunk])
    return await replay.digests()


def main(arguments: Sequence[str] | None = None) -> None:
    """Fold a recorded log and write its digests."""
    parser = argparse.ArgumentParser(prog="python -m streams.replay", description=main.__doc__)
    parser.add_argument("--log-file", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--log", default="golden-1")
    parser.add_argument("--partition", type=int, default=0)
    parser.add_argument("--partitions", type=int, default=2)
    parser.add_argument("--chunk", type=int, default=CHUNK)
    parser.add_argument("--cache", type=int, default=Manner().cache)
    parser.add_argument("--crash", action="store_true")
    given = parser.parse_args(arguments)
    identity = Identity(given.log, "recorded", given.partitions)
    manner = Manner(cache=given.cache, crash=given.crash)
    found = asyncio.run(digests_of(read_log(given.log_file), identity, given.partition, given.chunk, manner))
    given.out.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")


if __name__ == "__main__":
    main()
