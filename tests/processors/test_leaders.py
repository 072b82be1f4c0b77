"""Leaders: the spend, and a place among the most active at a day's end; before a threshold nobody is one."""

from __future__ import annotations

from typing import Any

import pytest

from processors.overlays import own
from processors.programme import Rules, Tops
from schemas.facts import LevelChanged
from schemas.member import MemberState
from schemas.programme import parse
from schemas.records import Thresholds, tick
from tests.crash.traffic import control
from tests.processors.story import DAY, DEFAULT, RULES, START, told
from tests.processors.test_levels import bought, moves
from tests.processors.test_partition import HERE, Bench

SPENT = bought(1, 10_000.01)
RICH = "contributor 3 from 1: standard"
LEADS = [RICH, "leader 1 from 2: standard"]
FEW, MANY = 99, 100


def chats(many: int, day: float) -> list[tuple[Any, ...]]:
    return [(day + n / 1_000, "message") for n in range(1, many + 1)]


def known(value: int = 5_000, members: int = MANY, since: float = 0) -> Tops:
    return ((START + round(since * DAY), value, members),)


def test_a_leader_who_falls_silent_is_warned_and_falls_one_step() -> None:
    story = told([SPENT, *chats(5, 1), (92, "tick"), (122, "tick")], RULES.knowing(known()))
    assert moves(story) == [
        *LEADS,
        "warned of contributor 3 from 91: a place among the most active",
        "contributor 3 from 121: missed",
    ]


def test_a_leader_stays_one_when_the_day_of_its_first_place_is_judged_for_good() -> None:
    active = [step for day in range(1, 130, 20) for step in chats(5, day)]
    story = told(sorted([SPENT, *active, *((day, "tick") for day in range(2, 140))]), RULES.knowing(known()))
    assert moves(story) == LEADS


OVERLAYS = """
overlays: {south: {points.share.points: 6}}
pilots: {half: {percent: 100, end: 2026-03-20, overrides: {points.share.points: 7}}}
"""


@pytest.mark.parametrize("region", ["", "north", "south"])
@pytest.mark.parametrize("added", [OVERLAYS, OVERLAYS.replace("percent: 100", "percent: 1")])
def test_a_region_or_a_pilot_has_leaders_as_everybody(region: str, added: str) -> None:
    text = DEFAULT.replace("first_order: {factor: 2,", "first_order: {factor: 1,") + added
    rules = Rules(parse(text), 1, 0).knowing(known())
    lives = (0.5, "profile", 0.5, {"home_region": region})
    assert moves(told([lives, SPENT, *chats(5, 1), (2, "tick")], rules)) == LEADS
    state = MemberState(profile_region=region)
    assert own(rules, "m-1", state, 0) is own(rules, "m-1", state, 1), "compiled once"


def test_a_threshold_reaches_a_silent_member_and_rules_at_the_next_days_end() -> None:
    bench = Bench()
    for _ in range(5):
        bench.act(HERE[0], "message", kind="chat", after=1_000)
    bench.act(HERE[0], "purchase", order_id="o-1", amount=1_000_001, currency="CNY", after=1_000)
    for number, many in ((1, 99), (2, 100)):
        body = Thresholds(
            id="thresholds", number=number, by="op", day=20_513, values={"community": [5.0]}, counts={"community": many}
        )
        bench.give(control(body))
        bench.give(tick(), after=DAY)
        bench.give(tick(), after=DAY)
    risen = [(fact.level, fact.effective_at) for fact in bench.facts if isinstance(fact, LevelChanged)]
    first, second = risen
    assert first[0] == "contributor 3"
    assert second[0] == "leader 1"
    calendar = RULES.calendar
    assert second[1] == calendar.day_start(calendar.day(bench.now - 2 * DAY) + 1), "the first end after 100 members"
    assert bench.fold.state.thresholds is not None
    assert bench.fold.state.sweep_until == 0
