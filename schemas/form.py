"""What pydantic says of a programme's values, in the words of the file: each error once, at its own place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from schemas.programme_text import Found, Path, Several

KEY = "[key]"
"""With this pydantic ends the path of a name that is wrong, and not what it stands for."""


def form(errors: Iterable[Any]) -> Found:
    """The errors of values alone; what `Programme` says of them together has no path and is left out."""
    told = [error for error in errors if error["loc"]]
    return [one for it in told if not _follows(it, told) for one in _told(it)]


def _told(error: Any) -> Found:
    """One error of pydantic, which may be several of ours."""
    several = error.get("ctx", {}).get("error")
    if isinstance(several, Several):
        return [((*error["loc"], *path), text) for path, text in several.errors]
    return [(_path(error), _words(error))]


def _path(error: Any) -> Path:
    at: Path = error["loc"]
    return at[:-1] if at[-1] == KEY else at


def _follows(error: Any, told: Sequence[Any]) -> bool:
    """Whether a list is too short only because what stands in it is wrong, which is told there."""
    at = error["loc"]
    return error["type"] == "too_short" and any(len(at) < len(it["loc"]) and it["loc"][: len(at)] == at for it in told)


def _words(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "no such name here"
    return str(error["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")


def lost(plain: Mapping[str, Any], name: str, found: Found) -> bool:
    """Whether a leaf, by its name with dots, is missing only since what should hold it is wrong, which was found."""
    at: Path = ()
    part: Any = plain
    for key in name.split("."):
        if not isinstance(part, Mapping) or key not in part:
            break
        at, part = (*at, key), part[key]
    return any(path in (at, (*at, key)) for path, _ in found)
