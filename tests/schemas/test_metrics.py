"""Metrics as declared: names by Prometheus' conventions, labels that cannot grow with members."""

import re
import subprocess
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client import generate_latest

from schemas.metrics import BY_NAME, METRICS, OF_JOB, STAGES, Job, Metric
from schemas.settings import Metrics as MetricsSettings
from schemas.verdicts import Verdict
from streams.metrics import LABELS_MAX, Metrics, ReconcilerMetrics, SinkMetrics, one, per_partition
from tests.conftest import on_path

UNITS = ("_seconds", "_bytes", "_ratio", "_info")
LABELS = {
    "verdict", "reason", "source", "stage", "answer", "cause", "partition", "table", "endpoint", "outcome",
    "log", "kind", "horizon", "decile",
}  # fmt: skip
JOBS: tuple[Job, ...] = ("worker", "sink", "dispatcher", "reconciler", "boards", "calibration")


def ids(metric: Metric) -> str:
    return metric.name


@pytest.mark.parametrize("metric", METRICS, ids=ids)
def test_a_metric_is_named_and_explained_as_prometheus_wants(metric: Metric) -> None:
    assert re.fullmatch(r"memberflow_[a-z][a-z_]*[a-z]", metric.name)
    assert not metric.name.endswith(("_total", "_count", "_sum", "_bucket", "_milliseconds", "_ms"))
    assert metric.help.endswith(".")
    assert len(metric.help) > 15
    if metric.kind == "histogram" and metric.buckets[-1] < 1000:
        assert metric.name.endswith(UNITS)
    assert (metric.kind == "histogram") == bool(metric.buckets)
    assert metric.buckets == tuple(sorted(metric.buckets))


@pytest.mark.parametrize("metric", METRICS, ids=ids)
def test_no_label_grows_with_members(metric: Metric) -> None:
    assert set(metric.labels) <= LABELS
    assert not metric.values or len(metric.labels) == 1


def test_every_name_is_declared_once() -> None:
    assert len(BY_NAME) == len(METRICS)
    assert {metric.name for metrics in OF_JOB.values() for metric in metrics} == set(BY_NAME)


def test_closed_labels_stand_at_zero_from_the_start() -> None:
    """`increase` does not see a counter that is born at 1, and the first dead letter must be seen."""
    text = generate_latest(Metrics("worker").registry).decode()
    for verdict in Verdict:
        assert f'memberflow_records_total{{verdict="{verdict}"}} 0.0' in text
    for stage in STAGES:
        assert f'memberflow_stage_seconds_count{{stage="{stage}"}} 0.0' in text
    assert "_created" not in text


def test_a_sender_who_invents_names_cannot_blow_up_the_labels() -> None:
    metrics = Metrics("worker")
    labels = {metrics.source(f"app-{number}") for number in range(10 * LABELS_MAX)}
    assert len(labels) == LABELS_MAX + 1
    assert "other" in labels
    assert metrics.source("app-1") == "app-1"


@pytest.fixture(params=JOBS)
def served(request: pytest.FixtureRequest) -> Iterator[tuple[Job, str]]:
    """What a process of each job shows."""
    metrics, settings = Metrics(), MetricsSettings()
    if request.param == "sink":
        sink = SinkMetrics(metrics, lambda: 100.0)
        sink.rows_inserted("facts", 500, 0.02)
        sink.stored(3, 90_000, 7)
        sink.stored(4, 50_000, 0)
        sink.repeats_dropped(2)
        sink.insert_failed()
        sink.stopped_partitions(1)
    if request.param == "reconciler":
        ReconcilerMetrics(metrics, lambda: 100.0).compared({"missing": 2, "gap": 0})
    port = metrics.serve(settings, request.param)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        yield request.param, answer.read().decode()


def test_a_process_shows_its_own_metrics_and_no_others(served: tuple[Job, str]) -> None:
    job, text = served
    shown = set(re.findall(r"^# TYPE (memberflow_\w+)", text, re.MULTILINE))
    own = {metric.name + {"counter": "_total", "info": "_info"}.get(metric.kind, "") for metric in OF_JOB[job]}
    assert shown <= own
    assert {"memberflow_build_info", "memberflow_up_seconds"} <= shown
    assert "process_resident_memory_bytes" in text


def test_promtool_finds_nothing_to_say(served: tuple[Job, str]) -> None:
    promtool = on_path("promtool")
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=served[1], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_the_sink_is_behind_only_while_something_is_left_to_store(served: tuple[Job, str]) -> None:
    job, text = served
    if job == "sink":
        assert 'memberflow_sink_freshness_seconds{partition="3"} 10.0' in text
        assert 'memberflow_sink_freshness_seconds{partition="4"} 0.0' in text
        assert 'memberflow_sink_rows_total{table="facts"} 500.0' in text


def test_the_reconciler_tells_what_its_last_run_found(served: tuple[Job, str]) -> None:
    job, text = served
    if job == "reconciler":
        assert 'memberflow_reconcile_mismatches{kind="missing"} 2.0' in text
        assert 'memberflow_reconcile_mismatches{kind="gap"} 0.0' in text
        assert "memberflow_reconcile_finished_timestamp_seconds 100.0" in text


def test_a_reconciler_that_has_not_compared_yet_says_nothing_of_it() -> None:
    assert "mismatches{" not in generate_latest(Metrics("reconciler").registry).decode()


def test_gauges_read_at_a_scrape_carry_the_declared_help() -> None:
    assert one("memberflow_up_seconds", 5.0).documentation == BY_NAME["memberflow_up_seconds"].help
    family = per_partition("memberflow_lag_records", {2: 5, 1: 3})
    assert [sample.labels["partition"] for sample in family.samples] == ["1", "2"]


def test_a_metric_knows_how_it_is_queried() -> None:
    assert BY_NAME["memberflow_records"].shown == "memberflow_records_total"
    assert BY_NAME["memberflow_stage_seconds"].shown == "memberflow_stage_seconds_count"
    assert BY_NAME["memberflow_build"].shown == "memberflow_build_info"
