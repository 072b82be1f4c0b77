"""How fresh boards are at a steady rate: from a message's stamp to the programme's board that shows it.

A log that fills faster than it is worked off is late by as much as one cares to wait. So where the machine does not
keep up with 10,000 actions/s, freshness is measured at the highest of some lower rates with which it does.
"""

from __future__ import annotations

import asyncio
import gc
import json
import math
import random
import subprocess
import time
from pathlib import Path

from infra.stack import Stack
from processors.boards import Boards, Seasons, decode
from processors.programme import compile_programme
from schemas.boards import BoardKey
from streams.board_server import LINES_MAX
from streams.cli import default_programme
from streams.log_reader import LogReader
from tests.bench.arena import Arena
from tests.bench.failed import BenchFailed
from tests.bench.figures import Figure, Section, percentile
from tests.bench.population import Population
from tests.bench.probes import cpu_seconds, rss_bytes, watch

PER_SECOND = 10_000
RATES = (PER_SECOND, 8_000, 6_000, 4_500, 3_000, 2_000, 1_000, 500)
WARM_UP_RATE = 2_000
TRIAL_SECONDS = 12.0
BEHIND_SECONDS = 2.0
"""Who is so far behind at most when a trial ends keeps up: a backlog grows with every second, a hiccup does not."""

CAUGHT_UP_SECONDS = 300.0
START_SECONDS = 60.0
ALONE_FACTS = 200_000
ALONE_LOOKS = 200
SERVED_MS = {0.5: 500.0, 0.99: 1_000.0}


async def measure(stack: Stack, members: int, seconds: float, profiles: Path | None = None) -> Section:
    """One worker, the sink, the boards process, traffic and probes; all processes of their own."""
    arena = Arena(stack, "boards", Population(members, 12), profiles=profiles)
    await arena.prepare(0)
    await arena.settle()
    await asyncio.to_thread(arena.command, "migrate")
    file, own = stack.folder / "served.txt", arena.settings
    module = ["-m", "streams.cli"]
    with arena.running(arena.worker(), [*module, "sink"], [*module, "boards"]) as processes:
        await _ready(arena, processes)
        rate = await kept_up_with(arena, processes, min(TRIAL_SECONDS, seconds / 2))
        watched = watch(stack, dict(zip(("worker", "sink", "boards"), processes, strict=True)))
        before, began = cpu_seconds(watched), time.monotonic()
        probes = ["-m", "tests.bench.board_probe", file, own.kafka.bootstrap, own.log, own.boards.port, seconds]
        with arena.running(_traffic(arena, rate, seconds), list(map(str, probes))) as driving:
            await _over(processes, driving)
        passed = time.monotonic() - began
        cpu = {name: 100 * (now - before[name]) / passed for name, now in cpu_seconds(watched).items()}
        memory = rss_bytes(watched)["boards"]
    await arena.close()
    *lines, held = file.read_text().splitlines()
    rows = [tuple(map(int, line.split())) for line in lines]
    late = [float(seen - sent) if seen else math.inf for sent, seen in rows]
    figures = [Figure("rate that the pipeline keeps up with", float(rate), "actions/s", ">=", PER_SECOND)]
    figures += [
        Figure(f"append to served board, p{share * 100:.0f}", percentile(late, share), "ms", "<=", target)
        for share, target in SERVED_MS.items()
    ]
    figures.append(Figure("members on the programme's board", float(held)))
    figures += await asyncio.to_thread(alone, members)
    figures.append(Figure("memory of boards", memory / 2**20, "MiB"))
    figures += [Figure(f"CPU of {name}", used, "%") for name, used in cpu.items()]
    detail = {"measured": len(late), "worst_ms": max(late, default=0.0), "never_seen": late.count(math.inf)}
    note = f"{rate:,} actions/s for {seconds:.0f} s; the board is looked at every 20 ms"
    return Section("Boards", figures, detail, note)


def _traffic(arena: Arena, rate: int, seconds: float) -> list[str]:
    own = arena.settings
    words = ["-m", "tests.bench.traffic", own.kafka.bootstrap, own.log, arena.population.members, rate, seconds]
    return list(map(str, words))


async def kept_up_with(arena: Arena, processes: list[subprocess.Popen[bytes]], seconds: float) -> int:
    """The highest of some rates at which the worker is not behind after so many seconds."""
    await _trial(arena, processes, WARM_UP_RATE, seconds)
    for rate in RATES:
        behind = await _trial(arena, processes, rate, seconds)
        print(f"  at {rate:,} actions/s behind by {behind:.1f} s after {seconds:.0f} s", flush=True)
        if behind <= BEHIND_SECONDS:
            return rate
    return RATES[-1]


