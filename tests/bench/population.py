"""Members, and a log of actions for them: about 200 bytes each, spread over the partitions as traffic would be."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from aiokafka import AIOKafkaProducer

from processors.partitioner import partition_of
from schemas.settings import Settings
from schemas.topics import topics

FILL_PER_SECOND = 50_000
"""The log's clock comes from the broker: filled faster, it would have fewer seconds, and buckets are published once a
second of it."""

BATCH_RECORDS = 500
BACK_SECONDS = 600
"""Actions occurred in the last minutes."""

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
GROUPS = 200

Row = tuple[str, bytes]


@dataclass
class Population:
    """`members` ids by partition, and a seeded stream of their actions."""

    members: int
    partitions: int
    seed: int = 1
    by_partition: list[list[str]] = field(default_factory=list)
    home: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.by_partition = [[] for _ in range(self.partitions)]
        for number in range(self.members):
            member = f"m{number:07d}"
            partition = partition_of(member, self.partitions)
            self.home.append(partition)
            self.by_partition[partition].append(member)
        self._serial = 0
        kinds = [(kind, EXTRA.get(kind, "")) for kind, weight in KINDS for _ in range(weight)]
        self.random.shuffle(kinds)
        self._kinds = kinds

    def action(self, member: str, at: str) -> bytes:
        """One action of a member, never seen before."""
        self._serial += 1
        serial = self._serial
        kind, extra = self._kinds[serial % len(self._kinds)]
        number = int(member[1:])
        if "%" in extra:
            extra %= serial if kind == "purchase" else serial % 5000
        return (
            f'{{"action":"{kind}","event_id":"app-{serial:010d}","source":"app","member_id":"{member}",'
            f'"occurred_at":"{at}","region":"{REGIONS[number % 5]}","group_id":"g{number % GROUPS}"{extra}}}'
        ).encode()

    def once_each(self, partition: int, now: float) -> Iterator[Row]:
        """An action of every member of a partition: what brings all of them into a cache."""
        at = stamp(now - BACK_SECONDS)
        return ((member, self.action(member, at)) for member in self.by_partition[partition])

    def uniform(self, partition: int, count: int, now: float) -> Iterator[Row]:
        """`count` actions of a partition's members, uniform, of the last minutes."""
        members, pick = self.by_partition[partition], self.random.random
        stamps = [stamp(now - back) for back in range(BACK_SECONDS)]
        for at in range(count):
            member = members[int(pick() * len(members))]
            yield member, self.action(member, stamps[at % BACK_SECONDS])


def stamp(seconds: float) -> str:
    """A moment as a sender writes it."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def wall() -> float:
    """The machine's clock, which is also the broker's."""
    return time.time_ns() / 1e9  # noqa: TID251 - as the docstring says


async def fill(settings: Settings, population: Population, count: int) -> dict[int, tuple[int, int]]:
    """Append everybody once and then `count` uniform actions; returns per partition where these begin and end.

    The log holds one record a partition before: its programme.
    """
    partitions = range(settings.partitions)
    shares = [count * len(members) // population.members for members in population.by_partition]
    begin = [1 + len(members) for members in population.by_partition]
    now = wall()
    async with AIOKafkaProducer(
        bootstrap_servers=settings.kafka.bootstrap, enable_idempotence=True, max_batch_size=200_000
    ) as producer:
        topic = topics(settings.log, partitions=settings.partitions).actions.name
        await _append(producer, topic, [population.once_each(p, now) for p in partitions])
        await _append(producer, topic, [population.uniform(p, shares[p], now) for p in partitions])
    return {p: (begin[p], begin[p] + shares[p]) for p in partitions}


async def _append(producer: AIOKafkaProducer, topic: str, sources: list[Iterator[Row]]) -> None:
    """A batch of each partition in turn, at the pace of the fill."""
    began, sent = time.monotonic(), 0
    waiting: list[asyncio.Future[object]] = []
    open_sources = dict(enumerate(sources))
    while open_sources:
        for partition, rows in list(open_sources.items()):
            some = list(islice(rows, BATCH_RECORDS))
            if len(some) < BATCH_RECORDS:
                del open_sources[partition]
            if some:
                waiting.append(await send(producer, topic, partition, some))
                sent += len(some)
        await asyncio.sleep(max(0.0, began + sent / FILL_PER_SECOND - time.monotonic()))
    await asyncio.gather(*waiting)


async def send(producer: AIOKafkaProducer, topic: str, partition: int, rows: list[Row]) -> asyncio.Future[object]:
    """One batch; the future is done when the broker has it."""
    batch = producer.create_batch()
    for member, value in rows:
        if batch.append(key=member.encode(), value=value, timestamp=None) is None:
            raise ValueError(f"{len(rows)} records do not fit into a batch")
    sent: asyncio.Future[object] = await producer.send_batch(batch, topic, partition=partition)
    return sent
