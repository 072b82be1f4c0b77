"""What all partitions of a simulation make together: awards of final boards, and thresholds of the population.

A partition's task leaves what boards and populations read of its facts in a file of rows. Here they are folded
partition by partition, in processes of their own; a week or month that no fact of a partition reaches any more goes to
a file, so what is held in memory is what the boards process holds. Both folds, as lived and under the other programme,
go the same way, and only where they differ does the log say something else.
"""

from __future__ import annotations

import filecmp
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import msgspec
from msgspec import Struct

from processors.awards import Final, Parting, awards_of, is_settled_otherwise, of_span, patches
from processors.boards import Boards, Part, Seasons, Span, Standing
from processors.calendar import DAY_MS
from processors.population import Counts, Population, Row, added
from processors.programme import compile_programme
from processors.simulate import UNCHANGED, Patch
from schemas.boards import PERIODS, Period
from schemas.records import Award, ProgrammeControl, Thresholds
from streams.replay import Source
from streams.simulate_partition import Outcome, Shown
from streams.simulate_rows import rows_of
from streams.thresholds import cuts_of, record

Given = TypeVar("Given")
Result = TypeVar("Result")


class Work(Protocol):
    """Runs a function on each of the given, several at a time; results in their order."""

    async def __call__(self, function: Callable[[Given], Result], given: Sequence[Given]) -> list[Result]: ...


# -- one partition, in a process of its own -----------------------------------------------------------------------


class Cut(Struct, frozen=True):
    """Thresholds that the log shows: their number, and the day that is asked for, by the version that holds then."""

    number: int
    day: int
    moment: int


class Folding(Struct, frozen=True, kw_only=True):
    """What is folded of a partition: its rows, of another programme those behind the ones it shares with the live."""

    partition: int
    partitions: int
    clock: int
    programmes: list[ProgrammeControl]
    cuts: list[Cut]
    rows: Path
    name: str
    shared: Path | None = None
    shared_n: int = 0  # the last fact that both have

    def __iter__(self) -> Iterator[Row]:
        """The rows in their order."""
        for row in rows_of(self.shared) if self.shared else ():
            if row.n > self.shared_n:
                break
            yield row
        yield from rows_of(self.rows)


class Folded(Struct, frozen=True):
    """What came of it: a file for each week and month that it changes no more, and the counts by number."""

    known_from: int
    spans: dict[Span, Path]
    counts: dict[int, dict[str, Counts]]


def fold(it: Folding) -> Folded:
    """Fold the rows of a partition."""
    seasons = _seasons(it.programmes)
    boards, part = Boards(seasons, it.partitions), it.partition
    population = Population(seasons.at(cut.moment) for cut in it.cuts)
    cuts = {cut.number: cut for cut in it.cuts}
    spans: dict[Span, Path] = {}
    counts: dict[int, dict[str, Counts]] = {}
    day = 0
    for row in it:
        if row.kind == "in_force" and row.control == "thresholds" and row.number in cuts:
            cut = cuts[row.number]
            counts[cut.number] = population.counts(seasons.at(cut.moment), cut.day)
        boards.add(part, row)
        population.add(row)
        if row.decided_at // DAY_MS != day:
            day = row.decided_at // DAY_MS
            boards.sweep(part)
            _let_go(boards, it, spans)
    boards.passed(part, it.clock)
    _let_go(boards, it, spans)
    return Folded(boards.parts[part].known_from, spans, counts)


def _let_go(boards: Boards, it: Folding, spans: dict[Span, Path]) -> None:
    """Weeks and months that this partition changes no more go to files."""
    part = boards.parts[it.partition]
    for span in boards.spans():
        if boards.bounds(span).final_at <= part.clock:
            period, at = span
            path = it.rows.with_name(f"{it.partition}-{it.name}-{period}-{at}.board")
            path.write_bytes(msgspec.msgpack.encode(part.standings[period][at]))
            spans[span] = path
            boards.drop(span)


class Settling(Struct, frozen=True):
    """A week or month that is final: the files of all partitions that have any of it."""

    span: Span
    partitions: int
    programmes: list[ProgrammeControl]
    paths: dict[int, Path]


def settle(it: Settling) -> tuple[Award, ...]:
    """The awards of its boards."""
    boards = Boards(_seasons(it.programmes), it.partitions)
    for partition, path in it.paths.items():
        period, at = it.span
        standings: dict[Period, dict[int, dict[str, Standing]]] = {one: {} for one in PERIODS}
        standings[period][at] = msgspec.msgpack.decode(path.read_bytes(), type=dict[str, Standing])
        boards.load(partition, Part(standings=standings))
    return awards_of(boards, it.span)


