"""What is told of a member's level: the course of what it earned, against what was said of it before.

A change that never was is taken back by a fact that names it; a level falls by itself only at day ends, so the moment
of the next one that matters is noted, and from where on an action may matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from processors import growth, orders, redeem, windows
from processors.course import FALL, RISE, WARNING, Course, From, Step, begun, course
from processors.standards import Levels, Sums
from processors.suspicion import rose
from processors.waiting import changed
from schemas.actions import Action, name_of
from schemas.facts import Fact, LevelChanged, LevelWarning
from schemas.member import LEVEL_CHANGE, LEVEL_FROM, LEVEL_STEP, NEVER, TOP, MemberState

if TYPE_CHECKING:
    from processors.programme import Rules
    from processors.refund import Counted


class Change(NamedTuple):
    """A change of the base level as it was told."""

    at: int
    day: int
    before: int
    after: int
    spend: int
    growth: int
    streak: int
    kind: int
    offset: int
    idx: int


class Look(Struct, gc=False):
    """Who is looked at, by which moment and why, and where the facts go."""

    in_force: Rules
    state: MemberState
    member_id: str
    at: int  # of what brings it about, ms
    by: int  # what is true by this moment is told, ms
    clock: int
    offset: int
    index: int
    facts: list[Fact]
    action: Action | None = None
    refund: bool = False
    gone: Sequence[Change] = ()  # entries that a refund undid already, to be told

    @property
    def levels(self) -> Levels:
        """The ladder."""
        return self.in_force.levels


def judge(look: Look) -> None:
    """Tell what changed, and note when to look again."""
    state, calendar = look.state, look.levels.calendar
    if not windows.joined_at(state):
        return
    before = look.levels.shown(state.level, state.level_bonus)
    begin, today = begun(state), max(calendar.day(look.by), state.today)
    run = course(look.in_force, state, begin)
    good = today - look.levels.kept_days[bool(state.level_changes)] - 1
    kept = run.judged(good) if good > run.closed else None
    run.run(today, look.by)
    if look.in_force.tops and look.levels.watched(run.sums) and _see_top(look):
        run = course(look.in_force, state, begin)
        run.run(today, look.by)
    _compare(look, begin, run)
    _floors_and_bonus(look, run)
    if look.levels.shown(state.level, state.level_bonus) != before:
        rose(look, before, run.sums)
    if kept:
        _keep_from(look, kept)
    state.level_changes = _kept(state)
    _warn(look, run)
    _note_next(look, run)


def brought(look: Look, level: str, since: int) -> None:
    """A level that the member brings along, held since a moment: it begins today, and no refund undoes it.

    A floor is not brought: joining gives it. Neither is a level below one that was earned here, or that nobody knows.
    """
    state, levels = look.state, look.levels
    place = levels.names.index(level) if level in levels.names else 0
    if levels.standards[place].asked:
        yesterday = levels.calendar.day(look.by) - 1
        run = course(look.in_force, state, begun(state))
        kept = run.judged(yesterday) if yesterday > run.closed else begun(state)
        if place >= kept.earned and place > run.floor(look.by):
            if place > state.level:
                _fact(look, place, since, run.sums.spend, run.sums.growth, "opening", "brought along")
            _put(state, [row for row in changes(state) if row.day > yesterday])  # no refund undoes those before
            _keep_from(look, kept._replace(day=max(kept.day, yesterday), earned=place, missed=0))
    judge(look)


def _keep_from(look: Look, begin: From) -> None:
    """Keep a day judged for good; the days up to it go on as their months."""
    look.state.level_from = LEVEL_FROM.pack(*begin)
    tops = [row for row in TOP.iter_unpack(look.state.level_tops) if row[0] > begin.day]
    look.state.level_tops = b"".join(TOP.pack(*row) for row in tops)
    growth.forget(look.levels.calendar, look.state, begin.day, look.levels.months + 1)


def _see_top(look: Look) -> bool:
    """Whether the member is in the top at the last day's end; True: that is news. Answered once, on what is known.

    What comes late asks for the day ends since its own moment too, if nothing asked for them before.
    """
    state, levels, news = look.state, look.levels, False
    yesterday = levels.calendar.day(look.by) - 1
    asked = max(state.level_seen, begun(state).day) + 1
    for day in range(max(asked, min(yesterday, levels.calendar.day(look.at) - 1)), yesterday + 1):
        is_in = _is_top(look.in_force, state, day)
        state.level_seen = day
        rows = list(TOP.iter_unpack(state.level_tops))
        before = rows[-1][1] if rows else begun(state).top
        if before != is_in:
            state.level_tops += TOP.pack(day, is_in)
            news = True
    return news


def _is_top(in_force: Rules, state: MemberState, day: int) -> bool:
    """Whether what is known of a member reaches the threshold that holds at a day's end."""
    levels = in_force.levels
    end = levels.calendar.day_start(day + 1)
    held = [(value, members) for since, value, members in in_force.tops if since <= end]
    if not held or held[-1][1] < levels.top_members_from:
        return False
    return growth.community(state, day, levels.top_days, levels.day_cap) >= held[-1][0]


