"""The numbers of a partition's facts, 1, 2, 3 ...: a consumer drops what it has seen and stops at a gap.

A publisher that starts again repeats from its committed offset under the same numbers, so first occurrences
ascend by one whatever the interleaving. Last seen lies in the metadata of the consumer's own offset commit, or
a restart inside a repeated run would forget it.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

Admission = Literal["next", "repeat", "gap"]


class LastSeen(Struct, omit_defaults=True):
    """What a consumer knows of one partition. Written as JSON into its offset commit.

    `n` is the last number seen; None starts anew from the first one read (rewound on purpose). `row` is the
    offset of the last record stored, to be compared with the store itself. `gap` is the number met where n + 1
    was due; `accept` is the number a person allows in its place, once.
    """

    n: int | None = 0
    row: int = -1
    gap: int = 0
    accept: int = 0

    def admit(self, n: int) -> Admission:
        """Whether a fact with this number is new; remembers it, or the gap it leaves."""
        last = self.n
        if last is None or n == last + 1 or (n == self.accept and n > last):
            self.n = n
            self.gap = self.accept = 0
            return "next"
        if n <= last:
            return "repeat"
        self.gap = n
        return "gap"

    def encode(self) -> str:
        """As metadata of an offset commit."""
        return msgspec.json.encode(self).decode()


def decode(metadata: str) -> LastSeen:
    """From the metadata of an offset commit; what cannot be read starts anew."""
    try:
        return msgspec.json.decode(metadata, type=LastSeen)
    except msgspec.DecodeError:
        return LastSeen(n=None)