def _seasons(programmes: Iterable[ProgrammeControl]) -> Seasons:
    return Seasons(compile_programme(one.text, one.number, one.holds_from) for one in programmes)


# -- all of them together -----------------------------------------------------------------------------------------


class Changes(NamedTuple):
    """How the log differs by what all partitions make together."""

    patches: dict[int, Patch]
    awards: int  # given otherwise, at another moment, or not at all
    thresholds: int  # records that say other values


NOTHING = Changes({}, 0, 0)


class Together:
    """Compares what all partitions make together as it was lived with what another programme makes of it.

    `place` tells before which offset of a partition a moment lies.
    """

    def __init__(
        self,
        lived: Mapping[int, Outcome],
        parting: Parting,
        other: ProgrammeControl,
        source: Source,
        work: Work,
        place: Callable[[int, int], Awaitable[int]],
        *,
        has_all: bool,
    ) -> None:
        self.lived, self.parting, self.source, self.work, self.place = lived, parting, source, work, place
        known = {it.number: it for outcome in lived.values() for it in outcome.programmes}
        self.live = list(known.values())
        self.other = (
            [*(it for it in self.live if it.holds_from <= parting.moment), other] if parting.moment else [other]
        )
        self.held = of_span(it for outcome in lived.values() for it in outcome.awards)
        self.shown = self._thresholds() if has_all else {}
        self.clock = min(outcome.clock for outcome in lived.values())
        self._live: dict[int, Folded] = {}
        self._new: dict[int, Folded] = {}
        self._moments: dict[int, int] = {}

    def _thresholds(self) -> dict[int, list[Shown]]:
        """The thresholds that every partition was shown after the programmes part, by number."""
        found: dict[int, list[Shown]] = {}
        for outcome in self.lived.values():
            for it in outcome.thresholds:
                found.setdefault(it.body.number, []).append(it)
        return {
            number: shown
            for number, shown in found.items()
            if len(shown) == len(self.lived) and all(it.offset >= self.parting.offsets[it.partition] for it in shown)
        }

    async def changes(self, new: Mapping[int, Outcome], again: Sequence[int]) -> Changes:
        """What differs now that the partitions of `again` were folded (anew) under the other programme."""
        live, other = _seasons(self.live), _seasons(self.other)
        days = {number: self._days(shown, live, other) for number, shown in self.shown.items()}
        if not self._live:
            cuts = [Cut(number, was, moment) for number, (moment, was, _) in days.items()]
            folding = [self._folding(out, "live", self.live, cuts) for out in self.lived.values()]
            self._live = dict(zip(self.lived, await self.work(fold, folding), strict=True))
        cuts = [Cut(number, would, moment) for number, (moment, _, would) in days.items()]
        folding = [self._folding(new[p], "new", self.other, cuts) for p in again]
        self._new |= dict(zip(again, await self.work(fold, folding), strict=True))
        patches, awards = await self._awards(live, other)
        said = self._said(days, live, other)
        for bodies in said.values():
            for partition, offset, body in bodies:
                patches[partition] = patches[partition].joined(Patch(frozenset(), (), ((offset, body),)))
        return Changes(patches, awards, len(said))

    def _folding(self, out: Outcome, name: str, programmes: list[ProgrammeControl], cuts: list[Cut]) -> Folding:
        lived = self.lived[out.partition]
        return Folding(
            partition=out.partition,
            partitions=len(self.lived),
            clock=out.clock,
            programmes=programmes,
            cuts=cuts,
            rows=out.rows,
            name=name,
            shared=lived.rows if name == "new" else None,
            shared_n=lived.parted_n,
        )

    # -- thresholds ---------------------------------------------------------------------------------------------

    @staticmethod
    def _days(shown: list[Shown], live: Seasons, other: Seasons) -> tuple[int, int, int]:
        """When thresholds were shown, of which day they are, and of which day they would be."""
        moment, day = min(it.at for it in shown), shown[0].body.day
        apart = other.at(moment).calendar.day(moment) - live.at(moment).calendar.day(moment)
        return moment, day, day + apart

    def _said(
        self, days: Mapping[int, tuple[int, int, int]], live: Seasons, other: Seasons
    ) -> dict[int, list[tuple[int, int, bytes]]]:
        """Thresholds that are others: partition, offset and body of each record, by number."""
        found = {}
        for number, (moment, was, would) in days.items():
            ours = _thresholds(self._live, number, live, moment, was)
            theirs = _thresholds(self._new, number, other, moment, would)
            if (was, ours.values, ours.counts) != (would, theirs.values, theirs.counts):
                found[number] = [
                    (it.partition, it.offset, msgspec.json.encode(_saying(it.body, theirs)))
                    for it in self.shown[number]
                ]
        return found

    # -- awards -------------------------------------------------------------------------------------------------

    async def _awards(self, live: Seasons, other: Seasons) -> tuple[dict[int, Patch], int]:
        """How the logs differ by awards, and how many of these."""
        found = dict.fromkeys(self.lived, UNCHANGED)
        spans = sorted({*self._final(self._live, live), *self._final(self._new, other), *self.held})
        spans = [span for span in spans if self._is_whole(span, live, other) and self._differs(span, live, other)]
        ours = await self._finals(spans, self._live, live, self.live)
        theirs = await self._finals(spans, self._new, other, self.other)
        for span in spans:
            held, was, would = self.held.get(span, []), ours.get(span), theirs.get(span)
            if not is_settled_otherwise(span, was, would, held, self.parting):
                continue
            stays = bool(held and was and would and was.final_at == would.final_at)
            at = min(it.at for it in held) if stays else await self._moment(would.final_at) if would else 0
            places = {p: await self.place(p, at) for p in self.lived} if would else {}
            for p, patch in patches(held, would, at, len(self.lived), places, stays=stays).items():
                found[p] = found[p].joined(patch)
        return found, sum(len(patch.gone) + len(patch.put) for patch in found.values())

    def _final(self, folded: Mapping[int, Folded], seasons: Seasons) -> set[Span]:
        """Weeks and months that no partition can change any more."""
        spans = {span for one in folded.values() for span in one.spans}
        return {span for span in spans if seasons.bounds(span).final_at <= self.clock}

    def _is_whole(self, span: Span, live: Seasons, other: Seasons) -> bool:
        """Whether all facts of it were folded: a fold that begins with an image lacks those before."""
        start = min(live.bounds(span).start, other.bounds(span).start)
        return all(one.known_from <= 0 or one.known_from + DAY_MS <= start for one in self._live.values())

    def _differs(self, span: Span, live: Seasons, other: Seasons) -> bool:
        """Whether sums, the last moment or the number of awarded places may be others: most weeks are told by that."""
        ours, theirs = live.of_span(span).programme.boards, other.of_span(span).programme.boards
        if live.bounds(span) != other.bounds(span) or ours != theirs:
            return True
        files = [(self._live[p].spans.get(span), self._new[p].spans.get(span)) for p in self.lived]
        return any(a != b if a is None or b is None else not filecmp.cmp(a, b, shallow=False) for a, b in files)

    async def _finals(
        self, spans: list[Span], folded: Mapping[int, Folded], seasons: Seasons, programmes: list[ProgrammeControl]
    ) -> dict[Span, Final]:
        wanted = [span for span in spans if span in self._final(folded, seasons)]
        paths = [{p: one.spans[span] for p, one in folded.items() if span in one.spans} for span in wanted]
        settling = [Settling(span, len(folded), programmes, of) for span, of in zip(wanted, paths, strict=True)]
        awards = await self.work(settle, settling)
        return {span: Final(seasons.bounds(span).final_at, of) for span, of in zip(wanted, awards, strict=True)}

    async def _moment(self, final_at: int) -> int:
        """When every partition's clock has passed a moment: boards are made final then."""
        if final_at not in self._moments:
            stamps = [await self._stamp(partition, final_at) for partition in self.lived]
            self._moments[final_at] = max(stamps)
        return self._moments[final_at]

    async def _stamp(self, partition: int, at: int) -> int:
        """The stamp of the first record at or after a moment."""
        offset = await self.source.offset_at(partition, at)
        if offset is not None:
            async for records in self.source.read(partition, offset, offset + 1):
                return max(at, records[0].timestamp)
        return at


def _thresholds(folded: Mapping[int, Folded], number: int, seasons: Seasons, moment: int, day: int) -> Thresholds:
    rules = seasons.at(moment)
    counts = added(one.counts.get(number, {}) for one in folded.values())
    return record(cuts_of(counts, rules), rules, day, "simulate", "")


def _saying(body: Thresholds, theirs: Thresholds) -> Thresholds:
    """The record of the log with other values."""
    return msgspec.structs.replace(body, day=theirs.day, values=theirs.values, counts=theirs.counts)
