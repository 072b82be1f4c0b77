"""What every state store promises. Runs on the double and on a real Redis."""

import itertools
import os
import random
import re
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest

from streams.errors import MalformedCommit, StateExists, StateLost, StoreUnavailable, UsageError
from streams.store import (
    HIGHEST_ARMED_MS,
    PARTS,
    Acquired,
    Answer,
    Dump,
    Identity,
    Part,
    Refused,
    StateStore,
)

from .redis_server import RedisServer
from .store_benches import MemoryBench, RedisBench, StoreBench, acquire, commit_of, identity_of, whole

_logs = (f"contract-{number}" for number in itertools.count(1))


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.real)])
def unclosed_bench(request: pytest.FixtureRequest) -> StoreBench:
    if request.param == "memory":
        return MemoryBench(next(_logs))
    server: RedisServer = request.getfixturevalue("redis")
    return RedisBench(next(_logs), server)


@pytest.fixture
async def bench(unclosed_bench: StoreBench) -> AsyncIterator[StoreBench]:
    yield unclosed_bench
    await unclosed_bench.close()


@pytest.fixture
def store(bench: StoreBench) -> StateStore:
    return bench.store


@pytest.fixture
async def owned(bench: StoreBench) -> Acquired:
    """Partition 0, begun and acquired."""
    await bench.store.bootstrap(0, identity_of(bench), "life-1")
    return await acquire(bench)


# --- beginning and owning


async def test_a_partition_nobody_began_is_empty_and_has_no_offset(bench: StoreBench) -> None:
    refused = await bench.store.acquire(0, identity_of(bench), state_version=1)
    assert refused == Refused(answer="EMPTY", detail="")
    assert await bench.store.dump(0) is None
    assert await bench.store.offsets([0, 5]) == {0: None, 5: None}


async def test_a_partition_begins_at_offset_zero_with_nothing(owned: Acquired, store: StateStore) -> None:
    assert (owned.incarnation, owned.next_offset, owned.crc) == ("life-1", 0, 0)
    assert (owned.partition_state, owned.timers, owned.buckets) == (b"", [], {})
    assert await store.offsets([0]) == {0: 0}


async def test_every_acquisition_has_an_owner_of_its_own(owned: Acquired, bench: StoreBench) -> None:
    assert owned.owner
    assert (await acquire(bench)).owner != owned.owner


async def test_bootstrap_refuses_where_a_header_is(owned: Acquired, bench: StoreBench) -> None:
    await bench.store.commit(commit_of(owned))
    before = await whole(bench.store)
    with pytest.raises(StateExists, match=r"exists; nothing was changed"):
        await bench.store.bootstrap(0, identity_of(bench), "life-2")
    assert await whole(bench.store) == before


async def test_bootstrap_refuses_where_only_a_remnant_is(bench: StoreBench) -> None:
    await bench.spoil(0, "pages")
    with pytest.raises(StateExists):
        await bench.store.bootstrap(0, identity_of(bench), "life-1")


async def test_a_partition_begins_from_an_image_of_another_life(owned: Acquired, bench: StoreBench) -> None:
    await bench.store.commit(commit_of(owned))
    image = await whole(bench.store)
    await bench.store.bootstrap(0, identity_of(bench), "life-2", dump=image, replace=True)
    begun = await whole(bench.store)
    assert begun.digest() == image.digest()
    assert (begun.incarnation, begun.owner, begun.commit_id) == ("life-2", "", "")
    answer = await bench.store.commit(commit_of(owned, from_offset=10, next_offset=20))
    assert answer == (Answer.LOST, "life-2")
    assert (await acquire(bench)).timers == [(1_700_000_000_123, "m-1")]


async def test_a_large_image_begins_whole_and_leaves_nothing_beside_it(bench: StoreBench) -> None:
    members = {f"m-{number}": b"%d" % number for number in range(9_001)}
    image = Dump(
        identity=identity_of(bench),
        incarnation="elsewhere",
        owner="someone",
        next_offset=77,
        commit_id="x",
        crc=5,
        state_version=3,
        partition_state=b"p",
        states=members,
        timers={member: len(member) for member in members},
        buckets={},
        pages={"m-1|0": b"page"},
    )
    await bench.store.bootstrap(0, identity_of(bench), "life-1", dump=image)
    assert (await whole(bench.store)).digest() == image.digest()
    refused = await bench.store.acquire(0, identity_of(bench), state_version=2)
    assert refused == Refused(answer="NEWER", detail="state version 3 is above 2")


