"""Images of partitions as files: what a rebuild may begin with instead of the log's first record.

An image is taken by one MULTI/EXEC, so it always stands between two commits and no owner need be asked. The digest
in the file is that of the image; a file that was cut or changed is refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from streams.errors import InputInvalid, NoState, UsageError
from streams.store import Dump, StateStore

KEPT = 3
"""Of each partition: one may be damaged, and the one before it too old for the log's retention."""

FORMAT = 1


class Snapshot(Struct, frozen=True):
    """What a file holds."""

    format: int
    partition: int
    digest: str
    dump: Dump


async def take(
    store: StateStore, log: str, partitions: int, folder: Path, *, progress: Callable[[int], None] = lambda count: None
) -> list[tuple[Path, Snapshot]]:
    """Write an image of every partition, and remove those beyond the newest few."""
    written = []
    for partition in range(partitions):
        dump = await store.dump(partition)
        if dump is None:
            raise NoState(log, partition)
        snapshot = Snapshot(FORMAT, partition, dump.digest(), dump)
        written.append((write(folder, snapshot), snapshot))
        progress(1)
    return written


def write(folder: Path, snapshot: Snapshot) -> Path:
    """One file, whole or not at all; only its owner may read it, for it holds what members did."""
    dump = snapshot.dump
    path = folder / f"{_prefix(dump.identity.log, snapshot.partition)}{dump.next_offset:015}.snapshot"
    fresh = path.with_suffix(".new")
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(msgspec.msgpack.encode(snapshot))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        for old in files(folder, dump.identity.log, snapshot.partition)[:-KEPT]:
            old.unlink()
    except OSError as error:
        raise UsageError(f"cannot write {path} ({error.strerror})", remedy="name a folder with room") from error
    return path


def files(folder: Path, log: str, partition: int) -> list[Path]:
    """The images of a partition, oldest first."""
    return sorted(folder.glob(f"{_prefix(log, partition)}*.snapshot"))


def newest(folder: Path, log: str, partition: int) -> Snapshot:
    """The newest image of a partition. Raises `UsageError` where there is none."""
    found = files(folder, log, partition)
    if not found:
        what = f"{folder} holds no snapshot of partition {partition} of log {log}"
        raise UsageError(what, remedy="name another folder, or rebuild from the log alone")
    return read(found[-1])


def nearest(folder: Path, log: str, partition: int, offset: int) -> Snapshot | None:
    """The newest image of a partition that stands at an offset or below it."""
    prefix = _prefix(log, partition)
    below = [path for path in files(folder, log, partition) if int(path.stem.removeprefix(prefix)) <= offset]
    return read(below[-1]) if below else None


def read(path: Path) -> Snapshot:
    """One file. Raises `InputInvalid` for one that is not whole."""
    try:
        snapshot = msgspec.msgpack.decode(path.read_bytes(), type=Snapshot)
    except (OSError, msgspec.MsgspecError) as error:
        raise InputInvalid(f"{path} is not a snapshot ({error})", remedy="use an older one: move it away") from error
    if snapshot.format != FORMAT or snapshot.dump.digest() != snapshot.digest:
        raise InputInvalid(f"{path} is damaged: its digest is another", remedy="use an older one: move it away")
    return snapshot


def _prefix(log: str, partition: int) -> str:
    return f"{log}-p{partition:04}-"
