"""The rings of a member's recent programme days: bitmaps, counts for caps and weights, all relative to `today`.

`today` is the newest programme day of an accepted action. `roll` moves every ring to a newer day; a late day never
rolls, it is reached by how many days `back` it lies. Rings are bytes without their trailing zeros: absent days are 0.
"""

from __future__ import annotations

from processors.activity import Weights
from schemas.member import MemberState

MESSAGES, SHARES = 0, 1  # the slots of a day in `counts`


def roll(weights: Weights, state: MemberState, day: int) -> None:
    """Make `day` the member's `today`; call it only when `day > state.today` (a first action has today 0)."""


def counted(state: MemberState, day: int, slot: int) -> int:
    """How many messages or shares of a day were counted, at most 255. A day older than the ring is full: 255."""
    return 0


def count(state: MemberState, day: int, slot: int) -> None:
    """Count one more message or share of a day (`day <= state.today`)."""


def checked_in(state: MemberState, day: int) -> bool:
    """Was there a check-in on this day (`day <= state.today`)?"""
    return False


def check_in(state: MemberState, day: int) -> None:
    """Note the check-in of a day (`day <= state.today`)."""


def run_ending(state: MemberState, day: int) -> int:
    """The length of the run of check-ins that ends on this day, 0 if it has none; runs longer than the ring too."""
    return 0


def run_after(state: MemberState, day: int) -> int:
    """How many days in a row directly after this one have a check-in (those a late check-in joins on to)."""
    return 0