async def test_an_image_of_another_log_is_refused(owned: Acquired, bench: StoreBench) -> None:
    image = await whole(bench.store)
    with pytest.raises(UsageError, match="the image is of"):
        await bench.store.bootstrap(0, Identity("other", "topic-a", 12), "life-2", dump=image, replace=True)


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"log": "other-log"}, "log is .*, not other-log"),
        ({"topic_id": "topic-b"}, "topic_id is topic-a, not topic-b"),
        ({"partitions": 24}, "partitions is 12, not 24"),
    ],
)
async def test_a_partition_of_something_else_is_refused(
    owned: Acquired, bench: StoreBench, change: dict[str, object], detail: str
) -> None:
    other = msgspec.structs.replace(identity_of(bench), **change)
    refused = await bench.store.acquire(0, other, state_version=1)
    assert isinstance(refused, Refused)
    assert refused.answer == "OTHER"
    assert re.fullmatch(detail, refused.detail)
    assert (await bench.store.commit(commit_of(owned)))[0] is Answer.OK


async def test_older_code_does_not_acquire_what_newer_code_wrote(bench: StoreBench, owned: Acquired) -> None:
    newer = await bench.store.acquire(0, identity_of(bench), state_version=10)
    assert isinstance(newer, Acquired)
    refused = await bench.store.acquire(0, identity_of(bench), state_version=9)
    assert refused == Refused(answer="NEWER", detail="state version 10 is above 9")
    assert (await bench.store.commit(commit_of(newer)))[0] is Answer.OK


# --- what a commit answers


async def test_a_commit_moves_everything_together(owned: Acquired, bench: StoreBench) -> None:
    commit = commit_of(owned)
    assert await bench.store.commit(commit) == (Answer.OK, "")
    dump = await whole(bench.store)
    assert (dump.next_offset, dump.crc, dump.commit_id) == (10, 4_000_000_000, commit.commit_id)
    assert (dump.partition_state, dump.states, dump.timers) == (
        commit.partition_state,
        commit.states,
        commit.timers,
    )
    assert (dump.buckets, dump.pages) == (commit.buckets, commit.pages)
    again = await acquire(bench)
    assert (again.next_offset, again.crc, again.partition_state) == (10, commit.crc, commit.partition_state)
    assert (again.timers, again.buckets) == ([(1_700_000_000_123, "m-1")], dict(commit.buckets))


async def test_a_lost_reply_is_told_apart_from_a_conflict(owned: Acquired, bench: StoreBench) -> None:
    commit = commit_of(owned)
    with pytest.raises(StoreUnavailable):
        await bench.commit_and_lose_the_reply(commit)
    after = await whole(bench.store)
    assert await bench.store.commit(commit) == (Answer.OK_DUPLICATE, "")
    assert await whole(bench.store) == after
    following = commit_of(owned, from_offset=10, next_offset=11, commit_id="b")
    assert await bench.store.commit(following) == (Answer.OK, "")


async def test_only_the_latest_owner_commits(owned: Acquired, bench: StoreBench) -> None:
    latest = await acquire(bench)
    before = await whole(bench.store)
    assert await bench.store.commit(commit_of(owned)) == (Answer.FENCED, latest.owner)
    assert await whole(bench.store) == before
    assert (await bench.store.commit(commit_of(latest)))[0] is Answer.OK


async def test_a_fenced_owner_does_not_mistake_anothers_commit_for_its_own(owned: Acquired, bench: StoreBench) -> None:
    latest = await acquire(bench)
    assert (await bench.store.commit(commit_of(latest)))[0] is Answer.OK
    assert (await bench.store.commit(commit_of(owned)))[0] is Answer.FENCED


@pytest.mark.parametrize(("start", "end"), [(9, 30), (11, 30), (0, 10), (10**15, 10**15 + 1)])
async def test_a_commit_must_begin_where_the_store_stands(
    owned: Acquired, bench: StoreBench, start: int, end: int
) -> None:
    await bench.store.commit(commit_of(owned))
    before = await whole(bench.store)
    skipping = commit_of(owned, from_offset=start, next_offset=end, commit_id="skips")
    assert await bench.store.commit(skipping) == (Answer.STALE, "10")
    assert await whole(bench.store) == before


