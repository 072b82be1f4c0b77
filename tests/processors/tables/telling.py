"""What came of a case, in words: each fact is a line under one heading, and a table says which headings it looks at."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from processors import activity, days
from processors.lots import by_end
from processors.orders import spend_by_month
from processors.value import value_class
from schemas import facts as f
from tests.processors.book import amended
from tests.processors.story import Story
from tests.processors.tables.moments import told

BALANCES = ("active", "pending", "spent", "expired", "reversed", "debt")


def _ledger(story: Story, fact: Any) -> str:
    debt = f" ({fact.debt} owed)" if fact.debt > 0 else f" ({-fact.debt} pay debt)" if fact.debt < 0 else ""
    reason = f" {fact.reason}" if fact.reason else ""
    factor = f" x{fact.factor}" if fact.factor != 1 else ""
    if fact.entry == "activated":
        return f"{fact.rule} active {fact.active} on {told(fact.effective_at)}{debt}"
    if fact.entry == "corrected":
        return f"{fact.rule} {fact.points}{factor}{reason} corrects {told(amended(story, fact).effective_at)}{debt}"
    if fact.entry == "expired":
        return f"{fact.expired} expired on {told(fact.effective_at)}"
    if fact.entry == "spent":
        return f"{fact.rule} spends {fact.spent}"
    if fact.entry == "released":
        return f"{fact.rule} released {fact.active}{debt}"
    if fact.entry == "restored":
        return f"{fact.rule} gives back {-fact.spent}{reason}{debt}"
    if fact.reversed:
        return f"{fact.rule} takes back {fact.reversed}{reason}{debt}"
    return f"{fact.rule} {fact.points}{factor}{reason}{debt}"


def _tier(_: Story, fact: Any) -> str:
    if isinstance(fact, f.TierEntered):
        return f"{fact.tier} from {told(fact.effective_at)}"
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
    again = " again" if getattr(fact, "repeats", None) else ""
    if isinstance(fact, f.RedeemAccepted):
        return f"{fact.redeem_id} accepted {fact.points}{again}"
    if isinstance(fact, f.RedeemRefused):
        return f"{fact.redeem_id} refused {fact.reason}{f' {fact.missing}' if fact.missing else ''}{again}"
    if isinstance(fact, f.RefundRefused):
        return f"refund of {fact.order_id} refused {fact.reason}"
    if isinstance(fact, f.RedeemCancelOrphan):
        return f"{fact.redeem_id} on the staff list"
    if isinstance(fact, f.RefundOrphan):
        return f"refund of {fact.order_id} on the staff list"
    if isinstance(fact, f.ReferralRefused):
        return f"invitation of {fact.invited_member_id} refused {fact.reason}"
    if isinstance(fact, f.MembershipPaid):
        return f"paid until {told(fact.until)}"
    if isinstance(fact, f.AdjustRefused):
        return f"adjust refused {fact.reason}"
    if isinstance(fact, f.OrderRepeat | f.OrderConflict):
        return f"order {fact.order_id} {type(fact).__struct_config__.tag}"
    return f"{fact.action} {type(fact).__struct_config__.tag}"


HEADINGS: dict[str, tuple[Callable[[Story, Any], str], tuple[type[f.Fact], ...]]] = {
    "ledger": (_ledger, (f.Ledger,)),
    "tiers": (_tier, (f.Tier,)),
    "tasks": (_task, (f.TaskFact,)),
    "badges": (_badge, (f.BadgeAwarded, f.BadgeUndone)),
    "levels": (_level, (f.LevelFact,)),
    "holds": (_hold, (f.PointsHeld, f.PointsReleased)),
    "warnings": (_warning, (f.PointsExpiring,)),
    "answers": (
        _answer,
        (
            *(f.Redeemed, f.RedeemCancelOrphan, f.RefundRefused, f.RefundOrphan, f.ReferralRefused, f.AdjustRefused),
            *(f.MembershipPaid, f.Late, f.Conflict, f.OrderRepeat, f.OrderConflict),
        ),
    ),
}


def lines(story: Story, heading: str, only: Sequence[str] = ()) -> list[str]:
    """The lines of a heading in their order; `only` those of some rules, tiers or tasks."""
    word, kinds = HEADINGS[heading]
    found = [fact for _, _, fact in story.facts if isinstance(fact, kinds)]
    return [word(story, fact) for fact in found if not only or _name(fact) in ("", *only)]


def _name(fact: Any) -> str:
    return str(getattr(fact, "rule", "") or getattr(fact, "tier", ""))


def balances(story: Story) -> dict[str, int]:
    """The member's points where they are at the end."""
    return {name: getattr(story.state, name) for name in BALANCES}


def lots(story: Story) -> dict[str, int]:
    """Active points by the date at which they end, in the programme's zone."""
    zone = ZoneInfo(story.rules.programme.zone)
    dated = ((dt.datetime.fromtimestamp(end / 1000, zone), points) for end, points in by_end(story.state).items())
    return {date.date().isoformat(): points for date, points in dated if points}


def orders(story: Story) -> dict[str, int]:
    """What each order gives, by its id, as its entries say."""
    found: dict[str, int] = {}
    for _, _, fact in story.facts:
        if isinstance(fact, f.Ledger) and fact.order_id and fact.entry not in ("spent", "restored"):
            found[fact.order_id] = found.get(fact.order_id, 0) + fact.points - fact.reversed
    return found


def spend(story: Story) -> float:
    """Net spend of all months that are kept, in whole units of currency."""
    return sum(spend_by_month(story.state).values()) / story.rules.programme.minor_units


def score(story: Story) -> float:
    """The activity score at the end."""
    days.roll(story.rules.activity, story.state, story.rules.calendar.day(story.clock))
    return activity.score(story.state) / 1_000


def value(story: Story) -> str:
    """Whether the member is high-value or core at the end."""
    return value_class(story.rules, story.state, story.clock)
