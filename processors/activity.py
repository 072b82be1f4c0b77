"""The activity score: weights of the programme days, at most a cap a day, halved every few days, in integers.

A sum of thousandths k days old counts round(10^6 x 2^(-k / half-life)) / 10^6, from k = 57 on 0, and the whole is
floored once, so every order of arrival gives the same number. `Rules` holds the compiled part as `rules.activity`.
"""

from __future__ import annotations

from schemas.actions import Action
from schemas.member import MemberState
from schemas.programme import Programme


class Weights:
    """What a programme says of activity, compiled once: weights by type of action, the decay table, the cap."""

    def __init__(self, programme: Programme) -> None: ...

    def of(self, action: Action) -> int:
        """The weight of an action in thousandths; 0 = it does not move the score."""
        return 0

    def index(self, score: int) -> int:
        """The activity index 0-100 of a score in thousandths: 100 s / (s + half), rounded half up."""
        return 0


def add(weights: Weights, state: MemberState, day: int, weight: int) -> None:
    """Add a weight to a day (`day <= state.today`, rolled before); beyond the day's cap it adds nothing."""


def score(state: MemberState) -> int:
    """The score in thousandths as on `state.today`; constant time."""
    return 0


def score_on(weights: Weights, state: MemberState, day: int) -> int:
    """The score as on any programme day, from the weights of that day and the 56 before it that are known now."""
    return 0
