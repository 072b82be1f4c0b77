"""Tasks of the programme: how far a member is, when one is done, and what that gives; free of the order of arrival.

What counts is kept as rows, and the whole window is judged anew with each of them: a late action heals, an earlier
joining moves the window, a refund takes its row away. A task found done at another moment, or no longer, is corrected
by a fact that names the one before. `state.tasks` holds what windows that can still change need and is empty for a
member past them; `state.tasks_done` tells others what is done since when.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from processors import badges, days, waiting
from processors.conditions import Plan, key_of
from processors.decision import about
from processors.ledger import entry, issue
from processors.orders import spend_by_month
from processors.origins import names, origin
from processors.promises import promise
from processors.told import Told
from processors.waiting import Due
from processors.windows import is_past, may_move_until, until, windows
from schemas.actions import Action, Join, Purchase, name_of
from schemas.facts import Fact, Ledger, TaskDone, TaskFact, TaskProgress
from schemas.member import DONE, MemberState
from schemas.tasks import Task

if TYPE_CHECKING:
    from processors.member import Moment
    from processors.programme import Rules
    from processors.refund import Counted


AnyTask = TypeVar("AnyTask", bound=TaskFact)


class Row(NamedTuple):
    """An action that counts for a condition, by its key; `order` is the offset of a purchase's entry."""

    at: int
    condition: int
    value: int
    order: int
    came: bytes


class Turn(Struct, array_like=True, gc=False):
    """What was said of one window of a task: how far it is, since when it is done, and what that paid.

    `said` is where the fact of its being done stands, `paid` where the entry that paid `points` into `month` does;
    `came` is the origin of the action that completed it.
    """

    number: int
    values: tuple[int, ...]
    done_at: int = 0
    said: tuple[int, int] = (0, 0)
    points: int = 0
    month: int = 0
    paid: tuple[int, int] = (0, 0)
    came: bytes = b""
    promised: bool = False


class Kept(Struct, array_like=True, gc=False):
    """What is kept of one task: its rows, sorted, and its windows, of which each was said something."""

    key: int
    rows: list[Row]
    turns: list[Turn]


def note(rules: Rules, state: MemberState, action: Action, moment: Moment, facts: list[Fact]) -> None:
    """An accepted action before `tasks_until`, after all else it says was noted: the earliest action, the joining."""
    first = not state.first_at or moment.at < state.first_at
    if first:
        state.first_at = moment.at
    begins_anew = first or (type(action) is Join and moment.at == state.join_at)
    if type(action) not in rules.tasks.of_kind and not begins_anew:
        return
    kept = {one.key: one for one in _read(state.tasks)}
    found = [
        one
        for one in rules.tasks.matching(rules, action)
        if _counts(rules, state, kept.get(one[0].key), one[0], moment)
    ]
    if not found and not begins_anew:
        return
    came = origin((name_of(action), action.region, action.group_id)) if found else b""
    order = moment.offset if isinstance(action, Purchase) else 0
    for plan, ask, value in found:
        one = kept.setdefault(plan.key, Kept(plan.key, [], []))
        one.rows = sorted([*one.rows, Row(moment.at, ask.key, value, order, came)])
    touched = {plan.key: plan for plan, _, _ in found}
    if begins_anew:
        touched |= {plan.key: plan for plan in rules.tasks.counted if plan.length and plan.key in kept}
    told = Told(rules, state, action, moment, facts)
    for plan in touched.values():
        _judge(told, plan, kept[plan.key])
    _write(rules, state, kept.values(), moment.clock)


def refunded(told: Told, in_force: Rules, counted: Counted) -> None:
    """A refund was counted: its order counts for so much less, and for nothing if all of it is refunded."""
    rules, state = told.rules, told.state
    if not state.tasks:
        return
    kept, order = {one.key: one for one in _read(state.tasks)}, counted.order.offset
    for one in kept.values():
        plan = rules.tasks.by_key.get(one.key)
        if plan is None or all(row.order != order for row in one.rows):
            continue
        sums = {ask.key for ask in plan.asks if ask.measure == "amount"}
        left = [
            row._replace(value=row.value - counted.counted) if row.order == order and row.condition in sums else row
            for row in one.rows
        ]
        one.rows = sorted(row for row in left if row.value > 0 and not (row.order == order and counted.whole))
        _judge(told, plan, one)
    _write(rules, state, kept.values(), told.moment.clock)


def done_at(state: MemberState, name: str) -> int:
    """Since when a task is done that does not begin anew, ms; 0 = it is not."""
    return _done(state).get(key_of(name), 0)


