"""A process runs until it is asked to end or until a part of it fails, and no part outlives it."""

from __future__ import annotations

import asyncio

import pytest

from streams.cli_processes import Both
from streams.staying import GRACE_SECONDS, until
from tests.streams.test_worker import in_no_time


class Part:
    """Runs for so many seconds, and then fails or ends."""

    def __init__(self, seconds: float = 1e5, error: Exception | None = None, *, deaf: bool = False) -> None:
        self.seconds, self.error, self.deaf, self.ended = seconds, error, deaf, ""

    async def run(self) -> None:
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.ended = "cancelled"
            if self.deaf:
                await asyncio.sleep(5)
            raise
        self.ended = "by itself"
        if self.error is not None:
            raise self.error


def asked_after(seconds: float) -> asyncio.Event:
    stopping = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, stopping.set)
    return stopping


@in_no_time
async def test_a_part_that_fails_ends_the_others_and_is_raised() -> None:
    other = Part()
    with pytest.raises(OSError, match="no route"):
        await until(asyncio.Event(), Part(3, OSError("no route")).run(), other.run())
    assert other.ended == "cancelled"


@in_no_time
async def test_who_is_asked_to_end_finishes_its_step_and_waits_no_longer() -> None:
    soon, never = Part(3 + GRACE_SECONDS / 2), Part()
    await until(asked_after(3), soon.run(), never.run())
    assert (soon.ended, never.ended) == ("by itself", "cancelled")
    assert asyncio.get_running_loop().time() < 3 + 2 * GRACE_SECONDS


@in_no_time
async def test_what_fails_while_all_ends_is_not_raised() -> None:
    await until(asked_after(3), Part(3 + GRACE_SECONDS / 2, OSError("gone")).run())


@in_no_time
async def test_a_part_that_does_not_notice_its_cancellation_holds_nobody_up() -> None:
    await until(asked_after(3), Part(deaf=True).run())
    assert asyncio.get_running_loop().time() <= 3 + 2 * GRACE_SECONDS


class Stays:
    """A process that stays until it is stopped, or fails at once."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.stopping, self.ended = error, asyncio.Event(), False

    async def run(self) -> None:
        if self.error is not None:
            raise self.error
        await self.stopping.wait()
        self.ended = True

    def stop(self) -> None:
        self.stopping.set()


@pytest.mark.parametrize("fails", [0, 1])
async def test_of_two_that_stay_as_one_neither_outlives_the_other(fails: int) -> None:
    pair = [Stays(), Stays()]
    pair[fails].error = RuntimeError("gone")
    with pytest.raises(RuntimeError, match="gone"):
        await asyncio.wait_for(Both(*pair).run(), 5)
    assert pair[1 - fails].ended


async def test_two_that_stay_as_one_are_asked_to_end_together() -> None:
    pair = [Stays(), Stays()]
    both = Both(*pair)
    task = asyncio.create_task(both.run())
    await asyncio.sleep(0)
    both.stop()
    await asyncio.wait_for(task, 5)
    assert [it.ended for it in pair] == [True, True]
