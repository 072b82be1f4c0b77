"""What a programme refuses without looking at any state: a dead letter, not a fact."""

from __future__ import annotations

from processors.programme import Rules
from schemas.actions import Action, Custom, Purchase, Refund
from schemas.decoding import looks_like_phone
from schemas.verdicts import Reason, Rejected

JUDGED = frozenset((Purchase, Refund, Custom))


def refusal(rules: Rules, action: Action, at: int, history_from: int) -> Rejected | None:
    """Why the action is refused under these rules, or None."""
    if at < history_from:
        return Rejected(Reason.TOO_EARLY, "$.occurred_at", "before the log's history begins", action.source)
    kind = type(action)
    if kind not in JUDGED:
        return None
    if (kind is Purchase or kind is Refund) and action.currency not in rules.currencies:  # type: ignore[attr-defined]
        known = ", ".join(rules.programme.currencies)
        return Rejected(Reason.CURRENCY, "$.currency", f"the programme lists {known}", action.source)
    if kind is Custom and action.name not in rules.programme.custom:  # type: ignore[attr-defined]
        known = ", ".join(rules.programme.custom) or "none"
        return Rejected(Reason.UNKNOWN_CUSTOM, "$.name", f"the programme declares: {known}", action.source)
    return None


def personal_id(action: Action) -> Rejected | None:
    """A raw phone number as a member's id is refused when the member is first seen."""
    if looks_like_phone(action.member_id):
        return Rejected(Reason.PERSONAL, "$.member_id", "a phone number is no id", action.source)
    return None
