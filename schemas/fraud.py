"""What the programme says of suspicion: limits beyond which points are held."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from schemas.part import Days, Part, Positive


class PointsSuspicion(Part):
    """Points of a programme day that are not of purchases: so many, and so many times the mean of active days before.

    The mean is that of the last `active_days`; with fewer than `active_days_min` there is none, and no suspicion.
    """

    day_over: Annotated[int, Field(ge=1, le=60_000)]
    times_mean: Positive
    active_days: Annotated[int, Field(ge=1, le=60)]
    active_days_min: Annotated[int, Field(ge=1, le=60)]


class MessageSuspicion(Part):
    """More than `burst` messages in any `burst_seconds`, or than `per_day` in a programme day."""

    burst: Annotated[int, Field(ge=1, le=100)]
    burst_seconds: Annotated[int, Field(ge=1, le=3600)]
    per_day: Annotated[int, Field(ge=1, le=60_000)]


class LevelSuspicion(Part):
    """So many steps of the level or more within so many hours, without a purchase.

    A step is a level above the floors and above what net spend alone gives (decision 0012).
    """

    steps: Annotated[int, Field(ge=1, le=50)]
    hours: Annotated[int, Field(ge=1, le=1000)]


class ReferralSuspicion(Part):
    """More than `joins_per_day`; a device of the last `devices` known in common; `refunded` of the last `of_last`."""

    joins_per_day: Annotated[int, Field(ge=1, le=60_000)]
    devices: Annotated[int, Field(ge=0, le=50)]
    refunded: Annotated[int, Field(ge=1, le=50)]
    of_last: Annotated[int, Field(ge=1, le=50)]


class FraudRules(Part):
    """Held points: what opens a hold, when it is released unjudged, and how long released points last at least."""

    points: PointsSuspicion
    messages: MessageSuspicion
    level: LevelSuspicion
    referral: ReferralSuspicion
    unjudged_days: Days
    released_days: Days
