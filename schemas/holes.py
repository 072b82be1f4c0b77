"""A programme that is wrong in places, read all the same: what is wrong is a hole, and what is around it is looked at.

Without holes an error would hide others: those that show only when two parts are held against each other. Whatever
asks for a hole is unsure and says nothing; that it is wrong is told where it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import ValidationError

HOLES = {"holes": "left open"}
"""The context in which a part is read with holes instead of errors."""


class Unsure(Exception):
    """What was asked hangs on a hole."""


class Hole:
    """Stands for a value that is wrong."""

    def __getattr__(self, name: str) -> Any:
        raise Unsure(name)

    def __eq__(self, other: object) -> bool:
        raise Unsure

    def __hash__(self) -> int:
        raise Unsure


HOLE = Hole()


class Holed(dict[str, Any]):
    """A mapping of which some entries are wrong: whether it has a name that it lacks, nobody knows."""


def filled(value: Any, handler: Callable[[Any], Any]) -> Any:
    """A value as `handler` makes it; where that is refused, as much of it as is right."""
    if value is HOLE:
        return HOLE
    try:
        return handler(value)
    except ValidationError as error:
        wrong = {it["loc"][0] if it["loc"] else None for it in error.errors()}
    try:
        if isinstance(value, Mapping) and None not in wrong:
            return Holed(handler({name: one for name, one in value.items() if name not in wrong}))
        if isinstance(value, list) and None not in wrong:
            right = iter(handler([one for place, one in enumerate(value) if place not in wrong]))
            return tuple(HOLE if place in wrong else next(right) for place in range(len(value)))
    except ValidationError:
        pass  # it cannot do without what is wrong
    return HOLE


def opened(data: Mapping[str, Any], required: Mapping[str, bool]) -> dict[str, Any]:
    """The fields of a part, with holes for those it lacks; beside a name nobody knows, for all: it may be any of them.

    `required`: whether a field is, by its name.
    """
    unsure = any(name not in required for name in data)
    lacking = [name for name, needed in required.items() if name not in data and (needed or unsure)]
    return {name: one for name, one in data.items() if name in required} | dict.fromkeys(lacking, HOLE)


def sure(items: Iterable[Any]) -> list[tuple[int, Any]]:
    """The items of a list that are no holes, with their places."""
    return [(place, item) for place, item in enumerate(items) if item is not HOLE]


def said(items: Iterable[Any], name: str) -> list[tuple[int, Any]]:
    """What the items of a list say under a name, with their places; of those of whom one knows it."""
    return [(place, value) for place, item in sure(items) for _, value in said_of(item, name)]


def said_of(part: Any, *names: str) -> list[tuple[str, Any]]:
    """What a part says under some names, of which one knows it."""
    found = []
    for name in names:
        try:
            found.append((name, getattr(part, name)))
        except Unsure:
            continue
    return found
