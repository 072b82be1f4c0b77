"""The ledger: every change of a member's points goes through here, and is one entry that explains it.

    issued = active + pending + spent + expired + reversed - debt

holds at every moment, and no balance is below 0. The entry's `points` (of issued), `active`, `pending`, `spent`,
`expired`, `reversed` and `debt` are changes: summed over a member's life they are the balances in the state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from processors import activity, held, lots
from schemas.actions import Action
from schemas.facts import Fact, Ledger
from schemas.member import MemberState

if TYPE_CHECKING:
    from processors.member import Moment
    from processors.programme import Rules


def entry(
    rules: Rules,
    state: MemberState,
    action: Action,
    moment: Moment,
    month: int,
    rule: str,
    points: int,
    because: str,
    reason: str = "",
) -> Ledger:
    """The ledger entry of an action that earns active points, base x1; callers change what differs.

    Nothing is booked yet. It tells the activity score after the action, so the action's weight is added before.
    """
    fact = rules.new_entry()
    fact.member_id = action.member_id
    fact.effective_at = moment.at
    fact.decided_at = moment.clock
    fact.source = action.source
    fact.event_id = action.event_id
    fact.region = action.region
    fact.group_id = action.group_id
    fact.action = fact.rule = rule
    fact.points = fact.active = fact.base = points
    fact.month = month
    fact.because = because
    if reason:
        fact.reason = reason
    fact.score = score = activity.score(state)
    fact.activity_index = rules.activity.index(score)
    return fact


def issue(rules: Rules, state: MemberState, fact: Ledger) -> None:
    """Book an entry's points (0 or more) as issued and active in the lot of its earning month; debt is paid first."""
    points = fact.points
    state.issued += points
    if _is_of_today(rules, state, fact):
        state.day_points += points
    if state.debt:
        fact.active = points = pay_debt(state, fact, points)
    end = rules.lot_ends[fact.month]
    if end == state.lot_end and state.lot_points:  # nearly always
        state.active += points
        state.lot_points += points
    elif points:
        state.active += points
        lots.join(state, end, points)


def _is_of_today(rules: Rules, state: MemberState, fact: Ledger) -> bool:
    """Whether suspicion counts an entry for the day `today`: neither points of an order nor of staff.

    The day has an end, too: staff and timers may give points on a later one before the member does anything there.
    """
    if fact.effective_at < state.day_from or fact.order_id or fact.rule in held.STAFF_RULES:
        return False
    return rules.calendar.day(fact.effective_at) == state.today


def wait(state: MemberState, fact: Ledger) -> None:
    """Book an entry's points as issued and pending."""
    fact.active, fact.pending = 0, fact.points
    state.issued += fact.points
    state.pending += fact.points


def activate(rules: Rules, state: MemberState, fact: Ledger, points: int, end: int = 0) -> None:
    """Book pending points as active in the lot of the entry's month, or of the `end` named; debt is paid first."""
    state.pending -= points
    fact.pending = -points
    left = pay_debt(state, fact, points)
    fact.active = left
    if left:
        state.active += left
        lots.join(state, end or rules.lot_ends[fact.month], left)


def correct(rules: Rules, state: MemberState, fact: Ledger) -> None:
    """Book an entry's points as a correction of what was issued.

    Below 0 they leave the lot of its month first, then the nearest end; what nothing is left for becomes debt.
    """
    if fact.points >= 0:
        fact.active = fact.points
        return issue(rules, state, fact)
    if _is_gone(state, fact):
        fact.points = fact.active = 0
        return None
    state.issued += fact.points
    if _is_of_today(rules, state, fact):
        state.day_points = max(0, state.day_points + fact.points)
    points = -fact.points
    if state.holds and (out := held.take_out(state, fact, points)):
        state.pending -= out
        fact.pending, points = -out, points - out
    return _take(state, fact, points, rules.lot_ends[fact.month], forgive=False)


def reverse(state: MemberState, fact: Ledger, points: int, first: int, *, forgive: bool = False) -> int:
    """Take active points back: out of the lot of the end `first`, then the nearest; the rest is debt, or forgiven.

    Returns how many were taken back, which `reversed` says; the entry's `points` stay.
    """
    if _is_gone(state, fact):
        return 0
    if state.holds and (out := held.take_out(state, fact, points)):
        cancel(state, fact, out)
        return out + reverse(state, fact, points - out, first, forgive=forgive) if points > out else out
    if forgive:
        points = min(points, state.active)
    state.reversed += points
    fact.reversed += points
    _take(state, fact, points, first, forgive=forgive)
    return points


def take_back(rules: Rules, state: MemberState, fact: Ledger, points: int, end: int, clock: int) -> int:
    """Take points of the lot of an end back by the policy of refunds; how many were taken.

    Held ones are pending and go by every policy. `pending_only` leaves active ones (`kept`), and of a lot that has
    ended nothing is owed (`ended`).
    """
    if _is_gone(state, fact):
        return 0
    out = held.take_out(state, fact, points) if state.holds else 0
    if out:
        cancel(state, fact, out)
    if out == points:
        return out
    if rules.refund_policy == "pending_only" or end <= clock:
        fact.reason = "kept" if end > clock else "ended"
        return out
    return out + reverse(state, fact, points - out, end, forgive=rules.refund_policy == "to_zero")


def _is_gone(state: MemberState, fact: Ledger) -> bool:
    """Whether the points an entry takes back are gone with a hold that staff reversed; then it says so."""
    if not (state.holds and held.is_gone(state, fact)):
        return False
    fact.base, fact.reason = 0, "hold_reversed"
    return True


