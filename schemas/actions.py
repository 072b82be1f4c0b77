"""What a member did, as upstream apps report it: one struct per action, all fields from day one.

Unknown fields are refused rather than ignored: a misspelt `amuont` must not become an order of nothing, and a
phone number under any name of its own never enters the pipeline.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from schemas.personal import PHONE

Id = Annotated[str, Meta(min_length=1, max_length=128)]
OptionalId = Annotated[str, Meta(max_length=128)]
NO_PHONE = rf"^(?![\s\S]*{PHONE})"
"""Who somebody else is becomes the key of a record of theirs: as little a raw phone number as one's own id.

The ids of events, orders and groups are the senders' numbers and may look like one."""
Other = Annotated[str, Meta(min_length=1, max_length=128, pattern=NO_PHONE)]
OptionalOther = Annotated[str, Meta(max_length=128, pattern=NO_PHONE)]
Name = Annotated[str, Meta(max_length=64)]
# Without a pattern of msgspec's: it would cost two of an action's microseconds. `decoding` looks at each text once.
Where = Annotated[str, Meta(max_length=64, extra_json_schema={"pattern": NO_PHONE})]
Source = Annotated[str, Meta(min_length=1, max_length=128, extra_json_schema={"pattern": NO_PHONE})]
Text = Annotated[str, Meta(max_length=512)]
Why = Annotated[str, Meta(min_length=1, max_length=512)]
Money = Annotated[int, Meta(ge=0, le=10**13, description="minor units (fen, cents)")]
Points = Annotated[int, Meta(ge=1, le=10**9)]
Seconds = Annotated[int, Meta(ge=0, le=10**7)]
Length = Annotated[int, Meta(ge=0, le=10**6, description="characters")]
Currency = Annotated[str, Meta(pattern="^[A-Z]{3}$")]
Instant = Annotated[dt.datetime, Meta(tz=True, description="RFC 3339 with an offset")]
# `(?!\n)`: to Python, `$` alone lets a line end follow.
Month = Annotated[
    str, Meta(pattern=r"^(19[7-9]|20[0-9])[0-9]-(0[1-9]|1[0-2])(?!\n)$", description="YYYY-MM, programme month")
]
Birthday = Annotated[
    str,
    Meta(
        pattern=r"^((0[1-9]|1[0-2])-(0[1-9]|[12][0-9])|(0[13-9]|1[0-2])-30|(0[13578]|1[02])-31)(?!\n)$",
        description="MM-DD, a day of some year",
    ),
]
Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{16,64}(?!\n)$", description="keyed hash, hex")]
MaskedPhone = Annotated[str, Meta(pattern=r"^[0-9]{3}[*]{4}[0-9]{4}(?!\n)$", description="138****1234")]


class Action(Struct, kw_only=True, gc=False, forbid_unknown_fields=True, omit_defaults=True, tag_field="action"):
    """What every action carries. (`source`, `event_id`) is its identity."""

    own: ClassVar[bool] = False
    staff: ClassVar[bool] = False

    event_id: Id
    source: Source
    member_id: Id
    occurred_at: Instant
    region: Where = ""
    group_id: Name = ""
    channel: Where = ""
    device_id: Where = ""


class Own(Action, kw_only=True):
    """An action that ends the member's silence."""

    own: ClassVar[bool] = True


class StaffAction(Action, kw_only=True):
    """An action of staff: signed, with a reason, by two different people."""

    staff: ClassVar[bool] = True

    reason: Why
    operator: Id
    approved_by: Id


class CheckIn(Own, kw_only=True, tag="check_in"):
    """A daily check-in; one per programme day counts."""


class Login(Own, kw_only=True, tag="login"):
    """The member opened the app."""


class ReplyTo(Struct, gc=False, forbid_unknown_fields=True):
    """The message that a message answers, and who wrote it."""

    event_id: Id
    member_id: Other


class Message(Own, kw_only=True, tag="message"):
    """A message in a community; without `length` it counts as long enough."""

    kind: Literal["chat", "question", "answer", "experience"]
    length: Length | None = None
    reply_to: ReplyTo | None = None


