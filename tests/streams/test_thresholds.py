"""Cuts of a population: ties, few members, none; by the definitions of handbook 4.1 and 5."""

import pytest

from streams.thresholds import Counts, classes, quintiles, top


@pytest.mark.parametrize(
    ("counts", "value", "members"),
    [
        ([(value, 1) for value in range(1, 101)], 91, 100),
        ([(value, 1) for value in range(1, 100)], 91, 99),
        ([(1, 90), (2, 10)], 2, 100),
        ([(1, 89), (2, 11)], 3, 100),
        ([(1, 5), (7, 5)], 8, 10),
        ([(5, 9), (9, 1)], 9, 10),
        ([], 0, 0),
    ],
    ids=["a hundred", "ninety-nine", "a tie that fits", "a tie that is too wide", "half", "one of ten", "nobody"],
)
def test_the_top_is_the_smallest_value_that_at_most_a_tenth_reach(counts: Counts, value: int, members: int) -> None:
    found = top(counts, 10)
    assert (found.values, found.members) == ([value], members)
    assert sum(many for one, many in counts if one >= value) * 10 <= members


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([(value, 1) for value in range(1, 11)], [2, 4, 6, 8]),
        ([(value, 1) for value in range(1, 5)], [1, 2, 3, 4]),
        ([(7, 3)], [7, 7, 7, 7]),
        ([], []),
    ],
    ids=["ten", "four", "all alike", "nobody"],
)
def test_quintiles_are_nearest_rank(counts: Counts, expected: list[int]) -> None:
    assert quintiles(counts).values == expected


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([(10, 1), (30, 1), (60, 1)], [60, 30]),
        ([(1, 10), (5, 2), (40, 1)], [40, 1]),
        ([(10, 10)], [10, 10]),
        ([], []),
    ],
    ids=["exactly at the shares", "the rest is even", "equal spend, equal class", "nobody"],
)
def test_classes_go_down_to_their_share(counts: Counts, expected: list[int]) -> None:
    assert classes(counts, (60, 90)).values == expected
