"""Which warning tiers a member must be in and when, from the handbook's words: plain dates, no code of the pipeline.

Everything arrives when it happens. A tier is looked at as something true or not at a moment; what may change it are the
actions, the ends of days and months, and limits after actions. The numbers of the programme are written here once more.
"""

from __future__ import annotations

import datetime as dt
import itertools
import math
import statistics
import zoneinfo
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

DAY, HOUR = dt.timedelta(days=1), dt.timedelta(hours=1)
BUYING = (("red", 14), ("light", 30), ("medium", 60), ("heavy", 90))
PRESENCE = (("yellow", 7), ("L1", 30), ("L2", 38), ("L3", 46), ("lost", 61))
COMPLAINT_HOURS = {"ordinary": 24, "complex": 48, "serious": 72}
GRAVITY = (
    *("blue", "yellow", "red", "value", "rhythm", "light", "L1"),
    *("mood", "medium", "L2", "path", "L3", "heavy", "lost"),
)
NOT_OWN = ("refund",)
HIGH_CENTS = 500_00
LISTED = 180 * DAY  # how long an order is in the order list
TIERS = {"activity": "blue", "mood": "mood", "path": "path", "value": "value", "rhythm": "rhythm"}


@dataclass(frozen=True)
class Act:
    """Something that happened to a member; what is not said is empty."""

    at: dt.datetime
    what: str
    status: str = ""
    case: str = ""
    severity: str = "ordinary"
    score: int = 0
    order: str = ""
    cents: int = 0

    @property
    def own(self) -> bool:
        """Whether it ends silence."""
        return self.what not in NOT_OWN and (not self.status or self.status == "opened")


@dataclass(frozen=True)
class Spell:
    """A tier held from a moment to a moment; `left` is None while it is still held."""

    tier: str
    entered: dt.datetime
    left: dt.datetime | None


