"""What an editor knows of a programme: the line that the README gives, and what the form behind it tells."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema_rs
import pytest
from typer.testing import CliRunner

from schemas.programme_text import load
from streams.cli import app
from tests.schemas.planting import Planted, planted, whole, with_one

PROGRAMMES = sorted(Path("schemas/programmes").glob("*.yaml"))
LINE = re.compile(r"`# yaml-language-server: \$schema=(\S+)`")
TEXT = whole()
PLAIN = load(TEXT, "whole").plain
CHECKED = frozenset({"where", "overlays", "overrides"})
"""What is within these only `programme check` knows: the fields of an action, the leaves of this programme."""


def form() -> Path:
    """The file that the README's line leads to from a programme that ships."""
    said: str
    (said,) = LINE.findall(Path("README.md").read_text())
    return (PROGRAMMES[0].parent / said).resolve()


def validator() -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(json.loads(form().read_text()))


def test_the_line_leads_to_what_the_command_prints() -> None:
    printed = CliRunner().invoke(app, ["programme", "schema"])
    assert printed.exit_code == 0
    assert json.loads(printed.stdout) == json.loads(form().read_text())


@pytest.mark.parametrize("path", PROGRAMMES, ids=[path.name for path in PROGRAMMES])
def test_an_editor_finds_nothing_in_what_ships(path: Path) -> None:
    assert [str(error) for error in validator().iter_errors(load(path.read_text(), path.name).plain)] == []


def test_an_editor_tells_every_wrong_type_and_misspelt_name_of_its_own() -> None:
    editor = validator()
    assert editor.is_valid(PLAIN)
    planted_here = [one for one in planted(TEXT) if _is_of_the_form(one)]
    assert len(planted_here) > 550
    assert [str(one) for one in planted_here if editor.is_valid(_values(one))] == []


def _is_of_the_form(one: Planted) -> bool:
    return one.is_told_here and one.kind != "a misspelt word" and not CHECKED & {*map(str, one.path[:-1])}


def _values(one: Planted) -> object:
    return with_one(PLAIN, one, "seven" if one.new == "seven" else 7)
