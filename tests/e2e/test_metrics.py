"""Metrics of running processes, scraped by a real Prometheus: every expression of board and alerts is asked there."""

import json
import secrets
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from kafka import KafkaProducer

from dashboards import alerts, pipeline
from infra.receiver import VALID, Receiver
from infra.stack import Stack
from tests.conftest import on_path
from tests.dashboards.test_board import filled
from tests.e2e.memberflow import PARTITIONS, Log, Running, check_in
from tests.polling import eventually

pytestmark = pytest.mark.real

BOARD = pipeline.expressions()
RULES = {alert.name: alert.expr for alert in alerts.ALERTS}
# What must have data in a pipeline that runs, with a dead letter and a webhook behind it.
LIVELY = [
    query.expr
    for row in pipeline.ROWS
    for panel in row.panels
    for query in panel.queries
    if panel.title
    in {
        "Processes up", "Records/s", "Seconds behind", "Seconds until stored", "Dead letters in the last hour",
        "Stopped partitions", "Webhook success", "Oldest timer overdue", "What became of records",
        "Refused by reason and source", "Lag in records", "Lag in seconds", "Offsets/s by partition",
        "Time of a chunk in a stage", "p99 by stage", "Where the time goes", "Records in a chunk", "Facts/s",
        "Commit latency", "Commits by answer", "Timers and members in memory", "Published, not committed",
        "Rows into ClickHouse", "Insert p99", "Tries by endpoint and outcome", "p99 of a try", "CPU", "Memory",
        "Event-loop lag, open files", "Uptime and version",
    }
]  # fmt: skip


class Pipeline(NamedTuple):
    """Worker, sink, dispatcher and boards of a log, watched by a Prometheus of their own."""

    log: Log
    prometheus: str
    processes: dict[str, Running]
    told: list[str]

    def ask(self, path: str, **query: str) -> Any:
        """The data of an answer of Prometheus' API."""
        url = f"{self.prometheus}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                told = json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{query}: {error.read().decode()}") from error
        assert told["status"] == "success", told
        assert not told.get("warnings"), told
        return told["data"]

    def value(self, expr: str) -> list[Any]:
        """The series of an expression now."""
        found: list[Any] = self.ask("query", query=filled(expr))["result"]
        return found

    def address(self, job: str) -> str:
        """Where a job shows its metrics."""
        (path,) = (self.log.folder / "targets").glob(f"{job}-*.json")
        address: str = json.loads(path.read_text())[0]["targets"][0]
        return address

    def shown(self, job: str) -> str:
        """What a job shows."""
        with urllib.request.urlopen(f"http://{self.address(job)}/metrics", timeout=30) as answer:
            text: str = answer.read().decode()
        return text


def ago(**span: int) -> str:
    return (datetime.now(UTC) - timedelta(**span)).isoformat()  # noqa: TID251 - as an app stamps what it sends


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    on_path("prometheus")
    folder = tmp_path_factory.mktemp("watched")
    secret = "whsec_" + b64encode(secrets.token_bytes(32)).decode()
    told: list[str] = []
    receiver = Receiver(secret, told.append)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    endpoints = json.dumps([{"name": "coupons", "url": receiver.url, "secret": secret}])
    with Stack(folder, prometheus=True) as stack, ExitStack() as running:
        running.callback(receiver.server_close)
        running.callback(receiver.shutdown)
        log = Log(
            stack,
            folder,
            MEMBERFLOW_DISPATCHER__ENDPOINTS=endpoints,
            MEMBERFLOW_DISPATCHER__ALLOW_PRIVATE="true",
        )
        log.ok("bootstrap")
        of_boards = {"MEMBERFLOW_BOARDS__FOLDER": str(folder / "boards")}
        processes = {
            "worker": running.enter_context(log.worker()),
            "sink": running.enter_context(log.sinking()),
            "dispatcher": running.enter_context(log.process("dispatcher", "partition taken over", PARTITIONS, {})),
            "boards": running.enter_context(log.process("boards", "boards starts", 1, of_boards)),
        }
        assert stack.prometheus is not None
        pipeline = Pipeline(log, stack.prometheus, processes, told)
        assert eventually(lambda: len(pipeline.value("up == 1")) == 4, within_s=60)
        begin(pipeline)
        yield pipeline


def begin(pipeline: Pipeline) -> None:
    """A go_live, members silent for ten days, members of now, and a record that nobody can read."""
    log = pipeline.log
    log.ok("outreach", "go-live", "--why", "a test", "--by", "op-1", "--approved-by", "op-2")
    silent = [check_in(number, f"silent-{number}", ago(days=10)) for number in range(20)]
    log.send(silent + [check_in(100 + number, f"m-{number}", ago(seconds=1)) for number in range(200)])
    poison = {"action": "buy", "event_id": "x", "source": "shop", "member_id": "m-1", "occurred_at": ago(seconds=1)}
    write_unchecked(log, json.dumps(poison).encode())
    assert eventually(lambda: len(pipeline.told) == 20, within_s=120), pipeline.told
    # Rates need two scrapes that differ: some more, until the last panel has something to draw.
    numbers = iter(range(1000, 10_000))

    def all_drawn() -> bool:
        log.send([check_in(next(numbers), "m-1", ago(seconds=1)) for _ in range(5)])
        return all(pipeline.value(expr) for expr in LIVELY)

    assert eventually(all_drawn, within_s=120, every_s=1.0), [expr for expr in LIVELY if not pipeline.value(expr)]


