"""A small world of workers that die, freeze and wake up, on a store that loses replies, goes back and is wiped.

Everything random comes from one seed. Nothing here knows a rule; the workers are the real ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

from aiokafka.errors import KafkaError
from msgspec import Struct

from processors.output import Failure
from schemas import facts as fact_codec
from schemas.dead_letters import read_headers
from schemas.topics import Topics, topics
from schemas.verdicts import Reason
from streams.errors import BrokerUnavailable, StoreUnavailable
from streams.memory_store import MemoryStore
from streams.metrics import Metrics
from streams.ownership import Ownership
from streams.publisher import Message
from streams.store import Answer, Commit, Dump, Identity
from streams.worker import Worker
from tests.crash.fold import replay
from tests.crash.traffic import WORKERS, Traffic
from tests.doubles import Died, Line, ListConsumer, ListPublisher, MemoryLog, StoreLink
from tests.happened import KINDS

POINTS = ("chunk.fetched", "chunk.decided", "publish.half", "chunk.published", "chunk.committed")
CALLS = ("send", "ack", "commit", "load", "acquire")
SENT = ("facts", "aggregates", "dlq", "actions")
FAULTS = (
    *(f"killed at {point}" for point in POINTS),
    "killed anywhere",
    *(f"woke up before {call}" for call in CALLS),
    *(f"{fate} send {topic}" for fate in ("lost", "unanswered", "refused") for topic in SENT),
    *(f"{fate} {call}" for fate in ("lost", "unanswered") for call in ("commit", "acquire")),
    *(f"lost {call}" for call in ("load", "ask", "halt", "read dead letters")),
    "facts half delivered",
    *(f"store answered {answer}" for answer in Answer),
    "chunk ahead of its offset",
    "chunk behind its offset",
    "store went back",
    "store wiped",
    "repeats dropped by n",
    "rebuilt from the log",
    "rebuilt from an image",
    "resumed",
    *(f"referral {kind}" for kind in ("accepted", "completed", "moved", "undone")),
    *(f"echo {kind}" for kind in ("reply", "like", "comment", "share")),
    *KINDS,
)
LOG = "crash-1"


class Trouble(Struct):
    """How likely a call of any process goes wrong."""

    lost: float = 0.0
    unanswered: float = 0.0
    skipped: float = 0.0
    stale: float = 0.0
    refused: float = 0.0  # of batches alone


class Wire(Line):
    """A process' line, as bad as the world's trouble says."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.freeze_at = self.frozen_at = ""  # the call before which the process is to be stopped, and was

    def fate(self, call: str) -> str:
        """Drawn from the seed. Of a question it is all the same whether it or its answer is lost."""
        draw, trouble = self.world.rnd.random(), self.world.trouble
        verb, _, topic = call.partition(" ")
        if verb in ("fetch", "ack"):
            return "ok"
        for fate, chance in (("lost", trouble.lost), ("unanswered", trouble.unanswered), ("refused", trouble.refused)):
            if draw < chance and (fate != "refused" or verb == "send"):
                if fate == "unanswered" and verb not in ("send", "commit", "acquire"):
                    fate = "lost"
                self.world.count(f"{fate} send {topic.rpartition('.')[2]}" if verb == "send" else f"{fate} {call}")
                return fate
            draw -= chance
        return "ok"

    def delay(self) -> float:
        """Mostly quick."""
        return self.world.rnd.choice((0.001, 0.001, 0.001, 0.02, 0.3))

    async def turn(self, call: str) -> str:
        """May be stopped right here, holding what it holds."""
        if self.freeze_at and call.startswith(self.freeze_at):
            self.freeze_at, self.frozen_at = "", call.partition(" ")[0]
            self.open.clear()
        return await super().turn(call)


class FlakyConsumer(ListConsumer):
    """Sometimes skips ahead or hands out what was fetched before a seek, as Faust's does around a rebalance."""

    def __init__(self, world: World, line: Line) -> None:
        super().__init__(world.log, world.topics.actions.name, world.chunk_size)
        self.world, self.line = world, line
        self._skipped: set[int] = set()

    def next_chunk(self, partition: int) -> list[Any]:
        """A chunk, not always the right one; never skips twice running."""
        given = self.given.get(partition)
        if given is not None and not given.busy:
            self._move(partition, given.position)
        records = super().next_chunk(partition)
        self.world.longest = max(self.world.longest, len(records))
        return records

    def _move(self, partition: int, position: int) -> None:
        rnd, trouble = self.world.rnd, self.world.trouble
        if partition in self._skipped:
            self._skipped.discard(partition)
        elif rnd.random() < trouble.skipped:
            self._skipped.add(partition)
            self.world.count("chunk ahead of its offset")
            self.open(partition, min(position + rnd.randint(1, 5), self.log.end(self.topic, partition)))
        elif rnd.random() < trouble.stale:
            self.world.count("chunk behind its offset")
            self.open(partition, max(0, position - rnd.randint(1, 9)))


