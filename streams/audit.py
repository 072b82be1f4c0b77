"""Whether three stores that know nothing of each other agree: Redis, the log folded again, ClickHouse's ledger.

Each partition is compared at one committed offset: Redis' image is taken between two commits, the log is folded as
far as that image, and of ClickHouse only the facts up to the image's last number count, so traffic may go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from operator import attrgetter
from time import monotonic
from typing import Any

import msgspec
from msgspec import Struct
from rich.table import Table

from processors.output import Output
from schemas import aggregates
from schemas import member as member_codec
from schemas import partition as partition_codec
from schemas.aggregates import Bucket
from schemas.partition import PartitionState
from schemas.settings import Settings
from schemas.tables import AGGREGATES
from schemas.tables import Table as Declared
from schemas.verdicts import Verdict
from streams.analytics import Reader, Row, Value
from streams.errors import MemberflowError, NoState
from streams.replay import from_log
from streams.store import Dump, StateStore

PATIENCE_S = 30.0
"""How long ClickHouse may take to hold what was committed; its sink is 3 s behind at worst when it is well."""

AT_ONCE = 4
"""Partitions in hand together: while one waits for Kafka or ClickHouse another is folded."""

NAMED_MAX = 3
"""How many members or buckets a difference names; one is enough to begin with."""

Balances = dict[str, tuple[int, ...]]
BALANCES = ("issued", "active", "pending", "spent", "expired", "reversed", "debt")
"""In the state by these names; the ledger's changes in the same order."""
Place = tuple[str, tuple[Any, ...]]  # table, key with its block

LEDGER = """SELECT member_id, sum(points), sum(active), sum(pending), sum(spent), sum(expired), sum(reversed), sum(debt)
FROM facts FINAL
WHERE log = %(log)s AND src_partition = %(partition)s AND n <= %(n)s AND kind = 'ledger' GROUP BY member_id"""
HELD = """SELECT uniqExact(n), max(n) FROM facts
WHERE log = %(log)s AND src_partition = %(partition)s AND n <= %(n)s"""


