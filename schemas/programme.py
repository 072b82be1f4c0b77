"""The programme: every business number, as growth teams write it in YAML, checked with line and column.

Code holds no number of the business; a number that shapes a decision but is technical (wake cap, block size) stands
here too, since a replay must decide with the same one. The text goes into the log whole; workers parse it from there.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from schemas.actions import ACTIONS, OWN_IF
from schemas.earning import EARNERS, CampaignRule
from schemas.earning import CustomAction as CustomAction
from schemas.earning import FactorRules as FactorRules
from schemas.earning import PointRules as PointRules
from schemas.fraud import FraudRules
from schemas.levels import LevelRules
from schemas.member import DAY_COUNTS, DAY_WEIGHTS
from schemas.overlays import Found, Name, Overridable, Overrides, Pilot, PilotName, wrong
from schemas.part import Days, Positive
from schemas.part import Part as Part
from schemas.programme_text import ProgrammeError as ProgrammeError
from schemas.programme_text import Several, Text, load
from schemas.tasks import Badge, LadderRules, Task, TaskName
from schemas.warnings import ActivityWarning, MoodWarning, PathWarning, RhythmWarning, ValueWarning
from schemas.zones import zone as zone_of
from schemas.zones import zones

RULES = (1,)
"""The versions of what the code computes that this code knows; a programme names one of them."""

FUTURE_MINUTES_MAX = 20 * 60
HORIZON_MAX = DAY_COUNTS - 2
"""Caps are counted for `DAY_COUNTS` programme days. An action may come `HORIZON_MAX` x 24 h late, and the newest one
that is known may lie `FUTURE_MINUTES_MAX` ahead; with the hours by which a zone's clocks are put forward (three at
most, but for the few that crossed the date line) that is at most a day more, and it need not begin at a day's start."""


class ActivityRules(Part):
    """The activity score: weights in thousandths, a cap per day, a half-life, the index's half point.

    A weight halves every `half_life_days` and is forgotten after `days`, for so many of which a member's
    state has room.
    """

    weights: dict[str, Annotated[int, Field(ge=0, le=30_000)]]
    day_cap: Annotated[int, Field(ge=1, le=65_535, description="thousandths")]
    half_life_days: Annotated[int, Field(ge=1)]
    days: Annotated[int, Field(ge=1, le=DAY_WEIGHTS)]
    index_half: Annotated[int, Field(ge=1, description="thousandths at which the index is 50")]

    @field_validator("weights")
    @classmethod
    def names_are_known(cls, value: dict[str, int]) -> dict[str, int]:
        """Weights name actions, or message kinds (chat, question, answer, experience)."""
        unknown = sorted(value.keys() - WEIGHED)
        if unknown:
            raise ValueError(f"no such action: {', '.join(unknown)}; known: {', '.join(sorted(WEIGHED))}")
        return value

    @field_validator("days")
    @classmethod
    def a_half_life_fits(cls, value: int, info: ValidationInfo) -> int:
        """What is forgotten before it has halved would not decay, it would drop."""
        if value < info.data.get("half_life_days", 0):
            raise ValueError("fewer than half_life_days")
        return value


WEIGHED = frozenset(
    """
    login check_in chat question answer experience share comment like live purchase browse add_to_cart
    """.split()
)


class Step(Part):
    """A tier of a ladder, entered when `after_days` have passed."""

    tier: str
    after_days: Annotated[int, Field(ge=1, le=4000)]


