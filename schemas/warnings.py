"""What the programme says of warnings beside the ladders: activity, mood, path, value and own rhythm (handbook 6.1)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from schemas.member import ACTIVE_DAYS, BROWSED_MOST
from schemas.part import Part

Percent = Annotated[int, Field(ge=1, le=100)]
Hours = Annotated[int, Field(ge=1, le=10_000)]
WholeDays = Annotated[int, Field(ge=1, le=4000)]


class ActivityWarning(Part):
    """blue: active days of the last `days` are at most `percent_max` of those of as many before, which were enough.

    Judged at each day's end. Both spans stand in one bitmap of 64 days, with room for a day that is ahead.
    """

    days: Annotated[int, Field(ge=1, le=28)]
    before_from: Annotated[int, Field(ge=1, le=28)]
    percent_max: Annotated[int, Field(ge=0, le=99)]


class SatisfactionWarning(Part):
    """mood: the last score x 10 is under `below`, until a better one or for so many days."""

    below: Annotated[int, Field(ge=1, le=100)]
    days: WholeDays


class ComplaintWarning(Part):
    """mood: a complaint is not resolved so many hours after it was opened, by its severity."""

    ordinary_hours: Hours
    complex_hours: Hours
    serious_hours: Hours


class MoodWarning(Part):
    """mood, for two reasons."""

    satisfaction: SatisfactionWarning
    complaint: ComplaintWarning


class PathWarning(Part):
    """path: a support case is unresolved, and within so many days before it something was put into a cart or browsed.

    So many browses say as much as a cart. It is left after `days`.
    """

    within_days: WholeDays
    browses: Annotated[int, Field(ge=1, le=BROWSED_MOST)]
    days: WholeDays


class OrderWarning(Part):
    """value: an order under `percent` of the median of the `of_last` before it, of which `orders_from` are needed."""

    percent: Percent
    of_last: Annotated[int, Field(ge=1, le=100)]
    orders_from: Annotated[int, Field(ge=1, le=100)]
    days: WholeDays


class MonthWarning(Part):
    """value: net spend of a closed month under `percent` of the median of the `of_last` before; needs `months_from`."""

    percent: Percent
    of_last: Annotated[int, Field(ge=1, le=12)]
    months_from: Annotated[int, Field(ge=1, le=12)]
    days: WholeDays


class ValueWarning(Part):
    """value, of high-value members, for two reasons."""

    order: OrderWarning
    month: MonthWarning


class RhythmWarning(Part):
    """rhythm: silent for longer than `percentile` of the gaps between active days of `window_days`.

    `gaps_from` gaps are needed, and it takes `days_from` days at least.
    """

    percentile: Percent
    window_days: Annotated[int, Field(ge=2, le=ACTIVE_DAYS)]
    gaps_from: Annotated[int, Field(ge=1, le=ACTIVE_DAYS)]
    days_from: Annotated[int, Field(ge=1, le=ACTIVE_DAYS)]
