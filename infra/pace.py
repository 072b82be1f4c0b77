"""A run of live traffic: how many records are due, what goes wrong at which second, when it is over."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

from infra.live import Live, Record
from infra.sender import Sender

SENDING = "sending begins"
SLOT_S = 0.02
FILL_BLOCK = 8_000
"""Records handed over at once when there is no pace: some batches for each partition."""

INCIDENTS_EVERY_S = 20


class Limits(NamedTuple):
    """How fast (0 = as fast as it goes), how long and how many (0 = no end)."""

    rate: float = 0
    seconds: float = 0
    total: int = 0


class Run:
    """One run, until it is time, enough, or asked to stop."""

    def __init__(
        self, stream: Live, sender: Sender, limits: Limits, now_ms: Callable[[], int], *, has_incidents: bool
    ) -> None:
        self.stream, self.sender, self.limits, self.now_ms = stream, sender, limits, now_ms
        self.has_incidents = has_incidents
        self.sent = 0
        self._taken = 0
        self._second = 0
        self._start = self._end = 0.0
        self._is_stopping = False

    async def run(self) -> None:
        """Send slot by slot; what is begun is acknowledged before it ends."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        async with self.sender:
            print(SENDING, file=sys.stderr, flush=True)
            self._start = time.monotonic()
            while not self._is_over():
                await self._slot()
                await asyncio.sleep(SLOT_S if self.limits.rate else 0)
            self._end = time.monotonic()

    def stop(self) -> None:
        """End after the slot that is under way."""
        self._is_stopping = True

    def summary(self) -> dict[str, float]:
        """What was sent and what the broker acknowledged."""
        took = max(0.001, self._end - self._start)
        return {
            "sent": self.sent,
            "acknowledged": self.sender.acknowledged,
            **self.stream.counts,
            "seconds": round(took, 2),
            "per_second": round(self.sender.acknowledged / took, 1),
        }

    @property
    def _elapsed_s(self) -> float:
        return time.monotonic() - self._start

    def _is_over(self) -> bool:
        _, seconds, total = self.limits
        is_late = bool(seconds) and self._elapsed_s >= seconds
        return self._is_stopping or is_late or (bool(total) and self._taken >= total)

    async def _slot(self) -> None:
        now = self.now_ms()
        due = self._due()
        if due > 0:
            self._taken += due
            await self._send(self.stream.take(due, now), now)
        second = int(self._elapsed_s)
        if self.has_incidents and second > self._second:
            self._second = second
            await self._incident(second % INCIDENTS_EVERY_S, now)

    def _due(self) -> int:
        rate, _, total = self.limits
        due = int(self._elapsed_s * rate) - self._taken if rate else FILL_BLOCK
        return min(due, FILL_BLOCK, total - self._taken if total else FILL_BLOCK)

    async def _incident(self, second: int, now: int) -> None:
        if second == 2:
            await self._send(self.stream.storm(times=3), now)
        elif second == 3:
            await self._send(self.stream.late_batch(300, now), now)
        elif second == 1:
            await self._send(self.stream.poison_burst(25, now), now)

    async def _send(self, records: list[Record], now: int) -> None:
        self.sent += len(records)
        await self.sender.send(records, now)
