"""Tenths of customers by their chance to buy: against one list of single customers, cut with a ruler."""

from __future__ import annotations

import itertools
import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.calibration import MILLION, Decile, Foretold, deciles, mean_gap

CHANCES = st.integers(0, 40).map(lambda it: it * 25_000)
ALIKE = st.integers(1, 60).flatmap(lambda many: st.builds(Foretold, CHANCES, st.just(many), st.integers(0, many)))
ROWS = st.lists(ALIKE, max_size=40)


def ruled(rows: list[Foretold]) -> list[tuple[int, int, Fraction]]:
    """One entry a customer, each with its share of those of its chance who bought."""
    bought: dict[int, Fraction] = {}
    for chance in {row.chance for row in rows}:
        alike = [row for row in rows if row.chance == chance]
        bought[chance] = Fraction(sum(row.bought for row in alike), sum(row.customers for row in alike))
    line = sorted(row.chance for row in rows for _ in range(row.customers))
    cuts = [len(line) * at // 10 for at in range(11)]
    parts = [line[low:high] for low, high in itertools.pairwise(cuts)]
    return [(len(part), sum(part), sum((bought[chance] for chance in part), Fraction())) for part in parts]


@given(ROWS)
def test_a_tenth_is_a_tenth_of_the_line(rows: list[Foretold]) -> None:
    found, everybody = deciles(rows), sum(row.customers for row in rows)
    if everybody < 10:
        assert found == []
        return
    for tenth, (customers, predicted, bought) in zip(found, ruled(rows), strict=True):
        assert (tenth.customers, tenth.predicted) == (customers, predicted)
        assert abs(tenth.bought - bought) <= 1  # half a customer at either end
        assert 0 <= tenth.bought <= tenth.customers
    assert sum(it.bought for it in found) == sum(row.bought for row in rows)


@given(ROWS, st.randoms(use_true_random=False))
def test_neither_the_order_of_rows_nor_their_cut_matters(rows: list[Foretold], rnd: random.Random) -> None:
    pieces = [piece for row in rows for piece in cut(row, rnd)]
    rnd.shuffle(pieces)
    assert deciles(pieces) == deciles(rows)


def cut(row: Foretold, rnd: random.Random) -> list[Foretold]:
    """The same customers in two rows."""
    some = rnd.randint(0, row.customers)
    bought = rnd.randint(max(0, row.bought - (row.customers - some)), min(some, row.bought))
    return [Foretold(row.chance, some, bought), Foretold(row.chance, row.customers - some, row.bought - bought)]


def test_shares_and_gaps() -> None:
    tenth = Decile(200, 50 * MILLION, 60)
    assert (tenth.predicted_share, tenth.bought_share, round(tenth.gap, 9)) == (0.25, 0.3, 0.05)
    assert mean_gap([tenth, Decile(200, 50 * MILLION, 50)]) == pytest.approx(0.025)


def test_customers_of_one_chance_are_shared_out_in_proportion() -> None:
    found = deciles([Foretold(100_000, 100, 25)])
    assert [it.bought for it in found] == [3, 2, 3, 2, 3, 2, 3, 2, 3, 2]
    assert {it.predicted for it in found} == {MILLION}
