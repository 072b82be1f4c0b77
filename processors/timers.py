"""The timers of a partition: one entry a member, in the order (armed, member_id)."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

NEAR = 1_000
SHARE = 16
ALL = 1 << 63, ""


class Timers:
    """The truth, and a heap of its next entries: one that is no longer true is skipped and never counted.

    Counting stale entries would make the wakes of a record depend on what happened before the last restart. Only the
    next ones are in the heap, all up to `until`: what stands weeks ahead would cost twice as much memory, and be moved
    many times before its moment comes. The heap is empty only when nobody is armed.
    """

    __slots__ = ("_room", "armed", "heap", "near", "until")

    def __init__(self, entries: Iterable[tuple[int, str]] = (), near: int = NEAR) -> None:
        self.armed = {member: at for at, member in entries}
        self.near = near
        self._gather(near)

    def __len__(self) -> int:
        return len(self.armed)

    def arm(self, member: str, at: int) -> None:
        """Let the member's entry stand at `at`."""
        self.armed[member] = at
        entry = at, member
        if entry <= self.until:
            heapq.heappush(self.heap, entry)
            if len(self.heap) > self._room:
                self._gather(self.near)

    def disarm(self, member: str) -> None:
        """Take the member's entry away."""
        self.armed.pop(member, None)

    def first(self) -> int:
        """When the first entry stands; 0 when there is none."""
        at = self._front()
        if not at and self.armed:
            self._gather(self.near)
            at = self._front()
        return at

    def due(self, clock: int, most: int) -> list[str]:
        """The members due at the clock, at most `most`, in order. They stay armed until re-armed or disarmed."""
        found: list[tuple[int, str]] = []
        seen: set[str] = set()
        while len(found) < most and 0 < self._front() <= clock:
            entry = heapq.heappop(self.heap)
            if entry[1] not in seen:
                seen.add(entry[1])
                found.append(entry)
        if len(found) < most and self.until[0] <= clock:  # the heap ran dry, and there may be more
            self._gather(most)
            return self.due(clock, most)
        for entry in found:
            heapq.heappush(self.heap, entry)
        return [member for _, member in found]

    def overdue(self, clock: int) -> int:
        """How many milliseconds the first entry is behind the clock."""
        first = self.first()
        return max(0, clock - first) if first else 0

    def _front(self) -> int:
        """When the first true entry of the heap stands; 0 when there is none in it."""
        heap, armed = self.heap, self.armed
        while heap and armed.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else 0

    def _gather(self, least: int) -> None:
        """Let the heap be the next entries, at least so many: a share of all, so that this is seldom done."""
        armed, most = self.armed, max(self.near, least, len(self.armed) // SHARE)
        self.until = ALL
        if most >= len(armed):
            heap = [(at, member) for member, at in armed.items()]
        else:
            last = sorted(armed.values())[most - 1]
            heap = sorted((at, member) for member, at in armed.items() if at <= last)[:most]  # many may share a moment
            self.until = heap[-1]
        heapq.heapify(heap)
        self.heap, self._room = heap, 2 * most
