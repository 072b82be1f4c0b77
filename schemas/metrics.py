"""Every metric once: name, kind, labels, help. Base units (seconds, bytes, ratios); no label grows with members.

A process shows the metrics of its job; boards and alert rules are generated from the same list.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from schemas.facts import HOLD_ENDS
from schemas.verdicts import Verdict

Kind = Literal["counter", "gauge", "histogram", "info"]
Job = Literal["worker", "sink", "dispatcher", "reconciler", "boards", "calibration"]

# `check` asks the store once more before publishing, where what was read may be of another owner's time.
STAGES = ("check", "decode", "load", "decide", "publish", "commit")
FAST = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
SLOW = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0)
SIZES = (1.0, 10.0, 50.0, 100.0, 500.0, 1000.0, 2000.0, 5000.0)


class Metric(Struct, frozen=True):
    """One metric as Prometheus shows it; counters are named without the `_total` that the client adds.

    `values` are those of its only label, where they are a closed set: they are shown as 0 from the start, because
    `increase` does not see a counter that is born at 1.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    at_scrape: bool = False  # read when somebody asks, not kept up to date
    values: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """Its name where it is queried; of a histogram the count."""
        return self.name + {"counter": "_total", "histogram": "_count", "info": "_info", "gauge": ""}[self.kind]


WORKER = (
    Metric(
        "memberflow_records",
        "counter",
        "Records of the log by what became of them.",
        ("verdict",),
        values=tuple(Verdict),
    ),
    Metric("memberflow_refused_records", "counter", "Refused records by reason and sender.", ("reason", "source")),
    Metric("memberflow_facts_published", "counter", "Facts acknowledged by the broker."),
    Metric("memberflow_chunk_records", "histogram", "Records in a chunk.", (), SIZES),
    Metric("memberflow_stage_seconds", "histogram", "Time of one chunk in a stage.", ("stage",), FAST, values=STAGES),
    Metric("memberflow_commits", "counter", "Answers of the state store to commits.", ("answer",)),
    Metric("memberflow_chunks_dropped", "counter", "Chunks dropped and fetched again, by cause.", ("cause",)),
    Metric("memberflow_chunks_in_flight", "gauge", "Chunks that are being published or committed."),
    Metric(
        "memberflow_last_record_processed_timestamp_seconds",
        "gauge",
        "Timestamp of the last record committed, per partition.",
        ("partition",),
        at_scrape=True,
    ),
    Metric(
        "memberflow_freshness_seconds",
        "gauge",
        "How far the last committed record is behind.",
        ("partition",),
        at_scrape=True,
    ),
    Metric(
        "memberflow_next_offset",
        "gauge",
        "Next offset to read, from our own commits.",
        ("partition",),
        at_scrape=True,
    ),
    Metric(
        "memberflow_end_offset",
        "gauge",
        "End of the log as the last fetch saw it.",
        ("partition",),
        at_scrape=True,
    ),
    Metric(
        "memberflow_lag_records",
        "gauge",
        "Records between our commit and the end of the log.",
        ("partition",),
        at_scrape=True,
    ),
    Metric("memberflow_halted_partitions", "gauge", "Partitions that wait for a person.", at_scrape=True),
    Metric("memberflow_owned_partitions", "gauge", "Partitions this worker has acquired.", at_scrape=True),
    Metric("memberflow_log_partitions", "gauge", "Partitions that the log has.", ("log",), at_scrape=True),
    Metric("memberflow_timers_pending", "gauge", "Timers of the owned partitions.", at_scrape=True),
    Metric(
        "memberflow_timers_overdue_seconds",
        "gauge",
        "How far the oldest timer is behind its partition's clock.",
        at_scrape=True,
    ),
    Metric("memberflow_members_cached", "gauge", "Decoded members in memory.", at_scrape=True),
    Metric("memberflow_forwarded_records", "counter", "Strays sent on to their own partition."),
    Metric("memberflow_derived_records", "counter", "Referrals and echoes sent to other members' partitions."),
    Metric("memberflow_rebalances", "counter", "Rebalances of the group."),
    Metric(
        "memberflow_holds",
        "counter",
        "Holds of points on suspicion: opened, and how they ended.",
        ("kind",),
        values=("opened", *HOLD_ENDS),
    ),
)

