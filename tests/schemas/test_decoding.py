"""Bad input is a value that says why: whatever the bytes, at any depth of the stack, and nothing personal is kept."""

import base64
import inspect
import json
import re
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.actions import ACTIONS, Action, CheckIn, Profile
from schemas.decoding import CHECKED, Controlled, Derived, NotUnderstood, Staff, blank, decode
from schemas.nesting import DEPTH_MAX, depth
from schemas.personal import blank_beside
from schemas.records import FRAME, Tick
from schemas.verdicts import Reason, Rejected
from tests.schemas.golden import golden
from tests.schemas.sent import GOOD, NESTED, STAFF, envelope, record, with_text

FRAMED = (Tick, Staff, Derived, Controlled, NotUnderstood)
STRUCTURED = (("content-type", b"application/cloudevents+json"),)
BINARY = (("ce_id", b"e-1"), ("ce_source", b"app"), ("ce_type", b"x.check_in"), ("ce_time", b"2026-11-20T11:30:00Z"))
ADJUSTED_BY_NOTHING: list[tuple[dict[str, Any], str]] = [
    ({"kind": "points"}, "points"),
    ({"kind": "points", "points": 0}, "points"),
    ({"kind": "release"}, "hold_id"),
    ({"kind": "release", "refers_to": "o-1"}, "hold_id"),
    ({"kind": "reverse"}, "hold_id"),
    ({"kind": "reverse", "points": 5}, "hold_id"),
    ({"kind": "undo_batch"}, "batch_id"),
    ({"kind": "undo_batch", "row": 1}, "batch_id"),
    ({"kind": "points", "points": 5, "row": 1}, "batch_id"),
    ({"kind": "points", "points": 5, "batch_id": "b-1"}, "row"),
]

