"""Recorded actions replayed from ClickHouse: the same as from Kafka, also when Kafka has them no more.

Both engines. Seed of the history: 3.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from kafka import TopicPartition

from infra.history import History, Span
from infra.members import Crowd
from infra.stack import Stack
from infra.traffic import Trouble
from streams.cli import default_programme
from streams.recorded import FROM_CLICKHOUSE, InClickHouse
from streams.topics import admin
from tests.e2e.memberflow import PARTITIONS, Log, check_in
from tests.polling import eventually

pytestmark = pytest.mark.real

NOON = 1_790_000_000_000
LANDS = {"MEMBERFLOW_CLICKHOUSE__ACTIONS": "true"}
TWICE = ("simulate", "--programme", "twice.yaml", "--jobs", "2", "--json")


@pytest.fixture(scope="module", params=["chdb", "server"])
def log(request: pytest.FixtureRequest, stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Log:
    """A log with all that may lie in one; its workers have ended, so that it stands still."""
    folder = tmp_path_factory.mktemp("archive")
    log = Log(stack, folder, **LANDS, **engine(request, folder))
    past = History(Crowd(60, 3), 3, Span.of_days(NOON, 12, per_day=2.0), Trouble(0.02, 0.02, 0, 0, 0))
    (folder / "history.jsonl").write_bytes(b"".join(line.rstrip() + b"\n" for line in past))
    (folder / "twice.yaml").write_text(default_programme().replace("per_unit: 1 ", "per_unit: 2 "))
    log.ok("bootstrap", "--history")
    if request.param == "server":
        log.ok("migrate")
    with log.worker():
        log.ok("import", "history", "history.jsonl")
        log.ok("import", "--finish")
        seen = sum(log.verdicts().values())
        log.send([check_in(number, f"n-{number % 7}", "2026-09-30T08:00:00+08:00") for number in range(50)])
        asyncio.run(odd(log, stack))
        assert eventually(lambda: sum(log.verdicts().values()) >= seen + 50 + 5 * PARTITIONS, within_s=60)
    return log


def engine(request: pytest.FixtureRequest, folder: Path) -> dict[str, str]:
    """Settings of an engine with a database of its own."""
    told = {"ADAPTER": request.param, "FOLDER": str(folder / "chdb")}
    if request.param == "server":
        host, port, http_port = request.getfixturevalue("clickhouse_server")
        told |= {"HOST": host, "PORT": str(port), "HTTP_PORT": str(http_port), "DATABASE": "archive_e2e"}
    return {f"MEMBERFLOW_CLICKHOUSE__{name}": value for name, value in told.items()}


async def odd(log: Log, stack: Stack) -> None:
    """What nobody should send, and an event whose attributes are headers."""
    event = {"kind": "chat", "length": 30, "occurred_at": "2026-09-30T09:00:00+08:00", "member_id": "n-1"}
    attributes = {"ce_specversion": "1.0", "ce_id": "ce-1", "ce_source": "/app", "ce_type": "message"}
    headers = [(name, value.encode()) for name, value in attributes.items()]
    async with AIOKafkaProducer(bootstrap_servers=stack.kafka) as producer:
        for partition in range(PARTITIONS):
            for key, value in ((None, b""), (b"n-1", None), (b"\xff", b"\xff\x00{"), (b"n-1", b"{" + b"x" * 100_000)):
                await producer.send(log.topics.actions.name, value, key=key, partition=partition)
            told = json.dumps(event).encode()
            await producer.send(log.topics.actions.name, told, key=b"n-1", partition=partition, headers=headers)


def trimmed(log: Log, stack: Stack, *, before: dict[int, int]) -> None:
    """Kafka lets go of what lies before these offsets."""
    with admin(stack.kafka) as client:
        client.delete_records({TopicPartition(log.topics.actions.name, p): at for p, at in before.items()})


def figures(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return found


def test_the_same_comes_from_clickhouse_also_when_kafka_has_let_go(log: Log, stack: Stack) -> None:
    check, elsewhere = ("simulate", "--check"), "--from-clickhouse"
    equal, other = log.ok(*check), log.ok(*TWICE)
    assert equal.startswith("equal: ")
    assert figures(other)["members_changed"] > 10
    with log.sinking():
        assert log.ok(*check, elsewhere) == equal, "it waits until a sink has stored them"
        assert log.ok(*TWICE, elsewhere) == other
        ends = {row["partition"]: row["next_offset"] for row in log.partitions()}
        trimmed(log, stack, before={p: end - 3 for p, end in ends.items()})
        gone = log.refused(*check)
        assert "begins at offset" in gone
        assert "--from-clickhouse" in gone
        assert log.ok(*check, elsewhere) == equal
        assert log.ok(*TWICE, elsewhere) == other
        shorter = log.ok("simulate", "--programme", "twice.yaml", "--against", "2d", "--json", elsewhere)
        assert figures(shorter)["records"] == figures(other)["records"]
    with log.worker(), log.sinking():  # both go on behind what Kafka let go
        log.send([check_in(1_000, "n-1", "2026-10-02T08:00:00+08:00")])
        assert eventually(lambda: sum(row["next_offset"] for row in log.partitions()) > sum(ends.values()), within_s=60)
        more = log.ok(*check, elsewhere)
        assert facts_of(more) >= facts_of(equal)


def facts_of(text: str) -> int:
    """How many facts were equal."""
    return int(text.split()[1].replace(",", ""))


def test_what_clickhouse_has_not_is_one_line(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(stack, tmp_path)
    log.ok("bootstrap")
    assert "are not stored here; set MEMBERFLOW_CLICKHOUSE__ACTIONS=true" in log.refused("sink", "reland")
    with log.worker(), log.sinking():
        assert eventually(lambda: all(row["next_offset"] > 3 for row in log.partitions()), within_s=60)
        monkeypatch.setattr(InClickHouse, "lacking", FROM_CLICKHOUSE._replace(patience_s=0.0))
        told = log.refused("simulate", "--check", "--from-clickhouse")
    assert "partition 0 of log" in told
    assert "nobody answers SQL at" in log.refused("simulate", "--check", "--from-clickhouse")
    assert "is here up to offset 0, its worker stands at" in told
    assert "is a sink running with MEMBERFLOW_CLICKHOUSE__ACTIONS=true?" in told
    log.own |= LANDS
    assert "there is no partition 9; there are 0 to 2" in log.refused("sink", "reland", "9")
    assert log.ok("sink", "reland", "1") == "partitions 1 are read again from offset 0 when the sink starts\n"


def test_what_is_too_old_is_forgotten_and_then_an_image_is_needed(stack: Stack, tmp_path: Path) -> None:
    log = Log(stack, tmp_path, **LANDS, MEMBERFLOW_CLICKHOUSE__FOLDER=str(tmp_path / "chdb"))
    (tmp_path / "history.jsonl").write_text(
        "".join(json.dumps(check_in(day, "m-1", f"2020-09-{day:02}T08:00:00+08:00")) + "\n" for day in range(1, 11))
    )
    log.ok("bootstrap", "--history")
    with log.worker():
        log.ok("import", "history", "history.jsonl")
    elsewhere = ("simulate", "--check", "--from-clickhouse")
    with log.sinking():
        log.ok(*elsewhere)
        assert "owns the analytics folder" in log.refused("sink", "forget", "--keep-days", "365")
    dry = log.ok("sink", "forget", "--keep-days", "365")
    assert f"partition {PARTITIONS - 1}: would delete what lies before offset" in dry
    assert dry.endswith("nothing was changed: add --apply\n")
    assert log.ok("sink", "forget", "--keep-days", "365", "--apply").count("deleted what lies") == PARTITIONS
    with log.sinking():
        told = log.refused(*elsewhere)
    assert "begins at offset" in told
    assert "; replay from Kafka, or begin with a snapshot (--from FOLDER)" in told
