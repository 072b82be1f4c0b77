"""The pipeline board, for those who keep it running: is it healthy, and if not, where does it stick?"""

from __future__ import annotations

from dashboards.panels import CHOSEN, PARTITIONS, Panel, Query, Row, quantile, rate, total, worst

TITLE = "memberflow pipeline"
UID = "memberflow-pipeline"

LETTERS = CHOSEN + ',verdict="dead_letter"'
ODD = CHOSEN + ',verdict=~"duplicate|conflict|late"'
SOURCES = CHOSEN + ',source=~"$source"'
DELIVERED = CHOSEN + ',outcome="delivered"'

HEALTH = Row(
    "Is it healthy?",
    (
        Panel(
            "Processes up",
            "Processes that answer their scrape, by job.",
            "none",
            (Query('sum by (job) (up{job=~"$job"})', "{{job}}"),),
            "stat",
        ),
        Panel(
            "Records/s",
            "Records of the log that were committed, ticks left out.",
            "cps",
            (Query(rate("memberflow_records_total", where=CHOSEN + ',verdict!="tick"')),),
            "stat",
        ),
        Panel(
            "Seconds behind",
            "Age of the last committed record of the slowest partition. Believe it on a live log; while history is "
            "imported it shows the age of the history, and the lag in records says how far it is.",
            "s",
            (Query(worst("memberflow_freshness_seconds")),),
            "stat",
            amber=30,
            red=120,
        ),
        Panel(
            "Seconds until stored",
            "Age of the last fact in ClickHouse of the slowest partition, 0 where nothing is left to store.",
            "s",
            (Query(worst("memberflow_sink_freshness_seconds")),),
            "stat",
            amber=30,
            red=120,
        ),
        Panel(
            "Dead letters in the last hour",
            "Records refused: see `memberflow dlq list`, then tell the source.",
            "none",
            (Query(f"sum(increase(memberflow_records_total{{{LETTERS}}}[1h]))"),),
            "stat",
            red=1,
        ),
        Panel(
            "Stopped partitions",
            "Halted by a worker, or stopped at a gap by sink, dispatcher or boards; each waits for a person: "
            "`memberflow partition list`.",
            "none",
            (
                Query(total("memberflow_halted_partitions"), "worker"),
                Query(total("memberflow_sink_stopped_partitions"), "sink"),
                Query(total("memberflow_dispatcher_stopped_partitions"), "dispatcher"),
                Query(total("memberflow_boards_stopped_partitions"), "boards"),
            ),
            "stat",
            red=1,
        ),
        Panel(
            "Webhook success",
            "Share of tries that were answered with 2xx.",
            "percentunit",
            (
                Query(
                    f"{rate('memberflow_webhook_deliveries_total', where=DELIVERED)} / "
                    f"{rate('memberflow_webhook_deliveries_total')}"
                ),
            ),
            "stat",
            amber=0.99,
            red=0.95,
            less_is_worse=True,
        ),
        Panel(
            "Oldest timer overdue",
            "How far the oldest wake-up is behind its partition's clock: a tier entered late.",
            "s",
            (Query(worst("memberflow_timers_overdue_seconds")),),
            "stat",
            amber=10,
            red=60,
        ),
    ),
)

INGEST = Row(
    "Ingest",
    (
        Panel(
            "What became of records",
            "By verdict: applied, duplicate, late, dead letter, tick ...",
            "cps",
            (Query(rate("memberflow_records_total", "verdict"), "{{verdict}}"),),
            width=12,
        ),
        Panel(
            "Refused by reason and source",
            "Whom to tell, and what. `personal` comes first: somebody writes names or phone numbers into the log.",
            "cps",
            (Query(rate("memberflow_refused_records_total", "reason, source", SOURCES), "{{reason}} · {{source}}"),),
            width=12,
        ),
        Panel(
            "Points held on suspicion",
            "Holds opened, released, reversed, or released since nobody judged them for 30 days: judge them before.",
            "cps",
            (Query(rate("memberflow_holds_total", "kind"), "{{kind}}"),),
            width=12,
        ),
    ),
)

KAFKA = Row(
    "Kafka",
    (
        Panel(
            "Lag in records",
            "Between our own commit and the end of the log, by partition.",
            "short",
            (Query(worst("memberflow_lag_records", "partition", PARTITIONS), "{{partition}}"),),
        ),
        Panel(
            "Lag in seconds",
            "Age of the last committed record, by partition. A tick each second keeps it near 1 while nobody sends.",
            "s",
            (Query(worst("memberflow_freshness_seconds", "partition", PARTITIONS), "{{partition}}"),),
            amber=30,
            red=120,
        ),
        Panel(
            "Offsets/s by partition",
            "Uneven partitions: a member or a source that dominates, or another partitioner.",
            "cps",
            (Query(f"sum by (partition) (deriv(memberflow_next_offset{{{PARTITIONS}}}[1m]))", "{{partition}}"),),
        ),
        Panel(
            "Rebalances and strays",
            "Strays are records in a wrong partition: their sender must set partitioner=murmur2_random.",
            "cps",
            (
                Query(rate("memberflow_rebalances_total"), "rebalances"),
                Query(rate("memberflow_forwarded_records_total"), "strays sent on"),
                Query(rate("memberflow_derived_records_total"), "derived records sent"),
            ),
        ),
    ),
)

