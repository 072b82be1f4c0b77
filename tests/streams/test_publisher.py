"""What a chunk says to the world: in order, a batch after the ack of the one before, all of it or an exception."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.errors import IllegalOperation, KafkaTimeoutError, MessageSizeTooLargeError, ProducerClosed

from processors.output import Output
from processors.signature import holds, public_text
from schemas.aggregates import Bucket
from schemas.dead_letters import DeadLetter
from schemas.decoding import Derived, decode
from schemas.records import Cause, Forward, tick
from schemas.verdicts import Reason, Rejected
from streams import publisher as module
from streams.errors import PublishFailed, PublishRefused
from streams.publisher import Publisher
from tests.crash.traffic import WORKERS
from tests.doubles import Line, ListPublisher, MemoryLog
from tests.processors.test_partition import an_action
from tests.streams.site import ALL
from tests.streams.test_worker import Faults, in_no_time


def said(facts: int = 3, letters: int = 1, forwards: int = 2, buckets: int = 1) -> Output:
    """An output with some of everything."""
    return Output(
        facts=[b"fact %d" % n for n in range(facts)],
        fact_keys=[b"m"] * facts,
        letters=[
            DeadLetter(topic="t", partition=0, offset=n, key=b"k", value=b"{", rejected=Rejected(Reason.NOT_JSON))
            for n in range(letters)
        ],
        forwards=[(n % 2 + 1, Forward(Cause("log-1", 0, n, 0), "m-1", an_action(n))) for n in range(forwards)],
        buckets=[Bucket(log="log-1", partition=0, block=0, version=n, kind="hour", at=0) for n in range(buckets)],
    )


def a_publisher(line: Line, most: int = 1_000) -> ListPublisher:
    return ListPublisher(MemoryLog(), line, ALL, ("workers", WORKERS), most=most)


@in_no_time
async def test_strays_and_letters_are_acknowledged_before_facts() -> None:
    line = Faults()
    await a_publisher(line).publish(0, said(), 0)
    sent = [call.removeprefix("send log-1.member.") for call in line.calls if call.startswith("send")]
    assert sent[:3] == ["actions", "actions", "actions.dlq"]
    assert set(sent[3:]) == {"facts", "aggregates"}


@in_no_time
async def test_a_batch_is_handed_over_after_the_ack_of_the_one_before() -> None:
    line = Faults()
    await a_publisher(line, most=1).publish(0, said(facts=3, letters=0, forwards=0, buckets=0), 0)
    assert [call.split()[0] for call in line.calls] == ["send", "ack"] * 3


@pytest.mark.parametrize(("fate", "kept"), [("lost", 1), ("unanswered", 2), ("refused", 1)])
def test_after_a_batch_that_failed_no_other_is_sent(fate: str, kept: int) -> None:
    """A fresh idempotent producer would take batch 3 after batch 2 was refused."""

    class Second(Line):
        sends = 0

        def fate(self, call: str) -> str:
            self.sends += call.startswith("send")
            return fate if self.sends == 2 and call.startswith("send") else "ok"

    @in_no_time
    async def run() -> None:
        publisher = a_publisher(Second(), most=1)
        with pytest.raises((PublishFailed, PublishRefused)):
            await publisher.publish(0, said(facts=4, letters=0, forwards=0, buckets=0), 0)
        assert len(publisher.log.read(ALL.facts.name, 0)) == kept
        await publisher.publish(0, said(facts=4, letters=0, forwards=0, buckets=0), 0)
        assert publisher.producers == 2, "the cure is a fresh producer"

    run()


@in_no_time
async def test_a_stray_is_sealed_with_the_workers_key_and_carries_its_cause() -> None:
    publisher = a_publisher(Line())
    await publisher.publish(0, said(forwards=3), 0)
    found = [decode(record.value) for home in (1, 2) for record in publisher.log.read(ALL.actions.name, home)]
    assert all(isinstance(item, Derived) for item in found)
    derived = [item for item in found if isinstance(item, Derived)]
    assert [item.body.cause.offset for item in derived if isinstance(item.body, Forward)] == [0, 2, 1]
    assert all(holds(item.envelope, {"workers": public_text(WORKERS)}) for item in derived)


@in_no_time
async def test_a_record_larger_than_any_batch_is_refused_for_good() -> None:
    with pytest.raises(PublishRefused, match="6 bytes"):
        await a_publisher(Line(), most=0).publish(0, said(letters=0, forwards=0), 0)


@in_no_time
async def test_a_tick_is_a_record_of_the_partition_with_its_owner() -> None:
    publisher = a_publisher(Line())
    await publisher.tick(2, "owner-1", 0)
    assert [record.value for record in publisher.log.read(ALL.actions.name, 2)] == [tick("owner-1")]


class Stubborn:
    """A producer of aiokafka's that fails in a way of ours."""

    made: list[Stubborn] = []  # noqa: RUF012 - a list of all, on purpose

    def __init__(self, error: Exception, at: str) -> None:
        self.error, self.at, self.stopped = error, at, False
        Stubborn.made.append(self)

    async def start(self) -> None:
        if self.at == "start":
            raise self.error

    async def stop(self) -> None:
        self.stopped = True

    def create_batch(self) -> Any:
        raise self.error


@pytest.mark.parametrize("at", ["start", "batch"])
@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (KafkaTimeoutError(), PublishFailed),
        (ProducerClosed(), PublishFailed),
        (IllegalOperation(), PublishFailed),
        (OSError("no route"), PublishFailed),
        (TimeoutError(), PublishFailed),
        (MessageSizeTooLargeError(), PublishRefused),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, Exception) else "",
)
@pytest.mark.parametrize("what", ["chunk", "tick"])
async def test_whatever_aiokafka_raises_the_producer_is_closed_and_the_error_is_ours(
    monkeypatch: pytest.MonkeyPatch, what: str, error: Exception, raised: type[Exception], at: str
) -> None:
    Stubborn.made.clear()
    monkeypatch.setattr(module, "AIOKafkaProducer", lambda **_: Stubborn(error, at))
    publisher = Publisher("nowhere:1", ALL, ("workers", WORKERS))
    with pytest.raises(PublishFailed if what == "tick" else raised):
        await (publisher.tick(0, "o", 0) if what == "tick" else publisher.publish(0, said(), 0))
    assert [one.stopped for one in Stubborn.made] == [True]


async def test_a_producer_that_never_stops_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    given_up = []

    async def stop(producer: Any) -> None:
        given_up.append(producer)

    monkeypatch.setattr(module, "stop_producer", stop)
    monkeypatch.setattr(module, "AIOKafkaProducer", lambda **_: Stubborn(KafkaTimeoutError(), "batch"))
    publisher = Publisher("nowhere:1", ALL, ("workers", WORKERS))
    with pytest.raises(PublishFailed):
        await publisher.publish(0, said(), 0)
    assert given_up == Stubborn.made[-1:]
