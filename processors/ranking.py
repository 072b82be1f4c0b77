"""Who is on top of a board, exactly, while values move up and down.

A board keeps, value by value, the members at or above a floor: a few hundred among whom all the asked places are.
Whoever rises over the floor joins them, whoever falls below leaves; the floor rises when they become too many, and a
scan of all values sets it anew when they become too few, which is seldom. The values themselves are kept elsewhere,
once for all boards of a member: what moves below the floor costs a comparison. Equal values share a place: 1, 1, 3.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from typing import NamedTuple

FLOOR_PLACES = 4
CEILING_PLACES = 10
"""The floor is set for so many times the asked places, and set anew above so many times: between the two lies what may
change before the next scan. Narrower, a scan of all members comes too often; wider, every answer sorts more."""


class Place(NamedTuple):
    """One line of a board."""

    place: int
    member_id: str
    value: int


class Ranking:
    """The values of one board. Only those above 0 have a place; what falls to 0 is forgotten.

    `everybody` gives all (member, value) as they stand, for a scan; `members` is how many values are not 0.
    """

    __slots__ = ("_above", "_ceiling", "_everybody", "_floor", "_top", "members", "places")

    def __init__(self, places: int, everybody: Callable[[], Iterable[tuple[str, int]]]) -> None:
        self.places, self._everybody = places, everybody
        self.members = 0
        self._top: dict[int, set[str]] = {}  # by value, everyone whose value is above 0 and at or above the floor
        self._above = 0  # how many these are
        self._floor = 1
        self._ceiling = CEILING_PLACES * places

    def move(self, member_id: str, before: int, value: int) -> None:
        """A member's value was `before` and is another one now; 0 = none."""
        if not before or not value:
            self.members += bool(value) - bool(before)
        floor = self._floor
        if before >= floor:
            equals = self._top[before]
            equals.discard(member_id)
            if not equals:
                del self._top[before]
            self._above -= 1
        if value >= floor:
            self._join(member_id, value)
            if self._above > self._ceiling:
                self._raise_floor()

    def table(self, places: int = 0, lines: int = 0) -> list[Place]:
        """The first `places` places (0 = all that are asked for), everyone who shares the last one included.

        With `lines` at most so many, the first by place and id.
        """
        wanted = min(places or self.places, self.places)
        if self._floor > 1 and self._above < wanted:
            self._scan()
        if len(self._top) > CEILING_PLACES * self.places:
            self._raise_floor()
        found: list[Place] = []
        place = 1
        for value in sorted(self._top, reverse=True):
            if place > wanted or (lines and len(found) == lines):
                break
            equals, room = self._top[value], lines - len(found)
            few = heapq.nsmallest(room, equals) if lines and room < len(equals) else sorted(equals)
            found += [Place(place, member_id, value) for member_id in few]
            place += len(equals)
        return found

    def _join(self, member_id: str, value: int) -> None:
        equals = self._top.get(value)
        if equals is None:
            self._top[value] = {member_id}
        else:
            equals.add(member_id)
        self._above += 1

    def _raise_floor(self) -> None:
        """Let go of those who are far from every asked place; where too many are equal, allow for more of them."""
        for value in sorted(self._top):
            equals = len(self._top[value])
            if self._above - equals < FLOOR_PLACES * self.places:
                self._floor = value
                break
            del self._top[value]
            self._above -= equals
        self._ceiling = max(CEILING_PLACES * self.places, 2 * self._above)

    def _scan(self) -> None:
        """Look through all values for a floor that leaves enough above it."""
        self._floor, self._above, self._top = 1, 0, {}
        for member_id, value in self._everybody():
            if value > 0:
                self._join(member_id, value)
        self._ceiling = CEILING_PLACES * self.places
        if self._above > self._ceiling:
            self._raise_floor()
