"""Awards under another programme: which ones a final board gives, and how the logs of the winners are changed.

The boards of a week or month are made final together, once every partition's clock has passed their last moment. Where
the log holds their awards, that was the moment; where nobody had won any, it is the first one at which it could be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from processors.boards import Boards, Span
from processors.partitioner import partition_of
from processors.simulate import Origin, Patch, Put
from schemas.records import Award


class Held(NamedTuple):
    """An award as the log holds it: where, the clock there, and what it says."""

    partition: int
    offset: int
    at: int
    award: Award


class Final(NamedTuple):
    """A week or month that no partition can change any more: since when, and the awards of its boards."""

    final_at: int
    awards: tuple[Award, ...]


class Parting(NamedTuple):
    """Where the programmes part: the moment (ms, 0 = the beginning), and each partition's offset."""

    moment: int
    offsets: Mapping[int, int]


NOWHERE = Origin(-1, 0, 0)


def awards_of(boards: Boards, span: Span) -> tuple[Award, ...]:
    """What the boards of a week or month give once they are final."""
    places = boards.seasons.of_span(span).programme.boards.awarded_places
    return tuple(
        Award(it.member_id, key.board, key.period, key.at, it.place, it.value, key.region, key.group_id)
        for key, table in boards.boards_of(span)
        for it in table
        if it.place <= places
    )


def of_span(held: Iterable[Held]) -> dict[Span, list[Held]]:
    """The awards of the log by week or month."""
    found: dict[Span, list[Held]] = {}
    for one in held:
        found.setdefault((one.award.period, one.award.at), []).append(one)
    return found


def is_settled_otherwise(span: Span, live: Final | None, new: Final | None, held: list[Held], parting: Parting) -> bool:
    """Whether the awards of a week or month are others. Those given before the programmes part stay, and what the log
    holds none of yet, though it was won, is left out of both.
    """
    if live == new or any(it.offset < parting.offsets[it.partition] for it in held):
        return False
    if new is not None and new.final_at < parting.moment:
        return False
    return bool(held) or live is None or not live.awards


def patches(
    held: list[Held],
    new: Final | None,
    at: int,
    partitions: int,
    place: Mapping[int, int],
    *,
    stays: bool,
) -> dict[int, Patch]:
    """How the logs are changed for the awards of one week or month.

    `at` is when they are made, `place` tells before which offset of a partition that lies. What `stays` at the moment
    of the log comes where the log held it.
    """
    bodies = {msgspec.json.encode(it): it for it in (new.awards if new else ())}
    here = [(it, msgspec.json.encode(it.award)) for it in held]
    found: dict[int, Patch] = {}
    for partition in range(partitions):
        ours = {body: it for it, body in reversed(here) if it.partition == partition}
        theirs = [b for b, it in bodies.items() if partition_of(it.member_id, partitions) == partition]
        same = ours.keys() & set(theirs) if stays else set()
        gone = frozenset(it.offset for it, body in here if it.partition == partition and body not in same)
        before = min((it.offset for it in ours.values()), default=-1) if stays else -1
        fresh = [body for body in theirs if body not in same]
        if fresh and before < 0:
            before = place[partition]
        found[partition] = Patch(gone, tuple(Put(before, at, NOWHERE, body) for body in fresh))
    return found
