"""The same totals from three stores, each asked alone: members' states in Redis, the facts topic, SQL.

All three are cut at the same place: the number of the last fact that Redis holds as committed, per partition. What
follows that number is under way, and may be in one store and not yet in another.
"""

from __future__ import annotations

import time
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import redis
from aiokafka import AIOKafkaConsumer, TopicPartition
from rich.table import Table

from infra.process import StackError
from schemas import member, partition
from schemas.programme import TIERS
from schemas.settings import Settings
from schemas.topics import topics

PATIENCE_S = 20.0
BROUGHT = "spend.brought"
# Not among them: ticks, control records, markers; a stray counts where it was judged, not where it was forwarded.
OF_SENDERS = ("applied", "duplicate", "conflict", "late", "dead_letter")
Cut = Mapping[int, int]
"""The number of the last fact that counts, per partition."""


class Totals(NamedTuple):
    """What must be equal in all stores; money in minor units, `held` = members per warning tier."""

    facts: int
    issued: int
    active: int
    pending: int
    spend: int
    held: Mapping[str, int]


class FactRead(msgspec.Struct):
    """The little of a fact that totals need."""

    kind: str
    n: int
    points: int = 0
    active: int = 0
    pending: int = 0
    spend: int = 0
    tier: str = ""


STEP = {"tier.entered": 1, "tier.left": -1, "tier.voided": -1}
read = msgspec.json.Decoder(FactRead).decode


def of_states(settings: Settings) -> tuple[Totals, Cut]:
    """Sums over every member's state, and the cut. A partition is read in one transaction, so between two commits."""
    cut: dict[int, int] = {}
    sums: Counter[str] = Counter()
    held: Counter[str] = Counter()
    with redis.Redis.from_url(settings.redis.url) as client:
        for number in range(settings.partitions):
            prefix = f"{{{settings.log}:{number}}}"
            with client.pipeline(transaction=True) as asked:
                asked.hget(f"{prefix}:header", "state")
                asked.hvals(f"{prefix}:states")
                own, states = asked.execute()
            cut[number] = partition.decode(own).n if own else 0
            for state in map(member.decode, states):
                sums.update(issued=state.issued, active=state.active, pending=state.pending)
                sums["spend"] += sum(amount for _, amount in member.SPEND.iter_unpack(state.spend))
                held.update(TIERS[code - 1] for code in member.tier_codes(state))
    return _totals(sum(cut.values()), sums, held), cut


def judged(settings: Settings) -> int:
    """How many records of senders the partitions have judged, by the states' own account."""
    with redis.Redis.from_url(settings.redis.url) as client:
        owns = [client.hget(f"{{{settings.log}:{n}}}:header", "state") for n in range(settings.partitions)]
    verdicts = [partition.decode(own).verdicts for own in owns if own]
    return sum(counts.get(verdict, 0) for counts in verdicts for verdict in OF_SENDERS)


async def of_topic(settings: Settings, cut: Cut) -> Totals:
    """Sums over the facts as they stand in the topic, each number once."""
    name = topics(settings.log, partitions=settings.partitions).facts.name
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka.bootstrap,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_partition_fetch_bytes=4 * 1024 * 1024,
    )
    facts = Facts(cut)
    await consumer.start()
    try:
        consumer.assign([TopicPartition(name, number) for number in cut])
        deadline = time.monotonic() + PATIENCE_S
        while not facts.is_complete and time.monotonic() < deadline:
            for at, records in (await consumer.getmany(timeout_ms=200)).items():
                for record in records:
                    facts.add(at.partition, read(record.value))
    finally:
        await consumer.stop()
    return facts.totals()


class Facts:
    """Facts added up as they are read: a number that was seen (published twice) or lies behind the cut is not."""

    def __init__(self, cut: Cut) -> None:
        self._cut = cut
        self._seen = dict.fromkeys(cut, 0)
        self._sums: Counter[str] = Counter()
        self._held: Counter[str] = Counter()

    @property
    def is_complete(self) -> bool:
        """Whether every partition was read up to the cut."""
        return self._seen == self._cut

    def add(self, number: int, fact: FactRead) -> None:
        """One fact of a partition, in the order of the topic."""
        if not self._seen[number] < fact.n <= self._cut[number]:
            return
        self._seen[number] = fact.n
        self._sums["facts"] += 1
        if fact.kind == "ledger":  # other facts name points that they do not change
            self._sums.update(issued=fact.points, active=fact.active, pending=fact.pending, spend=fact.spend)
        elif fact.kind == BROUGHT:
            self._sums.update(spend=fact.spend)
        if step := STEP.get(fact.kind):
            self._held[fact.tier] += step

    def totals(self) -> Totals:
        """What was added."""
        return _totals(self._sums["facts"], self._sums, self._held)


