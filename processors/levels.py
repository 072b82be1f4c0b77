"""Levels: told when a base level rises, falls, or turns out never to have been; warned of, and lifted for a time.

What a member earned is the course of `processors.course`, run from a day that nothing can change any more; what was
told of the days since is compared with it. Most actions need no such look: two numbers in the state say from where on
the next standard may be met, and a timer stands where the level may change were nothing to happen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from processors import days, growth
from processors.calendar import DAY_MS
from processors.course import FALL, Course, begun, course
from processors.level_judge import Look, bonus, changes, entered_after, judge, tops_ahead, undo_old
from processors.standards import Levels, later_by
from processors.waiting import Due, changed
from schemas.actions import Action, CheckIn, Custom, Purchase
from schemas.facts import Fact, Ledger
from schemas.member import LEVEL_STEP, ORDER, SPEND, MemberState

if TYPE_CHECKING:
    from processors.member import Moment
    from processors.programme import Rules
    from processors.refund import Counted
    from processors.told import Told

FROM_TASKS = frozenset({"task", "ladder"})
"""Rules whose entries are base points of tasks."""
OF_ACTIONS = frozenset({"check_in", "message", "share"})
"""Rules of actions whose base points count for growth; a custom action's rule is its name."""
SLACK_DAYS = 16  # days are judged for good some at a time: each time costs a run


# -- what happens -------------------------------------------------------------------------------------------------


def new_day(in_force: Rules, state: MemberState, action: Action, moment: Moment, day: int, facts: list[Fact]) -> None:
    """The first action of a newer programme day, before the rings of days move."""
    growth.keep_today(state)
    rows = state.growth_days
    many = in_force.levels.kept_days[bool(state.level_changes)] + SLACK_DAYS
    if rows and int.from_bytes(rows[:2], "little") < day - many:
        judge(looked(in_force, state, action, moment, facts))


def counted(
    in_force: Rules,
    state: MemberState,
    action: Action,
    moment: Moment,
    day: int,
    weight: int,
    entry: Fact | None,
    facts: list[Fact],
) -> None:
    """An action of a kind that levels count, after its own entry: its base points, its weight, a run of check-ins."""
    levels = in_force.levels
    base, kind = 0, type(action)
    if type(entry) is Ledger and not entry.pending:  # what is held counts for nothing
        base = entry.base
    if kind is Custom and action.name not in in_force.growing:  # type: ignore[attr-defined]  # a custom action
        base = 0
    if kind not in levels.community:
        weight = 0
    if day != state.today:
        growth.add_late(levels.calendar, state, day, base, weight)
        if _late_matters(in_force, state, action, moment, day):
            judge(looked(in_force, state, action, moment, facts))
        return
    state.community += weight
    if base:
        state.growth += base
        if state.growth >= state.growth_next or (kind is CheckIn and _streak_matters(levels, state, day)):
            judge(looked(in_force, state, action, moment, facts))


def given(in_force: Rules, state: MemberState, action: Action, moment: Moment, first: int, facts: list[Fact]) -> None:
    """Base points of tasks in the facts from `first` on: paid, or taken back on the day on which they were."""
    for fact in facts[first:]:
        if type(fact) is Ledger and fact.rule in FROM_TASKS and fact.base:
            grow(in_force, state, fact.effective_at, fact.base)
    if not state.growth_next and type(action) is not Purchase:  # its order is not on the list yet
        judge(looked(in_force, state, action, moment, facts))


def grow(in_force: Rules, state: MemberState, at: int, points: int) -> None:
    """Base points that count for growth since a moment (below 0: that no longer do); `look_again` follows."""
    calendar = in_force.calendar
    day = calendar.day(at)
    if day >= state.today:
        state.growth += points
    else:
        growth.add_late(calendar, state, day, points, 0)
    look_again(state)


def counts(in_force: Rules, fact: Ledger) -> bool:
    """Whether the base of an entry counts for growth: that of a correction by factor was counted before."""
    if fact.rule in FROM_TASKS:
        return True
    return (fact.rule in OF_ACTIONS or fact.rule in in_force.growing) and fact.entry in ("earned", "released")


def held(in_force: Rules, state: MemberState, fact: Ledger, clock: int) -> None:
    """An entry's points are held after they were counted: they count for nothing until they are released."""
    if fact.base and counts(in_force, fact):
        grow(in_force, state, fact.effective_at, -fact.base)
        _fall_due_at(state, clock)


def released(in_force: Rules, state: MemberState, fact: Ledger) -> None:
    """Held points of a month were released: they count from its end, or from now if it has not ended."""
    if fact.base and counts(in_force, fact):
        end = in_force.calendar.month_start(fact.month + 1) - 1
        grow(in_force, state, min(fact.effective_at, end), fact.base)
        _fall_due_at(state, fact.effective_at)


def _fall_due_at(state: MemberState, at: int) -> None:
    state.level_due = min(state.level_due or at, at)
    changed(state)


def look_again(state: MemberState) -> None:
    """Something levels stand on has changed: who decides looks before it settles."""
    state.growth_next = 0


