"""The tables of ClickHouse as the code sees them: which column comes from which field of a message.

The SQL in `clickhouse/NNNN_*.sql` is the one source of what the tables are; a test compares it with this
file, and the sink compares this file with the tables it finds. Both adapters build their rows from it.
"""

from __future__ import annotations

from datetime import date
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

DAY_MS = 86_400_000
BLOCK_ROWS_MAX = 100_000
# Source offsets that share one block of totals; the reconciler compares facts by the same blocks.
BLOCK_OFFSETS = 100_000


class Column(NamedTuple):
    """One column. `field` is the message's field ("" = not from the message), `at` the element of a pair.

    `default` is what an absent field means: messages leave out what has its default.
    """

    name: str
    type: str
    field: str
    at: int = -1
    default: int = 0


class Table(NamedTuple):
    """One table: its columns in order, its key, and `monthly`, the field whose month is its partition."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    version: str = ""
    monthly: str = ""
    # Columns that the engine computes from the others: in the table, never in an insert.
    computed: tuple[tuple[str, str], ...] = ()
    # The message may be anything: fields come from a head that the sink writes for each row.
    headed: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of an insert, in order."""
        return tuple(c.name for c in self.columns)

    def expected(self) -> dict[str, str]:
        """Name and type of every column that the table must have."""
        return {c.name: c.type for c in self.columns} | dict(self.computed)


def _strings(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, "String", name) for name in names)


def _numbers(kind: str, *names: str) -> tuple[Column, ...]:
    return tuple(Column(name, kind, name) for name in names)


# The exact bytes of the message, and where it lies in its own topic: the sink starts at the lower of that and
# of what it has committed.
BODY = Column("body", "String", "")
TOPIC_OFFSET = Column("topic_offset", "Int64", "")

FACTS = Table(
    "facts",
    (
        Column("log", "String", "log"),
        Column("src_partition", "Int32", "partition"),
        Column("src_offset", "Int64", "offset"),
        Column("idx", "Int32", "index"),
        *_numbers("Int64", "n"),
        *_strings("kind", "member_id"),
        *_numbers("Int64", "effective_at", "decided_at"),
        *_numbers("Int32", "programme", "rules"),
        *_strings("source", "event_id", "action", "region", "group_id", "rule", "entry"),
        *_numbers("Int64", "points", "active", "pending"),
        *_numbers("Int32", "month"),
        *_numbers("Int64", "base"),
        Column("factor", "Int64", "factor", default=1),
        *_strings("because", "reason"),
        *_numbers("Int64", "pending_until"),
        *_strings("order_id"),
        *_numbers("Int64", "spend"),
        *_strings("currency"),
        # 0, 0 = amends nothing: offset 0 of every partition is its first programme, which nothing amends.
        Column("amends_offset", "Int64", "amends", 0),
        Column("amends_idx", "Int32", "amends", 1),
        *_numbers("Int64", "score"),
        *_numbers("Int32", "activity_index"),
        *_strings("dimension", "tier", "overall"),
        *_numbers("Int64", "overall_since", "entered_at", "silent_since"),
        *_strings("next_tier"),
        *_numbers("Int64", "next_at"),
        *_numbers("UInt8", "unsure"),
        *_strings("control"),
        Column("control_id", "String", "id"),
        *_numbers("Int64", "number", "holds_from"),
        BODY,
        TOPIC_OFFSET,
        *_numbers("Int64", "weight"),
        *_strings("home"),
        *_numbers("Int64", "spent", "expired", "reversed", "debt", "ends_at"),
        *_strings("level", "level_before"),
        *_numbers("Int64", "bought_at"),
    ),
    key=("log", "src_partition", "src_offset", "idx"),
    monthly="effective_at",
    computed=(("effective_time", "DateTime('UTC')"),),
)

# Fields of a fact that nobody asks for by SQL; they are in `body`.
BODY_ONLY = frozenset(
    """
    amount first_amount by approved_by lots left values needed begins ends promise_id benefit title redeem_id repeats
    reward until missing home_before hold_id scope base_level bonus net_spend growth missed_days next_level falls_at
    invited_member_id
    operator batch_id refers_to brought why held
    """.split()
)


def _totals(
    name: str,
    key: tuple[Column, ...],
    sums: tuple[str, ...],
    computed: tuple[tuple[str, str], ...] = (),
) -> Table:
    place = (Column("src_partition", "Int32", "partition"), Column("block", "Int64", "block"))
    columns = (
        Column("log", "String", "log"),
        *key,
        *place,
        Column("version", "Int64", "version"),
        *_numbers("Int64", *sums),
        TOPIC_OFFSET,
    )
    names = ("log", *(c.name for c in key), *(c.name for c in place))
    return Table(name, columns, names, version="version", computed=computed)


