"""Members for a chunk: from the cache, or from the store their states and, for those that have them, full pages.

The cache holds bytes, one value a member. A decoded member is some fifty objects spread over memory: keeping those
costs three times the memory, and touching them again more than decoding them anew (measured: 10% of the speed).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from itertools import islice

from processors.member import Member
from processors.output import Needs
from processors.partition import Partition
from schemas import member as member_codec
from schemas.member import MemberState
from streams.errors import StateLost
from streams.store import StateStore

HEAD = struct.Struct("<II")  # how long the pages and the state are
ROUND = 64
"""A value is rounded up to this: a state grows a little with every action, and would leave a hole behind that nothing
fits into (measured: 9% of the memory)."""

Cache = dict[str, bytes]
"""Member to its full pages and its state, joined; only what is committed."""


async def load(store: StateStore, fold: Partition, needs: Needs, cache: Cache) -> bool:
    """Bring what a partition needs into it; True if the store was read. A member without state begins anew.

    Raises `StateLost` for a page or a directory entry that should be there.
    """
    wanted = dict.fromkeys(needs.members)
    if needs.ordinals:
        names = await _pages(store, fold.number, [f"#{ordinal}" for ordinal in needs.ordinals])
        for ordinal, name in zip(needs.ordinals, names, strict=True):
            fold.directory[ordinal] = name.decode()
            wanted[name.decode()] = None
    missing = []
    for member_id in wanted:
        if member_id not in fold.members:
            if cached := cache.get(member_id):
                fold.members[member_id] = unpack(member_id, cached)
            else:
                missing.append(member_id)
    if not missing:
        return bool(needs.ordinals)
    found = await store.load(fold.number, missing)
    members = [
        Member(id=member_id, state=member_codec.decode(state) if state else MemberState(), pages=b"")
        for member_id, state in zip(missing, found, strict=True)
    ]
    paged = [member for member in members if member.state.page_count]
    fields = [field for member in paged for field in page_fields(member)]
    pages = iter(await _pages(store, fold.number, fields)) if fields else iter(())
    for member in paged:
        member.pages = b"".join(next(pages) for _ in range(member.state.page_count))
    for member, state in zip(members, found, strict=True):
        fold.members[member.id] = member
        if state:
            cache[member.id] = pack(state, member.pages)
    return True


async def read_member(store: StateStore, partition: int, member_id: str) -> Member | None:
    """One member with its pages, as last committed; None for one without state.

    Raises `StateLost` for a page that should be there.
    """
    while True:
        (state,) = await store.load(partition, [member_id])
        if state is None:
            return None
        member = Member(member_id, member_codec.decode(state))
        try:
            member.pages = b"".join(await _pages(store, partition, page_fields(member)))
        except StateLost:
            if [state] == await store.load(partition, [member_id]):
                raise  # else a commit came between
            continue
        return member


def keep(cache: Cache, members: Mapping[str, Member], states: Mapping[str, bytes], most: int) -> None:
    """Put what was committed into the cache; beyond so many members, those kept longest leave it."""
    cache.update((member_id, pack(state, members[member_id].pages)) for member_id, state in states.items())
    for member_id in list(islice(cache, max(0, len(cache) - most))):
        del cache[member_id]


def pack(state: bytes, pages: bytes) -> bytes:
    """A member's value in the cache: a pair of objects costs a tenth more memory."""
    packed = b"%b%b%b" % (HEAD.pack(len(pages), len(state)), pages, state)
    return packed.ljust(-(-len(packed) // ROUND) * ROUND)


def unpack(member_id: str, packed: bytes) -> Member:
    """The member of a value of the cache."""
    pages, state = HEAD.unpack_from(packed)
    end = HEAD.size + pages
    return Member(member_id, member_codec.decode(packed[end : end + state]), packed[HEAD.size : end])


def page_fields(member: Member) -> list[str]:
    """Under which fields a member's full pages stand, oldest first."""
    first = member.state.page_first
    return [f"{member.id}:{number}" for number in range(first, first + member.state.page_count)]


async def _pages(store: StateStore, partition: int, fields: list[str]) -> list[bytes]:
    found = await store.load_pages(partition, fields)
    for field, page in zip(fields, found, strict=True):
        if page is None:
            raise StateLost(f"partition {partition}: page {field} is gone")
    return [page for page in found if page is not None]
