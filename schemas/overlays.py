"""What a region may have otherwise, and what is tried out with some members before it holds for all.

Overrides name leaves of the programme, by path (`points.share.points: 8`) or as a tree. A leaf is what is no mapping:
a number, a word, a list. The share of overridable names is counted over the leaves that the file itself names under
the parts of `SHARED`.
"""

from __future__ import annotations

import copy
import datetime as dt
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from schemas.fitting import Wrong, fits
from schemas.form import lost
from schemas.part import Part
from schemas.programme_text import Found, Path

SHARED = ("points", "benefits", "outreach")
"""The parts whose leaves are counted, and alone may be overridable (handbook 9)."""

SAME_FOR_ALL = frozenset(
    """
    name rules zone day_starts_at currencies minor_units horizon_days future_minutes orders activity custom value
    boards limits overridable overlays pilots
    """.split()
)
"""What a partition, or what many members make together, depends on: no pilot tries that with some of them."""

Overrides = dict[str, Any]
Validate = Callable[[Mapping[str, Any]], Found]
Name = Annotated[str, Field(min_length=1, max_length=64)]
PilotName = Annotated[str, Field(min_length=1, max_length=64, pattern="^[a-z][a-z0-9_]*$")]


class Overridable(Part):
    """The names that a region may override, and how many of all named leaves they may be, in percent."""

    names: Annotated[tuple[str, ...], Field(strict=False)]
    percent_max: Annotated[int, Field(ge=0, le=100)]


def _day(value: str) -> str:
    """A programme day, as 2026-06-01."""
    try:
        day = dt.date.fromisoformat(value)
    except ValueError:
        raise ValueError("not a day such as 2026-06-01") from None
    if value != day.isoformat() or not 2000 <= day.year < 2100:
        raise ValueError("not a day such as 2026-06-01, from 2000 to 2099")
    return value


class Pilot(Part):
    """A change tried with the members of a region, or with so many percent by hash(pilot, member_id).

    It is over at the start of the programme day `end`, for actions by `occurred_at`, for timers by the clock.
    """

    region: Name | None = None
    percent: Annotated[int, Field(ge=1, le=100)] | None = None
    overrides: Annotated[Overrides, Field(min_length=1)]
    metric: Literal["return", "purchase", "spend", "redemption"] | None = None
    goal: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    end: Annotated[str, AfterValidator(_day)] | None = None

    @fits
    def it_has_members(self) -> Iterator[Wrong]:
        """By region or by percentage: with both, nobody could say whom the verdict is about."""
        if (self.region is None) == (self.percent is None):
            yield (), "either region or percent"


def leaves(tree: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, Path, Any]]:
    """Every leaf of a tree: its name with dots, the path to it in this tree, its value."""
    for key, value in tree.items():
        path = (*above, key)
        if isinstance(value, Mapping) and value:
            yield from leaves(value, path)
        else:
            yield ".".join(path), path, value


