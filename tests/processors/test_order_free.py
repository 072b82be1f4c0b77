"""The same actions inside the horizon give the same member however they arrive; twice is once; sums are balances.

The expectation is computed from the whole history at once, by a few lines that share nothing with the rules.
"""

from __future__ import annotations

import datetime as dt
import itertools
import zoneinfo
from collections import Counter, defaultdict
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from processors import activity
from processors.judgement import home_region
from processors.lots import by_end
from processors.orders import spend_by_month
from processors.programme import Rules
from schemas.actions import Action
from schemas.programme import parse
from schemas.verdicts import Verdict
from tests.processors.book import check_sums
from tests.processors.story import DAY, PROGRAMME, RULES, START, Story, an_action
from tests.strategies import KINDS, Sent, histories, redelivered

EAGER = Rules(
    parse(
        PROGRAMME.model_dump_json()
        .replace('"after_days":30,"per_year":4', '"after_days":3,"per_year":2')
        .replace('"from_day":7', '"from_day":3')
        .replace('"per_day":10', '"per_day":2')
    ),
    1,
    0,
)
"""Small limits, so that short histories meet them."""

SHANGHAI = zoneinfo.ZoneInfo("Asia/Shanghai")
WEIGHTS = {"check_in": 1000, "login": 500, "share": 3000, "purchase": 5000}
KIND_WEIGHTS = {"chat": 1000, "question": 2000, "answer": 3000, "experience": 3000}


def lived(history: list[Sent], rules: Rules, end: int) -> Story:
    """A story told in its order of arrival; the actions are those of the history by their place in it."""
    story = Story(rules)
    for number, one in sorted(enumerate(history), key=lambda pair: pair[1].arrives):
        verdict = story.act(an_action_of(number, one), START + one.arrives).verdict
        assert verdict is Verdict.APPLIED
        check_sums(story)
    story.tick(START + end)
    check_sums(story)
    return story


def an_action_of(number: int, one: Sent) -> Action:
    return an_action(one.what, START + one.happened, number, **dict(one.fields))


def outcome(story: Story) -> dict[str, Any]:
    """What must not depend on the order of arrival."""
    state = story.state
    return {
        "points": (state.issued, state.active, state.pending, state.expired, state.debt),
        "lots": by_end(state),
        "score": activity.score(state),
        "spend": spend_by_month(state),
        "region": home_region(state),
        "own": (state.first_own, state.last_own, state.last_purchase),
        "tiers": (state.presence, state.presence_at, state.buying, state.buying_at),
    }


def local(one: Sent) -> dt.datetime:
    return dt.datetime.fromtimestamp((START + one.happened) / 1000, SHANGHAI)


def is_own(one: Sent) -> bool:
    return one.what != "profile" and dict(one.fields).get("status") != "seen"


class Expected:
    """The sums for a whole history, by the definition."""

    def __init__(self, history: list[Sent], rules: Rules) -> None:
        points = rules.programme.points
        self.by_month: Counter[int] = Counter()
        self.spend: dict[int, int] = defaultdict(int)
        self._check_ins(history, points.check_in.streak.from_day)
        self._daily(history, "message", 2, points.message.per_day)
        self._daily(history, "share", 5, points.share.per_day)
        for one in history:
            if one.what == "purchase":
                amount = dict(one.fields)["amount"]
                self.by_month[_month(one)] += amount // 100
                self.spend[_month(one)] += amount
        self._comebacks(history, points.comeback.after_days, points.comeback.per_year)

    def _check_ins(self, history: list[Sent], from_day: int) -> None:
        days = {local(one).date(): one for one in history if one.what == "check_in"}
        for day, one in days.items():
            run = 1
            while day - dt.timedelta(days=run) in days:
                run += 1
            self.by_month[_month(one)] += 10 if run >= from_day else 5

    def _daily(self, history: list[Sent], what: str, points: int, cap: int) -> None:
        counted: Counter[dt.date] = Counter()
        for one in history:
            length = dict(one.fields).get("length")
            if one.what == what and (length is None or length >= 4):
                counted[local(one).date()] += 1
                if counted[local(one).date()] <= cap:
                    self.by_month[_month(one)] += points

    def _comebacks(self, history: list[Sent], after_days: int, per_year: int) -> None:
        own = sorted((one for one in history if is_own(one)), key=lambda one: one.happened)
        years: Counter[int] = Counter()
        for before, back in itertools.pairwise(own):
            if back.happened - before.happened >= after_days * DAY:
                years[local(back).year] += 1
                if years[local(back).year] <= per_year:
                    self.by_month[_month(back)] += 50

    def score(self, history: list[Sent]) -> int:
        """By fractions of a million, floored once, on the newest day."""
        days: Counter[dt.date] = Counter()
        for one in history:
            days[local(one).date()] += _weight(one)
        today = max(days, default=dt.date.min)
        total = 0
        for day, weight in days.items():
            back = (today - day).days
            total += min(weight, 30_000) * (round(10**6 * 2 ** (-back / 7)) if back < 57 else 0)
        return total // 10**6


