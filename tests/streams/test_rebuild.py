"""A rebuild changes nothing before it knows that it can end."""

from pathlib import Path

import pytest

from schemas.member import STATE_VERSION
from schemas.settings import Settings
from streams.errors import UsageError
from streams.memory_store import MemoryStore
from streams.rebuild import Rebuilder
from streams.store import Acquired, Answer, Identity

IDENTITY = Identity("live-1", "t", 2)


async def test_a_folder_without_snapshots_is_refused_before_an_owner_is_fenced(tmp_path: Path) -> None:
    store = MemoryStore("live-1")
    await store.bootstrap(0, IDENTITY, "life")
    owner = await store.acquire(0, IDENTITY, state_version=STATE_VERSION)
    assert isinstance(owner, Acquired)
    rebuilder = Rebuilder(Settings(log="live-1", partitions=2), store, "t", folder=tmp_path)
    with pytest.raises(UsageError):
        await rebuilder.run([0], replace=True)
    assert await store.ask(0, owner.incarnation, owner.owner, owner.next_offset) == (Answer.OK, "")
    assert await store.halted([0]) == {}
