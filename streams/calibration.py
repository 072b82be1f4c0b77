"""P(alive) put to the test, `memberflow calibration`: what it foretold of days that have passed, and what came.

For each horizon the parameters are fitted to what was known that many days ago: nothing that is foretold was seen.
The tenths go to ClickHouse by the topic of aggregates, since the sink alone writes there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from processors.alive import Alive, History
from processors.calendar import DAY_MS, Calendar
from processors.calibration import MILLION, Decile, Foretold, deciles, mean_gap
from schemas import aggregates
from schemas.aggregates import Calibration
from schemas.records import Parameters
from schemas.settings import Settings
from schemas.topics import topics
from streams.analytics import Reader
from streams.clients import stop_producer
from streams.errors import BrokerUnavailable, MemberflowError
from streams.fit import Customers, Fit, fitted
from streams.purchase_days import histories
from streams.staying import until

log = structlog.get_logger()

HORIZONS = (30, 273)
"""Days: a month, in which outreach must work, and the 39 weeks for which the CDNOW data is compared everywhere."""

ACK_S = 30.0


class Asked(NamedTuple):
    """Whose purchases are asked for: a log, its calendar and its first day; where it stands."""

    reader: Reader
    log: str
    calendar: Calendar
    first: int
    closed: int  # the last programme day that is over
    clock: int
    warm: Parameters | None  # those in force

    def known(self, cut: int, horizon: int = 0) -> list[Customers]:
        """Histories at the end of a day, and who bought in the days after it."""
        return histories(self.reader, self.log, (self.calendar, self.first), cut, horizon)


class Comparison(NamedTuple):
    """What parameters fitted to all that was known at the end of day `cut` foretold for `horizon` days."""

    cut: int
    horizon: int
    fit: Fit
    deciles: list[Decile]

    @property
    def gap(self) -> float:
        """The mean gap of the tenths."""
        return mean_gap(self.deciles)

    def messages(self, name: str, version: int) -> list[bytes]:
        """The tenths as they are published."""
        return [
            aggregates.encode(
                Calibration(
                    log=name,
                    at=self.cut,
                    horizon=self.horizon,
                    decile=decile,
                    version=version,
                    customers=it.customers,
                    bought=it.bought,
                    predicted=it.predicted,
                )
            )
            for decile, it in enumerate(self.deciles, 1)
        ]


def compared(asked: Asked, horizon: int, cut: int | None) -> Comparison:
    """One horizon from the end of `cut` on, without it up to the last closed day.

    Raises `UsageError`, `NotFitted`, what the store raises.
    """
    cut = asked.closed - horizon if cut is None else cut
    rows = asked.known(cut, horizon)
    fit = fitted(rows, asked.warm)
    return Comparison(cut, horizon, fit, deciles(foretold(rows, fit, horizon)))


def foretold(rows: Iterable[Customers], fit: Fit, horizon: int) -> list[Foretold]:
    """The chance of each history to buy within `horizon` days."""
    model = Alive(fit.record(0, "", ""))
    return [
        Foretold(
            round(model.buys(_history(row), round(row.age * DAY_MS), horizon * DAY_MS) * MILLION),
            row.customers,
            row.bought,
        )
        for row in rows
    ]


def _history(row: Customers) -> History:
    return History(row.repeats, round(row.recency * DAY_MS))


async def publish(settings: Settings, messages: Sequence[bytes]) -> None:
    """Append rows to partition 0 of the topic of aggregates. Raises `BrokerUnavailable`."""
    topic = topics(settings.log, partitions=settings.partitions).aggregates.name
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap, acks="all", enable_idempotence=True)
    try:
        await asyncio.wait_for(producer.start(), ACK_S)
        acks = [await producer.send(topic, message, partition=0) for message in messages]
        await asyncio.wait_for(asyncio.gather(*acks), ACK_S)
    except (KafkaError, OSError, TimeoutError) as error:
        raise BrokerUnavailable(f"the calibration could not be published ({error!r})") from error
    finally:
        await stop_producer(producer)


class CalibrationMetrics:
    """What was found, as metrics."""

    def __init__(self, metrics: Any, wall: Callable[[], float]) -> None:
        self._metrics, self._wall = metrics, wall

    def found(self, it: Comparison) -> None:
        """A horizon was compared."""
        horizon = str(it.horizon)
        self._metrics["memberflow_calibration_gap_ratio"].labels(horizon).set(it.gap)
        for decile, tenth in enumerate(it.deciles, 1):
            for kind, share in (("foretold", tenth.predicted_share), ("bought", tenth.bought_share)):
                self._metrics["memberflow_calibration_share_ratio"].labels(horizon, str(decile), kind).set(share)
        self._metrics["memberflow_calibration_finished_timestamp_seconds"].set(self._wall())


class Rounds:
    """A process that compares and publishes, waits, and does it again, until `stop`."""

    def __init__(
        self, look: Callable[[], Awaitable[list[Comparison]]], told: CalibrationMetrics, *, every_s: float
    ) -> None:
        self._look, self._told, self._every_s = look, told, every_s
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Asks it to end; nothing is half done by a round that is cut."""
        self._stopping.set()

    async def run(self) -> None:
        """Until `stop`. What does not answer, or is too little, is asked again in the next round."""
        await until(self._stopping, self._run())

    async def _run(self) -> None:
        while True:
            try:
                for it in await self._look():
                    self._told.found(it)
                    log.info("P(alive) compared", horizon=it.horizon, gap=round(it.gap, 4), customers=it.fit.customers)
            except (MemberflowError, KafkaError, OSError, TimeoutError) as error:
                log.warning("P(alive) not compared", error=str(error))
            await asyncio.sleep(self._every_s)
