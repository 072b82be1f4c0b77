"""What does not go together in a programme: every check has a contradiction that it tells, whatever else is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from types import FunctionType

import pytest

from schemas.fitting import ALONE, AROUND
from schemas.part import Part
from schemas.programme import ProgrammeError, parse
from tests.schemas.planting import whole

TEXT = whole()
SOMETHING = "count, at_least: 1, of: [{action: profile}]"

WRONG = [
    # check, in the programme, instead, path, where it is told, part of the words
    ("Worth.now_is_between", "now: 1000", "now: 1101", "points.worth.now", "now: 1101", "outside of least and most"),
    (
        "Expiry.the_earliest_warning_first",
        "warning_days: [30, 7]",
        "warning_days: [7, 30]",
        "points.expiry.warning_days",
        "warning_days: [7",
        "from the earliest",
    ),
    (
        "RedeemRules.a_step_is_remembered_while_it_runs",
        "days: 90}}",
        "days: 181}}",
        "points.redeem.level_step.days",
        "days: 181",
        "more than kept_days",
    ),
    (
        "CampaignRule.it_lasts",
        "ends: '2026-11-12",
        "ends: '2026-11-11",
        "points.factors.campaigns.0.ends",
        "ends: '2026-11-11",
        "not after begins",
    ),
    (
        "CampaignRule.its_actions_are_known",
        "[share, quiz]",
        "[share, quizz]",
        "points.factors.campaigns.0.actions.1",
        "quizz]",
        "no such action: quizz; known: check_in, message, share, purchase, quiz",
    ),
    (
        "CampaignRule.it_has_whole_days",
        "begins: '2026-11-11T00",
        "begins: '2026-11-11T01",
        "points.factors.campaigns.0.begins",
        "begins: '2026-11-11T01",
        "not 00:00 in Asia/Shanghai",
    ),
    ("ActivityRules.a_half_life_fits", "days: 57 ", "days: 6 ", "activity.days", "days: 6 ", "fewer than half_life"),
    (
        "TierRules.ladders_climb",
        "{tier: lost, after_days: 61}",
        "{tier: lost, after_days: 46}",
        "tiers.presence.4.after_days",
        "after_days: 46}",
        "must ascend",
    ),
    ("TierRules.every_tier_has_one_gravity", "path, L3", "path, red, L3", "tiers.gravity.11", "red, L3", "named twice"),
    ("TierRules.every_tier_has_one_gravity", "path, L3", "L3", "tiers.gravity", "gravity: ", "path is missing"),
    ("ValueRules.core_is_above", "core: 2000", "core: 499", "value.core", "core: 499", "below high"),
    ("ValueRules.b_has_a_share", "abc: [60, 90]", "abc: [60, 60]", "value.abc.1", "60]}", "not above the share"),
    ("Pilot.it_has_members", "region: south", "percent: 5\n    region: south", "pilots.generous", "generous", "either"),
    (
        "Counted.fields_are_of_the_action",
        "[answer, experience]",
        "[answer, experienc]",
        "tasks.helping.conditions.0.of.0.where.kind.1",
        "experienc]",
        "kind is never experienc: it is one of answer, chat, experience, question",
    ),
    (
        "Counted.fields_are_of_the_action",
        "{coupon_id: given}",
        "{coupon_id: Given}",
        "tasks.trial.conditions.0.of.1.where.coupon_id",
        "coupon_id: Given",
        "write `given`",
    ),
    (
        "Counted.fields_are_of_the_action",
        "{coupon_id: given}",
        "{amount: '5'}",
        "tasks.trial.conditions.0.of.1.where.amount",
        "amount: '5'",
        "amount is no word",
    ),
    (
        "Counted.fields_are_of_the_action",
        "{coupon_id: given}",
        "{coupon_id: true}",
        "tasks.trial.conditions.0.of.1.where.coupon_id",
        "coupon_id: true",
        "never true or false",
    ),
    (
        "Counted.the_condition_is_one",
        "length > 3",
        "lenght > 3",
        "tasks.helping.conditions.0.of.0.cel",
        "cel: ",
        "at 1:1: no such name: lenght",
    ),
    (
        "Condition.what_is_counted_is_named",
        "measure: streak, ",
        "measure: streak, of: [{action: check_in}], ",
        "tasks.check_in_7.conditions.0.of",
        "of: [{action: check_in}]",
        "counts by itself",
    ),
    (
        "Condition.what_is_counted_is_named",
        SOMETHING,
        SOMETHING.replace("count", "seconds"),
        "tasks.icebreak.conditions.0.of.0.action",
        "action: profile",
        "profile has no seconds",
    ),
    (
        "Window.it_has_one_length",
        "joining, hours: 72}",
        "joining, hours: 72, days: 3}",
        "tasks.icebreak.window",
        "window: {begins: joining, hours",
        "hours or days for joining",
    ),
    (
        "Reward.its_level_is_there",
        "reward: {level: explorer 3}",
        "reward: {level: explorer 4}",
        "tasks.trial.reward.level",
        "level: explorer 4",
        "no such level: explorer 4; known: explorer 1, explorer 2, explorer 3",
    ),
    (
        "Reward.its_standard_is_of_a_level",
        "reward: {standard: silver}\n  helping",
        "reward: {standard: silber}\n  helping",
        "tasks.check_in_7.reward.standard",
        "standard: silber",
        "no such level: silber; known: explorer 1, ",
    ),
    (
        "Reward.its_badge_is_there",
        "badge: helper",
        "badge: helpr",
        "tasks.helping.reward.badge",
        "badge: helpr",
        "no such badge: helpr; known: helper, active_talent",
    ),
    (
        "Reward.its_badge_is_there",
        "badge: helper",
        "badge: active_talent",
        "tasks.helping.reward.badge",
        "badge: active",
        "is given by its index, actions or award",
    ),
    (
        "Task.conditions_and_window_fit",
        "    window: {begins: joining, hours: 72}\n",
        "",
        "tasks.icebreak",
        "icebreak:",
        "need a window",
    ),
    (
        "Task.a_state_gives_a_standard_alone",
        "title: spend 200",
        "resets: true\n    title: spend 200",
        "tasks.spend_200.resets",
        "resets: true",
        "begin anew by themselves",
    ),
    (
        "Task.a_task_that_begins_anew_gives_no_badge",
        "resets: false",
        "resets: true",
        "tasks.helping.reward.badge",
        "badge: helper",
        "a badge is given once",
    ),
    (
        "Task.conditions_have_names_of_their_own",
        "name: first message",
        "name: profile",
        "tasks.icebreak.conditions.2.name",
        "name: profile, measure: count, at_least: 1, of: [{action: message}]",
        "two conditions have the same name",
    ),
    (
        "Badge.one_thing_gives_it",
        "title: Active talent",
        "actions: {at_least: 1, of: [{action: login}]}\n    title: Active talent",
        "badges.active_talent",
        "active_talent:",
        "three badges",
    ),
    (
        "Level.it_has_a_standard_or_is_a_floor",
        "{level: gold, growth_from: 2000}",
        "{level: gold}",
        "levels.steps.5",
        "{level: gold}",
        "a level is a floor, or has standards",
    ),
    (
        "Level.its_spend_is_said_once",
        "spend_above: 5000",
        "spend_from: 1, spend_above: 5000",
        "levels.steps.6.spend_above",
        "spend_above: 5000",
        "not both",
    ),
    (
        "Level.top_goes_with_spend",
        "growth_from: 2000",
        "growth_from: 2000, top: true",
        "levels.steps.5.top",
        "top: true",
        "top goes with a standard in spend",
    ),
    (
        "LevelRules.a_level_is_there_once",
        "level: contributor 2",
        "level: contributor 1",
        "levels.steps.7.level",
        "level: contributor 1, spend_above: 6500",
        "contributor 1 is there twice",
    ),
    (
        "LevelRules.floors_come_first",
        "floor: tenure",
        "growth_from: 1",
        "levels.steps",
        "steps:",
        "the ladder begins with its floors",
    ),
    (
        "LevelRules.floors_come_first",
        "explorer 3, floor: joining",
        "explorer 3, growth_from: 1",
        "levels.steps.3",
        "{level: bronze",
        "the ladder begins with its floors",
    ),
    (
        "LevelRules.a_warning_comes_before_the_fall",
        "warn_days: 60",
        "warn_days: 90",
        "levels.warn_days",
        "warn_days: 90",
        "not before miss_days",
    ),
    (
        "LevelRules.the_bonus_ends_at_a_level",
        "up_to: contributor 3",
        "up_to: contributor 4",
        "levels.bonus.up_to",
        "up_to: contributor 4",
        "no such level: contributor 4",
    ),
    (
        "Programme.custom_names_are_its_own",
        "custom: {quiz: ",
        "custom: {purchase: {weight: 0, own: true}, quiz: ",
        "custom.purchase",
        "purchase: {weight",
        "purchase is an action already",
    ),
    (
        "Programme.one_badge_goes_by_the_index",
        "{title: Helper, benefit: mug}",
        "{title: Helper, benefit: mug}\n  late: {title: Late, index: {at_least: 9, day_ends: 2}}",
        "badges.active_talent.index",
        "index: {at_least: 80",
        "one badge may go by the index, and late does",
    ),
    (
        "Programme.a_badge_is_given_by_one_task",
        "reward: {level: explorer 2}",
        "reward: {level: explorer 2, badge: helper}",
        "tasks.helping.reward.badge",
        "badge: helper",
        "helper is given by task icebreak already",
    ),
]

BESIDE = (
    # wrong somewhere else in the same parts: told with it, and it with them
    ("change_days: 365", "change_days: never", "points.factors.birthday.change_days"),
    ("index_half: 20000", "index_half: much", "activity.index_half"),
    ("title: 3-day icebreak", "title: 3", "tasks.icebreak.title"),
    ("percent: 10, days: 30", "percent: 10, dais: 30", "levels.top.dais"),
    ("months: 3, high", "months: none, high", "value.months"),
    ("{tier: heavy, after", "{tier: heavi, after", "tiers.buying.3.tier"),
    ("day_ends: 7", "day_ends: ' '", "badges.active_talent.index.day_ends"),
)


@pytest.mark.parametrize(
    ("check", "old", "new", "path", "begins", "words"), WRONG, ids=[f"{row[0]} {row[2]}"[:60].strip() for row in WRONG]
)
def test_a_contradiction_is_told_at_its_place_also_beside_other_errors(
    check: str, old: str, new: str, path: str, begins: str, words: str
) -> None:
    assert old in TEXT
    alone = TEXT.replace(old, new, 1)
    others = alone
    for before, after, _ in BESIDE:
        assert others.count(before) == 1
        others = others.replace(before, after)
    for text, expected in ((alone, [path]), (others, [path, *(at for _, _, at in BESIDE)])):
        with pytest.raises(ProgrammeError) as caught:
            parse(text)
        assert sorted(at for _, _, at, _ in caught.value.errors) == sorted(expected), f"{check}: {caught.value}"
        ((line, column, said),) = [(line, col, said) for line, col, at, said in caught.value.errors if at == path]
        assert text.splitlines()[line - 1][column - 1 :].startswith(begins)
        assert words in said


def test_every_check_has_a_contradiction() -> None:
    assert set(_checks()) == {row[0] for row in WRONG}


def _checks() -> Iterator[str]:
    for part in Part.__subclasses__():
        for name, method in vars(part).items():
            if isinstance(method, FunctionType) and (hasattr(method, ALONE) or hasattr(method, AROUND)):
                yield f"{part.__name__}.{name}"


def test_what_hangs_on_a_wrong_value_is_not_told_beside_it() -> None:
    """A level of an unknown name may be any: only that is told."""
    with pytest.raises(ProgrammeError) as caught:
        parse(TEXT.replace("{level: silver,", "{level: 7,"))
    assert [path for _, _, path, _ in caught.value.errors] == ["levels.steps.4.level"]


@pytest.mark.parametrize("said", ["[given]", "[givenx, g-1]", "g-17", "even"])
def test_a_field_of_any_text_may_be_asked_for_any_word(said: str) -> None:
    parse(TEXT.replace("{coupon_id: given}", f"{{coupon_id: {said}}}"))
