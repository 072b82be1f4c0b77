"""Where recorded actions are read from: a value that goes to any process, and is opened there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

from schemas.settings import ClickHouse
from streams.log_reader import LogReader
from streams.replay import Source


class Lacking(NamedTuple):
    """What to do where a part of the log is not there."""

    gone: str  # its beginning
    behind: str  # its end, up to where the workers stand
    patience_s: float  # without movement, until its end is called missing


FROM_KAFKA = Lacking(
    gone="""replay what ClickHouse holds (--from-clickhouse, where a sink has stored it), or begin with a snapshot
    (--from FOLDER) and simulate what came after it""",
    behind="is this the log of these workers? see `memberflow doctor`",
    patience_s=0.0,
)
FROM_CLICKHOUSE = Lacking(
    gone="replay from Kafka, or begin with a snapshot (--from FOLDER) and simulate what came after it",
    behind="is a sink running with MEMBERFLOW_CLICKHOUSE__ACTIONS=true? replay from Kafka meanwhile",
    # A sink stores actions each 5 s, and later while facts are due.
    patience_s=30.0,
)


class Recorded(Protocol):
    """A place that holds the actions of one log."""

    lacking: ClassVar[Lacking]

    def open(self) -> AbstractAsyncContextManager[Source]:
        """A reader of this process' own."""
        ...


@dataclass(frozen=True)
class InKafka:
    """The log itself."""

    lacking: ClassVar[Lacking] = FROM_KAFKA
    bootstrap: str
    topic: str

    def open(self) -> AbstractAsyncContextManager[Source]:
        """Committed records of the topic."""
        return LogReader(self.bootstrap, self.topic)


@dataclass(frozen=True)
class InClickHouse:
    """What a sink has stored of it."""

    lacking: ClassVar[Lacking] = FROM_CLICKHOUSE
    settings: ClickHouse
    log: str

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Source]:
        """Rows of the table of actions."""
        from streams.analytics import open_reader
        from streams.archive_reader import ArchiveReader

        reader = await asyncio.to_thread(open_reader, self.settings)
        try:
            yield ArchiveReader(reader, self.log)
        finally:
            await asyncio.to_thread(reader.close)