def _month(one: Sent) -> int:
    return local(one).year * 12 + local(one).month - 1


def _weight(one: Sent) -> int:
    fields = dict(one.fields)
    if one.what == "message":
        return KIND_WEIGHTS[fields["kind"]]
    if one.what == "live":
        return int(Fraction(repr(fields["completion"])) * 3000)
    return WEIGHTS.get(one.what, 0)


def check(history: list[Sent], rules: Rules, end: int) -> dict[str, Any]:
    story = lived(history, rules, end)
    found, expected = outcome(story), Expected(history, rules)
    assert found["points"][0] == sum(expected.by_month.values())
    assert found["spend"] == dict(sorted(expected.spend.items())[-25:])
    assert found["score"] == expected.score(history)
    if found["points"][2] == 0:
        ends = {EAGER.lot_ends[month]: n for month, n in sorted(expected.by_month.items()) if n}
        assert found["lots"] == {at: n for at, n in ends.items() if at > START + end}
    return found


two_orders = histories(60).flatmap(lambda history: st.tuples(st.just(history), redelivered(history)))
check_in_orders = histories(14, 20, ("check_in",), step=DAY // 2, min_size=8).flatmap(
    lambda history: st.tuples(st.just(history), redelivered(history))
)
sparse_orders = histories(500, 20, ("login", "check_in", "profile"), step=DAY // 2).flatmap(
    lambda history: st.tuples(st.just(history), redelivered(history))
)


@given(two_orders)
@settings(deadline=None, max_examples=150)
def test_every_order_of_arrival_gives_the_same_member(orders: tuple[list[Sent], list[Sent]]) -> None:
    first, second = orders
    assert check(first, EAGER, 91 * DAY) == check(second, EAGER, 91 * DAY)


@given(two_orders)
@settings(deadline=None, max_examples=60)
def test_so_does_the_default_programme(orders: tuple[list[Sent], list[Sent]]) -> None:
    first, second = orders
    assert check(first, RULES, 91 * DAY) == check(second, RULES, 91 * DAY)


@given(check_in_orders)
@settings(deadline=None, max_examples=150)
def test_streaks_are_paid_the_same_in_any_order(orders: tuple[list[Sent], list[Sent]]) -> None:
    first, second = orders
    for rules in (RULES, EAGER):
        assert check(first, rules, 60 * DAY) == check(second, rules, 60 * DAY)


@given(sparse_orders)
@settings(deadline=None, max_examples=150)
def test_comebacks_are_paid_the_same_in_any_order(orders: tuple[list[Sent], list[Sent]]) -> None:
    first, second = orders
    for rules in (RULES, EAGER):
        assert check(first, rules, 531 * DAY) == check(second, rules, 531 * DAY)


@given(histories(60, 15, KINDS), st.data())
@settings(deadline=None, max_examples=60)
def test_an_action_delivered_again_changes_nothing(history: list[Sent], data: st.DataObject) -> None:
    story = Story(EAGER)
    numbered = sorted(enumerate(history), key=lambda pair: pair[1].arrives)
    for place, (number, one) in enumerate(numbered):
        story.act(an_action_of(number, one), START + one.arrives)
        again, repeated = numbered[data.draw(st.integers(0, place))]
        before, facts = (story.state, story.member.pages), len(story.facts)
        copy = type(story.state)(*[getattr(story.state, name) for name in story.state.__struct_fields__])
        verdict = story.act(an_action_of(again, repeated), START + one.arrives).verdict
        late = START + repeated.happened < story.clock - 30 * DAY
        assert verdict is (Verdict.LATE if late else Verdict.DUPLICATE)
        assert (story.state, story.member.pages) == (copy, before[1])
        assert len(story.facts) == facts + late
