"""`make demo` on real parts: totals agree, a webhook arrives, and no process is left, however it ends."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from tests.polling import eventually

ROOT = Path(__file__).parent.parent.parent
MEMBERFLOW = Path(sys.executable).parent / "memberflow"
SET_UP_S = 240  # two cores that others use too

pytestmark = pytest.mark.real


class Ran(NamedTuple):
    """A demo that ended."""

    folder: Path
    code: int
    said: str
    complained: str


def environment(folder: Path, seconds: str) -> dict[str, str]:
    return {**os.environ, "DEMO_FOLDER": str(folder), "DEMO_SECONDS": seconds, "MEMBERFLOW_LOG": "not-this-one"}


def run_demo(folder: Path, seconds: str) -> Ran:
    with running_demo(folder, seconds) as demo:
        said, complained = demo.communicate(timeout=SET_UP_S + 120)
        return Ran(folder, demo.returncode, said, complained)


@contextmanager
def running_demo(folder: Path, seconds: str = "20") -> Iterator[subprocess.Popen[str]]:
    demo = subprocess.Popen(
        [sys.executable, "-m", "infra.demo"],
        cwd=ROOT,
        env=environment(folder, seconds),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield demo
    finally:
        if demo.poll() is None:
            demo.send_signal(signal.SIGTERM)
            demo.communicate(timeout=120)


def left_in(folder: Path) -> dict[int, str]:
    """Processes that work in a folder, as all of a demo do: pid and command."""
    found = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(folder):
                found[process.pid] = " ".join(process.cmdline())[:80]
    return found


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return run_demo(tmp_path_factory.mktemp("demo") / "demo", "6")


def test_it_stops_by_itself_with_equal_totals_and_leaves_no_process(ran: Ran) -> None:
    assert (ran.code, ran.complained) == (0, "")
    assert left_in(ran.folder) == {}
    assert "DIFFERENT" not in ran.said


def test_every_record_that_was_sent_was_judged(ran: Ran) -> None:
    found = re.search(r"([\d,]+) records were sent .*, ([\d,]+) were judged", ran.said)
    assert found is not None
    assert found[1] == found[2]
    assert int(found[1].replace(",", "")) > 60_000


@pytest.mark.parametrize(
    "words",
    [
        "records acknowledged by the broker",  # the generator's number
        "records taken from the log",  # the workers'
        "rows stored: facts",  # the sink's
        "webhooks delivered",  # the dispatcher's
        "signature valid: member m-",  # the receiver's
        "Redis states",
        "facts topic",
        "ClickHouse",
        "equal: Redis, the log replayed, and ClickHouse",  # `memberflow audit`
        "If nothing happens",  # a member in words
        "The next commands to try:",
    ],
)
def test_it_shows_what_it_promises(ran: Ran, words: str) -> None:
    assert words in ran.said


def test_the_injected_trouble_is_seen_by_the_workers(ran: Ran) -> None:
    for verdict in ("duplicate", "dead_letter", "forwarded"):
        assert re.search(rf"of them {verdict} +│ +[1-9]", ran.said), verdict


def test_members_are_in_the_tiers_that_were_to_be_crossed(ran: Ran) -> None:
    for tier in ("yellow", "red", "L1"):
        assert re.search(rf"members in {tier} +│ +[1-9]", ran.said), tier


def test_the_next_commands_do_what_they_say(ran: Ran) -> None:
    up, show = ran.said.split("The next commands to try:")[1].strip().splitlines()
    assert "infra.stack up" in up
    try:
        subprocess.run(up.split(), cwd=ROOT, check=True, capture_output=True, timeout=120)
        told = subprocess.run(show.split(), cwd=ROOT, check=True, capture_output=True, text=True, timeout=60)
    finally:
        down = [sys.executable, "-m", "infra.stack", "down", "--data", str(ran.folder)]
        subprocess.run(down, cwd=ROOT, check=True, timeout=60)
    assert "overall tier" in told.stdout
    assert left_in(ran.folder) == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_it_sets_up_leaves_no_process(number: signal.Signals, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with running_demo(folder) as demo:
        assert eventually(lambda: any("memberflow" in it for it in left_in(folder).values()), within_s=SET_UP_S)
        demo.send_signal(number)
        _, complained = demo.communicate(timeout=120)
    assert demo.returncode == 128 + number
    assert complained == "demo: stopped; no process is left\n"
    assert left_in(folder) == {}


def has_begun(folder: Path, processes: int) -> bool:
    return len(left_in(folder)) >= processes


def test_a_demo_that_was_killed_is_cleaned_up_by_the_next_and_two_at_once_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with running_demo(folder) as demo:
        for begun in (1, 3):  # also while it has only just begun
            assert eventually(partial(has_begun, folder, begun), within_s=SET_UP_S)
            second = run_demo(folder, "5")
            assert (second.code, "a demo runs already" in second.complained) == (2, True), second.complained
        demo.kill()
        demo.communicate(timeout=60)
    left = left_in(folder).keys()
    assert left
    with running_demo(folder) as demo:
        assert eventually(lambda: not left & left_in(folder).keys(), within_s=SET_UP_S)
        demo.send_signal(signal.SIGTERM)
        demo.communicate(timeout=120)
    assert left_in(folder) == {}


def test_seconds_that_are_no_number_are_one_line(tmp_path: Path) -> None:
    ran = run_demo(tmp_path / "demo", "soon")
    assert ran.code == 2
    assert ran.complained.startswith("demo: DEMO_SECONDS=soon: write a number of seconds")


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    precious = tmp_path / "demo" / "thesis.txt"
    precious.write_text("two years of work")
    (tmp_path / "demo" / "stack.env").write_text("X=1")
    ran = run_demo(tmp_path / "demo", "5")
    assert ran.code == 2
    assert "name another DEMO_FOLDER" in ran.complained
    assert precious.read_text() == "two years of work"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["demo", "stack.env", "thesis.txt"]
