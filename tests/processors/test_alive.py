"""P(alive): against a library's values, the model added up, and its own laws; the moment it falls, to the ms."""

from __future__ import annotations

import _pydecimal
import decimal
import sys
import types
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.alive import Alive, History
from processors.calendar import DAY_MS
from processors.calibration import MILLION, Decile, Foretold, deciles
from schemas.member import NEVER
from schemas.records import Parameters
from tests.oracles.alive import chances
from tests.oracles.buyers import drawn

WEEK = 7 * DAY_MS
LIMIT = Decimal("0.3")


def parameters(r: float, alpha: float, a: float, b: float) -> Parameters:
    return Parameters(id="parameters", number=1, by="op", r=r, alpha=alpha, a=a, b=b, customers=2357, day=10_134)


# As published for the CDNOW data (BTYDplus; alpha is 6.183 weeks), rounded there to three decimals.
CDNOW = Alive(parameters(0.525, 6.183 * 7, 0.891, 1.614))

# Of lifetimes 0.11.3, `ModifiedBetaGeoFitter.conditional_probability_alive` with those: repeats, recency and age in
# weeks, and what it gives.
LIBRARY = [
    (0, 0.0, 38.86, 0.3897350809187629),
    (0, 0.0, 10.0, 0.5222337327821048),
    (1, 2.0, 30.43, 0.22993417032630678),
    (2, 30.43, 38.86, 0.7062022651184873),
    (7, 34.43, 38.86, 0.8160394067266432),
    (26, 30.86, 31.0, 0.9655661441440616),
    (1, 1.71, 38.86, 0.17083648431040802),
    (3, 20.0, 27.0, 0.6919682258419523),
    (12, 5.0, 39.0, 3.879164761803739e-07),
]


@pytest.mark.parametrize(("repeats", "recency", "age", "expected"), LIBRARY)
def test_it_is_what_the_library_says(repeats: int, recency: float, age: float, expected: float) -> None:
    found = CDNOW.chance(History(repeats, round(recency * WEEK)), round(age * WEEK))
    assert abs(float(found) - expected) < 1e-9


@pytest.mark.parametrize(
    "model",
    [(0.525, 43.281, 0.891, 1.614), (0.243, 30.9, 0.793, 2.426), (1.8, 5.0, 3.0, 0.7), (4.0, 90.0, 0.2, 9.0)],
    ids=["CDNOW", "rare buyers", "leaving early", "faithful"],
)
@pytest.mark.parametrize(
    "history",
    [(0, 0.0, 0.0), (0, 0.0, 272.0), (1, 14.0, 213.0), (2, 213.0, 272.0), (9, 40.0, 60.0), (30, 500.0, 620.0)],
    ids=str,
)
@pytest.mark.parametrize("horizon", [30, 273])
def test_it_is_what_the_model_adds_up_to(
    model: tuple[float, float, float, float], history: tuple[int, float, float], horizon: int
) -> None:
    alive, buys = chances(model, history, horizon)
    repeats, recency, age = history[0], round(history[1] * DAY_MS), round(history[2] * DAY_MS)
    ours = Alive(parameters(*model))
    assert abs(float(ours.chance(History(repeats, recency), age)) - alive) < 1e-6
    assert abs(float(ours.buys(History(repeats, recency), age, horizon * DAY_MS)) - buys) < 1e-6


def test_one_purchase_is_not_certainty() -> None:
    """What BG/NBD says of a single purchase, 1.0 for ever, is why this model was chosen."""
    assert CDNOW.chance(History(0), 0) < Decimal("0.65")
    assert CDNOW.chance(History(0), 300 * DAY_MS) < CDNOW.chance(History(0), 30 * DAY_MS)


MODELS = st.builds(
    parameters,
    r=st.floats(0.05, 20),
    alpha=st.floats(0.5, 2_000),
    a=st.floats(0.01, 20),
    b=st.floats(0.01, 20),
)
HISTORIES = st.builds(History, st.integers(0, 400), st.integers(0, 2_000 * DAY_MS))
LIMITS = st.decimals(Decimal("0.01"), Decimal("0.99"), places=2)


@given(MODELS, HISTORIES, LIMITS)
def test_it_falls_at_the_first_millisecond_under_the_limit(model: Parameters, history: History, limit: Decimal) -> None:
    alive = Alive(model)
    age = alive.falls(history, limit)
    assert age >= history.recency
    if age < NEVER:
        assert alive.chance(history, age) < limit
    if age > history.recency:
        assert alive.chance(history, min(age, 10**17) - 1) >= limit


@given(MODELS, HISTORIES, st.integers(0, 2_000 * DAY_MS), st.integers(1, 400 * DAY_MS))
def test_silence_only_lowers_it_and_a_longer_time_only_adds_buyers(
    model: Parameters, history: History, silent: int, more: int
) -> None:
    alive, age = Alive(model), history.recency + silent
    assert 0 <= alive.chance(history, age + more) <= alive.chance(history, age) <= 1
    assert 0 <= alive.buys(history, age, more) <= alive.buys(history, age, 2 * more) <= alive.chance(history, age)


