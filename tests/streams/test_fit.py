"""The fit of P(alive): what was published for CDNOW, what drawn customers are made of, and what it foretells."""

from __future__ import annotations

import datetime as dt
import math
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from processors.calibration import deciles, mean_gap
from streams.calibration import foretold
from streams.errors import UsageError
from streams.fit import CUSTOMERS_MIN, REPEATED_MIN, Customers, Fit, Likelihood, NotFitted, fitted
from tests.oracles.buyers import drawn
from tests.oracles.purchase_days import EPOCH, customers, of_cdnow

SAMPLE = Path("tests/data/cdnow_sample.txt")
TRUE = (0.525, 43.281, 0.891, 1.614)


def day(text: str) -> int:
    return (dt.date.fromisoformat(text) - EPOCH).days


@cache
def cdnow(horizon: int = 0) -> list[Customers]:
    """The sample after its first 39 weeks."""
    days = of_cdnow(SAMPLE)
    return customers(days, days, day("1997-09-30"), horizon)


def rows(count: int, *, seed: int) -> list[Customers]:
    """Customers drawn with known parameters, as CDNOW's were after 39 weeks."""
    return [Customers(it.repeats, it.recency, it.age) for it in drawn(count, TRUE, seed=seed, ages=(182, 273), days=0)]


def test_the_sample_gives_the_parameters_that_were_published() -> None:
    """BTYDplus and lifetimes: 0.525, 6.183 weeks, 0.891, 1.614."""
    found = fitted(cdnow())
    assert found.customers == 2_357
    assert [round(it, 3) for it in (found.r, found.alpha / 7, found.a, found.b)] == [0.525, 6.183, 0.891, 1.614]


@pytest.mark.parametrize(("horizon", "limit"), [(30, 0.02), (273, 0.07)])
def test_the_sample_buys_as_its_first_39_weeks_foretold(horizon: int, limit: float) -> None:
    table = deciles(foretold(cdnow(horizon), fitted(cdnow()), horizon))
    assert sum(it.customers for it in table) == 2_357
    assert 0 < mean_gap(table) <= limit


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_is_found_is_at_least_as_likely_as_the_truth(seed: int) -> None:
    known = rows(50_000, seed=seed)
    found = fitted(known)
    likelihood = Likelihood(known, 273.0)
    truth = likelihood.of([math.log(it) for it in (TRUE[0], TRUE[1] / 273.0, *TRUE[2:])])
    assert found.log_likelihood >= truth
    assert [found.r, found.alpha, found.a, found.b] == pytest.approx(TRUE, rel=0.25)
    assert found.log_likelihood - truth < 15  # of no use, were it likely by another reckoning only


def test_the_log_likelihood_is_that_of_the_model_written_out() -> None:
    """Factor by factor with the gamma function, as Batislam, Denizel and Filiztekin have it."""
    r, alpha, a, b = TRUE
    gamma = math.gamma

    def of(repeats: int, recency: float, age: float) -> float:
        buying = gamma(r + repeats) / gamma(r) * alpha**r
        leaving = gamma(a + b) * gamma(b + repeats + 1) / (gamma(b) * gamma(a + b + repeats + 1))
        here = (alpha + age) ** -(r + repeats)
        gone = a / (b + repeats) * (alpha + recency) ** -(r + repeats)
        return math.log(buying * leaving * (here + gone))

    known = [Customers(0, 0, 200, 3), Customers(4, 100, 190, 2), Customers(1, 3, 12), Customers(0, 0, 0)]
    expected = sum(row.customers * of(*row[:3]) for row in known)
    for unit in (1.0, 7.0, 200.0):
        logs = [math.log(it) for it in (r, alpha / unit, a, b)]
        assert Likelihood(known, unit).of(logs) == pytest.approx(expected, rel=1e-12)


def test_the_slope_is_that_of_the_likelihood() -> None:
    likelihood = Likelihood(cdnow(), 273.0)
    logs, step = [-0.4, -1.5, 0.3, 0.8], 1e-5
    _, slope = likelihood.cost(logs)
    for at in range(4):
        low, high = ([it + sign * step * (at == n) for n, it in enumerate(logs)] for sign in (-1, 1))
        between = (likelihood.cost(high)[0] - likelihood.cost(low)[0]) / (2 * step)
        assert slope[at] == pytest.approx(between, abs=1e-8)


