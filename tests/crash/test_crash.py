"""Workers that die at every step, freeze, wake up, lose replies and stores: the log decides, every time.

SEED=17 pytest tests/crash          replays one run
pytest tests/crash -m nightly       500 of them
"""

from __future__ import annotations

import os

import pytest
from structlog.testing import capture_logs

from tests.crash.scenario import Scenario
from tests.crash.world import POINTS
from tests.doubles import instantly

SEEDS = [int(os.environ["SEED"])] if "SEED" in os.environ else range(60)


def told(seed: int) -> dict[str, int]:
    """What happened in a run; the seed is printed where it fails."""
    scenario = Scenario(seed)
    try:
        with capture_logs():
            instantly(scenario.run())
    except BaseException as error:
        error.add_note(f"SEED={seed}: {scenario.world.counts}")
        raise
    return scenario.world.counts


def test_state_facts_and_aggregates_equal_the_replay_whatever_died() -> None:
    happened: dict[str, int] = {}
    for seed in SEEDS:
        for what, count in told(seed).items():
            happened[what] = happened.get(what, 0) + count
    if "SEED" in os.environ:
        return
    for what in (
        *(f"killed at {point}" for point in POINTS),
        *(f"woke up before {call}" for call in ("send", "commit")),
        "repeats dropped by n",
        "rebuilt from the log",
        "rebuilt from an image",
        "store went back",
        "resumed",
    ):
        assert happened.get(what), f"{what} never happened in {happened}, so nothing was shown"


@pytest.mark.nightly
def test_five_hundred_runs_more() -> None:
    for seed in range(1_000, 1_500):
        told(seed)
