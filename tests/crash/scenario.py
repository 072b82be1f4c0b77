"""One run of the world from a seed: traffic and faults in turn, then peace, then everything is compared."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from processors.member import decide
from schemas import aggregates, member
from schemas import facts as fact_codec
from schemas.dead_letters import read_headers
from schemas.facts import Ledger
from streams.store import Dump
from tests.crash.fold import Replay, replay
from tests.crash.world import CALLS, POINTS, Trouble, World
from tests.happened import KINDS, happened

STEPS = 40
PEACE_SECONDS = 3_000.0


class Bug:
    """A rule that raises on actions marked for it, until repaired code is deployed."""

    def __init__(self) -> None:
        self.active = True

    def decide(self, rules: Any, in_force: Any, id_key: bytes, one: Any, action: Any, moment: Any) -> Any:
        """The rules' own entry, after half a change where the bug strikes."""
        if self.active and action.event_id.startswith("boom"):
            one.state.issued += 1_000_000
            raise ZeroDivisionError(f"no rule for {action.event_id}")
        return decide(rules, in_force, id_key, one, action, moment)


class Scenario:
    """A world, and what happens in it."""

    def __init__(self, seed: int) -> None:
        self.world = World(seed)
        self.bug = Bug()

    async def run(self) -> None:
        """Everything, from bootstrap to the comparison."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("processors.partition.decide", self.bug.decide)
            try:
                await self.world.bootstrap()
                for _ in range(STEPS):
                    await self._step()
                await self._peace()
                await self._compare()
            finally:
                for process in self.world.processes:
                    process.kill()
                await asyncio.sleep(0)

    # -- steps ---------------------------------------------------------------------------------------------------

    async def _step(self) -> None:
        world = self.world
        menu: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (30, self._traffic),
            (25, self._time),
            (10, self._kill_at_a_point),
            (3, self._kill),
            (6, self._start),
            (9, self._freeze),
            (11, self._thaw),
            (6, self._rebalance),
            (6, self._trouble),
            (5, self._image),
            (3, self._go_back),
            (3, self._go_back_a_second),
            (1, self._wipe),
            (3, self._cure),
            (2, self._programme),
            (2, self._boom),
            (1, self._deploy),
            (1, self._block_end),
        ]
        weights, steps = zip(*menu, strict=True)
        await world.rnd.choices(steps, weights)[0]()
        world.bury()

    async def _traffic(self) -> None:
        self.world.traffic.burst(self.world.rnd.choice((1, 5, 20, 60)))

    async def _time(self) -> None:
        await asyncio.sleep(self.world.rnd.choice((0.01, 0.1, 1.0, 10.0)))

    async def _kill_at_a_point(self) -> None:
        rnd = self.world.rnd
        for process in self.world.processes:
            process.die_at = (rnd.choice(POINTS), rnd.randint(1, 4))
        self.world.traffic.burst(10)
        await self._time()

    async def _kill(self) -> None:
        self.world.rnd.choice(self.world.processes or [self.world.start()]).kill()
        self.world.count("killed anywhere")

    async def _start(self) -> None:
        if len(self.world.processes) < 4:
            self.world.start()
        await self.world.rebalance()

    async def _freeze(self) -> None:
        rnd = self.world.rnd
        for process in [process for process in self.world.processes if process.ownership.lanes][:1]:
            process.line.freeze_at = rnd.choice(CALLS)
        self.world.traffic.burst(5)
        await asyncio.sleep(1.0)
        await self._start()

    async def _thaw(self) -> None:
        for process in [p for p in self.world.processes if not p.line.open.is_set()]:
            await self.world.thaw(process)

    async def _rebalance(self) -> None:
        await self.world.rebalance()

    async def _trouble(self) -> None:
        rnd = self.world.rnd
        levels = (0.0, 0.0, 0.02, 0.15)
        # A refused batch halts its partition until somebody resumes it: often, and little else would happen.
        lost, unanswered, skipped, stale = (rnd.choice(levels) for _ in range(4))
        self.world.trouble = Trouble(lost, unanswered, skipped, stale, rnd.choice((0.0, 0.05, 0.1)))

    async def _image(self) -> None:
        for partition in self.world.partitions:
            image = await self.world.store.dump(partition)
            if image is not None:
                self.world.images.append((partition, image))

    async def _go_back(self) -> None:
        """To an image whose owner may be long gone."""
        if self.world.images:
            self._rewind(*self.world.rnd.choice(self.world.images))

    async def _go_back_a_second(self) -> None:
        """Under the hands of its owner: what the store had not yet written to its disk."""
        await self._start()
        await asyncio.sleep(2.0)
        images = [(p, image) for p in self.world.partitions if (image := await self.world.store.dump(p))]
        self.world.traffic.burst(20)
        await asyncio.sleep(1.0)
        for partition, image in images:
            self._rewind(partition, image)
        self.world.traffic.burst(20)

    def _rewind(self, partition: int, image: Dump) -> None:
        self.world.store.rewind(partition, image)
        self.world.count("store went back")

    async def _wipe(self) -> None:
        self.world.store.clear()
        self.world.count("store wiped")

    async def _cure(self) -> None:
        await self.world.cure()

    async def _programme(self) -> None:
        self.world.traffic.change_programme()

    async def _boom(self) -> None:
        member = self.world.rnd.choice(self.world.traffic.members)
        for _ in range(self.world.rnd.choice((1, 1, 5))):
            self.world.traffic.boom(member=member)
            self.world.traffic.burst(2)

    async def _deploy(self) -> None:
        """All processes end, repaired ones start: an old release that wakes up later is another story."""
        for process in self.world.processes:
            process.kill()
        self.bug.active = False
        self.world.bury()
        await self._start()

    async def _block_end(self) -> None:
        self.world.traffic.to_the_block_end()
        self.world.traffic.burst(10)

    # -- peace ---------------------------------------------------------------------------------------------------

    async def _peace(self) -> None:
        """No more faults: whoever is needed is started, and the log is worked off to its end."""
        world = self.world
        world.trouble = Trouble()
        await self._thaw()
        for process in world.processes:
            process.die_at, process.line.freeze_at = None, ""
        if any(world.failures(p) for p in world.partitions):
            await self._deploy()
        world.bury()
        await self._start()
        deadline = asyncio.get_running_loop().time() + PEACE_SECONDS
        while not await world.settled():
            assert asyncio.get_running_loop().time() < deadline, await self._standing()
            assert not world.errors(), world.errors()
            await world.cure()
            await asyncio.sleep(1.0)
            if any(len(world.failures(p)) >= 2 for p in world.partitions) and self.bug.active:
                await self._deploy()

    async def _standing(self) -> str:
        """Where everything stands, for whoever reads the failure."""
        world = self.world
        offsets = await world.store.offsets(world.partitions)
        ends = {p: world.log.end(world.topics.actions.name, p) for p in world.partitions}
        owners = {p.name: (sorted(p.ownership.lanes), p.ownership.halted) for p in world.processes}
        return f"stuck at {offsets} of {ends}; {owners}"

    # -- comparison ----------------------------------------------------------------------------------------------

    async def _compare(self) -> None:
        assert not self.world.errors()
        pures: list[Replay] = []
        for partition in self.world.partitions:
            dump = await self.world.store.dump(partition)
            assert dump is not None
            records = self.world.log.read(self.world.topics.actions.name, partition)
            skip = self.world.failures(partition)
            name = self.world.topics.actions.name
            pure = replay(name, partition, self.world.identity, records, dump.next_offset, skip)
            _same_state(dump, pure)
            self._same_facts(partition, pure)
            self._same_aggregates(partition, pure)
            self._same_letters(partition, pure)
            assert sum(pure.verdicts.values()) == dump.next_offset
            _balances_are_sums(pure)
            pures.append(pure)
        self._strays_count_once()
        self._derived_count_once(pures)
        told = happened(fact_codec.decode(value) for pure in pures for value in pure.facts)
        for kind in KINDS:
            self.world.counts[kind] += told[kind]

    def _published(self, topic: str, partition: int) -> list[bytes]:
        return [record.value or b"" for record in self.world.log.read(topic, partition)]

    def _same_facts(self, partition: int, pure: Replay) -> None:
        """First occurrences of n are 1, 2, 3 ...; the same identity has the same bytes; all is as replayed."""
        firsts: list[bytes] = []
        identities: dict[tuple[str, int, int, int], bytes] = {}
        for value in self._published(self.world.topics.facts.name, partition):
            fact = fact_codec.decode(value)
            identity = (fact.log, fact.partition, fact.offset, fact.index)
            assert identities.setdefault(identity, value) == value
            assert fact.n <= len(firsts) + 1, f"gap: {fact.n} after {len(firsts)}"
            if fact.n == len(firsts) + 1:
                firsts.append(value)
            else:
                assert firsts[fact.n - 1] == value
                self.world.count("repeats dropped by n")
        assert firsts == pure.facts

    def _same_aggregates(self, partition: int, pure: Replay) -> None:
        """A bucket of one version has the same bytes whoever published it, and none is missing."""
        published = self._published(self.world.topics.aggregates.name, partition)
        versions: dict[tuple[object, ...], bytes] = {}
        for value in published:
            bucket = aggregates.decode(value)
            key = (bucket.version, bucket.block, *(getattr(bucket, name) for name in KEY))
            assert versions.setdefault(key, value) == value
        assert set(published) == set(pure.buckets)

    def _same_letters(self, partition: int, pure: Replay) -> None:
        found: dict[int, tuple[str, bytes | None]] = {}
        for record in self.world.log.read(self.world.topics.dead_letters.name, partition):
            rejected, _, _, offset = read_headers(record.headers)
            letter = (rejected.reason.value, record.value)
            assert found.setdefault(offset, letter) == letter
        assert found == pure.letters

    def _strays_count_once(self) -> None:
        """However often an action was sent, forwarded and repeated, it is paid once."""
        paid: set[tuple[str, str]] = set()
        for partition in self.world.partitions:
            seen: set[int] = set()
            for value in self._published(self.world.topics.facts.name, partition):
                fact = fact_codec.decode(value)
                if _pays(fact) and fact.n not in seen:
                    assert (fact.source, fact.event_id) not in paid
                    paid.add((fact.source, fact.event_id))
                seen.add(fact.n)

    def _derived_count_once(self, pures: list[Replay]) -> None:
        """What decisions said to members of any partition was heard there once, however often it was published."""
        said = Counter(kind for pure in pures for kind in pure.derived)
        assert sum(pure.verdicts.get("derived", 0) for pure in pures) == said.total()
        for kind, count in said.items():
            self.world.counts[kind] += count


def _pays(fact: Any) -> bool:
    """Whether an action itself earned this, and no correction or comeback that it brought about."""
    return isinstance(fact, Ledger) and fact.entry in ("earned", "pending") and fact.rule == fact.action


KEY = ("kind", "at", "region", "group_id", "action", "period", "dimension", "tier")


def _same_state(dump: Any, pure: Replay) -> None:
    """Told part by part: a digest alone does not say what differs."""
    for part in ("states", "timers", "buckets", "pages", "partition_state", "next_offset", "crc"):
        assert getattr(dump, part) == getattr(pure.dump, part), part
    assert dump.digest() == pure.dump.digest()


def _balances_are_sums(pure: Replay) -> None:
    """What the ledger's entries say, added up, is what each member has; and what was issued is somewhere."""
    sums: dict[str, Counter[str]] = {}
    for value in pure.facts:
        fact = fact_codec.decode(value)
        if isinstance(fact, Ledger):
            total = sums.setdefault(fact.member_id, Counter())
            for name in BALANCES:
                total[name] += fact.points if name == "issued" else getattr(fact, name)
    for name, state in pure.dump.states.items():
        held, total = member.decode(state), sums.get(name, Counter[str]())
        assert {one: getattr(held, one) for one in BALANCES} == {one: total[one] for one in BALANCES}, name
        assert held.issued == held.active + held.pending + held.spent + held.expired + held.reversed - held.debt, name
        assert min(held.active, held.pending, held.spent, held.expired, held.debt) >= 0, name


BALANCES = ("issued", "active", "pending", "spent", "expired", "reversed", "debt")
"""The balances and counters of a member, by the names that an entry gives its changes; `points` are what it issued."""
