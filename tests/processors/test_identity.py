"""Ids seen: a repeat is known for at least the horizon, other content under a known identity is a conflict."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors import identity
from processors.member import Member
from schemas.actions import Action
from schemas.facts import Conflict, Late
from schemas.member import MemberState
from schemas.verdicts import Verdict
from tests.processors.story import DAY, START, Story, an_action

SECOND = 1_000
HORIZON = 30 * DAY


def like(number: int, happened: int = START, **fields: str) -> Action:
    return an_action("like", happened, number, **fields)


CASES = [
    # name, the first (happened, arrives), the second (happened, arrives, fields), verdict of the second
    ("the same again", (0, 0), (0, 0, {}), Verdict.DUPLICATE),
    ("the same again a day later", (0, 0), (0, DAY, {}), Verdict.DUPLICATE),
    ("other content", (0, 0), (0, 0, {"item_id": "i-2"}), Verdict.CONFLICT),
    ("another moment", (0, 0), (SECOND, SECOND, {}), Verdict.CONFLICT),
    ("another region", (0, 0), (0, 0, {"region": "east"}), Verdict.CONFLICT),
    ("another source is another action", (0, 0), (0, 0, {"source": "crm"}), Verdict.APPLIED),
    ("another event is another action", (0, 0), (0, 0, {"event_id": "e-2"}), Verdict.APPLIED),
    ("one second inside of the horizon", (0, 0), (0, HORIZON - SECOND, {}), Verdict.DUPLICATE),
    ("at the horizon", (0, 0), (0, HORIZON, {}), Verdict.DUPLICATE),
    ("beyond the horizon it is late, seen or not", (0, 0), (0, HORIZON + SECOND, {}), Verdict.LATE),
    ("counted from when it was first seen", (0, 20 * DAY), (30 * DAY, 45 * DAY, {}), Verdict.CONFLICT),
]


@pytest.mark.parametrize(("name", "first", "second", "verdict"), CASES, ids=[case[0] for case in CASES])
def test_identity(name: str, first: tuple[int, int], second: tuple[int, int, dict[str, str]], verdict: Verdict) -> None:
    story = Story()
    assert story.act(like(1, START + first[0]), START + first[1]).verdict is Verdict.APPLIED
    happened, arrives, fields = second
    assert story.act(like(1, START + happened, **fields), START + arrives).verdict is verdict


def test_a_conflict_is_told_once_for_each_try_and_the_first_counts() -> None:
    story = Story()
    story.act(an_action("share", START, 1), START)
    decision = story.act(an_action("share", START, 1, region="west"), START)
    assert decision.facts == [
        Conflict(
            member_id="m-1",
            effective_at=START,
            decided_at=START,
            programme=1,
            rules=1,
            source="app",
            event_id="e-1",
            action="share",
            region="west",
        )
    ]
    assert not decision.changed
    assert story.state.issued == 5


def test_a_late_action_is_a_fact_and_changes_nothing() -> None:
    story = Story()
    story.tick(START + 40 * DAY)
    before = MemberState(*[getattr(story.state, name) for name in MemberState.__struct_fields__])
    decision = story.act(an_action("share", START + 10 * DAY - SECOND, 1), START + 40 * DAY)
    assert decision.verdict is Verdict.LATE
    assert not decision.changed
    assert [type(fact) for fact in decision.facts] == [Late]
    assert story.state == before


@given(st.integers(-12 * 60, 12 * 60))
def test_one_moment_has_one_spelling_whatever_the_senders_offset(minutes: int) -> None:
    story = Story()
    action = like(1)
    story.act(action, START)
    again = like(1)
    again.occurred_at = again.occurred_at.astimezone(dt.timezone(dt.timedelta(minutes=minutes)))
    assert story.act(again, START).verdict is Verdict.DUPLICATE


@pytest.mark.parametrize("year", [1, 9999])
def test_the_ends_of_time_have_an_identity_too(year: int) -> None:
    action = like(1)
    hour = 0 if year == 1 else 23
    offset = dt.timezone(dt.timedelta(hours=8 if year == 1 else -8))
    action.occurred_at = dt.datetime(year, 1 if year == 1 else 12, 1 if year == 1 else 31, hour, tzinfo=offset)
    assert identity.identify(b"k", action) == identity.identify(b"k", action)


def test_the_key_decides_the_hash_and_not_the_checksum() -> None:
    one, other = identity.identify(b"one", like(1)), identity.identify(b"other", like(1))
    assert one[:6] != other[:6]
    assert one[6:] == other[6:]


def test_a_full_page_leaves_the_state_and_is_still_known() -> None:
    story = Story()
    pages = [story.act(like(n), START + n).page for n in range(70)]
    full = [n for n, page in enumerate(pages) if page]
    assert full == [31, 63]
    assert [len(pages[n]) for n in full] == [264, 264]
    assert story.member.pages == pages[31] + pages[63]
    assert (story.state.page_first, story.state.page_count, len(story.state.ids)) == (0, 2, 6 * 8)
    assert int.from_bytes(pages[31][:8], "little") == START + 31
    for n in range(70):
        assert story.act(like(n), START + 70).verdict is Verdict.DUPLICATE


def test_old_pages_are_dropped_when_a_new_one_is_full() -> None:
    story = Story()
    for n in range(64):
        story.act(like(n, START + n * DAY), START + n * DAY)
    assert (story.state.page_first, story.state.page_count) == (1, 1), "the first ended on day 31"
    assert len(story.member.pages) == 264


def test_old_pages_are_dropped_when_the_member_is_woken() -> None:
    story = Story()
    for n in range(40):
        story.act(like(n), START)
    assert (story.state.page_count, len(story.state.ids)) == (1, 8 * 8)
    story.tick(START + 30 * DAY)
    assert (story.state.page_count, len(story.state.ids)) == (1, 8 * 8), "at the horizon they still count"
    story.tick(START + 38 * DAY)
    assert (story.state.page_first, story.state.page_count, story.state.ids) == (1, 0, b"")
    assert story.member.pages == b""


@given(st.integers(0, 31), st.binary(min_size=8, max_size=8).filter(lambda found: 0 not in found))
def test_only_whole_slots_are_compared(slot: int, wanted: bytes) -> None:
    """A page begins with its moment, which is no id; neither is what lies across two slots."""
    nobody = MemberState()
    head = wanted + bytes(256)
    assert identity.look_up(nobody, head, wanted) == identity.NEW
    across = bytes(11) + wanted + bytes(245)
    assert identity.look_up(nobody, across, wanted) == identity.NEW
    at = 8 + 8 * slot
    inside = bytes(at) + wanted + bytes(256 - at)
    for pages in (inside, across + inside, head + across + inside):
        assert identity.look_up(nobody, pages, wanted) == identity.REPEAT
    other = wanted[:6] + bytes([wanted[6] ^ 1, wanted[7]])
    assert identity.look_up(nobody, inside, other) == identity.CONFLICT
    opened = MemberState(ids=bytes(8 * slot) + wanted)
    assert identity.look_up(opened, b"", wanted) == identity.REPEAT
    assert identity.look_up(opened, b"", other) == identity.CONFLICT


def test_old_pages_go_without_a_trace_in_their_members_answers() -> None:
    member = Member("m-1", MemberState())
    for n in range(3):
        for k in range(32):
            page = identity.remember(member.state, (n * 32 + k).to_bytes(8, "big"), n * DAY)
        member.pages += page
    assert identity.forget(member.state, member.pages, 2 * DAY) == 2
    assert (member.state.page_first, member.state.page_count) == (2, 1)
    assert identity.forget(member.state, member.pages[2 * 264 :], 2 * DAY) == 0
