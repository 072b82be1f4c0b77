"""Recorded actions of one log into ClickHouse, so that they can be replayed when Kafka has them no more.

Each row names the record read before it (`previous`), also over a restart: by that chain a reader sees what was lost.
Facts come first: a block goes in only while the sink has none that is due. Storing a record again is always right.
Not guaranteed: that actions are here as soon as their facts are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import msgspec
from aiokafka.structs import ConsumerRecord, TopicPartition
from msgspec import Struct

from processors.output import RecordLike
from processors.partition import headers_of
from schemas.records import Record
from schemas.tables import ACTIONS, month_of
from schemas.topics import topics
from streams.analytics import AnalyticsStore
from streams.landing import Landing, LandingMetrics, Load, Mark, Place, Source, log
from streams.sink_start import Start, highest
from streams.watchdog import WATCHDOG_SECONDS

NOTHING_BEFORE, UNKNOWN = -1, -2
"""In place of the offset before: the log begins with this record; nobody knows."""

# Nobody waits for a recorded action: fewer and larger parts are worth more.
FLUSH_S = 5.0
# While a block goes in, due facts wait: this many take less than 0.1 s.
BLOCK_ROWS = 10_000
BLOCK_BYTES = 16 << 20
LOOK_S = 0.02
"""Between two looks at whether facts are due."""

LATEST_MS = 4_102_444_800_000
"""2100: a time that an importer made up must not make a month that ClickHouse has not."""


class ArchiveMetrics(LandingMetrics, Protocol):
    """What landing recorded actions tells about itself."""

    def archived(self, partition: int, behind: int) -> None:
        """How many recorded actions of a partition are not stored yet."""
        ...

    def archive_let_go(self) -> None:
        """The partitions are somebody else's."""
        ...


class Head(Struct, omit_defaults=True):
    """What the columns of a recorded action are read from, beside its value."""

    log: str
    partition: int
    previous: int
    stamped_at: int
    key: str = ""
    extra: str = ""


class Extra(Struct, omit_defaults=True):
    """What columns cannot hold of a record: headers, a key that is absent or no text, an absent value."""

    headers: tuple[tuple[str, bytes], ...] = ()
    key: bytes | None = b""  # in place of the column where it is not b""
    no_value: bool = False


PLAIN = Extra()
_encode = msgspec.json.Encoder().encode
_extra = msgspec.json.Decoder(Extra).decode


def head_of(log: str, partition: int, previous: int, record: RecordLike) -> bytes:
    """A record's row but for its offset and its value."""
    key, odd = "", b""
    try:
        key = (record.key or b"").decode()
    except UnicodeDecodeError:
        odd = record.key or b""
    told = Extra(headers_of(record), None if record.key is None else odd, record.value is None)
    extra = "" if told == PLAIN else _encode(told).decode()
    return _encode(Head(log, partition, previous, record.timestamp, key, extra))


def record_of(offset: int, stamped_at: int, key: str, extra: str, body: bytes) -> Record:
    """The record that a row was made of."""
    told = _extra(extra) if extra else PLAIN
    own_key = key.encode() if told.key == b"" else told.key
    return Record(offset, stamped_at, own_key, None if told.no_value else body, told.headers)


def group_of(log: str) -> str:
    """The consumer group of whoever lands a log's actions."""
    return f"archive-{log}"


class Archive(Landing):
    """One process' share of a log's recorded actions. `busy` tells while facts are due."""

    name = "archive"
    fetch_records = 500  # facts wait while what was fetched is taken

    def __init__(
        self,
        source: Source,
        store: AnalyticsStore,
        *,
        busy: Callable[[], bool] = lambda: False,
        metrics: ArchiveMetrics | None = None,
        crash: Callable[[str], None] = lambda _: None,
        watchdog_s: float = WATCHDOG_SECONDS,
    ) -> None:
        self.topics = (topics(source.log).actions.name,)
        self._load = Load()
        self._bytes = 0
        self._busy = busy
        self._waits = False
        self._metrics = metrics
        group = group_of(source.log)
        super().__init__(source, store, group=group, metrics=metrics, crash=crash, watchdog_s=watchdog_s)

    def _begin(self, at: TopicPartition, start: Start) -> None:
        """The chain goes on where the next record is the one after what was committed."""
        if start.next_offset == 0:
            start.seen.row = NOTHING_BEFORE
        elif not start.follows:
            start.seen.row = UNKNOWN
            log.warning("archive does not know what came before", partition=at.partition, offset=start.next_offset)
        super()._begin(at, start)

    def _take(self, at: TopicPartition, place: Place, records: Sequence[ConsumerRecord]) -> None:
        load = self._load
        if load.since is None:
            load.since = asyncio.get_running_loop().time()
        for record in records:
            month = month_of(min(max(0, record.timestamp), LATEST_MS))
            head = head_of(self._source.log, at.partition, place.seen.row, record)
            load.blocks.add(ACTIONS, month, record.offset, record.value or b"", head)
            self._bytes += len(record.value or b"") + len(head)
            place.seen.row, place.next_offset = record.offset, record.offset + 1
        place.timestamp = records[-1].timestamp
        load.marks[at] = Mark(place.next_offset, place.seen.encode(), place.timestamp)
        self._tell(at, place.stored)

    # -- what is in hand ---------------------------------------------------------------

    def _loads(self) -> Iterable[Load]:
        return (self._load,)

    def _forget(self) -> None:
        self._load, self._bytes = Load(), 0

    def _due(self) -> bool:
        return self._full() or self._waited(self._load) >= FLUSH_S

    def _full(self) -> bool:
        return self._in_hand() >= BLOCK_ROWS or self._bytes >= BLOCK_BYTES

    def _hand_over(self) -> tuple[Load, ...]:
        load = self._load
        self._forget()
        return (load,)

    async def _turn_to_put(self) -> None:
        self._waits = True
        while self._busy():
            await asyncio.sleep(LOOK_S)
        self._waits = False

    def _may_stand_still(self) -> dict[TopicPartition, bool]:
        held = super()._may_stand_still()
        return dict.fromkeys(held, True) if self._waits else held

    def _highest(self) -> Mapping[str, Mapping[int, int]]:
        return {self.topics[0]: highest(self._store, ACTIONS.name, self._source.log)}

    # -- telling ----------------------------------------------------------------------

    def _tell(self, at: TopicPartition, next_offset: int) -> None:
        if self._metrics is not None:
            self._metrics.archived(at.partition, self._behind(at, next_offset))

    def _tell_stored(self, marks: Mapping[TopicPartition, Mark]) -> None:
        super()._tell_stored(marks)
        for at, mark in marks.items():
            self._tell(at, mark.next_offset)

    def _tell_let_go(self) -> None:
        if self._metrics is not None:
            self._metrics.archive_let_go()
