"""The programme is in the log: a file beside a worker changes nothing, an apply reaches every partition."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infra.stack import Stack
from schemas import facts as fact_codec
from schemas.facts import Fact, InForce, Ledger
from schemas.records import ProgrammeControl
from schemas.settings import Settings
from streams import replay
from streams.bootstrap import SERIES
from streams.cli import default_programme
from streams.keys import private_key
from streams.log_reader import LogReader
from streams.programme_log import sealed, spread
from streams.redis_store import RedisStore
from streams.store import Dump
from tests.e2e.memberflow import PARTITIONS, Log, check_in
from tests.polling import eventually

pytestmark = pytest.mark.real
PEOPLE = ("--why", "a test", "--by", "ana", "--approved-by", "ben")


@pytest.fixture
def log(stack: Stack, tmp_path: Path) -> Log:
    return Log(stack, tmp_path)


@pytest.fixture
def settings(log: Log, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in log.own.items():
        monkeypatch.setenv(name, value)
    return Settings()


def file_of(log: Log, name: str, **changed: str) -> Path:
    """A programme: the default one with some of its text replaced."""
    text = default_programme()
    for old, new in changed.items():
        assert old in text
        text = text.replace(old, new)
    path = log.folder / name
    path.write_text(text)
    return path


def now() -> str:
    return datetime.now(UTC).isoformat()  # noqa: TID251 - as an app stamps what it sends


def published(settings: Settings, topic: str) -> dict[int, list[bytes]]:
    """The values of a topic, by partition."""

    async def read() -> dict[int, list[bytes]]:
        found: dict[int, list[bytes]] = {partition: [] for partition in range(PARTITIONS)}
        async with LogReader(settings.kafka.bootstrap, topic) as reader:
            async for records in reader.read_all(await reader.all_bounds(range(PARTITIONS))):
                found[records[0].partition] += [record.value for record in records]
        return found

    return asyncio.run(read())


def facts_of(settings: Settings, log: Log) -> list[Fact]:
    return [fact_codec.decode(value) for rows in published(settings, log.topics.facts.name).values() for value in rows]


def folded(settings: Settings, partition: int) -> tuple[Dump, Dump, list[bytes]]:
    """A partition as its store holds it, the same from the log alone, and the facts that the log implies."""

    async def fold() -> tuple[Dump, Dump, list[bytes]]:
        store = RedisStore(settings.redis.url, settings.log)
        held = await store.dump(partition)
        await store.close()
        assert held is not None
        heard: list[bytes] = []
        again = await replay.from_log(
            settings, held.identity, partition, held.next_offset, hear=lambda out: heard.extend(out.facts)
        )
        return held, await again.dump(), heard

    return asyncio.run(fold())


def test_a_file_edited_beside_a_worker_changes_nothing(log: Log, settings: Settings) -> None:
    file = file_of(log, "programme.yaml")
    log.ok("bootstrap", str(file))
    with log.worker():
        log.send([check_in(i, f"m-{i}", now()) for i in range(12)])
        assert eventually(lambda: log.verdicts().get("applied") == 12, within_s=30)
    file.write_text(file.read_text().replace("points: 5\n", "points: 500\n"))
    with log.worker():
        log.send([check_in(i, f"m-{i}", now()) for i in range(12, 24)])
        assert eventually(lambda: log.verdicts().get("applied") == 24, within_s=30)

    paid = [fact.points for fact in facts_of(settings, log) if isinstance(fact, Ledger)]
    assert paid == [5] * 24
    rows = published(settings, log.topics.facts.name)
    for partition in range(PARTITIONS):
        held, again, facts = folded(settings, partition)
        assert again.digest() == held.digest()
        assert facts == rows[partition]


def test_an_apply_reaches_every_partition_and_is_told_by_a_fact(log: Log, settings: Settings) -> None:
    log.ok("bootstrap")
    file = file_of(log, "better.yaml", **{"points: 5\n": "points: 7\n"})
    # Nobody reads yet: the second number is above one that only waits in the log.
    assert log.ok("programme", "apply", str(file), *PEOPLE, "--holds-from", "+1d").startswith("programme 2 stands")
    with log.worker():
        assert eventually(lambda: {row["programme"] for row in log.partitions()} == {2}, within_s=30)
        assert log.ok("programme", "apply", str(file), *PEOPLE).startswith("programme 3 stands in all 3 partitions")
        assert eventually(lambda: {row["programme"] for row in log.partitions()} == {3}, within_s=30)
        assert log.ok("outreach", "go-live", *PEOPLE).startswith("go_live 1 stands")
        assert eventually(lambda: all(row["live"] for row in log.partitions()), within_s=30)

    told = [fact for fact in facts_of(settings, log) if isinstance(fact, InForce)]
    assert sorted((fact.control, fact.number, fact.partition) for fact in told) == sorted(
        (control, number, partition)
        for control, number in (("programme", 1), ("programme", 2), ("programme", 3), ("go_live", 1))
        for partition in range(PARTITIONS)
    )
    assert {(fact.by, fact.approved_by) for fact in told if fact.number == 3} == {("ana", "ben")}
    assert not any(row["halted"] for row in log.partitions())
    assert log.letters() == []


def test_an_append_that_reached_half_of_the_partitions_is_made_whole(log: Log, settings: Settings) -> None:
    log.ok("bootstrap")
    sign = private_key(settings.keys.folder, settings.keys.staff)
    lost = ProgrammeControl(
        id=SERIES, number=2, by="ana", approved_by="ben", text=default_programme(), holds_from=1 << 50
    )
    asyncio.run(spread(settings, log.topics.actions.name, sealed(lost, sign), {1: 0}))
    file = file_of(log, "again.yaml")
    assert log.ok("programme", "apply", str(file), *PEOPLE).startswith("programme 3 stands in all 3 partitions")
    with log.worker():
        assert eventually(lambda: {row["programme"] for row in log.partitions()} == {3}, within_s=30)


def test_a_key_that_is_not_in_force_is_refused_before_anything_is_written(log: Log, tmp_path: Path) -> None:
    log.ok("bootstrap")
    with log.worker():
        assert eventually(lambda: {row["programme"] for row in log.partitions()} == {1}, within_s=30)
    ends = [row["end"] for row in log.partitions()]
    told = log.refused("programme", "apply", str(file_of(log, "p.yaml")), *PEOPLE, MEMBERFLOW_KEYS__STAFF="workers.pem")
    assert "the key workers is not in force" in told
    assert [row["end"] for row in log.partitions()] == ends


def test_a_name_that_no_partition_could_read_is_refused_before_anything_is_written(log: Log) -> None:
    log.ok("bootstrap")
    people = ("--why", "a test", "--by", "a" * 200, "--approved-by", "ben")
    assert "cannot be read back" in log.refused("programme", "apply", str(file_of(log, "p.yaml")), *people)
    assert [row["end"] for row in log.partitions()] == [1] * PARTITIONS
