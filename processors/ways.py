"""What an action of a kind goes through, found once for a version of the programme and not with every action."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from processors import badges, churn, echoes, membership, mood, notes, path, points, profiling, rungs
from schemas.actions import (
    OWN_IF,
    Action,
    AddToCart,
    Browse,
    Comment,
    Complaint,
    Consent,
    Custom,
    Join,
    Leave,
    Like,
    Live,
    Message,
    Nps,
    Profile,
    Purchase,
    Share,
    Subscribe,
    Support,
)
from schemas.facts import Fact
from schemas.member import MemberState

if TYPE_CHECKING:
    from processors.member import Moment
    from processors.programme import Rules

Noted = Callable[["Rules", MemberState, Any, "Moment", list[Fact]], None]

NOTED: dict[type[Action], Noted] = {
    Purchase: churn.bought,
    Subscribe: membership.subscribed,
    Profile: notes.profile,
    Join: notes.join,
    Leave: notes.leave,
    Message: echoes.replied,
    Like: echoes.reacted,
    Comment: echoes.reacted,
    Share: echoes.reacted,
    Browse: path.browsed,
    AddToCart: path.carted,
    Nps: mood.scored,
    Complaint: mood.complained,
    Support: path.supported,
    Consent: profiling.told,
}
"""What an accepted action of a kind says of the member beside its points."""
SAYS_WEIGHT = frozenset((Message, Live, Custom))
"""Kinds whose weight depends on what the action says."""


class Way(Struct, frozen=True, gc=False):
    """One kind of actions under one version: a look at a field costs a tenth of one at a table."""

    weight: int | None  # None = what the action says decides
    own: bool | None  # None = what the action says decides: see `member.is_own`
    earn: points.Earning | None
    leveled: bool  # levels count it
    noted: Noted | None
    counted: tuple[Noted, ...]  # by the item ladder and by badges


def way_of(rules: Rules, kind: type[Action]) -> Way:
    """The way of a kind."""
    return rules.ways.get(kind) or _found(rules, kind)


def _found(rules: Rules, kind: type[Action]) -> Way:
    counted: list[Noted] = []
    if kind in rungs.RUNGS:
        counted.append(rungs.note)
    if kind in rules.badges.of_kind:
        counted.append(badges.counted)
    way = rules.ways[kind] = Way(
        weight=None if kind in SAYS_WEIGHT else rules.activity.of_type[kind],
        own=None if kind in OWN_IF else kind.own,
        earn=points.EARNING.get(kind),
        leveled=kind in rules.level_kinds,
        noted=NOTED.get(kind),
        counted=tuple(counted),
    )
    return way
