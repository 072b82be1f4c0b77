"""Whom a record speaks of: that member is loaded before the record is applied."""

from __future__ import annotations

from processors.member import HEARD
from schemas.actions import ACTIONS, Action
from schemas.decoding import Decoded, Derived, Staff

KINDS = frozenset(ACTIONS.values())  # `isinstance` of a Struct costs eight times a look-up


def subject(item: Decoded) -> str | None:
    """The member a record speaks of, or None."""
    if type(item) in KINDS:
        return item.member_id  # type: ignore[union-attr]  # a kind of action
    if isinstance(item, Staff):
        return item.action.member_id
    if isinstance(item, Derived):
        if isinstance(item.action, Action):
            return item.action.member_id
        return item.body.member_id if type(item.body) in HEARD else None
    return None
