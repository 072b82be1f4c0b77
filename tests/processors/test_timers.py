"""Timers: whatever was armed before, who is due is what the truth of each member says, in the order (armed, id)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.timers import Timers

MEMBERS = st.sampled_from(["a", "b", "c", "d"])
MOVES = st.lists(st.tuples(MEMBERS, st.integers(0, 9)), max_size=40)  # 0 disarms


NEAR = st.sampled_from([1, 2, 1_000])  # how many are held ready


def played(moves: list[tuple[str, int]], near: int) -> tuple[Timers, dict[str, int]]:
    timers, truth = Timers(near=near), dict[str, int]()
    for member, at in moves:
        if at:
            timers.arm(member, at)
            truth[member] = at
        else:
            timers.disarm(member)
            truth.pop(member, None)
        assert timers.heap or not truth, "who looks at the heap alone would miss somebody"
    return timers, truth


@given(MOVES, st.integers(0, 10), st.integers(1, 5), NEAR)
def test_the_due_are_the_first_of_the_truth(moves: list[tuple[str, int]], clock: int, most: int, near: int) -> None:
    timers, truth = played(moves, near)
    due = sorted((at, member) for member, at in truth.items() if at <= clock)
    assert timers.due(clock, most) == [member for _, member in due[:most]]
    assert timers.due(clock, most) == [member for _, member in due[:most]], "asking takes nobody away"


@given(MOVES, st.integers(0, 10), NEAR)
def test_a_restart_from_the_store_changes_nothing(moves: list[tuple[str, int]], clock: int, near: int) -> None:
    timers, truth = played(moves, near)
    again = Timers(sorted((at, member) for member, at in truth.items()))
    assert len(timers) == len(again) == len(truth)
    assert timers.first() == again.first() == min(truth.values(), default=0)
    assert timers.due(clock, 9) == again.due(clock, 9)
    assert timers.overdue(clock) == again.overdue(clock) == max(0, clock - min(truth.values(), default=clock))


@given(st.lists(st.tuples(MEMBERS, st.integers(1, 9)), max_size=20), st.integers(1, 3), NEAR)
def test_as_the_clock_goes_on_everybody_wakes_in_order(moves: list[tuple[str, int]], most: int, near: int) -> None:
    timers, truth = played(moves, near)
    woken = []
    for clock in range(12):
        while due := timers.due(clock, most):
            assert timers.heap, "asking takes nobody away"
            for member in due:
                woken.append((truth[member], member))
                timers.disarm(member)
            assert timers.first() or not len(timers)
            assert timers.heap or not len(timers)
    assert woken == sorted((at, member) for member, at in truth.items())


@pytest.mark.parametrize("step", [-1, 0, 1], ids=["earlier", "the same moment", "later"])
def test_what_is_not_next_costs_no_entry_of_the_heap(step: int) -> None:
    members, near = [f"m-{number:04d}" for number in range(2_000)], 10
    timers = Timers([(10_000, member) for member in members], near)
    for turn in range(5):
        for number, member in enumerate(members):
            timers.arm(member, 50_000 + step * (turn * len(members) + number))
            assert len(timers.heap) <= len(members) // 4
    assert len(timers.due(100_000, 5_000)) == len(members)
