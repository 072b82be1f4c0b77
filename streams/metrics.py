"""Metrics as Prometheus wants them, from the one list in `schemas/metrics.py`; and Faust's monitor, made quiet.

Faust's own sensor counts milliseconds per message under names without units, so it is not used.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import faust
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, start_http_server
from prometheus_client.registry import Collector

from schemas import metrics as declared
from schemas.settings import Metrics as MetricsSettings

LABELS_MAX = 200
"""Values of a label kept apart; what senders name beyond that is counted under `other`."""


class Metrics:
    """The metrics of one process. `metrics["memberflow_records"].labels("applied").inc()`"""

    def __init__(self, prefix: tuple[str, ...] = ("memberflow_",)) -> None:
        self.registry = CollectorRegistry()
        kept = [m for m in declared.METRICS if m.name.startswith(prefix) and not m.at_scrape]
        self._by_name: dict[str, Any] = {metric.name: self._make(metric) for metric in kept}
        self._sources: set[str] = set()

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

    def serve(self, settings: MetricsSettings, job: str) -> int:
        """Serve on loopback; where asked, leave the address in the folder Prometheus watches. Returns the port."""
        server, _ = start_http_server(settings.port, addr=settings.host, registry=self.registry)
        port = int(server.server_port)
        if settings.targets is not None:
            settings.targets.mkdir(parents=True, exist_ok=True)
            target = [{"targets": [f"{settings.host}:{port}"], "labels": {"job": f"memberflow-{job}"}}]
            path = Path(settings.targets) / f"{job}-{os.getpid()}.json"
            path.with_suffix(".tmp").write_text(json.dumps(target))
            path.with_suffix(".tmp").rename(path)
        return port

    def _make(self, metric: declared.Metric) -> Any:
        if metric.kind == "histogram":
            return Histogram(
                metric.name, metric.help, metric.labels, buckets=metric.buckets, registry=self.registry
            )
        kinds = {"counter": Counter, "gauge": Gauge, "info": Info}
        return kinds[metric.kind](metric.name, metric.help, metric.labels, registry=self.registry)


class QuietMonitor(faust.Monitor):
    """Faust insists on a monitor; this one only counts rebalances."""

    metrics: Metrics

    def on_rebalance_start(self, app: Any) -> dict[str, Any]:
        """Count it."""
        self.metrics["memberflow_rebalances"].inc()
        state: dict[str, Any] = super().on_rebalance_start(app)
        return state
