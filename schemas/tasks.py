"""What the programme says of tasks, the item ladder and badges; the numbers themselves stand in its file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from schemas.actions import ACTIONS
from schemas.boards import BoardName, Period
from schemas.cel import LENGTH_MAX, condition
from schemas.fitting import Around, Wrong, fits, fits_around
from schemas.holes import said, said_of
from schemas.levels import no_level
from schemas.part import Count, OneOf, Part
from schemas.where import Said, never_said


class Counted(Part):
    """Actions that a task counts: of one kind, whose fields are what `where` says.

    A field says one value, one of several, or `given`: anything but nothing; a word like `given` is taken for a slip.
    `cel` is a condition in CEL over the fields, to be met beside `where`; it needs the extra of that name.
    """

    action: Annotated[str, OneOf("action", sorted(ACTIONS))]
    where: dict[str, Said] = Field(default={})
    cel: Annotated[str, Field(min_length=1, max_length=LENGTH_MAX)] | None = None

    @fits
    def fields_are_of_the_action(self) -> Iterator[Wrong]:
        """A misspelt field would never be what it should, nor would one with a misspelt word."""
        for name, one in self.where.items():
            for path, text in never_said(self.action, name, one):
                yield ("where", name, *path), text

    @fits
    def the_condition_is_one(self) -> Iterator[Wrong]:
        """CEL says where in the text it is wrong."""
        if self.cel is not None:
            try:
                condition(self.action, self.cel)
            except ValueError as error:
                yield ("cel",), str(error)


class Condition(Part):
    """A part of a task: so many actions, or so much of what they say; met when `at_least` is reached.

    `count` counts actions, `amount` sums up counted amounts less refunds (minor units), `length` and `seconds` what
    the action says. `streak` is the check-ins in a row, `net_spend` is S (4.1, minor units); these count by themselves.
    """

    name: Annotated[str, Field(min_length=1, max_length=64)]
    measure: Literal["count", "amount", "length", "seconds", "streak", "net_spend"]
    of: Annotated[tuple[Counted, ...], Field(max_length=16, strict=False)] = ()
    at_least: Annotated[int, Field(ge=1, le=10**13)]

    @fits
    def what_is_counted_is_named(self) -> Iterator[Wrong]:
        """What sums up a field needs actions that have it."""
        if self.measure in STANDING:
            if self.of:
                yield ("of",), f"{self.measure} counts by itself: leave `of` away"
        elif not self.of:
            yield (), "say in `of` which actions count"
        elif self.measure != "count":
            for place, action in said(self.of, "action"):
                if self.measure not in ACTIONS[action].__struct_fields__:
                    yield ("of", place, "action"), f"{action} has no {self.measure}"


STANDING = frozenset({"streak", "net_spend"})
"""What a condition may ask that is a state of the member and no sum of actions."""


class Window(Part):
    """When the actions of a task lie: [begin, begin + hours or days), or a programme day, week or month.

    `joining` is the earliest join, for who never joined the earliest action; `first_action` is that action.
    """

    begins: Literal["joining", "first_action", "day", "week", "month"]
    hours: Annotated[int, Field(ge=1, le=24 * 366)] | None = None
    days: Annotated[int, Field(ge=1, le=366)] | None = None

    @fits
    def it_has_one_length(self) -> Iterator[Wrong]:
        """A calendar's day, week or month is as long as it is."""
        lengths = (self.hours is not None) + (self.days is not None)
        if lengths != (self.begins in ("joining", "first_action")):
            yield (), "hours or days for joining and first_action, neither for day, week and month"


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

    @fits_around
    def its_level_is_there(self, around: Around) -> Iterator[Wrong]:
        """A misspelt one would never be reached."""
        if self.level is not None and around.levels.lacks(self.level):
            yield ("level",), no_level(self.level, around.floors)

    @fits_around
    def its_standard_is_of_a_level(self, around: Around) -> Iterator[Wrong]:
        """A floor has no standards."""
        if self.standard is not None and around.levels.lacks(self.standard):
            yield ("standard",), no_level(self.standard, around.levels)
        elif self.standard is not None and self.standard in around.floors.names:
            yield ("standard",), f"{self.standard} is a floor and has no standards"

    @fits_around
    def its_badge_is_there(self, around: Around) -> Iterator[Wrong]:
        """A badge that there is, and that nothing else gives."""
        if self.badge is not None and around.badges.lacks(self.badge):
            yield ("badge",), f"no such badge: {self.badge}; known: {', '.join(around.badges.names)}"
        elif self.badge is not None and around.free_badges.lacks(self.badge):
            yield ("badge",), f"{self.badge} is given by its index, actions or award: a task cannot give it too"


class Task(Part):
    """A task: done when all its conditions are met within the window.

    With `resets` it begins anew with each window: the next day, week, month, or as many days later.
    """

    title: Annotated[str, Field(min_length=1, max_length=128)]
    window: Window | None = None
    resets: bool = False
    conditions: Annotated[tuple[Condition, ...], Field(min_length=1, max_length=16, strict=False)]
    reward: Reward

    @fits
    def conditions_and_window_fit(self) -> Iterator[Wrong]:
        """What is counted needs a window, a state of the member has none."""
        measures = said(self.conditions, "measure")
        standing = {measure in STANDING for _, measure in measures}
        if len(standing) > 1:
            yield ("conditions",), "streak and net_spend do not go with conditions that count actions"
        elif len(measures) == len(self.conditions) and standing == {self.window is not None}:
            at = () if self.window is None else ("window",)
            yield at, "conditions that count actions need a window, streak and net_spend have none"

    @fits
    def a_state_gives_a_standard_alone(self) -> Iterator[Wrong]:
        """Streak and net spend come and go: nothing can be given for them once."""
        if any(measure not in STANDING for _, measure in said(self.conditions, "measure")) or self.window is not None:
            return
        for name, value in said_of(self.reward, "points", "benefit", "badge", "level"):
            if value is not None:
                yield ("reward", name), "streak and net_spend are standards of a level: they give nothing else"
        if self.resets:
            yield ("resets",), "streak and net_spend begin anew by themselves"

    @fits
    def a_task_that_begins_anew_gives_no_badge(self) -> Iterator[Wrong]:
        """A badge is given once."""
        if self.reward.badge is not None and self.resets:
            yield ("reward", "badge"), "a badge is given once, by a task without resets"

    @fits
    def conditions_have_names_of_their_own(self) -> Iterator[Wrong]:
        """Progress is told by them."""
        names = said(self.conditions, "name")
        for number, (place, name) in enumerate(names):
            if name in [before for _, before in names[:number]]:
                yield ("conditions", place, "name"), "two conditions have the same name"


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

    @fits
    def one_thing_gives_it(self) -> Iterator[Wrong]:
        """Two ways to a badge are two badges."""
        if (self.index is not None) + (self.actions is not None) + (self.award is not None) > 1:
            yield (), "index, actions and award are three badges"


class LadderRules(Part):
    """The item ladder: points of each rung of an item, within days of its browse; the first items of a week."""

    browse: Count
    like: Count
    comment: Count
    buy: Count
    within_days: Annotated[int, Field(ge=1, le=60)]
    items_per_week: Annotated[int, Field(ge=0, le=1000)]
    open_items: Annotated[int, Field(ge=1, le=200)]