def tops_ahead(in_force: Rules, state: MemberState) -> dict[int, int]:
    """By the day from whose end on: whether a member who does nothing more is in the top, of days not looked at yet."""
    if not in_force.tops:
        return {}
    first = max(state.level_seen + 1, state.today)
    return {day: _is_top(in_force, state, day) for day in range(first, state.today + in_force.levels.top_days + 1)}


def _compare(look: Look, begin: From, run: Course) -> None:
    """What was told of the days since, against what is true of them."""
    told = [row for row in changes(look.state) if row.day > begin.day]
    true = [one for one in run.steps if one.kind != WARNING]
    same = 0
    while same < len(told) and true and _same(look, run, told[same], true[0]):
        if told[same].after == true[0].after:
            true = true[1:]
        same += 1
    wrong = [*look.gone, *told[same:]] if not same else told[same:]
    days = {one.day for one in true if one.kind == RISE}
    for row in reversed(wrong):
        _undo(look, run, row, moved=row.kind == RISE and row.day in days)
    for one in true:
        _tell(look, one, _moment(look, run, one, one.after))


def _same(look: Look, run: Course, row: Change, one: Step) -> bool:
    """Whether a told change is the one that is true, or on the way to it: of one day rises may be told step by step."""
    if (row.day, row.kind) != (one.day, one.kind):
        return False
    if row.after != one.after and not (row.kind == RISE and one.before < row.after < one.after):
        return False
    return row.at == _moment(look, run, one, row.after)


def _undo(look: Look, run: Course, row: Change, *, moved: bool) -> None:
    """A change that never was: the level goes back to one before it, or to the floor."""
    back = max(row.before, run.floor(look.by))
    why = "it was another moment of the day" if moved else "a late action shows it never was"
    if look.refund:
        why = "the refunded amount made it"
    standing = [one for one in changes(look.state) if (one.offset, one.idx) != (row.offset, row.idx)]
    _put(look.state, standing)
    reason = "refund" if look.refund else "recounted"
    fact = _fact(look, back, look.at, row.spend, row.growth, reason, why)
    fact.amends = (row.offset, row.idx)
    look.state.level_at = max((one.at for one in standing if one.after == back), default=_since(run, back, look.by))


def _tell(look: Look, one: Step, at: int) -> None:
    state = look.state
    before, place = state.level, (look.offset, look.index + len(look.facts))
    reason = "standard" if one.kind == RISE else "missed"
    why = one.why
    if one.kind == FALL:
        why = f"missed for {look.levels.miss_days} days: {one.why}"
    if one.after != before:
        _fact(look, one.after, at, one.spend, one.growth, reason, why)
    row = Change(at, one.day, before, one.after, one.spend, one.growth, one.streak, one.kind, *place)
    _put(state, [*changes(state), row])


def _fact(look: Look, base: int, at: int, spend: int, points: int, reason: str, why: str) -> LevelChanged:
    """Say that the base level is another from a moment on."""
    state, levels, action = look.state, look.levels, look.action
    fact = LevelChanged(
        member_id=look.member_id,
        effective_at=at,
        decided_at=look.clock,
        programme=look.in_force.number,
        rules=look.in_force.rules,
        source=action.source if action else "",
        event_id=action.event_id if action else "",
        action=name_of(action) if action else "",
        region=action.region if action else "",
        group_id=action.group_id if action else "",
        level=levels.names[levels.shown(base, state.level_bonus)],
        level_before=levels.names[levels.shown(state.level, state.level_bonus)],
        base_level=levels.names[base],
        bonus=state.level_bonus,
        net_spend=spend,
        growth=points,
        reason=reason,
        because=why,
    )
    state.level, state.level_at = base, at
    look.facts.append(fact)
    return fact


