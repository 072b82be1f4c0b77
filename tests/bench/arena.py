"""A log on a stack, a population that lives in its store, and processes that may be let loose on it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from infra.stack import Stack
from schemas import partition as partition_codec
from schemas.settings import Settings
from schemas.topics import topics
from streams import topics as topic_admin
from streams.log_reader import LogReader
from streams.redis_store import RedisStore
from tests.bench.failed import BenchFailed
from tests.bench.past import settle
from tests.bench.population import Population, fill
from tests.bench.published import Published, Standing, Tally, told

MEMBERFLOW = [sys.executable, "-m", "streams.cli"]
END_SECONDS = 60.0
COMMAND_SECONDS = 120.0


class Arena:
    """One log. `prepare` once, `settle` before every run."""

    def __init__(
        self, stack: Stack, log: str, population: Population, *, cache: int = 0, profiles: Path | None = None
    ) -> None:
        self.stack, self.population, self.profiles = stack, population, profiles
        self.env = {**os.environ, **stack.env, "MEMBERFLOW_LOG": log, "MEMBERFLOW_LOG_LEVEL": "warning"}
        # Members are not spread evenly over partitions, and the cache is bounded per partition.
        self.env["MEMBERFLOW_WORKER__CACHE_MEMBERS"] = str(cache or 2 * population.members)
        self.settings = settings_of(stack.env, log)
        self.store = RedisStore(self.settings.redis.url, log)
        self.names = topics(log, partitions=self.settings.partitions)
        self.topic_id = ""
        self.bounds: dict[int, tuple[int, int]] = {}

    async def prepare(self, count: int) -> None:
        """Begin the log; with a `count`, fill it with everybody once and then that many actions."""
        await asyncio.to_thread(self.command, "bootstrap")
        with topic_admin.admin(self.settings.kafka.bootstrap) as client:
            self.topic_id = str(topic_admin.topic_id(client, self.names.actions.name))
        if count:
            self.bounds = await fill(self.settings, self.population, count)

    async def settle(self) -> None:
        """The population as it was before the log's first action."""
        for old in self.targets.glob("*.json"):
            old.unlink()
        await settle(self.settings, self.store, self.topic_id, self.population)

    async def wipe(self) -> None:
        """Make room in the store for another population."""
        for partition in range(self.settings.partitions):
            await self.store.wipe(partition)

    def command(self, *words: str) -> None:
        """Run a memberflow command to its end."""
        command = [*MEMBERFLOW, *words]
        done = subprocess.run(
            command, env=self.env, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
        )
        if done.returncode:
            raise BenchFailed(f"memberflow {' '.join(words)}: {done.stderr.strip()}")

    @contextmanager
    def running(self, *commands: Sequence[str]) -> Iterator[list[subprocess.Popen[bytes]]]:
        """Python modules as processes, ended in order at the end."""
        processes: list[subprocess.Popen[bytes]] = []
        log = self.stack.folder / f"{self.settings.log}-processes.log"
        try:
            with log.open("ab") as out:
                for command in commands:
                    arguments = [sys.executable, *command]
                    processes.append(subprocess.Popen(arguments, env=self.env, stdout=out, stderr=out))
            yield processes
        except BenchFailed as error:
            if not hasattr(error, "__notes__"):
                error.add_note(log.read_text(errors="replace")[-2_000:])
            raise
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                ended(process)

    def worker(self, number: int = 1) -> list[str]:
        """The command of a worker, profiled where asked."""
        command = ["-m", "streams.cli", "worker"]
        if self.profiles is None:
            return command
        self.profiles.mkdir(parents=True, exist_ok=True)
        return ["-m", "cProfile", "-o", str(self.profiles / f"{self.settings.log}-{number}.prof"), *command]

    async def offsets(self) -> dict[int, int]:
        """The committed offset of each partition."""
        found = await self.store.offsets(range(self.settings.partitions))
        return {partition: offset or 0 for partition, offset in found.items()}

    async def facts(self) -> dict[int, int]:
        """Where the topic of facts ends."""
        async with LogReader(self.settings.kafka.bootstrap, self.names.facts.name) as reader:
            bounds = await reader.all_bounds(range(self.settings.partitions))
        return {partition: end for partition, (_, end) in bounds.items()}

    async def published(self, since: dict[int, int]) -> Published:
        """What was published since the topic of facts ended there. Workers must have ended."""
        tallies = {partition: Tally(partition, end) for partition, (_, end) in self.bounds.items()}
        ends = await self.facts()
        async with LogReader(self.settings.kafka.bootstrap, self.names.facts.name) as reader:
            async for records in reader.read_all({p: (since[p], ends[p]) for p in tallies}):
                tally = tallies[records[0].partition]
                for record in records:
                    tally.take(record.value)
        return told(tallies, await self._standing())

    async def _standing(self) -> dict[int, Standing]:
        headers = await self.store.headers(range(self.settings.partitions))
        found = {p: (it.next_offset, partition_codec.decode(it.partition_state).n) for p, it in headers.items() if it}
        return {partition: Standing(*where) for partition, where in found.items()}

    async def close(self) -> None:
        """Let go of connections."""
        await self.store.close()

    @property
    def targets(self) -> Path:
        """Where processes say on which port their metrics are."""
        return self.stack.folder / "targets"

    def redis(self) -> redis.Redis:
        """A plain connection, for what no worker does."""
        return redis.Redis.from_url(self.settings.redis.url)


def ended(process: subprocess.Popen[bytes]) -> None:
    """Wait for a process that was asked to end; kill it where it does not."""
    try:
        process.wait(timeout=END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def settings_of(env: Mapping[str, str], log: str) -> Settings:
    """The stack's environment as settings: those of the caller's own environment do not count."""
    found: dict[str, Any] = {"log": log}
    for name, value in env.items():
        group, _, key = name.removeprefix("MEMBERFLOW_").lower().partition("__")
        if key:
            found.setdefault(group, {})[key] = value
    return Settings(**found)
