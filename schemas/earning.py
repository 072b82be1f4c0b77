"""The part of the programme that earns points, spends them, lets them end and takes them back."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field

from schemas.fitting import Around, Wrong, fits, fits_around
from schemas.holes import said_of, sure
from schemas.part import THOUSANDTHS, Count, Days, Part, Positive, Rate
from schemas.zones import zone as zone_of


class Worth(Part):
    """What a point is worth, in 1/1,000 of the smallest unit of money, and between which a proposal may move it."""

    least: Positive
    now: Positive
    most: Positive

    @fits
    def now_is_between(self) -> Iterator[Wrong]:
        """The worth in force keeps to its own limits."""
        if not self.least <= self.now <= self.most:
            yield ("now",), "now lies outside of least and most"


class StreakFactor(Part):
    """From the n-th day in a row the check-in counts `factor` times."""

    from_day: Annotated[int, Field(ge=2, le=60)]
    factor: Annotated[int, Field(ge=1, le=4)]


class CheckInPoints(Part):
    """Points of the day's first check-in."""

    points: Count
    streak: StreakFactor


class MessagePoints(Part):
    """Points of the first messages of a day that are long enough."""

    points: Count
    per_day: Annotated[int, Field(ge=0, le=255)]
    length_min: Count


class SharePoints(Part):
    """Points of the first shares of a day."""

    points: Count
    per_day: Annotated[int, Field(ge=0, le=255)]


class PurchasePoints(Part):
    """Points per whole unit of currency of the counted amount, floored; pending for the return window."""

    per_unit: Rate
    pending_days: Days
    excluded_categories: Annotated[frozenset[str], Field(strict=False)]

    @property
    def per_unit_thousandths(self) -> int:
        """`per_unit` as code counts it."""
        return int(self.per_unit * THOUSANDTHS)


class ComebackPoints(Part):
    """Points of the first own action after a long silence."""

    points: Count
    after_days: Annotated[int, Field(ge=1, le=4000)]
    per_year: Annotated[int, Field(ge=0, le=255)]


class Expiry(Part):
    """A lot ends at the start of the month `months` after the earning one; `warn_from` points or more get warnings."""

    months: Annotated[int, Field(ge=3, le=1_000, description="a late action still meets the lot of its month")]
    warning_days: Annotated[tuple[Positive, ...], Field(max_length=8, strict=False)]
    warn_from: Count

    @fits
    def the_earliest_warning_first(self) -> Iterator[Wrong]:
        """Warnings are told apart by their place."""
        days = [value for _, value in sure(self.warning_days)]
        if days != sorted(set(days), reverse=True):
            yield ("warning_days",), "from the earliest warning to the last, each once: [30, 7]"


class LevelStep(Part):
    """The reward that lifts the level by a step for some days; only one runs at a time."""

    reward: Annotated[str, Field(min_length=1, max_length=64)]
    days: Days


class AdjustRules(Part):
    """How many entries of staff a member's state keeps: those can be undone, and are known when they come again."""

    kept: Annotated[int, Field(ge=1, le=10_000)]


class RedeemRules(Part):
    """What may be redeemed, and how long redemptions and cancels without their redeem are remembered."""

    smallest: Positive
    steps: Positive
    kept_days: Days
    kept: Annotated[int, Field(ge=1, le=10_000)]
    cancel_wait_days: Days
    level_step: LevelStep

    @fits
    def a_step_is_remembered_while_it_runs(self) -> Iterator[Wrong]:
        """A cancel must find it."""
        if self.level_step.days > self.kept_days:
            yield ("level_step", "days"), "more than kept_days"


Earner = Literal["check_in", "message", "share", "purchase"]
Earners = Annotated[tuple[Earner, ...], Field(min_length=1, strict=False)]
EARNERS: tuple[str, ...] = get_args(Earner)
"""Actions whose points have factors; custom actions that the programme declares have those of campaigns."""


class PaidMonths(Part):
    """Paid membership for invitations: so many days for each full so many whose points became active."""

    each: Positive
    days: Days


class ReferralPoints(Part):
    """What an invitation gives: when the invited joins, and when its first order is paid; the last `kept` are known."""

    accepted: Count
    completed: Count
    pending_days: Days
    per_year: Count
    kept: Annotated[int, Field(ge=1, le=10_000)]
    paid: PaidMonths


class RefundRules(Part):
    """What a refund takes back beyond pending points, and how long it waits for an order that is not known."""

    policy: Literal["pending_only", "to_zero", "debt"]
    waits_days: Annotated[int, Field(ge=1, le=365)]


