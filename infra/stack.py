"""Kafka, Redis, and on request ClickHouse and Prometheus, on this machine without Docker.

    python -m infra.stack up [--data DIR] [--clickhouse server] [--prometheus] [--kafka-port N] [...]
    python -m infra.stack status [--data DIR] [--json]
    python -m infra.stack down [--data DIR]

`up` leaves `DIR/stack.env` (MEMBERFLOW_* for every command; load it with `set -a; . DIR/stack.env; set +a`),
`DIR/stack.json` (pids, start times, ports), `DIR/keys` and one log per part. A second `up` changes nothing.

For tests and the demo:

    with Stack(folder, clickhouse="server", prometheus=True) as stack:   # both optional
        stack.kafka, stack.redis_url, stack.env       # "127.0.0.1:23456", "redis://...", {"MEMBERFLOW_": ...}
        stack.clickhouse, stack.prometheus            # (host, native port, http port) / "http://..." or None
        stack.kill("redis"); stack.start("redis")     # SIGKILL; again on the same port with the same data
        stack.stop("kafka"); stack.start("kafka")     # the same, but asked politely
        stack.pause("kafka"); stack.resume("kafka")   # SIGSTOP, SIGCONT
        stack.running("kafka").pid
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple, Self

from infra.clickhouse import ClickHouse
from infra.kafka import Kafka
from infra.keys import make_keys
from infra.process import (
    LOOPBACK,
    Part,
    Running,
    StackError,
    demand_free,
    end,
    free_ports,
    known_before_a_signal,
    spawn,
    wait_until,
)
from infra.prometheus import Prometheus
from infra.redis import Redis

RULES = Path(__file__).parent.parent / "dashboards" / "generated"
# Every port a stack may need; "sql" is where the sink answers SQL when the engine is inside it,
# "boards" where the boards process shows them.
PORTS = ("kafka", "controller", "redis", "clickhouse", "sql", "prometheus", "boards")
Health = Literal["up", "dead", "silent", "down"]


class Status(NamedTuple):
    """One part as a person or a script wants to see it."""

    part: str
    health: Health
    pid: int | None
    address: str
    log: str


class Stack:
    """The parts of one data folder; `up` and `down` may be different processes: all is in the state file."""

    def __init__(
        self,
        folder: Path,
        *,
        clickhouse: Literal["chdb", "server"] = "chdb",
        prometheus: bool = False,
        parts: tuple[str, ...] = ("kafka", "redis"),
        ports: Mapping[str, int] | None = None,
    ) -> None:
        """`ports` are demanded, by the names of PORTS; all others are chosen."""
        self.folder = Path(folder).absolute()
        self._wanted = list(parts)
        self._wanted += ["clickhouse"] if clickhouse == "server" else []
        self._wanted += ["prometheus"] if prometheus else []
        self._demanded = dict(ports or {})
        self._ports: dict[str, int] = {}
        self._running: dict[str, Running] = {}
        self._read_state()

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    # -- all parts

    def up(self) -> None:
        """Starts what is wanted and not there; returns when all answer, leaves none behind when it raises."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._locked():
            self._read_state()
            self._refuse_dead_parts()
            self._choose_ports()
            make_keys(self.folder / "keys")
            started: list[str] = []
            try:
                for name in self._wanted:
                    if name in self._running:
                        self._ask_again(name)
                    else:
                        self.start(name)
                        started.append(name)
            except BaseException:
                for name in reversed(started):
                    self.stop(name, kill=True)
                raise
            self._write_env()

    def down(self) -> None:
        """Ends every part, the last started first; their data stays."""
        if not self.folder.exists():
            return
        with self._locked():
            self._read_state()
            for name in reversed(list(self._running)):
                self.stop(name)
            for path in (self._state_file, self.env_file):
                path.unlink(missing_ok=True)
            shutil.rmtree(self.folder / "targets", ignore_errors=True)
            self._ports = {}

    def status(self) -> list[Status]:
        """Each part that is written down or wanted, asked now."""
        self._read_state()
        names = dict.fromkeys([*self._running, *self._wanted])
        return [self._status(name) for name in names]

    def _status(self, name: str) -> Status:
        running = self._running.get(name)
        if running is None:
            return Status(name, "down", None, "", "")
        part = self.part(name)
        health: Health = "dead" if running.process() is None else "up" if part.healthy() else "silent"
        return Status(name, health, running.pid, part.address, str(part.log))

    def _refuse_dead_parts(self) -> None:
        dead = [name for name, running in self._running.items() if running.process() is None]
        if len(dead) == len(self._running):
            self._running, self._ports = {}, {}  # all gone, as after a reboot: start anew with the same data
        elif dead:
            log = self.part(dead[0]).log
            raise StackError(f"{dead[0]} is dead (see {log}): run `python -m infra.stack down`, then `up` again")

    def _ask_again(self, name: str) -> None:
        """A part that was there before must answer too."""
        part = self.part(name)
        wait_until(part.healthy, self.running(name), name=name, log=part.log, limit_s=part.start_limit_s)

    # -- one part

    def part(self, name: str) -> Part:
        """The part of this name, on its ports."""
        folder, ports = self.folder / name, self._ports
        match name:
            case "kafka":
                return Kafka(folder, ports["kafka"], ports["controller"])
            case "redis":
                return Redis(folder, ports["redis"])
            case "clickhouse":
                return ClickHouse(folder, ports["clickhouse"], ports["sql"])
            case "prometheus":
                return Prometheus(folder, ports["prometheus"], self.folder / "targets", RULES)
        raise StackError(f"no part is called {name}: there are {', '.join(self._wanted)}")

    def start(self, name: str) -> None:
        """Starts a part on its old port with its old data, and waits until it answers.

        Written down before it answers: whatever kills us meanwhile, `down` finds it.
        """
        part = self.part(name)
        part.folder.mkdir(parents=True, exist_ok=True)
        part.prepare()
        with known_before_a_signal():
            running = self._running[name] = spawn(part.command(), part.folder, part.log)
            self._write_state()
        try:
            wait_until(part.healthy, running, name=name, log=part.log, limit_s=part.start_limit_s)
        except BaseException:
            self.stop(name, kill=True)
            raise

    def stop(self, name: str, *, kill: bool = False) -> None:
        """Ends a part; returns when it is gone."""
        end(self.running(name), patience_s=self.part(name).patience_s, kill=kill)
        del self._running[name]
        self._write_state()

    def kill(self, name: str) -> None:
        """SIGKILL."""
        self.stop(name, kill=True)

    def pause(self, name: str) -> None:
        """SIGSTOP: it lives, holds its sockets, and does nothing."""
        os.kill(self.running(name).pid, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """SIGCONT."""
        os.kill(self.running(name).pid, signal.SIGCONT)

    def running(self, name: str) -> Running:
        """The process of a part that was started."""
        if name not in self._running:
            raise StackError(f"{name} was not started")
        return self._running[name]

    # -- where things are

    @property
    def kafka(self) -> str:
        """Bootstrap servers."""
        return self.part("kafka").address

    @property
    def redis_url(self) -> str:
        """The state store."""
        return self.part("redis").address

    @property
    def clickhouse(self) -> tuple[str, int, int] | None:
        """Host, native port and HTTP port of the server, if there is one."""
        wanted = "clickhouse" in self._running
        return (LOOPBACK, self._ports["clickhouse"], self._ports["sql"]) if wanted else None

    @property
    def prometheus(self) -> str | None:
        """The address of Prometheus, if there is one."""
        return self.part("prometheus").address if "prometheus" in self._running else None

    @property
    def env(self) -> dict[str, str]:
        """What every command takes from the environment to find this stack (see schemas/settings.py)."""
        server = "clickhouse" in self._wanted
        return {
            "MEMBERFLOW_KAFKA__BOOTSTRAP": self.kafka,
            "MEMBERFLOW_REDIS__URL": self.redis_url,
            "MEMBERFLOW_CLICKHOUSE__ADAPTER": "server" if server else "chdb",
            "MEMBERFLOW_CLICKHOUSE__HOST": LOOPBACK,
            "MEMBERFLOW_CLICKHOUSE__PORT": str(self._ports["clickhouse"]),
            "MEMBERFLOW_CLICKHOUSE__FOLDER": str(self.folder / "chdb"),
            "MEMBERFLOW_CLICKHOUSE__HTTP_HOST": LOOPBACK,
            "MEMBERFLOW_CLICKHOUSE__HTTP_PORT": str(self._ports["sql"]),
            "MEMBERFLOW_BOARDS__PORT": str(self._ports["boards"]),
            "MEMBERFLOW_BOARDS__FOLDER": str(self.folder / "boards"),
            "MEMBERFLOW_METRICS__TARGETS": str(self.folder / "targets"),
            "MEMBERFLOW_KEYS__FOLDER": str(self.folder / "keys"),
        }

    @property
    def env_file(self) -> Path:
        """The same as a file."""
        return self.folder / "stack.env"

    # -- what is written down

    @property
    def _state_file(self) -> Path:
        return self.folder / "stack.json"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.folder / "stack.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StackError(f"another `up` or `down` works on {self.folder}: wait for it to end") from None
            yield

    def _choose_ports(self) -> None:
        for name, port in self._demanded.items():
            if self._ports.get(name, port) != port:
                raise StackError(f"{name} is up on port {self._ports[name]}: `down` first to move it to {port}")
            if name not in self._ports:
                demand_free(port, name=name, option=f"--{name}-port")
                self._ports[name] = port
        missing = [name for name in PORTS if name not in self._ports]
        with free_ports(len(missing)) as chosen:
            self._ports.update(zip(missing, chosen, strict=True))

    def _read_state(self) -> None:
        if not self._state_file.exists():
            self._running, self._ports = {}, {}
            return
        try:
            state = json.loads(self._state_file.read_text())
            self._running = {name: Running(**process) for name, process in state["parts"].items()}
            self._ports = dict(state["ports"])
            wanted = list(state["wanted"])
        except (ValueError, KeyError, TypeError, AttributeError):
            raise StackError(f"{self._state_file} is not readable: end its processes by hand, delete it") from None
        self._wanted = list(dict.fromkeys([*wanted, *self._wanted]))

    def _write_state(self) -> None:
        parts = {name: {"pid": it.pid, "started": it.started} for name, it in self._running.items()}
        text = json.dumps({"ports": self._ports, "parts": parts, "wanted": self._wanted}, indent=2)
        fresh = self._state_file.with_suffix(".new")
        fresh.write_text(text + "\n")
        fresh.replace(self._state_file)

    def _write_env(self) -> None:
        (self.folder / "targets").mkdir(exist_ok=True)
        self.env_file.write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in self.env.items()))


if __name__ == "__main__":
    from infra.stack_command import main

    main()
