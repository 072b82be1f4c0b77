"""How late things are at a steady rate: from the broker's stamp to the commit, and to a row that a query finds."""

from __future__ import annotations

import asyncio
import math
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from infra.stack import Stack
from streams.log_reader import LogReader
from tests.bench.arena import Arena
from tests.bench.failed import BenchFailed
from tests.bench.figures import Figure, Section, percentile
from tests.bench.population import Population, wall
from tests.bench.probes import cpu_seconds, watch
from tests.bench.watch import Place, read

PER_SECOND = 10_000
WARM_UP_SECONDS = 8.0
"""Not measured: processes and the engine start, the first members come into the cache."""

DRAIN_SECONDS = 5.0
START_SECONDS = 60.0
COMMITTED_MS = {0.5: 100.0, 0.99: 500.0}
VISIBLE_MS = {0.5: 1_000.0, 0.99: 3_000.0}

Stamps = list[tuple[int, int]]
"""Runs of records with one stamp, in order: (stamp in ms, offset of the last)."""


async def measure(stack: Stack, members: int, seconds: float, profiles: Path | None = None) -> Section:
    """One worker, the sink, and two watchers; all processes of their own."""
    arena = Arena(stack, "steady", Population(members, 12), profiles=profiles)
    await arena.prepare(0)
    await arena.settle()
    await asyncio.to_thread(arena.command, "migrate")
    files = stack.folder / "committed.txt", stack.folder / "visible.txt"
    clickhouse = arena.settings.clickhouse
    watchers = (
        _module("watch", files[0], "redis", arena.settings.redis.url, arena.settings.log),
        _module("watch", files[1], "sql", clickhouse.http_host, clickhouse.http_port, arena.settings.log),
    )
    with arena.running(*watchers, arena.worker(), ["-m", "streams.cli", "sink"]) as processes:
        span, cpu = await _traffic(arena, processes, members, seconds)
    stamps = await _stamps(arena)
    seen = {"commit": read(files[0]), "row": read(files[1])}
    late = {name: _late(stamps, looks, span) for name, looks in seen.items()}
    await arena.close()
    measured = len(late["commit"])
    figures = [Figure("actions appended", measured / (span[1] - span[0]) * 1000, "actions/s")]
    figures += _figures("append to committed", late["commit"], COMMITTED_MS)
    figures += _figures("append to a row in ClickHouse", late["row"], VISIBLE_MS)
    figures += [Figure(f"CPU of {name}", 100 * used / (seconds + WARM_UP_SECONDS), "%") for name, used in cpu.items()]
    worst = {name: max(found, default=0) for name, found in late.items()}
    note = f"{seconds:.0f} s; Redis is asked every 5 ms, SQL every 50 ms: what is seen later counts as later"
    never = {name: found.count(math.inf) for name, found in late.items()}
    if any(never.values()):
        note += f"; never seen: {never['commit']:,} committed, {never['row']:,} as rows"
    return Section("Steady", figures, {"measured": measured, "worst_ms": worst, "never_seen": never}, note)


async def _traffic(
    arena: Arena, processes: list[subprocess.Popen[bytes]], members: int, seconds: float
) -> tuple[tuple[int, int], dict[str, float]]:
    """Drive; returns the span of stamps that counts, and the processor time of each process meanwhile."""
    await _ready(arena)
    watched = watch(arena.stack, {"worker": processes[2], "sink": processes[3]})
    before = cpu_seconds(watched)
    began = wall()
    where = (arena.settings.kafka.bootstrap, arena.settings.log)
    total = seconds + WARM_UP_SECONDS
    with arena.running(_module("traffic", *where, members, PER_SECOND, total)) as [traffic]:
        while traffic.poll() is None:
            if any(process.poll() is not None for process in processes):
                raise BenchFailed("a process ended by itself; its last words are below")
            await asyncio.sleep(0.5)
        ended = wall()
    if traffic.returncode:
        raise BenchFailed("the traffic failed")
    after = cpu_seconds(watched)
    await asyncio.sleep(DRAIN_SECONDS)
    first = max(began + WARM_UP_SECONDS, ended - seconds)
    # The last second is left out: an action without a fact is seen when a later one is.
    return (int(first * 1000), int((ended - 1) * 1000)), {name: after[name] - before[name] for name in watched}


async def _ready(arena: Arena) -> None:
    """Wait for the worker's first tick in every partition, and for the sink to show itself."""
    deadline = time.monotonic() + START_SECONDS
    while not any(arena.targets.glob("sink-*.json")) or min((await arena.offsets()).values()) < 2:
        if time.monotonic() > deadline:
            raise BenchFailed("worker or sink do not start")
        await asyncio.sleep(0.1)


async def _stamps(arena: Arena) -> dict[int, Stamps]:
    """When the broker stamped what, per partition."""
    found: dict[int, Stamps] = {}
    async with LogReader(arena.settings.kafka.bootstrap, arena.names.actions.name) as reader:
        for partition in range(arena.settings.partitions):
            runs = found[partition] = []
            _, end = await reader.bounds(partition)
            async for records in reader.read(partition, 0, end):
                for record in records:
                    if record.key is not None:
                        runs.append((record.timestamp, record.offset))
    return found


def _late(stamps: dict[int, Stamps], seen: list[tuple[int, Place]], span: tuple[int, int]) -> list[float]:
    """For every action stamped inside the span: how many ms later it was seen to be there. Never seen = infinite."""
    return [late for partition, runs in stamps.items() for late in late_in(partition, runs, seen, span)]


def late_in(partition: int, runs: Stamps, seen: list[tuple[int, Place]], span: tuple[int, int]) -> Iterable[float]:
    looks = iter(seen)
    look = next(looks, None)
    for stamp, offset in runs:
        while look is not None and look[1][partition] <= offset:
            look = next(looks, None)
        if span[0] <= stamp < span[1]:
            yield math.inf if look is None else max(0, look[0] - stamp)


def _figures(name: str, late: list[float], targets: dict[float, float]) -> list[Figure]:
    return [
        Figure(f"{name}, p{share * 100:.0f}", percentile(late, share), "ms", "<=", target)
        for share, target in targets.items()
    ]


def _module(name: str, *words: object) -> list[str]:
    return ["-m", f"tests.bench.{name}", *map(str, words)]