def same(found: Fit, expected: Fit) -> bool:
    return found[:4] == pytest.approx(expected[:4], rel=1e-4) and math.isclose(
        found.log_likelihood, expected.log_likelihood, abs_tol=1e-4
    )


def test_identical_histories_may_come_as_one_row_or_as_many() -> None:
    single = [row._replace(customers=1) for row in cdnow() for _ in range(row.customers)]
    assert same(fitted(single), fitted(cdnow()))


@pytest.mark.parametrize("per_day", [1 / 7, 24.0, 86_400.0], ids=["weeks", "hours", "seconds"])
def test_the_unit_of_time_changes_alpha_alone(per_day: float) -> None:
    """A likelihood that is not scaled has its maximum where no search starts (lifetimes#262, #396)."""
    other = [row._replace(recency=row.recency * per_day, age=row.age * per_day) for row in cdnow()]
    found, days = fitted(other), fitted(cdnow())
    assert (found.r, found.alpha / per_day, found.a, found.b) == pytest.approx(days[:4], rel=1e-4)


@pytest.mark.parametrize("warm", [(0.5, 40.0, 1.0, 2.0), (9.0, 5_000.0, 0.01, 30.0), (1e-9, 1e9, 1e9, 1e-9)], ids=str)
def test_wherever_it_starts_it_finds_the_same(warm: tuple[float, float, float, float]) -> None:
    begun = Fit(*warm, 1, 0.0).record(10_000, "op", "yesterday")
    assert same(fitted(cdnow(), begun), fitted(cdnow()))


def test_from_the_parameters_in_force_the_way_is_shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Sequence[float]] = []
    cost = Likelihood.cost

    def counted(of: Likelihood, logs: Sequence[float]) -> tuple[float, Any]:
        asked.append(logs)
        return cost(of, logs)

    monkeypatch.setattr(Likelihood, "cost", counted)
    cold = fitted(cdnow())
    steps = len(asked)
    asked.clear()
    fitted(cdnow(), cold.record(10_000, "op", "yesterday"))
    assert len(asked) < steps / 2


def few_again(known: list[Customers]) -> list[Customers]:
    """Enough customers, nearly enough of whom bought again."""
    again = [row for row in known if row.repeats]
    return [row for row in known if not row.repeats] * 2 + again[: REPEATED_MIN - 1]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda known: known[: CUSTOMERS_MIN - 1], f"{CUSTOMERS_MIN - 1:,} customers bought"),
        (lambda known: [row._replace(repeats=0, recency=0.0) for row in known], "0 of them again"),
        (few_again, f"{REPEATED_MIN - 1} of them again"),
        (lambda known: [], "0 customers bought"),
    ],
    ids=["few", "none again", "few again", "none"],
)
def test_too_few_customers_are_refused(change: Callable[[list[Customers]], list[Customers]], told: str) -> None:
    with pytest.raises(UsageError, match=rf"{told}.*too few to fit P\(alive\); nothing was changed; 1,000 and 100"):
        fitted(change(rows(2_000, seed=5)))


def test_customers_who_never_stay_away_have_no_parameters() -> None:
    with pytest.raises(NotFitted, match=r"the parameters in force stay"):
        fitted([Customers(10, 100.0, 100.0, 5_000)])


def test_without_scipy_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "scipy"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(
        UsageError, match=r"^scipy is not installed; it is the extra `fit`: `pip install 'scipy>=1.17'`$"
    ):
        fitted(cdnow())


def test_the_record_says_what_was_found() -> None:
    found = fitted(cdnow())
    record = found.record(10_134, "op", "daily")
    assert (record.r, record.alpha, record.a, record.b, record.customers) == found[:5]
    assert (record.day, record.by, record.why) == (10_134, "op", "daily")
    assert all(len(f"{it:.12g}".replace(".", "").lstrip("0")) <= 9 for it in found[:4])
