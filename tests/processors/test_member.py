"""The only entry of the rules: what ends silence, where a member lives, and that nothing a sender writes raises."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors import identity
from processors.judgement import home_region
from processors.member import Member, Moment, decide, is_own, wake
from processors.programme import Rules
from schemas import facts as fact_codec
from schemas import member as member_codec
from schemas.actions import ACTIONS, Action, AnyAction
from schemas.facts import Ledger, Score, TierLeft
from schemas.member import MemberState
from schemas.programme import parse
from schemas.verdicts import Verdict
from tests.processors.book import check_sums
from tests.processors.story import DAY, EPOCH, KEY, PROGRAMME, RULES, START, Story, an_action, told
from tests.strategies import actions, instants

CUSTOM = Rules(
    parse(
        PROGRAMME.model_dump_json().replace(
            '"custom":{}', '"custom":{"quiz":{"weight":1500,"own":true},"seen":{"weight":0,"own":false}}'
        )
    ),
    1,
    0,
)

OWN = {
    **dict.fromkeys("check_in login message purchase share browse add_to_cart like comment live join".split(), True),
    **dict.fromkeys("redeem event benefit_use nps".split(), True),
    **dict.fromkeys("refund leave profile redeem_cancel benefit_grant consent opt_out".split(), False),
    **dict.fromkeys("outreach_feedback adjust merge erase opening".split(), False),
}

CONDITIONAL: list[tuple[str, dict[str, Any], bool]] = [
    ("subscribe", {"plan": "gold", "paid_until": EPOCH}, True),
    ("subscribe", {"plan": "gold", "paid_until": EPOCH, "auto_renewal": True}, False),
    ("content", {"content_id": "c-1", "status": "seen"}, False),
    ("content", {"content_id": "c-1", "status": "clicked"}, True),
    ("complaint", {"case_id": "c-1", "severity": "ordinary", "status": "opened"}, True),
    ("complaint", {"case_id": "c-1", "severity": "ordinary", "status": "resolved"}, False),
    ("support", {"case_id": "c-1", "severity": "complex", "status": "opened"}, True),
    ("support", {"case_id": "c-1", "severity": "complex", "status": "unresolved"}, False),
    ("custom", {"name": "quiz"}, True),
    ("custom", {"name": "seen"}, False),
    ("custom", {"name": "never declared"}, False),
]


def test_every_action_says_whether_it_is_the_members_own() -> None:
    assert {**OWN, **{what: False for what, _, _ in CONDITIONAL}}.keys() == ACTIONS.keys()
    assert {name: kind.own for name, kind in ACTIONS.items() if name in OWN} == OWN


@pytest.mark.parametrize(("what", "fields", "own"), CONDITIONAL)
def test_some_end_silence_only_by_what_they_say(what: str, fields: dict[str, Any], own: bool) -> None:  # noqa: FBT001
    action = an_action(what, START, 1, **fields)
    assert is_own(CUSTOM, action) is own
    story = Story(CUSTOM)
    story.act(action, START)
    assert bool(story.state.last_own) is own


def test_an_action_that_earns_brings_one_entry_one_that_weighs_one_score_others_nothing() -> None:
    story = told([(0, "share"), (0.1, "like"), (0.2, "browse", 0.2, {"item_id": "i-1"}), (0.3, "refund")])
    assert [type(fact) for _, _, fact in story.facts] == [Ledger, Score]
    score = story.facts[1][2]
    assert isinstance(score, Score)
    assert (score.action, score.score, score.activity_index) == ("like", 3_500, 15)


def test_a_declared_custom_action_moves_the_score() -> None:
    story = told([(0, "custom", 0, {"name": "quiz"}), (0, "custom", 0, {"name": "seen"})], CUSTOM)
    assert [fact.score for _, _, fact in story.facts if isinstance(fact, Score)] == [1_500]


REGIONS: list[tuple[str, list[tuple[Any, ...]], str]] = [
    ("nobody said", [(0, "login")], ""),
    ("the region of an action is not the member's", [(0, "login", 0, {"region": "east"})], ""),
    ("the first join", [(0, "join", 0, {"region": "east"}), (1, "join", 1, {"region": "west"})], "east"),
    (
        "the first join that arrives late",
        [(1, "join", 1, {"region": "west"}), (2, "join", 0, {"region": "east"})],
        "east",
    ),
    (
        "the profile before the join",
        [(0, "profile", 0, {"home_region": "north"}), (1, "join", 1, {"region": "e"})],
        "north",
    ),
    (
        "the latest profile",
        [(0, "profile", 0, {"home_region": "north"}), (1, "profile", 1, {"home_region": "south"})],
        "south",
    ),
    (
        "an older profile that arrives late does not count",
        [(1, "profile", 1, {"home_region": "south"}), (2, "profile", 0, {"home_region": "north"})],
        "south",
    ),
    (
        "a profile without a home region says nothing of it",
        [(0, "profile", 0, {"home_region": "north"}), (1, "profile", 1, {"need": "price"})],
        "north",
    ),
    (
        "of two at one moment the greater name, in any order",
        [(1, "profile", 1, {"home_region": "b"}), (1, "profile", 1, {"home_region": "a"})],
        "b",
    ),
]


@pytest.mark.parametrize(("name", "steps", "region"), REGIONS, ids=[case[0] for case in REGIONS])
def test_home_region(name: str, steps: list[tuple[Any, ...]], region: str) -> None:
    assert home_region(told(steps).state) == region


def test_leaving_a_group_closes_nothing_and_leaving_the_programme_ends_tiers() -> None:
    story = told([(0, "login"), (8, "leave", 8, {"group_id": "g-1"}), (9, "leave"), (80, "tick")])
    left = [fact for _, _, fact in story.facts if isinstance(fact, TierLeft)]
    assert [(fact.tier, fact.effective_at, fact.reason) for fact in left] == [("yellow", START + 9 * DAY, "closed")]
    assert story.wake_at == story.state.level_due, "nothing but the floor of tenure is to come"


@given(st.lists(st.tuples(actions, st.integers(-40 * DAY, 10 * DAY)), max_size=12), st.integers(0, 300 * DAY))
@settings(deadline=None)
def test_decide_never_raises_for_any_action_that_decodes(sent: list[tuple[Action, int]], later: int) -> None:
    """Whatever the contents, the moments and the order; state and facts stay encodable, the ledger adds up."""
    story = Story()
    for number, (action, shift) in enumerate(sent):
        action.member_id = "m-1"
        clock = START + number * DAY
        moment = Moment(min(clock + shift, clock + 300_000), clock, number, 0)
        decision = decide(RULES, RULES, KEY, story.member, action, moment)
        story.facts.extend((number, place, fact) for place, fact in enumerate(decision.facts))
        assert decision.wake_at == 0 or decision.wake_at > clock
        for fact in decision.facts:
            assert fact_codec.decode(fact_codec.encode(fact)) == fact
    end = START + 13 * DAY + later
    decision = wake(RULES, story.member, end, 99, 0)
    story.facts.extend((99, place, fact) for place, fact in enumerate(decision.facts))
    assert decision.wake_at == 0 or decision.wake_at > end
    assert member_codec.decode(member_codec.encode(story.state)) == story.state
    check_sums(story)


@given(actions, instants)
def test_any_action_decodes_from_what_it_encodes_to(action: Action, at: dt.datetime) -> None:
    """The strategies build nothing that a sender could not send."""
    action.occurred_at = at
    again = msgspec.json.decode(msgspec.json.encode(action), type=AnyAction)
    assert identity.identify(KEY, again) == identity.identify(KEY, action)


@given(st.lists(st.tuples(actions, st.integers(0, 20 * DAY)), min_size=1, max_size=12))
@settings(deadline=None)
def test_a_member_that_was_stored_between_two_actions_decides_the_same(sent: list[tuple[Action, int]]) -> None:
    kept, stored = Member("m-1", MemberState()), Member("m-1", MemberState())
    for number, (action, shift) in enumerate(sent):
        action.member_id = "m-1"
        clock = START + number * DAY
        one = decide(RULES, RULES, KEY, kept, action, Moment(clock - shift, clock, number, 0))
        stored.state = member_codec.decode(member_codec.encode(stored.state))
        two = decide(RULES, RULES, KEY, stored, action, Moment(clock - shift, clock, number, 0))
        assert one == two
        assert (kept.state, kept.pages) == (stored.state, stored.pages)


def test_a_wake_with_nothing_due_changes_nothing() -> None:
    story = told([(0, "login")])
    decision = wake(RULES, story.member, START + DAY, 5, 0)
    assert (decision.facts, decision.changed, decision.wake_at) == ([], False, START + 7 * DAY)


def test_the_next_wake_is_the_earliest_of_points_and_tiers() -> None:
    assert told([(0, "purchase")]).wake_at == START + 7 * DAY
    assert told([(0, "purchase"), (1, "login")]).wake_at == START + 7 * DAY
    assert told([(0, "login")]).wake_at == START + 7 * DAY
    assert told([(0, "purchase"), (5, "login"), (7, "tick")]).wake_at == START + 12 * DAY
    left = told([(0, "leave")])
    assert left.wake_at == left.state.level_due == RULES.levels.tenure_at(START), "of levels alone"


def test_what_is_due_is_judged_by_a_repeat_too() -> None:
    """Should nobody have woken the member: no answer leaves something due behind."""
    story = told([(0, "purchase")])
    action = an_action("purchase", START, 0)
    decision = decide(RULES, RULES, KEY, story.member, action, Moment(START, START + 8 * DAY, 7, 0))
    assert decision.verdict is Verdict.DUPLICATE
    assert decision.changed
    assert [type(fact).__name__ for fact in decision.facts] == ["Ledger", "TierEntered"]
    assert decision.wake_at > START + 8 * DAY
