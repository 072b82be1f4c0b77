"""The warning ladders, as growth reads them: who is in which tier from when to when. Times are days."""

from __future__ import annotations

from typing import Any

import pytest

from processors import churn
from processors.programme import Rules
from schemas.facts import Fact, Ledger, Tier, TierEntered, TierLeft, TierMoved, TierVoided
from schemas.programme import PresenceRules, TierRules
from schemas.verdicts import Verdict
from tests.processors.story import DAY, PROGRAMME, START, Story, an_action, tiers, told

S = 1 / 86_400  # a second, in days

PRESENCE: list[tuple[str, list[tuple[Any, ...]], list[str]]] = [
    ("no own action: no tier", [(0, "refund"), (100, "tick")], []),
    ("one second before 7 d", [(0, "login"), (7 - S, "tick")], []),
    ("at 7 d", [(0, "login"), (7, "tick")], ["yellow from 7"]),
    ("one second after, told later, true from 7 d", [(0, "login"), (7 + S, "tick")], ["yellow from 7"]),
    (
        "every tier at its own moment, however late the clock looks",
        [(0, "login"), (200, "tick")],
        [
            "yellow from 7",
            "yellow until 30: next",
            "L1 from 30",
            "L1 until 38: next",
            "L2 from 38",
            "L2 until 46: next",
            "L3 from 46",
            "L3 until 61: next",
            "lost from 61",
        ],
    ),
    (
        "the same, looked at every day",
        [(0, "login"), *((day, "tick") for day in range(1, 62))],
        [
            "yellow from 7",
            "yellow until 30: next",
            "L1 from 30",
            "L1 until 38: next",
            "L2 from 38",
            "L2 until 46: next",
            "L3 from 46",
            "L3 until 61: next",
            "lost from 61",
        ],
    ),
    ("an own action begins silence anew", [(0, "login"), (6, "like"), (12, "tick")], []),
    ("others never end it", [(0, "login"), (6, "refund"), (7, "tick")], ["yellow from 7"]),
    (
        "left at the moment of the action",
        [(0, "login"), (9, "check_in")],
        ["yellow from 7", "yellow until 9: action"],
    ),
    (
        "an action at the very moment of the entry: entered and left",
        [(0, "login"), (7, "login")],
        ["yellow from 7", "yellow until 7: action"],
    ),
    ("an action one second before the entry", [(0, "login"), (7 - S, "login"), (7, "tick")], []),
    (
        "once left it takes 7 d again",
        [(0, "login"), (9, "login"), (16 - S, "tick")],
        ["yellow from 7", "yellow until 9: action"],
    ),
    (
        "and comes again",
        [(0, "login"), (9, "login"), (16, "tick")],
        ["yellow from 7", "yellow until 9: action", "yellow from 16"],
    ),
]

LATE: list[tuple[str, list[tuple[Any, ...]], list[str]]] = [
    (
        "late, after the entry: left at the action's moment",
        [(0, "login"), (8, "tick"), (10, "login", 9)],
        ["yellow from 7", "yellow until 9: action"],
    ),
    (
        "late, at the very entry: left there",
        [(0, "login"), (8, "tick"), (10, "login", 7)],
        ["yellow from 7", "yellow until 7: action"],
    ),
    (
        "late, one second before the entry: never was",
        [(0, "login"), (8, "tick"), (10, "login", 7 - S)],
        ["yellow from 7", "yellow of 7 never was"],
    ),
    (
        "late, and silent for 7 d again by now: the same tier from another moment",
        [(0, "login"), (15, "tick"), (15, "login", 3)],
        ["yellow from 7", "yellow moved from 7 to 10"],
    ),
    (
        "moved at the last second: silent for 7 d at this very moment",
        [(0, "login"), (10, "login", 3)],
        ["yellow from 7", "yellow moved from 7 to 10"],
    ),
    (
        "moved twice: the entry is amended each time",
        [(0, "login"), (15, "login", 3), (16, "login", 5)],
        ["yellow from 7", "yellow moved from 7 to 10", "yellow moved from 10 to 12"],
    ),
    (
        "a graver tier never was, the lighter one is due",
        [(0, "login"), (31, "tick"), (32, "login", 10)],
        ["yellow from 7", "yellow until 30: next", "L1 from 30", "L1 of 30 never was", "yellow from 17"],
    ),
    (
        "late inside a grave tier: left there, and yellow since",
        [(0, "login"), (50, "login", 40)],
        [
            "yellow from 7",
            "yellow until 30: next",
            "L1 from 30",
            "L1 until 38: next",
            "L2 from 38",
            "L2 until 46: next",
            "L3 from 46",
            "L3 of 46 never was",
            "yellow from 47",
        ],
    ),
    (
        "after the entry, and due again by now: left and entered",
        [(0, "login"), (20, "login", 10)],
        ["yellow from 7", "yellow until 10: action", "yellow from 17"],
    ),
    (
        "not newer than the latest known: nothing",
        [(0, "login"), (9, "login"), (10, "login", 8)],
        ["yellow from 7", "yellow until 9: action"],
    ),
    (
        "at the moment of the latest known: nothing",
        [(0, "login"), (8, "tick"), (8, "like", 0)],
        ["yellow from 7"],
    ),
    ("a late first action is in its tier at once", [(10, "login", 1)], ["yellow from 8"]),
    (
        "the oldest accepted first action: both tiers it passed",
        [(30, "login", 0)],
        ["yellow from 7", "yellow until 30: next", "L1 from 30"],
    ),
    ("beyond the horizon: nothing", [(30 + S, "login", 0)], []),
]

