"""What only a real Redis can show: crashes, cut files, limits, rights, and scripts called by hand."""

import asyncio
import os
import random
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from streams.errors import MalformedCommit, StateLost, StoreUnavailable, StoreUnsafe, UsageError
from streams.memory_store import MemoryStore
from streams.redis_link import RedisLink, Script, pack
from streams.redis_store import RedisStore
from streams.store import Acquired, Answer, Commit, Dump, Identity, Refused, StateStore, key
from tests.contracts.redis_server import RedisServer, free_port

pytestmark = pytest.mark.real

LOG = "shop-1"
IDENTITY = Identity(LOG, "topic-a", 4)
SEED = int(os.environ.get("SEED", random.randrange(2**32)))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("own-redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def link(server: RedisServer) -> AsyncIterator[RedisLink]:
    """An empty Redis with the settings it was started with."""
    link = RedisLink(server.url)
    await link.call("FLUSHALL")
    yield link
    await link.call("CONFIG", "SET", "maxmemory-policy", "noeviction")
    await link.call("CONFIG", "SET", "maxmemory", 0)
    await link.call("CONFIG", "SET", "appendonly", "yes")
    await link.call("REPLICAOF", "NO", "ONE")
    await link.close()


@pytest.fixture
async def store(server: RedisServer, link: RedisLink) -> AsyncIterator[RedisStore]:
    store = RedisStore(server.url, LOG, answer_timeout_s=2.0)
    yield store
    await store.close()


async def begin(store: StateStore) -> Acquired:
    await store.bootstrap(0, IDENTITY, "life-1")
    acquired = await store.acquire(0, IDENTITY, state_version=1)
    assert isinstance(acquired, Acquired)
    return acquired


def numbered(owned: Acquired, number: int) -> Commit:
    """The n-th of a row of commits; what it writes says n everywhere, so a mixture would be seen."""
    told = b"%d" % number
    return Commit(
        partition=0,
        incarnation=owned.incarnation,
        owner=owned.owner,
        from_offset=number,
        next_offset=number + 1,
        commit_id=f"commit-{number}",
        crc=number,
        partition_state=told,
        states={f"m-{member}": told * 50 for member in range(40)} | {f"new-{number}": told},
        states_gone=[f"new-{number - 1}"],
        timers={f"m-{member}": number for member in range(40)},
        buckets={"b": told},
        pages={f"p-{number}": told},
    )


async def whole(store: StateStore) -> Dump:
    dump = await store.dump(0)
    assert dump is not None
    return dump


# --- the start-up check


async def test_the_check_tells_the_version(store: RedisStore) -> None:
    assert (await store.check()).split(".")[0].isdigit()


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        (
            ("CONFIG", "SET", "maxmemory-policy", "allkeys-lru"),
            "has maxmemory-policy allkeys-lru; start",
        ),
        (("CONFIG", "SET", "appendonly", "no"), "has the AOF off; start Redis with"),
        (("REPLICAOF", "127.0.0.1", "1"), "is a replica; use the address of the master"),
    ],
)
async def test_a_redis_that_may_forget_is_refused(
    store: RedisStore, link: RedisLink, setting: tuple[str, ...], says: str
) -> None:
    await link.call(*setting)
    with pytest.raises(StoreUnsafe, match=says):
        await store.check()


async def test_no_redis_at_the_address_is_said_in_one_line() -> None:
    store = RedisStore(f"redis://:secret@127.0.0.1:{free_port()}/0", LOG)
    with pytest.raises(StoreUnavailable, match="does not answer") as caught:
        await store.check()
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    await store.close()


def test_an_address_that_is_none_is_a_mistake_of_the_user() -> None:
    with pytest.raises(UsageError, match="not a Redis address"):
        RedisStore("localhost:6379", LOG)


async def test_a_wrong_password_is_a_mistake_of_the_user(server: RedisServer) -> None:
    store = RedisStore(server.url.replace("redis://", "redis://nobody:wrong@"), LOG)
    with pytest.raises(UsageError, match="refuses this user"):
        await store.offsets([0])
    await store.close()


# --- a Redis in trouble


async def test_out_of_memory_refuses_the_whole_commit_and_passes(store: RedisStore, link: RedisLink) -> None:
    owned = await begin(store)
    await link.call("CONFIG", "SET", "maxmemory", 1)
    with pytest.raises(StoreUnavailable, match="cannot now"):
        await store.commit(numbered(owned, 0))
    assert await store.offsets([0]) == {0: 0}
    await link.call("CONFIG", "SET", "maxmemory", 0)
    assert await store.commit(numbered(owned, 0)) == (Answer.OK, "")


