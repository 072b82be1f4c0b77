"""One member's state as data and in words: points, score, tiers, since when, why, and what comes next.

Everything is as of the clock of the member's partition, the only time the rules know; moments are told in the
programme's zone.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
from msgspec import Struct

from processors import activity, days
from processors.calendar import Calendar, zone
from processors.churn import home_region, overall
from processors.ladders import NAMES, AnyLadder
from processors.ledger import lots
from processors.orders import spend_by_month
from processors.partitioner import partition_of
from processors.programme import UNITS, Rules
from processors.versions import Versions
from schemas import member as member_codec
from schemas import partition as partition_codec
from schemas.member import ORDER, PENDING, MemberState
from schemas.settings import Settings
from streams.errors import StateLost, UsageError
from streams.store import StateStore

MONTHS_SHOWN = 12


class Waiting(Struct, frozen=True):
    """Points on their way to become active."""

    points: int
    active_at: str


class Tier(Struct, frozen=True):
    """A dimension of warning tiers: what is held, and what comes if nothing happens. `tier` "" = none."""

    dimension: str
    tier: str
    since: str
    because: str
    counted_from: str  # the action that time is counted from
    next_tier: str
    next_at: str


class Shown(Struct, frozen=True, kw_only=True):
    """Everything `member show` tells. Moments are RFC 3339 in the programme's zone, "" = never."""

    member_id: str
    log: str
    partition: int
    next_offset: int
    as_of: str
    programme: str
    home_region: str
    closed_at: str
    issued: int
    active: int
    pending: list[Waiting]
    lots: dict[str, int]  # YYYY-MM -> active points
    score: float
    activity_index: int
    overall: str
    overall_since: str
    tiers: list[Tier]
    streak: int
    streak_until: str  # the last day of it
    first_action: str
    last_action: str
    active_days: int  # of the last 30
    last_purchase: str
    orders: int
    spend: dict[str, float]  # YYYY-MM -> whole units of currency
    currency: str


async def look_up(settings: Settings, store: StateStore, member_id: str) -> Shown:
    """A member as last committed. Raises `UsageError` for one the log does not know."""
    partition = partition_of(member_id, settings.partitions)
    head = (await store.headers([partition]))[partition]
    if head is None:
        raise StateLost(f"partition {partition} of log {settings.log} has no state")
    (raw,) = await store.load(partition, [member_id])
    if raw is None or not head.partition_state:
        what = f"log {settings.log} has no member {member_id} (partition {partition}, offset {head.next_offset})"
        raise UsageError(what, remedy="check the id; its actions may wait in the log or stand in `memberflow dlq list`")
    own = partition_codec.decode(head.partition_state)
    rules = Versions(own.programmes, own.clock).in_force
    assert rules is not None, "a member without a programme"
    place = (settings.log, partition, head.next_offset)
    return shown(member_id, member_codec.decode(raw), rules, own.clock, place)


def shown(member_id: str, state: MemberState, rules: Rules, clock: int, place: tuple[str, int, int]) -> Shown:
    """A state as data, at a clock."""
    calendar = rules.calendar
    score = activity.score_on(rules.activity, state, calendar.day(clock))
    tier, since = overall(rules, state)
    streak, until = _streak(state, calendar, clock)
    return Shown(
        member_id=member_id,
        log=place[0],
        partition=place[1],
        next_offset=place[2],
        as_of=_moment(calendar, clock),
        programme=f"{rules.programme.name} {rules.number}",
        home_region=home_region(state),
        closed_at=_moment(calendar, state.closed_at),
        issued=state.issued,
        active=state.active,
        pending=[Waiting(row[2], _moment(calendar, row[0])) for row in PENDING.iter_unpack(state.pendings)],
        lots={_month(month): points for month, points in lots(state).items()},
        score=score / 1000,
        activity_index=rules.activity.index(score),
        overall=tier,
        overall_since=_moment(calendar, since),
        tiers=[_tier(ladder, state, calendar) for ladder in (rules.ladders.presence, rules.ladders.buying)],
        streak=streak,
        streak_until=until,
        first_action=_moment(calendar, state.first_own),
        last_action=_moment(calendar, state.last_own),
        active_days=_active_days(state, calendar.day(clock)),
        last_purchase=_moment(calendar, state.last_purchase),
        orders=len(state.orders) // ORDER.size,
        spend=_spend(state, rules.minor_units),
        currency=rules.programme.currencies[0],
    )


