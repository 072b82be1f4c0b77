"""Load for the chaos test: members with duplicates, strays, poison and actions that were due long ago, from one seed.
Who joins was invited by another member, who speaks and likes answers one; with `staff`, staff decide among it.

A batch that was not acknowledged is sent again with the same ids, as senders must; so the log holds more than was
meant, and every event still counts once.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from random import Random
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from processors.partitioner import partition_of
from tests.e2e.chaos_staff import Staff

DAY = 86_400
TURN_SECONDS = 0.2
MEMBERS = 2_000
KINDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("check_in", {}),
    ("message", {"kind": "chat", "length": 9}),
    ("share", {"target": "content"}),
    ("purchase", {"amount": 12_345, "currency": "CNY"}),
    ("login", {}),
    ("like", {"item_id": "i-1"}),
    ("refund", {"currency": "CNY"}),
    ("redeem", {"points": 100, "reward": "cup"}),
    ("redeem_cancel", {}),
    ("join", {}),
)
TO_OTHERS: dict[str, Callable[[str], dict[str, Any]]] = {
    "join": lambda other: {"referrer_id": other},
    "message": lambda other: {"reply_to": {"event_id": "e-0", "member_id": other}},
    "like": lambda other: {"author_id": other},
    "share": lambda other: {"author_id": other},
}
"""What makes an action one that another member, mostly of another partition, hears of."""


class Load:
    """Sends until told to stop. `now` is the world's clock in seconds: senders have one."""

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        partitions: int,
        seed: int,
        rate: int,
        now: Callable[[], float],
        staff: Staff | None = None,
    ) -> None:
        self.bootstrap, self.topic, self.partitions, self.rate, self.now = bootstrap, topic, partitions, rate, now
        self.staff = staff
        self.rnd = Random(seed)
        self.numbers = 0
        self.recent: list[tuple[int, bytes, bytes]] = []
        self.orders: dict[str, str] = {}  # of each member the last one's id
        self.redeemed: dict[str, str] = {}
        self.meant = self.resent = 0
        self.stopping = False
        self._producer: AIOKafkaProducer | None = None

    async def run(self) -> None:
        """A batch each turn, as many as the rate asks."""
        loop = asyncio.get_running_loop()
        last, owed = loop.time(), 0.0
        listening = asyncio.create_task(self.staff.listen()) if self.staff else None
        while not self.stopping:
            now = loop.time()
            owed, last = owed + (now - last) * self.rate, now
            batch = [self._record() for _ in range(min(int(owed), self.rate))]
            owed -= len(batch)
            self.meant += len(batch)
            while batch and not await self._sent(batch):
                self.resent += len(batch)
            await asyncio.sleep(TURN_SECONDS)
        await self._close()
        if listening:
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening

    async def _sent(self, batch: list[tuple[int, bytes, bytes]]) -> bool:
        """Whether all of it was acknowledged."""
        try:
            if self._producer is None:
                self._producer = AIOKafkaProducer(
                    bootstrap_servers=self.bootstrap, acks="all", compression_type="zstd", max_batch_size=64_000
                )
                await asyncio.wait_for(self._producer.start(), timeout=10)
            acks = [
                await self._producer.send(self.topic, value, key=key, partition=partition)
                for partition, key, value in batch
            ]
            await asyncio.wait_for(asyncio.gather(*acks), timeout=15)
        except (KafkaError, TimeoutError, OSError):
            await self._close()
            await asyncio.sleep(TURN_SECONDS)
            return False
        return True

    async def _close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(KafkaError, TimeoutError, OSError):
                await asyncio.wait_for(producer.stop(), timeout=5)

    def _record(self) -> tuple[int, bytes, bytes]:
        """Partition, key and value of the next record."""
        draw = self.rnd.random()
        if draw < 0.03 and self.recent:
            return self.rnd.choice(self.recent)
        if draw < 0.035:
            poison = self.rnd.choice([b"{", b"[" * 900, b'{"action":"purchase","amount":NaN}', b"\xff"])
            return self.rnd.randrange(self.partitions), b"poison", poison
        member = f"m-{self.rnd.randrange(MEMBERS)}"
        home = partition_of(member, self.partitions)
        partition = self.rnd.randrange(self.partitions) if draw > 0.98 else home
        if self.staff and 0.97 < draw <= 0.98:
            record = self.staff.record(member)
        else:
            record = (partition, member.encode(), self._action(member))
        self.recent = [*self.recent[-500:], record]
        return record

    def _action(self, member: str) -> bytes:
        """Mostly now; some late by the days after which something is due in a few seconds."""
        name, fields = self.rnd.choice(KINDS)
        number = self.numbers = self.numbers + 1
        late = self.rnd.random() < 0.1
        ago = 7 * DAY - self.rnd.uniform(1, 60) if late else 0.0
        action = {
            "action": name,
            "event_id": f"e-{number}",
            "source": "app",
            "member_id": f"silent-{member}" if late else member,
            "occurred_at": datetime.fromtimestamp(self.now() - ago, UTC).isoformat(),
            "region": self.rnd.choice(["east", "west"]),
            **fields,
        }
        if name in TO_OTHERS and self.rnd.random() < 0.5:
            action |= TO_OTHERS[name](f"m-{self.rnd.randrange(MEMBERS)}")
        self._name(action, number)
        return json.dumps(action).encode()

    def _name(self, action: dict[str, Any], number: int) -> None:
        """The order or redemption that an action is about: one of the member's own, now and then an unknown one."""
        member, kind = action["member_id"], action["action"]
        if kind == "purchase":
            action["order_id"] = self.orders[member] = f"o-{number}"
        elif kind == "refund":
            action["order_id"] = self.orders.get(member, f"o-{number}")
            action["amount"] = self.rnd.choice((12_345, 6_000, 1, 12_346))
        elif kind == "redeem":
            action["redeem_id"] = self.redeemed[member] = f"r-{number}"
        elif kind == "redeem_cancel":
            action["redeem_id"] = self.redeemed.pop(member, f"r-{number}")
