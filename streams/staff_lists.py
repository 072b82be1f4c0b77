"""Lists that staff start from: what came too late, and what waited in vain for what it belongs to."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from streams.analytics import Reader, Value

LATE = ("late",)
ORPHANS = ("refund_orphan", "redeem_cancel_orphan")
QUERY = """
SELECT member_id, action, source, event_id, region, effective_at, decided_at, order_id, body
FROM facts FINAL
WHERE log = %(log)s AND kind IN %(kinds)s AND decided_at >= %(since)s
ORDER BY decided_at, src_partition, src_offset, idx
LIMIT %(limit)s
"""


class Listed(NamedTuple):
    """A line of a list. `points` is for staff to fill in: the list is then a file for `memberflow adjust`."""

    member_id: str
    points: str
    action: str
    source: str
    event_id: str
    region: str
    happened: str
    judged: str
    order_id: str
    redeem_id: str
    amount: str


class _More(msgspec.Struct):
    """What of a fact stands in its body alone."""

    redeem_id: str = ""
    amount: int | None = None


_more = msgspec.json.Decoder(_More).decode


def listed(reader: Reader, log: str, kinds: Sequence[str], since_ms: int, limit: int) -> list[Listed]:
    """The facts of these kinds that were judged since a moment, oldest first."""
    params: dict[str, Value] = {"log": log, "kinds": kinds, "since": since_ms, "limit": limit}
    found = []
    for member, action, source, event_id, region, at, judged, order_id, body in reader.query(QUERY, params):
        more = _more(body if isinstance(body, bytes) else str(body).encode())
        amount = "" if more.amount is None else str(more.amount)
        told = (action, source, event_id, region, _text(at), _text(judged), order_id, more.redeem_id, amount)
        found.append(Listed(member, "", *told))
    return found


def as_csv(rows: Sequence[Listed]) -> str:
    """The list as a file for `memberflow adjust`, once its points are filled in."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(Listed._fields)
    writer.writerows(rows)
    return out.getvalue()


def _text(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds")
