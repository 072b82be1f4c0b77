"""What goes into and comes out of a run of a partition's fold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from processors.member import Member
from schemas.aggregates import Bucket
from schemas.dead_letters import DeadLetter
from schemas.records import Caused


class RecordLike(Protocol):
    """A record as any consumer hands it over: `timestamp` in milliseconds."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class Failure(Struct, frozen=True):
    """A record that a rule choked on. `known`: its dead letter is in the log already, so it is skipped for ever."""

    exception: str
    message: str
    stacktrace: str = ""
    known: bool = False


class RuleFailed(Exception):
    """A rule raised at an offset: acquire again and run the chunk with this offset in `skip`."""

    def __init__(self, offset: int, cause: Exception) -> None:
        super().__init__(f"offset {offset}: {cause!r}")
        self.offset, self.cause = offset, cause


class Halt(Exception):
    """The partition must not pass this offset before a person has looked."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(reason)
        self.offset, self.reason = offset, reason


class Output(Struct):
    """What a run brought about. Facts are encoded, in order of n; the rest is what one commit moves."""

    fact_keys: list[bytes] = []
    facts: list[bytes] = []
    letters: list[DeadLetter] = []
    forwards: list[tuple[int, Caused]] = []  # (partition to, derived record), in the order of their causes
    buckets: list[Bucket] = []
    touched: dict[str, Member] = {}
    timers: dict[str, int] = {}
    timers_gone: dict[str, None] = {}
    pages: dict[str, bytes] = {}
    pages_gone: list[str] = []
    buckets_gone: set[str] = set()
    ticks: list[str] = []  # owners whose ticks came by
    holds: list[str] = []  # `opened`, or how one ended

    def publishes(self) -> bool:
        """Whether anything has to be acknowledged before the commit."""
        return bool(self.facts or self.letters or self.forwards or self.buckets)


class Needs(Struct):
    """What has to be loaded before the next record can be applied."""

    members: list[str] = []
    ordinals: list[int] = []
