"""The commands of a running log, on real parts: bootstrap, worker, send, dead letters, partitions, doctor."""

from __future__ import annotations

import asyncio
import json
import signal
import urllib.request
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from kafka import KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType

from infra.process import free_ports
from infra.stack import Stack
from schemas.settings import ClickHouse, Settings
from schemas.topics import topics
from streams.bootstrap import first_control, first_values
from streams.cli import default_programme
from streams.http_store import HttpStore
from streams.keys import private_key
from streams.programme_log import sealed, spread
from streams.redis_store import RedisStore
from streams.store import key
from streams.topics import admin
from streams.wiring import Invocation
from tests.e2e.memberflow import PARTITIONS, Log, check_in
from tests.polling import eventually

pytestmark = pytest.mark.real
PROGRAMME = Path(__file__).parents[2] / "schemas" / "programmes" / "default.yaml"


@pytest.fixture
def log(stack: Stack, tmp_path: Path) -> Log:
    return Log(stack, tmp_path)


@pytest.fixture
def begun(log: Log) -> Log:
    log.ok("bootstrap")
    return log


def now() -> str:
    return datetime.now(UTC).isoformat()  # noqa: TID251 - as an app stamps what it sends


def asked(log: Log, redis_url: str, what: Callable[[RedisStore], Awaitable[None]]) -> None:
    """Something done to the log's state store."""

    async def ask() -> None:
        store = RedisStore(redis_url, log.name)
        await what(store)
        await store.close()

    asyncio.run(ask())


def settings_of(log: Log, monkeypatch: pytest.MonkeyPatch) -> Invocation:
    """The same settings in this process."""
    for name, value in log.env.items():
        if name.startswith("MEMBERFLOW_"):
            monkeypatch.setenv(name, value)
    monkeypatch.chdir(log.folder)
    return Invocation(lambda: 0.0)


# -- bootstrap


def test_a_log_begins_once(log: Log) -> None:
    assert log.ok("bootstrap").splitlines()[-1] == f"log {log.name} has begun in partitions 0, 1, 2"
    before = log.partitions()
    assert log.refused("bootstrap").endswith("has begun already; nothing was changed")
    assert log.partitions() == before
    assert [row["next_offset"] for row in before] == [0] * PARTITIONS
    assert [row["end"] for row in before] == [1] * PARTITIONS


