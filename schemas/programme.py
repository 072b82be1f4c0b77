"""The programme: every business number, as growth teams write it in YAML, checked with line and column.

Code holds no number of the business; a number that shapes a decision but is technical (wake cap, block size) stands
here too, since a replay must decide with the same one. The text goes into the log whole; workers parse it from there.
"""

from __future__ import annotations

import io
import zoneinfo
from collections.abc import Sequence
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.reader import ReaderError

RULES = (1,)
"""The versions of what the code computes that this code knows; a programme names one of them."""

DEPTH_MAX = 100
"""Brackets open at once, or columns a line is indented by, before a text is refused unread."""

Count = Annotated[int, Field(ge=0, le=10**9)]
Positive = Annotated[int, Field(ge=1, le=10**9)]
Days = Annotated[int, Field(ge=0, le=4000)]


class Part(BaseModel):
    """A part of the programme: unknown names are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class StreakFactor(Part):
    """From the n-th day in a row the check-in counts `factor` times."""

    from_day: Annotated[int, Field(ge=2, le=60)]
    factor: Annotated[int, Field(ge=1, le=4)]


class CheckInPoints(Part):
    """Points of the day's first check-in."""

    points: Count
    streak: StreakFactor


class MessagePoints(Part):
    """Points of the first messages of a day that are long enough."""

    points: Count
    per_day: Annotated[int, Field(ge=0, le=255)]
    length_min: Count


class SharePoints(Part):
    """Points of the first shares of a day."""

    points: Count
    per_day: Annotated[int, Field(ge=0, le=255)]


class PurchasePoints(Part):
    """Points per whole unit of currency of the counted amount, floored; pending for the return window."""

    per_unit: Annotated[int, Field(ge=0, le=1000)]
    pending_days: Days
    excluded_categories: Annotated[frozenset[str], Field(strict=False)] = frozenset()


class ComebackPoints(Part):
    """Points of the first own action after a long silence."""

    points: Count
    after_days: Annotated[int, Field(ge=1, le=4000)]
    per_year: Annotated[int, Field(ge=0, le=255)]


class PointRules(Part):
    """What earns points."""

    check_in: CheckInPoints
    message: MessagePoints
    share: SharePoints
    purchase: PurchasePoints
    comeback: ComebackPoints


class CustomAction(Part):
    """An action that the programme declares by name; others are refused."""

    weight: Annotated[int, Field(ge=0, le=30_000, description="thousandths")] = 0
    own: bool = True


class ActivityRules(Part):
    """The activity score: weights in thousandths, a cap per day, a half-life in days, the index's half point."""

    weights: dict[str, Annotated[int, Field(ge=0, le=30_000)]]
    day_cap: Annotated[int, Field(ge=1, le=65_535, description="thousandths")]
    half_life_days: Annotated[int, Field(ge=1, le=57)]
    index_half: Annotated[int, Field(ge=1, description="thousandths at which the index is 50")]

    @field_validator("weights")
    @classmethod
    def names_are_known(cls, value: dict[str, int]) -> dict[str, int]:
        """Weights name actions, or message kinds (chat, question, answer, experience)."""
        unknown = sorted(value.keys() - WEIGHED)
        if unknown:
            raise ValueError(f"no such action: {', '.join(unknown)}; known: {', '.join(sorted(WEIGHED))}")
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


class TierRules(Part):
    """The warning tiers: ladders by silence and by time since the last purchase; gravity, ascending."""

    presence: Ladder
    buying: Ladder
    gravity: Annotated[tuple[str, ...], Field(strict=False)]

    @model_validator(mode="after")
    def ladders_climb(self) -> Self:
        """Each ladder's limits ascend, and every tier has a gravity."""
        for name, ladder in (("presence", self.presence), ("buying", self.buying)):
            limits = [step.after_days for step in ladder]
            if limits != sorted(set(limits)):
                raise ValueError(f"{name}: after_days must ascend from step to step")
            for step in ladder:
                if step.tier not in self.gravity:
                    raise ValueError(f"{name}: {step.tier} is missing in gravity")
        unknown = sorted(set(self.gravity) - set(TIERS))
        if unknown:
            raise ValueError(f"no such tier: {', '.join(unknown)}; known: {', '.join(TIERS)}")
        if len(set(self.gravity)) != len(self.gravity):
            raise ValueError("gravity names a tier twice")
        return self


