"""The contacts of one endpoint that wait: when the next try is due, and whether the receiver may be bothered now.

One queue an endpoint, so that a dead receiver stalls no other. A try is written into the journal before and after;
when the next one is due stands there too, so a restart changes nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import structlog

from schemas.contacts import Intent, Result
from streams.journal import Contact, Journal
from streams.webhook import Answer

log = structlog.get_logger()

SCHEDULE = (0.0, 5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
"""Seconds before each try. A receiver that is down over a long weekend still gets its contacts."""

JITTER = 0.2
FOR_EVER = float("inf")


class Patience(NamedTuple):
    """How hard one endpoint is tried, and when it is left alone."""

    schedule: tuple[float, ...] = SCHEDULE
    attempts: int = 8
    concurrency: int = 4
    breaker_failures: int = 5
    breaker_rest_s: float = 30.0

    def wait_s(self, contact_id: str, attempts: int) -> float:
        """Seconds until the next try after `attempts`; the jitter is the id's own, so a restart keeps it."""
        base = self.schedule[min(attempts, len(self.schedule) - 1)]
        spread = int.from_bytes(hashlib.sha256(f"{contact_id}:{attempts}".encode()).digest()[:4]) / 2**32
        return base * (1 + JITTER * (2 * spread - 1))


class Post(Protocol):
    """One try."""

    name: str

    async def post(self, contact_id: str, body: bytes) -> Answer:
        """Never raises for anything a receiver does."""
        ...


class Breaker:
    """Opens after failures in a row; then one try every `rest_s`, until one is delivered."""

    def __init__(self, failures: int, rest_s: float) -> None:
        self.limit, self.rest_s = failures, rest_s
        self.failures, self.open_until, self.probing = 0, 0.0, False

    def wait_s(self, now: float) -> float:
        """Seconds until a try may begin; for ever while a probe is out."""
        if self.failures < self.limit:
            return max(0.0, self.open_until - now)
        return FOR_EVER if self.probing else max(0.0, self.open_until - now)

    def begin(self) -> None:
        """A try begins; with the breaker open it is the only one."""
        self.probing = self.failures >= self.limit

    def end(self, answer: Answer, now: float) -> None:
        """What it brought. A receiver that asks for a pause gets it, whatever else."""
        self.probing = False
        if answer.outcome == "delivered":
            self.failures, self.open_until = 0, 0.0
            return
        self.failures += 1
        rest = self.rest_s if self.failures >= self.limit else 0.0
        self.open_until = max(self.open_until, now + max(rest, answer.retry_after_s))


class Deliveries:
    """The queue of one endpoint. `run` tries for ever; it raises only when the journal cannot be written."""

    def __init__(
        self,
        receiver: Post,
        journal: Journal,
        wall: Callable[[], float],
        metrics: Any,
        patience: Patience,
        *,
        fail: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.receiver, self.journal, self.wall, self.metrics = receiver, journal, wall, metrics
        self.patience, self._fail = patience, fail
        self.breaker = Breaker(patience.breaker_failures, patience.breaker_rest_s)
        self.disabled = False
        self.trying: dict[str, Contact] = {}
        self._heap: list[tuple[int, int, Contact]] = []
        self._order = itertools.count()
        self._changed = asyncio.Event()
        metrics["memberflow_webhooks_waiting"].labels(receiver.name).set_function(lambda: len(self))
        metrics["memberflow_webhook_oldest_seconds"].labels(receiver.name).set_function(self.oldest_s)

    def __len__(self) -> int:
        return len(self._heap) + len(self.trying)

    def oldest_s(self) -> float:
        """Age of the oldest contact that is not closed."""
        waiting = [contact for _, _, contact in self._heap]
        planned = [contact.planned_at for contact in (*waiting, *self.trying.values())]
        return max(0.0, self.wall() - min(planned) / 1000) if planned else 0.0

    def add(self, contact: Contact) -> None:
        """Let a contact wait for its time."""
        heapq.heappush(self._heap, (contact.due_at, next(self._order), contact))
        self._changed.set()

    async def drop(self, partition: int) -> None:
        """Forget a partition that is handed over; returns when its tries under way have ended."""
        for _, _, contact in self._heap:
            contact.dropped = contact.dropped or contact.partition == partition
        self._heap = [item for item in self._heap if not item[2].dropped]
        heapq.heapify(self._heap)
        for contact in self.trying.values():
            contact.dropped = contact.dropped or contact.partition == partition
        while any(contact.partition == partition for contact in self.trying.values()):
            await asyncio.sleep(0.02)

    async def run(self) -> None:
        """Try what is due, a few at a time."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self.patience.concurrency):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            contact = await self._due()
            try:
                await self._try(contact)
            finally:
                del self.trying[contact.id]
                self._changed.set()

    async def _due(self) -> Contact:
        """The next contact whose time has come, when its receiver may be tried."""
        while (wait := self._wait_s()) > 0:
            self._changed.clear()
            try:
                async with asyncio.timeout(None if wait == FOR_EVER else wait):
                    await self._changed.wait()
            except TimeoutError:
                pass
        contact = heapq.heappop(self._heap)[2]
        self.trying[contact.id] = contact
        self.breaker.begin()
        return contact

    def _wait_s(self) -> float:
        if self.disabled or not self._heap:
            return FOR_EVER
        now = self.wall()
        return max(self._heap[0][0] / 1000 - now, self.breaker.wait_s(now))

    async def _try(self, contact: Contact) -> None:
        """1 intent, 2 post, 3 result. A death in between costs one more try with the same id, at most."""
        contact.attempts += 1
        intent = Intent(id=contact.id, at=self._now(), attempt=contact.attempts)
        await self.journal.append(contact.partition, [intent])  # 1
        self._fail("dispatcher.after_intent")
        began = asyncio.get_running_loop().time()
        answer = await self.receiver.post(contact.id, contact.body)  # 2
        self._fail("dispatcher.after_post")
        self._count(answer, asyncio.get_running_loop().time() - began)
        self.breaker.end(answer, self.wall())
        contact.due_at = self._next_at(contact, answer)
        await self.journal.append(contact.partition, [self._result(contact, answer)])  # 3
        if contact.due_at and not contact.dropped:
            self.add(contact)

    def _next_at(self, contact: Contact, answer: Answer) -> int:
        """When the next try is due (ms); 0 = the contact is closed."""
        if answer.outcome == "delivered":
            return 0
        if answer.outcome == "gone":
            self.disabled = True
            log.error("endpoint disabled until the next start: it answered 410", endpoint=self.receiver.name)
            return self._now()
        if contact.attempts >= self.patience.attempts:
            log.error("contact given up", endpoint=self.receiver.name, id=contact.id, outcome=answer.outcome)
            self.metrics["memberflow_webhook_deliveries"].labels(self.receiver.name, "given_up").inc()
            return 0
        wait = max(self.patience.wait_s(contact.id, contact.attempts), answer.retry_after_s)
        return self._now() + max(1, round(wait * 1000))

    def _result(self, contact: Contact, answer: Answer) -> Result:
        return Result(
            id=contact.id,
            at=self._now(),
            attempt=contact.attempts,
            outcome=answer.outcome,
            status=answer.status,
            next_at=contact.due_at,
        )

    def _count(self, answer: Answer, seconds: float) -> None:
        self.metrics["memberflow_webhook_deliveries"].labels(self.receiver.name, answer.outcome).inc()
        self.metrics["memberflow_webhook_seconds"].labels(self.receiver.name).observe(seconds)

    def _now(self) -> int:
        return round(self.wall() * 1000)
