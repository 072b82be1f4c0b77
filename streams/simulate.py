"""The recorded log under another programme, beside what was lived: one partition a task, over the cores.

1 Every partition is folded as it was lived, up to where its workers stand; where the programmes part an image is kept.
2 From there it is folded under the other programme.
3 What one partition makes for another (strays, referrals, echoes) takes the place of what the log holds of it, at the
  same moments; partitions for which that differs are folded again, until nothing differs any more.
4 So do awards of boards and thresholds, which all partitions make together (`simulate_population.py`); not of a
  sample, for these are of everybody.
5 Members are compared, partition by partition.

Nothing live is touched: the log is read, states are in memory, images and members in a folder that is removed. Actions
are replayed from Kafka, or from ClickHouse where a sink has stored them (`streams/recorded.py`).
"""

from __future__ import annotations

import asyncio
import os
from array import array
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec import Struct

from processors.awards import Parting
from processors.output import Failure
from processors.programme import Rules
from processors.simulate import UNCHANGED, Difference, Origin, Patch, Standing, compared, patch_of
from processors.versions import Versions
from schemas import partition as partition_codec
from schemas.decoding import Controlled, decode
from schemas.partition import PartitionState
from schemas.records import ProgrammeControl
from schemas.settings import Settings
from schemas.topics import topics
from streams import snapshot
from streams.errors import NoState, StateLost, TotalsDiffer, UsageError
from streams.recorded import FROM_KAFKA, Lacking
from streams.replay import Source
from streams.simulate_partition import EVERYBODY, Outcome, Task, hash_of
from streams.simulate_population import NOTHING, Given, Result, Together
from streams.store import Header, StateStore

ROUNDS = 8
"""How often partitions are folded again for what others make. What follows from a derived record has so far brought
about no third one, so two rounds settle it; more than these are a fault."""


class Pool(Protocol):
    """Several processes."""

    async def fold(self, tasks: Sequence[Task]) -> list[Outcome]:
        """Fold partitions, several at a time; outcomes in the order of the tasks."""
        ...

    async def work(self, function: Callable[[Given], Result], given: Sequence[Given]) -> list[Result]:
        """A function of each of the given, likewise."""
        ...


LOOK_S = 0.5
"""Between two looks at how far a source has come."""


class Asked(Struct, frozen=True):
    """What is to be simulated. Without `text` the log is only folded as it was lived."""

    text: str = ""
    days: int = 0  # how long before the end of the log the programmes part; 0 = at its beginning
    sample: int = EVERYBODY


class Simulated(Struct, frozen=True):
    """What came of it. Moments are ms."""

    records: int
    parted_at: int  # the moment; 0 = the beginning of the log
    until: int
    rounds: int
    rederived: int  # derived records that differ, came otherwise or not at all
    difference: Difference
    awards: int = 0  # that are given otherwise
    thresholds: int = 0  # records of thresholds with other values
    live: tuple[str, ...] = ()  # what stays as it was lived: of a sample, or of a log without its beginning


