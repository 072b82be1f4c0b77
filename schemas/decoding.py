"""Bytes of a record to an action, or to a `Rejected` that says why: never an exception, whatever the bytes.

Three forms are read: plain JSON (our fields), CloudEvents in structured mode (content type
`application/cloudevents+json`) and in binary mode (headers `ce_*`). What begins with `FRAME` is one of our own.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from schemas import personal
from schemas.actions import ACTIONS, Action, AnyAction, Profile
from schemas.nesting import DEPTH_MAX, too_deep
from schemas.personal import blank as blank
from schemas.personal import looks_like_phone as looks_like_phone
from schemas.records import (
    FRAME,
    AnyControl,
    AnyDerived,
    Control,
    Forward,
    Framed,
    Signed,
    SignedControl,
    SignedDerived,
    SignedStaff,
    Tick,
)
from schemas.sense import SENSE, nonsense
from schemas.verdicts import Reason, Rejected

Headers = Sequence[tuple[str, bytes]]
SPEC = "1."
NOT_LOOKED_AT = frozenset(["id", "subject", *personal.OF_TRACES])
"""Of CloudEvents: an event's id may look like anything, a member's is judged later."""

RECORD_BYTES_MAX = 256 * 1024
_PERSONAL = "personal data is never accepted"

_SOURCE = re.compile(rb'"source"\s*+:\s*+"((?:[^"\\]|\\.)*+)"', re.DOTALL)
_UNKNOWN = re.compile(r"unknown field `([^`]*)`(?: - at `([^`]*)`)?")
_AT = re.compile(r" - at `([^`]*)`")

CHECKED = frozenset(kind for kind in ACTIONS.values() if kind.staff or kind in SENSE)
CLEAN_MAX = 10_000
_clean: set[str] = {""}  # sources, regions and channels that hold no phone number: few, and in every action
_decode_action = msgspec.json.Decoder(AnyAction).decode
_decode_framed = msgspec.json.Decoder(Framed).decode
_decode_control = msgspec.json.Decoder(AnyControl).decode
_decode_derived = msgspec.json.Decoder(AnyDerived).decode


class Staff(msgspec.Struct, frozen=True):
    """A staff action and the envelope it came in; the signature is not yet judged."""

    envelope: SignedStaff
    action: Action


class Derived(msgspec.Struct, frozen=True):
    """A derived record and its envelope; the signature is not yet judged. `action` is what a `Forward` forwards."""

    envelope: SignedDerived
    body: AnyDerived
    action: Action | Rejected | None = None


class Controlled(msgspec.Struct, frozen=True):
    """A control record and its envelope; the signature is not yet judged."""

    envelope: SignedControl
    body: Control


class NotUnderstood(msgspec.Struct, frozen=True):
    """A control record that this code cannot read: the partition halts, it is never skipped."""

    envelope: SignedControl
    detail: str


Decoded = Action | Rejected | Tick | Staff | Derived | Controlled | NotUnderstood


def decode(value: bytes | None, headers: Headers = ()) -> Decoded:
    """What the bytes say. Control, staff and derived records still need their signature judged."""
    if value is None:
        return Rejected(Reason.NOT_JSON, detail="no value")
    if len(value) > RECORD_BYTES_MAX:
        return _refused(Reason.TOO_BIG, "$", f"{len(value)} bytes", value)
    if (headers and _cloud_event(headers)) or value.startswith(FRAME):
        return _too_deep(value) or _decode_other(value, headers)
    try:
        action: Action = _decode_action(value)  # what it accepts is flat: depth is counted only for what it refuses
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return _too_deep(value) or _refusal(str(error), value)
    seen = action.source in _clean and action.region in _clean and action.channel in _clean and not action.device_id
    if not seen and (pointer := _phone_in(action)):
        return _is_personal(action, pointer)
    return _checked(action, value) if type(action) in CHECKED else action


def _phone_in(action: Action) -> str:
    """Where an action says by a raw phone number where it comes from, or "". What was looked at once is remembered."""
    for field in ("source", "region", "channel"):
        text = getattr(action, field)
        if text not in _clean:
            if looks_like_phone(text):
                return f"$.{field}"
            if len(_clean) >= CLEAN_MAX:
                _clean.clear()
            _clean.add(text)
    return "$.device_id" if personal.is_phone(action.device_id) else ""


def _is_personal(action: Action, pointer: str) -> Rejected:
    return Rejected(Reason.PERSONAL, pointer, _PERSONAL, "" if looks_like_phone(action.source) else action.source)


def _too_deep(value: bytes) -> Rejected | None:
    return _refused(Reason.TOO_DEEP, "$", f"nested deeper than {DEPTH_MAX}", value) if too_deep(value) else None


def _decode_other(value: bytes, headers: Headers) -> Decoded:
    form = _cloud_event(headers)
    return _decode_cloud_event(form, value, headers) if form else _decode_frame(value)


def _checked(action: Action, value: bytes) -> Action | Rejected:
    """The rules that need no state and no programme, beyond types."""
    if isinstance(action, Profile) and (pointer := _personal_part(action)):
        return _is_personal(action, pointer)
    if action.staff:
        return Rejected(Reason.UNSIGNED, "$.action", "staff actions come signed, from `memberflow`", action.source)
    wrong = nonsense(action)
    return _refused(wrong.reason, wrong.pointer, wrong.detail, value) if wrong else action


def _personal_part(profile: Profile) -> str:
    """Where a profile holds a name or a raw phone number after all, or ""."""
    for part, pairs in (("attributes", profile.attributes), ("dates", profile.dates)):
        for key, content in (pairs or {}).items():
            if personal.is_personal(key) or looks_like_phone(key) or looks_like_phone(str(content)):
                return f"$.{part}"
    for part in ("home_region", "zone", "need"):
        if looks_like_phone(getattr(profile, part) or ""):
            return f"$.{part}"
    return ""


def _refusal(text: str, value: bytes) -> Rejected:
    """msgspec's words as a reason and a pointer."""
    if unknown := _UNKNOWN.search(text):
        pointer = f"{unknown.group(2) or '$'}.{unknown.group(1)[:64]}"
        return _refused(Reason.UNKNOWN_FIELD, pointer, "no such field; see the schema of this action", value)
    at = _AT.search(text)
    pointer = at.group(1) if at else "$"
    detail = _AT.sub("", text)[:200]
    if pointer == "$.action" or text.startswith("Object missing required field `action`"):
        return _refused(Reason.UNKNOWN_ACTION, "$.action", f"known: {', '.join(ACTIONS)}", value)
    if "malformed" in text or "truncated" in text or "utf-8" in text.lower() or "JSON" in text:
        return _refused(Reason.NOT_JSON, pointer, detail, value)
    return _refused(Reason.INVALID, pointer, detail, value)


