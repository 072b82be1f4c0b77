"""Levels: up at once, down by missed days, at each limit and a second beside it; corrected by what comes late."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors import levels
from processors.course import begun, course
from processors.level_judge import Look
from processors.programme import Rules
from schemas.facts import LevelChanged, LevelWarning
from schemas.programme import ProgrammeError, parse
from tests.processors.story import DAY, PROGRAMME, RULES, START, Story, an_action, told, when
from tests.strategies import Sent, histories, redelivered

SECOND = 1 / 86_400
YEAR = 364  # 1 March of the next year: spend of March drops out of the sum
BRONZE_AT = 93


def bought(at: float, yuan: float, order: str = "o", arrives: float | None = None) -> tuple[Any, ...]:
    fields = {"amount": round(yuan * 100), "order_id": order}
    return (at if arrives is None else arrives, "purchase", at, fields)


def refunded(at: float, yuan: float, order: str = "o") -> tuple[Any, ...]:
    return (at, "refund", at, {"amount": round(yuan * 100), "order_id": order})


def check_ins(*days: float, late: float = 0) -> list[tuple[Any, ...]]:
    return [(max(day, late), "check_in", day) for day in days]


def moves(story: Story) -> list[str]:
    """Every change and warning in words."""
    found = []
    for _, _, fact in story.facts:
        if isinstance(fact, LevelChanged):
            found.append(f"{fact.level} from {when(fact.effective_at)}: {fact.reason}")
        if isinstance(fact, LevelWarning):
            found.append(f"warned of {fact.next_level} from {when(fact.effective_at)}: {fact.because}")
    return found


def level(story: Story) -> str:
    return RULES.levels.names[story.state.level]


MISSING_SILVER = "500 more growth, or 200 more net spend, or a streak of 7"

UP: list[tuple[str, list[tuple[Any, ...]], list[str]]] = [
    ("nothing but having come", [(1, "login")], []),
    ("tenure, 1 s before", [(1, "login"), (BRONZE_AT - SECOND, "tick")], []),
    ("tenure", [(1, "login"), (BRONZE_AT, "tick")], ["bronze from 93: tenure"]),
    ("a cent below silver", [bought(1, 199.99)], []),
    ("silver by spend", [bought(1, 200)], ["silver from 1: standard"]),
    ("two orders reach silver", [bought(1, 120), bought(2, 80, "p")], ["silver from 2: standard"]),
    ("silver by 7 days in a row", check_ins(*range(1, 8)), ["silver from 7: standard"]),
    ("6 days in a row", check_ins(*range(1, 7)), []),
    ("7 days with a gap", check_ins(1, 2, 3, 5, 6, 7, 8), []),
    (
        "a late check-in heals the run",
        [*check_ins(1, 2, 3, 5, 6, 7), *check_ins(4, late=7.5)],
        ["silver from 7.5: standard"],
    ),
    ("spend counts for growth too", [bought(1, 1_999.99)], ["silver from 1: standard"]),
    ("gold by growth of spend", [bought(1, 2_000)], ["gold from 1: standard"]),
    (
        "gold by a check-in on top of spend",
        [bought(1, 1_995), (2, "check_in")],
        ["silver from 1: standard", "gold from 2: standard"],
    ),
    ("5,000 is not above 5,000", [bought(1, 5_000)], ["gold from 1: standard"]),
    ("contributor 1", [bought(1, 5_000.01)], ["contributor 1 from 1: standard"]),
    ("contributor 2", [bought(1, 6_500.01)], ["contributor 2 from 1: standard"]),
    ("contributor 3", [bought(1, 8_000.01)], ["contributor 3 from 1: standard"]),
    ("no leader without a threshold", [bought(1, 20_000.01)], ["contributor 3 from 1: standard"]),
    ("a late order counts at its own time", [(9, "login"), bought(3, 200, arrives=9)], ["silver from 3: standard"]),
    (
        "a late order that makes another's sum",
        [bought(5, 150), bought(3, 50, "p", arrives=9)],
        ["silver from 5: standard"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "steps", "expected"), UP, ids=[row[0] for row in UP])
def test_up_at_once(name: str, steps: list[tuple[Any, ...]], expected: list[str]) -> None:
    assert moves(told(steps)) == expected


def paced(months: int, yuan: float) -> list[tuple[Any, ...]]:
    """An order on the 15th of so many months, from March on."""
    days = (13, 44, 74, 105, 135, 166, 197)
    return [bought(day, yuan, f"o-{day}") for day in days[:months]]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([*paced(6, 17), (183 - SECOND, "tick")], ["bronze from 105: tenure"]),
        ([*paced(6, 17), (183, "tick")], ["bronze from 105: tenure", "silver from 183: standard"]),
        ([*paced(6, 16.99), (183, "tick")], ["bronze from 105: tenure"]),
        ([*paced(5, 17), (183, "tick")], ["bronze from 105: tenure"]),
    ],
    ids=["1 s before the sixth month closes", "as it closes", "a cent too little", "five months"],
)
def test_pace_counts_closed_months(steps: list[tuple[Any, ...]], expected: list[str]) -> None:
    assert moves(told(steps)) == expected


WARN, FALL = YEAR + 60, YEAR + 90
KEPT = ["silver from 1: standard"]
WARNED = [*KEPT, f"warned of bronze from {WARN}: {MISSING_SILVER}"]
FELL = [*WARNED, f"bronze from {FALL}: missed"]

DOWN: list[tuple[str, list[tuple[Any, ...]], list[str]]] = [
    ("1 s before the 60th missed day ends", [bought(1, 200), (WARN - SECOND, "tick")], KEPT),
    ("the 60th missed day ends", [bought(1, 200), (WARN, "tick")], WARNED),
    ("1 s before the 90th missed day ends", [bought(1, 200), (FALL - SECOND, "tick")], WARNED),
    ("the 90th missed day ends", [bought(1, 200), (FALL, "tick")], FELL),
    ("the clock jumps over all of it", [bought(1, 200), (FALL + 500, "tick")], FELL),
    (
        "met again on the 89th day: the count starts anew",
        [bought(1, 200), bought(FALL - 1.5, 200, "p"), (FALL + 100, "tick")],
        WARNED,
    ),
    (
        "on the 90th, 1 s before its end",
        [bought(1, 200), bought(FALL - SECOND, 200, "p"), (FALL + 100, "tick")],
        WARNED,
    ),
    (
        "a late order shows that it never was missed so long",
        [bought(1, 200), (FALL + 5, "tick"), bought(FALL - 10, 200, "p", arrives=FALL + 6)],
        [*FELL, f"silver from {FALL - 10}: recounted"],
    ),
    (
        "redeeming or speaking a little does not help",
        [bought(1, 200), (FALL - 20, "message"), (FALL, "tick")],
        [*WARNED[:1], WARNED[1], f"bronze from {FALL}: missed"],
    ),
]


@pytest.mark.parametrize(("name", "steps", "expected"), DOWN, ids=[row[0] for row in DOWN])
def test_down_by_missed_days(name: str, steps: list[tuple[Any, ...]], expected: list[str]) -> None:
    assert moves(told(steps)) == expected


def test_one_step_at_a_time_and_never_below_the_floor() -> None:
    story = told([bought(1, 6_000), (2_000, "tick")])
    falls = [line.split(":")[0] for line in moves(story) if line.endswith("missed")]
    assert falls == [
        f"gold from {FALL}",
        f"silver from {FALL + 90}",
        f"bronze from {FALL + 180}",
    ]
    assert story.state.level_due == 0


def test_a_streak_that_ended_is_missed_from_its_first_day_without() -> None:
    story = told([*check_ins(*range(1, 8)), (8 + 90 - SECOND, "tick")])
    assert level(story) == "silver"
    story.tick(START + (8 + 90) * DAY)
    assert moves(story)[-1] == "bronze from 98: missed"


UNDONE: list[tuple[str, list[tuple[Any, ...]], list[str]]] = [
    ("all of it", [bought(1, 200), refunded(3, 200)], [*KEPT, "explorer 1 from 3: refund"]),
    ("a cent too much", [bought(1, 200), refunded(3, 0.01)], [*KEPT, "explorer 1 from 3: refund"]),
    ("what is left is enough", [bought(1, 300), refunded(3, 100)], KEPT),
    ("another order is enough now", [bought(1, 200), bought(2, 200, "p"), refunded(3, 200)],
     [*KEPT, "explorer 1 from 3: refund", "silver from 2: standard"]),
    ("two steps up, one step undone", [bought(1, 200), bought(2, 1_800, "p"), refunded(3, 1_800, "p")],
     [*KEPT, "gold from 2: standard", "silver from 3: refund"]),
    ("both undone by the first order", [bought(1, 200), bought(2, 1_800, "p"), refunded(3, 200)],
     [*KEPT, "gold from 2: standard", "silver from 3: refund", "explorer 1 from 3: refund", "silver from 2: standard"]),
    ("within 180 d, from a day judged for good", [bought(1, 200), (150, "login"), refunded(170, 200)],
     [*KEPT, "bronze from 170: refund"]),
    ("an entry judged for good, and the one above it",
     [bought(1, 300), bought(130, 1_800, "p"), refunded(150, 300)],
     [*KEPT, "gold from 130: standard", "silver from 150: refund", "bronze from 150: refund",
      "silver from 130: standard"]),
    ("an entry judged for good stays with what is left",
     [bought(1, 300), bought(130, 1_800, "p"), refunded(150, 50)], [*KEPT, "gold from 130: standard"]),
    ("from such a day, and enough is left", [bought(1, 300), (150, "login"), refunded(170, 100)], KEPT),
]  # fmt: skip


@pytest.mark.parametrize(("name", "steps", "expected"), UNDONE, ids=[row[0] for row in UNDONE])
def test_a_refund_undoes_what_its_order_made(name: str, steps: list[tuple[Any, ...]], expected: list[str]) -> None:
    assert moves(told(steps)) == expected


def test_every_correction_names_the_change_that_was_not_so() -> None:
    story = told([bought(1, 200), refunded(3, 200)])
    first, second = [fact for _, _, fact in story.facts if isinstance(fact, LevelChanged)]
    assert second.amends == next((offset, index) for offset, index, fact in story.facts if fact is first)
    assert first.because == "net spend of 200 meets 200"
    assert (first.net_spend, first.growth) == (20_000, 20_000)


def test_held_points_count_for_growth_once_they_are_released() -> None:
    seven = [(1 + n / 86_400, "message") for n in range(7)]
    story = told(seven)
    assert story.state.growth == 6 * 2, "the seventh within a minute is held"
    story.tick(START + 40 * DAY)
    assert story.state.growth == 7 * 2


# -- bonus --------------------------------------------------------------------------------------------------------


def lifted(story: Story, at: float) -> Look:
    story.tick(START + round(at * DAY))
    facts: list[Any] = []
    now = story.clock
    return Look(RULES, story.state, "m-1", now, now, now, story.offset, 0, facts)


def redeeming(yuan: float) -> Story:
    """A member on a level by spend, whose points pay a step on day 20."""
    reward = {"redeem_id": "r-1", "points": 100, "reward": "level_step"}
    return told([bought(1, yuan), (20, "redeem", 20, reward)])


def test_a_reward_lifts_by_one_step_for_its_days() -> None:
    story = redeeming(200)
    assert moves(story) == [*KEPT, "gold from 20: bonus"]
    story.tick(START + 110 * DAY - 1_000)
    assert moves(story)[-1] == "gold from 20: bonus"
    story.tick(START + 110 * DAY)
    assert moves(story)[-1] == "silver from 110: bonus"


def test_a_cancelled_reward_goes_at_once() -> None:
    story = redeeming(200)
    story.act(an_action("redeem_cancel", START + 21 * DAY, 90, redeem_id="r-1"), START + 21 * DAY)
    assert moves(story) == [*KEPT, "gold from 20: bonus", "silver from 21: bonus"]


@pytest.mark.parametrize(("yuan", "expected"), [(6_500.01, "contributor 3"), (8_000.01, "contributor 3")])
def test_steps_never_lift_beyond_the_limit(yuan: float, expected: str) -> None:
    assert levels.projected(RULES, redeeming(yuan).state, START + 30 * DAY) == expected


def test_each_full_three_completed_referrals_lift_a_step() -> None:
    story = told([(1, "login"), (100, "tick")])
    moments = [START + day * DAY for day in (100, 101, 102, 103, 104)]
    levels.completed(lifted(story, 105), moments)
    assert levels.projected(RULES, story.state, START + 105 * DAY) == "silver"
    levels.completed(lifted(story, 106), [*moments, START + 105 * DAY])
    assert levels.projected(RULES, story.state, START + 106 * DAY) == "gold"
    levels.completed(lifted(story, 107), moments[:2])
    assert levels.projected(RULES, story.state, START + 107 * DAY) == "bronze"


# -- properties ---------------------------------------------------------------------------------------------------

QUICK = Rules(
    parse(
        PROGRAMME.model_dump_json()
        .replace('"miss_days":90,"warn_days":60', '"miss_days":9,"warn_days":6')
        .replace('"growth_from":500', '"growth_from":30')
        .replace('"growth_from":2000', '"growth_from":60')
        .replace('"spend_from":200,"spend_above":null,"streak":7', '"spend_from":20,"spend_above":null,"streak":3')
        .replace('"months":12,"tenure_months":3', '"months":1,"tenure_months":1')
    ),
    1,
    0,
)
"""Small limits, so that short histories rise, fall, and are warned."""

ACTIONS = ("check_in", "check_in", "message", "share", "purchase", "purchase", "join")


def cheap(history: list[Sent]) -> list[Sent]:
    """Orders near the limits of the levels."""
    return [
        one._replace(fields=(("amount", dict(one.fields)["amount"] % 4_000),)) if one.what == "purchase" else one
        for one in history
    ]


def lived(history: list[Sent], rules: Rules, end: int) -> Story:
    story = Story(rules)
    for number, one in sorted(enumerate(history), key=lambda pair: pair[1].arrives):
        story.act(an_action(one.what, START + one.happened, number, **dict(one.fields)), START + one.arrives)
    story.tick(START + end)
    return story


def standing(story: Story, at: int) -> tuple[str, str, int, int]:
    """Base level as told and as the course says, missed days, growth ever."""
    run = course(story.rules, story.state, begun(story.state))
    run.run(max(story.rules.calendar.day(at), story.state.today), at)
    names = story.rules.levels.names
    return names[story.state.level], names[run.base(at)], run.missed, story.state.growth


two_orders = (
    histories(45, 25, ACTIONS, min_size=1).map(cheap).flatmap(lambda it: st.tuples(st.just(it), redelivered(it)))
)


@given(two_orders, st.sampled_from([76, 80, 90]))
@settings(deadline=None, max_examples=200)
def test_base_level_and_missed_days_are_free_of_order(orders: tuple[list[Sent], list[Sent]], end: int) -> None:
    first, second = orders
    one, other = lived(first, QUICK, end * DAY), lived(second, QUICK, end * DAY)
    found = standing(one, START + end * DAY)
    assert found == standing(other, START + end * DAY)
    assert found[0] == found[1], "what was told is what is true"


@given(histories(45, 25, ACTIONS, min_size=1).map(cheap), st.integers(76, 140))
@settings(deadline=None, max_examples=100)
def test_a_projected_level_is_the_one_that_comes(history: list[Sent], at: int) -> None:
    story = lived(history, QUICK, 75 * DAY)
    expected = levels.projected(QUICK, story.state, START + at * DAY)
    for day in range(75, at + 1):
        story.tick(START + day * DAY)
    assert QUICK.levels.names[QUICK.levels.shown(story.state.level, story.state.level_bonus)] == expected


@given(histories(45, 20, ACTIONS).map(cheap), st.integers(0, 45 * 24), st.integers(1, 4_000), st.integers(0, 20))
@settings(deadline=None, max_examples=150)
def test_a_full_refund_leaves_the_level_as_if_the_order_had_never_been(
    history: list[Sent], hour: int, amount: int, later: int
) -> None:
    order = Sent("purchase", hour * DAY // 24, 0, (("amount", amount), ("order_id", "undone")))
    back = Sent("refund", order.happened + later * DAY, 0, (("amount", amount), ("order_id", "undone")))
    own = [one._replace(delay=0) for one in history]
    # Only what earns is compared: the order itself is an act, and the earliest one begins the tenure.
    first = Sent("join", 0, 0)
    plain = lived([first, *own], QUICK, 90 * DAY)
    undone = lived([first, *own, order, back], QUICK, 90 * DAY)
    assert standing(undone, START + 90 * DAY)[:3] == standing(plain, START + 90 * DAY)[:3]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('"warn_days":60', '"warn_days":90', "before miss_days"),
        ('"up_to":"contributor 3"', '"up_to":"contributor 9"', "no such level"),
        ('"level":"silver","floor":null', '"level":"silver","floor":"tenure"', "a floor, or has standards"),
        ('"level":"gold"', '"level":"silver"', "twice"),
    ],
)
def test_a_ladder_that_cannot_be_climbed_is_refused(before: str, after: str, words: str) -> None:
    text = PROGRAMME.model_dump_json()
    assert before in text
    with pytest.raises(ProgrammeError, match=words):
        parse(text.replace(before, after))
