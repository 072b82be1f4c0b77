"""The rules against the oracle of warning tiers: whole lives of members, in a zone whose clocks change."""

from __future__ import annotations

import datetime as dt
import random
import zoneinfo
from collections import Counter
from functools import cache
from typing import Any

import pytest

from processors.aggregate import Buckets
from processors.programme import Rules
from schemas.actions import Action
from schemas.facts import Fact, Tier, TierLeft
from schemas.programme import parse
from tests.oracles.spells import spells_of
from tests.oracles.warnings import DAY, TIERS, Act, Member, Spell, lived, overall
from tests.processors.story import DEFAULT, Story, an_action

NEW_YORK = zoneinfo.ZoneInfo("America/New_York")
RULES = Rules(parse(DEFAULT.replace("zone: Asia/Shanghai", "zone: America/New_York")), 1, 0)
BEGIN = dt.datetime(2027, 9, 5, tzinfo=dt.UTC)  # both changes of clocks and 29 February 2028 lie ahead
SEEDS = 50
KINDS = ("login", "browse", "add_to_cart", "nps", "complaint", "support", "purchase", "refund")


def history(seed: int) -> list[Act]:
    """A member with habits that change: how often it comes, what it does, how much it spends."""
    pick = random.Random(seed)
    at, acts = BEGIN + pick.randint(0, 30) * DAY, list[Act]()
    cases, orders = {"complaint": list[str](), "support": list[str]()}, list[Act]()
    while at < BEGIN + 330 * DAY:
        pace, spends = pick.choice((0.4, 1, 1, 2, 7)), pick.choice((5_000, 20_000, 60_000, 90_000))
        for _ in range(pick.randint(5, 40)):
            # Seconds that no other moment has: what ends at the very moment it begins is in the tables.
            at += dt.timedelta(seconds=round(pace * pick.uniform(0.6, 1.3) * 86_400))
            at = at.replace(microsecond=0) + dt.timedelta(milliseconds=len(acts) % 1_000)
            what = pick.choices(KINDS, (9, 5, 3, 2, 2, 14, 5, 3 * (seed % 2)))[0]
            acts.append(_act(pick, at, what, len(acts), cases, orders, spends))
        at += pick.choice((0, 0, 5, 12, 25, 70)) * DAY
    return acts


def _act(
    pick: random.Random,
    at: dt.datetime,
    what: str,
    number: int,
    cases: dict[str, list[str]],
    orders: list[Act],
    spends: int,
) -> Act:
    if what == "nps":
        return Act(at, what, score=pick.randint(0, 10))
    if what in cases:
        known = cases[what]
        if not known or pick.random() < 0.4:
            known.append(f"{what}-{number}")
            return Act(at, what, "opened", known[-1], pick.choice(("ordinary", "complex", "serious")))
        later = ("resolved", "unresolved", "unresolved") if what == "support" else ("resolved",)
        return Act(at, what, pick.choice(later), pick.choice((known[-1], *known[-2:])))
    if what == "purchase":
        orders.append(Act(at, what, order=f"o-{number}", cents=round(spends * pick.uniform(0.4, 1.4))))
        return orders[-1]
    if what == "refund" and orders:
        gone = orders.pop(pick.choice((-1, pick.randrange(len(orders)))))
        return Act(at, what, order=gone.order, cents=gone.cents)
    return Act(at, "login" if what == "refund" else what)


def ruled(acts: list[Act], end: dt.datetime) -> list[Fact]:
    """What the rules tell of it, looked at only when something happens and at the end."""
    story = Story(RULES, Buckets("oracle", 0))
    quietly(story, acts, end, [])
    return [fact for _, _, fact in story.facts]


def quietly(story: Story, acts: list[Act], end: dt.datetime, looks: list[int]) -> None:
    """Live it, and let time pass at some moments (ms) between."""
    stops: list[tuple[int, int]] = [(at, -1) for at in looks]
    stops += [(_ms(it.at), number) for number, it in enumerate(acts)]
    for at, number in sorted(stops):
        if number < 0:
            story.tick(at)
        else:
            story.act(action_of(acts[number], number), at)
    story.tick(_ms(end))


def action_of(it: Act, number: int) -> Action:
    fields: dict[str, Any] = {}
    if it.case:
        fields = {"case_id": it.case, "severity": it.severity, "status": it.status}
    elif it.what == "nps":
        fields = {"score": it.score}
    elif it.order:
        fields = {"order_id": it.order, "amount": it.cents, "currency": "CNY"}
    elif it.what in ("browse", "add_to_cart"):
        fields = {"item_id": "i-1"}
    return an_action(it.what, _ms(it.at), number, **fields)