class Line(Struct, gc=False, forbid_unknown_fields=True):
    """A line of an order, net of coupons and points."""

    sku: Id
    category: Name
    amount: Money


Lines = Annotated[tuple[Line, ...], Meta(max_length=500)]


class Purchase(Own, kw_only=True, tag="purchase"):
    """An order paid. `amount` is the money paid: after coupons and points, without gift cards."""

    order_id: Id
    amount: Money
    currency: Currency
    lines: Lines = ()
    cart_id: OptionalId = ""
    coupon_id: OptionalId = ""


class Refund(Action, kw_only=True, tag="refund"):
    """Money returned for a part or all of an order; may arrive before its purchase."""

    order_id: Id
    amount: Money
    currency: Currency
    lines: Lines = ()
    purchased_at: Instant | None = None


class Share(Own, kw_only=True, tag="share"):
    """Something passed on to others."""

    target: Literal["content", "product", "group"]
    item_id: OptionalId = ""
    medium: Name = ""
    author_id: OptionalOther = ""


class Browse(Own, kw_only=True, tag="browse"):
    """An item looked at."""

    item_id: Id
    seconds: Seconds | None = None


class AddToCart(Own, kw_only=True, tag="add_to_cart"):
    """An item laid into a cart."""

    item_id: Id
    cart_id: OptionalId = ""


class Like(Own, kw_only=True, tag="like"):
    """An item liked."""

    item_id: Id
    author_id: OptionalOther = ""


class Comment(Own, kw_only=True, tag="comment"):
    """An item commented on."""

    item_id: Id
    author_id: OptionalOther = ""
    length: Length | None = None


class Live(Own, kw_only=True, tag="live"):
    """A live session watched; `completion` is the share of it."""

    item_id: Id
    completion: Annotated[float, Meta(ge=0, le=1)]
    seconds: Seconds | None = None


class Join(Own, kw_only=True, tag="join"):
    """With `group_id` the member joins that group, without it the programme."""

    referrer_id: OptionalOther = ""


class Leave(Action, kw_only=True, tag="leave"):
    """With `group_id` the member leaves that group, without it the account is closed."""


class Profile(Action, kw_only=True, tag="profile"):
    """What an upstream system knows of a member, at least one of these. Never a name, never a raw phone number."""

    home_region: Name | None = None
    zone: Name | None = None
    birthday: Birthday | None = None
    dates: dict[Name, dt.date] | None = None
    need: Name | None = None
    attributes: dict[Name, str | int | float | bool | None] | None = None
    phone_hash: Hash | None = None
    phone_masked: MaskedPhone | None = None


class Redeem(Own, kw_only=True, tag="redeem"):
    """Points to be spent on a `reward` or an `order_id`, one of which is named; answered once."""

    redeem_id: Id
    points: Points
    reward: Name = ""
    order_id: OptionalId = ""


class RedeemCancel(Action, kw_only=True, tag="redeem_cancel"):
    """A redemption taken back; may arrive before its redeem."""

    redeem_id: Id


class Subscribe(Action, kw_only=True, tag="subscribe"):
    """A paid membership bought or renewed; an automatic renewal is not an own action."""

    plan: Id
    paid_until: Instant
    auto_renewal: bool = False


class Content(Action, kw_only=True, tag="content"):
    """Content seen or clicked; only a click is an own action."""

    content_id: Id
    status: Literal["seen", "clicked"]


class Event(Own, kw_only=True, tag="event"):
    """A trial, a course or another activity joined or finished."""

    activity_id: Id
    kind: Id
    status: Literal["joined", "finished"]


BenefitKind = Literal["coupon", "sample", "service", "gift"]


class BenefitGrant(Action, kw_only=True, tag="benefit_grant"):
    """A benefit handed to the member; `promise_id` names the promise it fulfils."""

    grant_id: Id
    benefit_id: Id
    kind: BenefitKind
    promise_id: OptionalId = ""


class BenefitUse(Own, kw_only=True, tag="benefit_use"):
    """A benefit used."""

    grant_id: Id
    benefit_id: Id
    kind: BenefitKind


