"""The oracles see what they are there for: whatever is published that no record of the log brings, or is not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from infra.stack import Stack
from schemas import aggregates
from schemas import facts as fact_codec
from schemas.facts import Late
from tests.e2e.looking_back import Kept
from tests.e2e.memberflow import PARTITIONS, check_in
from tests.e2e.proof import Proof, first_occurrences, same_facts, same_totals

pytestmark = pytest.mark.real
A, B, C = b"a", b"b", b"c"


def test_facts_may_run_ahead_of_the_commit_and_no_further_than_the_log() -> None:
    same_facts(0, [A, B], [A, B], [])
    same_facts(0, [A, B], [A], [B, C])
    for firsts, implied, beyond in (([A], [A, B], []), ([A, B], [A], []), ([A, C], [A], [B, C]), ([C], [A], [])):
        with pytest.raises(AssertionError, match="partition 0"):
            same_facts(0, firsts, implied, beyond)


def test_totals_are_those_of_the_log_no_fewer_and_no_more() -> None:
    same_totals(0, {A, B}, {A, B}, set())
    same_totals(0, {A, B}, {A}, {B, C})
    for totals, implied, beyond in (({A}, {A, B}, {B}), ({A, B}, {A}, set()), ({A, C}, {A}, {B})):
        with pytest.raises(AssertionError, match="partition 0"):
            same_totals(0, totals, implied, beyond)


@pytest.fixture(scope="module")
def log(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """A log with a worker at work, whose partitions all have facts."""
    log = Kept(stack, tmp_path_factory.mktemp("proof"))
    log.ok("topics", "apply")
    log.ok("bootstrap")
    with log.worker():
        now = datetime.now(UTC).isoformat()  # noqa: TID251 - as an app stamps what it sends
        log.send([check_in(number, f"m-{number}", now) for number in range(40)])
        yield log


async def add(log: Kept, topic: str, partition: int, value: bytes) -> None:
    """What a worker that decides wrongly would publish."""
    async with AIOKafkaProducer(bootstrap_servers=log.settings.kafka.bootstrap) as producer:
        await producer.send_and_wait(topic, value, partition=partition)


def test_a_fact_with_a_used_number_is_another_fact() -> None:
    fact = Late(log="l", partition=0, offset=1, index=0, n=1, member_id="m-1", effective_at=0, decided_at=0)
    other = msgspec.structs.replace(fact, offset=2)
    values = [fact_codec.encode(fact), fact_codec.encode(fact)]
    assert first_occurrences(values) == (values[:1], 1)
    with pytest.raises(AssertionError, match="number 1 twice"):
        first_occurrences([*values, fact_codec.encode(other)])


def test_what_nobody_should_have_published_is_found(log: Kept) -> None:
    proof = Proof(log.settings)
    assert asyncio.run(proof.settled())
    told = asyncio.run(proof.holds())
    assert set(told) == set(range(PARTITIONS))
    last = told[0].facts[-1]
    bucket = aggregates.decode(asyncio.run(proof.published(log.topics.aggregates.name))[1][0])
    extra = msgspec.structs.replace(bucket, version=bucket.version + 1, actions=bucket.actions + 1)
    asyncio.run(add(log, log.topics.aggregates.name, 1, aggregates.encode(extra)))
    with pytest.raises(AssertionError, match="partition 1: 1 totals that the log does not imply"):
        asyncio.run(proof.holds())
    forged = msgspec.structs.replace(last, n=last.n + 1, offset=last.offset + 1_000)
    asyncio.run(add(log, log.topics.facts.name, 0, fact_codec.encode(forged)))
    with pytest.raises(AssertionError, match="partition 0: facts that the log does not imply"):
        asyncio.run(proof.holds())
