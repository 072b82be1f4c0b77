"""The ledger: balances, lots of active points by earning month, and the entry that explains each change.

Entries add up: `points`, `active` and `pending`, summed over a member's life, are the balances in the state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    action: Action,
    moment: Moment,
    month: int,
    rule: str,
    points: int,
    because: str,
    reason: str = "",
) -> Ledger:
    """The ledger entry of an action that earns active points, base x1; callers change what differs."""
    return Ledger(
        member_id=action.member_id,
        effective_at=moment.at,
        decided_at=moment.clock,
        programme=rules.number,
        rules=rules.rules,
        source=action.source,
        event_id=action.event_id,
        action=rule,
        region=action.region,
        group_id=action.group_id,
        rule=rule,
        entry="earned",
        points=points,
        active=points,
        month=month,
        base=points,
        because=because,
        reason=reason,
    )


def lots(state: MemberState) -> dict[int, int]:
    """Active points by earning month, oldest first."""
    return dict(LOT.iter_unpack(state.lots))


def activate(state: MemberState, month: int, points: int) -> None:
    """Add active points to the lot of an earning month; negative ones leave it."""
    state.active += points
    held = state.lots
    last = len(held) - LOT.size
    if last >= 0 and points > 0:
        newest, sum_there = LOT.unpack_from(held, last)
        if newest == month:
            state.lots = held[:last] + LOT.pack(month, sum_there + points)
            return
    by_month = lots(state)
    by_month[month] = by_month.get(month, 0) + points
    state.lots = b"".join(LOT.pack(*row) for row in sorted(by_month.items()) if row[1])
