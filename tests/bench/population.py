"""Members with a history, and a log of actions for them, so that a run meets what a year in production looks like."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field


from aiokafka import AIOKafkaProducer

from processors.partition import Partition
from processors.partitioner import partition_of
from schemas import member as member_codec
from schemas.decoding import decode
from schemas.member import MemberState
from schemas.partition import PartitionState
from schemas.records import Record
from schemas.settings import Settings
from schemas.topics import topics
from streams.lane import crc
from streams.log_reader import LogReader
from streams.redis_store import RedisStore
from streams.store import Dump, Identity

FULL_PAGES = 3
"""Full pages of 32 remembered ids per member, beside an open one half full: 112 ids."""

KINDS = (
    ("message", 34),
    ("check_in", 12),
    ("browse", 14),
    ("like", 10),
    ("login", 10),
    ("purchase", 6),
    ("share", 5),
    ("comment", 5),
    ("add_to_cart", 4),
)
EXTRA = {
    "message": ',"kind":"chat","length":24',
    "browse": ',"item_id":"sku-%04d"',
    "like": ',"item_id":"sku-%04d"',
    "comment": ',"item_id":"sku-%04d"',
    "add_to_cart": ',"item_id":"sku-%04d"',
    "share": ',"target":"content"',
    "purchase": ',"order_id":"o-%d","amount":12800,"currency":"CNY"',
}
REGIONS = ("shanghai", "beijing", "guangdong", "sichuan", "zhejiang")


@dataclass
class Population:
    """`members` ids by partition, and a seeded stream of their actions as bytes of about 200 each."""

    members: int
    partitions: int
    seed: int = 1
    by_partition: list[list[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.by_partition = [[] for _ in range(self.partitions)]
        for number in range(self.members):
            member = f"m{number:07d}"
            self.by_partition[partition_of(member, self.partitions)].append(member)
        self._serial = 0
        self._now = dt.datetime.now(dt.UTC)
        kinds = [kind for kind, weight in KINDS for _ in range(weight)]
        self._kinds = [(kind, EXTRA.get(kind, "")) for kind in kinds]

    def action(self, member: str, at: str) -> bytes:
        """One action of a member, never seen before."""
        self._serial += 1
        serial = self._serial
        kind, extra = self._kinds[serial * 7919 % len(self._kinds)]
        number = int(member[1:])
        extra = extra % (serial if kind == "purchase" else serial % 5000) if "%" in extra else extra
        return (
            f'{{"action":"{kind}","event_id":"app-{serial:010d}","source":"app","member_id":"{member}",'
            f'"occurred_at":"{at}","region":"{REGIONS[number % 5]}","group_id":"g{number % 200}"{extra}}}'
        ).encode()

    def once_each(self, partition: int) -> Iterator[tuple[str, bytes]]:
        """An action of every member of a partition: what brings all of them into a cache."""
        at = (self._now - dt.timedelta(minutes=30)).isoformat()[:19] + "Z"
        return ((member, self.action(member, at)) for member in self.by_partition[partition])

    def uniform(self, partition: int, count: int) -> Iterator[tuple[str, bytes]]:
        """`count` actions of a partition's members, uniform, of the last minutes."""
        members, pick = self.by_partition[partition], self.random.random
        stamps = [(self._now - dt.timedelta(seconds=s)).isoformat()[:19] + "Z" for s in range(600)]
        size = len(members)
        return (
            (member, self.action(member, stamps[i % 600]))
            for i in range(count)
            for member in (members[int(pick() * size)],)
        )


async def fill(settings: Settings, population: Population, count: int) -> dict[int, tuple[int, int]]:
    """Append everybody once and then `count` uniform actions; returns per partition where these begin and end."""
    topic = topics(settings.log, partitions=settings.partitions).actions.name
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka.bootstrap, acks=1, max_batch_size=200_000, max_request_size=900_000
    )
    await producer.start()
    bounds: dict[int, tuple[int, int]] = {}
    try:
        for partition in range(settings.partitions):
            await _append(producer, topic, partition, population.once_each(partition))
        async with LogReader(settings.kafka.bootstrap, topic) as reader:
            begin = {p: (await reader.bounds(p))[1] for p in range(settings.partitions)}
        for partition in range(settings.partitions):
            share = count * len(population.by_partition[partition]) // population.members
            await _append(producer, topic, partition, population.uniform(partition, share))
            bounds[partition] = (begin[partition], begin[partition] + share)
    finally:
        await producer.stop()
    return bounds


async def _append(
    producer: AIOKafkaProducer, topic: str, partition: int, rows: Iterator[tuple[str, bytes]]
) -> None:
    batch = producer.create_batch()
    waiting: list[asyncio.Future[object]] = []
    for member, value in rows:
        if batch.append(key=member.encode(), value=value, timestamp=None) is None:
            waiting.append(await producer.send_batch(batch, topic, partition=partition))
            batch = producer.create_batch()
            batch.append(key=member.encode(), value=value, timestamp=None)
    waiting.append(await producer.send_batch(batch, topic, partition=partition))
    await asyncio.gather(*waiting)


async def settle(settings: Settings, store: RedisStore, topic_id: str, population: Population) -> None:
    """Put the whole population into the store as if it had lived there: states with full pages, timers, ordinals.

    The store then stands behind the log's first record, its programme, which is read and folded for real.
    """
    topic = topics(settings.log, partitions=settings.partitions).actions.name
    identity = Identity(settings.log, topic_id, settings.partitions)
    async with LogReader(settings.kafka.bootstrap, topic) as reader:
        for partition in range(settings.partitions):
            first = [r async for rows in reader.read(partition, 0, 1) for r in rows][0]
            dump = _lived(partition, settings, identity, first, population.by_partition[partition])
            await store.bootstrap(partition, identity, secrets.token_hex(8), dump=dump, replace=True)


def _lived(partition: int, settings: Settings, identity: Identity, first: Record, members: list[str]) -> Dump:
    fold = Partition("member.actions", partition, settings.partitions, PartitionState())
    fold.run([first], [decode(first.value, first.headers)])
    fold.take()
    fold.state.ordinals = len(members)
    rng = random.Random(partition)
    states: dict[str, bytes] = {}
    timers: dict[str, int] = {}
    pages: dict[str, bytes] = {}
    clock = fold.state.clock
    day = clock // 86_400_000
    for ordinal, member in enumerate(members, 1):
        armed = clock + 5 * 86_400_000 + ordinal
        state = MemberState(
            ordinal=ordinal,
            armed=armed,
            today=day - 1,
            active_bits=rng.getrandbits(28) | 1,
            weights=rng.randbytes(2 * 28),
            first_own=clock - 90 * 86_400_000,
            last_own=clock - 2 * 86_400_000,
            ids=rng.randbytes(16 * 8),
            ids_at=clock,
            page_first=1,
            page_count=FULL_PAGES,
        )
        states[member] = member_codec.encode(state)
        timers[member] = armed
        pages[f"#{ordinal}"] = member.encode()
        for page in range(1, 1 + FULL_PAGES):
            pages[f"{member}:{page}"] = clock.to_bytes(8, "little") + rng.randbytes(32 * 8)
    return Dump(
        identity=identity,
        incarnation="",
        owner="",
        next_offset=1,
        commit_id="",
        crc=crc(first),
        state_version=1,
        partition_state=fold.encode_state(),
        states=states,
        timers=timers,
        buckets={},
        pages=pages,
    )


def seconds() -> float:
    """A clock for what is measured."""
    return time.perf_counter()



