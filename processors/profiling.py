"""Consent to profiling: who refuses it has no value and no rhythm (handbook 7.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from processors import reasons, value_drop
from processors.judgement import Judgement, of_action
from processors.ladders import known
from processors.rhythm import RHYTHM
from processors.value_drop import VALUE
from schemas.actions import Action, Consent
from schemas.facts import Fact
from schemas.member import MemberState

if TYPE_CHECKING:
    from processors.member import Moment
    from processors.programme import Rules

PURPOSE = "profiling"
OF = (RHYTHM, VALUE)
"""The dimensions that a refusal ends."""


def told(in_force: Rules, state: MemberState, action: Consent, moment: Moment, facts: list[Fact]) -> None:
    """A consent, or its refusal."""
    if action.purpose == PURPOSE:
        judgement = of_action(in_force, state, action, moment, facts)
        _note(judgement, moment.at, granted=action.granted)


def brought(
    in_force: Rules, state: MemberState, action: Action, at: int, moment: Moment, facts: list[Fact], *, granted: bool
) -> None:
    """The same, brought along from an older programme."""
    _note(of_action(in_force, state, action, moment, facts), at, granted=granted)


def _note(judgement: Judgement, at: int, *, granted: bool) -> None:
    """The latest counts, whatever its channel: nobody is contacted by profiling. On a tie the refusal does."""
    state, beside = judgement.state, known(judgement.state)
    if (at, not granted) <= (beside.profiling_at, bool(beside.profiling)):
        return
    beside.profiling_at, beside.profiling = at, int(not granted)
    if granted:
        value_drop.look_again(judgement.in_force, state, judgement.clock)
        return
    state.rhythm = beside.month = 0
    for of in OF:
        reasons.lift(judgement, of, lambda it: True, at, "profiling")
