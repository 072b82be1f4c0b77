"""Images as files: whole or refused, the newest three of each partition, readable by their owner alone."""

import stat
from pathlib import Path

import pytest

from streams import snapshot
from streams.errors import InputInvalid, StateLost, UsageError
from streams.memory_store import MemoryStore
from streams.replay import Replay
from streams.store import Dump, Identity
from tests.processors.golden.recorded import LOG, PARTITION, PARTITIONS, record

IDENTITY = Identity(LOG, "t", PARTITIONS)


async def image(records: int) -> Dump:
    replay = Replay(IDENTITY, "member.actions", PARTITION)
    await replay.begin()
    await replay.feed(record(300, 11)[:records])
    return await replay.dump()


async def store_with(*dumps: Dump) -> MemoryStore:
    store = MemoryStore(LOG)
    for partition, dump in enumerate(dumps):
        await store.bootstrap(partition, IDENTITY, "life", dump=dump)
    return store


async def test_what_is_taken_is_what_is_read_back(tmp_path: Path) -> None:
    dump = await image(300)
    store = await store_with(dump, await image(10))
    taken = await snapshot.take(store, LOG, 2, tmp_path / "new")
    assert [it.partition for _, it in taken] == [0, 1]
    read = snapshot.newest(tmp_path / "new", LOG, 0)
    assert read.dump.digest() == dump.digest() == read.digest
    assert read.dump.states == dump.states
    assert stat.S_IMODE(taken[0][0].stat().st_mode) == 0o600


async def test_the_newest_three_are_kept(tmp_path: Path) -> None:
    for records in (10, 20, 30, 40, 50):
        await snapshot.take(await store_with(await image(records)), LOG, 1, tmp_path)
    kept = [snapshot.read(path).dump.next_offset for path in snapshot.files(tmp_path, LOG, 0)]
    assert kept == sorted(kept)
    assert len(kept) == snapshot.KEPT
    assert snapshot.newest(tmp_path, LOG, 0).dump.next_offset == kept[-1] == (await image(50)).next_offset


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "other"])
async def test_a_damaged_file_is_refused_by_name(tmp_path: Path, damage: str) -> None:
    ((path, it),) = await snapshot.take(await store_with(await image(100)), LOG, 1, tmp_path)
    whole = path.read_bytes()
    member = next(iter(it.dump.states)).encode()
    path.write_bytes(
        {"cut": whole[:-9], "changed": whole.replace(member, b"x" * len(member)), "empty": b"", "other": b"{}"}[damage]
    )
    with pytest.raises(InputInvalid, match=path.name):
        snapshot.newest(tmp_path, LOG, 0)


async def test_a_partition_without_state_has_no_image(tmp_path: Path) -> None:
    with pytest.raises(StateLost, match="partition 1 of log"):
        await snapshot.take(await store_with(await image(5)), LOG, 2, tmp_path)
    with pytest.raises(UsageError, match="holds no snapshot of partition 1"):
        snapshot.newest(tmp_path, LOG, 1)


async def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        await snapshot.take(await store_with(await image(5)), LOG, 1, tmp_path / "file")
