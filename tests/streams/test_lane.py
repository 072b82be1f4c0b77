"""Whether a chunk fits where its partition stands: gaps, old chunks, another log, offsets that must not be passed."""

from __future__ import annotations

import pytest

from processors.output import Halt
from processors.partition import Partition
from schemas.partition import PartitionState
from schemas.records import Record
from schemas.verdicts import Verdict
from streams.lane import Lane, Refetch, crc
from streams.store import Acquired


def chunk(*offsets: int) -> list[Record]:
    return [Record(offset, 0, None, b"%d" % offset) for offset in offsets]


def lane(next_offset: int, *, fresh: bool = False) -> Lane:
    """A lane that stands at an offset; `fresh`: the record before it was not looked at yet."""
    before = crc(Record(next_offset - 1, 0, None, b"%d" % (next_offset - 1)))
    acquired = Acquired("life", "owner", next_offset, before, b"", [], {})
    found = Lane(Partition("topic", 0, 1, PartitionState()), acquired)
    found.check_crc = fresh and next_offset > 0
    return found


def taken(lane: Lane, *offsets: int) -> list[int] | str:
    """Which records are taken, or where to fetch again."""
    try:
        return [record.offset for record in lane.check(chunk(*offsets))]
    except Refetch as refetch:
        return f"again from {refetch.offset}"


@pytest.mark.parametrize(
    ("offsets", "expected"),
    [
        ((5, 6, 7), [5, 6, 7]),
        ((4, 5), "again from 5"),  # what was fetched before a seek
        ((6, 7), "again from 5"),  # a gap, seen once
        ((5, 6, 9, 10), [5, 6]),  # up to the first gap
    ],
)
def test_a_chunk_begins_where_the_store_stands_and_ends_before_a_gap(
    offsets: tuple[int, ...], expected: list[int] | str
) -> None:
    assert taken(lane(5), *offsets) == expected


def test_a_gap_that_looks_the_same_twice_is_the_logs_own_and_counted() -> None:
    here = lane(5)
    assert taken(here, 7, 8) == "again from 5"
    assert taken(here, 7, 8) == [7, 8]
    assert here.fold.verdicts[Verdict.MARKER] == 2


@pytest.mark.parametrize(
    "chunks",
    [
        [(8,), (7,)],  # it ends elsewhere: records were skipped, not missing
        [(4,), (7,)],  # an old chunk tells nothing of a gap
        [(7,), (4,), (7,)],
    ],
)
def test_a_gap_is_passed_by_two_looks_in_a_row_and_no_others(chunks: list[tuple[int, ...]]) -> None:
    here = lane(5)
    assert {str(taken(here, *offsets)) for offsets in chunks} == {"again from 5"}
    assert here.fold.verdicts[Verdict.MARKER] == 0
    assert taken(here, 5, 6) == [5, 6]


def test_what_follows_a_gap_inside_a_chunk_was_seen_once() -> None:
    here = lane(5)
    whole = chunk(5, 6, 9, 10)
    here.check(whole)
    here.next_offset = 7
    with pytest.raises(Refetch) as again:
        here.look_again(whole)
    assert again.value.offset == 7
    assert taken(here, 9, 10) == [9, 10]
    assert here.fold.verdicts[Verdict.MARKER] == 2


def test_the_record_before_is_read_once_more_and_must_be_the_same() -> None:
    here = lane(5, fresh=True)
    assert taken(here, 4, 5, 6) == [5, 6]
    assert taken(here, 4, 5) == "again from 5", "only once"


@pytest.mark.parametrize("offsets", [(5, 6), (3, 4, 5), (7, 8)])
def test_until_it_was_seen_nothing_else_is_taken(offsets: tuple[int, ...]) -> None:
    here = lane(5, fresh=True)
    assert taken(here, *offsets) == "again from 4"
    assert taken(here, 4) == []
    assert taken(here, 5) == [5]


@pytest.mark.parametrize("changed", [Record(4, 0, None, b"other"), Record(4, 0, b"key", b"4")])
def test_another_record_there_is_another_log(changed: Record) -> None:
    with pytest.raises(Halt, match="not the one that was committed"):
        lane(5, fresh=True).check([changed, *chunk(5)])


def test_an_offset_that_must_not_be_passed_ends_the_chunk_and_then_halts() -> None:
    here = lane(5)
    here.stop_before = (7, "not understood")
    assert taken(here, 5, 6, 7, 8) == [5, 6]
    here.next_offset = 7
    with pytest.raises(Halt, match="not understood") as halted:
        here.check(chunk(7, 8))
    assert halted.value.offset == 7
