"""Boards that are final: their places on `member.boards`, and before them an award into each winner's partition.

A board whose places are all on the topic is done: it is never made again. Dying between the awards and the places
repeats the awards, with the same content, which is their identity: at the member a repeat changes nothing.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from processors.boards import Bounds
from processors.partitioner import partition_of
from processors.ranking import Place
from processors.signature import seal
from schemas import boards as codec
from schemas.boards import BoardKey, BoardPlace
from schemas.records import Award, SignedDerived
from schemas.settings import Settings
from schemas.topics import topics
from streams.clients import stop_producer
from streams.errors import BrokerUnavailable
from streams.keys import Key
from streams.log_reader import LogReader

log = structlog.get_logger()

ACK_S = 30.0
TOGETHER = 200
"""Boards that are made final at a time: their records are acknowledged together."""

Final = tuple[BoardKey, Sequence[Place]]


class Finals:
    """Which boards are final, and the one way to make one final."""

    def __init__(self, settings: Settings, sign: Key, metrics: Any, fail: Callable[[str], None]) -> None:
        self.settings, self.sign, self.metrics, self._fail = settings, sign, metrics, fail
        self.names = topics(settings.log, partitions=settings.partitions)
        self._known: dict[BoardKey, tuple[int, set[int]]] = {}  # how many places it has, and a crc of each one read

    async def load(self) -> None:
        """Read what is final already. Raises `BrokerUnavailable`."""
        self._known.clear()
        async with LogReader(self.settings.kafka.bootstrap, self.names.boards.name) as reader:
            spans = await reader.all_bounds(range(self.settings.partitions))
            async for records in reader.read_all(spans):
                for record in records:
                    place = codec.decode(record.value)
                    self._known.setdefault(place.key, (place.ranked, set()))[1].add(zlib.crc32(record.value))

    def is_known(self, key: BoardKey) -> bool:
        """Whether every place of a board is on the topic."""
        found = self._known.get(key)
        return found is not None and len(found[1]) >= found[0]

    async def settle(self, boards: Iterable[Final], bounds: Bounds, awarded: int) -> None:
        """Make boards of one week or month final: those that are known stay as they are.

        1 the awards, 2 the places. Raises `BrokerUnavailable`.
        """
        rows = {key: self.rows(key, table, bounds) for key, table in boards}
        left = []
        for key, values in rows.items():
            if self.is_known(key):
                self._compare(key, values)
            else:
                left.append(key)
        if not left:
            return
        producer = AIOKafkaProducer(
            bootstrap_servers=self.settings.kafka.bootstrap, acks="all", enable_idempotence=True
        )
        try:
            await asyncio.wait_for(producer.start(), ACK_S)
            for first in range(0, len(left), TOGETHER):
                await self._publish(producer, {key: rows[key] for key in left[first : first + TOGETHER]}, awarded)
        except (KafkaError, OSError, TimeoutError) as error:
            raise BrokerUnavailable(f"boards could not be made final ({error!r})") from error
        finally:
            await stop_producer(producer)

    async def _publish(self, producer: Any, rows: dict[BoardKey, list[BoardPlace]], awarded: int) -> None:
        names = self.names
        winners = [row for values in rows.values() for row in values if row.place <= awarded]
        await self._send(producer, [(names.actions.name, *self.award(row)) for row in winners])  # 1
        self.metrics["memberflow_boards_awards"].inc(len(winners))
        self._fail("boards.awarded")
        places = [(key, row.partition, codec.encode(row)) for key, values in rows.items() for row in values]
        stamp = next(iter(rows.values()))[0].final_at
        await self._send(producer, [(names.boards.name, p, None, value, stamp) for _, p, value in places])  # 2
        self._fail("boards.published")
        for key, _, value in places:
            self._known.setdefault(key, (len(rows[key]), set()))[1].add(zlib.crc32(value))
        self.metrics["memberflow_boards_final"].inc(len(rows))

    async def _send(self, producer: Any, messages: list[tuple[str, int, bytes | None, bytes, int]]) -> None:
        acks = [
            await producer.send(topic, value, key=key, partition=partition, timestamp_ms=stamp)
            for topic, partition, key, value, stamp in messages
        ]
        if acks:
            await asyncio.wait_for(asyncio.gather(*acks), ACK_S)

    def rows(self, key: BoardKey, table: Sequence[Place], bounds: Bounds) -> list[BoardPlace]:
        """The places of a board as they are published: the same bytes whoever makes it final, and when."""
        name = key.region or key.group_id
        return [
            BoardPlace(
                log=self.settings.log,
                partition=partition_of(name, self.settings.partitions) if name else 0,
                board=key.board,
                period=key.period,
                at=key.at,
                region=key.region,
                group_id=key.group_id,
                place=it.place,
                member_id=it.member_id,
                value=it.value,
                ranked=len(table),
                ended_at=bounds.end,
                final_at=bounds.final_at,
            )
            for it in table
        ]

    def award(self, row: BoardPlace) -> tuple[int, bytes, bytes, int]:
        """The record of a winner: its partition, key, signed value and stamp.

        Where the log keeps the times of the past the stamp is the board's last moment, which its clock has passed.
        """
        award = Award(
            member_id=row.member_id,
            board=row.board,
            period=row.period,
            at=row.at,
            place=row.place,
            value=row.value,
            region=row.region,
            group_id=row.group_id,
        )
        value = seal(SignedDerived, *self.sign, msgspec.json.encode(award))
        home = partition_of(row.member_id, self.settings.partitions)
        return home, row.member_id.encode(), value, row.final_at

    def _compare(self, key: BoardKey, rows: list[BoardPlace]) -> None:
        """A final board never moves; that it would come out otherwise now is told."""
        if {zlib.crc32(codec.encode(row)) for row in rows} != self._known[key][1]:
            self.metrics["memberflow_boards_differ"].inc()
            log.error("a final board would be another one now; it stays", board=msgspec.to_builtins(key))