TABLE: list[tuple[str, bytes | None, Reason, str]] = [
    ("no value", None, Reason.NOT_JSON, "$"),
    ("empty", b"", Reason.NOT_JSON, "$"),
    ("text", b"hello", Reason.NOT_JSON, "$"),
    ("cut off", record()[:-20], Reason.NOT_JSON, "$"),
    ("two objects", record() + record(), Reason.NOT_JSON, "$"),
    ("byte order mark", b"\xef\xbb\xbf" + record(), Reason.NOT_JSON, "$"),
    ("utf-16", record().decode().encode("utf-16"), Reason.NOT_JSON, "$"),
    ("broken utf-8", record(region="X").replace(b'"X"', b'"\xff"'), Reason.NOT_JSON, "$"),
    ("pickle", b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94.", Reason.NOT_JSON, "$"),
    ("NaN", with_text(b'"name":"x","value":NaN', "custom"), Reason.NOT_JSON, "$"),
    ("Infinity", with_text(b'"name":"x","value":Infinity', "custom"), Reason.NOT_JSON, "$"),
    ("too large a float", with_text(b'"name":"x","value":1e999', "custom"), Reason.INVALID, "$.value"),
    ("huge integer", with_text(b'"score":' + b"9" * 5000, "nps"), Reason.INVALID, "$.score"),
    ("integer beyond 64 bits", with_text(b'"score":18446744073709551617', "nps"), Reason.INVALID, "$.score"),
    ("high surrogate alone", record(region="X").replace(b'"X"', b'"\\ud800"'), Reason.NOT_JSON, "$"),
    ("low surrogate alone", record(region="X").replace(b'"X"', b'"\\udc00"'), Reason.NOT_JSON, "$"),
    ("surrogate in utf-8", record(region="X").replace(b'"X"', b'"\xed\xa0\x80"'), Reason.NOT_JSON, "$"),
    ("900 arrays", NESTED, Reason.TOO_DEEP, "$"),
    ("900 arrays in a field", with_text(b'"x":' + NESTED), Reason.TOO_DEEP, "$"),
    ("900 objects, never closed", b'{"a":' * 900, Reason.TOO_DEEP, "$"),
    ("one level too many", b"[" * (DEPTH_MAX + 1) + b"]" * (DEPTH_MAX + 1), Reason.TOO_DEEP, "$"),
    ("1 MB", record(region="x" * 1_000_000), Reason.TOO_BIG, "$"),
    ("a list", b"[]", Reason.INVALID, "$"),
    ("a number", b"7", Reason.INVALID, "$"),
    ("null", b"null", Reason.INVALID, "$"),
    ("no action", record(action=None), Reason.UNKNOWN_ACTION, "$.action"),
    ("an action nobody knows", record(action="buy"), Reason.UNKNOWN_ACTION, "$.action"),
    ("an action that is no text", record(action=7), Reason.UNKNOWN_ACTION, "$.action"),
    ("misspelt field", record(amuont=5), Reason.UNKNOWN_FIELD, "$.amuont"),
    ("field of another action", record(score=5), Reason.UNKNOWN_FIELD, "$.score"),
    ("no member", record(member_id=None), Reason.INVALID, "$"),
    ("empty member", record(member_id=""), Reason.INVALID, "$.member_id"),
    ("long member", record(member_id="m" * 129), Reason.INVALID, "$.member_id"),
    ("member as a number", record(member_id=1024), Reason.INVALID, "$.member_id"),
    ("time without a zone", record(occurred_at="2026-11-20T19:30:00"), Reason.INVALID, "$.occurred_at"),
    ("time as a number", record(occurred_at=1796), Reason.INVALID, "$.occurred_at"),
    ("day that is none", record(occurred_at="2026-02-30T00:00:00Z"), Reason.INVALID, "$.occurred_at"),
    ("birthday with a year", record(action="profile", birthday="1990-03-08"), Reason.INVALID, "$.birthday"),
    *[
        (f"birthday {day!r}", record(action="profile", birthday=day), Reason.INVALID, "$.birthday")
        for day in ("02-30", "02-31", "04-31", "06-31", "09-31", "11-31", "13-01", "01-00", "01-32", "03-08\n", "")
    ],
    *[
        (f"zone {zone!r}", record(action="profile", zone=zone), Reason.INVALID, "$.zone")
        for zone in ("somewhere", "UTC+8", "asia/shanghai", "localtime", "right/UTC", "../UTC", "")
    ],
    *[
        (f"dear date {day!r}", record(action="profile", dates={"wedding": day}), Reason.INVALID, "$.dates[...]")
        for day in ("2026-02-30", "2025-02-29", "2026-13-01", "0000-01-01", "08-03-2026", "2019-05-20\n", "")
    ],
    ("profile that says nothing", record(action="profile"), Reason.INVALID, "$"),
    ("profile of empty parts", record(action="profile", home_region="", need="", dates={}, attributes={}),
     Reason.INVALID, "$"),
    ("redeem for nothing", record(action="redeem", redeem_id="r", points=100), Reason.INVALID, "$.reward"),
    ("redeem for empty texts", record(action="redeem", redeem_id="r", points=100, reward="", order_id=""),
     Reason.INVALID, "$.reward"),
    ("redeem of no points", record(action="redeem", redeem_id="r", points=0, reward="cup"), Reason.INVALID, "$.points"),
    ("a hash with more", record(action="profile", phone_hash="9f86d081884c7d65\n"), Reason.INVALID, "$.phone_hash"),
    ("a masked phone with more", record(action="profile", phone_masked="138****1234\n"),
     Reason.INVALID, "$.phone_masked"),
    *[
        (f"{status} is not for others to say",
         record(action="outreach_feedback", contact_id="c-1", status=status), Reason.UNSIGNED, "$.status")
        for status in ("sent", "expired")
    ],
    *[
        (f"adjust that says too little: {fields}",
         envelope("staff", record(**STAFF | {"action": "adjust"} | fields)), Reason.INVALID, f"$.body.{pointer}")
        for fields, pointer in ADJUSTED_BY_NOTHING
    ],
    *[
        (f"staff without {field}", envelope("staff", record(**STAFF | {field: ""})), Reason.INVALID, f"$.{field}")
        for field in ("reason", "operator", "approved_by")
    ],
    ("merged into oneself", envelope("staff", record(**STAFF | {"action": "merge", "from_member_id": "m-1024"})),
     Reason.INVALID, "$.body.from_member_id"),
    ("unknown record of our own", FRAME + b'"boss"}', Reason.INVALID, "$.record"),
    ("staff action, plain", record(**STAFF), Reason.UNSIGNED, "$.action"),
    ("staff action by one person", envelope("staff", record(**STAFF | {"approved_by": "op-1"})),
     Reason.ONE_PERSON, "$.body.approved_by"),
    ("member's action as staff", envelope("staff", record()), Reason.INVALID, "$.body.action"),
    ("control as an action", b'{"control":"go_live","id":"x","number":1,"by":"me"}', Reason.UNKNOWN_ACTION, "$.action"),
    ("control without a signature", b'{"record":"control","body":{}}', Reason.INVALID, "$"),
    ("derived that is none", envelope("derived", b'{"derived":"gift"}'), Reason.INVALID, "$.derived"),
    ("echo of nobody", envelope("derived", b'{"derived":"echo","cause":["l",0,0,0],"member_id":"m","kind":"like"}'),
     Reason.INVALID, "$"),
    ("referral of another kind", envelope("derived", b'{"derived":"referral","cause":["l",0,0,0],"member_id":"m",'
     b'"invited_member_id":"n","kind":"paid"}'), Reason.INVALID, "$.kind"),
    ("award of place 0", envelope("derived", b'{"derived":"award","member_id":"m","board":"b","period":"week","at":3,'
     b'"place":0,"value":1}'), Reason.INVALID, "$.place"),
    ("feedback that the dispatcher does not give", envelope("derived", b'{"derived":"outreach_feedback",'
     b'"member_id":"m","source":"d","contact_id":"c","status":"clicked"}'), Reason.INVALID, "$.status"),
    ("tick with more", b'{"record":"tick","now":5}', Reason.UNKNOWN_FIELD, "$.now"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "reason", "pointer"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_bad_input_is_refused_with_a_reason_and_a_place(value: bytes | None, reason: Reason, pointer: str) -> None:
    refused = decode(value)
    assert isinstance(refused, Rejected), refused
    assert (refused.reason, refused.pointer) == (reason, pointer)
    assert refused.detail
    assert len(refused.detail) < 1000


ACCEPTED: list[tuple[str, dict[str, Any]]] = [
    ("profile", {"birthday": "02-29"}),
    ("profile", {"birthday": "12-31"}),
    ("profile", {"zone": "America/Argentina/Buenos_Aires"}),
    ("profile", {"dates": {"wedding": "2024-02-29"}}),
    ("profile", {"attributes": {"skin": None}}),
    ("profile", {"phone_masked": "138****1234"}),
    ("redeem", {"redeem_id": "r", "points": 1, "reward": "cup"}),
    ("redeem", {"redeem_id": "r", "points": 1, "order_id": "o" * 128}),
    ("join", {"referrer_id": "m" * 128}),
    ("like", {"item_id": "i", "author_id": "m" * 128}),
    *[
        ("outreach_feedback", {"contact_id": "c", "status": status})
        for status in ("delivered", "opened", "clicked", "failed")
    ],
]


@pytest.mark.parametrize(("action", "fields"), ACCEPTED)
def test_what_makes_sense_is_accepted(action: str, fields: dict[str, Any]) -> None:
    """An id that refers to something may be as long as the id itself."""
    assert isinstance(decode(record(action=action, **fields)), ACTIONS[action])


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "points", "points": -5},
        {"kind": "points", "points": 5, "batch_id": "b", "row": 0},
        {"kind": "release", "hold_id": "h"},
        {"kind": "reverse", "hold_id": "h"},
        {"kind": "reverse", "refers_to": "o-1"},
        {"kind": "undo_batch", "batch_id": "b"},
    ],
)
def test_an_adjust_that_says_what_to_do_is_accepted(fields: dict[str, Any]) -> None:
    assert isinstance(decode(envelope("staff", record(**STAFF | {"action": "adjust"} | fields))), Staff)


