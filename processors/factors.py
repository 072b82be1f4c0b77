"""Factors: by how much the points of an action count, and the words that say why.

Points are the base, floored before, times the product of the factors that apply, at most a ceiling. A factor is fixed
at the earning: the birthday and the paid membership are those known at arrival, a campaign goes by `occurred_at`.
"""

from __future__ import annotations

import calendar as western
from typing import TYPE_CHECKING, NamedTuple

from processors import membership
from processors.calendar import DAY_MS, Calendar
from schemas.actions import ACTIONS, Action, Profile, Purchase
from schemas.earning import FactorRules
from schemas.facts import Ledger
from schemas.member import MemberState

if TYPE_CHECKING:
    from processors.member import Moment
    from processors.programme import Rules

Kind = type[Action] | str
"""What a factor is for: a kind of actions, or a custom action by its name."""
Kinds = frozenset[Kind]


class Campaign(NamedTuple):
    """A factor for some kinds of actions, from a moment until another (ms), on some days of the week or the month."""

    words: str
    factor: int
    kinds: Kinds
    begins: int
    ends: int
    weekdays: frozenset[int]
    days: frozenset[int]

    def holds(self, calendar: Calendar, at: int, day: int) -> bool:
        """Whether an action of this moment and programme day is in it."""
        if not self.begins <= at < self.ends:
            return False
        if not (self.weekdays or self.days):
            return True
        date = calendar.date(day)
        last = western.monthrange(date.year, date.month)[1]
        return date.weekday() in self.weekdays or date.day in {min(it, last) for it in self.days}


class Factors:
    """What a programme says of factors, compiled once."""

    def __init__(self, rules: FactorRules) -> None:
        self.ceiling = rules.ceiling
        self.birthday, self.birthday_kinds = rules.birthday.factor, _kinds(rules.birthday.actions)
        self.birthday_ms = rules.birthday.change_days * DAY_MS
        self.paid, self.paid_kinds = rules.paid.factor, _kinds(rules.paid.actions)
        self.first_order = rules.first_order.factor
        self.move_days = rules.first_order.move_days
        self.campaigns = tuple(
            Campaign(
                f"x{it.factor} {it.name}",
                it.factor,
                _kinds(it.actions),
                it.begins_ms,
                it.ends_ms,
                frozenset(it.weekdays),
                frozenset(it.days_of_month),
            )
            for it in rules.campaigns
        )

    def product(self, factor: int) -> int:
        """A product of factors, at most the ceiling."""
        return min(self.ceiling, factor)


def apply(rules: Rules, state: MemberState, kind: Kind, at: int, day: int, fact: Ledger) -> None:
    """Multiply an entry's points, which are its base, and say by what. Nothing is booked yet."""
    factor, words = of(rules, state, kind, at, day)
    if words:
        multiply(rules, fact, factor, words)


def multiply(rules: Rules, fact: Ledger, factor: int, words: list[str]) -> None:
    """Let an entry be its base times a product of factors."""
    fact.factor = rules.factors.product(factor)
    fact.points = fact.active = fact.base * fact.factor
    ceiling = f", at most x{fact.factor}" if fact.factor < factor else ""
    what = fact.because.partition(" = ")[2]  # `210 yuan` is a base, `message 3 of the day's 10` is not
    is_base = what and fact.rule == "purchase"
    base, rest = (what, "") if is_base else (str(fact.base), f": {what}" if what else "")
    fact.because = f"{fact.points} = {base} {' '.join(words)}{ceiling}{rest}"


def of(rules: Rules, state: MemberState, kind: Kind, at: int, day: int) -> tuple[int, list[str]]:
    """The product of the factors that apply, before the ceiling, and each in words; but streak and first order."""
    factors, product, words = rules.factors, 1, []
    if state.birthday and kind in factors.birthday_kinds and is_birthday(rules.calendar, day, state.birthday):
        product *= factors.birthday
        words.append(f"x{factors.birthday} birthday")
    if state.paid and kind in factors.paid_kinds and membership.holds(state, at):
        product *= factors.paid
        words.append(f"x{factors.paid} paid membership")
    for campaign in factors.campaigns:
        if kind in campaign.kinds and campaign.holds(rules.calendar, at, day):
            product *= campaign.factor
            words.append(campaign.words)
    return product, words


def others(rules: Rules, state: MemberState, at: int, day: int) -> int:
    """The product of a purchase's factors but that of the first order, at most the ceiling."""
    return rules.factors.product(of(rules, state, Purchase, at, day)[0])


def is_birthday(calendar: Calendar, day: int, birthday: int) -> bool:
    """Whether a programme day is a birthday (month x 100 + day); of 29 February the last day of a shorter one."""
    date = calendar.date(day)
    month, of_month = divmod(birthday, 100)
    if date.month != month:
        return False
    return date.day == of_month or (date.day < of_month and date.day == western.monthrange(date.year, month)[1])


def told(in_force: Rules, state: MemberState, action: Profile, moment: Moment) -> None:
    """Note the birthday of a profile: the first one, then one change in so many days; further ones are ignored."""
    if action.birthday is None:
        return
    birthday = int(action.birthday[:2]) * 100 + int(action.birthday[3:])
    if not state.birthday:
        state.birthday = birthday
    elif birthday != state.birthday and moment.at >= state.birthday_changed + in_force.factors.birthday_ms:
        state.birthday, state.birthday_changed = birthday, moment.at


def _kinds(names: tuple[str, ...]) -> Kinds:
    return frozenset(ACTIONS.get(name, name) for name in names)
