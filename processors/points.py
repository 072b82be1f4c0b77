"""What earns points: every action that may earn brings exactly one ledger entry of its own, paid or not.

An entry of 0 says in `reason` why. Caps count actions of a programme day, so which of a day's messages are
paid depends on their order of arrival, and what is paid in all does not. Points of purchases are pending for
the return window, then a timer makes them active.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from processors import days, factors, orders, redeem, streaks
from processors.ledger import activate, entry, issue, wait
from processors.programme import UNITS
from processors.waiting import Due
from schemas.actions import Action, CheckIn, Custom, Message, Purchase, Redeem, Share
from schemas.facts import Fact, Ledger
from schemas.member import PENDING, MemberState
from schemas.part import THOUSANDTHS

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
    fact = entry(rules, state, action, moment, month, "message", rules.message_points, rules.because_messages[counted])
    if state.birthday or rules.factors.campaigns:
        factors.apply(rules, state, Message, moment.at, day, fact)
    issue(rules, state, fact)
    facts.append(fact)


def _share(rules: Rules, state: MemberState, action: Share, moment: Moment, day: int, facts: list[Fact]) -> None:
    month = rules.calendar.month(day)
    counted = days.counted(state, day, days.SHARES)
    if counted >= rules.shares_per_day:
        facts.append(entry(rules, state, action, moment, month, "share", 0, rules.because_shares[-1], "cap"))
        return
    days.count(state, day, days.SHARES)
    fact = entry(rules, state, action, moment, month, "share", rules.share_points, rules.because_shares[counted])
    if state.birthday or rules.factors.campaigns:
        factors.apply(rules, state, Share, moment.at, day, fact)
    issue(rules, state, fact)
    facts.append(fact)


def _check_in(rules: Rules, state: MemberState, action: CheckIn, moment: Moment, day: int, facts: list[Fact]) -> None:
    month = rules.calendar.month(day)
    if days.checked_in(state, day):
        because = "0: the day's check-in was there already"
        facts.append(entry(rules, state, action, moment, month, "check_in", 0, because, "cap"))
        return
    days.check_in(state, day)
    base = rules.check_in_points
    run = days.run_ending(state, day)
    streak, others = streaks.factor(rules, run), 1
    fact = entry(rules, state, action, moment, month, "check_in", base, rules.because_check_in)
    words: list[str] = []
    if state.birthday or rules.factors.campaigns:
        others, words = factors.of(rules, state, CheckIn, moment.at, day)
    if words or streak > 1:
        words = [*words, f"x{streak} streak of {run}"] if streak > 1 else words
        fact.because = ""
        factors.multiply(rules, fact, streak * others, words)
    issue(rules, state, fact)
    streaks.note(rules, state, action, moment, day, fact.factor, others, base, moment.index + len(facts))
    facts.append(fact)
    if day < state.today:
        streaks.heal(rules, state, action, moment, day, run, facts)


def first_purchase(
    rules: Rules, state: MemberState, action: Purchase, moment: Moment, day: int, facts: list[Fact]
) -> None:
    """A purchase that is the first order."""
    _purchase(rules, state, action, moment, day, facts, first=rules.factors.first_order)


def _purchase(
    rules: Rules,
    state: MemberState,
    action: Purchase,
    moment: Moment,
    day: int,
    facts: list[Fact],
    first: int = 1,
) -> None:
    month = rules.calendar.month(day)
    counted = orders.counted_amount(rules, action)
    points = orders.base(counted, rules.per_unit, rules.minor_units)
    reason = "" if points else "excluded" if counted < action.amount else "below_one"
    because = _worth(rules, action, counted, points)
    fact = entry(rules, state, action, moment, month, "purchase", points, because, reason)
    fact.order_id, fact.currency, fact.spend = action.order_id, action.currency, counted
    orders.spend(state, month, counted)
    factor, words = factors.of(rules, state, Purchase, moment.at, day)
    if first > 1:
        factor, words = factor * first, [*words, f"x{first} first order"]
    if words:
        factors.multiply(rules, fact, factor, words)
        points = fact.points
    if points:
        fact.pending_until = moment.at + rules.pending_ms
        wait(state, fact)
        queue(state, (fact.pending_until, month, points, moment.offset, moment.index + len(facts)))
    facts.append(fact)


def earn_custom(rules: Rules, state: MemberState, action: Custom, moment: Moment, day: int, facts: list[Fact]) -> None:
    """A custom action that the programme declares points for."""
    earns, month = rules.custom_earns[action.name], rules.calendar.month(day)
    number = days.count_custom(state, day, action.name, earns.per_day)
    because = f"{earns.points} = {action.name} {number} of the day's {earns.per_day}"
    if not number:
        because = f"0: the day's {earns.per_day} of {action.name} are reached"
    points, reason = (earns.points, "") if number else (0, "cap")
    fact = entry(rules, state, action, moment, month, "custom", points, because, reason)
    fact.rule = action.name
    if number and rules.factors.campaigns:
        factors.apply(rules, state, action.name, moment.at, day, fact)
    issue(rules, state, fact)
    facts.append(fact)


Earning = Callable[["Rules", MemberState, Any, "Moment", int, list[Fact]], None]

EARNING: dict[type[Action], Earning] = {
    CheckIn: _check_in,
    Message: _message,
    Share: _share,
    Purchase: _purchase,
    Redeem: redeem.ask,
}
"""The rule of each action that earns; it appends the action's own entry first, then what follows from it.
A redeem that is refused has no entry but its answer."""


def next_due(state: MemberState) -> int:
    """When the next pending points become active; 0 = none wait."""
    return PENDING.unpack_from(state.pendings)[0] if state.pendings else 0


def activate_due(due: Due) -> None:
    """Move what is due from pending to the lot of its earning month, each with an entry."""
    state, taken = due.state, 0
    for at, month, points, offset, index in PENDING.iter_unpack(state.pendings):
        if at > due.by:
            break
        taken += PENDING.size
        fact = Ledger(
            member_id=due.member_id,
            effective_at=at,
            decided_at=due.clock,
            programme=due.in_force.number,
            rules=due.in_force.rules,
            rule="purchase",
            entry="activated",
            month=month,
            because=f"{points} pending points became active: the return window has passed",
            amends=(offset, index),
        )
        activate(due.in_force, state, fact, points)
        due.facts.append(fact)
    if taken:
        state.pendings = state.pendings[taken:]


def queue(state: MemberState, row: tuple[int, int, int, int, int]) -> None:
    """Add to the pending points, which stay sorted by due moment; equal ones in the order of arrival."""
    place = len(state.pendings)
    while place and PENDING.unpack_from(state.pendings, place - PENDING.size)[0] > row[0]:
        place -= PENDING.size
    state.pendings = state.pendings[:place] + PENDING.pack(*row) + state.pendings[place:]


def _worth(rules: Rules, action: Purchase, counted: int, points: int) -> str:
    """The arithmetic of a purchase: `420 = 420 yuan`, `360 = 300.50 yuan x 1.2, floored (120 excluded)`."""
    minor = rules.minor_units
    unit = UNITS.get(action.currency, action.currency)
    left = "" if points else ":"
    text = f"{points}{left or ' ='} {_money(counted, minor)} {unit}{rules.rate}"
    if counted * rules.per_unit % (minor * THOUSANDTHS):
        text += ", floored"
    if counted < action.amount:
        text += f" ({_money(action.amount - counted, minor)} excluded)"
    return text


def _money(amount: int, minor: int) -> str:
    whole, rest = divmod(amount, minor)
    return f"{whole}.{rest:0{len(str(minor - 1))}}" if rest else str(whole)
