"""The parameters of P(alive) (`processors/alive.py`) that make what customers did most likely: `memberflow fit`.

Identical histories are one row with a count. Time is scaled by the longest age, so that all four parameters are of
one size; their logarithms are searched within bounds, with the exact gradient, from the parameters in force on.
scipy is the extra `fit`: no process that stays needs it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from schemas.records import Parameters
from streams.errors import MemberflowError, UsageError

# Below these an estimate says more of chance than of customers. Drawn from the CDNOW population again and again, the
# P(alive) of a member with two purchases and 120 silent days spreads by 0.08 (standard deviation) with 500 customers,
# 0.05 with 1,000 and 0.02 with 10,000; of 500 some had no maximum at all.
CUSTOMERS_MIN = 1_000
REPEATED_MIN = 100
# Of scaled parameters, as logarithms; the fit of CDNOW lies between -3 and 1. A parameter that ends at one of these has
# no maximum: nobody ever left, or all are alike.
BOUND = math.log(1e5)
COLD = (0.0, 0.0, 0.0, 0.0)
SIGNIFICANT = 9


class Customers(NamedTuple):
    """Customers of one history, spans in days; `bought` of them bought again in the time that is foretold."""

    repeats: int
    recency: float
    age: float
    customers: int = 1
    bought: int = 0


class NotFitted(MemberflowError):
    """No parameters explain the histories best."""

    remedy = "the parameters in force stay; fit again with more history"


class Fit(NamedTuple):
    """Parameters, alpha in days, and the log-likelihood of all customers."""

    r: float
    alpha: float
    a: float
    b: float
    customers: int
    log_likelihood: float

    def record(self, day: int, by: str, why: str) -> Parameters:
        """The control record; its number is given later."""
        return Parameters(
            id="parameters",
            number=1,
            by=by,
            why=why,
            r=self.r,
            alpha=self.alpha,
            a=self.a,
            b=self.b,
            customers=self.customers,
            day=day,
        )


def fitted(histories: Iterable[Customers], warm: Parameters | None = None) -> Fit:
    """The most likely parameters, from those of `warm` on. Raises `UsageError` for too few, `NotFitted` for none."""
    rows = [row for row in histories if row.customers]
    check(rows)
    scipy = required()
    likelihood = Likelihood(rows, max(row.age for row in rows) or 1.0)
    starts = [likelihood.scaled(warm)] if warm is not None else []
    for start in (*starts, COLD):
        found = scipy.optimize.minimize(
            likelihood.cost, start, jac=True, method="L-BFGS-B", bounds=[(-BOUND, BOUND)] * 4,
            options={"maxiter": 500, "ftol": 1e-13, "gtol": 1e-8},
        )  # fmt: skip
        if found.success and all(abs(it) < BOUND - 1e-6 for it in found.x):
            return likelihood.told([float(it) for it in found.x])
    raise NotFitted("no parameters of P(alive) explain these purchases best")


def check(rows: Sequence[Customers]) -> None:
    """Refuse histories of too few customers. Raises `UsageError`."""
    customers, repeated = sum(row.customers for row in rows), sum(row.customers for row in rows if row.repeats)
    if customers < CUSTOMERS_MIN or repeated < REPEATED_MIN:
        what = f"{customers:,} customers bought, {repeated:,} of them again: too few to fit P(alive)"
        raise UsageError(what, remedy=f"nothing was changed; {CUSTOMERS_MIN:,} and {REPEATED_MIN:,} are needed")


def required() -> Any:
    """scipy, with what is used of it. Raises `UsageError` where it is not installed."""
    try:
        import scipy.optimize
        import scipy.special
    except ImportError:
        raise UsageError(
            "scipy is not installed", remedy="it is the extra `fit`: `pip install 'scipy>=1.17'`"
        ) from None
    return scipy


class Likelihood:
    """The log-likelihood of MBG/NBD over histories, in scaled time and in logarithms of the parameters."""

    def __init__(self, rows: Sequence[Customers], unit: float) -> None:
        """`unit`: days that are one unit of time."""
        import numpy as np

        columns = [np.array(it, dtype=np.float64) for it in zip(*(row[:4] for row in rows), strict=True)]
        self._x, recency, age, self._many = columns
        self._recency, self._age = recency / unit, age / unit
        self._unit = unit
        self._special = required().special
        self.customers = int(self._many.sum())

    def scaled(self, parameters: Parameters | Fit) -> list[float]:
        """Parameters as this one searches them, within the bounds."""
        found = (parameters.r, parameters.alpha / self._unit, parameters.a, parameters.b)
        return [min(max(math.log(it), -BOUND / 2), BOUND / 2) for it in found]

    def told(self, logs: Sequence[float]) -> Fit:
        """What was found, as people and records write it."""
        r, alpha, a, b = (math.exp(it) for it in logs)
        r, alpha, a, b = (float(f"{it:.{SIGNIFICANT}g}") for it in (r, alpha * self._unit, a, b))
        return Fit(r, alpha, a, b, self.customers, self.of(logs))

    def of(self, logs: Sequence[float]) -> float:
        """The log-likelihood of all customers, time in days."""
        value = -self.cost(logs)[0] * self.customers
        return float(value - (self._x * self._many).sum() * math.log(self._unit))

    def cost(self, logs: Sequence[float]) -> tuple[float, Any]:
        """Minus the mean log-likelihood, and its gradient."""
        import numpy as np

        r, alpha, a, b = np.exp(np.asarray(logs, dtype=np.float64))
        x, lgamma, psi = self._x, self._special.gammaln, self._special.digamma
        old, late = alpha + self._age, alpha + self._recency
        run = np.log(old) - np.log(late)
        left = np.log(a) - np.log(b + x) + (r + x) * run  # odds of having left, as a logarithm
        gone = self._special.expit(left)
        each = (
            lgamma(r + x) - lgamma(r) + r * np.log(alpha) - (r + x) * np.log(old)
            + lgamma(a + b) - lgamma(b) + lgamma(b + x + 1) - lgamma(a + b + x + 1) + np.logaddexp(0.0, left)
        )  # fmt: skip
        of_both = psi(a + b) - psi(a + b + x + 1)
        slopes = (
            psi(r + x) - psi(r) + np.log(alpha) - np.log(old) + gone * run,
            r / alpha - (r + x) / old + gone * (r + x) * (1 / old - 1 / late),
            of_both + gone / a,
            of_both - psi(b) + psi(b + x + 1) - gone / (b + x),
        )
        gradient = [
            -it * self._many @ slope / self.customers for it, slope in zip((r, alpha, a, b), slopes, strict=True)
        ]
        return -float(self._many @ each) / self.customers, np.array(gradient)
