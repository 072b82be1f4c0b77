"""Errors to plant into a programme's text: at each of its values a wrong type, at each name and word a slip."""

from __future__ import annotations

import copy
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from schemas.programme_text import Path as At

DEFAULT = Path("schemas/programmes/default.yaml").read_text()
MORE = (
    (
        "campaigns: []",
        "campaigns: [{name: eleven, factor: 2, actions: [share, quiz], begins: '2026-11-11T00:00:00+08:00',"
        " ends: '2026-11-12T00:00:00+08:00', weekdays: [2], days_of_month: [11]}]",
    ),
    (
        "tasks: ",
        """presence: {actions: [login, purchase]}
custom: {quiz: {weight: 1000, own: true, earns: {points: 3, per_day: 2, growth: true}}}
overlays: {south: {points.share.points: 8, points: {message: {points: 3}}}}
pilots:
  generous:
    region: south
    overrides: {points.comeback.points: 60}
    metric: return
    goal: more come back
    end: '2026-06-01'
tasks: """,
    ),
    (
        "  spend_200:\n",
        """  helping:
    title: help others
    resets: false
    window: {begins: first_action, days: 7}
    conditions:
      - name: answers
        measure: count
        at_least: 3
        of: [{action: message, where: {kind: [answer, experience]}, cel: 'length > 3'}]
    reward: {points: 5, benefit: tea, badge: helper}
  spend_200:\n""",
    ),
    ("badges: ", "badges:\n  helper: {title: Helper, benefit: mug}\n# "),
)
"""What the default programme leaves out."""


def whole() -> str:
    """The default programme with all that a programme may say."""
    text = DEFAULT
    for old, new in MORE:
        assert text.count(f"\n{old}") == 1 or text.count(f" {old}") == 1, old
        text = text.replace(old, new)
    return text


NAMED_FREELY = re.compile(r"(custom|tasks|badges|overlays|pilots)\.\w+")
SAID_FREELY = re.compile(
    r"name|.*\.(title|goal|region|reward|benefit)|tasks\.\w+\.conditions\.\d+\.name|points\.factors\.campaigns\.\d+\.name"
    r"|badges\.senior_taster\.actions\.of\.0\.where\.kind"  # an event is of any kind
    r"|levels\.steps\.\d+\.level"
)
GIVES = re.compile(r"levels\.steps\.\d+\.level|(custom|badges)\.\w+")
"""Names that other places refer to: these are told when the name is another one."""
REFERS = re.compile(
    r".*\.reward\.(level|standard|badge)|levels\.bonus\.up_to|points\.factors\.campaigns\.\d+\.actions\.\d+"
)


class Planted(NamedTuple):
    """An error: what stands at a place of the text instead, and the paths and places at which it is to be told."""

    kind: str
    path: At
    line: int
    column: int
    old: str
    new: str
    told: tuple[tuple[At, int, int], ...]

    @property
    def is_told_here(self) -> bool:
        """Whether it is told where it stands, and not at what refers to it."""
        return len(self.told) == 1 and self.told[0][0][:-1] == self.path[:-1]

    def __str__(self) -> str:
        return f"{self.kind} at {self.line}:{self.column}: {self.old} -> {self.new}"


class Spot(NamedTuple):
    """A name, or a value that is no mapping: its path, its own place and that where an error in it is told."""

    path: At
    kind: Literal["name", "value"]
    at: tuple[int, int]
    told_at: tuple[int, int]
    token: str
    value: Any


def spots(text: str) -> list[Spot]:
    """All names and values of a text."""
    lines = text.splitlines()
    return list(_spots(YAML(typ="rt", pure=True).compose(io.StringIO(text)), (), (0, 0), lines))


def _spots(node: Node, path: At, told_at: tuple[int, int], lines: Sequence[str]) -> Iterator[Spot]:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            at, inner = _at(key), (*path, key.value)
            yield Spot(inner, "name", at, at, _token(key, lines), key.value)
            yield from _spots(value, inner, at, lines)
    elif isinstance(node, SequenceNode) and node.value:
        for place, item in enumerate(node.value):
            yield from _spots(item, (*path, place), _at(item), lines)
    else:
        yield Spot(path, "value", _at(node), told_at, _token(node, lines), node.value if _is_word(node) else None)


def _at(node: Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _token(node: Node, lines: Sequence[str]) -> str:
    assert node.start_mark.line == node.end_mark.line
    token: str = lines[node.start_mark.line][node.start_mark.column : node.end_mark.column]
    return token


def _is_word(node: Node) -> bool:
    return isinstance(node, ScalarNode) and str(node.tag).endswith(":str")


def planted(text: str) -> list[Planted]:
    """An error of each kind at each place of a text where there can be one."""
    found = spots(text)
    referring: dict[str, list[tuple[At, int, int]]] = {}
    for spot in found:
        if spot.kind == "value" and REFERS.fullmatch(_dotted(spot.path)):
            referring.setdefault(spot.value, []).append((spot.path, *spot.told_at))
    return [one for spot in found for one in _at_spot(spot, referring)]


def _at_spot(spot: Spot, referring: dict[str, list[tuple[At, int, int]]]) -> Iterator[Planted]:
    dotted, slip = _dotted(spot.path), _slip(spot.token)
    elsewhere = tuple(referring.get(spot.value, ())) if GIVES.fullmatch(dotted) else ()
    if spot.kind == "name":
        here: At = (*spot.path[:-1], _slip(spot.value))
        told = elsewhere if NAMED_FREELY.fullmatch(dotted) else ((here, *spot.told_at),)
        yield Planted("a misspelt name", spot.path, *spot.at, spot.token, slip, told)
        return
    told = ((spot.path, *spot.told_at),)
    yield Planted("a wrong type", spot.path, *spot.at, spot.token, "seven" if spot.value is None else "7", told)
    if spot.value is not None:
        told = elsewhere if SAID_FREELY.fullmatch(dotted) else told
        yield Planted("a misspelt word", spot.path, *spot.at, spot.token, slip, told)


def _dotted(path: At) -> str:
    return ".".join(map(str, path))


def _slip(token: str) -> str:
    return f"{token[:-1]}x{token[-1]}" if token[-1] in "'\"" else f"{token}x"


def with_one(plain: Any, one: Planted, value: Any) -> Any:
    """The values of a programme with an error among them."""
    changed = copy.deepcopy(plain)
    part = changed
    for key in one.path[:-1]:
        part = part[key]
    last = one.path[-1]
    if one.kind == "a misspelt name":
        items = [(_slip(name) if name == last else name, it) for name, it in part.items()]
        part.clear()
        part.update(items)
    else:
        part[last] = value
    return changed


def with_all(text: str, several: Sequence[Planted]) -> tuple[str, list[tuple[int, int]]]:
    """A text with several errors, and the places in it at which they are to be told."""
    lines = text.splitlines()
    for one in sorted(several, key=lambda it: (it.line, it.column), reverse=True):
        line = lines[one.line - 1]
        before, after = line[: one.column - 1], line[one.column - 1 + len(one.old) :]
        lines[one.line - 1] = before + one.new + after
    longer = [(one.line, one.column, len(one.new) - len(one.old)) for one in several]
    places = [
        (line, column + sum(more for on, at, more in longer if on == line and at < column))
        for one in several
        for _, line, column in one.told
    ]
    return "\n".join(lines) + "\n", sorted(places)
