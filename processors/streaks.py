"""Streaks of check-ins: days in a row, a factor from the n-th on, and what a late check-in repays.

A late check-in may join two runs: those after it stand later in a row than was known when they were paid.
Each that was paid too little gets a correction that names it, so any order of arrival pays the same. Each is paid by
the version of its own moment.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from processors import days
from processors.ledger import entry, issue
from processors.origins import names, origin, pack, unpack
from schemas.actions import CheckIn
from schemas.facts import Fact, Ledger
from schemas.member import CHECK_IN, DAY_COUNTS, MemberState

if TYPE_CHECKING:
    from processors.member import Moment
    from processors.programme import Rules

DAY = struct.Struct("<H")  # how a row of CHECK_IN begins


def factor(rules: Rules, run: int) -> int:
    """The factor of the check-in that is the `run`-th in a row."""
    return rules.streak_factor if run >= rules.streak_from else 1


def note(
    rules: Rules,
    state: MemberState,
    action: CheckIn,
    moment: Moment,
    day: int,
    paid: int,
    others: int,
    base: int,
    index: int,
) -> None:
    """Remember a check-in that a late one could still lift; paid in full or too old, it needs no memory."""
    if paid >= rules.factors.product(rules.streak_factor * others):
        return
    rows = state.check_ins
    if rows and DAY.unpack_from(rows)[0] <= state.today - DAY_COUNTS:
        rows = b"".join(pack(CHECK_IN, *row) for row in unpack(CHECK_IN, rows) if row[0][0] > state.today - DAY_COUNTS)
    row = (day, moment.at - rules.calendar.day_start(day), paid | others << 4, base, moment.offset, index)
    state.check_ins = rows + pack(CHECK_IN, row, origin((action.region, action.group_id)))


def heal(
    rules: Rules, state: MemberState, action: CheckIn, moment: Moment, day: int, run: int, facts: list[Fact]
) -> None:
    """After a late check-in on `day`, the `run`-th in a row: lift those after it that got too little."""
    last = day + days.run_after(state, day)
    if last == day:
        return
    kept: list[tuple[tuple[int, ...], bytes]] = []
    lifted: list[tuple[tuple[int, ...], bytes]] = []
    for row, written in unpack(CHECK_IN, state.check_ins):
        then, paid, others = row[0], row[2] & 15, row[2] >> 4
        due = paid
        if day < then <= last:
            own = _own(rules, state, action, moment, row)
            due = own.factors.product(factor(own, run + then - day) * others)
        (lifted if due > paid else kept).append((row, written))
    for row, written in sorted(lifted):
        fact = _lift(_own(rules, state, action, moment, row), state, action, moment, run + row[0] - day, row)
        fact.region, fact.group_id = names(written)
        facts.append(fact)
    if lifted:
        state.check_ins = b"".join(pack(CHECK_IN, *row) for row in kept)


def _own(rules: Rules, state: MemberState, action: CheckIn, moment: Moment, row: tuple[int, ...]) -> Rules:
    """The version that judges an earlier check-in."""
    return moment.judging(rules, action.member_id, state, rules.calendar.day_start(row[0]) + row[1])


def _lift(rules: Rules, state: MemberState, action: CheckIn, moment: Moment, run: int, row: tuple[int, ...]) -> Ledger:
    """The correction of one check-in; it belongs to that check-in's moment and month."""
    day, into, paid, base, offset, index = row
    paid, others = paid & 15, paid >> 4
    due = rules.factors.product(factor(rules, run) * others)
    more = base * (due - paid)
    month = rules.calendar.month(day)
    because = f"{more} = {base} x{due} streak of {run}, less {base * paid} paid before a late check-in"
    fact = entry(rules, state, action, moment, month, "check_in", more, because)
    fact.entry, fact.base, fact.factor, fact.amends = "corrected", base, due, (offset, index)
    fact.effective_at = rules.calendar.day_start(day) + into
    issue(rules, state, fact)
    return fact
