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
    """A fact that an action brought about, with the action's identity and place.

    A correction names by `source` and `event_id` the late action that brought it about, and by `action`, `region`
    and `group_id` what it corrects: there it counts, so buckets too are the same in any order of arrival.
    """

    source: str = ""
    event_id: str = ""
    action: str = ""
    region: str = ""
    group_id: str = ""


class Ledger(OfAction, tag="ledger", kw_only=True):
    """One entry of a member's ledger: what was issued or moved, by which rule, and the arithmetic.

    `points` is the change of `issued`; `active`, `pending`, `spent`, `expired`, `reversed` and `debt` are those of the
    balances, so sums over a member's entries are the balances. `lots` are the changes (end in ms, points) of lots that
    are not the month's own. `because` is the arithmetic in words. An entry of 0 points says in `reason` why.
    `month` is the earning month (year x 12 + month - 1) whose lot it belongs to. `score` is the activity score after
    the action in thousandths, `activity_index` 0-100; `weight` is what the action itself weighs, before the day's cap.
    `home` is the member's home region. Entries of staff name both people,
    `why`, and the batch they belong to.
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
    weight: int = 0
    home: str = ""
    spent: int = 0
    expired: int = 0
    reversed: int = 0
    debt: int = 0
    lots: tuple[tuple[int, int], ...] = ()
    operator: str = ""
    approved_by: str = ""
    batch_id: str = ""
    why: str = ""


class PointsExpiring(Fact, tag="points.expiring", kw_only=True):
    """So many active points will expire at `ends_at` if they are not spent before."""

    points: int
    ends_at: int


class Score(OfAction, tag="score", kw_only=True):
    """An action that moved the activity score and earns no points."""

    score: int
    activity_index: int
    weight: int = 0


class RegionChanged(OfAction, tag="region.changed", kw_only=True):
    """The member's home region is another one from here on ("" = none before)."""

    home: str
    home_before: str = ""


class AccountClosed(OfAction, tag="account.closed", kw_only=True):
    """The account was closed at `effective_at`: what the member did until then leaves the open boards."""


class Tier(Fact, kw_only=True):
    """The head of every fact about a warning tier: which dimension and tier, and the overall tier after it.

    `overall` is the gravest tier held afterwards ("" = none), `overall_since` the moment that one was entered; `held`
    are all of them: dimension, tier, moment entered.
    """

    dimension: str
    tier: str
    region: str = ""
    overall: str = ""
    overall_since: int = 0
    held: tuple[tuple[str, str, int], ...] = ()


class TierEntered(Tier, tag="tier.entered", kw_only=True):
    """A tier became true at `effective_at`. `silent_since` is the action it is counted from.

    One that an opening `brought` along was due already: it fires no step. `ends_at` is when it is left if nothing
    happens (0 = not by itself).
    """

    silent_since: int
    reason: str
    next_tier: str = ""
    next_at: int = 0
    score: int = 0
    activity_index: int = 0
    unsure: bool = False
    brought: bool = False
    ends_at: int = 0


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


class Redeemed(OfAction, kw_only=True):
    """The head of the answer to a request to redeem. One that `repeats` an answer (offset, index) changes nothing."""

    redeem_id: str
    points: int
    because: str
    repeats: tuple[int, int] | None = None


class RedeemAccepted(Redeemed, tag="redeem_accepted", kw_only=True):
    """So many points were spent on a reward or an order. A level step runs until the moment `until`."""

    reward: str = ""
    order_id: str = ""
    until: int = 0


class RedeemRefused(Redeemed, tag="redeem_refused", kw_only=True):
    """Nothing was spent: `reason` is missing, smallest, steps, running, cancelled or late."""

    reason: str
    missing: int = 0


class RedeemCancelOrphan(OfAction, tag="redeem_cancel_orphan", kw_only=True):
    """A cancel whose redeem never came: no effect; staff look at it."""

    redeem_id: str


class RefundRefused(OfAction, tag="refund_refused", kw_only=True):
    """A refund above what is left of its order: no effect. `left` is that, `first_amount` the order's amount."""

    order_id: str
    amount: int
    first_amount: int
    left: int
    reason: str


class RefundOrphan(OfAction, tag="refund_orphan", kw_only=True):
    """A refund whose order never came: no effect, for staff to look at."""

    order_id: str
    amount: int


class ReferralRefused(OfAction, tag="referral_refused", kw_only=True):
    """An invitation that gives nothing: `reason` is own_id, unknown or not_accepted.

    `unknown` is a referrer whom nobody ever saw, or who is erased; `not_accepted` an order of somebody whose joining
    was refused.
    """

    invited_member_id: str
    reason: str
    because: str


class MembershipPaid(Fact, tag="membership.paid", kw_only=True):
    """Paid membership from `effective_at` on; `until` is the end of all that is paid."""

    until: int
    because: str


class InForce(Fact, tag="in_force", kw_only=True):
    """A control record took its place in this partition."""

    control: str
    id: str
    number: int
    holds_from: int = 0
    by: str = ""
    approved_by: str = ""


