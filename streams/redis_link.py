"""The wire to Redis: whole commands out, raw answers back, nothing retried.

redis-py's ten retries are off: a script that ran twice would meet its own commit. Commands are packed
here (0.15 us for a field and its value of 500 bytes; hiredis' own packing takes 0.7, redis-py's 3).
"""

import hashlib
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    NoScriptError,
    RedisError,
    ResponseError,
)

from .errors import MalformedCommit, MemberflowError, StateLost, StoreUnavailable, UsageError

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 10.0  # long enough for Redis writing a dump of 80,000 members or waiting for its disk
READ_BYTES = 1 << 17  # as much as asyncio's stream holds; redis-py's 32 kB means four times the wake-ups

# Refusals that pass by themselves or by an operator's hand: disk full, out of memory, loading, failover.
NOT_NOW = {"OOM", "MISCONF", "READONLY", "NOREPLICAS", "LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN"}

Argument = bytes | str | int
Reply = Any  # what RESP2 holds: bytes, int, None, lists of these


class Script:
    """A Lua file beside this module, known to Redis by its hash."""

    def __init__(self, name: str) -> None:
        self.text = Path(__file__).with_name(name).read_bytes()
        self.sha = hashlib.sha1(self.text, usedforsecurity=False).hexdigest().encode()


class RedisLink:
    """Commands over a pool of connections; every failure leaves as one of our errors."""

    def __init__(self, url: str, answer_timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        try:
            self._pool = ConnectionPool.from_url(
                url,
                protocol=2,
                retry=Retry(NoBackoff(), 0),
                socket_timeout=answer_timeout_s,
                socket_connect_timeout=CONNECT_TIMEOUT_S,
                socket_read_size=READ_BYTES,
            )
        except ValueError as error:
            raise UsageError(f"not a Redis address: {error}", remedy="write redis://host:port/0") from error
        address = urlsplit(url)  # never a password, wherever in the address it stands
        self.where = address.netloc.rpartition("@")[2] + address.path

    async def call(self, *command: Argument) -> Reply:
        """One command, one answer."""
        return (await self.pipeline([command]))[0]

    async def pipeline(self, commands: Iterable[Sequence[Argument]]) -> list[Reply]:
        """Several commands in one write; the first refusal is raised after all answers were read."""
        try:
            packed = [pack([encode(argument) for argument in command]) for command in commands]
            return await self._exchange(packed)
        except (RedisError, OSError) as error:
            raise self._told(error) from error

    async def run(self, script: Script, keys: Sequence[str], arguments: list[bytes]) -> Reply:
        """A script. Where Redis does not know it (a restart) it did not run: load it, send the same again."""
        called = [b"EVALSHA", script.sha, b"%d" % len(keys), *map(str.encode, keys)]
        packed = [pack(called + arguments)]
        try:
            try:
                return (await self._exchange(packed))[0]
            except NoScriptError:
                await self._exchange([pack([b"SCRIPT", b"LOAD", script.text])])
                return (await self._exchange(packed))[0]
        except (RedisError, OSError) as error:
            raise self._told(error) from error

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.disconnect()

    async def _exchange(self, packed: list[bytes]) -> list[Reply]:
        connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            await connection.send_packed_command(packed)
            replies: list[Reply] = []
            refusal: ResponseError | None = None
            for _ in packed:
                try:
                    replies.append(await connection.read_response())
                except ResponseError as error:
                    refusal = refusal or error
            if refusal is not None:
                raise refusal
            return replies
        finally:
            await self._pool.release(connection)

    def _told(self, error: Exception) -> MemberflowError:
        """Our error for theirs. Redis 6 wraps a refusal met inside a script: its word may stand anywhere."""
        code = getattr(error, "status_code", None) or ""  # redis-py cuts the first word off where it knows it
        text = f"{code} {error}".strip(" .") or type(error).__name__
        words = {word.lstrip("-") for word in text.split()}
        if isinstance(error, (NoPermissionError, AuthenticationError)) or "can't run this command" in text:
            what = f"Redis at {self.where} refuses this user ({text})"
            return UsageError(what, remedy="check user, password and ACL")
        if not isinstance(error, ResponseError):
            return StoreUnavailable(f"Redis at {self.where} does not answer ({text})")
        if words & NOT_NOW:
            return StoreUnavailable(f"Redis at {self.where} cannot now ({text})")
        if "WRONGTYPE" in words:
            return StateLost(f"a key in Redis at {self.where} has a wrong type ({text})")
        return MalformedCommit(f"Redis at {self.where} refuses a command ({text})")


class _Heads(dict[int, bytes]):
    """What stands before an argument of each length; no commit meets more than some thousand lengths."""

    def __missing__(self, length: int) -> bytes:
        self[length] = b"\r\n$%d\r\n" % length
        return self[length]


_HEADS = _Heads()


def encode(argument: Argument) -> bytes:
    """An argument as the bytes Redis stores."""
    return argument if isinstance(argument, bytes) else str(argument).encode()


def pack(command: Sequence[bytes]) -> bytes:
    """A command on the wire; no Python step per argument."""
    heads = map(_HEADS.__getitem__, map(len, command))
    return b"".join((b"*%d" % len(command), *chain.from_iterable(zip(heads, command, strict=True)), b"\r\n"))
