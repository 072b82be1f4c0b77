"""Dead letters as they are listed and replayed: a refused record is one, however often it was decided again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

import pytest
from aiokafka import ConsumerRecord

from schemas.dead_letters import DeadLetter
from schemas.settings import Settings
from schemas.verdicts import Reason, Rejected
from streams import dlq

REFUSED = Rejected(Reason.INVALID, "$.region", "too long", "app")


def letter(partition: int, offset: int, origin: int) -> Any:
    it = DeadLetter(topic="actions", partition=partition, offset=origin, key=b"m", value=b"{}", rejected=REFUSED)
    headers = tuple(it.kafka_headers())
    return ConsumerRecord("dlq", partition, offset, offset, 0, it.key, it.value, None, 1, 2, headers)


class Topic:
    """The dead-letter topic: two partitions, of which one was rebuilt twice."""

    origins: Mapping[int, list[int]] = {0: [3, 8, 9, 8, 9, 12, 3, 8, 9, 12], 1: [3]}

    async def all_bounds(self, partitions: Iterable[int]) -> dict[int, tuple[int, int]]:
        return {p: (0, len(self.origins[p])) for p in partitions}

    async def read_all(self, spans: Mapping[int, tuple[int, int]]) -> AsyncIterator[list[Any]]:
        for p, (first, end) in spans.items():
            yield [letter(p, offset, self.origins[p][offset]) for offset in range(first, end)]


async def test_what_was_decided_again_is_listed_and_replayed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dlq, "LogReader", lambda *_: Topic())
    letters = dlq.DeadLetters(Settings(partitions=2, _env_file=None))
    assert [(it.partition, it.origin) async for it in letters.all()] == [(0, 3), (0, 8), (0, 9), (0, 12), (1, 3)]
    assert [it.origin for it in await letters.newest(4)] == [12, 9, 8, 3]
