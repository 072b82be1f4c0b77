"""Actions per second through running workers: the log is filled beforehand, offsets are read at both ends."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Callable, Sequence
from statistics import median_low
from typing import Any

from msgspec import Struct

from tests.bench.arena import Arena
from tests.bench.failed import BenchFailed
from tests.bench.figures import Figure, Section, mean
from tests.bench.probes import cpu_seconds, disk_bytes, rss_bytes, stage_seconds, threads_seconds, watch
from tests.bench.published import Published, same

LOOK_SECONDS = 0.05
PATIENCE_SECONDS = 600.0
WANTED = {1: 50_000.0, 2: 85_000.0}

Offsets = dict[int, int]


class Run(Struct):
    """One run over a filled log. Warm: everybody is in the cache, and no partition has come to its end."""

    workers: int
    members: int
    warm_per_second: float
    warm_actions: int
    warm_seconds: float
    cold_per_second: float
    published: Published
    cpu_us: dict[str, float]  # per action, which is CPU seconds per million actions
    stage_us: dict[str, float]
    rss_before: dict[str, int]
    rss_cached: dict[str, int]
    rss_end: dict[str, int]
    threads_s: list[list[float]]


async def run(arena: Arena, workers: int, *, rewrite: bool = False) -> Run:
    """One run from the population's first state to the end of the log; with `rewrite` Redis rewrites its file."""
    await arena.settle()
    before = await arena.facts()
    with arena.running(*(arena.worker(number + 1) for number in range(workers))) as processes:
        found = await _measured(arena, processes, rewrite=rewrite)
    found.published = await arena.published(before)
    return found


async def _measured(arena: Arena, processes: list[subprocess.Popen[bytes]], *, rewrite: bool) -> Run:
    watched = watch(arena.stack, {f"worker {i + 1}": process for i, process in enumerate(processes)})
    await _serving(arena, processes)
    before = rss_bytes(watched)
    begun = await until(arena, processes, lambda at: sum(at.values()) > len(at))
    cold_from = time.perf_counter()
    warm = await until(arena, processes, lambda at: all(at[p] >= b for p, (b, _) in arena.bounds.items()))
    warm_from, cpu, cached = time.perf_counter(), cpu_seconds(watched), rss_bytes(watched)
    stages = stage_seconds(arena.targets)
    if rewrite:
        await asyncio.to_thread(_rewrite, arena)
    # A short log may have ended in a partition before everybody was in the cache: then its whole end counts.
    enough = all if any(warm[p] >= end for p, (_, end) in arena.bounds.items()) else any
    last = await until(arena, processes, lambda at: enough(at[p] >= e for p, (_, e) in arena.bounds.items()))
    warm_to, cpu_after, stages_after = time.perf_counter(), cpu_seconds(watched), stage_seconds(arena.targets)
    end = rss_bytes(watched)
    await until(arena, processes, lambda at: all(at[p] >= e for p, (_, e) in arena.bounds.items()))
    threads = [threads_seconds(watched[f"worker {i + 1}"]) for i in range(len(processes))]
    actions = sum(last.values()) - sum(warm.values())
    if not actions:
        raise BenchFailed("the log is too short: it ended before all members were in the cache")
    return Run(
        workers=len(processes),
        members=arena.population.members,
        warm_per_second=actions / (warm_to - warm_from),
        warm_actions=actions,
        warm_seconds=warm_to - warm_from,
        cold_per_second=(sum(warm.values()) - sum(begun.values())) / (warm_from - cold_from),
        published=Published(),
        cpu_us={name: (cpu_after[name] - cpu[name]) / actions * 1e6 for name in watched},
        stage_us={stage: (stages_after[stage] - stages.get(stage, 0)) / actions * 1e6 for stage in stages_after},
        rss_before=before,
        rss_cached=cached,
        rss_end=end,
        threads_s=threads,
    )


