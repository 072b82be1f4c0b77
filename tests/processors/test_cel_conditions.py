"""Tasks and badges whose actions are chosen by a condition in CEL; the others are as they were."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from processors.conditions import Plans
from processors.programme import Rules
from schemas import cel
from schemas.facts import BadgeAwarded, TaskDone, TaskProgress
from schemas.programme import parse
from streams.errors import PartitionHalted
from tests.processors.story import DEFAULT, told
from tests.streams.life import Life

TASK = """tasks:
  big_orders:
    title: Two big orders of the app
    window: {begins: week}
    resets: true
    conditions:
      - name: big orders
        measure: %s
        at_least: %d
        of: [{action: purchase, where: {currency: CNY}, cel: 'amount >= 9900 && channel == "app"'}]
    reward: {points: 50}
"""
BADGE = '    actions: {at_least: 2, of: [{action: event, cel: \'kind == "trial" && status != "joined"\'}]}\n'

Step = tuple[Any, ...]


def rules(measure: str = "count", at_least: int = 2) -> Rules:
    text = DEFAULT.replace("tasks:  ", TASK % (measure, at_least) + "#", 1)
    old = next(line for line in text.splitlines(keepends=True) if line.startswith("    actions: {at_least: 5"))
    return Rules(parse(text.replace(old, BADGE)), 1, 0)


def order(at: float, number: int, amount: int, channel: str = "app") -> Step:
    return (at, "purchase", at, {"order_id": f"o-{number}", "amount": amount, "channel": channel})


TABLE: list[tuple[str, list[Step], list[str]]] = [
    ("two big orders", [order(0, 1, 9_900), order(1, 2, 9_900)], ["0", "1 of 1"]),
    ("one is a fen short", [order(0, 1, 9_900), order(1, 2, 9_899)], ["0"]),
    ("one is of the web", [order(0, 1, 9_900), order(1, 2, 9_900, "web")], ["0"]),
    ("one of another week", [order(0, 1, 9_900), order(7, 2, 9_900)], ["0", "0"]),
    ("told late", [order(1, 2, 9_900), (2, "purchase", 0, order(0, 1, 9_900)[3])], ["0", "1 of 1"]),
    (
        "refunded again",
        [order(0, 1, 9_900), order(1, 2, 9_900), (2, "refund", 2, {"order_id": "o-2", "amount": 9_900})],
        ["0", "1 of 1", "0"],
    ),
]


@pytest.mark.parametrize(("name", "steps", "expected"), TABLE, ids=[row[0] for row in TABLE])
def test_a_task(name: str, steps: list[Step], expected: list[str]) -> None:
    story = told(steps, rules())
    said = [
        "1 of 1" if isinstance(it, TaskDone) else "0"
        for _, _, it in story.facts
        if isinstance(it, TaskDone | TaskProgress)
    ]
    assert said == expected


def test_it_chooses_what_is_summed_up() -> None:
    steps = [order(0, 1, 9_900), order(0.1, 2, 9_000), order(0.2, 3, 10_100)]
    for limit, done in ((20_000, 1), (20_001, 0)):
        story = told(steps, rules("amount", limit))
        assert sum(isinstance(it, TaskDone) for _, _, it in story.facts) == done


def test_a_badge() -> None:
    steps: list[Step] = [
        (at, "event", at, {"activity_id": "a", "kind": "trial", "status": status})
        for at, status in ((0, "joined"), (1, "finished"), (2, "joined"), (3, "finished"))
    ]
    story = told(steps, rules())
    assert [it.rule for _, _, it in story.facts if isinstance(it, BadgeAwarded)] == ["senior_taster"]
    assert not [it for _, _, it in told(steps[:3], rules()).facts if isinstance(it, BadgeAwarded)]


async def test_a_partition_halts_at_it_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    text = DEFAULT.replace("tasks:  ", TASK % ("count", 2) + "#", 1)
    await Life([(0.5, "check_in")], text).read("en")
    cel.condition.cache_clear()
    monkeypatch.setitem(sys.modules, "cel_expr_python", None)
    other = text.replace("at_least: 2", "at_least: 3")  # compiled programmes are remembered
    with pytest.raises(PartitionHalted, match=r"programme not understood: .*cel: CEL is an extra"):
        await Life([(0.5, "check_in")], other).read("en")


def test_conditions_without_it_have_the_keys_they_had() -> None:
    """A key that changes begins the condition anew for every member: these are of logs that were written before."""
    keys = {(plan.name, ask.name): ask.key for plan in Plans(parse(DEFAULT)).counted for ask in plan.asks}
    assert keys == KEYS


KEYS = {
    ("icebreak", "profile"): 3623601363,
    ("icebreak", "check_in"): 3396435116,
    ("icebreak", "first message"): 3536066971,
    ("trial", "coupon used"): 3501057152,
    ("trial", "message in a group"): 51272024,
    ("trial", "event joined"): 4214250433,
}