def test_what_makes_no_sense_is_refused_in_every_form() -> None:
    """As a CloudEvent, and inside of a forward; and what is personal in it is not kept."""
    data = {"redeem_id": "r", "points": 5}
    event = {"id": "e", "source": "app", "subject": "m", "type": "x.redeem", "time": "2026-11-20T11:30:00Z"}
    packed = decode(json.dumps(event | {"data": data}).encode(), STRUCTURED)
    assert isinstance(packed, Rejected)
    assert packed.pointer == "$.reward"
    body = {"derived": "forward", "cause": ["l", 0, 0, 0], "member_id": "m", "value": record(action="redeem", **data)}
    forwarded = decode(envelope("derived", msgspec.json.encode(body)))
    assert isinstance(forwarded, Derived)
    assert isinstance(forwarded.action, Rejected)
    personal = decode(record(action="redeem", **data, device_id="13800138000"))
    assert isinstance(personal, Rejected)
    assert personal.reason is Reason.PERSONAL


def test_what_is_sent_most_costs_no_look_beyond_its_types() -> None:
    assert not CHECKED & {ACTIONS[name] for name in ("login", "check_in", "message", "share", "purchase")}


@pytest.mark.parametrize(
    "attributes",
    [
        {"skin": "dry"},
        {"spend": 138001},
        {"order": "2013800138000123"},
        {"at": 1_796_083_200_000},
        {"masked": "138****1234"},
    ],
)
def test_what_only_resembles_personal_data_is_accepted(attributes: dict[str, Any]) -> None:
    assert isinstance(decode(record(action="profile", attributes=attributes)), Profile)


