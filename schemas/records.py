"""The records of the log beside actions: ticks, derived, control and staff records, and how they are framed.

Everything but an action begins with the bytes `{"record":`, written by our own tools alone. What is signed travels in
an envelope whose signature (ed25519) covers the exact bytes of `body`.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta, Raw, Struct

from schemas.actions import Hash, Id, Name, OptionalId, Text
from schemas.boards import Period

FRAME = b'{"record":'
PROGRAMME_BYTES_MAX = 64 * 1024
MOMENT_MAX = 4_102_444_800_000
"""The year 2100: no moment that a record decides for others lies after it. Tables hold moments until 2106."""


FORWARD_BYTES_MAX = 160 * 1024
"""Of a stray and its headers: in base64 and its envelope it must still fit the topic's 256 kB."""


Positive = Annotated[float, Meta(gt=0, le=1e9)]
"""A parameter of a distribution: one of 0 would divide by it."""


class Record(NamedTuple):
    """One record of a partition as it was read: `timestamp` in milliseconds, headers as (name, bytes)."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class Tick(Struct, frozen=True, tag_field="record", tag="tick", forbid_unknown_fields=True):
    """Nothing but a time: the record's own timestamp. `owner` lets its writer see that it came back."""

    owner: str = ""


class Signed(Struct, frozen=True, tag_field="record", forbid_unknown_fields=True):
    """A signed envelope; `body` stays raw because the signature covers its exact bytes."""

    key_id: Id
    signature: Annotated[str, Meta(max_length=128, description="base64 of 64 bytes")]
    body: Raw


class SignedControl(Signed, frozen=True, tag="control"):
    """A control record in its envelope."""


class SignedDerived(Signed, frozen=True, tag="derived"):
    """A derived record in its envelope."""


class SignedStaff(Signed, frozen=True, tag="staff"):
    """A staff action in its envelope."""


Framed = Tick | SignedControl | SignedDerived | SignedStaff


class Cause(Struct, frozen=True, array_like=True):
    """What brought a derived record about: the position of a fact or record, in the named log."""

    log: Id
    partition: int
    offset: int
    index: int


UNSTAMPED = Cause("", -1, -1, -1)
"""The cause of a body that a rule made: the partition stamps it as it stamps facts."""


class Caused(Struct, frozen=True, tag_field="derived", forbid_unknown_fields=True):
    """What a worker appends to the named member's partition: known by its cause, so a repeat changes nothing."""

    cause: Cause
    member_id: Id


class Forward(Caused, frozen=True, tag="forward"):
    """A stray on its way to the right partition: the original record, byte for byte."""

    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


class Referral(Caused, frozen=True, tag="referral"):
    """To the referrer: what became of a member it invited. `active_at` (ms) is when its points become active.

    `refunded`: the order that the referrer knew of was fully refunded; moved without `active_at`, no other takes its
    place. `known` are the devices and telephones known of the invited member, each by its crc32.
    """

    kind: Literal["accepted", "completed", "moved", "undone"]
    invited_member_id: Id
    active_at: int = 0
    phone_hash: Hash | None = None
    device_id: Name = ""
    refunded: bool = False
    known: Annotated[tuple[Annotated[int, Meta(ge=0, le=2**32 - 1)], ...], Meta(max_length=50)] = ()


class Echo(Caused, frozen=True, tag="echo"):
    """To the author: somebody else answered, liked, commented on or shared what it wrote."""

    kind: Literal["reply", "like", "comment", "share"]
    from_member_id: Id
    group_id: Name = ""


class Award(Struct, frozen=True, tag_field="derived", tag="award", forbid_unknown_fields=True):
    """To the winner: a place on a board that is final. Its content is its identity.

    `at` is the week's Monday (days since 1970-01-01) or the month (year x 12 + month - 1). A board of a region or of a
    group names it.
    """

    member_id: Id
    board: Id
    period: Period
    at: int
    place: Annotated[int, Meta(ge=1, le=10**6)]
    value: int
    region: Name = ""
    group_id: Name = ""


class Feedback(Struct, frozen=True, tag_field="derived", tag="outreach_feedback", forbid_unknown_fields=True):
    """To the member: the dispatcher (`source`) has finished a contact. Its content is its identity."""

    member_id: Id
    source: Id
    contact_id: Id
    status: Literal["sent", "failed", "expired"]


AnyDerived = Forward | Referral | Echo | Award | Feedback


class Control(Struct, frozen=True, kw_only=True, tag_field="control", forbid_unknown_fields=True):
    """What every control record says: who, why, and its number per id (not above the one in force = ignored)."""

    id: Id
    number: Annotated[int, Meta(ge=1, le=2**53)]
    by: Id
    approved_by: OptionalId = ""
    why: Text = ""


class ProgrammeControl(Control, frozen=True, kw_only=True, tag="programme"):
    """A version of the programme: its whole text and the moment from which it holds (ms).

    The first one of a partition is written by `bootstrap` and carries what the whole log stands on: its name, the
    public keys, the key of the hashes of ids, and the earliest `occurred_at` it accepts (ms).
    """

    text: Annotated[str, Meta(max_length=PROGRAMME_BYTES_MAX)]
    holds_from: int
    log: Name = ""
    staff_keys: dict[Id, str] = {}
    worker_keys: dict[Id, str] = {}
    id_key: Annotated[str, Meta(max_length=64, description="hex")] = ""
    history_from: Annotated[int, Meta(ge=86_400_000)] = 946_684_800_000


class Keys(Control, frozen=True, kw_only=True, tag="keys"):
    """The public keys from here on (base64 of 32 bytes, by key id); signed with a key that was valid before."""

    staff_keys: dict[Id, str]
    worker_keys: dict[Id, str]


class GoLive(Control, frozen=True, kw_only=True, tag="go_live"):
    """From this record on members may be contacted; needs two people."""


class Thresholds(Control, frozen=True, kw_only=True, tag="thresholds"):
    """Population values of a programme day, with the counts of members they were taken from."""

    day: int
    values: dict[Name, list[float]]
    counts: dict[Name, int]


class Parameters(Control, frozen=True, kw_only=True, tag="parameters"):
    """P(alive) by MBG/NBD: the fitted parameters (alpha in days), customers and day of the fit."""

    r: Positive
    alpha: Positive
    a: Positive
    b: Positive
    customers: int
    day: int


class Blind(Control, frozen=True, kw_only=True, tag="blind"):
    """Silence of a (region, source) is not believed while this is on."""

    region: Name
    source: Name
    on: bool


class Pause(Control, frozen=True, kw_only=True, tag="pause"):
    """Outreach paused for a step, region, endpoint; each empty = all."""

    step: Name = ""
    region: Name = ""
    endpoint: Name = ""


class Resume(Control, frozen=True, kw_only=True, tag="resume"):
    """The end of a pause."""

    step: Name = ""
    region: Name = ""
    endpoint: Name = ""


class Reference(Control, frozen=True, kw_only=True, tag="reference"):
    """What members' actions cannot tell: gmv, cost, visitors, benchmark. Partition 0 only."""

    day: int
    region: Name
    channel: Name
    key: Literal["gmv", "cost", "visitors", "benchmark"]
    value: float


AnyControl = ProgrammeControl | Keys | GoLive | Thresholds | Parameters | Blind | Pause | Resume | Reference


def tick(owner: str = "") -> bytes:
    """The bytes of a tick."""
    return _encode(Tick(owner=owner))


_encode = msgspec.json.Encoder().encode