def test_a_topic_that_begins_with_another_logs_programme_is_refused(
    stack: Stack, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, topic = settings_of(log, monkeypatch).settings, log.topics.actions.name
    log.ok("bootstrap")
    [value] = set(asyncio.run(first_values(settings, topic)).values())
    assert value is not None
    half = Log(stack, log.folder)
    other = settings_of(half, monkeypatch).settings
    half.ok("topics", "apply")
    told = half.refused("programme", "apply", *applied(log))
    assert "has no state; begin the log with `memberflow bootstrap`" in told

    # The record of another log is nobody's first record.
    asyncio.run(spread(other, half.topics.actions.name, value, {1: 0}))
    assert "begins with something else" in half.refused("bootstrap")


def test_a_partition_whose_first_record_is_missing_gets_the_one_of_the_others(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    invocation = settings_of(log, monkeypatch)
    settings, topic = invocation.settings, log.topics.actions.name
    log.ok("topics", "apply")
    sign = private_key(settings.keys.folder, settings.keys.staff)
    control = first_control(settings, default_programme(), "ana", 946_684_800_000)
    asyncio.run(spread(settings, topic, sealed(control, sign), {1: 0}))

    other = log.folder / "other.yaml"
    other.write_text(default_programme().replace("points: 50", "points: 51"))
    assert "another programme was interrupted" in log.refused("bootstrap", str(other))
    log.ok("bootstrap")
    assert len(set(asyncio.run(first_values(settings, topic)).values())) == 1


def test_a_log_whose_state_was_lost_is_not_begun_anew(
    begun: Log, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with begun.worker():
        assert eventually(lambda: all(row["facts"] for row in begun.partitions()), within_s=30)
    asked(begun, redis_url, lambda store: store.wipe(1))
    told = begun.refused("bootstrap")
    assert "partition 1" in told
    assert told.endswith("restore it with `memberflow rebuild P`, P being its partition")


def test_what_no_partition_could_read_is_not_written(log: Log) -> None:
    told = log.refused("bootstrap", "--history-from", "1970-01-01")
    assert "cannot be read back" in told
    log.ok("bootstrap")


# -- worker


def test_a_worker_without_a_log_says_what_to_do(log: Log) -> None:
    assert "begin the log with `memberflow bootstrap`" in log.no_worker()


def test_actions_of_a_file_become_facts_and_the_bad_lines_are_told(begun: Log) -> None:
    file = begun.folder / "actions.jsonl"
    good = [json.dumps(check_in(i, f"m-{i}", now())) for i in range(40)]
    bad = ['{"action": "check_in"', json.dumps(check_in(99, "m-1", now(), phone="13800138000")), '{"record":"tick"}']
    file.write_text("\n".join([*good[:20], bad[0], "", bad[1], *good[20:], bad[2]]) + "\n")
    done = begun.run("send", str(file))
    assert done.exit_code == 2
    assert done.stdout == "sent 40\n"
    told = done.stderr.splitlines()
    assert [line.split(": ")[1] for line in told[:-1]] == ["line 21", "line 23", "line 44"]
    assert "personal at $.phone" in told[1]
    assert told[-1].startswith("memberflow: 3 lines were not sent")
    with begun.worker():
        assert eventually(lambda: begun.verdicts().get("applied") == 40, within_s=30)
    assert sum(row["members"] for row in begun.partitions()) == 40
    assert not any(row["halted"] for row in begun.partitions())


def test_a_file_that_is_not_there_or_a_topic_that_is_not_there_is_one_line(log: Log) -> None:
    assert "begin the log with `memberflow bootstrap`" in log.refused("send", "-", stdin=b"{}")
    log.ok("topics", "apply")
    assert log.refused("send", "nowhere.jsonl").endswith("name a file of JSON lines")


def test_a_worker_dies_at_a_failpoint_and_the_next_one_goes_on(begun: Log) -> None:
    with begun.worker(exit_code=-signal.SIGKILL, CRASH_AT="chunk.published:5") as worker:
        begun.send([check_in(i, f"m-{i}", now()) for i in range(20)])
        worker.process.wait(60)
    with begun.worker():
        assert eventually(lambda: begun.verdicts().get("applied") == 20, within_s=30)


def test_another_partition_count_is_refused_with_78(begun: Log) -> None:
    begun.ok("topics", "apply")
    with begun.worker():
        pass
    told = begun.no_worker(code=78, MEMBERFLOW_PARTITIONS="2")
    assert "a log name that was never used" in told


def test_a_worker_refuses_a_failpoint_that_does_not_exist(begun: Log) -> None:
    assert "CRASH_AT: no point chunk.lost" in begun.no_worker(CRASH_AT="chunk.lost")


# -- sink


def test_a_sink_stores_answers_sql_and_ends_in_order(stack: Stack, tmp_path: Path) -> None:
    with free_ports(1) as [port]:
        own = {"MEMBERFLOW_CLICKHOUSE__HTTP_PORT": str(port), "MEMBERFLOW_CLICKHOUSE__FOLDER": str(tmp_path / "chdb")}
    log = Log(stack, tmp_path, **own)
    log.ok("bootstrap")
    log.send([check_in(i, f"m-{i}", now()) for i in range(25)])
    with log.sinking() as sink, log.worker():
        assert eventually(lambda: log.verdicts().get("applied") == 25, within_s=30)
        reader = HttpStore(Settings(clickhouse=ClickHouse(http_port=port)).clickhouse)
        points = "SELECT sum(points) FROM facts FINAL WHERE log = %(log)s"
        assert eventually(lambda: reader.query(points, {"log": log.name}) == [(125,)], within_s=30)
        assert log.ok("reconcile") == "every row is a fact, every fact a row\n"
        with log.process("reconcile", "rows and facts compared", 1, {}, arguments=("--every", "1h")) as reconciler:
            (told,) = reconciler.said("rows and facts compared")
            assert (told["differ"], told["missing"]) == (0, 0)
            (begun,) = reconciler.said("reconciler starts")
            with urllib.request.urlopen(f"http://127.0.0.1:{begun['metrics_port']}/metrics", timeout=30) as answer:
                assert 'memberflow_reconcile_mismatches{kind="missing"} 0.0' in answer.read().decode()
        assert reconciler.said("reconciler stopped")
        assert {it["what"] for it in json.loads(log.ok("doctor", "--json")) if it["health"] != "ok"} == set()
        owner = log.refused("migrate", "--status")
        assert f"process {sink.process.pid} owns the analytics folder" in owner
    assert sink.said("sink stopped")
    assert "nobody answers SQL" in log.refused("reconcile")
    assert log.ok("migrate") == "nothing is pending\n"
    assert {it["state"] for it in json.loads(log.ok("migrate", "--status", "--json"))} == {"applied"}
    assert "no partition is stopped at a gap" in log.refused("sink", "resume")


# -- dead letters


def test_a_poison_record_is_listed_shown_and_replayed(begun: Log, kafka_bootstrap: str) -> None:
    poison = b'{"action": "check_in", "member_id": "m-1"'
    blanked = json.dumps(check_in(7, "m-2", now(), phone="13800138000")).encode()
    with KafkaProducer(bootstrap_servers=kafka_bootstrap) as producer:
        producer.send(begun.topics.dead_letters.name, b"written by hand", partition=0).get(30)
        producer.send(begun.topics.actions.name, poison, key=b"m-1", partition=1, headers=[("trace", b"t-1")]).get(30)
        producer.send(begun.topics.actions.name, blanked, key=b"m-2", partition=2).get(30)
        producer.flush()
    with begun.worker():
        assert eventually(lambda: len(begun.letters()) == 2, within_s=30)
        [first] = begun.letters("--reason", "not_json")
        assert (first["value"].encode(), first["key"], first["origin"][:2]) == (poison, "m-1", "1:")
        shown = json.loads(begun.ok("dlq", "show", first["letter"], "--json"))
        assert shown["headers"]["trace"] == "t-1"
        assert poison.decode() in begun.ok("dlq", "show", first["letter"])

        assert begun.ok("dlq", "replay", first["letter"], "--dry-run") == "would replay 1\n"
        assert begun.ok("dlq", "replay", first["letter"]) == "replayed 1\n"
        assert eventually(lambda: len(begun.letters("--reason", "not_json")) == 2, within_s=30)
        again = begun.letters("--reason", "not_json")[0]
        assert (again["value"], again["key"]) == (first["value"], "m-1")
        headers = json.loads(begun.ok("dlq", "show", again["letter"], "--json"))["headers"]
        assert headers["trace"] == "t-1"
        assert begun.ok("dlq", "replay", "--reason", "not_json") == "replayed 2\n"

    assert "there is no dead letter 0:0" in begun.refused("dlq", "show", "0:0")
    [second] = begun.letters("--reason", "personal")
    assert "13800138000" not in json.dumps(second)
    assert "it was blanked: personal values are gone" in begun.refused("dlq", "replay", second["letter"])
    assert "blanked" in begun.run("dlq", "replay", "--reason", "personal").stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("show", "0:0"), "there is no dead letter 0:0"),
        (("show", "9:0"), "is not P:OFFSET"),
        (("show", "1-7"), "is not P:OFFSET"),
        (("list", "--reason", "bad"), "there is no reason bad; there are not_json"),
        (("replay",), "name one letter as P:OFFSET"),
        (("replay", "0:0", "--reason", "stray"), "0:0 and --reason stray exclude each other"),
        (("replay", "--reason", "stray"), "no dead letter was refused for stray; see `memberflow dlq list`"),
    ],
)
def test_a_letter_that_cannot_be_meant_is_one_line(begun: Log, arguments: tuple[str, ...], told: str) -> None:
    assert told in begun.refused("dlq", *arguments)


