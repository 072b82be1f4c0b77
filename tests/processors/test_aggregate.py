"""Buckets: what is counted where, and that their sums are those of the facts and of the members."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from random import Random
from typing import Any, NamedTuple

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from processors.aggregate import Buckets
from processors.ladders import NAMES
from processors.places import mark, row_of, span_of
from schemas.aggregates import Bucket
from schemas.facts import Ledger
from tests.processors.story import DAY, RULES, START, Story, an_action

HOUR = DAY // 24
MONDAY = RULES.calendar.day(START)  # 2 March 2026
MARCH = 2026 * 12 + 2


def played(steps: list[tuple[Any, ...]]) -> Buckets:
    """(days it arrives, what, days it happened, fields), all of one member, counted in one block."""
    story = Story(buckets=Buckets("live-1", 3, block=7))
    for number, (arrives, what, happened, fields) in enumerate(steps):
        action = an_action(what, START + round(happened * DAY), number, **fields)
        story.act(action, START + round(arrives * DAY))
    assert story.buckets
    return story.buckets


def rows(buckets: Buckets, kind: str) -> dict[tuple[Any, ...], tuple[int, ...]]:
    """The buckets of a kind: what they count -> their sums that are not 0."""
    found: dict[tuple[Any, ...], tuple[int, ...]] = {}
    for b in buckets.changed(-1):
        if b.kind == kind:
            key = [b.at, b.region, b.group_id, b.action, b.period, b.dimension, b.tier]
            found[tuple(part for part in key if part != "")] = (b.actions, b.points, b.spend, b.members)
    return found


HK = {"region": "hk", "group_id": "tea"}


def test_an_action_counts_in_its_clock_hour_by_region() -> None:
    buckets = played([(0.3, "check_in", 0.3, HK), (0.3, "check_in", 0.3, HK), (0.3, "check_in", 0.3, {})])
    hour = START + 7 * HOUR
    assert rows(buckets, "hour") == {(hour, "hk", "check_in"): (2, 5, 0, 0), (hour, "check_in"): (1, 0, 0, 0)}


def test_an_action_counts_in_its_programme_day_by_region_group_and_action() -> None:
    order = {**HK, "amount": 21_050}
    buckets = played([(0.3, "check_in", 0.3, HK), (0.4, "purchase", 0.4, order), (1, "purchase", 1, order)])
    assert rows(buckets, "day") == {
        (MONDAY, "hk", "tea", "check_in"): (1, 5, 0, 0),
        (MONDAY, "hk", "tea", "purchase"): (1, 210, 21_050, 0),
        (MONDAY + 1, "hk", "tea", "purchase"): (1, 210, 21_050, 0),
    }


def test_a_late_action_counts_in_its_own_hour_and_day() -> None:
    buckets = played([(9, "share", 2.5, HK)])
    assert rows(buckets, "hour") == {(START + 60 * HOUR, "hk", "share"): (1, 5, 0, 0)}
    assert rows(buckets, "day") == {(MONDAY + 2, "hk", "tea", "share"): (1, 5, 0, 0)}


def test_what_is_not_applied_is_not_counted() -> None:
    story = Story(buckets=Buckets("live-1", 3))
    once = an_action("check_in", START, 1)
    story.act(once, START)
    story.act(once, START + DAY)
    story.act(an_action("check_in", START, 2), START + 31 * DAY)
    assert story.buckets
    assert sum(sums[0] for sums in rows(story.buckets, "day").values()) == 1


MEMBERS = [
    ("the first of a day counts", [(0, "login", 0)], {"day": {0: 1}, "week": {0: 1}, "month": {MARCH: 1}}),
    (
        "the second does not",
        [(0, "login", 0), (0.5, "like", 0.5)],
        {"day": {0: 1}, "week": {0: 1}, "month": {MARCH: 1}},
    ),
    (
        "another day of the week",
        [(0, "login", 0), (6, "login", 6)],
        {"day": {0: 1, 6: 1}, "week": {0: 1}, "month": {MARCH: 1}},
    ),
    (
        "the next week",
        [(6, "login", 6), (7, "login", 7)],
        {"day": {6: 1, 7: 1}, "week": {0: 1, 7: 1}, "month": {MARCH: 1}},
    ),
    (
        "a late one of another day",
        [(8, "login", 8), (9, "login", 2)],
        {"day": {2: 1, 8: 1}, "week": {0: 1, 7: 1}, "month": {MARCH: 1}},
    ),
    (
        "a late one of a day known",
        [(2, "login", 2), (9, "login", 2.5)],
        {"day": {2: 1}, "week": {0: 1}, "month": {MARCH: 1}},
    ),
    (
        "the next month, the same week (30 March, 1 April)",
        [(28, "login", 28), (30, "login", 30)],
        {"day": {28: 1, 30: 1}, "week": {28: 1}, "month": {MARCH: 1, MARCH + 1: 1}},
    ),
    ("others count nobody", [(0, "refund", 0)], {"day": {}, "week": {}, "month": {}}),
    (
        "after a long silence",
        [(0, "login", 0), (200, "login", 200)],
        {"day": {0: 1, 200: 1}, "week": {0: 1, 196: 1}, "month": {MARCH: 1, MARCH + 6: 1}},
    ),
]


@pytest.mark.parametrize(("name", "steps", "expected"), MEMBERS)
@pytest.mark.parametrize(("place", "fields"), [((), {}), (("hk",), {"region": "hk"}), (("tea",), {"group_id": "tea"})])
def test_a_member_counts_once_in_its_day_week_and_month(
    name: str,
    steps: list[tuple[Any, ...]],
    expected: dict[str, dict[int, int]],
    place: tuple[str, ...],
    fields: dict[str, str],
) -> None:
    found = rows(played([(*step, fields) for step in steps]), "members")
    of_place = {key: sums[3] for key, sums in found.items() if key[1:-1] == place}
    for period, counts in expected.items():
        first = 0 if period == "month" else MONDAY
        assert {key[0] - first: n for key, n in of_place.items() if key[-1] == period} == counts, name


TIERS = [
    ("entered", [(0, "login", 0), (8, "refund", 8)], {(7, "yellow"): 1}),
    ("left by an action", [(0, "login", 0), (9, "login", 9)], {(7, "yellow"): 1, (9, "yellow"): -1}),
    ("left on its first day", [(0, "login", 0), (7, "login", 7)], {(7, "yellow"): 0}),
    (
        "the next tier",
        [(0, "login", 0), (31, "refund", 31)],
        {(7, "yellow"): 1, (30, "yellow"): -1, (30, "L1"): 1},
    ),
    ("never was", [(0, "login", 0), (8, "login", 6)], {(7, "yellow"): 0}),
    ("moved", [(0, "login", 0), (15, "login", 3)], {(7, "yellow"): 0, (10, "yellow"): 1}),
]


@pytest.mark.parametrize(("name", "steps", "expected"), TIERS)
def test_a_tier_counts_on_the_day_it_was_entered_and_left(
    name: str, steps: list[tuple[Any, ...]], expected: dict[tuple[int, str], int]
) -> None:
    found = rows(played([(*step, {}) for step in steps]), "tiers")
    assert {(key[0] - MONDAY, key[2]): sums[3] for key, sums in found.items()} == expected, name


class Sent(NamedTuple):
    member: int
    what: str
    region: str
    group_id: str
    happened: int
    delay: int


sent = st.builds(
    Sent,
    st.integers(0, 3),
    st.sampled_from(["login", "check_in", "message", "share", "purchase", "refund", "content"]),
    st.sampled_from(["", "hk", "sg"]),
    st.sampled_from(["", "tea", "hk"]),
    st.one_of(st.integers(0, 90 * 24), st.integers(30 * 24, 32 * 24)),  # many of them on the same days
    st.one_of(st.just(0), st.integers(0, 30 * 24)),
)
histories = st.lists(sent, max_size=40)


class Crowd:
    """Some members of one partition, who share its offsets, clock and buckets."""

    def __init__(self) -> None:
        self.buckets = Buckets("live-1", 0)
        self.stories = [Story(buckets=self.buckets, name=f"m-{n}") for n in range(4)]

    def live(self, history: list[Sent]) -> list[Sent]:
        """Play a history in its order of arrival, and return it in that order."""
        ordered = sorted(history, key=lambda one: one.happened + one.delay)
        for offset, one in enumerate(ordered):
            self.step(offset, one)
        return ordered

    def step(self, offset: int, one: Sent) -> None:
        fields: dict[str, Any] = {"region": one.region, "group_id": one.group_id}
        if one.what == "content":
            fields |= {"content_id": "c", "status": "seen" if one.happened % 2 else "clicked"}
        story = self.stories[one.member]
        action = an_action(one.what, START + one.happened * HOUR, offset, member_id=f"m-{one.member}", **fields)
        story.offset = offset - 1  # the story's own record moves it to `offset`
        story.act(action, START + (one.happened + one.delay) * HOUR)

    def finish(self, offset: int) -> None:
        for story in self.stories:
            story.offset = offset - 1
            story.tick(START + 300 * DAY)


def summed(buckets: list[Bucket], kind: str, *fields: str) -> Counter[tuple[Any, ...]]:
    """(fields) -> points, spend and actions of a kind, told apart by a last element."""
    sums: Counter[tuple[Any, ...]] = Counter()
    for b in buckets:
        if b.kind == kind:
            key = tuple(getattr(b, field) for field in fields)
            sums.update({(*key, "points"): b.points, (*key, "spend"): b.spend, (*key, "actions"): b.actions})
    return _not_zero(sums)


@given(histories)
def test_day_buckets_are_the_sums_of_the_ledger_by_day_region_group_and_action(history: list[Sent]) -> None:
    crowd = Crowd()
    crowd.live(history)
    crowd.finish(len(history))
    of_day: Counter[tuple[Any, ...]] = Counter()
    of_hour: Counter[tuple[Any, ...]] = Counter()
    for one in history:
        at = START + one.happened * HOUR
        of_day[RULES.calendar.day(at), one.region, one.group_id, one.what, "actions"] += 1
        of_hour[at - at % HOUR, one.region, one.what, "actions"] += 1
    for fact in (fact for story in crowd.stories for _, _, fact in story.facts if isinstance(fact, Ledger)):
        at = fact.effective_at
        day, hour = RULES.calendar.day(at), at - at % HOUR
        for name, value in (("points", fact.points), ("spend", fact.spend)):
            of_day[day, fact.region, fact.group_id, fact.action, name] += value
            of_hour[hour, fact.region, fact.action, name] += value
    buckets = crowd.buckets.changed(-1)
    assert summed(buckets, "day", "at", "region", "group_id", "action") == _not_zero(of_day)
    assert summed(buckets, "hour", "at", "region", "action") == _not_zero(of_hour)


HK_RUN: list[tuple[Any, ...]] = [
    (n + 0.4, "check_in", n + 0.4, {"region": "hk", "group_id": "tea"}) for n in (0, 1, 2, 4, 5, 6, 7)
]
ANY_ORDER: dict[str, list[tuple[Any, ...]]] = {
    "a comeback moved by an action elsewhere": [
        (0, "login", 0, {"region": "hk"}),
        (40, "share", 40, {"region": "hk"}),
        (41, "login", 20, {"region": "sh"}),
    ],
    "a comeback of the first action known": [
        (30, "share", 30, {"region": "hk", "group_id": "tea"}),
        (30, "login", 0, {"region": "sh"}),
    ],
    "a streak healed elsewhere": [*HK_RUN, (8, "check_in", 3.1, {"region": "sh", "group_id": "oolong"})],
}


@pytest.mark.parametrize("name", ANY_ORDER)
def test_points_count_in_the_same_buckets_in_any_order(name: str) -> None:
    """However they arrive: what a correction changes counts where the corrected action does."""
    late = ANY_ORDER[name]
    in_order = [(what[2], *what[1:]) for what in sorted(late, key=lambda step: step[2])]
    assert [step[2] for step in in_order] != [step[2] for step in late]
    for kind in ("hour", "day"):
        assert summed_points(rows(played(late), kind)) == summed_points(rows(played(in_order), kind)), kind


def summed_points(found: dict[tuple[Any, ...], tuple[int, ...]]) -> dict[tuple[Any, ...], int]:
    return {key: sums[1] for key, sums in found.items() if sums[1]}


apart = histories.map(lambda history: [one for one in history if one.what in ("login", "check_in", "purchase")])


@given(apart, st.randoms(use_true_random=False))
def test_buckets_are_those_of_any_order_of_arrival(history: list[Sent], rnd: Random) -> None:
    """But for what goes by arrival: which check-in of a day is paid, which of two actions of one moment came back."""
    history = list({(one.member, one.happened): one for one in history}.values())
    days = [(one.member, one.happened // 24) for one in history if one.what == "check_in"]
    assume(len(set(days)) == len(days))
    other = [one._replace(delay=rnd.randrange(30 * 24)) for one in history]
    sums = []
    for told in (history, other):
        crowd = Crowd()
        crowd.live(told)
        crowd.finish(len(told))
        sums.append({kind: summed(crowd.buckets.changed(-1), kind, *BY[kind]) for kind in BY})
    assert sums[0] == sums[1]


BY = {"hour": ("at", "region", "action"), "day": ("at", "region", "group_id", "action")}


def _not_zero(sums: Counter[tuple[Any, ...]]) -> Counter[tuple[Any, ...]]:
    return Counter({key: n for key, n in sums.items() if n})


@given(histories)
def test_distinct_members_are_those_of_the_actions_themselves(history: list[Sent]) -> None:
    crowd = Crowd()
    crowd.live(history)
    seen: set[tuple[Any, ...]] = set()
    for one in history:
        if one.what == "refund" or (one.what == "content" and one.happened % 2):
            continue
        day = RULES.calendar.day(START + one.happened * HOUR)
        periods = [("day", day), ("week", RULES.calendar.week(day)), ("month", RULES.calendar.month(day))]
        for place in {("", ""), (one.region, ""), ("", one.group_id)}:
            seen |= {(period, at, *place, one.member) for period, at in periods}
    found = {
        (b.period, b.at, b.region, b.group_id): b.members for b in crowd.buckets.changed(-1) if b.kind == "members"
    }
    assert found == dict(Counter(key[:-1] for key in seen))


@given(histories)
def test_tiers_summed_up_are_the_members_who_hold_them(history: list[Sent]) -> None:
    crowd = Crowd()
    crowd.live(history)
    crowd.finish(len(history))
    sums: Counter[str] = Counter()
    for b in crowd.buckets.changed(-1):
        if b.kind == "tiers":
            sums[b.tier] += b.members
    held = Counter(NAMES[s.state.presence] for s in crowd.stories)
    held.update(NAMES[s.state.buying] for s in crowd.stories)
    del held[""]
    assert +sums == held
    assert min(sums.values(), default=0) >= 0


@given(histories, st.integers(1, 5), st.integers(1, 7))
def test_stopping_anywhere_and_loading_again_changes_nothing(history: list[Sent], chunk: int, block: int) -> None:
    """What the store holds, chunk by chunk and block by block, is what an object that never stopped holds."""
    crowd, whole = Crowd(), Crowd()
    stored: dict[str, bytes] = {}
    for offset, one in enumerate(sorted(history, key=lambda one: one.happened + one.delay)):
        if offset % block == 0:
            stored.clear()
            crowd.buckets.clear(offset // block)
            whole.buckets.clear(offset // block)
        crowd.step(offset, one)
        whole.step(offset, one)
        if offset % chunk == 0:
            stored |= crowd.buckets.take_dirty()
            crowd.buckets.load(stored)
        assert crowd.buckets.changed(offset - 3) == whole.buckets.changed(offset - 3)


def test_only_what_changed_is_dirty() -> None:
    story = Story(buckets=Buckets("live-1", 3))
    buckets = story.buckets
    assert buckets
    story.act(an_action("check_in", START, 1), START)
    assert len(buckets.take_dirty()) == 5  # hour, day, members of day, week, month
    assert buckets.take_dirty() == {}
    story.act(an_action("check_in", START, 2), START)
    assert len(buckets.take_dirty()) == 2
    buckets.clear(1)
    story.act(an_action("check_in", START, 3), START)
    assert [b.block for b in buckets.changed(-1)] == [1, 1]


def test_a_bucket_says_whose_it_is_and_up_to_where_it_counts() -> None:
    assert played([(0, "refund", 0, {}), (0, "refund", 0, {})]).changed(0)[0] == Bucket(
        log="live-1",
        partition=3,
        block=7,
        version=2,
        kind="day",
        at=MONDAY,
        action="refund",
        actions=2,
    )


@pytest.mark.parametrize("first", [dt.date(2024, 2, 29), dt.date(2025, 12, 29), dt.date(2026, 1, 31)])
def test_the_span_of_a_day_is_that_of_the_calendar(first: dt.date) -> None:
    for ahead in range(70):
        date = first + dt.timedelta(days=ahead)
        day = (date - dt.date(1970, 1, 1)).days
        span = span_of(day)
        assert (span.week, span.month) == (RULES.calendar.week(day), RULES.calendar.month(day))
        months = {RULES.calendar.month(span.month_start + n) for n in range(span.month_days)}
        assert months == {span.month}
        assert RULES.calendar.month(span.month_start + span.month_days) == span.month + 1


def test_groups_left_long_ago_leave_the_state() -> None:
    story = Story(buckets=Buckets("live-1", 3))
    for number in range(20):
        at = START + number * 20 * DAY
        story.act(an_action("login", at, number, group_id=f"g-{number}"), at)
    assert len(story.state.places) == 4 * 14


@given(st.lists(st.integers(-800_000, 3_000_000), max_size=6))
def test_no_day_is_too_far_for_a_row(days: list[int]) -> None:
    rows = b""
    for day in days:
        span_of(day)
        marked = mark(rows, row_of("r:hk", day), day)
        rows = marked[0] if marked else rows
    assert len(rows) == 14 * bool(days)