PROCESSING = Row(
    "Processing",
    (
        Panel(
            "Time of a chunk in a stage",
            "All stages together, as a heatmap.",
            "s",
            (Query(f"sum by (le) (rate(memberflow_stage_seconds_bucket{{{CHOSEN}}}[$__rate_interval]))", "{{le}}"),),
            "heatmap",
        ),
        Panel(
            "p99 by stage",
            "check, decode, load, decide, publish, commit of one chunk.",
            "s",
            (Query(quantile(0.99, "memberflow_stage_seconds", "stage"), "{{stage}}"),),
        ),
        Panel(
            "Where the time goes",
            "Seconds a second in each stage; partitions overlap, so the sum may exceed 1.",
            "s",
            (Query(rate("memberflow_stage_seconds_sum", "stage"), "{{stage}}"),),
        ),
        Panel(
            "Records in a chunk",
            "Small chunks at a high rate cost speed.",
            "short",
            (
                Query(quantile(0.5, "memberflow_chunk_records"), "p50"),
                Query(quantile(0.95, "memberflow_chunk_records"), "p95"),
            ),
        ),
        Panel(
            "Duplicates, conflicts, late",
            "Without effect. Conflicts: a source gives one id to two contents.",
            "cps",
            (Query(rate("memberflow_records_total", "verdict", ODD), "{{verdict}}"),),
            width=12,
        ),
        Panel(
            "Facts/s",
            "Facts acknowledged by the broker.",
            "cps",
            (Query(rate("memberflow_facts_published_total"), "facts"),),
            width=12,
        ),
    ),
)

STATE = Row(
    "State and timers",
    (
        Panel(
            "Commit latency",
            "The one script that commits a chunk to Redis.",
            "s",
            (
                Query(quantile(0.5, "memberflow_stage_seconds", where=CHOSEN + ',stage="commit"'), "p50"),
                Query(quantile(0.99, "memberflow_stage_seconds", where=CHOSEN + ',stage="commit"'), "p99"),
            ),
        ),
        Panel(
            "Commits by answer",
            "fenced: another owner. stale: Redis went back. lost: state is gone, `memberflow rebuild`.",
            "cps",
            (Query(rate("memberflow_commits_total", "answer"), "{{answer}}"),),
        ),
        Panel(
            "Chunks dropped",
            "Fetched again from Redis' offset; nothing is lost, but a steady rate says that something fails.",
            "cps",
            (Query(rate("memberflow_chunks_dropped_total", "cause"), "{{cause}}"),),
        ),
        Panel(
            "Timers and members in memory",
            "Timers pending of the owned partitions, and decoded members in the cache.",
            "short",
            (
                Query(total("memberflow_timers_pending"), "timers"),
                Query(total("memberflow_members_cached"), "members"),
            ),
        ),
    ),
)

SINKS = Row(
    "Sinks",
    (
        Panel(
            "Published, not committed",
            "Chunks in flight: at most one a partition.",
            "none",
            (Query(total("memberflow_chunks_in_flight"), "chunks"),),
        ),
        Panel(
            "Rows into ClickHouse",
            "By table.",
            "rowsps",
            (Query(rate("memberflow_sink_rows_total", "table"), "{{table}}"),),
        ),
        Panel(
            "Insert p99",
            "By table.",
            "s",
            (Query(quantile(0.99, "memberflow_sink_insert_seconds", "table"), "{{table}}"),),
        ),
        Panel(
            "Not stored yet, repeats, failures",
            "Facts left to store, recorded actions where they are stored too; facts dropped because they were seen; "
            "inserts that are repeated.",
            "short",
            (
                Query(total("memberflow_sink_lag_records"), "facts left"),
                Query(total("memberflow_archive_lag_records"), "actions left"),
                Query(rate("memberflow_sink_repeats_dropped_total"), "repeats/s"),
                Query(rate("memberflow_sink_insert_failures_total"), "failed inserts/s"),
            ),
        ),
        Panel(
            "Rows that differ",
            "Blocks that are not the facts of the topic, by kind, and facts missing for good (gap), as the last run "
            "of `memberflow reconcile --every` found them.",
            "none",
            (Query(worst("memberflow_reconcile_mismatches", "kind"), "{{kind}}"),),
            red=1,
        ),
        Panel(
            "Compared, seconds ago",
            "Since rows and facts were last compared.",
            "s",
            (Query(f"time() - max(memberflow_reconcile_finished_timestamp_seconds{{{CHOSEN}}})"),),
            red=86_400,
        ),
    ),
)

