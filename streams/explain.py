"""Why a member has what it has: action, rule, arithmetic, ledger, level; and why something did not happen.

What is told comes from the log folded again (`member_log`), in the words of `schemas.words`.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
from msgspec import Struct

from processors import overlays
from processors.calendar import Calendar
from processors.programme import Rules
from schemas.actions import Action, name_of
from schemas.arithmetic import arithmetic
from schemas.facts import Fact, Ledger
from schemas.member import MemberState
from schemas.programme import BESIDE
from schemas.verdicts import Verdict
from schemas.words import (
    BALANCES,
    FACTS,
    LABELS,
    NAMES,
    PHRASES,
    REASONS,
    REFUSED,
    VERDICTS,
    WHY,
    Words,
    say,
)
from schemas.zones import zone
from streams.errors import UsageError
from streams.member_log import Happened, MemberLog
from streams.member_words import Shown, plain, text_of

MOMENTS = ("_at", "_until", "_since", "_from")
ALSO_MOMENTS = ("silent_since", "until", "begins", "ends")
TOLD_BY_FACT = (
    *("late", "conflict", "order_repeat", "order_conflict"),
    *("refund_refused", "refund_orphan", "redeem_refused", "redeem_cancel_orphan"),
)
LABEL_OF = {"tier": "tier", "level": "level", "task": "task", "badge": "badge"}


class Line(Struct, frozen=True):
    """One step of a chain."""

    label: str
    text: str


class Told(Struct):
    """What a record, or a moment without one, meant: a heading, the chain, and the numbers of its facts."""

    offset: int
    heading: str
    lines: list[Line]
    facts: list[int] = []
    verdict: str = ""


class Explainer:
    """Tells a member's log in one language, oldest first."""

    def __init__(self, log: MemberLog, calendar: Calendar, lang: str) -> None:
        self.log, self.calendar, self.lang = log, calendar, lang
        before = log.before.state if log.before else None
        self.balances = {name: getattr(before, STATE.get(name, name), 0) for name in BALANCES}
        self._first: dict[tuple[str, str], int] = {}  # identity -> offset
        self._paid: dict[tuple[str, int], int] = {}  # rule and programme day -> moment of the last paid entry
        self._numbers = {(it.offset, it.index): it.n for one in log.happened for it in one.facts}
        self._amended: dict[tuple[int, int], list[int]] = {}
        for one in log.happened:
            for fact in one.facts:
                if amends := getattr(fact, "amends", None):
                    self._amended.setdefault(amends, []).append(fact.n)

    def tell(self) -> list[Told]:
        """Everything from `shown_from` on, in the order of the log. Balances are those after what came before, too."""
        each = zip(self.log.happened, self._all(), strict=True)
        return [told for one, told in each if one.stamped >= self.log.shown_from]

    def _all(self) -> list[Told]:
        return [self._one(one) for one in self.log.happened]

    def fact(self, number: int) -> Told:
        """The record that a fact stands at, told as far as that fact. Raises `UsageError`."""
        for one, told in zip(self.log.happened, self._all(), strict=True):
            for fact in one.facts:
                if fact.n == number:
                    if later := self._amended.get((fact.offset, fact.index)):
                        told.lines.append(self._line("amended", ", ".join(self._phrase("fact", n=n) for n in later)))
                    return told
        what = f"fact {number} is none of {self.log.member_id} in what was read"
        raise UsageError(what, remedy="without --fact all facts are told with their numbers")

    # -- one record ---------------------------------------------------------------------------------------------

    def _one(self, one: Happened) -> Told:
        lines = [self._line("record", self._record(one))] if one.verdict else []
        if one.item is not None and not any(kind_of(fact) in TOLD_BY_FACT for fact in one.facts):
            lines += self._nothing(one)
        for fact in one.facts:
            lines += self._entry(fact) if isinstance(fact, Ledger) else [self._other(fact)]
        if isinstance(one.item, Action) and one.verdict is Verdict.APPLIED:
            self._first.setdefault((one.item.source, one.item.event_id), one.offset)
        numbers = [fact.n for fact in one.facts]
        return Told(one.offset, self._heading(one), lines, numbers, one.verdict.value if one.verdict else "")

    def _heading(self, one: Happened) -> str:
        if isinstance(one.item, Action):
            moment = self._moment(milliseconds(one.item.occurred_at))
            name, item = self._name(name_of(one.item)), one.item
            return self._phrase(
                "head", moment=moment, action=name, event_id=item.event_id, source=item.source, offset=one.offset
            )
        name = self._name(str(one.item.__struct_config__.tag) if one.item is not None else "timer")
        return self._phrase("head.bare", moment=self._moment(one.stamped), action=name, offset=one.offset)

    def _record(self, one: Happened) -> str:
        assert one.verdict is not None
        return self._say(VERDICTS[one.verdict.value])

    def _nothing(self, one: Happened) -> list[Line]:
        """Why a record left no fact that says so."""
        if one.refused is not None:
            refused = one.refused
            detail = " ".join(filter(None, (refused.pointer if refused.pointer != "$" else "", refused.detail)))
            why = self._say(REFUSED[refused.reason.value])
            return [self._line("not", self._say(REASONS["refused"], refused=why, detail=detail))]
        if one.verdict is Verdict.DUPLICATE and isinstance(one.item, Action):
            first = self._first.get((one.item.source, one.item.event_id))
            words = REASONS["duplicate.earlier" if first is None else "duplicate"]
            told = self._say(words, source=one.item.source, event_id=one.item.event_id, first=first)
            return [self._line("not", told)]
        return []

    # -- facts --------------------------------------------------------------------------------------------------

    def _entry(self, fact: Ledger) -> list[Line]:
        """The chain of an entry: rule, arithmetic or why not, pending, what it amends, balances."""
        lines = [self._line("rule", self._phrase("rule", rule=self._name(fact.rule), programme=fact.programme))]
        if fact.reason and not any(getattr(fact, name, 0) for name in BALANCES):
            lines.append(self._line("nothing", self._reason(fact)))
        else:
            lines.append(self._line("arithmetic", arithmetic(fact.because, self.lang)))
        if fact.reason == "held":
            lines.append(self._not("held"))
        lines += self._not_first(fact)
        if fact.debt < 0:
            lines.append(self._not("paid_debt", paid=-fact.debt))
        if fact.pending_until:
            lines.append(self._line("pending", self._phrase("pending", until=self._moment(fact.pending_until))))
        if fact.amends:
            number = self._numbers.get(fact.amends)
            place = self._phrase("fact", n=number) if number else self._phrase("earlier", offset=fact.amends[0])
            lines.append(self._line("amends", place))
        lines.append(self._line("ledger", self._changes(fact)))
        if fact.points > 0:
            self._paid[fact.rule, self.calendar.day(fact.effective_at)] = fact.effective_at
        return lines

    def _not_first(self, fact: Ledger) -> list[Line]:
        """An order that was paid without the factor of the first one."""
        factor = self._rules(fact).factors.first_order
        is_paid = fact.entry == "earned" and fact.rule == "purchase" and fact.points
        if not is_paid or factor == 1 or " first order" in fact.because:
            return []
        return [self._not("not_first_order", first_order=factor)]

    def _changes(self, fact: Ledger) -> str:
        changed = {name: getattr(fact, name, 0) for name in BALANCES}
        for name, change in changed.items():
            self.balances[name] += change
        parts = [f"{change:+,} {self._say(BALANCES[name])}" for name, change in changed.items() if change]
        held = [f"{self._say(BALANCES[name])} {n:,}" for name, n in self.balances.items() if n or name in ALWAYS]
        comma = self._phrase("comma")
        return self._phrase(
            "entry", n=fact.n, changes=comma.join(parts) or self._phrase("no_change"), balances=comma.join(held)
        )

    def _reason(self, fact: Ledger) -> str:
        words = REASONS.get(f"{fact.reason}.{fact.rule}") or REASONS.get(fact.reason)
        if words is None:
            return arithmetic(fact.because, self.lang)
        return self._say(words, **self._values(fact))

    def _other(self, fact: Fact) -> Line:
        kind = kind_of(fact)
        words = FACTS.get(f"{kind}.beside") if getattr(fact, "dimension", "") in BESIDE else None
        words = words or FACTS.get(kind)
        label = LABEL_OF.get(kind.partition(".")[0], "not" if kind in TOLD_BY_FACT else "told")
        because = arithmetic(str(getattr(fact, "because", "")), self.lang)
        if words is None:
            return self._line(label, f"{kind} {because}")
        values = self._values(fact)
        if not_so := self._not_so(kind, values):
            values["why_not"] = not_so
        return self._line(label, self._say(words, **values | {"because": because}))

    def _not_so(self, kind: str, values: dict[str, Any]) -> str:
        """Why a request was refused, in the words of its reason."""
        words = REASONS.get(f"{values.get('reason', '')}.{kind.partition('_')[0]}") or REASONS.get(
            str(values.get("reason", ""))
        )
        return self._say(words, **values) if words else ""

    def _rules(self, fact: Fact) -> Rules:
        """The member's own: a cap or a factor may be another one in its region, or by a pilot."""
        home = MemberState(profile_region=getattr(fact, "home", ""))
        return overlays.own(self.log.rules_of(fact.programme), fact.member_id, home, fact.effective_at)

    def _values(self, fact: Fact) -> dict[str, Any]:
        """Every field as a person reads it, and what is worked out beside them."""
        rules = self._rules(fact)
        found: dict[str, Any] = {}
        for name in fact.__struct_fields__:
            value = getattr(fact, name)
            if isinstance(value, int) and (name.endswith(MOMENTS) or name in ALSO_MOMENTS):
                value = self._moment(value)
            elif name in NAMED and value:
                value = self._name(str(value))
            found[name] = value
        found |= self._limits(rules, fact)
        if "score" in found:
            found["score"] = found["score"] / 1000
        for name in MONEY:
            if name in found:
                found[name] = f"{found[name] / rules.minor_units:,.2f}"
        reason = str(getattr(fact, "reason", ""))
        why = WHY.get(f"{reason}.{kind_of(fact)}") or WHY.get(reason)
        found["why"] = self._say(why) if why else reason
        found["said"] = arithmetic(reason, self.lang)
        found["reached"] = self._reached(fact)
        return found

    def _limits(self, rules: Rules, fact: Fact) -> dict[str, object]:
        caps = {
            "message": rules.messages_per_day,
            "share": rules.shares_per_day,
            "comeback": rules.comebacks_per_year,
            "referral": rules.referral.per_year,
        }
        return {
            "cap": caps.get(getattr(fact, "rule", ""), ""),
            "shortest": rules.message_length_min,
            "horizon": rules.programme.horizon_days,
        }

    def _reached(self, fact: Fact) -> str:
        """When the last action that counts was, of those that fill a day's cap."""
        at = self._paid.get((getattr(fact, "rule", ""), self.calendar.day(fact.effective_at)))
        if not at:
            return ""
        local = dt.datetime.fromtimestamp(at / 1000, zone(self.calendar.zone_name))
        return self._phrase("reached", time=local.strftime("%H:%M"))

    # -- now ----------------------------------------------------------------------------------------------------

    def now(self, it: Shown, *, live: bool) -> list[Line]:
        """What has not happened so far: points that wait, tasks missed, tiers not entered, contacts not made."""
        lines = [self._not("pending_until", points=row.points, until=plain(row.active_at)) for row in it.pending]
        lines += [self._not("window_closed", task=name, until=plain(at)) for name, at in it.missed.items()]
        for tier in it.tiers:
            dimension = self._name(tier.dimension)
            if tier.why_not:
                numbers = tier.numbers | {"dimension": dimension}
                lines.append(self._not(f"not_in_tier.{tier.why_not}", **numbers))
            elif tier.next_tier:
                since, at = plain(tier.counted_from), plain(tier.next_at)
                lines.append(self._not("not_in_tier", tier=tier.next_tier, since=since, at=at, dimension=dimension))
            elif not tier.tier:
                why = "not_in_tier.closed" if it.closed_at else "not_in_tier.none"
                lines.append(self._not(why, dimension=dimension))
        if not live:
            lines.append(self._not("before_go_live"))
        return lines

    def _not(self, reason: str, **fields: object) -> Line:
        return self._line("not", self._say(REASONS[reason], **fields))

    # -- words --------------------------------------------------------------------------------------------------

    def _say(self, words: Words, **fields: object) -> str:
        return say(words, self.lang, **fields)

    def _phrase(self, name: str, **fields: object) -> str:
        return self._say(PHRASES[name], **fields)

    def _line(self, label: str, text: str) -> Line:
        return Line(self._say(LABELS[label]), text)

    def _name(self, name: str) -> str:
        return self._say(NAMES[name]) if name in NAMES else name

    def _moment(self, ms: int) -> str:
        return plain(text_of(self.calendar, ms))


STATE = {"points": "issued"}
ALWAYS = ("points", "active", "pending")
NAMED = ("action", "rule", "dimension")
MONEY = ("amount", "first_amount", "left", "spend")


def kind_of(fact: Fact) -> str:
    """The tag of a fact."""
    return str(fact.__struct_config__.tag)


def milliseconds(moment: dt.datetime) -> int:
    """A moment as ms since the epoch."""
    return (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(milliseconds=1)


def as_data(told: list[Told], log: MemberLog, now: list[Line]) -> dict[str, Any]:
    """For `--json`: what is told, with the facts themselves."""
    wanted = {number for one in told for number in one.facts}
    facts = [fact for one in log.happened for fact in one.facts if fact.n in wanted]
    return {"member_id": log.member_id, "told": msgspec.to_builtins(told), "now": msgspec.to_builtins(now)} | {
        "facts": msgspec.to_builtins(facts)
    }
