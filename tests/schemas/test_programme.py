"""The programme file: what ships is valid, and every error says line, column, where and what."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.programme import Rules, compile_programme
from schemas.programme import RULES, ProgrammeError, parse

SHIPPED = sorted(Path("schemas/programmes").glob("*.yaml"))
DEFAULT = Path("schemas/programmes/default.yaml").read_text()
LINES = DEFAULT.splitlines()


def line_of(text: str) -> int:
    return next(number for number, line in enumerate(LINES, 1) if text in line)


@pytest.mark.parametrize("path", SHIPPED, ids=[path.name for path in SHIPPED])
def test_a_shipped_programme_is_valid_and_compiles(path: Path) -> None:
    rules = compile_programme(path.read_text(), 3, 77)
    assert rules.programme.name == path.stem
    assert (rules.number, rules.holds_from, rules.rules) == (3, 77, max(RULES))


def test_the_default_says_the_agreed_numbers() -> None:
    rules = Rules(parse(DEFAULT), 1, 0)
    assert (rules.check_in_points, rules.streak_from, rules.streak_factor) == (5, 7, 2)
    assert (rules.message_points, rules.messages_per_day, rules.message_length_min) == (2, 10, 4)
    assert (rules.share_points, rules.shares_per_day) == (5, 5)
    assert (rules.per_unit, rules.pending_days) == (1, 7)
    assert (rules.comeback_points, rules.comeback_days, rules.comebacks_per_year) == (50, 30, 4)
    assert (rules.orders_kept, rules.orders_ms) == (200, 180 * 86_400_000)
    assert (rules.horizon_ms, rules.future_ms) == (30 * 86_400_000, 300_000)


def test_the_same_text_is_compiled_once() -> None:
    assert compile_programme(DEFAULT, 1, 0) is compile_programme(DEFAULT, 1, 0)
    assert compile_programme(DEFAULT, 2, 0) is not compile_programme(DEFAULT, 1, 0)


WRONG = [
    # name, in the file, instead, column, path, part of the words
    ("a misspelt name", "horizon_days:", "horizon_dyas:", 1, "horizon_dyas", "no such name here"),
    ("a missing name", "horizon_days: 30", "# ", 1, "horizon_days", "Field required"),
    ("a word for a number", "future_minutes: 5", "future_minutes: five", 1, "future_minutes", "valid integer"),
    ("a truth for a number", "future_minutes: 5", "future_minutes: true", 1, "future_minutes", "valid integer"),
    ("a fraction of a point", "{points: 2,", "{points: 2.5,", 13, "points.message.points", "valid integer"),
    (
        "a limit that is too high",
        "per_day: 5}",
        "per_day: 256}",
        22,
        "points.share.per_day",
        "less than or equal to 255",
    ),
    (
        "negative points",
        "share: {points: 5",
        "share: {points: -5",
        11,
        "points.share.points",
        "greater than or equal to 0",
    ),
    ("a factor beyond 4", "factor: 2}", "factor: 5}", 27, "points.check_in.streak.factor", "less than or equal to 4"),
    ("a zone that is none", "zone: Asia/Shanghai", "zone: Asia/Shanghay", 1, "zone", "not an IANA zone"),
    ("rules the code does not know", "rules: 1 ", "rules: 9999 ", 1, "rules", "this release knows rules 1"),
    ("a weight of nothing known", "    login: 500", "    logn: 500", 3, "activity.weights", "no such action: logn"),
    ("steps that do not climb", "{tier: L2, after_days: 38}", "{tier: L2, after_days: 29}", 1, "tiers", "must ascend"),
    ("a tier without gravity", "L3, heavy, lost]", "L3, heavy]", 1, "tiers", "lost is missing in gravity"),
    ("no currency at all", "currencies: [CNY]", "currencies: []", 1, "currencies", "at least 1 item"),
]


@pytest.mark.parametrize(("name", "old", "new", "column", "path", "words"), WRONG, ids=[case[0] for case in WRONG])
def test_an_error_has_line_column_path_and_words(
    name: str, old: str, new: str, column: int, path: str, words: str
) -> None:
    assert DEFAULT.count(old) == 1
    with pytest.raises(ProgrammeError) as caught:
        parse(DEFAULT.replace(old, new), "mine.yaml")
    places = {at: (line, col, text) for line, col, at, text in caught.value.errors}
    assert path in places, str(caught.value)
    line, col, text = places[path]
    assert words in text
    where = {"tiers": "tiers:", "activity.weights": "weights:"}.get(path, old)
    expected = line_of("name: default") if name == "a missing name" else line_of(where)
    assert (line, col) == (expected, column)
    assert f"mine.yaml:{line}:{col}: {path}: " in str(caught.value)


def test_all_errors_are_told_in_the_order_of_the_file() -> None:
    text = DEFAULT.replace("horizon_days: 30", "horizon_days: 90").replace("index_half: 20000", "index_half: 0")
    with pytest.raises(ProgrammeError) as caught:
        parse(text)
    assert [path for _, _, path, _ in caught.value.errors] == ["horizon_days", "activity.index_half"]
    assert len(str(caught.value).splitlines()) == 2


def test_rules_that_are_not_known_are_told_apart_from_other_errors() -> None:
    """A worker halts at them instead of refusing the text: a newer release would understand."""
    for old, new, unknown in (("rules: 1 ", "rules: 2 ", True), ("minutes: 5", "minutes: -5", False)):
        with pytest.raises(ProgrammeError) as caught:
            parse(DEFAULT.replace(old, new))
        assert caught.value.unknown_rules is unknown


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("name: [", 1, 8),
        ("name: a\nname: b\n", 2, 1),
        ("a:\n  - b\n c: d\n", 3, 2),
        ("just words", 1, 1),
        ("- a\n- b\n", 1, 1),
        ("", 1, 1),
        ("name: a\nzone: \x00", 2, 7),
        ("a: &a [*a]", 1, 1),
        ("a: " + "[" * 3000, 1, 1),
        ("rules: " + "9" * 5000, 1, 1),
        ("zone: 2026-02-30T99:99:99", 1, 1),
    ],
)
def test_what_is_no_yaml_is_an_error_with_a_place(text: str, line: int, column: int) -> None:
    with pytest.raises(ProgrammeError) as caught:
        parse(text)
    assert caught.value.errors[0][:2] == (line, column), str(caught.value)


@settings(deadline=None)
@given(st.text(max_size=60), st.integers(0, len(DEFAULT)), st.integers(0, 40))
def test_no_text_raises_anything_else(text: str, at: int, cut: int) -> None:
    for whole in (text, DEFAULT[:at] + text + DEFAULT[at + cut :]):
        try:
            compile_programme(whole, 1, 0)
        except ProgrammeError as error:
            assert error.errors  # noqa: PT017 - either is right, nothing else is
