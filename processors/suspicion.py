"""What opens a hold: `suspect`, called by all that look for it, and the level that rises too fast.

A step of the level is one above the floors and above what money alone gives: see decision 0012.
"""

from __future__ import annotations

import hashlib
from itertools import accumulate
from typing import TYPE_CHECKING, Protocol

from processors import waiting
from processors.conditions import HOUR_MS
from processors.held import POINTS, Hold, read, write
from processors.standards import Sums
from schemas.actions import Action
from schemas.facts import Fact, PointsHeld
from schemas.member import RISE, MemberState

if TYPE_CHECKING:
    from processors.level_judge import Look
    from processors.programme import Rules

SEPARATOR = "\x1f"
STEPS_MAX = 127


class Here(Protocol):
    """Where and when a decision stands: a moment of `processors.member`, or a look at the level."""

    @property
    def at(self) -> int:
        """When what is judged happened, ms."""

    @property
    def clock(self) -> int:
        """The partition's clock, ms."""

    @property
    def offset(self) -> int:
        """The record's offset."""

    @property
    def index(self) -> int:
        """Of the decision's first fact at the offset."""


def rose(look: Look, before: int, sums: Sums) -> None:
    """The level was at place `before`, and is another now: too many steps within hours, without a purchase, hold all.

    What fell and rose again within these hours has not risen.
    """
    rules, state = look.in_force, look.state
    levels, limits = rules.levels, rules.limits
    after = levels.shown(state.level, state.level_bonus)
    steps = after - before
    if steps > 0:
        bought = levels.best(Sums(sums.spend, sums.spend, 0, sums.slowest, sums.top), levels.tenure)
        steps = max(0, after - max(before, levels.tenure, bought))
    since = look.by - limits.level_ms
    rows = [row for row in RISE.iter_unpack(state.rises) if row[0] > since]
    if steps > 0 or (steps < 0 and rows):
        rows.append((look.by, max(-STEPS_MAX, min(steps, STEPS_MAX))))
    if rows or state.rises:
        state.rises = b"".join(RISE.pack(*row) for row in rows)
    risen = max(accumulate(change for _, change in reversed(rows)), default=0)
    if steps > 0 and risen >= limits.level_steps and state.last_purchase <= since:
        because = f"{risen} steps of the level in {limits.level_ms // HOUR_MS} h without a purchase"
        suspect(rules, state, look.member_id, look, POINTS, because, look.facts, look.action)


def suspect(
    rules: Rules,
    state: MemberState,
    member_id: str,
    moment: Here,
    scope: str,
    because: str,
    facts: list[Fact],
    action: Action | None = None,
) -> None:
    """Open a hold of a scope, unless one is open; `because` is the evidence."""
    holds = read(state)
    if any(hold.scope == scope for hold in holds):
        return
    said = moment.index + len(facts)
    text = SEPARATOR.join(("hold", member_id, scope, str(moment.offset), str(said)))
    hold = Hold(
        id=hashlib.sha256(text.encode()).digest()[:16].hex(),
        scope=scope,
        at=moment.clock,
        offset=moment.offset,
        index=moment.index,
        said=said,
        parts=[],
    )
    write(state, [*holds, hold])
    waiting.changed(state)
    facts.append(
        PointsHeld(
            member_id=member_id,
            effective_at=moment.at,
            decided_at=moment.clock,
            programme=rules.number,
            rules=rules.rules,
            source=action.source if action else "",
            event_id=action.event_id if action else "",
            hold_id=hold.id,
            scope=scope,
            until=hold.at + rules.limits.waits_ms,
            because=because,
        )
    )
