"""What a log says, folded in one go with everything in the cache: what every crashed run is compared with.

It shares the fold with the worker and nothing else: no chunks, no store, no cache, no publisher, no crash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from processors.member import Member
from processors.output import Failure, Output
from processors.partition import Partition
from schemas import aggregates, member
from schemas import partition as partition_codec
from schemas.decoding import decode
from schemas.member import MemberState
from schemas.partition import PartitionState
from schemas.records import Echo, Record, Referral
from streams.lane import crc
from streams.store import Dump, Identity


class Replay(Struct):
    """A partition at an offset: the image that the store must hold, and what must have been published by then."""

    dump: Dump
    facts: list[bytes]
    buckets: list[bytes]
    letters: dict[int, tuple[str, bytes | None]]  # offset -> (reason, value)
    forwards: list[tuple[int, int]]  # (offset, partition to)
    derived: list[str]  # of those, what decisions said to other members: `referral moved`, `echo like`
    verdicts: dict[str, int]


def replay(
    topic: str,
    partition: int,
    identity: Identity,
    records: Sequence[Record],
    until: int,
    skip: Mapping[int, Failure],
    image: Dump | None = None,
) -> Replay:
    """Fold the records below offset `until`, from nothing or from an image on."""
    fold = Partition(
        topic,
        partition,
        identity.partitions,
        partition_codec.decode(image.partition_state) if image and image.partition_state else PartitionState(),
        ((armed, name) for name, armed in image.timers.items()) if image else (),
        image.buckets if image else {},
        skip,
    )
    start = image.next_offset if image else 0
    records = [record for record in records if start <= record.offset < until]
    items = [decode(record.value, record.headers) for record in records]
    pages = dict(image.pages) if image else {}
    at, expected = 0, start
    while at < len(records):
        fold.pass_markers(records[at].offset - expected)
        expected = records[at].offset + 1
        while fold.run([records[at]], [items[at]]) == 0:
            _fill(fold, image, {**pages, **fold.out.pages})
        at += 1
    return _seen(fold, image, identity, records, expected, pages)


def _fill(fold: Partition, image: Dump | None, pages: Mapping[str, bytes]) -> None:
    """Whoever a record needs: from the image, or new."""
    names = list(fold.needs.members)
    for ordinal in fold.needs.ordinals:
        fold.directory[ordinal] = pages[f"#{ordinal}"].decode()
        names.append(fold.directory[ordinal])
    for name in names:
        if name not in fold.members:
            stored = image.states.get(name) if image else None
            state = member.decode(stored) if stored else MemberState()
            numbers = range(state.page_first, state.page_first + state.page_count)
            fold.members[name] = Member(name, state, b"".join(pages[f"{name}:{n}"] for n in numbers))


def _seen(
    fold: Partition,
    image: Dump | None,
    identity: Identity,
    records: Sequence[Record],
    next_offset: int,
    pages: dict[str, bytes],
) -> Replay:
    out: Output = fold.take()
    buckets = {**(image.buckets if image else {}), **fold.take_buckets(out)}
    states = dict(image.states) if image else {}
    states.update((name, member.encode(one.state)) for name, one in out.touched.items())
    pages.update(out.pages)
    dump = Dump(
        identity=identity,
        incarnation="replay",
        owner="",
        next_offset=next_offset,
        commit_id="",
        crc=crc(records[-1]) if records else (image.crc if image else 0),
        state_version=member.STATE_VERSION,
        partition_state=fold.encode_state(),
        states=states,
        timers=dict(fold.timers.armed),
        buckets={name: totals for name, totals in buckets.items() if name not in out.buckets_gone},
        pages={field: page for field, page in pages.items() if field not in out.pages_gone},
    )
    return Replay(
        dump=dump,
        facts=out.facts,
        buckets=[aggregates.encode(bucket) for bucket in out.buckets],
        letters={letter.offset: (letter.rejected.reason.value, letter.value) for letter in out.letters},
        forwards=[(forward.cause.offset, home) for home, forward in out.forwards],
        derived=[_kind(body) for _, body in out.forwards if isinstance(body, Referral | Echo)],
        verdicts={verdict.value: count for verdict, count in fold.verdicts.items() if count},
    )


def _kind(body: Referral | Echo) -> str:
    return f"{'referral' if isinstance(body, Referral) else 'echo'} {body.kind}"
