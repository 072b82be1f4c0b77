"""The ladders of warning tiers, compiled from the programme: steps, their limits in ms, gravities, words.

Presence and buying differ in the action they are counted from and in where the state holds the tier.
"""

from __future__ import annotations

from typing import NamedTuple

from schemas.member import MemberState
from schemas.programme import TIERS, Programme
from schemas.programme import Step as StepRule

DAY_MS = 24 * 3_600_000
CODES = {tier: code for code, tier in enumerate(TIERS, 1)}
NAMES = ("", *TIERS)


class Held(NamedTuple):
    """A tier as the state holds it; `offset` and `place` (its index) name the fact that entered it."""

    code: int = 0
    at: int = 0
    offset: int = 0
    place: int = 0
    region: str = ""


NONE = Held()


class Step(NamedTuple):
    """A tier of a ladder: entered when `after` ms have passed, told in words as `reason`."""

    code: int
    after: int
    reason: str


class Ladder:
    """One dimension of tiers by time since a last action. `after[held]` = ms to the next one, 0 = none."""

    def __init__(self, rules: tuple[StepRule, ...], rank: tuple[int, ...], words: str) -> None:
        self.steps = tuple(
            Step(CODES[rule.tier], rule.after_days * DAY_MS, f"{rule.after_days} d {words}") for rule in rules
        )
        self.next = tuple(self._next(code, rank) for code in range(len(NAMES)))
        self.after = tuple(step.after if step else 0 for step in self.next)

    def _next(self, held: int, rank: tuple[int, ...]) -> Step | None:
        """The step after the one held. A tier that only another version had here goes by its gravity."""
        codes = [step.code for step in self.steps]
        if held in codes:
            return (*self.steps, None)[codes.index(held) + 1]
        return next((step for step in self.steps if rank[step.code] > rank[held]), None)

    def reached(self, silence: int) -> Step | None:
        """The step of somebody silent for so many ms."""
        return next((step for step in reversed(self.steps) if step.after <= silence), None)


class Presence(Ladder):
    """Tiers by silence."""

    dimension = "presence"
    ended = "action"

    def anchor(self, state: MemberState) -> int:
        """The action it is counted from."""
        return state.last_present

    def held(self, state: MemberState) -> Held:
        """The tier held."""
        return Held(
            state.presence,
            state.presence_at,
            state.presence_offset,
            state.presence_index,
            state.presence_region,
        )

    def hold(self, state: MemberState, held: Held) -> None:
        """Put a tier, or none, into the state."""
        state.presence, state.presence_at, state.presence_offset, state.presence_index = held[:4]
        state.presence_region = held.region


class Buying(Ladder):
    """Tiers by time since the last purchase."""

    dimension = "buying"
    ended = "purchase"

    def anchor(self, state: MemberState) -> int:
        """The action it is counted from."""
        return state.last_purchase

    def held(self, state: MemberState) -> Held:
        """The tier held."""
        return Held(state.buying, state.buying_at, state.buying_offset, state.buying_index, state.buying_region)

    def hold(self, state: MemberState, held: Held) -> None:
        """Put a tier, or none, into the state."""
        state.buying, state.buying_at, state.buying_offset, state.buying_index = held[:4]
        state.buying_region = held.region


AnyLadder = Presence | Buying


class Ladders:
    """The ladders and gravities of a programme, compiled once; `Rules` holds it as `rules.ladders`."""

    __slots__ = ("buying", "presence", "rank")

    def __init__(self, programme: Programme) -> None:
        tiers = programme.tiers
        places = {tier: place for place, tier in enumerate(tiers.gravity)}
        self.rank = (-2, *(places.get(tier, -1) for tier in TIERS))  # by code; none lies below every tier
        self.presence = Presence(tiers.presence, self.rank, "without an own action")
        self.buying = Buying(tiers.buying, self.rank, "without a purchase")
