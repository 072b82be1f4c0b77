"""State that was lost, made again from the log: folded without publishing, then put in place by one commit.

How far: one longest chunk below the newest fact of the partition. What stands above may be half published (facts
without the dead letters or aggregates of their chunk), so the next owner decides it again and publishes the same
bytes; everybody drops repeats by number.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic

from msgspec import Struct

from schemas import facts
from schemas.member import STATE_VERSION
from schemas.settings import Settings
from schemas.topics import topics
from streams import snapshot
from streams.errors import LogMismatch, UsageError
from streams.log_reader import LogReader
from streams.replay import CHUNK, from_log
from streams.store import Dump, Identity, StateStore

LOOKED_AT = 5_000
"""Facts at the topic's end in which the newest source offset is sought: the last ones may be a zombie's repeats."""

NOTICE_S = 3.0
"""How long a living owner may take to notice that its state is gone; it commits a tick each second."""

BEING_REBUILT = "being rebuilt"


class Rebuilt(Struct, frozen=True):
    """A partition as it stands after its rebuild."""

    partition: int
    next_offset: int
    began_at: int
    members: int
    digest: str


class Rebuilder:
    """Rebuilds partitions of one log, one after the other."""

    def __init__(
        self,
        settings: Settings,
        store: StateStore,
        topic_id: str,
        *,
        folder: Path | None = None,
        progress: Callable[[int], None] = lambda count: None,
    ) -> None:
        self.settings, self.store, self.folder, self.progress = settings, store, folder, progress
        self.identity = Identity(settings.log, topic_id, settings.partitions)
        self.chunk = max(CHUNK, settings.worker.chunk_max_records)

    async def run(self, partitions: Sequence[int], *, replace: bool = False) -> list[Rebuilt]:
        """Rebuild these. Raises `UsageError` for one that has state and is not halted, unless it is to be replaced."""
        for partition in partitions:
            self._image(partition)  # a folder that will not do is refused before any owner is fenced
        well = await self._well(partitions, replace=replace)
        await self._seize(partitions, well)
        done: list[Rebuilt] = []
        try:
            for partition in partitions:
                done.append(await self._partition(partition))
        finally:
            for partition in well:
                await self.store.resume(partition)  # what was well goes on as it was, where it was not replaced
        return done

    async def _well(self, partitions: Sequence[int], *, replace: bool) -> list[int]:
        """Those that have state and are not halted."""
        halted = await self.store.halted(partitions)
        standing = await self.store.offsets(partitions)
        well = [p for p in partitions if standing[p] is not None and p not in halted]
        if well and not replace:
            what = f"partitions {', '.join(map(str, well))} have state and are not halted"
            lost = " ".join(str(p) for p in partitions if p not in well) or "P"
            remedy = f"nothing was changed; name what is lost (`memberflow rebuild {lost}`), or --replace these too"
            raise UsageError(what, remedy=remedy)
        return well

    async def _seize(self, partitions: Sequence[int], well: Sequence[int]) -> None:
        """Let no owner go on meanwhile: those alive are halted, or fenced by an acquisition of ours."""
        for partition in well:
            await self.store.acquire(partition, self.identity, state_version=STATE_VERSION)
        lost = [p for p in partitions if p not in well]
        deadline = monotonic() + NOTICE_S
        while lost and monotonic() < deadline and len(await self.store.halted(lost)) < len(lost):
            await asyncio.sleep(0.1)  # an owner that lives halts it by its next commit
        for partition in partitions:
            await self.store.halt(partition, BEING_REBUILT)

    async def _partition(self, partition: int) -> Rebuilt:
        """1 image or nothing, 2 fold, 3 put in place, 4 let owners take it."""
        image = self._image(partition)
        began_at = image.next_offset if image else 0
        until = max(began_at, await self._target(partition))
        replay = await from_log(self.settings, self.identity, partition, until, image=image, progress=self.progress)
        dump = await replay.dump()
        await self.store.bootstrap(partition, self.identity, secrets.token_hex(8), dump=dump, replace=True)
        await self.store.resume(partition)
        return Rebuilt(partition, dump.next_offset, began_at, len(dump.states), dump.digest())

    def _image(self, partition: int) -> Dump | None:
        """The newest snapshot, if one was asked for. Raises `LogMismatch` for one of another log."""
        if self.folder is None:
            return None
        dump = snapshot.newest(self.folder, self.settings.log, partition).dump
        if dump.identity != self.identity:
            raise LogMismatch(f"the snapshot of partition {partition} is of {dump.identity}, not of {self.identity}")
        return dump

    async def _target(self, partition: int) -> int:
        """One chunk below the newest fact; 0 where the facts are gone, for then all may be published again."""
        names = topics(self.settings.log, partitions=self.settings.partitions)
        newest = 0
        async with LogReader(self.settings.kafka.bootstrap, names.facts.name) as reader:
            first, end = await reader.bounds(partition)
            async for records in reader.read(partition, max(first, end - LOOKED_AT), end):
                newest = max([newest, *(facts.decode(record.value).offset for record in records)])
        async with LogReader(self.settings.kafka.bootstrap, names.actions.name) as reader:
            _, end = await reader.bounds(partition)
        return max(0, min(newest, end) - self.chunk)
