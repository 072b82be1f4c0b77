"""What `where` of the programme may say of an action's fields: which there are, and which values they can have."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from pydantic import Field, ValidationError, WrapValidator

from schemas.actions import ACTIONS
from schemas.cel import bare
from schemas.programme_text import Several

GIVEN = "given"
"""Anything but nothing."""

NEAR = 0.8
"""So like `given` (difflib's ratio) a word is taken for a slip: a field that has any text would never have it."""

SAID = "true or false, a word, a list of words, or `given`"


Values = str | bool | tuple[str, ...]


def _said(value: Any, handler: Any) -> Any:
    """One sentence instead of one for each type it could be."""
    try:
        return handler(value)
    except ValidationError:
        if isinstance(value, list) and value:
            raise Several(
                [((place,), "Input should be a word") for place, one in enumerate(value) if not isinstance(one, str)]
            ) from None
        raise ValueError(f"Input should be {SAID}") from None


Said = Annotated[str | bool | Annotated[tuple[str, ...], Field(min_length=1, strict=False)], WrapValidator(_said)]


def never_said(action: str, field: str, said: Values) -> Iterator[tuple[tuple[int, ...], str]]:
    """Why an action's field is never what it should be; with the place in a list of values."""
    if field not in (fields := ACTIONS[action].__struct_fields__):
        yield (), f"{action} has no {field}; it has {', '.join(fields)}"
        return
    words, flag, text = _can_say(action, field)
    for place, one in enumerate(said) if isinstance(said, tuple) else [(None, said)]:
        at = () if place is None else (place,)
        if one == GIVEN and place is None:
            continue
        if isinstance(one, bool):
            if not flag:
                yield at, f"{field} is never true or false"
        elif text:
            if place is None and difflib.SequenceMatcher(None, one.lower(), GIVEN).ratio() >= NEAR:
                yield at, f"write `{GIVEN}` for any {field} but none; for the word itself a list: [{one}]"
        elif words:
            if one not in words:
                yield at, f"{field} is never {one}: it is one of {', '.join(words)}"
        else:
            yield at, f"{field} is no word: say `{GIVEN}`" + (", true or false" if flag else "")


def _can_say(action: str, field: str) -> tuple[tuple[str, ...], bool, bool]:
    """The words of a closed list that a field can say; whether it says yes or no; whether it says any text."""
    info = msgspec.inspect.type_info(ACTIONS[action])
    assert isinstance(info, msgspec.inspect.StructType)
    (kind,) = (bare(one.type) for one in info.fields if one.name == field)
    kinds = [bare(one) for one in kind.types] if isinstance(kind, msgspec.inspect.UnionType) else [kind]
    words = [str(word) for one in kinds if isinstance(one, msgspec.inspect.LiteralType) for word in one.values]
    flag, text = (
        any(isinstance(one, wanted) for one in kinds) for wanted in (msgspec.inspect.BoolType, msgspec.inspect.StrType)
    )
    return tuple(words), flag, text