TIERS = (
    *("blue", "yellow", "red", "value", "rhythm", "light", "L1"),
    *("mood", "medium", "L2", "path", "L3", "heavy", "lost"),
)
"""Every tier the code knows, numbered from 1 in the state: the order never changes, new ones go last."""

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
    gravity: Annotated[tuple[str, ...], Field(strict=False)]

    @field_validator("presence", "buying")
    @classmethod
    def ladders_climb(cls, value: tuple[Step, ...]) -> tuple[Step, ...]:
        """Each ladder's limits ascend."""
        pairs = enumerate(itertools.pairwise(value), 1)
        if late := [place for place, (step, following) in pairs if following.after_days <= step.after_days]:
            raise Several([((place, "after_days"), "must ascend from step to step") for place in late])
        return value

    @field_validator("gravity")
    @classmethod
    def every_tier_has_one_gravity(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        """Names are known, each stands once, and every tier of a ladder does."""
        wrong: list[tuple[tuple[str | int, ...], str]] = []
        if unknown := [name for name in dict.fromkeys(value) if name not in TIERS]:
            wrong.append(((), f"no such tier: {', '.join(unknown)}; known: {', '.join(TIERS)}"))
        wrong += [((place,), f"{name} is named twice") for place, name in enumerate(value) if name in value[:place]]
        steps = [step.tier for ladder in ("presence", "buying") for step in info.data.get(ladder, ())]
        wrong += [((), f"{tier} is missing in gravity") for tier in (*steps, *BESIDE.values()) if tier not in value]
        if wrong:
            raise Several(wrong)
        return value


class PresenceRules(Part):
    """Which own actions end silence as the presence tiers mean it; without any of this, all do."""

    actions: Annotated[tuple[str, ...], Field(min_length=1, strict=False)] | None = None

    @field_validator("actions")
    @classmethod
    def names_are_of_own_actions(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """What is never the member's own act ends no silence."""
        if unknown := [name for name in value or () if name not in MAY_BE_OWN]:
            raise ValueError(f"no such own action: {', '.join(unknown)}; known: {', '.join(MAY_BE_OWN)}")
        return value


MAY_BE_OWN = tuple(name for name, kind in ACTIONS.items() if kind.own or kind in OWN_IF)


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

    @field_validator("core")
    @classmethod
    def core_is_above(cls, value: int, info: ValidationInfo) -> int:
        """Core members are high-value ones too."""
        if value < info.data.get("high", 0):
            raise ValueError("below high")
        return value

    @field_validator("abc")
    @classmethod
    def b_has_a_share(cls, value: tuple[int, int]) -> tuple[int, int]:
        """The second share holds the first."""
        if value[1] <= value[0]:
            raise ValueError("not above the share of class A")
        return value


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


class Programme(Part):
    """One version of the rules in force."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    rules: int
    zone: str
    day_starts_at: Annotated[int, Field(ge=0, le=23, description="hour at which the programme day starts")]
    currencies: Annotated[tuple[str, ...], Field(min_length=1, strict=False)]
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

    @field_validator("rules")
    @classmethod
    def rules_are_known(cls, value: int) -> int:
        """Code holds the branch of each version it knows, no other."""
        if value not in RULES:
            raise ValueError(f"this release knows rules {', '.join(map(str, RULES))}")
        return value

    @field_validator("zone")
    @classmethod
    def zone_exists(cls, value: str) -> str:
        """A zone that only this machine knows would halt every partition."""
        if value not in zones():
            raise ValueError("not an IANA zone such as Asia/Shanghai")
        return value

    @field_validator("custom")
    @classmethod
    def custom_names_are_its_own(cls, value: dict[str, CustomAction]) -> dict[str, CustomAction]:
        """A campaign names actions of both kinds: each name is one action."""
        if taken := [name for name in value if name in ACTIONS]:
            raise Several([((name,), f"{name} is an action already: choose another name") for name in taken])
        return value

    @field_validator("points")
    @classmethod
    def campaigns_fit(cls, value: PointRules, info: ValidationInfo) -> PointRules:
        """Campaigns name actions that there are, and those of capped ones are whole days."""
        custom, zone, hour = (info.data.get(name) for name in ("custom", "zone", "day_starts_at"))
        if custom is None or zone is None or hour is None:
            return value  # told there
        campaigns = value.factors.campaigns
        if wrong := [*_unknown_in(campaigns, custom), *_within_days(campaigns, zone, dt.time(hour))]:
            raise Several(wrong)
        return value

    @field_validator("badges")
    @classmethod
    def badges_fit(cls, value: dict[str, Badge], info: ValidationInfo) -> dict[str, Badge]:
        """A task gives a badge that there is and that nothing else gives, once; one badge goes by the index."""
        wrong: list[tuple[tuple[str | int, ...], str]] = []
        givers: dict[str, str] = {}
        for name, task in info.data.get("tasks", {}).items():
            given = value.get(task.reward.badge or "")
            if task.reward.badge and (given is None or given.index or given.actions or given.award or task.resets):
                wrong.append(((), f"task {name}: no badge {task.reward.badge} that a task gives once"))
            if task.reward.badge and (other := givers.setdefault(task.reward.badge, name)) != name:
                wrong.append(((), f"task {name}: the badge {task.reward.badge} is given by task {other} already"))
        if sum(badge.index is not None for badge in value.values()) > 1:
            wrong.append(((), "badges: one badge may go by the index"))
        if wrong:
            raise Several(wrong)
        return value


def _unknown_in(campaigns: Sequence[CampaignRule], custom: Mapping[str, CustomAction]) -> Found:
    """Names of campaigns that are no action: a misspelt one would never be multiplied."""
    known = (*EARNERS, *custom)
    return [
        (("factors", "campaigns", place, "actions", number), f"no such action: {name}; known: {', '.join(known)}")
        for place, campaign in enumerate(campaigns)
        for number, name in enumerate(campaign.actions)
        if name not in known
    ]


def _within_days(campaigns: Sequence[CampaignRule], zone: str, start: dt.time) -> Found:
    """Campaigns of capped actions that begin or end within a day.

    Which of a day's actions a cap pays depends on their order, so all of them must earn the same. Purchases have no
    cap: campaigns of nothing else begin and end at any moment.
    """
    what = f"not {start:%H:%M} in {zone}, when a day starts; purchases alone may do otherwise"
    return [
        (("factors", "campaigns", place, name), what)
        for place, campaign in enumerate(campaigns)
        if set(campaign.actions) != {"purchase"}
        for name in ("begins", "ends")
        if getattr(campaign, name).astimezone(zone_of(zone)).time() != start
    ]


def parse(text: str, name: str = "programme") -> Programme:
    """The programme a text describes. Raises `ProgrammeError` with every error found, not the first alone."""
    read = load(text, name)
    if not isinstance(read.tree, dict):
        raise ProgrammeError([(1, 1, "$", "a programme is a mapping; begin with `name:`")], name)
    found = [*errors(read.plain), *wrong(read.plain, errors)]
    if found or read.twice:
        raise ProgrammeError(sorted({*read.twice, *(_placed(read, path, words) for path, words in found)}), name)
    return Programme.model_validate(read.plain)


def errors(plain: Mapping[str, Any]) -> Found:
    """What is wrong with the values of a programme, each with its path; overlays and pilots aside."""
    try:
        Programme.model_validate(plain)
    except ValidationError as error:
        told = error.errors()
        return [one for it in told if not _follows(it, told) for one in _told(it)]
    return []


def _follows(error: Any, told: Sequence[Any]) -> bool:
    """Whether a list is too short only because what stands in it is wrong, which is told there."""
    at = error["loc"]
    return error["type"] == "too_short" and any(len(at) < len(it["loc"]) and it["loc"][: len(at)] == at for it in told)


def _told(error: Any) -> Found:
    """One error of pydantic, which may be several of ours."""
    several = error.get("ctx", {}).get("error")
    if isinstance(several, Several):
        return [((*error["loc"], *path), text) for path, text in several.errors]
    return [(error["loc"], _words(error))]


def _placed(read: Text, path: tuple[str | int, ...], words: str) -> tuple[int, int, str, str]:
    return (*read.place(path), ".".join(map(str, path)) or "$", words)


def _words(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "no such name here"
    return str(error["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")


def json_schema() -> dict[str, Any]:
    """The form of the programme file for editors (JSON Schema 2020-12); what values say together is not in it."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "urn:memberflow:programme"}
    return {**head, **Programme.model_json_schema()}
