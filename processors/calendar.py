"""The programme's calendar: from milliseconds to programme days, weeks, months and years.

A programme day begins at an hour of the programme's zone, exact over every change of clocks. Zones are read
from the pinned tzdata package, never from the machine: a replay elsewhere, or years later, must cut the days
at the same moments.
"""

from __future__ import annotations

import datetime as dt
import functools
import importlib.resources
import zoneinfo

DAY_MS = 86_400_000
MINUTE_MS = 60_000

_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - wall clock of the zone, kept naive on purpose
_EPOCH_UTC = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_EPOCH_ORDINAL = _EPOCH.toordinal()
_MS = dt.timedelta(milliseconds=1)
# datetime ends at the year 9999; two days on either side leave room for any zone and starting hour.
_DAY_MIN = dt.date.min.toordinal() - _EPOCH_ORDINAL + 2
_DAY_MAX = dt.date.max.toordinal() - _EPOCH_ORDINAL - 2
_REMEMBERED = 4096  # days; a log spans far fewer at a time, and forgetting them only costs looking them up again


@functools.lru_cache(maxsize=64)
def zone(name: str) -> zoneinfo.ZoneInfo:
    """An IANA zone from the pinned tzdata. Raises `ValueError` where that package has no such zone."""
    try:
        place = importlib.resources.files("tzdata").joinpath("zoneinfo", *name.split("/"))
        with place.open("rb") as file:
            return zoneinfo.ZoneInfo.from_file(file, key=name)
    except (OSError, ValueError):
        raise ValueError(f"{name}: not an IANA zone such as Asia/Shanghai") from None


class Calendar:
    """Days of one zone that start at one hour, counted from 1970-01-01; months are year x 12 + month - 1.

    The boundaries of days are looked up once and remembered; between two of them a moment is only compared.
    """

    __slots__ = ("_day", "_end", "_firsts", "_months", "_start", "_starts", "_zone", "day_starts_at", "zone_name")

    def __init__(self, zone_name: str, day_starts_at: int) -> None:
        self.zone_name = zone_name
        self.day_starts_at = day_starts_at
        self._zone = zone(zone_name)
        self._starts: dict[int, int] = {}
        self._months: dict[int, int] = {}
        self._firsts: dict[int, int] = {}
        self._day = self._start = self._end = 0  # the last answer: [start, end) is the day

    def day(self, ms: int) -> int:
        """The programme day a moment lies in."""
        if self._start <= ms < self._end:
            return self._day
        day = min(max(ms // DAY_MS, _DAY_MIN), _DAY_MAX - 1)
        while day > _DAY_MIN and self.day_start(day) > ms:
            day -= 1
        while day < _DAY_MAX - 1 and self.day_start(day + 1) <= ms:
            day += 1
        self._day, self._start, self._end = day, self.day_start(day), self.day_start(day + 1)
        return day

    def day_start(self, day: int) -> int:
        """The first moment of a programme day: when the zone's clocks first show its hour or a later one."""
        start = self._starts.get(day)
        if start is None:
            if len(self._starts) >= _REMEMBERED:
                self._starts.clear()
            start = self._starts[day] = self._boundary(min(max(day, _DAY_MIN), _DAY_MAX))
        return start

    def month(self, day: int) -> int:
        """The programme month a day lies in: year x 12 + month - 1."""
        month = self._months.get(day)
        if month is None:
            if len(self._months) >= _REMEMBERED:
                self._months.clear()
            date = self.date(day)
            month = self._months[day] = date.year * 12 + date.month - 1
        return month

    def month_start(self, month: int) -> int:
        """The first moment of a programme month (ms)."""
        first = dt.date(month // 12, month % 12 + 1, 1)
        return self.day_start(first.toordinal() - _EPOCH_ORDINAL)

    def first_day(self, month: int) -> int:
        """The programme day that a programme month begins with."""
        day = self._firsts.get(month)
        if day is None:
            if len(self._firsts) >= _REMEMBERED:
                self._firsts.clear()
            day = self._firsts[month] = self.day(self.month_start(month))
        return day

    def year(self, day: int) -> int:
        """The programme year a day lies in."""
        return self.month(day) // 12

    def week(self, day: int) -> int:
        """The day number of the week's Monday."""
        return day - (day + 3) % 7  # 1970-01-01 was a Thursday

    def date(self, day: int) -> dt.date:
        """A programme day as a date, for words and tables."""
        return dt.date.fromordinal(min(max(day, _DAY_MIN), _DAY_MAX) + _EPOCH_ORDINAL)

    def _boundary(self, day: int) -> int:
        wall = _EPOCH + dt.timedelta(days=day, hours=self.day_starts_at)
        late = self._utc(wall, fold=0)
        if self._wall(late) == wall:
            return late  # of two such moments (clocks put back) fold 0 is the first
        early = self._utc(wall, fold=1) - 1  # clocks put forward over it: the jump lies in (early, late]
        while late - early > 1:
            middle = (early + late) // 2
            early, late = (early, middle) if self._wall(middle) >= wall else (middle, late)
        return late

    def _utc(self, wall: dt.datetime, fold: int) -> int:
        return (wall.replace(tzinfo=self._zone, fold=fold) - _EPOCH_UTC) // _MS

    def _wall(self, ms: int) -> dt.datetime:
        return (_EPOCH_UTC + dt.timedelta(milliseconds=ms)).astimezone(self._zone).replace(tzinfo=None, fold=0)
