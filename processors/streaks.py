"""Streaks of check-ins: days in a row, a factor from the n-th on, and what a late check-in repays.

A late check-in may join two runs: those after it stand later in a row than was known when they were paid.
Each that was paid too little gets a correction that names it, so any order of arrival pays the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from processors import days
from processors.ledger import credit, entry
from schemas.actions import CheckIn
from schemas.facts import Fact
from schemas.member import CHECK_IN, DAY_COUNTS, MemberState

if TYPE_CHECKING:
    from processors.member import Moment
    from processors.programme import Rules


def factor(rules: Rules, run: int) -> int:
    """The factor of the check-in that is the `run`-th in a row."""
    return rules.streak_factor if run >= rules.streak_from else 1


def note(rules: Rules, state: MemberState, day: int, paid: int, base: int, offset: int, index: int) -> None:
    """Remember a check-in that a late one could still lift; paid in full or too old, it needs no memory."""
    if paid >= rules.streak_factor:
        return
    rows = state.check_ins
    oldest = state.today - DAY_COUNTS
    while rows and CHECK_IN.unpack_from(rows)[0] <= oldest:
        rows = rows[CHECK_IN.size :]
    state.check_ins = rows + CHECK_IN.pack(day, paid, base, offset, index)


def heal(
    rules: Rules, state: MemberState, action: CheckIn, moment: Moment, day: int, run: int, facts: list[Fact]
) -> None:
    """After a late check-in on `day`, the `run`-th in a row: lift those after it that got too little."""
    last = day + days.run_after(state, day)
    if last == day:
        return
    kept: list[tuple[int, ...]] = []
    lifted: list[tuple[int, ...]] = []
    for row in CHECK_IN.iter_unpack(state.check_ins):
        then, paid = row[0], row[1]
        due = factor(rules, run + then - day) if day < then <= last else paid
        (lifted if due > paid else kept).append(row)
    for then, paid, base, offset, index in sorted(lifted):
        length = run + then - day
        facts.append(_lift(rules, state, action, moment, then, length, paid, base, (offset, index)))
    if lifted:
        state.check_ins = b"".join(CHECK_IN.pack(*row) for row in kept)


def _lift(
    rules: Rules,
    state: MemberState,
    action: CheckIn,
    moment: Moment,
    day: int,
    run: int,
    paid: int,
    base: int,
    amends: tuple[int, int],
) -> Fact:
    """The correction of one check-in; it belongs to that check-in's day and month."""
    due = factor(rules, run)
    more = base * (due - paid)
    month = rules.calendar.month(day)
    credit(state, month, more)
    because = f"{more} = {base} x{due} streak of {run}, less {base * paid} paid before a late check-in"
    fact = entry(rules, state, action, moment, month, "check_in", more, because)
    fact.entry, fact.base, fact.factor, fact.amends = "corrected", base, due, amends
    fact.effective_at = rules.calendar.day_start(day)
    return fact
