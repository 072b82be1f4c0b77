"""What came of a case, in words: each fact is a line under one heading, and a table says which headings it looks at."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from processors import activity, days, echoes, opening, tasks
from processors.lots import by_end
from processors.orders import spend_by_month
from processors.value import value_class
from schemas import facts as f
from schemas.boards import BoardKey
from schemas.records import Award, Echo
from tests.processors.book import amended
from tests.processors.story import Story
from tests.processors.tables.moments import BOARD, nth, told
from tests.processors.tables.playing import MEMBER, Cast

BALANCES = ("active", "pending", "spent", "expired", "reversed", "debt")


def _ledger(story: Story, fact: Any) -> str:
    debt = f" ({fact.debt} owed)" if fact.debt > 0 else f" ({-fact.debt} pay debt)" if fact.debt < 0 else ""
    reason = f" {fact.reason}" if fact.reason else ""
    factor = f" x{fact.factor}" if fact.factor != 1 else ""
    if fact.entry == "corrected":
        return f"{fact.rule} {fact.points}{factor}{reason} corrects {told(amended(story, fact).effective_at)}{debt}"
    kind = fact.entry if fact.entry in ENTRIES else "reversed" if fact.reversed else "earned"
    back, at = -fact.spent, told(fact.effective_at)
    return ENTRIES[kind].format(fact=fact, debt=debt, reason=reason, factor=factor, back=back, at=at)


ENTRIES = {
    "activated": "{fact.rule} active {fact.active} on {at}{debt}",
    "expired": "{fact.expired} expired on {at}",
    "opened": "{fact.rule} brings {fact.points}{debt}",
    "spent": "{fact.rule} spends {fact.spent}",
    "released": "{fact.rule} released {fact.active}{debt}",
    "restored": "{fact.rule} gives back {back}{reason}{debt}",
    "reversed": "{fact.rule} takes back {fact.reversed}{reason}{debt}",
    "earned": "{fact.rule} {fact.points}{factor}{reason}{debt}",
}
"""How each kind of entry is told. One that takes points back is told so, whatever its kind."""


def _tier(_: Story, fact: Any) -> str:
    if isinstance(fact, f.TierEntered):
        return f"{fact.tier} from {told(fact.effective_at)}{' (brought along)' if fact.brought else ''}"
    if isinstance(fact, f.TierLeft):
        return f"{fact.tier} until {told(fact.effective_at)} ({fact.reason})"
    if isinstance(fact, f.TierVoided):
        return f"{fact.tier} of {told(fact.entered_at)} never was"
    return f"{fact.tier} moved from {told(fact.entered_at)} to {told(fact.effective_at)}"


def _task(story: Story, fact: Any) -> str:
    instead = ""
    if fact.amends:
        (before,) = [it for offset, index, it in story.facts if (offset, index) == fact.amends]
        instead = f" instead of {told(before.effective_at)}"
    if isinstance(fact, f.TaskDone):
        return f"{fact.rule} done on {told(fact.effective_at)}{instead}"
    met = sum(value >= needed for value, needed in zip(fact.values, fact.needed, strict=True))
    return f"{fact.rule} {met}/{len(fact.values)}{instead}"


def _badge(_: Story, fact: Any) -> str:
    return f"{fact.rule} on {told(fact.effective_at)}" if isinstance(fact, f.BadgeAwarded) else f"{fact.rule} undone"


def _level(_: Story, fact: Any) -> str:
    if isinstance(fact, f.LevelWarning):
        return f"warned of {fact.next_level} on {told(fact.effective_at)} ({fact.because})"
    return f"{fact.level} from {told(fact.effective_at)} ({fact.reason})"


def _hold(_: Story, fact: Any) -> str:
    if isinstance(fact, f.PointsHeld):
        return f"{fact.scope} held from {told(fact.effective_at)} ({fact.because})"
    return f"{fact.scope} {fact.reason} on {told(fact.effective_at)} with {fact.points}"


def _warning(_: Story, fact: Any) -> str:
    return f"{fact.points} end on {told(fact.ends_at)} as told on {told(fact.effective_at)}"


def _answer(_: Story, fact: Any) -> str:
    kind, until = type(fact).__struct_config__.tag, told(getattr(fact, "until", 0))
    missing = getattr(fact, "missing", 0)
    words = ANSWERS[type(fact)].format(fact=fact, kind=kind, until=until)
    again = " again" if getattr(fact, "repeats", None) else ""
    return f"{words}{f' {missing}' if missing else ''}{again}"


ANSWERS: dict[type[f.Fact], str] = {
    f.RedeemAccepted: "{fact.redeem_id} accepted {fact.points}",
    f.RedeemRefused: "{fact.redeem_id} refused {fact.reason}",
    f.RedeemCancelOrphan: "{fact.redeem_id} on the staff list",
    f.RefundRefused: "refund of {fact.order_id} refused {fact.reason}",
    f.RefundOrphan: "refund of {fact.order_id} on the staff list",
    f.ReferralRefused: "invitation of {fact.invited_member_id} refused {fact.reason}",
    f.AdjustRefused: "adjust refused {fact.reason}",
    f.OpeningRefused: "opening refused",
    f.OrderRepeat: "order {fact.order_id} {kind}",
    f.OrderConflict: "order {fact.order_id} {kind}",
    f.MembershipPaid: "paid until {until}",
    f.Late: "{fact.action} {kind}",
    f.Conflict: "{fact.action} {kind}",
}
"""How each answer is told; the missing points of a refusal, and that it is a repeat, follow."""


HEADINGS: dict[str, tuple[Callable[[Story, Any], str], tuple[type[f.Fact], ...]]] = {
    "ledger": (_ledger, (f.Ledger,)),
    "tiers": (_tier, (f.Tier,)),
    "tasks": (_task, (f.TaskFact,)),
    "badges": (_badge, (f.BadgeAwarded, f.BadgeUndone)),
    "levels": (_level, (f.LevelFact,)),
    "holds": (_hold, (f.PointsHeld, f.PointsReleased)),
    "warnings": (_warning, (f.PointsExpiring,)),
    "answers": (_answer, tuple(ANSWERS)),
}


def outcome(at_end: Cast, wanted: Mapping[str, Any], only: Sequence[str] = ()) -> dict[str, Any]:
    """What came of a case under each heading that is wanted; `only` lines of some rules, tiers or tasks."""
    story = at_end.story(MEMBER)
    found: dict[str, Any] = {}
    for heading, said in wanted.items():
        if heading in HEADINGS:
            found[heading] = lines(story, heading, only)
        elif heading == "boards":
            found[heading] = {board: places(at_end, board) for board in said}
        else:
            value = AT_END[heading](story)
            found[heading] = {name: value.get(name) for name in said} if heading in NAMED else value
    return found


def lines(story: Story, heading: str, only: Sequence[str] = ()) -> list[str]:
    """The lines of a heading in their order; `only` those of some rules, tiers or tasks."""
    word, kinds = HEADINGS[heading]
    found = [fact for _, _, fact in story.facts if isinstance(fact, kinds)]
    return [word(story, fact) for fact in found if not only or _name(fact) in ("", *only)]


def _name(fact: Any) -> str:
    return str(getattr(fact, "rule", "") or getattr(fact, "tier", ""))


def places(at_end: Cast, board: str) -> list[str]:
    """The places of a board as it stands, or that of one member: talk in weights, spending in units of currency."""
    found = BOARD.fullmatch(board)
    assert found
    kind, period, number, scope, where, of = found.groups()
    here = (where, "") if scope == "region" else ("", where or "")
    key = msgspec.convert((kind, period, nth(period, int(number)), *here), BoardKey)
    unit = at_end.rules.programme.minor_units if kind == "spending" else 1_000
    return [
        f"{it.place} {it.member_id} {it.value / unit:g}"
        for it in at_end.boards().table(key)
        if of in (None, it.member_id)
    ]


def _heard(story: Story) -> list[str]:
    """What others, and boards, have told the member; an award is known by what it says."""
    found = [it for it in dict.fromkeys(story.heard) if isinstance(it, Echo | Award)]
    return [_echo(it) if isinstance(it, Echo) else _award(it) for it in found]


def _echo(echo: Echo) -> str:
    return f"{echo.kind} by {echo.from_member_id}{f' in {echo.group_id}' if echo.group_id else ''}"


def _award(award: Award) -> str:
    number = next(number for number in itertools.count() if nth(award.period, number) >= award.at)
    where = f" in region {award.region}" if award.region else f" in group {award.group_id}" if award.group_id else ""
    return f"place {award.place} on {award.board} of {award.period} {number}{where}"


def _balances(story: Story) -> dict[str, int]:
    return {name: getattr(story.state, name) for name in BALANCES}


def _lots(story: Story) -> dict[str, int]:
    """Active points by the date at which they end, in the programme's zone."""
    zone = ZoneInfo(story.rules.programme.zone)
    dated = ((dt.datetime.fromtimestamp(end / 1000, zone), points) for end, points in by_end(story.state).items())
    return {date.date().isoformat(): points for date, points in dated if points}