def test_a_limit_that_is_met_at_once_falls_with_the_purchase() -> None:
    at_once = CDNOW.chance(History(1, 20 * DAY_MS), 20 * DAY_MS)
    assert CDNOW.falls(History(1, 20 * DAY_MS), at_once + Decimal("0.001")) == 20 * DAY_MS
    assert CDNOW.falls(History(1, 20 * DAY_MS), at_once - Decimal("0.001")) > 20 * DAY_MS
    even = Alive(parameters(0.5, 10.0, 1.0, 1.0))  # after one purchase it is exactly a half
    assert even.falls(History(0), Decimal("0.5")) == 1


def test_who_never_leaves_never_falls() -> None:
    faithful = Alive(parameters(0.01, 1e9, 1e-300, 1e9))
    assert faithful.falls(History(0), LIMIT) == NEVER
    assert faithful.chance(History(0), 0) == 1


def test_a_power_too_high_to_write_is_certainty_that_they_left() -> None:
    assert Alive(parameters(1e9, 1e-9, 1.0, 1.0)).chance(History(1_000), 10**14) == 0


class Digits:
    """A few answers as text, by whichever decimal arithmetic."""

    def __init__(self, module: Any, text: Any) -> None:
        self._module, self._text = module, text

    def all(self) -> list[str]:
        found = []
        for model in (parameters(0.525, 43.281, 0.891, 1.614), parameters(3.7, 0.9, 0.02, 11.0)):
            alive = self._module.Alive(model)
            for repeats, recency, silent in ((0, 0, 1), (1, 14, 77), (7, 241, 31), (120, 900, 3)):
                history = self._module.History(repeats, recency * DAY_MS)
                age = (recency + silent) * DAY_MS + 12_345
                found += [
                    str(alive.chance(history, age)),
                    str(alive.buys(history, age, 30 * DAY_MS)),
                    str(alive.falls(history, self._text("0.3"))),
                ]
        return found


def in_plain_python() -> Digits:
    """The same source over the decimal arithmetic that is written in Python, as of a machine without the C one."""
    source = Path(str(sys.modules["processors.alive"].__file__)).read_text()
    module = types.ModuleType("alive_in_python")
    exec(compile(source.replace("from decimal import", "from _pydecimal import"), "alive", "exec"), module.__dict__)
    return Digits(module, _pydecimal.Decimal)


def test_every_arithmetic_gives_the_same_digits() -> None:
    assert decimal.Decimal is not _pydecimal.Decimal
    assert in_plain_python().all() == Digits(sys.modules["processors.alive"], Decimal).all()


def test_the_digits_are_those_that_were_recorded() -> None:
    assert str(CDNOW.chance(History(3, 100 * DAY_MS), 200 * DAY_MS)) == "0.4448102444631717868586865070"
    assert str(CDNOW.buys(History(3, 100 * DAY_MS), 200 * DAY_MS, 30 * DAY_MS)) == "0.1495820101304972413223465878"
    assert CDNOW.falls(History(3, 100 * DAY_MS), LIMIT) == 21_362_203_435


def test_the_arithmetic_of_the_thread_does_not_matter() -> None:
    ours = Digits(sys.modules["processors.alive"], Decimal).all()
    with decimal.localcontext() as context:
        context.prec, context.rounding = 3, decimal.ROUND_UP
        context.traps[decimal.Inexact] = True
        assert Digits(sys.modules["processors.alive"], Decimal).all() == ours


# -- what the issue asks of drawn customers ------------------------------------------------------------------------

TRUE = (0.525, 43.281, 0.891, 1.614)


def tenths(horizon: int) -> list[Decile]:
    """40,000 customers of known parameters, each with its own chance and what it did."""
    model = Alive(parameters(*TRUE))
    customers = drawn(40_000, TRUE, seed=40, ages=(182, 273), days=horizon)
    return deciles(
        Foretold(
            round(
                model.buys(History(it.repeats, round(it.recency * DAY_MS)), round(it.age * DAY_MS), horizon * DAY_MS)
                * MILLION
            ),
            1,
            it.bought(horizon),
        )
        for it in customers
    )


@pytest.mark.parametrize("horizon", [30, 273])
def test_drawn_customers_buy_as_foretold_in_every_tenth(horizon: int) -> None:
    found = tenths(horizon)
    assert [it.customers for it in found] == [4_000] * 10
    assert max(it.gap for it in found) <= 0.02


def test_as_many_drawn_customers_are_alive_as_it_says() -> None:
    """P(alive) itself, which only a drawn customer shows: in tenths by their own P(alive)."""
    model = Alive(parameters(*TRUE))
    customers = drawn(40_000, TRUE, seed=41, ages=(182, 273), days=1)
    found = deciles(
        Foretold(
            round(model.chance(History(it.repeats, round(it.recency * DAY_MS)), round(it.age * DAY_MS)) * MILLION),
            1,
            it.alive,
        )
        for it in customers
    )
    assert max(it.gap for it in found) <= 0.02
