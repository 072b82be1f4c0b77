"""Comeback: paid for the first own action after a long silence, some times a year, in any order of arrival.

What counts is the list of gaps between neighbouring own actions that are long enough. A late own action can
end, split or move a gap, and so shift the places of later ones in their year: the list before is compared
with the list after, what is no longer true is taken back and what became true is paid, there where the action
that came back was counted. Only gaps that ended
inside the horizon can still change; of older ones of the year their number is enough. A gap is judged by the version
of the action that ended it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from processors.ledger import correct, entry
from processors.origins import names, origin, pack, unpack
from schemas.actions import Action, name_of
from schemas.facts import Fact, Ledger
from schemas.member import COMEBACK, MemberState

if TYPE_CHECKING:
    from processors.member import Moment
    from processors.programme import Rules


class Gap(NamedTuple):
    """A silence and what its end was paid; `offset` and `idx` are those of the last entry that said so.

    `came` is the origin of the action that ended it.
    """

    before: int
    back: int
    paid: int = 0
    offset: int = 0
    idx: int = 0
    came: bytes = b""


def came_back(rules: Rules, state: MemberState, action: Action, moment: Moment, facts: list[Fact]) -> None:
    """An own action at `moment.at`; call it before `state.last_own` is raised. Keeps `state.first_own`.

    An action that follows the latest known one within the limit changes nothing and need not come here.
    """
    at, first, last = moment.at, state.first_own, state.last_own
    if not last:
        state.first_own, state.first_origin = at, _origin(action)
    elif at >= last:
        if at - last >= rules.comeback_ms:
            _change(rules, state, action, moment, None, [Gap(last, at, came=_origin(action))], facts)
    elif at < first:
        gap = Gap(at, first, came=state.first_origin)
        state.first_own, state.first_origin = at, _origin(action)
        if first - at >= moment.judging(rules, action.member_id, state, first).comeback_ms:
            _change(rules, state, action, moment, None, [gap], facts)
    elif state.comebacks:
        _split(rules, state, action, moment, facts)


def _split(rules: Rules, state: MemberState, action: Action, moment: Moment, facts: list[Fact]) -> None:
    """A late own action inside a known gap cuts it into two, of which only the long enough ones stay."""
    at = moment.at
    for gap in _known(state):
        if gap.before < at < gap.back:
            parts = (Gap(gap.before, at, came=_origin(action)), gap._replace(before=at))
            own = [moment.judging(rules, action.member_id, state, part.back) for part in parts]
            judged = zip(parts, own, strict=True)
            long_enough = [part for part, its in judged if part.back - part.before >= its.comeback_ms]
            _change(rules, state, action, moment, gap, long_enough, facts)
            return


def _change(
    rules: Rules,
    state: MemberState,
    action: Action,
    moment: Moment,
    gone: Gap | None,
    new: list[Gap],
    facts: list[Fact],
) -> None:
    """Replace a gap by others; take back what is no longer due, pay what became due, and keep the list."""
    gaps = sorted([gap for gap in _known(state) if gap != gone] + new)
    if gone and gone.paid and gone.back not in [gap.back for gap in new]:
        facts.append(_take_back(rules, state, action, moment, gone, "the silence before it was shorter"))
    kept = [
        _settle(rules, state, action, moment, gap, place, facts)
        for gap, place in zip(gaps, _places(rules, state, gaps), strict=True)
    ]
    _keep(rules, state, kept, moment.clock - rules.horizon_ms)


def _places(rules: Rules, state: MemberState, gaps: list[Gap]) -> list[int]:
    """The place of each gap's end in its programme year, from 1."""
    places: dict[int, int] = {state.comeback_year: state.comeback_count}
    found = []
    for gap in gaps:
        year = _year(rules, gap)
        places[year] = places.get(year, 0) + 1
        found.append(places[year])
    return found


def _settle(
    rules: Rules, state: MemberState, action: Action, moment: Moment, gap: Gap, place: int, facts: list[Fact]
) -> Gap:
    """Let what a gap was paid be what its place in the year says."""
    rules = moment.judging(rules, action.member_id, state, gap.back)
    due, at = place <= rules.comebacks_per_year, moment.index + len(facts)
    if gap.paid:
        if due:
            return gap
        limit = f"it is number {place} of the year, {rules.comebacks_per_year} are paid"
        facts.append(_take_back(rules, state, action, moment, gap, limit))
        return gap._replace(paid=0, offset=moment.offset, idx=at)
    if gap.offset and not (due and rules.comeback_points):
        return gap  # it was said already
    fact = _entry(rules, state, action, moment, gap)
    facts.append(fact)
    if not due:
        fact.reason = "cap"
        fact.because = f"0: the year's {rules.comebacks_per_year} comebacks are reached"
        return gap._replace(offset=moment.offset, idx=at)
    fact.points = fact.active = fact.base = rules.comeback_points
    days = (gap.back - gap.before) // 86_400_000
    fact.because = f"{fact.points} = back after {days} days, number {place} of the year"
    if gap.offset:
        fact.entry, fact.amends = "corrected", (gap.offset, gap.idx)
    correct(rules, state, fact)
    return gap._replace(paid=fact.points, offset=moment.offset, idx=at)


def _take_back(rules: Rules, state: MemberState, action: Action, moment: Moment, gap: Gap, why: str) -> Ledger:
    fact = _entry(rules, state, action, moment, gap)
    fact.entry = "corrected"
    fact.points = fact.active = fact.base = -gap.paid
    fact.because = f"-{gap.paid}: a late action shows that {why}"
    fact.amends = (gap.offset, gap.idx)
    correct(rules, state, fact)
    return fact


def _entry(rules: Rules, state: MemberState, action: Action, moment: Moment, gap: Gap) -> Ledger:
    """An entry of 0 that belongs to the moment the member was back, and counts where that action did."""
    month = rules.calendar.month(rules.calendar.day(gap.back))
    fact = entry(rules, state, action, moment, month, "comeback", 0, "", "")
    fact.action, fact.region, fact.group_id = names(gap.came)
    fact.effective_at = gap.back
    return fact


def _origin(action: Action) -> bytes:
    return origin((name_of(action), action.region, action.group_id))


def _known(state: MemberState) -> list[Gap]:
    return [Gap._make((*row, came)) for row, came in unpack(COMEBACK, state.comebacks)]


def _keep(rules: Rules, state: MemberState, gaps: list[Gap], before: int) -> None:
    """Keep the gaps that a late action could still change; of the others count those of the newest year."""
    while gaps and gaps[0].back < before:
        year = _year(rules, gaps.pop(0))
        if year > state.comeback_year:
            state.comeback_year, state.comeback_count = year, 0
        state.comeback_count += year == state.comeback_year
    state.comebacks = b"".join(pack(COMEBACK, gap[:-1], gap.came) for gap in gaps)


def _year(rules: Rules, gap: Gap) -> int:
    return rules.calendar.year(rules.calendar.day(gap.back))
