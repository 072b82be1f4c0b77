"""Leaders: the spend, and a place among the most active at a day's end; before a threshold nobody is one."""

from __future__ import annotations

from typing import Any

import pytest

from processors.programme import Tops
from schemas.facts import LevelChanged
from schemas.records import Thresholds, tick
from tests.crash.traffic import control
from tests.processors.story import DAY, RULES, SECOND, START, told
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


TABLE: list[tuple[str, Tops, list[tuple[Any, ...]], list[str]]] = [
    ("at the threshold at the day's end", known(), [SPENT, *chats(5, 1), (2, "tick")], LEADS),
    ("1 s before the day's end", known(), [SPENT, *chats(5, 1), (2 - SECOND / DAY, "tick")], [RICH]),
    ("below the threshold", known(), [SPENT, *chats(4, 1), (9, "tick")], [RICH]),
    ("a threshold of too few members", known(members=FEW), [SPENT, *chats(5, 1), (9, "tick")], [RICH]),
    ("no threshold", (), [SPENT, *chats(5, 1), (9, "tick")], [RICH]),
    ("a threshold that came after the day's end", known(since=2.5),
     [SPENT, *chats(5, 1), (3 - SECOND / DAY, "tick")], [RICH]),
    ("at the next day's end it holds", known(since=2.5),
     [SPENT, *chats(5, 1), (3, "tick")], [RICH, "leader 1 from 3: standard"]),
    ("10,000 is not above 10,000", known(), [bought(1, 10_000), *chats(5, 1), (9, "tick")], [RICH]),
    ("active first, then the spend", known(), [*chats(5, 0), bought(1, 10_000.01)], ["leader 1 from 1: standard"]),
    ("at most a day's cap counts", known(30_001), [SPENT, *chats(35, 1), (9, "tick")], [RICH]),
    ("over 30 days", known(), [*chats(5, 0), (29.5, "login"), bought(31.5, 10_000.01), (32, "tick")],
     ["contributor 3 from 31.5: standard"]),
    ("within 30 days", known(), [*chats(5, 0), bought(30.5, 10_000.01)], ["leader 1 from 30.5: standard"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "tops", "steps", "expected"), TABLE, ids=[row[0] for row in TABLE])
def test_a_leader(name: str, tops: Tops, steps: list[tuple[Any, ...]], expected: list[str]) -> None:
    assert moves(told(steps, RULES.knowing(tops))) == expected


def test_a_leader_who_falls_silent_is_warned_and_falls_one_step() -> None:
    story = told([SPENT, *chats(5, 1), (92, "tick"), (122, "tick")], RULES.knowing(known()))
    assert moves(story) == [
        *LEADS,
        "warned of contributor 3 from 91: a place among the most active",
        "contributor 3 from 121: missed",
    ]


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