def levels_done(rules: Rules, state: MemberState) -> dict[str, int]:
    """The level marks of the tasks done, such as `explorer 2`, and since when."""
    if not state.tasks_done:
        return {}
    done = _done(state)
    marked = ((plan.task.reward.level, done.get(plan.key, 0)) for plan in rules.tasks.counted)
    return {level: at for level, at in marked if level and at}


class Progress(NamedTuple):
    """How far a member is with a task: of its open window, or of a state such as the streak.

    `values` against `needed`, each by its `measures`; `until` is the end of the window (ms), 0 = it has none; `done_at`
    is since when it is done, 0 = it is not, or it is a state: of that nothing says since when it holds.
    """

    name: str
    measures: tuple[str, ...]
    values: tuple[int, ...]
    needed: tuple[int, ...]
    until: int
    done: bool
    done_at: int


def progress(rules: Rules, state: MemberState, clock: int) -> list[Progress]:
    """What `member show` tells of tasks: those whose window is open, those that are done, and the standards."""
    kept = {one.key: one for one in _read(state.tasks)}
    shown = [_shown(rules, state, plan, kept.get(plan.key), clock) for plan in rules.tasks.counted]
    standing = [_standing(rules, state, name, task, clock) for name, task in rules.tasks.standing.items()]
    return [one for one in shown if one] + standing


def missed(rules: Rules, state: MemberState, clock: int) -> dict[str, int]:
    """Tasks that are not done, and when their only window closed (a late action may still heal one)."""
    done = _done(state)
    once = [plan for plan in rules.tasks.counted if plan.length and not plan.task.resets and plan.key not in done]
    begins = [(plan, windows(rules, state, plan).last) for plan in once]
    return {plan.name: at + plan.length for plan, at in begins if at and at + plan.length <= clock}


def _shown(rules: Rules, state: MemberState, plan: Plan, kept: Kept | None, clock: int) -> Progress | None:
    lie = windows(rules, state, plan)
    number = lie.number(clock) if lie.begin or not plan.length else -1
    done = 0 if plan.task.resets else _done(state).get(plan.key, 0)
    if number < 0 and not done:
        return None
    turn = next((one for one in kept.turns if one.number == number), None) if kept else None
    needed = tuple(ask.at_least for ask in plan.asks)
    values = needed if done else turn.values if turn else (0,) * len(needed)
    ends = lie.bounds(number)[1] if number >= 0 else 0
    since = done or (turn.done_at if turn else 0)
    return Progress(plan.name, tuple(ask.measure for ask in plan.asks), values, needed, ends, bool(since), since)


def _standing(rules: Rules, state: MemberState, name: str, task: Task, clock: int) -> Progress:
    """The streak alive at the clock, and net spend of the months that count for levels (S)."""
    calendar = rules.calendar
    today, values = calendar.day(clock), list[int]()
    for condition in task.conditions:
        if condition.measure == "streak":
            value = days.streak(state, today)
        else:
            month = calendar.month(today)
            value = sum(
                spent for at, spent in spend_by_month(state).items() if month - rules.levels.months < at <= month
            )
        values.append(max(0, min(value, condition.at_least)))
    needed = tuple(condition.at_least for condition in task.conditions)
    measures = tuple(condition.measure for condition in task.conditions)
    return Progress(name, measures, tuple(values), needed, 0, tuple(values) == needed, 0)


def _counts(rules: Rules, state: MemberState, kept: Kept | None, plan: Plan, moment: Moment) -> bool:
    """Whether an action of this moment may lie in a window that is open, now or after a join that is yet to come."""
    if plan.task.resets:
        return True
    if _settled(state, kept, plan.key):
        return False
    return not plan.length or not is_past(rules, state, plan, moment.at)


def _settled(state: MemberState, kept: Kept | None, key: int) -> int:
    """Since when a task is done of which nothing can change any more; 0 = it can."""
    if not state.tasks_done:
        return 0
    since = _done(state).get(key, 0)
    return 0 if kept and any(turn.done_at == since for turn in kept.turns) else since


def _judge(told: Told, plan: Plan, kept: Kept) -> None:
    """Compare each window with what was said of it, the earliest first, and say what changed."""
    lie = windows(told.rules, told.state, plan)
    by_number: dict[int, list[Row]] = {turn.number: [] for turn in kept.turns}
    for row in kept.rows:
        number = lie.number(row.at)
        if number >= 0:
            by_number.setdefault(number, []).append(row)
    turns = {turn.number: turn for turn in kept.turns}
    since = _settled(told.state, kept, plan.key)
    for number in sorted(by_number):
        turn = turns.setdefault(number, Turn(number, (0,) * len(plan.asks)))
        values, last = _reached(plan, by_number[number])
        if since and not plan.task.resets:  # it is done once
            values, last = turn.values, None
        _say(told, plan, turn, values, last)
        since = since or turn.done_at
    kept.turns = [turns[number] for number in sorted(by_number) if any(turns[number].values) or turns[number].promised]
    if not plan.task.resets:
        _mark(told.state, plan, since)


