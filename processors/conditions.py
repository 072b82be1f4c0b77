"""What a task of the programme asks for, compiled once: which actions count, how much, and in which windows.

An action of a kind that no task names is told from the others by one look-up. Windows are numbered: those of the
calendar by their day, Monday or month, those from a moment by their place, 0 first.
"""

from __future__ import annotations

import datetime as dt
import zlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from processors.calendar import DAY_MS, Calendar
from processors.orders import counted_amount
from schemas import cel
from schemas.actions import ACTIONS, Action, Purchase
from schemas.programme import Programme
from schemas.tasks import STANDING, Condition, Counted, Task
from schemas.where import GIVEN

if TYPE_CHECKING:
    from processors.programme import Rules

HOUR_MS = 3_600_000
EPOCH = dt.date(1970, 1, 1).toordinal()


class Ask(NamedTuple):
    """A condition. `key` names it in the state: a condition that was changed begins anew, the others go on."""

    key: int
    name: str
    measure: str
    at_least: int
    of: dict[type[Action], tuple[Counted, ...]]

    def value(self, rules: Rules, action: Action) -> int:
        """What an action adds to it; 0 = it does not count."""
        for counted in self.of.get(type(action), ()):
            if says(action, counted):
                if self.measure == "count":
                    return 1
                if isinstance(action, Purchase):
                    return counted_amount(rules, action)
                said: int | None = getattr(action, self.measure)
                return said or 0
        return 0


class Plan(NamedTuple):
    """A task whose conditions count actions. `length` is 0 where the calendar says how long a window is."""

    name: str
    key: int
    task: Task
    begins: str
    length: int
    asks: tuple[Ask, ...]

    def number(self, calendar: Calendar, anchor: int, at: int) -> int:
        """The window that a moment lies in; -1 = in none. `anchor` is where windows from a moment begin."""
        if self.length:
            number = (at - anchor) // self.length
            return number if number == 0 or (number > 0 and self.task.resets) else -1
        day = calendar.day(at)
        return {"day": day, "week": calendar.week(day), "month": calendar.month(day)}[self.begins]

    def bounds(self, calendar: Calendar, anchor: int, number: int) -> tuple[int, int]:
        """The first moment of a window and the first after it."""
        if self.length:
            begin = anchor + number * self.length
            return begin, begin + self.length
        if self.begins == "month":
            first, after = _first_day(number), _first_day(number + 1)
        else:
            first, after = number, number + (7 if self.begins == "week" else 1)
        return calendar.day_start(first), calendar.day_start(after)


class Plans:
    """The tasks of a programme: `of_kind` is what an action of a kind may count for."""

    __slots__ = ("always", "by_key", "counted", "from_first", "from_joining", "of_kind", "standing")

    def __init__(self, programme: Programme) -> None:
        self.counted = tuple(_plan(name, task) for name, task in programme.tasks.items() if task.window)
        self.standing = {name: task for name, task in programme.tasks.items() if not task.window}
        self.by_key = {plan.key: plan for plan in self.counted}
        kinds = dict.fromkeys(kind for plan in self.counted for ask in plan.asks for kind in ask.of)
        self.of_kind = {
            kind: tuple((plan, ask) for plan in self.counted for ask in plan.asks if kind in ask.of) for kind in kinds
        }
        self.always = any(not plan.length or plan.task.resets for plan in self.counted)
        """Whether a member is never past the windows of all tasks."""
        self.from_joining = max((plan.length for plan in self.counted if plan.begins == "joining"), default=0)
        self.from_first = max((plan.length for plan in self.counted if plan.begins == "first_action"), default=0)

    def matching(self, rules: Rules, action: Action) -> Iterator[tuple[Plan, Ask, int]]:
        """What the action counts for, and how much."""
        for plan, ask in self.of_kind.get(type(action), ()):
            if value := ask.value(rules, action):
                yield plan, ask, value


def key_of(text: str) -> int:
    """The number by which the state knows a name."""
    return zlib.crc32(text.encode())


def _plan(name: str, task: Task) -> Plan:
    window = task.window
    assert window is not None
    length = (window.hours or 0) * HOUR_MS + (window.days or 0) * DAY_MS
    return Plan(name, key_of(name), task, window.begins, length, tuple(map(_ask, task.conditions)))


def _ask(condition: Condition) -> Ask:
    assert condition.measure not in STANDING
    key = key_of(condition.model_dump_json(exclude_none=True))  # as it was before `cel` could be said
    return Ask(key, condition.name, condition.measure, condition.at_least, counted_of(condition.of))


def counted_of(counted: Iterable[Counted]) -> dict[type[Action], tuple[Counted, ...]]:
    """What counts, by the kind of action."""
    of: dict[type[Action], tuple[Counted, ...]] = {}
    for one in counted:
        kind = ACTIONS[one.action]
        of[kind] = (*of.get(kind, ()), one)
    return of


def says(action: Action, counted: Counted) -> bool:
    """Whether the action is of the kind, and its fields are, what the programme wants."""
    if type(action) is not ACTIONS[counted.action]:
        return False
    for name, wanted in counted.where.items():
        said = getattr(action, name)
        if wanted == GIVEN:
            if said is None or said == "" or said == ():
                return False
        elif said not in (wanted if isinstance(wanted, tuple) else (wanted,)):
            return False
    return counted.cel is None or cel.condition(counted.action, counted.cel).holds(action)


def _first_day(month: int) -> int:
    year, of_year = divmod(month, 12)
    return dt.date(year, of_year + 1, 1).toordinal() - EPOCH
