"""What must hold of a log on real parts whatever happened to its workers, each number from its own store alone.

State is read from Redis, facts and aggregates from their topics, the truth from a replay of the log.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from msgspec import Struct

from processors.output import Output
from schemas import aggregates, member
from schemas import facts as fact_codec
from schemas import partition as partition_codec
from schemas.facts import Fact, Ledger
from schemas.settings import Settings
from schemas.topics import topics
from streams.log_reader import LogReader
from streams.redis_store import RedisStore
from streams.replay import from_log
from streams.store import Dump


class Told(Struct):
    """One partition after the comparison: what it came to."""

    facts: list[Fact]
    repeats: int
    verdicts: dict[str, int]
    digest: str


class Proof:
    """The oracles of one log."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.topics = topics(settings.log, partitions=settings.partitions)

    async def settled(self, *, within_s: float = 60.0) -> bool:
        """Whether everything that is in the log now gets committed in time (O7). Ticks move what stands at markers."""
        async with LogReader(self.settings.kafka.bootstrap, self.topics.actions.name) as reader:
            ends = {p: end for p, (_, end) in (await reader.all_bounds(range(self.settings.partitions))).items()}
        store = RedisStore(self.settings.redis.url, self.settings.log)
        try:

            async def reached() -> bool:
                offsets = await store.offsets(range(self.settings.partitions))
                return all((offsets[partition] or 0) >= end for partition, end in ends.items())

            return await in_time(reached, within_s)
        finally:
            await store.close()

    async def holds(self) -> dict[int, Told]:
        """State and facts equal the replay (O1, O3), sums equal balances (O2), no record is unaccounted for (O8)."""
        images = await self.images()
        facts = await self.published(self.topics.facts.name)
        totals = await self.published(self.topics.aggregates.name)
        return {p: await self._partition(p, image, facts[p], set(totals[p])) for p, image in images.items()}

    async def images(self) -> dict[int, Dump]:
        """Every partition as Redis holds it."""
        store = RedisStore(self.settings.redis.url, self.settings.log)
        try:
            found = {partition: await store.dump(partition) for partition in range(self.settings.partitions)}
        finally:
            await store.close()
        assert None not in found.values(), f"no state: {[p for p, image in found.items() if image is None]}"
        return {partition: image for partition, image in found.items() if image is not None}

    async def published(self, topic: str) -> dict[int, list[bytes]]:
        """The values of a topic by partition, repeats and all."""
        found: dict[int, list[bytes]] = {partition: [] for partition in range(self.settings.partitions)}
        async with LogReader(self.settings.kafka.bootstrap, topic) as reader:
            async for records in reader.read_all(await reader.all_bounds(found)):
                found[records[0].partition] += [record.value for record in records]
        return found

    async def _partition(self, partition: int, image: Dump, facts: list[bytes], totals: set[bytes]) -> Told:
        out: list[Output] = []
        again = await from_log(self.settings, image.identity, partition, image.next_offset, hear=out.append)
        same_image(image, await again.dump())
        firsts, repeats = first_occurrences(facts)
        implied = [fact for heard in out for fact in heard.facts]
        assert firsts[: len(implied)] == implied, f"partition {partition}: the facts are not those of the log"
        one_total_a_version(totals)
        missing = {aggregates.encode(bucket) for heard in out for bucket in heard.buckets} - totals
        assert not missing, f"partition {partition}: {len(missing)} totals of {len(totals)}: {sorted(missing)[:3]}"
        decoded = [fact_codec.decode(value) for value in implied]
        sums_are_balances(image, decoded)
        verdicts = partition_codec.decode(image.partition_state).verdicts
        assert sum(verdicts.values()) == image.next_offset, f"partition {partition}: {verdicts}"
        return Told(decoded, repeats, verdicts, image.digest())


KEY = ("kind", "at", "region", "group_id", "action", "period", "dimension", "tier")


def same_image(held: Dump, pure: Dump) -> None:
    """Told part by part: a digest alone does not say what differs."""
    for part in ("states", "timers", "buckets", "pages", "partition_state", "next_offset", "crc"):
        ours, theirs = getattr(held, part), getattr(pure, part)
        if isinstance(ours, dict):
            differ = sorted(key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key))
            assert not differ, f"{part} at offset {held.next_offset}: {len(differ)} differ, {differ[:3]}"
        assert ours == theirs, f"{part} at offset {held.next_offset}"
    assert held.digest() == pure.digest()


def first_occurrences(values: list[bytes]) -> tuple[list[bytes], int]:
    """What a consumer keeps that drops n <= last seen, and how many it drops. No gap, same identity same bytes."""
    firsts: list[bytes] = []
    identities: dict[tuple[int, int], bytes] = {}
    for value in values:
        fact = fact_codec.decode(value)
        assert identities.setdefault((fact.offset, fact.index), value) == value, "one identity, two facts"
        assert fact.n <= len(firsts) + 1, f"gap: n {fact.n} after {len(firsts)}"
        if fact.n == len(firsts) + 1:
            firsts.append(value)
    return firsts, len(values) - len(firsts)


def one_total_a_version(totals: set[bytes]) -> None:
    """Whoever published a bucket of one version published the same bytes."""
    versions: dict[tuple[object, ...], bytes] = {}
    for value in totals:
        bucket = aggregates.decode(value)
        key = (bucket.block, bucket.version, *(getattr(bucket, name) for name in KEY))
        assert versions.setdefault(key, value) == value


def sums_are_balances(image: Dump, facts: list[Fact]) -> None:
    """Points issued, active and pending of every member are the sums of its ledger."""
    sums: dict[str, list[int]] = {}
    for fact in facts:
        if isinstance(fact, Ledger):
            total = sums.setdefault(fact.member_id, [0, 0, 0])
            for at, change in enumerate((fact.points, fact.active, fact.pending)):
                total[at] += change
    for name, raw in image.states.items():
        state = member.decode(raw)
        assert [state.issued, state.active, state.pending] == sums.get(name, [0, 0, 0]), name


async def in_time(check: Callable[[], Awaitable[bool]], within_s: float) -> bool:
    """True as soon as the check holds, False at the deadline."""
    deadline = time.monotonic() + within_s
    while not await check():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.2)
    return True
