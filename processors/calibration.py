"""Is what P(alive) foretells true? Customers in tenths by their chance to buy, beside how many of them did.

P(alive) itself cannot be seen, a purchase can. Chances are millionths, so sums are integers and every order of rows
gives the same tenths.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

MILLION = 1_000_000
TENTHS = 10


class Foretold(NamedTuple):
    """Customers of one chance to buy (millionths), and how many of them bought."""

    chance: int
    customers: int
    bought: int


class Decile(NamedTuple):
    """A tenth of all customers: the sum of their chances (millionths), and how many bought."""

    customers: int
    predicted: int
    bought: int

    @property
    def predicted_share(self) -> float:
        """The share that was foretold to buy."""
        return self.predicted / MILLION / self.customers

    @property
    def bought_share(self) -> float:
        """The share that bought."""
        return self.bought / self.customers

    @property
    def gap(self) -> float:
        """How far the two are apart."""
        return abs(self.predicted_share - self.bought_share)


def deciles(rows: Iterable[Foretold]) -> list[Decile]:
    """Ten tenths, the least likely to buy first. Of fewer than ten customers there is none.

    Where customers of one chance fall into two tenths, those who bought are shared out in proportion, rounded half up.
    """
    ordered = _together(rows)
    everybody = sum(row.customers for row in ordered)
    if everybody < TENTHS:
        return []
    ends = [everybody * tenth // TENTHS for tenth in range(1, TENTHS + 1)]
    sums = [[0, 0, 0] for _ in ends]
    rank = tenth = 0
    for chance, customers, bought in ordered:
        begun, taken = rank, 0
        while rank < begun + customers:
            while rank == ends[tenth]:
                tenth += 1
            rank = min(begun + customers, ends[tenth])
            through = (2 * bought * (rank - begun) + customers) // (2 * customers)
            many = rank - max(begun, ends[tenth - 1] if tenth else 0)
            for at, value in enumerate((many, many * chance, through - taken)):
                sums[tenth][at] += value
            taken = through
    return [Decile(*it) for it in sums]


def mean_gap(tenths: Sequence[Decile]) -> float:
    """The mean of their gaps."""
    return sum(it.gap for it in tenths) / len(tenths)


def _together(rows: Iterable[Foretold]) -> list[Foretold]:
    """One row a chance, ascending: customers of one chance cannot be told apart."""
    sums: dict[int, tuple[int, int]] = {}
    for chance, customers, bought in rows:
        held = sums.get(chance, (0, 0))
        sums[chance] = (held[0] + customers, held[1] + bought)
    return [Foretold(chance, *held) for chance, held in sorted(sums.items())]
