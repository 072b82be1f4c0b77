"""What a run published, read back: every fact once at least, the same facts as every other run of that log.

A chunk that is dropped after its facts were published is decided again and publishes them again, byte for byte:
repeats are allowed and told. Nothing may be missing, and nothing may be another fact.

How many there are differs between runs without a fault: workers that wait at the log's end append ticks, time passes
with them, and timers bring facts. Runs are compared below the end of what was filled in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from tests.bench.failed import BenchFailed


class _Head(Struct, gc=False):
    n: int
    offset: int


_head = msgspec.json.Decoder(_Head).decode


class Standing(Struct, frozen=True):
    """Where a partition stands in the store after a run: next offset to read, number of the last fact."""

    next_offset: int
    n: int


class Published(Struct):
    """What a run came to. `digests` are those of the facts of the filled log, by partition."""

    facts: int = 0
    beyond: int = 0
    again: int = 0
    digests: dict[int, str] = {}


class Tally:
    """The facts of one run in one partition, as a reader sees them that drops what it has seen."""

    def __init__(self, partition: int, end: int) -> None:
        self.partition, self.end = partition, end
        self.n = self.facts = self.again = 0
        self._digest = hashlib.blake2b()
        self._offsets: list[int] = []

    def take(self, value: bytes) -> None:
        """The next fact of the topic."""
        head = _head(value)
        if head.n > self.n + 1:
            raise BenchFailed(f"partition {self.partition}: fact {head.n} follows fact {self.n}, some are lost")
        if head.n <= self.n:
            self.again += 1
            return
        self.n = head.n
        self._offsets.append(head.offset)
        if head.offset < self.end:
            self.facts += 1
            self._digest.update(len(value).to_bytes(8, "big") + value)

    def close(self, standing: Standing) -> str:
        """The digest. The store must know of each fact, but those of a chunk that was not committed any more."""
        known = sum(offset < standing.next_offset for offset in self._offsets)
        if known != standing.n:
            raise BenchFailed(
                f"partition {self.partition}: {known} facts up to the commit, the state says {standing.n}"
            )
        return self._digest.hexdigest()


def told(tallies: Mapping[int, Tally], standing: Mapping[int, Standing]) -> Published:
    """All partitions of a run."""
    digests = {partition: tally.close(standing[partition]) for partition, tally in tallies.items()}
    facts = sum(tally.facts for tally in tallies.values())
    beyond = sum(tally.n for tally in tallies.values()) - facts
    return Published(facts, beyond, sum(tally.again for tally in tallies.values()), digests)


def same(runs: Sequence[Published]) -> None:
    """The same log gives the same facts, however many workers there are and whatever they dropped."""
    for run in runs[1:]:
        if run.digests != runs[0].digests:
            differ = sorted(p for p, digest in runs[0].digests.items() if run.digests.get(p) != digest)
            raise BenchFailed(f"{run.facts:,} facts in a run, {runs[0].facts:,} in another; they differ in {differ}")
