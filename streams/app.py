"""The Faust application around the worker: group, assignment and transport come from Faust, everything else is ours."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Callable, Sequence
from typing import Any

import faust
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from faust.app.base import BootStrategy
from faust.types import TP
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from processors.output import Failure
from schemas.metrics import BY_NAME
from schemas.settings import Settings
from schemas.topics import Topics, topics
from streams.dead_letters import rule_failures
from streams.metrics import Metrics, QuietMonitor
from streams.ownership import Consumer, Ownership
from streams.publisher import Publisher
from streams.store import Identity, StateStore
from streams.ticker import Ticker
from streams.transport import ChunkConsumer, ChunkTransport
from streams.worker import Worker

RECORDS_FETCHED_BYTES = 2 * 1024 * 1024
"""Per partition and fetch: some 5,000 records of 400 bytes."""


STOP_SECONDS = 3.0
"""For Faust to end. With Kafka away the process ends within about 5 s: what waits for it gives up before that."""


class OnlyConsumer(BootStrategy):
    """Faust starts its consumer and nothing else: no web server, no producer."""

    enable_web = False
    enable_kafka_producer = False


class ChunkApp(faust.App):
    """A Faust app whose consumer hands over chunks."""

    BootStrategy = OnlyConsumer

    def _create_directories(self) -> None:
        """Faust would leave a folder for its tables in whatever folder we stand in; we have none."""


class FaustConsumer(Consumer):
    """Partition numbers to Faust's consumer."""

    def __init__(self, app: faust.App, topic: str) -> None:
        self._app, self._topic = app, topic

    @property
    def _consumer(self) -> ChunkConsumer:
        consumer: ChunkConsumer = self._app.consumer
        return consumer

    def _tp(self, partition: int) -> TP:
        return TP(self._topic, partition)

    def open(self, partition: int, offset: int) -> None:
        self._consumer.open(self._tp(partition), offset)

    def release(self, partition: int) -> None:
        self._consumer.release(self._tp(partition))

    def shut(self, partitions: Sequence[int]) -> None:
        self._consumer.shut([self._tp(partition) for partition in partitions])

    async def first_offset(self, partition: int) -> int:
        found = await self._consumer.earliest_offsets(self._tp(partition))
        return int(next(iter(found.values())))

    async def commit_hint(self, offsets: dict[int, int]) -> bool:
        return await self._consumer.commit_hint({self._tp(p): offset for p, offset in offsets.items()})

    def at_end(self, partition: int) -> bool:
        return self._consumer.at_end(self._tp(partition))

    def end_offset(self, partition: int) -> int | None:
        return self._consumer.end_offset(self._tp(partition))