def test_a_custom_action_may_have_a_name() -> None:
    refused = decode(record(action="custom", name="photo", value="much"))
    assert isinstance(refused, Rejected)
    assert refused.reason is Reason.INVALID


def test_a_senders_name_that_is_a_phone_is_no_label() -> None:
    refused = decode(record(source="13800138000", amuont=5))
    assert isinstance(refused, Rejected)
    assert (refused.reason, refused.source) == (Reason.PERSONAL, "")


def test_a_phone_in_the_key_or_a_header_is_blanked_and_nothing_else() -> None:
    key, headers = blank_beside(b"13800138000", (("ce_subject", b"13800138000"), ("x", b"\xff"), ("13800138000", b"")))
    assert (key, headers) == (b"***", (("ce_subject", b"***"), ("x", b"\xff"), ("***", b"")))
    assert blank_beside(b"m-1", ()) == (b"m-1", ())
    assert blank_beside(None, ()) == (None, ())


def test_a_forged_control_record_is_left_to_its_signature() -> None:
    known = decode(envelope("control", b'{"control":"go_live","id":"x","number":1,"by":"me","approved_by":"you"}'))
    assert isinstance(known, Controlled)
    unknown = decode(envelope("control", b'{"control":"abolish","id":"x"}'))
    assert isinstance(unknown, NotUnderstood)


