"""The whole pipeline live on this machine: a month of history, live traffic on top, totals that must agree.

    make demo                        # goes on until Ctrl-C; without a terminal it stops by itself
    DEMO_SECONDS=20 make demo        # so many seconds of live traffic; exit 0, or 1 if the totals differ

The parts are real: Kafka, Redis, the ClickHouse engine, two workers, sink, dispatcher, a receiver of webhooks.
Data lies in .stack/demo until the next demo; no process is left.
"""

from __future__ import annotations

import asyncio
import base64
import fcntl
import json
import logging
import os
import re
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.live import Live as Screen
from rich.table import Table

from infra import demo_totals as totals
from infra.demo_numbers import ORDER, Rates, lines, scrape
from infra.demo_processes import MEMBERFLOW, PYTHON, Processes
from infra.process import StackError
from infra.receiver import VALID
from infra.stack import Stack
from schemas.settings import Settings

ROOT = Path(__file__).parent.parent
LOAD = [PYTHON, "-m", "infra.load"]
MEMBERS = 3_000
SEED = 7
DAYS = 30
RATE = 300
LIVE_S = 15.0
SETTLE_S = 20.0
LOOK_S = 0.5
CROWD = ["--members", str(MEMBERS), "--seed", str(SEED)]
# Limits of 7 d silence, 14 d without a purchase and 30 d silence are crossed while the demo runs.
WAVES = ["--wave", "0.05:7", "--wave", "0.04:14:buying", "--wave", "0.02:30"]
PEOPLE = ["--by", "ops.demo", "--approved-by", "growth.demo"]
MEMBER = re.compile(rf"{VALID}.*member (\S+) entered (\S+)")


class Stopped(BaseException):
    """Somebody asked us to end."""

    def __init__(self, number: int) -> None:
        self.number = number


