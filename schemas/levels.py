"""What the programme says of levels: the ladder, its standards, how one falls, and what lifts for a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from schemas.fitting import Around, Known, Wrong, fits, fits_around
from schemas.holes import said
from schemas.part import Part, Positive

LevelName = Annotated[str, Field(min_length=1, max_length=64)]


class Level(Part):
    """A level. It is a floor (of who joined, by a task, by tenure), or has standards, of which any one is enough.

    Amounts are whole units of currency. `spend_from` is reached by that much net spend, `spend_above` by more;
    `growth_from` is net spend and base points together; `streak` is check-ins in a row. `top` asks beside the spend for
    a place among those with the most community activity.
    """

    level: LevelName
    floor: Literal["joining", "tenure"] | None = None
    growth_from: Positive | None = None
    spend_from: Positive | None = None
    spend_above: Positive | None = None
    streak: Annotated[int, Field(ge=2, le=60)] | None = None
    top: bool = False

    @fits
    def it_has_a_standard_or_is_a_floor(self) -> Iterator[Wrong]:
        """A level that nobody can reach, or that is both, is a mistake."""
        standards = (self.growth_from, self.spend_from, self.spend_above, self.streak)
        if (self.floor is None) == (standards == (None,) * 4):
            yield (), "a level is a floor, or has standards: growth_from, spend_from, spend_above, streak"

    @fits
    def its_spend_is_said_once(self) -> Iterator[Wrong]:
        """At least so much, or more than so much."""
        if self.spend_from and self.spend_above:
            yield ("spend_above",), "spend_from or spend_above, not both"

    @fits
    def top_goes_with_spend(self) -> Iterator[Wrong]:
        """A place among the most active alone is no standard."""
        if self.top and not (self.spend_from or self.spend_above):
            yield ("top",), "top goes with a standard in spend"


class Pace(Part):
    """A standard in spend is met too while each of so many closed months had its share, 1 / `share`, rounded up."""

    closed_months: Annotated[int, Field(ge=1, le=12)]
    share: Annotated[int, Field(ge=1, le=100)]


class Top(Part):
    """Who is among the most active: the weights of these actions over so many days, at most a day's cap each.

    The threshold is the smallest value that at most `percent` of the members with any of them reach; it counts only if
    it was taken from `members_from` members or more.
    """

    percent: Annotated[int, Field(ge=1, le=99)]
    days: Annotated[int, Field(ge=1, le=30)]
    members_from: Positive
    actions: Annotated[
        frozenset[Literal["message", "comment", "like", "share", "live", "check_in"]], Field(strict=False, min_length=1)
    ]


class Bonus(Part):
    """Steps above the base level: one for each full `referrals` completed, one by a redeemed reward.

    They never lift beyond `up_to`. How long a reward runs is said where it is redeemed.
    """

    referrals: Positive
    referral_months: Annotated[int, Field(ge=1, le=120)]
    up_to: LevelName


class LevelRules(Part):
    """The ladder, ascending, and how it is climbed down: a step after so many day ends in a row without standard."""

    months: Annotated[int, Field(ge=1, le=12, description="programme months that spend and growth are summed over")]
    tenure_months: Annotated[int, Field(ge=0, le=120)]
    miss_days: Annotated[int, Field(ge=2, le=120)]
    warn_days: Annotated[int, Field(ge=1, le=119)]
    pace: Pace
    top: Top
    bonus: Bonus
    steps: Annotated[tuple[Level, ...], Field(min_length=2, max_length=32, strict=False)]

    @fits
    def a_level_is_there_once(self) -> Iterator[Wrong]:
        """Levels are told apart by their names."""
        names = said(self.steps, "level")
        for number, (place, name) in enumerate(names):
            if name in [before for _, before in names[:number]]:
                yield ("steps", place, "level"), f"{name} is there twice"

    @fits
    def floors_come_first(self) -> Iterator[Wrong]:
        """Those of joining, then that of tenure."""
        floors = said(self.steps, "floor")
        if len(floors) < len(self.steps):
            return
        ranks = [FLOORS.index(floor) for _, floor in floors]
        if early := [place for place, rank in enumerate(ranks) if place and rank < ranks[place - 1]]:
            yield ("steps", early[0]), "the ladder begins with its floors: those of joining, then that of tenure"
        elif ranks[0] or ranks.count(1) != 1:
            yield ("steps",), "the ladder begins with its floors: those of joining, then one of tenure"

    @fits
    def a_warning_comes_before_the_fall(self) -> Iterator[Wrong]:
        """Later nobody could do anything about it."""
        if self.warn_days >= self.miss_days:
            yield ("warn_days",), "not before miss_days"

    @fits_around
    def the_bonus_ends_at_a_level(self, around: Around) -> Iterator[Wrong]:
        """A misspelt one would lift nobody, or without end."""
        if around.levels.lacks(self.bonus.up_to):
            yield ("bonus", "up_to"), no_level(self.bonus.up_to, around.levels)


FLOORS = ("joining", "tenure", None)


def no_level(name: str, levels: Known) -> str:
    """What to say of a name that is no level."""
    return f"no such level: {name}; known: {', '.join(levels.names)}"
