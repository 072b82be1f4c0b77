"""What a member is worth to the programme: high-value and core, by what it spent lately (handbook 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from processors.orders import spend_by_month
from schemas.member import MemberState

if TYPE_CHECKING:
    from processors.programme import Rules


def is_high(rules: Rules, spend: Mapping[int, int], month: int) -> bool:
    """Whether who spent so much by month is high-value, or core, in a month."""
    value = rules.programme.value
    total = sum(spend.get(it, 0) for it in range(month - value.months, month))
    return total >= value.high * value.months * rules.minor_units


def value_class(rules: Rules, state: MemberState, clock: int) -> str:
    """By the mean net spend of the last closed months, a month without any included."""
    value = rules.programme.value
    current = rules.calendar.month(rules.calendar.day(clock))
    spend = spend_by_month(state)
    total = sum(spend.get(month, 0) for month in range(current - value.months, current))
    if total >= value.core * value.months * rules.minor_units:
        return "core"
    return "high" if total >= value.high * value.months * rules.minor_units else "other"
