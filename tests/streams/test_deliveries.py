"""One endpoint's queue: intent before and result after each try, pauses, the breaker, and who may not stall whom."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import pytest

from schemas.contacts import AnyEntry, Intent, Planned, Result
from streams.deliveries import Breaker, Deliveries, Patience
from streams.journal import Contact, Memory
from streams.metrics import Metrics
from streams.webhook import Answer

AT_ONCE = Patience(schedule=(0.0,), attempts=3, concurrency=2, breaker_failures=100)


class ListJournal:
    """A journal in a list, which also notes when something was posted."""

    def __init__(self) -> None:
        self.entries: list[AnyEntry | str] = []

    async def append(self, partition: int, entries: Sequence[AnyEntry]) -> None:
        self.entries.extend(entries)
        await asyncio.sleep(0)

    async def load(self, partition: int) -> Memory:
        memory = Memory()
        for entry in self.entries:
            if not isinstance(entry, str):
                memory.learn(partition, entry)
        return memory

    @property
    def results(self) -> list[Result]:
        return [entry for entry in self.entries if isinstance(entry, Result)]


class Script:
    """A receiver that answers from a list, then `delivered`."""

    def __init__(self, name: str, journal: ListJournal, *answers: Answer, slow_s: float = 0.0) -> None:
        self.name, self.journal, self.answers, self.slow_s = name, journal, list(answers), slow_s
        self.posted: list[tuple[str, float]] = []

    async def post(self, contact_id: str, body: bytes) -> Answer:
        self.posted.append((contact_id, time.monotonic()))
        self.journal.entries.append("post")
        await asyncio.sleep(self.slow_s)
        return self.answers.pop(0) if self.answers else Answer("delivered", 204)


def contact(number: int = 1, partition: int = 0) -> Contact:
    return Contact(id=f"{number:032x}", partition=partition, endpoint="coupons", body=b"{}", planned_at=0)


def queue(receiver: Script, patience: Patience = AT_ONCE, wall: Callable[[], float] = time.monotonic) -> Deliveries:
    return Deliveries(receiver, receiver.journal, wall, Metrics("dispatcher"), patience)


async def run(deliveries: Deliveries, until: Callable[[], bool], *, within_s: float = 5.0) -> None:
    running = asyncio.create_task(deliveries.run())
    try:
        async with asyncio.timeout(within_s):
            while not until():
                if running.done():
                    running.result()
                await asyncio.sleep(0.005)
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def test_every_try_is_written_down_before_and_after() -> None:
    journal = ListJournal()
    deliveries = queue(Script("coupons", journal, Answer("failed", 500)))
    deliveries.add(contact())
    await run(deliveries, lambda: len(journal.results) == 2)
    assert [entry if isinstance(entry, str) else type(entry) for entry in journal.entries] == [
        Intent, "post", Result, Intent, "post", Result,
    ]  # fmt: skip
    first, second = journal.results
    assert (first.attempt, first.outcome, first.status, first.next_at > 0) == (1, "failed", 500, True)
    assert (second.attempt, second.outcome, second.next_at) == (2, "delivered", 0)
    assert len(deliveries) == 0


async def test_after_the_last_try_a_contact_is_given_up() -> None:
    journal = ListJournal()
    deliveries = queue(Script("coupons", journal, *[Answer("refused", 400)] * 5))
    deliveries.add(contact())
    await run(deliveries, lambda: len(journal.results) == 3)
    assert [result.next_at == 0 for result in journal.results] == [False, False, True]
    counted = deliveries.metrics["memberflow_webhook_deliveries"]
    assert counted.labels("coupons", "given_up")._value.get() == 1


async def test_410_ends_the_endpoint_until_the_next_start_and_closes_nothing() -> None:
    journal = ListJournal()
    receiver = Script("coupons", journal, Answer("gone", 410))
    deliveries = queue(receiver, AT_ONCE._replace(concurrency=1))
    for number in (1, 2, 3):
        deliveries.add(contact(number))
    await run(deliveries, lambda: deliveries.disabled and len(journal.results) == 1)
    assert (len(receiver.posted), len(deliveries)) == (1, 3)
    assert journal.results[0].next_at > 0


async def test_a_receiver_that_asks_for_a_pause_gets_it() -> None:
    journal = ListJournal()
    receiver = Script("coupons", journal, Answer("throttled", 429, retry_after_s=0.3))
    deliveries = queue(receiver, AT_ONCE._replace(concurrency=1))
    deliveries.add(contact(1))
    deliveries.add(contact(2))
    await run(deliveries, lambda: len(journal.results) == 3)
    (_, first), *others = receiver.posted
    assert all(at - first >= 0.3 for _, at in others)


async def test_after_failures_in_a_row_one_try_at_a_time_finds_out() -> None:
    journal = ListJournal()
    patience = Patience((0.0,), attempts=100, concurrency=3, breaker_failures=3, breaker_rest_s=0.2)
    receiver = Script("coupons", journal, *[Answer("unreachable")] * 5)
    deliveries = queue(receiver, patience)
    for number in range(6):
        deliveries.add(contact(number))
    await run(deliveries, lambda: len(deliveries) == 0)
    times = [at for _, at in receiver.posted]
    assert times[3] - times[2] >= 0.15, "the breaker was open"
    assert times[4] - times[3] >= 0.2, "one probe, which failed"
    assert times[5] - times[4] >= 0.2, "one probe, which was delivered"


async def test_a_dead_endpoint_stalls_no_other() -> None:
    journal = ListJournal()
    dead = queue(Script("coupons", journal, slow_s=60.0))
    quick_receiver = Script("calls", journal)
    quick = queue(quick_receiver)
    for number in range(50):
        dead.add(contact(number))
        quick.add(contact(100 + number))
    task = asyncio.create_task(dead.run())
    await run(quick, lambda: len(quick_receiver.posted) == 50, within_s=2.0)
    assert (len(dead), len(dead.trying)) == (50, 2)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_a_partition_that_is_handed_over_is_no_longer_tried() -> None:
    journal = ListJournal()
    receiver = Script("coupons", journal, Answer("failed", 500), slow_s=0.05)
    deliveries = queue(receiver, AT_ONCE._replace(concurrency=1))
    deliveries.add(contact(1, partition=4))
    deliveries.add(contact(2, partition=4))
    deliveries.add(contact(3, partition=5))
    running = asyncio.create_task(deliveries.run())
    await asyncio.sleep(0)
    while not receiver.posted:
        await asyncio.sleep(0.005)
    await deliveries.drop(4)
    assert [result.outcome for result in journal.results] == ["failed"], "the try under way was written down"
    await asyncio.wait_for(_posted(receiver, 2), 5)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert [contact_id for contact_id, _ in receiver.posted] == [contact(1).id, contact(3).id]


async def _posted(receiver: Script, count: int) -> None:
    while len(receiver.posted) < count:
        await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("entries", "open_", "attempts"),
    [
        ("p", True, 0),
        ("pi", True, 1),
        ("pir", True, 1),
        ("piri", True, 2),
        ("pirid", False, 0),
        ("pid", False, 0),
        ("pidp", False, 0),
        ("pidip", False, 0),
        ("ppi", True, 1),
        ("d", False, 0),
        ("dp", False, 0),
    ],
)
def test_what_a_journal_says_of_a_contact(entries: str, attempts: int, *, open_: bool) -> None:
    """p planned, i intent, r result with another try to come, d delivered."""
    name, memory, tries = contact().id, Memory(), 0
    for at, letter in enumerate(entries, 1):
        tries += letter == "i"
        entry: dict[str, AnyEntry] = {
            "p": Planned(id=name, at=at, endpoint="coupons", body="{}"),
            "i": Intent(id=name, at=at, attempt=tries),
            "r": Result(id=name, at=at, attempt=tries, outcome="failed", next_at=at + 5),
            "d": Result(id=name, at=at, attempt=tries, outcome="delivered"),
        }
        memory.learn(0, entry[letter])
    assert (name in memory.open) is open_
    assert bytes.fromhex(name) in memory.known
    if open_:
        assert memory.open[name].attempts == attempts


def test_waits_follow_the_schedule_within_a_fifth_and_do_not_change() -> None:
    patience = Patience()
    for attempts, base in enumerate(patience.schedule):
        waits = {patience.wait_s(contact(number).id, attempts) for number in range(50)}
        assert all(0.8 * base <= wait <= 1.2 * base for wait in waits)
        assert waits == {patience.wait_s(contact(number).id, attempts) for number in range(50)}
    assert patience.wait_s("x", 99) > 0.8 * 86_400


def test_a_delivery_closes_the_breaker() -> None:
    breaker = Breaker(2, 30.0)
    for _ in range(2):
        breaker.begin()
        breaker.end(Answer("timeout"), 100.0)
    assert breaker.wait_s(110.0) == 20.0
    assert breaker.wait_s(130.0) == 0.0
    breaker.begin()
    assert breaker.wait_s(130.0) == float("inf"), "one probe at a time"
    breaker.end(Answer("delivered", 200), 131.0)
    assert breaker.wait_s(131.0) == 0.0
