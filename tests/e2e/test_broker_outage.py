"""A killed broker, as who reads the log of a worker and a sink sees it, and as who ends them meanwhile."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from infra.stack import Stack
from tests.e2e.memberflow import Log, Running, log_lines
from tests.polling import eventually

pytestmark = pytest.mark.real

AWAY, BACK = "Kafka does not answer", "Kafka answers again"
STOP_SECONDS_MAX = 8.0
"""It is 5 s; the rest is for a busy machine."""
OUTAGE = [AWAY, BACK]
"""Told once; on a busy machine a broker that is back may fail to answer in time once more while it starts."""


def outages(running: Running) -> list[str]:
    """The beginnings and ends it told of, in their order."""
    return [it["event"] for it in log_lines(running.log.read_text(errors="replace")) if it["event"] in OUTAGE]


def foreign(running: Running) -> list[str]:
    """Lines that are not ours: no JSON, or what aiokafka says itself."""
    lines = running.log.read_text().splitlines()
    mine = [json.loads(line) for line in lines if line.startswith("{")]
    raw = [line for line in lines if not line.startswith("{")]
    return raw + [it["event"] for it in mine if "node" in it["event"] or "metadata" in it["event"]]


def test_an_outage_is_told_when_it_begins_and_ends_and_a_stop_in_the_middle_takes_seconds(tmp_path: Path) -> None:
    with Stack(tmp_path / "stack") as stack:
        log = Log(stack, tmp_path)
        log.ok("bootstrap")
        with log.worker() as worker, log.sinking() as sink:
            both = (worker, sink)
            stack.kill("kafka")
            assert eventually(lambda: all(it.said(AWAY) for it in both), within_s=20)
            time.sleep(2)
            stack.start("kafka")
            assert eventually(lambda: all(it.said(BACK) for it in both), within_s=60), foreign(sink)
            assert eventually(lambda: all(outages(it) in (OUTAGE, 2 * OUTAGE) for it in both), within_s=60), [
                outages(it) for it in both
            ]

            told = [len(it.said(AWAY)) for it in both]
            stack.kill("kafka")
            assert eventually(lambda: [len(it.said(AWAY)) for it in both] == [n + 1 for n in told], within_s=20)
            began = time.monotonic()
            for it in both:
                it.process.send_signal(signal.SIGTERM)
            assert [it.process.wait(30) for it in both] == [0, 0]
            assert time.monotonic() - began < STOP_SECONDS_MAX
            assert [foreign(it) for it in both] == [[], []]
