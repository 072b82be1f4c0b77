"""A file of actions, one JSON object a line, into the log: what cannot be read is told by line and not sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from processors.partitioner import partition_of
from schemas.actions import Action
from schemas.decoding import decode
from schemas.verdicts import Reason, Rejected
from streams.clients import stop_producer
from streams.errors import BrokerUnavailable

ANSWER_S = 60.0
IN_FLIGHT = 5_000
"""Lines sent before the broker's answers are awaited."""


class BadLine(NamedTuple):
    """A line that was not sent, and why."""

    line: int
    rejected: Rejected

    def __str__(self) -> str:
        rejected = self.rejected
        detail = f": {rejected.detail}" if rejected.detail else ""
        return f"line {self.line}: {rejected.reason.value} at {rejected.pointer}{detail}"


class Sent(NamedTuple):
    """What became of a file."""

    sent: int
    bad: int


def judged(line: bytes) -> Action | Rejected:
    """A line as the worker will see it; records of our own making are not for files."""
    item = decode(line)
    if isinstance(item, Action | Rejected):
        return item
    return Rejected(Reason.UNKNOWN_ACTION, "$.record", "ticks, control and staff records are not sent from files")


async def send(
    bootstrap: str,
    topic: str,
    partitions: int,
    lines: Iterable[bytes],
    *,
    tell: Callable[[BadLine], None],
    progress: Callable[[int], None] = lambda size: None,
) -> Sent:
    """Send every line that can be read, key = member_id; empty lines are passed."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, compression_type="zstd", linger_ms=5
    )
    homes: dict[str, int] = {}
    waiting: list[Any] = []
    sent = bad = number = 0
    try:
        await asyncio.wait_for(producer.start(), timeout=ANSWER_S)
        for number, line in enumerate(lines, 1):
            progress(len(line))
            line = line.strip()
            if not line:
                continue
            action = judged(line)
            if isinstance(action, Rejected):
                bad += 1
                tell(BadLine(number, action))
                continue
            member = action.member_id
            home = homes.setdefault(member, partition_of(member, partitions))
            waiting.append(await producer.send(topic, line, key=member.encode(), partition=home))
            if len(waiting) >= IN_FLIGHT:
                sent += await _answered(waiting)
                waiting = []
        sent += await _answered(waiting)
    except (KafkaError, OSError, TimeoutError) as error:
        what = f"{sent} actions sent, then near line {number} {error!r}"
        raise BrokerUnavailable(
            what, remedy="check Kafka, then send the file again: what came twice counts once"
        ) from error
    finally:
        await stop_producer(producer)
    return Sent(sent, bad)


async def _answered(waiting: list[Any]) -> int:
    await asyncio.wait_for(asyncio.gather(*waiting), timeout=ANSWER_S)
    return len(waiting)
