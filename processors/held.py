"""Points that are held: what of an entry lies in an open hold, so that a correction of it is booked there."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from schemas.facts import Ledger
from schemas.member import MemberState

POINTS, MESSAGES, REFERRALS = "points", "messages", "referrals"
SCOPES: dict[str, frozenset[str]] = {MESSAGES: frozenset({"message"}), REFERRALS: frozenset({"referral"})}
"""The rules of the entries that a hold of a scope holds; `points` holds all but those of orders and of staff."""
OPEN = (0, 0)
REVERSED_MAX = 16
"""Reversed holds that are remembered, the latest."""
STAFF_RULES = frozenset({"adjust", "opening"})


class Part(Struct, array_like=True, gc=False):
    """Held points of one rule and earning month; `base` is what they are without factors."""

    month: int
    rule: str
    points: int
    base: int


class Hold(Struct, array_like=True, gc=False):
    """A hold that is open since `at` (ms) and holds entries from (`offset`, `index`) on; `said` is its fact's index.

    One that staff reversed is remembered without parts: `until` that offset and index its entries are gone.
    """

    id: str
    scope: str
    at: int
    offset: int
    index: int
    said: int
    parts: list[Part]
    until: tuple[int, int] = OPEN

    def takes(self, fact: Ledger) -> bool:
        """Whether an entry belongs here; a correction only if what it amends does."""
        if fact.amends and fact.amends < (self.offset, self.index):
            return False
        if self.until != OPEN and not (fact.amends and fact.amends < self.until):
            return False
        if self.scope == POINTS:
            return not fact.order_id and fact.rule not in STAFF_RULES
        return fact.rule in SCOPES[self.scope]

    def part(self, fact: Ledger) -> Part:
        """Where an entry's points lie."""
        for part in self.parts:
            if (part.month, part.rule) == (fact.month, fact.rule):
                return part
        part = Part(fact.month, fact.rule, 0, 0)
        self.parts.append(part)
        return part


def read(state: MemberState) -> list[Hold]:
    """The holds that are open, the oldest first."""
    return [hold for hold in _all(state) if hold.until == OPEN]


def write(state: MemberState, holds: list[Hold]) -> None:
    """Keep these as those that are open."""
    _keep(state, [*_reversed(state), *holds])


def remember(state: MemberState, hold: Hold, until: tuple[int, int]) -> None:
    """Keep that the entries a hold held were taken back as a whole: nobody may take them back again."""
    gone = Hold(hold.id, hold.scope, hold.at, hold.offset, hold.index, hold.said, [], until)
    _keep(state, [*_reversed(state), gone][-REVERSED_MAX:] + read(state))


def is_gone(state: MemberState, fact: Ledger) -> bool:
    """Whether what an entry amends was taken back with a hold."""
    return fact.amends is not None and any(hold.takes(fact) for hold in _reversed(state))


def _all(state: MemberState) -> list[Hold]:
    return _decode(state.holds) if state.holds else []


def _reversed(state: MemberState) -> list[Hold]:
    return [hold for hold in _all(state) if hold.until != OPEN]


def _keep(state: MemberState, holds: list[Hold]) -> None:
    state.holds = _encode(holds) if holds else b""


def take_out(state: MemberState, fact: Ledger, points: int) -> int:
    """Take up to so many points of an amended entry out of the hold it lies in; returns how many, 0 = it is not held.

    The entry's base says by how much less that is without factors. Nothing is booked.
    """
    holds = read(state)
    for hold in holds:
        if fact.amends and hold.takes(fact):
            part = hold.part(fact)
            out = min(points, part.points)
            part.points -= out
            part.base = max(0, part.base + fact.base)
            hold.parts = [one for one in hold.parts if one.points]
            write(state, holds)
            return out
    return 0


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Hold]).decode
