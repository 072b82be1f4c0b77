"""The stack as a person and a test use it: real servers, started, killed, started again, and none left."""

import json
import os
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from infra.process import StackError, free_ports
from infra.redis import Redis
from infra.stack import Stack
from schemas.settings import Settings
from schemas.topics import topics
from streams.topics import admin, apply
from tests.conftest import on_path
from tests.polling import eventually

pytestmark = pytest.mark.real
ROOT = Path(__file__).parent.parent.parent


def command(*arguments: str, data: Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "infra.stack", *arguments, "--data", str(data)]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


def processes_of(folder: Path) -> list[psutil.Process]:
    """Every process whose command line or working folder is in this data folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(folder) in " ".join(process.cmdline()) or process.cwd().startswith(str(folder)):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose parts these tests may kill."""
    folder = tmp_path_factory.mktemp("own")
    with Stack(folder) as stack:
        yield stack
    assert processes_of(folder) == []


def test_up_status_up_down_leaves_no_process(tmp_path: Path) -> None:
    folder = tmp_path / "a folder with spaces"
    first = command("up", "--json", data=folder)
    assert first.returncode == 0, first.stderr
    assert len(processes_of(folder)) == 2
    told = json.loads(first.stdout)
    assert {name: part["health"] for name, part in told["parts"].items()} == {"kafka": "up", "redis": "up"}

    assert json.loads(command("up", "--json", data=folder).stdout) == told
    assert json.loads(command("status", "--json", data=folder).stdout) == told
    assert "kafka" in command("status", data=folder).stdout

    how = command("up", data=folder).stdout.splitlines()[-1].removeprefix("Commands find it by: ")
    found = subprocess.run(["sh", "-c", f"{how}; set -a; env"], capture_output=True, check=True)
    assert set(found.stdout.decode().splitlines()) >= {f"{name}={value}" for name, value in told["env"].items()}

    assert command("down", data=folder).returncode == 0
    assert processes_of(folder) == []
    assert not (folder / "stack.env").exists()
    assert command("down", data=folder).returncode == 0
    after = json.loads(command("status", "--json", data=folder).stdout)
    assert {part["health"] for part in after["parts"].values()} == {"down"}


def test_a_taken_port_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    with free_ports(1) as (port,):
        refused = command("up", "--redis-port", str(port), data=tmp_path)

    assert refused.returncode == 2
    assert refused.stderr.startswith(f"stack: port {port} for redis is taken:")
    assert refused.stderr.count("\n") == 1
    assert processes_of(tmp_path) == []


def test_a_dead_part_is_one_line(tmp_path: Path) -> None:
    with Stack(tmp_path) as stack:
        stack.running("redis").process().kill()  # type: ignore[union-attr]

        for asked in ("status", "up"):
            told = command(asked, data=tmp_path)
            assert told.returncode == 2
            assert told.stderr.startswith("stack: redis is dead (see ")
            assert told.stderr.count("\n") == 1
    assert processes_of(tmp_path) == []


def test_a_part_that_is_there_and_does_not_answer_is_not_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Redis, "start_limit_s", 1.0)
    with Stack(tmp_path) as stack:
        stack.pause("redis")
        try:
            with pytest.raises(StackError, match="redis gave no answer within 1 s"):
                Stack(tmp_path).up()
        finally:
            stack.resume("redis")
        Stack(tmp_path).up()


