"""Whether a limit stands where the programme says: moved by one to either side, a case at the limit notices it.

And where it is one of time, two of these cases stand on either side of it, no more than 2 s apart.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from processors.programme import Rules
from schemas.actions import Action
from schemas.programme import Programme
from tests.processors.story import EPOCH
from tests.processors.tables.listing import NAMES, TIME, is_limit, listed
from tests.processors.tables.playing import played
from tests.processors.tables.reading import Case
from tests.processors.tables.telling import outcome

AT = ("before", "after", "cap")
APART = 2_000
"""ms from the last second before a limit to the first one after it, at most."""


class Limit(NamedTuple):
    """A number of the programme that is a limit: its name, where it stands in the plain programme, of which items."""

    name: str
    path: tuple[str | int, ...]
    items: tuple[str, ...]

    @property
    def of_time(self) -> bool:
        """Whether it is a span of elapsed time or of days."""
        return bool(TIME.search(self.name))


def limits(programme: Programme) -> list[Limit]:
    """Every limit of what needs a table."""
    items = listed(programme)
    found = []
    for path, names in _numbers((), (), programme.model_dump(mode="json", exclude_none=True)):
        name = ".".join(names)
        own = max((it for it in items if name.startswith(f"{it}.")), key=len, default="")
        near = tuple(it for it in items if f"{it}.".startswith(f"{own or names[0]}."))
        if near and (own or names[0] == "ladder") and is_limit(name):
            found.append(Limit(name, path, near))
    return found


def _numbers(
    path: tuple[str | int, ...], names: tuple[str, ...], value: Any
) -> Iterator[tuple[tuple[str | int, ...], tuple[str, ...]]]:
    """Every whole number with its path and its name, in which a part of a list is called as its cases call it."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _numbers((*path, key), (*names, key), one)
    elif isinstance(value, list):
        for place, one in enumerate(value):
            called = next((one[name] for name in NAMES if name in one), place) if isinstance(one, dict) else place
            yield from _numbers((*path, place), (*names, str(called)), one)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield path, names


def unnoticed(limit: Limit, cases: Sequence[Case]) -> list[str]:
    """What the cases of a limit let pass, in words; nothing, if they hold it in its place."""
    own = [
        case
        for case in cases
        if set(case.items) & set(limit.items)
        and set(case.aspects) & set(AT)
        and not any(f"{limit.name}.".startswith(f"{name}.") for name in case.changed)
    ]
    moved = {by: noticing for by in (-1, 1) if (noticing := _noticing(limit, own, by)) is not None}
    found = [f"moved by {by:+d} no case at a limit notices it" for by, noticing in moved.items() if not noticing]
    known = [case for noticing in moved.values() for case in noticing]
    aspects = {aspect for case in known for aspect in case.aspects}
    if len(moved) == 2 and not found and "cap" not in aspects:
        found += [f"no case {aspect} it notices" for aspect in ("before", "after") if aspect not in aspects]
    if limit.of_time and not found and not _near(known if len(moved) == 2 else own):
        found.append("no two cases stand 1 s before and after it")
    return found


def _noticing(limit: Limit, cases: Sequence[Case], by: int) -> list[Case] | None:
    """The cases that come out otherwise where the limit is another one; None: there may be no such limit."""
    found = []
    moved: dict[int, Rules] = {}  # most cases share a programme
    for case in cases:
        programme = case.rules.programme
        try:
            rules = moved.get(id(programme)) or moved.setdefault(id(programme), _moved(programme, limit, by))
        except ValidationError:
            return None
        if outcome(played(case.deeds, rules.knowing(case.rules.tops)), case.then, case.only) != case.then:
            found.append(case)
    return found


def _moved(programme: Programme, limit: Limit, by: int) -> Rules:
    """The rules with the limit moved. Raises `ValidationError` where no programme may have it there."""
    plain = programme.model_dump(mode="json", exclude_none=True)
    part: Any = plain
    for key in limit.path[:-1]:
        part = part[key]
    part[limit.path[-1]] += by
    return Rules(Programme.model_validate(plain), 1, 0)


def _near(cases: Sequence[Case]) -> bool:
    """Whether one that is before and one that is after differ by a moment of a second or two."""
    before, after = (
        {moment for case in cases if {aspect, "cap"} & set(case.aspects) for moment in _moments(case)}
        for aspect in ("before", "after")
    )
    return any(moment + step in after for moment in before for step in (-APART, -APART // 2, APART // 2, APART))


def _moments(case: Case) -> Iterator[int]:
    """All moments (ms) that a case names."""
    for deed in case.deeds:
        yield deed.arrives
        if isinstance(deed.what, Action):
            yield (deed.what.occurred_at - EPOCH) // dt.timedelta(milliseconds=1)
