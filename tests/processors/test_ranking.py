"""Places that are shared, and a floor that never hides anybody."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.ranking import CEILING_PLACES, Place, Ranking

Values = dict[str, int]


class Kept:
    """A ranking, and the values that are kept elsewhere."""

    def __init__(self, places: int) -> None:
        self.values: Values = {}
        self.ranking = Ranking(places, self.values.items)
        self.table = self.ranking.table

    def put(self, member_id: str, value: int) -> None:
        before, self.values[member_id] = self.values.get(member_id, 0), value
        self.ranking.move(member_id, before, value)


def by_counting(values: Values, places: int) -> list[Place]:
    """A member's place is one more than how many have more; no sorting, no floor."""
    found = [Place(1 + sum(other > value for other in values.values()), m, value) for m, value in values.items()]
    return sorted(it for it in found if it.value > 0 and it.place <= places)


@pytest.mark.parametrize(
    ("values", "places", "expected"),
    [
        ({}, 3, []),
        ({"a": 5}, 3, [(1, "a", 5)]),
        ({"a": 5, "b": 5, "c": 4}, 3, [(1, "a", 5), (1, "b", 5), (3, "c", 4)]),
        ({"b": 5, "a": 5}, 1, [(1, "a", 5), (1, "b", 5)]),
        ({"a": 9, "b": 5, "c": 5, "d": 5}, 2, [(1, "a", 9), (2, "b", 5), (2, "c", 5), (2, "d", 5)]),
        ({"a": 9, "b": 5, "c": 5, "d": 1}, 3, [(1, "a", 9), (2, "b", 5), (2, "c", 5)]),
        ({"a": 1, "b": 0, "c": -4}, 3, [(1, "a", 1)]),
    ],
    ids=["nobody", "one", "shared first", "all of the last", "a tie at the end", "after a tie", "not above 0"],
)
def test_equal_values_share_a_place(values: Values, places: int, expected: list[tuple[int, str, int]]) -> None:
    ranking = Kept(places)
    for member, value in values.items():
        ranking.put(member, value)
    assert ranking.table() == expected


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(-3, 12)), max_size=300), st.integers(1, 3))
def test_every_place_is_the_one_that_counting_gives(puts: list[tuple[int, int]], places: int) -> None:
    ranking, values = Kept(places), dict[str, int]()
    for member, value in puts:
        ranking.put(f"m{member}", value)
        values[f"m{member}"] = value
        assert ranking.table() == by_counting(values, places)
        assert ranking.ranking.members == sum(value != 0 for value in values.values())


@pytest.mark.parametrize("seed", range(4))
def test_many_members_that_rise_and_fall_are_ranked_exactly(seed: int) -> None:
    """Enough of them that the floor rises, is left, and is found anew; refunds empty the top."""
    rnd, ranking, values = random.Random(seed), Kept(5), dict[str, int]()
    for step in range(4_000):
        member = f"m{rnd.randrange(600)}"
        top = ranking.table()
        if step > 2_000 and top and rnd.random() < 0.5:
            member = rnd.choice(top).member_id
            values[member] = rnd.randrange(3)
        else:
            values[member] = values.get(member, 0) + rnd.choice((500, 1_000, 3_000))
        ranking.put(member, values[member])
        if step % 20 == 0:
            assert ranking.table() == by_counting(values, 5)
    assert ranking.table() == by_counting(values, 5)
    assert ranking.table(2) == by_counting(values, 2)


def test_the_floor_follows_the_values_so_that_an_answer_sorts_few() -> None:
    ranking = Kept(2)
    for member in range(1_000):
        ranking.put(f"m{member}", member + 1)
    assert ranking.ranking._above <= CEILING_PLACES * 2
    assert ranking.table() == [(1, "m999", 1_000), (2, "m998", 999)]


def test_many_who_share_the_last_place_are_cut_only_where_lines_are_asked_for() -> None:
    ranking = Kept(2)
    for member in range(500):
        ranking.put(f"m{member:03}", 7)
    ranking.put("m400", 8)
    assert len(ranking.table()) == 500
    assert ranking.table(lines=3) == [(1, "m400", 8), (2, "m000", 7), (2, "m001", 7)]
    assert ranking.table(1, lines=3) == [(1, "m400", 8)]