async def test_a_redis_that_hangs_is_given_up_and_the_same_commit_sent_again(
    server: RedisServer, link: RedisLink
) -> None:
    store = RedisStore(server.url, LOG, answer_timeout_s=0.3)
    owned = await begin(store)
    server.send(signal.SIGSTOP)
    try:
        with pytest.raises(StoreUnavailable, match="does not answer"):
            await store.commit(numbered(owned, 0))
    finally:
        server.send(signal.SIGCONT)
    answer, _ = await store.commit(numbered(owned, 0))  # it had reached Redis, or not
    assert answer in (Answer.OK, Answer.OK_DUPLICATE)
    assert (await whole(store)).next_offset == 1
    await store.close()


async def test_a_forgotten_script_is_loaded_again(store: RedisStore, link: RedisLink) -> None:
    owned = await begin(store)
    await link.call("SCRIPT", "FLUSH")
    assert await store.commit(numbered(owned, 0)) == (Answer.OK, "")
    assert await store.commit(numbered(owned, 0)) == (Answer.OK_DUPLICATE, "")


async def test_many_partitions_commit_at_once(store: RedisStore) -> None:
    async def partition(number: int) -> int:
        await store.bootstrap(number, IDENTITY, f"life-{number}")
        acquired = await store.acquire(number, IDENTITY, state_version=1)
        assert isinstance(acquired, Acquired)
        for at in range(20):
            commit = msgspec.structs.replace(numbered(acquired, at), partition=number)
            assert await store.commit(commit) == (Answer.OK, "")
        return 20

    done = await asyncio.gather(*(partition(number) for number in range(24)))
    assert await store.offsets(range(24)) == dict(enumerate(done))


async def test_a_cancelled_commit_does_not_poison_the_connection(store: RedisStore) -> None:
    owned = await begin(store)
    for number in range(5):
        task = asyncio.create_task(store.commit(numbered(owned, number)))
        for _ in range(number):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        answer, _ = await store.commit(numbered(owned, number))
        assert answer in (Answer.OK, Answer.OK_DUPLICATE)
        assert await store.offsets([0]) == {0: number + 1}


# --- crashes


async def test_nothing_acknowledged_is_lost_when_redis_is_killed_under_load(tmp_path: Path) -> None:
    """With `everysec` a write is put off while an fsync hangs: then the store goes back, which is `stale`."""
    server = RedisServer(tmp_path, fsync="always")
    server.start()
    store = RedisStore(server.url, LOG)
    twin = MemoryStore(LOG)
    owned, twin_owned = await begin(store), await begin(twin)
    number = kills = unanswered = 0
    try:
        while kills < 3:
            until = number + 40
            killing = asyncio.create_task(asyncio.to_thread(_kill_and_start, server, 0.02 * (kills + 1)))
            while not killing.done() or number < until:
                try:
                    answer, _ = await store.commit(numbered(owned, number))
                except StoreUnavailable:
                    unanswered += 1
                    await asyncio.sleep(0.01)
                    continue
                assert answer in (Answer.OK, Answer.OK_DUPLICATE), f"seed {SEED}, commit {number}"
                await twin.commit(numbered(twin_owned, number))
                number += 1
            kills += 1
        assert unanswered, "no kill met a commit: nothing was shown"
        assert (await whole(store)).digest() == (await whole(twin)).digest()
    finally:
        await store.close()
        server.stop()


def _kill_and_start(server: RedisServer, after_s: float) -> None:
    time.sleep(after_s)
    server.kill()
    server.start()


async def test_an_aof_cut_anywhere_holds_some_commit_and_never_a_mixture(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "whole")
    server.start()
    store = RedisStore(server.url, LOG)
    owned = await begin(store)
    digests = {(await whole(store)).digest(): 0}
    for number in range(6):
        await store.commit(numbered(owned, number))
        digests[(await whole(store)).digest()] = number + 1
    await store.close()
    server.stop()

    chance = random.Random(SEED)
    size = _aof(tmp_path / "whole").stat().st_size
    seen = set()
    for cut in (*sorted(chance.sample(range(1, size), 9)), size):
        seen.add(await _offset_after_cut(tmp_path, cut, digests))
    assert max(seen) == 6, f"seed {SEED}"
    assert len(seen) > 2, f"seed {SEED}: the cuts fell too close together"


