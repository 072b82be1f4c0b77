"""Programme days, weeks, months and years: the pinned zone data, exact over every change of clocks."""

import datetime as dt
import zoneinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.calendar import DAY_MS, Calendar
from schemas.zones import zone

HOUR_MS = 3_600_000


def ms(text: str) -> int:
    return round(dt.datetime.fromisoformat(text).timestamp() * 1000)


def day(text: str) -> int:
    return (dt.date.fromisoformat(text) - dt.date(1970, 1, 1)).days


DAYS = [
    # zone, hour at which the day starts, moment, programme day
    ("Asia/Shanghai", 0, "2026-03-01T15:59:59.999Z", "2026-03-01"),
    ("Asia/Shanghai", 0, "2026-03-01T16:00:00.000Z", "2026-03-02"),
    ("Asia/Shanghai", 4, "2026-03-01T19:59:59.999Z", "2026-03-01"),
    ("Asia/Shanghai", 4, "2026-03-01T20:00:00.000Z", "2026-03-02"),
    ("America/New_York", 0, "2026-03-08T04:59:59.999Z", "2026-03-07"),
    ("America/New_York", 0, "2026-03-08T05:00:00.000Z", "2026-03-08"),
    ("America/New_York", 0, "2026-03-09T03:59:59.999Z", "2026-03-08"),
    ("America/New_York", 0, "2026-03-09T04:00:00.000Z", "2026-03-09"),
    # the hour 2 does not exist on 8 March: the day begins with the jump to 3
    ("America/New_York", 2, "2026-03-08T06:59:59.999Z", "2026-03-07"),
    ("America/New_York", 2, "2026-03-08T07:00:00.000Z", "2026-03-08"),
    # the hour 1 comes twice on 1 November: the day begins with the first and is not left again
    ("America/New_York", 1, "2026-11-01T04:59:59.999Z", "2026-10-31"),
    ("America/New_York", 1, "2026-11-01T05:00:00.000Z", "2026-11-01"),
    ("America/New_York", 1, "2026-11-01T06:00:00.000Z", "2026-11-01"),
    # St. John's put its clocks back at 00:01 to 23:01 of the day before
    ("America/St_Johns", 0, "2009-11-01T02:29:59.999Z", "2009-10-31"),
    ("America/St_Johns", 0, "2009-11-01T02:30:00.000Z", "2009-11-01"),
    ("America/St_Johns", 0, "2009-11-01T02:31:30.000Z", "2009-11-01"),
    # Apia had no 30 December 2011
    ("Pacific/Apia", 0, "2011-12-30T09:59:59.999Z", "2011-12-29"),
    ("Pacific/Apia", 0, "2011-12-30T10:00:00.000Z", "2011-12-31"),
]


@pytest.mark.parametrize(("name", "starts_at", "moment", "expected"), DAYS)
def test_a_moment_lies_in_its_programme_day(name: str, starts_at: int, moment: str, expected: str) -> None:
    assert Calendar(name, starts_at).day(ms(moment)) == day(expected)


@pytest.mark.parametrize(("date", "hours"), [("2026-03-08", 23), ("2026-11-01", 25), ("2026-06-01", 24)])
def test_a_day_is_as_long_as_the_clocks_make_it(date: str, hours: int) -> None:
    calendar = Calendar("America/New_York", 0)
    assert calendar.day_start(day(date) + 1) - calendar.day_start(day(date)) == hours * HOUR_MS


@pytest.mark.parametrize(
    ("date", "monday", "year", "month"),
    [
        ("2026-03-01", "2026-02-23", 2026, 3),
        ("2026-03-02", "2026-03-02", 2026, 3),
        ("2025-12-31", "2025-12-29", 2025, 12),
        ("2026-01-01", "2025-12-29", 2026, 1),
        ("1969-12-31", "1969-12-29", 1969, 12),
    ],
)
def test_weeks_begin_on_monday_and_months_are_counted_from_year_0(
    date: str, monday: str, year: int, month: int
) -> None:
    calendar = Calendar("Asia/Shanghai", 0)
    found = day(date)
    assert calendar.week(found) == day(monday)
    assert calendar.month(found) == year * 12 + month - 1
    assert calendar.year(found) == year


ZONES = "Asia/Shanghai America/New_York America/St_Johns Pacific/Apia Australia/Lord_Howe Europe/London".split()


@given(st.sampled_from(ZONES), st.integers(0, 23), st.integers(ms("1985-01-01T00:00Z"), ms("2040-01-01T00:00Z")))
def test_a_day_runs_from_its_start_to_the_next_days_start(name: str, starts_at: int, moment: int) -> None:
    calendar = Calendar(name, starts_at)
    found = calendar.day(moment)
    assert calendar.day_start(found) <= moment < calendar.day_start(found + 1)
    assert calendar.day(calendar.day_start(found)) == found
    assert Calendar(name, starts_at).day(calendar.day_start(found) - 1) < found


@given(st.integers(ms("1985-01-01T00:00Z"), ms("2040-01-01T00:00Z")))
def test_days_are_those_of_the_local_date(moment: int) -> None:
    local = dt.datetime.fromtimestamp(moment / 1000, zoneinfo.ZoneInfo("Asia/Shanghai"))
    assert Calendar("Asia/Shanghai", 0).day(moment) == (local.date() - dt.date(1970, 1, 1)).days


@given(st.integers(-(2**63), 2**63 - 1))
def test_no_moment_is_too_far(moment: int) -> None:
    calendar = Calendar("Asia/Shanghai", 5)
    found = calendar.day(moment)
    assert calendar.day_start(found) <= calendar.day_start(found + 1)
    assert calendar.month(found) // 12 == calendar.year(found)


def test_many_days_are_remembered_only_up_to_a_limit() -> None:
    calendar = Calendar("Asia/Shanghai", 0)
    for number in range(10_000):
        assert calendar.day(number * DAY_MS) == number
        assert calendar.month(number) == Calendar("Asia/Shanghai", 0).month(number)


@pytest.mark.parametrize("name", ["Nowhere/City", "../../etc/passwd", "", "Asia"])
def test_a_zone_that_the_pinned_data_lacks_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not an IANA zone"):
        zone(name)
