"""Where the sink starts, and how a person lets it pass a gap. All of it stands in Kafka's commits and in the tables."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from schemas.tables import BLOCK_ROWS_MAX, BOARDS, FACTS, ON_AGGREGATES
from schemas.topics import topics
from streams.analytics import Reader
from streams.clients import stop_consumer
from streams.errors import BrokerUnavailable, UsageError
from streams.sequence import LastSeen, decode

ANSWER_S = 30.0
AGAIN_S = 0.1


class Start(NamedTuple):
    """Where to read a partition from. With `halt` it is not read, and that says why."""

    next_offset: int
    seen: LastSeen
    halt: str = ""
    follows: bool = False  # the record before it is the last that was stored


class Gap(NamedTuple):
    """A partition that stopped: facts after `last` up to `found` are missing in the facts topic."""

    partition: int
    next_offset: int
    last: int
    found: int


def group_of(log: str) -> str:
    """The sink's consumer group of a log."""
    return f"sink-{log}"


def start_of(committed: tuple[int, str] | None, highest: int | None, first: int, end: int) -> Start:
    """The lower of what was committed and of what the table holds, both as offsets of one topic's partition.

    `committed` is an offset and its metadata, `highest` the highest offset among the table's rows, `first` and `end`
    the topic's bounds. Where the table is the lower one (lost, restored), the numbers start anew: the sink may
    repeat, it must not drop. A restored table may end within a block, so one block more is read again.
    """
    if committed is None:
        wanted, seen = 0, LastSeen(n=0 if highest is None or first == 0 else None)
    else:
        wanted, seen = committed[0], decode(committed[1])
        held = -1 if highest is None else highest
        if held < seen.row:
            wanted = max(0, held + 1 - BLOCK_ROWS_MAX)
            # An empty table is filled from the very first fact, or a person is told that there is none left.
            seen = LastSeen(n=0 if highest is None or max(wanted, first) == 0 else None)
    if wanted > end:
        return Start(wanted, seen, f"the topic ends at offset {end}, below our {wanted}: it is another one")
    follows = committed is not None and committed[0] == wanted and first <= wanted and seen.row >= 0
    return Start(max(wanted, first), seen, follows=follows)


def highest_rows(store: Reader, log: str) -> tuple[dict[int, int], dict[int, int], dict[int, int]]:
    """By partition, the highest topic offset among the facts, the aggregates and the boards that the tables hold."""
    totals: dict[int, int] = {}
    for table in ON_AGGREGATES.values():
        for partition, held in highest(store, table.name, log).items():
            totals[partition] = max(held, totals.get(partition, -1))
    return highest(store, FACTS.name, log), totals, highest(store, BOARDS.name, log)


def highest(store: Reader, table: str, log: str) -> dict[int, int]:
    """By partition, the highest topic offset that one table holds."""
    sql = f"SELECT src_partition, max(topic_offset) FROM {table} WHERE log = %(log)s GROUP BY src_partition"
    return {int(partition): int(held) for partition, held in store.query(sql, {"log": log})}


async def committed(bootstrap: str, group: str) -> dict[TopicPartition, OffsetAndMetadata]:
    """Everything the group has committed."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await asyncio.wait_for(admin.start(), ANSWER_S)
        found = await asyncio.wait_for(_offsets(admin, group), ANSWER_S)
        return {at: place for at, place in found.items() if place.offset >= 0}
    except (KafkaError, OSError, TimeoutError) as error:
        raise BrokerUnavailable(f"Kafka does not tell what {group} has committed ({error!r})") from error
    finally:
        await admin.close()


async def _offsets(admin: Any, group: str) -> Mapping[TopicPartition, OffsetAndMetadata]:
    """Asked again while a new broker makes its own topic of offsets, which the first question of a group begins."""
    while True:
        try:
            found: Mapping[TopicPartition, OffsetAndMetadata] = await admin.list_consumer_group_offsets(group)
        except GroupCoordinatorNotAvailableError:
            await asyncio.sleep(AGAIN_S)
        else:
            return found


async def gaps(bootstrap: str, log: str) -> list[Gap]:
    """The partitions that the sink has stopped at a gap, as its own commits say."""
    return sorted(_gap(partition, place) for partition, place in (await _stopped(bootstrap, log)).items())


async def accept_gap(bootstrap: str, log: str, partitions: Iterable[int]) -> list[Gap]:
    """Lets the sink pass the gaps of these partitions when it starts next. The sink must be stopped.

    Only the gap that was seen is accepted: should another number come, the partition stops again.
    """
    stopped = await _stopped(bootstrap, log)
    chosen = sorted(set(partitions))
    for partition in chosen:
        if partition not in stopped:
            known = ", ".join(str(number) for number in sorted(stopped)) or "none"
            raise UsageError(f"partition {partition} is not stopped at a gap (stopped: {known})", remedy="")
    topic = topics(log).facts.name
    accepted = {}
    for partition in chosen:
        place = stopped[partition]
        seen = decode(place.metadata)
        seen.accept, seen.gap = seen.gap, 0
        accepted[TopicPartition(topic, partition)] = OffsetAndMetadata(place.offset, seen.encode())
    await _commit_from_outside(bootstrap, group_of(log), accepted)
    return [_gap(partition, stopped[partition]) for partition in chosen]


async def begin_again(bootstrap: str, group: str, topic: str, partitions: Iterable[int], offset: int) -> None:
    """Lets a group read these partitions again from an offset on when it starts next. It must be stopped."""
    place = OffsetAndMetadata(offset, LastSeen(n=None).encode())
    await _commit_from_outside(bootstrap, group, {TopicPartition(topic, it): place for it in partitions})


async def _stopped(bootstrap: str, log: str) -> dict[int, OffsetAndMetadata]:
    topic = topics(log).facts.name
    known = await committed(bootstrap, group_of(log))
    return {at.partition: place for at, place in known.items() if at.topic == topic and decode(place.metadata).gap}


def _gap(partition: int, place: OffsetAndMetadata) -> Gap:
    seen = decode(place.metadata)
    return Gap(partition, place.offset, seen.n or 0, seen.gap)


async def _commit_from_outside(bootstrap: str, group: str, places: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
    async with _consumer(bootstrap, group, list(places)) as consumer:
        try:
            await asyncio.wait_for(consumer.commit(dict(places)), ANSWER_S)
        except (KafkaError, TimeoutError) as error:
            raise UsageError(
                f"Kafka does not take the group's commit ({error!r})",
                remedy="stop the sink first: while it runs, only it may commit",
            ) from error


@asynccontextmanager
async def _consumer(bootstrap: str, group: str, places: list[TopicPartition]) -> AsyncIterator[Any]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False, auto_offset_reset="none"
    )
    consumer.assign(places)
    try:
        await asyncio.wait_for(consumer.start(), ANSWER_S)
        yield consumer
    except (KafkaError, OSError, TimeoutError) as error:
        raise BrokerUnavailable(f"Kafka does not answer ({error!r})") from error
    finally:
        await stop_consumer(consumer)
