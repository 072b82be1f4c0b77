"""The processes of a demo: known by pid and start time, written down, ended by id whatever happens to the demo."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from infra.process import Running, StackError, end, known_before_a_signal, last_words, spawn

PYTHON = sys.executable
MEMBERFLOW = str(Path(sys.executable).parent / "memberflow")
POLL_S = 0.05


class Processes:
    """Started in the order they are needed, ended in the opposite one; `file` remembers them for the next demo."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / "demo.json"
        self._running: dict[str, Running] = {}
        self._commands: set[subprocess.Popen[bytes]] = set()

    def start(self, name: str, command: Sequence[str]) -> None:
        """Starts a process that stays."""
        with known_before_a_signal():
            self._running[name] = spawn(list(command), self.folder, self.folder / f"{name}.log")
            self._write()

    def run(self, name: str, command: Sequence[str], limit_s: float = 180.0) -> str:
        """Runs a command to its end, from any thread; returns what it printed. A failure is an error."""
        output, errors = self.folder / f"{name}.out", self.folder / f"{name}.log"
        with output.open("wb") as out, errors.open("wb") as err, known_before_a_signal():
            child = subprocess.Popen(
                list(command),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
            self._commands.add(child)
        deadline = time.monotonic() + limit_s
        try:
            while (code := child.poll()) is None:
                self.refuse_dead()  # what the command waits for would never come
                if time.monotonic() > deadline:
                    raise StackError(f"{name} took longer than {limit_s:.0f} s: look into {errors}")
                time.sleep(POLL_S)
        finally:
            _kill(child)
            self._commands.discard(child)
        if code:
            raise StackError(f"{name} failed: {last_words(errors)} (all of it in {errors})")
        return output.read_text(errors="replace")

    def stop(self, name: str, patience_s: float = 15.0) -> None:
        """Asks one to end, and waits for it."""
        running = self._running.pop(name, None)
        if running is not None:
            end(running, patience_s=patience_s)
            self._write()

    def stop_all(self) -> None:
        """Ends what is still there, the last started first."""
        for child in list(self._commands):
            _kill(child)
        for name in reversed(list(self._running)):
            self.stop(name)

    def ask(self, name: str) -> None:
        """Asks one to end, and does not wait."""
        process = self._running[name].process()
        if process is not None:
            process.terminate()

    def refuse_dead(self, *may_end: str) -> None:
        """A process that should be there and is not is an error with its last words."""
        for name, running in self._running.items():
            if name not in may_end and running.process() is None:
                log = self.folder / f"{name}.log"
                raise StackError(f"{name} ended: {last_words(log)} (all of it in {log})")

    def wait_for(self, name: str, words: str, limit_s: float = 60.0) -> str:
        """The first line of a process' log with these words in it."""
        log, running = self.folder / f"{name}.log", self._running[name]
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            is_there = running.process() is not None  # asked first: what it said before it ended counts
            for line in log.read_text(errors="replace").splitlines():
                if words in line:
                    return line
            if not is_there:
                raise StackError(f"{name} ended: {last_words(log)} (all of it in {log})")
            time.sleep(POLL_S)
        raise StackError(f"{name} said no `{words}` within {limit_s:.0f} s: look into {log}")

    def finish(self, name: str, words: str, limit_s: float = 60.0) -> str:
        """Waits for a process that ends by itself, after a line with these words; returns the line."""
        line = self.wait_for(name, words, limit_s)
        self.stop(name)
        return line

    def stop_left_over(self) -> None:
        """Ends what a demo that was killed left behind in this folder."""
        if self.file.exists():
            for name, it in json.loads(self.file.read_text()).items():
                self._running[name] = Running(**it)
            self.stop_all()

    def _write(self) -> None:
        told = {name: {"pid": it.pid, "started": it.started} for name, it in self._running.items()}
        self.file.write_text(json.dumps(told))


def _kill(child: subprocess.Popen[bytes]) -> None:
    """Ends a command that has not ended; nothing of ours is lost by that."""
    if child.poll() is None:
        child.kill()
        child.wait()
