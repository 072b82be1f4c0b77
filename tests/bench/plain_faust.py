"""The same rules as a plain Faust application: `async for` over a stream, a Table in memory, facts sent one by one.

    python -m tests.bench.plain_faust BOOTSTRAP LOG RECORDS

works through that many records of a log in a process of its own, and tells how fast that was as JSON.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import secrets
import subprocess
import sys
import tempfile
import time
from typing import Any

import faust

from processors.member import Member, Moment, decide
from processors.programme import compile_programme
from schemas import facts as fact_codec
from schemas import member as member_codec
from schemas.actions import Action
from schemas.decoding import Controlled, decode
from schemas.member import MemberState
from schemas.records import ProgrammeControl
from schemas.topics import topics
from tests.bench.arena import Arena
from tests.bench.bare import Reading
from tests.bench.failed import BenchFailed
from tests.bench.figures import Figure, Section
from tests.bench.throughput import Run

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MILLISECOND = dt.timedelta(milliseconds=1)
SECONDS_MAX = 120
TIMES_FASTER = 10.0
PARTITIONS = 12
WARM_UP = 1_000
"""Actions before the clock starts: topics are created, leaders elected."""


class Plain:
    """The application. Positions, rebalances and the changelog of the table are Faust's."""

    def __init__(self, bootstrap: str, log: str, records: int, folder: str) -> None:
        names = topics(log)
        self.app = faust.App(
            f"plain-{secrets.token_hex(4)}",
            broker=f"kafka://{bootstrap}",
            store="memory://",
            datadir=folder,
            web_enabled=False,
            topic_partitions=PARTITIONS,
            consumer_auto_offset_reset="earliest",
        )
        self.actions = self.app.topic(names.actions.name, value_type=bytes, value_serializer="raw")
        facts = f"{log}.plain.facts"
        self.facts = self.app.topic(facts, value_serializer="raw", key_serializer="raw", partitions=PARTITIONS)
        self.states = self.app.Table("states", partitions=PARTITIONS, key_type=bytes, value_type=bytes)
        self.pages = self.app.Table("pages", partitions=PARTITIONS, key_type=bytes, value_type=bytes)
        self.records, self.seen, self.began, self.cpu = records, 0, 0.0, 0.0
        self.rules: Any = None
        self.id_key = b""
        self.reading: Reading | None = None
        self.app.agent(self.actions)(self.work)

    async def work(self, stream: Any) -> None:
        """One record after the other."""
        async for event in stream.events():
            item = decode(event.value)
            if isinstance(item, Action) and self.rules is not None:
                await self.act(item, event.message)
                self._count()
            elif isinstance(item, Controlled):
                await self._begin(item.body)

    async def act(self, action: Action, message: Any) -> None:
        """Decode the state, decide, put the state back, send the facts."""
        key = action.member_id.encode()
        state = self.states.get(key)
        found = member_codec.decode(state) if state else MemberState()
        member = Member(action.member_id, found, self.pages.get(key) or b"")
        clock = int(message.timestamp * 1000)
        at = min(clock, (action.occurred_at - EPOCH) // MILLISECOND)
        moment = Moment(at, clock, message.offset, 0)
        decision = decide(self.rules, self.rules, self.id_key, member, action, moment)
        self.states[key] = member_codec.encode(member.state)
        if decision.page:
            self.pages[key] = member.pages
        for index, fact in enumerate(decision.facts):
            fact.partition, fact.offset, fact.index = message.partition, message.offset, index
            await self.facts.send(key=key, value=fact_codec.encode(fact))

    async def _begin(self, control: Any) -> None:
        if isinstance(control, ProgrammeControl) and self.rules is None:
            await self.facts.declare()
            self.id_key = bytes.fromhex(control.id_key)
            self.rules = compile_programme(control.text, control.number, control.holds_from)

    def _count(self) -> None:
        self.seen += 1
        if self.seen == WARM_UP:
            self.began, self.cpu = time.perf_counter(), time.process_time()
        if self.seen == WARM_UP + self.records:
            self.reading = Reading(self.records, time.perf_counter() - self.began, time.process_time() - self.cpu)
            told = {field: getattr(self.reading, field) for field in self.reading.__struct_fields__}
            print(json.dumps(told), flush=True)

    async def run(self) -> None:
        """Until enough was seen."""
        await self.app.start()
        deadline = time.monotonic() + SECONDS_MAX
        while self.reading is None and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
        await asyncio.wait_for(self.app.stop(), timeout=30)


def measure(arena: Arena, records: int, ours: Run | None) -> Section:
    """Plain Faust over the beginning of the same log, and how many times faster we are."""
    reading = _run_apart(arena, records)
    figures = [
        Figure("plain Faust, the same rules", reading.per_second, "actions/s"),
        Figure("its CPU seconds per million actions", reading.cpu_seconds / reading.records * 1e6, "s"),
    ]
    if ours is not None:
        times = ours.warm_per_second / reading.per_second
        figures.append(Figure("one worker of ours is faster", times, "times", ">=", TIMES_FASTER))
    note = f"the first {records:,} actions of the same log; its facts are not awaited, its state is not durable"
    return Section("Plain Faust", figures, {"reading": reading}, note)


def _run_apart(arena: Arena, records: int) -> Reading:
    words = [arena.settings.kafka.bootstrap, arena.settings.log, str(records)]
    command = [sys.executable, "-m", "tests.bench.plain_faust", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * SECONDS_MAX, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        raise BenchFailed(f"plain Faust: {done.stderr.strip()[-2_000:]}")
    return Reading(**json.loads(lines[-1]))


if __name__ == "__main__":
    where, name, count = sys.argv[1:]
    with tempfile.TemporaryDirectory() as scratch:
        asyncio.run(Plain(where, name, int(count), scratch).run())