async def test_a_store_that_went_back_answers_stale(owned: Acquired, bench: StoreBench) -> None:
    await bench.store.commit(commit_of(owned))
    await bench.save(0)
    earlier = await whole(bench.store)
    second = commit_of(owned, from_offset=10, next_offset=20, commit_id="second")
    await bench.store.commit(second)
    await bench.go_back(0)
    third = commit_of(owned, from_offset=20, next_offset=30, commit_id="third")
    assert await bench.store.commit(third) == (Answer.STALE, "10")
    assert await whole(bench.store) == earlier
    assert await bench.store.commit(second) == (Answer.OK, "")


async def test_a_store_that_went_back_before_the_owner_answers_fenced(owned: Acquired, bench: StoreBench) -> None:
    await bench.save(0)
    latest = await acquire(bench)
    await bench.store.commit(commit_of(latest))
    await bench.go_back(0)
    again = commit_of(latest, from_offset=10, next_offset=20, commit_id="second")
    assert await bench.store.commit(again) == (Answer.FENCED, owned.owner)


async def test_a_flushed_store_is_lost_and_stays_empty(owned: Acquired, bench: StoreBench) -> None:
    await bench.store.commit(commit_of(owned))
    await bench.flush()
    later = commit_of(owned, from_offset=10, next_offset=20, commit_id="later")
    assert await bench.store.commit(later) == (Answer.LOST, "")
    assert await bench.store.dump(0) is None
    assert await bench.store.load(0, ["m-1"]) == [None]
    refused = await bench.store.acquire(0, identity_of(bench), state_version=1)
    assert refused == Refused(answer="EMPTY", detail="")


async def test_another_life_is_lost(owned: Acquired, bench: StoreBench) -> None:
    await bench.store.wipe(0)
    await bench.store.bootstrap(0, identity_of(bench), "life-2")
    assert await bench.store.commit(commit_of(owned)) == (Answer.LOST, "life-2")


@pytest.mark.parametrize("part", PARTS)
async def test_a_key_of_a_wrong_type_is_lost_and_nothing_is_written(
    owned: Acquired, bench: StoreBench, part: Part
) -> None:
    await bench.store.commit(commit_of(owned))
    await bench.save(0)
    before = await whole(bench.store)
    await bench.spoil(0, part)
    second = commit_of(owned, from_offset=10, next_offset=20, commit_id="second", states={"m-9": b"new"})
    answer, detail = await bench.store.commit(second)
    assert answer is Answer.LOST
    assert detail.endswith(f":{part} is a string")
    refused = await bench.store.acquire(0, identity_of(bench), state_version=1)
    assert isinstance(refused, Refused)
    assert (refused.answer, refused.detail) == ("LOST", detail)
    with pytest.raises(StateLost):
        await bench.store.dump(0)
    whole_header = part != "header"
    assert await bench.store.offsets([0, 1]) == {0: 10 if whole_header else None, 1: None}
    heads = await bench.store.headers([0, 1])
    assert (heads[0] is not None, heads[1]) == (whole_header, None)
    await bench.heal(0, part)
    assert await whole(bench.store) == before


@pytest.mark.parametrize("part", ["states", "pages"])
async def test_reading_a_key_of_a_wrong_type_is_lost(owned: Acquired, bench: StoreBench, part: Part) -> None:
    await bench.spoil(0, part)
    read = bench.store.load if part == "states" else bench.store.load_pages
    with pytest.raises(StateLost, match=r"wrong type|is a string"):
        await read(0, ["m-1"])


@pytest.mark.parametrize(
    "nonsense",
    [
        {"next_offset": 0},
        {"from_offset": 10},
        {"from_offset": -1},
        {"owner": ""},
        {"incarnation": ""},
        {"commit_id": ""},
        {"crc": -1},
        {"timers": {"m-1": -1}},
        {"timers": {"m-1": HIGHEST_ARMED_MS + 1}},
    ],
)
async def test_a_commit_that_makes_no_sense_writes_nothing(
    owned: Acquired, store: StateStore, nonsense: dict[str, object]
) -> None:
    before = await whole(store)
    with pytest.raises(MalformedCommit):
        await store.commit(commit_of(owned, **nonsense))
    assert await whole(store) == before


# --- what is stored


