"""A rule that raises, on real parts: its records are dead letters for ever, too many halt, repaired code goes on."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infra.stack import Stack
from schemas.facts import Ledger
from tests.e2e.looking_back import Kept
from tests.e2e.memberflow import PARTITIONS, Running, check_in
from tests.e2e.proof import Proof
from tests.polling import eventually

pytestmark = pytest.mark.real
NOW = datetime.now(UTC).isoformat()  # noqa: TID251 - as an app stamps what it sends
ALLOWED = 10  # of the default programme, in 10,000 offsets
FAULTY = """
import processors.partition
from streams.cli import main

rules = processors.partition.decide

def decide(*given):
    if given[4].event_id.startswith("boom"):
        given[3].state.issued += 1_000_000
        raise ZeroDivisionError("no rule for " + given[4].event_id)
    return rules(*given)

processors.partition.decide = decide
main()
"""


@contextmanager
def faulty_worker(log: Kept, folder: Path) -> Iterator[Running]:
    """A worker whose rules raise on events called boom, after half a change."""
    script, path = folder / "faulty.py", folder / f"faulty-{len(list(folder.iterdir()))}.log"
    script.write_text(FAULTY)
    env = log.env | {"PYTHONPATH": os.getcwd()}
    with path.open("wb") as file:
        process = subprocess.Popen([sys.executable, str(script), "worker"], env=env, cwd=folder, stderr=file)
    running = Running(process, path)
    try:
        assert eventually(lambda: bool(running.said("worker starts")), within_s=60), path.read_text()
        yield running
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, path.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def boom(number: int) -> dict[str, object]:
    return check_in(number, "m-1", NOW) | {"event_id": f"boom-{number}"}


def halted(log: Kept) -> list[str]:
    return [str(row["halted"]) for row in log.partitions() if row["halted"]]


def test_rules_that_raise_cost_their_records_then_halt_and_repaired_code_goes_on(stack: Stack, tmp_path: Path) -> None:
    log = Kept(stack, tmp_path)
    log.ok("topics", "apply")
    log.ok("bootstrap")
    good = [check_in(number, f"m-{number}", NOW) for number in range(60)]
    actions: list[dict[str, object]] = [*good[:5], *(boom(n) for n in range(ALLOWED)), *good[5:30], boom(99)]
    with faulty_worker(log, tmp_path):
        log.send(actions)
        assert eventually(lambda: len(halted(log)) == 1, within_s=60), log.verdicts()
        assert "more than 10 rule failures: no rule for boom-99" in halted(log)[0]
        log.send(good[30:])
    with faulty_worker(log, tmp_path):  # a restart does not drain the topic into the dead letters
        assert len(halted(log)) == 1
    log.ok("partition", "resume", str(next(row["partition"] for row in log.partitions() if row["halted"])))
    with log.worker(owns=PARTITIONS):
        proof = Proof(log.settings)
        assert asyncio.run(proof.settled())
        told = asyncio.run(proof.holds())
    paid = sorted(f.event_id for one in told.values() for f in one.facts if isinstance(f, Ledger) and f.points)
    assert paid == sorted([*(str(action["event_id"]) for action in good if action["member_id"] != "m-1"), "e-1"])
    letters = [letter for letter in log.letters() if letter["reason"] == "rule"]
    assert len({letter["origin"] for letter in letters}) == ALLOWED
    assert sum(one.verdicts.get("dead_letter", 0) for one in told.values()) == ALLOWED
    assert sum(one.verdicts.get("applied", 0) for one in told.values()) == len(good) + 1
