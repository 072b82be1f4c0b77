"""Members for a chunk: from the cache, from the store with their pages, by their ordinals; new ones begin anew."""

from __future__ import annotations

import pytest

from processors.identity import PAGE_SIZE
from processors.output import Needs
from schemas import member as member_codec
from schemas.member import MemberState
from streams.errors import StateLost
from streams.lane import Lane
from streams.loading import ROUND, Cache, load, pack, page_fields, unpack
from streams.store import Commit
from tests.doubles import Line
from tests.streams.site import Site
from tests.streams.test_worker import Faults, in_no_time

PAGES = {"m-1:4": b"4" * PAGE_SIZE, "m-1:5": b"5" * PAGE_SIZE, "#7": b"m-1"}


async def stored(site: Site, line: Line, pages: dict[str, bytes]) -> None:
    """m-1 has two full pages, 4 and 5, and is the seventh member of the partition; m-2 has none."""
    await site.bootstrap()
    lane = await site.lane()
    states = {
        "m-1": member_codec.encode(MemberState(ordinal=7, page_first=4, page_count=2)),
        "m-2": member_codec.encode(MemberState(ordinal=8)),
    }
    await site.shared.commit(
        Commit(
            partition=0,
            incarnation=lane.acquired.incarnation,
            owner=lane.acquired.owner,
            from_offset=0,
            next_offset=1,
            commit_id="c",
            crc=0,
            partition_state=b"",
            states=states,
            pages=pages,
        )
    )
    site.line = site.store.line = line


@in_no_time
async def test_states_come_in_one_call_and_pages_in_another_joined_oldest_first() -> None:
    site, line, cache = Site(), Faults(), Cache()
    lane = await site_lane(site, line)
    assert await load(site.store, lane.fold, Needs(members=["m-1", "m-2", "m-3"]), cache)
    assert line.calls == ["load", "load"]
    assert lane.fold.members["m-1"].pages == PAGES["m-1:4"] + PAGES["m-1:5"]
    assert [lane.fold.members[name].state.ordinal for name in ("m-1", "m-2", "m-3")] == [7, 8, 0]
    assert set(cache) == {"m-1", "m-2"}, "who is new is nowhere yet"


@in_no_time
async def test_what_is_cached_or_in_hand_is_not_asked_for() -> None:
    site, line, cache = Site(), Faults(), Cache()
    lane = await site_lane(site, line)
    await load(site.store, lane.fold, Needs(members=["m-1"]), cache)
    line.calls.clear()
    assert not await load(site.store, lane.fold, Needs(members=["m-1"]), cache)
    lane.fold.members.clear()
    assert not await load(site.store, lane.fold, Needs(members=["m-1"]), cache)
    assert line.calls == []
    assert page_fields(lane.fold.members["m-1"]) == ["m-1:4", "m-1:5"]


@in_no_time
async def test_a_sweep_finds_members_by_their_ordinals() -> None:
    site, line = Site(), Faults()
    lane = await site_lane(site, line)
    assert await load(site.store, lane.fold, Needs(ordinals=[7]), {})
    assert lane.fold.directory == {7: "m-1"}
    assert set(lane.fold.members) == {"m-1"}


@pytest.mark.parametrize("pages", [b"", PAGES["m-1:4"], PAGES["m-1:4"] * 300], ids=["none", "one", "many"])
def test_a_member_comes_out_of_the_cache_as_it_went_in(pages: bytes) -> None:
    for region in ("", "a", "a" * 70_000):
        state = MemberState(ordinal=7, profile_region=region)
        packed = pack(member_codec.encode(state), pages)
        member = unpack("m-1", packed)
        assert (member.id, member.state, member.pages) == ("m-1", state, pages)
        assert len(packed) % ROUND == 0, "a state that grew by an id still fits where it lay"


@pytest.mark.parametrize(
    ("gone", "needs"), [("m-1:5", Needs(members=["m-1"])), ("#7", Needs(ordinals=[7]))], ids=["page", "directory"]
)
def test_what_should_be_there_and_is_not_is_lost_state(gone: str, needs: Needs) -> None:
    @in_no_time
    async def run() -> None:
        site = Site()
        lane = await site_lane(site, Faults(), {field: page for field, page in PAGES.items() if field != gone})
        with pytest.raises(StateLost, match=gone):
            await load(site.store, lane.fold, needs, {})

    run()


async def site_lane(site: Site, line: Line, pages: dict[str, bytes] | None = None) -> Lane:
    await stored(site, line, PAGES if pages is None else pages)
    return await site.lane()
