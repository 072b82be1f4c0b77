"""The programme: every business number, as growth teams write it in YAML, checked with line and column.

Code holds no number of the business; a number that shapes a decision but is technical (wake cap, block size) stands
here too, since a replay must decide with the same one. The text goes into the log whole; workers parse it from there.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, model_validator

from schemas.actions import ACTIONS, OWN_IF
from schemas.around import around
from schemas.earning import CustomAction as CustomAction
from schemas.earning import FactorRules as FactorRules
from schemas.earning import PointRules as PointRules
from schemas.fitting import Wrong, fits, misfits
from schemas.form import form
from schemas.fraud import FraudRules
from schemas.holes import HOLES, said, said_of, sure
from schemas.levels import LevelRules
from schemas.member import DAY_COUNTS, DAY_WEIGHTS
from schemas.overlays import Name, Overridable, Overrides, Pilot, PilotName, wrong
from schemas.part import Days, OneOf, Positive
from schemas.part import Part as Part
from schemas.programme_text import Found, Several, Text, load
from schemas.programme_text import ProgrammeError as ProgrammeError
from schemas.spelling import Spelt, spelt
from schemas.tasks import Badge, LadderRules, Task, TaskName
from schemas.warnings import ActivityWarning, MoodWarning, PathWarning, RhythmWarning, ValueWarning
from schemas.zones import zones

RULES = (1,)
"""The versions of what the code computes that this code knows; a programme names one of them."""

FUTURE_MINUTES_MAX = 20 * 60
HORIZON_MAX = DAY_COUNTS - 2
"""Caps are counted for `DAY_COUNTS` programme days. An action may come `HORIZON_MAX` x 24 h late, and the newest one
that is known may lie `FUTURE_MINUTES_MAX` ahead; with the hours by which a zone's clocks are put forward (three at
most, but for the few that crossed the date line) that is at most a day more, and it need not begin at a day's start."""


WEIGHED = frozenset(
    """
    login check_in chat question answer experience share comment like live purchase browse add_to_cart
    """.split()
)
"""Actions, or kinds of messages (chat, question, answer, experience), that may have a weight."""


class ActivityRules(Part):
    """The activity score: weights in thousandths, a cap per day, a half-life, the index's half point.

    A weight halves every `half_life_days` and is forgotten after `days`, for so many of which a member's
    state has room.
    """

    weights: dict[Annotated[str, OneOf("action", sorted(WEIGHED))], Annotated[int, Field(ge=0, le=30_000)]]
    day_cap: Annotated[int, Field(ge=1, le=65_535, description="thousandths")]
    half_life_days: Annotated[int, Field(ge=1)]
    days: Annotated[int, Field(ge=1, le=DAY_WEIGHTS)]
    index_half: Annotated[int, Field(ge=1, description="thousandths at which the index is 50")]

    @fits
    def a_half_life_fits(self) -> Iterator[Wrong]:
        """What is forgotten before it has halved would not decay, it would drop."""
        if self.days < self.half_life_days:
            yield ("days",), "fewer than half_life_days"


TIERS = (
    *("blue", "yellow", "red", "value", "rhythm", "light", "L1"),
    *("mood", "medium", "L2", "path", "L3", "heavy", "lost"),
)
"""Every tier the code knows, numbered from 1 in the state: the order never changes, new ones go last."""

Tier = Annotated[str, OneOf("tier", TIERS)]


class Step(Part):
    """A tier of a ladder, entered when `after_days` have passed."""

    tier: Tier
    after_days: Annotated[int, Field(ge=1, le=4000)]


Ladder = Annotated[tuple[Step, ...], Field(min_length=1, max_length=16, strict=False)]

BESIDE = {"activity": "blue", "mood": "mood", "path": "path", "value": "value", "rhythm": "rhythm"}
"""The tier of each dimension that is no ladder, numbered from 1 in the state: new ones go last."""


