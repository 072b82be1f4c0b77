"""What a process that stays writes to stderr, and how little of it an absent Kafka may fill.

Each client of aiokafka's complains ten times a second while its broker is away, in several lines and at times with a
traceback. `Outage` says in their place that Kafka does not answer, every half minute that it still does not, and when
it does again. Whatever else aiokafka says, and everything of ours, is written as it comes.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

import structlog
from aiokafka import errors

log = structlog.get_logger()

REPEAT_SECONDS = 30.0
"""Often enough to be seen in a terminal, rare enough to leave what else happens readable."""

QUIET_SECONDS = 3.0
"""Clients complain several times a second; so much silence, and an answer, mean that Kafka is back."""

ANSWER_SECONDS = 5.0
LOOK_SECONDS = 1.0
SAID_LENGTH_MAX = 300

THEIRS = ("aiokafka", "faust", "mode")
AWAY = (
    errors.KafkaConnectionError,
    errors.KafkaTimeoutError,
    errors.NodeNotReadyError,
    errors.NoBrokersAvailable,
    errors.StaleMetadata,
    errors.RequestTimedOutError,
    errors.BrokerNotAvailableError,
    errors.LeaderNotAvailableError,
    errors.NotLeaderForPartitionError,
    errors.GroupCoordinatorNotAvailableError,
    errors.GroupLoadInProgressError,
    errors.NotCoordinatorForGroupError,
    OSError,
    TimeoutError,
)
"""What a client meets while a broker is away or has just come back. A refused name, right or record is none of it."""

WITHOUT_ERROR = (
    "Unable to update metadata from",
    "Marking the coordinator dead",
    "Heartbeat session expired",
    "Heartbeat failed for group %s: coordinator",
)
"""What aiokafka says of the same without naming an error."""

BEGINS = "Group Coordinator Request failed: [Error 15]"
"""What the first group of a new broker meets while its offsets topic is made: by itself no outage."""


class Outage(logging.Filter):
    """Takes complaints about an absent Kafka out of the log and tells of them in a few lines. Threads may share it."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        super().__init__()
        self._clock, self._lock = clock, threading.Lock()
        self._since: float | None = None
        self._told = self._last = 0.0
        self._complaints = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line is written."""
        if not is_complaint(record):
            return True
        with self._lock:
            self._complain(record)
        return False

    def _complain(self, record: logging.LogRecord) -> None:
        said = record.getMessage()[:SAID_LENGTH_MAX]
        if self._since is None and said.startswith(BEGINS):
            return
        self._last = now = self._clock()
        self._complaints += 1
        if self._since is None:
            self._since = self._told = now
            log.error("Kafka does not answer", said=said)
        elif now - self._told >= REPEAT_SECONDS:
            self._told = now
            log.error("Kafka still does not answer", seconds=round(now - self._since), said=said)

    async def watch(self, ask: Callable[[], Awaitable[None]]) -> None:
        """Tells when Kafka is back: nobody complains any more, and `ask`, which raises where it is away, does not."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._is_quiet() and await _answers(ask) and self._is_quiet():
                self._tell_back()

    def _is_quiet(self) -> bool:
        return self._since is not None and self._clock() - self._last >= QUIET_SECONDS

    def _tell_back(self) -> None:
        with self._lock:
            assert self._since is not None
            log.warning("Kafka answers again", seconds=round(self._last - self._since), left_out=self._complaints)
            self._since, self._complaints = None, 0


def is_complaint(record: logging.LogRecord) -> bool:
    """Whether a line is about nothing but a broker that does not answer, and not ours."""
    if record.name.partition(".")[0] in THEIRS:
        if str(record.msg).startswith(WITHOUT_ERROR):
            return True
    elif record.name != "asyncio" or "aiokafka" not in record.getMessage():  # a task of theirs that nobody awaited
        return False
    args = record.args if isinstance(record.args, tuple) else ()
    named = [record.exc_info[1]] if record.exc_info else [arg for arg in args if isinstance(arg, BaseException)]
    return bool(named) and all(isinstance(error, AWAY) for error in named)


async def _answers(ask: Callable[[], Awaitable[None]]) -> bool:
    try:
        await asyncio.wait_for(ask(), ANSWER_SECONDS)
    except (errors.KafkaError, OSError, TimeoutError):
        return False
    return True


def configure_logs(level: str) -> Outage:
    """JSON lines on stderr, or words where a person watches. Returns who tells of Kafka's outages: let it watch."""
    number = logging.getLevelNamesMapping()[level.upper()]
    render: Any = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    shared: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
    handler = logging.StreamHandler()
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=render, foreign_pre_chain=shared))
    outage = Outage()
    handler.addFilter(outage)
    logging.getLogger("aiokafka").setLevel(logging.NOTSET)
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)
    return outage