def of_tables(settings: Settings, cut: Cut) -> Totals:
    """Sums by SQL, when the tables have got as far as the cut."""
    within = " OR ".join(f"(src_partition = {number} AND n <= {last})" for number, last in cut.items())
    where = f"log = '{settings.log}' AND ({within})"
    deadline = time.monotonic() + PATIENCE_S
    wanted = sum(cut.values())
    while (held := int(_ask(settings, f"SELECT count() FROM facts_now WHERE {where}")[0][0])) < wanted:
        if time.monotonic() > deadline:
            break
        time.sleep(0.2)
    columns = ("points", "active", "pending", "spend")
    summed = ", ".join(f"sum({column})" for column in columns)
    kinds = f"kind IN ('ledger', '{BROUGHT}')"
    row = _ask(settings, f"SELECT {summed} FROM facts_now WHERE {where} AND {kinds}")[0]
    sums = Counter(dict(zip(("issued", *columns[1:]), map(int, row), strict=True)))
    step = "multiIf(kind = 'tier.entered', 1, kind IN ('tier.left', 'tier.voided'), -1, 0)"
    tiers = _ask(settings, f"SELECT tier, sum({step}) FROM facts_now WHERE {where} AND tier != '' GROUP BY tier")
    return _totals(held, sums, Counter({str(tier): int(count) for tier, count in tiers}))


def _totals(facts: int, sums: Mapping[str, int], held: Mapping[str, int]) -> Totals:
    issued, active, pending, spend = (sums.get(name, 0) for name in ("issued", "active", "pending", "spend"))
    return Totals(facts, issued, active, pending, spend, {tier: held[tier] for tier in TIERS if held.get(tier)})


def _ask(settings: Settings, sql: str) -> list[Sequence[Any]]:
    """Rows of a SELECT, asked of whoever answers SQL for this log."""
    own = settings.clickhouse
    options = urllib.parse.urlencode({"database": own.database, "default_format": "JSONCompact"})
    try:
        address = f"http://{own.http_host}:{own.http_port}/?{options}"
        with urllib.request.urlopen(address, data=sql.encode(), timeout=30) as answer:
            rows: list[Sequence[Any]] = msgspec.json.decode(answer.read())["data"]
            return rows
    except (OSError, ValueError, KeyError) as error:
        raise StackError(f"no answer to SQL at {own.http_host}:{own.http_port} ({error})") from None


def differences(found: Mapping[str, Totals]) -> list[str]:
    """What is not equal in all stores, in words."""
    told = []
    for what, values in lines(found):
        if len(set(values)) > 1:
            each = ", ".join(f"{store} {value}" for store, value in zip(found, values, strict=True))
            told.append(f"{what}: {each}")
    return told


def lines(found: Mapping[str, Totals]) -> list[tuple[str, list[int]]]:
    """Every total with its value in each store."""
    stores = list(found.values())
    plain = [
        ("facts", [it.facts for it in stores]),
        ("points issued", [it.issued for it in stores]),
        ("points active", [it.active for it in stores]),
        ("points pending", [it.pending for it in stores]),
        ("spend (fen)", [it.spend for it in stores]),
    ]
    tiers = [tier for tier in TIERS if any(it.held.get(tier) for it in stores)]
    return plain + [(f"members in {tier}", [it.held.get(tier, 0) for it in stores]) for tier in tiers]


def shown(found: Mapping[str, Totals]) -> Table:
    """The stores side by side."""
    table = Table(title="Totals, each from its own store alone", title_justify="left")
    table.add_column("")
    for store in found:
        table.add_column(store, justify="right")
    table.add_column("")
    for what, values in lines(found):
        table.add_row(what, *(f"{value:,}" for value in values), "equal" if len(set(values)) == 1 else "DIFFERENT")
    return table
