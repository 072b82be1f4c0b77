"""Whether more members make it slower: the same actions over 10,000, 100,000 and 1,000,000 of them."""

from __future__ import annotations

from pathlib import Path

from infra.stack import Stack
from tests.bench.arena import Arena
from tests.bench.figures import Figure, Section
from tests.bench.population import Population
from tests.bench.throughput import Run, run, spread

SPREAD_PERCENT = 30.0
MEMORY_MB = 150.0


async def measure(stack: Stack, sizes: tuple[int, ...], actions: int, profiles: Path | None = None) -> Section:
    """Uniform, the cache holds all; Redis rewrites its file during the largest."""
    runs: list[Run] = []
    for members in sizes:
        largest = members == sizes[-1]
        arena = Arena(stack, f"growth-{members}", Population(members, 12), profiles=profiles)
        await arena.prepare(actions)
        runs.append(await run(arena, 1, rewrite=largest))
        await arena.wipe()
        await arena.close()
    figures = [Figure(f"{it.members:,} members, warm cache", it.warm_per_second, "actions/s") for it in runs]
    figures += [
        Figure(f"{runs[-1].members:,} members, cold cache", runs[-1].cold_per_second, "actions/s"),
        Figure("fastest above slowest, warm", 100 * spread(runs), "%", "<=", SPREAD_PERCENT),
        Figure("memory of a worker per 100,000 members", _slope(runs), "MB", "<=", MEMORY_MB),
    ]
    note = "one worker; Redis rewrites its file during the largest run; memory is the slope from first to last"
    return Section("Growth", figures, {"runs": runs}, note)


def _slope(runs: list[Run]) -> float:
    """What more members cost: buffers of fetches and chunks are the same for the smallest and the largest."""
    first, last = runs[0], runs[-1]
    grown = last.rss_cached["worker 1"] - first.rss_cached["worker 1"]
    return grown / 1e6 / (last.members - first.members) * 100_000
