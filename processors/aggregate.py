"""Buckets: what a partition counted in the current block of offsets, as absolute totals of the block.

Late actions count in the current block, under their own hour and day; a correction counts under the day of
what it corrects. So day buckets, summed over partitions and blocks, equal the sums over the facts, and tiers
summed up to a day are the members in that tier at its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from processors import places
from processors.member import NAMES, Decision
from schemas.actions import Action
from schemas.aggregates import Bucket, BucketKey, Totals, decode_key, decode_totals, encode_key, encode_totals
from schemas.facts import Fact, Ledger, Score, TierEntered, TierLeft, TierMoved, TierVoided
from schemas.member import DAY_BITS, MemberState

if TYPE_CHECKING:
    from processors.programme import Rules

HOUR_MS = 3_600_000
NOTHING = -1  # the version of a bucket that nothing was counted in
EMPTY = Totals()


class Cell:
    """One bucket of the block. `name` is its key as the store knows it.

    No Struct: what changes with every action is set five times as fast in slots.
    """

    __slots__ = ("actions", "key", "members", "name", "points", "spend", "version")

    def __init__(self, key: BucketKey, name: str, totals: Totals) -> None:
        self.key, self.name, self.version = key, name, totals.version
        self.actions, self.points, self.spend, self.members = (
            totals.actions,
            totals.points,
            totals.spend,
            totals.members,
        )


class Periods(NamedTuple):
    """The distinct members of a day, its week and its month, in one place: everywhere, a region or a group."""

    day: Cell
    week: Cell
    month: Cell


class Spot(Struct, gc=False):
    """Where an action of one day, region, group and kind counts: found once, then one look-up an action.

    `region_row` and `group_row` are how the row of a member begins who was seen there on this day already.
    `hour_cell` is that of the hour seen last.
    """

    cell: Cell
    hour_cell: Cell
    hour: int
    everywhere: Periods
    in_region: Periods
    in_group: Periods
    region_row: bytes
    group_row: bytes


class Buckets:
    """The running totals of one partition's current block.

    Offsets count up; after `clear(block)` all totals are those of the new block. A chunk that fails is
    dropped with the whole object: load it again from the store.
    """

    def __init__(self, log: str, partition: int, block: int = 0) -> None:
        self.log, self.partition, self.block = log, partition, block
        self._cells: dict[tuple[object, ...], Cell] = {}
        self._spots: dict[tuple[int, str, str, str], Spot] = {}
        self._periods: dict[tuple[int, str, str], Periods] = {}
        self._dirty: list[Cell] = []
        self._shown: list[Cell] = []  # dirty before the last `changed`, cells may stand in it twice
        self._mark = NOTHING  # a cell with a version above it is in `_dirty`
        self._last = NOTHING  # the highest offset counted

    def count(
        self,
        rules: Rules,
        state: MemberState,
        action: Action,
        at: int,
        offset: int,
        decision: Decision,
    ) -> None:
        """Count an applied action, after `decide`, once. `at` is the moment judged.

        Marks `state.active_bits` and `state.places` of own actions: nobody else sets these, so the first own
        action of a day, week or month is seen here. Counts the facts too: no `count_facts` for them.
        """
        region, group, name, day = action.region, action.group_id, NAMES[type(action)], decision.day
        spot = self._spots.get((day, region, group, name)) or self._spot(day, region, group, name)
        hour, day_cell = at - at % HOUR_MS, spot.cell
        if spot.hour != hour:
            spot.hour, spot.hour_cell = hour, self._cell(BucketKey("hour", hour, region, action=name))
        hour_cell, mark = spot.hour_cell, self._mark
        if hour_cell.version <= mark:
            self._dirty.append(hour_cell)
        if day_cell.version <= mark:
            self._dirty.append(day_cell)
        self._last = hour_cell.version = day_cell.version = offset
        hour_cell.actions += 1
        day_cell.actions += 1
        for fact in decision.facts:
            if type(fact) is Ledger and fact.effective_at == at and fact.amends is None:
                points, spend = fact.points, fact.spend
                if points or spend:
                    hour_cell.points += points
                    hour_cell.spend += spend
                    day_cell.points += points
                    day_cell.spend += spend
            elif type(fact) is not Score:
                self._count_fact(rules, fact, offset)
        if decision.own:
            back = state.today - day
            if not state.active_bits >> back & 1 and back < DAY_BITS:
                self._count_first(spot.everywhere, state.active_bits, state.today, day, offset)
                state.active_bits |= 1 << back
            if region and state.places.find(spot.region_row) < 0:
                self._count_place(spot.in_region, spot.region_row, state, day, offset)
            if group and state.places.find(spot.group_row) < 0:
                self._count_place(spot.in_group, spot.group_row, state, day, offset)

    def count_facts(self, rules: Rules, offset: int, facts: Iterable[Fact]) -> None:
        """Count the facts of a wake, or of a decision that is not an applied action."""
        for fact in facts:
            self._count_fact(rules, fact, offset)

    def changed(self, after_version: int) -> list[Bucket]:
        """The buckets whose version lies above `after_version`, sorted by key.

        Where every record is a new second, as in imported history, looking at all of a block costs 0.2 ms a record.
        """
        after = max(after_version, NOTHING)
        some = self._dirty if after >= self._mark else self._cells.values()
        cells = [cell for cell in some if cell.version > after]
        self._shown += self._dirty
        self._dirty, self._mark = [], self._last
        return [self._bucket(cell) for cell in sorted(cells, key=_name)]

    def take_dirty(self) -> dict[str, bytes]:
        """What changed since the last call or load, for the store: encoded key -> encoded totals."""
        cells = {cell.name: cell for cell in (*self._shown, *self._dirty)}
        taken = {name: encode_totals(_totals(cell)) for name, cell in cells.items()}
        self._shown, self._dirty = [], []
        self._mark = self._last
        return taken

    def load(self, stored: Mapping[str, bytes]) -> None:
        """Replace all totals by those of the store."""
        self._forget()
        for name, value in stored.items():
            key = decode_key(name)
            self._cells[_place(key)] = Cell(key, name, decode_totals(value))
        self._mark = self._last = max((cell.version for cell in self._cells.values()), default=NOTHING)

    def clear(self, block: int) -> None:
        """Begin a new block with nothing counted; what was not published and taken before is forgotten."""
        self.block = block
        self._forget()

    def _forget(self) -> None:
        self._cells, self._spots, self._periods, self._dirty, self._shown = {}, {}, {}, [], []

    def _count_fact(self, rules: Rules, fact: Fact, offset: int) -> None:
        """Corrections and wakes: what a fact changes counts on the day at which it became true."""
        if type(fact) is Ledger:
            if fact.points or fact.spend:
                self._count_entry(rules, fact, offset)
        elif isinstance(fact, TierEntered | TierLeft):
            way = 1 if type(fact) is TierEntered else -1
            self._count_tier(rules, fact, fact.effective_at, way, offset)
        elif isinstance(fact, TierVoided | TierMoved):
            self._count_tier(rules, fact, fact.entered_at, -1, offset)
            if type(fact) is TierMoved:
                self._count_tier(rules, fact, fact.effective_at, 1, offset)

    def _count_entry(self, rules: Rules, fact: Ledger, offset: int) -> None:
        at = fact.effective_at
        day, hour = rules.calendar.day(at), at - at % HOUR_MS
        for key in (
            BucketKey("hour", hour, fact.region, action=fact.action),
            BucketKey("day", day, fact.region, fact.group_id, fact.action),
        ):
            cell = self._cell(key)
            self._touch(cell, offset)
            cell.points += fact.points
            cell.spend += fact.spend

    def _count_tier(
        self,
        rules: Rules,
        fact: TierEntered | TierLeft | TierVoided | TierMoved,
        at: int,
        way: int,
        offset: int,
    ) -> None:
        key = BucketKey("tiers", rules.calendar.day(at), fact.region, dimension=fact.dimension, tier=fact.tier)
        cell = self._cell(key)
        self._touch(cell, offset)
        cell.members += way

    def _count_place(self, periods: Periods, row: bytes, state: MemberState, day: int, offset: int) -> None:
        """An own action in a region or group, whose row in `state.places` is not known to hold the day."""
        marked = places.mark(state.places, row, day)
        if marked is not None:
            state.places, bits, newest = marked
            self._count_first(periods, bits, newest, day, offset)

    def _count_first(self, periods: Periods, bits: int, newest: int, day: int, offset: int) -> None:
        """The first own action of its day; of its week and month too where no other day has one."""
        self._count_member(periods.day, offset)
        span = places.span_of(day) if bits else None
        if span is None or not bits & places.mask(newest, span.week, 7):
            self._count_member(periods.week, offset)
        if span is None or not bits & places.mask(newest, span.month_start, span.month_days):
            self._count_member(periods.month, offset)

    def _count_member(self, cell: Cell, offset: int) -> None:
        if cell.version <= self._mark:
            self._dirty.append(cell)
        self._last = cell.version = offset
        cell.members += 1

    def _touch(self, cell: Cell, offset: int) -> None:
        if cell.version <= self._mark:
            self._dirty.append(cell)
        self._last = cell.version = offset

    def _spot(self, day: int, region: str, group: str, action: str) -> Spot:
        cell = self._cell(BucketKey("day", day, region, group, action))
        spot = self._spots[day, region, group, action] = Spot(
            cell=cell,
            hour_cell=cell,
            hour=-1,
            everywhere=self._members(day, "", ""),
            in_region=self._members(day, region, ""),
            in_group=self._members(day, "", group),
            region_row=places.row_of(f"r:{region}", day),
            group_row=places.row_of(f"g:{group}", day),
        )
        return spot

    def _members(self, day: int, region: str, group: str) -> Periods:
        """Buckets that stay empty are never published: their version stays below every offset."""
        periods = self._periods.get((day, region, group))
        if periods is None:
            span = places.span_of(day)
            periods = self._periods[day, region, group] = Periods(
                self._cell(BucketKey("members", day, region, group, period="day")),
                self._cell(BucketKey("members", span.week, region, group, period="week")),
                self._cell(BucketKey("members", span.month, region, group, period="month")),
            )
        return periods

    def _cell(self, key: BucketKey) -> Cell:
        place = _place(key)
        cell = self._cells.get(place)
        if cell is None:
            cell = self._cells[place] = Cell(key, encode_key(key).decode(), EMPTY)
        return cell

    def _bucket(self, cell: Cell) -> Bucket:
        key = cell.key
        return Bucket(
            log=self.log,
            partition=self.partition,
            block=self.block,
            version=cell.version,
            kind=key.kind,
            at=key.at,
            region=key.region,
            group_id=key.group_id,
            action=key.action,
            period=key.period,
            dimension=key.dimension,
            tier=key.tier,
            actions=cell.actions,
            points=cell.points,
            spend=cell.spend,
            members=cell.members,
        )


def _place(key: BucketKey) -> tuple[object, ...]:
    """Where a bucket stands in memory: the shortest tuple that tells it from all others."""
    if key.kind == "hour":
        return key.at, key.region, key.action
    if key.kind == "day":
        return key.at, key.region, key.group_id, key.action
    if key.kind == "members":
        return key.kind, key.at, key.region, key.group_id, key.period
    return key.kind, key.at, key.region, key.dimension, key.tier


def _name(cell: Cell) -> str:
    return cell.name


def _totals(cell: Cell) -> Totals:
    return Totals(cell.version, cell.actions, cell.points, cell.spend, cell.members)
