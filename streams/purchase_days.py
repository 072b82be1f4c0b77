"""Days with a purchase of every customer, from the facts in ClickHouse: what P(alive) is fitted to and judged by.

The engine counts customers of one history, so identical ones come as one row. A day counts while an order of it
stands, as for the thresholds; the last purchase that an opening brings along is an order too.
"""

from __future__ import annotations

from typing import NamedTuple

from processors.calendar import DAY_MS, Calendar
from streams.analytics import Params, Reader
from streams.fit import Customers
from streams.thresholds import ORDERS_OF, STANDS

# Where in the spans of equal offset an order lies, and its day: the last day of a span may be longer than 24 h.
SPAN = "greatest(arraySum(at -> at <= newest, array%(starts)s), 1)"
DAY = f"least(intDiv(newest + arrayElement(array%(shifts)s, {SPAN}), {DAY_MS}), arrayElement(array%(lasts)s, {SPAN}))"
KNOWN = ORDERS_OF.format(asked="log = %(log)s AND effective_at < %(until)s")
LATER = ORDERS_OF.format(asked="log = %(log)s AND effective_at < %(end)s")
# A join, since Debian's server finds no columns in an IN of a SELECT's own expressions.
HISTORIES = f"""
SELECT repeats, recency, age, sum(again) AS bought, count() AS customers FROM (
    SELECT member_id, uniqExact(day) - 1 AS repeats, max(day) - min(day) AS recency, %(cut)s - min(day) AS age
    FROM (SELECT member_id, {DAY} AS day FROM ({KNOWN}) WHERE {STANDS})
    GROUP BY member_id
) AS known ANY LEFT JOIN (
    SELECT member_id, 1 AS again FROM ({LATER}) WHERE newest >= %(until)s AND {STANDS} GROUP BY member_id
) AS later USING member_id
GROUP BY repeats, recency, age ORDER BY repeats, recency, age
"""


class Spans(NamedTuple):
    """Programme days in spans of one distance from UTC: where each begins (ms), that distance, and its last day."""

    starts: list[int]
    shifts: list[int]
    lasts: list[int]


def histories(reader: Reader, log: str, days: tuple[Calendar, int], cut: int, horizon: int = 0) -> list[Customers]:
    """Histories as they were known at the end of programme day `cut`, and who bought in the `horizon` days after it.

    `days`: the calendar, and the first day of the log. Raises what the store raises.
    """
    calendar, first = days
    spans = spans_of(calendar, min(first, cut), cut)
    params: Params = {
        "log": log,
        "cut": cut,
        "until": calendar.day_start(cut + 1),
        "end": calendar.day_start(cut + horizon + 1),
        **spans._asdict(),
    }
    rows = reader.query(HISTORIES, params)
    return [
        Customers(int(repeats), int(recency), int(age), int(customers), int(bought))
        for repeats, recency, age, bought, customers in rows
    ]


def spans_of(calendar: Calendar, first: int, last: int) -> Spans:
    """The spans of the days from `first` to `last`."""
    spans = Spans([], [], [])
    for day in range(first, last + 1):
        shift = day * DAY_MS - calendar.day_start(day)
        if spans.shifts and spans.shifts[-1] == shift:
            spans.lasts[-1] = day
        else:
            spans.starts.append(calendar.day_start(day))
            spans.shifts.append(shift)
            spans.lasts.append(day)
    return spans