class BirthdayFactor(Part):
    """The factor of a birthday, the actions it is for, and how long after a change another one is ignored."""

    factor: Annotated[int, Field(ge=1, le=7)]
    actions: Earners
    change_days: Days


class FirstOrderFactor(Part):
    """The factor of the first order, and how long after its moment another one may still become it."""

    factor: Annotated[int, Field(ge=1, le=7)]
    move_days: Days


class PaidFactor(Part):
    """The factor of a paid membership, and the actions it is for."""

    factor: Annotated[int, Field(ge=1, le=7)]
    actions: Earners


def _moment(value: Any) -> dt.datetime:
    """RFC 3339 with an offset."""
    try:
        found = dt.datetime.fromisoformat(str(value))
    except ValueError:
        raise ValueError("a moment such as 2026-11-11T00:00:00+08:00") from None
    if found.tzinfo is None:
        raise ValueError("a moment with its offset, such as 2026-11-11T00:00:00+08:00")
    return found


Moment = Annotated[dt.datetime, BeforeValidator(_moment)]


class CampaignRule(Part):
    """A factor for some actions from one moment until another, or on some days of the week or of the month.

    `actions` are check_in, message, share, purchase, and custom actions by the names that the programme declares.
    """

    name: Annotated[str, Field(min_length=1, max_length=64)]
    factor: Annotated[int, Field(ge=1, le=7)]
    actions: Annotated[tuple[str, ...], Field(min_length=1, strict=False)]
    begins: Moment
    ends: Moment
    weekdays: Annotated[
        tuple[Annotated[int, Field(ge=0, le=6, description="0 = Monday")], ...], Field(strict=False)
    ] = ()
    days_of_month: Annotated[tuple[Annotated[int, Field(ge=1, le=31)], ...], Field(strict=False)] = ()

    @fits
    def it_lasts(self) -> Iterator[Wrong]:
        """One that ends before it begins is a slip."""
        if self.ends <= self.begins:
            yield ("ends",), "not after begins"

    @fits_around
    def its_actions_are_known(self, around: Around) -> Iterator[Wrong]:
        """A misspelt one would never be multiplied."""
        for place, name in sure(self.actions):
            if name not in EARNERS and around.custom.lacks(name):
                yield (
                    ("actions", place),
                    f"no such action: {name}; known: {', '.join((*EARNERS, *around.custom.names))}",
                )

    @fits_around
    def it_has_whole_days(self, around: Around) -> Iterator[Wrong]:
        """Which of a day's actions a cap pays depends on their order, so all of them must earn the same.

        Purchases have no cap: campaigns of nothing else begin and end at any moment.
        """
        capped = any(name != "purchase" for _, name in sure(self.actions))
        if around.day and capped:
            zone, start = around.day.zone, dt.time(around.day.starts_at)
            what = f"not {start:%H:%M} in {zone}, when a day starts; purchases alone may do otherwise"
            for name, moment in said_of(self, "begins", "ends"):
                if moment.astimezone(zone_of(zone)).time() != start:
                    yield (name,), what

    @property
    def begins_ms(self) -> int:
        """Its begin in ms since the epoch."""
        return round(self.begins.timestamp() * 1000)

    @property
    def ends_ms(self) -> int:
        """Its end in ms since the epoch."""
        return round(self.ends.timestamp() * 1000)


class FactorRules(Part):
    """What multiplies the points of an action, and the ceiling of the product."""

    ceiling: Annotated[int, Field(ge=1, le=7)]
    birthday: BirthdayFactor
    first_order: FirstOrderFactor
    paid: PaidFactor
    campaigns: Annotated[tuple[CampaignRule, ...], Field(max_length=100, strict=False)]


class PointRules(Part):
    """What earns points, and when they end."""

    worth: Worth
    check_in: CheckInPoints
    message: MessagePoints
    share: SharePoints
    purchase: PurchasePoints
    comeback: ComebackPoints
    expiry: Expiry
    redeem: RedeemRules
    adjust: AdjustRules
    refund: RefundRules
    referral: ReferralPoints
    factors: FactorRules


class CustomPoints(Part):
    """Points of the first ones of a day; `growth`: their base counts for the level."""

    points: Count
    per_day: Annotated[int, Field(ge=1, le=255)]
    growth: bool


class CustomAction(Part):
    """An action that the programme declares by name; others are refused."""

    weight: Annotated[int, Field(ge=0, le=30_000, description="thousandths")]
    own: bool
    earns: CustomPoints | None = None
