"""What is sent to a receiver of webhooks, and the journal that says what was meant to be sent and what came of it.

The journal's topic has the partitions of the facts: what a fact caused stands in the partition of the same number,
under the contact's id as key. Intent before, result after: an id whose contact is closed is never sent again.
"""

from __future__ import annotations

import datetime as dt
import hashlib

import msgspec
from msgspec import Struct

from schemas.facts import Fact, TierEntered

SEPARATOR = "\x1f"
BODY_BYTES_MAX = 20_000
"""Standard Webhooks asks for thin bodies; receivers may refuse larger ones."""


class Origin(Struct, frozen=True):
    """The fact behind a contact, by its identity."""

    log: str
    partition: int
    offset: int
    index: int


class TierData(Struct, frozen=True, omit_defaults=True):
    """A member entered a warning tier: who (a reference, never a name), which, since when, why, what comes next."""

    member: str
    dimension: str
    tier: str
    since: dt.datetime
    reason: str
    fact: Origin
    region: str = ""
    silent_since: dt.datetime | None = None
    next_tier: str = ""
    next_at: dt.datetime | None = None
    overall: str = ""
    overall_since: dt.datetime | None = None


class Body(Struct, frozen=True):
    """The body of a webhook, as Standard Webhooks names its fields; `timestamp` is when it became true."""

    type: str
    timestamp: dt.datetime
    data: TierData


class Entry(Struct, frozen=True, kw_only=True, tag_field="entry"):
    """What every entry of the journal says: whose, and when (ms, the dispatcher's wall clock)."""

    id: str
    at: int


class Planned(Entry, frozen=True, kw_only=True, tag="planned"):
    """A contact was taken over from its fact; from here on it is retried from the journal alone."""

    endpoint: str
    body: str


class Intent(Entry, frozen=True, kw_only=True, tag="intent"):
    """A try is about to be made. One without a result may or may not have reached the receiver."""

    attempt: int


class Result(Entry, frozen=True, kw_only=True, tag="result"):
    """What came of a try; the next one is due at `next_at`, 0 = closed for ever."""

    attempt: int
    outcome: str
    status: int = 0
    next_at: int = 0


class Live(Entry, frozen=True, kw_only=True, tag="live"):
    """Members may be contacted: facts of this partition above number `n` are sent. `id` is empty."""

    n: int


AnyEntry = Planned | Intent | Result | Live


def contact_id(step: str, member_id: str, origin: Origin, endpoint: str) -> str:
    """The id of a contact and of its webhook: the same in every replay, never met again in another log."""
    place = (origin.log, str(origin.partition), str(origin.offset), str(origin.index))
    text = SEPARATOR.join((step, member_id, *place, endpoint))
    return hashlib.sha256(text.encode()).digest()[:16].hex()


def origin_of(fact: Fact) -> Origin:
    """A fact's identity."""
    return Origin(fact.log, fact.partition, fact.offset, fact.index)


def body_of(fact: TierEntered) -> bytes:
    """The exact bytes that are signed and sent for a fact; equal in every replay."""
    data = TierData(
        member=fact.member_id,
        dimension=fact.dimension,
        tier=fact.tier,
        since=_utc(fact.effective_at),
        reason=fact.reason,
        fact=origin_of(fact),
        region=fact.region,
        silent_since=_utc(fact.silent_since),
        next_tier=fact.next_tier,
        next_at=_utc(fact.next_at) if fact.next_at else None,
        overall=fact.overall,
        overall_since=_utc(fact.overall_since) if fact.overall_since else None,
    )
    return msgspec.json.encode(Body("tier.entered", _utc(fact.effective_at), data))


def _utc(ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(ms / 1000, tz=dt.UTC)


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(AnyEntry).decode