async def test_what_is_gone_is_gone_even_where_it_is_put_as_well(owned: Acquired, store: StateStore) -> None:
    await store.commit(commit_of(owned))
    second = commit_of(
        owned,
        from_offset=10,
        next_offset=20,
        commit_id="second",
        states={"m-1": b"put and gone", "m-3": b"three"},
        states_gone=["m-1", "never-there"],
        timers={"m-3": 5, "m-4": 6},
        timers_gone=["m-1", "m-4"],
        buckets={},
        buckets_gone=["hour|cn-east|check_in"],
        pages={},
        pages_gone=["m-1|0"],
    )
    assert (await store.commit(second))[0] is Answer.OK
    dump = await whole(store)
    assert dump.states == {"会员-2": b"\x00\r\n\xff", "m-3": b"three"}
    assert (dump.timers, dump.buckets, dump.pages) == ({"m-3": 5}, {}, {})


async def test_a_commit_may_only_move_the_offset(owned: Acquired, store: StateStore) -> None:
    bare = commit_of(owned, states={}, timers={}, buckets={}, pages={})
    assert (await store.commit(bare))[0] is Answer.OK
    assert (await store.offsets([0])) == {0: 10}


async def test_five_thousand_members_in_one_commit(owned: Acquired, bench: StoreBench) -> None:
    members = [f"m-{number}" for number in range(5_000)]
    states = {member: member.encode() * 60 for member in members}
    timers = {member: 1_700_000_000_000 + number for number, member in enumerate(members)}
    pages = {f"{member}|1": b"page" for member in members}
    large = commit_of(owned, states=states, timers=timers, pages=pages)
    assert await bench.store.commit(large) == (Answer.OK, "")
    assert await bench.store.load(0, [*members, "unknown"]) == [*states.values(), None]
    assert await bench.store.load_pages(0, ["unknown", *pages]) == [None, *pages.values()]
    again = await acquire(bench)
    assert again.timers == [(armed, member) for member, armed in timers.items()]
    leaving = commit_of(again, states_gone=members, timers_gone=members)
    assert (await bench.store.commit(leaving))[0] is Answer.OK
    assert (await whole(bench.store)).states == {"会员-2": b"\x00\r\n\xff"}


async def test_timers_come_in_the_order_they_fire(owned: Acquired, bench: StoreBench) -> None:
    timers = {"b": 7, "Z": 7, "é": 7, "a": 7, "late": HIGHEST_ARMED_MS, "early": 0}
    timers["next"] = HIGHEST_ARMED_MS - 1
    await bench.store.commit(commit_of(owned, timers=timers))
    assert (await acquire(bench)).timers == [
        (0, "early"),
        (7, "Z"),
        (7, "a"),
        (7, "b"),
        (7, "é"),
        (HIGHEST_ARMED_MS - 1, "next"),
        (HIGHEST_ARMED_MS, "late"),
    ]


async def test_loading_nothing_asks_for_nothing(owned: Acquired, store: StateStore) -> None:
    assert await store.load(0, []) == []
    assert await store.offsets([]) == {}
    assert await store.halted([]) == {}


async def test_partitions_do_not_touch_each_other(owned: Acquired, bench: StoreBench) -> None:
    await bench.store.bootstrap(1, identity_of(bench), "life-of-1")
    await bench.store.commit(commit_of(owned))
    assert await bench.store.offsets([0, 1, 2]) == {0: 10, 1: 0, 2: None}
    heads = await bench.store.headers([0, 1, 2])
    assert [head and (head.identity, head.next_offset) for head in heads.values()] == [
        (identity_of(bench), 10),
        (identity_of(bench), 0),
        None,
    ]
    assert heads[0] is not None
    assert heads[0].partition_state == (await whole(bench.store)).partition_state
    assert (await bench.store.commit(commit_of(owned, partition=1)))[0] is Answer.LOST
    await bench.store.wipe(0)
    assert await bench.store.offsets([0, 1]) == {0: None, 1: 0}


