"""The dimensions of a member's warning tiers as data: what is held and why, what comes, and why one is not held."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from processors import blue, cases, mood, path, profiling, reasons, rhythm, value_drop
from processors.ladders import ASIDE, NAMES, AnyLadder, Aside
from processors.orders import spend_by_month
from processors.programme import Rules
from processors.reasons import COMPLAINT, GAPS, MONTH, ORDER, SATISFACTION, SUPPORT, Reason
from processors.value import closed_spend, is_high
from schemas.member import MemberState

PROFILED = [of.dimension for of in profiling.OF]


class Tier(Struct, frozen=True):
    """A dimension of warning tiers: what is held, and what comes if nothing happens. `tier` "" = none.

    `ends_at` is when the tier is left if nothing happens. Without one, `why_not` names a reason of the catalogue that
    `numbers` fill.
    """

    dimension: str
    tier: str
    since: str
    because: str
    counted_from: str  # the action that time is counted from
    next_tier: str
    next_at: str
    ends_at: str = ""
    why_not: str = ""
    numbers: dict[str, Any] = {}


Text = Callable[[int], str]


def tiers_of(rules: Rules, state: MemberState, clock: int, text: Text) -> list[Tier]:
    """Every dimension: the ladders first. `text` writes a moment (ms), 0 as nothing."""
    ladders = [_ladder(ladder, state, text) for ladder in (rules.ladders.presence, rules.ladders.buying)]
    return ladders + [_aside(of, rules, state, clock, text) for of in ASIDE.values()]


def _ladder(ladder: AnyLadder, state: MemberState, text: Text) -> Tier:
    held, anchor = ladder.held(state), ladder.anchor(state)
    running = anchor > state.closed_at
    step = ladder.next[held.code] if running else None
    reason = next((it.reason for it in ladder.steps if it.code == held.code), "")
    return Tier(
        dimension=ladder.dimension,
        tier=NAMES[held.code],
        since=text(held.at),
        because=reason,
        counted_from=text(anchor) if running else "",
        next_tier=NAMES[step.code] if step else "",
        next_at=text(anchor + step.after) if step else "",
    )


def _aside(of: Aside, rules: Rules, state: MemberState, clock: int, text: Text) -> Tier:
    held, name = of.held(state), of.dimension
    since, comes = COMES[name](rules, state, clock)
    why_not, numbers = ("", {}) if held.code or comes else _why_not(name, rules, state, clock)
    of_tier = [it for it in reasons.all_of(state) if it.dimension == of.number]
    ends = 0 if any(not it.until for it in of_tier) else max((it.until for it in of_tier), default=0)
    if name == "activity" and held.code:
        ends = comes
    return Tier(
        dimension=name,
        tier=NAMES[held.code],
        since=text(held.at),
        because=_because(of, of_tier, rules, state, held.at) if held.code else "",
        counted_from=text(since) if comes else "",
        next_tier="" if held.code or not comes else NAMES[of.code],
        next_at="" if held.code else text(comes),
        ends_at=text(ends),
        why_not=why_not,
        numbers=numbers,
    )


# -- why it is held -----------------------------------------------------------------------------------------------


def _because(of: Aside, of_tier: list[Reason], rules: Rules, state: MemberState, at: int) -> str:
    if of is blue.BLUE:
        recent, before = blue.counts(rules, state, rules.calendar.day(at) - 1, state.active_bits)
        return blue.in_words(rules, recent, before)
    known = {(it.kind, it.key): it for it in cases.read(state)}
    return "; ".join(_reason(it, known.get((it.kind, it.key)), rules, state) for it in of_tier)


def _reason(it: Reason, case: cases.Case | None, rules: Rules, state: MemberState) -> str:
    value = rules.programme.tiers.value
    if it.kind == COMPLAINT and it.dimension == path.PATH.number:
        return "a complaint opened meanwhile"
    if it.kind == COMPLAINT and case is not None:
        return mood.of_complaint(rules, case)
    said = {
        SATISFACTION: mood.of_score(rules, state.beside.score if state.beside else 0),
        SUPPORT: path.WORDS,
        ORDER: f"an order under {value.order.percent}% of the median before",
        MONTH: f"a month under {value.month.percent}% of the median before",
        GAPS: rhythm.words_of_gaps(rules, state),
    }
    return said.get(it.kind, "")


# -- when it comes ------------------------------------------------------------------------------------------------

Comes = tuple[int, int]
"""The moment that is counted from, and the one at which the dimension changes if nothing happens; 0, 0 = never."""


def _activity(rules: Rules, state: MemberState, clock: int) -> Comes:
    if state.last_own <= state.closed_at:
        return 0, 0
    day = blue.comes(rules, state, rules.calendar.day(clock), state.active_bits)
    return (state.last_own, rules.calendar.day_start(day + 1)) if day else (0, 0)


def _mood(rules: Rules, state: MemberState, clock: int) -> Comes:
    return min(((case.opened, at) for at, case in mood.waits(rules, state)), key=lambda it: it[1], default=(0, 0))


def _path(rules: Rules, state: MemberState, clock: int) -> Comes:
    return 0, 0


def _value(rules: Rules, state: MemberState, clock: int) -> Comes:
    month, spend = state.beside.month if state.beside else 0, spend_by_month(state)
    before = value_drop.months_before(rules, spend, month)
    if not month or not value_drop.is_low(spend.get(month, 0), before, rules.programme.tiers.value.month.percent):
        return 0, 0
    return rules.calendar.month_start(month), rules.calendar.month_start(month + 1)


def _rhythm(rules: Rules, state: MemberState, clock: int) -> Comes:
    at = rhythm.by_gaps(rules, state)
    return (state.last_own, at) if at else (0, 0)


COMES: dict[str, Callable[[Rules, MemberState, int], Comes]] = {
    "activity": _activity,
    "mood": _mood,
    "path": _path,
    "value": _value,
    "rhythm": _rhythm,
}


# -- why it is not held -------------------------------------------------------------------------------------------


def _why_not(name: str, rules: Rules, state: MemberState, clock: int) -> tuple[str, dict[str, Any]]:
    """A reason of the catalogue, after `not_in_tier.`, and its numbers."""
    tiers, dimension = rules.programme.tiers, {"dimension": name}
    if 0 < state.last_own <= state.closed_at:
        return "closed", dimension
    if name in PROFILED and rhythm.is_refused(state):
        return "profiling", dimension
    if name == "activity":
        recent, before = blue.counts(rules, state, rules.calendar.day(clock), state.active_bits)
        least, percent = tiers.activity.before_from, tiers.activity.percent_max
        days = tiers.activity.days
        return name, {"recent": recent, "before": before, "days": days, "least": least, "percent": percent}
    if name == "mood":
        return name, {"below": tiers.mood.satisfaction.below}
    if name == "path":
        return _why_no_path(rules, state)
    if name == "rhythm":
        gaps = max(0, (rhythm.active_days(state) & rules.warnings.rhythm_window).bit_count() - 1)
        return "gaps", {"gaps": gaps, "needed": tiers.rhythm.gaps_from}
    month, spend = rules.calendar.month(rules.calendar.day(clock)), spend_by_month(state)
    if is_high(rules, spend, month):
        return name, {"percent": tiers.value.order.percent}
    value = rules.programme.value
    mean = closed_spend(rules, spend, month) / value.months
    return "high", {"mean": f"{mean / rules.minor_units:,.2f}", "high": f"{value.high:,.2f}"}


def _why_no_path(rules: Rules, state: MemberState) -> tuple[str, dict[str, Any]]:
    rule = rules.programme.tiers.path
    unresolved = [it for it in cases.read(state) if it.kind == SUPPORT and it.open and it.unresolved >= it.opened]
    if not unresolved:
        return "case", {}
    if not any(it.wanted for it in unresolved):
        return "wanted", {"browses": rule.browses, "days": rule.within_days}
    return "bought", {}