def overridden(tree: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the tree with other leaves."""
    changed: dict[str, Any] = copy.deepcopy(dict(tree))
    for name, _, value in leaves(overrides):
        *above, last = name.split(".")
        part = changed
        for key in above:
            part = part[key]
        part[last] = value
    return changed


def counted(plain: Mapping[str, Any]) -> list[str]:
    """The names of all leaves that the share of overridable ones is taken of."""
    return [
        name for part in SHARED if isinstance(plain.get(part), Mapping) for name, _, _ in leaves({part: plain[part]})
    ]


def wrong(plain: Mapping[str, Any], alone: Found, validate: Validate) -> Found:
    """All that is wrong with overridable names, overlays and pilots.

    `validate` says what is wrong with a programme, `alone` what it said of this one. Overrides of wrong names are left
    out where values are looked at.
    """
    found = _wrong_list(plain, alone)
    changes: dict[Path, Mapping[str, Any]] = {}
    for region, overrides in _mapping(plain.get("overlays")).items():
        if isinstance(overrides, Mapping):
            changes["overlays", region] = overrides
            found += _wrong_overlay(region, overrides, plain, alone)
    for pilot, said in _mapping(plain.get("pilots")).items():
        overrides = _mapping(said).get("overrides")
        if isinstance(overrides, Mapping):
            changes["pilots", pilot, "overrides"] = overrides
            found += _wrong_pilot(pilot, overrides, plain, alone)
    found += _twice_tried(changes)
    right = {above: _right(plain, above, overrides, found) for above, overrides in changes.items()}
    return found + _wrong_changes(plain, right, alone, validate)


def _right(plain: Mapping[str, Any], above: Path, overrides: Mapping[str, Any], found: Found) -> Mapping[str, Any]:
    """Overrides without those of wrong names."""
    named = {name for name, _, _ in leaves(plain)}
    told = {path for path, _ in found}
    if all(name in named and (*above, *path) not in told for name, path, _ in leaves(overrides)):
        return overrides
    return {
        ".".join(map(str, path)): value
        for name, path, value in leaves(overrides)
        if name in named and (*above, *path) not in told
    }


def _listed(plain: Mapping[str, Any]) -> list[tuple[int, str]]:
    names = _mapping(plain.get("overridable")).get("names")
    return [it for it in enumerate(names) if isinstance(it[1], str)] if isinstance(names, list) else []


def _wrong_list(plain: Mapping[str, Any], alone: Found) -> Found:
    all_names, listed, gone = counted(plain), _listed(plain), False
    found: Found = []
    for number, (place, name) in enumerate(listed):
        if name in all_names:
            if name in [before for _, before in listed[:number]]:
                found.append((("overridable", "names", place), f"{name} is named twice"))
        elif lost(plain, name, alone):
            gone = True
        else:
            found.append((("overridable", "names", place), f"{name} names no leaf of {', '.join(SHARED)}"))
    most = _mapping(plain.get("overridable")).get("percent_max")
    if not gone and isinstance(most, int) and 100 * len(listed) > most * len(all_names):
        share = f"{len(listed)} of {len(all_names)} named leaves are more than {most}%"
        found.append((("overridable", "names"), share))
    return found


def _wrong_overlay(region: str, overrides: Mapping[str, Any], plain: Mapping[str, Any], alone: Found) -> Found:
    """Names that are not on the list; if one on the list is misspelt, it may be any leaf, and that is told there."""
    all_names, listed = counted(plain), [name for _, name in _listed(plain)]
    whole = "overridable" in plain and all(name in all_names for name in listed)
    whole = whole and not any(path[:1] == ("overridable",) for path, _ in alone)
    named = [name for name, _, _ in leaves(plain)]
    return [
        (("overlays", region, *at), f"{slip} is not on the list of overridable names")
        for name, path, _ in leaves(overrides)
        if name not in listed and (whole or name not in all_names) and not lost(plain, name, alone)
        for at, slip in [_slip(path, named)]
    ]


def _wrong_pilot(pilot: str, overrides: Mapping[str, Any], plain: Mapping[str, Any], alone: Found) -> Found:
    named = [name for name, _, _ in leaves(plain)]
    found: Found = []
    for name, path, _ in leaves(overrides):
        if name.split(".")[0] in SAME_FOR_ALL:
            found.append((("pilots", pilot, "overrides", *path), f"{name} is the same for all members"))
        elif name not in named and not lost(plain, name, alone):
            at, slip = _slip(path, named)
            found.append((("pilots", pilot, "overrides", *at), f"{slip} names no leaf of this programme"))
    return found


def _slip(path: Path, named: Sequence[str]) -> tuple[Path, str]:
    """As much of a path as it takes to see that it leads to no leaf; with the name that it is so far."""
    for end in range(1, len(path)):
        so_far = ".".join(map(str, path[:end]))
        if not any(name.startswith(f"{so_far}.") for name in named):
            return path[:end], so_far
    return path, ".".join(map(str, path))


def _twice_tried(changes: Mapping[Path, Mapping[str, Any]]) -> Found:
    """Two pilots of one name: what their members in common are judged by would hang on an order."""
    found: Found = []
    tried: dict[str, str | int] = {}
    for above, overrides in changes.items():
        if above[0] == "pilots":
            for name, path, _ in leaves(overrides):
                if name in tried:
                    found.append(((*above, *path), f"{name} is tried by pilot {tried[name]} too"))
                tried[name] = above[1]
    return found


def _wrong_changes(
    plain: Mapping[str, Any], changes: Mapping[Path, Mapping[str, Any]], before: Found, validate: Validate
) -> Found:
    """Values that a programme cannot have: of each change alone, and of several that one member may have together."""
    found: Found = []
    seen: list[tuple[set[Path], Wrong]] = [(set(), it) for it in before]
    for several in [*((path,) for path in changes), *combinations(plain, changes)]:
        tree = plain
        for path in several:
            tree = overridden(tree, changes[path])
        told = [wrong for some, wrong in seen if some <= set(several)]
        new = [it for it in validate(tree) if it not in told]
        seen += [(set(several), it) for it in new]
        found += _wrong_together(several, new) if several[1:] else _wrong_values(several[0], changes[several[0]], new)
    return found


def _wrong_values(above: Path, overrides: Mapping[str, Any], errors: Found) -> Found:
    """Errors of an overridden programme, at the override that they come from."""
    by_name = {name: path for name, path, _ in leaves(overrides)}
    found: Found = []
    for path, text in errors:
        named = ".".join(map(str, path))
        hit = next((by_name[name] for name in by_name if f"{named}.".startswith(f"{name}.")), ())
        found.append(((*above, *hit), text if hit else f"{named}: {text}"))
    return found


def _wrong_together(several: Sequence[Path], errors: Found) -> Found:
    """Errors of overrides that are right alone, at the last of them."""
    together = " and ".join(".".join(map(str, path[:2])) for path in several)
    return [(several[-1][:2], f"with {together}: {'.'.join(map(str, at))}: {text}") for at, text in errors]


def combinations(plain: Mapping[str, Any], changes: Mapping[Path, Any]) -> Iterator[tuple[Path, ...]]:
    """Two or more overrides that one member may have: its home's overlay, and pilots that reach this home."""
    pilots = {path: plain["pilots"][path[1]].get("region") for path in changes if path[0] == "pilots"}
    pilots = {path: region for path, region in pilots.items() if region is None or isinstance(region, str)}
    overlays = {path[1]: path for path in changes if path[0] == "overlays"}
    for home in dict.fromkeys([None, *overlays, *pilots.values()]):
        reaching = [path for path, region in pilots.items() if region in (None, home)]
        alone = [overlays[home]] if home in overlays else []
        for size in range(1, len(reaching) + 1):
            for some in itertools.combinations(reaching, size):
                if len(alone) + size > 1:
                    yield (*alone, *some)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
