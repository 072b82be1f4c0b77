"""What a member is worth to the programme: high-value and core, by what it spent lately (handbook 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from processors.orders import spend_by_month
from schemas.member import MemberState

if TYPE_CHECKING:
    from processors.programme import Rules


def closed_spend(rules: Rules, spend: Mapping[int, int], month: int) -> int:
    """Net spend (minor units) of the closed months that count in a month."""
    return sum(spend.get(it, 0) for it in range(month - rules.programme.value.months, month))


def is_high(rules: Rules, spend: Mapping[int, int], month: int) -> bool:
    """Whether who spent so much by month is high-value, or core, in a month."""
    value = rules.programme.value
    return closed_spend(rules, spend, month) >= value.high * value.months * rules.minor_units


def value_class(rules: Rules, state: MemberState, clock: int) -> str:
    """By the mean net spend of the last closed months, a month without any included."""
    value = rules.programme.value
    total = closed_spend(rules, spend_by_month(state), rules.calendar.month(rules.calendar.day(clock)))
    if total >= value.core * value.months * rules.minor_units:
        return "core"
    return "high" if total >= value.high * value.months * rules.minor_units else "other"
