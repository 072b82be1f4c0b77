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

from schemas.actions import ACTIONS, Action, AnyAction, Profile
from schemas.records import (
    FRAME,
    AnyControl,
    Control,
    Forward,
    Framed,
    Signed,
    SignedControl,
    SignedDerived,
    SignedStaff,
    Tick,
)
from schemas.verdicts import Reason, Rejected

Headers = Sequence[tuple[str, bytes]]

DEPTH_MAX = 32
"""Deeper nesting is refused. Counted in brackets before decoding: the recursion limit depends on the caller's stack."""

RECORD_BYTES_MAX = 256 * 1024

PERSONAL = frozenset(
    """
    name full_name first_name last_name real_name nickname surname phone phone_number mobile mobile_number
    mobile_phone tel telephone cell email mail address id_card id_number passport birth_date wechat wechat_id
    """.split()
)
"""Names of fields that say who somebody is; they are refused as `personal`, and their values are blanked."""

_PHONE = re.compile(r"(?<!\d)(?:\+?86[- ]?)?1[3-9]\d[- ]?\d{4}[- ]?\d{4}(?!\d)")
_ENTRIES = re.compile(rb'"((?:[^"\\]|\\.){1,64})"\s*:\s*("(?:[^"\\]|\\.)*"|[-+.0-9eE]+)')
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]')
_UNKNOWN = re.compile(r"unknown field `([^`]*)`(?: - at `([^`]*)`)?")
_AT = re.compile(r" - at `([^`]*)`")

_decode_action = msgspec.json.Decoder(AnyAction).decode
_decode_framed = msgspec.json.Decoder(Framed).decode
_decode_control = msgspec.json.Decoder(AnyControl).decode
_decode_forward = msgspec.json.Decoder(Forward).decode


class Staff(msgspec.Struct, frozen=True):
    """A staff action and the envelope it came in; the signature is not yet judged."""

    envelope: SignedStaff
    action: Action


class Derived(msgspec.Struct, frozen=True):
    """A derived record and its envelope; the signature is not yet judged. `action` is what it forwards."""

    envelope: SignedDerived
    body: Forward
    action: Action | Rejected


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
    if value is None or len(value) > RECORD_BYTES_MAX:
        return Rejected(Reason.TOO_BIG if value else Reason.NOT_JSON, detail=f"{len(value or b'')} bytes")
    if value.count(b"{") + value.count(b"[") > DEPTH_MAX and depth(value) > DEPTH_MAX:
        return Rejected(Reason.TOO_DEEP, detail=f"nested deeper than {DEPTH_MAX}", source=_source(value))
    if headers and (form := _cloud_event(headers)):
        return _decode_cloud_event(form, value, headers)
    if value.startswith(FRAME):
        return _decode_frame(value)
    try:
        action = _decode_action(value)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return _refusal(str(error), value)
    return _checked(action, value)


def depth(value: bytes) -> int:
    """How deep brackets nest outside of strings."""
    level = deepest = 0
    for match in _BRACKETS.finditer(value):
        token = match.group()
        if token in b"[{":
            level += 1
            deepest = max(deepest, level)
        elif token in b"]}":
            level -= 1
    return deepest


def blank(value: bytes) -> bytes:
    """The same text with the values of personal fields and everything that looks like a phone number blanked."""

    def hide(match: re.Match[bytes]) -> bytes:
        personal = match.group(1).decode(errors="replace").lower() in PERSONAL
        return b'"' + match.group(1) + b'":"***"' if personal else match.group()

    text = _ENTRIES.sub(hide, value).decode(errors="replace")
    return _PHONE.sub("***", text).encode()


def looks_like_phone(text: str) -> bool:
    """Whether a string holds a raw mobile number."""
    return _PHONE.search(text) is not None


