"""Where the windows of a task lie for one member, and from when on they can no longer change.

A window that begins by joining begins with the earliest join, for who never joined with the earliest action. A join
may come late by the horizon. One that lies further behind the first action than the window is long and a join can be
late is **far**: it makes a window of its own and leaves that of the first action, which nobody can change by then, as
it is. So a member past both is past them for good, and which window counts follows from the actions alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from schemas.member import NEVER, MemberState

if TYPE_CHECKING:
    from processors.calendar import Calendar
    from processors.conditions import Plan
    from processors.programme import Rules


def joined_at(state: MemberState) -> int:
    """The earliest join or the one brought along, for who never joined the earliest action; 0 = no action yet."""
    return _joined(state) or state.first_at


def _joined(state: MemberState) -> int:
    if state.opened_joined:
        return min(state.opened_joined, state.join_at or state.opened_joined)
    return state.join_at


class Windows(NamedTuple):
    """The windows of a task for a member: where they begin, and that of a far join, 0 = there is none."""

    plan: Plan
    calendar: Calendar
    begin: int
    far: int = 0

    @property
    def last(self) -> int:
        """Where the only window begins, of two the second; 0 = nowhere yet, or by the calendar."""
        return self.far or self.begin

    def number(self, at: int) -> int:
        """The window that a moment lies in, -1 = in none; of two windows 0 is that of the first action."""
        if self.far and at >= self.far:
            return 1 if self.plan.number(self.calendar, self.far, at) == 0 else -1
        return self.plan.number(self.calendar, self.begin, at)

    def bounds(self, number: int) -> tuple[int, int]:
        """The first moment of a window and the first after it."""
        if self.far and number == 1:
            return self.plan.bounds(self.calendar, self.far, 0)
        return self.plan.bounds(self.calendar, self.begin, number)


def windows(rules: Rules, state: MemberState, plan: Plan) -> Windows:
    """Where they lie by what is known. With `resets` they go on from the first action, however far the join is."""
    first, joined = state.first_at, _joined(state)
    if plan.begins != "joining" or not joined:
        return Windows(plan, rules.calendar, first)
    if _is_far(rules, state, plan):
        return Windows(plan, rules.calendar, first, 0 if plan.task.resets else joined)
    return Windows(plan, rules.calendar, joined)


def may_move_until(rules: Rules, state: MemberState, plan: Plan) -> int:
    """When a join that is not far can no longer come, and undo the window of the first action; 0 = none does."""
    if plan.begins != "joining" or (_joined(state) and not _is_far(rules, state, plan)):
        return 0
    return state.first_at + plan.length + 2 * rules.horizon_ms


def is_past(rules: Rules, state: MemberState, plan: Plan, at: int) -> bool:
    """Whether a moment lies behind the only window of a task, wherever that may still move to."""
    if plan.begins != "joining":
        return at >= state.first_at + plan.length
    return at >= _last_begins(rules, state, plan.length) + plan.length


def until(rules: Rules, state: MemberState) -> int:
    """The moment from which on an action counts for no task.

    Of who never joined that is where windows of joins end that are not far: a far one is waited for by nobody.
    """
    plans = rules.tasks
    if plans.always or not state.first_at:
        return NEVER
    joining = plans.from_joining and _last_begins(rules, state, plans.from_joining) + plans.from_joining
    return max(joining, state.first_at + plans.from_first)


def _last_begins(rules: Rules, state: MemberState, length: int) -> int:
    """Where the last window by joining begins, of who never joined that of the last join that is not far."""
    return _joined(state) or state.first_at + length + rules.horizon_ms


def _is_far(rules: Rules, state: MemberState, plan: Plan) -> bool:
    return state.first_at > 0 and _joined(state) >= state.first_at + plan.length + rules.horizon_ms
