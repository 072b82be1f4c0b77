"""Badges: when each is given, its date, and what takes one back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from processors import activity, badges
from processors.member import Moment, hear
from processors.programme import Rules
from schemas.facts import BadgeAwarded, BadgeUndone, BenefitPromised
from schemas.programme import parse
from schemas.records import Award
from tests.processors.story import DAY, PROGRAMME, RULES, START, Story, an_action, told, when

SECOND = 1 / 86_400
Steps = list[tuple[Any, ...]]
MARCH = 2026 * 12 + 2


def words(story: Story) -> list[str]:
    return [
        f"{fact.rule} on {when(fact.effective_at)}" if isinstance(fact, BadgeAwarded) else f"{fact.rule} undone"
        for _, _, fact in story.facts
        if isinstance(fact, BadgeAwarded | BadgeUndone)
    ]


def tasted(day: float, kind: str = "trial", status: str = "finished") -> tuple[Any, ...]:
    return (day, "event", day, {"activity_id": "a", "kind": kind, "status": status})


@pytest.mark.parametrize(
    ("name", "steps", "expected"),
    [
        ("four trials finished", [tasted(n) for n in range(4)], []),
        ("five", [tasted(n) for n in range(5)], ["senior_taster on 4"]),
        ("six are no second badge", [tasted(n) for n in range(6)], ["senior_taster on 4"]),
        ("joined is not finished", [tasted(n) for n in range(4)] + [tasted(4, status="joined")], []),
        ("a course is no trial", [tasted(n) for n in range(4)] + [tasted(4, kind="course")], []),
        (
            "a late one counts when it arrives, with its own date",
            [tasted(n) for n in (5, 6, 7, 8)] + [(9, "event", 1, tasted(1)[3])],
            ["senior_taster on 1"],
        ),
    ],
)
def test_senior_taster(name: str, steps: Steps, expected: list[str]) -> None:
    assert words(told(steps)) == expected


def test_a_repeat_is_no_fifth() -> None:
    story = told([tasted(n) for n in range(4)])
    story.act(an_action("event", START, 0, **tasted(0)[3]), START + 5 * DAY)
    assert words(story) == []


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


def award(**fields: Any) -> Award:
    said: dict[str, Any] = {"member_id": "m-1", "board": "spending", "period": "month", "at": MARCH, "place": 1}
    return Award(**said | {"value": 9} | fields)


def heard(*awards: Award, rules: Rules = RULES) -> Story:
    story = told([(0, "login")], rules)
    for number, one in enumerate(awards):
        story.tick(START + (40 + number) * DAY)
        decision = hear(rules, story.member, one, Moment(story.clock, story.clock, story.offset, 0))
        story.facts.extend((story.offset, place, fact) for place, fact in enumerate(decision.facts))
    return story


@pytest.mark.parametrize(
    ("name", "won", "expected"),
    [
        ("place 1 of a region's spending of the month", award(region="east"), ["spending_champion on 40"]),
        ("place 2", award(region="east", place=2), []),
        ("of the whole programme", award(), []),
        ("of a group", award(group_id="g-1"), []),
        ("of the week", award(region="east", period="week"), []),
        ("place 1 of the month's hot talk", award(board="hot_talk"), ["star_of_the_month on 40"]),
        ("of a region's hot talk", award(board="hot_talk", region="east"), []),
    ],
)
def test_board_badges(name: str, won: Award, expected: list[str]) -> None:
    assert words(heard(won)) == expected


def test_an_award_repeated_changes_nothing_and_another_month_is_another_badge() -> None:
    story = heard(award(region="east"), award(region="east"), award(region="east", at=MARCH + 1))
    assert words(story) == ["spending_champion on 40", "spending_champion on 42"]


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
