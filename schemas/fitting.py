"""What the parts of a programme say together: checks that stand beside each part, and are run over all of them.

A check is a method that yields what is wrong, each with its path within the part. It runs over programmes with holes
(`schemas.holes`) too; where it comes upon one it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from types import FunctionType
from typing import Any, NamedTuple, TypeVar

from schemas.holes import HOLE, Unsure
from schemas.part import Part
from schemas.programme_text import Path

Wrong = tuple[Path, str]
"""What is wrong, after the path to where."""
Check = TypeVar("Check", bound=Callable[..., Iterator[Wrong]])

ALONE, AROUND = "fits_alone", "fits_around"


class Known(NamedTuple):
    """Names that a programme gives; not `whole` if some are wrong: then nobody knows that one is missing."""

    names: tuple[str, ...] = ()
    whole: bool = False

    def lacks(self, name: str) -> bool:
        """Whether there is surely no such name."""
        return self.whole and name not in self.names


class Day(NamedTuple):
    """The zone of programme days, and the hour at which they start there."""

    zone: str
    starts_at: int


class Around(NamedTuple):
    """What a part must know of the rest of its programme."""

    custom: Known
    levels: Known
    floors: Known
    badges: Known
    free_badges: Known  # those that neither an index nor actions nor an award gives
    day: Day | None


def fits(check: Check) -> Check:
    """Marks a method of a part as a check of what stands in that part."""
    setattr(check, ALONE, True)
    return check


def fits_around(check: Check) -> Check:
    """Marks a method that holds a part against what is `Around` it."""
    setattr(check, AROUND, True)
    return check


def misfits(part: Any, around: Around, at: Path = ()) -> Iterator[Wrong]:
    """All that does not fit in a part and in those within it, with paths from where the part stands."""
    if part is HOLE:
        return
    if isinstance(part, Part):
        for check in _checks(type(part)):
            yield from _told(check(part, around), at)
        for name, value in vars(part).items():
            yield from misfits(value, around, (*at, name))
    elif isinstance(part, tuple):
        for place, item in enumerate(part):
            yield from misfits(item, around, (*at, place))
    elif isinstance(part, dict):
        for name, item in part.items():
            yield from misfits(item, around, (*at, name))


def _told(check: Iterator[Wrong], at: Path) -> Iterator[Wrong]:
    try:
        for path, text in check:
            yield (*at, *path), text
    except Unsure:
        return


@cache
def _checks(kind: type[Part]) -> tuple[Callable[[Part, Around], Iterator[Wrong]], ...]:
    methods = [method for method in vars(kind).values() if isinstance(method, FunctionType)]
    alone = [_ignoring(method) for method in methods if hasattr(method, ALONE)]
    return (*alone, *(method for method in methods if hasattr(method, AROUND)))


def _ignoring(method: Callable[[Part], Iterator[Wrong]]) -> Callable[[Part, Around], Iterator[Wrong]]:
    return lambda part, _: method(part)
