"""Processes and ports of this machine: started apart from us, known by pid and start time, ended by pid.

A pid alone says nothing after a reboot or a wrap-around, so a process is ours only if its start time
is the one written down.
"""

import random
import re
import signal
import socket
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import psutil

# Below the kernel's ephemeral range (32768 up): no outgoing connection takes a port between kill and start.
PORTS_FROM, PORTS_TO = 21_000, 32_000
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LOOPBACK = "127.0.0.1"
TROUBLE = re.compile(r"error|exception|fail|fatal|can't|cannot|not ", re.IGNORECASE)


class StackError(Exception):
    """One line for a person: what is wrong and what to do about it."""


@dataclass(frozen=True)
class Running:
    """A process as written down in the state file."""

    pid: int
    started: float

    def process(self) -> psutil.Process | None:
        """The living process, or None when it is gone or the pid is another's now."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < 1.0
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


@dataclass(frozen=True)
class Part(ABC):
    """One server of a stack: how to prepare, start and ask it."""

    name: ClassVar[str]
    start_limit_s: ClassVar[float] = 30.0
    patience_s: ClassVar[float] = 15.0
    folder: Path
    port: int

    @property
    @abstractmethod
    def address(self) -> str:
        """Where clients find it, in the form they want."""

    @property
    def log(self) -> Path:
        """What it said, of all its starts."""
        return self.folder.parent / f"{self.name}.log"

    @abstractmethod
    def prepare(self) -> None:
        """Writes its configuration; data that is there stays."""

    @abstractmethod
    def command(self) -> list[str]:
        """Its command line, run in its folder."""

    @abstractmethod
    def healthy(self) -> bool:
        """Whether it answers a real request."""


@contextmanager
def known_before_a_signal() -> Iterator[None]:
    """Signals wait until the block ends: one that raises while a child is being started would leave it to nobody."""
    came: list[int] = []
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, lambda got, _: came.append(got)) for number in STOPS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def spawn(command: list[str], folder: Path, log: Path) -> Running:
    """Starts a command in a session of its own, so that neither Ctrl-C nor a closed terminal reaches it."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    child.returncode = 0  # ended through psutil by pid: Popen's own "still running" warning would be noise
    return Running(child.pid, psutil.Process(child.pid).create_time())


def end(running: Running, *, patience_s: float, kill: bool = False) -> None:
    """Ends a process that is ours: asked first, killed when it does not go; returns when it is gone."""
    process = running.process()
    if process is None:
        return
    with suppress(psutil.NoSuchProcess):
        if not kill:
            process.terminate()
            with suppress(psutil.TimeoutExpired):
                process.wait(patience_s)
                return
        process.kill()
        process.wait(patience_s)


def wait_until(healthy: Callable[[], bool], running: Running, *, name: str, log: Path, limit_s: float) -> None:
    """Polls a health check until it holds; a dead or a silent process is an error with its last words."""
    deadline = time.monotonic() + limit_s
    while not healthy():
        if running.process() is None:
            raise StackError(f"{name} ended while starting: {last_words(log)} (all of it in {log})")
        if time.monotonic() > deadline:
            raise StackError(f"{name} gave no answer within {limit_s:.0f} s: look into {log}")
        time.sleep(0.05)


def last_words(log: Path) -> str:
    """The line of a log that most likely says why its process ended."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    told = [line for line in lines if TROUBLE.search(line) and "warning" not in line.lower()]
    return (told or lines or ["it said nothing"])[-1][:300]


def is_open(port: int) -> bool:
    """Whether something listens on this port of the loopback interface."""
    with socket.socket() as client:
        client.settimeout(0.5)
        return client.connect_ex((LOOPBACK, port)) == 0


def bind(port: int, *, reuse: bool = False) -> socket.socket | None:
    """Holds a port, or None when it is taken; `reuse` also takes one that was just given back."""
    holder = socket.socket()
    # Held without SO_REUSEADDR: two who both set it get the same port as long as neither listens.
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
    try:
        holder.bind((LOOPBACK, port))
    except OSError:
        holder.close()
        return None
    return holder


@contextmanager
def free_ports(count: int) -> Iterator[list[int]]:
    """Free ports, held all together until the block ends: start what needs them right after."""
    candidates = random.SystemRandom().sample(range(PORTS_FROM, PORTS_TO), PORTS_TO - PORTS_FROM)
    held: list[tuple[int, socket.socket]] = []
    for port in candidates:
        if len(held) == count:
            break
        holder = bind(port)
        if holder is not None:
            held.append((port, holder))
    try:
        yield [port for port, _ in held]
    finally:
        for _, holder in held:
            holder.close()


def demand_free(port: int, *, name: str, option: str) -> None:
    """Refuses a port that a person asked for and that something else has."""
    holder = bind(port, reuse=True)
    if holder is None or is_open(port):
        raise StackError(f"port {port} for {name} is taken: free it, choose another with {option}, or leave it out")
    holder.close()
