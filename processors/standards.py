"""The ladder of levels, compiled: which standard is met by which sums, and what is missing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

from msgspec import Struct

from processors.calendar import Calendar
from schemas.actions import ACTIONS, Action
from schemas.programme import Programme

EPOCH = dt.date(1970, 1, 1).toordinal()


class Sums(Struct, gc=False):
    """What standards are judged by: S and G in minor units, the run of check-ins alive, the closed months, the top."""

    spend: int = 0
    growth: int = 0
    streak: int = 0
    slowest: int = 0  # the least net spend of the closed months that pace looks at
    top: bool = False


class Standard(Struct, frozen=True, gc=False):
    """One level. A limit of -1 is none; S and G must be that much or more, in minor units."""

    name: str
    growth: int
    spend: int
    pace: int
    streak: int
    top: bool

    def met(self, sums: Sums) -> bool:
        """Whether any alternative is met; the top is wanted beside the spend."""
        if self.spend >= 0 and (sums.spend >= self.spend or sums.slowest >= self.pace):
            return sums.top or not self.top
        return 0 <= self.growth <= sums.growth or 0 < self.streak <= sums.streak

    @property
    def asked(self) -> bool:
        """Whether the level has a standard at all: floors have none."""
        return self.spend >= 0 or self.growth >= 0 or self.streak > 0


class Levels:
    """The ladder of a programme; levels go by their place in it, 0 = the lowest."""

    def __init__(self, programme: Programme, calendar: Calendar) -> None:
        rules, minor = programme.levels, programme.minor_units
        self.calendar, self.minor = calendar, minor
        self.months, self.tenure_months = rules.months, rules.tenure_months
        self.miss_days, self.warn_days = rules.miss_days, rules.warn_days
        self.pace_months = rules.pace.closed_months
        self.names = tuple(step.level for step in rules.steps)
        self.tenure = next(place for place, step in enumerate(rules.steps) if step.floor == "tenure")
        self.standards = tuple(
            Standard(
                step.level,
                step.growth_from * minor if step.growth_from else -1,
                step.spend_from * minor
                if step.spend_from
                else step.spend_above * minor + 1
                if step.spend_above
                else -1,
                -(-(step.spend_from or step.spend_above or 0) // rules.pace.share) * minor,
                step.streak or 0,
                step.top,
            )
            for step in rules.steps
        )
        self.asked = tuple((place, one) for place, one in enumerate(self.standards) if one.asked)[::-1]
        """The levels that have a standard, the highest first."""
        self._easiest = tuple(_easiest(self.standards[place + 1 :]) for place in range(len(self.standards)))
        self.topped = tuple(one for one in self.standards if one.top)
        self.streaks = tuple(place for place, one in enumerate(self.standards) if one.streak)
        self.top_days, self.top_members_from = rules.top.days, rules.top.members_from
        self.day_cap = programme.activity.day_cap
        self.community: frozenset[type[Action]] = frozenset(ACTIONS[name] for name in rules.top.actions)
        self.referrals, self.referral_months = rules.bonus.referrals, rules.bonus.referral_months
        self.bonus_up_to = self.names.index(rules.bonus.up_to)
        horizon = programme.horizon_days + 2
        self.kept_days = (horizon, horizon + rules.miss_days)  # of who was always on a floor, and of others

    def best(self, sums: Sums, above: int) -> int:
        """The highest level above one whose standard is met, else -1."""
        if not self._easiest[above].met(sums):  # nearly always
            return -1
        for place, standard in self.asked:
            if place <= above:
                break
            if standard.met(sums):
                return place
        return -1

    def watched(self, sums: Sums) -> bool:
        """Whether the top matters: all else of a standard that asks for it is met."""
        return any(one.spend <= sums.spend or one.pace <= sums.slowest for one in self.topped)

    def shown(self, base: int, bonus: int) -> int:
        """The level of a base level and steps of bonus, which never lift beyond one level."""
        return max(base, min(base + bonus, self.bonus_up_to))

    def tenure_at(self, joined_at: int) -> int:
        """The moment at which the floor of tenure is reached (ms)."""
        return later_by(self.calendar, joined_at, self.tenure_months)

    def floors(self, joined_at: int, marks: Mapping[str, int]) -> list[tuple[int, int]]:
        """(moment, place) of the floors reached, ascending: `marks` are levels that tasks gave and since when."""
        found = [(joined_at, 0), (self.tenure_at(joined_at), self.tenure)]
        found += [(at, self.names.index(name)) for name, at in marks.items() if name in self.names[: self.tenure]]
        return sorted(found)

    def missing(self, place: int, sums: Sums) -> str:
        """What a level asks beyond what is there: `31.50 more net spend, or 120 more growth, or a streak of 7`."""
        one, parts = self.standards[place], []
        if one.growth > sums.growth:
            parts.append(f"{self._units(one.growth - sums.growth)} more growth")
        if one.spend > sums.spend:
            parts.append(f"{self._units(one.spend - sums.spend)} more net spend")
        if one.streak > sums.streak:
            parts.append(f"a streak of {one.streak}")
        text = ", or ".join(parts)
        if one.top and not sums.top:
            text += (", and " if text else "") + "a place among the most active"
        return text or "nothing"

    def why(self, place: int, sums: Sums) -> str:
        """Why a standard is met: `S 210 of 200`."""
        one = self.standards[place]
        top = " and among the most active" if one.top else ""
        if 0 <= one.spend <= sums.spend:
            return f"net spend of {self._units(sums.spend)} meets {self._units(one.spend)}{top}"
        if one.spend >= 0 and sums.slowest >= one.pace:
            return f"each of the last {self.pace_months} closed months had {self._units(one.pace)} or more{top}"
        if 0 <= one.growth <= sums.growth:
            return f"growth of {self._units(sums.growth)} meets {self._units(one.growth)}"
        if 0 < one.streak <= sums.streak:
            return f"{sums.streak} check-ins in a row"
        return "no standard"

    def _units(self, minor: int) -> str:
        whole, rest = divmod(minor, self.minor)
        return f"{whole}.{rest:0{len(str(self.minor - 1))}}" if rest else str(whole)


def _easiest(standards: Sequence[Standard]) -> Standard:
    """What is met by whoever meets any of these standards."""
    spends = [one for one in standards if one.spend >= 0]
    return Standard(
        name="",
        growth=min((one.growth for one in standards if one.growth >= 0), default=-1),
        spend=min((one.spend for one in spends), default=-1),
        pace=min((one.pace for one in spends), default=0),
        streak=min((one.streak for one in standards if one.streak), default=0),
        top=False,
    )


def later_by(calendar: Calendar, at: int, months: int) -> int:
    """The same time of day so many calendar months later; a day that the month has not is its last one."""
    day = calendar.day(at)
    date, month = calendar.date(day), calendar.month(day) + months
    first, after = _first_day(month), _first_day(month + 1)
    then = min(first + date.day - 1, after - 1)
    return min(calendar.day_start(then) + at - calendar.day_start(day), calendar.day_start(then + 1) - 1)


def _first_day(month: int) -> int:
    return dt.date(month // 12, month % 12 + 1, 1).toordinal() - EPOCH