class TaskFact(OfAction, kw_only=True):
    """The head of every fact about a task. `rule` is the task's name; its window is [begins, ends).

    `values` says how far each condition is, `needed` when it is met. `amends` is the fact of this task's being done
    that no longer holds: a late action or a refund (the `source` and `event_id`) moved or undid it.
    """

    rule: str
    values: tuple[int, ...]
    needed: tuple[int, ...]
    begins: int
    ends: int
    because: str
    amends: tuple[int, int] | None = None


class TaskProgress(TaskFact, tag="task.progress", kw_only=True):
    """A task came nearer, or is no longer done: `because` names what is met and what is missing."""


class TaskDone(TaskFact, tag="task.done", kw_only=True):
    """A task is done since `effective_at`; `because` says what it gives."""


class BenefitPromised(OfAction, tag="benefit_promised", kw_only=True):
    """A benefit that a level, a task or a badge names is promised; the grant that fulfils it names `promise_id`."""

    promise_id: str
    benefit: str
    rule: str
    because: str


class BadgeAwarded(Fact, tag="badge.awarded", kw_only=True):
    """A member has a badge (`rule`, its name) since `effective_at`."""

    rule: str
    title: str
    because: str


class BadgeUndone(OfAction, tag="badge.undone", kw_only=True):
    """A badge is taken back: what it was given for is no longer so. `amends` is the fact that gave it."""

    rule: str
    because: str
    amends: tuple[int, int]


class PointsHeld(OfAction, tag="points.held", kw_only=True):
    """From the action on, points of a scope are held until staff judge them, or `until`; `because` is the evidence."""

    hold_id: str
    scope: str
    until: int
    because: str


HOLD_ENDS = ("released", "reversed", "unjudged")


class PointsReleased(OfAction, tag="points.released", kw_only=True):
    """A hold ended: so many of its points became active (0 where they were reversed). `amends` is what opened it.

    `reason` is one of `HOLD_ENDS`; staff are named where they judged.
    """

    hold_id: str
    scope: str
    points: int
    reason: str
    by: str = ""
    approved_by: str = ""
    amends: tuple[int, int]


class LevelFact(OfAction, kw_only=True):
    """The head of every fact about levels. `net_spend` is S and `growth` is G (4.1), both in minor units, then."""

    level: str
    net_spend: int
    growth: int
    because: str


class LevelChanged(LevelFact, tag="level.changed", kw_only=True):
    """A member is on another level since `effective_at`: `base_level` and so many steps of bonus above it.

    `reason` is why. `amends` is the change that turned out untrue: this one goes back to what was before it.
    """

    level_before: str
    base_level: str
    bonus: int = 0
    reason: str
    amends: tuple[int, int] | None = None


class LevelWarning(LevelFact, tag="level.warning", kw_only=True):
    """The standard is missed for long: at `falls_at` the level falls to `next_level`. `because` says what lacks."""

    missed_days: int
    next_level: str
    falls_at: int


class OfStaff(OfAction, kw_only=True):
    """The head of what is said of a record of staff that has no effect: who asked, who approved, and why not."""

    operator: str
    approved_by: str
    because: str


class AdjustRefused(OfStaff, tag="adjust_refused", kw_only=True):
    """An adjust without effect: `reason` is known (its row was booked already), undone, or unknown."""

    reason: str
    batch_id: str = ""
    hold_id: str = ""
    refers_to: str = ""


class SpendBrought(OfAction, tag="spend.brought", kw_only=True):
    """What a member spent elsewhere in a month, brought along by its opening: it counts in S and is nothing earned.

    `month` is year x 12 + month - 1. In the month of the last purchase `bought_at` is its moment, else 0; what was
    spent then may not be known.
    """

    month: int
    spend: int = 0
    bought_at: int = 0
    because: str = ""


class OpeningRefused(OfStaff, tag="opening_refused", kw_only=True):
    """A second opening of a member: no effect. `amends` is the entry of the first (offset, index)."""

    amends: tuple[int, int]


AnyFact = (
    Ledger
    | PointsExpiring
    | Score
    | TierEntered
    | TierLeft
    | TierVoided
    | TierMoved
    | Late
    | Conflict
    | OrderRepeat
    | OrderConflict
    | RedeemAccepted
    | RedeemRefused
    | RedeemCancelOrphan
    | RefundRefused
    | RefundOrphan
    | InForce
    | MembershipPaid
    | TaskProgress
    | TaskDone
    | BenefitPromised
    | BadgeAwarded
    | BadgeUndone
    | RegionChanged
    | AccountClosed
    | ReferralRefused
    | PointsHeld
    | PointsReleased
    | LevelChanged
    | LevelWarning
    | AdjustRefused
    | OpeningRefused
    | SpendBrought
)

KINDS: dict[str, type[Fact]] = {t.__struct_config__.tag: t for t in AnyFact.__args__}

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(AnyFact).decode