def _floors_and_bonus(look: Look, run: Course) -> None:
    """Floors that rose or moved, and steps of bonus that began or ended."""
    state, levels, sums = look.state, look.levels, run.sums
    base = run.base(look.by)
    since = _since(run, base, look.by)
    if base == state.level and 0 < base < levels.tenure and since != state.level_at and not state.level_changes:
        below = max((place for at, place in run.floors if place < base and at <= look.by), default=0)
        _fact(look, below, look.at, sums.spend, sums.growth, "recounted", "the task was done at another moment")
    if base != state.level:
        rises = base > state.level and since
        reason = "tenure" if base == levels.tenure else "task"
        why = f"{levels.tenure_months} months since joining" if base == levels.tenure else "a task is done"
        if not rises:
            reason, why = "recounted", "what gave it is no longer so"
        _fact(look, base, since if rises else look.at, sums.spend, sums.growth, reason, why)
        state.level_at = since or state.level_at if base else 0
    steps = bonus(state, look.by)
    if steps != state.level_bonus:
        before = levels.names[levels.shown(state.level, state.level_bonus)]
        why = f"{steps} step{'' if steps == 1 else 's'} of bonus, {state.level_bonus} before"
        at, state.level_bonus = state.level_at, steps
        _fact(look, base, look.at, sums.spend, sums.growth, "bonus", why).level_before = before
        state.level_at = at


def _since(run: Course, floor: int, by: int) -> int:
    """Since when a floor is reached; 0 = since joining, or it is none."""
    return max((at for at, place in run.floors if place == floor and floor and at <= by), default=0)


def _warn(look: Look, run: Course) -> None:
    """The standard is missed for long, and still is: once a run."""
    state, levels = look.state, look.levels
    if run.missed < levels.warn_days or not run.earned:
        return
    first = run.closed - run.missed + 1
    if state.level_warned >= first:
        return
    state.level_warned = first + levels.warn_days - 1
    calendar = levels.calendar
    look.facts.append(
        LevelWarning(
            member_id=look.member_id,
            effective_at=calendar.day_start(state.level_warned + 1),
            decided_at=look.clock,
            programme=look.in_force.number,
            rules=look.in_force.rules,
            level=levels.names[state.level],
            net_spend=run.sums.spend,
            growth=run.sums.growth,
            missed_days=levels.warn_days,
            next_level=levels.names[max(run.earned - 1, run.floor(look.by))],
            falls_at=calendar.day_start(first + levels.miss_days),
            because=levels.missing(run.earned, run.sums),
        )
    )


