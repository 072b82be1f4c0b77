"""The item ladder beyond its table: what is kept and said of it, and that no order of arrival changes it."""

from __future__ import annotations

import datetime as dt
import zlib
from collections import Counter
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.lots import by_end
from processors.programme import Rules
from schemas.actions import Line
from schemas.programme import parse
from tests.processors.book import amended, check_sums, ledger, lines
from tests.processors.story import DAY, PROGRAMME, START, Story, an_action, told
from tests.strategies import HOUR_MS

Steps = list[tuple[Any, ...]]


def step(what: str, happened: float, item: str = "i-1", arrives: float | None = None) -> tuple[Any, ...]:
    return (happened if arrives is None else arrives, what, happened, said(what, item))


def said(what: str, item: str) -> dict[str, Any]:
    if what == "purchase":
        return {"amount": 100, "lines": (Line(sku=item, category="tea", amount=100),)}
    return {"item_id": item}


FULL = [step("browse", 0), step("like", 1), step("comment", 2), step("purchase", 3)]


def four(items: int, day: float = 0) -> Steps:
    """So many items, browsed and liked one after the other."""
    return [step(what, day + n * 0.1, f"i-{n}") for n in range(items) for what in ("browse", "like")]


def refund(story: Story, order: int, day: float, amount: int = 100) -> None:
    """So much of an order comes back."""
    at = max(START + round(day * DAY), story.clock)
    action = an_action("refund", at, 900 + order, order_id=f"o-{order}", amount=amount, currency="CNY")
    story.act(action, at)
    check_sums(story)


@pytest.mark.parametrize("day", [5, 40, 170])
def test_a_refund_takes_the_buy_back(day: int) -> None:
    story = told(FULL)
    refund(story, 3, day)
    taken = [entry for entry in ledger(story) if entry.rule == "ladder"][-1]
    assert (taken.entry, taken.rule, taken.points, taken.reversed) == ("reversed", "ladder", 0, 20)
    assert amended(story, taken) is next(e for e in ledger(story) if e.points == 20)
    assert sum(entry.points - entry.reversed for entry in ledger(story) if entry.rule == "ladder") == 8
    check_sums(story)


def test_a_refund_of_one_of_two_buys_leaves_the_other() -> None:
    story = told([*FULL, step("purchase", 4)])
    refund(story, 3, 40)
    taken, paid_anew = [entry for entry in ledger(story) if entry.rule == "ladder"][-2:]
    assert (taken.reversed, taken.effective_at) == (20, START + 3 * DAY)
    assert (paid_anew.points, paid_anew.effective_at) == (20, START + 4 * DAY)
    check_sums(story)


def test_fifty_items_are_remembered() -> None:
    """Of 51 the one touched longest ago is forgotten."""
    browsed = [step("browse", n / 100, f"i-{n}") for n in range(51)]
    for item, paid in (("i-0", []), ("i-1", ["ladder 3"])):
        assert lines(told([*browsed, step("like", 1, item)]), "ladder") == paid


def test_what_was_paid_stays_when_the_item_is_forgotten() -> None:
    browsed = [step("browse", 1 + n / 100, f"x-{n}") for n in range(80)]
    story = told([*FULL[:2], *browsed, step("comment", 2), step("like", 2, "x-79")])
    assert lines(story, "ladder") == ["ladder 3", "ladder 3"]
    check_sums(story)


def test_an_entry_explains_itself_and_stands_where_the_action_did() -> None:
    in_group = {"region": "east", "group_id": "g-1"}
    steps = [(one[0], one[1], one[2], one[3] | in_group) for one in FULL]
    story = told([*steps[1:2], (4, "browse", 0, {"item_id": "i-1"})])
    (entry,) = ledger(story)
    assert (entry.action, entry.region, entry.group_id) == ("like", "east", "g-1")
    assert entry.effective_at == START + DAY
    assert entry.because == "3 = i-1 browsed and liked"
    capped = ledger(told(four(4)))[-1]
    assert capped.because == "0: i-3 browsed and liked; the week's 3 items are reached"


def test_nothing_is_kept_of_what_can_no_longer_count() -> None:
    story = told([step("browse", 0), step("like", 1), step("browse", 2, "i-2"), (53, "tick")])
    assert (story.state.ladder, story.state.ladder_climbs, story.state.ladder_places) == (b"", b"", b"")
    assert len(story.state.ladder_items) == 4


NARROW = Rules(
    parse(PROGRAMME.model_dump_json().replace('"items_per_week":3', '"items_per_week":1')),
    1,
    0,
)
Acts = list[tuple[int, str, str]]
acts = st.tuples(
    st.integers(0, 12 * 6).map(lambda n: n * 4 * HOUR_MS),
    st.sampled_from(["browse", "browse", "like", "like", "comment", "purchase"]),
    st.sampled_from(["i-1", "i-2"]),
)
hours = st.one_of(st.just(0), st.integers(0, 17 * 24))


