"""The contract as other languages read it: JSON Schema of every message and one AsyncAPI document, from the structs.

    python -m schemas.contract        # writes schemas/generated/, which is committed and compared by a test

The structs decide; what is generated is never edited. What no schema can say (a raw phone number inside a text, a
zone that exists, a currency the programme does not list, a signature) is said in the descriptions and refused by
`schemas/decoding.py`.
"""

from __future__ import annotations

from inspect import cleandoc
from pathlib import Path
from typing import Any

import msgspec

from schemas.actions import ACTIONS
from schemas.aggregates import Bucket, Calibration
from schemas.boards import BoardPlace
from schemas.contacts import AnyEntry, Body
from schemas.facts import AnyFact
from schemas.programme import json_schema
from schemas.records import AnyControl, AnyDerived, Framed
from schemas.sense import OURS_TO_SAY, SAID_OF_PROFILES
from schemas.topics import topics

FOLDER = Path(__file__).parent / "generated"
VERSION = "1.0.0"
DIALECT = "https://json-schema.org/draft/2020-12/schema"

UPSTREAM = tuple(action for action in ACTIONS.values() if not action.staff)
STAFF = tuple(action for action in ACTIONS.values() if action.staff)

# File name without ending: title, what it is for, the types.
SCHEMAS: dict[str, tuple[str, str, Any]] = {
    "actions": (
        "Actions",
        "What upstream apps append to member.actions, keyed by member_id (partitioner murmur2_random): one JSON "
        "object, or a CloudEvent in structured or binary mode. Fields that name a person and raw phone "
        "numbers are refused; the ids of events, orders and groups are the senders' own and are not looked at.",
        UPSTREAM,
    ),
    "staff": ("Staff actions", "The bodies of staff envelopes: reasoned, and by two different people.", STAFF),
    "records": (
        "Records of our own",
        "Ticks and signed envelopes. They begin with the bytes {\"record\":, the signature (ed25519, base64) covers "
        "the exact bytes of `body`.",
        Framed.__args__,
    ),
    "controls": ("Control records", "The bodies of control envelopes.", AnyControl.__args__),
    "derived": ("Derived records", "The bodies of derived envelopes.", AnyDerived.__args__),
    "facts": (
        "Facts",
        "What the worker says happened, on member.facts. Identity: log, partition, offset, index. `n` numbers the "
        "facts of a partition 1, 2, 3 ...: drop what you have seen, stop at a gap. Fields may be added.",
        AnyFact.__args__,
    ),
    "aggregates": (
        "Buckets",
        "Totals of one partition inside one block of offsets, on member.aggregates: keep the row of the highest "
        "`version` of each key, sum over partitions and blocks. Of kind `calibration`: what P(alive) foretold.",
        (Bucket, Calibration),
    ),
    "boards": (
        "Final boards",
        "Places of boards that are final, on member.boards: one message a place, the same for ever however often it is "
        "repeated. A board is whole when `ranked` places of it have been read.",
        (BoardPlace,),
    ),
    "contacts": ("Journal of contacts", "What the dispatcher meant to send, and what came of it.", AnyEntry.__args__),
    "webhook": ("Webhook", "The body of a webhook (Standard Webhooks 1.0).", (Body,)),
}  # fmt: skip

# Topic: which schemas its messages have, and how a message is called.
MESSAGES: dict[str, tuple[str, ...]] = {
    "member.actions": ("actions", "records"),
    "member.facts": ("facts",),
    "member.aggregates": ("aggregates",),
    "member.actions.dlq": (),
    "member.contacts.journal": ("contacts",),
    "member.boards": ("boards",),
}


def _said(*fields: str) -> dict[str, Any]:
    """These fields are there, and say something."""
    return {
        "required": list(fields),
        "properties": {field: {"not": {"enum": ["", None, 0, {}]}} for field in fields},
    }


def _where(kind: str, told: dict[str, Any]) -> dict[str, Any]:
    return {"if": {"properties": {"kind": {"const": kind}}}, "then": told}


