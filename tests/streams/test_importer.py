"""Histories: which moment a line means, which lines are refused, and how days are cut."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec
import pytest

from processors.partitioner import partition_of
from schemas.actions import Purchase
from schemas.decoding import decode
from schemas.records import ProgrammeControl
from streams.errors import InputInvalid, UsageError
from streams.histories import CDNOW_BEGINS_MS, cdnow, cdnow_end, history
from streams.importer import Entry, calendar_of, plan

CDNOW = Path("schemas/programmes/cdnow.yaml").read_text()
NEW_YORK = calendar_of(CDNOW)
DEFAULT = ProgrammeControl(
    id="programme", number=1, by="staff", text=Path("schemas/programmes/default.yaml").read_text(), holds_from=0
)
NOW = 1_790_000_000_000


def written(folder: Path, *lines: str) -> Path:
    path = folder / "history.txt"
    path.write_text("".join(line + "\n" for line in lines))
    return path


# -- CDNOW --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "at", "cents"),
    [
        (" 00004 0001 19970101  2   29.33", "1997-01-01T17:00:00+00:00", 2933),
        ("00004 0001 19970406 1 1.1", "1997-04-06T16:00:00+00:00", 110),  # noon on the day clocks go forward
        ("00004 0001 19971026 1 0.57", "1997-10-26T17:00:00+00:00", 57),  # 0.57 x 100 is no float's business
        ("00004 0001 19980630 1 0.00", "1998-06-30T16:00:00+00:00", 0),
        ("00004 0001 19980630 1 1286.01", "1998-06-30T16:00:00+00:00", 128601),
    ],
)
def test_a_line_is_an_order_at_noon_in_exact_cents(tmp_path: Path, line: str, at: str, cents: int) -> None:
    (entry,) = cdnow(written(tmp_path, line), NEW_YORK, 12)
    action = decode(entry.value)
    assert isinstance(action, Purchase)
    assert action.occurred_at == dt.datetime.fromisoformat(at)
    assert entry.at == round(action.occurred_at.timestamp() * 1000)
    assert (action.member_id, action.event_id, action.order_id) == ("cdnow-00004", "00004:1", "00004:1")
    assert (action.amount, action.currency, action.source) == (cents, "USD", "cdnow")
    assert (entry.partition, entry.key) == (partition_of("cdnow-00004", 12), b"cdnow-00004")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("00004 0001 19970101 2", "4 columns, wanted are 5"),
        ("4 0001 19970101 2 29.33", "customer is 4, wanted are 5 digits"),
        ("0000x 0001 19970101 2 29.33", "customer is 0000x, wanted is a number"),
        ("00004 0001 19970230 2 29.33", "date is 19970230, wanted is YYYYMMDD"),
        ("00004 0001 1997011 2 29.33", "date is 1997011, wanted is"),
        ("00004 0001 19961231 2 29.33", "date is 19961231, wanted is a day from 19970101 on"),
        ("00004 0001 19970101 two 29.33", "CDs is two, wanted is a number"),
        ("00004 0001 19970101 2 29.333", "dollars is 29.333, wanted is an amount such as 29.33"),
        ("00004 0001 19970101 2 -1.00", "dollars is -1.00"),
        ("00004 0001 19970101 2 NaN", "dollars is NaN"),
        ("00004 0001 19970101 2 free", "dollars is free"),
    ],
)
def test_a_bad_line_is_told_with_its_place(tmp_path: Path, line: str, said: str) -> None:
    path = written(tmp_path, "00004 0001 19970101 2 29.33", line)
    with pytest.raises(InputInvalid) as error:
        cdnow(path, NEW_YORK, 12)
    assert f"{path}:2: {said}" in str(error.value)
    assert "nothing was imported" in str(error.value)


def test_many_bad_lines_are_counted(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match=r"history\.txt:5: .*; and 3 more; nothing was imported"):
        cdnow(written(tmp_path, *["x"] * 8), NEW_YORK, 12)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        cdnow(tmp_path / "nothing", NEW_YORK, 12)


def test_cdnow_ends_on_the_first_of_july(tmp_path: Path) -> None:
    entries = cdnow(written(tmp_path, "00004 0001 19970101 2 29.33"), NEW_YORK, 12)
    assert cdnow_end(entries, NEW_YORK) == ms("1998-07-01T00:00:00-04:00")
    later = cdnow(written(tmp_path, "00004 0001 19980702 2 29.33"), NEW_YORK, 12)
    assert cdnow_end(later, NEW_YORK) == ms("1998-07-03T00:00:00-04:00")
    assert ms("1996-12-31T00:00:00+00:00") == CDNOW_BEGINS_MS


def ms(moment: str) -> int:
    return round(dt.datetime.fromisoformat(moment).timestamp() * 1000)


# -- JSON lines ---------------------------------------------------------------------------------------------------


def action(number: int, at: str, **more: object) -> str:
    told = {"action": "login", "event_id": f"e-{number}", "source": "app", "member_id": "m-1", "occurred_at": at}
    return msgspec.json.encode(told | more).decode()


def test_lines_keep_their_bytes_and_go_to_their_partition(tmp_path: Path) -> None:
    line = action(1, "2026-03-01T00:00:00.250+08:00")
    (entry,) = history(written(tmp_path, "", line, "  "), DEFAULT, 12, NOW)
    assert entry == Entry(ms("2026-02-28T16:00:00.250+00:00"), partition_of("m-1", 12), b"m-1", line.encode())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "$ Input data was truncated"),
        ("[1]", "$"),
        (action(1, "2026-03-01T00:00:00+08:00", action="dance"), "$.action known: check_in"),
        (action(1, "2026-03-01T00:00:00"), "$.occurred_at"),
        (action(1, "1999-03-01T00:00:00Z"), "$.occurred_at before the log's history begins"),
        (action(1, "2027-03-01T00:00:00Z"), "$.occurred_at it lies in the future"),
        (action(1, "2026-03-01T00:00:00Z", member_id="13812345678"), "$.member_id a phone number is no id"),
        (action(1, "2026-03-01T00:00:00Z", nickname="x"), "$.nickname personal data is never accepted"),
        ('{"record":"tick"}', "is no action"),
    ],
)
def test_what_the_log_would_refuse_is_refused_by_line(tmp_path: Path, line: str, said: str) -> None:
    path = written(tmp_path, action(0, "2026-03-01T00:00:00Z"), line)
    with pytest.raises(InputInvalid) as error:
        history(path, DEFAULT, 12, NOW)
    assert f"{path}:2: {said}" in str(error.value)


def test_a_line_separator_inside_a_text_ends_no_line(tmp_path: Path) -> None:
    line = action(1, "2026-03-01T00:00:00Z", channel="a\u2028b")
    assert len(history(written(tmp_path, line), DEFAULT, 12, NOW)) == 1


# -- days ---------------------------------------------------------------------------------------------------------


def test_days_are_the_programmes_and_sorted_by_time() -> None:
    moments = ["1997-01-02T04:59:59Z", "1997-01-02T05:00:00Z", "1997-01-01T17:00:00Z", "1997-01-02T04:59:59Z"]
    entries = [Entry(ms(moment), 0, b"", str(number).encode()) for number, moment in enumerate(moments)]
    it = plan(entries, NEW_YORK, ms("1997-01-03T05:00:00Z"))
    found = {NEW_YORK.date(day).isoformat(): [int(entry.value) for entry in some] for day, some in it.days.items()}
    assert found == {"1997-01-01": [2, 0, 3], "1997-01-02": [1]}
