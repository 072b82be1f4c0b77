"""Who is judged by what: overlays of home regions and pilots, as tables; one row, one member."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from processors.overlays import share_of
from processors.programme import Rules, compile_programme
from schemas.facts import Ledger
from schemas.member import MemberState
from schemas.programme import ProgrammeError, parse
from tests.processors.book import lines
from tests.processors.story import DAY, DEFAULT, START, Story, told

SECOND = 1 / 86_400
Steps = list[tuple[Any, ...]]


def rules_with(added: str) -> Rules:
    return Rules(parse(DEFAULT + added), 1, 0)


SOUTH = rules_with("overlays: {south: {points.share.points: 8}, north: {points: {share: {points: 1}}}}\n")


def lives_in(region: str, at: float = 0) -> tuple[Any, ...]:
    return (at, "profile", at, {"home_region": region})


OVERLAYS: list[tuple[str, Steps, list[str]]] = [
    ("nobody knows where the member lives", [(0, "share")], ["share 5"]),
    ("the region of an action is not the member's", [(0, "share", 0, {"region": "south"})], ["share 5"]),
    ("by profile", [lives_in("south"), (0.1, "share")], ["share 8"]),
    ("by the first join", [(0, "join", 0, {"region": "south"}), (0.1, "share")], ["share 8"]),
    (
        "the profile goes before the join",
        [(0, "join", 0, {"region": "south"}), lives_in("north", 0.1), (0.2, "share")],
        ["share 1"],
    ),
    ("a region without an overlay", [lives_in("west"), (0.1, "share")], ["share 5"]),
    ("what is not overridden is as everywhere", [lives_in("south"), (0.1, "check_in")], ["check_in 5"]),
    (
        "who moves earns by the new home from the next record on",
        [
            lives_in("south"),
            (0.1, "share"),
            lives_in("north", 0.2),
            (0.2, "share"),
            lives_in("west", 0.3),
            (0.4, "share"),
        ],
        ["share 8", "share 1", "share 5"],
    ),
]


@pytest.mark.parametrize(("name", "steps", "wanted"), OVERLAYS, ids=[case[0] for case in OVERLAYS])
def test_rules_follow_the_home_region(name: str, steps: Steps, wanted: list[str]) -> None:
    assert lines(told(steps, SOUTH)) == wanted


def test_each_region_and_version_is_compiled_once_and_facts_name_the_version() -> None:
    rules = compile_programme(DEFAULT + "overlays: {south: {points.share.points: 8}}\n", 7, 0)
    assert rules.variants is not None
    south = MemberState(profile_region="south")
    assert rules.variants.of("m-1", south, 0) is rules.variants.of("m-2", south, 5)
    assert rules.variants.of("m-1", MemberState(), 0) is rules
    assert rules.variants.of("m-1", south, 0).number == 7


def test_a_programme_without_overlays_and_pilots_has_no_variants() -> None:
    assert rules_with("").variants is None


END = "2026-03-04"  # the third day of the story
PILOT = f"pilots: {{a: {{region: south, end: {END}, overrides: {{points.share.points: 9}}}}}}\n"
PILOTS: list[tuple[str, Steps, list[str]]] = [
    ("a member of the region", [lives_in("south"), (0.1, "share")], ["share 9"]),
    ("others", [lives_in("north"), (0.1, "share")], ["share 5"]),
    ("a second before the end", [lives_in("south"), (2 - SECOND, "share")], ["share 9"]),
    ("at the end", [lives_in("south"), (2, "share")], ["share 5"]),
    ("a late action of before the end", [lives_in("south"), (3, "share", 2 - SECOND)], ["share 9"]),
]


@pytest.mark.parametrize(("name", "steps", "wanted"), PILOTS, ids=[case[0] for case in PILOTS])
def test_a_pilot_holds_for_its_region_until_its_end(name: str, steps: Steps, wanted: list[str]) -> None:
    assert lines(told(steps, rules_with(PILOT))) == wanted


def test_a_pilot_goes_before_the_overlay_of_the_region() -> None:
    rules = rules_with("overlays: {south: {points.share.points: 8, points.check_in.points: 6}}\n" + PILOT)
    assert lines(told([lives_in("south"), (0.1, "share"), (0.1, "check_in")], rules)) == ["share 9", "check_in 6"]


def test_a_rate_with_decimals_may_be_tried_beside_campaigns() -> None:
    """What is judged by a variant is what the file says, to the thousandth, its moments included."""
    campaign = 'campaigns: [{name: c, factor: 3, actions: [share], begins: "2026-03-02T00:00:00+08:00", '
    text = DEFAULT.replace("campaigns: []", campaign + 'ends: "2026-03-03T00:00:00+08:00"}]')
    names = "names: [points.check_in.points"
    assert names in text
    text = text.replace(names, "names: [points.purchase.per_unit").replace(
        "first_order: {factor: 2", "first_order: {factor: 1"
    )
    tried = "pilots: {{a: {{region: south, overrides: {{points.purchase.per_unit: {}}}}}}}\n"
    bought = (0.2, "purchase", 0.2, {"amount": 100_000})
    for added in (tried.format("1.001"), "overlays: {south: {points.purchase.per_unit: 1.001}}\n"):
        rules = Rules(parse(text + added), 1, 0)
        assert lines(told([lives_in("south"), (0.1, "share"), bought], rules)) == ["share 15 x3", "purchase 1001"]
        assert lines(told([lives_in("north"), (0.1, "share"), bought], rules)) == ["share 15 x3", "purchase 1000"]
    with pytest.raises(ProgrammeError, match="per_unit: Input should have at most three decimals"):
        parse(text + tried.format("1.0001"))


@pytest.mark.parametrize("percent", [1, 10, 37, 100])
def test_the_percentage_is_by_hash_to_the_member(percent: int) -> None:
    """Counted again from the words of the handbook: SHA-256 over the parts and U+001F, first 8 bytes."""
    rules = rules_with(f"pilots: {{spring: {{percent: {percent}, overrides: {{points.share.points: 9}}}}}}\n")
    assert rules.variants is not None
    members = [f"m-{number}" for number in range(3_000)]
    chosen = {m for m in members if rules.variants.of(m, MemberState(), 0).share_points == 9}
    wanted = set()
    for member in members:
        number = 0
        for byte in hashlib.sha256("\x1f".join(("spring", member)).encode()).digest()[:8]:
            number = number * 256 + byte
        if number % 10_000 < 100 * percent:
            wanted.add(member)
    assert chosen == wanted
    assert abs(len(chosen) - 30 * percent) < 100


def test_other_pilots_choose_other_members() -> None:
    assert [share_of("a", "m-1"), share_of("b", "m-1")] == [
        int(hashlib.sha256(f"{name}\x1fm-1".encode()).hexdigest()[:16], 16) % 10_000 for name in "ab"
    ]


def test_a_pilot_of_timers_holds_at_the_clock() -> None:
    """A comeback and a tier: what the member waits for is looked at by its own rules."""
    rules = rules_with("pilots: {a: {percent: 100, overrides: {points.purchase.pending_days: 3}}}\n")
    story = told([(0, "purchase", 0, {"amount": 4_200}), (3 - SECOND, "tick"), (3, "tick")], rules)
    active = [
        when - START
        for _, _, fact in story.facts
        if isinstance(fact, Ledger) and fact.active
        for when in (fact.effective_at,)
    ]
    assert active == [3 * DAY]


def test_a_member_who_moves_is_armed_by_the_rules_of_the_new_home() -> None:
    """The tier after 7 days of silence comes after 4 in the pilot's region, from the move on."""
    steps = "[{tier: yellow, after_days: 4}, {tier: L1, after_days: 30}]"
    rules = rules_with(f"pilots: {{a: {{region: south, overrides: {{tiers.presence: {steps}}}}}}}\n")
    story = Story(rules)
    before = told([(0, "login")], rules).wake_at
    story = told([(0, "login"), lives_in("south", 1)], rules)
    assert (before - START, story.wake_at - START) == (7 * DAY, 4 * DAY)