# -- partitions


def test_another_number_of_partitions_is_told_by_every_command_that_would_go_by_it(begun: Log, tmp_path: Path) -> None:
    """Else half of the members would get another programme, and an audit would be right about half of them."""
    file = tmp_path / "actions"
    file.write_text("{}\n")
    other = str(PARTITIONS + 1)
    by = ("--by", "a", "--approved-by", "b", "--why", "c")
    for arguments in (
        ("partition", "list"),
        ("member", "show", "m-1"),
        ("audit",),
        ("snapshot", str(tmp_path / "snapshots")),
        ("programme", "apply", str(PROGRAMME), *by),
        ("outreach", "go-live", *by),
        ("send", str(file)),
        ("worker",),
        ("sink",),
    ):
        told = begun.refused(*arguments, code=78, MEMBERFLOW_PARTITIONS=other)
        assert f"has {PARTITIONS} partitions, MEMBERFLOW_PARTITIONS says {other}; set what" in told, arguments
    assert "partitions is" in begun.run("doctor", "--json", MEMBERFLOW_PARTITIONS=other).stdout


def test_a_halted_partition_is_listed_and_goes_on_after_resume(begun: Log, redis_url: str) -> None:
    asked(begun, redis_url, lambda store: store.halt(1, "a person looks"))
    with begun.worker(owns=PARTITIONS - 1) as worker:
        begun.send([check_in(i, f"m-{i}", now()) for i in range(30)])
        halted = {row["partition"]: row["halted"] for row in begun.partitions()}
        assert halted == {0: None, 1: "a person looks", 2: None}
        assert begun.partitions()[1]["next_offset"] == 0
        assert begun.ok("partition", "resume", "1") == "partition 1 goes on\n"
        assert eventually(lambda: begun.verdicts().get("applied") == 30, within_s=30)
        assert worker.said("partition not acquired")
    assert "partition 1 is not halted" in begun.refused("partition", "resume", "1")
    assert "the log has 0 to 2" in begun.refused("partition", "resume", "3")


