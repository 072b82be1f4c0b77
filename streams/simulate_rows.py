"""What boards and populations read of a partition's facts, in a file: facts themselves would be ten times as long."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from processors.population import Row
from processors.population import decode as noted

KINDS = tuple(
    b'{"kind":"%s"' % kind
    for kind in (b"ledger", b"score", b"spend.brought", b"region.changed", b"account.closed", b"in_force")
)
SIZE = 4
"""Bytes before each piece, which say how long it is."""


class Rows:
    """Writes a file of rows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(b"")

    def add(self, facts: Iterable[bytes]) -> None:
        """Some facts more, in their order."""
        rows = [msgspec.structs.astuple(noted(fact)) for fact in facts if fact.startswith(KINDS)]
        if rows:
            packed = msgspec.msgpack.encode(rows)
            with self.path.open("ab") as file:
                file.write(len(packed).to_bytes(SIZE, "big") + packed)


_rows = msgspec.msgpack.Decoder(list[Row]).decode


def rows_of(path: Path) -> Iterator[Row]:
    """The rows of such a file."""
    with path.open("rb") as file:
        while size := file.read(SIZE):
            yield from _rows(file.read(int.from_bytes(size, "big")))
