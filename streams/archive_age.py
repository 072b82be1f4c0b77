"""Recorded actions that are older than wanted, out of ClickHouse: always a beginning of the log, so the chain holds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from schemas.tables import ACTIONS
from streams.analytics import AnalyticsStore, Reader, bind
from streams.archive_reader import ArchiveReader

LOOK_S = 0.2
EVER = -(1 << 62)


async def older(reader: Reader, log: str, partitions: Iterable[int], moment: int) -> dict[int, int]:
    """By partition that has any, the first offset to be kept: that of the first record stamped at or after `moment`.

    The last record always stays, or a sink would begin anew.
    """
    archive, found = ArchiveReader(reader, log), {}
    for partition in partitions:
        _, end = await archive.bounds(partition)
        first, at = await archive.offset_at(partition, EVER), await archive.offset_at(partition, moment)
        kept = end - 1 if at is None else at
        if first is not None and first < kept:
            found[partition] = kept
    return found


async def forget(store: AnalyticsStore, log: str, kept: dict[int, int]) -> None:
    """Delete what lies before these offsets, and wait until it is gone from the disk's active parts."""
    which = " OR ".join(f"(src_partition = {p} AND topic_offset < {at})" for p, at in kept.items())
    await asyncio.to_thread(
        store.command, bind(f"ALTER TABLE {ACTIONS.name} DELETE WHERE log = %(log)s AND ({which})", {"log": log})
    )
    left = f"""SELECT count() FROM system.mutations
    WHERE database = currentDatabase() AND table = '{ACTIONS.name}' AND is_done = 0"""
    while (await asyncio.to_thread(store.query, left))[0][0]:
        await asyncio.sleep(LOOK_S)