async def _serving(arena: Arena, processes: list[subprocess.Popen[bytes]]) -> None:
    """Wait until each worker shows its metrics: composed, and nothing acquired yet."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(list(arena.targets.glob("worker-*.json"))) < len(processes):
        _alive(processes)
        if time.monotonic() > deadline:
            raise BenchFailed("a worker does not start")
        await asyncio.sleep(LOOK_SECONDS)


async def until(
    arena: Arena, processes: Sequence[subprocess.Popen[bytes]], enough: Callable[[Offsets], bool]
) -> Offsets:
    """The committed offsets as soon as they are far enough."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        _alive(processes)
        at = await arena.offsets()
        if enough(at):
            return at
        await asyncio.sleep(LOOK_SECONDS)
    raise BenchFailed(f"not done within {PATIENCE_SECONDS:.0f} s")


def _alive(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    if any(process.poll() is not None for process in processes):
        raise BenchFailed("a process ended by itself; its last words are below")


def _rewrite(arena: Arena) -> None:
    with arena.redis() as client:
        persistence: Any = client.info("persistence")
        if not persistence["aof_rewrite_in_progress"]:
            client.bgrewriteaof()


async def measure(arena: Arena, repeats: int) -> tuple[Section, dict[int, Run]]:
    """One and two workers, each several times; the run in the middle speaks."""
    runs: dict[int, list[Run]] = {workers: [] for workers in WANTED}
    for _ in range(repeats):
        for workers, found in runs.items():
            found.append(await run(arena, workers))
    published = [one.published for found in runs.values() for one in found]
    same(published)
    middle = {workers: _middle(found) for workers, found in runs.items()}
    figures = [figure for chosen in middle.values() for figure in _figures(chosen)]
    figures += _memory(middle[1])
    disk = {part: disk_bytes(arena.stack.folder / part) for part in ("kafka", "redis")}
    figures += [Figure(f"disk used by {part}", size / 1e6, "MB") for part, size in disk.items()]
    note = (
        f"{arena.population.members:,} members with 112 remembered ids, median of {repeats}; time by stage is that "
        "of chunks, which overlap: publish and commit are mostly waiting"
    )
    if again := sum(one.again for one in published):
        note += f"; {again:,} facts came twice: chunks were dropped after they had published, and decided again"
    return Section("End to end", figures, {"runs": runs, "disk_bytes": disk}, note), middle


def _middle(runs: list[Run]) -> Run:
    figure = median_low([run.warm_per_second for run in runs])
    return next(run for run in runs if run.warm_per_second == figure)


def _figures(run: Run) -> list[Figure]:
    who = "1 worker" if run.workers == 1 else f"{run.workers} workers"
    total = sum(run.cpu_us.values())
    figures = [
        Figure(f"{who}: committed, warm cache", run.warm_per_second, "actions/s", ">=", WANTED[run.workers]),
        Figure(f"{who}: committed, cold cache", run.cold_per_second, "actions/s"),
        Figure(f"{who}: facts published in the run", run.published.facts, "facts"),
        Figure(f"{who}: CPU seconds per million actions", total, "s"),
    ]
    by_process = {"workers": sum(us for name, us in run.cpu_us.items() if name.startswith("worker"))}
    by_process |= {name: us for name, us in run.cpu_us.items() if not name.startswith("worker")}
    figures += [Figure(f"{who}: ... of these {name}", us, "s") for name, us in by_process.items()]
    if run.workers == 1:
        figures += [Figure(f"{who}: stage {name}", us, "us/action") for name, us in run.stage_us.items()]
    return figures


def _memory(run: Run) -> list[Figure]:
    """Of the only worker. What members cost is the slope between populations, under Growth."""
    moments = {"at start": run.rss_before, "with all members cached": run.rss_cached, "at the end": run.rss_end}
    return [Figure(f"1 worker: memory {when}", rss["worker 1"] / 1e6, "MB") for when, rss in moments.items()]


def spread(runs: Sequence[Run]) -> float:
    """How far the fastest is above the slowest."""
    figures = [run.warm_per_second for run in runs]
    return max(figures) / min(figures) - 1 if mean(figures) else float("nan")
