"""P(alive) by MBG/NBD: how likely a member still buys, and at which moment that falls under a limit.

The model (Batislam, Denizel, Filiztekin 2007; Wagner, Hoppe 2008): a member buys at a rate of its own, gamma(r, alpha)
over all members, and after each purchase, the first one too, leaves for good with a probability of its own, beta(a, b).
A history is the days with a purchase: how many repeat the first (x), from the first to the last of them (t_x), and
from the first until now (T, its age). Spans are milliseconds here, alpha is in days.

Everything is decimal: sums, products, `ln` and `exp` that are correctly rounded to 28 digits by definition, so every
machine gives the same digits and a moment may become a `wake_at` as it is. No float of a C library's is involved.
"""

from __future__ import annotations

from decimal import Context, Decimal, DivisionByZero, InvalidOperation
from typing import NamedTuple

from processors.calendar import DAY_MS
from schemas.member import NEVER
from schemas.records import Parameters

# A context of our own: that of the thread may be anybody's. A power too high to write is infinite, its inverse 0.
_EXACT = Context(prec=28, Emin=-999_999, Emax=999_999, traps=[InvalidOperation, DivisionByZero])
_DAY = Decimal(DAY_MS)
_ONE = Decimal(1)
_LN_NEVER = _EXACT.ln(Decimal(NEVER))


class History(NamedTuple):
    """Days with a purchase: how many came after the first, and ms from the first to the last."""

    repeats: int
    recency: int = 0


class Alive:
    """The model with its parameters; made once, asked often."""

    __slots__ = ("_a", "_alpha", "_b", "_r")

    def __init__(self, parameters: Parameters) -> None:
        # As the record wrote them: `repr` of a float is the shortest text that is it.
        self._r, self._a, self._b = (Decimal(repr(it)) for it in (parameters.r, parameters.a, parameters.b))
        self._alpha = _EXACT.multiply(Decimal(repr(parameters.alpha)), _DAY)

    def chance(self, history: History, age: int) -> Decimal:
        """P(alive) at an age (ms), in [0, 1]. `age` must not be under the history's recency.

        1 / (1 + a / (b + x) * ((alpha + T) / (alpha + t_x)) ^ (r + x))
        """
        run = self._span(age, history.recency)
        odds = _EXACT.multiply(self._leaving(history), _EXACT.exp(_EXACT.multiply(self._shape(history), run)))
        return _EXACT.divide(_ONE, _EXACT.add(_ONE, odds))

    def buys(self, history: History, age: int, horizon: int) -> Decimal:
        """The chance of at least one purchase in the next `horizon` ms.

        P(alive) * (1 - ((alpha + T) / (alpha + T + h)) ^ (r + x))
        """
        run = self._span(age + horizon, age)
        none = _EXACT.exp(_EXACT.minus(_EXACT.multiply(self._shape(history), run)))
        return _EXACT.multiply(self.chance(history, age), _EXACT.subtract(_ONE, none))

    def falls(self, history: History, limit: Decimal) -> int:
        """The least age (ms) at which P(alive) is under a limit in (0, 1); `NEVER` if that takes as long.

        P(alive) only falls while nobody buys, so it is solved for T:
        T > (alpha + t_x) * ((1 / limit - 1) * (b + x) / a) ^ (1 / (r + x)) - alpha
        A purchase after which it is under the limit at once falls at its own moment.
        """
        against = _EXACT.subtract(_EXACT.divide(_ONE, limit), _ONE)
        power = _EXACT.divide(_EXACT.ln(_EXACT.divide(against, self._leaving(history))), self._shape(history))
        began = _EXACT.add(self._alpha, Decimal(history.recency))
        if _EXACT.add(power, _EXACT.ln(began)) >= _LN_NEVER:
            return NEVER
        age = _EXACT.subtract(_EXACT.multiply(began, _EXACT.exp(power)), self._alpha)
        return max(history.recency, int(age) + 1)

    def _shape(self, history: History) -> Decimal:
        return _EXACT.add(self._r, Decimal(history.repeats))

    def _leaving(self, history: History) -> Decimal:
        """The odds of having left right after the last purchase."""
        return _EXACT.divide(self._a, _EXACT.add(self._b, Decimal(history.repeats)))

    def _span(self, later: int, earlier: int) -> Decimal:
        """ln((alpha + later) / (alpha + earlier))."""
        return _EXACT.ln(
            _EXACT.divide(_EXACT.add(self._alpha, Decimal(later)), _EXACT.add(self._alpha, Decimal(earlier)))
        )
