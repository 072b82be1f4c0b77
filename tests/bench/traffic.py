"""Traffic at a steady rate, from a process of its own.

python -m tests.bench.traffic BOOTSTRAP LOG MEMBERS PER_SECOND SECONDS
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time

from aiokafka import AIOKafkaProducer

from schemas.topics import PARTITIONS, topics
from tests.bench.population import Population, Row, send, stamp, wall

SLOT_SECONDS = 0.02
"""What senders gather before they send: the log then has batches of some 20 records."""

BACK_SECONDS = 2
IN_FLIGHT_MAX = 500


async def drive(bootstrap: str, log: str, members: int, per_second: int, seconds: float) -> int:
    """Send until the time is over, slot by slot; returns how many records were acknowledged."""
    population, topic = Population(members, PARTITIONS), topics(log).actions.name
    gc.disable()
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks=1, max_batch_size=200_000) as producer:
        began, sent = time.monotonic(), 0
        waiting: set[asyncio.Future[object]] = set()
        while (passed := time.monotonic() - began) < seconds:
            due = int(passed * per_second) - sent
            for partition, rows in slot(population, due).items():
                waiting.add(await send(producer, topic, partition, rows))
            sent += due
            if len(waiting) > IN_FLIGHT_MAX:
                _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(max(0.0, began + (sent / per_second) + SLOT_SECONDS - time.monotonic()))
        await asyncio.gather(*waiting)
    return sent


def slot(population: Population, due: int) -> dict[int, list[Row]]:
    """The next actions, uniform over all members, by partition."""
    found: dict[int, list[Row]] = {}
    pick, at = population.random.random, stamp(wall() - BACK_SECONDS)
    everyone = population.members
    for _ in range(due):
        number = int(pick() * everyone)
        partition = population.home[number]
        member = f"m{number:07d}"
        found.setdefault(partition, []).append((member, population.action(member, at)))
    return found


if __name__ == "__main__":
    where, name, crowd, rate, duration = sys.argv[1:]
    print(asyncio.run(drive(where, name, int(crowd), int(rate), float(duration))))
