"""Names and raw phone numbers never enter: refused wherever they stand, told without their value, and blanked."""

from __future__ import annotations

import json

import pytest

from schemas.actions import ACTIONS
from schemas.decoding import blank, decode
from schemas.personal import blank_beside
from schemas.verdicts import Reason, Rejected
from tests.schemas.sent import NESTED, STAFF, envelope, record, with_text

STRUCTURED = (("content-type", b"application/cloudevents+json"),)
PHONES = (
    "008613800138000", "013800138000", "138.0013.8000", "138  0013 8000", "+86 (138)00138000", "+8613800138000",
    "010-62345678", "0755 12345678", "+1 415 555 0100", "+44 (20) 7946 0958",
)  # fmt: skip
NO_PHONES = (
    "2026-11-29T07:50:00+08:00", "123456789012345", "20261129-12345678", "+8 points", "0012-3456789", "9138001380009",
)  # fmt: skip
NAMED = (
    "customer_name", "contactName", "display_name", "nick", "contact", "mobile1", "phone_2", "tel2", "email2",
    "homePhone", "address_line1", "receiver_mobile", "ID-Number", "wx", "qq",
    "真实姓名", "昵称", "收货人", "联系电话", "手机号2", "手机号码", "常用地址", "身份证号",
)  # fmt: skip
NOT_NAMED = (
    "skin_type", "shop_name", "campaign_name", "member_id", "user_id", "phone_hash", "mobile_app_version",
    "email_opt_in", "contact_count", "telemetry", "city", "number", "nickel", "肤质", "手机型号", "电话回访次数",
)  # fmt: skip
WIDE = "".join(chr(ord(digit) + 0xFEE0) for digit in "13800138000")
PERSONAL: list[tuple[str, bytes, str]] = [
    ("a name", record(name="Li Lei"), "Li Lei"),
    ("a phone", record(phone="13800138000"), "13800138000"),
    ("a phone under a name of its own", record(handset="13800138000"), "13800138000"),
    ("a phone as a number", record(handset=13800138000), "13800138000"),
    ("a phone with a country", record(x="call +86 138-0013-8000 now"), "138-0013-8000"),
    ("a phone as a field's name", record(**{"13800138000": 1}), "13800138000"),
    ("camel case", record(phoneNumber="none"), "none"),
    ("Chinese", record(手机号="无码"), "无码"),
    ("an escaped field", with_text(b'"n\\u0061me":"Li Lei"'), "Li Lei"),
    ("deep inside", record(x={"y": [{"realName": {"first": "Lei"}}]}), "Lei"),
    ("a list of them", record(phones=["none"], mobile=["13800138000", 5]), "13800138000"),
    ("behind another mistake", record(amuont=5, email="lei@example.com"), "lei@example.com"),
    ("beside a wrong value", record(member_id="", real_name="Li Lei"), "Li Lei"),
    ("beside an unknown action", record(action="buy", wechat_id="lilei"), "lilei"),
    ("cut off", record(name="Li Lei")[:-1], "Li Lei"),
    ("cut off within a list", record(name=["Li Lei", "Han Mei"])[:-3], "Li Lei"),
    ("broken and with a phone", b'{"note":"13800138000', "13800138000"),
    ("too deep", with_text(b'"name":"Li Lei","x":' + NESTED), "Li Lei"),
    ("too big", record(region="x" * 300_000, name="Li Lei"), "Li Lei"),
    ("attribute", record(action="profile", attributes={"name": "Li Lei"}), "Li Lei"),
    ("attribute in camel case", record(action="profile", attributes={"realName": "Li Lei"}), "Li Lei"),
    ("another member's", record(action="join", referrer_id="13800138000"), "13800138000"),
    ("another member's, in lines", record(action="join", referrer_id="a\n13800138000"), "13800138000"),
    ("an author's", record(action="like", item_id="i", author_id="13800138000"), "13800138000"),
    (
        "theirs who is answered",
        record(action="message", kind="answer", reply_to={"event_id": "e", "member_id": "13800138000"}),
        "13800138000",
    ),
    ("in wide digits", record(action="profile", attributes={"x": WIDE}), WIDE),
    ("phone in an attribute", record(action="profile", attributes={"x": "13800138000"}), "13800138000"),
    ("phone as a number in an attribute", record(action="profile", attributes={"x": 13800138000}), "13800138000"),
    ("phone as an attribute's name", record(action="profile", attributes={"13800138000": True}), "13800138000"),
    ("personal date", record(action="profile", dates={"birth_date": "1990-03-08"}), "1990-03-08"),
    ("phone as the home region", record(action="profile", home_region="13800138000"), "13800138000"),
    ("raw phone as the masked one", record(action="profile", phone_masked="13800138000"), "13800138000"),
    ("staff", envelope("staff", record(**STAFF, phone="13800138000")), "13800138000"),
    ("where staff are", envelope("staff", record(**STAFF | {"region": "13800138000"})), "13800138000"),
    *[
        (f"a phone as the {field}", record(**{field: "13800138000"}), "13800138000")
        for field in ("source", "region", "channel", "device_id")
    ],
    *[(f"a phone in the {field}", record(**{field: "a 13800138000"}), "13800138000") for field in ("source", "region")],
    *[
        (f"{said} in an attribute", record(action="profile", attributes={"note": f"at {said}"}), said)
        for said in PHONES
    ],
    *[
        (f"{field} of an attribute", record(action="profile", attributes={field: "Canary"}), "Canary")
        for field in NAMED
    ],
]


