"""What a member brings along from an older programme: once, added to what is there, and nobody is contacted for it.

Lots keep their earning months, debt counts as reversed, spend goes to its months. A tier that is due already is entered
and marked, so that it fires no step.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from processors import churn, first_order, ledger, level_judge, levels, orders, profiling, value_drop
from processors.decision import about
from processors.origins import origin
from processors.waiting import changed
from schemas.actions import Opening
from schemas.facts import Fact, OpeningRefused, SpendBrought
from schemas.member import NEVER, MemberState
from schemas.verdicts import Verdict

if TYPE_CHECKING:
    from processors.member import Moment
    from processors.programme import Rules

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MILLISECOND = dt.timedelta(milliseconds=1)


class Consent(Struct, array_like=True, gc=False):
    """A consent brought along; `at` (ms) is when it was given or refused."""

    purpose: str
    contact_channel: str
    granted: bool
    text_version: str
    at: int


class Opened(Struct, array_like=True, gc=False):
    """What was brought along, packed in `state.opening`. Moments in ms, 0 = none; `place` is that of the entry."""

    event_id: str
    at: int
    place: tuple[int, int]
    points: int
    debt: int
    level: str
    level_since: int
    joined_at: int
    last_purchase: int
    last_action: int
    consents: tuple[Consent, ...] = ()


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Opened).decode


def opened(state: MemberState) -> Opened | None:
    """What the member brought along; None = nothing."""
    return _decode(state.opening) if state.opening else None


def brought(
    rules: Rules,
    in_force: Rules,
    id_key: bytes,
    state: MemberState,
    action: Opening,
    moment: Moment,
    day: int,
    facts: list[Fact],
) -> Verdict:
    """Book what a member brings along; of one that has brought something already nothing is done."""
    first = opened(state)
    if first is not None:
        facts.append(_refused(rules, action, moment, first))
        return Verdict.CONFLICT
    place = (moment.offset, moment.index + len(facts))
    _book(rules, state, action, moment, day, facts)
    now = _brought(action, moment, place)
    _spent(rules, state, action, moment, now.last_purchase, facts)
    state.opening, state.opened_joined = _encode(now), now.joined_at
    state.older_purchase = max(state.older_purchase, now.last_purchase)
    if now.last_purchase:
        state.first_order_over = first_order.OVER  # it was elsewhere
    state.tasks_until = NEVER  # the windows of tasks begin with its joining
    _first_own(state, now.last_action)
    churn.brought(in_force, state, action, now.last_action, now.last_purchase, moment, facts)
    for it in now.consents:
        if it.purpose == profiling.PURPOSE:
            profiling.brought(in_force, state, action, it.at, moment, facts, granted=it.granted)
    value_drop.look_again(in_force, state, moment.clock)
    level_judge.brought(levels.looked(in_force, state, action, moment, facts), now.level, now.level_since)
    changed(state)
    return Verdict.APPLIED


def _book(rules: Rules, state: MemberState, action: Opening, moment: Moment, day: int, facts: list[Fact]) -> None:
    """One entry for the lots and the debt, which names both people."""
    rows: dict[int, int] = {}
    for lot in action.lots:
        end = rules.lot_ends[_month(lot.month)]
        rows[end] = rows.get(end, 0) + lot.points
    points = sum(rows.values())
    because = f"{points} points brought along; {action.debt} debt brought along"
    fact = ledger.entry(rules, state, action, moment, rules.calendar.month(day), "opening", 0, because)
    fact.entry, fact.points, fact.why = "opened", points, action.reason
    fact.operator, fact.approved_by = action.operator, action.approved_by
    ledger.bring(rules, state, fact, sorted(rows.items()), action.debt, moment.clock)
    facts.append(fact)


def _spent(
    rules: Rules, state: MemberState, action: Opening, moment: Moment, last_purchase: int, facts: list[Fact]
) -> None:
    """Spend joins its months; a fact of each tells it to the population, and when the last purchase was.

    They are no ledger entries: boards, totals of days and balances are of what was done here.
    """
    spend = {_month(month): amount for month, amount in action.spend.items()}
    for month, amount in sorted(spend.items()):
        orders.spend(state, month, amount)
    bought_in = rules.calendar.month(rules.calendar.day(last_purchase)) if last_purchase else 0
    for month in sorted({month for month, amount in spend.items() if amount} | ({bought_in} - {0})):
        fact = SpendBrought(
            member_id=action.member_id,
            effective_at=moment.at,
            decided_at=moment.clock,
            month=month,
            spend=spend.get(month, 0),
            bought_at=last_purchase if month == bought_in else 0,
            because=f"net spend of {month // 12}-{month % 12 + 1:02}",
        )
        facts.append(about(fact, rules, action))


def _brought(action: Opening, moment: Moment, place: tuple[int, int]) -> Opened:
    """What is remembered of it; no moment lies after that of the opening."""
    now = moment.at
    return Opened(
        event_id=action.event_id,
        at=now,
        place=place,
        points=sum(lot.points for lot in action.lots),
        debt=action.debt,
        level=action.level,
        level_since=min(_ms(action.level_since), now),
        joined_at=min(_ms(action.joined_at), now),
        last_purchase=min(_ms(action.last_purchase_at), now),
        last_action=min(max(_ms(action.last_action_at), _ms(action.last_purchase_at)), now),
        consents=tuple(
            Consent(it.purpose, it.contact_channel, it.granted, it.text_version, _ms(it.occurred_at))
            for it in action.consent
        ),
    )


def _first_own(state: MemberState, last: int) -> None:
    """Silences are counted from the last action brought along, or begin there; none is paid that ended before."""
    if last and not 0 < state.first_own <= last:
        state.first_own, state.first_origin = last, origin(("opening", "", ""))


def _refused(rules: Rules, action: Opening, moment: Moment, first: Opened) -> Fact:
    fact = OpeningRefused(
        member_id=action.member_id,
        effective_at=moment.at,
        decided_at=moment.clock,
        operator=action.operator,
        approved_by=action.approved_by,
        because=f"0: {first.event_id} brought {first.points} points along already",
        amends=first.place,
    )
    return about(fact, rules, action)


def _month(text: str) -> int:
    """YYYY-MM as year x 12 + month - 1."""
    return int(text[:4]) * 12 + int(text[5:]) - 1


def _ms(moment: dt.datetime | None) -> int:
    return max(0, (moment - EPOCH) // MILLISECOND) if moment else 0