async def _offset_after_cut(tmp_path: Path, cut: int, digests: dict[str, int]) -> int:
    folder = tmp_path / f"cut-{cut}"
    shutil.copytree(tmp_path / "whole", folder)
    os.truncate(_aof(folder), cut)
    server = RedisServer(folder)
    server.start()
    store = RedisStore(server.url, LOG)
    try:
        dump = await store.dump(0)
        if dump is None:
            return -1
        assert dump.digest() in digests, f"seed {SEED}: a mixture after a cut at {cut}"
        assert digests[dump.digest()] == dump.next_offset
        return dump.next_offset
    finally:
        await store.close()
        server.stop()


def _aof(folder: Path) -> Path:
    """Redis 7 keeps its increments in a folder, Redis 6 has one file."""
    [file] = [*folder.glob("appendonlydir/*.incr.aof"), *folder.glob("appendonly.aof")]
    return file


# --- scripts called by hand


Mutation = Callable[[list[bytes]], list[bytes]]
GOOD = [b"life-1", b"OWNER", b"0", b"1", b"id", b"7", b"state"]
GOOD += [b"2", b"m-1", b"new", b"1", b"m-2", b"2", b"5", b"m-1", b"0", b"0", b"0", b"0", b"0"]


@pytest.mark.parametrize(
    ("what", "mutate"),
    [
        ("one argument short", lambda good: good[:-1]),
        ("one too many", lambda good: [*good, b"x"]),
        ("no sections", lambda good: good[:7]),
        ("no partition state", lambda good: good[:6]),
        ("a count that is no number", lambda good: [*good[:7], b"two", *good[8:]]),
        ("an odd count", lambda good: [*good[:7], b"1", *good[8:]]),
        ("a negative count", lambda good: [*good[:7], b"-2", *good[8:]]),
        ("a count beyond the end", lambda good: [*good[:7], b"2000000", *good[8:]]),
        ("a timer that is no number", lambda good: [*good[:13], b"nan", *good[14:]]),
        ("a negative timer", lambda good: [*good[:13], b"-5", *good[14:]]),
        ("an offset that does not move", lambda good: [*good[:3], b"0", *good[4:]]),
        ("an offset that is no number", lambda good: [*good[:3], b"1e3", *good[4:]]),
        ("no commit id", lambda good: [*good[:4], b"other", b"crc", *good[6:]]),
    ],
)
async def test_a_malformed_call_writes_nothing(store: RedisStore, link: RedisLink, what: str, mutate: Mutation) -> None:
    owned = await begin(store)
    before = await whole(store)
    keys = [key(LOG, 0, part) for part in ("header", "states", "timers", "buckets", "pages")]
    arguments = [owned.owner.encode() if argument == b"OWNER" else argument for argument in mutate(GOOD)]
    with pytest.raises(MalformedCommit, match="refuses a command"):
        await link.run(Script("commit.lua"), keys, arguments)
    assert await whole(store) == before, what
    good = [owned.owner.encode() if argument == b"OWNER" else argument for argument in GOOD]
    assert await link.run(Script("commit.lua"), keys, good) == [b"ok", b""]


async def test_no_key_of_a_begun_partition_expires_and_no_staged_one_stays(store: RedisStore, link: RedisLink) -> None:
    owned = await begin(store)
    await store.commit(numbered(owned, 0))
    await store.bootstrap(0, IDENTITY, "life-2", dump=await whole(store), replace=True)
    names = await link.call("KEYS", "*")
    assert sorted(names) == sorted(
        key(LOG, 0, part).encode() for part in ("header", "states", "timers", "buckets", "pages")
    )
    assert [await link.call("TTL", name) for name in names] == [-1] * 5


async def test_a_bootstrap_that_lost_part_of_what_it_staged_changes_nothing(store: RedisStore, link: RedisLink) -> None:
    keys = [key(LOG, 0, part) for part in ("header", "states", "timers", "buckets", "pages")]
    staged = [f"{name}-staged" for name in keys[1:]]
    arguments = [b"0", b"1", b"0", b"0", b"0", b"incarnation", b"life-1"]
    assert await link.run(Script("bootstrap.lua"), [*keys, *staged], arguments) == [
        b"torn",
        staged[0].encode(),
    ]
    assert await store.dump(0) is None