async def test_a_digest_is_of_the_content_and_of_nothing_else(owned: Acquired, bench: StoreBench) -> None:
    await bench.store.commit(commit_of(owned))
    dump = await whole(bench.store)
    again = await acquire(bench)
    assert again.owner != owned.owner
    assert (await whole(bench.store)).digest() == dump.digest()
    changes: tuple[dict[str, object], ...] = (
        {"next_offset": 11},
        {"partition_state": b"other"},
        {"states": {**dump.states, "m-1": b"state onf"}},
        {"timers": {"m-1": 1_700_000_000_124}},
        {"buckets": {}},
        {"pages": {"m-1|": b"0" + dump.pages["m-1|0"]}},
    )
    for change in changes:
        assert msgspec.structs.replace(dump, **change).digest() != dump.digest(), change


# --- halts


async def test_a_halted_partition_is_refused_with_its_reason_until_it_is_resumed(
    owned: Acquired, bench: StoreBench
) -> None:
    await bench.store.halt(0, "rules: 9 is unknown; 升级")
    refused = await bench.store.acquire(0, identity_of(bench), state_version=1)
    assert refused == Refused(answer="HALTED", detail="rules: 9 is unknown; 升级")
    assert await bench.store.halted([0, 1]) == {0: "rules: 9 is unknown; 升级"}
    assert await bench.store.resume(0) is True
    assert await bench.store.resume(0) is False
    assert await bench.store.halted([0, 1]) == {}
    await acquire(bench)


async def test_whatever_stands_in_the_place_of_a_halt_is_one(owned: Acquired, bench: StoreBench) -> None:
    await bench.spoil(0, "halted")
    refused = await bench.store.acquire(0, identity_of(bench), state_version=1)
    assert isinstance(refused, Refused)
    assert refused.answer == "HALTED"
    assert refused.detail.endswith(":halted is a string")
    assert await bench.store.halted([0, 1]) == {0: refused.detail}
    assert await bench.store.resume(0) is True
    assert await bench.store.halted([0, 1]) == {}
    await acquire(bench)


async def test_a_halt_outlives_a_rebuild(owned: Acquired, bench: StoreBench) -> None:
    await bench.store.halt(0, "LOST")
    await bench.store.wipe(0)
    await bench.store.bootstrap(0, identity_of(bench), "life-2")
    assert await bench.store.halted([0]) == {0: "LOST"}


# --- over time


async def test_a_restart_loses_nothing_that_was_acknowledged(
    owned: Acquired, bench: StoreBench, request: pytest.FixtureRequest
) -> None:
    if isinstance(bench, MemoryBench):
        request.applymarker(pytest.mark.xfail(strict=True, reason="memory forgets with the process"))
    await bench.store.commit(commit_of(owned))
    await bench.store.halt(3, "why")
    before = await whole(bench.store)
    await bench.restart()
    assert await bench.store.dump(0) == before
    assert await bench.store.halted([3]) == {3: "why"}
    second = commit_of(owned, from_offset=10, next_offset=20, commit_id="second")
    assert await bench.store.commit(second) == (Answer.OK, "")  # the script is unknown after a restart


async def test_a_history_of_commits_leaves_what_a_dict_would_hold(
    owned: Acquired, bench: StoreBench, record_property: Callable[[str, object], None]
) -> None:
    seed = int(os.environ.get("SEED", random.randrange(2**32)))
    record_property("SEED", seed)
    chance = random.Random(seed)
    twin = MemoryBench(bench.log)
    await twin.store.bootstrap(0, identity_of(bench), "life-1")
    twin_owned = await acquire(twin)
    offset = 0
    for number in range(40):
        following = offset + chance.randrange(1, 6)
        change = _random_change(chance, offset, following, number)
        offset = following
        assert (await bench.store.commit(commit_of(owned, **change)))[0] is Answer.OK
        assert (await twin.store.commit(commit_of(twin_owned, **change)))[0] is Answer.OK
        assert (await whole(bench.store)).digest() == (await whole(twin.store)).digest(), seed


def _random_change(chance: random.Random, offset: int, following: int, number: int) -> dict[str, object]:
    def names() -> list[str]:
        return [f"m-{chance.randrange(30)}" for _ in range(chance.randrange(8))]

    change: dict[str, object] = {
        "from_offset": offset,
        "next_offset": following,
        "commit_id": f"c-{number}",
        "partition_state": chance.randbytes(chance.randrange(40)),
        "timers": {name: chance.randrange(2**53) for name in names()},
        "timers_gone": names(),
    }
    for part in ("states", "buckets", "pages"):
        change[part] = {name: chance.randbytes(chance.randrange(80)) for name in names()}
        change[f"{part}_gone"] = names()
    return change
