"""All rules at once over one member and who invited it: what is left of a history, to be compared with another's."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import msgspec
from hypothesis import strategies as st

from processors import growth, levels, lots, orders, referral, tasks
from processors.conditions import key_of
from processors.population import Population, decode
from processors.programme import Rules
from schemas.actions import Line
from schemas.facts import Ledger
from schemas.member import BADGE
from schemas.programme import parse
from schemas.records import Referral
from tests.processors.book import check_sums
from tests.processors.story import DAY, DEFAULT, START, Story, an_action

PAYING: dict[str, Any] = {
    "spender": {
        "title": "300 yuan a month",
        "window": {"begins": "month"},
        "resets": True,
        "conditions": [
            {"name": "yuan", "measure": "amount", "at_least": 30_000, "of": [{"action": "purchase"}]},
        ],
        "reward": {"points": 30},
    },
    "regular": {
        "title": "2 orders a month",
        "window": {"begins": "month"},
        "conditions": [{"name": "orders", "measure": "count", "at_least": 2, "of": [{"action": "purchase"}]}],
        "reward": {"points": 450, "badge": "regular"},
    },
}


def everything(**numbers: Any) -> Rules:
    """The default programme, tasks that pay for orders, a badge by one, a campaign; nothing is ever held.

    `numbers` are other ones, by their paths with `__` between the names.
    """
    programme = parse(DEFAULT).model_dump(mode="json")
    programme["tasks"] |= PAYING
    programme["badges"]["regular"] = {"title": "Regular"}
    programme["fraud"]["points"]["day_over"] = 60_000
    programme["fraud"]["level"]["steps"] = 11
    monday = {"name": "Monday", "factor": 3, "actions": ["purchase", "share"], "weekdays": [0]}
    monday |= {"begins": "2026-03-01T00:00:00+08:00", "ends": "2026-12-31T00:00:00+08:00"}
    programme["points"]["factors"]["campaigns"] = [monday]
    for path, value in numbers.items():
        *above, last = path.split("__")
        part = programme
        for name in above:
            part = part[int(name)] if isinstance(part, list) else part[name]
        part[last] = value
    return Rules(parse(json.dumps(programme)), 1, 0)


RULES = everything()
HOUR = DAY // 24
CLOCKS = (1, 20, 45, 80, 120, 200, 300, 420)
"""Days after the end for which the level is foreseen."""


class Pair(NamedTuple):
    """A member and who invited it, who hears what the member's orders bring."""

    member: Story
    referrer: Story


class Step(NamedTuple):
    """What a member does at an hour of the story, and how many hours later that arrives."""

    hour: int
    what: str
    fields: tuple[tuple[str, Any], ...] = ()
    delay: int = 0


def play(steps: list[Step], until: int, rules: Rules = RULES) -> Pair:
    """All steps in the order in which they arrive, those of one hour in the order given; looked at at an hour."""
    pair = Pair(Story(rules), Story(rules, name="m-2"))
    for number, step in sorted(enumerate(steps), key=lambda it: it[1].hour + it[1].delay):
        at = START + (step.hour + step.delay) * HOUR
        decision = pair.member.act(an_action(step.what, START + step.hour * HOUR, number, **dict(step.fields)), at)
        pair.referrer.tick(at)
        for body in decision.derived:
            if isinstance(body, Referral):
                pair.referrer.hear(body, at)
        check_sums(pair.member)
    for story in pair:
        story.tick(START + until * HOUR)
        check_sums(story)
    return pair


def kept(story: Story) -> dict[str, Any]:
    """What no order of arrival changes, and what a refund leaves as if its order had never been."""
    state, clock, rules = story.state, story.clock, story.rules
    months = growth.by_month(state)
    for day, row, _ in growth.rows(state):
        month = rules.calendar.month(day)
        months[month] = months.get(month, 0) + (row >> 1)
    talent = key_of("active_talent")
    return {
        "balances": (state.active, state.pending, state.spent, state.expired, state.debt),
        "issued": state.issued - state.reversed,
        "lots": lots.by_end(state),
        "spend": {month: amount for month, amount in orders.spend_by_month(state).items() if amount},
        "growth": {month: points for month, points in months.items() if points},
        "level": (state.level, state.level_at, [levels.projected(rules, state, clock + n * DAY) for n in CLOCKS]),
        "tasks": (state.tasks_done, tasks.progress(rules, state, clock)),
        "badges": sorted(row[:3] for row in BADGE.iter_unpack(state.badges) if row[0] != talent and row[2]),
        "first order": (state.first_order_key, state.referred_by),
        "buying": (state.buying, state.buying_at, state.last_purchase),
        "streak": state.check_in_bits,
        "population": population(story),
    }


def overtaken(story: Story) -> bool:
    """Whether points joined a lot after a redemption had taken from one that ends later.

    They were pending then, came late, or belong to the next first order. The sums are the same all the same; which lot
    a redemption would have taken is not known any more, and what is taken back takes the order's own lot (3.5).
    """
    furthest = 0
    for _, _, fact in story.facts:
        if isinstance(fact, Ledger) and fact.spent > 0:
            furthest = max([furthest, *(end for end, _ in fact.lots)])
        elif isinstance(fact, Ledger) and fact.active > 0 and story.rules.lot_ends[fact.month] < furthest:
            return True
    return False


def population(story: Story) -> list[Any]:
    """R, F, M and the sum that ABC goes by, at several days' ends."""
    found, rules = Population([story.rules]), story.rules
    for offset, index, fact in story.facts:
        found.add(
            decode(msgspec.json.encode(msgspec.structs.replace(fact, offset=offset, index=index, partition=0, n=1)))
        )
    today = rules.calendar.day(story.clock)
    return [found.counts(rules, day) for day in (today - 1, today + 60)]


def invitation(story: Story) -> dict[str, Any]:
    """What of the referrer's is as if the order had never been."""
    state = story.state
    return {
        "points": (state.active + state.pending, state.debt, state.issued - state.reversed),
        "completed": len(referral.completed_at(state)),
    }


DAYS = 80
JOIN = Step(0, "join", (("referrer_id", "m-2"),))


def step(what: str, hour: st.SearchStrategy[int], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    """A step at one of these hours, with such fields."""
    return st.builds(lambda at, told: Step(at, what, tuple(told.items())), hour, st.fixed_dictionaries(fields))


def a_purchase(hour: st.SearchStrategy[int]) -> st.SearchStrategy[Step]:
    """An order with a line, at a limit of something."""
    amounts = st.sampled_from([9_999, 15_000, 20_001, 30_000, 50_000, 600_000, 1_600_000])
    return st.builds(
        lambda at, amount, sku, coupon: Step(at, "purchase", bought(amount, sku, coupon)),
        hour,
        amounts,
        st.sampled_from(["i-1", "i-2", "i-3"]),
        st.sampled_from([None, "c-1"]),
    )


def bought(amount: int, sku: str, coupon: str | None) -> tuple[tuple[str, Any], ...]:
    lines = [{"sku": sku, "category": "tea", "amount": amount}]
    return (("amount", amount), ("coupon_id", coupon), ("lines", tuple(msgspec.convert(lines, list[Line]))))
