"""Members who talk themselves to the top of the programme's board, and who looks when it shows what they said.

    python -m tests.bench.board_probe FILE BOOTSTRAP LOG PORT SECONDS

The board is looked at every 20 ms. A line of FILE is one message: the broker's stamp, and when the board had it (ms, 0
= never); the last line is how many members the board had. A member's first messages do not lift it above all others
yet, so they are not written down.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import msgspec
from aiohttp import ClientSession
from aiokafka import AIOKafkaProducer

from schemas.topics import topics
from streams.board_server import Shown
from tests.bench.population import stamp, wall

PER_SECOND = 10
LOOK_SECONDS = 0.02
PROBES = 60
WEIGHT = 3_000
FIRST_MEASURED = 8
"""Uniform traffic gives nobody as much as so many experiences within the minutes of a bench."""

MESSAGES_MAX = 30
LATE_SECONDS = 10.0

Sent = dict[tuple[str, int], list[int]]
"""(member, its n-th message) -> the broker's stamp and when it was shown."""

_shown = msgspec.json.Decoder(Shown).decode


async def probe(bootstrap: str, log: str, port: int, seconds: float) -> tuple[Sent, int]:
    """Speak and look until the time is over and all is shown."""
    sent: Sent = {}
    speaking = asyncio.create_task(_speak(bootstrap, topics(log).actions.name, seconds, sent))
    members, deadline = 0, time.monotonic() + seconds + LATE_SECONDS
    async with ClientSession() as session:
        while not speaking.done() or (time.monotonic() < deadline and not all(seen for _, seen in sent.values())):
            began = time.monotonic()
            async with session.get(f"http://127.0.0.1:{port}/boards/hot_talk?period=week") as answer:
                board = _shown(await answer.read())
            at, members = int(wall() * 1000), max(members, board.members)
            for line in board.places:
                for number in range(line.value // WEIGHT, 0, -1):
                    told = sent.get((line.member_id, number))
                    if told is None or told[1]:
                        break
                    told[1] = at
            await asyncio.sleep(max(0.0, began + LOOK_SECONDS - time.monotonic()))
    await speaking
    return sent, members


async def _speak(bootstrap: str, topic: str, seconds: float, sent: Sent) -> None:
    began, count = time.monotonic(), 0
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks=1) as producer:
        while time.monotonic() - began < seconds and count < PROBES * MESSAGES_MAX:
            member, number = f"probe-{count % PROBES}", count // PROBES + 1
            value = (
                f'{{"action":"message","event_id":"probe-{count:06}","source":"bench","member_id":"{member}",'
                f'"occurred_at":"{stamp(wall())}","kind":"experience","length":24}}'
            )
            done = await producer.send_and_wait(topic, value.encode(), key=member.encode())
            if number >= FIRST_MEASURED:
                sent[member, number] = [done.timestamp, 0]
            count += 1
            rate = PER_SECOND * (10 if number < FIRST_MEASURED else 1)
            await asyncio.sleep(1 / rate)


if __name__ == "__main__":
    file, where, name, listening, duration = sys.argv[1:]
    found, held = asyncio.run(probe(where, name, int(listening), float(duration)))
    lines = [f"{sent_at} {seen_at}" for sent_at, seen_at in found.values()]
    Path(file).write_text("\n".join([*lines, str(held)]) + "\n")
