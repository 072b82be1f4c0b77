"""P(alive) as the model says it in words, added up over rates and chances of leaving: no closed form, no gamma.

The densities of both are summed over a grid in ln(rate) and ln(p / (1 - p)), where the rule of trapezoids is exact to
rounding for functions that vanish on both sides. Constants that all sums share are left out. Days.
"""

from __future__ import annotations

import numpy as np

STEPS = 4_000
FAR = 40.0  # below e^-40 of the integrand's highest value nothing is left to add


def chances(
    parameters: tuple[float, float, float, float], history: tuple[int, float, float], horizon: float
) -> tuple[float, float]:
    """P(alive) at the age of (repeats, recency, age), and that of at least one purchase in `horizon` days more."""
    r, alpha, a, b = parameters
    repeats, recency, age = history
    rate = np.exp(np.linspace(-FAR / min(r, 1.0) - 20, 8, STEPS))
    odds = np.linspace(-FAR / min(a, 1.0), FAR / min(b, 1.0), STEPS)
    leaves, stays = 1 / (1 + np.exp(-odds)), 1 / (1 + np.exp(odds))
    # In these variables a gamma density is rate^r e^(-alpha rate), a beta density leaves^a stays^b.
    rates, chance = rate**r * np.exp(-alpha * rate), leaves**a * stays**b
    # The purchases at their moments: each came at the rate, after each but the last the customer stayed.
    bought = rate**repeats
    stayed = stays**repeats
    is_here = (rates * bought * np.exp(-rate * age)).sum() * (chance * stayed * stays).sum()
    has_left = (rates * bought * np.exp(-rate * recency)).sum() * (chance * stayed * leaves).sum()
    buys_not = (rates * bought * np.exp(-rate * (age + horizon))).sum() * (chance * stayed * stays).sum()
    everything = is_here + has_left
    return float(is_here / everything), float((is_here - buys_not) / everything)
