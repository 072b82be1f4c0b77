"""The text of a programme as YAML: its plain values, where each stands, and what is wrong with it as a text."""

from __future__ import annotations

import datetime as dt
import io
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.constructor import RoundTripConstructor
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

DEPTH_MAX = 100
"""Brackets open at once, or columns a line is indented by, before a text is refused unread."""

Path = tuple[str | int, ...]
Found = list[tuple[Path, str]]
"""What is wrong, each after the path to where."""
Wrong = tuple[int, int, str, str]
"""Line and column (from 1), path, and what is wrong there."""


class ProgrammeError(ValueError):
    """A programme that can't be used: each error with line, column, path and what is wrong."""

    def __init__(self, errors: Sequence[tuple[int, int, str, str]], name: str = "programme") -> None:
        self.errors = list(errors)
        self.unknown_rules = any(path == "rules" for _, _, path, _ in self.errors)
        super().__init__("\n".join(f"{name}:{line}:{col}: {path}: {text}" for line, col, path, text in self.errors))


class Several(ValueError):
    """Several things wrong in one part, each at its own place in it."""

    def __init__(self, errors: Sequence[tuple[tuple[str | int, ...], str]]) -> None:
        self.errors = list(errors)
        super().__init__("; ".join(text for _, text in self.errors))


class Text(NamedTuple):
    """A text that is YAML: its tree with places, its plain values, and the names that it says twice."""

    tree: Any
    plain: Any
    twice: list[Wrong]

    def place(self, path: Sequence[str | int]) -> tuple[int, int]:
        """Line and column (from 1) of the deepest part of a path that stands in the file."""
        node = self.tree
        at = (node.lc.line + 1, node.lc.col + 1)
        for key in path:
            try:
                line, col = node.lc.item(key) if isinstance(key, int) else node.lc.key(key)
                at, node = (line + 1, col + 1), node[key]
            except (KeyError, IndexError, AttributeError, TypeError):
                break
        return at


class Exact(RoundTripConstructor):
    """Reads a number with decimals as it is written: `1.2` is twelve tenths, and no binary float near it."""

    def construct_yaml_float(self, node: ScalarNode) -> Any:
        """As a `Decimal`; what has no digits (`.inf`) stays what ruamel makes of it."""
        try:
            number = Decimal(node.value.replace("_", ""))
        except InvalidOperation:
            return super().construct_yaml_float(node)
        return number if number.is_finite() else super().construct_yaml_float(node)

    def construct_object(self, node: Node, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 - as ruamel calls it
        """What cannot be built (a day that there is not, a number without end) is what is written."""
        try:
            return super().construct_object(node, deep)
        except ValueError:
            if not isinstance(node, ScalarNode):
                raise
            return node.value


Exact.add_constructor("tag:yaml.org,2002:float", Exact.construct_yaml_float)


def load(text: str, name: str) -> Text:
    """Read a text. Raises `ProgrammeError` for what is no YAML, with the first place where it is not."""
    if _depth(text) > DEPTH_MAX:
        raise ProgrammeError([(1, 1, "$", f"nested deeper than {DEPTH_MAX}")], name)
    try:
        yaml = YAML(typ="rt", pure=True)
        yaml.Constructor = Exact
        yaml.allow_duplicate_keys = True  # they are told below, all of them
        constructor, parser = yaml.get_constructor_parser(io.StringIO(text))
        try:
            node = constructor.composer.get_single_node()
            tree = None if node is None else constructor.construct_document(node)
        finally:
            parser.dispose()
        return Text(tree, _plain(tree), list(_twice(node)))
    except MarkedYAMLError as error:
        mark = error.problem_mark
        at = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise ProgrammeError([(*at, "$", error.problem or "not YAML")], name) from None
    except ReaderError as error:
        before = text[: error.position]
        at = (before.count("\n") + 1, len(before) - before.rfind("\n"))
        raise ProgrammeError([(*at, "$", "this character is not allowed")], name) from None
    except RecursionError:
        raise ProgrammeError([(1, 1, "$", "an alias leads back to itself")], name) from None
    except Exception as error:  # noqa: BLE001 - a scalar ruamel cannot build: dates, huge numbers, odd tags
        raise ProgrammeError([(1, 1, "$", f"not YAML: {str(error)[:100]}")], name) from None


def _depth(text: str) -> int:
    """A bound on how deep the text nests, so that no answer depends on how much stack the caller left.

    A bracket that closes inside of quotes or a comment closes nothing; one that opens there counts all the same.
    """
    level = deepest = 0
    for line in text.splitlines():
        deepest = max(deepest, len(line) - len(line.lstrip(" -")))
        for mark in BRACKET.findall(QUOTED.sub(_opening, line)):
            level += 1 if mark in "[{" else -1
            deepest = max(deepest, level)
    return deepest


BRACKET = re.compile(r"[\[\]{}]")
QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'|(?:^|[\s\[\]{},])#.*')


def _opening(quoted: re.Match[str]) -> str:
    """What opens inside; of a comment, also the bracket that stands before it."""
    inside = quoted[0]
    before = inside[0] if inside[0] in "]}" else ""
    return before + "".join(mark for mark in inside if mark in "[{")


def _plain(node: Any) -> Any:
    """ruamel's round-trip nodes as plain values, so that strict types are what the file says."""
    if isinstance(node, dict):
        return {str(k): _plain(v) for k, v in node.items()}
    if isinstance(node, list):
        return [_plain(v) for v in node]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    if isinstance(node, dt.date) and not isinstance(node, dt.datetime):
        return node.isoformat()
    return node


def _twice(node: Node | None, path: str = "", above: tuple[int, ...] = ()) -> Iterator[Wrong]:
    """Names that one mapping says twice: only one of the values could count."""
    if node is None or id(node) in above:
        return
    inside = (*above, id(node))
    if isinstance(node, SequenceNode):
        for number, item in enumerate(node.value):
            yield from _twice(item, f"{path}.{number}", inside)
    elif isinstance(node, MappingNode):
        seen = set()
        for key, value in node.value:
            at = f"{path}.{key.value}"
            if str(key.value) in seen:
                mark = key.start_mark
                yield mark.line + 1, mark.column + 1, at[1:], "said twice"
            seen.add(str(key.value))
            yield from _twice(value, at, inside)
