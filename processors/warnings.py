"""The numbers of warnings beside the ladders, compiled: spans in ms, limits as code compares them."""

from __future__ import annotations

from processors.calendar import DAY_MS
from schemas.programme import Programme

HOUR_MS = 3_600_000


class Warnings:
    """What a programme says of them; `Rules` holds it as `rules.warnings`."""

    __slots__ = (
        *("blue_days", "blue_from", "blue_span", "browses", "case_rows", "complaint_ms", "path_ms", "rhythm_window"),
        *("score_below", "score_ms", "value_month_ms", "value_order_ms", "wanted_ms"),
    )

    def __init__(self, programme: Programme) -> None:
        tiers = programme.tiers
        self.blue_days, self.blue_from = tiers.activity.days, tiers.activity.before_from
        self.blue_span = (1 << 2 * tiers.activity.days) - 1
        self.score_below, self.score_ms = tiers.mood.satisfaction.below, tiers.mood.satisfaction.days * DAY_MS
        complaint = tiers.mood.complaint
        hours = (complaint.ordinary_hours, complaint.complex_hours, complaint.serious_hours)
        self.complaint_ms = tuple(many * HOUR_MS for many in hours)
        self.browses, self.wanted_ms = tiers.path.browses, tiers.path.within_days * DAY_MS
        self.path_ms = tiers.path.days * DAY_MS
        self.value_order_ms, self.value_month_ms = tiers.value.order.days * DAY_MS, tiers.value.month.days * DAY_MS
        self.rhythm_window = (1 << tiers.rhythm.window_days) - 1
        self.case_rows = programme.limits.case_rows