def _refused(reason: Reason, pointer: str, detail: str, value: bytes) -> Rejected:
    """A refusal; whatever else is wrong with it, a record with something personal in it is `personal`."""
    source, custom = _source(value), b"custom" in value
    if found := personal.found_in(value, custom=custom):
        return Rejected(Reason.PERSONAL, found, _PERSONAL, source)
    return Rejected(reason, pointer, detail, source)


def _source(value: bytes) -> str:
    """The sender's name in bytes that could not be decoded, for the count per source; "" when there is none."""
    found = _SOURCE.search(value, 0, 4096)
    source = found.group(1).decode(errors="replace")[:64] if found else ""
    return "" if personal.looks_like_phone(source) else source


def _decode_frame(value: bytes) -> Decoded:
    try:
        framed: Framed = _decode_framed(value)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return _refusal(str(error), value)
    if isinstance(framed, SignedControl):
        try:
            return Controlled(framed, _decode_control(framed.body))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return NotUnderstood(framed, str(error)[:200])
    if isinstance(framed, Signed):
        return _decode_signed(framed, value)
    return framed


def _decode_signed(framed: Signed, value: bytes) -> Decoded:
    try:
        if isinstance(framed, SignedDerived):
            body = _decode_derived(framed.body)
            if not isinstance(body, Forward):
                return Derived(framed, body)
            framed_again = body.value.startswith(FRAME)
            inner = _no_action() if framed_again else decode(body.value, body.headers)
            return Derived(framed, body, inner if isinstance(inner, (Action, Rejected)) else _no_action())
        action = _decode_action(framed.body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return _refusal(str(error), bytes(framed.body))
    assert isinstance(framed, SignedStaff)
    if not action.staff:
        return Rejected(Reason.INVALID, "$.body.action", "only staff actions come in a staff record", action.source)
    if action.operator == action.approved_by:
        return Rejected(Reason.ONE_PERSON, "$.body.approved_by", "two different people are needed", action.source)
    if pointer := _phone_in(action):
        return _is_personal(action, pointer.replace("$", "$.body", 1))
    if wrong := nonsense(action):
        return _refused(wrong.reason, wrong.pointer.replace("$", "$.body", 1), wrong.detail, bytes(framed.body))
    return Staff(framed, action)


def _no_action() -> Rejected:
    return Rejected(Reason.STRAY, "$.body.value", "only actions are forwarded")


def _cloud_event(headers: Headers) -> str:
    """`structured`, `binary`, or "" for a record that is no CloudEvent."""
    names = {name.lower(): content or b"" for name, content in headers}
    if names.get("content-type", b"").lower().startswith(b"application/cloudevents+json"):
        return "structured"
    return "binary" if "ce_id" in names else ""


def _decode_cloud_event(form: str, value: bytes, headers: Headers) -> Decoded:
    try:
        attributes, data = _structured(value) if form == "structured" else _binary(value, headers)
        if beyond := personal.found({name: text for name, text in attributes.items() if name not in NOT_LOOKED_AT}):
            return Rejected(Reason.PERSONAL, beyond, _PERSONAL, _clean_source(attributes))
        if not str(attributes.get("specversion", SPEC)).startswith(SPEC):
            return _refused(Reason.INVALID, "$.specversion", "CloudEvents 1.x are read", value)
        action = msgspec.convert(_event(attributes, data), AnyAction)
    except (msgspec.MsgspecError, UnicodeDecodeError, binascii.Error) as error:
        return _refusal(str(error), value)
    pointer = _phone_in(action)
    return _is_personal(action, pointer) if pointer else _checked(action, value)


def _clean_source(attributes: dict[str, Any]) -> str:
    source = str(attributes.get("source", ""))
    return "" if looks_like_phone(source) else source[:64]


def _structured(value: bytes) -> tuple[dict[str, Any], Any]:
    envelope = msgspec.json.decode(value, type=dict[str, Any])
    data, encoded = envelope.pop("data", None), envelope.pop("data_base64", None)
    return envelope, _decode_base64(encoded) if data is None and encoded is not None else data


def _decode_base64(text: Any) -> Any:
    """JSON inside base64, whose nesting nobody has counted yet."""
    if not isinstance(text, str) or not text.isascii():
        raise msgspec.ValidationError("Expected base64 - at `$.data_base64`")
    data = base64.b64decode(text, validate=True)
    if too_deep(data):
        raise msgspec.ValidationError(f"Nested deeper than {DEPTH_MAX} - at `$.data_base64`")
    return msgspec.json.decode(data)


def _binary(value: bytes, headers: Headers) -> tuple[dict[str, Any], Any]:
    attributes = {
        name.lower()[3:]: (content or b"").decode() for name, content in headers if name.lower().startswith("ce_")
    }
    return attributes, msgspec.json.decode(value) if value else {}


def _event(attributes: dict[str, Any], data: Any) -> dict[str, Any]:
    """CloudEvents attributes under our names: id, source, subject, the last part of type, time."""
    if not isinstance(data, dict):
        raise msgspec.ValidationError("Expected `object` - at `$.data`")
    named = {
        "event_id": attributes.get("id"),
        "source": attributes.get("source"),
        "member_id": attributes.get("subject"),
        "action": str(attributes.get("type", "")).rpartition(".")[2],
        "occurred_at": attributes.get("time"),
    }
    return data | {key: content for key, content in named.items() if content is not None}