class Demo:
    """One demo in one folder."""

    def __init__(self, folder: Path, out: Console, *, is_endless: bool) -> None:
        self.folder, self.out, self.is_endless = folder, out, is_endless
        self.processes = Processes(folder)
        self.stack = Stack(folder)
        self.rates = Rates()
        self.sent = 0
        self.began = time.monotonic()

    # -- setting up

    def set_up(self) -> None:
        """From an empty folder to a month of history, judged and stored."""
        with self.step("Kafka and Redis start, a month of history is written"):
            self._start_stack()
        with self.step("the log begins: topics, the first programme in every partition"):
            self.memberflow("bootstrap", "--history", "--by", "ops.demo")
        with self.step("two workers, sink, dispatcher and a receiver of webhooks start"):
            self._start_pipeline()
        with self.step(f"{DAYS} days of {MEMBERS:,} members, {self.sent:,} records, go through the log"):
            self.memberflow("import", "history", str(self.folder / "history.jsonl"))
            self.memberflow("import", "--finish")
        with self.step("two people let members be contacted from now on"):
            self.memberflow("outreach", "go-live", "--why", "the demo", *PEOPLE)

    def _start_stack(self) -> None:
        self.processes.stop_left_over()
        self.stack.down()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        story = ["history", str(self.folder / "history.jsonl"), "--days", str(DAYS)]
        trouble = ["--duplicates", "0.02", "--late", "0.01", *WAVES]
        self.processes.start("history", [*LOAD, *story, *CROWD, *trouble])
        self.stack.up()
        os.environ.update(self.stack.env)
        self.sent = int(json.loads(self.processes.finish("history", '"written"'))["written"])

    def _start_pipeline(self) -> None:
        secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        os.environ["MEMBERFLOW_RECEIVER_SECRET"] = secret
        self.processes.start("receiver", [PYTHON, "-m", "infra.receiver"])
        url = self.processes.wait_for("receiver", "listening on ").split()[-1]
        os.environ["MEMBERFLOW_DISPATCHER__ENDPOINTS"] = json.dumps([{"name": "growth", "url": url, "secret": secret}])
        os.environ["MEMBERFLOW_DISPATCHER__ALLOW_PRIVATE"] = "true"
        for name in ("worker-1", "worker-2", "sink", "dispatcher"):
            self.processes.start(name, [MEMBERFLOW, name.partition("-")[0]])

    # -- live

    def live(self, seconds: float | None) -> None:
        """Live traffic and its numbers, for so many seconds or until Ctrl-C."""
        limit = [] if seconds is None else ["--seconds", str(seconds)]
        traffic = ["live", "--rate", str(RATE), "--incidents", "--strays", "0.001"]
        self.processes.start("load", [*LOAD, *traffic, *CROWD, *limit, *WAVES])
        end = time.monotonic() + seconds if seconds is not None else float("inf")
        with Screen(console=self.out, auto_refresh=False, transient=True) as screen:
            try:
                while time.monotonic() < end:
                    screen.update(self.numbers(), refresh=self.out.is_terminal)
                    time.sleep(max(0.0, min(LOOK_S, end - time.monotonic())))
            except Stopped as stopped:
                if seconds is not None or stopped.number != signal.SIGINT:
                    raise
        self.out.print(self.numbers())
        self.processes.ask("load")
        self.sent += int(json.loads(self.processes.finish("load", '"acknowledged"'))["acknowledged"])

    def numbers(self) -> Table:
        """The table of this moment. A process that died is an error."""
        self.processes.refuse_dead("load")
        found = sorted(scrape(self.folder / "targets"), key=lambda it: ORDER.index(it.job))
        return self.rates.shown(lines(found, len(self.webhooks())), time.monotonic())

    def webhooks(self) -> list[str]:
        """What the receiver says of the webhooks whose signature was valid."""
        said = (self.folder / "receiver.log").read_text(errors="replace").splitlines()
        return [line for line in said if VALID in line]

    # -- the end

    def report(self) -> list[str]:
        """A member in words, the totals, a webhook; returns what is wrong."""
        settings = Settings()
        wrong = self._settle(settings)
        of_member = self._explain_a_member()
        states, cut = totals.of_states(settings)
        found = {
            "Redis states": states,
            "facts topic": asyncio.run(totals.of_topic(settings, cut)),
            "ClickHouse": totals.of_tables(settings, cut),
        }
        self.out.print(totals.shown(found))
        wrong += totals.differences(found)
        self.out.print("[bold]memberflow audit[/bold]")
        try:
            self.out.print(self.memberflow("audit"), highlight=False)
        except StackError as error:
            wrong.append(str(error))
        received = self.webhooks()
        self.out.print(received[-1] if received else "no webhook was received", style="green" if received else "red")
        if not received:
            wrong.append("no webhook with a valid signature was received")
        self._say_what_next(of_member)
        return wrong

    def _settle(self, settings: Settings) -> list[str]:
        """Waits until every record that was sent is judged."""
        deadline = time.monotonic() + SETTLE_S
        while (judged := totals.judged(settings)) != self.sent and time.monotonic() < deadline:
            time.sleep(0.1)
        self.out.print(f"{self.sent:,} records were sent (file and generator), {judged:,} were judged (states)")
        return [] if judged == self.sent else [f"{self.sent:,} records were sent, {judged:,} judged"]

    def _explain_a_member(self) -> str:
        told = [found for line in self.webhooks() if (found := MEMBER.search(line))]
        member = told[-1].group(1) if told else "m-0000000"
        self.out.print(f"[bold]memberflow member show {member}[/bold]")
        self.out.print(self.memberflow("member", "show", member), highlight=False)
        return member

    def _say_what_next(self, member: str) -> None:
        env = f"--env-file {_near(self.folder / 'stack.env')}"
        again = f"{_near(Path(PYTHON))} -m infra.stack up --data {_near(self.folder)}"
        self.out.print(f"{time.monotonic() - self.began:.0f} s since the start. The next commands to try:")
        if not self.is_endless:
            self.out.print(f"  {again}", highlight=False, soft_wrap=True)
        self.out.print(f"  {_near(Path(MEMBERFLOW))} {env} member show {member}", highlight=False, soft_wrap=True)

    def memberflow(self, *arguments: str) -> str:
        """Runs one of our commands, as a person would."""
        name = "-".join(word for word in arguments[:2] if word.isalpha())
        return self.processes.run(name, [MEMBERFLOW, *arguments]).strip()

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Tells what is done, and how long it took."""
        began = time.monotonic()
        with self.out.status(what):
            yield
        self.out.print(f"[dim]{time.monotonic() - began:5.1f} s[/dim]  {what}", highlight=False)

    def close(self) -> None:
        """Ends every process, the last started first."""
        self.processes.stop_all()
        self.stack.down()


def _near(path: Path) -> str:
    """A path as somebody who stands in this folder would type it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def demo(folder: Path, seconds: float, out: Console, *, is_endless: bool) -> int:
    """Runs it; 0, or 1 when anything is not as it should be. No process is left, however it ends."""
    with _alone(folder):
        running = Demo(folder, out, is_endless=is_endless)
        try:
            running.set_up()
            running.live(seconds)
            wrong = running.report()
            if is_endless:
                out.print("It goes on until Ctrl-C, then the totals are compared once more.")
                running.live(None)
                wrong += running.report()
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave half of them behind
            running.close()
    for what in wrong:
        print(f"demo: {what}", file=sys.stderr)
    return 1 if wrong else 0


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(f"a demo runs already in {_near(folder)}: end it first, with Ctrl-C") from None
        yield


def asked_seconds(text: str | None) -> float | None:
    """DEMO_SECONDS, None when it is not set. Raises `StackError`."""
    if text is None or not text.strip():
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= 86_400:
        raise StackError(f"DEMO_SECONDS={text}: write a number of seconds from 1 to 86400, as DEMO_SECONDS=20")
    return seconds


def _stop(number: int, _: object) -> NoReturn:
    raise Stopped(number)


def main() -> None:
    """Errors a person can do something about are one line, exit code 2."""
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    for name in [name for name in os.environ if name.startswith("MEMBERFLOW_")]:
        del os.environ[name]  # the demo has a stack of its own, whatever this shell works with
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    folder = Path(os.environ.get("DEMO_FOLDER", ROOT / ".stack" / "demo")).absolute()
    try:
        asked = asked_seconds(os.environ.get("DEMO_SECONDS"))
        is_endless = asked is None and sys.stdin.isatty()
        code = demo(folder, asked or LIVE_S, Console(soft_wrap=True), is_endless=is_endless)
    except StackError as error:
        print(f"demo: {error}", file=sys.stderr)
        code = 2
    except Stopped as stopped:
        print("demo: stopped; no process is left", file=sys.stderr)
        code = 128 + stopped.number
    sys.exit(code)


if __name__ == "__main__":
    main()
