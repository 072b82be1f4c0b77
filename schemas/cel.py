"""Conditions in CEL, the extra `cel`: a text over the fields of one kind of action, compiled when it is read.

Only what says the same on every machine for ever is let in: the action's own fields, literals, operators and four
functions of texts. Neither is there a clock or chance in it, nor what hangs on tables of zones or on how one library
version writes a number or reads a pattern. No part of it repeats, so its time is bounded by its length.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple

import msgspec

from schemas.actions import ACTIONS, Action

LENGTH_MAX = 500
FUNCTIONS = frozenset({"contains", "startsWith", "endsWith", "size"})
WORDS = frozenset({"true", "false", "in"})
REMEDY = "CEL is an extra: install it with `pip install cel-expr-python==0.1.3`"

# A text in quotes, a name, a number, a mark. Nothing else: no other quotes, comments or escapes of names, so that what
# is a name here is one to CEL too.
TOKEN = re.compile(
    r"""
    (?P<text> "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*' )
    | (?P<name> [A-Za-z_][A-Za-z0-9_]* )
    | (?P<number> [0-9]+ (?:\.[0-9]+)? )
    | (?P<mark> && | \|\| | [=!<>]= | [-+*/%<>!?:.,()\[\]] )
    | (?P<space> \s+ )
    """,
    re.VERBOSE,
)
PLACE = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")


class Condition(NamedTuple):
    """A condition that was compiled, and the fields it reads."""

    expression: Any
    fields: tuple[str, ...]

    def holds(self, action: Action) -> bool:
        """Whether it is true of an action. What cannot be told is not: an optional field left out, a number too big."""
        given = {name: value for name in self.fields if (value := getattr(action, name)) is not None}
        return self.expression.eval(data=given).value() is True


@cache
def condition(action: str, text: str) -> Condition:
    """The condition of a text over a kind of action. Raises `ValueError`, saying where in the text it is wrong."""
    known = fields(action)
    found = names(action, text, known)
    try:
        from cel_expr_python import cel
    except ImportError:
        raise ValueError(REMEDY) from None
    env = cel.NewEnv(variables={name: getattr(cel.Type, kind) for name, kind in known.items()})
    try:
        expression = env.compile(text)
    except (RuntimeError, UnicodeError) as error:
        raise ValueError(_told(str(error))) from None
    if expression.return_type() != cel.Type.BOOL:
        raise ValueError(f"it is {expression.return_type().name()}, not true or false")
    return Condition(expression, tuple(sorted(found)))


@cache
def fields(action: str) -> dict[str, str]:
    """The fields of an action that a condition may read, and their types in CEL: numbers, words, yes or no.

    Moments are left out: what a clock shows in some zone is not the same for ever.
    """
    found = {}
    info = msgspec.inspect.type_info(ACTIONS[action])
    assert isinstance(info, msgspec.inspect.StructType)
    for field in info.fields:
        said = bare(field.type)
        kinds = said.types if isinstance(said, msgspec.inspect.UnionType) else (said,)
        types = {TYPES.get(type(kind)) for kind in map(bare, kinds) if not isinstance(kind, msgspec.inspect.NoneType)}
        if len(types) == 1 and (one := types.pop()):
            found[field.name] = one
    return found


def bare(kind: msgspec.inspect.Type) -> msgspec.inspect.Type:
    """A type without what is said about it."""
    return bare(kind.type) if isinstance(kind, msgspec.inspect.Metadata) else kind


TYPES: dict[type, str] = {
    msgspec.inspect.IntType: "INT",
    msgspec.inspect.FloatType: "DOUBLE",
    msgspec.inspect.StrType: "STRING",
    msgspec.inspect.LiteralType: "STRING",
    msgspec.inspect.BoolType: "BOOL",
}


def names(action: str, text: str, known: dict[str, str]) -> set[str]:
    """The fields that a text reads. Raises `ValueError` for anything that is not of the safe part."""
    if len(text) > LENGTH_MAX:
        raise ValueError(f"longer than {LENGTH_MAX} characters")
    read, at, before = set(), 0, ""
    while at < len(text):
        found = TOKEN.match(text, at)
        if found is None or (before == found.lastgroup == "text") or text.startswith("//", at):
            raise ValueError(f"at {_place(text, at)}: {text[at]!r} has no place here")
        if found.lastgroup == "name" and found[0] not in WORDS:
            if found[0] not in known and found[0] not in FUNCTIONS:
                there = ", ".join((*known, *sorted(FUNCTIONS)))
                raise ValueError(f"at {_place(text, at)}: no such name: {found[0]}; {action} has {there}")
            read.add(found[0])
        at, before = found.end(), found.lastgroup or ""
    return read & known.keys()


def _place(text: str, at: int) -> str:
    """Line and column, from 1, as CEL tells them."""
    before = text[:at]
    return f"{before.count(chr(10)) + 1}:{at - before.rfind(chr(10))}"


def _told(error: str) -> str:
    """What the library says, each error on its place, in one line."""
    said = [f"at {line}:{column}: {words}" for line, column, words in PLACE.findall(error)]
    return "; ".join(one.removesuffix(" [INVALID_ARGUMENT]") for one in said) or error.splitlines()[0]
