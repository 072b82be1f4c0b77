"""While Kafka is away the log says so now and then; nothing else is left out of it, least of all anything of ours."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiokafka import errors
from structlog.testing import capture_logs

from streams.logs import QUIET_SECONDS, Outage, configure_logs, is_complaint
from tests.streams.test_worker import in_no_time

REFUSED = OSError(111, "Connect call failed")


def line(
    name: str, text: str, *args: object, error: BaseException | None = None, level: int = logging.ERROR
) -> logging.LogRecord:
    trace: Any = (type(error), error, None) if error else None
    return logging.LogRecord(name, level, "file.py", 1, text, args, trace)


COMPLAINTS = {
    "no connection": line("aiokafka", "Unable connect to node with id %s: %s", 1, REFUSED),
    "no metadata": line("aiokafka.cluster", "Unable to update metadata from %s", [1]),
    "no fetch": line("aiokafka.consumer.fetcher", "Failed fetch messages from %s: %s", 1, errors.NodeNotReadyError()),
    "no coordinator": line("aiokafka", "LeaveGroup: %s", errors.GroupCoordinatorNotAvailableError()),
    "a trace": line("aiokafka", "Unexpected error in sender routine", error=errors.KafkaConnectionError()),
    "a lost task": line("asyncio", "never retrieved: aiokafka/client.py", error=errors.KafkaConnectionError()),
    "by way of Faust": line("faust.transport", "Committing raised exception: %r", errors.RequestTimedOutError()),
}

OTHERS = {
    "ours": line("streams.transport", "fetch: %r", errors.KafkaConnectionError()),
    "ours, with a trace": line("streams.worker", "it broke", error=errors.KafkaConnectionError()),
    "a lost task of ours": line("asyncio", "never retrieved: streams/sink.py", error=errors.KafkaConnectionError()),
    "no right": line("aiokafka", "Fetch: %s", errors.TopicAuthorizationFailedError()),
    "a refused record": line("aiokafka", "Got error produce response: %s", errors.MessageSizeTooLargeError()),
    "a defect of theirs": line("aiokafka", "Unexpected error in fetcher routine", error=AssertionError()),
    "one of both": line("aiokafka", "%s after %s", errors.UnknownTopicOrPartitionError(), REFUSED),
    "no error at all": line("aiokafka", "Heartbeat failed for group %s because it is rebalancing", "sink"),
    "another library": line("redis", "%s", REFUSED),
    "arguments by name": line("aiokafka", "%(a)s", {"a": 1}),
}


@pytest.mark.parametrize("name", COMPLAINTS)
def test_what_says_only_that_a_broker_is_away_is_a_complaint(name: str) -> None:
    assert is_complaint(COMPLAINTS[name])


@pytest.mark.parametrize("name", OTHERS)
def test_nothing_else_is_left_out(name: str) -> None:
    assert not is_complaint(OTHERS[name])
    assert Outage().filter(OTHERS[name])


class Kafka:
    """Answers or not."""

    def __init__(self) -> None:
        self.away = True

    async def ask(self) -> None:
        if self.away:
            raise errors.KafkaConnectionError


@in_no_time
async def test_an_outage_is_a_line_one_more_each_half_minute_and_a_line_when_it_ends() -> None:
    loop, kafka = asyncio.get_running_loop(), Kafka()
    outage = Outage(loop.time)
    watching = asyncio.create_task(outage.watch(kafka.ask))
    with capture_logs() as told:
        for _ in range(2):
            for _ in range(70 * 10):
                assert not outage.filter(COMPLAINTS["no connection"])
                await asyncio.sleep(0.1)
            kafka.away = False
            await asyncio.sleep(2 * QUIET_SECONDS)
            kafka.away = True
    watching.cancel()
    began, still, back = "Kafka does not answer", "Kafka still does not answer", "Kafka answers again"
    assert [it["event"] for it in told] == 2 * [began, still, still, back]
    assert [it["seconds"] for it in told if "seconds" in it] == 2 * [30, 60, 70]
    assert told[3]["left_out"] == 700
    assert "Connect call failed" in told[0]["said"]


def test_the_first_group_of_a_new_broker_is_no_outage() -> None:
    outage = Outage()
    with capture_logs() as told:
        first = line("aiokafka", "Group Coordinator Request failed: %s", errors.GroupCoordinatorNotAvailableError())
        assert not outage.filter(first)
    assert told == []
    with capture_logs() as told:
        assert not outage.filter(COMPLAINTS["no connection"])
        assert not outage.filter(first)
    assert [it["event"] for it in told] == ["Kafka does not answer"]


@in_no_time
async def test_silence_alone_does_not_say_that_kafka_is_back() -> None:
    """A broker that hangs makes nobody complain for as long as a request may take."""
    loop, kafka = asyncio.get_running_loop(), Kafka()
    outage = Outage(loop.time)
    watching = asyncio.create_task(outage.watch(kafka.ask))
    with capture_logs() as told:
        outage.filter(COMPLAINTS["no connection"])
        await asyncio.sleep(20)
    watching.cancel()
    assert len(told) == 1


def test_what_is_set_up_leaves_complaints_out_and_writes_the_traces_of_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logs("info")
    theirs, asyncs = logging.getLogger("aiokafka.client"), logging.getLogger("asyncio")
    for _ in range(100):
        theirs.error("Unable connect to node with id %s: %s", 1, REFUSED)
    try:
        raise AssertionError("a defect")
    except AssertionError:
        asyncs.exception("Task exception was never retrieved")
    told = [json.loads(it) for it in capsys.readouterr().err.splitlines()]
    assert [it["event"] for it in told] == ["Kafka does not answer", "Task exception was never retrieved"]
    assert "AssertionError: a defect" in told[1]["exception"]


def test_lines_of_many_threads_stay_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours and those of libraries go to one file, which a supervisor may want unbuffered; Faust has a thread too."""
    path = tmp_path / "log"
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(path.open("wb", buffering=0), write_through=True))
    configure_logs("info")
    theirs, ours, told = logging.getLogger("aiokafka.client"), structlog.get_logger(), 1_000

    def tell(number: int) -> None:
        for _ in range(told):
            ours.warning("ours", number=number) if number % 2 else theirs.error("theirs %s", number)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=tell, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    sys.stderr.close()
    lines = [json.loads(it) for it in path.read_text().splitlines()]
    assert Counter(it["event"] for it in lines) == {"ours": 2 * told, "theirs 0": told, "theirs 2": told}