# What the fields of a struct say together, which its types cannot (schemas/sense.py); by its name.
TOGETHER: dict[str, dict[str, Any]] = {
    "Profile": {"anyOf": [_said(part) for part in SAID_OF_PROFILES]},
    "Redeem": {"anyOf": [_said("reward"), _said("order_id")]},
    "OutreachFeedback": {"properties": {"status": {"not": {"enum": sorted(OURS_TO_SAY)}}}},
    "Adjust": {
        "allOf": [
            _where("points", _said("points")),
            _where("release", _said("hold_id")),
            _where("reverse", {"anyOf": [_said("hold_id"), _said("refers_to")]}),
            _where("undo_batch", _said("batch_id")),
            {
                "if": {
                    "required": ["batch_id"],
                    "properties": {"batch_id": {"not": {"const": ""}}, "kind": {"not": {"const": "undo_batch"}}},
                },
                "then": {"required": ["row"], "properties": {"row": {"not": {"const": None}}}},
            },
        ],
        "dependentRequired": {"row": ["batch_id"]},
    },
}
LETTER_HEADERS = {
    "__streams.errors.exception": "class of the error, `Rejected` for refused input",
    "__streams.errors.message": "what is wrong with it, in words",
    "__streams.errors.stacktrace": "of reason `rule`: where it happened",
    "__streams.errors.topic": "where the record stood",
    "__streams.errors.partition": "where the record stood",
    "__streams.errors.offset": "where the record stood",
    "reason": "why it was refused, one of a closed set (schemas/verdicts.py)",
    "pointer": "the field, as a JSON path",
    "source": "who sent it, if it says so",
    "blanked": "`true` when personal values were removed from the value, the key or a header",
}


def generated() -> dict[str, str]:
    """The text of every generated file, by its name."""
    files = {f"{name}.json": schema(name) for name in SCHEMAS}
    files["asyncapi.json"] = asyncapi()
    files["programme.json"] = json_schema()
    return {name: _text(content) for name, content in files.items()}


def schema(name: str) -> dict[str, Any]:
    """One JSON Schema (2020-12) that stands alone."""
    title, description, types = SCHEMAS[name]
    roots, components = msgspec.json.schema_components(types, ref_template="#/$defs/{name}")
    for struct, told in TOGETHER.items():
        if struct in components:
            components[struct].setdefault("allOf", []).append(told)
    head = {"$schema": DIALECT, "$id": f"urn:memberflow:{name}", "title": title, "description": description}
    body = roots[0] if len(roots) == 1 else {"oneOf": list(roots)}
    return {**head, **body, "$defs": _clean(components)}


def asyncapi() -> dict[str, Any]:
    """The topics and their messages as one AsyncAPI 3 document; schemas are references to the files beside it."""
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    for topic in topics().all():
        own = {name: _message(name) for name in MESSAGES[topic.name]} or {"letter": _letter()}
        messages |= own
        channels[topic.name] = {
            "address": topic.name,
            "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in own},
            "bindings": {"kafka": {"topic": topic.name, "partitions": topic.partitions, "bindingVersion": "0.5.0"}},
        }
        action = "receive" if topic.name == "member.actions" else "send"
        operations[f"{action}.{topic.name}"] = {
            "action": action,
            "channel": {"$ref": f"#/channels/{topic.name.replace('/', '~1')}"},
        }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "memberflow",
            "version": VERSION,
            "description": "Actions of members in; facts, totals and dead letters out.",
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages},
    }


def _message(name: str) -> dict[str, Any]:
    title, description, _ = SCHEMAS[name]
    message: dict[str, Any] = {"title": title, "summary": description, "payload": {"$ref": f"./{name}.json"}}
    if name in ("actions", "facts"):
        key = {"type": "string", "description": "member_id"}
        message["bindings"] = {"kafka": {"key": key, "bindingVersion": "0.5.0"}}
    return message


def _letter() -> dict[str, Any]:
    headers = {name: {"type": "string", "description": text} for name, text in LETTER_HEADERS.items()}
    return {
        "title": "Dead letter",
        "summary": "A refused record: its original bytes, key and headers, and why it was refused.",
        "contentType": "application/octet-stream",
        "headers": {"type": "object", "properties": headers},
        "payload": {"description": "the original bytes; of anything too big `sha256:` and the hash"},
    }


def _clean(components: Any) -> Any:
    """Docstrings without the indentation they have in the code."""
    if isinstance(components, dict):
        return {
            key: cleandoc(value) if key == "description" and isinstance(value, str) else _clean(value)
            for key, value in components.items()
        }
    return [_clean(item) for item in components] if isinstance(components, list | tuple) else components


def _text(content: dict[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(content), indent=2).decode() + "\n"


def write(folder: Path = FOLDER) -> None:
    """Write what is generated; what is no longer generated goes."""
    folder.mkdir(exist_ok=True)
    files = generated()
    for path in folder.glob("*.json"):
        if path.name not in files:
            path.unlink()
    for name, text in files.items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    write()
