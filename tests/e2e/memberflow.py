"""The `memberflow` command as tests run it, on the session's stack, each log with a name of its own.

Short commands run in this process, which saves a second each; what stays is a process of its own.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from infra.stack import Stack
from schemas.topics import Topics, topics
from streams.cli import app
from tests.polling import eventually

PARTITIONS = 3
NUMBERS = itertools.count(1)
COMMAND = Path(sys.executable).with_name("memberflow")


class Running:
    """A running process. Ended by `Log.process`, or by a test through `process`."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self.log = process, log

    def said(self, event: str) -> list[dict[str, Any]]:
        """Its log lines with this event."""
        return [line for line in log_lines(self.log.read_text(errors="replace")) if line["event"] == event]


def log_lines(text: str) -> list[dict[str, Any]]:
    """What a process logged. Its last line may be cut off, as a kill leaves it; any other that is no JSON is a fault.

    But for the one line that a command says where it refuses to run, or ends.
    """
    found: list[dict[str, Any]] = []
    for line in text.split("\n")[:-1]:
        if line.startswith("memberflow: "):
            continue
        try:
            one = json.loads(line)
        except ValueError:
            one = None
        assert isinstance(one, dict), f"no line of a log: {line}"
        found.append(one)
    return found


class Log:
    """A log of its own, and the commands on it."""

    def __init__(self, stack: Stack, folder: Path, **more: str) -> None:
        self.name = f"e2e-{os.getpid()}-{next(NUMBERS)}"
        self.folder = folder
        own = {"MEMBERFLOW_LOG": self.name, "MEMBERFLOW_PARTITIONS": str(PARTITIONS)}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MEMBERFLOW_")}
        self.own = stack.env | own | {"MEMBERFLOW_METRICS__TARGETS": str(folder / "targets")} | more
        self.env = kept | self.own

    @property
    def topics(self) -> Topics:
        """Its topics."""
        return topics(self.name, partitions=PARTITIONS)

    def run(self, *arguments: str, stdin: bytes | None = None, **env: str) -> Result:
        """A command, until it ends."""
        clean: dict[str, str | None] = {name: None for name in os.environ if name.startswith("MEMBERFLOW_")}
        with chdir(self.folder):
            return CliRunner(env=clean | self.own | env).invoke(app, list(arguments), input=stdin)

    def ok(self, *arguments: str, stdin: bytes | None = None) -> str:
        """A command that must succeed; what it printed."""
        done = self.run(*arguments, stdin=stdin)
        assert done.exit_code == 0, (done.stderr, done.exception)
        return done.stdout

    def refused(self, *arguments: str, stdin: bytes | None = None, code: int = 2, **env: str) -> str:
        """A command that must fail and say why in a line of ours; that line."""
        done = self.run(*arguments, stdin=stdin, **env)
        told = done.stderr.splitlines()
        assert done.exit_code == code, (done.exit_code, told, done.exception)
        assert told, "an error without a word"
        assert told[-1].startswith("memberflow: "), told
        return told[-1]

    def no_worker(self, code: int = 2, **env: str) -> str:
        """A worker that must refuse to run; its last line."""
        done = subprocess.run(
            [str(COMMAND), "worker"], env=self.env | env, cwd=self.folder, capture_output=True, check=False, timeout=60
        )
        told = done.stderr.decode().splitlines()
        assert done.returncode == code, told
        assert not [line for line in told if "Traceback" in line], told
        return told[-1]

    @contextmanager
    def worker(self, *, owns: int = PARTITIONS, exit_code: int = 0, **env: str) -> Iterator[Running]:
        """A worker that owns so many partitions when the block begins, and is asked to end after it."""
        with self.process("worker", "partition acquired", owns, env, exit_code) as worker:
            yield worker

    @contextmanager
    def sinking(self, **env: str) -> Iterator[Running]:
        """A sink that reads facts and aggregates of every partition when the block begins."""
        with self.process("sink", "sink starts", 3 * PARTITIONS, env) as sink:
            yield sink

    @contextmanager
    def process(
        self,
        command: str,
        event: str,
        times: int,
        env: Mapping[str, str],
        exit_code: int = 0,
        arguments: Sequence[str] = (),
    ) -> Iterator[Running]:
        """A command that stays: ready when it has said `event` so often, asked to end after the block."""
        path = self.folder / f"{command}-{next(NUMBERS)}.log"
        with path.open("wb") as file:
            typed = [str(COMMAND), command, *arguments]
            process = subprocess.Popen(typed, env=self.env | dict(env), cwd=self.folder, stderr=file)
        running = Running(process, path)
        try:
            assert eventually(lambda: process.poll() is not None or len(running.said(event)) >= times, within_s=60), (
                path.read_text()
            )
            yield running
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            assert process.wait(60) == exit_code, path.read_text()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    def partitions(self) -> list[dict[str, Any]]:
        """`partition list`."""
        listed: list[dict[str, Any]] = json.loads(self.ok("partition", "list", "--json"))
        return listed

    def letters(self, *arguments: str) -> list[dict[str, Any]]:
        """`dlq list`."""
        return [json.loads(line) for line in self.ok("dlq", "list", "--json", *arguments).splitlines()]

    def verdicts(self) -> dict[str, int]:
        """How many records of the log ended as what."""
        found: dict[str, int] = {}
        for row in self.partitions():
            for verdict, count in row["verdicts"].items():
                found[verdict] = found.get(verdict, 0) + count
        return found

    def send(self, actions: Sequence[dict[str, Any]]) -> None:
        """Actions through `memberflow send`."""
        lines = "".join(json.dumps(action) + "\n" for action in actions)
        assert self.ok("send", "-", stdin=lines.encode()) == f"sent {len(actions)}\n"


def check_in(number: int, member: str, at: str, **more: Any) -> dict[str, Any]:
    """A check-in as an app sends it."""
    told = {"action": "check_in", "event_id": f"e-{number}", "source": "app", "member_id": member, "occurred_at": at}
    return told | more
