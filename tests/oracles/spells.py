"""The tiers of a dimension as facts tell them."""

from __future__ import annotations

from collections.abc import Iterable

from schemas.facts import Fact, TierEntered, TierLeft


def spells_of(facts: Iterable[Fact], dimension: str) -> list[tuple[str, int, int | None]]:
    """Each tier with the moments (ms) at which it was entered and left, None = it is held."""
    found: list[tuple[str, int, int | None]] = []
    for fact in facts:
        if isinstance(fact, TierEntered) and fact.dimension == dimension:
            found.append((fact.tier, fact.effective_at, None))
        elif isinstance(fact, TierLeft) and fact.dimension == dimension:
            assert found[-1] == (fact.tier, fact.entered_at, None)
            found[-1] = (fact.tier, fact.entered_at, fact.effective_at)
    return found
