"""Members that behave like members: who they are, at which hours they act, how much, and who falls silent when.

The same size and seed give the same members, so history made today and live traffic made tomorrow are of one crowd.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
HOURS_OF_WEEK = 168

REGIONS = {"east": 32, "south": 24, "north": 18, "central": 12, "west": 9, "overseas": 5}
MEMBERS_PER_GROUP = 250
SILENT_SHARE = 0.15
"""Members who hardly ever act; every real programme has them."""

LIVELINESS_MAX = 40.0
"""A power user acts at most this many times as much as the least of the ordinary ones."""


class Rhythm(NamedTuple):
    """A way to spend the day: weight per hour of the programme zone, and what a weekend day makes of it."""

    name: str
    share: int
    hours: tuple[int, ...]
    weekend: float


RHYTHMS = (
    Rhythm("early", 15, (0, 0, 0, 0, 1, 6, 20, 24, 14, 6, 4, 4, 6, 4, 3, 3, 3, 5, 6, 6, 4, 2, 1, 0), 0.8),
    Rhythm("office", 30, (1, 0, 0, 0, 0, 0, 1, 6, 12, 8, 6, 8, 22, 14, 6, 5, 5, 8, 12, 8, 8, 8, 5, 2), 0.5),
    Rhythm("evening", 35, (3, 1, 0, 0, 0, 0, 1, 2, 3, 3, 3, 4, 7, 5, 4, 4, 4, 6, 10, 18, 26, 26, 18, 9), 1.1),
    Rhythm("night", 10, (24, 20, 12, 5, 1, 0, 0, 0, 1, 1, 2, 2, 3, 3, 3, 3, 3, 4, 5, 8, 12, 16, 22, 26), 1.2),
    Rhythm("weekend", 10, (1, 0, 0, 0, 0, 0, 0, 1, 3, 8, 12, 12, 8, 8, 12, 14, 12, 10, 8, 8, 8, 6, 4, 2), 4.0),
)


class Wave(NamedTuple):
    """Members who fall silent together: their last action (or last purchase) lies `days` before a given moment.

    The limit of a tier `days` after it is then crossed within `spread_s` seconds after that moment.
    """

    share: float
    days: float
    spread_s: float = 300.0
    only_purchases: bool = False


class Member(NamedTuple):
    """One member and how it lives; `wave` is the number of the wave it belongs to, -1 = none."""

    number: int
    id: str
    region: str
    group: str
    rhythm: int
    liveliness: float
    buys: bool
    wave: int
    stagger: float


class Crowd:
    """The members, and who of them is likely to act at an hour of the week."""

    def __init__(self, size: int, seed: int, waves: Sequence[Wave] = ()) -> None:
        self.waves = tuple(waves)
        self.members = _members(size, random.Random(f"crowd {seed} {size}"), self.waves)
        self.groups = len({member.group for member in self.members})
        self._mean = math.fsum(member.liveliness for member in self.members) / size
        self._likely: dict[int, list[float]] = {}
        self._hours = [_hours(rhythm) for rhythm in RHYTHMS]

    def expected(self, member: Member, per_day: float, *, weekend: bool) -> float:
        """How many actions of this member a day brings, when members have `per_day` on average."""
        factor = RHYTHMS[member.rhythm].weekend if weekend else 1.0
        return per_day * member.liveliness / self._mean * factor

    def hour(self, member: Member, rng: random.Random) -> int:
        """An hour of the day at which this member may act."""
        return rng.choices(range(24), cum_weights=self._hours[member.rhythm])[0]

    def likely(self, hour_of_week: int) -> list[float]:
        """Cumulative weights of the members at an hour of the week (0 = Monday, midnight)."""
        if hour_of_week not in self._likely:
            self._likely = {hour_of_week: self._weigh(hour_of_week)}
        return self._likely[hour_of_week]

    def gone(self, member: Member) -> bool:
        """Whether the member belongs to a wave of members who do nothing any more."""
        return member.wave >= 0 and not self.waves[member.wave].only_purchases

    def last_at(self, member: Member, until: int) -> int | None:
        """The moment (ms) of the last action, or last purchase, of a member of a wave that is told at `until`."""
        if member.wave < 0:
            return None
        wave = self.waves[member.wave]
        return until - int(wave.days * DAY_MS) + int(wave.spread_s * 1000 * member.stagger)

    def _weigh(self, hour_of_week: int) -> list[float]:
        day, hour = divmod(hour_of_week, 24)
        # The small addend keeps everybody possible at any hour: somebody is always awake.
        now = [(it.hours[hour] + 0.2) * (it.weekend if day >= 5 else 1.0) / sum(it.hours) for it in RHYTHMS]
        weights = (0.0 if self.gone(it) else it.liveliness * now[it.rhythm] for it in self.members)
        return list(accumulate(weights))


def _members(size: int, rng: random.Random, waves: tuple[Wave, ...]) -> list[Member]:
    groups = _groups(size, rng)
    sizes = list(accumulate(1 / rank for rank in range(1, len(groups) + 1)))  # Zipf: few large, many small
    rhythms = list(accumulate(rhythm.share for rhythm in RHYTHMS))
    regions, weights = list(REGIONS), list(accumulate(REGIONS.values()))
    members = []
    for index in range(size):
        group, home = rng.choices(groups, cum_weights=sizes)[0]
        moved = rng.random() < 0.05
        region = rng.choices(regions, cum_weights=weights)[0] if moved else home
        wave = _wave(rng.random(), waves)
        lively = min(LIVELINESS_MAX, rng.paretovariate(1.4)) * (0.02 if rng.random() < SILENT_SHARE else 1)
        rhythm = rng.choices(range(len(RHYTHMS)), cum_weights=rhythms)[0]
        buys = rng.random() < 0.6 or (wave >= 0 and waves[wave].only_purchases)
        members.append(Member(index, f"m-{index:07d}", region, group, rhythm, lively, buys, wave, rng.random()))
    return members


def _groups(size: int, rng: random.Random) -> list[tuple[str, str]]:
    """Communities and the region each is at home in."""
    count = max(1, size // MEMBERS_PER_GROUP)
    regions = rng.choices(list(REGIONS), weights=list(REGIONS.values()), k=count)
    return [(f"g-{number:04d}", region) for number, region in enumerate(regions)]


def _wave(draw: float, waves: tuple[Wave, ...]) -> int:
    for number, wave in enumerate(waves):
        if draw < wave.share:
            return number
        draw -= wave.share
    return -1


def _hours(rhythm: Rhythm) -> list[int]:
    return list(accumulate(rhythm.hours))
