"""The dispatcher on a real broker: off until go_live, by number, under one id, through restarts, rewinds and deaths."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from pydantic import HttpUrl, SecretStr

from schemas import facts as fact_codec
from schemas.facts import Fact, InForce, Ledger, TierEntered
from schemas.settings import Dispatcher as DispatcherSettings
from schemas.settings import Endpoint, Kafka, Settings
from schemas.topics import topics
from streams.dispatcher import Dispatcher
from streams.errors import UsageError
from streams.log_reader import LogReader
from streams.metrics import Metrics
from streams.topics import admin, apply
from tests.streams.receiver import SECRET, ReceiverStub

pytestmark = pytest.mark.real
NUMBERS = count(1)
SINCE = 1_796_083_200_000
QUICK = (0.0, 0.05, 0.1)


class Killed(Exception):
    """The process ends here."""


class Killer:
    """Ends the dispatcher the nth time it passes a point."""

    def __init__(self, point: str, times: int = 1) -> None:
        self.point, self.times = point, times

    def __call__(self, point: str) -> None:
        if point == self.point:
            self.times -= 1
            if self.times == 0:
                raise Killed


class Log:
    """A log of its own on the shared broker, whose facts are written by the test."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap, self.name = bootstrap, f"dispatcher-test-{next(NUMBERS)}"
        self.topics = topics(self.name, partitions=2)
        self._n = [0, 0]
        with admin(bootstrap) as client:
            apply(client, self.topics.all())

    def number(self, partition: int, fact: Fact, *, skip: int = 0) -> Fact:
        """Stamp a fact as the partition would; `skip` numbers go missing before it."""
        self._n[partition] += 1 + skip
        fact.log, fact.partition, fact.n = self.name, partition, self._n[partition]
        fact.offset, fact.index = 100 + fact.n, 0
        return fact

    async def write(self, facts: Sequence[Fact]) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all")
        await producer.start()
        try:
            for fact in facts:
                await producer.send_and_wait(self.topics.facts.name, fact_codec.encode(fact), partition=fact.partition)
        finally:
            await producer.stop()

    def entered(self, member: str, tier: str = "L1", partition: int = 0, *, skip: int = 0) -> Fact:
        fact = TierEntered(
            member_id=member, effective_at=SINCE, decided_at=SINCE + 900, dimension="presence", tier=tier,
            overall=tier, overall_since=SINCE, region="east", silent_since=SINCE - 30 * 86_400_000,
            reason="silent for 30 d", next_tier="L2", next_at=SINCE + 8 * 86_400_000,
        )  # fmt: skip
        return self.number(partition, fact, skip=skip)

    def go_live(self, partition: int = 0) -> Fact:
        fact = InForce(member_id="", effective_at=SINCE, decided_at=SINCE, control="go_live", id="go-live", number=1)
        return self.number(partition, fact)

    def points(self, partition: int = 0) -> Fact:
        fact = Ledger(member_id="m", effective_at=SINCE, decided_at=SINCE, rule="check_in", entry="earn", points=5)
        return self.number(partition, fact)

    def settings(self, *receivers: tuple[str, str], attempts: int = 3) -> Settings:
        endpoints = tuple(Endpoint(name=name, url=HttpUrl(url), secret=SecretStr(SECRET)) for name, url in receivers)
        return Settings(
            log=self.name,
            partitions=2,
            kafka=Kafka(bootstrap=self.bootstrap),
            dispatcher=DispatcherSettings(endpoints=endpoints, allow_private=True, timeout_s=2.0, attempts=attempts),
        )

    async def rewind(self) -> None:
        """What a person does with Kafka's own tools: all offsets of the group to 0, their metadata gone."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, group_id=f"dispatcher-{self.name}")
        places = [TopicPartition(self.topics.facts.name, partition) for partition in (0, 1)]
        consumer.assign(places)
        await consumer.start()
        try:
            await consumer.commit({at: OffsetAndMetadata(0, "") for at in places})
        finally:
            await consumer.stop()

    async def journal(self) -> list[bytes]:
        entries = []
        async with LogReader(self.bootstrap, self.topics.contacts.name) as reader:
            for partition in (0, 1):
                async for records in reader.read(partition, *await reader.bounds(partition)):
                    entries += [record.value for record in records]
        return entries


@pytest.fixture
def log(kafka_bootstrap: str) -> Log:
    return Log(kafka_bootstrap)


def dispatcher(settings: Settings, fail: Callable[[str], None] = lambda _: None) -> Dispatcher:
    wall = time.time  # noqa: TID251 - as the command line hands it in
    return Dispatcher(settings, Metrics("dispatcher"), wall, schedule=QUICK, breaker_rest_s=0.1, fail=fail)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Dispatcher]:
    """A dispatcher that runs until the block ends, and ends cleanly."""
    process = dispatcher(settings)
    task = asyncio.create_task(process.run())
    try:
        yield process
    finally:
        process.stop()
        await asyncio.wait_for(task, 60)


async def become(check: Callable[[], bool], *, within_s: float = 60.0) -> None:
    """Wait for what comes by itself."""
    async with asyncio.timeout(within_s):
        while not check():
            await asyncio.sleep(0.02)


def counted(process: Dispatcher, name: str, *labels: str) -> float:
    value: float = process.metrics[name].labels(*labels)._value.get()
    return value


async def caught_up(process: Dispatcher, log: Log) -> None:
    """Wait until every fact has been read."""
    expected = dict(enumerate(log._n))
    await become(lambda: {p: part.place.n or 0 for p, part in process.parts.items()} == expected)


async def test_only_what_was_decided_after_go_live_is_sent(log: Log) -> None:
    await log.write([log.entered("early"), log.points(), log.entered("other", partition=1)])
    async with ReceiverStub() as stub, running(log.settings(("coupons", stub.url))) as process:
        await caught_up(process, log)
        assert stub.requests == []
        await log.write([log.go_live(), log.points(), log.entered("late"), log.entered("still early", partition=1)])
        await caught_up(process, log)
        await become(lambda: len(stub.requests) == 1)
    (request,) = stub.requests
    assert request.holds()
    assert request.event == {
        "type": "tier.entered",
        "timestamp": "2026-12-01T00:00:00Z",
        "data": {
            "member": "late",
            "dimension": "presence",
            "tier": "L1",
            "since": "2026-12-01T00:00:00Z",
            "reason": "silent for 30 d",
            "fact": {"log": log.name, "partition": 0, "offset": 105, "index": 0},
            "region": "east",
            "silent_since": "2026-11-01T00:00:00Z",
            "next_tier": "L2",
            "next_at": "2026-12-09T00:00:00Z",
            "overall": "L1",
            "overall_since": "2026-12-01T00:00:00Z",
        },
    }
    parts = ("L1", "late", log.name, "0", "105", "0", "coupons")
    assert request.id == hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]
    assert counted(process, "memberflow_webhooks_suppressed", "before_go_live") == 3


async def test_a_tier_that_a_member_brought_along_is_sent_to_nobody(log: Log) -> None:
    """Handbook 3.8: who comes from an older programme is not contacted for what was due there."""
    live, brought, here = log.go_live(), log.entered("old"), log.entered("here")
    brought.brought = True  # type: ignore[attr-defined]  # a tier
    await log.write([live, brought, here])
    async with ReceiverStub() as stub, running(log.settings(("coupons", stub.url))) as process:
        await become(lambda: len(stub.requests) == 1)
    assert [request.event["data"]["member"] for request in stub.requests] == ["here"]  # type: ignore[index]
    assert counted(process, "memberflow_webhooks_suppressed", "brought") == 1


async def test_repeated_facts_are_dropped_and_a_gap_stops_only_its_partition(log: Log) -> None:
    facts = [log.go_live(0), log.go_live(1), log.entered("a"), log.entered("b")]
    await log.write([*facts, facts[2], facts[3]])
    async with ReceiverStub() as stub, running(log.settings(("coupons", stub.url))) as process:
        await become(lambda: len(stub.requests) == 2)
        await log.write([log.entered("lost before this", skip=1), log.entered("c", partition=1)])
        await become(lambda: len(stub.requests) == 3 and process.parts[0].halt != "")
        assert process.metrics["memberflow_dispatcher_stopped_partitions"]._value.get() == 1
        assert process.parts[1].halt == ""
    assert [request.event["data"]["member"] for request in stub.requests] == ["a", "b", "c"]  # type: ignore[index]


async def test_a_restart_and_a_rewind_send_nothing_twice(log: Log) -> None:
    await log.write([log.entered("early"), log.go_live(), *(log.entered(f"m{number}") for number in range(20))])
    async with ReceiverStub() as stub:
        settings = log.settings(("coupons", stub.url))
        async with running(settings):
            await become(lambda: len(stub.requests) == 20)
        async with running(settings) as process:
            await become(lambda: len(process.parts) == 2)
        await log.rewind()
        async with running(settings) as process:
            await caught_up(process, log)
            await log.write([log.entered("after")])
            await become(lambda: len(stub.requests) == 21)
    assert len(set(stub.ids)) == 21
    assert all(request.holds() for request in stub.requests)


@pytest.mark.parametrize(
    ("point", "extra"),
    [("dispatcher.planned", 0), ("dispatcher.after_intent", 0), ("dispatcher.after_post", 1)],
)
async def test_a_death_costs_at_most_one_more_try_under_the_same_id(log: Log, point: str, extra: int) -> None:
    await log.write([log.go_live(), log.entered("a")])
    async with ReceiverStub() as stub:
        settings = log.settings(("coupons", stub.url))
        with pytest.raises(Killed):
            await asyncio.wait_for(dispatcher(settings, Killer(point)).run(), 60)
        async with running(settings) as process:
            await caught_up(process, log)
            await become(lambda: len(stub.requests) == 1 + extra and len(process.queues["coupons"]) == 0)
        async with running(settings) as process:
            await become(lambda: len(process.parts) == 2)
            assert len(process.queues["coupons"]) == 0
    assert len(stub.requests) == 1 + extra
    assert len(set(stub.ids)) == 1


async def test_what_a_receiver_refuses_is_tried_again_under_the_same_id_also_after_a_restart(log: Log) -> None:
    await log.write([log.go_live(), log.entered("a")])
    async with ReceiverStub([500, "reset"]) as stub:
        settings = log.settings(("coupons", stub.url), attempts=9)
        async with running(settings) as process:
            await become(lambda: len(stub.requests) == 3)
    assert len(set(stub.ids)) == 1
    assert counted(process, "memberflow_webhook_deliveries", "coupons", "unreachable") == 1

    await log.write([log.entered("b")])
    async with ReceiverStub(then=410) as gone, running(log.settings(("coupons", gone.url))) as process:
        await become(lambda: process.queues["coupons"].disabled)
    async with ReceiverStub() as back, running(log.settings(("coupons", back.url))):
        await become(lambda: len(back.requests) == 1)
    assert back.ids == gone.ids


async def test_a_dead_endpoint_keeps_no_other_waiting_and_each_has_its_own_id(log: Log) -> None:
    await log.write([log.go_live(), *(log.entered(f"m{number}") for number in range(30))])
    async with ReceiverStub(then="hang") as dead, ReceiverStub() as well:
        settings = log.settings(("dead", dead.url), ("well", well.url))
        async with running(settings) as process:
            await become(lambda: len(well.requests) == 30)
            assert len(process.queues["dead"]) > 0
            dead.release.set()
    assert not set(dead.ids) & set(well.ids)


async def test_two_dispatchers_share_the_partitions_and_send_everything_once(log: Log) -> None:
    await log.write([log.go_live(0), log.go_live(1)])
    async with ReceiverStub() as stub:
        settings = log.settings(("coupons", stub.url))
        async with running(settings) as first:
            await become(lambda: len(first.parts) == 2)
            async with running(settings) as second:
                await become(lambda: len(first.parts) == len(second.parts) == 1)
                await log.write([log.entered(f"m{number}", partition=number % 2) for number in range(20)])
                await become(lambda: len(stub.requests) == 20)
            await log.write([log.entered("after", partition=0), log.entered("after", partition=1)])
            await become(lambda: len(stub.requests) == 22)
    assert len(set(stub.ids)) == 22


async def test_nothing_personal_and_no_secret_is_written_into_the_journal(log: Log) -> None:
    await log.write([log.go_live(), log.entered("a")])
    async with ReceiverStub() as stub, running(log.settings(("coupons", stub.url))):
        await become(lambda: len(stub.requests) == 1)
    entries = await log.journal()
    assert [entry.split(b'"')[3] for entry in entries] == [b"live", b"planned", b"intent", b"result"]
    assert not [entry for entry in entries if SECRET.encode() in entry]


def test_two_endpoints_of_one_name_are_refused(log: Log) -> None:
    with pytest.raises(UsageError, match="two endpoints share a name"):
        dispatcher(log.settings(("a", "http://127.0.0.1:1/"), ("a", "http://127.0.0.1:2/")))
