"""mood: the last satisfaction was low, or a complaint is open for too long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from processors import cases, reasons
from processors.cases import Case
from processors.judgement import Judgement, of_action, of_time
from processors.ladders import ASIDE, Aside, known
from processors.reasons import COMPLAINT, ONE, SATISFACTION, Reason
from processors.waiting import Due
from schemas.actions import Complaint, Nps
from schemas.facts import Fact
from schemas.member import MemberState

if TYPE_CHECKING:
    from processors.member import Moment
    from processors.programme import Rules

MOOD, PATH = ASIDE["mood"], ASIDE["path"]
SCALE = 10  # of a score of 0 to 10
HOUR_MS = 3_600_000


def scored(in_force: Rules, state: MemberState, action: Nps, moment: Moment, facts: list[Fact]) -> None:
    """A score. One older than the latest known says nothing of now."""
    at, warnings = moment.at, in_force.warnings
    if at <= state.closed_at or (state.beside is not None and at < state.beside.score_at):
        return
    beside = known(state)
    beside.score, beside.score_at = action.score * SCALE, at
    judgement = of_action(in_force, state, action, moment, facts)
    if beside.score < warnings.score_below:
        reason = Reason(MOOD.number, SATISFACTION, ONE, at, at + warnings.score_ms)
        reasons.add(judgement, MOOD, reason, of_score(in_force, beside.score), at)
    else:
        reasons.lift(judgement, MOOD, lambda it: it.kind == SATISFACTION, at, "score")


def complained(in_force: Rules, state: MemberState, action: Complaint, moment: Moment, facts: list[Fact]) -> None:
    """A complaint was opened or resolved; one opened while path is held is a reason more of that."""
    at, case = moment.at, cases.of(state, action)
    judgement = of_action(in_force, state, action, moment, facts)
    if action.status == "opened" and not case.open and at > state.closed_at:
        case = cases.opened(case, action, at)
        cases.keep(in_force, state, case, moment.clock)
        held = PATH.held(state)
        if case.open and held.code and held.at <= at:
            until = at + in_force.warnings.path_ms
            reasons.add(judgement, PATH, Reason(PATH.number, COMPLAINT, case.key, at, until), "", at)
    elif action.status == "resolved":
        case = case._replace(resolved=max(case.resolved, at))
        cases.keep(in_force, state, case, moment.clock)
        for of in (MOOD, PATH):
            resolved(judgement, of, case, at)


def resolved(judgement: Judgement, of: Aside, case: Case, at: int) -> None:
    """A case was resolved: it is no reason any more, unless it was opened anew since."""
    if not case.open:
        reasons.lift(judgement, of, lambda it: (it.kind, it.key) == (case.kind, case.key), at, "resolved")


def of_score(in_force: Rules, score: int) -> str:
    """Why a satisfaction is a reason."""
    return f"a satisfaction of {score}, under {in_force.warnings.score_below}"


def of_complaint(in_force: Rules, case: Case) -> str:
    """Why a complaint is a reason."""
    hours = in_force.warnings.complaint_ms[case.severity] // HOUR_MS
    return f"{cases.SEVERITIES[case.severity]} complaint, not resolved in {hours} h"


def due_of(in_force: Rules, case: Case) -> int:
    """When a complaint has been open for too long."""
    return case.opened + in_force.warnings.complaint_ms[case.severity]


def waits(in_force: Rules, state: MemberState) -> list[tuple[int, Case]]:
    """The complaints that are open and not a reason yet, each with its moment."""
    open_ones = [it for it in cases.read(state) if it.kind == COMPLAINT and it.open]
    return [(due_of(in_force, it), it) for it in open_ones if reasons.has(state, MOOD, COMPLAINT, it.key) is None]


def next_due(in_force: Rules, state: MemberState) -> int:
    """When the next complaint has been open for too long; 0 = none is."""
    return min((at for at, _ in waits(in_force, state)), default=0)


def fall_due(due: Due) -> None:
    """Complaints have been open for too long."""
    for at, case in waits(due.in_force, due.state):
        if at <= due.by:
            reason = Reason(MOOD.number, COMPLAINT, case.key, at)
            reasons.add(of_time(due), MOOD, reason, of_complaint(due.in_force, case), case.opened)
