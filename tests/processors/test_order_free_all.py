"""All that handbook 1.2 calls free of order, in one history: every order of arrival leaves the same member.

What is by arrival is left out: badges, holds, the top of a day's end; of a referral only what it comes to is compared.
The run counts what happened in it: a rule of the list that never fired would prove nothing.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.facts import Fact, Ledger, LevelChanged, TaskDone, TaskProgress, TierEntered, TierMoved, TierVoided
from tests.processors.everything import (
    JOIN,
    Pair,
    Step,
    a_purchase,
    bought,
    everything,
    invitation,
    kept,
    play,
    step,
)

DAYS = 50
LATEST = 29 * 24
RULES = everything(
    points__message__per_day=2,
    points__check_in__streak__from_day=3,
    points__comeback__after_days=3,
    points__comeback__per_year=5,
    ladder__items_per_week=1,
    levels__months=1,
    levels__tenure_months=2,
    levels__warn_days=12,
    levels__miss_days=20,
)
"""Small limits, so that short histories meet them; tenure is longer than a joining may be late.

A level is exact for refunds within the days after which it would fall (handbook 3.5): no refund here is later.
"""

FREE = {
    *("message", "message beyond the cap", "check_in", "streak", "streak healed", "share", "campaign", "comeback"),
    *("comeback corrected", "first order", "first order moved", "task", "task taken back", "task amended", "icebreak"),
    *(
        "purchase",
        "refund",
        "refund in advance",
        "ladder like",
        "ladder comment",
        "ladder purchase",
        "ladder corrected",
    ),
    *("ladder reversed", "ladder beyond the cap", "level by standard", "level by tenure", "level by task"),
    *("level missed", "level by refund", "level recounted", "presence", "buying", "tier moved", "tier voided"),
    *("referral completed", "referral undone"),
}
"""What must have happened in a run: each rule of the list, and each way in which it is corrected or taken back."""


def fired(pair: Pair) -> set[str]:
    """What happened to a member and who invited it."""
    found: set[str] = set()
    for offset, _, fact in pair.member.facts:
        found |= set(_fired(fact))
        if isinstance(fact, Ledger) and fact.rule == "refund" and fact.amends and fact.amends[0] == offset:
            found.add("refund in advance")
    for _, _, fact in pair.referrer.facts:
        if isinstance(fact, Ledger) and fact.rule == "referral" and "first order" in fact.because:
            found.add("referral completed")
        if isinstance(fact, Ledger) and fact.rule == "referral" and fact.entry == "reversed":
            found.add("referral undone")
    return found


def _fired(fact: Fact) -> list[str]:
    match fact:
        case Ledger():
            return _entry(fact)
        case TaskDone():
            return [fact.rule, *(["task amended"] if fact.amends else [])]
        case TaskProgress():
            return ["task amended"] if fact.amends else []
        case LevelChanged():
            return [f"level {fact.reason}" if fact.reason in ("missed", "recounted") else f"level by {fact.reason}"]
        case TierEntered():
            return [fact.dimension]
        case TierMoved():
            return ["tier moved"]
        case TierVoided():
            return ["tier voided"]
    return []


def _entry(fact: Ledger) -> list[str]:
    if fact.rule == "ladder":
        if fact.entry == "earned":
            return ["ladder beyond the cap" if fact.reason == "cap" else f"ladder {fact.action}"]
        return [f"ladder {fact.entry}"]
    if fact.rule == "task":
        return ["task" if fact.entry == "earned" else "task taken back"]
    if fact.rule == "first_order":
        return ["first order moved"]
    if fact.rule == "refund":
        return ["refund"]
    if fact.entry == "corrected":
        return ["streak healed" if fact.rule == "check_in" else f"{fact.rule} corrected"]
    if fact.reason == "cap":
        return [f"{fact.rule} beyond the cap"]
    words = {"Monday": "campaign", "streak": "streak", "first order": "first order"}
    return [fact.rule, *(name for word, name in words.items() if word in fact.because)]


NEWCOMER = [Step(0, "profile"), Step(1, "check_in"), Step(2, "message", (("group_id", "g-1"),))]
hours = st.integers(0, DAYS * 24)
early = st.integers(0, 8 * 24)
items = st.sampled_from(["i-1", "i-2"])
plain = st.one_of(
    step("check_in", early),
    step("message", early, group_id=st.just("g-1")),
    step("share", hours),
    step("login", hours),
    step("profile", early),
    step("event", early, activity_id=st.just("a"), kind=st.just("trial"), status=st.just("joined")),
).map(lambda one: [one])
runs = st.builds(lambda hour, many: [Step(hour + 24 * n, "check_in") for n in range(many)], hours, st.integers(2, 5))
begins = st.builds(
    lambda hour, many: [one._replace(hour=hour + one.hour) for one in NEWCOMER[:many]], early, st.integers(2, 3)
)
talks = st.builds(lambda hour, many: [Step(hour, "message")] * many, hours, st.integers(1, 4))
delays = st.one_of(st.just(0), st.integers(0, LATEST))


@st.composite
def climbs(draw: st.DrawFn) -> list[Step]:
    """An item browsed, liked, commented on and bought, or as much of that as there is time for."""
    hour, item, found = draw(st.integers(10 * 24, 16 * 24)), draw(items), list[Step]()
    for what in ("browse", "like", "comment"):
        found.append(Step(hour, what, (("item_id", item),)))
        hour += draw(st.integers(0, 40))
    return [*found, *draw(orders(st.just(hour), item))][: draw(st.integers(2, 6))]


@st.composite
def orders(draw: st.DrawFn, hour: st.SearchStrategy[int] = hours, sku: str | None = None) -> list[Step]:
    """An order, and its refunds in parts or whole; who does so gives it a number."""
    order = draw(a_purchase(hour))
    order = order._replace(fields=bought(dict(order.fields)["amount"], sku, None)) if sku else order
    found, left = [order], dict(order.fields)["amount"]
    shares = st.one_of(st.just(1_000), st.integers(1, 1_000))
    for later, share in draw(st.lists(st.tuples(st.integers(0, 20 * 24 - 1), shares), max_size=2)):
        part = left * share // 1_000
        if part:
            left -= part
            found.append(Step(order.hour + later, "refund", (("amount", part),)))
    return found


@st.composite
def histories(draw: st.DrawFn) -> list[Step]:
    """What a member did: several things at their times, each order with a number of its own."""
    found = [JOIN]
    for number, some in enumerate(
        draw(st.lists(st.one_of(plain, plain, begins, runs, talks, climbs(), orders()), max_size=9))
    ):
        id_of = ("order_id", f"o-{number}")
        found += [
            one._replace(fields=(*one.fields, id_of)) if one.what in ("purchase", "refund") else one for one in some
        ]
    return found


arrivals = histories().flatmap(
    lambda history: st.tuples(
        st.just(history), *[st.lists(delays, min_size=len(history), max_size=len(history)) for _ in range(2)]
    )
)


def buys(hour: int, number: int, amount: int, sku: str, delay: int = 0) -> Step:
    return Step(hour, "purchase", (*bought(amount, sku, None), ("order_id", f"r-{number}")), delay)


def returns(hour: int, number: int, amount: int, delay: int = 0) -> Step:
    return Step(hour, "refund", (("order_id", f"r-{number}"), ("amount", amount)), delay)


ITEM, OTHER = (("item_id", "i-1"),), (("item_id", "i-2"),)
RICH = [
    JOIN,
    *NEWCOMER,
    *(Step(5, "message") for _ in range(3)),
    Step(6, "share"),
    *(Step(240 + 24 * n, "check_in", (), 120 if n == 1 else 0) for n in range(5)),  # the second comes late
    Step(340, "browse", ITEM),
    Step(344, "like", ITEM, 30),  # there is a later one, which is known before
    Step(346, "like", ITEM),
    Step(347, "comment", ITEM),
    buys(350, 0, 20_001, "i-1"),
    returns(400, 0, 20_001),
    Step(350, "browse", OTHER),
    Step(351, "like", OTHER),
    buys(500, 1, 30_000, "i-3", 48),
    returns(501, 1, 10_000),  # in advance
    buys(600, 2, 600_000, "i-3"),
    buys(580, 3, 9_999, "i-3", 200),  # the first order in the end, and the second of its month
    returns(610, 2, 600_000),
    returns(520, 1, 20_000, 100),
    buys(900, 4, 25_000, "i-3"),
    buys(880, 5, 21_000, "i-3", 40),  # it was this one that made the level
    Step(1_000, "login", (), 200),  # a tier is entered before it is known
    Step(1_240, "login"),
    Step(1_320, "login", (), 20),  # it was this one that came back
    Step(1_330, "login"),
]
"""Each rule of the list at least once, and each way in which it is corrected or taken back."""


def test_every_order_of_arrival_leaves_the_same_of_all_rules_and_each_fired() -> None:
    seen: Counter[str] = Counter()

    @given(arrivals)
    @settings(deadline=None, max_examples=200)
    @example((RICH, [one.delay for one in RICH], [0] * len(RICH)))
    def both_ways(told: tuple[list[Step], list[int], list[int]]) -> None:
        history, *ways = told
        found: list[dict[str, Any]] = []
        for way in ways:
            late = [one._replace(delay=delay) for one, delay in zip(history, way, strict=True)]
            pair = play(late, (DAYS + 80) * 24, RULES)
            seen.update(fired(pair))
            found.append(left(pair))
        assert {name: (value, found[1][name]) for name, value in found[0].items() if value != found[1][name]} == {}

    both_ways()
    assert set(seen) >= FREE, f"never fired: {FREE - set(seen)}"


def left(pair: Pair) -> dict[str, Any]:
    """What must not depend on the order of arrival."""
    own = {name: value for name, value in kept(pair.member).items() if name != "badges"}
    return own | {f"referrer's {name}": value for name, value in invitation(pair.referrer).items()}
