"""A log of a million records with everything in it, folded again to the row; nightly.

    SIMULATE_RECORDS=1000000 pytest -m nightly tests/e2e/test_simulate_million.py

It fails if something that it must show never happened. The same check runs on what is left after the chaos
(`test_chaos.py`), whose size is set by CHAOS_SECONDS and CHAOS_RATE.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random

import psutil
import pytest

from infra.stack import Stack
from schemas import facts as fact_codec
from schemas.facts import Ledger
from schemas.topics import topics
from streams.keys import private_key
from streams.log_reader import LogReader
from tests.e2e.chaos_staff import Staff
from tests.e2e.chaos_traffic import Load
from tests.e2e.looking_back import Kept
from tests.e2e.memberflow import COMMAND
from tests.e2e.proof import Proof
from tests.happened import happened

pytestmark = [pytest.mark.real, pytest.mark.nightly, pytest.mark.timeout(7_200)]
RECORDS = int(os.environ.get("SIMULATE_RECORDS", "1000000"))
RATE = int(os.environ.get("SIMULATE_RATE", "6000"))
SEED = int(os.environ.get("SEED", "1"))
PARTITIONS = 6
AHEAD_S = 65
"""A programme holds a minute after its record; so long the traffic must go on."""

TEXT = Path("schemas/programmes/default.yaml").read_text()
CHANGES = [("points: 5\n", "points: 7\n"), ("points: 5\n", "points: 8\n")]
OTHER = TEXT.replace("per_unit: 1 ", "per_unit: 2 ").replace("chat: 1000", "chat: 4000")
WANTED = ("refund", "redeemed", "hold opened", "hold released", "staff gave points", "opening", "late", "referral")


class Site(Kept):
    """A log of six partitions."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        super().__init__(stack, folder)
        more = {"MEMBERFLOW_PARTITIONS": str(PARTITIONS)}
        self.own, self.env = self.own | more, self.env | more

    def measured(self, *arguments: str) -> tuple[str, float, int]:
        """What a command printed, how long it took, and the most memory that it and its processes held at a time."""
        began, most = time.monotonic(), 0
        with subprocess.Popen([str(COMMAND), *arguments], env=self.env, stdout=subprocess.PIPE) as process:
            while process.poll() is None:
                most = max(most, held_by(process.pid))
                time.sleep(0.5)
            assert process.stdout is not None
            said = process.stdout.read().decode()
        assert process.returncode == 0, said
        return said, time.monotonic() - began, most


def held_by(pid: int) -> int:
    """Memory of a process and all it started."""
    found = 0
    try:
        for one in (parent := psutil.Process(pid), *parent.children(recursive=True)):
            found += one.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return found


@pytest.fixture
def log(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Site:
    log = Site(stack, tmp_path_factory.mktemp("million"))
    log.ok("topics", "apply")
    log.ok("bootstrap")
    return log


async def test_a_million_records_are_found_again_to_the_row(log: Site, capsys: pytest.CaptureFixture[str]) -> None:
    def tell(text: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{text}")
            sys.stdout.flush()

    with log.worker(owns=PARTITIONS):
        load = await filled(log)
        began = time.monotonic()
        assert await Proof(log.settings).settled(within_s=5_400)
        tell(f"{load.meant:,} records sent; the worker was done {time.monotonic() - began:.0f} s after the last")
    counts = await told(log)
    tell(f"{dict(counts)}")
    missing = [what for what in WANTED if not counts[what]]
    assert not missing, (missing, counts)
    assert all(counts[f"programme {number}"] for number in (1, 2, 3)), counts
    said, seconds, memory = await asyncio.to_thread(log.measured, "simulate", "--check")
    tell(f"{said.strip()}; {seconds:.0f} s, {memory >> 20} MB")
    assert said.startswith("equal: ")
    (log.folder / "other.yaml").write_text(OTHER)
    command = ("simulate", "--programme", str(log.folder / "other.yaml"), "--json")
    figures, seconds, memory = await asyncio.to_thread(log.measured, *command)
    data = json.loads(figures)
    tell(f"another programme: {data['records']:,} records, {data['rounds']} rounds, {seconds:.0f} s, {memory >> 20} MB")
    assert data["records"] >= RECORDS
    assert data["total"]["new"]["points_issued"] > data["total"]["live"]["points_issued"]


async def filled(log: Site) -> Load:
    """The traffic of the chaos, with two programmes that come into force meanwhile."""
    settings, names = log.settings, topics(log.name, partitions=PARTITIONS)
    bootstrap, key = settings.kafka.bootstrap, private_key(settings.keys.folder, settings.keys.staff)
    staff = Staff(bootstrap, names.facts.name, PARTITIONS, key, Random(SEED), time.time)  # noqa: TID251
    load = Load(bootstrap, names.actions.name, PARTITIONS, SEED, RATE, time.time, staff)  # noqa: TID251 - senders
    sending = asyncio.create_task(load.run())
    for number, (old, new) in enumerate(CHANGES, start=1):
        while load.meant < RECORDS * number / 4:
            await asyncio.sleep(0.2)
        programme = log.folder / f"programme-{number}.yaml"
        programme.write_text(TEXT.replace(old, new))
        people = ("--why", "nightly", "--by", "ana", "--approved-by", "ben")
        assert "stands" in await asyncio.to_thread(log.patiently, "programme", "apply", str(programme), *people)
    began = time.monotonic()
    while load.meant < RECORDS or time.monotonic() < began + AHEAD_S:
        await asyncio.sleep(0.2)
    load.stopping = True
    await sending
    return load


async def told(log: Site) -> Counter[str]:
    """What happened, by the facts."""
    found: Counter[str] = Counter()
    names = topics(log.name, partitions=PARTITIONS)
    async with LogReader(log.settings.kafka.bootstrap, names.facts.name) as reader:
        async for records in reader.read_all(await reader.all_bounds(range(PARTITIONS))):
            facts = [fact_codec.decode(record.value) for record in records]
            found.update(happened(facts))
            found.update(f"programme {fact.programme}" for fact in facts)
            found["late"] += sum(fact.effective_at < fact.decided_at - 86_400_000 for fact in facts)
            found["referral"] += sum(isinstance(fact, Ledger) and fact.rule.startswith("referral") for fact in facts)
    return found
