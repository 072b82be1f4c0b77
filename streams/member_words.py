"""One member's state as data and in words: points, score, tiers, since when, why, and what comes next.

Everything is as of the clock of the member's partition, the only time the rules know; moments are told in the
programme's zone.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
from msgspec import Struct

from processors import activity, badges, days, held, overlays, tasks
from processors.calendar import Calendar
from processors.judgement import home_region, overall
from processors.lots import by_end
from processors.opening import opened
from processors.orders import spend_by_month
from processors.partitioner import partition_of
from processors.programme import UNITS, Rules
from processors.redeem import Redemption, redemptions
from processors.versions import versions_of
from schemas import member as member_codec
from schemas import partition as partition_codec
from schemas.member import ORDER, PENDING, MemberState
from schemas.settings import Settings
from schemas.words import REASONS, say
from schemas.zones import zone
from streams.errors import NoState, UsageError
from streams.level_words import Level, level_of, level_words
from streams.store import StateStore
from streams.tier_words import Tier, tiers_of

MONTHS_SHOWN = 12
REDEMPTIONS_SHOWN = 5
MONEY = ("amount", "net_spend")  # what conditions of tasks measure in minor units


class Waiting(Struct, frozen=True):
    """Points on their way to become active."""

    points: int
    active_at: str


class Redeemed(Struct, frozen=True):
    """A request to redeem: `answer` is accepted, cancelled, or why it was refused."""

    redeem_id: str
    points: int
    asked_at: str
    what: str
    answer: str


class Brought(Struct, frozen=True):
    """What the member brought along from an older programme."""

    points: int
    debt: int
    level: str
    at: str
    by: str  # the file and its row


class TaskShown(Struct, frozen=True):
    """A task: how far each of its conditions is, money in whole units of currency; `until` "" = no window is open.

    `done_at` is "" for one that is not done, and for a standard: it is met as long as it is.
    """

    task: str
    measures: tuple[str, ...]
    values: tuple[int | float, ...]
    needed: tuple[int | float, ...]
    until: str
    done: bool
    done_at: str


class HeldShown(Struct, frozen=True):
    """Points held on suspicion, and until when if nobody judges them."""

    hold_id: str
    scope: str
    points: int
    until: str


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
    spent: int
    expired: int
    reversed: int
    debt: int
    lots: dict[str, int]  # the moment they end -> active points
    score: float
    activity_index: int
    level: Level
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
    tasks: list[TaskShown]
    missed: dict[str, str]  # task that is not done -> when its only window closed
    badges: dict[str, list[str]]  # name -> since when; of boards one a month
    held: list[HeldShown]
    foreseen: bool = False  # not what is known, but what timers will make of it
    redemptions: list[Redeemed] = []
    brought: Brought | None = None


async def look_up(settings: Settings, store: StateStore, member_id: str) -> Shown:
    """A member as last committed. Raises `UsageError` for one the log does not know."""
    partition = partition_of(member_id, settings.partitions)
    head = (await store.headers([partition]))[partition]
    if head is None:
        raise NoState(settings.log, partition)
    (raw,) = await store.load(partition, [member_id])
    if raw is None or not head.partition_state:
        what = f"log {settings.log} has no member {member_id} (partition {partition}, offset {head.next_offset})"
        raise UsageError(what, remedy="check the id; its actions may wait in the log or stand in `memberflow dlq list`")
    own = partition_codec.decode(head.partition_state)
    rules = versions_of(own).in_force
    assert rules is not None, "a member without a programme"
    place = (settings.log, partition, head.next_offset)
    return shown(member_id, member_codec.decode(raw), rules, own.clock, place)


def shown(
    member_id: str, state: MemberState, rules: Rules, clock: int, place: tuple[str, int, int], *, foreseen: bool = False
) -> Shown:
    """A state as data, at a clock; `foreseen` for one to come."""
    rules = overlays.own(rules, member_id, state, clock)
    calendar = rules.calendar
    score = activity.score_on(rules.activity, state, calendar.day(clock))
    tier, since = overall(rules, state)
    streak, until = _streak(state, calendar, clock)
    return Shown(
        member_id=member_id,
        log=place[0],
        partition=place[1],
        next_offset=place[2],
        as_of=text_of(calendar, clock),
        programme=f"{rules.programme.name} {rules.number}",
        home_region=home_region(state),
        closed_at=text_of(calendar, state.closed_at),
        issued=state.issued,
        active=state.active,
        pending=[Waiting(row[2], text_of(calendar, row[0])) for row in PENDING.iter_unpack(state.pendings)],
        spent=state.spent,
        expired=state.expired,
        reversed=state.reversed,
        debt=state.debt,
        lots={text_of(calendar, end): points for end, points in by_end(state).items()},
        score=score / 1000,
        activity_index=rules.activity.index(score),
        level=level_of(rules, state, clock, lambda ms: text_of(calendar, ms)),
        overall=tier,
        overall_since=text_of(calendar, since),
        tiers=tiers_of(rules, state, clock, lambda ms: text_of(calendar, ms)),
        streak=streak,
        streak_until=until,
        first_action=text_of(calendar, state.first_own),
        last_action=text_of(calendar, state.last_own),
        active_days=_active_days(state, calendar.day(clock)),
        last_purchase=text_of(calendar, state.last_purchase),
        orders=len(state.orders) // ORDER.size,
        spend=_spend(state, rules.minor_units),
        currency=rules.programme.currencies[0],
        tasks=[_task(one, rules) for one in tasks.progress(rules, state, clock)],
        missed={name: text_of(calendar, at) for name, at in tasks.missed(rules, state, clock).items()},
        badges=_badges(rules, state),
        held=[_held(hold, rules) for hold in held.read(state)],
        foreseen=foreseen,
        redemptions=[_redeemed(row, calendar) for row in redemptions(state)],
        brought=_brought(state, calendar),
    )


def _task(one: tasks.Progress, rules: Rules) -> TaskShown:
    minor = [rules.minor_units if measure in MONEY else 0 for measure in one.measures]
    values, needed = (
        tuple(value / by if by else value for value, by in zip(many, minor, strict=True))
        for many in (one.values, one.needed)
    )
    until, done_at = text_of(rules.calendar, one.until), text_of(rules.calendar, one.done_at)
    return TaskShown(one.name, one.measures, values, needed, until, one.done, done_at)


def _badges(rules: Rules, state: MemberState) -> dict[str, list[str]]:
    since = {name: badges.held_since(state, name) for name in rules.programme.badges}
    return {name: [text_of(rules.calendar, at) for at in moments] for name, moments in since.items() if moments}


def _held(hold: held.Hold, rules: Rules) -> HeldShown:
    points = sum(part.points for part in hold.parts)
    return HeldShown(hold.id, hold.scope, points, text_of(rules.calendar, hold.at + rules.limits.waits_ms))


def _redeemed(row: Redemption, calendar: Calendar) -> Redeemed:
    what = row.reward or (f"order {row.order_id}" if row.order_id else "")
    answer = row.reason or ("cancelled" if row.cancelled else "accepted")
    return Redeemed(row.redeem_id, row.points, text_of(calendar, row.at), what, answer)


def _brought(state: MemberState, calendar: Calendar) -> Brought | None:
    it = opened(state)
    return Brought(it.points, it.debt, it.level, text_of(calendar, it.at), it.event_id) if it else None


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


def text_of(calendar: Calendar, ms: int) -> str:
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
        ("as of", _as_of(it)),
        ("points", _points(it)),
    ]
    lines += [("", f"{row.points:,} become active on {plain(row.active_at)}") for row in it.pending]
    lines += [("", f"{row.points:,} of them held ({row.scope}) until {plain(row.until)}") for row in it.held]
    lines += [("", f"{points:,} active points end on {plain(end)}") for end, points in it.lots.items()]
    lines += [("", _redeemed_words(row)) for row in it.redemptions[-REDEMPTIONS_SHOWN:]]
    if it.brought:
        lines.append(("", _brought_words(it.brought)))
    lines.append(("activity", f"score {it.score:.3f}, index {it.activity_index} of 100"))
    lines += level_words(it.level, plain)
    lines.append(("overall tier", f"{it.overall}, since {plain(it.overall_since)}" if it.overall else "none"))
    lines += [(tier.dimension, _tier_words(tier)) for tier in it.tiers]
    lines.append(("streak", _streak_words(it)))
    lines += [("task" if not place else "", _task_words(row, unit)) for place, row in enumerate(it.tasks)]
    lines += [(f"badge {name}", ", ".join(map(plain, moments))) for name, moments in it.badges.items()]
    lines.append(
        (
            "last action",
            f"{plain(it.last_action)}, active on {_count(it.active_days, 'day')} of the last 30"
            if it.last_action
            else "none of the member's own",
        )
    )
    lines.append(
        (
            "orders",
            f"{_count(it.orders, 'order')} known, the last on {plain(it.last_purchase)}"
            if it.last_purchase
            else "none",
        )
    )
    lines += [("", f"{amount:,.2f} {unit} spent in {month}") for month, amount in it.spend.items()]
    return lines


def _task_words(row: TaskShown, unit: str) -> str:
    far = ", ".join(
        f"{value:,.2f}/{needed:,.2f} {unit}" if measure in MONEY else f"{value:,}/{needed:,}"
        for measure, value, needed in zip(row.measures, row.values, row.needed, strict=True)
    )
    until = f", until {plain(row.until)}" if row.until and not row.done else ""
    done = ", done" if row.done else ""
    since = f" since {plain(row.done_at)}" if row.done_at else ""
    return f"{row.task}: {far}{until}{done}{since}"


def _as_of(it: Shown) -> str:
    if it.foreseen:
        return f"{plain(it.as_of)}, if nobody does anything after offset {it.next_offset} of partition {it.partition}"
    return f"{plain(it.as_of)} by the clock of partition {it.partition}, offset {it.next_offset}"


def _about(it: Shown) -> str:
    region = f", home region {it.home_region}" if it.home_region else ""
    closed = f", account closed {plain(it.closed_at)}" if it.closed_at else ""
    return f"{it.member_id} in log {it.log}, programme {it.programme}{region}{closed}"


def _points(it: Shown) -> str:
    waiting = sum(row.points for row in it.pending) + sum(hold.points for hold in it.held)
    parts = ((it.spent, "spent"), (it.expired, "expired"), (it.reversed, "taken back"))
    more = "".join(f" + {points:,} {name}" for points, name in parts if points)
    owed = f" - {it.debt:,} of debt" if it.debt else ""
    return f"{it.issued:,} issued = {it.active:,} active + {waiting:,} pending{more}{owed}"


def _redeemed_words(row: Redeemed) -> str:
    answer = row.answer if row.answer in ("accepted", "cancelled") else f"refused ({row.answer})"
    what = f" for {row.what}" if row.what else ""
    return f"{row.redeem_id}: {row.points:,} points{what} asked for on {plain(row.asked_at)}, {answer}"


def _brought_words(it: Brought) -> str:
    return f"{it.points:,} points, {it.debt:,} debt and level {it.level} brought along on {plain(it.at)} by {it.by}"


def _tier_words(tier: Tier) -> str:
    held = f"{tier.tier} since {plain(tier.since)}: {tier.because or 'as an earlier programme said'}"
    text = held if tier.tier else "no tier"
    if tier.counted_from:
        text += f"; the last was {plain(tier.counted_from)}" if tier.tier else ""
    if tier.next_tier:
        text += f". If nothing happens, {tier.next_tier} on {plain(tier.next_at)}"
    elif tier.ends_at:
        text += f". If nothing happens, it is left on {plain(tier.ends_at)}"
    elif tier.tier and tier.counted_from:
        text += ". No graver tier follows"
    elif tier.why_not:
        text += f": {say(REASONS[f'not_in_tier.{tier.why_not}'], 'en', **tier.numbers)}"
    return text


def _streak_words(it: Shown) -> str:
    if not it.streak:
        return "none alive"
    return f"{_count(it.streak, 'day')} in a row with a check-in, the last on {it.streak_until}"


def plain(moment: str) -> str:
    """`2026-03-02T16:00:00+08:00` as a person reads it."""
    return moment.replace("T", " ")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def as_data(it: Shown) -> dict[str, Any]:
    """For `--json`."""
    data: dict[str, Any] = msgspec.to_builtins(it)
    return data
