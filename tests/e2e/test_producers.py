"""Whoever writes into the log, and however: every codec, other partitioners, transactions. Each action counts once."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from aiokafka import AIOKafkaProducer
from kafka import KafkaProducer

from infra.stack import Stack
from schemas.facts import Ledger
from tests.conftest import on_path
from tests.e2e.looking_back import Kept
from tests.e2e.memberflow import check_in
from tests.e2e.proof import Proof, Told

pytestmark = pytest.mark.real
CODECS = (None, "gzip", "snappy", "lz4", "zstd")


@pytest.fixture(scope="module")
def log(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """A log with a worker at work."""
    log = Kept(stack, tmp_path_factory.mktemp("producers"))
    log.ok("topics", "apply")
    log.ok("bootstrap")
    with log.worker():
        yield log


def actions(source: str, count: int) -> list[tuple[bytes, bytes]]:
    """Key and value of check-ins by as many members as one source."""
    now = datetime.now(UTC).isoformat()  # noqa: TID251 - as an app stamps what it sends
    members = [f"{source}-{number}" for number in range(count)]
    return [
        (member.encode(), json.dumps(check_in(number, member, now, source=source)).encode())
        for number, member in enumerate(members)
    ]


def paid(told: dict[int, Told], source: str) -> list[str]:
    """The events of a source that earned something, sorted."""
    facts = [fact for one in told.values() for fact in one.facts]
    return sorted(fact.event_id for fact in facts if isinstance(fact, Ledger) and fact.source == source)


def total(told: dict[int, Told], verdict: str) -> int:
    return sum(one.verdicts.get(verdict, 0) for one in told.values())


async def proven(log: Kept) -> dict[int, Told]:
    """Everything that stands in the log now is committed, and all agree."""
    proof = Proof(log.settings)
    assert await proof.settled()
    return await proof.holds()


@pytest.mark.parametrize("codec", CODECS, ids=str)
async def test_every_compression_codec_is_read(log: Kept, codec: str | None) -> None:
    source, bootstrap = f"codec-{codec}", log.settings.kafka.bootstrap
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, compression_type=codec, linger_ms=50) as producer:
        sent = [await producer.send(log.topics.actions.name, value, key=key) for key, value in actions(source, 60)]
        await asyncio.gather(*sent)
    assert len(paid(await proven(log), source)) == 60


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
async def test_kcat_puts_members_elsewhere_and_they_are_forwarded_and_count_once(log: Kept, codec: str) -> None:
    """librdkafka hashes keys with crc32 unless it is told otherwise: two of three records are strays here."""
    kcat, source = on_path("kcat"), f"kcat-{codec}"
    before = await proven(log)
    lines = b"".join(key + b"\t" + value + b"\n" for key, value in actions(source, 60))
    settings = ["-X", "batch.size=200000", "-X", f"compression.codec={codec}"]
    where = ["-P", "-b", log.settings.kafka.bootstrap, "-t", log.topics.actions.name, "-K", "\t"]
    for _ in range(2):  # and once more, as a sender does that got no answer
        subprocess.run([kcat, *where, *settings], input=lines, check=True, timeout=60, capture_output=True)
    await proven(log)
    told = await proven(log)  # what was forwarded is in the log by now, and committed
    assert len(paid(told, source)) == len(set(paid(told, source))) == 60
    forwarded = total(told, "forwarded") - total(before, "forwarded")
    assert forwarded > 60
    assert total(told, "duplicate") - total(before, "duplicate") == 60


async def test_kcat_told_to_use_murmur2_puts_members_where_they_belong(log: Kept) -> None:
    before = await proven(log)
    lines = b"".join(key + b"\t" + value + b"\n" for key, value in actions("kcat-murmur2", 60))
    where = ["-P", "-b", log.settings.kafka.bootstrap, "-t", log.topics.actions.name, "-K", "\t"]
    told_to = ["-X", "partitioner=murmur2_random"]
    subprocess.run([on_path("kcat"), *where, *told_to], input=lines, check=True, timeout=60, capture_output=True)
    told = await proven(log)
    assert len(paid(told, "kcat-murmur2")) == 60
    assert total(told, "forwarded") == total(before, "forwarded")


async def test_kafka_python_puts_members_where_they_belong(log: Kept) -> None:
    before = await proven(log)
    producer = KafkaProducer(bootstrap_servers=log.settings.kafka.bootstrap, compression_type="gzip")
    try:
        for key, value in actions("kafka-python", 60):
            producer.send(log.topics.actions.name, value, key=key)
        producer.flush(timeout=30)
    finally:
        producer.close()
    told = await proven(log)
    assert len(paid(told, "kafka-python")) == 60
    assert total(told, "forwarded") == total(before, "forwarded")


async def test_what_was_committed_counts_and_what_was_aborted_was_never_there(log: Kept) -> None:
    before = await proven(log)
    settings = log.settings
    async with AIOKafkaProducer(
        bootstrap_servers=settings.kafka.bootstrap, transactional_id=f"{settings.log}-upstream"
    ) as producer:
        for source, well in (("committed", True), ("aborted", False), ("again", True)):
            await producer.begin_transaction()
            for key, value in actions(source, 30):
                await producer.send_and_wait(log.topics.actions.name, value, key=key)
            await (producer.commit_transaction() if well else producer.abort_transaction())
    told = await proven(log)
    assert [len(paid(told, source)) for source in ("committed", "aborted", "again")] == [30, 0, 30]
    # A marker in each partition for each transaction, and the offsets of what was aborted.
    assert total(told, "marker") - total(before, "marker") == 3 * settings.partitions + 30


async def test_a_transaction_that_stays_open_holds_its_partition_until_it_ends(log: Kept) -> None:
    """Its end is not known, so nothing behind it is read; that is why ACLs deny transactions to who can do without."""
    bootstrap, topic = log.settings.kafka.bootstrap, log.topics.actions.name
    async with (
        AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=f"{log.name}-slow") as slow,
        AIOKafkaProducer(bootstrap_servers=bootstrap) as plain,
    ):
        await slow.begin_transaction()
        for source, producer in (("slow", slow), ("behind", plain)):
            for key, value in actions(source, 10):
                await producer.send_and_wait(topic, value, key=key)
        told = await proven(log)  # as far as the log's end as those see it who read what is committed
        assert [paid(told, source) for source in ("slow", "behind")] == [[], []]
        await slow.commit_transaction()
    told = await proven(log)
    assert [len(paid(told, source)) for source in ("slow", "behind")] == [10, 10]
