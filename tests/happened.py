"""What must have happened in a log for a test of it to have shown anything, counted from the facts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from schemas.facts import AdjustRefused, Fact, Ledger, OpeningRefused, PointsHeld, PointsReleased

KINDS = (
    "opening",
    "opening refused",
    "staff gave points",
    "staff took points",
    "staff undid an entry",
    "staff refused: known",
    "staff refused: undone",
    "staff refused: unknown",
    "hold opened",
    "hold released",
    "hold reversed",
    "refund",
    "redeemed",
    "redemption cancelled",
    "referral paid",
    "decided by a later programme",
)
"""What traffic that says so must have brought about. Holds that nobody judges need 30 days."""


def missing(facts: Iterable[Fact]) -> list[str]:
    """What never came about."""
    found = happened(facts)
    return [kind for kind in KINDS if not found[kind]]


def happened(facts: Iterable[Fact]) -> Counter[str]:
    """How often each of these came about."""
    found: Counter[str] = Counter()
    for fact in facts:
        found[_kind(fact)] += 1
        found["decided by a later programme"] += fact.programme > 1
    return found


def _kind(fact: Fact) -> str:
    match fact:
        case Ledger(rule="opening"):
            return "opening"
        case Ledger(rule="adjust", amends=None):
            return "staff gave points" if fact.points > 0 else "staff took points"
        case Ledger(rule="adjust"):
            return "staff undid an entry"
        case Ledger(rule="redeem", entry="spent"):
            return "redeemed"
        case Ledger(rule="redeem_cancel", reason=""):
            return "redemption cancelled"
        case Ledger(rule="referral") if fact.points > 0:
            return "referral paid"
        case Ledger(rule="refund"):
            return "refund"
        case OpeningRefused():
            return "opening refused"
        case AdjustRefused():
            return f"staff refused: {fact.reason}"
        case PointsHeld():
            return "hold opened"
        case PointsReleased():
            return f"hold {fact.reason}"
    return ""
