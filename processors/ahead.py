"""A member's future if nobody does anything: what timers alone will bring, up to a moment.

The partition's ticks come each second, so a timer fires within a second of its moment; here it fires at the moment.
"""

from __future__ import annotations

from processors.member import Member, wake
from processors.versions import Versions, versions_of
from schemas.facts import Fact
from schemas.partition import PartitionState


def ahead(own: PartitionState, member: Member, until: int, offset: int) -> tuple[Versions, list[Fact]]:
    """Let time pass for one member of a partition up to `until` (ms, not before the partition's clock).

    The member is changed in place, the partition is not. Returns the versions as they stand then, and the facts in
    order, as if told at `offset`. A version that begins to hold meanwhile is shown to the member at that moment.
    """
    state, clock = member.state, own.clock
    versions, facts = versions_of(own), list[Fact]()
    at = clock if own.sweep_next <= state.ordinal < own.sweep_until else _next(versions, state.armed)
    while 0 < at <= until:
        clock = max(clock, at)
        versions.switch(clock)
        rules = versions.in_force
        assert rules is not None, "a member without a programme"
        decision = wake(rules, member, clock, offset, len(facts))
        facts += decision.facts
        state.armed = decision.wake_at
        at = _next(versions, state.armed)
    return versions, facts


def _next(versions: Versions, armed: int) -> int:
    return min(armed, versions.next_switch) if armed else versions.next_switch
