"""Paid membership: the times it was paid for, as known at arrival."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.actions import Subscribe
from schemas.facts import Fact, MembershipPaid
from schemas.member import PAID, MemberState

if TYPE_CHECKING:
    from processors.member import Moment
    from processors.programme import Rules


def subscribed(in_force: Rules, state: MemberState, action: Subscribe, moment: Moment, facts: list[Fact]) -> None:
    """A membership bought or renewed at `moment.at`, paid until a moment of the future."""
    until = round(action.paid_until.timestamp() * 1000)
    if until > moment.at:
        _pay(in_force, state, action.member_id, moment.at, until, f"plan {action.plan}", moment.clock, facts)


def grant(
    in_force: Rules, state: MemberState, member_id: str, at: int, ms: int, because: str, clock: int, facts: list[Fact]
) -> None:
    """So much membership as a reward at `at`: it follows what is paid already."""
    begins = max(at, paid_until(state))
    _pay(in_force, state, member_id, begins, begins + ms, because, clock, facts)


def holds(state: MemberState, at: int) -> bool:
    """Whether a moment lies in a paid membership."""
    return any(begins <= at < ends for begins, ends in PAID.iter_unpack(state.paid))


def paid_until(state: MemberState) -> int:
    """The end of the latest paid time; 0 = there is none."""
    return max((ends for _, ends in PAID.iter_unpack(state.paid)), default=0)


def _pay(
    in_force: Rules,
    state: MemberState,
    member_id: str,
    begins: int,
    ends: int,
    because: str,
    clock: int,
    facts: list[Fact],
) -> None:
    """Join a time to those that are paid; what no accepted action can lie in is forgotten."""
    oldest = clock - in_force.horizon_ms
    times = sorted([*PAID.iter_unpack(state.paid), (begins, ends)])
    joined: list[tuple[int, int]] = []
    for start, end in times:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    state.paid = b"".join(PAID.pack(*time) for time in joined if time[1] > oldest)
    facts.append(
        MembershipPaid(
            member_id=member_id,
            effective_at=begins,
            decided_at=clock,
            programme=in_force.number,
            rules=in_force.rules,
            until=paid_until(state),
            because=because,
        )
    )
