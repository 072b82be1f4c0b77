"""Which version of the programme judges what: an action by its moment, a timer by the clock."""

from __future__ import annotations

from processors.programme import Rules, Tops, compile_programme
from schemas.partition import PartitionState
from schemas.programme import ProgrammeError
from schemas.records import ProgrammeControl

NEVER = 1 << 62


class NotUnderstood(Exception):
    """A programme this code cannot run: an unknown `rules` number, or a text it cannot read."""


class Versions:
    """The versions a partition has seen and still needs, oldest `holds_from` first (of equal ones the later last)."""

    def __init__(self, controls: list[ProgrammeControl], clock: int) -> None:
        self._versions = [compiled(c) for c in controls]
        self._newest = self._versions[-1] if self._versions else None
        self.in_force: Rules | None = None
        self._tops: Tops = ()
        self.next_switch = NEVER
        self.switch(clock)

    def switch(self, clock: int) -> None:
        """Let the version that holds at the clock be in force; when a pilot of it ends, all are looked at again."""
        held = [v for v in self._versions if v.holds_from <= clock]
        self.in_force = held[-1] if held else (self._versions[0] if self._versions else None)
        if self.in_force is not None and self._tops:
            self.in_force = self.in_force.knowing(self._tops)
        self.next_switch = next((v.holds_from for v in self._versions if v.holds_from > clock), NEVER)
        if not held and self._versions:
            self.next_switch = self._versions[0].holds_from if len(self._versions) > 1 else NEVER
        if self.in_force is not None and self.in_force.variants is not None:
            self.next_switch = min(self.next_switch, self.in_force.variants.next_end(clock))

    def show(self, tops: Tops, clock: int) -> None:
        """Let the version in force know the thresholds of the most active."""
        self._tops = tops
        self.switch(clock)

    def at(self, moment: int) -> Rules | None:
        """The version with the latest `holds_from` not after the moment; the oldest for moments before them all."""
        newest = self._newest
        if newest is None or newest.holds_from <= moment:
            return newest
        for version in reversed(self._versions):
            if version.holds_from <= moment:
                return version
        return self._versions[0]

    def next_at(self, clock: int) -> Rules | None:
        """The version in force once the clock stands there."""
        if clock < self.next_switch:
            return self.in_force
        return self.at(clock)


def versions_of(own: PartitionState) -> Versions:
    """The versions of a partition as it stands: the thresholds it was shown are known."""
    versions = Versions(own.programmes, own.clock)
    versions.show(tuple(own.tops), own.clock)
    return versions


def inserted(controls: list[ProgrammeControl], new: ProgrammeControl, clock: int) -> list[ProgrammeControl]:
    """The versions with a new one at its place, without those superseded for longer than the horizon."""
    ordered = [c for c in controls if c.holds_from <= new.holds_from]
    ordered += [new, *(c for c in controls if c.holds_from > new.holds_from)]
    oldest = clock - compiled(new).horizon_ms
    keep = 0
    while keep + 1 < len(ordered) and ordered[keep + 1].holds_from < oldest:
        keep += 1
    return ordered[keep:]


def compiled(control: ProgrammeControl) -> Rules:
    """The rules of a control record. Raises `NotUnderstood`."""
    try:
        return compile_programme(control.text, control.number, control.holds_from)
    except ProgrammeError as error:
        raise NotUnderstood(str(error).splitlines()[0]) from None
