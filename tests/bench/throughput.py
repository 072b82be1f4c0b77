"""Actions per second through running workers: the log is filled beforehand, offsets are read at both ends."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
from prometheus_client.parser import text_string_to_metric_families

from infra.stack import Stack
from schemas.settings import Settings
from schemas.topics import topics
from streams import topics as topic_admin
from streams.log_reader import LogReader
from streams.redis_store import RedisStore
from tests.bench.population import Population, fill, seconds, settle

MEMBERFLOW = Path(sys.executable).with_name("memberflow")
LOOK_SECONDS = 0.1
PATIENCE_SECONDS = 600.0


class Arena:
    """A stack, a log filled for a population, and workers that may be let loose on it again and again."""

    def __init__(self, stack: Stack, log: str, population: Population) -> None:
        self.population = population
        self.env = {**os.environ, **stack.env, "MEMBERFLOW_LOG": log}
        self.stack = stack
        self.settings = Settings(**_settings(stack.env, log))
        self.store = RedisStore(self.settings.redis.url, log)
        self.topic_id = ""
        self.bounds: dict[int, tuple[int, int]] = {}

    async def prepare(self, count: int) -> None:
        """Begin the log and fill it with `count` actions beside the one that brings everybody in."""
        self.command("bootstrap")
        names = topics(self.settings.log, partitions=self.settings.partitions)
        with topic_admin.admin(self.settings.kafka.bootstrap) as client:
            self.topic_id = topic_admin.topic_id(client, names.actions.name)
        self.bounds = await fill(self.settings, self.population, count)

    def command(self, *words: str) -> None:
        """Run a memberflow command to its end."""
        done = subprocess.run([MEMBERFLOW, *words], env=self.env, capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise RuntimeError(f"memberflow {' '.join(words)}: {done.stderr.strip()}")

    async def run(self, workers: int, *, cache: int | None = None, rewrite: bool = False) -> dict[str, Any]:
        """One run from the population's first state to the end of the log."""
        await settle(self.settings, self.store, self.topic_id, self.population)
        facts_before = await self._facts()
        targets = Path(self.stack.folder) / "targets"
        for old in targets.glob("worker-*.json"):
            old.unlink()
        env = dict(self.env)
        if cache is not None:
            env["MEMBERFLOW_WORKER__CACHE_MEMBERS"] = str(cache)
        log = (Path(self.stack.folder) / f"bench-workers-{workers}.log").open("w")
        processes = [
            subprocess.Popen([MEMBERFLOW, "worker"], env=env, stdout=log, stderr=log) for _ in range(workers)
        ]
        try:
            result = await self._measure(processes, rewrite=rewrite)
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(timeout=60)
        result["facts"] = await self._facts() - facts_before
        return result

    async def _measure(self, processes: list[subprocess.Popen[bytes]], *, rewrite: bool) -> dict[str, Any]:
        watched = {f"worker {i + 1}": psutil.Process(p.pid) for i, p in enumerate(processes)}
        watched |= {name: psutil.Process(self.stack.running(name).pid) for name in ("kafka", "redis")}
        began = await self._until(lambda at: sum(at.values()) > len(at), processes)
        cold_from, cold_at = seconds(), sum(began.values())
        idle = {name: process.memory_info().rss for name, process in watched.items()}
        warm = await self._until(lambda at: all(at[p] >= b for p, (b, _) in self.bounds.items()), processes)
        warm_from, cpu = seconds(), _cpu(watched)
        stages = scrape(self.stack)
        if rewrite:
            await asyncio.to_thread(self._rewrite)
        last = await self._until(lambda at: any(at[p] >= e for p, (_, e) in self.bounds.items()), processes)
        warm_to, cpu_after, stages_after = seconds(), _cpu(watched), scrape(self.stack)
        peak = {name: process.memory_info().rss for name, process in watched.items()}
        await self._until(lambda at: all(at[p] >= e for p, (_, e) in self.bounds.items()), processes)
        actions = sum(last.values()) - sum(warm.values())
        return {
            "actions_per_second": actions / (warm_to - warm_from),
            "cold_actions_per_second": (sum(warm.values()) - cold_at) / (warm_from - cold_from),
            "measured_actions": actions,
            "seconds": warm_to - warm_from,
            "cpu_seconds_per_million": {
                name: (cpu_after[name] - cpu[name]) / actions * 1e6 for name in watched
            },
            "stage_us_per_action": {
                stage: (stages_after.get(stage, 0) - stages.get(stage, 0)) / actions * 1e6 for stage in stages_after
            },
            "rss_bytes": peak,
            "rss_idle_bytes": idle,
        }

    async def _until(self, enough: Any, processes: list[subprocess.Popen[bytes]]) -> dict[int, int]:
        deadline = seconds() + PATIENCE_SECONDS
        while seconds() < deadline:
            if any(process.poll() is not None for process in processes):
                raise RuntimeError(f"a worker ended; see {self.stack.folder}/bench-workers-*.log")
            at = {p: o or 0 for p, o in (await self.store.offsets(list(self.bounds))).items()}
            if enough(at):
                return at
            await asyncio.sleep(LOOK_SECONDS)
        raise RuntimeError(f"not done within {PATIENCE_SECONDS:.0f} s")

    async def _facts(self) -> int:
        name = topics(self.settings.log, partitions=self.settings.partitions).facts.name
        async with LogReader(self.settings.kafka.bootstrap, name) as reader:
            return sum([(await reader.bounds(p))[1] for p in range(self.settings.partitions)])

    def _rewrite(self) -> None:
        import redis

        with redis.Redis.from_url(self.settings.redis.url) as client:
            client.bgrewriteaof()


def scrape(stack: Stack) -> dict[str, float]:
    """Seconds spent in each stage, over all workers, from their own metrics."""
    import json
    import urllib.request

    spent: dict[str, float] = {}
    for path in (Path(stack.folder) / "targets").glob("worker-*.json"):
        address = json.loads(path.read_text())[0]["targets"][0]
        text = urllib.request.urlopen(f"http://{address}/metrics", timeout=10).read().decode()
        for family in text_string_to_metric_families(text):
            if family.name == "memberflow_stage_seconds":
                for sample in family.samples:
                    if sample.name.endswith("_sum"):
                        stage = sample.labels["stage"]
                        spent[stage] = spent.get(stage, 0.0) + sample.value
    return spent


def _cpu(watched: Mapping[str, psutil.Process]) -> dict[str, float]:
    times = {name: process.cpu_times() for name, process in watched.items()}
    return {name: found.user + found.system for name, found in times.items()}


def _settings(env: Mapping[str, str], log: str) -> dict[str, Any]:
    """The stack's environment as constructor arguments: this process must not take them from its own."""
    found: dict[str, Any] = {"log": log}
    for name, value in env.items():
        group, _, key = name.removeprefix("MEMBERFLOW_").lower().partition("__")
        if key:
            found.setdefault(group, {})[key] = value
    return found
