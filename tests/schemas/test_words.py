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
from schemas.arithmetic import ARITHMETIC, arithmetic
from schemas.facts import HOLD_ENDS, KINDS
from schemas.verdicts import Reason, Verdict
from schemas.words import FACTS, LANGUAGES, NAMES, REASONS, REFUSED, VERDICTS, WHY, Words, say

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


class Code:
    """The rules as syntax: every text that may become the `reason` of a fact or an entry.

    A reason is given by keyword, in the place of a parameter of that name, assigned to a name or field of that name,
    alone or in a pair, or it is the part of that place in what a function returns.
    """

    def __init__(self) -> None:
        self.nodes = [
            node for path in sorted(Path("processors").glob("*.py")) for node in ast.walk(ast.parse(path.read_text()))
        ]
        self.functions: dict[str, list[ast.FunctionDef]] = {}
        self.texts: dict[str, set[str]] = {}  # what a constant of a module or class says
        for node in self.nodes:
            if isinstance(node, ast.FunctionDef):
                self.functions.setdefault(node.name, []).append(node)
            for name, value in self._assigned(node):
                if isinstance(value, ast.Constant) and isinstance(value.value, str) and name != "reason":
                    self.texts.setdefault(name, set()).add(value.value)

    def reasons(self) -> set[str]:
        """All of them."""
        return {text for node in self.nodes for given in self._given(node) for text in self._may_be(given)}

    def _given(self, node: ast.AST) -> Iterator[ast.expr]:
        if isinstance(node, ast.Call):
            yield from (word.value for word in node.keywords if word.arg == "reason")
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            for function in self.functions.get(called, ()):
                names = [one.arg for one in function.args.args if one.arg != "self"]
                if "reason" in names and names.index("reason") < len(node.args):
                    yield node.args[names.index("reason")]
        yield from (value for name, value in self._assigned(node) if name == "reason")

    def _assigned(self, node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
        """Names or fields, and what each becomes."""
        if not isinstance(node, ast.Assign):
            return
        for target in node.targets:
            targets = target.elts if isinstance(target, ast.Tuple) else [target]
            for place, one in enumerate(targets):
                for value in self._part(node.value, place) if isinstance(target, ast.Tuple) else [node.value]:
                    yield getattr(one, "attr", getattr(one, "id", "")), value

    def _part(self, value: ast.expr, place: int) -> Iterator[ast.expr]:
        """The part at a place of a pair, of either side of a condition, or of what a function returns."""
        if isinstance(value, ast.Tuple):
            yield value.elts[place]
        elif isinstance(value, ast.IfExp):
            yield from (*self._part(value.body, place), *self._part(value.orelse, place))
        elif isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
            for function in self.functions.get(value.func.id, ()):
                for node in ast.walk(function):
                    if isinstance(node, ast.Return) and node.value is not None:
                        yield from self._part(node.value, place)

    def _may_be(self, value: ast.expr) -> Iterator[str]:
        if isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value:
            yield value.value
        elif isinstance(value, ast.IfExp):
            yield from (*self._may_be(value.body), *self._may_be(value.orelse))
        elif name := getattr(value, "attr", getattr(value, "id", "")):
            yield from self.texts.get(name, ())


def test_every_reason_of_a_rule_has_words() -> None:
    """It fails for a new reason: put its words, in both languages, into `schemas/words.py`."""
    found = Code().reasons()
    assert found >= {
        *("cap", "too_short", "excluded", "below_one", "kept", "ended", "plain", "moved", "held"),
        *("missing", "smallest", "steps", "running", "cancelled", "late", "refused", "repeat", "above_amount"),
        *("standard", "missed", "tenure", "task", "recounted", "refund", "bonus", "opening"),
        *("next", "closed", "action", "purchase", "own_id", "unknown", "not_accepted", "known", "undone", *HOLD_ENDS),
    }, "the search finds what is known to be there"
    known = {key.partition(".")[0] for key in (*REASONS, *WHY)}
    assert found - known == set()


def test_every_reason_of_a_refusal_has_words() -> None:
    assert {reason.value for reason in Reason} == set(REFUSED)


def test_an_arithmetic_in_chinese_keeps_its_numbers() -> None:
    for pattern, text in ARITHMETIC:
        assert re.compile(pattern).groups >= len({name for _, name, _, _ in Formatter().parse(text) if name}) - 1
    assert arithmetic("5 = a check-in", "zh") == "5 = 一次签到"
    assert arithmetic("300 = 300.50 yuan, floored (120 excluded)", "zh") == "300 = 300.50 元，向下取整（120 不计分）"
    assert arithmetic("420 = 210 yuan x 2", "zh") == "420 = 210 元 × 2"
    assert arithmetic("5 = 4.50 yuan x 1.2, floored", "zh") == "5 = 4.50 元 × 1.2，向下取整"
    assert arithmetic("840 = 350 yuan x 1.2 x2 first order", "zh") == "840 = 350 元 × 1.2 ×2 首单"
    assert arithmetic("14 = 7 x2 spring: quiz 1 of the day's 2", "zh") == "14 = 7 x2 spring：当日第 1 次 quiz（上限 2）"
    assert arithmetic("5 = a check-in", "en") == "5 = a check-in"


def test_a_text_is_filled() -> None:
    assert say(REASONS["too_short"], "en", shortest=4) == "shorter than 4 characters"
    assert say(REASONS["too_short"], "zh", shortest=4) == "少于 4 个字符"
