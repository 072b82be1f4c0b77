"""What another programme would have made of a log: how a partition is parted from what was lived, and what differs.

Nothing is judged here: the fold of `partition.py` runs under both programmes, this says where they part and compares
the members that come out.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from processors import badges, levels
from processors.control import series
from processors.judgement import home_region
from processors.programme import Rules
from processors.value import value_class
from processors.versions import inserted
from schemas.member import MemberState
from schemas.partition import PartitionState
from schemas.records import ProgrammeControl

LAST = 2**53
"""The highest number a control record can have: later programmes of the log are not above it, and so are ignored."""

NAMED = 10
"""How many members are named of those that gain most, and of those that lose."""


def parted(own: PartitionState, text: str, holds_from: int, key: tuple[str, str]) -> PartitionState:
    """A partition's own state under another programme from `holds_from` on, and under it alone from 0 on.

    Programmes that the log brings later are ignored, and so are those that wait for a later moment. `key` (id, public)
    signs the derived and control records that the simulation puts into the log; those that are there stay valid.
    """
    last = own.programmes[-1]
    control = ProgrammeControl(
        id=last.id, number=max(it.number for it in own.programmes) + 1, by="simulate", text=text, holds_from=holds_from
    )
    before = [it for it in own.programmes if it.holds_from <= holds_from]
    programmes = inserted(before, control, own.clock) if holds_from else [control]
    return msgspec.structs.replace(
        own,
        programmes=programmes,
        numbers=own.numbers | {series(control): LAST},
        staff_keys=own.staff_keys | {key[0]: key[1]},
        worker_keys=own.worker_keys | {key[0]: key[1]},
    )


# -- members ------------------------------------------------------------------------------------------------------


class Standing(NamedTuple):
    """A member at the end, as far as it is compared."""

    region: str
    level: str
    value: str
    issued: int
    net: int  # active + pending - debt: what is owed to the member
    badges: int


def standing(rules: Rules, state: MemberState, clock: int) -> Standing:
    """How a member stands by the rules in force at the clock."""
    return Standing(
        home_region(state),
        levels.name(rules, state),
        value_class(rules, state, clock),
        state.issued,
        state.active + state.pending - state.debt,
        badges.many(state),
    )


class Sums(Struct, array_like=True):
    """Of some members together."""

    members: int = 0
    issued: int = 0
    net: int = 0
    badges: int = 0

    def add(self, one: Standing | Sums, members: int = 1) -> None:
        """Add a member, or others' sums."""
        self.members += members
        self.issued += one.issued
        self.net += one.net
        self.badges += one.badges


class Pair(Struct, array_like=True):
    """The same members as lived and under the other programme."""

    live: Sums = msgspec.field(default_factory=Sums)
    new: Sums = msgspec.field(default_factory=Sums)


class Change(Struct, array_like=True, order=True):
    """What one member would have more of (or less)."""

    issued: int
    net: int
    member_id: str
    level: str = ""
    new_level: str = ""


DIMENSIONS = ("region", "level", "value")


class Difference(Struct):
    """Everything that is told of two outcomes, by what members were as lived; levels by what they are in each."""

    total: Pair = msgspec.field(default_factory=Pair)
    by: dict[str, dict[str, Pair]] = msgspec.field(default_factory=lambda: {name: {} for name in DIMENSIONS})
    changed: int = 0
    gains: list[Change] = []
    losses: list[Change] = []

    def add(self, other: Difference) -> None:
        """Add another partition's."""
        _join(self.total, other.total)
        for name, groups in other.by.items():
            for key, pair in groups.items():
                _join(self.by[name].setdefault(key, Pair()), pair)
        self.changed += other.changed
        self.gains = heapq.nlargest(NAMED, [*self.gains, *other.gains])
        self.losses = heapq.nsmallest(NAMED, [*self.losses, *other.losses])


