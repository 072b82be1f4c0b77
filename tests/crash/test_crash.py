"""Workers that die at every step, freeze, wake up, lose replies and stores: the log decides, every time.

SEED=17 pytest tests/crash          replays one run
pytest tests/crash -m nightly       500 of them
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import pytest
from structlog.testing import capture_logs

from tests.crash.scenario import Scenario
from tests.crash.world import FAULTS
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


def happened(seeds: Iterable[int]) -> dict[str, int]:
    """What happened in all of these runs."""
    runs = [told(seed) for seed in seeds]
    return {fault: sum(run[fault] for run in runs) for fault in FAULTS}


def test_state_facts_and_aggregates_equal_the_replay_whatever_died() -> None:
    faults = happened(SEEDS)
    missing = [fault for fault, count in faults.items() if not count]
    assert "SEED" in os.environ or not missing, f"nothing was shown about {missing}: {faults}"


@pytest.mark.nightly
def test_five_hundred_runs_more() -> None:
    happened(range(1_000, 1_500))
