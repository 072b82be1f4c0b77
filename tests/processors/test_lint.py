"""What a programme allows that nobody can have meant: one row, one change of the default programme and its warning."""

from __future__ import annotations

import pytest

from processors.lint import liability, warnings
from schemas.programme import parse
from tests.processors.story import DEFAULT

DAILY = """tasks:
  chatter:
    title: Chatter
    window: {begins: day}
    resets: true
    conditions: [{name: messages, measure: count, at_least: 1, of: [{action: message}]}]
    reward: {points: 10}
"""

WARNED = [
    # name, in the file, instead, path, part of the words
    ("a refund that keeps points", "policy: debt", "policy: pending_only", "points.refund.policy", "prints points"),
    ("spend, then refund", "policy: debt", "policy: to_zero", "points.refund.policy", "what was spent already"),
    ("a purchase that pays itself at x4", "per_unit: 1 ", "per_unit: 25 ", "points.purchase.per_unit", "earns back"),
    ("one point less than that", "per_unit: 1 ", "per_unit: 24 ", "", ""),
    ("a factor above the ceiling", "ceiling: 4", "ceiling: 1", "points.factors.paid.factor", "the ceiling is 1"),
    ("a daily task for words", "tasks:  ", DAILY + "#", "tasks.chatter.reward", "prints points: 10 in each window"),
    ("a cap of nothing", "{points: 5, per_day: 5}", "{points: 5, per_day: 0}", "points.share.points", "never paid"),
    ("a cap on nothing", "{points: 5, per_day: 5}", "{points: 0, per_day: 5}", "points.share", "a cap of 5"),
    ("a weight above the cap", "day_cap: 30000", "day_cap: 4999", "activity.weights.purchase", "day_cap is 4999"),
    ("a weight at the cap", "day_cap: 30000", "day_cap: 5000", "", ""),
    ("more items than remembered", "items_per_week: 3", "items_per_week: 51", "ladder.items_per_week", "open_items"),
    ("no whole steps", "smallest: 100", "smallest: 150", "points.redeem.smallest", "the smallest is 200"),
    ("a warning of too little", "warn_from: 100", "warn_from: 99", "points.expiry.warn_from", "cannot redeem"),
    ("a badge of nobody", "    actions: {at_least: 5", "    # {", "badges.senior_taster", "never awarded"),
    ("a place without award", "awarded_places: 1", "awarded_places: 0", "badges.star_of_the_month.award", "never"),
    ("an index out of reach", "{at_least: 80", "{at_least: 100", "badges.active_talent.index.at_least", "never"),
]


@pytest.mark.parametrize(("name", "old", "new", "path", "words"), WARNED, ids=[case[0] for case in WARNED])
def test_a_warning_has_its_place(name: str, old: str, new: str, path: str, words: str) -> None:
    assert old in DEFAULT
    text = DEFAULT.replace(old, new, 1)
    told = {".".join(map(str, one.path)): one.text for one in warnings(parse(text))}
    if path:
        assert words in told[path]
    else:
        assert not {at for at in told if at.startswith(("points.purchase", "activity.weights.purchase"))}


def test_the_default_programme_has_no_warning() -> None:
    assert warnings(parse(DEFAULT)) == []


def test_a_pilot_that_names_no_goal_is_told() -> None:
    text = DEFAULT + "pilots: {a: {percent: 5, metric: spend, overrides: {points.share.points: 8}}}\n"
    (warned,) = warnings(parse(text))
    assert warned == (("pilots", "a"), "cannot be promoted: it names no goal, end")


def test_the_worst_day_is_every_cap_reached() -> None:
    """By hand from the default programme, at a fen a point: a birthday in a streak, 244 points, 2.44 yuan."""
    most = liability(parse(DEFAULT))
    assert most.by_rule == {
        "check_in": 2 * 2 * 5,
        "message": 2 * 10 * 2,
        "share": 2 * 5 * 5,
        "custom": 0,
        "comeback": 50,
        "ladder": 3 * (1 + 2 + 5 + 20),
        "task": 0,
    }
    assert (most.points, most.money(most.points), most.per_unit) == (244, 244, 4)


@pytest.mark.parametrize(("worth", "points", "money"), [(900, 189, 170), (1100, 189, 208), (900, 5, 5), (1100, 4, 4)])
def test_money_is_rounded_half_up(worth: int, points: int, money: int) -> None:
    assert liability(parse(DEFAULT))._replace(worth=worth).money(points) == money


def test_what_the_programme_declares_itself_is_counted() -> None:
    text = DEFAULT + "custom: {quiz: {weight: 5, own: true, earns: {points: 3, per_day: 4, growth: false}}}\n"
    assert liability(parse(text)).by_rule["custom"] == 12
