"""Buckets: totals of one partition inside one block of offsets, additive over partitions and blocks.

A bucket is absolute for its block, `version` is the last offset counted, so a repeat loses and a sum over partitions
and blocks is exact. Late actions go into the current block's bucket of their own hour or day.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct


class BucketKey(Struct, frozen=True, array_like=True, gc=False):
    """What a bucket counts. `kind` is hour | day | members | tiers.

    hour: `at` = start of the clock hour (ms), region, action. day: `at` = programme day, region, group_id, action.
    members: `at` = programme day, Monday's day or month number by `period` day | week | month; region or group_id or
    neither (all). tiers: `at` = programme day of the moment, region = home region, dimension, tier.
    """

    kind: str
    at: int
    region: str = ""
    group_id: str = ""
    action: str = ""
    period: str = ""
    dimension: str = ""
    tier: str = ""


class Bucket(Struct, kw_only=True, gc=False, omit_defaults=True):
    """A bucket as it is published. `members` counts distinct members, for tiers entries less exits."""

    log: str
    partition: int
    block: int
    version: int
    kind: str
    at: int
    region: str = ""
    group_id: str = ""
    action: str = ""
    period: str = ""
    dimension: str = ""
    tier: str = ""
    actions: int = 0
    points: int = 0
    spend: int = 0
    members: int = 0


class Calibration(Struct, kw_only=True, tag_field="kind", tag="calibration"):
    """A tenth of all customers: what P(alive) foretold of them and what they did. It is no bucket: a row is whole.

    `at` = the programme day at whose end it was foretold, by parameters fitted to what was known then, `horizon` = how
    many days were foretold, `decile` 1 (least likely to buy) to 10. `predicted` sums the chances of at least one
    purchase, in millionths; `bought` counts who bought. The highest `version` (ms) of each counts.
    """

    log: str
    partition: int = 0
    at: int
    horizon: int
    decile: int
    version: int
    customers: int
    bought: int
    predicted: int


class Totals(Struct, array_like=True, gc=False):
    """The running totals of a bucket in the block's state: last offset counted, and the four sums."""

    version: int = -1
    actions: int = 0
    points: int = 0
    spend: int = 0
    members: int = 0


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Bucket).decode
decode_calibration = msgspec.json.Decoder(Calibration).decode
encode_key = msgspec.json.Encoder().encode
decode_key = msgspec.json.Decoder(BucketKey).decode
encode_totals = msgspec.msgpack.Encoder().encode
decode_totals = msgspec.msgpack.Decoder(Totals).decode
