"""Which version of the programme judges what, as a table; versions are named by the hour they hold from."""

from __future__ import annotations

from pathlib import Path

import pytest

from processors.versions import NEVER, NotUnderstood, Versions, compiled, inserted
from schemas.records import ProgrammeControl

HOUR = 3_600_000
DAY = 24 * HOUR
TEXT = Path("schemas/programmes/default.yaml").read_text()


def version(number: int, hour: int, text: str = TEXT) -> ProgrammeControl:
    return ProgrammeControl(id="programme", number=number, by="ann", text=text, holds_from=hour * HOUR)


def in_order(*hours: int) -> list[ProgrammeControl]:
    return [version(number, hour) for number, hour in enumerate(hours, 1)]


@pytest.mark.parametrize(
    ("hours", "clock", "in_force", "next_switch"),
    [
        ((), 5, None, NEVER),
        ((0,), 5, 0, NEVER),
        ((0, 6), 5, 0, 6 * HOUR),
        ((0, 6), 6, 6, NEVER),
        ((0, 6, 9), 7, 6, 9 * HOUR),
        ((0, 6, 9), 9, 9, NEVER),
        ((6,), 5, 6, NEVER),  # before them all the oldest holds
        ((6, 9), 5, 6, 6 * HOUR),
    ],
)
def test_the_clock_decides_who_is_in_force(
    hours: tuple[int, ...], clock: int, in_force: int | None, next_switch: int
) -> None:
    versions = Versions(in_order(*hours), clock * HOUR)
    assert (versions.in_force and versions.in_force.holds_from) == (in_force and in_force * HOUR)
    assert versions.next_switch == next_switch


@pytest.mark.parametrize(("moment", "judged_by"), [(-1, 0), (0, 0), (5, 0), (6, 6), (8, 6), (9, 9), (99, 9)])
def test_an_action_is_judged_by_the_version_of_its_moment(moment: int, judged_by: int) -> None:
    rules = Versions(in_order(0, 6, 9), 7 * HOUR).at(moment * HOUR)
    assert rules is not None
    assert rules.holds_from == judged_by * HOUR


def test_who_will_be_in_force_is_known_before_the_switch() -> None:
    versions = Versions(in_order(0, 6), 5 * HOUR)
    now, then = versions.next_at(5 * HOUR), versions.next_at(6 * HOUR)
    assert now is versions.in_force
    assert then is not None
    assert then.holds_from == 6 * HOUR
    versions.switch(6 * HOUR)
    assert versions.in_force is then


def test_of_two_that_hold_from_one_moment_the_later_counts() -> None:
    controls = inserted(in_order(0, 6), version(3, 6), 0)
    assert [control.number for control in controls] == [1, 2, 3]
    rules = Versions(controls, 7 * HOUR).in_force
    assert rules is not None
    assert rules.number == 3


def test_a_version_takes_its_place_by_the_moment_it_holds_from() -> None:
    assert [c.number for c in inserted(in_order(0, 9), version(3, 6), 0)] == [1, 3, 2]


@pytest.mark.parametrize(("superseded_days", "kept"), [(29, [1, 2, 3]), (30, [1, 2, 3]), (31, [2, 3])])
def test_a_version_is_kept_while_an_action_of_its_time_may_come(superseded_days: int, kept: list[int]) -> None:
    clock = 24 * HOUR + superseded_days * DAY
    controls = inserted(in_order(0, 24), version(3, clock // HOUR + 1), clock)
    assert [control.number for control in controls] == kept


@pytest.mark.parametrize("text", ["rules: 99", "[", TEXT.replace("rules: 1 ", "rules: 2 ")])
def test_a_text_this_code_cannot_run_is_not_understood(text: str) -> None:
    with pytest.raises(NotUnderstood):
        compiled(version(1, 0, text))
