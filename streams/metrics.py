"""Metrics as Prometheus wants them, from the one list in `schemas/metrics.py`; and Faust's monitor, made quiet.

Faust's own sensor counts milliseconds per message under names without units, so it is not used.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import threading
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import monotonic
from typing import Any

import faust
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from schemas import metrics as declared
from schemas.settings import Metrics as MetricsSettings

LABELS_MAX = 200
"""Values of a label kept apart; what senders name beyond that is counted under `other`."""

LOOP_SECONDS_MAX = 2.0
"""An event loop that does not answer a scrape by then is shown as this late: the scrape itself must not hang."""


class Metrics:
    """The metrics of one process. `metrics["memberflow_records"].labels("applied").inc()`"""

    def __init__(self, job: declared.Job | None = None) -> None:
        """Those of one job; without it all that are declared, of which `serve` shows its job's."""
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a `_created` gauge per counter is a third of all series, and nobody reads it
        self.registry = CollectorRegistry()
        wanted = declared.METRICS if job is None else declared.OF_JOB[job]
        self._by_name = {metric.name: self._make(metric) for metric in wanted if not metric.at_scrape}
        self._sources: set[str] = set()
        self._started = monotonic()

    def __getitem__(self, name: str) -> Any:
        return self._by_name[name]

    def source(self, name: str) -> str:
        """A sender's name as a label: bounded, whatever senders write."""
        if name in self._sources or len(self._sources) < LABELS_MAX:
            self._sources.add(name)
            return name
        return "other"

    def collect_from(self, collector: Collector) -> None:
        """Ask `collector` for values at every scrape, instead of setting gauges all the time."""
        self.registry.register(collector)

    def serve(self, settings: MetricsSettings, job: declared.Job) -> int:
        """Serve on loopback; where asked, leave the address in the folder Prometheus watches. Returns the port."""
        self._keep_only(job)
        self._describe_process()
        server, _ = start_http_server(settings.port, addr=settings.host, registry=self.registry)
        port = int(server.server_port)
        if settings.targets is not None:
            settings.targets.mkdir(parents=True, exist_ok=True)
            target = [{"targets": [f"{settings.host}:{port}"], "labels": {"job": f"memberflow-{job}"}}]
            path = Path(settings.targets) / f"{job}-{os.getpid()}.json"
            path.with_suffix(".tmp").write_text(json.dumps(target))
            path.with_suffix(".tmp").rename(path)
        return port

    def _keep_only(self, job: declared.Job) -> None:
        """Other jobs' metrics would stand at 0 for ever, which reads as `all is well`."""
        names = {metric.name for metric in declared.OF_JOB[job]}
        for name in self._by_name.keys() - names:
            self.registry.unregister(self._by_name[name])

    def _describe_process(self) -> None:
        try:
            code = version("memberflow")
        except PackageNotFoundError:
            code = "unknown"  # run from a checkout that was never installed
        self["memberflow_build"].info({"version": code, "python": platform.python_version()})
        self.collect_from(Life(self._started))
        ProcessCollector(registry=self.registry)

    def _make(self, metric: declared.Metric) -> Any:
        if metric.kind == "histogram":
            made: Any = Histogram(
                metric.name, metric.help, metric.labels, buckets=metric.buckets, registry=self.registry
            )
        else:
            kinds = {"counter": Counter, "gauge": Gauge, "info": Info}
            made = kinds[metric.kind](metric.name, metric.help, metric.labels, registry=self.registry)
        for value in metric.values:
            made.labels(value)
        return made


class Life(Collector):
    """How long the process is up, and how late its event loop answers. Asked from the scrape's own thread."""

    def __init__(self, started: float) -> None:
        self._started = started
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None

    def collect(self) -> list[Metric]:
        """Both as they are now."""
        up = one("memberflow_up_seconds", monotonic() - self._started)
        lag = self._lag_s()
        return [up] if lag is None else [up, one("memberflow_event_loop_lag_seconds", lag)]

    def _lag_s(self) -> float | None:
        if self._loop is None or self._loop.is_closed():
            return None
        answered, asked = threading.Event(), monotonic()
        self._loop.call_soon_threadsafe(answered.set)
        answered.wait(LOOP_SECONDS_MAX)
        return monotonic() - asked


