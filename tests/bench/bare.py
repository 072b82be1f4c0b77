"""Fetch and decode by the bare client: what no Python worker can be faster than.

    python -m tests.bench.bare BOOTSTRAP TOPIC RECORDS

reads a log from its beginning in a process of its own, and tells how fast that was as JSON.
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import time

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition
from msgspec import Struct

from schemas.decoding import decode
from tests.bench.arena import Arena
from tests.bench.failed import BenchFailed
from tests.bench.figures import Figure, Section
from tests.bench.throughput import Run

CHUNK_RECORDS = 5_000
FETCH_BYTES = 2 * 1024 * 1024
SECONDS_MAX = 300


class Reading(Struct):
    """How fast it was."""

    records: int
    seconds: float
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        """Records fetched and decoded."""
        return self.records / self.seconds


async def read(bootstrap: str, topic: str, partitions: int, records: int) -> Reading:
    """Read and decode so many records, without the collector, as the worker does."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        enable_auto_commit=False,
        max_partition_fetch_bytes=FETCH_BYTES,
    )
    await consumer.start()
    gc.disable()
    try:
        places = [TopicPartition(topic, partition) for partition in range(partitions)]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        began, cpu, seen = time.perf_counter(), time.process_time(), 0
        while seen < records:
            for some in (await consumer.getmany(timeout_ms=500, max_records=CHUNK_RECORDS)).values():
                items = [decode(record.value, record.headers) for record in some]
                seen += len(items)
        return Reading(seen, time.perf_counter() - began, time.process_time() - cpu)
    finally:
        await consumer.stop()


def measure(arena: Arena, ours: Run | None) -> Section:
    """The bare client over the same log, and our share of it."""
    records = sum(end for _, end in arena.bounds.values())
    reading = _read_apart(arena, records)
    figures = [
        Figure("bare aiokafka, fetch and decode", reading.per_second, "actions/s"),
        Figure("its CPU seconds per million actions", reading.cpu_seconds / reading.records * 1e6, "s"),
    ]
    if ours is not None:
        share = ours.warm_per_second / reading.per_second * 100
        figures.append(Figure("one worker of ours against it", share, "%"))
    return Section("The bare client on the same log", figures, {"reading": reading})


def _read_apart(arena: Arena, records: int) -> Reading:
    settings = arena.settings
    words = [settings.kafka.bootstrap, arena.names.actions.name, str(settings.partitions), str(records)]
    command = [sys.executable, "-m", "tests.bench.bare", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
    if done.returncode:
        raise BenchFailed(f"the bare client: {done.stderr.strip()[-2_000:]}")
    return Reading(**json.loads(done.stdout))


if __name__ == "__main__":
    where, name, number, count = sys.argv[1:]
    told = asyncio.run(read(where, name, int(number), int(count)))
    print(json.dumps({field: getattr(told, field) for field in told.__struct_fields__}))
