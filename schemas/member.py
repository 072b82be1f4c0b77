"""A member's state: scalars and packed bytes, because a dict or list per member costs ten times the time and memory.

A new field goes last, with a default, and `STATE_VERSION` goes up by one; code refuses states newer than itself.
Moments are milliseconds, 0 = never. Days are programme days since 1970-01-01, months year x 12 + month - 1.
Packed fields are rows of one `struct` layout, little endian; the layouts stand beside the fields.
"""

from __future__ import annotations

import struct

import msgspec
from msgspec import Struct

STATE_VERSION = 1

LOT = struct.Struct("<HQ")  # earning month, active points
PENDING = struct.Struct("<QHQQI")  # due, earning month, points, offset and index of the entry that earned it
CHECK_IN = struct.Struct("<HBIQI")  # day, factor and base points paid, offset and index of the entry that paid them
COMEBACK = struct.Struct("<QQIQI")  # own action before, own action that came back, points paid, offset and index
SPEND = struct.Struct("<Hq")  # month, net spend in minor units
ORDER = struct.Struct("<8sQqqQ")  # keyed hash of order_id, moment, amount, counted amount, points
PLACE = struct.Struct("<IHQ")  # crc32 of "r:region" or "g:group", newest own day there, bitmap of 64 days back from it

DAY_WEIGHTS = 57  # days that the activity score looks back
DAY_COUNTS = 32  # days for which caps are remembered: the horizon and the day it begins in
DAY_BITS = 64  # days in a bitmap; bit i is the day i days before `today`


class MemberState(Struct, array_like=True, gc=False):
    """Everything remembered of one member, except full pages of ids."""

    version: int = STATE_VERSION
    ordinal: int = 0  # order of first sight in the partition
    armed: int = 0  # where its timer entry stands
    profile_region: str = ""
    profile_at: int = 0
    join_region: str = ""
    join_at: int = 0
    closed_at: int = 0
    # points
    issued: int = 0
    active: int = 0
    pending: int = 0
    lots: bytes = b""  # active points by earning month, oldest first, but for those of `lot_month`
    pendings: bytes = b""
    # days: everything below is relative to `today`, the newest programme day of an accepted action
    today: int = 0
    active_bits: int = 0  # days with an own action
    check_in_bits: int = 0
    check_in_run: int = 0  # length of the run of check-ins that ends on the day just older than the bitmap
    check_ins: bytes = b""
    counts: bytes = b""  # DAY_COUNTS x (messages counted, shares counted), today first, each at most 255
    weights: bytes = b""  # DAY_WEIGHTS x u16 thousandths, today first, each at most the day's cap
    score_older: int = 0  # the score of all days before `today`, in thousandths x 10^6
    # silence
    first_own: int = 0
    last_own: int = 0
    comebacks: bytes = b""
    comeback_year: int = 0
    comeback_count: int = 0  # comebacks of that year no longer in `comebacks`
    # orders
    last_purchase: int = 0
    spend: bytes = b""
    orders: bytes = b""
    # warning tiers: gravity code (0 = none), moment entered, offset and index of the fact
    presence: int = 0
    presence_at: int = 0
    presence_offset: int = 0
    presence_index: int = 0
    buying: int = 0
    buying_at: int = 0
    buying_offset: int = 0
    buying_index: int = 0
    # distinct members
    places: bytes = b""
    # ids seen: the open page, its newest moment; numbers of the full pages that live
    ids: bytes = b""
    ids_at: int = 0
    page_first: int = 0
    page_count: int = 0
    # the home region each tier was entered under: it leaves under the same one, so sums by region hold
    presence_region: str = ""
    buying_region: str = ""
    # the lot of the newest earning month, which nearly every entry joins
    lot_month: int = 0
    lot_points: int = 0


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(MemberState).decode
