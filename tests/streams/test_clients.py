"""However a client of aiokafka's fails to stop: it ends in time, and neither a task nor a connection stays."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError

from infra.stack import Stack
from processors.calendar import Calendar
from schemas.settings import Settings
from schemas.topics import topics
from streams import dlq, importer, programme_log, sender
from streams.clients import STOP_SECONDS, stop_consumer, stop_producer
from streams.errors import BrokerUnavailable
from streams.memory_store import MemoryStore
from streams.topics import admin, apply
from tests.streams.test_worker import in_no_time

TOPIC = topics("clients", partitions=1).facts.name


class Client:
    """A client's connections: closed at once, and told of later, by a future that each `close` waits for."""

    def __init__(self, *, told: bool = True) -> None:
        self.closed, self._told = False, asyncio.get_running_loop().create_future()
        if told:
            self._told.set_result(None)

    async def close(self) -> None:
        self.closed = True
        await asyncio.gather(self._told)


async def takes_two_cancellations() -> None:
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(1e5)
    await asyncio.sleep(1e5)


class Part:
    """A fetcher or a coordinator: one task, and a set of them."""

    def __init__(self) -> None:
        self._task = asyncio.create_task(takes_two_cancellations())
        self._pending_tasks = {asyncio.create_task(asyncio.sleep(1e5))}
        self._id = 7
        self.sender_task: asyncio.Task[None] | None = None

    def tasks(self) -> set[asyncio.Task[None]]:
        return {self._task, *self._pending_tasks}


class Deaf:
    """A consumer that stops as it is told."""

    def __init__(self, how: str) -> None:
        self.how = how
        self._client = Client(told=how != "interrupted")
        self._fetcher, self._coordinator = Part(), None

    async def stop(self) -> None:
        if self.how == "for ever":
            await asyncio.sleep(1e5)
        elif self.how == "cancelled":
            task = asyncio.create_task(asyncio.sleep(1e5))
            task.cancel()
            await task
        elif self.how == "interrupted":
            await self._client.close()
        else:
            raise KafkaConnectionError


@pytest.mark.parametrize("how", ["for ever", "cancelled", "fails", "interrupted"])
def test_a_consumer_that_does_not_stop_is_closed_in_time(how: str) -> None:
    @in_no_time
    async def run() -> None:
        consumer = Deaf(how)
        await asyncio.sleep(0)
        began = asyncio.get_running_loop().time()
        await stop_consumer(consumer)
        assert asyncio.get_running_loop().time() - began < STOP_SECONDS + 0.5
        assert consumer._client.closed
        assert all(task.cancelled() for task in consumer._fetcher.tasks())

    run()


@in_no_time
async def test_a_cancellation_of_our_own_goes_through_and_leaves_nothing_open() -> None:
    consumer = Deaf("for ever")
    stopping = asyncio.create_task(stop_consumer(consumer))
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert consumer._client.closed


class DeafProducer:
    """Cannot start, and its own stop never ends, or is interrupted while it closes."""

    told = True

    def __init__(self, **_: object) -> None:
        self.client, self._sender = Client(told=self.told), Part()
        self._message_accumulator = Batches()
        made.append(self)

    async def start(self) -> None:
        raise KafkaConnectionError

    async def stop(self) -> None:
        if self.told:
            await asyncio.sleep(1e5)
        await self.client.close()


class Batches:
    """What a producer has not sent yet: nothing."""

    def __init__(self) -> None:
        self._pending_batches, self._batches = set[object](), dict[object, list[object]]()

    def fail_all(self, error: Exception) -> None:
        """Nobody waits."""


made: list[DeafProducer] = []
SETTINGS = Settings(log="clients", partitions=1)


async def import_a_day() -> None:
    async with importer.Importer(SETTINGS, MemoryStore("clients"), Calendar("UTC", 0), notice=print):
        raise AssertionError("it began without Kafka")


async def append_a_programme() -> None:
    assert await programme_log._append("", TOPIC, b"", {0: 0})


COMMANDS: dict[Any, Callable[[], Awaitable[object]]] = {
    sender: lambda: sender.send("", TOPIC, 1, [], tell=print),
    importer: import_a_day,
    programme_log: append_a_programme,
    dlq: lambda: dlq.DeadLetters(SETTINGS).replay([]),
}


@pytest.mark.parametrize("how", ["for ever", "interrupted"])
@pytest.mark.parametrize("module", COMMANDS, ids=lambda module: module.__name__)
def test_a_command_whose_producer_does_not_stop_ends_in_time(
    module: Any, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    @in_no_time
    async def run() -> None:
        made.clear()
        began = asyncio.get_running_loop().time()
        with suppress(BrokerUnavailable):
            await COMMANDS[module]()
        assert asyncio.get_running_loop().time() - began < STOP_SECONDS + 0.5
        assert [producer.client.closed for producer in made] == [True]

    monkeypatch.setattr(module, "AIOKafkaProducer", DeafProducer)
    monkeypatch.setattr(DeafProducer, "told", how == "for ever")
    run()


# -- on a broker of its own, that is killed or hangs -----------------------------------------------------------


@pytest.mark.real
@pytest.mark.parametrize("fate", ["killed", "hangs"])
async def test_with_the_broker_away_clients_end_in_time_and_without_a_word(tmp_path: Path, fate: str) -> None:
    """Whoever waits for a batch is told, no task goes on, and no future is left with an error nobody saw."""
    loop, told = asyncio.get_running_loop(), list[dict[str, Any]]()
    loop.set_exception_handler(lambda _, context: told.append(context))
    with Stack(tmp_path / "stack", parts=("kafka",)) as stack:
        with admin(stack.kafka) as client:
            apply(client, topics("clients", partitions=1).all())
        before = asyncio.all_tasks()
        producer = AIOKafkaProducer(bootstrap_servers=stack.kafka, enable_idempotence=True)
        consumer = AIOKafkaConsumer(
            TOPIC,
            bootstrap_servers=stack.kafka,
            group_id="g",
            auto_offset_reset="earliest",
            enable_auto_commit=False,  # aiokafka forgets a commit of its own that is on its way
        )
        await producer.start()
        await consumer.start()
        await producer.send_and_wait(TOPIC, b"1")
        await consumer.getone()
        stack.pause("kafka") if fate == "hangs" else stack.kill("kafka")
        answer = await _batch(producer)
        await asyncio.sleep(0.5)
        began = loop.time()
        await asyncio.gather(stop_producer(producer), stop_consumer(consumer))
        assert loop.time() - began < STOP_SECONDS + 1
        with pytest.raises(KafkaError):
            await asyncio.wait_for(answer, 1)
        await asyncio.sleep(0.2)
        assert asyncio.all_tasks() == before
        if fate == "hangs":
            stack.resume("kafka")
    assert told == []


async def _batch(producer: Any) -> Any:
    batch = producer.create_batch()
    batch.append(key=None, value=b"2", timestamp=None)
    return await producer.send_batch(batch, TOPIC, partition=0)
