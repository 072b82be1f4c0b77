"""Buckets: what a partition counted in the current block of offsets, published as absolute totals of the block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from schemas.actions import Action
from schemas.aggregates import Bucket
from schemas.facts import AnyFact
from schemas.member import MemberState

if TYPE_CHECKING:
    from processors.programme import Rules


class Buckets:
    """The running totals of one partition's current block.

    Offsets count up; after `clear(block)` all totals are those of the new block. A chunk that fails is dropped with
    the whole object: load it again from the store.
    """

    def __init__(self, log: str, partition: int, block: int = 0) -> None:
        self.log, self.partition, self.block = log, partition, block

    def count(
        self,
        rules: Rules,
        state: MemberState,
        action: Action,
        at: int,
        day: int,
        offset: int,
        facts: Sequence[AnyFact],
    ) -> None:
        """Count an applied action, after `decide`, once. `at` is the moment judged, `day` its programme day.

        Marks `state.active_bits` and `state.places` of own actions: nobody else sets these, so the first own action
        of a day, week or month is seen here. Counts the facts too: don't call `count_facts` for them.
        """

    def count_facts(self, rules: Rules, offset: int, facts: Sequence[AnyFact]) -> None:
        """Count the facts of a wake, or of a decision that is not an applied action."""

    def changed(self, after_version: int) -> list[Bucket]:
        """The buckets whose version lies above `after_version`, sorted by key."""
        return []

    def take_dirty(self) -> dict[str, bytes]:
        """What changed since the last call or load, for the store: encoded key -> encoded totals."""
        return {}

    def load(self, stored: Mapping[str, bytes]) -> None:
        """Replace all totals by those of the store."""

    def clear(self, block: int) -> None:
        """Begin a new block with nothing counted; what was dirty and not taken is forgotten (publish and take first)."""