BUYING: list[tuple[str, list[tuple[Any, ...]], list[str]]] = [
    ("no purchase: no tier", [(0, "login"), (5, "login"), (6, "tick")], []),
    ("one second before 14 d", [(0, "purchase"), (6, "login"), (12, "login"), (14 - S, "tick")], []),
    ("at 14 d", [(0, "purchase"), (6, "login"), (12, "login"), (14, "tick")], ["red from 14"]),
    (
        "an own action that is no purchase does not end it",
        [(0, "purchase"), (6, "login"), (12, "login"), (18, "login")],
        ["red from 14"],
    ),
    (
        "a purchase does",
        [(0, "purchase"), (6, "login"), (12, "login"), (18, "purchase")],
        ["red from 14", "red until 18: purchase"],
    ),
    (
        "beside presence, in order of time",
        [(0, "purchase"), (100, "tick")],
        [
            "yellow from 7",
            "red from 14",
            "yellow until 30: next",
            "L1 from 30",
            "red until 30: next",
            "light from 30",
            "L1 until 38: next",
            "L2 from 38",
            "L2 until 46: next",
            "L3 from 46",
            "light until 60: next",
            "medium from 60",
            "L3 until 61: next",
            "lost from 61",
            "medium until 90: next",
            "heavy from 90",
        ],
    ),
    (
        "a purchase ends both",
        [(0, "purchase"), (20, "purchase")],
        ["yellow from 7", "red from 14", "yellow until 20: action", "red until 20: purchase"],
    ),
    (
        "a late purchase before the entry, known as own too",
        [(0, "purchase"), (6, "login"), (12, "login"), (18, "login"), (18, "purchase", 10)],
        ["red from 14", "red of 14 never was"],
    ),
    (
        "a late purchase, red again by now: moved",
        [(0, "purchase"), (6, "login"), (12, "login"), (18, "login"), (18, "purchase", 4)],
        ["red from 14", "red moved from 14 to 18"],
    ),
    (
        "an order reported twice changes nothing",
        [
            (0, "purchase", 0, {"order_id": "o"}),
            (6, "login"),
            (12, "login"),
            (15, "purchase", 15, {"order_id": "o"}),
        ],
        ["red from 14"],
    ),
]

CLOSED: list[tuple[str, list[tuple[Any, ...]], list[str]]] = [
    ("a closed account enters no tier", [(0, "purchase"), (5, "leave"), (100, "tick")], []),
    (
        "leaving a group is not closing",
        [(0, "login"), (5, "leave", 5, {"group_id": "g"}), (7, "tick")],
        ["yellow from 7"],
    ),
    (
        "closing ends what is held",
        [(0, "purchase"), (20, "leave")],
        ["yellow from 7", "red from 14", "yellow until 20: closed", "red until 20: closed"],
    ),
    (
        "closed before the entry: never was",
        [(0, "login"), (8, "leave", 6)],
        ["yellow from 7", "yellow of 7 never was"],
    ),
    (
        "back after closing: silence counts again",
        [(0, "login"), (5, "leave"), (6, "join"), (13, "tick")],
        ["yellow from 13"],
    ),
    (
        "a late leave before the last action: nothing",
        [(0, "login"), (8, "login"), (9, "leave", 1)],
        ["yellow from 7", "yellow until 8: action"],
    ),
    (
        "a late action before the leave: nothing",
        [(0, "login"), (5, "leave"), (6, "login", 4), (30, "tick")],
        [],
    ),
]


@pytest.mark.parametrize(
    ("name", "steps", "expected"),
    PRESENCE + LATE + BUYING + CLOSED,
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_the_tiers_of(name: str, steps: list[tuple[Any, ...]], expected: list[str]) -> None:
    assert tiers(told(steps)) == expected


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
    overall = [(f.tier, f.overall, (f.overall_since - START) // DAY) for f in tier_facts(story) if isinstance(f, Tier)]
    assert overall == [
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
    assert churn.overall(story.rules, story.state) == ("light", START + 30 * DAY)


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