def _ms(at: dt.datetime) -> int:
    return round(at.timestamp() * 1000)


def in_ms(spells: list[Spell]) -> list[tuple[str, int, int | None]]:
    return [(it.tier, _ms(it.entered), _ms(it.left) if it.left else None) for it in spells]


@cache
def both(seed: int) -> tuple[Member, list[Fact]]:
    acts = history(seed)
    end = acts[-1].at + 100 * DAY
    return lived(acts, NEW_YORK, end), ruled(acts, end)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_tier_is_entered_and_left_when_the_oracle_says(seed: int) -> None:
    member, facts = both(seed)
    refunds = any(it.what == "refund" for it in member.acts)
    for dimension, spells in member.spells.items():
        if dimension != "buying" or not refunds:  # those that a refund moves are in their own table
            assert spells_of(facts, dimension) == in_ms(spells), dimension


@pytest.mark.parametrize("seed", range(0, SEEDS, 2))
def test_the_overall_tier_is_the_gravest_with_its_own_moment(seed: int) -> None:
    member, facts = both(seed)
    assert not any(it.what == "refund" for it in member.acts), "its buying tiers would not be the oracle's"
    tiers = [fact for fact in facts if isinstance(fact, Tier)]
    for fact, following in zip(tiers, [*tiers[1:], None], strict=True):
        if following is None or following.effective_at > fact.effective_at:
            at = dt.datetime.fromtimestamp(fact.effective_at / 1000, dt.UTC)
            name, since = overall(member, at)
            assert (fact.overall, fact.overall_since) == (name, _ms(since) if since else 0)
            held = sorted((it[0], it[1]) for it in fact.held)
            wanted = [
                (dimension, it.tier)
                for dimension, spells in member.spells.items()
                for it in spells
                if it.entered <= at and (it.left is None or at < it.left)
            ]
            assert held == sorted(wanted)


def test_the_histories_hold_enough_of_everything() -> None:
    spells = Counter(it.tier for seed in range(SEEDS) for many in both(seed)[0].spells.values() for it in many)
    assert all(spells[tier] >= 20 for tier in TIERS.values()), spells
    ends = Counter(
        (fact.dimension, fact.reason) for seed in range(SEEDS) for fact in both(seed)[1] if isinstance(fact, TierLeft)
    )
    for end in (
        *(("mood", "over"), ("mood", "score"), ("mood", "resolved"), ("path", "purchase"), ("path", "resolved")),
        *(("path", "over"), ("value", "order"), ("value", "month"), ("value", "over"), ("value", "refund")),
        *(("activity", "days"), ("rhythm", "action")),
    ):
        assert ends[end] >= 2, (end, ends)


@pytest.mark.parametrize("seed", range(0, SEEDS, 5))
def test_how_often_the_clock_is_looked_at_changes_no_tier(seed: int) -> None:
    member, facts = both(seed)
    pick = random.Random(seed)
    first, end = _ms(member.acts[0].at), _ms(member.end)
    story = Story(RULES, Buckets("oracle", 0))
    quietly(story, member.acts, member.end, [pick.randint(first, end) for _ in range(500)])
    assert said(story.facts) == said([(0, 0, fact) for fact in facts])


def said(facts: list[tuple[int, int, Fact]]) -> list[tuple[Any, ...]]:
    return [
        (type(fact), fact.dimension, fact.tier, fact.effective_at, fact.overall, fact.overall_since, fact.held)
        for _, _, fact in facts
        if isinstance(fact, Tier)
    ]


@pytest.mark.parametrize(("every_days", "most"), [(1, 121), (2, 182), (4, 91)])
def test_nobody_is_woken_each_day_for_nothing(every_days: int, most: int) -> None:
    """A year of a member that comes at the same time: at most each third day, and never more often than it comes.

    A timer is looked at when the silence since an earlier visit would have crossed a limit.
    """
    story, woken = Story(RULES, Buckets("oracle", 0)), 0
    for number, day in enumerate(range(0, 364, every_days)):
        at = BEGIN + day * DAY
        for hour in range(24 * every_days):  # the clock goes on
            moment = _ms(at + hour * dt.timedelta(hours=1))
            woken += 0 < story.wake_at <= moment
            story.tick(moment)
        story.act(an_action("login", _ms(at + every_days * DAY), number), _ms(at + every_days * DAY))
    assert not [fact for _, _, fact in story.facts if isinstance(fact, Tier)]
    assert 0 < woken <= most
