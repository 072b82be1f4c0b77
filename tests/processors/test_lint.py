"""What a programme allows that nobody can have meant: one row, one change of the default programme and its warning."""

from __future__ import annotations

from decimal import Decimal

import pytest

from processors.lint import CHECKS, liability, most_growth, warnings
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

SEASON = 'begins: "2026-03-01T00:00:00+08:00", ends: "2026-12-01T00:00:00+08:00"'
QUIZ = "custom: {quiz: {weight: 5, own: true}}\n"

WARNED = [
    # name, in the file, instead, path, part of the words
    ("a refund that keeps points", "policy: debt", "policy: pending_only", "points.refund.policy", "prints points"),
    ("spend, then refund", "policy: debt", "policy: to_zero", "points.refund.policy", "what was spent already"),
    ("a purchase that pays itself at x4", "per_unit: 1 ", "per_unit: 25 ", "points.purchase.per_unit", "earns back"),
    ("a thousandth less than that", "per_unit: 1 ", "per_unit: 24.999 ", "", ""),
    (
        "a campaign of what earns nothing",
        "campaigns: []",
        f"campaigns: [{{name: c, factor: 2, actions: [quiz], {SEASON}}}]",
        "points.factors.campaigns.0.actions.0",
        "custom.quiz earns nothing",
    ),
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
    ("messages held before the cap", "per_day: 300}", "per_day: 9}", "points.message.per_day", "are held"),
    ("messages held at the cap", "per_day: 300}", "per_day: 10}", "", ""),
    ("invitations forgotten", "kept: 1000, paid", "kept: 199, paid", "points.referral.per_year", "199 are known"),
    # levels that nobody reaches
    (
        "a level passed over",
        "gold, growth_from: 2000",
        "gold, growth_from: 400, streak: 7, spend_above: 199",
        "levels.steps.4",
        "whoever meets it meets gold",
    ),
    ("one way left", "gold, growth_from: 2000", "gold, growth_from: 400, streak: 8", "", ""),
    (
        "a spend above that of the next",
        "spend_above: 6500}",
        "spend_above: 8001}",
        "levels.steps.7",
        "meets contributor 3",
    ),
    ("growth beyond all caps", "growth_from: 2000}", "growth_from: 23221}", "levels.steps.5.growth_from", "of 23220"),
    ("growth at all caps", "growth_from: 2000}", "growth_from: 23220}", "", ""),
    (
        "nobody is active",
        "actions: [message, comment, like, share, live, check_in]",
        "actions: [like]",
        "levels.steps.9.top",
        "no action",
    ),
    ("a floor without task", "reward: {level: explorer 2}", "reward: {}", "levels.steps.1", "no task gives it"),
    ("a level that is no floor", "{level: explorer 2}", "{level: gold}", "tasks.icebreak.reward.level", "never given"),
    # tasks that say of a level what it does not
    ("a longer streak", "streak, at_least: 7", "streak, at_least: 8", "tasks.check_in_7.conditions.0.at_least", ": 7"),
    ("200 cents", "at_least: 20000}", "at_least: 200}", "tasks.spend_200.conditions.0.at_least", "silver: 20000"),
    ("a shorter streak of the level", "streak: 7}", "streak: 6}", "tasks.check_in_7.conditions.0.at_least", ": 6"),
    (
        "more spend, in the level",
        "spend_from: 200,",
        "spend_above: 200,",
        "tasks.spend_200.conditions.0.at_least",
        "01",
    ),
    ("no such standard", ", streak: 7}", "}", "tasks.check_in_7.conditions.0.at_least", "no standard of this measure"),
    (
        "a condition that never holds",
        "where: {coupon_id: given}",
        "cel: '1 > 2'",
        "tasks.trial.conditions.0.of.1.cel",
        "looks at no field of purchase",
    ),
    (
        "one that always holds, of a badge",
        "where: {kind: trial, status: finished}",
        "cel: '2 > 1'",
        "badges.senior_taster.actions.of.0.cel",
        "always the same answer",
    ),
    ("one that looks at the order", "where: {coupon_id: given}", "cel: 'amount > 1'", "", ""),
    ("tenure at once", "tenure_months: 3 ", "tenure_months: 0 ", "levels.steps.0", "passed over"),
    ("a bonus of none", "per_year: 200,", "per_year: 0,", "levels.bonus.referrals", "never reached"),
    (
        "a bonus of more than are known",
        "bonus: {referrals: 3",
        "bonus: {referrals: 1001",
        "levels.bonus.referrals",
        "1000",
    ),
    ("a bonus to a floor", "up_to: contributor 3", "up_to: bronze", "levels.bonus.up_to", "lifts nobody"),
]


