"""Moments and spans in words, both ways: `day 3 10:00`, `1 s before day 8`; `5 min`. Day 0 is Monday, 2 March 2026."""

from __future__ import annotations

import datetime as dt
import re

from tests.processors.story import DAY, START

UNITS = {"s": 1_000, "min": 60_000, "h": 3_600_000, "d": DAY}
SPAN = re.compile(r"(\d+) (s|min|h|d)")
MOMENT = re.compile(
    r"(?:(?P<span>\d+ (?:s|min|h|d)) (?P<side>before|after) )?(?:day (?P<day>-?\d+)|(?P<date>\d{4}-\d\d-\d\d))"
    r"(?: (?P<h>[01]\d|2[0-3]):(?P<min>[0-5]\d)(?::(?P<s>[0-5]\d))?)?"
)
BOARD = re.compile(r"(hot_talk|spending) of (week|month) (\d+)(?: in (region|group) (\S+))?(?: for (\S+))?")
FIRST = dt.date(2026, 3, 2)
EPOCH = dt.date(1970, 1, 1)
NEAR = 3_600_000
"""So near to a day's start a moment is told from there: `1 s before day 8`."""


def span(words: str) -> int:
    """A span in ms. Raises ValueError with what may be written."""
    if not (found := SPAN.fullmatch(words)):
        raise ValueError(f"no span: {words!r}; write it as `1 s`, `5 min`, `2 h` or `3 d`")
    return int(found[1]) * UNITS[found[2]]


def moment(words: str) -> int:
    """A moment in ms since the epoch. Raises ValueError with what may be written."""
    if not (found := MOMENT.fullmatch(words)):
        raise ValueError(
            f"no moment: {words!r}; write it as `day 3`, `day 3 10:00`, `1 s before day 8` or `2027-04-01`"
        )
    day = int(found["day"]) if found["day"] else (dt.date.fromisoformat(found["date"]) - FIRST).days
    at = START + day * DAY + sum(int(found[unit]) * UNITS[unit] for unit in ("h", "min", "s") if found[unit])
    if found["span"]:
        at += span(found["span"]) * (1 if found["side"] == "after" else -1)
    return at


def nth(period: str, number: int) -> int:
    """How boards call the week or month so many after the first (0 = the week of day 0, March 2026)."""
    return (FIRST - EPOCH).days + 7 * number if period == "week" else FIRST.year * 12 + FIRST.month - 1 + number


def told(ms: int) -> str:
    """A moment in the shortest words for it."""
    day, rest = divmod(ms - START, DAY)
    if not rest:
        return f"day {day}"
    if DAY - rest < NEAR:
        return f"{_length(DAY - rest)} before day {day + 1}"
    if rest < NEAR:
        return f"{_length(rest)} after day {day}"
    clock = dt.timedelta(milliseconds=rest)
    hours, seconds = divmod(clock.seconds, 3_600)
    second = f":{seconds % 60:02}" if seconds % 60 else ""
    return f"day {day} {hours:02}:{seconds // 60:02}{second}"


def _length(ms: int) -> str:
    return f"{ms // 60_000} min" if ms % 60_000 == 0 else f"{ms / 1_000:g} s"
