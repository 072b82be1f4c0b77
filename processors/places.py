"""Where a member was active on which days: a row for each region and group, so that distinct members can be counted.

A row is a checksum of the place, the newest day and a bitmap of days back from it. Two places of one member with
the same checksum would count as one: one chance in four billion a pair.
"""

from __future__ import annotations

import datetime as dt
import functools
import struct
import zlib
from typing import NamedTuple

from schemas.member import DAY_BITS, PLACE

EPOCH = dt.date(1970, 1, 1).toordinal()
ALL_BITS = (1 << DAY_BITS) - 1
CRC, NEWEST, BITS, REST = (struct.Struct(layout) for layout in ("<I", "<H", "<Q", "<HQ"))  # parts of PLACE
DAY_MAX = 65_535  # what a row can hold: the year 2149


class Span(NamedTuple):
    """The week and the month a day lies in: first days, and how the month is numbered and how long it is."""

    week: int
    month: int
    month_start: int
    month_days: int


@functools.lru_cache(maxsize=4096)
def span_of(day: int) -> Span:
    """The week and month of a programme day; programme days are the days of the calendar."""
    date = dt.date.fromordinal(min(max(day + EPOCH, 1), dt.date.max.toordinal() - 31))
    following = (date.replace(day=1) + dt.timedelta(days=31)).replace(day=1)
    start = date.replace(day=1).toordinal()
    return Span(
        week=day - (day + 3) % 7,  # 1970-01-01 was a Thursday
        month=date.year * 12 + date.month - 1,
        month_start=start - EPOCH,
        month_days=following.toordinal() - start,
    )


def row_of(place: str, day: int) -> bytes:
    """How the row of a place begins whose newest day is `day`; that day is then in its bitmap."""
    return CRC.pack(zlib.crc32(place.encode())) + NEWEST.pack(_short(day))


def mark(rows: bytes, row: bytes, day: int) -> tuple[bytes, int, int] | None:
    """Mark a day in the row of a place, which begins as `row_of` says.

    Returns the rows, and of this one the bitmap as it was before and the newest day it is now counted back from;
    None if the day was marked already, or lies too far back to know.
    """
    start = _find(rows, row[: CRC.size])
    if start < 0:
        return _living(rows, day) + row + BITS.pack(1), 0, day
    newest, bits = REST.unpack_from(rows, start + CRC.size)
    if newest - day >= DAY_BITS or (newest >= day and bits >> (newest - day) & 1):
        return None
    if day > newest:
        bits, newest = bits << min(day - newest, DAY_BITS) & ALL_BITS, day
    marked = row[: CRC.size] + REST.pack(_short(newest), bits | 1 << (newest - day))
    return rows[:start] + marked + rows[start + PLACE.size :], bits, newest


def mask(newest: int, start: int, days: int) -> int:
    """The bits of the days [start, start + days) in a bitmap whose bit 0 is `newest`."""
    high = newest - start
    low = max(0, high - days + 1)
    return (1 << high + 1) - (1 << low) if high >= low else 0


def _find(rows: bytes, tag: bytes) -> int:
    start = rows.find(tag)
    while start > 0 and start % PLACE.size:
        start = rows.find(tag, start + 1)
    return start


def _living(rows: bytes, day: int) -> bytes:
    """The rows that a late action can still reach."""
    each = [rows[at : at + PLACE.size] for at in range(0, len(rows), PLACE.size)]
    return b"".join(row for row in each if PLACE.unpack(row)[1] + DAY_BITS > day)


def _short(day: int) -> int:
    return min(max(day, 0), DAY_MAX)
