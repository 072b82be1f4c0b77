"""State that is lost under load, and facts and aggregates whose topics are gone, come back byte for byte.

Seed of the traffic: 5.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.stack import Stack
from schemas import facts
from streams.store import Dump, key
from streams.topics import admin
from tests.e2e.looking_back import Kept, flush
from tests.e2e.memberflow import COMMAND, PARTITIONS
from tests.e2e.proof import Proof
from tests.polling import eventually

pytestmark = pytest.mark.real
ACTIONS = 21_000  # more than one longest chunk in each partition, so that a rebuild has something to fold


def actions(count: int, first: int = 0) -> str:
    """Lines of traffic now, from 300 members with habits of their own."""
    pick = random.Random(5 + first)
    lines = []
    for number in range(first, first + count):
        member = f"m-{int(300 * pick.random() ** 2)}"
        kind: dict[str, object] = pick.choice(
            [{"action": "check_in"}, {"action": "message", "kind": "chat"}, purchase(number, pick)]
        )
        head = {"event_id": f"e-{number}", "source": "app", "member_id": member, "region": pick.choice("ab")}
        lines.append(json.dumps(kind | head | {"occurred_at": "2026-11-20T10:00:00+08:00"}))
    return "\n".join(lines) + "\n"


def purchase(number: int, pick: random.Random) -> dict[str, object]:
    return {"action": "purchase", "order_id": f"o-{number}", "amount": pick.randint(1, 90_000), "currency": "CNY"}


class Lived:
    """A log under load, and what may be asked of it."""

    def __init__(self, log: Kept) -> None:
        self.log = log

    def halted(self) -> dict[int, str]:
        return asyncio.run(self._halted())

    async def _halted(self) -> dict[int, str]:
        store = self.log.store()
        try:
            return await store.halted(range(PARTITIONS))
        finally:
            await store.close()

    def images(self) -> list[Dump]:
        return asyncio.run(self.log.images())

    def caught_up(self, least: int) -> bool:
        """Everything is committed but perhaps the newest ticks; something has been."""
        rows = self.log.partitions()
        return all(row["lag"] <= 3 for row in rows) and sum(row["next_offset"] for row in rows) >= least

    @contextmanager
    def sending(self, text: str) -> Iterator[None]:
        """A sender beside us; what it sends is in the log when the block has ended."""
        path = self.log.folder / "traffic.jsonl"
        path.write_text(text)
        process = subprocess.Popen(
            [str(COMMAND), "send", str(path)], env=self.log.env, cwd=self.log.folder, stdout=subprocess.DEVNULL
        )
        try:
            yield
            assert process.wait(120) == 0
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    def audit(self) -> str:
        return self.log.patiently("audit")


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    folder = tmp_path_factory.mktemp("rebuild")
    with Stack(folder / "stack") as stack:  # of its own: all of its Redis is flushed
        log = Kept(stack, folder)
        log.ok("bootstrap")
        with log.sink():
            yield Lived(log)


def test_everything_lost_under_load_is_rebuilt_to_the_same_bytes(lived: Lived, tmp_path: Path) -> None:
    log = lived.log
    with log.worker() as worker:
        with lived.sending(actions(ACTIONS)):
            assert eventually(lambda: sum_of(lived) > 2_000, within_s=60)
            flush(log.env["MEMBERFLOW_REDIS__URL"])
            assert eventually(lambda: len(lived.halted()) == PARTITIONS, within_s=60), worker.log.read_text()
        assert all("state lost" in reason for reason in lived.halted().values())
        assert "has no state" in log.refused("partition", "list")
        rebuilt = log.patiently("rebuild")
        assert rebuilt.count("digest") == PARTITIONS
        assert lived.halted() == {}
        assert eventually(lambda: lived.caught_up(ACTIONS), within_s=120), worker.log.read_text()
    assert "equal: Redis, the log replayed, and ClickHouse" in lived.audit()


def sum_of(lived: Lived) -> int:
    return sum(row["next_offset"] for row in lived.log.partitions())


def test_a_rebuild_stops_a_chunk_below_the_newest_fact_and_begins_with_a_snapshot(lived: Lived, tmp_path: Path) -> None:
    log = lived.log
    before = lived.images()
    said = log.patiently("rebuild", "--replace")
    for image, rebuilt in zip(before, lived.images(), strict=True):
        assert 0 < rebuilt.next_offset <= image.next_offset - 5_000
        assert f"stands at {rebuilt.next_offset}, folded from 0" in said
        assert rebuilt.digest() in said
    with log.worker():
        assert eventually(lambda: lived.caught_up(ACTIONS), within_s=120)
    taken = log.patiently("snapshot", str(tmp_path))
    images = lived.images()
    assert all(image.digest() in taken for image in images)
    flush(log.env["MEMBERFLOW_REDIS__URL"])
    said = log.patiently("rebuild", "--from", str(tmp_path))
    assert [image.digest() for image in lived.images()] == [image.digest() for image in images]
    assert all(f"folded from {image.next_offset}" in said for image in images)
    assert "equal: Redis, the log replayed, and ClickHouse" in lived.audit()


def test_facts_and_aggregates_that_are_lost_are_published_again_byte_for_byte(lived: Lived) -> None:
    log = lived.log
    lost = [log.topics.facts.name, log.topics.aggregates.name]
    before = [values(log, topic) for topic in lost]
    with admin(log.settings.kafka.bootstrap) as client:
        client.delete_topics(lost)
        assert eventually(lambda: not {*lost} & {*client.list_topics()}, within_s=30)
    log.ok("topics", "apply")
    assert log.patiently("rebuild", "--replace").count("stands at 0,") == PARTITIONS
    with log.worker():
        assert eventually(lambda: lived.caught_up(ACTIONS), within_s=120)
    for topic, held in zip(lost, before, strict=True):
        assert held
        assert not held - values(log, topic), f"{topic}: some are not what they were"
    numbered = {(partition, facts.decode(value).n) for partition, value in values(log, lost[0])}
    assert len(numbered) == len(values(log, lost[0])), "two facts of one number"
    assert "equal: Redis, the log replayed, and ClickHouse" in lived.audit()


def values(log: Kept, topic: str) -> set[tuple[int, bytes]]:
    """What a topic holds, by partition, each once."""
    found = asyncio.run(Proof(log.settings).published(topic))
    return {(partition, value) for partition, all_of_it in found.items() for value in all_of_it}


def test_an_audit_names_the_member_whose_state_was_changed(lived: Lived) -> None:
    log = lived.log
    (image, *_) = lived.images()
    member = max(image.states, key=lambda name: len(image.states[name]))
    other = next(name for name in image.states if name != member)
    asyncio.run(overwrite(log, member, image.states[other]))
    refused = log.refused("audit", "--patience", "1", code=3)
    assert f"points of 1 members differ, {member}: Redis has" in refused
    told = json.loads(log.run("audit", "--json", "--patience", "1").stdout)
    assert any(f"1 states ({member})" in line for line in told["differences"])
    assert told["replay"]["issued"] == told["clickhouse"]["issued"] != told["redis"]["issued"]
    with log.worker():
        log.patiently("rebuild", "0", "--replace")
        assert eventually(lambda: lived.caught_up(ACTIONS), within_s=120)
    assert "equal: Redis, the log replayed, and ClickHouse" in lived.audit()


async def overwrite(log: Kept, member: str, state: bytes) -> None:
    import redis.asyncio as redis

    async with redis.Redis.from_url(log.env["MEMBERFLOW_REDIS__URL"]) as client:
        await client.hset(key(log.name, 0, "states"), member, state)


def test_partitions_that_are_well_are_not_rebuilt_by_mistake(lived: Lived, tmp_path: Path) -> None:
    told = lived.log.refused("rebuild")
    assert "partitions 0, 1, 2 have state and are not halted; nothing was changed; name what is lost (`" in told
    assert "there is no partition 7" in lived.log.refused("rebuild", "7")
    assert "holds no snapshot of partition 0" in lived.log.refused("rebuild", "--replace", "--from", str(tmp_path))
    assert lived.halted() == {}, "what was well goes on"
