"""Control records on their way into the log: one record, the same bytes, into every partition, read back until it is.

An acknowledged append is not enough: half of them may be lost with the process or the network, and a partition without
its programme would decide by another one. So what was appended is read again, and what is missing is repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from processors.control import AHEAD_MS, series
from processors.programme import Rules
from processors.signature import public_text, seal
from processors.versions import Versions
from schemas import partition as partition_codec
from schemas.decoding import Controlled, NotUnderstood, decode
from schemas.partition import PartitionState
from schemas.records import Control, ProgrammeControl, SignedControl
from schemas.settings import Settings
from schemas.verdicts import Rejected
from streams.clients import stop_producer
from streams.errors import BrokerUnavailable, InputInvalid, NoState, UsageError
from streams.keys import Key
from streams.log_reader import LogReader
from streams.store import Header, StateStore

ANSWER_S = 30.0
ROUNDS = 3
"""How often what is missing is appended again before a person is told."""

REFUSED = (NotUnderstood, Rejected)
CONTROL = b'{"record":"control"'
Progress = Callable[[int], None]


class Standing(NamedTuple):
    """Where a partition stands: its own state as last committed, and the next offset to read."""

    next_offset: int
    state: PartitionState


async def standing(settings: Settings, store: StateStore) -> dict[int, Standing]:
    """Where each partition of the log stands. Raises `NoState` for a log that has not begun."""
    found = {}
    for partition, header in (await store.headers(range(settings.partitions))).items():
        if header is None:
            raise NoState(settings.log, partition)
        found[partition] = standing_of(header)
    return found


def standing_of(header: Header) -> Standing:
    """Where one partition stands."""
    raw = header.partition_state
    return Standing(header.next_offset, partition_codec.decode(raw) if raw else PartitionState())


def clock_of(at: Mapping[int, Standing]) -> int:
    """The clock of the partition that is furthest behind: by then all are as they say."""
    return min(place.state.clock for place in at.values())


def in_force(at: Mapping[int, Standing]) -> Rules:
    """The programme that holds in every partition by its clock. Raises `UsageError` before there is one."""
    rules = Versions(at[0].state.programmes, clock_of(at)).in_force
    if rules is None:
        raise UsageError("no programme is in force", remedy="is a worker running?")
    return rules


async def unread(settings: Settings, topic: str, at: Mapping[int, Standing], progress: Progress) -> list[Control]:
    """The control records that stand in the log and that no worker has committed yet."""
    found: list[Control] = []
    async with LogReader(settings.kafka.bootstrap, topic) as reader:
        bounds = await reader.all_bounds(at)
        spans = {p: (max(bounds[p][0], place.next_offset), bounds[p][1]) for p, place in at.items()}
        async for records in reader.read_all(spans):
            progress(len(records))
            for record in records:
                if (record.value or b"").startswith(CONTROL):
                    item = decode(record.value)
                    found += [item.body] if isinstance(item, Controlled) else []
    return found


def next_number(control: Control, at: Mapping[int, Standing], waiting: Sequence[Control]) -> int:
    """The number above all that a partition has taken and all that wait in the log."""
    taken = [place.state.numbers.get(series(control), 0) for place in at.values()]
    return 1 + max([*taken, *(it.number for it in waiting if series(it) == series(control))], default=0)


def sealed(control: Control, sign: Key) -> bytes:
    """The control record as it stands in the log. Raises `InputInvalid` for one that every partition would halt at."""
    key_id, private = sign
    value = seal(SignedControl, key_id, private, msgspec.json.encode(control))
    read = decode(value)
    if not isinstance(read, Controlled):
        raise InputInvalid(f"the record cannot be read back: {read.detail if isinstance(read, REFUSED) else read}")
    return value


def check_may_sign(at: Mapping[int, Standing], sign: Key) -> None:
    """Refuse a key that the partitions would refuse. Raises `UsageError`."""
    key_id, private = sign
    for partition, place in at.items():
        known = place.state.staff_keys
        if known and known.get(key_id) != public_text(private):
            what = f"the key {key_id} is not in force in partition {partition} (in force: {', '.join(known)})"
            raise UsageError(what, remedy="choose another with MEMBERFLOW_KEYS__STAFF")


def check_two_people(by: str, approved_by: str, option: str = "--approved-by") -> None:
    """Refuse what one person decides alone. Raises `UsageError`."""
    if not by.strip() or not approved_by.strip():
        raise UsageError("two people are needed", remedy=f"name them with --by and {option}")
    if by.strip() == approved_by.strip():
        raise UsageError(f"{by} cannot approve their own change", remedy=f"name somebody else with {option}")


async def spread(
    settings: Settings, topic: str, value: bytes, stamps: Mapping[int, int], progress: Progress = lambda done: None
) -> dict[int, int]:
    """Append `value` to the partitions of `stamps`, read all back, repeat what is missing; its timestamps.

    A stamp (ms) counts only where the log keeps the times of the past; elsewhere the broker's clock does.
    """
    found: dict[int, int] = {}
    async with LogReader(settings.kafka.bootstrap, topic) as reader:
        starts = {partition: end for partition, (_, end) in (await reader.all_bounds(stamps)).items()}
        for _ in range(ROUNDS):
            missing = {partition: stamp for partition, stamp in stamps.items() if partition not in found}
            failure = await _append(settings.kafka.bootstrap, topic, value, missing)
            new = await _stamps_of(reader, {partition: starts[partition] for partition in missing}, value)
            found |= new
            progress(len(new))
            if len(found) == len(stamps):
                return found
    lacking = sorted(stamps.keys() - found.keys())
    what = f"the record is missing in partitions {', '.join(map(str, lacking))} ({failure or 'not readable yet'})"
    raise BrokerUnavailable(what, remedy="check Kafka with `memberflow doctor`, then run the same command again")


def check_stamps(control: Control, stamps: Mapping[int, int]) -> None:
    """Refuse a programme that the partitions will refuse because of the broker's clock. Raises `InputInvalid`."""
    latest = max(stamps.values())
    if isinstance(control, ProgrammeControl) and control.holds_from < latest + AHEAD_MS:
        ahead = (control.holds_from - latest) / 1000
        raise InputInvalid(
            f"programme {control.number} will be refused: it stands in the log {ahead:.0f} s before it holds",
            remedy=f"at least {AHEAD_MS // 1000} s are needed by the broker's clock: choose a later --holds-from",
        )


async def _append(bootstrap: str, topic: str, value: bytes, stamps: Mapping[int, int]) -> str:
    """Append to each partition; why it failed, or "". A failure is settled by reading back, not by the error."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
    try:
        await asyncio.wait_for(producer.start(), timeout=ANSWER_S)
        for partition, stamp in stamps.items():
            sent = producer.send_and_wait(topic, value, partition=partition, timestamp_ms=max(0, stamp))
            await asyncio.wait_for(sent, timeout=ANSWER_S)
    except (KafkaError, OSError, TimeoutError) as error:
        return repr(error)
    finally:
        await stop_producer(producer)
    return ""


async def _stamps_of(reader: LogReader, starts: Mapping[int, int], value: bytes) -> dict[int, int]:
    """When the record was stamped in each partition, at or after an offset; without those where it is not there."""
    found: dict[int, int] = {}
    bounds = await reader.all_bounds(starts)
    async for records in reader.read_all({p: (start, bounds[p][1]) for p, start in starts.items()}):
        for record in records:
            if record.value == value:
                found.setdefault(record.partition, int(record.timestamp))
    return found
