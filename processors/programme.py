"""A version of the programme, compiled once into what rules need per action: milliseconds, tables and words.

Rules never touch the programme's text or its models; what can be computed from it alone stands here.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from processors.activity import Weights
from processors.badges import Badges
from processors.calendar import DAY_MS, MINUTE_MS, Calendar
from processors.conditions import Plans
from processors.factors import Factors
from processors.holds import Limits
from processors.ladders import Ladders
from processors.overlays import Variants
from processors.rungs import Ladder
from processors.standards import Levels
from processors.warnings import Warnings
from schemas.actions import ACTIONS, Action, CheckIn, Custom, Message, Share
from schemas.facts import Ledger, Score
from schemas.programme import Programme, ProgrammeError, parse

if TYPE_CHECKING:
    from processors.ways import Way

UNITS = {"CNY": "yuan"}  # what people call a unit of the currency; others go by their code


Tops = tuple[tuple[int, int, int], ...]
"""Thresholds of community activity: (moment from which, thousandths, members it was taken from), oldest first."""


class LotEnds(dict[int, int]):
    """When the lot of an earning month ends (ms): at the start of the month so many months later."""

    def __init__(self, calendar: Calendar, months: int) -> None:
        super().__init__()
        self.calendar, self.months = calendar, months

    def __missing__(self, month: int) -> int:
        end = self[month] = self.calendar.month_start(month + self.months)
        return end


class Rules:
    """What one version of the programme says. Read-only; compared by identity, one object for one version."""

    def __init__(self, programme: Programme, number: int, holds_from: int, variants: Variants | None = None) -> None:
        self.programme = programme
        self.number = number
        self.holds_from = holds_from
        self.rules = programme.rules
        self.calendar = Calendar(programme.zone, programme.day_starts_at)
        self.horizon_ms = programme.horizon_days * DAY_MS
        self.future_ms = programme.future_minutes * MINUTE_MS
        self.activity = Weights(programme)
        self.ladders = Ladders(programme)
        self.warnings = Warnings(programme)
        self.tasks = Plans(programme)
        self.ladder = Ladder(programme)
        self.badges = Badges(programme, self.activity)
        self.limits = Limits(programme)
        self.currencies = frozenset(programme.currencies)
        named = programme.presence.actions
        self.presence_kinds: frozenset[type[Action]] | None = (
            None if named is None else frozenset(ACTIONS[name] for name in named)
        )
        """The own actions that end silence as presence tiers mean it; None = every one."""
        self.custom_earns = {name: custom.earns for name, custom in programme.custom.items() if custom.earns}
        self.custom_own = {name: custom.own for name, custom in programme.custom.items()}
        self.orders_ms = programme.orders.days * DAY_MS
        self.orders_kept = programme.orders.kept
        # A copy of a fact that says what all say costs a third of naming every field of a new one.
        entry = Ledger(
            member_id="", effective_at=0, decided_at=0, programme=number, rules=self.rules, rule="", entry="earned"
        )
        score = Score(
            member_id="", effective_at=0, decided_at=0, programme=number, rules=self.rules, score=0, activity_index=0
        )
        self.new_entry: Callable[[], Ledger] = entry.__copy__  # type: ignore[attr-defined]
        self.new_score: Callable[[], Score] = score.__copy__  # type: ignore[attr-defined]
        self.lot_ends = LotEnds(self.calendar, programme.points.expiry.months)
        self.warnings_ms = tuple(days * DAY_MS for days in programme.points.expiry.warning_days)
        self.tops: Tops = ()
        self.levels = Levels(programme, self.calendar)
        self.growing = frozenset(name for name, earns in self.custom_earns.items() if earns.growth)
        """Custom actions whose base points count for levels."""
        kinds: set[type[Action]] = {CheckIn, Message, Share, *([Custom] if self.growing else [])}
        self.level_kinds: frozenset[type[Action]] = self.levels.community | kinds
        """The actions that levels count."""
        self.ways: dict[type[Action], Way] = {}
        """What an action of a kind goes through, as far as one was seen: see `processors.ways`."""
        self.refund_policy = programme.points.refund.policy
        self.refund_waits_ms = programme.points.refund.waits_days * DAY_MS
        self.factors = Factors(programme.points.factors)
        self.warn_from = programme.points.expiry.warn_from
        self._compile_daily()
        self._compile_purchase()
        self._compile_comeback()
        self._compile_redeem()
        self._compile_referral()
        if variants is None and (programme.overlays or programme.pilots):
            variants = Variants(self, lambda other, all_of_them: Rules(other, number, holds_from, all_of_them))
        self.variants = variants
        """Other rules for members of some regions and pilots; None = these are everybody's."""

    def knowing(self, tops: Tops, variants: Variants | None = None) -> Rules:
        """The same version beside the thresholds of the most active that hold in a partition; its variants too."""
        known = copy.copy(self)
        known.tops = tops
        known.variants = variants or (self.variants and self.variants.knowing(known))
        return known

    def _compile_daily(self) -> None:
        points = self.programme.points
        self.check_in_points = points.check_in.points
        self.streak_from = points.check_in.streak.from_day
        self.streak_factor = points.check_in.streak.factor
        self.message_points = points.message.points
        self.messages_per_day = points.message.per_day
        self.message_length_min = points.message.length_min
        self.share_points = points.share.points
        self.shares_per_day = points.share.per_day
        self.because_check_in = f"{self.check_in_points} = a check-in"
        self.because_messages = _numbered(self.message_points, "message", self.messages_per_day)
        self.because_shares = _numbered(self.share_points, "share", self.shares_per_day)
        self.because_short = f"0: shorter than {self.message_length_min} characters"

    def _compile_purchase(self) -> None:
        purchase = self.programme.points.purchase
        self.per_unit = purchase.per_unit_thousandths
        self.rate = "" if purchase.per_unit == 1 else f" x {purchase.per_unit}"
        """How the arithmetic of a purchase says so many points per unit."""
        self.pending_days = purchase.pending_days
        self.pending_ms = purchase.pending_days * DAY_MS
        self.minor_units = self.programme.minor_units
        self.excluded = purchase.excluded_categories

    def _compile_comeback(self) -> None:
        comeback = self.programme.points.comeback
        self.comeback_points = comeback.points
        self.comeback_days = comeback.after_days
        self.comeback_ms = comeback.after_days * DAY_MS
        self.comebacks_per_year = comeback.per_year

    def _compile_redeem(self) -> None:
        self.adjusts_kept = self.programme.points.adjust.kept
        redeem = self.programme.points.redeem
        self.redeem_smallest = redeem.smallest
        self.redeem_steps = redeem.steps
        self.redemptions_ms = redeem.kept_days * DAY_MS
        self.redemptions_kept = redeem.kept
        self.cancel_wait_ms = redeem.cancel_wait_days * DAY_MS
        self.level_step = redeem.level_step.reward
        self.level_step_ms = redeem.level_step.days * DAY_MS

    def _compile_referral(self) -> None:
        referral, echoes = self.programme.points.referral, self.programme.echoes
        self.referral = referral
        self.referral_pending_ms = referral.pending_days * DAY_MS
        self.referral_paid_ms = referral.paid.days * DAY_MS
        self.echo_days, self.echo_members = echoes.days, echoes.members


def _numbered(points: int, noun: str, per_day: int) -> tuple[str, ...]:
    """The arithmetic of the day's n-th message or share; the last one says that the cap is reached."""
    paid = tuple(f"{points} = {noun} {n} of the day's {per_day}" for n in range(1, per_day + 1))
    return (*paid, f"0: the day's {per_day} {noun}s are reached")


@functools.lru_cache(maxsize=32)
def compile_programme(text: str, number: int, holds_from: int) -> Rules:
    """The rules that a programme's text describes. Raises `ProgrammeError`, and nothing else."""
    programme = _parse(text)
    try:
        return Rules(programme, number, holds_from)
    except ValueError as error:  # a zone that this machine knows and the pinned data does not
        raise ProgrammeError([(1, 1, "zone", str(error))]) from None


@functools.lru_cache(maxsize=32)
def _parse(text: str) -> Programme:
    return parse(text)
