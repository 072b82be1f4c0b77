"""Badges: when each is given, its date, and what takes one back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from processors import activity, badges
from processors.programme import Rules
from schemas.facts import BadgeAwarded, BadgeUndone, BenefitPromised
from schemas.programme import parse
from schemas.programme_text import ProgrammeError
from tests.processors.story import DAY, PROGRAMME, RULES, START, Story, an_action, told, when

SECOND = 1 / 86_400
Steps = list[tuple[Any, ...]]


def words(story: Story) -> list[str]:
    return [
        f"{fact.rule} on {when(fact.effective_at)}" if isinstance(fact, BadgeAwarded) else f"{fact.rule} undone"
        for _, _, fact in story.facts
        if isinstance(fact, BadgeAwarded | BadgeUndone)
    ]


def tasted(day: float, kind: str = "trial", status: str = "finished") -> tuple[Any, ...]:
    return (day, "event", day, {"activity_id": "a", "kind": kind, "status": status})


def busy(*days: int, per_day: int = 10) -> Steps:
    """Days with so many experiences told, 3 each: 10 are the day's cap of 30."""
    return [
        (day + n / 100, "message", day + n / 100, {"kind": "experience", "length": 1})
        for day in days
        for n in range(per_day)
    ]


def high_ends(steps: Steps, until: int) -> list[int]:
    """The days whose end has an index of 80 or more, by looking at each day's end."""
    found = []
    for day in range(until):
        story = told([*[step for step in steps if step[0] < day + 1], (day + 1, "tick")])
        score = activity.score_on(RULES.activity, story.state, RULES.calendar.day(START) + day)
        if RULES.activity.index(score) >= 80:
            found.append(day)
    return found


@pytest.mark.parametrize(
    ("name", "days"),
    [
        ("busy every day", list(range(12))),
        ("silent after the best day", list(range(8))),
        ("a day of silence", [*range(6), *range(7, 12)]),
        ("silence breaks the row", [*range(7), *range(13, 20)]),
        ("busy for a short time", list(range(4))),
        ("busy again later", [*range(5), *range(30, 42)]),
        ("every other day", list(range(0, 40, 2))),
        ("every third day", list(range(0, 40, 3))),
    ],
)
def test_active_talent_is_given_at_the_seventh_day_end_in_a_row(name: str, days: list[int]) -> None:
    steps = busy(*days)
    ends = high_ends(steps, days[-1] + 15)
    seventh = next((day for day in ends if all(back in ends for back in range(day - 6, day))), None)
    story = told([*steps, (days[-1] + 16, "tick")])
    assert words(story) == ([] if seventh is None else [f"active_talent on {seventh + 1}"])


def test_the_talent_is_given_at_the_day_end_and_not_a_second_before() -> None:
    steps = busy(*range(12))
    ends = high_ends(steps, 12)
    last = ends[6] + 1
    cut = [step for step in steps if step[0] < last]
    assert words(told([*cut, (last - SECOND, "tick")])) == []
    assert words(told([*cut, (last, "tick")])) == [f"active_talent on {last}"]


def test_who_is_not_near_it_has_no_timer_and_no_state() -> None:
    story = told(busy(*range(20), per_day=2))
    assert story.state.talent == b""


def test_a_member_is_woken_only_where_the_row_may_be_complete() -> None:
    """A day's end before the sixth in a row needs no wake."""
    story, wakes = Story(), 0
    for number, (_, what, at, fields) in enumerate(busy(*range(30))):
        armed = story.state.talent and badges.next_due(RULES, story.state)
        story.act(an_action(what, START + round(at * DAY), number, **fields), START + round(at * DAY))
        wakes += bool(armed and armed <= story.clock)
    assert wakes <= 3


def test_a_badge_is_kept_with_its_date() -> None:
    story = told([tasted(n) for n in range(5)])
    assert badges.held(story.state, "senior_taster") == START + 4 * DAY
    assert badges.held(story.state, "active_talent") == 0


def with_task() -> Rules:
    """A task that gives a badge with a benefit."""
    default = PROGRAMME.model_dump(mode="json")
    default["badges"]["buyer"] = {"title": "Buyer", "benefit": "cup"}
    default["tasks"] = {
        "buys": {
            "title": "an order",
            "window": {"begins": "joining", "days": 7},
            "conditions": [{"name": "orders", "measure": "count", "at_least": 1, "of": [{"action": "purchase"}]}],
            "reward": {"badge": "buyer"},
        }
    }
    return Rules(parse(json.dumps(default)), 1, 0)


def test_a_badge_of_a_task_goes_with_the_task() -> None:
    rules = with_task()
    story = told([(0, "join"), (1, "purchase")], rules)
    assert words(story) == ["buyer on 1"]
    (promise,) = [fact for _, _, fact in story.facts if isinstance(fact, BenefitPromised)]
    assert (promise.benefit, promise.rule) == ("cup", "buyer")
    at = START + 2 * DAY
    story.act(an_action("refund", at, 9, order_id="o-1", amount=9_900, currency="CNY"), at)
    facts = [fact for _, _, fact in story.facts]
    (undone,) = [fact for fact in facts if isinstance(fact, BadgeUndone)]
    awarded = next((at, place) for at, place, fact in story.facts if isinstance(fact, BadgeAwarded))
    assert undone.amends == awarded
    assert badges.held(story.state, "buyer") == 0


def test_a_badge_of_a_task_moves_with_a_refund_and_its_benefit_is_promised_once() -> None:
    story = told([(0, "join"), (1, "purchase"), (3, "purchase")], with_task())
    at = START + 4 * DAY
    story.act(an_action("refund", at, 9, order_id="o-1", amount=9_900, currency="CNY"), at)
    assert words(story) == ["buyer on 1", "buyer undone", "buyer on 3"]
    assert badges.held_since(story.state, "buyer") == [START + 3 * DAY]
    assert sum(isinstance(fact, BenefitPromised) for _, _, fact in story.facts) == 1


def test_a_late_action_leaves_a_badge_of_a_task_its_date() -> None:
    story = told([(0, "join"), (3, "purchase"), (4, "purchase", 1)], with_task())
    assert words(story) == ["buyer on 3"]


def test_a_badge_is_given_by_one_task() -> None:
    default = with_task().programme.model_dump(mode="json")
    default["tasks"]["again"] = default["tasks"]["buys"]
    with pytest.raises(ProgrammeError, match="buyer is given by task buys already"):
        parse(json.dumps(default))
