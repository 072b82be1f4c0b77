"""A state store with the levers a contract test pulls: lose a reply, go back, lose all, spoil a key.

Each store pulls them in its own way: the double by its hooks, Redis by its own commands and by a
proxy that eats an answer.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Protocol

import msgspec

from streams.errors import StoreUnavailable
from streams.memory_store import MemoryStore
from streams.redis_link import RedisLink
from streams.redis_store import RedisStore
from streams.store import PARTS, Acquired, Commit, Dump, Identity, Part, StateStore, key

from .redis_server import RedisServer


class StoreBench(Protocol):
    """What the suite needs of a store beside the port."""

    log: str

    @property
    def store(self) -> StateStore:
        """The store under test; another one after a restart."""

    async def commit_and_lose_the_reply(self, commit: Commit) -> None:
        """The commit is in, the caller does not know."""

    async def save(self, partition: int) -> None:
        """Remember the partition as it is now."""

    async def go_back(self, partition: int) -> None:
        """Put back what was remembered."""

    async def flush(self) -> None:
        """FLUSHALL."""

    async def spoil(self, partition: int, part: Part) -> None:
        """Put a string where this part belongs."""

    async def heal(self, partition: int, part: Part) -> None:
        """Put this one part back as it was remembered."""

    async def restart(self) -> None:
        """End the store's process without warning once its log is written, begin another."""

    async def close(self) -> None:
        """Let go of everything."""


def identity_of(bench: StoreBench) -> Identity:
    return Identity(bench.log, "topic-a", 12)


async def acquire(bench: StoreBench, partition: int = 0) -> Acquired:
    acquired = await bench.store.acquire(partition, identity_of(bench), state_version=1)
    assert isinstance(acquired, Acquired), acquired
    return acquired


def commit_of(owned: Acquired, **changes: object) -> Commit:
    """A commit of ten records by this owner, with a bit of everything."""
    commit = Commit(
        partition=0,
        incarnation=owned.incarnation,
        owner=owned.owner,
        from_offset=owned.next_offset,
        next_offset=owned.next_offset + 10,
        commit_id=f"commit-at-{owned.next_offset}",
        crc=4_000_000_000,
        partition_state=b"clock and programme\x00\xff",
        states={"m-1": b"state one", "会员-2": b"\x00\r\n\xff"},
        timers={"m-1": 1_700_000_000_123},
        buckets={"hour|cn-east|check_in": b"7"},
        pages={"m-1|0": b"ids" * 80},
    )
    return msgspec.structs.replace(commit, **changes)


async def whole(store: StateStore, partition: int = 0) -> Dump:
    dump = await store.dump(partition)
    assert dump is not None
    return dump


class MemoryBench:
    """The double."""

    def __init__(self, log: str) -> None:
        self.log = log
        self.store = MemoryStore(log)
        self._saved: dict[int, Dump] = {}

    async def commit_and_lose_the_reply(self, commit: Commit) -> None:
        def fail(moment: str) -> None:
            if moment == "after_commit":
                raise StoreUnavailable("the reply was lost")

        self.store.fail = fail
        try:
            await self.store.commit(commit)
        finally:
            self.store.fail = lambda moment: None

    async def save(self, partition: int) -> None:
        dump = await self.store.dump(partition)
        assert dump is not None
        self._saved[partition] = dump

    async def go_back(self, partition: int) -> None:
        self.store.rewind(partition, self._saved[partition])

    async def flush(self) -> None:
        self.store.clear()

    async def spoil(self, partition: int, part: Part) -> None:
        self.store.spoil(partition, part)

    async def heal(self, partition: int, part: Part) -> None:
        self.store.heal(partition, part)

    async def restart(self) -> None:
        self.store = MemoryStore(self.log)

    async def close(self) -> None:
        await self.store.close()


class RedisBench:
    """The real thing."""

    def __init__(self, log: str, server: RedisServer) -> None:
        self.log = log
        self.store = RedisStore(server.url, log)
        self._server = server
        self._link = RedisLink(server.url)
        self._saved: dict[str, bytes | None] = {}

    async def commit_and_lose_the_reply(self, commit: Commit) -> None:
        async with eating_the_reply(self._server.port, b"\r\nEVALSHA\r\n") as port:
            store = RedisStore(f"redis://127.0.0.1:{port}/0", self.log)
            try:
                await store.commit(commit)
            finally:
                await store.close()

    async def save(self, partition: int) -> None:
        for name in self._names(partition):
            self._saved[name] = await self._link.call("DUMP", name)

    async def go_back(self, partition: int) -> None:
        for name in self._names(partition):
            await self._put_back(name)

    async def flush(self) -> None:
        await self._link.call("FLUSHALL")

    async def spoil(self, partition: int, part: Part) -> None:
        await self._link.call("SET", key(self.log, partition, part), "spoiled")

    async def heal(self, partition: int, part: Part) -> None:
        await self._put_back(key(self.log, partition, part))

    async def restart(self) -> None:
        await self._written()
        await asyncio.to_thread(self._server.kill)
        await asyncio.to_thread(self._server.start)

    async def close(self) -> None:
        await self.store.close()
        await self._link.close()

    async def _written(self) -> None:
        """While the disk is busy with a sync, `everysec` may hold back what it acknowledged for up to 2 s."""
        until = asyncio.get_running_loop().time() + 10
        while b"aof_buffer_length:0" not in await self._link.call("INFO", "persistence"):
            assert asyncio.get_running_loop().time() < until, "Redis does not write its log"
            await asyncio.sleep(0.05)

    async def _put_back(self, name: str) -> None:
        saved = self._saved[name]
        await self._link.call("DEL", name)
        if saved is not None:
            await self._link.call("RESTORE", name, 0, saved)

    def _names(self, partition: int) -> list[str]:
        return [key(self.log, partition, part) for part in PARTS]


@contextlib.asynccontextmanager
async def eating_the_reply(upstream_port: int, command: bytes) -> AsyncIterator[int]:
    """A proxy that passes all, except that the reply to this command is dropped with the connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        redis_reader, redis_writer = await asyncio.open_connection("127.0.0.1", upstream_port)
        seen = b""

        async def forward() -> None:
            nonlocal seen
            while data := await reader.read(1 << 16):
                seen = seen[-64:] + data[:64] if command not in seen else seen
                redis_writer.write(data)
                await redis_writer.drain()

        task = asyncio.create_task(forward())
        with contextlib.suppress(ConnectionError):
            while data := await redis_reader.read(1 << 16):
                if command in seen:
                    break
                writer.write(data)
                await writer.drain()
        task.cancel()
        for end in (writer, redis_writer):
            end.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()
