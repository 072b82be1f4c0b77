"""Golden messages: every example means what it says, and is written again as it was read."""

import json

import msgspec
import pytest

from processors import signature
from schemas import aggregates, boards, contacts, facts
from schemas.actions import ACTIONS, Action, Purchase, name_of
from schemas.dead_letters import read_headers
from schemas.decoding import Controlled, Derived, Staff, decode, looks_like_phone
from schemas.records import AnyControl, AnyDerived, Forward, ProgrammeControl, Signed, Tick
from schemas.tables import AGGREGATES
from schemas.verdicts import Reason
from tests.schemas.golden import EXAMPLES, Golden, buckets, golden, named

ACTIONS_TOPIC = golden("member.actions")
PLAIN = [it for it in ACTIONS_TOPIC if not it.headers and "action" in it.content]
SIGNED = [it for it in ACTIONS_TOPIC if "signature" in it.content]
PROGRAMME = next(it for it in SIGNED if it.name == "control-programme")


def keys(kind: str) -> dict[str, str]:
    found: dict[str, str] = PROGRAMME.content["body"][kind]
    return found


@pytest.mark.parametrize("example", PLAIN, ids=named)
def test_an_action_is_written_again_as_it_was_read(example: Golden) -> None:
    action = decode(example.value)
    assert isinstance(action, Action), action
    assert name_of(action) == example.name
    assert json.loads(msgspec.json.encode(action)) == example.content


def test_every_action_has_an_example_with_all_its_fields() -> None:
    staff = {it.content["body"]["action"]: it.content["body"] for it in SIGNED if it.name.startswith("staff-")}
    shown = {it.name: it.content for it in PLAIN} | staff
    assert shown.keys() == ACTIONS.keys()
    for name, action in ACTIONS.items():
        assert shown[name].keys() == {"action", *action.__struct_fields__}, name


def test_both_forms_of_a_cloud_event_are_the_plain_purchase() -> None:
    by_name = {it.name: decode(it.value, it.headers) for it in ACTIONS_TOPIC}
    assert isinstance(by_name["purchase"], Purchase)
    assert by_name["cloudevents-structured"] == by_name["cloudevents-binary"] == by_name["purchase"]


@pytest.mark.parametrize("example", SIGNED, ids=named)
def test_an_envelope_holds_what_it_says_and_its_signature(example: Golden) -> None:
    record = decode(example.value)
    assert isinstance(record, Staff | Derived | Controlled), record
    assert signature.holds(record.envelope, keys("worker_keys" if isinstance(record, Derived) else "staff_keys"))
    body = record.action if isinstance(record, Staff) else record.body
    assert json.loads(msgspec.json.encode(body)) == example.content["body"]
    assert msgspec.json.encode(record.envelope) == example.value.rstrip(b"\n")


@pytest.mark.parametrize("example", SIGNED, ids=named)
def test_one_changed_byte_breaks_the_signature(example: Golden) -> None:
    record = decode(example.value)
    assert isinstance(record, Staff | Derived | Controlled)
    body = bytes(record.envelope.body)
    forged = msgspec.structs.replace(record.envelope, body=msgspec.Raw(body[:-1] + b" }"))
    assert isinstance(forged, Signed)
    assert not signature.holds(forged, keys("worker_keys") | keys("staff_keys"))


def test_every_control_record_has_an_example() -> None:
    shown = {it.content["body"]["control"] for it in SIGNED if it.name.startswith("control-")}
    assert shown == {kind.__struct_config__.tag for kind in AnyControl.__args__}
    record = decode(PROGRAMME.value)
    assert isinstance(record, Controlled)
    assert isinstance(record.body, ProgrammeControl)
    assert record.body.log


def test_every_derived_record_has_an_example_with_all_its_fields() -> None:
    shown = {body["derived"]: body.keys() for it in SIGNED if "derived" in (body := it.content["body"])}
    kinds = {str(kind.__struct_config__.tag): kind for kind in AnyDerived.__args__}
    assert shown == {name: {"derived", *kind.__struct_fields__} for name, kind in kinds.items()}


def test_a_tick_is_nothing_but_a_time_and_its_writer() -> None:
    tick = next(it for it in ACTIONS_TOPIC if it.name == "tick")
    assert decode(tick.value) == Tick(owner="5d41402abc4b2a76")


def test_a_forwarded_stray_holds_the_original_byte_for_byte() -> None:
    record = decode(next(it for it in SIGNED if it.name == "derived-forward").value)
    assert isinstance(record, Derived)
    assert isinstance(record.body, Forward)
    assert record.action == decode(record.body.value, record.body.headers)
    assert record.body.headers[0][0] == "traceparent"


@pytest.mark.parametrize("example", golden("member.facts"), ids=named)
def test_a_fact_is_written_again_as_it_was_read(example: Golden) -> None:
    fact = facts.decode(example.value)
    assert type(fact).__struct_config__.tag == example.name
    assert json.loads(facts.encode(fact)) == example.content


def test_every_fact_has_an_example_with_all_its_fields() -> None:
    shown = {it.name: it.content.keys() for it in golden("member.facts")}
    assert shown == {kind: {"kind", *fact.__struct_fields__} for kind, fact in facts.KINDS.items()}


@pytest.mark.parametrize("example", buckets(), ids=named)
def test_a_bucket_is_written_again_as_it_was_read(example: Golden) -> None:
    bucket = aggregates.decode(example.value)
    assert bucket.kind == example.name
    assert json.loads(aggregates.encode(bucket)) == example.content


def test_a_calibration_is_written_again_as_it_was_read() -> None:
    (example,) = [it for it in golden("member.aggregates") if it.name not in AGGREGATES]
    assert example.name == "calibration"
    row = aggregates.decode_calibration(example.value)
    assert json.loads(aggregates.encode(row)) == example.content
    assert example.content.keys() == {"kind", *row.__struct_fields__}


@pytest.mark.parametrize("example", golden("member.actions.dlq"), ids=named)
def test_a_dead_letter_says_where_it_stood_and_why_it_was_refused(example: Golden) -> None:
    rejected, topic, partition, offset = read_headers(example.headers)
    assert (rejected.reason, topic, partition) == (Reason(example.name), "member.actions", 3)
    assert offset > 0
    if example.name == "unknown_field":
        assert decode(example.value) == rejected


@pytest.mark.parametrize("example", golden("member.contacts.journal"), ids=named)
def test_an_entry_of_the_journal_is_written_again_as_it_was_read(example: Golden) -> None:
    entry = contacts.decode(example.value)
    assert type(entry).__struct_config__.tag == example.name
    assert json.loads(contacts.encode(entry)) == example.content


@pytest.mark.parametrize("example", golden("member.boards"), ids=named)
def test_a_place_of_a_board_is_written_again_as_it_was_read(example: Golden) -> None:
    assert json.loads(boards.encode(boards.decode(example.value))) == example.content


def test_the_webhook_is_the_body_that_was_planned() -> None:
    (webhook,) = golden("webhook")
    planned = next(it for it in golden("member.contacts.journal") if it.name == "planned")
    assert json.loads(planned.content["body"]) == webhook.content
    assert (
        msgspec.json.encode(msgspec.json.decode(webhook.value, type=contacts.Body)).decode()
        == (planned.content["body"])
    )


def test_no_example_holds_a_private_key_or_a_raw_phone_number() -> None:
    text = b"\n".join(path.read_bytes() for path in EXAMPLES.rglob("*.json"))
    assert b"PRIVATE" not in text
    assert b"whsec_" not in text
    assert not looks_like_phone(text.decode())
