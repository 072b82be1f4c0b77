"""Files of staff: read whole, told by line what is wrong, one identity a row."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from processors.adjust import adjusted
from processors.opening import opened
from schemas.decoding import Staff, decode
from schemas.member import MemberState
from streams import adjusting, openings
from streams.errors import InputInvalid
from streams.money import Money
from streams.staff_lists import Listed, as_csv
from streams.staff_records import Signer, read_lines
from tests.processors.story import START, Story

SIGNER = Signer(("staff", Ed25519PrivateKey.from_private_bytes(bytes(32))), "lost", "ann", "bob", START)
OPENINGS = (
    "member_id,lots,debt,level,level_since,spend,joined_at,last_purchase_at,last_action_at,consent\n"
    "m-1,2025-10:40;2026-01:60,30,silver,2026-01-01T00:00:00+08:00,2025-12:90000,2024-05-01T00:00:00+08:00,,,"
    "marketing/all/yes/v1/2024-05-01T00:00:00+08:00\n"
    "m-2,,0,bronze,2026-01-01T00:00:00+08:00,,2024-05-01T00:00:00+08:00,2025-12-01T00:00:00Z,2025-12-01T00:00:00Z,\n"
)


def written(folder: Path, text: str) -> Path:
    path = folder / "file"
    path.write_text(text)
    return path


def booked(values: list[bytes]) -> dict[str, MemberState]:
    """The states after these records."""
    stories: dict[str, Story] = {}
    for value in values:
        item = decode(value)
        assert isinstance(item, Staff)
        action = item.action
        stories.setdefault(action.member_id, Story(name=action.member_id)).act(action, START)
    return {name: story.state for name, story in stories.items()}


@pytest.mark.parametrize(
    "text",
    ["member_id,points\nm-1,50\nm-2,-7\n", '{"member_id": "m-1", "points": 50}\n\n{"member_id": "m-2", "points": -7}'],
)
def test_a_file_of_points_is_csv_or_json_lines(tmp_path: Path, text: str) -> None:
    rows = adjusting.rows_of(read_lines(written(tmp_path, text)), SIGNER)
    assert [(row.number, row.member_id, row.points) for row in rows] == [(1, "m-1", 50), (2, "m-2", -7)]
    assert adjusting.totals((row.member_id, row.points) for row in rows) == (2, 2, 50, 7)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("member_id,points\nm-1,\n", "file:2: wanted are a member_id and points"),
        ("member_id,points\nm-1,0\n", "file:2: wanted are"),
        ("member_id,points\nm-1,1.5\n", "file:2: wanted are"),
        ("member_id,points\n,5\n", "file:2: wanted are"),
        ("member_id,points\nm-1,5,6\n", "file:2: has not 2 columns"),
        ("member_id,points\nm-1,99999999999\n", "file:2: $.points"),
        ('{"member_id": "m-1"\n', "file:1:"),
        ("m-1,5\n", "file:1: names no column member_id"),
        ("member_id,points\n", "file:1: holds no row"),
        ("", "file:1: holds no row"),
        ("member_id,points\n13800138000,5\n", "file:2: $.member_id a phone number is no id"),
        ("member_id,points\nm-1,x\nm-1\n,5\nm-1,5\n", "file:2: wanted.*; .*file:3: has not 2.*; .*file:4: wanted"),
    ],
)
def test_a_wrong_line_is_told_by_its_number_and_nothing_is_booked(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(InputInvalid, match=told.replace("$", r"\$")):
        adjusting.rows_of(read_lines(written(tmp_path, text)), SIGNER)


def test_a_row_is_known_by_its_file_and_number_and_is_booked_once(tmp_path: Path) -> None:
    lines = read_lines(written(tmp_path, "member_id,points\nm-1,50\nm-1,50\nm-2,9\n"))
    rows = adjusting.rows_of(lines, SIGNER)
    states = booked([row.value for row in rows[:2]])
    assert [it.points for it in adjusted(states["m-1"])] == [50, 50]
    assert [row.number for row in adjusting.left(rows, states, lines.digest)] == [3]
    later = adjusting.rows_of(lines, SIGNER._replace(now_ms=START + 1))
    assert booked([row.value for row in [*rows, *later]])["m-1"].active == 100


def test_a_batch_is_undone_as_a_whole(tmp_path: Path) -> None:
    lines = read_lines(written(tmp_path, "member_id,points\nm-1,50\nm-1,-20\nm-2,9\n"))
    values = [row.value for row in adjusting.rows_of(lines, SIGNER)]
    states = booked(values)
    assert adjusting.standing(states, lines.digest) == [("m-1", 50), ("m-1", -20), ("m-2", 9)]
    undone = booked([*values, *(value for _, value in adjusting.undoing(states, lines.digest, SIGNER))])
    assert adjusting.standing(undone, lines.digest) == []
    assert {name: state.active for name, state in undone.items()} == {"m-1": 0, "m-2": 0}


@pytest.mark.parametrize(
    ("points", "worth", "shown"),
    [(100, 1000, "1.00"), (1, 900, "0.01"), (1, 499, "0.00"), (-250, 1100, "-2.75"), (10**8, 1000, "1,000,000.00")],
)
def test_points_in_money(points: int, worth: int, shown: str) -> None:
    assert Money(worth, worth, 100, "yuan").words(points) == f"{shown} yuan"


def test_a_list_is_a_file_of_points_once_they_are_filled_in(tmp_path: Path) -> None:
    row = Listed("m-1", "", "check_in", "app", "e-1", "east", "2026-01-01", "2026-03-01", "", "", "")
    with pytest.raises(InputInvalid, match="file:2"):
        adjusting.rows_of(read_lines(written(tmp_path, as_csv([row]))), SIGNER)
    filled = read_lines(written(tmp_path, as_csv([row._replace(points="5")])))
    assert [it.points for it in adjusting.rows_of(filled, SIGNER)] == [5]


def test_a_file_of_openings_arrives_to_the_point(tmp_path: Path) -> None:
    lines = read_lines(written(tmp_path, OPENINGS))
    rows = openings.rows_of(lines, SIGNER)
    assert openings.totals_of(rows) == (2, 100, 30)
    assert openings.sort_out(rows, {}, lines.digest) == (rows, (0, 0, 0), [])
    states = booked([row.value for row in rows])
    assert openings.sort_out(rows, states, lines.digest) == ([], (2, 100, 30), [])
    assert openings.sort_out(rows, states, "another")[2] == ["m-1", "m-2"]
    brought = opened(states["m-1"])
    assert brought is not None
    assert [(it.purpose, it.granted) for it in brought.consents] == [("marketing", True)]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("2025-10:40", "2025-13:40"), r"\$.lots"),
        (("2025-10:40", "1025-10:40"), r"\$.lots"),
        (("2025-10:40", "40"), "lots is 40"),
        (("/yes/", "/perhaps/"), "consent is"),
        (("2025-12:90000", "2025-12:much"), "spend is much"),
        (("m-2,", "m-1,"), "m-1 stands in the file before"),
        (("silver", ""), r"\$ Object missing"),
    ],
)
def test_a_wrong_opening_is_told_by_its_line(tmp_path: Path, change: tuple[str, str], told: str) -> None:
    with pytest.raises(InputInvalid, match=told):
        openings.rows_of(read_lines(written(tmp_path, OPENINGS.replace(*change, 1))), SIGNER)


def test_ten_thousand_openings_are_read_and_booked_to_the_point(tmp_path: Path) -> None:
    line = '{"member_id":"m-%d","lots":[{"month":"2025-11","points":%d}],"debt":%d,"level":"bronze",'
    line += '"level_since":"2025-06-01T00:00:00Z","spend":{},"joined_at":"2024-06-01T00:00:00Z"}'
    text = "\n".join(line % (n, n + 1, n % 7) for n in range(10_000))
    lines = read_lines(written(tmp_path, text))
    rows = openings.rows_of(lines, SIGNER)
    wanted = openings.Totals(10_000, sum(range(1, 10_001)), sum(n % 7 for n in range(10_000)))
    assert openings.totals_of(rows) == wanted
    states = booked([row.value for row in rows])
    assert openings.sort_out(rows, states, lines.digest)[1] == wanted
    assert sum(state.active for state in states.values()) == wanted.points
    assert sum(state.debt for state in states.values()) == wanted.debt
