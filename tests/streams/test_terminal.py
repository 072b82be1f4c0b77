"""What senders write is printed as they wrote it, whatever a terminal or Rich would make of it."""

from __future__ import annotations

import io
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from streams.terminal import Terminal, visible

ROOT = Path(__file__).parents[2]
HOSTILE = ("[/bold]", "[red]boo", "[link=x]y", ":smile:", "\\[b]", "[/]", "a\x1b[2Jb", "\x9b31m", "\u202etxt", "\x07")


def printed(*things: object) -> str:
    out = io.StringIO()
    terminal = Terminal(file=out, width=400, force_terminal=True, color_system=None)
    for one in things:
        terminal.print(one)
    return out.getvalue()


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_a_string_a_cell_a_title_and_a_heading_are_shown_as_they_are(text: str) -> None:
    table = Table("what", text, title=text, caption=text)
    table.add_row("cell", text)
    shown = printed(text, table)
    assert shown.count(visible(text)) == 5
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", shown)


@given(st.text(st.characters(exclude_characters="\n\r\t"), min_size=1, max_size=30))
def test_visible_text_has_nothing_a_terminal_acts_on_and_what_is_printable_stays(text: str) -> None:
    shown = visible(text)
    assert not {unicodedata.category(one) for one in shown if one != "\u200d"} & {"Cc", "Cf", "Cs"}
    assert visible(shown) == shown
    if text.isprintable():
        assert shown == text
    shown.encode()  # half a pair is written out, else a pipe would refuse it


def test_lines_stay_lines_unless_one_is_asked_for() -> None:
    assert visible("a\nb\tc") == "a\nb\tc"
    assert visible("a\nb", kept="") == "a\\nb"


def test_the_pipeline_prints_on_no_other_console() -> None:
    known = [path.name for path in (ROOT / "streams").glob("*.py") if "rich.console" in path.read_text()]
    assert known == ["terminal.py"], "a Console of Rich obeys what senders write"
