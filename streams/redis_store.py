"""The state store in Redis: five keys a partition, one script a commit.

Redis must run noeviction with the AOF on. One script call is one MULTI/EXEC block in the AOF, so
state and offset live or die together.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TypeVar

from .errors import StateExists, StateLost, StoreUnsafe
from .redis_link import ANSWER_TIMEOUT_S, Argument, RedisLink, Reply, Script, encode
from .store import PARTS, Acquired, Answer, Commit, Dump, Header, Identity, Part, Refused, first_image, key

SLICE = 4_000  # fields a command: Redis serves nobody else meanwhile, 4,000 states are about a millisecond
STAGED_FOR_S = 86_400  # a bootstrap that was killed leaves no garbage for ever

T = TypeVar("T")
_COMMIT, _ACQUIRE, _BOOTSTRAP = Script("commit.lua"), Script("acquire.lua"), Script("bootstrap.lua")


class RedisStore:
    """The port of `store.py` on one Redis, for the partitions of one log."""

    def __init__(
        self,
        url: str,
        log: str,
        *,
        token: Callable[[], str] | None = None,
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> None:
        self.log = log
        self._link = RedisLink(url, answer_timeout_s)
        self._token = token or _random_token

    async def check(self) -> str:
        """Redis' version; refuses one that may forget what it acknowledged."""
        lines: list[str] = (await self._link.call("INFO")).decode().splitlines()
        info = dict(line.split(":", 1) for line in lines if ":" in line)
        where = f"Redis {info.get('redis_version', '?')} at {self._link.where}"
        if info.get("role") != "master":
            raise StoreUnsafe(f"{where} is a replica", remedy="use the address of the master")
        if info.get("maxmemory_policy") != "noeviction":
            raise StoreUnsafe(f"{where} has maxmemory-policy {info.get('maxmemory_policy')}")
        if info.get("aof_enabled") != "1":
            raise StoreUnsafe(f"{where} has the AOF off")
        return info["redis_version"]

    async def bootstrap(
        self,
        partition: int,
        identity: Identity,
        incarnation: str,
        *,
        dump: Dump | None = None,
        replace: bool = False,
    ) -> None:
        """Begin a partition: stage the image under names of its own, then put it in place by one script."""
        image = first_image(identity, incarnation, dump)
        staged = [self._key(partition, f"{part}-{self._token()}") for part in PARTS[1:]]
        await self._stage(staged[0], "HSET", _fields(image.states))
        await self._stage(staged[1], "ZADD", _scores(image.timers))
        await self._stage(staged[2], "HSET", _fields(image.buckets))
        await self._stage(staged[3], "HSET", _fields(image.pages))
        sizes = [len(part) for part in (image.states, image.timers, image.buckets, image.pages)]
        answer, what = await self._link.run(
            _BOOTSTRAP,
            [*self._keys(partition), *staged],
            [b"%d" % number for number in (replace, *sizes)] + _header_fields(image),
        )
        if answer != b"ok":
            await self._link.call("UNLINK", *staged)
            why = "exists" if answer == b"exists" else "expired while it was staged"
            raise StateExists(f"{what.decode()} {why}")

    async def _stage(self, name: str, command: str, flat: list[bytes]) -> None:
        for some in _slices(flat, 2 * SLICE):
            await self._link.pipeline([(command, name, *some), ("EXPIRE", name, STAGED_FOR_S)])

    async def acquire(self, partition: int, identity: Identity, *, state_version: int) -> Acquired | Refused:
        """Own the partition by one script, then read what must be in memory.

        Reading after the script is safe: whoever takes the partition in between fences our first commit.
        """
        owner = self._token()
        bound: list[Argument] = [owner, state_version, identity.log, identity.topic_id, identity.partitions]
        keys = [*self._keys(partition), self._key(partition, "halted")]
        reply = await self._link.run(_ACQUIRE, keys, [encode(value) for value in bound])
        if reply[0] != b"OK":
            return Refused(answer=reply[0].decode(), detail=reply[1].decode())
        _, incarnation, offset, crc, partition_state = reply
        return Acquired(
            incarnation=incarnation.decode(),
            owner=owner,
            next_offset=int(offset),
            crc=int(crc),
            partition_state=partition_state,
            timers=await self._timers(partition),
            buckets=_as_dict(await self._link.call("HGETALL", self._key(partition, "buckets"))),
        )

    async def _timers(self, partition: int) -> list[tuple[int, str]]:
        name = self._key(partition, "timers")
        count = await self._link.call("ZCARD", name)
        replies = await self._link.pipeline(
            ("ZRANGE", name, at, at + SLICE - 1, "WITHSCORES") for at in range(0, count, SLICE)
        )
        return [(int(armed), member.decode()) for reply in replies for member, armed in _pairs(reply)]

    async def load(self, partition: int, members: Sequence[str]) -> list[bytes | None]:
        """States in the order asked."""
        return await self._read(self._key(partition, "states"), members)

    async def load_pages(self, partition: int, fields: Sequence[str]) -> list[bytes | None]:
        """Pages in the order asked."""
        return await self._read(self._key(partition, "pages"), fields)

    async def _read(self, name: str, fields: Sequence[str]) -> list[bytes | None]:
        replies = await self._link.pipeline(("HMGET", name, *some) for some in _slices(fields, SLICE))
        return list(chain.from_iterable(replies))

    async def commit(self, commit: Commit) -> tuple[Answer, str]:
        """Everything or nothing, by `commit.lua`. After `StoreUnavailable` send the same commit again."""
        commit.check()
        answer, detail = await self._link.run(_COMMIT, self._keys(commit.partition), _arguments(commit))
        return Answer(answer.decode()), detail.decode()

    async def ask(self, partition: int, incarnation: str, owner: str, offset: int) -> tuple[Answer, str]:
        """What a commit would be answered now."""
        name = self._key(partition, "header")
        found = await self._link.call("HMGET", name, "incarnation", "owner", "offset")
        theirs = [(value or b"").decode() for value in found]
        kinds = (Answer.LOST, Answer.FENCED, Answer.STALE)
        for kind, there, ours in zip(kinds, theirs, (incarnation, owner, str(offset)), strict=True):
            if there != ours:
                return kind, there
        return Answer.OK, ""

    async def dump(self, partition: int) -> Dump | None:
        """All five keys in one MULTI/EXEC, so always between two commits."""
        header, states, timers, buckets, pages = self._keys(partition)
        reads = [
            ("HGETALL", header),
            ("HGETALL", states),
            ("ZRANGE", timers, 0, -1, "WITHSCORES"),
            ("HGETALL", buckets),
            ("HGETALL", pages),
        ]
        *_, replies = await self._link.pipeline([("MULTI",), *reads, ("EXEC",)])
        for reply in replies:
            if isinstance(reply, Exception):
                raise StateLost(f"partition {partition} of {self.log} cannot be read ({reply})")
        return _dump(*replies) if replies[0] else None

    async def offsets(self, partitions: Sequence[int]) -> dict[int, int | None]:
        """Next offset to read per partition."""
        found = await self._each(partitions, "header", "offset")
        return {partition: int(reply[0]) if reply and reply[0] else None for partition, reply in found}

    async def headers(self, partitions: Sequence[int]) -> dict[int, Header | None]:
        """The head of each partition; one command a partition, so it is of one commit."""
        found = await self._each(partitions, "header", *_HEADER)
        return {partition: _header(reply) if reply else None for partition, reply in found}

    async def halt(self, partition: int, reason: str) -> None:
        """Refuse the partition to every owner, in a key of its own that outlives a rebuild."""
        await self._link.call("HSET", self._key(partition, "halted"), "reason", reason)

    async def halted(self, partitions: Sequence[int]) -> dict[int, str]:
        """The halted ones among these."""
        halted = {}
        for partition, reply in await self._each(partitions, "halted", "reason"):
            if reply is None:
                name = self._key(partition, "halted")
                halted[partition] = f"{name} is a {(await self._link.call('TYPE', name)).decode()}"
            elif reply[0] is not None:
                halted[partition] = reply[0].decode()
        return halted

    async def resume(self, partition: int) -> bool:
        """Take the halt away."""
        name = self._key(partition, "halted")
        try:
            return bool(await self._link.call("HDEL", name, "reason"))
        except StateLost:
            return bool(await self._link.call("UNLINK", name))

    async def wipe(self, partition: int) -> None:
        """Forget the partition by one command."""
        await self._link.call("UNLINK", *self._keys(partition))

    async def close(self) -> None:
        """Close the connections."""
        await self._link.close()

    async def _each(
        self, numbers: Sequence[int], part: Part, *fields: str
    ) -> list[tuple[int, list[bytes | None] | None]]:
        """The same fields of each partition's hash; None for a key that is no hash: it must not hide the others."""
        try:
            replies = await self._link.pipeline(("HMGET", self._key(number, part), *fields) for number in numbers)
        except StateLost:
            if len(numbers) == 1:
                return [(numbers[0], None)]
            return [pair for number in numbers for pair in await self._each([number], part, *fields)]
        return list(zip(numbers, replies, strict=True))

    def _key(self, partition: int, part: str) -> str:
        return key(self.log, partition, part)

    def _keys(self, partition: int) -> list[str]:
        return [key(self.log, partition, part) for part in PARTS]


