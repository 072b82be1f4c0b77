"""The oracle of the CDNOW log, checked by hand; and the rules, checked against the oracle."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from pathlib import Path

import pytest

from processors.aggregate import Buckets
from processors.ladders import NAMES
from processors.lots import by_end
from processors.member import Member, Moment, decide, wake
from processors.programme import Rules
from schemas.actions import Purchase
from schemas.facts import Fact, Ledger, Tier
from schemas.member import SPEND, MemberState
from schemas.programme import parse
from tests.oracles.cdnow import END, NEW_YORK, Expected, Order, Spell, comebacks, expected, lot_ends, ms, oracle, read
from tests.oracles.spells import spells_of
from tests.oracles.warnings import Act, lived, overall

SAMPLE = Path("tests/data/cdnow_sample.txt")
RULES = Rules(parse(Path("schemas/programmes/cdnow.yaml").read_text()), 1, 0)
JANUARY = 1997 * 12


def utc(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def bought(*lines: str) -> list[Order]:
    """Orders of one customer: date and dollars."""
    return read(f" 00007 0001 {line.split()[0]}  1 {line.split()[1]}" for line in lines)


def test_a_line_is_an_order_at_noon_in_new_york() -> None:
    winter, summer = read([" 00004 0001 19970101  2   29.33", " 00004 0001 19970802  1   14.96"])
    assert winter == Order("cdnow-00004", "00004:1", utc("1997-01-01T17:00"), 2933)
    assert summer == Order("cdnow-00004", "00004:2", utc("1997-08-02T16:00"), 1496)


def test_one_order_long_ago() -> None:
    only = expected(bought("19970101 29.33"))
    assert (only.orders, only.issued, only.active, only.pending) == (1, 29, 0, 0)
    assert (only.lots, only.expired) == ({}, 29), "January 1997 ended on 1 February 1998"
    assert only.spend == {JANUARY: 2933}
    assert only.buying == [
        Spell("red", utc("1997-01-15T17:00"), utc("1997-01-31T17:00")),
        Spell("light", utc("1997-01-31T17:00"), utc("1997-03-02T17:00")),
        Spell("medium", utc("1997-03-02T17:00"), utc("1997-04-01T17:00")),
        Spell("heavy", utc("1997-04-01T17:00"), None),
    ]
    assert [(spell.tier, spell.entered) for spell in only.presence] == [
        ("yellow", utc("1997-01-08T17:00")),
        ("L1", utc("1997-01-31T17:00")),
        ("L2", utc("1997-02-08T17:00")),
        ("L3", utc("1997-02-16T17:00")),
        ("lost", utc("1997-03-03T17:00")),
    ]


def test_days_are_24_hours_also_over_a_change_of_clocks() -> None:
    """6 April 1997 had 23 hours: 14 days after noon it is one o'clock."""
    first = expected(bought("19970330 10.00")).buying[0]
    assert first.entered == utc("1997-04-13T17:00")


def test_an_order_ends_a_tier_at_its_moment() -> None:
    twice = expected(bought("19970501 10.00", "19970520 10.00"))
    assert twice.buying[0] == Spell("red", utc("1997-05-15T16:00"), utc("1997-05-20T16:00"))
    assert twice.buying[1].entered == utc("1997-06-03T16:00")


def test_an_order_on_the_very_day_a_tier_begins_holds_it_for_no_time() -> None:
    twice = expected(bought("19970501 10.00", "19970515 10.00"))
    assert twice.buying[0] == Spell("red", utc("1997-05-15T16:00"), utc("1997-05-15T16:00"))


def test_two_orders_on_one_day_are_two_orders_and_one_silence() -> None:
    same = expected(bought("19970501 10.99", "19970501 10.99"))
    assert (same.orders, same.issued, same.spend) == (2, 20, {JANUARY + 4: 2198})
    assert len(same.buying) == 4


@pytest.mark.parametrize(("day", "pending"), [("19980623", 0), ("19980624", 12), ("19980630", 12)])
def test_points_of_the_last_week_are_pending(day: str, pending: int) -> None:
    last = expected(bought(f"{day} 12.34"))
    assert (last.pending, last.active) == (pending, 12 - pending)
    assert last.lots == ({} if pending else {JANUARY + 17: 12})


def test_the_end_is_the_start_of_1_july() -> None:
    assert utc("1998-07-01T04:00") == END
    assert [spell.tier for spell in expected(bought("19980617 1.00")).buying] == []
    assert [spell.tier for spell in expected(bought("19980616 1.00")).buying] == ["red"]


@pytest.mark.parametrize(
    ("name", "orders", "number"),
    [
        ("the first order is no comeback", ["19970101 1"], 0),
        ("29 days", ["19970101 1", "19970130 1"], 0),
        ("30 days", ["19970101 1", "19970131 1"], 1),
        ("30 days by date, an hour short", ["19970315 1", "19970414 1"], 0),
        ("the fifth of a year", [f"1997{month}01 1" for month in ("01", "03", "05", "07", "09", "11")], 4),
        (
            "the next year counts anew",
            [
                "19970101 1",
                "19970301 1",
                "19970501 1",
                "19970701 1",
                "19970901 1",
                "19971101 1",
                "19980101 1",
            ],
            5,
        ),
    ],
)
def test_comebacks(name: str, orders: list[str], number: int) -> None:
    assert len(comebacks(bought(*orders))) == number, name


