"""A member's level as data and in words: which, since when, why, what is missing to stay or to rise, and what comes."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from processors import levels
from processors.course import FALL, RISE
from processors.level_judge import bonus, bonus_moments
from processors.programme import Rules
from processors.windows import joined_at
from schemas.member import MemberState


class Coming(Struct, frozen=True):
    """A change that comes if nothing happens: the level from then on, its steps of bonus included."""

    level: str
    at: str
    because: str


class Level(Struct, frozen=True):
    """Where a member stands on the ladder. Moments are RFC 3339, "" = never; amounts are whole units of currency."""

    level: str
    base_level: str
    base_since: str
    bonus: int
    net_spend: float  # S: of the months that count
    growth: float  # G
    because: str
    missed_days: int
    next_level_up: str
    missing: str  # for that
    coming: list[Coming]  # the next change of the base level and of the steps of bonus, the sooner first


def level_of(rules: Rules, state: MemberState, clock: int, moment: Callable[[int], str]) -> Level:
    """The level at a clock; `moment` tells a moment in the programme's zone."""
    ladder = rules.levels
    if not joined_at(state):
        return Level(ladder.names[0], ladder.names[0], "", 0, 0, 0, "", 0, "", "", [])
    run = levels.ran(rules, state, clock)
    sums, base = run.sums, run.base(clock)
    above = next((at for at in range(base + 1, len(ladder.names)) if ladder.standards[at].asked), -1)
    floor = base <= run.floor(clock)
    why = "a floor of those who joined" if floor else ladder.why(base, sums)
    if not floor and not run.met():
        why = f"kept from before: {ladder.missing(base, sums)} missing for its standard"
    missing = ladder.missing(above, sums) if above >= 0 else ""
    spend, growth = sums.spend / ladder.minor, sums.growth / ladder.minor
    return Level(
        level=levels.name(rules, state),
        base_level=ladder.names[state.level],
        base_since=moment(state.level_at or joined_at(state)),
        bonus=state.level_bonus,
        net_spend=spend,
        growth=growth,
        because=why,
        missed_days=run.missed,
        next_level_up=ladder.names[above] if above >= 0 else "",
        missing=missing,
        coming=_coming(rules, state, clock, moment),
    )


def _coming(rules: Rules, state: MemberState, clock: int, moment: Callable[[int], str]) -> list[Coming]:
    """The next change of the base level and of the steps of bonus, if nothing happens."""
    found: dict[int, list[str]] = {}
    for at, why in filter(None, (_next_base(rules, state, clock), _next_bonus(state, clock))):
        found.setdefault(at, []).append(why)
    return [Coming(levels.projected(rules, state, at), moment(at), ", ".join(why)) for at, why in sorted(found.items())]


def _next_base(rules: Rules, state: MemberState, clock: int) -> tuple[int, str] | None:
    """When the base level changes next, and why."""
    ladder, calendar = rules.levels, rules.calendar
    run = levels.ran(rules, state, clock)
    known, last = len(run.steps), run.day + 31 * (ladder.months + 2) + ladder.miss_days
    found: list[tuple[int, str]] = []
    while not found and run.ahead(last) is not None:
        for step in run.steps[known:]:
            if step.kind in (RISE, FALL):
                found.append((calendar.day_start(step.day if step.kind == RISE else step.day + 1), step.why))
    base = max(place for since, place in run.floors if since <= clock)
    found += [(since, "tenure") for since, place in run.floors if since > clock and place > max(base, state.level)]
    return min(found, default=None)


def _next_bonus(state: MemberState, clock: int) -> tuple[int, str] | None:
    """When a step of bonus ends next, or begins."""
    at = min(bonus_moments(state, clock), default=0)
    if not at:
        return None
    more = bonus(state, at) - bonus(state, clock)
    return at, f"{_steps(abs(more))} {'more' if more > 0 else 'less'}"


def _steps(many: int) -> str:
    return f"{many} step{'' if many == 1 else 's'} of bonus"


def level_words(it: Level, plain: Callable[[str], str]) -> list[tuple[str, str]]:
    """The same as lines of a label and a sentence."""
    since = f"since {plain(it.base_since)}"
    held = f" ({it.base_level} {since} and {_steps(it.bonus)})" if it.bonus else f", {since}" if it.base_since else ""
    lines = [("level", f"{it.level}{held}: {it.because}")]
    lines.append(("", f"net spend {it.net_spend:,.2f}, growth {it.growth:,.2f} in the months that count"))
    if it.missed_days:
        lines.append(("", f"missed its standard on the last {it.missed_days} day ends"))
    if it.next_level_up:
        lines.append(("", f"for {it.next_level_up}: {it.missing}"))
    lines += [("", f"if nothing happens, {one.level} on {plain(one.at)} ({one.because})") for one in it.coming]
    return lines