# -- doctor


def test_a_worker_that_has_just_started_is_not_told_to_be_missing(begun: Log) -> None:
    found = {it["what"]: it for it in json.loads(begun.run("doctor", "--json").stdout)}
    assert found["clock"]["found"] == "no worker has committed a record of this log yet"
    assert "one that has just started needs some seconds" in found["clock"]["remedy"]


@pytest.mark.parametrize("part", ["header", "states"])
def test_a_spoiled_key_halts_its_partition_alone_until_it_is_rebuilt(begun: Log, redis_url: str, part: str) -> None:
    async def spoil(store: RedisStore) -> None:
        await store._link.call("SET", key(store.log, 0, part), "text")

    asked(begun, redis_url, spoil)
    with begun.worker(owns=PARTITIONS - 1):  # which ends with exit code 0
        assert eventually(lambda: all(row["facts"] for row in begun.partitions()[1:]), within_s=30)
        assert eventually(lambda: begun.partitions()[0]["halted"], within_s=30)
        assert f":{part} is a string; restore it with `memberflow rebuild 0`" in begun.partitions()[0]["halted"]
        assert "restore it with" in begun.ok("partition", "list")
        told = json.loads(begun.run("doctor", "--json").stdout)
        assert [it["found"] for it in told if it["what"] == "partitions" and "is halted" in it["found"]]
        begun.ok("rebuild", "0")
        assert eventually(lambda: begun.partitions()[0]["facts"], within_s=30)
        assert begun.partitions()[0]["halted"] is None


def test_the_doctor_finds_what_is_wrong_and_says_what_to_do(begun: Log) -> None:
    with begun.worker():
        assert eventually(lambda: all(row["facts"] for row in begun.partitions()), within_s=30)
        done = begun.run("doctor", "--json")
    found = {it["what"]: it for it in json.loads(done.stdout)}
    assert done.exit_code == 2
    assert {name for name, it in found.items() if it["health"] == "fail"} == {"clickhouse"}
    assert found["clickhouse"]["remedy"].startswith("start `memberflow sink`")
    assert found["clock"]["health"] == "ok"
    assert done.stderr.splitlines()[-1].startswith("memberflow: not as it must be: clickhouse")


def test_the_doctor_tells_a_missing_topic_from_one_that_differs(begun: Log, stack: Stack) -> None:
    names = topics(begun.name, partitions=PARTITIONS)
    with admin(stack.kafka) as client:
        client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, names.facts.name, {"retention.ms": "1000"})])
        client.delete_topics([names.boards.name])

    def told() -> list[tuple[str, str]]:
        found = json.loads(begun.run("doctor", "--json").stdout)
        return sorted((it["found"], it["remedy"]) for it in found if it["what"] == "topics")

    by_hand = "set it by hand with the broker's tools; `topics apply` alters nothing"
    assert eventually(lambda: len(told()) == 2, within_s=30)
    (boards, create), (facts, leave) = told()
    assert (boards, create) == (f"{names.boards.name} is missing", "`memberflow topics apply`")
    assert facts.startswith(f"{names.facts.name}: retention.ms is 1000, declared is ")
    assert leave == by_hand


def test_a_server_is_asked_where_the_sink_would_write(begun: Log) -> None:
    """Who answers SQL over HTTP may be another engine."""
    with free_ports(1) as (port,):
        pass
    away = {"MEMBERFLOW_CLICKHOUSE__ADAPTER": "server", "MEMBERFLOW_CLICKHOUSE__PORT": str(port)}
    found = {it["what"]: it for it in json.loads(begun.run("doctor", "--json", stdin=None, **away).stdout)}
    assert (found["clickhouse"]["health"], str(port) in found["clickhouse"]["found"]) == ("fail", True)
    done = begun.run("audit", stdin=None, **away)
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1), done.stderr


def test_the_doctor_works_where_nothing_runs(log: Log) -> None:
    done = log.run(
        "doctor",
        "--json",
        MEMBERFLOW_KAFKA__BOOTSTRAP="127.0.0.1:1",
        MEMBERFLOW_REDIS__URL="redis://127.0.0.1:1/0",
        MEMBERFLOW_KEYS__FOLDER=str(log.folder),
    )
    failed = {it["what"] for it in json.loads(done.stdout) if it["health"] == "fail"}
    assert done.exit_code == 2
    assert failed >= {"port of kafka", "port of redis", "kafka", "redis", "partitions", "keys", "clickhouse"}


def applied(log: Log) -> list[str]:
    """The arguments of a programme's apply."""
    file = log.folder / "programme.yaml"
    file.write_text(default_programme())
    return [str(file), "--why", "a test", "--by", "ana", "--approved-by", "ben"]