def _checked(action: Action, value: bytes) -> Action | Rejected:
    """The rules that need no state and no programme, beyond types."""
    if isinstance(action, Profile):
        for part, pairs in (("attributes", action.attributes), ("dates", action.dates)):
            for key, content in (pairs or {}).items():
                if key.lower() in PERSONAL or (
                    isinstance(content, (str, int)) and looks_like_phone(str(content))
                ):
                    return Rejected(
                        Reason.PERSONAL, f"$.{part}", "personal data is never accepted", action.source
                    )
        if action.home_region and looks_like_phone(action.home_region):
            return Rejected(
                Reason.PERSONAL, "$.home_region", "personal data is never accepted", action.source
            )
    if action.staff:
        return Rejected(
            Reason.UNSIGNED, "$.action", "staff actions come signed, from `memberflow`", action.source
        )
    return action


def _refusal(text: str, value: bytes) -> Rejected:
    """msgspec's words as a reason and a pointer."""
    source = _source(value)
    if unknown := _UNKNOWN.search(text):
        pointer = f"{unknown.group(2) or '$'}.{unknown.group(1)}"
        if unknown.group(1).lower() in PERSONAL:
            return Rejected(Reason.PERSONAL, pointer, "personal data is never accepted", source)
        return Rejected(Reason.UNKNOWN_FIELD, pointer, "no such field; see the schema of this action", source)
    at = _AT.search(text)
    pointer = at.group(1) if at else "$"
    detail = _AT.sub("", text)[:200]
    if pointer == "$.action" or text.startswith("Object missing required field `action`"):
        return Rejected(Reason.UNKNOWN_ACTION, "$.action", f"known: {', '.join(ACTIONS)}", source)
    if "malformed" in text or "truncated" in text or "utf-8" in text.lower() or "JSON" in text:
        return Rejected(Reason.NOT_JSON, pointer, detail, source)
    if _ENTRIES.search(value) and any(
        k.decode(errors="replace").lower() in PERSONAL - {"name"} for k, _ in _ENTRIES.findall(value)
    ):
        return Rejected(Reason.PERSONAL, pointer, "personal data is never accepted", source)
    return Rejected(Reason.INVALID, pointer, detail, source)


def _source(value: bytes) -> str:
    """The sender's name in bytes that could not be decoded, for the count per source; "" when there is none."""
    for key, content in _ENTRIES.findall(value[:4096]):
        if key == b"source":
            name: bytes = content
            return name.strip(b'"').decode(errors="replace")[:64]
    return ""


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
            body = _decode_forward(framed.body)
            inner = decode(body.value, body.headers)
            return Derived(framed, body, inner if isinstance(inner, (Action, Rejected)) else _no_action())
        action = _decode_action(framed.body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return _refusal(str(error), bytes(framed.body))
    assert isinstance(framed, SignedStaff)
    if not action.staff:
        return Rejected(
            Reason.INVALID, "$.body.action", "only staff actions come in a staff record", action.source
        )
    if action.operator == action.approved_by:
        return Rejected(
            Reason.ONE_PERSON, "$.body.approved_by", "two different people are needed", action.source
        )
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
        event = _structured(value) if form == "structured" else _binary(value, headers)
        action = msgspec.convert(event, AnyAction)
    except (msgspec.MsgspecError, UnicodeDecodeError, binascii.Error) as error:
        return _refusal(str(error), value)
    return _checked(action, value)


def _structured(value: bytes) -> dict[str, Any]:
    envelope = msgspec.json.decode(value, type=dict[str, Any])
    data = envelope.get("data")
    if data is None and "data_base64" in envelope:
        data = msgspec.json.decode(base64.b64decode(str(envelope["data_base64"]), validate=True))
    return _event(envelope, data)


def _binary(value: bytes, headers: Headers) -> dict[str, Any]:
    attributes = {
        name.lower()[3:]: (content or b"").decode()
        for name, content in headers
        if name.lower().startswith("ce_")
    }
    return _event(attributes, msgspec.json.decode(value) if value else {})


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