def compared(live: Mapping[str, Standing], new: Mapping[str, Standing]) -> Difference:
    """One partition's members as lived and under the other programme."""
    found, changes = Difference(), list[Change]()
    for member_id in live.keys() | new.keys():
        ours, theirs = live.get(member_id, NOBODY), new.get(member_id, NOBODY)
        was = ours if member_id in live else theirs
        _count(found.total, ours, theirs)
        for name in DIMENSIONS:
            groups = found.by[name]
            if name == "level":
                groups.setdefault(ours.level, Pair()).live.add(ours)
                groups.setdefault(theirs.level, Pair()).new.add(theirs)
            else:
                _count(groups.setdefault(getattr(was, name), Pair()), ours, theirs)
        if ours != theirs:
            found.changed += 1
            changes.append(
                Change(theirs.issued - ours.issued, theirs.net - ours.net, member_id, ours.level, theirs.level)
            )
    found.gains = heapq.nlargest(NAMED, (it for it in changes if (it.issued, it.net) > (0, 0)))
    found.losses = heapq.nsmallest(NAMED, (it for it in changes if (it.issued, it.net) < (0, 0)))
    return found


NOBODY = Standing("", "", "", 0, 0, 0)


def _count(pair: Pair, ours: Standing, theirs: Standing) -> None:
    pair.live.add(ours, ours is not NOBODY)
    pair.new.add(theirs, theirs is not NOBODY)


def _join(pair: Pair, other: Pair) -> None:
    pair.live.add(other.live, other.live.members)
    pair.new.add(other.new, other.new.members)


# -- records that follow from others ------------------------------------------------------------------------------


class Origin(NamedTuple):
    """The cause of a derived record in the log: partition, offset and index there."""

    partition: int
    offset: int
    nth: int


class Slot(NamedTuple):
    """A derived record as the log holds it: where, its cause, and a hash of what it says beside that."""

    offset: int
    origin: Origin
    said: bytes


class Made(NamedTuple):
    """A derived record as a fold made it: for which partition, its cause, the clock there, the same hash, and whole."""

    home: int
    origin: Origin
    at: int
    said: bytes
    body: bytes


class Put(NamedTuple):
    """A derived record put into the log: before which offset, its moment, its cause and body."""

    before: int
    at: int
    origin: Origin
    body: bytes


class Patch(NamedTuple):
    """What is different in a partition's log: offsets of derived records that never came, those put in, and the bodies
    of control records that say something else at the same offset.
    """

    gone: frozenset[int]
    put: tuple[Put, ...]
    said: tuple[tuple[int, bytes], ...] = ()

    def joined(self, other: Patch) -> Patch:
        """Both; they never speak of the same record."""
        return Patch(self.gone | other.gone, tuple(sorted(self.put + other.put)), self.said + other.said)


UNCHANGED = Patch(frozenset(), ())


def patch_of(slots: Iterable[Slot], made: Iterable[Made], place: Mapping[int, int], first: int) -> Patch:
    """How a partition's log must be changed for what other folds made.

    What follows from one record of the log is compared together, in order; the numbers of its facts may be others. If
    it differs it comes where it came, else at its moment: `place` tells before which offset one lies. Nothing changes
    below offset `first`. Records of one origin stay in the order of their causes, for a lower one that comes later
    would be ignored.
    """
    ours, theirs = _by_cause(slots), _by_cause(made)
    gone: set[int] = set()
    put: list[Put] = []
    bounds: dict[int, int] = {}  # partition of the cause -> offset of the next one that the log holds
    for cause in sorted(ours.keys() | theirs.keys(), reverse=True):
        held, new = ours.get(cause, []), theirs.get(cause, [])
        stays = [it.said for it in held] == [it.said for it in new] or (held and held[0].offset < first)
        if not stays:
            gone.update(it.offset for it in held)
            before = held[0].offset if held else max(first, min(place[new[0].at], bounds.get(cause[0], LAST)))
            put += [Put(before, it.at, it.origin, it.body) for it in new]
        if held:
            bounds[cause[0]] = held[0].offset
    return Patch(frozenset(gone), tuple(sorted(put)))


_Derived = TypeVar("_Derived", Slot, Made)


def _by_cause(records: Iterable[_Derived]) -> dict[tuple[int, int], list[_Derived]]:
    """Derived records by the partition and offset that brought them about, in order; a repeat counts once."""
    once = {it.origin: it for it in sorted(records, key=lambda it: it.origin, reverse=True)}
    found: dict[tuple[int, int], list[_Derived]] = {}
    for origin in sorted(once):
        found.setdefault(origin[:2], []).append(once[origin])
    return found