long_ago = st.tuples(st.integers(0, 180).map(lambda n: n * 12 * HOUR_MS), acts).map(lambda it: (it[0], *it[1][1:]))
"""Acts of three months: what happened to an item is over, and it comes again."""


def test_the_climbs_of_a_week_are_fixed_together() -> None:
    """A climb that ends with its week is over before one that goes on: its place in the week is not free for that."""
    first = [step("browse", 5, "i-1"), step("like", 6, "i-1")]
    other = [
        step("browse", 6.5, "i-2"),
        step("like", 6.6, "i-2"),
        step("comment", 7, "i-2"),
        step("purchase", 8, "i-2"),
    ]
    for day in (9.0, 42.2, 43.0, 43.6):  # before, between, after
        story = told([*first, *other], NARROW)
        refund(story, 5, day)
        assert lines(story, "ladder")[0] == "ladder 3"
        assert [entry.points for entry in ledger(story) if entry.rule == "ladder"] == [3, 0], day


def test_an_item_is_paid_once_however_long_ago() -> None:
    visits = ((0, "i-1"), (16, "i-1"), (40, "i-2"))
    again = [step(what, day, item) for day, item in visits for what in ("browse", "like")]
    story = told([*again[:4], step("comment", 17), *again[4:]])
    assert lines(story, "ladder") == lines(told([*again[:2], *again[4:]]), "ladder")


@given(st.one_of(st.lists(acts, min_size=3, max_size=25), st.lists(long_ago, min_size=3, max_size=25)), st.data())
@settings(deadline=None, max_examples=400)
def test_every_order_of_arrival_pays_the_same(history: Acts, data: st.DataObject) -> None:
    delays = data.draw(st.lists(hours, min_size=len(history), max_size=len(history)))
    gone = {n for n in data.draw(st.sets(st.integers(0, len(history) - 1))) if history[n][1] == "purchase"}
    story = Story(NARROW)
    for number in sorted(range(len(history)), key=lambda n: history[n][0] + delays[n] * HOUR_MS):
        happened, what, item = history[number]
        action = an_action(what, START + happened, number, **said(what, item))
        story.act(action, START + happened + delays[number] * HOUR_MS)
        check_sums(story)
    assert paid(story) == by_definition(history, set())
    for number in gone:
        refund(story, number, 0)
    assert paid(story) == by_definition(history, gone)


def paid(story: Story) -> Counter[tuple[int, int]]:
    """What the rungs were paid in the end, by their moments; never what other rules paid."""
    found: Counter[tuple[int, int]] = Counter()
    for entry in ledger(story):
        if entry.rule == "ladder" and entry.points:
            found[entry.effective_at - START, abs(entry.points)] += 1 if entry.points > 0 else -1
        if entry.rule == "ladder" and entry.reversed:
            found[entry.effective_at - START, entry.reversed] -= 1
    assert sum(by_end(story.state).values()) == story.state.active
    return +found


def by_definition(history: Acts, refunded: set[int]) -> Counter[tuple[int, int]]:
    """The first like of each week that follows a browse within 7 d, of an item not paid before; and what follows it."""
    found: Counter[tuple[int, int]] = Counter()
    climbs: list[tuple[int, str, int]] = []
    for item in ("i-1", "i-2"):
        begin = -1
        for like in sorted(h for h, what, of in history if what == "like" and of == item):
            browses = [h for h, what, of in history if what == "browse" and of == item and begin <= h <= like]
            if like >= begin and browses and like < max(browses) + 7 * DAY:
                begin = max(browses) + 7 * DAY
                climbs.append((like, item, begin))
    weeks: set[dt.date] = set()
    items: set[str] = set()
    for like, item, ends in sorted(climbs, key=lambda climb: (climb[0], zlib.crc32(climb[1].encode()))):
        day = dt.datetime.fromtimestamp((START + like) / 1000, ZoneInfo("Asia/Shanghai")).date()
        week = day - dt.timedelta(days=day.weekday())
        if week in weeks or item in items:
            continue
        weeks.add(week)
        items.add(item)
        found[like, 3] += 1
        last = like
        for what, points in (("comment", 5), ("purchase", 20)):
            moments = [
                h
                for n, (h, named, of) in enumerate(history)
                if (named, of) == (what, item) and last <= h < ends and n not in refunded
            ]
            if not moments:
                break
            last = min(moments)
            found[last, points] += 1
    return found
