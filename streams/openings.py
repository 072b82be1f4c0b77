"""A file of what members bring along from an older programme, as one record a member; and whether all of it arrived.

JSON lines have the fields of an `opening`. In a CSV `lots` and `spend` are written 2026-03:120;2026-04:80, consents
purpose/channel/yes|no/text version/moment, several parted by ; as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from processors.opening import opened
from schemas.actions import Opening
from schemas.member import MemberState
from schemas.verdicts import Rejected
from streams.analytics import Reader
from streams.staff_records import Lines, Signer

TOTALS = """
SELECT count(), sum(points), sum(reversed) FROM (
    SELECT points, reversed FROM facts FINAL
    WHERE log = %(log)s AND kind = 'ledger' AND rule = 'opening' AND startsWith(event_id, %(file)s)
)
"""


class Brought(NamedTuple):
    """A member of the file, and its record."""

    member_id: str
    points: int
    debt: int
    value: bytes


class Totals(NamedTuple):
    """What a file, the states or ClickHouse come to."""

    members: int
    points: int
    debt: int


def rows_of(lines: Lines, signer: Signer) -> list[Brought]:
    """Every member as a record. Raises `InputInvalid` with every line that is wrong: a file goes in whole or not."""
    bad, found, seen = lines.bad, [], set()
    for line, number, fields in lines.rows:
        try:
            said = _parsed(fields)
        except ValueError as error:
            bad.add(line, str(error))
            continue
        member = str(fields.get("member_id", ""))
        value, read = signer.signed(said | {"action": "opening"} | signer.head(f"{lines.digest}:{number}", member))
        if isinstance(read, Rejected):
            bad.add(line, f"{read.pointer} {read.detail}")
        elif member in seen:
            bad.add(line, f"{member} stands in the file before: one line a member")
        else:
            assert isinstance(read, Opening)
            found.append(Brought(member, sum(lot.points for lot in read.lots), read.debt, value))
        seen.add(member)
    bad.raise_any()
    return found


def _whole(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{name} is {text}, wanted is a whole number") from None


def _parsed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a CSV's row as those of JSON; what is JSON already stays. Raises `ValueError`."""
    said = dict(fields)
    if isinstance(text := said.get("lots", ""), str):
        said["lots"] = [{"month": month, "points": _whole("lots", points)} for month, points in _pairs("lots", text)]
    if isinstance(text := said.get("spend", ""), str):
        said["spend"] = {month: _whole("spend", amount) for month, amount in _pairs("spend", text)}
    if isinstance(text := said.get("debt", "0"), str):
        said["debt"] = _whole("debt", text)
    if isinstance(text := said.get("consent"), str):
        said["consent"] = [_consent(one) for one in text.split(";")]
    return said


def _pairs(name: str, text: str) -> list[tuple[str, str]]:
    pairs = [tuple(one.split(":")) for one in text.split(";") if one]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"{name} is {text}, wanted is 2026-03:120;2026-04:80")
    return [(month.strip(), number.strip()) for month, number in pairs]


def _consent(text: str) -> dict[str, Any]:
    parts = text.split("/", 4)
    if len(parts) != 5 or parts[2] not in ("yes", "no"):
        raise ValueError(f"consent is {text}, wanted is purpose/channel/yes|no/text version/moment")
    purpose, channel, granted, version, moment = parts
    return {
        "purpose": purpose,
        "contact_channel": channel,
        "granted": granted == "yes",
        "text_version": version,
        "occurred_at": moment,
    }


def totals_of(rows: list[Brought]) -> Totals:
    """What the file comes to."""
    return Totals(len(rows), sum(row.points for row in rows), sum(row.debt for row in rows))


def sort_out(
    rows: list[Brought], states: Mapping[str, MemberState], digest: str
) -> tuple[list[Brought], Totals, list[str]]:
    """What is left to bring; what the states hold of this file; members that another file has brought."""
    left, others, there = [], [], []
    for row in rows:
        state = states.get(row.member_id)
        brought = opened(state) if state else None
        if brought is None:
            left.append(row)
        elif brought.event_id.startswith(f"{digest}:"):
            there.append(brought)
        else:
            others.append(row.member_id)
    held = Totals(len(there), sum(it.points for it in there), sum(it.debt for it in there))
    return left, held, others


def in_clickhouse(reader: Reader, log: str, digest: str) -> Totals:
    """What ClickHouse has of a file's openings."""
    ((members, points, debt),) = reader.query(TOTALS, {"log": log, "file": f"{digest}:"})
    return Totals(int(members), int(points), int(debt))