@pytest.mark.parametrize(("name", "old", "new", "path", "words"), WARNED, ids=[case[0] for case in WARNED])
def test_a_warning_has_its_place(name: str, old: str, new: str, path: str, words: str) -> None:
    assert old in DEFAULT
    text = DEFAULT.replace(old, new, 1) + QUIZ
    if name == "nobody is active":
        text = text.replace("like: 500", "like: 0")
    told = {".".join(map(str, one.path)): one.text for one in warnings(parse(text))}
    if path:
        assert words in told[path]
    else:
        assert told.keys() <= {"badges.active_talent.index.at_least"}, "a low cap of a day puts the index out of reach"


def test_the_default_programme_has_no_warning() -> None:
    assert warnings(parse(DEFAULT)) == []


def test_every_check_has_a_planted_fault() -> None:
    pilot = DEFAULT + "pilots: {a: {percent: 5, overrides: {points.share.points: 8}}}\n"
    texts = [pilot, *(DEFAULT.replace(old, new, 1) + QUIZ for _, old, new, path, _ in WARNED if path)]
    found = {check for programme in map(parse, texts) for check in CHECKS if list(check(programme))}
    assert set(CHECKS) - found == set()


def test_the_most_growth_without_purchases_is_every_cap_of_twelve_months() -> None:
    """By hand: 5 + 10 x 2 + 5 x 5 a day for 372 days, 3 items of 28 in 55 weeks; and what the programme adds."""
    assert most_growth(parse(DEFAULT)) == 50 * 372 + 84 * 55
    weekly = DAILY.replace("begins: day", "begins: week")
    assert most_growth(parse(DEFAULT.replace("tasks:  ", weekly + "#", 1))) == 50 * 372 + 84 * 55 + 10 * 55
    quiz = "custom: {quiz: {weight: 5, own: true, earns: {points: 3, per_day: 4, growth: %s}}}\n"
    assert most_growth(parse(DEFAULT + quiz % "true")) == 62 * 372 + 84 * 55
    assert most_growth(parse(DEFAULT + quiz % "false")) == 50 * 372 + 84 * 55


def test_a_pilot_that_names_no_goal_is_told() -> None:
    text = DEFAULT + "pilots: {a: {percent: 5, metric: spend, overrides: {points.share.points: 8}}}\n"
    (warned,) = warnings(parse(text))
    assert warned == (("pilots", "a"), "cannot be promoted: it names no goal, end")


def test_the_worst_day_is_every_cap_reached() -> None:
    """By hand from the default programme, at a fen a point: a birthday in a streak, 244 points, 2.44 yuan.

    And the 200 invited of a year join, and all 1,000 that are known buy for the first time, on one day.
    """
    most = liability(parse(DEFAULT))
    assert most.by_rule == {
        "check_in": 2 * 2 * 5,
        "message": 2 * 10 * 2,
        "share": 2 * 5 * 5,
        "custom": 0,
        "comeback": 50,
        "ladder": 3 * (1 + 2 + 5 + 20),
        "task": 0,
        "referral": 200 * 200 + 500 * 1_000,
    }
    assert (most.points, most.money(most.points), most.per_unit) == (540_244, 540_244, Decimal(4))


def test_a_rate_with_decimals_is_counted_with_them() -> None:
    text = DEFAULT.replace("per_unit: 1 ", "per_unit: 1.2 ")
    assert liability(parse(text)).per_unit == Decimal("4.8")
    (warned,) = warnings(parse(text.replace("policy: debt", "policy: to_zero")))
    assert "earns 1.2 per unit" in warned.text


def test_who_may_invite_nobody_earns_nothing_by_it() -> None:
    assert liability(parse(DEFAULT.replace("per_year: 200,", "per_year: 0,"))).by_rule["referral"] == 0


@pytest.mark.parametrize(("worth", "points", "money"), [(900, 189, 170), (1100, 189, 208), (900, 5, 5), (1100, 4, 4)])
def test_money_is_rounded_half_up(worth: int, points: int, money: int) -> None:
    assert liability(parse(DEFAULT))._replace(worth=worth).money(points) == money


def test_what_the_programme_declares_itself_is_counted() -> None:
    text = DEFAULT + "custom: {quiz: {weight: 5, own: true, earns: {points: 3, per_day: 4, growth: false}}}\n"
    assert liability(parse(text)).by_rule["custom"] == 12
    for named, most in (("quiz", 24), ("share", 12)):
        campaign = f"campaigns: [{{name: c, factor: 2, actions: [{named}], {SEASON}}}]"
        assert liability(parse(text.replace("campaigns: []", campaign))).by_rule["custom"] == most
