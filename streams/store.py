"""The port to the state of a partition: what moves together with its offset, and nothing about actions.

All values are bytes. One commit moves states, timers, buckets, pages, the partition's own state and
the offset together or not at all. `redis_store.py` and `memory_store.py` pass one contract suite.
"""

import enum
import hashlib
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from .errors import MalformedCommit, UsageError

HIGHEST_ARMED_MS = 2**53 - 1  # scores of a sorted set are doubles: above this a moment would be rounded
PARTS = ("header", "states", "timers", "buckets", "pages")
Part = Literal["header", "states", "timers", "buckets", "pages", "halted"]


class Answer(enum.StrEnum):
    """What the store says to a commit."""

    OK = "ok"
    OK_DUPLICATE = "ok-duplicate"  # this very commit was already in: its reply was lost
    LOST = "lost"  # no header, another life, a key of a wrong type: stop, rebuild by command
    FENCED = "fenced"  # another owner: drop the cache, acquire again after a Kafka commit succeeded
    STALE = "stale"  # the store stands elsewhere, it went back: drop the cache, seek


class Identity(msgspec.Struct, frozen=True):
    """What a partition's header is bound to for ever."""

    log: str
    topic_id: str
    partitions: int


class Acquired(msgspec.Struct, frozen=True):
    """Ownership of a partition, and what has to be in memory before its next record."""

    incarnation: str
    owner: str
    next_offset: int
    crc: int
    partition_state: bytes
    timers: list[tuple[int, str]]  # (armed ms, member_id), in the order they fire
    buckets: dict[str, bytes]


Refusal = Literal["EMPTY", "LOST", "OTHER", "NEWER", "HALTED"]