def _orders(story: Story) -> dict[str, int]:
    """What each order gives, by its id, as its entries say."""
    found: dict[str, int] = {}
    for _, _, fact in story.facts:
        if isinstance(fact, f.Ledger) and fact.order_id and fact.entry not in ("spent", "restored"):
            found[fact.order_id] = found.get(fact.order_id, 0) + fact.points - fact.reversed
    return found


def _months(story: Story) -> dict[str, float]:
    """Net spend by month, in whole units of currency."""
    found = spend_by_month(story.state)
    return {f"{month // 12}-{month % 12 + 1:02}": n / story.rules.programme.minor_units for month, n in found.items()}


def _progress(story: Story) -> dict[str, str]:
    """How far the member is with each task, in what its conditions count."""
    found = tasks.progress(story.rules, story.state, story.clock)
    both = {it.name: zip(it.values, it.needed, strict=True) for it in found}
    far = {name: ", ".join(f"{value} of {needed}" for value, needed in pairs) for name, pairs in both.items()}
    return {it.name: "done" if it.done else far[it.name] for it in found}


def _score(story: Story) -> float:
    days.roll(story.rules.activity, story.state, story.rules.calendar.day(story.clock))
    return activity.score(story.state) / 1_000


def _replies(story: Story) -> dict[str, int]:
    return echoes.replies(story.rules, story.state, story.rules.calendar.day(story.clock))._asdict()


def _consents(story: Story) -> dict[str, str]:
    brought = opening.opened(story.state)
    given = brought.consents if brought else ()
    return {
        f"{it.purpose} on {it.contact_channel}": f"{'given' if it.granted else 'refused'} on {told(it.at)}"
        for it in given
    }


NAMED = ("balances", "progress")
"""Headings of which a case looks at those that it names."""

AT_END: dict[str, Callable[[Story], Any]] = {
    "heard": _heard,
    "balances": _balances,
    "lots": _lots,
    "orders": _orders,
    "months": _months,
    "progress": _progress,
    "spend": lambda story: sum(_months(story).values()),
    "score": _score,
    "replies": _replies,
    "consents": _consents,
    "value": lambda story: value_class(story.rules, story.state, story.clock),
}
"""What is told of the member as it is at the end."""