class WorkerProcess:
    """One worker: everything composed, started, and stopped cleanly."""

    def __init__(
        self,
        settings: Settings,
        store: StateStore,
        topic_id: str,
        sign: tuple[str, Ed25519PrivateKey],
        metrics: Metrics,
        wall: Callable[[], float],
        fail: Callable[[str], None] = lambda point: None,
    ) -> None:
        self.settings, self.store, self.metrics = settings, store, metrics
        self.topics: Topics = topics(settings.log, partitions=settings.partitions)
        self.error: BaseException | None = None
        self.stopping = asyncio.Event()
        self.app = self._faust()
        self.publisher = Publisher(settings.kafka.bootstrap, self.topics, sign, fail=fail)
        per_lane = max(1, settings.worker.cache_members // settings.partitions)
        worker = Worker(store, self.publisher, metrics, cache_per_lane=per_lane, fail=fail)
        identity = Identity(settings.log, topic_id, settings.partitions)
        consumer = FaustConsumer(self.app, self.topics.actions.name)
        self.ownership = Ownership(
            worker, store, identity, self.topics.actions.name, consumer, self._rule_failures, crash=self.crash
        )
        ChunkConsumer.handler = self.ownership
        metrics.collect_from(OwnedPartitions(self.ownership, wall))

    async def run(self) -> None:
        """Until `stop`, or until something that cannot be cured in here. Raises what ended it."""
        self.app.on_partitions_assigned.connect(self._on_assigned, weak=False)
        self.app.on_partitions_revoked.connect(self._on_revoked, weak=False)
        self.app.topics.add(self.app.topic(self.topics.actions.name, value_serializer="raw", key_serializer="raw"))
        gc.collect()
        gc.freeze()
        gc.disable()  # left on it costs 4 to 6 us an action; the ticker collects when nothing is to do
        ticker = Ticker(self.ownership, self.publisher, watchdog_s=self.settings.worker.watchdog_s)
        started = asyncio.create_task(self.app.start())
        ticking = asyncio.create_task(ticker.run(self.stopping.is_set))
        ticking.add_done_callback(self._ended)
        started.add_done_callback(self._ended)
        await self.stopping.wait()
        await self._close(ticking)
        if self.error is not None:
            raise self.error

    async def _close(self, ticking: asyncio.Task[None]) -> None:
        """1 publish and commit what is under way, 2 close the producer and leave the group; both give up in time."""
        ticking.cancel()  # a tick on its way may wait for Kafka for half a minute
        await self.ownership.close()  # 1
        with contextlib.suppress(TimeoutError):  # ours is committed; Faust's threads end with the process
            leaving = asyncio.wait_for(self.app.stop(), timeout=STOP_SECONDS)
            await asyncio.gather(self.publisher.restart(), leaving)  # 2

    def stop(self) -> None:
        """Begin a clean stop: publish, commit, hand over."""
        self.stopping.set()

    def crash(self, error: BaseException) -> None:
        """Stop because of an error that this process cannot cure."""
        self.error = self.error or error
        self.stopping.set()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.crash(error)

    async def _on_assigned(self, _: Any, assigned: set[TP], **__: Any) -> None:
        self.ownership.assigned(sorted(tp.partition for tp in assigned))

    async def _on_revoked(self, _: Any, revoked: set[TP], **__: Any) -> None:
        await self.ownership.revoked(sorted(tp.partition for tp in revoked))

    async def _rule_failures(self, partition: int, clock: int) -> dict[int, Failure]:
        return await rule_failures(self.settings.kafka.bootstrap, self.topics.dead_letters.name, partition, clock)

    def _faust(self) -> ChunkApp:
        worker = self.settings.worker
        app = ChunkApp(
            f"worker-{self.settings.log}",
            broker=[f"kafka://{server}" for server in self.settings.kafka.bootstrap.split(",")],
            store="memory://",
            autodiscover=False,
            web_enabled=False,
            topic_allow_declare=False,
            topic_disable_leader=True,
            broker_session_timeout=worker.session_timeout_s,
            broker_heartbeat_interval=worker.session_timeout_s / 4,
            broker_request_timeout=30.0,
            broker_max_poll_records=worker.chunk_max_records,
            broker_max_poll_interval=300.0,
            consumer_max_fetch_size=RECORDS_FETCHED_BYTES,
            consumer_auto_offset_reset="none",
            broker_check_crcs=True,
            stream_wait_empty=False,
            Monitor=QuietMonitor,
        )
        app.transport = ChunkTransport(app.conf.broker_consumer, app)
        QuietMonitor.metrics = self.metrics
        return app


class OwnedPartitions(Collector):
    """Gauges of the owned partitions, read when somebody asks."""

    def __init__(self, ownership: Ownership, wall: Callable[[], float]) -> None:
        self.ownership, self.wall = ownership, wall

    def collect(self) -> list[Metric]:
        """One value per partition, and the sums."""
        lanes = dict(self.ownership.lanes)
        end = {p: self.ownership.consumer.end_offset(p) for p in lanes}
        behind = {
            p: max(0.0, self.wall() - lane.last_timestamp / 1000) for p, lane in lanes.items() if lane.last_timestamp
        }
        overdue = [lane.fold.timers.overdue(lane.fold.state.clock) for lane in lanes.values()]
        return [
            _per("memberflow_freshness_seconds", behind),
            _per(
                "memberflow_last_record_processed_timestamp_seconds",
                {p: x.last_timestamp / 1000 for p, x in lanes.items()},
            ),
            _per("memberflow_next_offset", {p: lane.next_offset for p, lane in lanes.items()}),
            _per("memberflow_end_offset", {p: e for p, e in end.items() if e is not None}),
            _per(
                "memberflow_lag_records",
                {p: max(0, e - lanes[p].next_offset) for p, e in end.items() if e is not None},
            ),
            _one("memberflow_halted_partitions", len(self.ownership.halted)),
            _one("memberflow_owned_partitions", len(lanes)),
            self._of_the_log(),
            _one("memberflow_timers_pending", sum(len(lane.fold.timers) for lane in lanes.values())),
            _one("memberflow_timers_overdue_seconds", max(overdue, default=0) / 1000),
            _one("memberflow_members_cached", sum(len(lane.cache) for lane in lanes.values())),
        ]

    def _of_the_log(self) -> Metric:
        """With its log's name: whoever adds up what the workers own must not mix two logs."""
        name, log = "memberflow_log_partitions", self.ownership.identity
        family = GaugeMetricFamily(name, BY_NAME[name].help, labels=["log"])
        family.add_metric([log.log], log.partitions)
        return family


def _per(name: str, values: dict[int, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, BY_NAME[name].help, labels=["partition"])
    for partition, value in sorted(values.items()):
        family.add_metric([str(partition)], value)
    return family


def _one(name: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, BY_NAME[name].help, value=value)
