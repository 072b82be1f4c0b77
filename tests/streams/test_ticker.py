"""What keeps a silent partition's clock moving, and what must not: a backlog, a chunk under way, a tick on its way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from schemas.records import tick
from streams import ticker as module
from streams.errors import PublishFailed, Stuck
from streams.ticker import Ticker
from tests.doubles import instantly
from tests.processors.test_partition import an_action
from tests.streams.site import Site
from tests.streams.test_ownership import committed, running
from tests.streams.test_worker import Faults, in_no_time

WATCHDOG = 5.0


@pytest.fixture(autouse=True)
def _instant(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ticker's clock is the loop's."""
    monkeypatch.setattr(module, "monotonic", lambda: asyncio.get_running_loop().time())
    monkeypatch.setattr("streams.watchdog.monotonic", lambda: asyncio.get_running_loop().time())
    monkeypatch.setattr("streams.ownership.monotonic", lambda: asyncio.get_running_loop().time())


def ticks(site: Site) -> int:
    return sum(record.value.startswith(b'{"record":"tick"') for record in site.records() if record.value)


async def ticking(site: Site, seconds: float, *, working: bool = True) -> None:
    """So many seconds with a ticker, and with chunks handed out or not."""
    ticker = Ticker(site.ownership, site.publisher, watchdog_s=WATCHDOG)
    end = asyncio.get_running_loop().time() + seconds
    task = asyncio.create_task(ticker.run(lambda: asyncio.get_running_loop().time() >= end))
    while not task.done():
        if working:
            site.hand_out()
        await asyncio.sleep(0.02)
    task.result()


@in_no_time
async def test_a_partition_at_its_end_gets_a_tick_a_second() -> None:
    site = await running(Site())
    await committed(site, 1)
    await ticking(site, 10.5)
    assert 10 <= ticks(site) <= 12
    owner = site.ownership.lanes[0].acquired.owner
    assert site.records(1)[0].value == tick(owner)


@in_no_time
async def test_while_a_tick_has_not_come_back_there_is_no_other() -> None:
    site = await running(Site())
    await committed(site, 1)
    await ticking(site, WATCHDOG - 0.5, working=False)
    assert ticks(site) == 1


@in_no_time
async def test_a_backlog_gets_none() -> None:
    site = await running(Site())
    for number in range(9):
        site.add(an_action(number))
    site.consumer.sizes = lambda: 1
    site.hand_out()
    await ticking(site, 5, working=False)
    assert ticks(site) == 0


@in_no_time
async def test_while_wakes_are_overdue_ticks_come_at_once() -> None:
    """Each record wakes three members at most here; nobody should wait seconds for the others' turn."""
    site = await running(Site())
    await committed(site, 1)
    for number in range(40):
        site.add(an_action(number, f"m-{number}"))
    site.log.now += 8 * 86_400_000
    site.add(tick())
    await ticking(site, 3)
    lane = site.ownership.lanes[0]
    assert lane.fold.timers.overdue(lane.fold.state.clock) == 0
    assert ticks(site) > 3


@in_no_time
async def test_a_tick_that_failed_is_sent_again() -> None:
    site = Site()
    line = Faults()
    site.line = site.store.line = site.publisher.line = line
    await running(site)
    await committed(site, 1)
    line.fates["send"] = "lost"
    await ticking(site, 3.5)
    assert ticks(site) >= 2


@pytest.mark.parametrize(("answers", "ends"), [("ok", True), ("lost", False)])
def test_who_stands_still_ends_the_process_unless_redis_or_kafka_do(
    *,
    answers: str,
    ends: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run() -> None:
        site = await running(Site())
        site.add(an_action(1))
        if answers == "lost":

            async def away(_: Any) -> Any:
                raise OSError("no route")

            monkeypatch.setattr(site.store, "offsets", away)
        if ends:
            with pytest.raises(Stuck, match="partitions 0 have lag"):
                await ticking(site, 2 * WATCHDOG, working=False)
        else:
            await ticking(site, 2 * WATCHDOG, working=False)

    instantly(run())


@in_no_time
async def test_a_consumer_that_fetches_no_more_and_sees_no_lag_ends_the_process() -> None:
    """As aiokafka's may be after a broker's restart: the log's end that it knows is the one of its last fetch."""
    site = await running(Site())
    await committed(site, 1)
    known = site.log.end(site.consumer.topic, 0)
    site.consumer.at_end = lambda partition: known == 1  # type: ignore[method-assign]
    with pytest.raises(Stuck, match="partitions 0 have lag"):
        await ticking(site, 3 * WATCHDOG, working=False)


@in_no_time
async def test_ticks_that_fail_together_are_one_line() -> None:
    site = await running(Site(), 0, 1, 2)
    for partition in range(3):
        await committed(site, 1, partition)

    async def away(partition: int, owner: str, clock: int) -> None:
        raise PublishFailed(f"partition {partition}: no route")

    site.publisher.tick = away  # type: ignore[method-assign]
    with capture_logs() as told:
        await ticking(site, 2.5)
    told = [line for line in told if line["event"] == "ticks not sent"]
    assert 2 <= len(told) <= 3
    assert told[0]["partitions"] == [0, 1, 2]
    assert "no route" in told[0]["error"]


@in_no_time
async def test_a_halted_partition_is_not_stuck() -> None:
    site = await running(Site())
    await committed(site, 1)
    site.ownership.on_out_of_range(0, 5)
    await site.until(lambda: site.ownership.halted)
    site.add(an_action(1))
    await ticking(site, 3 * WATCHDOG)


@in_no_time
async def test_kafka_is_told_each_second_how_far_we_are() -> None:
    site = await running(Site())
    await committed(site, 1)
    await ticking(site, 2)
    assert site.consumer.hints[0] >= 1