def test_a_comeback_pays_into_the_lot_of_its_month() -> None:
    back = expected(bought("19970601 10.00", "19970801 5.50"))
    assert (back.comebacks, back.issued, back.active) == (1, 65, 55)
    assert (back.lots, back.expired) == ({JANUARY + 7: 55}, 10), "June 1997 ends with the data"


def test_the_sample_is_the_one_everybody_knows() -> None:
    orders = read(SAMPLE.read_text().splitlines())
    assert len(orders) == 6919
    assert len({order.member_id for order in orders}) == 2357
    assert len({order.event_id for order in orders}) == 6919


def ruled(orders: list[Order]) -> tuple[MemberState, list[Fact]]:
    """The member as the rules leave it, looked at only when it buys and at the end."""
    member, facts, wake_at = Member(orders[0].member_id, MemberState()), list[Fact](), 0
    buckets = Buckets("cdnow", 0)  # active days are marked by it
    for offset, order in enumerate(orders):
        at = ms(order.at)
        if 0 < wake_at <= at:
            facts += wake(RULES, member, at, offset, 0).facts
        action = Purchase(
            event_id=order.event_id,
            source="cdnow",
            member_id=order.member_id,
            occurred_at=order.at,
            order_id=order.event_id,
            amount=order.cents,
            currency="USD",
        )
        decision = decide(RULES, RULES, bytes(16), member, action, Moment(at, at, offset, 100))
        buckets.count(RULES, member.state, action, at, offset, decision)
        facts += decision.facts
        wake_at = decision.wake_at
    if 0 < wake_at <= ms(END):
        facts += wake(RULES, member, ms(END), len(orders), 0).facts
    return member.state, facts


def in_ms(spells: list[Spell]) -> list[tuple[str, int, int | None]]:
    return [(s.tier, ms(s.entered), ms(s.left) if s.left else None) for s in spells]


def summary(state: MemberState) -> tuple[tuple[int, int, int, int], dict[int, int], dict[int, int]]:
    spend = dict(SPEND.iter_unpack(state.spend))
    return (state.issued, state.active, state.pending, state.expired), by_end(state), spend


def wanted(e: Expected) -> tuple[tuple[int, int, int, int], dict[int, int], dict[int, int]]:
    lots = {ms(lot_ends(month)): points for month, points in sorted(e.lots.items())}
    return (e.issued, e.active, e.pending, e.expired), lots, e.spend


def test_the_rules_agree_with_the_oracle_on_every_customer() -> None:
    by_member: dict[str, list[Order]] = {}
    for order in read(SAMPLE.read_text().splitlines()):
        by_member.setdefault(order.member_id, []).append(order)
    for member_id, want in oracle(SAMPLE).items():
        state, facts = ruled(by_member[member_id])
        assert summary(state) == wanted(want), member_id
        assert spells_of(facts, "buying") == in_ms(want.buying), member_id
        assert spells_of(facts, "presence") == in_ms(want.presence), member_id
        assert sum(f.points for f in facts if isinstance(f, Ledger)) == want.issued
        held = [s.tier for s in want.buying if s.left is None] or [""]
        assert NAMES[state.buying] == held[0]


def joined(spells: list[tuple[str, int, int | None]]) -> list[tuple[str, int, int | None]]:
    """Orders of one moment may end a tier and begin it: held throughout; or begin and end it: not held at all."""
    found: list[tuple[str, int, int | None]] = []
    for tier, entered, left in spells:
        if found and found[-1][2] == entered:
            tier, entered, _ = found.pop()
        if left != entered:
            found.append((tier, entered, left))
    return found


def test_the_overall_tier_of_every_customer_is_the_oracles() -> None:
    """Also with blue, value and rhythm beside the ladders, as far as buyers of the sample come to that."""
    by_member: dict[str, list[Order]] = {}
    for order in read(SAMPLE.read_text().splitlines()):
        by_member.setdefault(order.member_id, []).append(order)
    found: Counter[str] = Counter()
    for member_id, orders in by_member.items():
        acts = [Act(it.at, "purchase", order=it.event_id, cents=it.cents) for it in orders]
        member = lived(acts, NEW_YORK, END, high_cents=70_00)
        told_of = ruled(orders)[1]
        facts = [fact for fact in told_of if isinstance(fact, Tier)]
        for dimension, spells in member.spells.items():
            wanted = [(it.tier, ms(it.entered), ms(it.left) if it.left else None) for it in spells]
            told = spells_of(told_of, dimension)
            assert (told if dimension in ("presence", "buying") else joined(told)) == wanted, (member_id, dimension)
            found[dimension] += len(wanted)
        for fact, following in zip(facts, [*facts[1:], None], strict=True):
            if following is None or following.effective_at > fact.effective_at:
                tier, since = overall(member, dt.datetime.fromtimestamp(fact.effective_at / 1000, dt.UTC))
                assert fact.overall == tier, member_id
                assert since is None or fact.overall_since == ms(since) or tier == "value", member_id
    assert found["value"] > 50, found