_DAY = Column("day", "Int32", "at")
_DATE = (("date", "Date"),)

AGG_HOUR = _totals(
    "agg_hour",
    (Column("hour_at", "Int64", "at"), *_strings("region", "action")),
    ("actions", "points", "spend"),
    (("hour", "DateTime('UTC')"),),
)
AGG_DAY = _totals("agg_day", (_DAY, *_strings("region", "group_id", "action")), ("actions", "points", "spend"), _DATE)
AGG_MEMBERS = _totals(
    "agg_members",
    (*_strings("period"), Column("at", "Int32", "at"), *_strings("region", "group_id")),
    ("members",),
)
AGG_TIERS = _totals("agg_tiers", (_DAY, *_strings("region", "dimension", "tier")), ("members",), _DATE)

# Kind of a bucket -> its table.
AGGREGATES: dict[str, Table] = {
    "hour": AGG_HOUR,
    "day": AGG_DAY,
    "members": AGG_MEMBERS,
    "tiers": AGG_TIERS,
}
CALIBRATION = Table(
    "calibration",
    (
        *_strings("log"),
        _DAY,
        *_numbers("Int32", "horizon", "decile"),
        Column("src_partition", "Int32", "partition"),
        *_numbers("Int64", "version", "customers", "bought", "predicted"),
        TOPIC_OFFSET,
    ),
    key=("log", "day", "horizon", "decile", "src_partition"),
    version="version",
    computed=_DATE,
)
# Kind of a message on the topic of aggregates -> its table.
ON_AGGREGATES: dict[str, Table] = AGGREGATES | {"calibration": CALIBRATION}
BOARDS = Table(
    "boards",
    (
        *_strings("log", "board", "period"),
        *_numbers("Int32", "at"),
        *_strings("region", "group_id"),
        Column("src_partition", "Int32", "partition"),
        *_numbers("Int32", "place"),
        *_strings("member_id"),
        *_numbers("Int64", "value"),
        *_numbers("Int32", "ranked"),
        *_numbers("Int64", "ended_at", "final_at"),
        TOPIC_OFFSET,
    ),
    key=("log", "board", "period", "at", "region", "group_id", "src_partition", "place", "member_id"),
)
# Recorded actions, each with the offset of the record that was read before it.
ACTIONS = Table(
    "actions",
    (
        *_strings("log"),
        Column("src_partition", "Int32", "partition"),
        TOPIC_OFFSET,
        *_numbers("Int64", "previous", "stamped_at"),
        *_strings("key", "extra"),
        BODY,
    ),
    key=("log", "src_partition", "topic_offset"),
    version="previous",
    monthly="stamped_at",
    computed=(("stamped_time", "DateTime('UTC')"),),
    headed=True,
)
# In the order in which they are filled: an aggregate never shows what the facts do not hold yet.
TABLES: tuple[Table, ...] = (FACTS, *ON_AGGREGATES.values(), BOARDS, ACTIONS)


# The only one-byte columns are flags, which JSON writes as true and false.
_PYTHON: dict[str, type] = {"String": str, "UInt8": bool}


def row_struct(table: Table) -> type[msgspec.Struct]:
    """A struct that decodes a message into the fields that the columns of `table` come from, each once."""
    fields: dict[str, tuple[str, Any, Any]] = {}
    for column in table.columns:
        kind: Any = _PYTHON.get(column.type, int)
        if column.at >= 0:
            fields[column.field] = (f"f_{column.field}", tuple[int, int], (0, 0))
        elif column.field:
            fields[column.field] = (
                f"f_{column.field}",
                kind,
                kind(column.default) if column.default else kind(),
            )
    return msgspec.defstruct(
        f"Row_{table.name}",
        list(fields.values()),
        rename={name: field for field, (name, _, _) in fields.items()},
        gc=False,
    )


def month_of(moment_ms: int) -> int:
    """The calendar month (UTC) of a moment, as ClickHouse's toYYYYMM gives it."""
    return _month_of_day(moment_ms // DAY_MS)


@lru_cache(maxsize=65_536)
def _month_of_day(day: int) -> int:
    date_of = date.fromordinal(_EPOCH + day)
    return date_of.year * 100 + date_of.month


_EPOCH = date(1970, 1, 1).toordinal()
