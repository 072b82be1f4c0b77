"""The activity score: weights of the programme days, at most a cap a day, halved every few days, in integers.

A sum of thousandths k days old counts round(10^6 x 2^(-k / half-life)) / 10^6, from the programme's `days` on 0, and
the whole is floored once: every order of arrival gives the same number. `Rules` holds the compiled part as
`rules.activity`.
"""

from __future__ import annotations

import struct
from decimal import Decimal
from operator import mul

from schemas.actions import ACTIONS, Action, Custom, Live, Message
from schemas.member import DAY_WEIGHTS, MemberState
from schemas.programme import ActivityRules, Programme

UNIT = 10**6  # what a weight of today counts
KINDS = ("chat", "question", "answer", "experience")  # of messages
ROWS = [struct.Struct(f"<{days}H") for days in range(DAY_WEIGHTS + 1)]


class Weights:
    """What a programme says of activity, compiled once: weights by type, the decay table, the cap."""

    __slots__ = ("cap", "decay", "half", "of_custom", "of_kind", "of_type")

    def __init__(self, programme: Programme) -> None:
        rules = programme.activity
        self.cap = rules.day_cap
        self.half = rules.index_half
        self.of_type = {kind: rules.weights.get(name, 0) for name, kind in ACTIONS.items()}
        self.of_kind = {kind: rules.weights.get(kind, 0) for kind in KINDS}
        self.of_custom = {name: custom.weight for name, custom in programme.custom.items()}
        self.decay = tuple(_decayed(back, rules) for back in range(DAY_WEIGHTS))

    def of(self, action: Action) -> int:
        """The weight of an action in thousandths; 0 = it does not move the score."""
        if type(action) is Message:
            return self.of_kind[action.kind]
        if type(action) is Live:  # the number as the sender wrote it: 0.57 of 3000 is 1710, not 1709
            return int(Decimal(repr(action.completion)) * self.of_type[Live])
        if type(action) is Custom:
            return self.of_custom.get(action.name, 0)
        return self.of_type[type(action)]

    def index(self, score: int) -> int:
        """The activity index 0-100 of a score in thousandths: 100 s / (s + half), rounded half up."""
        return (200 * score + score + self.half) // (2 * (score + self.half))


def _decayed(back: int, rules: ActivityRules) -> int:
    """round(10^6 x 2^(-back / half-life)), with decimals: no platform's `pow` decides a member's score."""
    if back >= rules.days:
        return 0
    share = Decimal(2) ** (Decimal(-back) / Decimal(rules.half_life_days))
    return int((UNIT * share).to_integral_value())


def add(weights: Weights, state: MemberState, day: int, weight: int) -> None:
    """Add a weight to a day (`day <= state.today`, rolled before); beyond the day's cap it adds nothing."""
    ring = state.weights
    if day != state.today:
        _add_late(weights, state, state.today - day, weight)
    elif weight:
        before = ring[0] + (ring[1] << 8) if ring else 0
        total = before + weight
        if total > weights.cap:
            total = max(before, weights.cap)
        state.weights = total.to_bytes(2, "little") + ring[2:]


def _add_late(weights: Weights, state: MemberState, back: int, weight: int) -> None:
    """A late day changes the sum of the older days by the difference it makes."""
    if back >= DAY_WEIGHTS or not weight:
        return
    ring = state.weights.ljust(2 * back + 2, b"\0")
    before = int.from_bytes(ring[2 * back : 2 * back + 2], "little")
    total = min(before + weight, max(weights.cap, before))
    state.weights = ring[: 2 * back] + total.to_bytes(2, "little") + ring[2 * back + 2 :]
    state.score_older += (total - before) * weights.decay[back]


def settle(weights: Weights, state: MemberState) -> None:
    """Sum up the days before today anew, after they have moved."""
    ring = state.weights
    days = len(ring) // 2
    state.score_older = sum(map(mul, ROWS[days].unpack(ring)[1:], weights.decay[1:])) if ring else 0


def score(state: MemberState) -> int:
    """The score in thousandths as on `state.today`; constant time."""
    ring = state.weights
    return state.score_older // UNIT + (ring[0] + (ring[1] << 8) if ring else 0)


def score_on(weights: Weights, state: MemberState, day: int) -> int:
    """The score as on any programme day, from the weights of that day and those before it known now."""
    shift = day - state.today
    total = 0
    for back, weight in enumerate(ROWS[len(state.weights) // 2].unpack(state.weights)):
        if weight and 0 <= back + shift < DAY_WEIGHTS:
            total += weight * weights.decay[back + shift]
    return total // UNIT
