"""What the tests that look back share: a log with a sink of its own, its states and its tables."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from infra.process import free_ports
from infra.stack import Stack
from schemas import member as member_codec
from schemas.member import MemberState
from schemas.settings import Settings
from streams.analytics import Reader, open_reader
from streams.redis_store import RedisStore
from streams.store import Dump
from streams.wiring import Invocation
from tests.e2e.memberflow import COMMAND, PARTITIONS, Log


class Kept(Log):
    """A log whose facts and aggregates go into an embedded ClickHouse of its own."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        with free_ports(1) as (port,):
            pass
        own = {"MEMBERFLOW_CLICKHOUSE__FOLDER": str(folder / "chdb"), "MEMBERFLOW_CLICKHOUSE__HTTP_PORT": str(port)}
        super().__init__(stack, folder, **own)

    @property
    def settings(self) -> Settings:
        """The settings its commands run with."""
        file = self.folder / "log.env"
        file.write_text("".join(f"{k}={v}\n" for k, v in self.env.items() if k.startswith("MEMBERFLOW_")))
        return Invocation(lambda: 0.0, env_file=file).settings

    @contextmanager
    def sink(self) -> Iterator[None]:
        """The sink, from migrated tables on, until the block ends."""
        self.ok("migrate")
        with (self.folder / "sink.log").open("wb") as file:
            process = subprocess.Popen([str(COMMAND), "sink"], env=self.env, cwd=self.folder, stderr=file)
        try:
            yield
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0, (self.folder / "sink.log").read_text()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    def patiently(self, *arguments: str) -> str:
        """A command that must succeed and may take as long as its test; what it printed."""
        command = [str(COMMAND), *arguments]
        done = subprocess.run(command, env=self.env, cwd=self.folder, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def reader(self) -> Reader:
        """Somebody to ask, while the sink runs."""
        return open_reader(self.settings.clickhouse)

    def store(self) -> RedisStore:
        """Its states."""
        return RedisStore(self.env["MEMBERFLOW_REDIS__URL"], self.name)

    async def images(self) -> list[Dump]:
        """Every partition as it stands."""
        store = self.store()
        try:
            found = [await store.dump(partition) for partition in range(PARTITIONS)]
        finally:
            await store.close()
        assert None not in found
        return [image for image in found if image is not None]

    async def states(self) -> dict[str, MemberState]:
        """Every member as it stands."""
        images = await self.images()
        return {name: member_codec.decode(raw) for image in images for name, raw in image.states.items()}


def flush(store_url: str) -> None:
    """Everything in Redis is gone."""
    with redis.Redis.from_url(store_url) as client:
        client.flushall()
