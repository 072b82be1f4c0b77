"""What the programme says of tasks, the item ladder and badges; the numbers themselves stand in its file."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from schemas.actions import ACTIONS
from schemas.boards import BoardName, Period
from schemas.cel import LENGTH_MAX, condition
from schemas.part import Count, Part
from schemas.programme_text import Several


class Counted(Part):
    """Actions that a task counts: of one kind, whose fields are what `where` says.

    A field says one value, one of several, or `given`: anything but nothing. `cel` is a condition in CEL over the
    fields, to be met beside `where`; it needs the extra of that name.
    """

    action: str
    where: dict[str, str | bool | Annotated[tuple[str, ...], Field(min_length=1, strict=False)]] = Field(default={})
    cel: Annotated[str, Field(min_length=1, max_length=LENGTH_MAX)] | None = None

    @model_validator(mode="after")
    def fields_are_of_the_action(self) -> Self:
        """A misspelt field would never be what it should."""
        if self.action not in ACTIONS:
            raise ValueError(f"no such action: {self.action}; known: {', '.join(sorted(ACTIONS))}")
        fields = ACTIONS[self.action].__struct_fields__
        if unknown := [name for name in self.where if name not in fields]:
            raise ValueError(f"{self.action} has no {', '.join(unknown)}; it has {', '.join(fields)}")
        if self.cel is not None:
            try:
                condition(self.action, self.cel)
            except ValueError as error:
                raise Several([(("cel",), str(error))]) from None
        return self


class Condition(Part):
    """A part of a task: so many actions, or so much of what they say; met when `at_least` is reached.

    `count` counts actions, `amount` sums up counted amounts less refunds (minor units), `length` and `seconds` what
    the action says. `streak` is the check-ins in a row, `net_spend` is S (4.1, minor units); these count by themselves.
    """

    name: Annotated[str, Field(min_length=1, max_length=64)]
    measure: Literal["count", "amount", "length", "seconds", "streak", "net_spend"]
    of: Annotated[tuple[Counted, ...], Field(max_length=16, strict=False)] = ()
    at_least: Annotated[int, Field(ge=1, le=10**13)]

    @model_validator(mode="after")
    def what_is_counted_is_named(self) -> Self:
        """What sums up a field needs actions that have it."""
        if self.measure in STANDING:
            if self.of:
                raise ValueError(f"{self.measure} counts by itself: leave `of` away")
        elif not self.of:
            raise ValueError("say in `of` which actions count")
        for counted in self.of:
            if self.measure != "count" and self.measure not in ACTIONS[counted.action].__struct_fields__:
                raise ValueError(f"{counted.action} has no {self.measure}")
        return self


STANDING = frozenset({"streak", "net_spend"})
"""What a condition may ask that is a state of the member and no sum of actions."""


class Window(Part):
    """When the actions of a task lie: [begin, begin + hours or days), or a programme day, week or month.

    `joining` is the earliest join, for who never joined the earliest action; `first_action` is that action.
    """

    begins: Literal["joining", "first_action", "day", "week", "month"]
    hours: Annotated[int, Field(ge=1, le=24 * 366)] | None = None
    days: Annotated[int, Field(ge=1, le=366)] | None = None

    @model_validator(mode="after")
    def it_has_one_length(self) -> Self:
        """A calendar's day, week or month is as long as it is."""
        lengths = (self.hours is not None) + (self.days is not None)
        if lengths != (self.begins in ("joining", "first_action")):
            raise ValueError("hours or days for joining and first_action, neither for day, week and month")
        return self


class Reward(Part):
    """What a task that is done gives: points (base alone, no factor), a benefit promised, a badge, a mark for levels.

    `level` is the step of explorer that counts as reached, `standard` the level of which the task is a standard: both
    are read by the levels.
    """

    points: Count | None = None
    benefit: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    badge: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    level: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    standard: Annotated[str, Field(min_length=1, max_length=64)] | None = None


class Task(Part):
    """A task: done when all its conditions are met within the window.

    With `resets` it begins anew with each window: the next day, week, month, or as many days later.
    """

    title: Annotated[str, Field(min_length=1, max_length=128)]
    window: Window | None = None
    resets: bool = False
    conditions: Annotated[tuple[Condition, ...], Field(min_length=1, max_length=16, strict=False)]
    reward: Reward

    @model_validator(mode="after")
    def the_parts_fit(self) -> Self:
        """What is counted needs a window, a state of the member has none; two conditions need two names."""
        standing = {condition.measure in STANDING for condition in self.conditions}
        if len(standing) > 1:
            raise ValueError("streak and net_spend do not go with conditions that count actions")
        if standing == {self.window is not None}:
            raise ValueError("conditions that count actions need a window, streak and net_spend have none")
        if self.window is None and (self.resets or self.reward != Reward(standard=self.reward.standard)):
            raise ValueError("streak and net_spend are standards of a level: they give nothing else")
        names = [condition.name for condition in self.conditions]
        if len(set(names)) != len(names):
            raise ValueError("two conditions have the same name")
        return self


TaskName = Annotated[str, Field(min_length=1, max_length=64, pattern="^[a-z][a-z0-9_]*$")]


class BadgeIndex(Part):
    """An activity index of so much or more at so many day ends in a row."""

    at_least: Annotated[int, Field(ge=1, le=100)]
    day_ends: Annotated[int, Field(ge=1, le=50)]


class BadgeActions(Part):
    """So many actions, ever."""

    at_least: Annotated[int, Field(ge=1, le=60_000)]
    of: Annotated[tuple[Counted, ...], Field(min_length=1, max_length=16, strict=False)]


class BadgeAward(Part):
    """A place, or a better one, of a board that is final."""

    board: BoardName
    period: Period
    of: Literal["programme", "region", "group"]
    place: Annotated[int, Field(ge=1, le=100)]


class Badge(Part):
    """A badge: what gives it; without any of these a task does. A `benefit` is promised with it."""

    title: Annotated[str, Field(min_length=1, max_length=128)]
    index: BadgeIndex | None = None
    actions: BadgeActions | None = None
    award: BadgeAward | None = None
    benefit: Annotated[str, Field(min_length=1, max_length=64)] | None = None

    @model_validator(mode="after")
    def one_thing_gives_it(self) -> Self:
        """Two ways to a badge are two badges."""
        if (self.index is not None) + (self.actions is not None) + (self.award is not None) > 1:
            raise ValueError("index, actions and award are three badges")
        return self


class LadderRules(Part):
    """The item ladder: points of each rung of an item, within days of its browse; the first items of a week."""

    browse: Count
    like: Count
    comment: Count
    buy: Count
    within_days: Annotated[int, Field(ge=1, le=60)]
    items_per_week: Annotated[int, Field(ge=0, le=1000)]
    open_items: Annotated[int, Field(ge=1, le=200)]
