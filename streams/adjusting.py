"""A file of points to give and to take, and a batch to undo: what it comes to, and the records that do it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from processors.adjust import adjusted
from schemas.member import MemberState
from schemas.verdicts import Rejected
from streams.analytics import Reader
from streams.staff_records import Lines, Signer

MEMBERS = """
SELECT DISTINCT member_id FROM facts
WHERE log = %(log)s AND kind = 'ledger' AND rule = 'adjust' AND startsWith(event_id, %(batch)s)
ORDER BY member_id
"""


class Row(NamedTuple):
    """A row of the file: points of a member, and the record that books them."""

    number: int
    member_id: str
    points: int
    value: bytes


class Totals(NamedTuple):
    """What rows come to, in points."""

    rows: int
    members: int
    given: int
    taken: int


def rows_of(lines: Lines, signer: Signer) -> list[Row]:
    """Every row as a record. Raises `InputInvalid` with every line that is wrong: a file is booked whole or not."""
    bad, found = lines.bad, []
    for line, number, fields in lines.rows:
        member, points = fields.get("member_id"), _whole(fields.get("points"))
        if not member or not points:
            bad.add(line, "wanted are a member_id and points, a whole number other than 0")
            continue
        body = signer.head(f"{lines.digest}:{number}", str(member))
        body |= {"action": "adjust", "kind": "points", "points": points, "batch_id": lines.digest, "row": number}
        value, read = signer.signed(body)
        if isinstance(read, Rejected):
            bad.add(line, f"{read.pointer} {read.detail}")
        else:
            found.append(Row(number, str(member), points, value))
    bad.raise_any()
    return found


def _whole(text: object) -> int:
    """A whole number as a file has it; 0 = it is none."""
    try:
        return int(str(text))
    except ValueError:
        return 0


def left(rows: Iterable[Row], states: Mapping[str, MemberState], batch: str) -> list[Row]:
    """The rows that were not booked yet."""
    booked = {(member, it.row) for member, state in states.items() for it in adjusted(state) if it.batch_id == batch}
    return [row for row in rows if (row.member_id, row.number) not in booked]


def standing(states: Mapping[str, MemberState], batch: str) -> list[tuple[str, int]]:
    """(member, points) of a batch's entries that are not undone."""
    return [
        (member, it.points)
        for member, state in states.items()
        for it in adjusted(state)
        if it.batch_id == batch and not it.undone
    ]


def members_of(reader: Reader, log: str, batch: str) -> list[str]:
    """The members that a batch has an entry of."""
    return [str(row[0]) for row in reader.query(MEMBERS, {"log": log, "batch": f"{batch}:"})]


def undoing(members: Iterable[str], batch: str, signer: Signer) -> list[tuple[str, bytes]]:
    """A record a member that undoes the batch there."""
    found = []
    for member in members:
        body = signer.head(f"{batch}:undo", member)
        found.append((member, signer.signed(body | {"action": "adjust", "kind": "undo_batch", "batch_id": batch})[0]))
    return found


def totals(points: Iterable[tuple[str, int]]) -> Totals:
    """What (member, points) come to."""
    all_of = list(points)
    given = sum(it for _, it in all_of if it > 0)
    return Totals(len(all_of), len({member for member, _ in all_of}), given, given - sum(it for _, it in all_of))
