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
from streams.errors import PartitionHalted
from streams.log_reader import LogReader
from streams.redis_store import RedisStore
from streams.replay import Replay, from_log
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
        """What was published is what the log says: all of it up to the commit, and nothing that no record brings."""
        committed: list[Output] = []
        again = await from_log(self.settings, image.identity, partition, image.next_offset, hear=committed.append)
        same_image(image, await again.dump())
        verdicts = partition_codec.decode(image.partition_state).verdicts
        assert sum(verdicts.values()) == image.next_offset, f"partition {partition}: {verdicts}"
        beyond = await self._beyond(again)
        firsts, repeats = first_occurrences(facts)
        implied = facts_in(committed)
        same_facts(partition, firsts, implied, facts_in(beyond))
        one_total_a_version(totals)
        same_totals(partition, totals, totals_in(committed), totals_in(beyond))
        decoded = [fact_codec.decode(value) for value in implied]
        sums_are_balances(image, decoded)
        return Told(decoded, repeats, verdicts, image.digest())

    async def _beyond(self, again: Replay) -> list[Output]:
        """What the records above the commit bring: a worker that lives or died there may have published that too."""
        found: list[Output] = []
        again.hear = found.append
        async with LogReader(self.settings.kafka.bootstrap, self.topics.actions.name) as reader:
            _, end = await reader.bounds(again.partition)
            try:
                async for records in reader.read(again.partition, again.next_offset, end):
                    for record in records:  # one by one: where a record halts a partition, those before it count
                        await again.feed([record])
            except PartitionHalted:
                pass
        return found


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


def facts_in(heard: list[Output]) -> list[bytes]:
    """In their order."""
    return [fact for out in heard for fact in out.facts]


def totals_in(heard: list[Output]) -> set[bytes]:
    """As they are published."""
    return {aggregates.encode(bucket) for out in heard for bucket in out.buckets}


def same_facts(partition: int, firsts: list[bytes], implied: list[bytes], beyond: list[bytes]) -> None:
    """All that are implied up to the commit; after them only what the next records bring, none where there are none."""
    assert firsts[: len(implied)] == implied, f"partition {partition}: the facts are not those of the log"
    after = firsts[len(implied) :]
    assert after == beyond[: len(after)], f"partition {partition}: facts that the log does not imply, {after[:3]}"


def same_totals(partition: int, totals: set[bytes], implied: set[bytes], beyond: set[bytes]) -> None:
    """The same of aggregates."""
    missing, extra = implied - totals, totals - implied - beyond
    assert not missing, f"partition {partition}: {len(missing)} totals of {len(totals)} missing: {sorted(missing)[:3]}"
    assert not extra, f"partition {partition}: {len(extra)} totals that the log does not imply: {sorted(extra)[:3]}"


def first_occurrences(values: list[bytes]) -> tuple[list[bytes], int]:
    """What a consumer keeps that drops n <= last seen, and how many it drops. One identity or number, one fact."""
    firsts: list[bytes] = []
    identities: dict[tuple[int, int], bytes] = {}
    for value in values:
        fact = fact_codec.decode(value)
        assert identities.setdefault((fact.offset, fact.index), value) == value, "one identity, two facts"
        assert 0 < fact.n <= len(firsts) + 1, f"gap: n {fact.n} after {len(firsts)}"
        if fact.n == len(firsts) + 1:
            firsts.append(value)
        assert firsts[fact.n - 1] == value, f"number {fact.n} twice: another fact than before"
    return firsts, len(values) - len(firsts)


def one_total_a_version(totals: set[bytes]) -> None:
    """Whoever published a bucket of one version published the same bytes."""
    versions: dict[tuple[object, ...], bytes] = {}
    for value in totals:
        bucket = aggregates.decode(value)
        key = (bucket.block, bucket.version, *(getattr(bucket, name) for name in KEY))
        assert versions.setdefault(key, value) == value


def sums_are_balances(image: Dump, facts: list[Fact]) -> None:
    """Every balance of every member is the sum of its ledger, and what was issued is somewhere."""
    sums: dict[str, list[int]] = {}
    for fact in facts:
        if isinstance(fact, Ledger):
            total = sums.setdefault(fact.member_id, [0] * len(BALANCES))
            for at, name in enumerate(("points", *BALANCES[1:])):
                total[at] += getattr(fact, name)
    for name, raw in image.states.items():
        state = member.decode(raw)
        held = {balance: getattr(state, balance) for balance in BALANCES}
        assert list(held.values()) == sums.get(name, [0] * len(BALANCES)), name
        assert held["issued"] == sum(list(held.values())[1:]) - 2 * held["debt"], name
        assert min(held.values()) >= 0, name


BALANCES = ("issued", "active", "pending", "spent", "expired", "reversed", "debt")


async def in_time(check: Callable[[], Awaitable[bool]], within_s: float) -> bool:
    """True as soon as the check holds, False at the deadline."""
    deadline = time.monotonic() + within_s
    while not await check():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.2)
    return True