class Link(StoreLink):
    """A process' way to the store; notes what it was answered."""

    def __init__(self, world: World, line: Line) -> None:
        super().__init__(world.store, line)
        self.world = world

    async def commit(self, commit: Commit) -> tuple[Answer, str]:
        """Note what came back. Whoever gets no answer may ask again, and some do."""
        try:
            answer = await super().commit(commit)
        except StoreUnavailable:
            if self.world.rnd.random() < 0.5:
                raise
            answer = await super().commit(commit)
        self.world.count(f"store answered {answer[0]}")
        return answer

    async def ask(self, partition: int, incarnation: str, owner: str, offset: int) -> tuple[Answer, str]:
        """Note what came back."""
        answer = await super().ask(partition, incarnation, owner, offset)
        self.world.count(f"store answered {answer[0]}")
        return answer


class WatchedPublisher(ListPublisher):
    """Notes where only the first of a chunk's batches of facts arrived."""

    def __init__(self, world: World, line: Line, fail: Callable[[str], None]) -> None:
        super().__init__(world.log, line, world.topics, ("workers", WORKERS), fail=fail, most=world.batch_rows)
        self.world = world
        self.delivered: dict[int, int] = {}

    async def _send(self, producer: Any, topic: str, partition: int, rows: Iterable[Message], clock: int) -> None:
        if topic == self.topics.facts.name:
            self.delivered[partition] = 0
        await super()._send(producer, topic, partition, rows, clock)

    async def _acked(self, producer: Any, batch: Any, topic: str, partition: int) -> None:
        facts = topic == self.topics.facts.name
        try:
            await super()._acked(producer, batch, topic, partition)
        except (KafkaError, TimeoutError):
            if facts and self.delivered[partition]:
                self.world.count("facts half delivered")
            raise
        if facts:
            self.delivered[partition] += 1