async def _trial(arena: Arena, processes: list[subprocess.Popen[bytes]], rate: int, seconds: float) -> float:
    """How many seconds later than they should have been all actions were sent, and the worker at the log's end."""
    partitions = range(arena.settings.partitions)
    async with LogReader(arena.settings.kafka.bootstrap, arena.names.actions.name) as reader:

        async def ends() -> dict[int, int]:
            return {partition: end for partition, (_, end) in (await reader.all_bounds(partitions)).items()}

        before = sum((await ends()).values())
        with arena.running(_traffic(arena, rate, seconds)) as driving:
            while sum((await ends()).values()) - before < rate / 2 and driving[0].poll() is None:  # it has begun then
                await asyncio.sleep(0.1)
            due = time.monotonic() + seconds
            await _over(processes, driving)
        wanted = await ends()
    while any(at < wanted[partition] for partition, at in (await arena.offsets()).items()):
        if time.monotonic() > due + CAUGHT_UP_SECONDS or any(process.poll() is not None for process in processes):
            raise BenchFailed("the worker does not catch up; its last words are below")
        await asyncio.sleep(0.1)
    return max(0.0, time.monotonic() - due)


def alone(members: int) -> list[Figure]:
    """The fold without its surroundings: everybody has spoken once, then uniform traffic with looks at the board."""
    boards, rnd = Boards(Seasons([compile_programme(default_programme(), 1, 0)]), 12), random.Random(12)
    base = 1_772_596_800_000
    everybody = [_fact(number, number, base + number, rnd) for number in range(members)]
    for number, value in everybody:
        boards.add(number % 12, decode(value))
    traffic = [_fact(rnd.randrange(members), members + n, base + members + n, rnd) for n in range(ALONE_FACTS)]
    gc.collect()
    gc.disable()  # as in the process
    key, looks, spent = BoardKey("hot_talk", *boards.current("week")), [], 0.0
    for first in range(0, ALONE_FACTS, ALONE_FACTS // ALONE_LOOKS):
        began = time.perf_counter()
        for number, value in traffic[first : first + ALONE_FACTS // ALONE_LOOKS]:
            boards.add(number % 12, decode(value))
        folded = time.perf_counter()
        boards.table(key, lines=LINES_MAX)
        looks.append((time.perf_counter() - folded) * 1000)
        spent += folded - began
    gc.enable()
    return [
        Figure("facts folded by one core, alone", ALONE_FACTS / spent, "facts/s", ">=", PER_SECOND),
        Figure("one look at the programme's board, alone, p99", percentile(looks, 0.99), "ms"),
        Figure("members on that board", float(boards.members(key))),
    ]


def _fact(number: int, n: int, at: int, rnd: random.Random) -> tuple[int, bytes]:
    """A message or, one time in ten, an order, as a worker would tell it."""
    told = {"n": n + 1, "partition": number % 12, "offset": n, "index": 0, "member_id": f"m{number:07d}"}
    told |= {"effective_at": at, "decided_at": at, "source": "app", "event_id": f"app-{n:010d}"}
    told |= {"group_id": f"g{number % 200}", "home": f"r{number % 5}", "because": "2 = message 1 of the day's 10"}
    if n == number or rnd.random() < 0.9:  # the first round makes everybody known
        told |= {"rule": "message", "entry": "earned", "weight": rnd.choice((1_000, 2_000, 3_000))}
    else:
        told |= {"rule": "purchase", "entry": "earned", "spend": 12_800}
    return number, json.dumps({"kind": "ledger"} | told).encode()


async def _ready(arena: Arena, processes: list[subprocess.Popen[bytes]]) -> None:
    """Wait for the worker's first tick in every partition, and for the others to show themselves."""
    deadline = time.monotonic() + START_SECONDS
    names = ("sink-*.json", "boards-*.json")
    while not all(any(arena.targets.glob(it)) for it in names) or min((await arena.offsets()).values()) < 2:
        if time.monotonic() > deadline or any(process.poll() is not None for process in processes):
            raise BenchFailed("worker, sink or boards do not start")
        await asyncio.sleep(0.1)


async def _over(processes: list[subprocess.Popen[bytes]], driving: list[subprocess.Popen[bytes]]) -> None:
    while any(process.poll() is None for process in driving):
        if any(process.poll() is not None for process in processes):
            raise BenchFailed("a process ended by itself; its last words are below")
        await asyncio.sleep(0.5)
    if any(process.returncode for process in driving):
        raise BenchFailed("the traffic or the probes failed")
