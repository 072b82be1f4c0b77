"""Lots: a member's active points by the moment they end. The nearest end is spent first, and expires at its moment.

The lot of the latest end, which nearly every entry joins, stands in scalars; the others are packed rows before it,
nearest first. A lot has a bit for each warning of the programme whose moment has passed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from processors.waiting import Due, changed
from schemas.facts import Ledger, PointsExpiring
from schemas.member import LOT, MemberState

if TYPE_CHECKING:
    from processors.programme import Rules

Lot = tuple[int, int, int]  # end (ms), points, bits of the warnings passed
Rows = list[tuple[int, int]]  # (end, points)


def held(state: MemberState) -> list[Lot]:
    """Every lot with points, nearest end first."""
    lots: list[Lot] = list(LOT.iter_unpack(state.lots))
    if state.lot_points:
        lots.append((state.lot_end, state.lot_points, state.lot_warned))
    return lots


def by_end(state: MemberState) -> dict[int, int]:
    """Active points by the moment they end (ms), nearest first."""
    return {end: points for end, points, _ in held(state)}


def join(state: MemberState, end: int, points: int) -> None:
    """Add points (above 0) to the lot of an end."""
    if end == state.lot_end and state.lot_points:
        state.lot_points += points
        return
    lots = {lot[0]: lot for lot in held(state)}
    _, there, warned = lots.get(end, (end, 0, 0))
    lots[end] = (end, there + points, warned)
    _put(state, sorted(lots.values()))


def mark_passed(rules: Rules, state: MemberState, end: int, clock: int) -> int:
    """Let the warnings of a lot whose moments have passed be given; its points, 0 = none has passed."""
    passed = sum(1 << bit for bit, before in enumerate(rules.warnings_ms) if end - before <= clock)
    if not passed:
        return 0
    lots = [(at, points, warned | passed if at == end else warned) for at, points, warned in held(state)]
    _put(state, lots)
    return by_end(state)[end]


def take(state: MemberState, points: int, first: int = 0) -> Rows:
    """Take up to so many points out of the lots, that of the end `first` before the nearest; what came from where."""
    lots = held(state)
    order = sorted(lots, key=lambda lot: (lot[0] != first, lot[0]))
    taken: dict[int, int] = {}
    for end, there, _ in order:
        if part := min(there, points):
            taken[end] = part
            points -= part
    _put(state, [(end, there - taken.get(end, 0), warned) for end, there, warned in lots])
    return list(taken.items())


def _put(state: MemberState, lots: list[Lot]) -> None:
    left = [lot for lot in lots if lot[1]]
    state.lot_end, state.lot_points, state.lot_warned = left.pop() if left else (0, 0, 0)
    state.lots = b"".join(LOT.pack(*lot) for lot in left)
    changed(state)


# -- time ---------------------------------------------------------------------------------------------------------


def next_due(in_force: Rules, state: MemberState) -> int:
    """When the next lot is warned of or ends; 0 = there are no points."""
    return min([_moment(in_force, lot)[0] for lot in held(state)], default=0)


def fall_due(due: Due) -> None:
    """Warn of what ends soon and let expire what has ended, in the order of moments."""
    rules, state = due.in_force, due.state
    while lots := held(state):
        place = min(range(len(lots)), key=lambda at: _moment(rules, lots[at]))
        (at, bit), (end, points, warned) = _moment(rules, lots[place]), lots[place]
        if at > due.by:
            return
        if bit < 0:
            del lots[place]
            _put(state, lots)
            state.active -= points
            state.expired += points
            due.facts.append(_expired(due, end, points))
            continue
        lots[place] = (end, points, warned | 1 << bit)
        _put(state, lots)
        if points >= rules.warn_from:
            due.facts.append(warning(rules, due.member_id, end, points, at, due.clock))


def warning(rules: Rules, member_id: str, end: int, points: int, at: int, clock: int) -> PointsExpiring:
    """The fact that so many points will expire at `end`."""
    return PointsExpiring(
        member_id=member_id,
        effective_at=at,
        decided_at=clock,
        programme=rules.number,
        rules=rules.rules,
        points=points,
        ends_at=end,
    )


def _moment(rules: Rules, lot: Lot) -> tuple[int, int]:
    """What comes next of a lot: (moment, bit of the warning), the bit of its end is -1."""
    end, _, warned = lot
    for bit, before in enumerate(rules.warnings_ms):  # the earliest first
        if not warned >> bit & 1:
            return end - before, bit
    return end, -1


def _expired(due: Due, end: int, points: int) -> Ledger:
    return Ledger(
        member_id=due.member_id,
        effective_at=end,
        decided_at=due.clock,
        programme=due.in_force.number,
        rules=due.in_force.rules,
        rule="expiry",
        entry="expired",
        month=due.in_force.calendar.month(due.in_force.calendar.day(end)) - due.in_force.lot_ends.months,
        active=-points,
        expired=points,
        lots=((end, -points),),
        because=f"{points} active points expired: their lot has ended",
    )
