"""The course of a member's base level: run from a day judged for good over what is known of the days since.

It depends on nothing but what was done and when, so every order of arrival runs the same course. Between days on which
something changes all day ends are alike, and are taken at once; the same run goes on into the future, where nothing
happens but months, streaks and tenure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from processors import growth, orders, tasks, windows
from processors.standards import Levels, Sums
from schemas.member import LEVEL_FROM, TOP, MemberState

if TYPE_CHECKING:
    from processors.programme import Rules

RISE, FALL, WARNING = 1, 2, 3
AHEAD_MONTHS = 14  # after which, without actions, no sum of a year changes any more


class From(NamedTuple):
    """A day end judged for good: the level earned by then (0 = none), days missed and check-ins in a row, the top."""

    day: int = 0
    earned: int = 0
    missed: int = 0
    streak: int = 0
    top: int = 0


class Step(NamedTuple):
    """Something that happened to the base level: on which day (a fall and a warning: at its end), S and G then."""

    kind: int
    day: int
    before: int
    after: int
    spend: int
    growth: int
    start: bool  # a rise at the day's very start
    streak: int
    top: bool
    why: str


class Course(Struct):
    """A run in progress: what is known by day, and where it stands."""

    levels: Levels
    floors: list[tuple[int, int]]
    spend: dict[int, int]  # by month, minor units, up to the day at hand
    points: dict[int, int]
    bought: dict[int, int]  # by day, minor units
    rows: dict[int, int]  # by day, base points x 2 + 1 for a check-in
    tops: dict[int, int]  # by the day from whose end on
    day: int
    earned: int
    missed: int
    streak: int
    top: int
    sums: Sums
    closed: int = 0  # day whose end was judged last
    month: int = 0
    steps: list[Step] = []

    def judged(self, until: int) -> From:
        """Go on to a day's end, which is judged for good."""
        for day in self._days(until):
            self._pass(day - 1)
            self._begin(day)
        self._pass(until)
        self.rise_to_floors(self.levels.calendar.day_start(until + 1))
        return From(until, self.earned, self.missed, self.streak if self.day == until else 0, int(self.sums.top))

    def run(self, today: int, at: int) -> None:
        """Up to a moment: every day end before it, and the day at hand as far as it is known."""
        for day in self._days(today):
            self._pass(day - 1)
            self._begin(day)
        self._pass(today - 1)
        if self.day < today:
            self._begin(today)
        self.rise_to_floors(at)

    def ahead(self, limit: int) -> Step | None:
        """Go on without actions until the first step after now, at most to a day."""
        known, first_day = len(self.steps), self.levels.calendar.first_day
        days = {first_day(month) for month in range(self.month + 1, self.month + AHEAD_MONTHS)}
        days.add(self.day + 1)
        days |= {one for day in self.tops if day > self.day for one in (day, day + 1)}
        for day in sorted(day for day in days if day > self.closed):
            if len(self.steps) > known or day > limit:
                break
            self._pass(day - 1)
            if len(self.steps) == known:
                self._begin(day)
        if len(self.steps) == known:
            self._pass(limit)
        return self.steps[known] if len(self.steps) > known else None

    def silent(self, day: int) -> None:
        """Go on without actions to a day."""
        while self.ahead(day - 1) is not None:
            pass
        self._pass(day - 1)
        if self.day < day:
            self._begin(day)

    def rise_to_floors(self, at: int) -> None:
        """What was earned counts no more once a floor is as high."""
        if self.earned <= self.floor(at):
            self.earned = 0

    def base(self, at: int) -> int:
        """The base level at a moment."""
        return max(self.earned, self.floor(at))

    def floor(self, at: int) -> int:
        """The floor at a moment."""
        highest = 0
        for since, place in self.floors:
            if since <= at and place > highest:
                highest = place
        return highest

    def _days(self, today: int) -> list[int]:
        """The days up to today on which something changes, oldest first."""
        calendar = self.levels.calendar
        days = {*self.bought, *self.rows, *self.tops}
        days |= {day + 1 for day, row in self.rows.items() if row & 1} | {day + 1 for day in self.tops}
        if self.top:  # since the end of the day judged for good, it may be: what that brings comes a day later
            days.add(self.closed + 1)
        months = range(calendar.month(self.closed), calendar.month(today) + 1)
        days |= {calendar.first_day(month) for month in months}
        days |= {calendar.day(at) for at, _ in self.floors}
        return sorted(day for day in days if self.closed < day <= today)

    def _begin(self, day: int) -> None:
        """The day as far as it is known: what its start brings, then all that was done on it."""
        sums = self.sums
        if self.tops.get(day - 1) is not None:
            self.top = self.tops[day - 1]
        sums.top = bool(self.top)
        month = self.window(day)
        run = self.streak if self.day == day - 1 else 0
        self.streak = sums.streak = run
        self.day = day
        self._rise(day, start=True)
        row = self.rows.get(day, 0)
        self.streak = run + 1 if row & 1 else 0
        if row or day in self.bought:  # else nothing more is met than at its start
            self._do(day, month)
            sums.streak = max(run, self.streak)
            self._rise(day, start=False)
        sums.streak = self.streak

    def window(self, day: int) -> int:
        """The month of a day, whose sums are taken anew if it is another."""
        levels, sums = self.levels, self.sums
        month = levels.calendar.month(day)
        if month != self.month:
            self.month = month
            before = month - levels.months
            sums.spend = sum([amount for it, amount in self.spend.items() if before < it <= month])
            points = sum([base for it, base in self.points.items() if before < it <= month])
            sums.growth = sums.spend + points * levels.minor
            pace = [amount for it, amount in self.spend.items() if month - levels.pace_months <= it < month]
            sums.slowest = min(pace) if len(pace) == levels.pace_months else min([0, *pace])
        return month

    def _do(self, day: int, month: int) -> None:
        amount, points = self.bought.get(day, 0), self.rows.get(day, 0) >> 1
        if amount:
            self.spend[month] = self.spend.get(month, 0) + amount
            self.sums.spend += amount
        if points:
            self.points[month] = self.points.get(month, 0) + points
        self.sums.growth += amount + points * self.levels.minor

    def _rise(self, day: int, *, start: bool) -> None:
        """At once to the highest standard met."""
        calendar = self.levels.calendar
        at = calendar.day_start(day) if start else calendar.day_start(day + 1) - 1
        base = self.base(at)
        best = self.levels.best(self.sums, base)
        if best > 0:
            self._note(RISE, day, base, best, start=start)
            self.earned, self.missed = best, 0

    def _pass(self, until: int) -> None:
        """Judge the ends of the days up to one: all are like the day at hand, but that nobody checks in after it."""
        levels, calendar = self.levels, self.levels.calendar
        while self.closed < until:
            if self.day < self.closed + 1:
                self.sums.streak = self.streak = 0
            elif self.day in self.tops:
                self.sums.top = bool(self.tops[self.day])
            end = calendar.day_start(self.closed + 2)
            if not self.earned or self.earned <= self.floor(end) or self.met():
                self.missed = 0
                self._skip(until)
                continue
            left = levels.miss_days - self.missed
            if self.missed < levels.warn_days:
                left = levels.warn_days - self.missed
            step = min(until - self.closed, left)
            self.missed += step
            self.closed += step
            if self.missed == levels.warn_days:
                self._note(WARNING, self.closed, self.earned, self.earned, start=False)
            elif self.missed == levels.miss_days:
                before, floor = self.earned, self.floor(calendar.day_start(self.closed + 1))
                after = max(before - 1, floor)
                self.earned, self.missed = (after if after > floor else 0), 0
                self._note(FALL, self.closed, before, after, start=False)

    def _skip(self, until: int) -> None:
        """The day at hand ends as it is; the ends after it are alike once the streak is over."""
        self.closed = until if self.day < self.closed + 1 or not self.streak else self.closed + 1

    def met(self) -> bool:
        """Whether the standard of the level earned is met; a level without one is not missed."""
        standard = self.levels.standards[self.earned]
        return not standard.asked or standard.met(self.sums)

    def _note(self, kind: int, day: int, before: int, after: int, *, start: bool) -> None:
        sums, levels = self.sums, self.levels
        why = levels.why(after, sums) if kind == RISE else levels.missing(before, sums)
        streak = min(sums.streak, 255)
        self.steps.append(Step(kind, day, before, after, sums.spend, sums.growth, start, streak, sums.top, why))