class Sums(Struct):
    """What one store says of one partition, or of all."""

    members: int = 0
    issued: int = 0
    active: int = 0
    pending: int = 0
    spent: int = 0
    expired: int = 0
    reversed: int = 0
    debt: int = 0
    facts: int = 0
    buckets: int = 0
    bucket_actions: int = 0
    bucket_points: int = 0

    def add(self, other: Sums) -> None:
        """Add another partition's."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class PartitionAudit(Struct):
    """One partition at one offset, by each store."""

    partition: int
    next_offset: int
    verdicts: dict[str, int]
    redis_digest: str = ""
    replay_digest: str = ""
    redis: Sums = msgspec.field(default_factory=Sums)
    replay: Sums = msgspec.field(default_factory=Sums)
    clickhouse: Sums = msgspec.field(default_factory=Sums)
    buckets_moved_on: int = 0  # counted further in ClickHouse already: traffic went on
    differences: list[str] = []


class Audit(Struct):
    """All partitions of a log."""

    log: str
    partitions: list[PartitionAudit] = []

    @property
    def differences(self) -> list[str]:
        """Everything on which two stores differ."""
        return [f"partition {it.partition}: {what}" for it in self.partitions for what in it.differences]

    def total(self, store: str) -> Sums:
        """The sums of `redis`, `replay` or `clickhouse` over all partitions."""
        total = Sums()
        for it in self.partitions:
            total.add(getattr(it, store))
        return total


class Auditor:
    """Compares partition by partition."""

    def __init__(
        self,
        settings: Settings,
        store: StateStore,
        reader: Reader,
        *,
        progress: Callable[[int], None] = lambda count: None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.settings, self.store, self.reader = settings, store, reader
        self.progress, self.patience_s = progress, patience_s

    async def run(self) -> Audit:
        """Every partition of the log."""
        some = asyncio.Semaphore(AT_ONCE)

        async def one(partition: int) -> PartitionAudit:
            async with some:
                return await self.partition(partition)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(partition)) for partition in range(self.settings.partitions)]
        except ExceptionGroup as errors:  # one line tells it; the others say the same
            told = next((error for error in errors.exceptions if isinstance(error, MemberflowError)), errors)
            raise told from None
        return Audit(self.settings.log, [task.result() for task in tasks])

    async def partition(self, partition: int) -> PartitionAudit:
        """One partition: 1 image, 2 replay, 3 ClickHouse."""
        image = await self.store.dump(partition)
        if image is None:
            raise NoState(self.settings.log, partition)
        own = _own(image)
        result = PartitionAudit(partition, image.next_offset, own.verdicts)
        balances = _balances(image)
        result.redis, result.redis_digest = _sums(image, balances), image.digest()
        if (total := sum(own.verdicts.values())) != image.next_offset:
            result.differences.append(f"verdicts of {total} records stand for {image.next_offset} offsets")
        published = await self._replay(result, image, balances)
        await self._clickhouse(result, own, balances, published)
        return result

    async def _replay(self, result: PartitionAudit, image: Dump, balances: Balances) -> dict[Place, Bucket]:
        """Fold the log as far as the image; returns what it published of buckets, the newest of each block."""
        published: dict[Place, Bucket] = {}

        def hear(out: Output) -> None:
            published.update((_place(bucket), bucket) for bucket in out.buckets)

        replay = await from_log(
            self.settings, image.identity, result.partition, image.next_offset, hear=hear, progress=self.progress
        )
        again = await replay.dump()
        ours = _balances(again)
        result.replay, result.replay_digest = _sums(again, ours), again.digest()
        result.differences += _unlike("Redis", balances, "the replay", ours)
        if result.replay_digest != result.redis_digest:
            result.differences.append(f"Redis is not what the log leads to: {'; '.join(_unlike_images(image, again))}")
        everything = dict(published) | {_place(it): it for it in _current(again)}
        days = [bucket for bucket in everything.values() if bucket.kind == "day"]
        for name, counted, known in (
            ("actions", sum(it.actions for it in days), _own(again).verdicts.get(Verdict.APPLIED, 0)),
            ("points", sum(it.points for it in days), result.replay.issued),
        ):
            if counted != known:
                result.differences.append(f"day buckets hold {counted} {name}, members {known}")
        return published

    async def _clickhouse(
        self, result: PartitionAudit, own: PartitionState, balances: Balances, published: dict[Place, Bucket]
    ) -> None:
        """Wait until the facts are there, then sum them; wait until the buckets are, then compare them."""
        asked: dict[str, Value] = {"log": self.settings.log, "partition": result.partition, "n": own.n}
        deadline = monotonic() + self.patience_s

        async def ask(sql: str) -> list[Row]:
            return await asyncio.to_thread(self.reader.query, sql, asked)

        held = (await ask(HELD))[0][0]
        while held != own.n and monotonic() < deadline:
            await asyncio.sleep(0.2)
            held = (await ask(HELD))[0][0]
        if held != own.n:
            result.differences.append(f"ClickHouse holds {held} of {own.n} facts")
        sums = {str(member): tuple(map(int, row)) for member, *row in await ask(LEDGER)}
        result.differences += _unlike("Redis", balances, "ClickHouse's ledger", sums)
        for at, name in enumerate(BALANCES):
            setattr(result.clickhouse, name, sum(row[at] for row in sums.values()))
        result.clickhouse.members, result.clickhouse.facts = len(sums), held
        while True:
            rows = [(table, await ask(_totals_sql(table))) for table in AGGREGATES.values()]
            wrong = _compare_buckets(result, published, own.published_offset, rows)
            if not wrong or monotonic() > deadline:
                break
            await asyncio.sleep(0.2)
        result.differences += wrong


def _own(image: Dump) -> PartitionState:
    return partition_codec.decode(image.partition_state) if image.partition_state else PartitionState()


def _balances(image: Dump) -> Balances:
    """Every balance of every member."""
    states = ((member, member_codec.decode(raw)) for member, raw in image.states.items())
    return {member: tuple(getattr(state, name) for name in BALANCES) for member, state in states}


def _sums(image: Dump, balances: Balances) -> Sums:
    sums = {name: sum(row[at] for row in balances.values()) for at, name in enumerate(BALANCES)}
    return Sums(members=len(balances), facts=_own(image).n, **sums)


def _current(image: Dump) -> list[Bucket]:
    """The buckets of the block at hand, published or not."""
    own, found = _own(image), []
    for name, raw in image.buckets.items():
        key, totals = aggregates.decode_key(name), aggregates.decode_totals(raw)
        fields: dict[str, Any] = msgspec.structs.asdict(key) | msgspec.structs.asdict(totals)
        found.append(Bucket(log=own.log, partition=0, block=own.block, **fields))
    return found


def _unlike(one: str, ours: Balances, other: str, theirs: Balances) -> list[str]:
    """Members whose points differ between two stores; one without any entry has none."""
    none = (0,) * len(BALANCES)
    wrong = [m for m in sorted(ours.keys() | theirs.keys()) if ours.get(m, none) != theirs.get(m, none)]
    if not wrong:
        return []
    first = wrong[0]
    told = f"{first}: {one} has {ours.get(first, none)}, {other} {theirs.get(first, none)} ({', '.join(BALANCES)})"
    return [f"points of {len(wrong)} members differ, {told}"]


def _unlike_images(image: Dump, again: Dump) -> list[str]:
    """Which parts of two images differ, with a few names."""
    found = []
    for part in ("states", "timers", "buckets", "pages"):
        ours: Mapping[str, Any] = getattr(image, part)
        theirs: Mapping[str, Any] = getattr(again, part)
        names = [name for name in sorted(ours.keys() | theirs.keys()) if ours.get(name) != theirs.get(name)]
        if names:
            found.append(f"{len(names)} {part} ({', '.join(names[:NAMED_MAX])})")
    if image.partition_state != again.partition_state:
        mine, its = msgspec.structs.asdict(_own(image)), msgspec.structs.asdict(_own(again))
        found.append(f"the partition's own state ({', '.join(name for name in mine if mine[name] != its[name])})")
    return found


# -- buckets ------------------------------------------------------------------------------------------------------


def _keys(table: Declared) -> list[str]:
    return [name for name in table.key if name not in ("log", "src_partition")]


def _summed(table: Declared) -> list[str]:
    return [name for name in table.names if name not in (*table.key, "version", "topic_offset")]


def _totals_sql(table: Declared) -> str:
    keys, sums = ", ".join(_keys(table)), ", ".join(f"argMax({name}, version)" for name in _summed(table))
    where = "log = %(log)s AND src_partition = %(partition)s"
    return f"SELECT {keys}, max(version), {sums} FROM {table.name} WHERE {where} GROUP BY {keys}"


def _key_of(table: Declared) -> Callable[[Bucket], tuple[Any, ...]]:
    """What reads a bucket's key as the table has it."""
    fields = {column.name: column.field for column in table.columns}
    return attrgetter(*(fields[name] for name in _keys(table)))


