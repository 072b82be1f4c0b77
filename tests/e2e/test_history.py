"""A month of the past goes into a log before it opens: interrupted, repeated, finished, and then live."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from infra.stack import Stack
from streams import topics as topic_admin
from tests.e2e.memberflow import COMMAND, PARTITIONS, Log
from tests.polling import eventually

pytestmark = pytest.mark.real


def action(number: int, at: str, member: str = "m-1", **more: object) -> str:
    told = {"action": "check_in", "event_id": f"e-{number}", "source": "app", "member_id": member, "occurred_at": at}
    return json.dumps(told | more) + "\n"


def month() -> str:
    """One check-in a day of three members, told backwards; the last of them stops after ten days."""
    lines = [
        action(100 * day + who, f"2026-09-{day:02}T{8 + who:02}:00:00+08:00", f"m-{who}")
        for day in range(30, 0, -1)
        for who in range(3)
        if who < 2 or day <= 10
    ]
    return "".join(lines)


def shown(log: Log, member: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(log.ok("member", "show", member, "--json"))
    return found


def test_history_goes_in_before_the_log_opens(stack: Stack, tmp_path: Path) -> None:
    log = Log(stack, tmp_path)
    path = tmp_path / "history.jsonl"
    path.write_text(month())
    assert f"there is no topic {log.topics.actions.name}" in log.refused("import", "history", str(path))
    log.ok("bootstrap", "--history")
    interrupted(log, path)
    with log.worker():
        assert log.ok("import", "history", str(path)).startswith("imported 70 actions of 30 days")
        assert log.ok("import", "history", str(path)) == (
            "imported 0 actions of 0 days; 70 actions lie on days that were in the log already\n"
        )
        verdicts = log.verdicts()
        assert verdicts["applied"] == 70
        assert verdicts["tick"] >= 30 * PARTITIONS
        regular, silent = shown(log, "m-0"), shown(log, "m-2")
        assert regular["as_of"] == "2026-10-01T00:00:00+08:00"
        assert (regular["streak"], regular["active_days"], regular["overall"]) == (30, 29, "")
        assert silent["tiers"][0]["since"] == "2026-09-17T10:00:00+08:00"  # type: ignore[index]
        assert silent["overall"] == "yellow"
        opens(log, path)


def interrupted(log: Log, path: Path) -> None:
    """An import that nobody takes up says so, and may be ended at any moment."""
    with (log.folder / "import.log").open("wb") as file:
        command = [str(COMMAND), "import", "history", str(path)]
        process = subprocess.Popen(command, env=log.env, cwd=log.folder, stderr=file)
    try:
        told = log.folder / "import.log"
        assert eventually(lambda: "waiting for a worker: partition 0 of log" in told.read_text(), within_s=60)
    finally:
        process.kill()
        process.wait()


def opens(log: Log, path: Path) -> None:
    assert log.ok("import", "--finish").startswith(f"log {log.name} is open to live traffic")
    assert log.ok("import", "--finish").startswith(f"log {log.name} was open already")
    with topic_admin.admin(log.env["MEMBERFLOW_KAFKA__BOOTSTRAP"]) as client:
        assert topic_admin.compare(client, log.topics.all()) == []
    assert "is open to live traffic, history goes in before" in log.refused("import", "history", str(path))
    log.ok("send", "-", stdin=action(9_999, "2026-10-01T09:00:00+08:00", "m-1").encode())
    assert eventually(lambda: log.verdicts().get("applied", 0) + log.verdicts().get("late", 0) == 71, within_s=30)


def test_a_file_with_a_bad_line_changes_nothing(stack: Stack, tmp_path: Path) -> None:
    log = Log(stack, tmp_path)
    log.ok("bootstrap", "--history")
    path = tmp_path / "history.jsonl"
    path.write_text(action(1, "2026-09-01T08:00:00+08:00") + "nonsense\n")
    assert f"{path}:2: $ JSON is malformed" in log.refused("import", "history", str(path))
    assert [row["end"] for row in log.partitions()] == [1] * PARTITIONS


def test_cdnow_needs_a_log_of_its_own_in_dollars(stack: Stack, tmp_path: Path) -> None:
    log = Log(stack, tmp_path)
    path = Path("tests/data/cdnow_sample.txt").resolve()
    live = log.refused("import", "cdnow", str(path), MEMBERFLOW_LOG="live-1")
    assert "set MEMBERFLOW_LOG=cdnow-1" in live
    log.ok("bootstrap", "--history")
    assert "which does not list USD" in log.refused("import", "cdnow", str(path))
    assert "import what?" in log.refused("import")
    assert "--finish stands alone" in log.refused("import", "--finish", "cdnow", str(path))
