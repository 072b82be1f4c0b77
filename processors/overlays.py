"""The rules of a member where a programme has overlays or pilots: those of its home region, and of its pilots.

A programme without either has `Rules.variants = None`: an action then costs one look at it. Variants are compiled
once for each version and combination that a member has. The region is what was known before the record, by arrival
like all effects of `profile`; a pilot holds for moments before its end.
"""

from __future__ import annotations

import copy
import datetime as dt
import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from schemas.member import MemberState
from schemas.overlays import Pilot, overridden
from schemas.programme import Programme

if TYPE_CHECKING:
    from processors.calendar import Calendar
    from processors.programme import Rules

EPOCH = dt.date(1970, 1, 1).toordinal()
NO_END = 1 << 62


class Trial(NamedTuple):
    """A pilot, compiled: who is in it, and until when."""

    name: str
    region: str | None
    below: int  # of 10,000, by hash(name, member_id)
    end: int

    def takes(self, member_id: str, region: str, moment: int) -> bool:
        """Whether a member of the home region is judged by it at the moment."""
        if moment >= self.end:
            return False
        if self.region is not None:
            return region == self.region
        return share_of(self.name, member_id) < self.below


class Variants:
    """What one version of the programme is for members of regions and pilots."""

    def __init__(self, general: Rules, compiled: Callable[[Programme, Variants], Rules]) -> None:
        programme = general.programme
        self._plain = programme.model_dump()
        self._compiled = compiled
        self._overlays = programme.overlays
        self.trials = tuple(_trial(name, pilot, general.calendar) for name, pilot in programme.pilots.items())
        self._known: dict[tuple[str, int], Rules] = {("", 0): general}
        self._plainer: Variants | None = None  # the same without thresholds

    def knowing(self, general: Rules) -> Variants:
        """The same beside the thresholds that `general` knows: every variant knows them."""
        known = copy.copy(self)
        known._known, known._plainer = {("", 0): general}, self
        return known

    def of(self, member_id: str, state: MemberState, moment: int) -> Rules:
        """The rules that the member is judged by at a moment (ms)."""
        region = state.profile_region or state.join_region
        mask = 0
        for place, trial in enumerate(self.trials):
            if trial.takes(member_id, region, moment):
                mask |= 1 << place
        key = (region if region in self._overlays else "", mask)
        return self._known.get(key) or self._compile(*key)

    def next_end(self, clock: int) -> int:
        """When the next pilot is over: its members are shown what holds then, also the silent ones."""
        return min((trial.end for trial in self.trials if trial.end > clock), default=NO_END)

    def _compile(self, region: str, mask: int) -> Rules:
        if self._plainer is not None:
            plainer = self._plainer._known.get((region, mask)) or self._plainer._compile(region, mask)
            rules = self._known[region, mask] = plainer.knowing(self._known["", 0].tops, self)
            return rules
        tree = overridden(self._plain, self._overlays.get(region, {}))
        for place, trial in enumerate(self.trials):
            if mask >> place & 1:
                tree = overridden(tree, self._plain["pilots"][trial.name]["overrides"])
        rules = self._known[region, mask] = self._compiled(Programme.model_validate(tree), self)
        return rules


def own(rules: Rules, member_id: str, state: MemberState, moment: int) -> Rules:
    """The member's own of a version's rules."""
    return rules if rules.variants is None else rules.variants.of(member_id, state, moment)


def share_of(name: str, member_id: str) -> int:
    """hash(name, member_id) of handbook 1.1 as a number, mod 10,000."""
    digest = hashlib.sha256(f"{name}\x1f{member_id}".encode()).digest()
    return int.from_bytes(digest[:8]) % 10_000


def _trial(name: str, pilot: Pilot, calendar: Calendar) -> Trial:
    end = NO_END
    if pilot.end is not None:
        end = calendar.day_start(dt.date.fromisoformat(pilot.end).toordinal() - EPOCH)
    return Trial(name, pilot.region, 100 * (pilot.percent or 0), end)