@dataclass
class Member:
    """A history, its zone and its end."""

    acts: list[Act]
    zone: zoneinfo.ZoneInfo
    end: dt.datetime
    spells: dict[str, list[Spell]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.active = sorted({self.date(it.at) for it in self.acts if it.own})
        self.active_set = set(self.active)

    def date(self, at: dt.datetime) -> dt.date:
        """The programme day."""
        return at.astimezone(self.zone).date()

    def start(self, date: dt.date) -> dt.datetime:
        """When a programme day begins."""
        return dt.datetime.combine(date, dt.time(), self.zone).astimezone(dt.UTC)

    def until(self, at: dt.datetime, *kinds: str) -> list[Act]:
        """What happened up to a moment, of some kinds."""
        return [it for it in self.acts if it.at <= at and (not kinds or it.what in kinds)]


def lived(acts: Iterable[Act], zone: zoneinfo.ZoneInfo, end: dt.datetime, *, high_cents: int = HIGH_CENTS) -> Member:
    """A member with all spells of all dimensions."""
    member = Member(sorted(acts, key=lambda it: it.at), zone, end)
    own = [it.at for it in member.acts if it.own]
    bought = [it.at for it in member.acts if it.what == "purchase"]
    member.spells["presence"] = _ladder(own, PRESENCE, end)
    member.spells["buying"] = _ladder(bought, BUYING, end)
    kinds = {it.what for it in member.acts}
    paths, value = _Path(member), _Value(member, high_cents)
    asked: dict[str, tuple[bool, Callable[[dt.datetime], bool]]] = {  # what it takes at least, and when it is so
        "activity": (len(member.active) >= 6, partial(_blue, member)),
        "mood": (bool(kinds & {"nps", "complaint"}), partial(_mood, member)),
        "path": ("support" in kinds, paths.holds),
        "value": (bool(value.spans), value.holds),
        "rhythm": (len(member.active) > 20, partial(_rhythm, member)),
    }
    moments = _moments(member) if any(it for it, _ in asked.values()) else []
    for dimension, (can_be, holds) in asked.items():
        member.spells[dimension] = _spells(TIERS[dimension], moments, holds) if can_be else []
    return member


def overall(member: Member, at: dt.datetime) -> tuple[str, dt.datetime | None]:
    """The gravest tier held at a moment, and since when."""
    held = [
        spell
        for spells in member.spells.values()
        for spell in spells
        if spell.entered <= at and (spell.left is None or at < spell.left)
    ]
    gravest = max(held, key=lambda it: GRAVITY.index(it.tier), default=None)
    return (gravest.tier, gravest.entered) if gravest else ("", None)


def _ladder(moments: list[dt.datetime], steps: tuple[tuple[str, int], ...], end: dt.datetime) -> list[Spell]:
    found = []
    for last, following in zip(moments, [*moments[1:], None], strict=True):
        until = following or end
        begins = [(tier, last + days * DAY) for tier, days in steps if last + days * DAY <= until]
        ends = [begin for _, begin in begins[1:]]
        found += [Spell(tier, begin, left) for (tier, begin), left in zip(begins, [*ends, following], strict=False)]
    return found


def _moments(member: Member) -> list[dt.datetime]:
    """Every moment at which something may change."""
    limits = [days * DAY for days in (30, 60, 90)] + [many * HOUR for many in COMPLAINT_HOURS.values()]
    found = {it.at + after for it in member.acts for after in (dt.timedelta(), *limits)}
    first = member.date(member.acts[0].at)
    dates = (member.date(member.end) - first).days + 1
    days = {member.start(first + many * DAY) for many in range(dates + 1)}
    months = {at + 60 * DAY for at in days if at.astimezone(member.zone).day == 1}
    return sorted(at for at in found | days | months if at <= member.end)


def _spells(tier: str, moments: list[dt.datetime], holds: Callable[[dt.datetime], bool]) -> list[Spell]:
    found, since = [], None
    for at in moments:
        now = holds(at)
        if now and since is None:
            since = at
        elif since is not None and not now:
            found.append(Spell(tier, since, at))
            since = None
    return found + ([Spell(tier, since, None)] if since is not None else [])


# -- each dimension, in the handbook's words ----------------------------------------------------------------------


def _blue(member: Member, at: dt.datetime) -> bool:
    """At the last day's end: active days of 14 programme days at most half of those of the 14 before, 6 or more."""
    day = member.date(at) - DAY
    recent = sum(day - many * DAY in member.active_set for many in range(14))
    before = sum(day - many * DAY in member.active_set for many in range(14, 28))
    return before >= 6 and recent <= before / 2


def _mood(member: Member, at: dt.datetime) -> bool:
    """The last satisfaction under 40, for 90 d; or a complaint not resolved 24, 48, 72 h after it was opened."""
    scores = member.until(at, "nps")
    if scores and scores[-1].score * 10 < 40 and at < scores[-1].at + 90 * DAY:
        return True
    return any(
        at >= it.at + COMPLAINT_HOURS[it.severity] * HOUR and not _resolved(member, it, at)
        for it in member.until(at, "complaint")
        if it.status == "opened"
    )


def _resolved(member: Member, case: Act, at: dt.datetime) -> bool:
    return any(
        it.case == case.case and it.status == "resolved" and case.at <= it.at for it in member.until(at, case.what)
    )


def _rhythm(member: Member, at: dt.datetime) -> bool:
    """The g-th programme day after the last active day has ended."""
    owned = [it.at for it in member.until(at) if it.own]
    active = [it for it in member.active if owned and it <= member.date(owned[-1])]
    if not active:
        return False
    last = active[-1]
    active = [it for it in active if it > last - 400 * DAY]
    gaps = sorted((later - one).days for one, later in itertools.pairwise(active))
    if len(gaps) < 20:
        return False
    nearest_rank = gaps[math.ceil(95 * len(gaps) / 100) - 1]
    return at >= member.start(last + (max(3, nearest_rank) + 1) * DAY)


class _Path:
    """An unresolved support case after a cart or 3 browses and no purchase since; a complaint opened meanwhile."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.complaints: list[Act] = []
        for it in member.acts:
            if it.what == "complaint" and it.status == "opened" and self.holds(it.at):
                self.complaints.append(it)

    def holds(self, at: dt.datetime) -> bool:
        """Whether it is true at a moment."""
        if any(self._complaint(it, at) for it in self.complaints):
            return True
        cases = [it for it in self.member.until(at, "support") if it.status == "opened"]
        return any(self._case(it, at) for it in cases)

    def _complaint(self, it: Act, at: dt.datetime) -> bool:
        return it.at <= at < it.at + 30 * DAY and not (_resolved(self.member, it, at) or self._bought(it.at, at))

    def _bought(self, since: dt.datetime, at: dt.datetime) -> bool:
        return any(it.at > since for it in self.member.until(at, "purchase"))

    def _case(self, case: Act, at: dt.datetime) -> bool:
        seen = [it for it in self.member.until(case.at, "browse", "add_to_cart") if it.at >= case.at - 7 * DAY]
        carts = [it for it in seen if it.what == "add_to_cart"]
        browses = [it for it in seen if it.what == "browse"]
        wanted = carts[-1:] + (browses[-1:] if len(browses) >= 3 else [])
        if not wanted or _resolved(self.member, case, at):
            return False
        since = max(it.at for it in wanted)
        said = [it for it in self.member.until(at, "support") if it.case == case.case and it.status == "unresolved"]
        return any(
            case.at <= it.at
            and at < it.at + 30 * DAY
            and not self._stands(since, it.at)
            and not self._bought(it.at, at)
            for it in said
        )

    def _stands(self, since: dt.datetime, at: dt.datetime) -> bool:
        """Whether there was a purchase since that was not refunded by then."""
        gone = {it.order for it in self.member.until(at, "refund")}
        return any(it.at > since and it.order not in gone for it in self.member.until(at, "purchase"))


class _Value:
    """Orders and closed months of high-value members, worked through in their order."""

    def __init__(self, member: Member, high_cents: int) -> None:
        self.member, self.high_cents = member, high_cents
        self.spend: dict[int, int] = {}
        self.orders: dict[str, Act] = {}
        self.low: dict[str, tuple[dt.datetime, dt.datetime]] = {}  # reason -> from, until
        self.spans: list[tuple[dt.datetime, dt.datetime]] = []  # reasons that are over
        month = self._month(member.acts[0].at)
        for it in member.acts:
            while month < self._month(it.at):
                self._close(month)
                month += 1
            self._act(it)
        while month < self._month(member.end):
            self._close(month)
            month += 1
        self.spans += self.low.values()

    def holds(self, at: dt.datetime) -> bool:
        """Whether a reason holds at a moment."""
        return any(begin <= at < end for begin, end in self.spans)

    def _month(self, at: dt.datetime) -> int:
        date = self.member.date(at)
        return date.year * 12 + date.month - 1

    def _end(self, reason: str, at: dt.datetime) -> None:
        if reason in self.low:
            begin, end = self.low.pop(reason)
            self.spans.append((begin, min(end, at)))

    def _add(self, reason: str, at: dt.datetime) -> None:
        begin, end = self.low.get(reason, (at, at))
        if at > end:
            self._end(reason, at)
            begin = at
        self.low[reason] = (begin, at + 60 * DAY)

    def _high(self, month: int) -> bool:
        return sum(self.spend.get(it, 0) for it in range(month - 3, month)) >= 3 * self.high_cents

    def _act(self, it: Act) -> None:
        month = self._month(it.at)
        if it.what == "purchase":
            before = [one.cents for one in self.orders.values() if one.at >= it.at - LISTED][-10:]
            self.orders[it.order] = it
            if len(before) >= 5:
                if it.cents >= 0.7 * statistics.median(before):
                    for reason in [reason for reason in self.low if reason != "month"]:
                        self._end(reason, it.at)
                elif self._high(month):
                    self._add(it.order, it.at)
            self.spend[month] = self.spend.get(month, 0) + it.cents
        elif it.what == "refund" and self.orders[it.order].at >= it.at - LISTED:
            gone = self.orders.pop(it.order)
            self.spend[self._month(gone.at)] -= gone.cents
            self._end(it.order, it.at)

    def _close(self, month: int) -> None:
        year, index = divmod(month + 1, 12)
        at = self.member.start(dt.date(year, index + 1, 1))
        first = min(self.spend, default=month)
        before = [self.spend.get(it, 0) for it in range(max(first, month - 6), month)]
        if len(before) < 3:
            return
        if self.spend.get(month, 0) >= 0.7 * statistics.median(before):
            self._end("month", at)
        elif self._high(month):
            self._add("month", at)
