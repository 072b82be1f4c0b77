"""Names of a programme that are misspelt: what stands under one is looked at as if it were spelt right.

Otherwise a slip in `levels` would hide all that is wrong with the levels, and whatever names one would be told as well.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from schemas.programme_text import Path

LIKE = 0.75
"""So like a name that is missing (difflib's ratio) another one is taken for it."""


class Spelling:
    """The context in which a part, as it is read, has its names corrected in place."""

    def __init__(self) -> None:
        self.slips: list[tuple[dict[str, Any], str, str]] = []

    def correct(self, part: dict[str, Any], fields: Iterable[str]) -> None:
        """Put what stands under a misspelt name under the right one."""
        absent = [name for name in fields if name not in part]
        for slip in [name for name in part if name not in fields]:
            if like := difflib.get_close_matches(slip, absent, 1, LIKE):
                absent.remove(like[0])
                items = [(like[0] if name == slip else name, value) for name, value in part.items()]
                part.clear()
                part.update(items)
                self.slips.append((part, like[0], slip))


class Spelt(NamedTuple):
    """A programme's values with the names that were meant, and how each is misspelt, by its right path."""

    plain: dict[str, Any]
    slips: dict[Path, str]

    def written(self, path: Path) -> Path:
        """A path as it stands in the file."""
        return tuple(self.slips.get(path[: end + 1], key) for end, key in enumerate(path))

    def wrong(self) -> Iterator[tuple[Path, str]]:
        """Each misspelt name."""
        for path in self.slips:
            yield path, f"no such name here; did you mean {path[-1]}?"


def spelt(plain: Mapping[str, Any], read: Callable[[dict[str, Any], Spelling], Any]) -> Spelt:
    """A programme with its names corrected; `read` reads values in a context, wherever they are wrong."""
    right, spelling = copy.deepcopy(dict(plain)), Spelling()
    read(right, spelling)
    places = {id(part): path for path, part in _mappings(right, ())}
    return Spelt(right, {(*places[id(part)], meant): slip for part, meant, slip in spelling.slips})


def _mappings(value: Any, at: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """All mappings within a value, with their paths."""
    if isinstance(value, dict):
        yield at, value
        for name, one in value.items():
            yield from _mappings(one, (*at, name))
    elif isinstance(value, list):
        for place, one in enumerate(value):
            yield from _mappings(one, (*at, place))