class Simulation:
    """Simulates one log. `source` reads its actions here, `pool` in the tasks; `begin` may be a folder of images.

    `lacking` says what to do where the source has not all of the log.
    """

    def __init__(
        self,
        settings: Settings,
        store: StateStore,
        source: Source,
        pool: Pool,
        skips: Callable[[int], Awaitable[Mapping[int, Failure]]],
        folder: Path,
        *,
        begin: Path | None = None,
        lacking: Lacking = FROM_KAFKA,
    ) -> None:
        self.settings, self.store, self.source, self.pool, self.skips = settings, store, source, pool, skips
        self.folder, self.begin, self.lacking = folder, begin, lacking
        self.partitions = range(settings.partitions)
        self.topic = topics(settings.log, partitions=settings.partitions).actions.name

    async def in_force(self) -> Rules:
        """The programme that holds where the workers stand."""
        own = _own(self.settings.log, (await self.store.headers([0]))[0], 0)
        rules = Versions(own.programmes, own.clock).in_force
        assert rules is not None, "a partition that has begun has a programme"
        return rules

    async def other(self, lived: Lived, asked: Asked) -> Simulated:
        """The same under the other programme, and what differs."""
        rounds, patches, new = 0, dict.fromkeys(self.partitions, UNCHANGED), dict[int, Outcome]()
        again: Sequence[int] = list(self.partitions)
        secret, together = os.urandom(32), self._together(lived, asked)
        common, rederived = NOTHING, 0
        while again and asked.text:
            if (rounds := rounds + 1) > ROUNDS:
                raise StateLost(f"after {ROUNDS} rounds partitions still make other records for each other", remedy="")
            tasks = [self._other(lived, asked, p, patches[p], secret) for p in again]
            new |= {outcome.partition: outcome for outcome in await self.pool.fold(tasks)}
            found = {p: await self._patch(lived, new, p) for p in self.partitions}
            rederived = sum(len(patch.gone) + len(patch.put) for patch in found.values())
            if together is not None:
                common = await together.changes(new, again)
                found = {p: patch.joined(common.patches[p]) for p, patch in found.items()}
            again = [p for p in self.partitions if found[p] != patches[p]]
            patches = found
        difference = Difference()
        for p in self.partitions:
            difference.add(compared(_members(lived.outcomes[p]), _members(new.get(p, lived.outcomes[p]))))
        return Simulated(
            records=sum(task.until - task.start for task in lived.tasks.values()),
            parted_at=lived.holds_from,
            until=max(outcome.clock for outcome in lived.outcomes.values()),
            rounds=rounds,
            rederived=rederived,
            difference=difference,
            awards=common.awards,
            thresholds=common.thresholds,
            live=self._stays(lived, asked) if asked.text else (),
        )

    def _together(self, lived: Lived, asked: Asked) -> Together | None:
        """What compares awards and thresholds; None for a sample, which has neither."""
        if not asked.text or asked.sample != EVERYBODY:
            return None
        number = max(it.number for outcome in lived.outcomes.values() for it in outcome.programmes) + 1
        other = ProgrammeControl(
            id="programme", number=number, by="simulate", text=asked.text, holds_from=lived.holds_from
        )
        offsets = {p: task.part_at for p, task in lived.tasks.items()}

        async def place(partition: int, at: int) -> int:
            return await self._place(partition, at, lived.tasks[partition].until)

        return Together(
            lived.outcomes,
            Parting(lived.holds_from, offsets),
            other,
            self.source,
            self.pool.work,
            place,
            has_all=lived.has_all,
        )

    @staticmethod
    def _stays(lived: Lived, asked: Asked) -> tuple[str, ...]:
        if asked.sample != EVERYBODY:
            return ("awards", "thresholds")
        return () if lived.has_all else ("thresholds", "awards of boards that began before")

    async def lived(self, asked: Asked) -> Lived:
        """Fold every partition as it was. Raises `StateLost` where the log no longer reaches back far enough."""
        heads = await self.store.headers(list(self.partitions))
        holds_from = 0
        if asked.days:
            clocks = [_own(self.settings.log, heads[p], p).clock for p in self.partitions]
            holds_from = max(clocks) - asked.days * 86_400_000
        tasks = {p: await self._task(p, heads[p], holds_from, asked) for p in self.partitions}
        outcomes = {outcome.partition: outcome for outcome in await self.pool.fold(list(tasks.values()))}
        return Lived(tasks, outcomes, holds_from)

    async def _task(self, partition: int, header: Header | None, holds_from: int, asked: Asked) -> Task:
        """How a partition is folded as it was lived, from the log's first record or an image."""
        _own(self.settings.log, header, partition)
        assert header is not None
        until = header.next_offset
        first = await self._first(partition, until)
        begin, start, part_at = None, 0, None
        if holds_from:
            part_at = await self.source.offset_at(partition, holds_from)
        part_at = until if holds_from and part_at is None else part_at
        if self.begin is not None:
            image = snapshot.nearest(self.begin, self.settings.log, partition, until if part_at is None else part_at)
            if image is not None:
                begin = self.folder / f"{partition}-begin.image"
                begin.write_bytes(msgspec.msgpack.encode(image.dump))
                start = image.dump.next_offset
                part_at = start if part_at is None else part_at
        if begin is None and first > 0:
            what = f"partition {partition} of log {self.settings.log} begins at offset {first}"
            raise StateLost(what, remedy=self.lacking.gone)
        if part_at is None:
            part_at = await self._founded(partition, until)
        if part_at < 1:
            raise UsageError(f"log {self.settings.log} is younger than that", remedy="leave --against out")
        return Task(
            identity=header.identity,
            topic=self.topic,
            partition=partition,
            start=start,
            part_at=min(part_at, until),
            until=until,
            folder=self.folder,
            begin=begin,
            skip=dict(await self.skips(partition)),
            sample=asked.sample,
            has_rows=bool(asked.text) and asked.sample == EVERYBODY,
        )

    async def _first(self, partition: int, until: int) -> int:
        """The source's first offset, once it has come as far as `until`. Raises `StateLost` where it does not."""
        (first, end), waited = await self.source.bounds(partition), 0.0
        while end < until:
            if waited >= self.lacking.patience_s:
                what = f"partition {partition} of log {self.settings.log} is here up to offset {end}"
                raise StateLost(f"{what}, its worker stands at {until}", remedy=self.lacking.behind)
            await asyncio.sleep(LOOK_S)
            was, (first, end) = end, await self.source.bounds(partition)
            waited = 0.0 if end > was else waited + LOOK_S
        return first

    async def _founded(self, partition: int, until: int) -> int:
        """The offset after the programme that the partition's log begins with."""
        async for records in self.source.read(partition, 0, until):
            for record in records:
                item = decode(record.value, record.headers)
                if isinstance(item, Controlled) and isinstance(item.body, ProgrammeControl):
                    return record.offset + 1
        raise StateLost(f"partition {partition} of log {self.settings.log} has no programme")

    def _other(self, lived: Lived, asked: Asked, partition: int, patch: Patch, secret: bytes) -> Task:
        """The same partition under the other programme, from where they part."""
        return msgspec.structs.replace(
            lived.tasks[partition],
            begin=lived.outcomes[partition].image,
            text=asked.text,
            holds_from=lived.holds_from,
            patch=patch,
            secret=secret,
        )

    async def _patch(self, lived: Lived, new: Mapping[int, Outcome], partition: int) -> Patch:
        """How a partition's log differs by what all partitions make now.

        What was made before the programmes part stays. What the log did not hold yet where the workers stand is left
        out of both.
        """
        task = lived.tasks[partition]
        slots = [it for it in lived.outcomes[partition].slots if lived.parted(it.origin)]
        held = {it.origin[:2] for it in slots}
        coming = {it.origin[:2] for out in lived.outcomes.values() for it in out.made if it.home == partition} - held
        made = [it for outcome in new.values() for it in outcome.made if it.home == partition]
        made = [it for it in made if it.origin[:2] not in coming]
        moments = {it.at for it in made if it.origin[:2] not in held}
        place = {at: await self._place(partition, at, task.until) for at in moments}
        return patch_of(slots, made, place, task.part_at)

    async def _place(self, partition: int, at: int, until: int) -> int:
        found = await self.source.offset_at(partition, at + 1)
        return until if found is None else min(found, until)


