"""One partition of a simulation: folded as it was lived or under another programme, in a process of its own.

A record that another partition would have made otherwise takes the place of the one in the log. One that the log does
not hold is put in, and all after it move on by one offset; causes are always told by the offsets of the log.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import multiprocessing
import multiprocessing.connection
import os
import threading
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Struct

from processors import overlays
from processors.awards import Held
from processors.output import Failure, Output, RecordLike
from processors.programme import Rules
from processors.signature import holds, public_text, seal
from processors.simulate import UNCHANGED, Made, Origin, Patch, Slot, Standing, parted, standing
from processors.versions import Versions
from schemas import member as member_codec
from schemas import partition as partition_codec
from schemas.decoding import Controlled, Derived, decode
from schemas.records import (
    Award,
    Cause,
    Caused,
    Echo,
    Keys,
    ProgrammeControl,
    Record,
    Referral,
    SignedControl,
    SignedDerived,
    Thresholds,
    tick,
)
from streams.member_log import names
from streams.recorded import Recorded
from streams.replay import Manner, Replay, Source, follow
from streams.simulate_rows import Rows
from streams.store import Dump, Identity

KEY_ID = "simulate"
DERIVED = b'{"record":"derived"'
CONTROL = b'{"record":"control"'
AFTER = 1_000_000
"""Added to a cause that lies in a record put in: it comes after all causes of the record before."""

EVERYBODY = 10_000
CACHE = 50_000
"""Members kept decoded between two commits: some hundred megabytes, whatever the partition holds."""


class Task(Struct, frozen=True, kw_only=True):
    """What is folded of a partition: from where to where, under what, and what else is in its log."""

    identity: Identity
    topic: str
    partition: int
    start: int
    part_at: int  # the offset from which the other programme is in force
    until: int
    folder: Path
    begin: Path | None = None  # an image of the store's to begin with
    skip: dict[int, Failure] = {}
    text: str = ""  # of the other programme; "" = as it was lived
    holds_from: int = 0  # the moment from which the other programme holds, ms; 0 = for all moments
    secret: bytes = b""  # of the key that signs what is put in
    patch: Patch = UNCHANGED
    sample: int = EVERYBODY  # members by hash, of 10,000
    has_rows: bool = False  # whether what all partitions make together will be asked for

    @property
    def name(self) -> str:
        """What the names of its files begin with."""
        return f"{self.partition}-{'new' if self.text else 'live'}"


class Shown(Struct, frozen=True):
    """Thresholds as the log holds them: where, the clock there, and what they say."""

    partition: int
    offset: int
    at: int
    body: Thresholds


class Outcome(Struct, frozen=True, kw_only=True):
    """What came of it. The files hold each member's standing, the image where the programmes part, each fact's hash,
    and what boards and populations read of facts. What the log holds is told of the fold as it was lived.
    """

    partition: int
    members: Path
    image: Path
    facts: Path
    n: int
    clock: int
    made: list[Made]
    slots: list[Slot]
    rows: Path
    parted_n: int = 0  # the last fact before the programmes part
    awards: list[Held] = []
    programmes: list[ProgrammeControl] = []
    thresholds: list[Shown] = []


def begin_process() -> None:
    """A process of the pool: it ends with the command, whatever ends that, and makes no cycles to search for."""
    gc.disable()
    parent = multiprocessing.parent_process()
    assert parent is not None, "the command itself folds nothing"

    def watch() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def in_process(recorded: Recorded, task: Task) -> Outcome:
    """Fold a partition of a real log."""

    async def work() -> Outcome:
        async with recorded.open() as source:
            return await fold(task, source)

    return asyncio.run(work())


async def fold(task: Task, source: Source) -> Outcome:
    """1 begin, 2 as far as the programmes part, 3 to the end, 4 keep what came of it."""
    feeder = Feeder(task)
    image = msgspec.msgpack.decode(task.begin.read_bytes(), type=Dump) if task.begin else None
    if task.text:
        assert image is not None, "another programme parts from an image"
        own = partition_codec.decode(image.partition_state)
        key = (KEY_ID, public_text(feeder.key))
        image.partition_state = partition_codec.encode(parted(own, task.text, task.holds_from, key))
    await feeder.replay.begin(image)
    feeder.programmes |= {it.number: it for it in feeder.replay.own_state.programmes}
    kept, parted_n = task.folder / f"{task.name}.image", feeder.replay.own_state.n
    if not task.text:
        await follow(feeder.replay, source, task.part_at, feed=feeder.feed)
        kept.write_bytes(msgspec.msgpack.encode(await feeder.replay.dump()))
        parted_n = feeder.replay.own_state.n
    await follow(feeder.replay, source, task.until, feed=feeder.feed)
    members, facts = task.folder / f"{task.name}.members", task.folder / f"{task.name}.facts"
    members.write_bytes(msgspec.msgpack.encode(standings(await feeder.replay.dump())))
    facts.write_bytes(feeder.hashes.tobytes())
    own = feeder.replay.own_state
    return Outcome(
        partition=task.partition,
        members=members,
        image=kept,
        facts=facts,
        n=own.n,
        clock=own.clock,
        made=feeder.made,
        slots=feeder.slots,
        rows=feeder.rows.path,
        parted_n=parted_n,
        awards=feeder.awards,
        programmes=list(feeder.programmes.values()),
        thresholds=feeder.thresholds,
    )


def standings(image: Dump) -> dict[str, Standing]:
    """Every member of a partition, by its own of the rules in force at its clock."""
    own = partition_codec.decode(image.partition_state)
    rules = Versions(own.programmes, own.clock).in_force
    assert isinstance(rules, Rules), "a partition without a programme"
    found = {}
    for name, raw in image.states.items():
        state = member_codec.decode(raw)
        found[name] = standing(overlays.own(rules, name, state, own.clock), state, own.clock)
    return found


class Feeder:
    """Gives a replay the records of its log, patched and sampled; collects what it makes for others."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.key = Ed25519PrivateKey.from_private_bytes(task.secret) if task.secret else Ed25519PrivateKey.generate()
        self.put_before = [put.before for put in task.patch.put]
        self.said = dict(task.patch.said)
        skip = {self._here(offset): failure for offset, failure in task.skip.items()}
        self.replay = Replay(
            task.identity,
            task.topic,
            task.partition,
            skip=skip,
            manner=Manner(cache=CACHE, hash=False),
            hear=self._hear,
        )
        self.made: list[Made] = []
        self.slots: list[Slot] = []
        self.hashes = array("Q")  # of each fact, in the order of n
        self.rows = Rows(task.folder / f"{task.name}.rows")
        self.awards: list[Held] = []
        self.programmes: dict[int, ProgrammeControl] = {}
        self.thresholds: list[Shown] = []
        self._clock = 0  # at the record at hand, as the log has it
        self._put = 0  # how many were put in so far
        self._put_at: list[int] = []  # at which offsets of ours
        self._stamps: list[tuple[int, int]] = []  # (offset, timestamp) of the records at hand

    async def feed(self, records: Sequence[RecordLike]) -> None:
        """The next records of the log, control records by themselves: what is judged before them goes by what held."""
        first = 0
        for at, record in enumerate(records):
            if (record.value or b"").startswith(CONTROL):
                await self._feed(records[first:at])
                await self._feed_control(record)
                first = at + 1
        await self._feed(records[first:])

    async def _feed(self, records: Sequence[RecordLike]) -> None:
        self._clock = self.replay.own_state.clock
        wanted = [self._patched(record) for record in records if self._wanted(record)]
        given = [one for found in wanted for one in found]
        clock = self.replay.own_state.clock
        self._stamps = []
        for record in given:
            clock = max(clock, record.timestamp)
            self._stamps.append((record.offset, clock))
        await self.replay.feed(given)

    async def _feed_control(self, record: RecordLike) -> None:
        """A control record by itself: those that take their place are noted."""
        before = dict(self.replay.own_state.numbers)
        await self._feed([record])
        own, item = self.replay.own_state, decode(record.value, record.headers)
        if self.task.text or not isinstance(item, Controlled) or own.numbers == before:
            return
        if isinstance(item.body, ProgrammeControl):
            self.programmes[item.body.number] = item.body
        elif isinstance(item.body, Thresholds):
            self.thresholds.append(Shown(self.task.partition, record.offset, own.clock, item.body))

    # -- the log as it is folded --------------------------------------------------------------------------------

    def _wanted(self, record: RecordLike) -> bool:
        """Whether a record is of the sample, or of nobody. Notes what is derived."""
        value = record.value or b""
        self._clock = max(self._clock, record.timestamp)
        if self.task.sample == EVERYBODY and not value.startswith(DERIVED):
            return True
        item = decode(record.value, record.headers)
        if isinstance(item, Derived) and not self.task.text:
            self._note(record, item)
        member_id = names(item)
        return member_id is None or sampled(member_id, self.task.sample)

    def _note(self, record: RecordLike, item: Derived) -> None:
        """A valid derived record of this log, which a simulation makes itself too."""
        if not holds(item.envelope, self.replay.own_state.worker_keys):
            return
        body = item.body
        if isinstance(body, Award):
            self.awards.append(Held(self.task.partition, record.offset, self._clock, body))
        elif isinstance(body, Caused) and body.cause.log == self.task.identity.log and self._has_both(body):
            origin = Origin(body.cause.partition, body.cause.offset, body.cause.index)
            self.slots.append(Slot(record.offset, origin, said(body)))

    def _has_both(self, body: Caused) -> bool:
        """Whether the sample has both members of a derived record."""
        return sampled(body.member_id, self.task.sample) and sampled(other(body), self.task.sample)

    def _patched(self, record: RecordLike) -> list[Record]:
        """The record at its place here, after what is put in before it."""
        found = []
        puts = self.task.patch.put
        while self._put < len(puts) and puts[self._put].before <= record.offset:
            put = puts[self._put]
            at = put.before + self._put
            found.append(Record(at, put.at, None, seal(SignedDerived, KEY_ID, self.key, put.body)))
            self._put_at.append(at)
            self._put += 1
        value = record.value
        if record.offset in self.task.patch.gone:
            value = tick()
        elif self.task.text and (value or b"").startswith(CONTROL):
            value = self._said(record)
        headers = tuple((name, bytes(content or b"")) for name, content in record.headers)
        found.append(Record(record.offset + self._put, record.timestamp, record.key, value, headers))
        return found

    def _said(self, record: RecordLike) -> bytes | None:
        """A control record as it is said here: thresholds of other facts; new keys beside our own."""
        item = decode(record.value, record.headers)
        said = self.said.get(record.offset)
        if said is None and isinstance(item, Controlled) and isinstance(item.body, Keys):
            if not holds(item.envelope, self.replay.own_state.staff_keys):
                return record.value
            ours = {KEY_ID: public_text(self.key)}
            staff, workers = item.body.staff_keys | ours, item.body.worker_keys | ours
            said = msgspec.json.encode(msgspec.structs.replace(item.body, staff_keys=staff, worker_keys=workers))
        return record.value if said is None else seal(SignedControl, KEY_ID, self.key, said)

    def _here(self, offset: int) -> int:
        """Where a record of the log lies once everything before it was put in."""
        return offset + bisect_right(self.put_before, offset)

    # -- what comes of it ---------------------------------------------------------------------------------------

    def _hear(self, out: Output) -> None:
        for fact in out.facts:
            self.hashes.append(hash_of(fact))
        if self.task.has_rows:
            self.rows.add(out.facts)
        for home, body in out.forwards:
            if not sampled(body.member_id, self.task.sample):
                continue
            origin = self._origin(body.cause)
            at = self._stamps[bisect_left(self._stamps, (body.cause.offset, 0))][1]
            cause = Cause(body.cause.log, *origin)
            body = msgspec.structs.replace(body, cause=cause)
            whole = msgspec.json.encode(body) if self.task.text else b""  # what was lived is never put in
            self.made.append(Made(home, origin, at, said(body), whole))

    def _origin(self, cause: Cause) -> Origin:
        """A cause by the offsets of the log."""
        before = bisect_left(self._put_at, cause.offset)
        if before < len(self._put_at) and self._put_at[before] == cause.offset:
            return Origin(cause.partition, cause.offset - before - 1, AFTER * (before + 1) + cause.index)
        return Origin(cause.partition, cause.offset - before, cause.index)


def hash_of(fact: bytes) -> int:
    """64 bits that tell a fact from another."""
    return int.from_bytes(hashlib.blake2b(fact, digest_size=8).digest(), "big")


def said(body: Caused) -> bytes:
    """A hash of what a derived record says beside its cause: a log has many, and all of them are compared."""
    text = msgspec.json.encode(msgspec.structs.replace(body, cause=NOWHERE))
    return hashlib.blake2b(text, digest_size=SAID_BYTES).digest()


NOWHERE = Cause("", 0, 0, 0)
SAID_BYTES = 16


def other(body: Caused) -> str:
    """The member that brought a derived record about."""
    if isinstance(body, Referral):
        return body.invited_member_id
    return body.from_member_id if isinstance(body, Echo) else body.member_id


def sampled(member_id: str, sample: int) -> bool:
    """Whether a member is one of `sample` in 10,000, by hash('sample', member_id) (handbook 1.1)."""
    return sample >= EVERYBODY or overlays.share_of("sample", member_id) < sample
