"""What the boards process knows of each partition, stored on its own disk: a restart reads on instead of anew.

A partition is stored by itself, with the place in its facts that it goes with; partitions need not be of one moment,
because no member is in two. What cannot be used is ignored: the facts are read from the topic's start then.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import msgspec
import structlog
from msgspec import Struct

from processors.boards import Part, Seasons
from schemas.records import ProgrammeControl

log = structlog.get_logger()

FORMAT = 1


class Stored(Struct, array_like=True):
    """One partition: `shape` is what of the programmes it was folded under, `n` the last fact's number."""

    format: int
    log: str
    partitions: int
    shape: list[tuple[int, str, int, int, int, int]]
    programmes: list[ProgrammeControl]
    next_offset: int
    n: int
    part: Part


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Stored).decode


class Checkpoints:
    """The folder of one log's partitions."""

    def __init__(self, folder: Path, log_name: str, partitions: int) -> None:
        self.folder, self.log, self.partitions = folder, log_name, partitions

    def read(self, partition: int) -> Stored | None:
        """What was stored last; None where there is nothing that this code and log could use."""
        try:
            found = _decode(self._path(partition).read_bytes())
        except (OSError, msgspec.MsgspecError):
            return None
        usable = (found.format, found.log, found.partitions) == (FORMAT, self.log, self.partitions)
        return found if usable else None

    async def write(
        self,
        partition: int,
        seasons: Seasons,
        programmes: list[ProgrammeControl],
        next_offset: int,
        n: int,
        part: Part,
    ) -> None:
        """Store a partition. It is encoded at once, so that it is of one moment, and written beside the loop."""
        raw = _encode(Stored(FORMAT, self.log, self.partitions, seasons.fingerprint, programmes, next_offset, n, part))
        try:
            await asyncio.to_thread(self._replace, partition, raw)
        except OSError as error:  # a full disk costs a longer start, nothing else
            log.warning("boards are not stored", folder=str(self.folder), error=str(error))

    def _replace(self, partition: int, raw: bytes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._path(partition)
        beside = path.with_suffix(".tmp")
        with beside.open("wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)

    def _path(self, partition: int) -> Path:
        return self.folder / f"{self.log}-{partition}.msgpack"
