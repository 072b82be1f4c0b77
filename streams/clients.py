"""Aiokafka's clients: ended in bounded time also with the broker away, with nothing left open; and whether it is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from itertools import chain
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, ProducerClosed

STOP_SECONDS = 2.0
"""With a broker that answers it takes milliseconds: leave the group, send what is left. A process that is asked to
end has 5 s in all; a group that was not left gives the partitions away after its session timeout."""

CANCELLATIONS = 3
CANCEL_SECONDS = 0.05
"""aiokafka's sender takes the first cancellation as a wish and waits for its requests; the next one ends them."""


async def stop_consumer(consumer: Any) -> None:
    """Leaves the group if the broker answers. aiokafka's own stop waits for ever for a fetcher that was cancelled
    while it met an error, or raises that fetcher's cancellation as if it were ours."""
    ended = False
    try:
        ended = await _ends(consumer.stop())
    finally:
        if not ended:
            await _end_tasks(consumer._fetcher, consumer._coordinator)
            await _ends(consumer._client.close())


async def stop_producer(producer: Any) -> None:
    """Sends what is left if the broker answers. aiokafka's own stop waits for ever for that."""
    ended = False
    try:
        ended = await _ends(producer.stop())
    finally:
        if not ended:
            _fail_batches(producer)
            await _end_tasks(producer._sender)
            await _ends(producer.client.close())


async def kafka_answers(bootstrap: str) -> None:
    """Asks with a client of its own. Raises where nobody answers."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    try:
        await client.bootstrap()
    finally:
        await client.close()


async def _ends(stop: Awaitable[None]) -> bool:
    """Whether it ended by itself. Raises only the cancellation of the task at hand: a stop that took too long while it
    closed its connections has cancelled what it waited for there, and whoever waits for that again would be told so."""
    try:
        await asyncio.wait_for(stop, timeout=STOP_SECONDS)
    except (KafkaError, OSError, TimeoutError):
        return False
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return False
    return True


def _fail_batches(producer: Any) -> None:
    """Whoever waits for a batch is told at once; a task of aiokafka's own would wait for ever."""
    accumulator, sender = producer._message_accumulator, producer._sender
    batches = [*accumulator._pending_batches, *chain.from_iterable(accumulator._batches.values())]
    accumulator.fail_all(ProducerClosed())
    for future in [future for batch in batches for future in (batch.future, batch._drain_waiter)]:
        if future.done() and not future.cancelled():
            future.exception()  # seen, also where nobody waits any more
    if sender.sender_task is not None:
        sender.sender_task.remove_done_callback(sender._fail_all)  # it would fail them a second time


async def _end_tasks(*parts: Any) -> None:
    """The tasks of a client's parts, found by type: aiokafka names them differently in each part."""
    values = [value for part in parts if part is not None for value in vars(part).values()]
    found = [it for value in values for it in (value if isinstance(value, set) else [value])]
    running = {it for it in found if isinstance(it, asyncio.Task) and not it.done()}
    for _ in range(CANCELLATIONS):
        for task in running:
            task.cancel()
        if running:
            ended, running = await asyncio.wait(running, timeout=CANCEL_SECONDS)
            for task in ended:
                if not task.cancelled():
                    task.exception()  # seen: it was to end, whatever it met
