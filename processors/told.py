"""What brings a judgement of things past about, where its facts go, and how it takes back what was paid."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from processors.ledger import correct, take_back
from schemas.actions import Action
from schemas.facts import Fact, Ledger
from schemas.member import MemberState

if TYPE_CHECKING:
    from processors.member import Moment
    from processors.programme import Rules


class Told(NamedTuple):
    """An action of a member, the version that judges it, and the facts of the decision so far.

    `refund` says that an order was refunded: the action is the refund, the order that it waited for, or the cancel or
    redeem that undid its payment.
    """

    rules: Rules
    state: MemberState
    action: Action
    moment: Moment
    facts: list[Fact]
    refund: bool = False

    def judging(self, at: int) -> Rules:
        """The version that judges another action of the member, of this moment."""
        return self.moment.judging(self.rules, self.action.member_id, self.state, at)

    @property
    def place(self) -> tuple[int, int]:
        """Where the next fact will stand: offset and index."""
        return self.moment.offset, self.moment.index + len(self.facts)

    def take_back(self, fact: Ledger, points: int, amends: tuple[int, int]) -> None:
        """Book and tell that points paid by the entry `amends` are not due.

        A late action corrects what was issued; a refund reverses it, by the policy of refunds.
        """
        fact.amends, fact.base = amends, -points
        if self.refund:
            fact.entry, fact.points, fact.active = "reversed", 0, 0
            take_back(self.rules, self.state, fact, points, self.rules.lot_ends[fact.month], self.moment.clock)
        else:
            fact.entry = "corrected"
            fact.points = fact.active = -points
            correct(self.rules, self.state, fact)
        self.facts.append(fact)
