"""What people look with, on a real log: a member at any moment, and why it has what it has."""

from __future__ import annotations

import json
from typing import Any

import pytest

from infra.stack import Stack
from streams.cli import default_programme
from tests.e2e.memberflow import Log
from tests.polling import eventually

pytestmark = pytest.mark.real


def history() -> str:
    """Ten days of one member in September, and somebody else on each day of the month."""
    lines = []
    for day in range(1, 31):
        for member in ("m-1", "m-2") if day <= 10 else ("m-2",):
            told = {"action": "check_in", "event_id": f"e-{day}", "source": "app", "member_id": member}
            lines.append(json.dumps(told | {"occurred_at": f"2026-09-{day:02}T08:00:00+08:00"}))
    order = {"action": "purchase", "order_id": "o-1", "amount": 9_900, "currency": "CNY", "event_id": "p-1"}
    lines.append(json.dumps(order | {"source": "shop", "member_id": "m-1", "occurred_at": "2026-09-10T09:00:00+08:00"}))
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def log(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Log:
    log = Log(stack, tmp_path_factory.mktemp("looking"))
    (log.folder / "history.jsonl").write_text(history())
    log.ok("bootstrap", "--history")
    with log.worker():
        log.ok("import", "history", "history.jsonl")
        log.ok("import", "--finish")
        again = {"action": "check_in", "event_id": "e-30", "source": "app", "member_id": "m-2"}
        ahead = {"event_id": "e-31", "occurred_at": "2098-01-01T00:00:00+08:00"}  # counts as now
        log.send([again | {"occurred_at": "2026-09-30T08:00:00+08:00"}, again | ahead])
        assert eventually(lambda: log.verdicts().get("applied", 0) >= 42, within_s=60)
    return log


def shown(log: Log, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(log.ok("member", "show", *arguments, "--json"))
    return found


def test_a_member_of_the_past_is_as_it_was(log: Log) -> None:
    then = shown(log, "m-1", "--at", "2026-09-08T12:00")
    assert (then["issued"], then["streak"], then["foreseen"]) == (50, 8, False)  # 6 x 5, then 2 x 10
    later = shown(log, "m-1", "--at", "2026-09-12")
    assert [row["points"] for row in later["pending"]] == [198]
    log.ok("snapshot", "images")
    assert shown(log, "m-1", "--at", "2026-09-12", "--from", "images") == later


def test_a_member_to_come_is_as_timers_will_make_it(log: Log) -> None:
    now, then = shown(log, "m-2"), shown(log, "m-2", "--at", "2098-01-01T00:00+08:00")
    assert (now["overall"], then["overall"]) == ("", "lost")
    assert then["foreseen"]
    assert then["as_of"] == "2098-01-01T00:00:00+08:00"
    assert "if nobody does anything after offset" in log.ok("member", "show", "m-2", "--at", "2098-01-01T00:00+08:00")


def test_what_cannot_be_asked_is_one_line(log: Log) -> None:
    assert "is no moment; write 2026-09-01T12:00" in log.refused("member", "show", "m-1", "--at", "yesterday")
    assert "is after the year 2099" in log.refused("member", "show", "m-1", "--at", "2100-01-01T00:00Z")
    assert f"log {log.name} began at" in log.refused("member", "show", "m-1", "--at", "1999-01-01")
    assert "has no member" in log.refused("explain", "nobody")


def test_a_member_is_explained_from_action_to_ledger(log: Log) -> None:
    said = log.ok("explain", "m-1", "--since", "2026-09-01")
    assert "198 = 99 yuan x2 first order" in said
    assert "198 pending points became active" in said
    assert "not contacted: nobody is before go-live" in said
    assert "算式" in log.ok("explain", "m-1", "--since", "2026-09-01", "--lang", "zh")
    data = json.loads(log.ok("explain", "m-1", "--since", "2026-09-01", "--json"))
    entry = next(fact for fact in data["facts"] if fact.get("order_id") == "o-1")
    one = json.loads(log.ok("explain", "m-1", "--fact", str(entry["n"]), "--json"))
    assert [told["facts"] for told in one["told"]] == [[entry["n"]]]
    assert "is none of m-1" in log.refused("explain", "m-1", "--fact", "999999")


def test_a_repeat_without_a_fact_is_explained_too(log: Log) -> None:
    data = json.loads(log.ok("explain", "m-2", "--since", "2026-09-01", "--json"))
    lines = {told["verdict"]: [line["text"] for line in told["lines"]] for told in data["told"]}
    assert any("it happened on 2026-09-30" in line for line in lines["late"])


# -- another programme


def test_what_was_lived_is_found_again_to_the_row(log: Log) -> None:
    assert log.ok("simulate", "--check").startswith("equal: ")


def test_another_programme_is_told_in_points_and_money(log: Log) -> None:
    (log.folder / "twice.yaml").write_text(default_programme().replace("per_unit: 1 ", "per_unit: 2 "))
    before = log.partitions()
    found = json.loads(log.ok("simulate", "--programme", "twice.yaml", "--json", "--jobs", "2"))
    assert found["total"]["new"]["points_issued"] - found["total"]["live"]["points_issued"] == 198
    assert found["total"]["new"]["liability"] - found["total"]["live"]["liability"] == 198
    assert found["gain_most"][0]["member_id"] == "m-1"
    assert found["lose_most"] == []
    told = log.ok("simulate", "--programme", "twice.yaml", "--worth", "1010")
    assert "1 members differ" in told
    assert "a worth of 1010 instead of 1000 thousandths costs" in told
    assert log.partitions() == before, "nothing live moved"
    later = json.loads(log.ok("simulate", "--programme", "twice.yaml", "--against", "1d", "--json"))
    assert later["members_changed"] == 0
    some = log.ok("simulate", "--programme", "twice.yaml", "--sample", "10%")
    assert "10.00% of the members, by hash" in some
    assert "awards and thresholds are the live ones" in some


def test_a_rate_with_decimals_is_tried_and_floored_once_an_order(log: Log) -> None:
    """99 yuan at 1.2 are 118 points, twice as the first order; three decimals are exact, a fourth is refused."""
    for rate, more in (("1.2", 2 * 118 - 198), ("0.5", 2 * 49 - 198), ("1.011", 2 * 100 - 198)):
        (log.folder / "rate.yaml").write_text(default_programme().replace("per_unit: 1 ", f"per_unit: {rate} "))
        found = json.loads(log.ok("simulate", "--programme", "rate.yaml", "--json", "--jobs", "2"))
        assert found["total"]["new"]["points_issued"] - found["total"]["live"]["points_issued"] == more
        assert found["total"]["new"]["liability"] - found["total"]["live"]["liability"] == more
    (log.folder / "fine.yaml").write_text(default_programme().replace("per_unit: 1 ", "per_unit: 1.0001 "))
    refused = log.refused("simulate", "--programme", "fine.yaml")
    assert "fine.yaml:20:5: points.purchase.per_unit: Input should have at most three decimals" in refused


def test_what_cannot_be_simulated_is_one_line(log: Log) -> None:
    assert "simulate what?" in log.refused("simulate")
    assert "lies outside of 900 to 1100" in log.refused("simulate", "--worth", "2000")
    assert "cannot read nowhere.yaml" in log.refused("simulate", "--programme", "nowhere.yaml")
    assert "write 30d" in log.refused("simulate", "--worth", "1010", "--against", "month")
    assert "is younger than that" in log.refused("simulate", "--worth", "1010", "--against", "9999d")
    assert "--check is of everything" in log.refused("simulate", "--check", "--sample", "10%")
