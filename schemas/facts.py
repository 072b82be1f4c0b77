"""What the worker says happened. A fact never changes; what turns out untrue is amended by a fact that names it.

Identity: (log, partition, offset, index). `n` numbers the facts of a partition 1, 2, 3 ..., so a reader drops what it
has seen and stops at a gap. All moments are milliseconds since the epoch; `effective_at` is when it became true,
`decided_at` the partition's clock when it was decided. Points are whole points, money minor units.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct


class Fact(Struct, kw_only=True, gc=False, omit_defaults=True, tag_field="kind"):
    """The head of every fact. Rules fill `member_id` and the moments; the partition stamps the rest."""

    log: str = ""
    partition: int = -1
    offset: int = -1
    index: int = -1
    n: int = 0
    member_id: str
    effective_at: int
    decided_at: int
    programme: int = 0
    rules: int = 0


class OfAction(Fact, kw_only=True):
    """A fact that an action brought about, with the action's identity and place."""

    source: str = ""
    event_id: str = ""
    action: str = ""
    region: str = ""
    group_id: str = ""


class Ledger(OfAction, tag="ledger", kw_only=True):
    """One entry of a member's ledger: what was issued or moved, by which rule, and the arithmetic.

    `points` is the change of `issued`, `active` and `pending` the changes of those balances, so sums over a member's
    entries are the balances. `because` is the arithmetic in words. An entry of 0 points says in `reason` why.
    `month` is the earning month (year x 12 + month - 1) whose lot it belongs to. `score` is the activity score after
    the action in thousandths, `activity_index` 0-100.
    """

    rule: str
    entry: str
    points: int = 0
    active: int = 0
    pending: int = 0
    month: int = 0
    base: int = 0
    factor: int = 1
    because: str = ""
    reason: str = ""
    pending_until: int = 0
    order_id: str = ""
    spend: int = 0
    currency: str = ""
    amends: tuple[int, int] | None = None
    score: int = 0
    activity_index: int = 0


class Score(OfAction, tag="score", kw_only=True):
    """An action that moved the activity score and earns no points."""

    score: int
    activity_index: int


class Tier(Fact, kw_only=True):
    """The head of every fact about a warning tier: which dimension and tier, and the overall tier after it.

    `overall` is the gravest tier held afterwards ("" = none), `overall_since` the moment that one was entered.
    """

    dimension: str
    tier: str
    region: str = ""
    overall: str = ""
    overall_since: int = 0


class TierEntered(Tier, tag="tier.entered", kw_only=True):
    """A tier became true at `effective_at`, without any event. `silent_since` is the action it is counted from."""

    silent_since: int
    reason: str
    next_tier: str = ""
    next_at: int = 0
    score: int = 0
    activity_index: int = 0
    unsure: bool = False


class TierLeft(Tier, tag="tier.left", kw_only=True):
    """A tier ended: by an action at `effective_at`, or by the next tier of its ladder (`reason` says which)."""

    entered_at: int
    reason: str
    source: str = ""
    event_id: str = ""


class TierVoided(Tier, tag="tier.voided", kw_only=True):
    """A tier that a late action shows was never true; `amends` is the entry (offset, index)."""

    entered_at: int
    amends: tuple[int, int]
    source: str = ""
    event_id: str = ""


class TierMoved(Tier, tag="tier.moved", kw_only=True):
    """A tier still true, but from another moment: `effective_at` replaces `entered_at` of the entry it amends."""

    entered_at: int
    amends: tuple[int, int]
    silent_since: int
    source: str = ""
    event_id: str = ""


class Late(OfAction, tag="late", kw_only=True):
    """An action older than the horizon: no effect, never paid; staff may turn it into an `adjust`."""


class Conflict(OfAction, tag="conflict", kw_only=True):
    """An identity seen before with other content: the first counts."""


class OrderRepeat(OfAction, tag="order_repeat", kw_only=True):
    """An order reported again: nothing more is paid."""

    order_id: str


class OrderConflict(OfAction, tag="order_conflict", kw_only=True):
    """An order reported again with another amount: the first counts."""

    order_id: str
    amount: int
    first_amount: int


class InForce(Fact, tag="in_force", kw_only=True):
    """A control record took its place in this partition."""

    control: str
    id: str
    number: int
    holds_from: int = 0
    by: str = ""
    approved_by: str = ""


AnyFact = (
    Ledger
    | Score
    | TierEntered
    | TierLeft
    | TierVoided
    | TierMoved
    | Late
    | Conflict
    | OrderRepeat
    | OrderConflict
    | InForce
)

KINDS: dict[str, type[Fact]] = {t.__struct_config__.tag: t for t in AnyFact.__args__}

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(AnyFact).decode
