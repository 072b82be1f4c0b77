"""What waits for a moment and not for an action: each kind says when its next thing is due, and lets it fall due.

Things fall due in the order of their moments; of one moment in the order of `member.LATER`, after points that become
active and before tiers. Kinds that seldom change share one field of the state, `later`, so that an action asks one
number and not every kind; who changes what such a kind waits for calls `changed`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from schemas.facts import Fact
from schemas.member import MemberState

if TYPE_CHECKING:
    from processors.programme import Rules

LOOK = -1
"""`later` of a state in which something changed: look again."""


class Due(Struct, gc=False):
    """What falls due: for whom, by which moment, and where its facts go."""

    in_force: Rules
    state: MemberState
    member_id: str
    by: int  # what lies after this moment still waits, ms
    clock: int
    offset: int
    index: int  # of this decision's first fact at the offset
    facts: list[Fact]


class Kind(NamedTuple):
    """A kind of things that wait: when the next is due (0 = none), and what happens to all that are, up to `by`."""

    next_due: Callable[[Rules, MemberState], int]
    fall_due: Callable[[Due], None]


def changed(state: MemberState) -> None:
    """Say that what a later kind waits for is no longer as it was."""
    state.later = LOOK


def sooner(state: MemberState, at: int) -> None:
    """Say that a later kind waits for a moment more; what else waits is as it was."""
    if not 0 <= state.later <= at or not state.later:
        state.later = at if state.later >= 0 else LOOK


def next_of(kinds: tuple[Kind, ...], in_force: Rules, state: MemberState) -> int:
    """When the next thing of these kinds is due; 0 = none waits."""
    moments = [at for next_due, _ in kinds if (at := next_due(in_force, state))]
    return min(moments) if moments else 0
