"""The warning ladders, as growth reads them: who is in which tier from when to when. Times are days."""

from __future__ import annotations

from typing import Any

import pytest

from processors import churn
from processors.judgement import overall
from processors.programme import Rules
from schemas.facts import Fact, Ledger, Tier, TierEntered, TierLeft, TierMoved, TierVoided
from schemas.member import tier_codes
from schemas.programme import TIERS, PresenceRules, TierRules
from schemas.verdicts import Verdict
from tests.processors.story import DAY, PROGRAMME, START, Story, an_action, tiers, told

S = 1 / 86_400  # a second, in days


def tier_facts(story: Story) -> list[Fact]:
    return [fact for _, _, fact in story.facts if isinstance(fact, Tier)]


def test_an_entry_says_why_since_when_and_what_comes_next() -> None:
    entered = tier_facts(told([(0, "join", 0, {"region": "hk"}), (0, "check_in"), (7 + S, "tick")]))[0]
    assert entered == TierEntered(
        member_id="m-1",
        effective_at=START + 7 * DAY,
        decided_at=START + 7 * DAY + 1000,
        programme=1,
        rules=1,
        dimension="presence",
        tier="yellow",
        region="hk",
        overall="yellow",
        overall_since=START + 7 * DAY,
        held=(("presence", "yellow", START + 7 * DAY),),
        silent_since=START,
        reason="7 d without an own action",
        next_tier="L1",
        next_at=START + 30 * DAY,
        score=500,  # a check-in of 1000, seven days old
        activity_index=2,
    )


def test_the_last_tier_has_no_next() -> None:
    lost = [fact for fact in tier_facts(told([(0, "login"), (61, "tick")])) if fact.tier == "lost"][-1]  # type: ignore[attr-defined]
    assert isinstance(lost, TierEntered)
    assert (lost.next_tier, lost.next_at) == ("", 0)


def test_a_tier_left_names_its_entry_and_the_action() -> None:
    left = tier_facts(told([(0, "login"), (9, "login")]))[-1]
    assert isinstance(left, TierLeft)
    assert (left.entered_at, left.source, left.event_id) == (START + 7 * DAY, "app", "e-1")


def test_the_overall_tier_is_the_gravest_held_with_its_own_moment() -> None:
    story = told([(0, "purchase"), (40, "tick"), (41, "login")])
    told_as = [(f.tier, f.overall, (f.overall_since - START) // DAY) for f in tier_facts(story) if isinstance(f, Tier)]
    assert told_as == [
        ("yellow", "yellow", 7),
        ("red", "red", 14),
        ("yellow", "L1", 30),
        ("L1", "L1", 30),
        ("red", "L1", 30),
        ("light", "L1", 30),
        ("L1", "L2", 38),
        ("L2", "L2", 38),
        ("L2", "light", 30),
    ]
    assert overall(story.rules, story.state) == ("light", START + 30 * DAY)


def test_a_member_in_no_tier_has_no_overall_tier() -> None:
    left = tier_facts(told([(0, "login"), (9, "login")]))[-1]
    assert isinstance(left, Tier)
    assert (left.overall, left.overall_since) == ("", 0)


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("voided", [(0, "login"), (8, "tick"), (9, "login", 5)]),
        ("moved", [(0, "login"), (15, "login", 3)]),
        ("voided after it was moved", [(0, "login"), (15, "login", 3), (16, "login", 9.5)]),
        ("voided, entered by a record of the member", [(10, "login", 1), (10, "login", 4)]),
        ("a second tier of the same record", [(30, "login", 0), (30, "login", 29)]),
    ],
)
def test_a_correction_names_the_fact_it_amends(name: str, steps: list[tuple[Any, ...]]) -> None:
    story = told(steps)
    places = {(offset, index): fact for offset, index, fact in story.facts}
    assert len(places) == len(story.facts), "no two facts share a place"
    amending = [fact for fact in places.values() if isinstance(fact, TierVoided | TierMoved)]
    assert amending, name
    for fact in amending:
        entry = places[fact.amends]
        assert isinstance(entry, TierEntered)
        assert (entry.dimension, entry.tier) == (fact.dimension, fact.tier)


def test_a_duplicate_of_the_ending_action_changes_nothing() -> None:
    story = told([(0, "login"), (9, "tick")])
    back = an_action("login", START + 9 * DAY, 7)
    story.act(back, START + 9 * DAY)
    before = list(story.facts)
    story.act(back, START + 12 * DAY)
    assert story.verdicts[-1] is Verdict.DUPLICATE
    assert story.facts == before


def test_a_tier_leaves_under_the_region_it_was_entered_under() -> None:
    story = told(
        [
            (0, "join", 0, {"region": "hk"}),
            (8, "profile", 8, {"home_region": "sg"}),
            (9, "login"),
            (17, "tick"),
        ]
    )
    assert [fact.region for fact in tier_facts(story) if isinstance(fact, Tier)] == ["hk", "hk", "sg"]