def course(in_force: Rules, state: MemberState, begin: From) -> Course:
    """A run about to begin after a day judged for good."""
    levels = in_force.levels
    calendar = levels.calendar
    spend, bought = orders.spend_by_month(state), dict[int, int]()
    for order in orders.known(state):
        day = calendar.day(order.at)
        left = order.counted - (orders.refunded(state, order.key).counted(order) if state.refunded else 0)
        if day > begin.day and left:
            bought[day] = bought.get(day, 0) + left
            month = calendar.month(day)
            spend[month] = spend.get(month, 0) - left
    points, rows = growth.by_month(state), dict[int, int]()
    for day, row, _ in growth.rows(state):
        if day > begin.day:
            rows[day] = row
        else:
            points[calendar.month(day)] = points.get(calendar.month(day), 0) + (row >> 1)
    found = Course(
        levels=levels,
        floors=levels.floors(windows.joined_at(state), tasks.levels_done(in_force, state)),
        spend=spend,
        points=points,
        bought=bought,
        rows=rows,
        tops=dict(TOP.iter_unpack(state.level_tops)),
        day=begin.day,
        earned=begin.earned,
        missed=begin.missed,
        streak=begin.streak,
        top=begin.top,
        sums=Sums(),
        closed=begin.day or _first(bought, rows, calendar.day(windows.joined_at(state))),
        steps=[],
    )
    if begin.day:
        found.sums.top = bool(begin.top)
        found.window(begin.day)
    return found


def begun(state: MemberState) -> From:
    """The day judged for good."""
    return From._make(LEVEL_FROM.unpack(state.level_from)) if state.level_from else From()


def _first(*known: Iterable[int] | int) -> int:
    """The day before the first one of which anything is known."""
    days = [day for one in known for day in ([one] if isinstance(one, int) else one)]
    return min(days) - 1
