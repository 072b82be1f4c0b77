"""The rankings of one board in one week or month: the programme's, each home region's, each group's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from processors.ranking import Ranking

Sums = Mapping[str, int]
"""What a member has by group ("" = in none)."""

Row = tuple[str, str, Sums]
"""A member, the home region it counts for, and its sums."""


class Sheet:
    """Follows the sums of members; `rows` gives all of them as they stand."""

    __slots__ = ("_groups", "_places", "_programme", "_regions", "_rows")

    def __init__(self, places: int, rows: Callable[[], Iterable[Row]]) -> None:
        self._places, self._rows = places, rows
        self._programme = Ranking(places, lambda: ((member, sum(sums.values())) for member, _, sums in rows()))
        self._regions: dict[str, Ranking] = {}
        self._groups: dict[str, Ranking] = {}

    def find(self, region: str, group: str) -> Ranking | None:
        """The ranking of a region, of a group, or with neither the programme's."""
        if region:
            return self._regions.get(region)
        return self._groups.get(group) if group else self._programme

    def scopes(self) -> Iterator[tuple[str, str, Ranking]]:
        """Every ranking with its region and group, in order of these."""
        yield "", "", self._programme
        yield from (("", group, self._groups[group]) for group in sorted(self._groups))
        yield from ((region, "", self._regions[region]) for region in sorted(self._regions))

    def total(self, member_id: str, home: str, before: int, value: int) -> None:
        """A member's sum over all groups is another one."""
        self._programme.move(member_id, before, value)
        if home:
            self._region(home).move(member_id, before, value)

    def group(self, group: str, member_id: str, before: int, value: int) -> None:
        """A member's sum in a group is another one."""
        if group:
            found = self._groups.get(group)
            if found is None:
                found = self._groups[group] = Ranking(self._places, _in_group(group, self._rows))
            found.move(member_id, before, value)

    def all_of(self, member_id: str, home: str, before: Sums, sums: Sums) -> None:
        """All of a member's sums are others."""
        self.total(member_id, home, sum(before.values()), sum(sums.values()))
        for group in {*before, *sums}:
            self.group(group, member_id, before.get(group, 0), sums.get(group, 0))

    def moved(self, member_id: str, before: str, home: str, total: int) -> None:
        """A member takes its sum along to another region, or to none."""
        if before:
            self._region(before).move(member_id, total, 0)
        if home:
            self._region(home).move(member_id, 0, total)

    def _region(self, region: str) -> Ranking:
        found = self._regions.get(region)
        if found is None:
            found = self._regions[region] = Ranking(self._places, _at_home_in(region, self._rows))
        return found


# Not methods: a ranking that knew its sheet would be a cycle, which only a full collection frees (`streams/boards.py`).


def _at_home_in(region: str, rows: Callable[[], Iterable[Row]]) -> Callable[[], Iterable[tuple[str, int]]]:
    return lambda: ((member, sum(sums.values())) for member, home, sums in rows() if home == region)


def _in_group(group: str, rows: Callable[[], Iterable[Row]]) -> Callable[[], Iterable[tuple[str, int]]]:
    return lambda: ((member, value) for member, _, sums in rows() if (value := sums.get(group, 0)))