class Refused(msgspec.Struct, frozen=True):
    """Why a partition was not given.

    EMPTY: never bootstrapped, or everything was lost. LOST: damaged, by a key of a wrong type or a header
    that lacks a part: this partition alone must be rebuilt. OTHER: not the partition it should be (another
    log, topic or partition count). NEWER: newer code has written here. HALTED: halted, the reason is the detail.
    """

    answer: Refusal
    detail: str


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one chunk changed. What is both put and gone is gone."""

    partition: int
    incarnation: str
    owner: str
    from_offset: int  # the offset the chunk was decided at: the store must still stand there
    next_offset: int  # next to read
    commit_id: str  # never used for another commit; the same again when the reply was lost
    crc: int  # of the chunk's last record
    partition_state: bytes
    states: Mapping[str, bytes] = {}
    states_gone: Sequence[str] = ()
    timers: Mapping[str, int] = {}  # member_id -> armed ms
    timers_gone: Sequence[str] = ()
    buckets: Mapping[str, bytes] = {}
    buckets_gone: Sequence[str] = ()
    pages: Mapping[str, bytes] = {}
    pages_gone: Sequence[str] = ()

    def check(self) -> None:
        """Raise what can only be a mistake of the caller, before anything is sent.

        A commit that does not move the offset would let two owners both fire a timer.
        """
        if not 0 <= self.from_offset < self.next_offset:
            raise MalformedCommit(f"a commit from {self.from_offset} to {self.next_offset} does not move")
        if not (self.incarnation and self.owner and self.commit_id):
            raise MalformedCommit("a commit without incarnation, owner or commit id")
        if not 0 <= self.crc < 2**32:
            raise MalformedCommit(f"a crc of {self.crc} is not one of 32 bits")
        armed = self.timers.values()
        if armed and not 0 <= min(armed) <= max(armed) <= HIGHEST_ARMED_MS:
            raise MalformedCommit(f"a timer outside 0..{HIGHEST_ARMED_MS} ms")


class Header(msgspec.Struct, frozen=True):
    """What stands at the head of a partition: enough to say where it is without reading its members."""

    identity: Identity
    next_offset: int
    state_version: int
    partition_state: bytes


class Dump(msgspec.Struct, kw_only=True):
    """One partition between two commits, whole."""

    identity: Identity
    incarnation: str
    owner: str
    next_offset: int
    commit_id: str
    crc: int
    state_version: int
    partition_state: bytes
    states: dict[str, bytes]
    timers: dict[str, int]
    buckets: dict[str, bytes]
    pages: dict[str, bytes]

    def digest(self) -> str:
        """Equal for equal content, whoever owned or committed it: what a replay is compared with."""
        digest = hashlib.sha256(self.next_offset.to_bytes(8, "big"))
        timers = {member: armed.to_bytes(8, "big") for member, armed in self.timers.items()}
        for part in (self.states, timers, self.buckets, self.pages):
            digest.update(len(part).to_bytes(8, "big"))
            for field in sorted(part):
                digest.update(_sized(field.encode()) + _sized(part[field]))
        digest.update(_sized(self.partition_state))
        return digest.hexdigest()


class StateStore(Protocol):
    """Where the state of a log's partitions lives.

    A call that could not be answered raises `StoreUnavailable`; state that is damaged raises
    `StateLost`. Every other outcome is a value.
    """

    async def check(self) -> str:
        """The store's version; raises `StoreUnsafe` where it may forget what it acknowledged."""

    async def bootstrap(
        self,
        partition: int,
        identity: Identity,
        incarnation: str,
        *,
        dump: Dump | None = None,
        replace: bool = False,
    ) -> None:
        """Begin a partition, empty or from an image; only an explicit command does this.

        Raises `StateExists` where anything of the partition is there, unless it is to be replaced.
        The image appears whole or not at all. A halt stays.
        """

    async def acquire(self, partition: int, identity: Identity, *, state_version: int) -> Acquired | Refused:
        """Own the partition: from now on every other owner's commit is FENCED."""

    async def load(self, partition: int, members: Sequence[str]) -> list[bytes | None]:
        """States in the order asked, None where there is none."""

    async def load_pages(self, partition: int, fields: Sequence[str]) -> list[bytes | None]:
        """Pages of remembered ids in the order asked, None where there is none."""

    async def commit(self, commit: Commit) -> tuple[Answer, str]:
        """Everything or nothing; the text says what the store holds instead."""

    async def ask(self, partition: int, incarnation: str, owner: str, offset: int) -> tuple[Answer, str]:
        """What a commit from this offset would be answered now; nothing is written.

        OK says that all that this owner has read so far is of its own time: neither another owner's nor a lost one's.
        """

    async def dump(self, partition: int) -> Dump | None:
        """The partition between two commits; None where there is no header."""

    async def offsets(self, partitions: Sequence[int]) -> dict[int, int | None]:
        """Next offset to read per partition, None where there is no header that can be read."""

    async def headers(self, partitions: Sequence[int]) -> dict[int, Header | None]:
        """The head of each partition as one commit left it, None where there is none that can be read."""

    async def halt(self, partition: int, reason: str) -> None:
        """Refuse the partition to every owner until it is resumed; kept over restarts."""

    async def halted(self, partitions: Sequence[int]) -> dict[int, str]:
        """The halted ones among these, with their reasons; whatever stands in the place of a halt is one."""

    async def resume(self, partition: int) -> bool:
        """Take the halt away; False where there was none."""

    async def wipe(self, partition: int) -> None:
        """Forget the partition; for rebuild only. A halt stays."""

    async def close(self) -> None:
        """Let go of connections."""


def key(log: str, partition: int, part: str) -> str:
    """The name of one part of a partition. All parts share one hash tag, led by the log's name."""
    return f"{{{log}:{partition}}}:{part}"


def first_image(identity: Identity, incarnation: str, dump: Dump | None) -> Dump:
    """A partition as bootstrap leaves it, from nothing or from an image of the same log.

    Nobody owns it and nothing was committed in this life.
    """
    if not incarnation:
        raise UsageError("a partition cannot begin without an incarnation")
    if dump is not None and dump.identity != identity:
        raise UsageError(f"the image is of {dump.identity}, not of {identity}")
    return Dump(
        identity=identity,
        incarnation=incarnation,
        owner="",
        next_offset=dump.next_offset if dump else 0,
        commit_id="",
        crc=dump.crc if dump else 0,
        state_version=dump.state_version if dump else 0,
        partition_state=dump.partition_state if dump else b"",
        states=dict(dump.states) if dump else {},
        timers=dict(dump.timers) if dump else {},
        buckets=dict(dump.buckets) if dump else {},
        pages=dict(dump.pages) if dump else {},
    )


def _sized(value: bytes) -> bytes:
    return len(value).to_bytes(8, "big") + value