class Nps(Own, kw_only=True, tag="nps"):
    """How likely the member is to recommend us; also the satisfaction."""

    score: Annotated[int, Meta(ge=0, le=10)]


Severity = Literal["ordinary", "complex", "serious"]
CaseStatus = Literal["opened", "resolved", "unresolved"]


class Complaint(Action, kw_only=True, tag="complaint"):
    """A complaint case; opening one is an own action."""

    case_id: Id
    severity: Severity
    status: CaseStatus


class Support(Action, kw_only=True, tag="support"):
    """A support case; opening one is an own action."""

    case_id: Id
    severity: Severity
    status: CaseStatus


class Consent(Action, kw_only=True, tag="consent"):
    """What the member allows, per purpose and contact channel (or `all`)."""

    purpose: Literal["marketing", "service", "profiling"]
    contact_channel: Id
    granted: bool
    text_version: Id


class OptOut(Action, kw_only=True, tag="opt_out"):
    """Marketing refused on all channels."""


class OutreachFeedback(Action, kw_only=True, tag="outreach_feedback"):
    """What became of a contact. `sent` and `expired` come from our dispatcher alone, in a signed record."""

    contact_id: Id
    status: Literal["sent", "delivered", "opened", "clicked", "failed", "expired"]


class Custom(Action, kw_only=True, tag="custom"):
    """An action that the programme declares by name."""

    name: Id
    value: float | None = None


class Adjust(StaffAction, kw_only=True, tag="adjust"):
    """Points corrected, a hold judged, or a bulk batch undone, by staff.

    `points` names the points, `release` the hold, `reverse` the hold or what it refers to, `undo_batch` the batch;
    `batch_id` and `row` go together.
    """

    kind: Literal["points", "release", "reverse", "undo_batch"]
    points: Annotated[int, Meta(ge=-(10**9), le=10**9)] | None = None
    hold_id: OptionalId = ""
    refers_to: OptionalId = ""
    batch_id: OptionalId = ""
    row: Annotated[int, Meta(ge=0, le=10**9)] | None = None


class Merge(StaffAction, kw_only=True, tag="merge"):
    """The history of another member, not of this one, folded into this one."""

    from_member_id: Id


class Erase(StaffAction, kw_only=True, tag="erase"):
    """The member's personal data destroyed."""


class OpeningLot(Struct, gc=False, forbid_unknown_fields=True):
    """Points brought along, by earning month."""

    month: Month
    points: Points


class OpeningConsent(Struct, gc=False, forbid_unknown_fields=True):
    """A consent brought along."""

    purpose: Literal["marketing", "service", "profiling"]
    contact_channel: Id
    granted: bool
    text_version: Id
    occurred_at: Instant


class Opening(StaffAction, kw_only=True, tag="opening"):
    """The balances a member brings from an older programme; once a member."""

    lots: Annotated[tuple[OpeningLot, ...], Meta(max_length=60)]
    debt: Annotated[int, Meta(ge=0, le=10**9)]
    level: Name
    level_since: Instant
    spend: dict[Month, Money]
    joined_at: Instant
    last_purchase_at: Instant | None = None
    last_action_at: Instant | None = None
    consent: tuple[OpeningConsent, ...] = ()


AnyAction = (
    CheckIn
    | Login
    | Message
    | Purchase
    | Refund
    | Share
    | Browse
    | AddToCart
    | Like
    | Comment
    | Live
    | Join
    | Leave
    | Profile
    | Redeem
    | RedeemCancel
    | Subscribe
    | Content
    | Event
    | BenefitGrant
    | BenefitUse
    | Nps
    | Complaint
    | Support
    | Consent
    | OptOut
    | OutreachFeedback
    | Custom
    | Adjust
    | Merge
    | Erase
    | Opening
)

ACTIONS: dict[str, type[Action]] = {t.__struct_config__.tag: t for t in AnyAction.__args__}
OWN_IF = frozenset((Subscribe, Content, Complaint, Support, Custom))
"""Kinds that are own actions or not by what they say, or by what the programme says of them."""


def name_of(action: Action) -> str:
    """The action's name as it stands on the wire, for instance `check_in`."""
    return str(type(action).__struct_config__.tag)
