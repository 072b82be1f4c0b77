"""Base points and community activity by programme day: what levels are judged by beside spend.

Those of `today` are two numbers that an action adds to; they join the rows when a newer day begins. A late action
joins the row of its own day, so every order of arrival gives the same rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from processors import days
from schemas.member import GROWTH_DAY, GROWTH_MONTH, MemberState

if TYPE_CHECKING:
    from processors.calendar import Calendar

SIZE = GROWTH_DAY.size
COMMUNITY_MAX = 65_535


def keep_today(state: MemberState) -> None:
    """Today's numbers join the rows: a newer day begins."""
    points, weight = state.growth - state.growth_kept, state.community
    checked_in = state.check_in_bits & 1
    if points or weight or checked_in:
        row = GROWTH_DAY.pack(state.today, points * 2 + checked_in, min(weight, COMMUNITY_MAX))
        state.growth_days += row
        state.growth_kept, state.community = state.growth, 0


def add_late(calendar: Calendar, state: MemberState, day: int, points: int, weight: int) -> None:
    """Add base points and community activity to a day before today."""
    state.growth += points
    state.growth_kept += points
    rows, place = state.growth_days, len(state.growth_days)
    while place and GROWTH_DAY.unpack_from(rows, place - SIZE)[0] > day:
        place -= SIZE
    first = place - SIZE
    if first >= 0 and GROWTH_DAY.unpack_from(rows, first)[0] == day:
        _, there, before = GROWTH_DAY.unpack_from(rows, first)
        place, points, weight = first, points + (there >> 1), weight + before
        after = rows[place + SIZE :]
    else:
        after = rows[place:]
    if not first >= 0 and state.level_from and day <= int.from_bytes(state.level_from[:2], "little"):
        return _to_month(calendar, state, day, points)
    row = GROWTH_DAY.pack(day, points * 2 + days.checked_in(state, day), min(weight, COMMUNITY_MAX))
    state.growth_days = rows[:place] + row + after


def rows(state: MemberState) -> list[tuple[int, int, int]]:
    """(day, base points x 2 + 1 for a check-in, community activity), oldest first, today's last."""
    found: list[tuple[int, int, int]] = list(GROWTH_DAY.iter_unpack(state.growth_days))
    points = state.growth - state.growth_kept
    if points or state.community or state.check_in_bits & 1:
        found.append((state.today, points * 2 + (state.check_in_bits & 1), state.community))
    return found


def by_month(state: MemberState) -> dict[int, int]:
    """Base points by programme month, of the days that are no longer kept one by one."""
    return dict(GROWTH_MONTH.iter_unpack(state.growth_months))


def forget(calendar: Calendar, state: MemberState, until: int, months: int) -> None:
    """Days up to one are kept by their months alone, of which the newest are kept."""
    kept = by_month(state)
    taken = 0
    for day, points, _ in GROWTH_DAY.iter_unpack(state.growth_days):
        if day > until:
            break
        taken += SIZE
        month = calendar.month(day)
        kept[month] = kept.get(month, 0) + (points >> 1)
    if taken:
        state.growth_days = state.growth_days[taken:]
        _put_months(state, kept, months)


def community(state: MemberState, until: int, many: int, cap: int) -> int:
    """Community activity over so many days up to one, at most a cap a day, in thousandths."""
    return sum(min(weight, cap) for day, _, weight in rows(state) if until - many < day <= until)


def _to_month(calendar: Calendar, state: MemberState, day: int, points: int) -> None:
    kept, month = by_month(state), calendar.month(day)
    kept[month] = kept.get(month, 0) + points
    _put_months(state, kept, len(kept))


def _put_months(state: MemberState, kept: dict[int, int], many: int) -> None:
    newest = [row for row in sorted(kept.items()) if row[1]][-many:]
    state.growth_months = b"".join(GROWTH_MONTH.pack(*row) for row in newest)
