"""What the parts of a programme must know of each other, gathered from one that may have holes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from schemas.fitting import Around, Day, Known
from schemas.holes import Holed, Unsure, said, said_of

if TYPE_CHECKING:
    from schemas.programme import Programme


def around(programme: Programme) -> Around:
    """The names that a programme gives, and its day."""
    badges = _known(lambda: programme.badges)
    return Around(
        custom=_known(lambda: programme.custom),
        levels=_known(lambda: programme.levels.steps, "level"),
        floors=_floors(programme),
        badges=badges,
        free_badges=Known(tuple(name for name in badges.names if _is_free(programme.badges[name])), badges.whole),
        day=_day(programme),
    )


def _known(names: Callable[[], Any], field: str = "") -> Known:
    """The names of a mapping, or those that the items of a list say."""
    try:
        items = names()
    except Unsure:
        return Known()
    if isinstance(items, dict):
        return Known(tuple(items), whole=not isinstance(items, Holed))
    found = said(items, field)
    return Known(tuple(name for _, name in found), whole=len(found) == len(items))


def _floors(programme: Programme) -> Known:
    """The levels that are floors of joining."""
    try:
        steps = programme.levels.steps
    except Unsure:
        return Known()
    floors = {place for place, floor in said(steps, "floor") if floor == "joining"}
    names = tuple(name for place, name in said(steps, "level") if place in floors)
    return Known(names, whole=len(said(steps, "floor")) == len(said(steps, "level")) == len(steps))


def _is_free(badge: Any) -> bool:
    """Whether a task may give it; so it is while nobody knows."""
    return all(way is None for _, way in said_of(badge, "index", "actions", "award"))


def _day(programme: Programme) -> Day | None:
    try:
        return Day(programme.zone, programme.day_starts_at)
    except Unsure:
        return None