def _random_token() -> str:
    return secrets.token_hex(8)


def _arguments(commit: Commit) -> list[bytes]:
    """The script's arguments, flat. No Python step per member: this is on the way of every action."""
    flat = [
        commit.incarnation.encode(),
        commit.owner.encode(),
        b"%d" % commit.from_offset,
        b"%d" % commit.next_offset,
        commit.commit_id.encode(),
        b"%d" % commit.crc,
        commit.partition_state,
    ]
    for part, gone in (
        (_fields(commit.states), commit.states_gone),
        (_scores(commit.timers), commit.timers_gone),
        (_fields(commit.buckets), commit.buckets_gone),
        (_fields(commit.pages), commit.pages_gone),
    ):
        flat.append(b"%d" % len(part))
        flat.extend(part)
        flat.append(b"%d" % len(gone))
        flat.extend(map(str.encode, gone))
    return flat


def _fields(values: Mapping[str, bytes]) -> list[bytes]:
    """What HSET takes: field, value, field, value."""
    return list(chain.from_iterable(zip(map(str.encode, values), values.values(), strict=True)))


def _scores(timers: Mapping[str, int]) -> list[bytes]:
    """What ZADD takes: score, member, score, member."""
    armed = map(str.encode, map(str, timers.values()))
    return list(chain.from_iterable(zip(armed, map(str.encode, timers), strict=True)))


