"""Facts and buckets as they lie on their topics, made up by number, for tests of what stores them."""

from __future__ import annotations

import random
from collections.abc import Iterable

from schemas import aggregates, facts
from schemas.aggregates import Bucket
from schemas.facts import Fact, Ledger
from schemas.tables import AGGREGATES, FACTS, month_of
from streams.analytics import Blocks

JANUARY = 1_767_225_600_000  # 2026-01-01T00:00:00Z
HOUR = 3_600_000


def ledger(log: str, partition: int, n: int, *, at: int | None = None, points: int = 5) -> Ledger:
    """The n-th fact of a partition: of the action at offset n + 1, which earned points."""
    rnd = random.Random(f"{log}/{partition}/{n}")
    return Ledger(
        log=log,
        partition=partition,
        offset=n + 1,
        index=0,
        n=n,
        member_id=f"M{rnd.randrange(1_000):04}",
        effective_at=JANUARY + n * 1_000 if at is None else at,
        decided_at=JANUARY + n * 1_000 + 100,
        programme=1,
        rules=1,
        source="app",
        event_id=f"e-{partition}-{n}",
        action=rnd.choice(["message", "check_in", "purchase"]),
        region=rnd.choice(["east", "west"]),
        group_id=f"G{rnd.randrange(20):02}",
        rule="message",
        entry="earned",
        points=points,
        active=points,
        month=24_312,
        base=points,
        because=f"message {points} x 1 = {points}",
        score=1_000 + n % 7,
        activity_index=n % 100,
    )


def facts_of(log: str, partition: int, count: int, *, first: int = 1) -> list[bytes]:
    """Facts first .. first + count - 1 of a partition, as published."""
    return [facts.encode(ledger(log, partition, n)) for n in range(first, first + count)]


def day_bucket(log: str, partition: int, block: int, version: int, *, actions: int, day: int = 20_454) -> bytes:
    """A day's bucket of one block, as published."""
    return aggregates.encode(
        Bucket(
            log=log,
            partition=partition,
            block=block,
            version=version,
            kind="day",
            at=day,
            region="east",
            group_id="G1",
            action="message",
            actions=actions,
            points=2 * actions,
            spend=3 * actions,
        )
    )


def blocks_of(messages: Iterable[bytes], *, first_offset: int = 0) -> Blocks:
    """Messages as the sink would sort them for an insert."""
    blocks = Blocks()
    for offset, message in enumerate(messages, first_offset):
        if b'"effective_at"' in message:
            fact: Fact = facts.decode(message)
            blocks.add(FACTS, month_of(fact.effective_at), offset, message)
        else:
            blocks.add(AGGREGATES[aggregates.decode(message).kind], 0, offset, message)
    return blocks
