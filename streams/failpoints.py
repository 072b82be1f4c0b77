"""Points at which a process may be killed on purpose, so that tests can stop it where it hurts most.

    CRASH_AT=chunk.published:3,publish.half:10   # SIGKILL at the third and the tenth pass
    FREEZE_AT=chunk.decided:5                    # SIGSTOP at the fifth: whoever sends SIGCONT wakes a zombie

Off unless a variable is set: then a point is one dictionary look-up.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from streams.errors import UsageError

POINTS = (
    "chunk.fetched",  # a chunk was taken, nothing was done with it
    "chunk.decided",  # the rules ran, nothing is out
    "publish.half",  # dead letters and derived records are out, facts are not
    "chunk.published",  # everything is out, nothing is committed
    "chunk.committed",  # the commit is in, nobody was told
    "sink.before_insert",
    "sink.mid_insert",  # facts are in, aggregates are not
    "sink.before_commit",  # all rows are in, Kafka does not know
    "archive.before_insert",
    "archive.before_commit",  # actions are in, Kafka does not know
    "dispatcher.planned",  # contacts are in the journal, their fact is not committed
    "dispatcher.after_intent",  # the journal says that a try begins, nothing was posted
    "boards.awarded",  # awards are in the log, the places of their boards are nowhere
    "boards.published",  # places are on their topic, nothing was stored
    "staff.appended",  # some records of a file are in the log, and perhaps not all
    "dispatcher.after_post",  # the receiver has answered, the journal does not know
)


def die() -> None:
    """End this process as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)


def freeze() -> None:
    """Stop this process until somebody lets it go on, with whatever it holds."""
    os.kill(os.getpid(), signal.SIGSTOP)


class Failpoints:
    """Counts passes of points. `failpoints("chunk.published")`"""

    def __init__(
        self, wanted: dict[str, int], kill: Callable[[], None] = die, *, frozen: Failpoints | None = None
    ) -> None:
        """`frozen`: points at which the process is stopped and not killed."""
        self._left, self._kill, self._frozen = dict(wanted), kill, frozen

    def __call__(self, point: str) -> None:
        """Pass a point; the wanted pass of it is the last thing this process does."""
        if self._frozen is not None:
            self._frozen(point)
        left = self._left.get(point)
        if left is None:
            return
        self._left[point] = left - 1
        if left == 1:
            self._kill()


def parse(text: str, variable: str = "CRASH_AT") -> dict[str, int]:
    """`name:n,name` to passes by point; without a number the first pass. Raises `UsageError`."""
    wanted = {}
    for part in filter(None, (it.strip() for it in text.split(","))):
        name, _, count = part.partition(":")
        if name not in POINTS:
            raise UsageError(f"{variable}: no point {name}", remedy=f"there are {', '.join(POINTS)}")
        if count and not (count.isdecimal() and int(count) > 0):
            raise UsageError(f"{variable}: {part} is not name:n", remedy="write the number of a pass, from 1")
        wanted[name] = int(count or 1)
    return wanted
