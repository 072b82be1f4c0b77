"""Boards that are final: one message a place, kept for ever in ClickHouse and never changed.

A board is named by `board`, `period`, `at` and by its region or group (neither = the programme). `at` is the week's
Monday (days since 1970-01-01) or the month (year x 12 + month - 1). Members with equal values share a place and the
next one is left out: 1, 1, 3. Values are thousandths of a weight (hot_talk) or minor units (spending). `ranked` is how
many places the board has: it is whole when so many have been read.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

BoardName = Literal["hot_talk", "spending"]
Period = Literal["week", "month"]
BOARDS: tuple[BoardName, ...] = ("hot_talk", "spending")
PERIODS: tuple[Period, ...] = ("week", "month")


class BoardKey(Struct, frozen=True, array_like=True, order=True):
    """Which board of which week or month."""

    board: BoardName
    period: Period
    at: int
    region: str = ""
    group_id: str = ""


class BoardPlace(Struct, kw_only=True, omit_defaults=True):
    """One place of a final board. `ended_at` ends its week or month; late actions counted until `final_at`."""

    log: str
    partition: int
    board: BoardName
    period: Period
    at: int
    region: str = ""
    group_id: str = ""
    place: int
    member_id: str
    value: int
    ranked: int
    ended_at: int
    final_at: int

    @property
    def key(self) -> BoardKey:
        """The board it is a place of."""
        return BoardKey(self.board, self.period, self.at, self.region, self.group_id)


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(BoardPlace).decode