def _note_next(look: Look, run: Course) -> None:
    """From where on the next standard may be met by actions, and when the level may change without."""
    state, levels, sums = look.state, look.levels, run.sums
    watched = levels.watched(sums)
    above = levels.standards[run.base(look.by) + 1 :]
    more = [one.growth - sums.growth for one in above if one.growth > sums.growth]
    state.growth_next = state.growth - (-min(more) // levels.minor) if more else NEVER
    state.spend_next = min((one.spend - sums.spend for one in above if one.spend > sums.spend), default=NEVER)
    month = levels.calendar.month
    if month(levels.calendar.day(look.by)) != month(state.today):  # late for the clock, if not for the member
        state.growth_next, state.spend_next = state.growth + 1, 1
    if entered_after(state, levels.calendar.day_start(state.today)):  # what more is done today may bring it forward
        state.growth_next, state.spend_next = min(state.growth_next, state.growth + 1), min(state.spend_next, 1)
    moments = [at for at, _ in run.floors if at > look.by]
    moments += bonus_moments(state, look.by)
    if run.earned or state.spend:
        limit = run.day + 31 * (levels.months + 2) + levels.miss_days
        following = run.ahead(limit)
        if following:
            start = following.day if following.kind == RISE else following.day + 1
            moments.append(levels.calendar.day_start(start))
    state.level_due = min(moments, default=0)
    state.level_watch = levels.calendar.day_start(levels.calendar.day(look.by) + 1) if watched else 0
    changed(state)


def _moment(look: Look, run: Course, one: Step, level: int) -> int:
    """When a change became true, the same in any order of arrival; of a rise: when this level or a higher one was met.

    A fall is true at its day's end. An order counts from its own moment. Of base points and check-ins the state knows
    the day, so they count from its start: a level that they make is held for all of the day on which it is reached.
    """
    calendar, levels = look.levels.calendar, look.levels
    start, end = calendar.day_start(one.day), calendar.day_start(one.day + 1)
    if one.kind == FALL:
        return end
    bought = run.bought.get(one.day, 0)
    if one.start or not bought:
        return start
    standards = levels.standards[level : one.after + 1]
    sums = Sums(one.spend - bought, one.growth - bought, one.streak, top=one.top)  # pace is met at a day's start
    at = start
    for order in orders.known(look.state):
        if start <= order.at < end:
            if any(standard.met(sums) for standard in standards):
                break
            left = order.counted - orders.refunded(look.state, order.key).counted(order)
            sums.spend, sums.growth, at = sums.spend + left, sums.growth + left, order.at
    return at


def entered_after(state: MemberState, at: int) -> bool:
    """Whether a rise was told of a later moment, which what happened at this one may bring forward."""
    return bool(state.level_changes) and any(row.kind == RISE and row.at > at for row in changes(state))


def bonus(state: MemberState, at: int) -> int:
    """Steps of bonus at a moment."""
    steps: int = sum(begin <= at < end for begin, end in LEVEL_STEP.iter_unpack(state.level_steps))
    return steps + (1 if redeem.level_step_until(state, at) else 0)


def bonus_moments(state: MemberState, at: int) -> list[int]:
    """When steps of bonus begin or end after a moment."""
    moments = [one for row in LEVEL_STEP.iter_unpack(state.level_steps) for one in row]
    return [one for one in (*moments, redeem.level_step_until(state, at)) if one > at]


# -- what is kept -------------------------------------------------------------------------------------------------


def changes(state: MemberState) -> list[Change]:
    return [Change._make(row) for row in LEVEL_CHANGE.iter_unpack(state.level_changes)]


def _put(state: MemberState, rows: list[Change]) -> None:
    state.level_changes = b"".join(LEVEL_CHANGE.pack(*row) for row in rows)


def _kept(state: MemberState) -> bytes:
    """Of the days judged for good: the entries that the level stands on."""
    if not state.level_changes:
        return b""
    good = begun(state)
    rows = [row for row in changes(state) if row.day > good.day or (row.kind == RISE and row.before < good.earned)]
    return b"".join(LEVEL_CHANGE.pack(*row) for row in rows)


def undo_old(levels: Levels, state: MemberState, back: Counted) -> list[Change]:
    """Take a refunded amount out of the entries of days judged for good; those that miss their standard then go.

    They go from the last on, each back to the level before, whose own entry is judged the same way.
    """
    begin, calendar, at = begun(state), levels.calendar, back.order.at
    if calendar.day(at) > begin.day:
        return []
    rows, gone, stays = changes(state), list[Change](), False
    spend, month = orders.spend_by_month(state), calendar.month(calendar.day(at))
    for place in range(len(rows) - 1, -1, -1):
        row = rows[place]
        if row.day > begin.day or row.at < at:
            continue
        then = calendar.month(row.day)
        if then - month < levels.months:
            row = rows[place] = row._replace(spend=row.spend - back.counted, growth=row.growth - back.counted)
        pace = min(spend.get(it, 0) for it in range(then - levels.pace_months, then))
        standard = levels.standards[row.after]
        sums = Sums(row.spend, row.growth, row.streak, pace, top=True)
        if not stays and not standard.met(sums):
            gone.insert(0, row)
            begin = begin._replace(earned=min(begin.earned, row.before), missed=0)
        else:
            stays = True
    _put(state, [row for row in rows if row not in gone])
    if gone:
        state.level_from = LEVEL_FROM.pack(*begin)
    return gone
