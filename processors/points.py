"""What earns points: every action that may earn brings exactly one ledger entry of its own, paid or not.

An entry of 0 says in `reason` why. Caps count actions of a programme day, so which of a day's messages are
paid depends on their order of arrival, and what is paid in all does not. Points of purchases are pending for
the return window, then a timer makes them active.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from processors import days, orders, streaks
from processors.ledger import activate, credit, entry
from processors.programme import UNITS
from schemas.actions import Action, CheckIn, Message, Purchase, Share
from schemas.facts import Fact, Ledger
from schemas.member import PENDING, MemberState

if TYPE_CHECKING:
    from processors.member import Moment
    from processors.programme import Rules


def _message(rules: Rules, state: MemberState, action: Message, moment: Moment, day: int, facts: list[Fact]) -> None:
    month = rules.calendar.month(day)
    length = action.length
    if length is not None and length < rules.message_length_min:
        facts.append(entry(rules, state, action, moment, month, "message", 0, rules.because_short, "too_short"))
        return
    counted = days.counted(state, day, days.MESSAGES)
    if counted >= rules.messages_per_day:
        facts.append(entry(rules, state, action, moment, month, "message", 0, rules.because_messages[-1], "cap"))
        return
    days.count(state, day, days.MESSAGES)
    points = rules.message_points
    credit(state, month, points)
    facts.append(entry(rules, state, action, moment, month, "message", points, rules.because_messages[counted]))


def _share(rules: Rules, state: MemberState, action: Share, moment: Moment, day: int, facts: list[Fact]) -> None:
    month = rules.calendar.month(day)
    counted = days.counted(state, day, days.SHARES)
    if counted >= rules.shares_per_day:
        facts.append(entry(rules, state, action, moment, month, "share", 0, rules.because_shares[-1], "cap"))
        return
    days.count(state, day, days.SHARES)
    credit(state, month, rules.share_points)
    because = rules.because_shares[counted]
    facts.append(entry(rules, state, action, moment, month, "share", rules.share_points, because))


def _check_in(rules: Rules, state: MemberState, action: CheckIn, moment: Moment, day: int, facts: list[Fact]) -> None:
    month = rules.calendar.month(day)
    if days.checked_in(state, day):
        because = "0: the day's check-in was there already"
        facts.append(entry(rules, state, action, moment, month, "check_in", 0, because, "cap"))
        return
    days.check_in(state, day)
    base = rules.check_in_points
    run = days.run_ending(state, day)
    factor = streaks.factor(rules, run)
    points = base * factor
    because = rules.because_check_in if factor == 1 else f"{points} = {base} x{factor} streak of {run}"
    credit(state, month, points)
    fact = entry(rules, state, action, moment, month, "check_in", points, because)
    fact.base, fact.factor = base, factor
    streaks.note(rules, state, day, factor, base, moment.offset, moment.index + len(facts))
    facts.append(fact)
    if day < state.today:
        streaks.heal(rules, state, action, moment, day, run, facts)


def _purchase(rules: Rules, state: MemberState, action: Purchase, moment: Moment, day: int, facts: list[Fact]) -> None:
    month = rules.calendar.month(day)
    counted = orders.counted_amount(rules, action)
    points = counted * rules.per_unit // rules.minor_units
    reason = "" if points else "excluded" if counted < action.amount else "below_one"
    because = _worth(rules, action, counted, points)
    fact = entry(rules, state, action, moment, month, "purchase", points, because, reason)
    fact.active, fact.pending = 0, points
    fact.order_id, fact.currency, fact.spend = action.order_id, action.currency, counted
    orders.spend(state, month, counted)
    if points:
        fact.pending_until = moment.at + rules.pending_ms
        state.issued += points
        state.pending += points
        _wait(state, (fact.pending_until, month, points, moment.offset, moment.index + len(facts)))
    facts.append(fact)


Earning = Callable[["Rules", MemberState, Any, "Moment", int, list[Fact]], None]

EARNING: dict[type[Action], Earning] = {
    CheckIn: _check_in,
    Message: _message,
    Share: _share,
    Purchase: _purchase,
}
"""The rule of each action that earns; it appends the action's own entry first, then what follows from it."""


def next_due(state: MemberState) -> int:
    """When the next pending points become active; 0 = none wait."""
    return PENDING.unpack_from(state.pendings)[0] if state.pendings else 0


def activate_due(in_force: Rules, state: MemberState, member_id: str, clock: int, facts: list[Fact]) -> None:
    """Move what is due by the clock from pending to the lot of its earning month, each with an entry."""
    taken = 0
    for due, month, points, offset, index in PENDING.iter_unpack(state.pendings):
        if due > clock:
            break
        taken += PENDING.size
        state.pending -= points
        activate(state, month, points)
        facts.append(
            Ledger(
                member_id=member_id,
                effective_at=due,
                decided_at=clock,
                programme=in_force.number,
                rules=in_force.rules,
                rule="purchase",
                entry="activated",
                active=points,
                pending=-points,
                month=month,
                because=f"{points} pending points became active: the return window has passed",
                amends=(offset, index),
            )
        )
    if taken:
        state.pendings = state.pendings[taken:]


def _wait(state: MemberState, row: tuple[int, int, int, int, int]) -> None:
    """Add to the pending points, which stay sorted by due moment; equal ones in the order of arrival."""
    place = len(state.pendings)
    while place and PENDING.unpack_from(state.pendings, place - PENDING.size)[0] > row[0]:
        place -= PENDING.size
    state.pendings = state.pendings[:place] + PENDING.pack(*row) + state.pendings[place:]


def _worth(rules: Rules, action: Purchase, counted: int, points: int) -> str:
    """The arithmetic of a purchase: `420 = 420 yuan`, `300 = 300.50 yuan, floored (120 excluded)`."""
    minor = rules.minor_units
    unit = UNITS.get(action.currency, action.currency)
    left = "" if points else ":"
    text = f"{points}{left or ' ='} {_money(counted, minor)} {unit}"
    if rules.per_unit != 1:
        text += f" x {rules.per_unit}"
    if counted * rules.per_unit % minor:
        text += ", floored"
    if counted < action.amount:
        text += f" ({_money(action.amount - counted, minor)} excluded)"
    return text


def _money(amount: int, minor: int) -> str:
    whole, rest = divmod(amount, minor)
    return f"{whole}.{rest:0{len(str(minor - 1))}}" if rest else str(whole)
