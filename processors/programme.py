"""A version of the programme, compiled once into what rules need per action: milliseconds, tables and words.

Rules never touch the programme's text or its models; what can be computed from it alone stands here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from processors.activity import Weights
from processors.calendar import DAY_MS, MINUTE_MS, Calendar
from processors.ladders import Ladders
from schemas.facts import Ledger, Score
from schemas.programme import Programme, ProgrammeError, parse

UNITS = {"CNY": "yuan"}  # what people call a unit of the currency; others go by their code


class Rules:
    """What one version of the programme says. Read-only; compared by identity, one object for one version."""

    def __init__(self, programme: Programme, number: int, holds_from: int) -> None:
        self.programme = programme
        self.number = number
        self.holds_from = holds_from
        self.rules = programme.rules
        self.calendar = Calendar(programme.zone, programme.day_starts_at)
        self.horizon_ms = programme.horizon_days * DAY_MS
        self.future_ms = programme.future_minutes * MINUTE_MS
        self.activity = Weights(programme)
        self.ladders = Ladders(programme)
        self.currencies = frozenset(programme.currencies)
        self.custom_own = {name: custom.own for name, custom in programme.custom.items()}
        self.orders_ms = programme.limits.orders_days * DAY_MS
        self.orders_kept = programme.limits.orders_kept
        # A copy of a fact that says what all say costs a third of naming every field of a new one.
        entry = Ledger(
            member_id="", effective_at=0, decided_at=0, programme=number, rules=self.rules, rule="", entry="earned"
        )
        score = Score(
            member_id="", effective_at=0, decided_at=0, programme=number, rules=self.rules, score=0, activity_index=0
        )
        self.new_entry: Callable[[], Ledger] = entry.__copy__  # type: ignore[attr-defined]
        self.new_score: Callable[[], Score] = score.__copy__  # type: ignore[attr-defined]
        self._compile_daily()
        self._compile_purchase()
        self._compile_comeback()

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
        self.per_unit = purchase.per_unit
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