def _header_fields(image: Dump) -> list[bytes]:
    fields: dict[str, Argument] = {
        "incarnation": image.incarnation,
        "owner": "",
        "commit_id": "",
        "log": image.identity.log,
        "topic_id": image.identity.topic_id,
        "partitions": image.identity.partitions,
        "version": image.state_version,
        "crc": image.crc,
        "state": image.partition_state,
        "offset": image.next_offset,
    }
    return [encode(part) for field in fields.items() for part in field]


_HEADER = ("log", "topic_id", "partitions", "offset", "version", "state")


def _header(values: list[bytes | None]) -> Header | None:
    if None in values:
        return None
    log, topic_id, partitions, offset, version, state = (value or b"" for value in values)
    identity = Identity(log.decode(), topic_id.decode(), int(partitions))
    return Header(identity, int(offset), int(version), state)


def _dump(header: Reply, states: Reply, timers: Reply, buckets: Reply, pages: Reply) -> Dump:
    fields = _as_dict(header)
    text = {name: value.decode() for name, value in fields.items() if name != "state"}
    return Dump(
        identity=Identity(text["log"], text["topic_id"], int(text["partitions"])),
        incarnation=text["incarnation"],
        owner=text["owner"],
        next_offset=int(text["offset"]),
        commit_id=text["commit_id"],
        crc=int(text["crc"]),
        state_version=int(text["version"]),
        partition_state=fields["state"],
        states=_as_dict(states),
        timers={member.decode(): int(armed) for member, armed in _pairs(timers)},
        buckets=_as_dict(buckets),
        pages=_as_dict(pages),
    )


def _as_dict(flat: list[bytes]) -> dict[str, bytes]:
    return {field.decode(): value for field, value in _pairs(flat)}


def _pairs(flat: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
    each = iter(flat)
    return zip(each, each, strict=True)


def _slices(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (values[at : at + size] for at in range(0, len(values), size))
