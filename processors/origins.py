"""Where an action counted, kept in the row of what it was paid, so that a correction counts there too.

A row of fixed fields is followed by the names: what the action was, its region, its group.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import msgspec

SIZE = struct.Struct("<H")
origin = msgspec.msgpack.Encoder().encode
names: Any = msgspec.msgpack.Decoder(tuple[str, ...]).decode


def pack(layout: struct.Struct, row: tuple[int, ...], written: bytes) -> bytes:
    """A row and its origin, as `origin` wrote it."""
    return layout.pack(*row) + SIZE.pack(len(written)) + written


def unpack(layout: struct.Struct, rows: bytes) -> Iterator[tuple[tuple[Any, ...], bytes]]:
    """Every row with its origin."""
    at = 0
    while at < len(rows):
        names_at = at + layout.size + SIZE.size
        end = names_at + SIZE.unpack_from(rows, names_at - SIZE.size)[0]
        yield layout.unpack_from(rows, at), rows[names_at:end]
        at = end