class Process:
    """One worker process on its line."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.line = Wire(world)
        self.consumer = FlakyConsumer(world, self.line)
        self.die_at: tuple[str, int] | None = None
        self.errors: list[BaseException] = []
        store = Link(world, self.line)
        self.publisher = WatchedPublisher(world, self.line, self.fail)
        worker = Worker(
            store, self.publisher, Metrics(), cache_per_lane=world.rnd.choice((1, 5, 10_000)), fail=self.fail
        )
        topic = world.topics.actions.name
        self.ownership = Ownership(
            worker, store, world.identity, topic, self.consumer, self._failures, crash=self.errors.append
        )
        self.pump = asyncio.get_running_loop().create_task(self._pump())

    def fail(self, point: str) -> None:
        """A failpoint: the process may die here."""
        self.line.alive()
        if self.die_at is not None and self.die_at[0] == point:
            self.die_at = (point, self.die_at[1] - 1)
            if self.die_at[1] <= 0:
                self.world.count(f"killed at {point}")
                self.kill()
                raise Died

    @property
    def alive(self) -> bool:
        """Neither dead nor frozen."""
        return not self.line.cut and self.line.open.is_set()

    def kill(self) -> None:
        """SIGKILL."""
        self.line.cut = True
        self.pump.cancel()
        for task in [*self.ownership._tasks.values()]:
            if task is not asyncio.current_task():
                task.cancel()

    async def _pump(self) -> None:
        while True:
            await self.line.turn("fetch")
            for partition in list(self.consumer.given):
                records = self.consumer.next_chunk(partition)
                if records:
                    self.ownership.on_chunk(partition, records)
            await asyncio.sleep(0.01)

    async def _failures(self, partition: int, clock: int) -> dict[int, Failure]:
        if await self.line.turn("read dead letters") != "ok":
            raise BrokerUnavailable("the dead letters were not read")
        return self.world.failures(partition, clock)


class World:
    """The log, the store, the workers, and what happens to them."""

    def __init__(self, seed: int) -> None:
        self.rnd = Random(seed)
        self.log = MemoryLog()
        self.topics: Topics = topics(LOG, partitions=3)
        self.identity = Identity(LOG, "topic-1", 3)
        self.tokens = 0
        self.store = MemoryStore(LOG, token=self._token)
        self.trouble = Trouble()
        self.traffic = Traffic(self.rnd, self.log, self.topics)
        self.processes: list[Process] = []
        self.images: list[tuple[int, Dump]] = []
        self.counts = dict.fromkeys(FAULTS, 0)
        self.longest = 0
        self.started = 0
        self.sizes = self.rnd.choice(((1,), (7,), (5_000,), (1, 7, 5_000)))
        self.batch_rows = self.rnd.choice((1, 3, 1_000))

    def _token(self) -> str:
        self.tokens += 1
        return f"token-{self.tokens}"

    def count(self, what: str) -> None:
        """Note that something happened that `FAULTS` names."""
        self.counts[what] += 1

    def chunk_size(self) -> int:
        """Records of the next chunk at most."""
        return self.rnd.choice(self.sizes)

    @property
    def partitions(self) -> range:
        """All of them."""
        return range(self.topics.actions.partitions)

    # -- what a person does --------------------------------------------------------------------------------------

    async def bootstrap(self) -> None:
        """The log exists, nobody has read it."""
        for partition in self.partitions:
            await self.store.bootstrap(partition, self.identity, self._token())
        self.start()
        await self.rebalance()

    def start(self) -> Process:
        """One more process; it owns nothing yet."""
        process = Process(self, f"worker-{self.started}")
        self.processes.append(process)
        self.started += 1
        return process

    async def cure(self) -> None:
        """What the alerts ask for: rebuild what is lost, resume what is halted."""
        offsets = await self.store.offsets(self.partitions)
        for partition in self.partitions:
            if offsets[partition] is None:
                await self.rebuild(partition)
            if await self.store.resume(partition):
                self.count("resumed")

    async def rebuild(self, partition: int) -> None:
        """From an image and the log, or the log alone, to where everything was surely published."""
        facts = self.log.read(self.topics.facts.name, partition)
        known = max((fact_codec.decode(fact.value or b"").offset for fact in facts), default=0)
        bound = max(0, known - self.longest)
        fitting = [image for p, image in self.images if p == partition and image.next_offset <= bound]
        image = self.rnd.choice([None, *fitting])
        records = self.log.read(self.topics.actions.name, partition)
        until = self.rnd.randint(image.next_offset if image else 0, bound)
        name = self.topics.actions.name
        made = replay(name, partition, self.identity, records, until, self.failures(partition), image)
        await self.store.bootstrap(partition, self.identity, self._token(), dump=made.dump, replace=True)
        self.count("rebuilt from an image" if image else "rebuilt from the log")

    # -- what happens to processes -------------------------------------------------------------------------------

    async def rebalance(self) -> None:
        """The group shares the partitions out among those that answer."""
        members = [process for process in self.processes if process.alive]
        for process in self.processes:
            process.consumer.member = process in members
        shares: dict[int, Process] = {p: self.rnd.choice(members) for p in self.partitions if members}
        for process in members:
            mine = [p for p, owner in shares.items() if owner is process]
            eager = self.rnd.random() < 0.5
            await process.ownership.revoked([p for p in self.partitions if eager or p not in mine])
        for partition, process in shares.items():
            process.ownership.assigned([partition])

    async def thaw(self, process: Process) -> None:
        """SIGCONT: it goes on with what it held, learns that it is no member, and joins again."""
        self.count(f"woke up before {process.line.frozen_at}")
        process.line.open.set()
        await asyncio.sleep(self.rnd.choice((0.0, 0.05, 2.0)))
        if process.alive:
            await process.ownership.revoked(list(self.partitions))
            await self.rebalance()

    def bury(self) -> None:
        """Forget the dead."""
        self.processes = [process for process in self.processes if not process.line.cut]

    # -- what can be seen ----------------------------------------------------------------------------------------

    def failures(self, partition: int, since: int = 0) -> dict[int, Failure]:
        """Offsets that a rule choked on, from the dead letters stamped at `since` or later."""
        found: dict[int, Failure] = {}
        for record in self.log.read(self.topics.dead_letters.name, partition):
            rejected, _, _, offset = read_headers(record.headers)
            if rejected.reason is Reason.RULE and record.timestamp >= since:
                headers = dict(record.headers)
                found[offset] = Failure(
                    exception=headers["__streams.errors.exception"].decode(),
                    message=rejected.detail,
                    stacktrace=headers["__streams.errors.stacktrace"].decode(),
                    known=True,
                )
        return found

    def errors(self) -> list[BaseException]:
        """What ended a process though nobody killed it."""
        return [error for process in self.processes for error in process.errors]

    async def settled(self) -> bool:
        """Whether every record of the log is committed."""
        offsets = await self.store.offsets(self.partitions)
        ends = {p: self.log.read(self.topics.actions.name, p)[-1].offset + 1 for p in self.partitions}
        return all(offsets[p] == ends[p] for p in self.partitions)
