"""Live traffic of a crowd: who acts now, and what goes wrong on the way."""

from __future__ import annotations

import datetime as dt
import random
from collections import Counter, deque
from typing import NamedTuple
from zoneinfo import ZoneInfo

from infra.members import DAY_MS, HOUR_MS, Crowd, Member
from infra.staff import Staff
from infra.traffic import Trouble, Writer

RECENT = 2_000
RETURNING = 0.001
"""Share of actions by members of a wave who come back after all."""


class Record(NamedTuple):
    """One record for the log; `partition_of` is the member whose partition it goes to (a stray: another's)."""

    partition_of: Member
    key: bytes
    value: bytes


class Silence(NamedTuple):
    """A share of the members who do nothing any more from a moment (ms) on."""

    share: float = 0.0
    at: int = 0


class Live:
    """Endless traffic; the caller says how many records, and what time it is."""

    def __init__(
        self,
        crowd: Crowd,
        writer: Writer,
        trouble: Trouble,
        zone: str,
        *,
        uniform: bool = False,
        silence: Silence = Silence(),  # noqa: B008 - a NamedTuple, it cannot change
        staff: Staff | None = None,
    ) -> None:
        self.crowd, self.writer, self.trouble, self.staff = crowd, writer, trouble, staff
        self.rng = random.Random(f"live {writer.origin}")
        self.counts: Counter[str] = Counter()
        self._recent: deque[Record] = deque(maxlen=RECENT)
        self._zone, self._is_uniform, self._silence = ZoneInfo(zone), uniform, silence
        self._gone = [member for member in crowd.members if crowd.gone(member)]
        self._hour, self._hour_of_week = -1, 0
        self._rare = sum(trouble) + (RETURNING if self._gone else 0)

    def take(self, count: int, now: int) -> list[Record]:
        """The next records, as they are sent at `now` (ms)."""
        return [self._next(member, now) for member in self._members(count, now)]

    def storm(self, times: int) -> list[Record]:
        """A sender that lost its acknowledgements repeats what it sent last, several times."""
        repeated = list(self._recent)[-500:] * times
        self.counts["duplicates"] += len(repeated)
        return repeated

    def late_batch(self, count: int, now: int) -> list[Record]:
        """A shop that was offline for days delivers what happened meanwhile."""
        self.counts["late"] += count
        buyers = self.rng.choices(self.crowd.members, k=count)
        times = (now - int((1 + 2 * self.rng.random()) * DAY_MS) for _ in buyers)
        return [self._record(it, at, self.writer.kind(it)) for it, at in zip(buyers, times, strict=True)]

    def poison_burst(self, count: int, now: int) -> list[Record]:
        """A release with a bug sends broken records."""
        return [self._poison(it, now) for it in self.rng.choices(self.crowd.members, k=count)]

    def _members(self, count: int, now: int) -> list[Member]:
        if self._is_uniform:
            chosen = self.rng.choices(self.crowd.members, k=count)
        else:
            likely = self.crowd.likely(self._hour_in_week(now))
            chosen = self.rng.choices(self.crowd.members, cum_weights=likely, k=count)
        if self._silence.share and now >= self._silence.at:
            return [member for member in chosen if member.stagger >= self._silence.share]
        return chosen

    def _next(self, member: Member, now: int) -> Record:
        if self.staff and member.wave < 0 and self.rng.random() < self.staff.share:  # who is to fall silent does
            self.counts["staff"] += 1
            member, value = self.staff.decide(member, now)
            return Record(member, member.id.encode(), value)
        roll = self.rng.random()
        if roll < self._rare:
            return self._trouble(member, now, roll)
        # Apps deliver what happened in the last moments, not what happens now.
        at = now - int(roll * 2_000)
        record = self._record(member, at, self.writer.kind(member))
        self._recent.append(record)
        return record

    def _trouble(self, member: Member, now: int, roll: float) -> Record:
        duplicates, late, beyond, poison, strays = self.trouble
        if (roll := roll - duplicates) < 0:
            self.counts["duplicates"] += bool(self._recent)
            return self.rng.choice(self._recent) if self._recent else self._record(member, now, "login")
        if (roll := roll - late) < 0:
            self.counts["late"] += 1
            return self._record(member, now - self.writer.late_by(), self.writer.kind(member))
        if (roll := roll - beyond) < 0:
            self.counts["beyond"] += 1
            return self._record(member, now - self.writer.beyond(), self.writer.kind(member))
        if (roll := roll - poison) < 0:
            return self._poison(member, now)
        if (roll := roll - strays) < 0:
            self.counts["strays"] += 1
            stray = self._record(member, now, self.writer.kind(member))
            return stray._replace(partition_of=self.rng.choice(self.crowd.members))
        return self._record(self.rng.choice(self._gone or [member]), now, "login")

    def _poison(self, member: Member, now: int) -> Record:
        self.counts["poison"] += 1
        good = self._record(member, now, self.writer.kind(member))
        return good._replace(value=self.writer.poison(good.value))

    def _record(self, member: Member, at: int, kind: str) -> Record:
        if kind == "purchase" and member.wave >= 0:  # a wave of members who do not buy stays one
            kind = "browse"
        return Record(member, member.id.encode(), self.writer.action(member, at, kind))

    def _hour_in_week(self, now: int) -> int:
        if now // HOUR_MS != self._hour:
            self._hour = now // HOUR_MS
            local = dt.datetime.fromtimestamp(now / 1000, self._zone)
            self._hour_of_week = local.weekday() * 24 + local.hour
        return self._hour_of_week
