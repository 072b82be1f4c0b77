"""A table's file, read: its cases as deeds over the real rules, and every error with its line and column."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

import msgspec
from pydantic import Field, ValidationError

from processors.programme import Rules
from schemas.part import Part
from schemas.programme import Programme
from schemas.programme_text import ProgrammeError, Text, load
from tests.processors.story import DEFAULT
from tests.processors.tables.moments import BOARD, moment
from tests.processors.tables.playing import Deed
from tests.processors.tables.steps import Path_, Wrong, at_of, deeds

FOLDER = Path(__file__).parent
SUFFIX = ".yaml"
TIMES = re.compile(r"(\d+) times (.+)")

Aspect = Literal["ordinary", "before", "after", "cap", "duplicate", "late", "refund"]
ASPECTS: tuple[str, ...] = get_args(Aspect)
Lines = Annotated[tuple[str, ...], Field(strict=False)] | None


class Then(Part):
    """What came of it. What is not named is not looked at; `[]` says that there is nothing."""

    ledger: Lines = None
    tiers: Lines = None
    tasks: Lines = None
    badges: Lines = None
    levels: Lines = None
    holds: Lines = None
    heard: Lines = None
    warnings: Lines = None
    answers: Lines = None
    balances: dict[str, int] | None = None
    orders: dict[str, int] | None = None
    lots: dict[str, int] | None = None
    boards: dict[str, Lines] | None = None
    replies: dict[str, int] | None = None
    consents: dict[str, str] | None = None
    months: dict[str, float | int] | None = None
    progress: dict[str, str] | None = None
    spend: float | int | None = None
    score: float | int | None = None
    value: str | None = None


class Row(Part):
    """A case as it stands in the file. `of` names parts of what the file covers, `also` other things, in full."""

    title: str
    aspects: Annotated[tuple[Aspect, ...], Field(min_length=1, strict=False)]
    of: Annotated[tuple[str, ...], Field(strict=False)] = ()
    also: Annotated[tuple[str, ...], Field(strict=False)] = ()
    programme: dict[str, Any] = Field(default={})
    xfail: str = ""
    steps: Annotated[tuple[dict[str, Any], ...], Field(strict=False)]
    then: Then


class Sheet(Part):
    """A file: what it covers, which names its lines are of (all, if none is named), and its cases."""

    title: str
    covers: str
    only: Annotated[tuple[str, ...], Field(strict=False)] = ()
    programme: dict[str, Any] = Field(default={})
    cases: Annotated[tuple[Row, ...], Field(min_length=1, strict=False)]


class Case(NamedTuple):
    """A case ready to be played."""

    file: str
    title: str
    items: tuple[str, ...]
    aspects: tuple[str, ...]
    changed: tuple[str, ...]
    rules: Rules
    deeds: list[Deed]
    then: dict[str, Any]
    only: tuple[str, ...]
    xfail: str


def read(path: Path) -> list[Case]:
    """All cases of a file. Raises `ProgrammeError` with every error: file:line:column."""
    return cases(path.read_text(), path.name)


def cases(text: str, name: str) -> list[Case]:
    """As `read`, of a text."""
    found = load(text, name)
    if found.twice:
        raise ProgrammeError(found.twice, name)
    if not isinstance(found.plain, dict):
        raise ProgrammeError([(1, 1, "$", "a table is a mapping; begin with `title:`")], name)
    try:
        sheet = Sheet.model_validate(found.plain)
    except ValidationError as error:
        # A list of which every item is wrong is not "too short" as well.
        said = [it for it in error.errors() if it["type"] != "too_short" or not it["input"]]
        raise _error(found, name, [(it["loc"], str(it["msg"])) for it in said]) from None
    made: list[Case] = []
    wrong: list[tuple[Path_, str]] = []
    titles = [row.title for row in sheet.cases]
    for number, row in enumerate(sheet.cases):
        try:
            if row.title in titles[:number]:
                raise Wrong(("title",), "another case has this title")
            made.append(_case(name, sheet, row))
        except Wrong as error:
            at: Path_ = error.path if error.path[:1] == ("programme",) and not row.programme else ()
            wrong.append((at or ("cases", number, *error.path), error.words))
    if wrong:
        raise _error(found, name, wrong)
    return made


def _error(text: Text, name: str, wrong: Sequence[tuple[Path_, str]]) -> ProgrammeError:
    rows = {(*text.place(path), ".".join(map(str, path)), words) for path, words in wrong}
    return ProgrammeError(sorted(rows), name)


def _case(name: str, sheet: Sheet, row: Row) -> Case:
    then = {heading: _written_out(said) for heading, said in row.then.model_dump(exclude_none=True).items()}
    if not then:
        raise Wrong(("then",), f"name at least one of {', '.join(Then.model_fields)}")
    for board in then.get("boards", ()):
        if not BOARD.fullmatch(board):
            raise Wrong(("then", "boards", board), "write it as `spending of month 0 in region east`")
    changed = sheet.programme | row.programme
    items = (*(f"{sheet.covers}.{part}" for part in row.of), *row.also) or (sheet.covers,)
    played = deeds(row.steps)  # says what is wrong with a step
    rules = _knowing(_rules(changed), row.steps)
    for aspect in row.aspects:
        if aspect in SHOWN and not SHOWN[aspect](row.steps):
            raise Wrong(("aspects",), f"no step of this case is {aspect}")
    return Case(name, row.title, items, row.aspects, tuple(changed), rules, played, then, sheet.only, row.xfail)


def _written_out(said: Any) -> Any:
    """Lines with `3 times message 2` as three of them, also those of a board; what is no lines as it is."""
    if isinstance(said, dict):
        return {name: _written_out(one) for name, one in said.items()}
    if not isinstance(said, tuple):
        return said
    found: list[str] = []
    for line in said:
        times = TIMES.fullmatch(line)
        found += [times[2]] * int(times[1]) if times else [line]
    return found


def _is_late(steps: Sequence[Mapping[str, Any]]) -> bool:
    """An action that arrives after it happened; an award always does."""
    return any(
        step.get("do") == "award" or ("happened" in step and moment(str(step["happened"])) < moment(str(step["at"])))
        for step in steps
    )


def _comes_twice(steps: Sequence[Mapping[str, Any]]) -> bool:
    """The very same record, or another one of the same order, request or row, or a second opening."""
    known = [
        (step.get("do"), name, step[name])
        for step in steps
        for name in ("order", "redeem_id", "row", "batch_id")
        if name in step
    ]
    known += [("opening", "by", step.get("by")) for step in steps if step.get("do") == "opening"]
    return any("again" in step for step in steps) or len(set(known)) < len(known)


SHOWN: dict[str, Callable[[Sequence[Mapping[str, Any]]], bool]] = {
    "late": _is_late,
    "duplicate": _comes_twice,
    "refund": lambda steps: any(step.get("do") == "refund" for step in steps),
}
"""Aspects that can be seen in the steps: they are not taken on trust."""


# -- the programme ------------------------------------------------------------------------------------------------


def _rules(changes: Mapping[str, Any]) -> Rules:
    return _compiled(_EXACT.encode(dict(changes)).decode())


_EXACT = msgspec.json.Encoder(decimal_format="number")
_exactly = msgspec.json.Decoder(float_hook=Decimal).decode


@cache
def _compiled(changes: str) -> Rules:
    """The default programme with some leaves changed: `points.share.per_day: 8`."""
    plain = load(DEFAULT, "default").plain
    for name, value in _exactly(changes).items():
        *above, last = name.split(".")
        part = plain
        for key in above:
            part = part.get(key) if key in part else part.setdefault(key, {}) if key == "custom" else None
            if not isinstance(part, dict):
                raise Wrong(("programme", name), "no such name in the programme")
        part[last] = value
    try:
        return Rules(Programme.model_validate(plain), 1, 0)
    except ValidationError as error:
        raise Wrong(("programme",), "; ".join(f"{it['loc']}: {it['msg']}" for it in error.errors())) from None


def _knowing(rules: Rules, steps: Sequence[Mapping[str, Any]]) -> Rules:
    """Beside the thresholds of the most active, which stand among the steps."""
    tops = tuple(
        (at_of(step, number), step["value"] * 1_000, step["members"])
        for number, step in enumerate(steps)
        if step.get("do") == "threshold"
    )
    return rules.knowing(tops) if tops else rules
