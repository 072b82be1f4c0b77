"""The dimensions of warning tiers: the ladders, compiled from the programme, and those that hold one tier or none.

Dimensions differ in where the state holds their tier; the ladders, presence and buying, also in the action that they
are counted from.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from processors.origins import names, origin, pack, unpack
from schemas.member import BESIDE_TIER, Beside, MemberState
from schemas.programme import BESIDE, TIERS, Programme
from schemas.programme import Step as StepRule

DAY_MS = 24 * 3_600_000
CODES = {tier: code for code, tier in enumerate(TIERS, 1)}
NAMES = ("", *TIERS)


class Held(NamedTuple):
    """A tier as the state holds it; `offset` and `place` (its index) name the fact that entered it.

    `ended` is the latest moment at which one of several reasons ended; ladders have one, and leave it 0.
    """

    code: int = 0
    at: int = 0
    offset: int = 0
    place: int = 0
    region: str = ""
    ended: int = 0


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

    @staticmethod
    def held(state: MemberState) -> Held:
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

    @staticmethod
    def held(state: MemberState) -> Held:
        """The tier held."""
        return Held(state.buying, state.buying_at, state.buying_offset, state.buying_index, state.buying_region)

    def hold(self, state: MemberState, held: Held) -> None:
        """Put a tier, or none, into the state."""
        state.buying, state.buying_at, state.buying_offset, state.buying_index = held[:4]
        state.buying_region = held.region


AnyLadder = Presence | Buying


class Aside(NamedTuple):
    """A dimension that is no ladder: its tier may be held beside those of all others."""

    number: int
    dimension: str
    code: int

    def held(self, state: MemberState) -> Held:
        """The tier held."""
        rows = unpack(BESIDE_TIER, state.beside.tiers) if state.beside else ()
        return next((_read(row, region) for row, region in rows if row[0] == self.number), NONE)

    def hold(self, state: MemberState, held: Held) -> None:
        """Put a tier, or none, into the state."""
        beside = known(state)
        others = [(row, region) for row, region in unpack(BESIDE_TIER, beside.tiers) if row[0] != self.number]
        if held.code:
            code, at, offset, place, region, ended = held
            others.append(((self.number, code, at, offset, place, ended), origin((region,))))
        beside.tiers = b"".join(pack(BESIDE_TIER, row, region) for row, region in sorted(others))


AnyDimension = AnyLadder | Aside

ASIDE = {name: Aside(number, name, CODES[tier]) for number, (name, tier) in enumerate(BESIDE.items(), 1)}
BY_NUMBER = {of.number: of for of in ASIDE.values()}


def _read(row: tuple[Any, ...], region: bytes) -> Held:
    _, code, at, offset, place, ended = row
    return Held(code, at, offset, place, names(region)[0], ended)


def known(state: MemberState) -> Beside:
    """What the state keeps beside the ladders, to be written to."""
    if state.beside is None:
        state.beside = Beside()
    return state.beside


def tidy(state: MemberState) -> None:
    """Keep nothing where nothing is known."""
    if state.beside == Beside():
        state.beside = None


def all_held(state: MemberState) -> Iterator[tuple[str, Held]]:
    """Every tier held, by its dimension: the ladders first, then the others by their numbers."""
    for ladder in (Presence, Buying):
        if (held := ladder.held(state)).code:
            yield ladder.dimension, held
    if state.beside is not None:
        for row, region in unpack(BESIDE_TIER, state.beside.tiers):
            yield BY_NUMBER[row[0]].dimension, _read(row, region)


class Ladders:
    """The ladders and gravities of a programme, compiled once; `Rules` holds it as `rules.ladders`."""

    __slots__ = ("buying", "presence", "rank")

    def __init__(self, programme: Programme) -> None:
        tiers = programme.tiers
        places = {tier: place for place, tier in enumerate(tiers.gravity)}
        self.rank = (-2, *(places.get(tier, -1) for tier in TIERS))  # by code; none lies below every tier
        self.presence = Presence(tiers.presence, self.rank, "without an own action")
        self.buying = Buying(tiers.buying, self.rank, "without a purchase")
