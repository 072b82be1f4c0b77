"""What the rules are given and what they answer: a member, the moment of an action, the decision; whose fact it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from processors import overlays
from schemas.actions import ACTIONS, Action
from schemas.facts import Fact, OfAction
from schemas.member import MemberState
from schemas.records import Caused
from schemas.verdicts import Verdict

if TYPE_CHECKING:
    from processors.level_judge import Change
    from processors.programme import Rules
    from processors.versions import Versions

NAMES = {kind: name for name, kind in ACTIONS.items()}
APPLIED = Verdict.APPLIED  # a look at a member of an enum costs as much as five at a name


class Member(Struct, gc=False):
    """A member as held in memory: the state, and the full pages of ids, joined, oldest first."""

    id: str
    state: MemberState
    pages: bytes = b""


class Moment(Struct, gc=False):
    """When and where an action is judged; `index` is that of this decision's first fact at the offset.

    `told` is what it says to other members, whose causes the partition stamps. `versions` are those that the partition
    still knows, for what an action repays of others; without them all are judged by its own. `undone` is what a refund
    of this decision took out of the levels, still to be told; None = no refund was counted.
    """

    at: int  # `occurred_at` as judged, ms
    clock: int
    offset: int
    index: int
    told: list[Caused] | None = None
    versions: Versions | None = None
    undone: tuple[Change, ...] | None = None

    def judging(self, rules: Rules, member_id: str, state: MemberState, at: int) -> Rules:
        """The member's rules of another action's moment; `rules` are those of the action at hand."""
        if self.versions is None:
            return rules
        return overlays.own(self.versions.at(at) or rules, member_id, state, at)

    def tell(self, body: Caused) -> None:
        """Say something to another member."""
        if self.told is None:
            self.told = []
        self.told.append(body)


class Decision(Struct, gc=False):
    """What became of an action or a wake.

    `wake_at` is 0 or lies above the clock. `page` became full just now, its number is page_first +
    page_count - 1 of the state; `pages_gone` oldest pages were dropped, those before page_first. Where
    `changed` is false the state is as it was and need not be stored. An order reported again is a duplicate
    or conflict, and yet its id is remembered. `day` is the programme day of an applied action, `own` whether it ends
    the member's silence. `derived` is what it says to other members.
    """

    verdict: Verdict
    facts: list[Fact]
    wake_at: int
    page: bytes = b""
    pages_gone: int = 0
    changed: bool = True
    day: int = 0
    own: bool = False
    derived: Sequence[Caused] = ()


def about(fact: OfAction, rules: Rules, action: Action) -> OfAction:
    """Fill in the action a fact is about."""
    fact.programme, fact.rules = rules.number, rules.rules
    fact.source, fact.event_id, fact.action = action.source, action.event_id, NAMES[type(action)]
    fact.region, fact.group_id = action.region, action.group_id
    return fact