def write_unchecked(log: Log, value: bytes) -> None:
    """A record as an app writes it that does not ask us first."""
    producer = KafkaProducer(bootstrap_servers=log.env["MEMBERFLOW_KAFKA__BOOTSTRAP"])
    producer.send(log.topics.actions.name, value=value, key=b"m-1").get(timeout=30)
    producer.close()


def test_every_expression_of_the_board_is_answered(watched: Pipeline) -> None:
    for expr in BOARD:
        watched.value(expr)
        watched.ask("query_range", query=filled(expr), start=ago(minutes=5), end=ago(), step="15")


def test_what_must_have_data_has_data(watched: Pipeline) -> None:
    numbers = {expr: watched.value(expr) for expr in LIVELY}
    assert all(numbers.values())
    (up,) = watched.value("sum(up)")
    assert up["value"][1] == "4"


def test_the_numbers_are_those_of_the_processes(watched: Pipeline) -> None:
    (letters,) = watched.value('sum(memberflow_records_total{verdict="dead_letter"})')
    assert letters["value"][1] == "1"
    (delivered,) = watched.value('memberflow_webhook_deliveries_total{outcome="delivered"}')
    assert (delivered["metric"]["endpoint"], delivered["value"][1]) == ("coupons", "20")
    (refused,) = watched.value("memberflow_refused_records_total")
    assert (refused["metric"]["reason"], refused["metric"]["source"]) == ("unknown_action", "shop")
    assert len(watched.value("memberflow_next_offset")) == PARTITIONS


def test_a_pipeline_in_good_health_is_seconds_behind_at_most(watched: Pipeline) -> None:
    assert eventually(lambda: float(watched.value("max(memberflow_freshness_seconds)")[0]["value"][1]) < 5, within_s=60)


def test_prometheus_has_loaded_the_rules_and_the_dead_letter_fires(watched: Pipeline) -> None:
    def state() -> dict[str, tuple[str, str]]:
        (group,) = watched.ask("rules")["groups"]
        return {rule["name"]: (rule["health"], rule["state"]) for rule in group["rules"]}

    assert eventually(lambda: state().get("DeadLettersSeen") == ("ok", "firing"), within_s=30), state()
    assert state()["PipelineBehind"] == ("ok", "inactive")
    for expr in RULES.values():
        watched.value(expr)


def test_every_webhook_had_a_valid_signature(watched: Pipeline) -> None:
    assert all(VALID in line and "seen before" not in line for line in watched.told), watched.told


@pytest.mark.parametrize("job", ["worker", "sink", "dispatcher"])
def test_promtool_finds_nothing_to_say(watched: Pipeline, job: str) -> None:
    promtool = on_path("promtool")
    done = subprocess.run(
        [promtool, "check", "metrics"], input=watched.shown(job), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_ten_thousand_members_more_are_not_one_series_more(watched: Pipeline) -> None:
    def shown() -> dict[str, set[str]]:
        return {job: series(watched.shown(job)) for job in watched.processes}

    actions = [check_in(50_000 + number, f"crowd-{number}", ago(seconds=1)) for number in range(10_000)]
    watched.log.send(actions[:1_000])  # every partition has then been written, stored and shown once
    assert eventually(lambda: watched.log.verdicts().get("applied", 0) >= 1_220, within_s=60)
    seen: list[dict[str, set[str]]] = []

    def settled() -> bool:
        """The same at 30 looks running: longer than the sink waits with aggregates."""
        seen.append(shown())
        return len(seen) > 30 and all(look == seen[-1] for look in seen[-30:])

    assert eventually(settled, within_s=60)
    watched.log.send(actions[1_000:])
    assert eventually(lambda: watched.log.verdicts().get("applied", 0) >= 10_220, within_s=120)
    assert shown() == seen[-1]


def series(text: str) -> set[str]:
    """The names and labels of everything shown."""
    return {line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")}


@pytest.mark.parametrize("job", ["worker", "sink", "dispatcher"])
def test_a_process_listens_on_loopback_alone(watched: Pipeline, job: str) -> None:
    process = psutil.Process(watched.processes[job].process.pid)
    listening = {it.laddr for it in process.net_connections("inet") if it.status == psutil.CONN_LISTEN}
    assert {address.ip for address in listening} == {"127.0.0.1"}
    expected = 2 if job == "sink" else 1  # the sink with the engine inside it also answers SQL
    assert len(listening) == expected
    assert int(watched.address(job).rpartition(":")[2]) in {address.port for address in listening}


def test_faust_pages_are_gone(watched: Pipeline) -> None:
    """Faust's web server would answer /table/ and /router/ to anybody."""
    for path in ("table/", "router/", "graph/"):
        with urllib.request.urlopen(f"http://{watched.address('worker')}/{path}", timeout=10) as answer:
            assert answer.read().startswith(b"# HELP")  # the one page there is


def test_what_ended_in_order_is_no_longer_looked_for(watched: Pipeline, tmp_path: Path) -> None:
    with watched.log.process("dispatcher", "dispatcher starts", 1, {}):
        assert len(list((watched.log.folder / "targets").glob("dispatcher-*.json"))) == 2
    assert len(list((watched.log.folder / "targets").glob("dispatcher-*.json"))) == 1