def stricter(**ladders: Any) -> Rules:
    """Another version of the programme, with other ladders."""
    tiers = PROGRAMME.tiers.model_dump() | ladders
    return Rules(PROGRAMME.model_copy(update={"tiers": TierRules.model_validate(tiers)}), 2, 0)


def test_a_new_version_is_climbed_from_the_tier_held() -> None:
    story = told([(0, "login"), (10, "tick")])
    story.rules = stricter(presence=[{"tier": "yellow", "after_days": 3}, {"tier": "lost", "after_days": 20}])
    story.wake_at = churn.next_wake(story.rules, story.state)
    story.tick(START + 25 * DAY)
    assert tiers(story) == ["yellow from 7", "yellow until 20: next", "lost from 20"]


def test_a_tier_entered_late_by_a_new_version_never_begins_before_the_one_it_ends() -> None:
    story = told([(0, "login"), (10, "tick")])
    story.rules = stricter(presence=[{"tier": "yellow", "after_days": 3}, {"tier": "lost", "after_days": 5}])
    story.wake_at = churn.next_wake(story.rules, story.state)
    story.tick(START + 10 * DAY)
    assert tiers(story) == ["yellow from 7", "yellow until 7: next", "lost from 7"]


def test_a_tier_that_the_new_version_dropped_goes_on_by_its_gravity() -> None:
    story = told([(0, "login"), (31, "tick")])
    story.rules = stricter(presence=[{"tier": "yellow", "after_days": 7}, {"tier": "lost", "after_days": 40}])
    story.wake_at = churn.next_wake(story.rules, story.state)
    story.tick(START + 45 * DAY)
    story.act(an_action("login", START + 46 * DAY, 99), START + 46 * DAY)
    assert tiers(story)[-4:] == ["L1 from 30", "L1 until 40: next", "lost from 40", "lost until 46: action"]


def test_the_next_wake_is_told_to_the_moment() -> None:
    story = told([(0, "login")])
    assert churn.next_wake(story.rules, story.state) == START + 7 * DAY
    story = told([(0, "purchase"), (61, "tick")])
    assert churn.next_wake(story.rules, story.state) == START + 90 * DAY
    story.tick(START + 90 * DAY)
    assert churn.next_wake(story.rules, story.state) == 0


NARROW = Rules(PROGRAMME.model_copy(update={"presence": PresenceRules(actions=("login",))}), 1, 0)
NARROWED: list[tuple[str, list[tuple[Any, ...]], list[str]]] = [
    ("another own action does not end silence", [(0, "login"), (6, "share"), (8, "tick")], ["yellow from 7"]),
    ("nor a tier", [(0, "login"), (8, "share")], ["yellow from 7"]),
    ("a login does", [(0, "login"), (8, "login")], ["yellow from 7", "yellow until 8: action"]),
    ("who never logged in is in no tier", [(0, "share"), (70, "tick")], []),
    ("a late share moves nothing", [(0, "login"), (8, "share", 3)], ["yellow from 7"]),
    ("a late login does", [(0, "login"), (8, "login", 3)], ["yellow from 7", "yellow of 7 never was"]),
]


@pytest.mark.parametrize(("name", "steps", "expected"), NARROWED, ids=[case[0] for case in NARROWED])
def test_a_programme_may_say_which_own_actions_end_silence(
    name: str, steps: list[tuple[Any, ...]], expected: list[str]
) -> None:
    assert tiers(told(steps, NARROW)) == expected


def test_a_comeback_is_paid_for_any_own_action_whatever_ends_silence() -> None:
    story = told([(0, "login"), (40, "share")], NARROW)
    assert [fact.rule for _, _, fact in story.facts if isinstance(fact, Ledger)] == ["share", "comeback"]


def test_all_tiers_held_can_be_counted_from_the_state_alone() -> None:
    scored = {"score": 1}
    opened = {"case_id": "c", "severity": "ordinary", "status": "opened"}
    unresolved = {"case_id": "s", "severity": "ordinary", "status": "unresolved"}
    steps: list[tuple[Any, ...]] = [
        (0, "join", 0, {"region": "a region with a long name"}),
        (0, "purchase"),
        (1, "nps", 1, scored),
        (1, "add_to_cart", 1, {"item_id": "i"}),
        (1, "complaint", 1, opened),
        (2, "support", 2, unresolved | {"status": "opened"}),
        (3, "support", 3, unresolved),
        (20, "tick"),
    ]
    assert [TIERS[code - 1] for code in tier_codes(told(steps).state)] == ["yellow", "red", "mood", "path"]
    assert tier_codes(told(steps[:1]).state) == []
