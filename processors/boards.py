"""Boards: places of the week and the month, folded from the facts of all partitions.

Hot talk sums the weights of messages, of a member's programme day only the first ones by (moment, source, event_id);
spending sums net spend at the moment of the purchase. A member's facts are all in one partition, and whether a fact
still counts is told by its own partition's clock, so it does not matter how the partitions interleave: what a board is
depends on the facts alone, and it is final once every partition's clock has passed its last moment.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import msgspec
from msgspec import Struct

from processors.board_sheets import Row, Sheet
from processors.calendar import DAY_MS
from processors.programme import Rules
from processors.ranking import Place, Ranking
from schemas.boards import BOARDS, PERIODS, BoardKey, BoardName, Period
from schemas.member import DAY_COUNTS

HOT_TALK, SPENDING = BOARDS
WEEK, MONTH = PERIODS

KEPT_DAYS = DAY_COUNTS
"""Days behind the clock that an accepted action, or the closing of an account, may still reach."""

Span = tuple[Period, int]
"""A week by its Monday, a month by its number."""


class Told(Struct, gc=False):
    """What boards read of a fact; other fields pass by."""

    kind: str
    n: int
    member_id: str
    effective_at: int
    decided_at: int
    offset: int
    index: int
    source: str = ""
    event_id: str = ""
    group_id: str = ""
    rule: str = ""
    entry: str = ""
    spend: int = 0
    weight: int = 0
    home: str = ""
    amends: tuple[int, int] | None = None
    control: str = ""
    number: int = 0


decode = msgspec.json.Decoder(Told).decode
Message = tuple[int, str, str, int, str]  # moment, source, event_id, weight, group
Buy = tuple[int, int, str, int, int]  # moment of the order, spend, group; offset and index of its entry
_messages: Callable[[bytes], list[Message]] = msgspec.msgpack.Decoder(list[Message]).decode
_pack = msgspec.msgpack.Encoder().encode


class Person(Struct, array_like=True, gc=False):
    """A member as boards know it: home, when last closed, the messages of each recent day, recent orders."""

    home: str = ""
    closed_at: int = 0
    days: dict[int, bytes] = {}
    buys: list[Buy] = []


class Standing(Struct, array_like=True, gc=False):
    """A member in one week or month: the home region it counts for there, and its sums by group ("" = in none)."""

    home: str = ""
    talk: dict[str, int] = {}
    spend: dict[str, int] = {}

    def sums(self, board: BoardName) -> dict[str, int]:
        """The sums by group of one board."""
        return self.talk if board == HOT_TALK else self.spend


class Part(Struct):
    """What is known from one partition's facts, and up to which clock; it can be stored and taken up again.

    `known_from` is the clock of the first fact read, 0 where that is the very first one of the partition, -1 before it.
    """

    clock: int = 0
    known_from: int = -1
    swept_day: int = 0
    people: dict[str, Person] = {}
    standings: dict[Period, dict[int, dict[str, Standing]]] = msgspec.field(
        default_factory=lambda: {period: {} for period in PERIODS}
    )


class Bounds(NamedTuple):
    """The moments of a week or month (ms): [start, end), taking late actions until `final_at`."""

    start: int
    end: int
    final_at: int


class Seasons:
    """Every version of the programme that the log has, and which of them a moment, a day, a period goes by.

    A moment belongs to the day that the version holding then says; the numbers of a day, a week or a month are those
    of the version that holds when it ends.
    """

    def __init__(self, versions: Iterable[Rules]) -> None:
        self.versions = sorted(versions, key=lambda rules: (rules.holds_from, rules.number))

    @property
    def fingerprint(self) -> list[tuple[int, str, int, int, int, int]]:
        """What of the versions shapes boards, each change of it once: what was folded under another one is worth
        nothing.
        """
        found: list[tuple[int, str, int, int, int, int]] = []
        for rules in self.versions:
            boards, calendar = rules.programme.boards, rules.calendar
            counts = (boards.messages_per_day, boards.settle_days, boards.places)
            shape = (calendar.zone_name, calendar.day_starts_at, *counts)
            if not found or found[-1][1:] != shape:
                found.append((rules.holds_from, *shape))
        return found

    def at(self, moment: int) -> Rules:
        """The version that holds at a moment."""
        for rules in reversed(self.versions):
            if rules.holds_from <= moment:
                return rules
        return self.versions[0]

    def of_day(self, day: int) -> Rules:
        """The version that holds when a day ends."""
        for rules in reversed(self.versions):
            if rules.holds_from < rules.calendar.day_start(day + 1):
                return rules
        return self.versions[0]

    def span(self, period: Period, day: int) -> Span:
        """The week or month that a day lies in."""
        calendar = self.of_day(day).calendar
        return (WEEK, calendar.week(day)) if period == WEEK else (MONTH, calendar.month(day))

    def of_span(self, span: Span) -> Rules:
        """The version that holds when a week or month ends."""
        return self.of_day(_days_of(span)[1] - 1)

    def bounds(self, span: Span) -> Bounds:
        """The moments of a week or month."""
        first, after = _days_of(span)
        rules = self.of_span(span)
        end = rules.calendar.day_start(after)
        return Bounds(rules.calendar.day_start(first), end, end + rules.programme.boards.settle_days * DAY_MS)


def _days_of(span: Span) -> tuple[int, int]:
    """The first day of a week or month, and the first one after it."""
    period, at = span
    return (at, at + 7) if period == WEEK else (month_start(at), month_start(at + 1))


def month_start(month: int) -> int:
    """The first day of a month (year x 12 + month - 1), by the civil calendar, as days since 1970-01-01."""
    year, number = divmod(month, 12)
    before = year - (number < 2)  # years begin in March here, so that leap days come last
    shifted = (number + 10) % 12
    return 365 * before + before // 4 - before // 100 + before // 400 + (153 * shifted + 2) // 5 - 719_468


class Boards:
    """The fold. `add` facts partition by partition, in order within each; ask `table`, `due` and `final`."""

    def __init__(self, seasons: Seasons, partitions: int) -> None:
        self.seasons = seasons
        self.parts = {partition: Part() for partition in range(partitions)}
        self._sheets: dict[Span, dict[BoardName, Sheet]] = {}
        self._bounds: dict[Span, Bounds] = {}
        self._open: dict[int, tuple[Span, ...]] = {}
        self._limits: dict[int, int] = {}

    # -- what comes in ------------------------------------------------------------------------------------------

    def add(self, partition: int, fact: Told) -> None:
        """One fact more of a partition."""
        part = self.parts[partition]
        if part.known_from < 0:
            part.known_from = 0 if fact.n == 1 else fact.decided_at
        if fact.decided_at > part.clock:
            part.clock = fact.decided_at
        match fact.kind:
            case "ledger":
                if fact.rule == "message" and fact.amends is None:
                    self._spoke(part, fact)
                elif fact.spend:
                    self._spent(part, fact)
            case "region.changed":
                self._moved(part, fact.member_id, self._person(part, fact.member_id), fact.home)
            case "account.closed":
                self._closed(part, fact)

    def passed(self, partition: int, clock: int) -> None:
        """A partition without new facts has seen this clock all the same."""
        part = self.parts[partition]
        part.clock = max(part.clock, clock)

    def load(self, partition: int, part: Part) -> None:
        """Take up what was stored of a partition of which nothing was added yet."""
        self.parts[partition] = part
        for period, spans in part.standings.items():
            for at, standings in spans.items():
                for member_id, standing in standings.items():
                    for board in BOARDS:
                        sheet = self._sheet(board, (period, at))
                        sheet.all_of(member_id, standing.home, {}, standing.sums(board))

    def sweep(self, partition: int) -> None:
        """Forget what no fact of the partition can reach any more; cheap but for once a day."""
        part = self.parts[partition]
        day = self._day(part.clock)
        if day == part.swept_day:
            return
        part.swept_day = day
        oldest = day - KEPT_DAYS
        oldest_at = self.seasons.of_day(oldest).calendar.day_start(oldest)
        for member_id, person in list(part.people.items()):
            for old in [it for it in person.days if it < oldest]:
                del person.days[old]
            person.buys = [buy for buy in person.buys if self._may_count(buy[0], part.clock)]
            if not person.days and not person.buys and person.closed_at < oldest_at:
                del part.people[member_id]

    # -- what is asked ------------------------------------------------------------------------------------------

    def table(self, key: BoardKey, places: int = 0, lines: int = 0) -> list[Place]:
        """A board as it stands: so many places (0 = all), on so many lines at most (0 = all who share the last one)."""
        ranking = self._find(key)
        return ranking.table(places, lines) if ranking else []

    def members(self, key: BoardKey) -> int:
        """How many have a value on a board."""
        ranking = self._find(key)
        return ranking.members if ranking else 0

    def bounds(self, span: Span) -> Bounds:
        """The moments of a week or month."""
        found = self._bounds.get(span)
        if found is None:
            found = self._bounds[span] = self.seasons.bounds(span)
        return found

    def spans(self) -> list[Span]:
        """The weeks and months that are held."""
        held = {(period, at) for part in self.parts.values() for period in PERIODS for at in part.standings[period]}
        return sorted(held)

    def current(self, period: Period) -> Span:
        """The week or month that the newest fact was decided in."""
        return self.seasons.span(period, self._day(max(part.clock for part in self.parts.values())))

    def is_whole(self, span: Span) -> bool:
        """Whether every fact of it was there to be read: facts are kept in their topic for some weeks only."""
        start = self.bounds(span).start
        return all(part.known_from <= 0 or part.known_from + DAY_MS <= start for part in self.parts.values())

    def is_final(self, span: Span) -> bool:
        """Whether no partition can add anything."""
        final_at = self.bounds(span).final_at
        return all(part.clock >= final_at for part in self.parts.values())

    def due(self, now: int) -> list[tuple[Span, list[int]]]:
        """The weeks and months whose last moment lies behind `now` (ms), with the partitions that may still add."""
        found = []
        for span in self.spans():
            final_at = self.bounds(span).final_at
            if final_at <= now:
                found.append((span, [p for p, part in self.parts.items() if part.clock < final_at]))
        return found

    def boards_of(self, span: Span) -> Iterator[tuple[BoardKey, list[Place]]]:
        """Every board of a week or month that has a place, in order."""
        for board, sheet in sorted(self._sheets.get(span, {}).items()):
            for region, group, ranking in sheet.scopes():
                if table := ranking.table():
                    yield BoardKey(board, *span, region, group), table

    def drop(self, span: Span) -> None:
        """Forget a week or month that is kept elsewhere."""
        period, at = span
        for part in self.parts.values():
            part.standings[period].pop(at, None)
        self._sheets.pop(span, None)
        self._bounds.pop(span, None)

    # -- one fact -----------------------------------------------------------------------------------------------

    def _spoke(self, part: Part, fact: Told) -> None:
        """A message takes its place in the day; what it pushes out of the first ones counts no more."""
        member_id, at = fact.member_id, fact.effective_at
        person = self._person(part, member_id)
        self._moved(part, member_id, person, fact.home)
        day = self._day(at)
        row: Message = (at, fact.source, fact.event_id, fact.weight, fact.group_id)
        raw = person.days.get(day)
        rows = _messages(raw) if raw else []
        limit = self._limit(day)
        place = bisect_left(rows, row)
        if place >= limit:
            return
        rows.insert(place, row)
        changes = [(fact.group_id, fact.weight)] if at > person.closed_at else []
        if len(rows) > limit:
            out = rows.pop()
            if out[0] > person.closed_at:
                changes.append((out[4], -out[3]))
        person.days[day] = _pack(rows)
        self._change(part, fact, HOT_TALK, person, day, changes)

    def _spent(self, part: Part, fact: Told) -> None:
        """An order, or a refund, which counts where its order did; one of an order too old for any board does not."""
        person = self._person(part, fact.member_id)
        if fact.amends is None:
            if fact.spend < 0:
                return
            self._moved(part, fact.member_id, person, fact.home)
            at, group = fact.effective_at, fact.group_id
        else:
            order = next((buy for buy in person.buys if buy[3:] == fact.amends), None)
            if order is None:
                return
            at, group = order[0], order[2]
        person.buys.append((at, fact.spend, group, fact.offset, fact.index))
        if at > person.closed_at:
            self._change(part, fact, SPENDING, person, self._day(at), [(group, fact.spend)])

    def _moved(self, part: Part, member_id: str, person: Person, home: str) -> None:
        """A member takes its sums along to another region, on every board that its partition's clock leaves open."""
        if home == person.home:
            return
        person.home = home
        for period in PERIODS:
            for at, standings in part.standings[period].items():
                standing = standings.get(member_id)
                if standing is None or standing.home == home or not self._takes((period, at), part.clock):
                    continue
                for board in BOARDS:
                    total = sum(standing.sums(board).values())
                    self._sheet(board, (period, at)).moved(member_id, standing.home, home, total)
                standing.home = home

    def _closed(self, part: Part, fact: Told) -> None:
        """What the member did up to the closing leaves every open board; what comes after counts anew."""
        person = self._person(part, fact.member_id)
        at = fact.effective_at
        if at <= person.closed_at:
            return
        person.closed_at = at
        for period in PERIODS:
            for number, standings in part.standings[period].items():
                span: Span = (period, number)
                standing = standings.get(fact.member_id)
                if standing is None or self.bounds(span).start > at or not self._takes(span, fact.decided_at):
                    continue
                before = (standing.talk, standing.spend)
                standing.talk, standing.spend = self._left(person, span)
                for board, sums in zip(BOARDS, before, strict=True):
                    sheet = self._sheet(board, span)
                    sheet.all_of(fact.member_id, standing.home, sums, standing.sums(board))

    def _left(self, person: Person, span: Span) -> tuple[dict[str, int], dict[str, int]]:
        """The sums of what a member did after its closing. All of that is recent enough to be held row by row."""
        talk: dict[str, int] = {}
        spend: dict[str, int] = {}
        for day, raw in person.days.items():
            if self.seasons.span(span[0], day) == span:
                for at, _, _, weight, group in _messages(raw):
                    if at > person.closed_at:
                        talk[group] = talk.get(group, 0) + weight
        for at, amount, group, _, _ in person.buys:
            if at > person.closed_at and self.seasons.span(span[0], self._day(at)) == span:
                spend[group] = spend.get(group, 0) + amount
        return talk, spend

    # -- sums and places ----------------------------------------------------------------------------------------

    def _change(
        self, part: Part, fact: Told, board: BoardName, person: Person, day: int, changes: list[tuple[str, int]]
    ) -> None:
        if not changes:
            return
        member_id = fact.member_id
        for span in self._spans_of(day):
            if not self._takes(span, fact.decided_at):
                continue
            standings = part.standings[span[0]].setdefault(span[1], {})
            standing = standings.get(member_id)
            if standing is None:
                standing = standings[member_id] = Standing(person.home)
            sums, sheet = standing.sums(board), self._sheet(board, span)
            before = total = sum(sums.values())
            for group, change in changes:
                held = sums.get(group, 0)
                sums[group] = held + change
                total += change
                sheet.group(group, member_id, held, held + change)
            sheet.total(member_id, standing.home, before, total)

    def _find(self, key: BoardKey) -> Ranking | None:
        sheet = self._sheets.get((key.period, key.at), {}).get(key.board)
        return sheet.find(key.region, key.group_id) if sheet else None

    def _sheet(self, board: BoardName, span: Span) -> Sheet:
        sheets = self._sheets.get(span)
        if sheets is None:
            sheets = self._sheets[span] = {}
        sheet = sheets.get(board)
        if sheet is None:
            places = self.seasons.of_span(span).programme.boards.places
            sheet = sheets[board] = Sheet(places, lambda: self._rows(board, span))
        return sheet

    def _rows(self, board: BoardName, span: Span) -> Iterator[Row]:
        """Everybody on a board: what a scan looks through."""
        period, at = span
        for part in self.parts.values():
            for member_id, standing in part.standings[period].get(at, {}).items():
                yield member_id, standing.home, standing.sums(board)

    def _takes(self, span: Span, clock: int) -> bool:
        """Whether a fact decided at this clock of its partition still counts."""
        return clock < self.bounds(span).final_at

    def _may_count(self, moment: int, clock: int) -> bool:
        """Whether any week or month of this moment still takes facts."""
        return any(self._takes(span, clock) for span in self._spans_of(self._day(moment)))

    def _spans_of(self, day: int) -> tuple[Span, ...]:
        found = self._open.get(day)
        if found is None:
            if len(self._open) > 400:
                self._open.clear()
            found = self._open[day] = (self.seasons.span(WEEK, day), self.seasons.span(MONTH, day))
        return found

    def _limit(self, day: int) -> int:
        found = self._limits.get(day)
        if found is None:
            if len(self._limits) > 400:
                self._limits.clear()
            found = self._limits[day] = self.seasons.of_day(day).programme.boards.messages_per_day
        return found

    def _day(self, moment: int) -> int:
        return self.seasons.at(moment).calendar.day(moment)

    @staticmethod
    def _person(part: Part, member_id: str) -> Person:
        person = part.people.get(member_id)
        if person is None:
            person = part.people[member_id] = Person()
        return person
