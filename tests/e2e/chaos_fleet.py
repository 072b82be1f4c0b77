"""Three workers and a sink as processes that die: started again, each death noted with its place."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.request
from collections import Counter
from pathlib import Path

import psutil

from tests.e2e.memberflow import COMMAND, Log, Running

KILLED = -signal.SIGKILL
ACQUIRED = "partition acquired"
LEARNS_WITHIN = 15
"""Seconds after which a woken zombie that was not fenced will not be: it lost its store while it stood still."""


class Member(Running):
    """One process of the fleet. `fate` is where it stops by itself; `expected`: why somebody is about to kill it."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, command: str, fate: str) -> None:
        super().__init__(process, log)
        self.command, self.fate, self.expected = command, fate, ""
        self.frozen = False
        self.woken_from, self.woken_since = "", 0.0

    @property
    def point(self) -> str:
        """The failpoint of its fate."""
        return self.fate.rpartition(" ")[2].partition(":")[0]

    @property
    def stopped(self) -> bool:
        """Whether it met its fate and stands still."""
        return bool(psutil.Process(self.process.pid).status() == psutil.STATUS_STOPPED)

    @property
    def learns(self) -> bool:
        """Whether it was woken just now, and the store has yet to tell it that others own what it holds."""
        return bool(self.woken_from) and time.monotonic() - self.woken_since < LEARNS_WITHIN and not self.fenced()

    def fenced(self) -> int:
        """How often the store told it that somebody else owns its partition."""
        return sum(line["answer"] == "fenced" for line in self.said("commit refused"))


class Fleet:
    """Keeps `workers` workers and a sink alive. Fates are given to the processes started next, in order."""

    def __init__(self, log: Log, workers: int, fates: list[str], sink_fates: list[str]) -> None:
        self.log, self.wanted = log, workers
        self.fates = {"worker": fates, "sink": sink_fates}
        self.members: list[Member] = []
        self.deaths: Counter[str] = Counter()
        self.unexpected: list[str] = []
        self.ever: list[Member] = []

    def start(self, command: str) -> Member:
        """One more process, with the next fate."""
        fates = self.fates[command]
        fate = fates.pop(0) if fates else ""
        path = self.log.folder / f"{command}-{len(self.ever)}.log"
        kind, _, point = fate.rpartition(" ")
        env = self.log.env | ({f"{kind}_AT": point} if fate else {})
        with path.open("wb") as file:
            process = subprocess.Popen([str(COMMAND), command], env=env, cwd=self.log.folder, stderr=file)
        member = Member(process, path, command, fate)
        self.members.append(member)
        self.ever.append(member)
        return member

    def tend(self) -> None:
        """Note who died, where, and start others in their place."""
        for member in [member for member in self.members if member.process.poll() is not None]:
            self.members.remove(member)
            code = member.process.returncode
            if code == KILLED and (member.expected or member.fate):
                self.deaths[member.expected or member.point] += 1
            elif code == 2 and "does not answer" in last_lines(member.log):
                self.deaths["refused to start without Kafka or Redis"] += 1
                self.fates[member.command][:0] = [member.fate] if member.fate else []
            else:
                self.unexpected.append(f"{member.log.name} ended with {code}: {last_lines(member.log)}")
        for command, wanted in (("worker", self.wanted), ("sink", 1)):
            for _ in range(wanted - sum(member.command == command for member in self.members)):
                self.start(command)

    def mortal(self) -> list[Member]:
        """Workers that may be killed anywhere: without a fate, and no zombie that has yet to learn what it is."""
        return [m for m in self.workers() if not m.fate and not m.learns]

    def workers(self) -> list[Member]:
        """Those that run."""
        return [m for m in self.members if m.command == "worker" and not m.frozen and m.process.poll() is None]

    def kill(self, member: Member, why: str) -> None:
        """SIGKILL."""
        member.expected = why
        member.process.kill()

    def holds(self, member: Member) -> set[int]:
        """The partitions that it acquired and nobody has acquired since."""
        lines = [(line["timestamp"], one, line["partition"]) for one in self.ever for line in one.said(ACQUIRED)]
        last = {partition: one for _, one, partition in sorted(lines, key=lambda line: line[0])}
        return {partition for partition, one in last.items() if one is member}

    def frozen(self) -> list[Member]:
        """Workers that stopped themselves, holding a chunk."""
        found = [m for m in self.members if m.fate.startswith("FREEZE") and m.process.poll() is None and m.stopped]
        for member in found:
            member.frozen = True
        return found

    def thaw(self, member: Member) -> None:
        """SIGCONT."""
        member.woken_from, member.woken_since = member.fate.partition(":")[0], time.monotonic()
        member.frozen, member.fate = False, ""
        member.process.send_signal(signal.SIGCONT)

    def fenced(self, fate: str) -> list[Member]:
        """Those that were woken from a fate, and then fenced by the store."""
        return [member for member in self.ever if member.woken_from == fate and member.fenced()]

    def fated(self) -> bool:
        """Whether a worker, or one that is still to be started, has yet to meet its fate."""
        return bool(self.fates["worker"]) or any(m.fate for m in self.members if m.command == "worker")

    def to_come(self, fate: str) -> bool:
        """Whether somebody will meet a fate, meets it, or has yet to learn what it did to him."""
        return any(fate in one for one in self.fates["worker"]) or any(
            fate in member.fate or (member.woken_from == fate and member.learns) for member in self.members
        )

    def in_flight(self, member: Member | None = None) -> int:
        """Chunks that are being published or committed right now, as the workers' own metrics say."""
        chosen = self.workers() if member is None else [member]
        return sum(int(self.metric(one, "memberflow_chunks_in_flight")) for one in chosen)

    def metric(self, member: Member, name: str) -> float:
        """The sum of a metric of a process; 0 where it does not answer."""
        file = self.log.folder / "targets" / f"{member.command}-{member.process.pid}.json"
        try:
            (address,) = json.loads(file.read_text())[0]["targets"]
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=0.5) as answer:
                lines = answer.read().decode().splitlines()
        except (OSError, ValueError):
            return 0.0  # it starts, or has just died
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.split("{")[0].split(" ")[0] == name)

    def end(self, command: str) -> None:
        """Ask all of one kind to end, which they must do in order."""
        going = [member for member in self.members if member.command == command]
        for member in going:
            member.process.send_signal(signal.SIGTERM)
        for member in going:
            self.members.remove(member)
            code = member.process.wait(60)
            began = member.said(f"{command} starts")
            assert code == 0 or not began, f"{member.log.name} ended with {code}: {last_lines(member.log)}"

    def bury(self) -> None:
        """Nobody is left, whatever happened."""
        for member in self.ever:
            if member.process.poll() is None:
                os.kill(member.process.pid, signal.SIGKILL)
                member.process.wait()


def last_lines(path: Path) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-12:])