def _reached(plan: Plan, rows: list[Row]) -> tuple[tuple[int, ...], Row | None]:
    """How far each condition is by the rows of a window; where all are met, the row that completed the last."""
    values, met = [0] * len(plan.asks), list[Row]()
    places = {ask.key: place for place, ask in enumerate(plan.asks)}
    for row in rows:
        place = places.get(row.condition, -1)
        if place < 0 or values[place] >= plan.asks[place].at_least:
            continue
        values[place] += row.value
        if values[place] >= plan.asks[place].at_least:
            values[place] = plan.asks[place].at_least
            met.append(row)
    return tuple(values), met[-1] if len(met) == len(values) else None


def _say(told: Told, plan: Plan, turn: Turn, values: tuple[int, ...], last: Row | None) -> None:
    """Let what was said and given be what is true."""
    was, at = turn.done_at, last.at if last else 0
    came = last.came if last else b""
    if (was, turn.came) == (at, came) and (at or values == turn.values):
        return
    bounds = windows(told.rules, told.state, plan).bounds(turn.number)
    turn.values, turn.done_at = values, at
    amends = turn.said if was else None
    if turn.points:
        _take_back(told, plan, turn, was)
    turn.came = came
    if not last:
        told.facts.append(_fact(TaskProgress, told, plan, values, bounds, _missing(plan, values), amends))
        if was and plan.task.reward.badge:
            _take_badge(told, plan, f"task {plan.name} is not done")
        return
    if was not in (0, at) and plan.task.reward.badge and told.refund:  # else a badge stays, with its date
        _take_badge(told, plan, f"task {plan.name} was done at another moment")
    turn.said, needed = told.place, plan
    told = told._replace(rules=told.judging(at))  # what it gives is said by the version of the action that completed it
    plan = told.rules.tasks.by_key.get(plan.key, plan)
    fact = _fact(TaskDone, told, needed, values, bounds, _gives(plan), amends)
    fact.effective_at = at
    fact.action, fact.region, fact.group_id = names(came)
    told.facts.append(fact)
    if plan.task.reward.points:
        _pay(told, plan, turn)
    if plan.task.reward.benefit and not turn.promised:
        turn.promised = True
        benefit, member_id = plan.task.reward.benefit, told.action.member_id
        at, clock = turn.done_at, told.moment.clock
        told.facts.append(promise(told.rules, member_id, benefit, "task", plan.name, turn.number, at, clock))
    if plan.task.reward.badge:
        because, member_id = f"task {plan.name} done", told.action.member_id
        badges.give(told.rules, told.state, member_id, plan.task.reward.badge, told.moment, at, told.facts, because)


def _pay(told: Told, plan: Plan, turn: Turn) -> None:
    """The base points of a task done, into the month in which it was."""
    rules, points = told.rules, plan.task.reward.points or 0
    turn.points, turn.month, turn.paid = points, _month(rules, turn.done_at), told.place
    fact = _entry(told, turn, turn.done_at, points, f"{points} = task {plan.name} done")
    issue(rules, told.state, fact)
    told.facts.append(fact)


def _take_back(told: Told, plan: Plan, turn: Turn, was: int) -> None:
    why = f"-{turn.points}: task {plan.name} " + ("was done at another moment" if turn.done_at else "is not done")
    told.take_back(_entry(told, turn, was, -turn.points, why), turn.points, turn.paid)
    turn.points = 0


def _take_badge(told: Told, plan: Plan, because: str) -> None:
    badges.undo(told.rules, told.state, told.action, plan.task.reward.badge or "", told.moment, told.facts, because)


def _entry(told: Told, turn: Turn, at: int, points: int, because: str) -> Ledger:
    fact = entry(told.rules, told.state, told.action, told.moment, turn.month, "task", points, because)
    fact.effective_at = at
    fact.action, fact.region, fact.group_id = names(turn.came)
    return fact


def _fact(
    kind: type[AnyTask],
    told: Told,
    plan: Plan,
    values: tuple[int, ...],
    bounds: tuple[int, int],
    because: str,
    amends: tuple[int, int] | None,
) -> AnyTask:
    fact = kind(
        member_id=told.action.member_id,
        effective_at=told.moment.at,
        decided_at=told.moment.clock,
        rule=plan.name,
        values=values,
        needed=tuple(ask.at_least for ask in plan.asks),
        begins=bounds[0],
        ends=bounds[1],
        because=because,
        amends=amends,
    )
    about(fact, told.rules, told.action)
    return fact


