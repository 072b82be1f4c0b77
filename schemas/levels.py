"""What the programme says of levels: the ladder, its standards, how one falls, and what lifts for a time."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

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

    @model_validator(mode="after")
    def it_has_a_standard_or_is_a_floor(self) -> Self:
        """A level that nobody can reach, or that is both, is a mistake."""
        standards = (self.growth_from, self.spend_from, self.spend_above, self.streak)
        if (self.floor is None) == (standards == (None,) * 4):
            raise ValueError("a level is a floor, or has standards: growth_from, spend_from, spend_above, streak")
        if self.spend_from and self.spend_above:
            raise ValueError("spend_from or spend_above, not both")
        if self.top and not (self.spend_from or self.spend_above):
            raise ValueError("top goes with a standard in spend")
        return self


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

    @model_validator(mode="after")
    def the_ladder_climbs(self) -> Self:
        """Floors come first, names are there once, a warning comes before the fall."""
        names = [step.level for step in self.steps]
        if len(set(names)) != len(names):
            raise ValueError("a level is there twice")
        floors = [step.floor for step in self.steps if step.floor]
        if [step.floor for step in self.steps[: len(floors)]] != floors or floors != sorted(floors) or not floors:
            raise ValueError("the ladder begins with its floors: those of joining, then that of tenure")
        if floors.count("tenure") != 1 or floors[0] != "joining":
            raise ValueError("one floor of tenure after those of joining")
        if self.warn_days >= self.miss_days:
            raise ValueError("warn_days: before miss_days")
        if self.bonus.up_to not in names:
            raise ValueError(f"bonus.up_to: no such level: {self.bonus.up_to}")
        return self
