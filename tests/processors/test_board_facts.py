"""What facts tell the boards: weights, homes, and who has left."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.facts import AccountClosed, Ledger, RegionChanged, Score
from tests.processors.story import Story, told, when

Steps = list[tuple[Any, ...]]


def homes(story: Story) -> list[str]:
    """Every change of the home region, in words."""
    facts = [fact for _, _, fact in story.facts if isinstance(fact, RegionChanged)]
    return [f"{it.home_before or '-'} to {it.home or '-'} at {when(it.effective_at)}" for it in facts]


@pytest.mark.parametrize(
    ("what", "fields", "weight"),
    [
        ("message", {"kind": "chat"}, 1_000),
        ("message", {"kind": "question"}, 2_000),
        ("message", {"kind": "answer", "length": 1}, 3_000),
        ("message", {"kind": "experience"}, 3_000),
        ("check_in", {}, 1_000),
        ("share", {}, 3_000),
        ("purchase", {"amount": 66}, 5_000),
        ("like", {}, 500),
        ("comment", {"item_id": "i"}, 1_000),
        ("live", {"item_id": "i", "completion": 0.57}, 1_710),
        ("login", {}, 500),
    ],
)
def test_a_fact_says_what_its_action_weighs(what: str, fields: dict[str, Any], weight: int) -> None:
    facts = [fact for _, _, fact in told([(0, what, 0, fields)]).facts]
    (fact,) = [fact for fact in facts if isinstance(fact, Ledger | Score)]
    assert fact.weight == weight


def test_the_weight_is_that_of_the_action_also_where_the_day_is_full_and_where_nothing_is_paid() -> None:
    facts = [fact for _, _, fact in told([(0, "message", 0, {"kind": "experience"})] * 12).facts]
    assert [fact.weight for fact in facts if isinstance(fact, Ledger)] == [3_000] * 12


def test_what_follows_from_an_action_weighs_nothing() -> None:
    facts = [fact for _, _, fact in told([(0, "message"), (34, "message")]).facts]
    assert [(it.rule, it.weight) for it in facts if isinstance(it, Ledger)] == [
        ("message", 1_000),
        ("message", 1_000),
        ("comeback", 0),
    ]


def test_an_entry_says_where_its_member_is_at_home() -> None:
    steps: Steps = [
        (0, "message"),
        (1, "join", 1, {"region": "east"}),
        (2, "message", 2, {"region": "north"}),
        (3, "profile", 3, {"home_region": "south"}),
        (4, "purchase"),
    ]
    facts = [fact for _, _, fact in told(steps).facts]
    assert [it.home for it in facts if isinstance(it, Ledger)] == ["", "east", "south"]


@pytest.mark.parametrize(
    ("name", "steps", "told_homes"),
    [
        ("a first join", [(0, "join", 0, {"region": "east"})], ["- to east at 0"]),
        ("a join without region", [(0, "join")], []),
        (
            "a second join",
            [(0, "join", 0, {"region": "east"}), (1, "join", 1, {"region": "south"})],
            ["- to east at 0"],
        ),
        (
            "an earlier join that comes late",
            [(2, "join", 2, {"region": "east"}), (3, "join", 1, {"region": "south"})],
            ["- to east at 2", "east to south at 1"],
        ),
        (
            "a profile goes before a join",
            [(0, "join", 0, {"region": "east"}), (1, "profile", 1, {"home_region": "south"})],
            ["- to east at 0", "east to south at 1"],
        ),
        (
            "the same region again",
            [(0, "join", 0, {"region": "east"}), (1, "profile", 1, {"home_region": "east"})],
            ["- to east at 0"],
        ),
        (
            "a profile older than the latest",
            [(2, "profile", 2, {"home_region": "south"}), (3, "profile", 1, {"home_region": "east"})],
            ["- to south at 2"],
        ),
    ],
)
def test_a_change_of_the_home_region_is_a_fact(name: str, steps: Steps, told_homes: list[str]) -> None:
    assert homes(told(steps)) == told_homes


def test_a_closed_account_is_a_fact_and_a_group_left_is_none() -> None:
    facts = [fact for _, _, fact in told([(0, "leave", 0, {"group_id": "g"}), (3, "leave", 2)]).facts]
    (closed,) = facts
    assert isinstance(closed, AccountClosed)
    assert (when(closed.effective_at), when(closed.decided_at)) == ("2", "3")