# -- CloudEvents --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "reason", "pointer"),
    [
        ([1], Reason.INVALID, "$"),
        ({}, Reason.INVALID, "$.data"),
        ({"id": "1", "data": "text"}, Reason.INVALID, "$.data"),
        ({"id": "1", "data": {}}, Reason.UNKNOWN_ACTION, "$.action"),
        ({"id": "1", "type": "x.check_in", "data": {}}, Reason.INVALID, "$"),
        ({"id": "1", "data_base64": "é"}, Reason.INVALID, "$.data_base64"),
        ({"id": "1", "data_base64": 5}, Reason.INVALID, "$.data_base64"),
        ({"id": "1", "data_base64": "a"}, Reason.INVALID, "$"),
        ({"id": "1", "data_base64": base64.b64encode(NESTED).decode()}, Reason.INVALID, "$.data_base64"),
        ({"id": "1", "data_base64": base64.b64encode(b"{").decode()}, Reason.NOT_JSON, "$"),
        ({"id": 5, "source": "app", "type": "x.check_in", "data": {}}, Reason.INVALID, "$.event_id"),
        ({"id": "1", "type": "x.check_in", "data": {"phone": "13800138000"}}, Reason.PERSONAL, "$.data.phone"),
        ({"id": "1", "type": "x.check_in", "data": {"level": 5}}, Reason.UNKNOWN_FIELD, "$.level"),
    ],
)
def test_a_bad_structured_event_is_refused(event: Any, reason: Reason, pointer: str) -> None:
    refused = decode(json.dumps(event).encode(), STRUCTURED)
    assert isinstance(refused, Rejected), refused
    assert (refused.reason, refused.pointer) == (reason, pointer)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ((("ce_id", b"\xff"),), Reason.NOT_JSON),
        ((("ce_id", None),), Reason.UNKNOWN_ACTION),
        ((("ce_id", b"e-1"), ("ce_type", b"check_in")), Reason.INVALID),
    ],
)
def test_bad_headers_of_a_binary_event_are_refused(headers: Any, reason: Reason) -> None:
    refused = decode(b"{}", headers)
    assert isinstance(refused, Rejected)
    assert refused.reason is reason


def test_other_headers_change_nothing() -> None:
    headers = (("traceparent", b"00-4bf9-00f0-01"), ("content-type", b"application/json"), ("x", None))
    assert decode(record(), headers) == decode(record())  # type: ignore[arg-type]


def test_data_in_base64_is_the_same_event() -> None:
    data = {"region": "east"}
    event = {"id": "e-1", "source": "app", "subject": "m", "type": "x.check_in", "time": "2026-11-20T11:30:00Z"}
    plain = decode(json.dumps(event | {"data": data}).encode(), STRUCTURED)
    packed = base64.b64encode(json.dumps(data).encode()).decode()
    assert isinstance(plain, CheckIn)
    assert decode(json.dumps(event | {"data_base64": packed}).encode(), STRUCTURED) == plain


# -- the stack, and time --------------------------------------------------------------------------------------------


def shown(answer: object) -> str:
    return re.sub("0x[0-9a-f]+", "", str(answer))


def at_depth(frames: int, call: Callable[[], Any]) -> Any:
    return call() if frames == 0 else at_depth(frames - 1, call)


@pytest.mark.parametrize("left", [900, 600, 300, 100, 60])
def test_the_answer_does_not_depend_on_the_depth_of_the_stack(left: int) -> None:
    """With this many frames left of the recursion limit. A worker has over 900."""
    frames = max(0, sys.getrecursionlimit() - len(inspect.stack(0)) - left)
    deepest = with_text(b'"x":' + b"[" * (DEPTH_MAX - 1) + b"]" * (DEPTH_MAX - 1))
    inner = base64.b64encode(NESTED)
    derived = b'{"derived":"forward","cause":["l",0,0,0],"member_id":"m","value":"%b"}' % inner
    values = [NESTED, deepest, record(), with_text(b'"x":' + NESTED), with_text(b'"name":' + deepest)]
    values += [envelope("derived", derived), envelope("control", NESTED)]
    for value in values:
        assert shown(at_depth(frames, partial(decode, value))) == shown(decode(value))
        assert at_depth(frames, partial(blank, value)) == blank(value)


