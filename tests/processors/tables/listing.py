"""What a programme holds, rule by rule, and which cases each must have: both follow from the programme alone."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from schemas.part import Part
from schemas.programme import Programme
from tests.processors.tables.reading import ASPECTS, Case

ELSEWHERE = {
    "name": "a name",
    "rules": "the version of the code",
    "zone": "every table counts in programme days",
    "day_starts_at": "every table counts in programme days",
    "currencies": "dead letters, before any rule",
    "minor_units": "every table with money",
    "horizon_days": "`late` of every table",
    "future_minutes": "before any rule",
    "presence": "narrows the tiers of presence; the default says nothing",
    "overridable": "who may change what",
    "overlays": "other numbers of the same rules",
    "pilots": "other numbers of the same rules",
    "limits": "technical",
    "points.worth": "what a point is booked at; decides nothing",
    "tiers": "gravity orders tiers of several dimensions: tests/processors/test_churn.py",
}
"""Names of the programme without a table, and why."""

NAMES = ("tier", "level", "name")
"""By which of these a part in a list is called."""

CAP = re.compile(r"(^|_)(per_day|per_year|items_per_week|open_items|ceiling|up_to|day_cap)$")
LIMIT = re.compile(
    r"(^|_)(days?|hours|months|seconds|begins|ends|per_day|per_year|per_week|from|above|over|least|min|day_ends"
    r"|burst|joins_per_day|floor|from_day|of_last|steps|smallest|high|core|each|referrals|refunded|streak|places|place"
    r"|members|kept)$"
)
TIME = re.compile(r"(^|\.|(?<!active)_)(days|hours|months|seconds)(\.\d+)?$")
"""A span of time; active days are counted, whenever they were."""
ROOM = {"points.redeem.kept", "points.adjust.kept", "points.referral.kept"}
"""Numbers for the room in a member's state, of which the handbook says nothing: each has tests of its own."""

BEYOND = {
    "points.check_in": {"cap", "before", "after"},
    "points.factors.paid": {"before", "after"},
    "boards": {"refund"},
    "echoes": {"cap"},
}
"""Limits that are no numbers: one check-in a day; from when until when a membership is paid. What spending boards sum
is money, and so many members as echoes tell apart are a cap."""

BESIDE = {"opening": frozenset(("ordinary", "before", "after", "duplicate", "late", "refund"))}
"""Rules without a number of their own: what a member brings along keeps the dates of other rules."""
MONEY = re.compile(r"purchase|spend|growth_from|buy|order|refund|completed|referral|redeem|pace|value")


def listed(programme: Programme) -> dict[str, frozenset[str]]:
    """Everything that needs a table, by its name in the programme, with the aspects that apply to it."""
    found: dict[str, frozenset[str]] = {}
    for name in Programme.model_fields:
        if name not in ELSEWHERE or name == "tiers":
            found |= _items(name, getattr(programme, name))
    return {name: aspects for name, aspects in found.items() if name not in ELSEWHERE} | BESIDE


def _items(path: str, value: Any) -> dict[str, frozenset[str]]:
    """A part is a rule by the numbers of its own; its parts are further ones."""
    if path == "ladder":
        limits = {name: it for name, it in value if name.endswith(("_days", "_week", "_items"))}
        return {f"{path}.{name}": _aspects(f"{path}.{name}", limits) for name, _ in value if name not in limits}
    if isinstance(value, dict):
        return {f"{path}.{key}": _aspects(f"{path}.{key}", one.model_dump(mode="json")) for key, one in value.items()}
    found: dict[str, frozenset[str]] = {}
    own: dict[str, Any] = {}
    for name, part in value:
        if isinstance(part, Part):
            found |= _items(f"{path}.{name}", part)
        elif isinstance(part, tuple) and part and isinstance(part[0], Part):
            for one in part:
                called = f"{path}.{name}.{next(getattr(one, key) for key in NAMES if hasattr(one, key))}"
                found[called] = _aspects(called, one.model_dump(mode="json", exclude_none=True))
        elif part not in ((), {}):
            own[name] = sorted(part) if isinstance(part, frozenset) else part
    return ({path: _aspects(path, own)} if own else {}) | found


def _aspects(path: str, numbers: dict[str, Any]) -> frozenset[str]:
    """Everything happens, twice, and late; the rest follows from the names of its numbers and what it speaks of."""
    names = set(_names(numbers))
    found = {"ordinary", "duplicate", "late"} | BEYOND.get(path, set())
    if any(CAP.search(name) for name in names):
        found.add("cap")
    if any(LIMIT.search(name) for name in names):
        found |= {"before", "after"}
    if MONEY.search(path + json.dumps(numbers, default=str)):
        found.add("refund")
    return frozenset(found)


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, one in value.items():
            if one is not None:
                yield name
                yield from _names(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _names(one)


def is_limit(name: str) -> bool:
    """Whether a number of the programme, by its whole name, is one beyond which something else holds."""
    last = re.sub(r"\.\d+$", "", name).rsplit(".", 1)[-1]
    return name not in ROOM and bool(CAP.search(last) or LIMIT.search(last))


def missing(programme: Programme, cases: Sequence[Case]) -> list[str]:
    """What has no case, by name. A case under other numbers of a rule tells nothing about the rule's own."""
    held: dict[str, set[str]] = defaultdict(set)
    for case in cases:
        for item in case.items:
            if not any(name == item or name.startswith(f"{item}.") for name in case.changed):
                held[item] |= set(case.aspects)
    found = []
    for name, aspects in listed(programme).items():
        if lacking := [one for one in ASPECTS if one in aspects and one not in held[name]]:
            found.append(f"{name}: {', '.join(lacking)}")
    return found


def unproved(alerts: Sequence[str], tests: Sequence[dict[str, Any]]) -> list[str]:
    """Alerts that promtool sees silent and firing in no one story: before its limit, and past it."""
    return [name for name in alerts if not any(_seen(name, story) == {True, False} for story in tests)]


def _seen(name: str, story: dict[str, Any]) -> set[bool]:
    """Whether a story of `alerts_test.yml` expects the alert to fire, to be silent, or both at different times."""
    ruled = story.get("alert_rule_test", ())
    asked = story.get("promql_expr_test", ())
    found = {bool(one["exp_alerts"]) for one in ruled if one["alertname"] == name}
    return found | {bool(one["exp_samples"]) for one in asked if f'alertname="{name}"' in one["expr"]}