class Lived(Struct, frozen=True):
    """Every partition as it was."""

    tasks: dict[int, Task]
    outcomes: dict[int, Outcome]
    holds_from: int

    @property
    def has_all(self) -> bool:
        """Whether every partition was folded from its first record on."""
        return all(task.start == 0 for task in self.tasks.values())

    def parted(self, origin: Origin) -> bool:
        """Whether a cause lies after the moment where the programmes part, in its own partition."""
        return origin.partition in self.tasks and origin.offset >= self.tasks[origin.partition].part_at


class Numbered(Struct):
    """As much of a published fact as its place among the others."""

    n: int


_numbered = msgspec.json.Decoder(Numbered).decode


async def check_facts(lived: Lived, published: Source) -> int:
    """Compare every fact that was folded with the one published; how many those were. Raises `TotalsDiffer`.

    What was published again by another owner is the same again and is dropped by its number, as every reader does.
    """
    count = 0
    for partition, outcome in lived.outcomes.items():
        hashes = array("Q", outcome.facts.read_bytes())
        seen = first = outcome.n - len(hashes)  # of the image it began with
        begin, end = await published.bounds(partition)
        async for records in published.read(partition, begin, end):
            for record in records:
                number = _numbered(record.value or b"").n
                if number <= seen or number > outcome.n:
                    continue
                if number != seen + 1 or hash_of(record.value or b"") != hashes[number - first - 1]:
                    what = (
                        f"partition {partition}: fact {number} differs from the one folded (the one before is {seen})"
                    )
                    raise TotalsDiffer(what)
                seen = number
        if seen != outcome.n:
            raise TotalsDiffer(f"partition {partition}: {outcome.n} facts are folded, {seen} published")
        count += len(hashes)
    return count


def _own(log: str, header: Header | None, partition: int) -> PartitionState:
    if header is None or not header.partition_state:
        raise NoState(log, partition)
    return partition_codec.decode(header.partition_state)


def _members(outcome: Outcome) -> dict[str, Standing]:
    return msgspec.msgpack.decode(outcome.members.read_bytes(), type=dict[str, Standing])