def test_a_forward_of_a_forward_is_not_unpacked() -> None:
    value = record()
    for _ in range(5):
        body = {"derived": "forward", "cause": ["l", 0, 0, 0], "member_id": "m", "value": value}
        value = envelope("derived", msgspec.json.encode(body))
    unpacked = decode(value)
    assert isinstance(unpacked, Derived)
    assert isinstance(unpacked.action, Rejected)


@pytest.mark.parametrize(
    "value",
    [
        b"[" * 40 + b'"' + b'\\"' * 125_000,
        b"[" * 40 + b'"\\\n' * 80_000,
        b'{"source":"' + b'\\"' * 125_000,
        b'{"source"' + b" " * 250_000,
        b'{"a"' + b" " * 1000 + b'"a" ' * 60_000,
        b'"a":' * 60_000,
        b'{"' + b"\\" * 250_000,
        b'{"a":"' + b"1" * 250_000,
        b'{"a":"' + b"138-0013-" * 27_000,
        b"{" + b'"name":' * 35_000,
    ],
    ids=range(10),
)
def test_no_text_makes_the_decoder_slow(value: bytes) -> None:
    """Seconds, not minutes, on a busy machine: each of these was or would be quadratic."""
    began = time.process_time()
    assert isinstance(decode(value), Rejected)
    blank(value)
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("text", "levels"), [(b"", 0), (b"[]", 1), (b'{"a":[{}]}', 3), (b'"[[["', 0), (b'["\\"[["]', 1), (b'["[[', 1)]
)
def test_brackets_inside_of_text_do_not_count(text: bytes, levels: int) -> None:
    assert depth(text) == levels


# -- whatever the bytes --------------------------------------------------------------------------------------------

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("13800138000")
FIELDS = st.sampled_from(
    [*GOOD, "amount", "order_id", "attributes", "name", "phone", "lines", "record", "body", "data"]
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS | st.text(max_size=8), inner, max_size=4),
)
OBJECTS = st.dictionaries(FIELDS, JSON, max_size=6).map(
    lambda changes: json.dumps(GOOD | changes | {"action": changes.get("action", "profile")}).encode()
)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["content-type", "ce_id", "ce_type", "CE_SOURCE", "ce_time", "ce_subject", "x"]),
        st.none() | st.binary(max_size=12) | st.sampled_from([b"application/cloudevents+json", b"x.purchase"]),
    ),
    max_size=4,
)
WHOLE = st.sampled_from([it.value for it in golden("member.actions")])


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A golden message with a few bytes replaced, taken out or put in."""
    value = bytearray(draw(WHOLE))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(value)))
        value[start : start + draw(st.integers(0, 6))] = draw(
            st.binary(max_size=6) | st.sampled_from([b'"', b"\\", b"{", b"]", b"\\ud800", b"NaN", b"9" * 30, b"\xff"])
        )
    return bytes(value)


@settings(max_examples=400, deadline=None)
@given(
    value=st.binary(max_size=200) | OBJECTS | JSON.map(lambda it: json.dumps(it).encode()) | damaged(), headers=HEADERS
)
@example(value=b'{"id":"1","data_base64":"\\u00e9"}', headers=[("content-type", b"application/cloudevents+json")])
def test_whatever_the_bytes_the_answer_is_an_action_or_a_refusal(value: bytes, headers: Any) -> None:
    answer = decode(value, headers)
    assert isinstance(answer, (Action, Rejected, *FRAMED))
    if isinstance(answer, Rejected):
        assert answer.reason in Reason
        f"{answer.pointer}{answer.detail}{answer.source}".encode(errors="replace")
        blank(value)
    if isinstance(answer, Action):
        assert answer.member_id.encode()
        assert msgspec.json.decode(msgspec.json.encode(answer), type=ACTIONS[type(answer).__struct_config__.tag]) == (  # type: ignore[index]
            answer
        )