class TierRules(Part):
    """The warning tiers: ladders by silence and by time since the last purchase, others beside them; gravity."""

    presence: Ladder
    buying: Ladder
    activity: ActivityWarning
    mood: MoodWarning
    path: PathWarning
    value: ValueWarning
    rhythm: RhythmWarning
    gravity: Annotated[tuple[Tier, ...], Field(strict=False)]

    @fits
    def ladders_climb(self) -> Iterator[Wrong]:
        """Each ladder's limits ascend."""
        for name, ladder in said_of(self, "presence", "buying"):
            for (_, before), (place, days) in itertools.pairwise(said(ladder, "after_days")):
                if days <= before:
                    yield (name, place, "after_days"), "must ascend from step to step"

    @fits
    def every_tier_has_one_gravity(self) -> Iterator[Wrong]:
        """Each stands once, and every tier of a ladder does; if one is misspelt, that is told alone."""
        named = sure(self.gravity)
        for number, (place, tier) in enumerate(named):
            if tier in [before for _, before in named[:number]]:
                yield ("gravity", place), f"{tier} is named twice"
        if len(named) == len(self.gravity):
            ladders = [ladder for _, ladder in said_of(self, "presence", "buying")]
            steps = [tier for ladder in ladders for _, tier in said(ladder, "tier")]
            for tier in dict.fromkeys((*steps, *BESIDE.values())):
                if tier not in self.gravity:
                    yield ("gravity",), f"{tier} is missing in gravity"


MAY_BE_OWN = tuple(name for name, kind in ACTIONS.items() if kind.own or kind in OWN_IF)
"""What is never the member's own act ends no silence."""
OwnAction = Annotated[str, OneOf("own action", MAY_BE_OWN)]


class PresenceRules(Part):
    """Which own actions end silence as the presence tiers mean it; without any of this, all do."""

    actions: Annotated[tuple[OwnAction, ...], Field(min_length=1, strict=False)] | None = None


class OrderRules(Part):
    """How long, and how many of, a member's orders are known by their `order_id`."""

    days: Days
    kept: Annotated[int, Field(ge=1, le=1_000)]


class ValueRules(Part):
    """Who is high-value and who core: by the mean net spend of the last closed months, in whole units of currency.

    `abc`: what percent of all spend class A has, and A and B together.
    """

    months: Annotated[int, Field(ge=1, le=12)]
    high: Positive
    core: Positive
    abc: tuple[Annotated[int, Field(ge=1, le=99)], Annotated[int, Field(ge=1, le=100)]] = Field(strict=False)

    @fits
    def core_is_above(self) -> Iterator[Wrong]:
        """Core members are high-value ones too."""
        if self.core < self.high:
            yield ("core",), "below high"

    @fits
    def b_has_a_share(self) -> Iterator[Wrong]:
        """The second share holds the first."""
        if self.abc[1] <= self.abc[0]:
            yield ("abc", 1), "not above the share of class A"


class BoardRules(Part):
    """Boards: how many places, how many messages of a day count, how long they take late actions, who gets an award."""

    places: Annotated[int, Field(ge=1, le=1_000)]
    messages_per_day: Annotated[int, Field(ge=1, le=1_000)]
    settle_days: Annotated[int, Field(ge=0, le=13)]
    awarded_places: Annotated[int, Field(ge=0, le=1_000)]


class EchoRules(Part):
    """Answers to what a member wrote: the days for which they are counted, and the members who are told apart."""

    days: Annotated[int, Field(ge=1, le=400)]
    members: Annotated[int, Field(ge=1, le=100)]


class Limits(Part):
    """Technical numbers that shape decisions: a replay must decide with the same ones, so the file names them all."""

    wakes_per_record: Annotated[int, Field(ge=1, le=100_000)]
    sweep_per_record: Annotated[int, Field(ge=1, le=10_000)]
    bucket_offsets: Annotated[int, Field(ge=1, le=1_000_000)]
    block_offsets: Annotated[int, Field(ge=1_000, le=10_000_000)]
    task_rows: Annotated[int, Field(ge=0, le=100)]
    ladder_rows: Annotated[int, Field(ge=2, le=200)]
    case_rows: Annotated[int, Field(ge=1, le=200)]
    rule_letters: Annotated[int, Field(ge=0, le=1_000)]
    rule_window_offsets: Annotated[int, Field(ge=100)]


def _known_rules(value: int) -> int:
    """Code holds the branch of each version it knows, no other."""
    if value not in RULES:
        raise ValueError(f"this release knows rules {', '.join(map(str, RULES))}")
    return value


def _zone(value: str) -> str:
    """A zone that only this machine knows would halt every partition."""
    if value not in zones():
        raise ValueError("not an IANA zone such as Asia/Shanghai")
    return value


Code = Annotated[str, Field(pattern="^[A-Z]{3}$")]


