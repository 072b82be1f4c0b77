"""A simulation in money and in tables."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from processors.simulate import Difference, Standing, compared
from streams.money import money_of
from streams.simulate import Simulated
from streams.simulate_words import as_data, tables, worth_words
from tests.processors.story import RULES

LIVE = money_of(RULES, 0)


@pytest.mark.parametrize(
    ("net", "worth", "fen"),
    [(100, 1_000, 100), (1, 1_499, 1), (1, 1_500, 2), (3, 900, 3), (-5, 1_000, -5), (0, 1_000, 0)],
)
def test_a_liability_is_rounded_half_up_once(net: int, worth: int, fen: int) -> None:
    assert LIVE.liability(net, worth) == fen


def told() -> Simulated:
    live = {"a": Standing("east", "", "high", 10_000, 8_000, 0), "b": Standing("", "", "other", 500, 500, 1)}
    new = {"a": Standing("east", "", "high", 15_000, 13_000, 0), "b": Standing("", "", "other", 400, 400, 1)}
    difference = Difference()
    difference.add(compared(live, new))
    return Simulated(records=9, parted_at=0, until=5, rounds=1, rederived=2, difference=difference)


def test_the_same_as_data() -> None:
    data = as_data(told(), LIVE, money_of(RULES, 1_100))
    assert data["total"]["live"] == {
        "members": 2,
        "points_issued": 10_500,
        "points_owed": 8_500,
        "liability": 8_500,
        "badges": 1,
    }
    assert data["total"]["new"]["liability"] == 14_740
    assert data["worth"] == {"live": 1_000, "new": 1_100, "cost": 1_340}
    assert data["by"]["region"]["east"]["new"]["points_issued"] == 15_000
    assert [one["member_id"] for one in data["gain_most"]] == ["a"]
    assert [one["member_id"] for one in data["lose_most"]] == ["b"]
    assert data["currency"] == "yuan"


def test_the_same_in_tables() -> None:
    out = io.StringIO()
    console = Console(file=out, width=200)
    for table in tables(told(), LIVE, LIVE):
        console.print(table)
    text = out.getvalue()
    assert "15,400" in text
    assert "+4,900" in text
    assert "+49.00" in text, "points issued and owed grow alike here: 4,900 fen"
    assert "home region" in text
    assert "-100" in text


def test_a_proposed_worth_is_told_with_its_cost() -> None:
    said = worth_words(told(), money_of(RULES, 1_100))
    assert said == "a worth of 1100 instead of 1000 thousandths costs 13.40 yuan on 13,400 points owed"