def bought(in_force: Rules, state: MemberState, action: Action, moment: Moment, spend: int, facts: list[Fact]) -> None:
    """An order was put on the list, `spend` is its counted amount: it counts at once."""
    levels, calendar = in_force.levels, in_force.calendar
    day, month = calendar.day(moment.at), calendar.month(calendar.day(moment.clock))
    state.spend_next -= spend
    if len(state.spend) >= levels.pace_months * SPEND.size:  # this month counts for the pace once it is closed
        _fall_due_at(state, calendar.month_start(month + 1))
    state.growth_next = max(0, state.growth_next + -spend // levels.minor)
    if (
        state.growth_next <= state.growth
        or state.spend_next <= 0
        or calendar.month(day) != month
        or (day < state.today and _late_matters(in_force, state, action, moment, day))
    ):
        judge(looked(in_force, state, action, moment, facts))


def before_order(in_force: Rules, state: MemberState, action: Action, moment: Moment, facts: list[Fact]) -> None:
    """Days are judged for good before the orders that they need leave the list."""
    if state.orders:
        first = ORDER.unpack_from(state.orders)[1]
        if first < moment.clock - in_force.orders_ms and begun(state).day < in_force.calendar.day(first):
            judge(looked(in_force, state, action, moment, facts))


def refunded(told: Told, in_force: Rules, back: Counted) -> None:
    """A refund was counted: entries from days judged for good that it made are gone; all is judged again.

    That is done once, when everybody has taken back what followed from the order.
    """
    moment = told.moment
    gone = undo_old(in_force.levels, told.state, back) if back.counted else []
    moment.undone = (*gone, *(moment.undone or ()))
    look_again(told.state)


def looked(in_force: Rules, state: MemberState, action: Action, moment: Moment, facts: list[Fact]) -> Look:
    """A look brought about by an action; what a refund of this decision undid is looked at once."""
    undone, moment.undone = moment.undone, None
    return Look(
        in_force,
        state,
        action.member_id,
        moment.at,
        moment.clock,
        moment.clock,
        moment.offset,
        moment.index,
        facts,
        action,
        undone is not None,
        undone or (),
    )


# -- steps of bonus -----------------------------------------------------------------------------------------------


def completed(look: Look, moments: Sequence[int]) -> None:
    """The completed referrals of a member, all that stand, by their moments: each full so many lift a step.

    Undone ones are left out by the caller: the step goes at once.
    """
    levels = look.levels
    ends = sorted(moments)[levels.referrals - 1 :: levels.referrals]
    rows = [(at, later_by(levels.calendar, at, levels.referral_months)) for at in ends]
    look.state.level_steps = b"".join(LEVEL_STEP.pack(*row) for row in rows)
    judge(look)


# -- time ---------------------------------------------------------------------------------------------------------


def next_due(in_force: Rules, state: MemberState) -> int:
    """When the level may change, or is warned of, if nothing happens; 0 = never."""
    watch, tops = state.level_watch, in_force.tops
    if watch and tops:
        if watch < tops[0][0]:  # no day's end before the first threshold
            watch = in_force.calendar.day_start(in_force.calendar.day(tops[0][0]) + 1)
        return min(watch, state.level_due or watch)
    return state.level_due


def fall_due(due: Due) -> None:
    """A day's end, a month's start, tenure or the end of a step."""
    judge(
        Look(
            due.in_force,
            due.state,
            due.member_id,
            due.by,
            due.by,
            due.clock,
            due.offset,
            due.index,
            due.facts,
        )
    )


def name(in_force: Rules, state: MemberState) -> str:
    """The level as told last."""
    levels = in_force.levels
    return levels.names[levels.shown(state.level, state.level_bonus)]


def ran(in_force: Rules, state: MemberState, at: int) -> Course:
    """The course of a member up to a moment, as far as actions are known: where it stands, and by which sums.

    Days whose end nobody looked at yet are judged by the thresholds that hold now.
    """
    run = course(in_force, state, begun(state))
    run.run(state.today, at)
    run.tops |= tops_ahead(in_force, state)
    run.silent(max(in_force.calendar.day(at), state.today))
    return run


def projected(in_force: Rules, state: MemberState, at: int) -> str:
    """The level at a moment not before the clock, without new actions."""
    levels = in_force.levels
    return levels.names[levels.shown(ran(in_force, state, at).base(at), bonus(state, at))]


def _late_matters(in_force: Rules, state: MemberState, action: Action, moment: Moment, day: int) -> bool:
    """Whether a late action may change what was told: mostly the year's sum stays enough, or too little."""
    levels = in_force.levels
    calendar = levels.calendar
    if state.growth >= state.growth_next or calendar.month(day) != calendar.month(calendar.day(moment.clock)):
        return True
    if type(action) is CheckIn and _streak_matters(levels, state, day):
        return True
    if not state.level_changes:
        return False
    if entered_after(state, calendar.day_start(day)):
        return True
    missed_from = state.level_due - levels.warn_days * DAY_MS
    return 0 < missed_from <= moment.clock or any(row.kind == FALL for row in changes(state))


def _streak_matters(levels: Levels, state: MemberState, day: int) -> bool:
    """Whether a check-in makes a run long enough for a level above."""
    for place in levels.streaks:
        if place > state.level:
            run = days.run_ending(state, day) + (days.run_after(state, day) if day < state.today else 0)
            return run >= levels.standards[place].streak
    return False