class SinkMetrics(Collector):
    """What the sink tells, as metrics: it is handed to `Sink` as its `metrics`."""

    def __init__(self, metrics: Metrics, wall: Callable[[], float]) -> None:
        self._metrics, self._wall = metrics, wall
        self._stored: dict[int, tuple[int, int]] = {}
        metrics.collect_from(self)

    def rows_inserted(self, table: str, rows: int, seconds: float) -> None:
        """A block is in."""
        self._metrics["memberflow_sink_rows"].labels(table).inc(rows)
        self._metrics["memberflow_sink_insert_seconds"].labels(table).observe(seconds)

    def insert_failed(self) -> None:
        """A block is not in, and will be tried again."""
        self._metrics["memberflow_sink_insert_failures"].inc()

    def repeats_dropped(self, count: int) -> None:
        """Facts that were seen before."""
        self._metrics["memberflow_sink_repeats_dropped"].inc(count)

    def stopped_partitions(self, count: int) -> None:
        """Partitions that wait for a person."""
        self._metrics["memberflow_sink_stopped_partitions"].set(count)

    def stored(self, partition: int, timestamp_ms: int, behind: int) -> None:
        """How far a partition has come."""
        self._stored[partition] = (timestamp_ms, behind)
        self._metrics["memberflow_sink_lag_records"].labels(str(partition)).set(behind)

    def waiting(self, partition: int, since_ms: int, behind: int) -> None:
        """What a partition has and the tables have not: as old as its oldest fact."""
        self.stored(partition, since_ms, behind)

    def let_go(self) -> None:
        """Partitions that somebody else speaks for from now on."""
        self._stored.clear()
        self._metrics["memberflow_sink_lag_records"].clear()
        self._metrics["memberflow_sink_stopped_partitions"].set(0)

    def archived(self, partition: int, behind: int) -> None:
        """How many recorded actions of a partition are not stored yet."""
        self._metrics["memberflow_archive_lag_records"].labels(str(partition)).set(behind)

    def archive_let_go(self) -> None:
        """Recorded actions of these partitions are somebody else's to store."""
        self._metrics["memberflow_archive_lag_records"].clear()

    def collect(self) -> list[Metric]:
        """Seconds behind, per partition."""
        now = self._wall()
        behind = {p: max(0.0, now - ms / 1000) if left else 0.0 for p, (ms, left) in self._stored.copy().items()}
        return [per_partition("memberflow_sink_freshness_seconds", behind)]


class ReconcilerMetrics:
    """What the reconciler tells, as metrics."""

    def __init__(self, metrics: Metrics, wall: Callable[[], float]) -> None:
        self._metrics, self._wall = metrics, wall

    def compared(self, found: Mapping[str, int]) -> None:
        """A run is over."""
        for kind, count in found.items():
            self._metrics["memberflow_reconcile_mismatches"].labels(kind).set(count)
        self._metrics["memberflow_reconcile_finished_timestamp_seconds"].set(self._wall())


class QuietMonitor(faust.Monitor):
    """Faust insists on a monitor; this one only counts rebalances."""

    metrics: Metrics

    def on_rebalance_start(self, app: Any) -> dict[str, Any]:
        """Count it."""
        self.metrics["memberflow_rebalances"].inc()
        state: dict[str, Any] = super().on_rebalance_start(app)
        return state


def one(name: str, value: float) -> GaugeMetricFamily:
    """A gauge read at a scrape."""
    return GaugeMetricFamily(name, declared.BY_NAME[name].help, value=value)


def per_partition(name: str, values: dict[int, float]) -> GaugeMetricFamily:
    """A gauge read at a scrape, with a value per partition."""
    family = GaugeMetricFamily(name, declared.BY_NAME[name].help, labels=["partition"])
    for partition, value in sorted(values.items()):
        family.add_metric([str(partition)], value)
    return family
