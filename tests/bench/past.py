"""A population with a past: states with full pages of remembered ids, as after months in production."""

from __future__ import annotations

import datetime as dt
import random
import secrets
import zlib
from typing import Any

import msgspec

from processors.level_judge import Look, judge
from processors.partition import Partition
from processors.programme import Rules
from schemas import member as member_codec
from schemas.decoding import decode
from schemas.member import LOT, ORDER, PLACE, SPEND, MemberState
from schemas.partition import PartitionState
from schemas.records import Record
from schemas.settings import Settings
from schemas.topics import topics
from streams.lane import crc
from streams.log_reader import LogReader
from streams.redis_store import RedisStore
from streams.store import Dump, Identity
from tests.bench.population import REGIONS, Population

FULL_PAGES = 3
"""Full pages of 32 remembered ids per member, beside an open one half full: 112 ids."""

DAY_MS = 86_400_000
WEIGHT_DAYS = 28
MONTHS = 6


async def settle(settings: Settings, store: RedisStore, topic_id: str, population: Population) -> None:
    """Put the whole population into the store as if it had lived there: states, timers, pages, directory.

    The store then stands behind the log's first record, its programme, which is read and folded for real.
    """
    topic = topics(settings.log, partitions=settings.partitions).actions.name
    identity = Identity(settings.log, topic_id, settings.partitions)
    async with LogReader(settings.kafka.bootstrap, topic) as reader:
        for partition in range(settings.partitions):
            async for records in reader.read(partition, 0, 1):
                first = records[0]
            dump = lived(partition, identity, topic, first, population.by_partition[partition])
            await store.bootstrap(partition, identity, secrets.token_hex(8), dump=dump, replace=True)


def lived(partition: int, identity: Identity, topic: str, first: Record, members: list[str]) -> Dump:
    """The image of one partition."""
    fold = Partition(topic, partition, identity.partitions, PartitionState())
    fold.run([first], [decode(first.value, first.headers)])
    fold.take()
    fold.state.n = 0  # its fact was never published, and a reader of facts stops at a gap
    fold.state.ordinals = len(members)
    rng, clock = random.Random(partition), fold.state.clock
    rules = fold.versions.in_force
    assert rules is not None, "the first record is the programme"
    level = _level(rules, clock)
    states: dict[str, bytes] = {}
    timers: dict[str, int] = {}
    pages: dict[str, bytes] = {}
    for ordinal, member in enumerate(members, 1):
        state = msgspec.structs.replace(_state(rng, int(member[1:]), ordinal, clock), **level)
        state.armed = min(state.armed, state.level_due or state.armed)
        states[member] = member_codec.encode(state)
        timers[member] = state.armed
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
        state_version=member_codec.STATE_VERSION,
        partition_state=fold.encode_state(),
        states=states,
        timers=timers,
        buckets={},
        pages=pages,
    )


def _state(rng: random.Random, number: int, ordinal: int, clock: int) -> MemberState:
    """A member who was here two days ago and bought ten days ago, so no tier is due while we measure."""
    day = clock // DAY_MS
    date = dt.datetime.fromtimestamp(clock / 1000, dt.UTC)
    month = date.year * 12 + date.month - 1
    region, group = f"r:{REGIONS[number % 5]}", f"g:g{number % 200}"
    places = (PLACE.pack(zlib.crc32(place.encode()), day - 2, rng.getrandbits(40) | 1) for place in (region, group))
    ends = [clock + (12 - back) * 30 * DAY_MS for back in range(MONTHS, 0, -1)]
    lots = [LOT.pack(end, 100 + back, 0) for end, back in zip(ends, range(MONTHS, 0, -1), strict=True)]
    active = sum(100 + back for back in range(1, MONTHS + 1))
    first = rng.randbytes(8)
    bought = [clock - back * DAY_MS for back in (70, 40, 10)]
    return MemberState(
        ordinal=ordinal,
        armed=clock + 4 * DAY_MS + ordinal,
        issued=active,
        active=active,
        lots=b"".join(lots),
        today=day - 2,
        active_bits=rng.getrandbits(40) | 1,
        check_in_bits=rng.getrandbits(40) & ~0b111,
        weights=rng.randbytes(2 * WEIGHT_DAYS).translate(SMALL),
        first_at=clock - 90 * DAY_MS,
        tasks_until=clock - 50 * DAY_MS,  # as of anybody who came three months ago
        first_own=clock - 90 * DAY_MS,
        last_own=clock - 2 * DAY_MS,
        last_present=clock - 2 * DAY_MS,
        last_purchase=bought[-1],
        spend=b"".join(SPEND.pack(month - back, 12_800) for back in (2, 1, 0)),
        first_order_key=first,
        first_order_at=bought[0],
        orders=b"".join(
            ORDER.pack(first if at == bought[0] else rng.randbytes(8), at, 12_800, 12_800, 128, 1_000, 1, 0, 0, 0)
            for at in bought
        ),
        places=b"".join(places),
        ids=rng.randbytes(16 * 8),
        ids_at=clock,
        page_first=1,
        page_count=FULL_PAGES,
    )


def _level(rules: Rules, clock: int) -> dict[str, Any]:
    """What is known of the level of anybody who bought as these did: it was judged when they did, long before today."""
    state = _state(random.Random(0), 1, 1, clock)
    judge(Look(rules, state, "m0000001", state.last_own, state.last_own, state.last_own, 0, 0, []))
    return {name: getattr(state, name) for name in state.__struct_fields__ if name.startswith(OF_LEVELS)}


OF_LEVELS = ("level", "growth", "spend_next", "community")
SMALL = bytes(1 + byte % 40 for byte in range(256))
"""Keeps a day's weight (two bytes, thousandths) far below its cap."""
