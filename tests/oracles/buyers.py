"""Customers of the MBG/NBD model, drawn by what it says of them: rates, leaving, purchases one by one. No formula.

Days are real numbers. A seed draws the same customers on every machine that has this Python.
"""

from __future__ import annotations

import random
from typing import NamedTuple


class Drawn(NamedTuple):
    """What is known of a customer at its age, whether it is alive, its purchases after that (days from the first)."""

    repeats: int
    recency: float
    age: float
    alive: bool
    later: list[float]

    def bought(self, days: float) -> bool:
        """Whether it bought within so many days."""
        return any(at <= self.age + days for at in self.later)


def drawn(
    count: int, parameters: tuple[float, float, float, float], *, seed: int, ages: tuple[float, float], days: float
) -> list[Drawn]:
    """So many customers by (r, alpha in days, a, b), of ages between two, with what they buy in the `days` after."""
    rnd = random.Random(seed)
    return [_one(rnd, parameters, rnd.uniform(*ages), days) for _ in range(count)]


def _one(rnd: random.Random, parameters: tuple[float, float, float, float], age: float, days: float) -> Drawn:
    r, alpha, a, b = parameters
    rate, leaves = rnd.gammavariate(r, 1 / alpha), rnd.betavariate(a, b)
    known: list[float] = [0.0]
    later: list[float] = []
    here = rnd.random() >= leaves
    at = 0.0
    while here:
        at += rnd.expovariate(rate) if rate > 1e-12 else age + days + 1
        if at > age + days:
            break
        (known if at <= age else later).append(at)
        here = rnd.random() >= leaves
    # Who left at a purchase after its age was alive then.
    alive = here or bool(later)
    return Drawn(len(known) - 1, known[-1], age, alive, later)
