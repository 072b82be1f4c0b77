"""The catalogue of words is whole: whatever the rules can say is there in both languages, once."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest

from schemas import records, words
from schemas.actions import ACTIONS
from schemas.facts import KINDS
from schemas.verdicts import Verdict
from schemas.words import ARITHMETIC, FACTS, LANGUAGES, NAMES, REASONS, VERDICTS, WHY, Words, arithmetic, say

CATALOGUES = {name: part for name, part in vars(words).items() if isinstance(part, dict) and name.isupper()}
TEXTS = [
    pytest.param(text, id=f"{name}:{key}")
    for name, part in CATALOGUES.items()
    for key, text in part.items()
    if isinstance(text, Words)
]
CHAINED = {"ledger", "in_force"}
"""Kinds that no single text tells: an entry is a chain, a control record is of no member."""


@pytest.mark.parametrize("text", TEXTS)
def test_both_languages_say_the_same_things(text: Words) -> None:
    fields = [{name for _, name, _, _ in Formatter().parse(one) if name} for one in text]
    assert fields[0] == fields[1]
    assert all(text)
    assert text.en.isascii()
    if re.sub(r"\{\w+\}", "", text.en).strip(" :,+"):
        assert re.search(r"[\u4e00-\u9fff]", text.zh), text.zh


def test_each_reason_stands_once_in_each_language() -> None:
    for lang in LANGUAGES:
        found = Counter(getattr(text, lang) for text in REASONS.values())
        assert {text for text, times in found.items() if times > 1} == set()


def test_every_kind_of_fact_has_words() -> None:
    assert set(KINDS) - CHAINED - set(FACTS) == set()


def test_every_verdict_on_a_member_has_words() -> None:
    others = {Verdict.TICK, Verdict.CONTROL, Verdict.CONTROL_IGNORED, Verdict.MARKER}
    assert {verdict.value for verdict in Verdict if verdict not in others} == set(VERDICTS)


def test_every_action_and_derived_record_has_a_name() -> None:
    derived = {kind.__struct_config__.tag for kind in records.AnyDerived.__args__}
    assert (set(ACTIONS) | derived) - set(NAMES) == set()


# -- what the rules say


def rules_code() -> Iterator[ast.AST]:
    for path in sorted(Path("processors").glob("*.py")):
        yield from ast.walk(ast.parse(path.read_text()))


def constants(node: ast.AST | None) -> Iterator[str]:
    """The texts that an expression may be; of a condition both sides."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
        yield node.value
    if isinstance(node, ast.IfExp):
        yield from constants(node.body)
        yield from constants(node.orelse)


def reasons() -> set[str]:
    """Every reason that is written down in a rule: given to an entry or fact, assigned to one, or named as one."""
    found: set[str] = set()
    for node in rules_code():
        if isinstance(node, ast.Call):
            found |= {text for word in node.keywords if word.arg == "reason" for text in constants(word.value)}
            if isinstance(node.func, ast.Name) and node.func.id == "entry" and len(node.args) > REASON_OF_ENTRY:
                found |= set(constants(node.args[REASON_OF_ENTRY]))
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                named = getattr(target, "attr", getattr(target, "id", ""))
                if named == "reason":
                    found |= set(constants(node.value))
    return found


REASON_OF_ENTRY = 8


def test_every_reason_of_a_rule_has_words() -> None:
    """It fails for a new reason: put its words, in both languages, into `schemas/words.py`."""
    found = reasons()
    assert {"cap", "too_short", "excluded"} <= found, "the search finds what is known to be there"
    known = {key.partition(".")[0] for key in REASONS} | set(WHY)
    assert found - known == set()


def test_an_arithmetic_in_chinese_keeps_its_numbers() -> None:
    for pattern, text in ARITHMETIC:
        assert re.compile(pattern).groups >= len({name for _, name, _, _ in Formatter().parse(text) if name}) - 1
    assert arithmetic("5 = a check-in", "zh") == "5 = 一次签到"
    assert arithmetic("300 = 300.50 yuan, floored (120 excluded)", "zh") == "300 = 300.50 元，向下取整（120 不计分）"
    assert arithmetic("420 = 210 yuan x 2", "zh") == "420 = 210 元 × 2"
    assert arithmetic("5 = a check-in", "en") == "5 = a check-in"


def test_a_text_is_filled() -> None:
    assert say(REASONS["too_short"], "en", shortest=4) == "shorter than 4 characters"
    assert say(REASONS["too_short"], "zh", shortest=4) == "少于 4 个字符"
