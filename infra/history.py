"""The past of a crowd, in the order in which it arrived: what `memberflow import history` is given."""

from __future__ import annotations

import datetime as dt
import math
import random
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple
from zoneinfo import ZoneInfo

from infra.members import DAY_MS, HOUR_MS, Crowd, Member
from infra.traffic import CLEAN, Trouble, Writer

ZONE = "Asia/Shanghai"
PER_DAY = 1.2


class Span(NamedTuple):
    """From when until when (ms), in the days of which zone, how many actions a member and day on average."""

    since: int
    until: int
    zone: str = ZONE
    per_day: float = PER_DAY

    @classmethod
    def of_days(cls, until: int, days: int, zone: str = ZONE, per_day: float = PER_DAY) -> Span:
        """The given number of days up to a moment."""
        return cls(until - days * DAY_MS, until, zone, per_day)

    def days(self) -> Iterator[tuple[int, bool]]:
        """The start (ms) of each day touched, and whether it is one of a weekend."""
        zone = ZoneInfo(self.zone)
        day = dt.datetime.fromtimestamp(self.since / 1000, zone).date()
        while (start := _midnight(day, zone)) < self.until:
            yield start, day.weekday() >= 5
            day += dt.timedelta(days=1)


def _midnight(day: dt.date, zone: ZoneInfo) -> int:
    return int(dt.datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() * 1000)


class History:
    """Actions of a crowd over a span; repeated and late ones among them. Same seed, same bytes."""

    def __init__(self, crowd: Crowd, seed: int, span: Span, trouble: Trouble = CLEAN) -> None:
        self.crowd, self.span, self.trouble = crowd, span, trouble
        self.writer = Writer(seed, f"h{seed}")
        self.rng = random.Random(f"history {seed}")
        self.counts: dict[str, int] = defaultdict(int)
        self._due: dict[int, list[tuple[int, int, bytes]]] = defaultdict(list)
        self._sequence = 0

    def __iter__(self) -> Iterator[bytes]:
        """One JSON text an action, by moment of arrival."""
        for start, is_weekend in self.span.days():
            for member in self.crowd.members:
                self._live_a_day(member, start, is_weekend=is_weekend)
            due = self._due.pop(start // DAY_MS, [])
            yield from (value for _, _, value in sorted(due))

    def _live_a_day(self, member: Member, start: int, *, is_weekend: bool) -> None:
        if start <= self.span.since:
            self._arrives(self.span.since, start, self.writer.profile(member, self.span.since))
        last = self.crowd.last_at(member, self.span.until)
        if last is not None and start <= last < start + DAY_MS:
            kind = "purchase" if self.crowd.waves[member.wave].only_purchases else "login"
            self._arrives(last, start, self.writer.action(member, last, kind))
        hour = -1
        for _ in range(self._count(self.crowd.expected(member, self.span.per_day, weekend=is_weekend))):
            if hour < 0 or self.rng.random() < 0.4:  # else the same visit
                hour = self.crowd.hour(member, self.rng)
            self._act(member, start, start + int((hour + self.rng.random()) * HOUR_MS), last)

    def _act(self, member: Member, start: int, at: int, last: int | None) -> None:
        if not self.span.since <= at < self.span.until:
            return
        kind = self.writer.kind(member)
        if last is not None and at > last:
            if self.crowd.gone(member):
                return
            kind = "browse" if kind == "purchase" else kind
        value = self.writer.action(member, at, kind)
        roll = self.rng.random()
        if roll < self.trouble.late:
            self.counts["late"] += 1
            self._arrives(at + self.writer.late_by(), start, value)
            return
        self._arrives(at, start, value)
        if roll < self.trouble.late + self.trouble.duplicates:
            self.counts["duplicates"] += 1
            self._arrives(at + int(self.rng.expovariate(1 / 600_000)), start, value)
        elif roll > 1 - self.trouble.poison:
            self.counts["poison"] += 1
            self._arrives(at, start, self.writer.poison(self.writer.action(member, at, kind)))

    def _arrives(self, arrival: int, start: int, value: bytes) -> None:
        """Keeps a record for the day on which it arrives; what arrives after the end is lost."""
        if arrival >= self.span.until:
            return
        self._sequence += 1
        self.counts["written"] += 1
        days_on = max(0, (arrival - start) // DAY_MS)
        self._due[start // DAY_MS + days_on].append((arrival, self._sequence, value))

    def _count(self, mean: float) -> int:
        """A Poisson draw (Knuth), so that quiet days happen to everybody."""
        if mean > 20:
            return max(0, round(self.rng.gauss(mean, math.sqrt(mean))))
        limit, product, count = math.exp(-mean), self.rng.random(), 0
        while product > limit:
            product *= self.rng.random()
            count += 1
        return count