@pytest.mark.parametrize(("value", "canary"), [row[1:] for row in PERSONAL], ids=[row[0] for row in PERSONAL])
def test_what_is_personal_is_refused_told_without_its_value_and_blanked(value: bytes, canary: str) -> None:
    refused = decode(value)
    assert isinstance(refused, Rejected), refused
    assert refused.reason is Reason.PERSONAL
    assert canary not in f"{refused.pointer} {refused.detail} {refused.source}"
    assert canary.encode() not in blank(value)
    assert canary not in json.dumps(blank(value).decode(), ensure_ascii=True)


@pytest.mark.parametrize("field", NOT_NAMED)
def test_a_field_that_only_looks_like_one_of_a_person_is_accepted(field: str) -> None:
    assert isinstance(decode(record(action="profile", attributes={field: "x"})), ACTIONS["profile"])


@pytest.mark.parametrize("text", NO_PHONES)
def test_a_number_that_is_no_phone_is_accepted(text: str) -> None:
    assert isinstance(decode(record(action="profile", attributes={"note": text})), ACTIONS["profile"])
    for field in ("source", "region", "channel", "device_id"):
        assert isinstance(decode(record(**{field: text})), ACTIONS["check_in"])


def test_a_device_in_hex_is_accepted_whatever_digits_stand_in_it() -> None:
    assert isinstance(decode(record(device_id="4a13800138000bf2")), ACTIONS["check_in"])


EVENT = {"id": "e-1", "source": "app", "subject": "m", "type": "x.check_in", "time": "2026-11-20T11:30:00Z"}
TRACE = "00-4bf13800138000b34da6a3ce929d0e0e-00f067aa0ba902b7-01"
BESIDE = [("customername", "Canary"), ("phone", "none"), ("note", "call 13800138000"), ("姓名", "无")]


@pytest.mark.parametrize(("name", "text"), BESIDE)
def test_what_an_event_carries_beside_its_data_is_looked_at_too(name: str, text: str) -> None:
    structured = decode(json.dumps(EVENT | {name: text, "data": {}}).encode(), STRUCTURED)
    binary = decode(b"{}", tuple((f"ce_{key}", value.encode()) for key, value in (EVENT | {name: text}).items()))
    for refused in (structured, binary):
        assert isinstance(refused, Rejected), refused
        assert (refused.reason, refused.source) == (Reason.PERSONAL, "app")
        assert refused.pointer.startswith("$")
        assert text not in f"{refused.pointer} {refused.detail}"


def test_a_trace_and_the_first_version_are_read_and_no_other_version() -> None:
    for version in ({}, {"specversion": "1.0"}):
        event = EVENT | {"traceparent": TRACE, "data": {}} | version
        assert isinstance(decode(json.dumps(event).encode(), STRUCTURED), ACTIONS["check_in"])
    refused = decode(json.dumps(EVENT | {"specversion": "0.3", "data": {}}).encode(), STRUCTURED)
    assert isinstance(refused, Rejected)
    assert (refused.reason, refused.pointer) == (Reason.INVALID, "$.specversion")


def test_headers_that_say_who_somebody_is_are_blanked_and_traces_stay() -> None:
    headers = (("x-name", b"Li Lei"), ("ce_phone", b"none"), ("traceparent", TRACE.encode()), ("x-shop", b"5"))
    kept = (("x-name", b"***"), ("ce_phone", b"***"), *headers[2:])
    assert blank_beside(None, headers) == (None, kept)
