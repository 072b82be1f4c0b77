"""The arithmetic of the bench: a wrong figure is worse than none."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.bench.figures import Figure, percentile
from tests.bench.population import Population
from tests.bench.steady import Stamps, late_in
from tests.bench.watch import Place, read


@pytest.mark.parametrize(
    ("value", "must", "target", "holds"),
    [
        (50_000, ">=", 50_000, True),
        (49_999, ">=", 50_000, False),
        (150, "<=", 150, True),
        (150.1, "<=", 150, False),
        (math.nan, "<=", 150, False),
        (math.inf, "<=", 150, False),
        (1, "", 0, None),
    ],
)
def test_a_target_holds_or_not(value: float, must: str, target: float, holds: bool | None) -> None:  # noqa: FBT001
    assert Figure("x", value, must=must, target=target).holds is holds


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1, 51, 100, 100]
    assert math.isnan(percentile([], 0.5))


def test_a_record_is_late_by_the_first_look_that_shows_it() -> None:
    seen: list[tuple[int, Place]] = [(1_000, (0, 5)), (1_010, (2, 9)), (1_020, (3, 9))]
    stamps: Stamps = [(990, 0), (995, 1), (1_008, 2), (1_015, 3)]
    assert list(late_in(0, stamps, seen, (0, 2_000))) == [20, 15, 12, math.inf]
    assert list(late_in(0, stamps, seen, (995, 1_000))) == [15]


def test_what_a_watcher_wrote_is_read_back(tmp_path: Path) -> None:
    file = tmp_path / "seen.txt"
    file.write_text("1000 0 0\n1005 0 7\n")
    assert read(file) == [(1_000, (0, 0)), (1_005, (0, 7))]


def test_a_population_is_the_same_for_the_same_seed_and_never_repeats_an_action() -> None:
    one, two = (list(Population(50, 3).uniform(1, 200, 1_800_000_000)) for _ in range(2))
    assert one == two
    assert len({value for _, value in one}) == 200
    assert {member for member, _ in one} <= set(Population(50, 3).by_partition[1])
