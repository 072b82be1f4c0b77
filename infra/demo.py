"""The whole pipeline live on this machine: a month of history, live traffic on top, totals that must agree.

    make demo                        # goes on until Ctrl-C; without a terminal it stops by itself
    DEMO_SECONDS=20 make demo        # so many seconds of live traffic; exit 0, or 1 if the totals differ

The parts are real: Kafka, Redis, the ClickHouse engine, two workers, sink, dispatcher, boards, a receiver of webhooks.
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
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.live import Live as Screen
from rich.table import Table

from infra import demo_totals as totals
from infra.demo_numbers import ORDER, Rates, lines, scrape
from infra.demo_processes import MEMBERFLOW, PYTHON, Processes
from infra.pace import SENDING
from infra.process import STOPS, StackError
from infra.receiver import VALID
from infra.stack import Stack
from schemas.settings import Settings

ROOT = Path(__file__).parent.parent
LOAD = [PYTHON, "-m", "infra.load"]
MEMBERS = 3_000
SEED = 7
DAYS = 30
RATE = 300
LIVE_S = 12.0
SETTLE_S = 20.0
LOOK_S = 0.5
# Half the work of the broker in its first minute is compiling itself; a demo does not live long enough for more.
JAVA = "-XX:TieredStopAtLevel=1"
ACTIONS = 60_000
CROWD = ["--members", str(MEMBERS), "--seed", str(SEED)]
# Limits of 7 d silence, 14 d without a purchase and 30 d silence are crossed while the demo runs.
WAVES = ["--wave", "0.05:7", "--wave", "0.04:14:buying", "--wave", "0.02:30"]
BOARD = ("board", "hot_talk", "--places", "5")
PEOPLE = ["--by", "ops.demo", "--approved-by", "growth.demo"]
MEMBER = re.compile(rf"{VALID}.*member (\S+) entered (\S+)")


class Stopped(BaseException):
    """Somebody asked us to end."""

    def __init__(self, number: int) -> None:
        self.number = number


class Demo:
    """One demo in one folder."""

    def __init__(self, folder: Path, out: Console) -> None:
        self.folder, self.out = folder, out
        self.processes = Processes(folder)
        self.stack = Stack(folder)
        self.rates = Rates()
        self.sent = self.runs = 0
        self.began = time.monotonic()

    # -- setting up

    def set_up(self) -> None:
        """From an empty folder to a month of history, judged and stored."""
        with self.step("Kafka and Redis start, a month of history is written"):
            self._start_stack()
        with self.step("the log begins: topics, the first programme in every partition"):
            self.memberflow("bootstrap", "--history", "--by", "ops.demo")
        with self.step("two workers, sink, dispatcher, boards and a receiver of webhooks start"):
            self._start_pipeline()
        with self.step(f"{DAYS} days of {MEMBERS:,} members, {self.sent:,} records, go through the log"):
            self.memberflow("import", "history", str(self.folder / "history.jsonl"))
            self.memberflow("import", "--finish")
        with self.step("two people let members be contacted from now on"):
            self.memberflow("outreach", "go-live", "--why", "the demo", *PEOPLE)

    def _start_stack(self) -> None:
        self._empty_folder()
        story = ["history", str(self.folder / "history.jsonl"), "--days", str(DAYS), "--total", str(ACTIONS)]
        trouble = ["--duplicates", "0.02", "--late", "0.01", *WAVES]
        self.processes.start("history", [*LOAD, *story, *CROWD, *trouble])
        os.environ.setdefault("JAVA_TOOL_OPTIONS", JAVA)
        self.stack.up()
        os.environ.update(self.stack.env)
        self.sent = int(json.loads(self.processes.finish("history", '"written"'))["written"])

    def _empty_folder(self) -> None:
        """Away with what the last demo left, processes first."""
        self.processes.stop_left_over()
        self.stack.down()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)

    def _start_pipeline(self) -> None:
        secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        os.environ["RECEIVER_SECRET"] = secret
        self.processes.start("receiver", [PYTHON, "-m", "infra.receiver"])
        url = self.processes.wait_for("receiver", "listening on ").split()[-1]
        os.environ["MEMBERFLOW_DISPATCHER__ENDPOINTS"] = json.dumps([{"name": "growth", "url": url, "secret": secret}])
        os.environ["MEMBERFLOW_DISPATCHER__ALLOW_PRIVATE"] = "true"
        for name in ("worker-1", "worker-2", "sink", "dispatcher", "boards"):
            self.processes.start(name, [MEMBERFLOW, name.partition("-")[0]])

    # -- live

    def live(self, seconds: float) -> bool:
        """Live traffic and its numbers; True when Ctrl-C ended it before its time."""
        self.runs += 1
        name = f"load-{self.runs}"
        traffic = ["live", "--rate", str(RATE), "--incidents", "--strays", "0.005"]
        self.processes.start(name, [*LOAD, *traffic, *CROWD, *WAVES])
        is_interrupted = False
        try:
            self.processes.wait_for(name, SENDING)
            self._watch(name, time.monotonic() + seconds)
        except Stopped as stopped:
            is_interrupted = stopped.number == signal.SIGINT
            if not is_interrupted:
                raise
        self.out.print(self.numbers(name))
        self.processes.ask(name)
        self.sent += int(json.loads(self.processes.finish(name, '"acknowledged"'))["acknowledged"])
        return is_interrupted

    def _watch(self, name: str, end: float) -> None:
        with Screen(console=self.out, auto_refresh=False, transient=True) as screen:
            while (left := end - time.monotonic()) > 0:
                screen.update(self.numbers(name), refresh=self.out.is_terminal)
                time.sleep(min(LOOK_S, left))

    def numbers(self, load: str) -> Table:
        """The table of this moment. A process that died is an error."""
        self.processes.refuse_dead(load)
        found = sorted(scrape(self.folder / "targets"), key=lambda it: ORDER.index(it.job))
        return self.rates.shown(lines(found, len(self.webhooks())), time.monotonic())

    def webhooks(self) -> list[str]:
        """What the receiver says of the webhooks whose signature was valid."""
        said = (self.folder / "receiver.log").read_text(errors="replace").splitlines()
        return [line for line in said if VALID in line]

    # -- the end

    def report(self, *, goes_on: bool) -> list[str]:
        """A member in words, the totals by us and by `audit`, a webhook; returns what is wrong."""
        settings = Settings()
        wrong = self._settle(settings)
        received = self.webhooks()
        told = MEMBER.search(received[-1]) if received else None
        member = told.group(1) if told else "m-0000000"
        pool = ThreadPoolExecutor(2)
        try:
            in_words = pool.submit(self.memberflow, "member", "show", member)
            audited = pool.submit(self.memberflow, "audit")
            on_board = pool.submit(self.memberflow, *BOARD)
            found = _totals(settings)
            wrong += self._print(f"memberflow member show {member}", in_words)
            self.out.print(totals.shown(found))
            wrong += totals.differences(found)
            wrong += self._print("memberflow audit", audited)
            wrong += self._print(f"memberflow {' '.join(BOARD)}", on_board)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        if not received:
            wrong.append("no webhook with a valid signature was received")
        self.out.print(received[-1] if received else wrong[-1], style="green" if received else "red")
        self._say_what_next(member, goes_on=goes_on)
        return wrong

    def _settle(self, settings: Settings) -> list[str]:
        """Waits until every record that was sent is judged."""
        deadline = time.monotonic() + SETTLE_S
        while (judged := totals.judged(settings)) < self.sent and time.monotonic() < deadline:
            time.sleep(0.1)
        self.out.print(f"{self.sent:,} records were sent (file and generator), {judged:,} were judged (states)")
        if judged > self.sent:  # a person tries the commands meanwhile
            self.out.print(f"{judged - self.sent:,} came from elsewhere (`memberflow send`, `dlq replay` ...)")
        return [] if judged >= self.sent else [f"{self.sent:,} records were sent, {judged:,} judged"]

    def _say_what_next(self, member: str, *, goes_on: bool) -> None:
        env = f"--env-file {_near(self.folder / 'stack.env')}"
        again = f"{_near(Path(PYTHON))} -m infra.stack up --data {_near(self.folder)}"
        self.out.print(f"{time.monotonic() - self.began:.0f} s since the start. The next commands to try:")
        if not goes_on:
            self.out.print(f"  {again}", highlight=False, soft_wrap=True)
        self.out.print(f"  {_near(Path(MEMBERFLOW))} {env} member show {member}", highlight=False, soft_wrap=True)

    def _print(self, title: str, said: Future[str]) -> list[str]:
        """What a command says, as it says it; a failure is something wrong."""
        self.out.print(title, style="bold", highlight=False)
        try:
            for line in said.result().splitlines():
                self.out.print(line.rstrip(), highlight=False, markup=False)
        except StackError as error:
            return [str(error)]
        return []

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


def _totals(settings: Settings) -> dict[str, totals.Totals]:
    """Each store asked alone, at one cut."""
    states, cut = totals.of_states(settings)
    topic = asyncio.run(totals.of_topic(settings, cut))
    return {"Redis states": states, "facts topic": topic, "ClickHouse": totals.of_tables(settings, cut)}


def _near(path: Path) -> str:
    """A path as somebody who stands in this folder would type it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def demo(folder: Path, seconds: float, out: Console, *, is_endless: bool) -> int:
    """Runs it; 0, or 1 when anything is not as it should be. No process is left, however it ends."""
    running = Demo(folder, out)
    if not _lock(folder).exists():  # else one may be starting
        _refuse_other(folder, running)
    with _alone(folder):
        _refuse_other(folder, running)
        try:
            running.set_up()
            goes_on = not running.live(seconds) and is_endless
            wrong = running.report(goes_on=goes_on)
            if goes_on:
                out.print("It goes on until Ctrl-C, then the totals are compared once more.", style="bold")
                running.live(float("inf"))
                wrong += running.report(goes_on=False)
        finally:
            for number in STOPS:
                signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave half of them behind
            running.close()
    for what in wrong:
        print(f"demo: {what}", file=sys.stderr)
    return 1 if wrong else 0


def _refuse_other(folder: Path, running: Demo) -> None:
    if folder.exists() and any(folder.iterdir()) and not running.processes.file.exists():
        raise StackError(f"{_near(folder)} holds something that is no demo: name another DEMO_FOLDER")


def _lock(folder: Path) -> Path:
    return folder.with_suffix(".lock")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _lock(folder).open("w") as file:
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
    for number in STOPS:
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
