"""The warning ladders: presence by silence, buying by time since the last purchase (handbook 6.1, 6.2).

A tier is entered by a timer at the exact moment its time has passed, and left at the moment of the action that ends
it. Whoever decides calls, in this order and only for what applies:

    comeback (reads state.last_own before)                      an own action
    silence_ended(in_force, state, action, moment, facts)       an own action: raises state.last_own, corrects presence
    bought(in_force, state, action, moment, facts)              an accepted order: raises state.last_purchase
    closed(in_force, state, action, moment, facts)              `leave` without group: raises state.closed_at
    due(in_force, state, member_id, clock, offset, index, facts)    at the end, if next_wake() <= clock; and in wake()
    next_wake(in_force, state)                                  the ladders' part of wake_at; 0 = nothing to come

`in_force` is the Rules in force at the clock (uses .ladders, .activity, .calendar, .number, .rules). All of them
append to `facts`; a fact's index is `index` (moment.index) + its place in that list.

While an account is closed nothing is due: a ladder runs only if its last action is newer than `closed_at`.
`next_at` of a fact is told as if nothing else happens; `score` and `activity_index` are those at `effective_at`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.actions import Action
from schemas.facts import AnyFact
from schemas.member import MemberState
from schemas.programme import Programme

if TYPE_CHECKING:
    from processors.member import Moment
    from processors.programme import Rules


class Ladders:
    """The ladders and gravities of a programme, compiled once; `Rules` holds it as `rules.ladders`."""

    def __init__(self, programme: Programme) -> None: ...


def silence_ended(
    in_force: Rules, state: MemberState, action: Action, moment: Moment, facts: list[AnyFact]
) -> None:
    """An own action at `moment.at`: raises `last_own`; leaves, moves or voids the presence tier held.

    An own action not newer than the latest known one changes nothing.
    """


def bought(in_force: Rules, state: MemberState, action: Action, moment: Moment, facts: list[AnyFact]) -> None:
    """An accepted order at `moment.at`: the same for `last_purchase` and the buying tier."""


def closed(in_force: Rules, state: MemberState, action: Action, moment: Moment, facts: list[AnyFact]) -> None:
    """The account was closed at `moment.at`: ends both tiers (voids one entered later), nothing is due any more."""


def due(
    in_force: Rules, state: MemberState, member_id: str, clock: int, offset: int, index: int, facts: list[AnyFact]
) -> None:
    """Enter every tier due by the clock, in order of time; each one passed is left by the next."""


def next_wake(in_force: Rules, state: MemberState) -> int:
    """When the next tier of either ladder comes if nothing happens; 0 = never."""
    return 0


def overall(in_force: Rules, state: MemberState) -> tuple[str, int]:
    """The gravest tier held and the moment that one was entered; ("", 0) = none."""
    return "", 0