class Programme(Part):
    """One version of the rules in force."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    rules: Annotated[int, AfterValidator(_known_rules)]
    zone: Annotated[str, AfterValidator(_zone)]
    day_starts_at: Annotated[int, Field(ge=0, le=23, description="hour at which the programme day starts")]
    currencies: Annotated[tuple[Code, ...], Field(min_length=1, strict=False)]
    minor_units: Annotated[int, Field(ge=1, le=1000)]
    horizon_days: Annotated[int, Field(ge=1, le=HORIZON_MAX)]
    future_minutes: Annotated[int, Field(ge=0, le=FUTURE_MINUTES_MAX)]
    orders: OrderRules
    custom: dict[str, CustomAction] = Field(default={})
    points: PointRules
    activity: ActivityRules
    tiers: TierRules
    value: ValueRules
    presence: PresenceRules = PresenceRules()
    tasks: Annotated[dict[TaskName, Task], Field(max_length=100)]
    ladder: LadderRules
    badges: Annotated[dict[TaskName, Badge], Field(max_length=100)]
    boards: BoardRules
    echoes: EchoRules
    overridable: Overridable
    overlays: Annotated[dict[Name, Overrides], Field(max_length=40)] = Field(default={})
    pilots: Annotated[dict[PilotName, Pilot], Field(max_length=4)] = Field(default={})
    fraud: FraudRules
    levels: LevelRules
    limits: Limits

    @fits
    def custom_names_are_its_own(self) -> Iterator[Wrong]:
        """A campaign names actions of both kinds: each name is one action."""
        for name in self.custom:
            if name in ACTIONS:
                yield ("custom", name), f"{name} is an action already: choose another name"

    @fits
    def one_badge_goes_by_the_index(self) -> Iterator[Wrong]:
        """A member's state counts the day ends of one."""
        names = list(self.badges)
        by_index = [names[place] for place, index in said(self.badges.values(), "index") if index is not None]
        for name in by_index[1:]:
            yield ("badges", name, "index"), f"one badge may go by the index, and {by_index[0]} does"

    @fits
    def a_badge_is_given_by_one_task(self) -> Iterator[Wrong]:
        """With two, the one that is not done any more would take what the other gave."""
        names, givers = list(self.tasks), dict[str, str]()
        for place, reward in said(self.tasks.values(), "reward"):
            for _, badge in said_of(reward, "badge"):
                if badge is not None and (other := givers.setdefault(badge, names[place])) != names[place]:
                    yield ("tasks", names[place], "reward", "badge"), f"{badge} is given by task {other} already"

    @model_validator(mode="after")
    def its_parts_fit(self, info: ValidationInfo) -> Self:
        """Raises `Several` for parts that do not go together; with holes, nothing."""
        if info.context is not HOLES and (found := list(misfits(self, around(self)))):
            raise Several(found)
        return self


def parse(text: str, name: str = "programme") -> Programme:
    """The programme a text describes. Raises `ProgrammeError` with every error, each at its place.

    Of what is no YAML the first is told, of a name said twice what is wrong with the value that counts.
    """
    read = load(text, name)
    if not isinstance(read.tree, dict):
        raise ProgrammeError([(1, 1, "$", "a programme is a mapping; begin with `name:`")], name)
    found = errors(read.plain)
    if found or read.twice:
        raise ProgrammeError(sorted({*read.twice, *(_placed(read, path, words) for path, words in found)}), name)
    return Programme.model_validate(read.plain)


def errors(plain: Mapping[str, Any]) -> Found:
    """All that is wrong with the values of a programme, overlays and pilots included, each with its path."""
    try:
        Programme.model_validate(plain)
        meant = Spelt(dict(plain), {})
    except ValidationError:
        meant = spelt(plain, _read)
    alone = _checked(meant.plain)
    found = [*meant.wrong(), *alone, *wrong(meant.plain, alone, _checked)]
    return list(dict.fromkeys((meant.written(path), words) for path, words in found))


def _read(plain: dict[str, Any], context: Any) -> None:
    """Read values for what that does in a context: `errors` says what is wrong with them."""
    with contextlib.suppress(ValidationError):
        Programme.model_validate(plain, context=context)


def _checked(plain: Mapping[str, Any]) -> Found:
    """What is wrong with the values themselves, overlays and pilots aside."""
    try:
        Programme.model_validate(plain)
    except ValidationError as error:
        holed = Programme.model_validate(plain, context=HOLES)
        return [*form(error.errors()), *misfits(holed, around(holed))]
    return []


def _placed(read: Text, path: tuple[str | int, ...], words: str) -> tuple[int, int, str, str]:
    return (*read.place(path), ".".join(map(str, path)) or "$", words)


def json_schema() -> dict[str, Any]:
    """The form of the programme file for editors (JSON Schema 2020-12); what values say together is not in it."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "urn:memberflow:programme"}
    return {**head, **Programme.model_json_schema()}