class Limits(Part):
    """Technical numbers that shape decisions. What a file leaves out is frozen per number of `rules`, like code."""

    wakes_per_record: Annotated[int, Field(ge=1, le=100_000)] = 2_000
    sweep_per_record: Annotated[int, Field(ge=1, le=10_000)] = 20
    bucket_offsets: Annotated[int, Field(ge=1, le=1_000_000)] = 1_000
    block_offsets: Annotated[int, Field(ge=1_000, le=10_000_000)] = 100_000
    orders_kept: Annotated[int, Field(ge=1, le=1_000)] = 200
    orders_days: Days = 180
    rule_letters: Annotated[int, Field(ge=0, le=1_000)] = 10
    rule_window_offsets: Annotated[int, Field(ge=100)] = 10_000


class Programme(Part):
    """One version of the rules in force."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    rules: int
    zone: str
    day_starts_at: Annotated[int, Field(ge=0, le=23, description="hour at which the programme day starts")] = 0
    currencies: Annotated[tuple[str, ...], Field(min_length=1, strict=False)]
    minor_units: Annotated[int, Field(ge=1, le=1000)] = 100
    horizon_days: Annotated[int, Field(ge=1, le=31)]
    future_minutes: Annotated[int, Field(ge=0, le=1440)]
    points: PointRules
    activity: ActivityRules
    tiers: TierRules
    custom: dict[str, CustomAction] = {}
    limits: Limits = Limits()

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
        """An IANA zone of the pinned tzdata."""
        try:
            zoneinfo.ZoneInfo(value)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError):
            raise ValueError("not an IANA zone such as Asia/Shanghai") from None
        return value


class ProgrammeError(ValueError):
    """A programme that can't be used: each error with line, column, path and what is wrong."""

    def __init__(self, errors: Sequence[tuple[int, int, str, str]], name: str = "programme") -> None:
        self.errors = list(errors)
        self.unknown_rules = any(path == "rules" for _, _, path, _ in self.errors)
        super().__init__("\n".join(f"{name}:{line}:{col}: {path}: {text}" for line, col, path, text in self.errors))


def parse(text: str, name: str = "programme") -> Programme:
    """The programme a text describes. Raises `ProgrammeError` with every error found, not the first alone."""
    tree, plain = _load(text, name)
    if not isinstance(tree, dict):
        raise ProgrammeError([(1, 1, "$", "a programme is a mapping; begin with `name:`")], name)
    try:
        return Programme.model_validate(plain)
    except ValidationError as error:
        found = [(*_place(tree, e["loc"]), ".".join(map(str, e["loc"])) or "$", _words(e)) for e in error.errors()]
        raise ProgrammeError(sorted(found), name) from None


def _load(text: str, name: str) -> tuple[Any, Any]:
    """The text's tree with its places, and the same as plain values."""
    if _depth(text) > DEPTH_MAX:
        raise ProgrammeError([(1, 1, "$", f"nested deeper than {DEPTH_MAX}")], name)
    try:
        tree = YAML(typ="rt", pure=True).load(io.StringIO(text))
        return tree, _plain(tree)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        at = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise ProgrammeError([(*at, "$", error.problem or "not YAML")], name) from None
    except ReaderError as error:
        before = text[: error.position]
        at = (before.count("\n") + 1, len(before) - before.rfind("\n"))
        raise ProgrammeError([(*at, "$", "this character is not allowed")], name) from None
    except RecursionError:
        raise ProgrammeError([(1, 1, "$", "an alias leads back to itself")], name) from None
    except Exception as error:  # noqa: BLE001 - a scalar ruamel cannot build: dates, huge numbers, odd tags
        raise ProgrammeError([(1, 1, "$", f"not YAML: {str(error)[:100]}")], name) from None


def _depth(text: str) -> int:
    """A bound on how deep the text nests, so that no answer depends on how much stack the caller left."""
    level = deepest = 0
    for line in text.splitlines():
        level += line.count("[") + line.count("{")
        deepest = max(deepest, level, len(line) - len(line.lstrip(" -")))
        level -= line.count("]") + line.count("}")
    return deepest


def _words(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "no such name here"
    return str(error["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")


def _plain(node: Any) -> Any:
    """ruamel's round-trip nodes as plain values, so that strict types are what the file says."""
    if isinstance(node, dict):
        return {str(k): _plain(v) for k, v in node.items()}
    if isinstance(node, list):
        return [_plain(v) for v in node]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node


def _place(tree: Any, path: Sequence[Any]) -> tuple[int, int]:
    """Line and column (from 1) of the deepest part of a path that stands in the file."""
    node: Any = tree  # a ruamel node: `lc` is where it stands
    at = (tree.lc.line + 1, tree.lc.col + 1)
    for key in path:
        try:
            line, col = node.lc.item(key) if isinstance(key, int) else node.lc.key(key)
            at, node = (line + 1, col + 1), node[key]
        except (KeyError, IndexError, AttributeError, TypeError):
            break
    return at