def _tier(ladder: AnyLadder, state: MemberState, calendar: Calendar) -> Tier:
    held, anchor = ladder.held(state), ladder.anchor(state)
    running = anchor > state.closed_at
    step = ladder.next[held.code] if running else None
    reason = next((it.reason for it in ladder.steps if it.code == held.code), "")
    return Tier(
        dimension=ladder.dimension,
        tier=NAMES[held.code],
        since=_moment(calendar, held.at),
        because=reason,
        counted_from=_moment(calendar, anchor) if running else "",
        next_tier=NAMES[step.code] if step else "",
        next_at=_moment(calendar, anchor + step.after) if step else "",
    )


def _streak(state: MemberState, calendar: Calendar, clock: int) -> tuple[int, str]:
    """The run of check-ins still alive at the clock: it ends today or yesterday."""
    today = calendar.day(clock)
    for day in (today, today - 1):
        if day <= state.today and state.today - day < 64 and days.checked_in(state, day):
            return days.run_ending(state, day), calendar.date(day).isoformat()
    return 0, ""


def _active_days(state: MemberState, today: int) -> int:
    """Days with an own action among the last 30, today included."""
    back = today - state.today
    bits = state.active_bits << back if 0 <= back < 30 else 0
    return (bits & ((1 << 30) - 1)).bit_count()


def _spend(state: MemberState, minor: int) -> dict[str, float]:
    newest = sorted(spend_by_month(state).items())[-MONTHS_SHOWN:]
    return {_month(month): amount / minor for month, amount in newest}


def _month(month: int) -> str:
    return f"{month // 12:04}-{month % 12 + 1:02}"


def _moment(calendar: Calendar, ms: int) -> str:
    """A moment in the programme's zone; seconds unless it has more."""
    if not ms:
        return ""
    moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=ms)
    return moment.astimezone(zone(calendar.zone_name)).isoformat(timespec="milliseconds" if ms % 1000 else "seconds")


# -- in words -----------------------------------------------------------------------------------------------------


def words(it: Shown) -> list[tuple[str, str]]:
    """The same as lines of a label and a sentence."""
    unit = UNITS.get(it.currency, it.currency)
    lines = [
        ("member", _about(it)),
        ("as of", f"{_plain(it.as_of)} by the clock of partition {it.partition}, offset {it.next_offset}"),
        ("points", _points(it)),
    ]
    lines += [("", f"{row.points:,} become active on {_plain(row.active_at)}") for row in it.pending]
    lines += [("", f"{points:,} active points earned in {month}") for month, points in it.lots.items()]
    lines.append(("activity", f"score {it.score:.3f}, index {it.activity_index} of 100"))
    lines.append(("overall tier", f"{it.overall}, since {_plain(it.overall_since)}" if it.overall else "none"))
    lines += [(tier.dimension, _tier_words(tier)) for tier in it.tiers]
    lines.append(("streak", _streak_words(it)))
    lines.append(
        (
            "last action",
            f"{_plain(it.last_action)}, active on {_count(it.active_days, 'day')} of the last 30"
            if it.last_action
            else "none of the member's own",
        )
    )
    lines.append(
        (
            "orders",
            f"{_count(it.orders, 'order')} known, the last on {_plain(it.last_purchase)}"
            if it.last_purchase
            else "none",
        )
    )
    lines += [("", f"{amount:,.2f} {unit} spent in {month}") for month, amount in it.spend.items()]
    return lines


def _about(it: Shown) -> str:
    region = f", home region {it.home_region}" if it.home_region else ""
    closed = f", account closed {_plain(it.closed_at)}" if it.closed_at else ""
    return f"{it.member_id} in log {it.log}, programme {it.programme}{region}{closed}"


def _points(it: Shown) -> str:
    waiting = sum(row.points for row in it.pending)
    return f"{it.issued:,} issued = {it.active:,} active + {waiting:,} pending"


def _tier_words(tier: Tier) -> str:
    held = f"{tier.tier} since {_plain(tier.since)}: {tier.because or 'as an earlier programme said'}"
    text = held if tier.tier else "no tier"
    if tier.counted_from:
        text += f"; the last was {_plain(tier.counted_from)}" if tier.tier else ""
    if tier.next_tier:
        text += f". If nothing happens, {tier.next_tier} on {_plain(tier.next_at)}"
    elif tier.tier and tier.counted_from:
        text += ". No graver tier follows"
    return text


def _streak_words(it: Shown) -> str:
    if not it.streak:
        return "none alive"
    return f"{_count(it.streak, 'day')} in a row with a check-in, the last on {it.streak_until}"


def _plain(moment: str) -> str:
    """`2026-03-02T16:00:00+08:00` as a person reads it."""
    return moment.replace("T", " ")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def as_data(it: Shown) -> dict[str, Any]:
    """For `--json`."""
    data: dict[str, Any] = msgspec.to_builtins(it)
    return data
