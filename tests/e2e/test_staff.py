"""The commands of staff on a real log: dry, applied, undone; members brought along; lists to start from."""

from __future__ import annotations

import datetime as dt
import json
import re
import subprocess
from collections.abc import Iterator

import pytest

from infra.stack import Stack
from tests.e2e.looking_back import Kept
from tests.e2e.memberflow import COMMAND
from tests.polling import eventually

pytestmark = pytest.mark.real

PEOPLE = ("--by", "ann", "--approve", "bob")
MEMBERS = 10_000


def openings(prefix: str = "m") -> str:
    line = '{"member_id":"' + prefix + '-%d","lots":[{"month":"2026-05","points":%d}],"debt":%d,"level":"bronze",'
    line += '"level_since":"2026-05-01T00:00:00Z","spend":{"2026-05":9900},"joined_at":"2024-06-01T00:00:00Z"}\n'
    return "".join(line % (n, n + 1, n % 7) for n in range(MEMBERS))


@pytest.fixture(scope="module")
def log(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    log = Kept(stack, tmp_path_factory.mktemp("staff"))
    (log.folder / "openings.jsonl").write_text(openings())
    (log.folder / "points.csv").write_text("member_id,points\nm-0,50\nm-1,-20\nm-1,7\n")
    log.ok("bootstrap")
    with log.worker(), log.sink():
        yield log


def points(log: Kept, member: str) -> tuple[int, int]:
    found = json.loads(log.ok("member", "show", member, "--json"))
    return found["active"], found["debt"]


def test_members_are_brought_along_to_the_point_and_twice_is_once(log: Kept) -> None:
    said = log.ok("import", "opening", "openings.jsonl", *PEOPLE)
    assert "10,000 members, 50,005,000 points, 29,994 debt" in said
    assert "totals in the members' states and in ClickHouse are those of the file" in said
    again = log.ok("import", "opening", "openings.jsonl", *PEOPLE)
    assert "10,000 of them are in already" in again
    assert points(log, "m-6") == (7, 6)


def test_an_import_of_openings_that_was_killed_goes_on_where_it_stopped(log: Kept) -> None:
    (log.folder / "killed.jsonl").write_text(openings("k"))
    command = [str(COMMAND), "import", "opening", "killed.jsonl", *PEOPLE]
    env = log.env | {"CRASH_AT": "staff.appended:2"}
    done = subprocess.run(command, env=env, cwd=log.folder, capture_output=True, check=False, timeout=300)
    assert done.returncode == -9, done.stderr.decode()
    said = log.ok("import", "opening", "killed.jsonl", *PEOPLE)
    assert "4,000 of them are in already" in said
    assert "totals in the members' states and in ClickHouse are those of the file" in said
    assert "10,000 of them are in already" in log.ok("import", "opening", "killed.jsonl", *PEOPLE)
    booked = "SELECT count(), uniqExact(member_id), sum(points), sum(reversed) FROM facts FINAL WHERE log = %(log)s"
    booked += " AND kind = 'ledger' AND rule = 'opening' AND startsWith(member_id, 'k-')"
    assert log.reader().query(booked, {"log": log.name}) == [(MEMBERS, MEMBERS, 50_005_000, 29_994)]
    refused = "SELECT count() FROM facts WHERE log = %(log)s AND kind = 'opening_refused'"
    assert log.reader().query(refused, {"log": log.name}) == [(0,)], "what is in already is not sent again"


def test_a_second_opening_is_refused(log: Kept) -> None:
    (log.folder / "second.jsonl").write_text(openings().splitlines()[0].replace('"points":1', '"points":2'))
    told = log.refused("import", "opening", "second.jsonl", *PEOPLE)
    assert "1 members have brought something along already, the first is m-0" in told


def test_a_file_of_points_is_dry_then_booked_once_then_undone_as_a_whole(log: Kept) -> None:
    before = [points(log, member) for member in ("m-0", "m-1")]
    dry = log.ok("adjust", "points.csv", "--reason", "lost", *PEOPLE)
    assert "would book 3 rows of 2 members" in dry
    assert "net: 37 points, 0.37 yuan" in dry
    assert [points(log, member) for member in ("m-0", "m-1")] == before
    booked = log.ok("adjust", "points.csv", "--reason", "lost", *PEOPLE, "--apply")
    found = re.search(r"--undo (\w+)", booked)
    assert found
    after = [points(log, member) for member in ("m-0", "m-1")]
    assert after[0] == (before[0][0] + 50, before[0][1])
    assert "3 rows are booked already" in log.ok("adjust", "points.csv", "--reason", "lost", *PEOPLE, "--apply")
    assert [points(log, member) for member in ("m-0", "m-1")] == after
    undo = ("adjust", "--undo", found[1], "--reason", "wrong file", *PEOPLE)
    assert eventually(lambda: "would undo 3 rows" in log.run(*undo).stdout, within_s=30)
    assert "undone" in log.ok(*undo, "--apply")
    assert before == [(1, 0), (2, 1)]
    assert [points(log, member) for member in ("m-0", "m-1")] == [(1, 0), (1, 0)], "what comes back pays debt first"


def test_one_person_alone_is_refused(log: Kept) -> None:
    told = log.refused("adjust", "points.csv", "--reason", "lost", "--by", "ann", "--approve", "ann")
    assert "ann cannot approve their own change" in told


def test_what_came_too_late_is_a_list_to_start_from(log: Kept) -> None:
    when = (dt.datetime.now(dt.UTC) - dt.timedelta(days=31)).isoformat()  # noqa: TID251 - as an app stamps what it sends
    action = {"action": "check_in", "event_id": "e-1", "source": "app", "member_id": "m-3", "occurred_at": when}
    log.send([action])
    assert eventually(lambda: "m-3,,check_in,app,e-1" in log.ok("late", "list", "--csv"), within_s=30)
    assert json.loads(log.ok("orphans", "list", "--json")) == []
