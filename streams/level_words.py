"""A member's level as data and in words: which, since when, why, what is missing to stay or to rise, and what comes."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from processors import levels
from processors.course import FALL, RISE
from processors.programme import Rules
from processors.tasks import joined_at
from schemas.member import MemberState


class Level(Struct, frozen=True):
    """Where a member stands on the ladder. Moments are RFC 3339, "" = never; amounts are whole units of currency."""

    level: str
    since: str
    base_level: str
    bonus: int
    net_spend: float  # S: of the months that count
    growth: float  # G
    because: str
    missed_days: int
    next_level_up: str
    missing: str  # for that
    next_level: str  # if nothing happens
    next_at: str
    next_because: str


def level_of(rules: Rules, state: MemberState, clock: int, moment: Callable[[int], str]) -> Level:
    """The level at a clock; `moment` tells a moment in the programme's zone."""
    ladder = rules.levels
    if not joined_at(state):
        return Level(ladder.names[0], "", ladder.names[0], 0, 0, 0, "", 0, "", "", "", "", "")
    run = levels.ran(rules, state, clock)
    sums, base = run.sums, run.base(clock)
    above = next((at for at in range(base + 1, len(ladder.names)) if ladder.standards[at].asked), -1)
    floor = base <= run.floor(clock)
    why = "a floor of those who joined" if floor else ladder.why(base, sums)
    if not floor and not run.met():
        why = f"kept from before: {ladder.missing(base, sums)} missing for its standard"
    missing = ladder.missing(above, sums) if above >= 0 else ""
    spend, growth = sums.spend / ladder.minor, sums.growth / ladder.minor
    missed = run.missed
    comes, at, because = _next(rules, state, clock)
    return Level(
        level=levels.name(rules, state),
        since=moment(state.level_at or joined_at(state)),
        base_level=ladder.names[state.level],
        bonus=state.level_bonus,
        net_spend=spend,
        growth=growth,
        because=why,
        missed_days=missed,
        next_level_up=ladder.names[above] if above >= 0 else "",
        missing=missing,
        next_level=comes,
        next_at=moment(at) if at else "",
        next_because=because,
    )


def _next(rules: Rules, state: MemberState, clock: int) -> tuple[str, int, str]:
    """The next change if nothing happens: to which level, when (ms), and why; 0 = none comes."""
    ladder, calendar = rules.levels, rules.calendar
    run = levels.ran(rules, state, clock)
    last = run.day + 31 * (ladder.months + 2) + ladder.miss_days
    step = run.ahead(last)
    while step is not None and step.kind not in (RISE, FALL):
        step = run.ahead(last)
    found: list[tuple[int, str, str]] = []
    if step is not None:
        at = calendar.day_start(step.day if step.kind == RISE else step.day + 1)
        found.append((at, ladder.names[step.after], step.why))
    base = max(place for since, place in run.floors if since <= clock)
    for since, place in run.floors:
        if since > clock and place > max(base, state.level):
            found.append((since, ladder.names[place], "tenure"))
    if not found:
        return "", 0, ""
    at, name, why = min(found)
    return name, at, why


def level_words(it: Level, plain: Callable[[str], str]) -> list[tuple[str, str]]:
    """The same as lines of a label and a sentence."""
    since = f", since {plain(it.since)}" if it.since else ""
    bonus = f" ({it.base_level} and {it.bonus} step{'' if it.bonus == 1 else 's'} of bonus)" if it.bonus else ""
    lines = [("level", f"{it.level}{bonus}{since}: {it.because}")]
    lines.append(("", f"net spend {it.net_spend:,.2f}, growth {it.growth:,.2f} in the months that count"))
    if it.missed_days:
        lines.append(("", f"missed its standard on the last {it.missed_days} day ends"))
    if it.next_level_up:
        lines.append(("", f"for {it.next_level_up}: {it.missing}"))
    if it.next_level:
        lines.append(("", f"if nothing happens, {it.next_level} on {plain(it.next_at)} ({it.next_because})"))
    return lines
