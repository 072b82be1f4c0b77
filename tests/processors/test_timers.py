"""Timers: whatever was armed before, who is due is what the truth of each member says, in the order (armed, id)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from processors.timers import Timers

MEMBERS = st.sampled_from(["a", "b", "c", "d"])
MOVES = st.lists(st.tuples(MEMBERS, st.integers(0, 9)), max_size=40)  # 0 disarms


def played(moves: list[tuple[str, int]]) -> tuple[Timers, dict[str, int]]:
    timers, truth = Timers(), dict[str, int]()
    for member, at in moves:
        if at:
            timers.arm(member, at)
            truth[member] = at
        else:
            timers.disarm(member)
            truth.pop(member, None)
    return timers, truth


@given(MOVES, st.integers(0, 10), st.integers(1, 5))
def test_the_due_are_the_first_of_the_truth(moves: list[tuple[str, int]], clock: int, most: int) -> None:
    timers, truth = played(moves)
    due = sorted((at, member) for member, at in truth.items() if at <= clock)
    assert timers.due(clock, most) == [member for _, member in due[:most]]
    assert timers.due(clock, most) == [member for _, member in due[:most]], "asking takes nobody away"


@given(MOVES, st.integers(0, 10))
def test_a_restart_from_the_store_changes_nothing(moves: list[tuple[str, int]], clock: int) -> None:
    timers, truth = played(moves)
    again = Timers(sorted((at, member) for member, at in truth.items()))
    assert len(timers) == len(again) == len(truth)
    assert timers.first() == again.first() == min(truth.values(), default=0)
    assert timers.due(clock, 9) == again.due(clock, 9)
    assert timers.overdue(clock) == again.overdue(clock) == max(0, clock - min(truth.values(), default=clock))
