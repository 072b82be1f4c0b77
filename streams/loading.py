"""Members for a chunk: from the cache, or from the store their states and, for those that have them, full pages.

The cache holds bytes. A decoded member is some fifty objects spread over memory: keeping those costs three times the
memory, and touching them again more than decoding them anew (measured: 10% of the speed).
"""

from __future__ import annotations

from processors.member import Member
from processors.output import Needs
from processors.partition import Partition
from schemas import member as member_codec
from schemas.member import MemberState
from streams.errors import StateLost
from streams.store import StateStore

Cache = dict[str, tuple[bytes, bytes]]
"""Member to its state and its full pages, joined; only what is committed."""


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
                fold.members[member_id] = Member(member_id, member_codec.decode(cached[0]), cached[1])
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
            cache[member.id] = state, member.pages
    return True


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
