"""How a process that stays runs what it consists of: until it is asked to end, or until one part of it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

GRACE_SECONDS = 0.5
"""For what is in the middle of a step when the process is asked to end. The next process does a cut step again."""


async def until(stopping: asyncio.Event, *parts: Awaitable[object]) -> None:
    """Runs all parts until `stopping`; raises what ends one of them before. None of them runs afterwards."""
    tasks = {asyncio.ensure_future(part) for part in parts}
    asked = asyncio.ensure_future(stopping.wait())
    try:
        done, _ = await asyncio.wait({asked, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        await asyncio.wait(tasks, timeout=GRACE_SECONDS)
    finally:
        for task in {asked, *tasks}:
            task.cancel()
        # Bounded: aiokafka may swallow a cancellation.
        ended, _ = await asyncio.wait({asked, *tasks}, timeout=GRACE_SECONDS)
        for task in ended:
            if not task.cancelled():
                task.exception()  # seen: what failed while all ends is not what ended it
