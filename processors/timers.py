"""The timers of a partition: one entry a member, in the order (armed, member_id)."""

from __future__ import annotations

import heapq
from collections.abc import Iterable


class Timers:
    """A heap, and the truth beside it: an entry of the heap that is no longer true is skipped and never counted.

    Counting stale entries would make the wakes of a record depend on what happened before the last restart.
    """

    __slots__ = ("armed", "heap")

    def __init__(self, entries: Iterable[tuple[int, str]] = ()) -> None:
        self.heap = list(entries)
        heapq.heapify(self.heap)
        self.armed = {member: at for at, member in self.heap}

    def __len__(self) -> int:
        return len(self.armed)

    def arm(self, member: str, at: int) -> None:
        """Let the member's entry stand at `at`."""
        self.armed[member] = at
        heapq.heappush(self.heap, (at, member))

    def disarm(self, member: str) -> None:
        """Take the member's entry away."""
        self.armed.pop(member, None)

    def first(self) -> int:
        """When the first entry stands; 0 when there is none."""
        heap, armed = self.heap, self.armed
        while heap and armed.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else 0

    def due(self, clock: int, most: int) -> list[str]:
        """The members due at the clock, at most `most`, in order. They stay armed until re-armed or disarmed."""
        found: list[tuple[int, str]] = []
        seen: set[str] = set()
        while len(found) < most and 0 < self.first() <= clock:
            entry = heapq.heappop(self.heap)
            if entry[1] not in seen:
                seen.add(entry[1])
                found.append(entry)
        for entry in found:
            heapq.heappush(self.heap, entry)
        return [member for _, member in found]

    def overdue(self, clock: int) -> int:
        """How many milliseconds the first entry is behind the clock."""
        first = self.first()
        return max(0, clock - first) if first else 0