def test_a_part_that_cannot_start_tells_why_and_takes_the_others_down(tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis" / "appendonlydir").write_text("no folder")

    with pytest.raises(StackError, match=r"redis ended while starting: .*appendonlydir"):
        Stack(tmp_path).up()
    assert processes_of(tmp_path) == []


def test_a_folder_that_cannot_be_used_is_one_line() -> None:
    refused = command("up", data=Path("/proc/stack"))

    assert refused.returncode == 2
    assert refused.stderr.startswith("stack: /proc/stack: ")
    assert refused.stderr.count("\n") == 1


def test_what_a_killed_up_leaves_is_found_by_down(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "infra.stack", "up", "--data", str(tmp_path)]
    with subprocess.Popen(line, cwd=ROOT, stdout=subprocess.DEVNULL) as starting:
        assert eventually(lambda: (tmp_path / "stack.json").exists(), within_s=30)
        starting.kill()

    assert processes_of(tmp_path)
    assert command("down", data=tmp_path).returncode == 0
    assert processes_of(tmp_path) == []


def test_a_pid_that_is_another_process_now_is_not_ended(own: Stack) -> None:
    running = own.running("redis")
    stranger = type(running)(os.getpid(), running.started - 1000)

    assert stranger.process() is None


def test_redis_is_durable_and_never_evicts(own: Stack) -> None:
    with redis.Redis.from_url(own.redis_url) as client:
        assert client.config_get("appendonly", "maxmemory-policy", "bind") == {
            "appendonly": "yes",
            "maxmemory-policy": "noeviction",
            "bind": "127.0.0.1",
        }


def test_a_killed_redis_comes_back_with_its_data_on_its_port(own: Stack) -> None:
    with redis.Redis.from_url(own.redis_url) as client:
        client.set("kept", "yes")
    own.kill("redis")
    own.start("redis")
    with redis.Redis.from_url(own.redis_url) as client:
        assert client.get("kept") == b"yes"


def test_a_killed_broker_comes_back_with_its_records_on_its_port(own: Stack) -> None:
    declared = topics("stack-test", partitions=1)
    with admin(own.kafka) as client:
        apply(client, [declared.actions])
    producer = KafkaProducer(bootstrap_servers=own.kafka, acks="all")
    producer.send(declared.actions.name, b"one").get(timeout=20)
    producer.close()

    own.kill("kafka")
    own.start("kafka")

    consumer = KafkaConsumer(bootstrap_servers=own.kafka, group_id=None, consumer_timeout_ms=20_000)
    consumer.assign([TopicPartition(declared.actions.name, 0)])
    consumer.seek_to_beginning()
    assert next(consumer).value == b"one"
    consumer.close()


def test_everything_listens_on_loopback_only(own: Stack) -> None:
    for name in ("kafka", "redis"):
        process = own.running(name).process()
        assert process is not None
        listening = [it.laddr.ip for it in process.net_connections() if it.status == psutil.CONN_LISTEN]
        assert listening
        assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}


def test_keys_are_made_once_and_for_their_owner_only(own: Stack) -> None:
    folder = own.folder / "keys"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    own.up()

    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    for name in ("workers.pem", "staff.pem", "staff2.pem"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    public = json.loads(before["public.json"])
    assert {role: sorted(keys) for role, keys in public.items()} == {
        "worker_keys": ["workers"],
        "staff_keys": ["staff", "staff2"],
    }


def test_the_env_file_is_what_every_command_understands(own: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("MEMBERFLOW_")]:
        monkeypatch.delenv(name)
    settings = Settings(_env_file=own.env_file)

    assert settings.kafka.bootstrap == own.kafka
    assert settings.redis.url == own.redis_url
    assert settings.clickhouse.adapter == "chdb"
    assert (settings.keys.folder / settings.keys.workers).exists()
    written = dict(line.split("=", 1) for line in own.env_file.read_text().splitlines())
    assert written == own.env


def test_a_clickhouse_server_answers_on_both_ports(clickhouse_server: tuple[str, int, int]) -> None:
    from clickhouse_driver import Client

    host, native, http = clickhouse_server
    client = Client(host, port=native)
    assert client.execute("SELECT 1") == [(1,)]
    client.disconnect()
    with urllib.request.urlopen(f"http://{host}:{http}/?query=SELECT%202", timeout=5) as answer:
        assert answer.read() == b"2\n"


def test_prometheus_finds_processes_by_the_files_they_leave(tmp_path: Path) -> None:
    on_path("prometheus")
    with Stack(tmp_path, parts=(), prometheus=True) as stack:
        assert stack.prometheus is not None
        own_address = stack.prometheus.removeprefix("http://")
        target = [{"targets": [own_address], "labels": {"job": "itself"}}]
        (stack.folder / "targets" / "itself-1.json").write_text(json.dumps(target))

        assert _eventually_up(stack.prometheus, job="itself")
    assert processes_of(tmp_path) == []


def _eventually_up(prometheus: str, *, job: str) -> bool:
    def up() -> bool:
        with urllib.request.urlopen(f'{prometheus}/api/v1/query?query=up{{job="{job}"}}', timeout=5) as answer:
            result = json.load(answer)["data"]["result"]
        return bool(result and result[0]["value"][1] == "1")

    return eventually(up, within_s=30)
