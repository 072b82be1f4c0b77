"""Echoes: whoever wrote something hears that somebody else answered, liked, commented on or shared it.

The author's partition counts answers and comments: how many of each of the last days, and from whom. Of those who
answered only the newest are kept, each with the newest day on which it did.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Literal, NamedTuple

from schemas.actions import Action, Comment, Like, Message, Share
from schemas.facts import Fact
from schemas.member import ECHO_DAYS, ECHO_FROM, MemberState
from schemas.records import UNSTAMPED, Echo

if TYPE_CHECKING:
    from processors.member import Moment
    from processors.programme import Rules

COUNT_MAX = 0xFFFF
REPLIES = frozenset(("reply", "comment"))


class Replies(NamedTuple):
    """Answers and comments of some days: how many, and from how many members (at most so many as are kept)."""

    given: int
    members: int


def replied(in_force: Rules, state: MemberState, action: Message, moment: Moment, facts: list[Fact]) -> None:
    """A message that answers somebody else's."""
    to = action.reply_to
    if to is not None and to.member_id != action.member_id:
        moment.tell(Echo(UNSTAMPED, to.member_id, "reply", action.member_id, action.group_id))


def reacted(
    in_force: Rules, state: MemberState, action: Like | Comment | Share, moment: Moment, facts: list[Fact]
) -> None:
    """A like, comment or share of what somebody else wrote."""
    author = action.author_id
    if author and author != action.member_id:
        moment.tell(Echo(UNSTAMPED, author, KINDS[type(action)], action.member_id, action.group_id))


def heard(in_force: Rules, state: MemberState, echo: Echo, moment: Moment, facts: list[Fact]) -> None:
    """An echo counts on the programme day of its arrival; likes and shares count for nothing."""
    if echo.kind not in REPLIES:
        return
    day = in_force.calendar.day(moment.clock)
    since = day - in_force.echo_days
    counts = {on: count for on, count in ECHO_DAYS.iter_unpack(state.echo_days) if on > since}
    counts[day] = min(counts.get(day, 0) + 1, COUNT_MAX)
    state.echo_days = b"".join(ECHO_DAYS.pack(*row) for row in counts.items())
    who = zlib.crc32(echo.from_member_id.encode())
    rows = [row for row in ECHO_FROM.iter_unpack(state.echo_from) if row[0] > since and row[1] != who]
    state.echo_from = b"".join(ECHO_FROM.pack(*row) for row in [*rows, (day, who)][-in_force.echo_members :])


def replies(in_force: Rules, state: MemberState, day: int) -> Replies:
    """Answers and comments of the days that count, up to a programme day."""
    if not state.echo_days:
        return Replies(0, 0)
    since = day - in_force.echo_days
    given = sum(count for on, count in ECHO_DAYS.iter_unpack(state.echo_days) if on > since)
    return Replies(given, sum(on > since for on, _ in ECHO_FROM.iter_unpack(state.echo_from)))


KINDS: dict[type[Action], Literal["like", "comment", "share"]] = {Like: "like", Comment: "comment", Share: "share"}
