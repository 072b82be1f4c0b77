"""The contract for other languages: generated, committed, equal to the structs, and true of every example."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from schemas import contract
from schemas.topics import topics
from tests.schemas.golden import Golden, golden

ROOT = Path(__file__).parent.parent.parent


@cache
def validator(name: str) -> Any:
    return jsonschema_rs.Draft202012Validator(contract.schema(name), validate_formats=True)


def cases() -> list[tuple[str, Any]]:
    """Every example beside the schema it must meet."""
    found: list[tuple[str, Golden, Any]] = []
    for it in golden("member.actions"):
        if it.headers:
            continue
        if "record" not in it.content:
            found.append(("actions", it, it.content))
            continue
        found.append(("records", it, it.content))
        kinds = {"control": "controls", "staff": "staff", "derived": "derived"}
        if (body := kinds.get(it.content["record"])) is not None:
            found.append((body, it, it.content["body"]))
    for topic, name in (
        ("facts", "facts"),
        ("aggregates", "aggregates"),
        ("contacts.journal", "contacts"),
        ("boards", "boards"),
    ):
        found += [(name, it, it.content) for it in golden(f"member.{topic}")]
    found += [("webhook", it, it.content) for it in golden("webhook")]
    return [pytest.param(name, content, id=f"{name}-{it.name}") for name, it, content in found]  # type: ignore[misc]


@pytest.mark.parametrize(("name", "content"), cases())
def test_every_example_meets_its_schema(name: str, content: Any) -> None:
    assert [error.message for error in validator(name).iter_errors(content)] == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"amuont": 5}, "amuont"),
        ({"amount": "259.00"}, "259.00"),
        ({"amount": -1}, "-1"),
        ({"currency": "yuan"}, "yuan"),
        ({"phone": "13800138000"}, "phone"),
        ({"member_id": ""}, "member_id"),
        ({"occurred_at": "yesterday"}, "yesterday"),
        ({"action": "buy"}, "buy"),
    ],
)
def test_what_the_decoder_refuses_the_schema_refuses(change: dict[str, Any], told: str) -> None:
    purchase = next(it for it in golden("member.actions") if it.name == "purchase").content
    assert not validator("actions").is_valid(purchase | change)


@pytest.mark.parametrize(
    ("action", "fields"),
    [
        ("profile", {}),
        ("profile", {"home_region": "", "attributes": {}}),
        ("profile", {"birthday": "02-30"}),
        ("profile", {"dates": {"wedding": "2026-02-30"}}),
        ("redeem", {"redeem_id": "r", "points": 5}),
        ("redeem", {"redeem_id": "r", "points": 5, "reward": ""}),
        ("outreach_feedback", {"contact_id": "c", "status": "sent"}),
        ("adjust", {"kind": "points"}),
        ("adjust", {"kind": "points", "points": 0}),
        ("adjust", {"kind": "release"}),
        ("adjust", {"kind": "reverse"}),
        ("adjust", {"kind": "undo_batch"}),
        ("adjust", {"kind": "points", "points": 5, "row": 1}),
        ("adjust", {"kind": "points", "points": 5, "batch_id": "b"}),
        ("adjust", {"kind": "points", "points": 5, "reason": ""}),
    ],
)
def test_what_makes_no_sense_the_schema_refuses(action: str, fields: dict[str, Any]) -> None:
    head = {"event_id": "e", "source": "app", "member_id": "m", "occurred_at": "2026-11-20T11:30:00Z"}
    staff = {"reason": "late", "operator": "ann", "approved_by": "bob"} if action == "adjust" else {}
    name = "staff" if staff else "actions"
    assert not validator(name).is_valid({"action": action} | head | staff | fields)


def test_staff_actions_are_no_actions_of_upstream() -> None:
    adjust = next(it for it in golden("member.actions") if it.name == "staff-adjust").content["body"]
    assert not validator("actions").is_valid(adjust)
    assert validator("staff").is_valid(adjust)


@pytest.mark.parametrize("seed", ["0", "7"])
def test_the_committed_files_are_what_the_structs_say_whatever_the_hash_seed(seed: str, tmp_path: Path) -> None:
    program = "import sys, pathlib; from schemas import contract; contract.write(pathlib.Path(sys.argv[1]))"
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": seed}, check=True
    )
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    there = {path.name: path.read_text() for path in contract.FOLDER.iterdir()}
    assert made == there, "run `python -m schemas.contract`"


def test_what_is_no_longer_generated_goes(tmp_path: Path) -> None:
    (tmp_path / "gone.json").write_text("{}")
    contract.write(tmp_path)
    assert not (tmp_path / "gone.json").exists()


def test_asyncapi_names_every_topic_and_every_reference_leads_somewhere() -> None:
    document = contract.asyncapi()
    assert document["channels"].keys() == {topic.name for topic in topics().all()}
    for reference in references(document):
        if reference.startswith("#/"):
            place = document
            for step in reference[2:].split("/"):
                place = place[step.replace("~1", "/")]
        else:
            assert (contract.FOLDER / reference).is_file()


def test_references_inside_a_schema_lead_somewhere() -> None:
    for name in contract.SCHEMAS:
        schema = contract.schema(name)
        assert all(reference.removeprefix("#/$defs/") in schema["$defs"] for reference in references(schema))


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for value in node.values() for found in references(value)]
    return [found for item in node for found in references(item)] if isinstance(node, list) else []


def test_the_documents_are_json_and_end_with_a_line() -> None:
    for text in contract.generated().values():
        json.loads(text)
        assert text.endswith("}\n")


@pytest.mark.parametrize("topic", [topic.name for topic in topics().all()])
def test_every_topic_has_examples(topic: str) -> None:
    assert golden(topic)
