"""What each field allows and yet makes no sense together, for the few kinds of actions where that can be.

The kinds that are sent most have no rule here: what they may say, their types say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from schemas.actions import Action, Adjust, Merge, OutreachFeedback, Profile, Redeem
from schemas.verdicts import Reason, Rejected
from schemas.zones import zones

SAID_OF_PROFILES = (
    *("home_region", "zone", "birthday", "dates"),
    *("need", "attributes", "phone_hash", "phone_masked"),
)
OURS_TO_SAY = frozenset(("sent", "expired"))


def nonsense(action: Action) -> Rejected | None:
    """Why the action makes no sense, or None."""
    rule = SENSE.get(type(action))
    return rule(action) if rule else None


def _profile(action: Profile) -> Rejected | None:
    if action.zone is not None and action.zone not in zones():
        return _invalid("$.zone", "not an IANA zone such as Asia/Shanghai")
    if not any(getattr(action, part) for part in SAID_OF_PROFILES):
        return _invalid("$", f"a profile says at least one of {', '.join(SAID_OF_PROFILES)}")
    return None


def _redeem(action: Redeem) -> Rejected | None:
    if action.reward or action.order_id:
        return None
    return _invalid("$.reward", "a redeem names its `reward`, or the `order_id` it pays for")


def _feedback(action: OutreachFeedback) -> Rejected | None:
    if action.status not in OURS_TO_SAY:
        return None
    return Rejected(Reason.UNSIGNED, "$.status", f"`{action.status}` comes signed, from the dispatcher alone")


def _adjust(action: Adjust) -> Rejected | None:
    if action.kind == "points" and not action.points:
        return _invalid("$.points", "an adjust of kind `points` says how many")
    if action.kind == "release" and not action.hold_id:
        return _invalid("$.hold_id", "an adjust of kind `release` names the `hold_id`")
    if action.kind == "reverse" and not (action.hold_id or action.refers_to):
        return _invalid("$.hold_id", "an adjust of kind `reverse` names a `hold_id`, or what it `refers_to`")
    if not action.batch_id and (action.kind == "undo_batch" or action.row is not None):
        return _invalid("$.batch_id", "an adjust of a batch, or one that undoes it, names the `batch_id`")
    if action.batch_id and action.kind != "undo_batch" and action.row is None:
        return _invalid("$.row", "an adjust of a batch says which `row` of it")
    return None


def _merge(action: Merge) -> Rejected | None:
    if action.from_member_id != action.member_id:
        return None
    return _invalid("$.from_member_id", "a member cannot be merged into itself")


def _invalid(pointer: str, detail: str) -> Rejected:
    return Rejected(Reason.INVALID, pointer, detail)


SENSE: dict[type[Action], Callable[[Any], Rejected | None]] = {
    Profile: _profile,
    Redeem: _redeem,
    OutreachFeedback: _feedback,
    Adjust: _adjust,
    Merge: _merge,
}