def _missing(plan: Plan, values: tuple[int, ...]) -> str:
    """`1 of 3: missing check_in, first message`, `3 of 20 messages`."""
    open_ones = [
        ask.name if ask.at_least == 1 else f"{ask.name} {value}/{ask.at_least}"
        for ask, value in zip(plan.asks, values, strict=True)
        if value < ask.at_least
    ]
    if not open_ones:
        return "done in an earlier window"
    return f"{len(values) - len(open_ones)} of {len(values)}: missing {', '.join(open_ones)}"


def _gives(plan: Plan) -> str:
    reward = plan.task.reward
    points = f"{reward.points} points" if reward.points else ""
    given = [one for one in (points, reward.benefit, reward.badge, reward.level, reward.standard) if one]
    return f"{plan.task.title} done" + (f": gives {', '.join(given)}" if given else "")


def _month(rules: Rules, at: int) -> int:
    return rules.calendar.month(rules.calendar.day(at))


# -- what is kept -----------------------------------------------------------------------------------------------


def next_due(in_force: Rules, state: MemberState) -> int:
    """When something kept can no longer change and may go; 0 = nothing is kept."""
    return state.tasks_look if state.tasks else 0


def fall_due(due: Due) -> None:
    """Forget what no action can change any more."""
    _write(due.in_force, due.state, _read(due.state.tasks), due.clock)


def _write(rules: Rules, state: MemberState, kept: Iterable[Kept], clock: int) -> None:
    """Keep what can still change, and note until when an action may count."""
    looks = [(one, look) for one in kept if (look := _open_until(rules, state, one, clock))]
    state.tasks = _encode([one for one, _ in looks]) if looks else b""
    look = min((look for _, look in looks), default=0)
    if look != state.tasks_look:
        state.tasks_look = look
        waiting.changed(state)
    state.tasks_until = until(rules, state)


def _open_until(rules: Rules, state: MemberState, kept: Kept, clock: int) -> int:
    """Take out of a task what no action can change any more; when the next part of it will be so, 0 = all of it is.

    A window can change for the horizon after its end, or as long as a join may undo it; where it is done, by a refund
    as long as its orders are known.
    """
    plan = rules.tasks.by_key.get(kept.key)
    if plan is None:
        return 0
    lie, looks = windows(rules, state, plan), list[int]()
    by_number: dict[int, list[Row]] = {turn.number: [] for turn in kept.turns}
    for row in kept.rows:
        by_number.setdefault(lie.number(row.at), []).append(row)
    done = {turn.number for turn in kept.turns if turn.done_at}
    rows: list[Row] = []
    for number, within in by_number.items():
        if number < 0:  # in a window only if that moves
            within = [row for row in within if plan.task.resets or not is_past(rules, state, plan, row.at)]
            look = max((row.at + rules.horizon_ms for row in within), default=0)
        else:
            look = lie.bounds(number)[1] + rules.horizon_ms
            if not lie.far or number == 0:
                look = max(look, may_move_until(rules, state, plan))
            if number in done:
                look = max([look, *(row.at + rules.orders_ms for row in within if row.order)])
        if look > clock:
            looks.append(look)
            rows += _enough(rules, plan, within)
        else:
            kept.turns = [turn for turn in kept.turns if turn.number != number]
    kept.rows = sorted(rows)
    return min(looks, default=0)


def _enough(rules: Rules, plan: Plan, rows: list[Row]) -> list[Row]:
    """The rows of a window that matter: orders, and of the others the first that meet a condition, and some more.

    Those more let a window move to an earlier joining or a later one.
    """
    spare = rules.programme.limits.task_rows
    kept: list[Row] = []
    for ask in plan.asks:
        total = more = 0
        for row in rows:
            if row.condition != ask.key:
                continue
            if row.order or total < ask.at_least or more < spare:
                kept.append(row)
            if not row.order:
                more += total >= ask.at_least
                total += row.value
    return kept


def _done(state: MemberState) -> dict[int, int]:
    return dict(DONE.iter_unpack(state.tasks_done))


def _mark(state: MemberState, plan: Plan, since: int) -> None:
    """Tell others since when a task is done."""
    if not since and not state.tasks_done:
        return
    done = _done(state)
    if done.pop(plan.key, 0) != since or since:
        if since:
            done[plan.key] = since
        state.tasks_done = b"".join(DONE.pack(*row) for row in sorted(done.items()))


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Kept]).decode


def _read(written: bytes) -> list[Kept]:
    return _decode(written) if written else []
