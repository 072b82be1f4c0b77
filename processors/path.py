"""path: somebody who was about to buy met a problem that support did not solve, and has not bought since."""

from __future__ import annotations

from typing import TYPE_CHECKING

from processors import cases, reasons
from processors.cases import Case
from processors.judgement import Judgement, of_action
from processors.ladders import ASIDE
from processors.mood import resolved
from processors.reasons import SUPPORT, Reason
from schemas.actions import Action, AddToCart, Browse, Support
from schemas.facts import Fact
from schemas.member import BROWSED, MemberState

if TYPE_CHECKING:
    from processors.member import Moment
    from processors.programme import Rules

PATH = ASIDE["path"]
SIZE = BROWSED.size
WORDS = "a support case is unresolved, and what was wanted before it was not bought"


def browsed(in_force: Rules, state: MemberState, action: Browse, moment: Moment, facts: list[Fact]) -> None:
    """Of browses the latest are known, as many as the programme asks for."""
    at, rows, room = BROWSED.pack(moment.at), state.browsed, in_force.warnings.browses * SIZE
    if not rows or moment.at >= BROWSED.unpack_from(rows)[0]:
        state.browsed = (at + rows)[:room]
        return
    moments = sorted((moment.at, *(it for (it,) in BROWSED.iter_unpack(rows))), reverse=True)
    state.browsed = b"".join(map(BROWSED.pack, moments))[:room]


def carted(in_force: Rules, state: MemberState, action: AddToCart, moment: Moment, facts: list[Fact]) -> None:
    """Of carts the latest is known."""
    state.carted = max(state.carted, moment.at)


def wanted_before(in_force: Rules, state: MemberState, at: int) -> int:
    """When, within the days before a moment, the member showed that it wanted something; 0 = it did not."""
    since, browses = at - in_force.warnings.wanted_ms, in_force.warnings.browses
    seen = [moment for (moment,) in BROWSED.iter_unpack(state.browsed) if since <= moment <= at]
    found = [state.carted] if since <= state.carted <= at else []
    return max([*found, *(seen[:1] if len(seen) >= browses else [])], default=0)


def supported(in_force: Rules, state: MemberState, action: Support, moment: Moment, facts: list[Fact]) -> None:
    """A support case was opened, resolved, or stays unresolved."""
    at, case = moment.at, cases.of(state, action)
    judgement = of_action(in_force, state, action, moment, facts)
    if action.status == "resolved":
        case = case._replace(resolved=max(case.resolved, at))
    elif action.status == "unresolved":
        case = case._replace(unresolved=max(case.unresolved, at))
    elif case.open or at <= state.closed_at:
        return
    else:
        case = cases.opened(case, action, at)._replace(wanted=wanted_before(in_force, state, at))
    cases.keep(in_force, state, case, moment.clock)
    if action.status == "resolved":
        resolved(judgement, PATH, case, at)
    elif case.open and case.unresolved >= case.opened:
        _judge(judgement, case)


def _judge(judgement: Judgement, case: Case) -> None:
    """An open case that is unresolved."""
    in_force, state, since = judgement.in_force, judgement.state, case.unresolved
    if case.wanted and state.last_purchase <= case.wanted and since > state.closed_at:
        reason = Reason(PATH.number, SUPPORT, case.key, since, since + in_force.warnings.path_ms)
        reasons.add(judgement, PATH, reason, WORDS, case.opened)


def bought(in_force: Rules, state: MemberState, action: Action, moment: Moment, facts: list[Fact]) -> None:
    """A purchase ends every reason that stood on not having bought; what was wanted after it is wanted still."""
    held = [it for it in reasons.all_of(state) if it.dimension == PATH.number]
    if not held:
        return
    at, wanted = moment.at, {it.key: it.wanted for it in cases.read(state) if it.kind == SUPPORT}
    stay = [it for it in held if it.kind == SUPPORT and wanted.get(it.key, 0) >= at]
    judgement = of_action(in_force, state, action, moment, facts)
    gone = [it for it in held if it not in stay and (not stay or it.kind == SUPPORT or it.since <= at)]
    reasons.lift(judgement, PATH, lambda it: it in gone, at, "purchase")