async def test_a_damaged_halt_is_not_overlooked(store: RedisStore, link: RedisLink) -> None:
    await begin(store)
    await link.call("SET", key(LOG, 0, "halted"), "text")
    detail = f"{key(LOG, 0, 'halted')} is a string"
    assert await store.acquire(0, IDENTITY, state_version=1) == Refused(answer="HALTED", detail=detail)
    with pytest.raises(StateLost, match="wrong type"):
        await store.halt(0, "a reason")
    assert await store.halted([0]) == {0: detail}


NEEDED = [
    "hmget",
    "hget",
    "hset",
    "hdel",
    "hgetall",
    "zadd",
    "zrem",
    "zrange",
    "zcard",
    "type",
    "multi",
    "exec",
]
WORKER_RIGHTS = ["-@all", *(f"+{command}" for command in ["evalsha", "script|load", "info", *NEEDED])]


@pytest.mark.parametrize("missing", ["+hset", "+hdel", "+zadd", "+zrem", "+type", "+hmget"])
async def test_a_missing_right_is_met_when_acquiring_and_not_halfway_through_a_commit(
    server: RedisServer, store: RedisStore, link: RedisLink, missing: str
) -> None:
    await begin(store)
    before = await whole(store)
    rights = [right for right in WORKER_RIGHTS if right != missing]
    await link.call("ACL", "SETUSER", "worker", "reset", "on", ">pass", f"~{{{LOG}:*", *rights)
    worker = RedisStore(server.url.replace("redis://", "redis://worker:pass@"), LOG)
    with pytest.raises(UsageError, match="refuses this user"):
        await worker.acquire(0, IDENTITY, state_version=2)
    await worker.close()
    assert await whole(store) == before


@pytest.mark.parametrize("field", ["offset", "crc", "state", "version", "log", "topic_id", "partitions"])
async def test_a_header_without_one_of_its_fields_is_lost(store: RedisStore, link: RedisLink, field: str) -> None:
    await begin(store)
    await link.call("HDEL", key(LOG, 0, "header"), field)
    detail = f"{key(LOG, 0, 'header')} has no {field}"
    assert await store.acquire(0, IDENTITY, state_version=1) == Refused(answer="LOST", detail=detail)


@pytest.mark.parametrize("field", ["offset", "crc", "version"])
async def test_a_header_whose_number_is_none_is_lost(store: RedisStore, link: RedisLink, field: str) -> None:
    await begin(store)
    await link.call("HSET", key(LOG, 0, "header"), field, "many")
    detail = f"{key(LOG, 0, 'header')} has {field} many"
    assert await store.acquire(0, IDENTITY, state_version=1) == Refused(answer="LOST", detail=detail)


async def test_a_worker_needs_no_more_than_these_rights(
    server: RedisServer, store: RedisStore, link: RedisLink
) -> None:
    await begin(store)
    await link.call("ACL", "SETUSER", "worker", "reset", "on", ">pass", f"~{{{LOG}:*", *WORKER_RIGHTS)
    limited = server.url.replace("redis://", "redis://worker:pass@")
    worker, other_log = RedisStore(limited, LOG), RedisStore(limited, "other-1")
    try:
        await worker.check()
        owned = await worker.acquire(0, IDENTITY, state_version=1)
        assert isinstance(owned, Acquired)
        assert await worker.commit(numbered(owned, 0)) == (Answer.OK, "")
        assert (await worker.load(0, ["m-1"])) == [b"0" * 50]
        assert (await worker.dump(0)) == await whole(store)
        await worker.halt(0, "why")
        assert await worker.halted([0]) == {0: "why"}
        assert await worker.resume(0)
        forbidden: tuple[Callable[[], Awaitable[object]], ...] = (
            lambda: worker.wipe(0),
            lambda: worker.bootstrap(1, IDENTITY, "life-1"),
            lambda: other_log.load(0, ["m-1"]),
        )
        for call in forbidden:
            with pytest.raises(UsageError, match="refuses this user"):
                await call()
        for command in (("FLUSHALL",), ("CONFIG", "GET", "*"), ("KEYS", "*"), ("EVAL", "return 1", 0)):
            with pytest.raises(UsageError, match="refuses this user"):
                await worker._link.call(*command)
    finally:
        await worker.close()
        await other_log.close()
        await link.call("ACL", "DELUSER", "worker")


@pytest.mark.parametrize("command", [[b"PING"], [b"SET", b"k", b""], [b"SET", b"\r\n", b"\x00" * 70_000]])
def test_a_packed_command_is_what_the_protocol_says(command: list[bytes]) -> None:
    said = b"*%d\r\n" % len(command) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in command)
    assert pack(command) == said