def credits_first(rules: Rules, state: MemberState, facts: Sequence[Fact], clock: int) -> None:
    """Within one decision points that are given come before those that are taken back: nearest ends pay first.

    Of lots that end later only so much is taken as the points given do not cover; the entries are not told yet.
    """
    entries = [fact for fact in facts if type(fact) is Ledger]
    given = [(rules.lot_ends[fact.month], fact.active) for fact in entries if fact.active > 0 and not fact.lots]
    for fact in entries if given else ():
        own = rules.lot_ends[fact.month]
        for end, part in sorted(fact.lots, reverse=True):
            for place, (near, left) in enumerate(given):
                back = min(-part, left, lots.by_end(state).get(near, 0))
                if near < end != own and back > 0:
                    _change_lot(fact, end, near, back)
                    lots.take(state, back, near)
                    lots.join(state, end, back)
                    lots.mark_passed(rules, state, end, clock)
                    given[place], part = (near, left - back), part + back


def _change_lot(fact: Ledger, end: int, near: int, points: int) -> None:
    """Let an entry have taken points of the lot `near` and not of the lot `end`."""
    rows = dict(fact.lots)
    rows[end] += points
    rows[near] = rows.get(near, 0) - points
    fact.lots = tuple((at, part) for at, part in sorted(rows.items()) if part)


def cancel(state: MemberState, fact: Ledger, points: int) -> None:
    """Take pending points back (`reversed`)."""
    state.pending -= points
    state.reversed += points
    fact.pending -= points
    fact.reversed += points


def spend(state: MemberState, fact: Ledger, points: int) -> lots.Rows:
    """Spend active points, of which there must be enough, nearest end first; (end, points) of what they came from."""
    taken = lots.take(state, points)
    state.active -= points
    state.spent += points
    fact.active, fact.spent = -points, points
    fact.lots = tuple((end, -part) for end, part in taken)
    return taken


def restore(rules: Rules, state: MemberState, fact: Ledger, rows: lots.Rows, clock: int, facts: list[Fact]) -> None:
    """Give spent points back to the lots they came from, with their dates; debt is paid first.

    What is past its date expires in the same entry; what ends inside a warning's time is warned of at once.
    """
    points = sum(part for _, part in rows)
    state.spent -= points
    fact.spent = -points
    for end, part in _credit(state, fact, rows, clock):
        put_back(rules, state, fact.member_id, end, part, clock, facts)


def unreverse(rules: Rules, state: MemberState, fact: Ledger, rows: lots.Rows, clock: int, facts: list[Fact]) -> None:
    """Give points that were taken back (`reversed`) to their lots again, as `restore` does with spent ones."""
    points = sum(part for _, part in rows)
    back = min(points, state.reversed)  # a corrected order may have taken its part of the counter along
    state.reversed -= back
    fact.reversed = -back
    state.issued += points - back
    fact.points = points - back
    for end, part in _credit(state, fact, rows, clock):
        put_back(rules, state, fact.member_id, end, part, clock, facts)


def bring(rules: Rules, state: MemberState, fact: Ledger, rows: lots.Rows, debt: int, clock: int) -> None:
    """Book what a member brings along: lots by their ends, nearest first, and debt, which counts as reversed.

    What is past its date expires in the same entry. Nobody is warned of what ends soon: the time of that has passed.
    """
    state.issued += sum(part for _, part in rows)
    for end, part in _credit(state, fact, rows, clock):
        lots.join(state, end, part)
        lots.mark_passed(rules, state, end, clock)
    state.debt += debt
    state.reversed += debt
    fact.debt += debt
    fact.reversed = debt


def _credit(state: MemberState, fact: Ledger, rows: lots.Rows, clock: int) -> lots.Rows:
    """Book rows as active, after debt and what is past its date; the rows that are to join their lots."""
    points = sum(part for _, part in rows)
    left = pay_debt(state, fact, points)
    paid, back = points - left, []
    for end, part in rows:
        use = min(paid, part)
        paid -= use
        if part > use:
            back.append((end, part - use))
    ended = sum(part for end, part in back if end <= clock)
    state.expired += ended
    state.active += left - ended
    fact.expired, fact.active, fact.lots = ended, left - ended, tuple(back)
    return [(end, part) for end, part in back if end > clock]


def put_back(
    rules: Rules, state: MemberState, member_id: str, end: int, points: int, clock: int, facts: list[Fact]
) -> None:
    """Let points join the lot of an end, and warn of all its points at once if it ends inside a warning's time."""
    lots.join(state, end, points)
    if 0 < (there := lots.mark_passed(rules, state, end, clock)) >= rules.warn_from:
        facts.append(lots.warning(rules, member_id, end, there, clock, clock))


def pay_debt(state: MemberState, fact: Ledger, points: int) -> int:
    """Pay debt out of a credit; what is left of it."""
    if not state.debt:
        return points
    paid = min(state.debt, points)
    state.debt -= paid
    fact.debt -= paid
    if paid:
        fact.because += f"; {paid} paid debt"
    return points - paid


def _take(state: MemberState, fact: Ledger, points: int, first: int, *, forgive: bool) -> None:
    taken = lots.take(state, points, first)
    out = sum(part for _, part in taken)
    state.active -= out
    fact.active = -out
    fact.lots = tuple((end, -part) for end, part in taken)
    if points > out and not forgive:
        state.debt += points - out
        fact.debt += points - out
        fact.because += f"; {points - out} of it became debt"
