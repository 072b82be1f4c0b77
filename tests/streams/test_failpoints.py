"""Failpoints: off unless asked for, at exactly the pass that was asked for, and never by a name that nobody passes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from streams.archive import Archive
from streams.errors import UsageError
from streams.failpoints import POINTS, Failpoints, parse
from streams.sink import Sink

STREAMS = Path(__file__).parent.parent.parent / "streams"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", {}),
        (" , ", {}),
        ("chunk.published", {"chunk.published": 1}),
        ("chunk.published:3, publish.half:10", {"chunk.published": 3, "publish.half": 10}),
    ],
)
def test_crash_at_names_points_and_passes(text: str, wanted: dict[str, int]) -> None:
    assert parse(text) == wanted


@pytest.mark.parametrize("text", ["chunk", "chunk.published:0", "chunk.published:x", "chunk.published:-1", ":3"])
def test_a_crash_that_could_never_happen_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="CRASH_AT"):
        parse(text)


def test_only_the_wanted_pass_kills() -> None:
    passed: list[str] = []
    killed: list[int] = []
    fail = Failpoints({"chunk.decided": 3}, lambda: killed.append(passed.count("chunk.decided")))
    for point in ("chunk.decided", "chunk.published") * 5:
        passed.append(point)
        fail(point)
    assert killed == [3]


def test_the_points_are_those_that_the_code_passes() -> None:
    called = re.compile(r'(?:self\._?fail|self\._crash|fail)\("([a-z]+\.[a-z_]+)"\)')
    texts = [path.read_text() for path in STREAMS.glob("*.py")]
    passed = {name for text in texts for name in called.findall(text)}
    common = {name for text in texts for name in re.findall(r'self\._crash\(f"\{self\.name\}\.([a-z_]+)"\)', text)}
    assert common
    passed |= {f"{landing.name}.{name}" for landing in (Archive, Sink) for name in common}
    assert passed == set(POINTS)
