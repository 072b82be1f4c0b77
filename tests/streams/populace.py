"""Who makes awards and thresholds of a lived log on doubles: at once, as soon as all partitions allow it."""

from __future__ import annotations

import msgspec

from processors.awards import awards_of
from processors.boards import Boards, Seasons, decode
from processors.partitioner import partition_of
from processors.programme import compile_programme
from processors.signature import seal
from schemas import facts as fact_codec
from schemas.facts import Fact
from schemas.records import Award, SignedDerived, Thresholds
from streams.thresholds import record
from tests.crash.traffic import WORKERS, control
from tests.oracles import population
from tests.streams.lived import PARTITIONS, LivedLog


class Populace:
    """The boards process and `thresholds publish` of one log with one programme."""

    def __init__(self, it: LivedLog, text: str, *, thresholds: bool = True) -> None:
        self.it, self.rules = it, compile_programme(text, 1, 0)
        self.boards = Boards(Seasons([self.rules]), PARTITIONS)
        self.awards: list[tuple[int, Award]] = []  # stamp, and what it says
        self.thresholds: list[Thresholds] = []
        self._publishes = thresholds
        self._facts: list[Fact] = []
        self._read = dict.fromkeys(range(PARTITIONS), 0)

    async def meet(self) -> None:
        """Awards of what is final, thresholds of a day that is closed."""
        for partition in range(PARTITIONS):
            for one in self.it.log.read(self.it.topics.facts.name, partition, self._read[partition]):
                self._read[partition] = one.offset + 1
                self.boards.add(partition, decode(one.value or b""))
                self._facts.append(fact_codec.decode(one.value or b""))
            self.boards.passed(partition, (await self.it.own(partition)).clock)
            self.boards.sweep(partition)
        for span, open_partitions in self.boards.due(self.it.log.now):
            if not open_partitions:
                self._award(awards_of(self.boards, span))
                self.boards.drop(span)
        if self._publishes:
            self._publish()
        await self.it.read()

    def _award(self, awards: tuple[Award, ...]) -> None:
        for award in awards:
            value = seal(SignedDerived, "workers", WORKERS, msgspec.json.encode(award))
            home = partition_of(award.member_id, PARTITIONS)
            self.it.log.append(self.it.topics.actions.name, home, value)
            self.awards.append((self.it.log.now, award))

    def _publish(self) -> None:
        """Of the last closed day by the clock of the partition that is furthest behind."""
        clock = min(part.clock for part in self.boards.parts.values())
        day = self.rules.calendar.day(clock) - 1
        if (self.thresholds and self.thresholds[-1].day >= day) or not self._facts:
            return
        made = record(population.cuts(self._facts, self.rules, day), self.rules, day, "ann", "daily")
        made = msgspec.structs.replace(made, number=len(self.thresholds) + 1)
        for partition in range(PARTITIONS):
            self.it.log.append(self.it.topics.actions.name, partition, control(made))
        self.thresholds.append(made)