SINK = (
    Metric("memberflow_sink_rows", "counter", "Rows inserted, by table.", ("table",)),
    Metric("memberflow_sink_insert_seconds", "histogram", "Time of one insert.", ("table",), FAST),
    Metric("memberflow_sink_insert_failures", "counter", "Inserts that failed and are repeated."),
    Metric("memberflow_sink_repeats_dropped", "counter", "Facts dropped because their number was seen."),
    Metric(
        "memberflow_sink_stopped_partitions",
        "gauge",
        "Partitions stopped at a gap, an unreadable fact or a refused insert, waiting for a person.",
    ),
    Metric(
        "memberflow_sink_freshness_seconds",
        "gauge",
        "How far the last stored fact is behind; 0 when none is left to store.",
        ("partition",),
        at_scrape=True,
    ),
    Metric("memberflow_sink_lag_records", "gauge", "Facts not stored yet.", ("partition",)),
    Metric(
        "memberflow_archive_lag_records",
        "gauge",
        "Recorded actions not stored yet, where the sink stores them.",
        ("partition",),
    ),
)

DISPATCHER = (
    Metric("memberflow_webhook_deliveries", "counter", "Tries by endpoint and outcome.", ("endpoint", "outcome")),
    Metric("memberflow_webhook_seconds", "histogram", "Time of one try.", ("endpoint",), SLOW),
    Metric("memberflow_webhooks_waiting", "gauge", "Deliveries waiting, by endpoint.", ("endpoint",)),
    Metric("memberflow_webhook_oldest_seconds", "gauge", "Age of the oldest waiting delivery.", ("endpoint",)),
    Metric("memberflow_webhooks_suppressed", "counter", "Contacts not made, by cause.", ("cause",)),
    Metric(
        "memberflow_dispatcher_stopped_partitions",
        "gauge",
        "Partitions the dispatcher stopped at a gap, waiting for a person.",
    ),
)

RECONCILER = (
    # No zeros before the first comparison: they would say that all is well.
    Metric(
        "memberflow_reconcile_mismatches",
        "gauge",
        "Blocks in which rows are not the facts of the topic, and numbers that are a gap, as the last run found them.",
        ("kind",),
    ),
    Metric("memberflow_reconcile_finished_timestamp_seconds", "gauge", "When rows and facts were last compared."),
)

BOARDS = (
    Metric("memberflow_boards_facts", "counter", "Facts read into boards."),
    Metric("memberflow_boards_lag_records", "gauge", "Facts not in the boards yet.", ("partition",)),
    Metric(
        "memberflow_boards_stopped_partitions",
        "gauge",
        "Partitions stopped at a gap or an unreadable fact: no board becomes final before a person has looked.",
    ),
    Metric("memberflow_boards_final", "counter", "Boards made final."),
    Metric("memberflow_boards_awards", "counter", "Award records appended."),
    Metric("memberflow_boards_differ", "counter", "Final boards that the facts would give otherwise now."),
)

CALIBRATION = (
    # No zeros before the first comparison: they would say that all is foretold well.
    Metric(
        "memberflow_calibration_gap_ratio",
        "gauge",
        "Mean distance over the tenths of all customers between the share foretold to buy and the share that bought.",
        ("horizon",),
    ),
    Metric(
        "memberflow_calibration_share_ratio",
        "gauge",
        "Share of a tenth of all customers, from the least likely on: foretold to buy, and that bought.",
        ("horizon", "decile", "kind"),
    ),
    Metric("memberflow_calibration_finished_timestamp_seconds", "gauge", "When P(alive) was last compared."),
)

EVERY_JOB = (
    Metric("memberflow_build", "info", "Version of the code and of Python."),
    Metric("memberflow_up_seconds", "gauge", "Seconds since this process started.", at_scrape=True),
    Metric("memberflow_event_loop_lag_seconds", "gauge", "How late the event loop answers a scrape.", at_scrape=True),
)

OF_JOB: dict[Job, tuple[Metric, ...]] = {
    "worker": WORKER + EVERY_JOB,
    "sink": SINK + EVERY_JOB,
    "dispatcher": DISPATCHER + EVERY_JOB,
    "reconciler": RECONCILER + EVERY_JOB,
    "boards": BOARDS + EVERY_JOB,
    "calibration": CALIBRATION + EVERY_JOB,
}
METRICS = WORKER + SINK + DISPATCHER + RECONCILER + BOARDS + CALIBRATION + EVERY_JOB

BY_NAME = {metric.name: metric for metric in METRICS}
