"""Entries of staff: points given or taken by two people, undone one by one or as a whole batch, each at most once.

What an entry did is kept in the state with its identity, and so is known again however late it comes a second time.
An entry undone does exactly the opposite: points given are taken back, points taken return to their lots.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from processors import holds, ledger
from processors.decision import about
from schemas.actions import Adjust
from schemas.facts import AdjustRefused, Fact, Ledger
from schemas.member import MemberState
from schemas.verdicts import Verdict

if TYPE_CHECKING:
    from processors.member import Moment
    from processors.programme import Rules


class Adjusted(Struct, array_like=True, gc=False):
    """An entry of staff and what it did. Packed rows of `state.adjusts`, oldest first.

    `points` were given, or below 0 taken: then `lots` (end, points) says from where, the rest became debt. `end` is
    the end of the entry's own lot, `place` the offset and index of the entry.
    """

    event_id: str
    batch_id: str
    row: int
    points: int
    end: int
    place: tuple[int, int]
    lots: tuple[tuple[int, int], ...] = ()
    undone: bool = False


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Adjusted]).decode


def adjusted(state: MemberState) -> list[Adjusted]:
    """The entries of staff that are remembered, oldest first."""
    return _decode(state.adjusts) if state.adjusts else []


def decided(
    rules: Rules,
    in_force: Rules,
    id_key: bytes,
    state: MemberState,
    action: Adjust,
    moment: Moment,
    day: int,
    facts: list[Fact],
) -> Verdict:
    """A decision of staff; it is nothing that the member did."""
    return Verdict.APPLIED if adjust(rules, state, action, moment, day, facts) else Verdict.DUPLICATE


def adjust(rules: Rules, state: MemberState, action: Adjust, moment: Moment, day: int, facts: list[Fact]) -> bool:
    """Do what two people decided; False = it was booked already, and nothing is done."""
    if action.kind == "points":
        return _points(rules, state, action, moment, day, facts)
    if action.kind == "undo_batch":
        _undo_batch(rules, state, action, moment, day, facts)
    elif action.hold_id:
        if not holds.judge(rules, state, action, moment, facts):
            _refuse(rules, action, moment, "unknown", f"no hold {action.hold_id} is open", facts)
    else:
        _reverse(rules, state, action, moment, day, facts)
    return True


def _points(rules: Rules, state: MemberState, action: Adjust, moment: Moment, day: int, facts: list[Fact]) -> bool:
    """Points given join the lot of their own month; points taken go as a refund takes them."""
    rows = adjusted(state)
    if any(_same(row, action) for row in rows):
        what = f"row {action.row} of batch {action.batch_id}" if action.batch_id else action.event_id
        _refuse(rules, action, moment, "known", f"{what} was booked already", facts)
        return False
    points, month = action.points or 0, rules.calendar.month(day)
    end = rules.lot_ends[month]
    fact = _entry(rules, state, action, moment, month, f"{points} by staff")
    taken = 0
    if points > 0:
        fact.points = fact.active = points
        ledger.issue(rules, state, fact)
    else:
        taken = ledger.reverse(state, fact, -points, end, forgive=rules.refund_policy != "debt")
        if taken < -points:
            fact.because += f"; {-points - taken} forgiven"
    row = Adjusted(
        event_id=action.event_id,
        batch_id=action.batch_id,
        row=action.row or 0,
        points=points if points > 0 else -taken,
        end=end,
        place=(moment.offset, moment.index + len(facts)),
        lots=tuple((lot, -part) for lot, part in fact.lots) if points < 0 else (),
    )
    facts.append(fact)
    _keep(rules, state, [*rows, row])
    return True


def _undo_batch(rules: Rules, state: MemberState, action: Adjust, moment: Moment, day: int, facts: list[Fact]) -> None:
    """Undo what a batch did to the member, the last entry first."""
    rows = adjusted(state)
    _undo(rules, state, action, moment, day, rows, [row for row in rows if row.batch_id == action.batch_id], facts)


def _reverse(rules: Rules, state: MemberState, action: Adjust, moment: Moment, day: int, facts: list[Fact]) -> None:
    """Undo the entry that it refers to."""
    rows = adjusted(state)
    _undo(rules, state, action, moment, day, rows, [row for row in rows if row.event_id == action.refers_to], facts)


def _undo(
    rules: Rules,
    state: MemberState,
    action: Adjust,
    moment: Moment,
    day: int,
    rows: list[Adjusted],
    named: list[Adjusted],
    facts: list[Fact],
) -> None:
    what = f"batch {action.batch_id}" if action.kind == "undo_batch" else action.refers_to
    standing = [row for row in named if not row.undone]
    if not named:
        return _refuse(rules, action, moment, "unknown", f"no entry of {what} is known", facts)
    if not standing:
        return _refuse(rules, action, moment, "undone", f"{what} was undone already", facts)
    month = rules.calendar.month(day)
    for row in reversed(standing):
        fact = _entry(rules, state, action, moment, month, f"{-row.points} undoes an entry of staff")
        fact.amends, fact.batch_id = row.place, row.batch_id
        facts.append(fact)
        if row.points > 0:
            _take(state, fact, row, moment.clock)
        else:
            owed = -row.points - sum(part for _, part in row.lots)
            back = [*([(row.end, owed)] if owed else []), *row.lots]
            ledger.unreverse(rules, state, fact, back, moment.clock, facts)
        row.undone = True
    return _keep(rules, state, rows)


def _take(state: MemberState, fact: Ledger, row: Adjusted, clock: int) -> None:
    """Take given points back; nothing is owed for those whose lot has ended."""
    if row.end > clock:
        ledger.reverse(state, fact, row.points, row.end)
    else:
        fact.reason = "ended"


def _entry(rules: Rules, state: MemberState, action: Adjust, moment: Moment, month: int, what: str) -> Ledger:
    """An entry of 0 that names both people and why."""
    fact = ledger.entry(rules, state, action, moment, month, "adjust", 0, what)
    fact.entry, fact.why = "adjusted", action.reason
    fact.operator, fact.approved_by, fact.batch_id = action.operator, action.approved_by, action.batch_id
    return fact


def _refuse(rules: Rules, action: Adjust, moment: Moment, reason: str, because: str, facts: list[Fact]) -> None:
    fact = AdjustRefused(
        member_id=action.member_id,
        effective_at=moment.at,
        decided_at=moment.clock,
        operator=action.operator,
        approved_by=action.approved_by,
        reason=reason,
        because=because,
        batch_id=action.batch_id,
        hold_id=action.hold_id,
        refers_to=action.refers_to,
    )
    facts.append(about(fact, rules, action))


def _same(row: Adjusted, action: Adjust) -> bool:
    if action.batch_id:
        return (row.batch_id, row.row) == (action.batch_id, action.row)
    return row.event_id == action.event_id


def _keep(rules: Rules, state: MemberState, rows: list[Adjusted]) -> None:
    state.adjusts = _encode(rows[-rules.adjusts_kept :])
