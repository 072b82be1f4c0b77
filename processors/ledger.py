"""The ledger: balances, lots of active points by earning month, and the entry that explains each change.

Entries add up: `points`, `active` and `pending`, summed over a member's life, are the balances in the state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from processors import activity
from schemas.actions import Action
from schemas.facts import Ledger
from schemas.member import LOT, MemberState

if TYPE_CHECKING:
    from processors.member import Moment
    from processors.programme import Rules


def credit(state: MemberState, month: int, points: int) -> None:
    """Issue points as active ones of an earning month; negative takes them back from that month's lot."""
    state.issued += points
    activate(state, month, points)


def entry(
    rules: Rules,
    state: MemberState,
    action: Action,
    moment: Moment,
    month: int,
    rule: str,
    points: int,
    because: str,
    reason: str = "",
) -> Ledger:
    """The ledger entry of an action that earns active points, base x1; callers change what differs.

    It tells the activity score after the action, so the action's weight is added before.
    """
    fact = rules.new_entry()
    fact.member_id = action.member_id
    fact.effective_at = moment.at
    fact.decided_at = moment.clock
    fact.source = action.source
    fact.event_id = action.event_id
    fact.region = action.region
    fact.group_id = action.group_id
    fact.action = fact.rule = rule
    fact.points = fact.active = fact.base = points
    fact.month = month
    fact.because = because
    fact.reason = reason
    fact.score = score = activity.score(state)
    fact.activity_index = rules.activity.index(score)
    return fact


def lots(state: MemberState) -> dict[int, int]:
    """Active points by earning month, oldest first."""
    by_month: dict[int, int] = dict(LOT.iter_unpack(state.lots))
    if state.lot_points:
        by_month[state.lot_month] = state.lot_points
    return by_month


def activate(state: MemberState, month: int, points: int) -> None:
    """Add active points to the lot of an earning month; negative ones leave it."""
    state.active += points
    if month == state.lot_month:
        state.lot_points += points
    elif month > state.lot_month:
        if state.lot_points:
            state.lots += LOT.pack(state.lot_month, state.lot_points)
        state.lot_month, state.lot_points = month, points
    else:
        older: dict[int, int] = dict(LOT.iter_unpack(state.lots))
        older[month] = older.get(month, 0) + points
        state.lots = b"".join(LOT.pack(*lot) for lot in sorted(older.items()) if lot[1])
