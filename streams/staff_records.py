"""Records of staff on their way into the log: built from a file's rows, signed, appended, and waited for.

A row is known by the digest of its file and its number, and the members' states say which rows were booked: so a run
that was cut off goes on where it stopped, and one that was complete does nothing.
"""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from processors.partitioner import partition_of
from processors.refusal import personal_id
from processors.signature import seal
from schemas import member as member_codec
from schemas.actions import StaffAction
from schemas.decoding import Staff, decode
from schemas.member import MemberState
from schemas.records import SignedStaff
from schemas.settings import Settings
from schemas.verdicts import Reason, Rejected
from streams.clients import stop_producer
from streams.errors import BrokerUnavailable, Stuck
from streams.histories import bytes_of
from streams.importer import BadLines
from streams.keys import Key
from streams.log_reader import LogReader
from streams.store import StateStore

SOURCE = "staff"
DIGEST = 16
"""Hex digits of a file's SHA-256 by which its rows are known."""
ANSWER_S = 60.0
IN_FLIGHT = 2_000
LOOK_S = 0.2
MEMBER = "member_id"
A_CSV = f"a CSV that begins with a line of its columns' names, {MEMBER} among them"
Progress = Callable[[int], None]


class Lines(NamedTuple):
    """A file of rows: its digest, each row's line, number (from 1) and fields as they stand there, and lines that are
    no row: whoever judges the rows adds theirs and raises them all.
    """

    digest: str
    rows: list[tuple[int, int, dict[str, Any]]]
    bad: BadLines


class Signer(NamedTuple):
    """Who decides, who approves, why and when: what every record of a run says."""

    key: Key
    reason: str
    operator: str
    approved_by: str
    now_ms: int

    def head(self, event_id: str, member_id: str) -> dict[str, Any]:
        """The fields that every record of staff has."""
        return {
            "event_id": event_id,
            "source": SOURCE,
            "member_id": member_id,
            "occurred_at": datetime.fromtimestamp(self.now_ms / 1000, UTC).isoformat(),
            "reason": self.reason,
            "operator": self.operator,
            "approved_by": self.approved_by,
        }

    def signed(self, body: Mapping[str, Any]) -> tuple[bytes, StaffAction | Rejected]:
        """The record of a body, and what a worker will read of it."""
        value = seal(SignedStaff, *self.key, msgspec.json.encode(body))
        item = decode(value)
        if isinstance(item, Staff):
            assert isinstance(item.action, StaffAction)
            return value, personal_id(item.action) or item.action
        return value, item if isinstance(item, Rejected) else Rejected(Reason.INVALID, "$", "no record of staff")


def read_lines(path: Path) -> Lines:
    """The rows of a CSV with a head line, or of JSON lines. Raises `InputInvalid` for a file that cannot be read."""
    raw = bytes_of(path)
    digest = hashlib.sha256(raw).hexdigest()[:DIGEST]
    bad = BadLines(str(path))
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        bad.add(1, "is not UTF-8")
        text = ""
    rows = _json_rows(text, bad) if text.lstrip().startswith("{") else _csv_rows(text, bad)
    if not rows and not bad.found:
        bad.add(1, f"holds no row: wanted are JSON lines, or {A_CSV}")
    return Lines(digest, [(line, number, row) for number, (line, row) in enumerate(rows, 1)], bad)


def _json_rows(text: str, bad: BadLines) -> list[tuple[int, dict[str, Any]]]:
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                found.append((number, msgspec.json.decode(line, type=dict[str, Any])))
            except msgspec.MsgspecError as error:
                bad.add(number, str(error))
    return found


def _csv_rows(text: str, bad: BadLines) -> list[tuple[int, dict[str, Any]]]:
    found = []
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if text and MEMBER not in (reader.fieldnames or ()):
        bad.add(1, f"names no column {MEMBER}: wanted is {A_CSV}")
        return []
    for row in reader:
        if None in row or None in row.values():
            bad.add(reader.line_num, f"has not {len(reader.fieldnames or ())} columns")
            continue
        found.append((reader.line_num, {name: value for name, value in row.items() if value != ""}))
    return found


class Desk:
    """The log and the members' states, as the commands of staff need them."""

    def __init__(
        self,
        settings: Settings,
        topic: str,
        store: StateStore,
        patience_s: float,
        fail: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.settings, self.topic, self.store, self.patience_s, self.fail = settings, topic, store, patience_s, fail

    async def states(self, members: Iterable[str]) -> dict[str, MemberState]:
        """The states of those members that the log knows, as last committed."""
        homes: dict[int, list[str]] = {}
        for member in dict.fromkeys(members):
            homes.setdefault(partition_of(member, self.settings.partitions), []).append(member)
        found: dict[str, MemberState] = {}
        for partition, names in homes.items():
            for at in range(0, len(names), IN_FLIGHT):
                some = names[at : at + IN_FLIGHT]
                states = await self.store.load(partition, some)
                found |= {
                    name: member_codec.decode(raw) for name, raw in zip(some, states, strict=True) if raw is not None
                }
        return found

    async def caught_up(self) -> None:
        """Wait until all that stands in the log is decided: what an earlier run appended, too."""
        async with LogReader(self.settings.kafka.bootstrap, self.topic) as reader:
            bounds = await reader.all_bounds(range(self.settings.partitions))
        await self.decided({partition: end for partition, (_, end) in bounds.items()})

    async def decided(self, ends: Mapping[int, int]) -> None:
        """Wait until the workers have decided everything below these offsets. Raises `Stuck`."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self.patience_s
        while True:
            at = await self.store.offsets(list(ends))
            behind = [partition for partition, end in ends.items() if (at[partition] or 0) < end]
            if not behind:
                return
            if loop.time() > until:
                what = f"partitions {', '.join(map(str, behind))} did not come to the log's end"
                raise Stuck(what, remedy="is a worker running? Run the same command again: what is booked counts once")
            await asyncio.sleep(LOOK_S)

    async def append(self, records: Sequence[tuple[str, bytes]], progress: Progress) -> None:
        """Append (member, record), then wait until all are decided. What is appended twice counts once."""
        ends: dict[int, int] = {}
        async with self._producer() as producer:
            for at in range(0, len(records), IN_FLIGHT):
                waiting = [
                    await producer.send(
                        self.topic,
                        value,
                        key=member.encode(),
                        partition=partition_of(member, self.settings.partitions),
                    )
                    for member, value in records[at : at + IN_FLIGHT]
                ]
                for sent in await asyncio.wait_for(asyncio.gather(*waiting), ANSWER_S):
                    ends[sent.partition] = max(ends.get(sent.partition, 0), sent.offset + 1)
                self.fail("staff.appended")
                progress(len(waiting))
        await self.decided(ends)

    @asynccontextmanager
    async def _producer(self) -> AsyncIterator[AIOKafkaProducer]:
        producer = AIOKafkaProducer(
            bootstrap_servers=self.settings.kafka.bootstrap,
            acks="all",
            enable_idempotence=True,
            compression_type="zstd",
            linger_ms=5,
        )
        try:
            await asyncio.wait_for(producer.start(), ANSWER_S)
            yield producer
        except (KafkaError, OSError, TimeoutError) as error:
            what = f"not everything was appended ({error!r})"
            raise BrokerUnavailable(what, remedy="run the same command again: what is booked counts once") from error
        finally:
            await stop_producer(producer)
