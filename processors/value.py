"""What a member is worth to the programme: high-value and core, by what it spent lately (handbook 5)."""

from __future__ import annotations

from processors.orders import spend_by_month
from processors.programme import Rules
from schemas.member import MemberState

CLASSES = ("core", "high", "other")
"""From the most valuable on."""


def value_class(rules: Rules, state: MemberState, clock: int) -> str:
    """By the mean net spend of the last closed months, a month without any included."""
    value = rules.programme.value
    current = rules.calendar.month(rules.calendar.day(clock))
    spend = spend_by_month(state)
    total = sum(spend.get(month, 0) for month in range(current - value.months, current))
    if total >= value.core * value.months * rules.minor_units:
        return "core"
    return "high" if total >= value.high * value.months * rules.minor_units else "other"
