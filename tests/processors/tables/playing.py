"""A case played over the real rules: each member is a story of its own, what they tell each other is delivered."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import msgspec

from processors.aggregate import Buckets
from processors.awards import awards_of
from processors.boards import Boards, Seasons, Span, decode
from processors.programme import Rules
from processors.ranking import Place
from schemas.actions import Action
from schemas.boards import BoardKey
from schemas.facts import PointsHeld, encode
from schemas.records import AnyDerived, Cause
from schemas.verdicts import Verdict
from tests.processors.book import check_sums
from tests.processors.story import START, Story

MEMBER = "member"
"""Whom a case is about; others are named by `by`."""


CHECKED = 50
"""Facts until which the sums are checked after each action, and not at the end alone: that looks at all of them."""


class Deed(NamedTuple):
    """Something that arrives at a moment (ms): an action, an award, or `None`: only time passes.

    `hold` is the place, from 1, of the hold that an action of staff judges. `settles`: boards that can be final are.
    `step` is the place, from 1, of the step that it comes from, if that is told.
    """

    arrives: int
    what: Action | AnyDerived | None
    hold: int = 0
    settles: bool = False
    step: int = 0


class Cast:
    """The members of a case under one clock."""

    def __init__(self, rules: Rules, *, twice: bool) -> None:
        self.rules, self.twice = rules, twice
        self.buckets = Buckets("tables", 0)  # a member's active days are counted with it
        self.members: dict[str, Story] = {}
        self.clock = START
        self.told = 0
        self.final: dict[Span, list[tuple[BoardKey, list[Place]]]] = {}

    def story(self, name: str) -> Story:
        """A member, known from the moment it is named."""
        if name not in self.members:
            self.members[name] = Story(self.rules, self.buckets, name)
        return self.members[name]

    def play(self, deed: Deed) -> None:
        """Time passes for all, then it happens; what is told by it arrives at once."""
        self.clock = max(self.clock, deed.arrives)
        for story in self.members.values():
            story.tick(self.clock)
        if isinstance(deed.what, Action):
            action = self._judging(deed.what, deed) if deed.hold else deed.what
            if self._act(action) is Verdict.APPLIED and self.twice:
                assert self._act(action) is not Verdict.APPLIED
        elif deed.what is not None:
            self._told_twice(deed.what)
        if deed.settles:
            self._settle()
        if isinstance(deed.what, Action) and len((story := self.story(deed.what.member_id)).facts) < CHECKED:
            check_sums(story)

    def _act(self, action: Action) -> Verdict:
        decision = self.story(action.member_id).act(action, self.clock)
        for body in decision.derived:
            self.told += 1
            self._hear(msgspec.structs.replace(cast(AnyDerived, body), cause=Cause("tables", 0, self.told, 0)))
        return decision.verdict

    def _hear(self, body: AnyDerived) -> None:
        if (story := self.members.get(body.member_id)) is not None:
            story.hear(body, self.clock)

    def _told_twice(self, body: AnyDerived) -> None:
        for _ in range(2 if self.twice else 1):
            self._hear(body)

    def boards(self) -> Boards:
        """The boards that all facts make; each member is a partition of its own, and each has seen the clock."""
        boards = Boards(Seasons([self.rules]), len(self.members))
        for partition, story in enumerate(self.members.values()):
            for n, (offset, index, fact) in enumerate(story.facts, 1):
                stamped = msgspec.structs.replace(fact, n=n, offset=offset, index=index)
                boards.add(partition, decode(encode(stamped)))
            boards.passed(partition, self.clock)
        return boards

    def _settle(self) -> None:
        """What can be final is so, once, and its winners hear of it."""
        boards = self.boards()
        for span in [span for span in boards.spans() if boards.is_final(span) and span not in self.final]:
            self.final[span] = list(boards.boards_of(span))
            for award in awards_of(boards, span):
                self._told_twice(award)

    def check_final(self) -> None:
        """What was final has not moved since."""
        boards = self.boards()
        for span, known in self.final.items():
            assert list(boards.boards_of(span)) == known, span

    def _judging(self, action: Action, deed: Deed) -> Action:
        """An action of staff that names the hold by its place. Raises `LookupError` if there is none yet."""
        facts = self.story(action.member_id).facts
        opened: list[Any] = [fact for _, _, fact in facts if isinstance(fact, PointsHeld)]
        if deed.hold > len(opened):
            raise LookupError(f"step {deed.step}: hold {deed.hold}: {action.member_id} has {len(opened)} by then")
        return msgspec.structs.replace(action, hold_id=opened[deed.hold - 1].hold_id)


def played(deeds: list[Deed], rules: Rules, *, twice: bool = False) -> Cast:
    """All members at the end of a case. `twice`: whatever arrives is delivered once more at once.

    But for what members tell each other: a partition drops what has a cause that it knows, before any rule.
    """
    all_of = Cast(rules, twice=twice)
    all_of.story(MEMBER)
    for deed in deeds:
        all_of.play(deed)
    for story in all_of.members.values():
        check_sums(story)
    if all_of.final:
        all_of.check_final()
    return all_of