OUTREACH = Row(
    "Outreach",
    (
        Panel(
            "Tries by endpoint and outcome",
            "Only 2xx is a delivery; all else is tried again, on a schedule.",
            "cps",
            (Query(rate("memberflow_webhook_deliveries_total", "endpoint, outcome"), "{{endpoint}} · {{outcome}}"),),
        ),
        Panel(
            "p99 of a try",
            "Time until the receiver has answered.",
            "s",
            (Query(quantile(0.99, "memberflow_webhook_seconds", "endpoint"), "{{endpoint}}"),),
        ),
        Panel(
            "Oldest not delivered",
            "Age of the oldest contact that waits, and how many wait.",
            "s",
            (Query(worst("memberflow_webhook_oldest_seconds", "endpoint"), "{{endpoint}}"),),
            amber=300,
            red=3600,
        ),
        Panel(
            "Waiting and suppressed",
            "Contacts that wait, by endpoint; contacts not made, by cause.",
            "short",
            (
                Query(total("memberflow_webhooks_waiting", "endpoint"), "{{endpoint}} waiting"),
                Query(rate("memberflow_webhooks_suppressed_total", "cause"), "{{cause}}/s"),
            ),
        ),
    ),
)

BOARDS = Row(
    "Boards",
    (
        Panel(
            "Facts not in the boards",
            "Facts that the boards process has not read yet: what is shown is that far behind.",
            "short",
            (Query(total("memberflow_boards_lag_records", "partition", PARTITIONS), "{{partition}}"),),
            amber=10_000,
            red=100_000,
        ),
        Panel(
            "Facts read into boards",
            "Per second; many more than are published say that all are read anew.",
            "short",
            (Query(rate("memberflow_boards_facts_total")),),
        ),
        Panel(
            "Final boards and awards",
            "Boards made final and awards appended, per second; final boards that the facts would give otherwise now.",
            "short",
            (
                Query(rate("memberflow_boards_final_total"), "final/s"),
                Query(rate("memberflow_boards_awards_total"), "awards/s"),
                Query(f"sum(memberflow_boards_differ_total{{{CHOSEN}}})", "differ"),
            ),
        ),
    ),
)

ALIVE = Row(
    "P(alive)",
    (
        Panel(
            "Foretold and bought, mean gap",
            "Mean distance over the tenths of all customers between the share foretold to buy and the share that did.",
            "percentunit",
            (Query(worst("memberflow_calibration_gap_ratio", "horizon"), "{{horizon}} d"),),
            amber=0.05,
            red=0.1,
        ),
        Panel(
            "Share of each tenth, 30 days",
            "Foretold to buy and bought, tenths from the least likely (1) on.",
            "percentunit",
            (
                Query(
                    worst("memberflow_calibration_share_ratio", "decile, kind", CHOSEN + ',horizon="30"'),
                    "{{decile}} {{kind}}",
                ),
            ),
        ),
        Panel(
            "Foretold and bought compared, seconds ago",
            "Since P(alive) was last put to the test.",
            "s",
            (Query(f"time() - max(memberflow_calibration_finished_timestamp_seconds{{{CHOSEN}}})"),),
            red=172_800,
        ),
    ),
)

RUNTIME = Row(
    "Runtime",
    (
        Panel(
            "CPU",
            "Cores used; a worker above 0.95 of one is the limit of its partitions.",
            "percentunit",
            (Query(rate("process_cpu_seconds_total", "job, instance"), "{{job}} {{instance}}"),),
            amber=0.8,
            red=0.95,
        ),
        Panel(
            "Memory",
            "Resident memory.",
            "bytes",
            (Query(total("process_resident_memory_bytes", "job, instance"), "{{job}} {{instance}}"),),
        ),
        Panel(
            "Event-loop lag, open files",
            "How late the loop answers a scrape, in seconds; open file descriptors as a share of those allowed.",
            "short",
            (
                Query(worst("memberflow_event_loop_lag_seconds", "job, instance"), "lag {{job}} {{instance}}"),
                Query(
                    f"{total('process_open_fds', 'job, instance')} / {total('process_max_fds', 'job, instance')}",
                    "files {{job}} {{instance}}",
                ),
            ),
        ),
        Panel(
            "Uptime and version",
            "Since the start of each process, with the version of its code.",
            "dtdurations",
            (
                Query(
                    f"max by (job, instance, version) (memberflow_up_seconds{{{CHOSEN}}} "
                    f"* on (job, instance) group_left (version) memberflow_build_info{{{CHOSEN}}})",
                    "{{job}} {{instance}} {{version}}",
                ),
            ),
            "stat",
        ),
    ),
)

ROWS = (HEALTH, INGEST, KAFKA, PROCESSING, STATE, SINKS, OUTREACH, BOARDS, ALIVE, RUNTIME)

# Marked on every panel.
ANNOTATIONS = (
    Query('memberflow_up_seconds{job=~"$job"} < 15', "started {{job}}"),
    Query('increase(memberflow_rebalances_total{job=~"$job"}[1m]) > 0', "rebalance {{instance}}"),
)


def expressions() -> list[str]:
    """Every PromQL of the board, with its variables in it."""
    return [query.expr for row in ROWS for panel in row.panels for query in panel.queries] + [
        query.expr for query in ANNOTATIONS
    ]