_KEY_OF = {kind: (table.name, _key_of(table)) for kind, table in AGGREGATES.items()}


def _place(bucket: Bucket) -> Place:
    """The row of ClickHouse that a bucket is."""
    name, key = _KEY_OF[bucket.kind]
    return name, key(bucket)


def _compare_buckets(
    result: PartitionAudit, published: dict[Place, Bucket], offset: int, rows: list[tuple[Declared, list[Row]]]
) -> list[str]:
    """Every bucket the replay published stands in ClickHouse with its totals, or has moved on since."""
    left, wrong = dict(published), []
    result.buckets_moved_on = 0
    ours, theirs = Sums(), Sums()
    for table, found in rows:
        keys, sums = len(_keys(table)), _summed(table)
        for row in found:
            place, version, totals = (table.name, row[:keys]), row[keys], row[keys + 1 :]
            bucket = left.pop(place, None)
            if version > offset:
                result.buckets_moved_on += 1
            elif bucket is None or (version, *totals) != (bucket.version, *(getattr(bucket, name) for name in sums)):
                wrong.append(f"{table.name} {place[1]}")
            elif bucket is not None:
                _count(ours, bucket.kind, bucket.actions, bucket.points)
                _count(theirs, bucket.kind, *totals[:2])
    wrong += [f"{name} {key} is missing" for name, key in left]
    for store, counted in ((result.replay, ours), (result.clickhouse, theirs)):
        store.buckets, store.bucket_actions = counted.buckets, counted.bucket_actions
        store.bucket_points = counted.bucket_points
    return [f"{len(wrong)} buckets differ in ClickHouse: {', '.join(wrong[:NAMED_MAX])}"] if wrong else []


def _count(sums: Sums, kind: str, actions: int, points: int = 0) -> None:
    """Each bucket once; actions and points of the days alone, or they would count twice."""
    sums.buckets += 1
    if kind == "day":
        sums.bucket_actions += actions
        sums.bucket_points += points


# -- shown --------------------------------------------------------------------------------------------------------

ROWS = (
    ("members", "members", "with points"),
    ("points issued", "issued", ""),
    ("points active", "active", ""),
    ("points pending", "pending", ""),
    ("points spent", "spent", ""),
    ("points expired", "expired", ""),
    ("points reversed", "reversed", ""),
    ("points of debt", "debt", ""),
    ("facts", "facts", ""),
    ("buckets compared", "buckets", ""),
    ("actions in day buckets", "bucket_actions", ""),
    ("points in day buckets", "bucket_points", ""),
)
IN_REDIS = {"members", "facts", *BALANCES}


def tables(audit: Audit) -> tuple[Table, Table]:
    """Totals side by side, and where each partition stands."""
    redis, replay, clickhouse = (audit.total(store) for store in ("redis", "replay", "clickhouse"))
    totals = Table("total", "Redis", "log replayed", "ClickHouse", title=f"log {audit.log}", title_justify="left")
    for label, name, note in ROWS:
        cells = [f"{getattr(sums, name):,}" for sums in (redis, replay, clickhouse)]
        cells[0] = cells[0] if name in IN_REDIS else ""
        cells[2] += f" {note}" if note else ""
        totals.add_row(label, *cells)
    for column in totals.columns[1:]:
        column.justify = "right"
    each = Table("partition", "offset", "facts", "members", "digest in Redis", "digest replayed", "")
    for it in audit.partitions:
        told = "equal" if not it.differences else "; ".join(it.differences)
        numbers = (it.partition, it.next_offset, it.redis.facts, it.redis.members)
        each.add_row(*map(str, numbers), it.redis_digest[:12], it.replay_digest[:12], told)
    return totals, each
