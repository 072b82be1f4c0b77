"""Benefits promised: what a level, a task or a badge names is promised by a fact, and granted by another system."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from schemas.facts import BenefitPromised

if TYPE_CHECKING:
    from processors.programme import Rules

SEPARATOR = "\x1f"


def promise(
    rules: Rules, member_id: str, benefit: str, cause: str, rule: str, number: int, at: int, clock: int
) -> BenefitPromised:
    """The promise of a benefit since `at`, for instance cause `task`, rule `icebreak`, number 0.

    Its id is the same however often it is found: the caller tells it once for a number.
    """
    text = SEPARATOR.join(("promise", cause, rule, str(number), benefit, member_id))
    return BenefitPromised(
        member_id=member_id,
        effective_at=at,
        decided_at=clock,
        programme=rules.number,
        rules=rules.rules,
        promise_id=hashlib.sha256(text.encode()).digest()[:16].hex(),
        benefit=benefit,
        rule=rule,
        because=f"{benefit}: {cause} {rule}",
    )
