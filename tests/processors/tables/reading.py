"""A table's file, read: its cases as deeds over the real rules, and every error with its line and column."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

import msgspec
from pydantic import Field, ValidationError

from processors.programme import Rules
from schemas.actions import ACTIONS
from schemas.part import Part
from schemas.programme import Programme
from schemas.programme_text import ProgrammeError, Text, load
from schemas.records import Award
from tests.processors.story import DEFAULT, EPOCH
from tests.processors.tables.moments import moment, span
from tests.processors.tables.playing import MEMBER, Deed

FOLDER = Path(__file__).parent
SUFFIX = ".yaml"

Aspect = Literal["ordinary", "before", "after", "cap", "duplicate", "late", "refund"]
ASPECTS: tuple[str, ...] = get_args(Aspect)
Lines = Annotated[tuple[str, ...], Field(strict=False)] | None
Path_ = tuple[str | int, ...]


class Then(Part):
    """What came of it. What is not named is not looked at; `[]` says that there is nothing."""

    ledger: Lines = None
    tiers: Lines = None
    tasks: Lines = None
    badges: Lines = None
    levels: Lines = None
    holds: Lines = None
    warnings: Lines = None
    answers: Lines = None
    balances: dict[str, int] | None = None
    orders: dict[str, int] | None = None
    lots: dict[str, int] | None = None
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
    then: Then
    only: tuple[str, ...]
    xfail: str


class Wrong(ValueError):
    """Something wrong at a path of the file."""

    def __init__(self, path: Path_, words: str) -> None:
        super().__init__(words)
        self.path, self.words = path, words


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
    then = row.then.model_dump(exclude_none=True)
    if not then:
        raise Wrong(("then",), f"name at least one of {', '.join(Then.model_fields)}")
    changed = sheet.programme | row.programme
    rules = _knowing(_rules(changed), row.steps)
    items = (*(f"{sheet.covers}.{part}" for part in row.of), *row.also) or (sheet.covers,)
    deeds = _deeds(row.steps)
    for aspect in row.aspects:
        if aspect in SHOWN and not SHOWN[aspect](row.steps):
            raise Wrong(("aspects",), f"no step of this case is {aspect}")
    return Case(name, row.title, items, row.aspects, tuple(changed), rules, deeds, row.then, sheet.only, row.xfail)


def _is_late(steps: Sequence[Mapping[str, Any]]) -> bool:
    """An action that arrives after it happened; an award always does."""
    return any(
        step.get("do") == "award" or ("happened" in step and moment(str(step["happened"])) < moment(str(step["at"])))
        for step in steps
    )


def _comes_twice(steps: Sequence[Mapping[str, Any]]) -> bool:
    """The very same record, or another one of the same order, request, or row."""
    known = [
        (step.get("do"), name, step[name])
        for step in steps
        for name in ("order", "redeem_id", "row", "batch_id")
        if name in step
    ]
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
        (_at(step, number), step["value"] * 1_000, step["members"])
        for number, step in enumerate(steps)
        if step.get("do") == "threshold" and step.keys() >= {"value", "members"}
    )
    return rules.knowing(tops) if tops else rules


# -- steps --------------------------------------------------------------------------------------------------------

HEAD = ("at", "do", "happened", "by", "times", "every", "again", "hold", "yuan", "order", "referrer")
DEFAULTS: dict[str, dict[str, Any]] = {
    "message": {"kind": "chat"},
    "share": {"target": "content"},
    "purchase": {"currency": "CNY"},
    "refund": {"currency": "CNY"},
    "event": {"activity_id": "activity"},
    "benefit_use": {"grant_id": "grant", "benefit_id": "benefit"},
    "content": {"content_id": "content"},
    "live": {"item_id": "live", "completion": 1.0},
    "adjust": {"kind": "points", "reason": "looked at", "operator": "ann", "approved_by": "bob"},
}
"""What a step need not say; a purchase's `order_id` is its step's number, if none is named."""


def _deeds(steps: Sequence[Mapping[str, Any]]) -> list[Deed]:
    made: list[list[Deed]] = []
    for number, step in enumerate(steps):
        made.append(list(_step(step, number, made)))
    return [deed for deeds in made for deed in deeds]


def _at(step: Mapping[str, Any], number: int, name: str = "at") -> int:
    return _words(moment, step, number, name)


def _words(parse: Callable[[str], int], step: Mapping[str, Any], number: int, name: str) -> int:
    try:
        return parse(str(step[name]))
    except KeyError:
        raise Wrong(("steps", number), f"say `{name}`") from None
    except ValueError as error:
        raise Wrong(("steps", number, name), str(error)) from None


def _step(step: Mapping[str, Any], number: int, before: list[list[Deed]]) -> Iterator[Deed]:
    """The deeds of a step: one, or `times` of them, `every` so long; or an earlier step's `again`."""
    at = _at(step, number)
    if "again" in step:
        if set(step) != {"at", "again"} or not isinstance(step["again"], int) or not 1 <= step["again"] <= number:
            raise Wrong(("steps", number, "again"), "an earlier step by its number (from 1), with `at` and no more")
        yield from (deed._replace(arrives=at) for deed in before[step["again"] - 1])
        return
    what = step.get("do")
    times, every = step.get("times", 1), 0
    if not isinstance(times, int) or not 1 <= times <= 1_000:
        raise Wrong(("steps", number, "times"), "from 1 to 1000")
    if times > 1:
        every = _words(span, step, number, "every")
    for one in range(times):
        if what in ("tick", "threshold"):
            yield Deed(at + one * every, None)
        elif what == "award":
            yield Deed(at + one * every, _award(step, number))
        elif what in ACTIONS:
            happened = _at(step, number, "happened") if "happened" in step else at
            body = _body(_counted(step, one), number, one, happened + one * every)
            yield Deed(at + one * every, _action(body, number), step.get("hold", 0))
        else:
            known = ", ".join(("tick", "award", "threshold", *ACTIONS))
            raise Wrong(("steps", number, *(("do",) if "do" in step else ())), f"`do` is one of {known}")


def _counted(step: Mapping[str, Any], one: int) -> Mapping[str, Any]:
    """`friend-#` is friend-1, friend-2 ... of a step that happens so many times."""
    return {name: value.replace("#", str(one + 1)) if isinstance(value, str) else value for name, value in step.items()}


def _body(step: Mapping[str, Any], number: int, one: int, happened: int) -> dict[str, Any]:
    """The action as it would be sent."""
    what, by = str(step["do"]), str(step.get("by", MEMBER))
    body = {name: _plain(value, number, name) for name, value in step.items() if name not in HEAD}
    body = DEFAULTS.get(what, {}) | body
    if "yuan" in step:
        body["amount"] = _fen(step["yuan"], number)
    if "referrer" in step:
        body["referrer_id"] = step["referrer"]
    if "order" in step or what == "purchase":
        body["order_id"] = step.get("order", f"{number + 1}.{one + 1}" if one else f"{number + 1}")
    body.setdefault("event_id", f"{number + 1}.{one + 1}")
    return {
        **body,
        "action": what,
        "member_id": by,
        "source": body.get("source", "app"),
        "occurred_at": _stamp(happened),
    }


def _plain(value: Any, number: int, name: str) -> Any:
    """A field's value: money inside of lines in yuan, moments in words."""
    if isinstance(value, list):
        return [_plain(one, number, name) for one in value]
    if isinstance(value, dict):
        return {
            "amount" if key == "yuan" else key: _fen(one, number) if key == "yuan" else _plain(one, number, name)
            for key, one in value.items()
        }
    if name in ("paid_until", "purchased_at") and isinstance(value, str):
        return _stamp(_words(moment, {name: value}, number, name))
    return float(value) if isinstance(value, Decimal) else value


def _fen(yuan: Any, number: int) -> int:
    if isinstance(yuan, bool) or not isinstance(yuan, int | Decimal):
        raise Wrong(("steps", number, "yuan"), "an amount such as 99 or 0.66")
    fen = Decimal(yuan) * 100
    if fen != int(fen):
        raise Wrong(("steps", number, "yuan"), "no more than two decimals")
    return int(fen)


def _stamp(ms: int) -> str:
    return (EPOCH + dt.timedelta(milliseconds=ms)).isoformat()


def _action(body: dict[str, Any], number: int) -> Any:
    try:
        return msgspec.convert({k: v for k, v in body.items() if k != "action"}, ACTIONS[body["action"]])
    except msgspec.ValidationError as error:
        raise Wrong(("steps", number), f"{body['action']}: {error}") from None


def _award(step: Mapping[str, Any], number: int) -> Award:
    """A board's place: `month` counts from 0 = March 2026, `week` from the first Monday."""
    body = {name: value for name, value in step.items() if name not in HEAD}
    month = body.pop("month", 0)
    body = {"member_id": MEMBER, "at": 2026 * 12 + 2 + month, "place": 1, "value": 1} | body
    try:
        return msgspec.convert(body | {"derived": "award"}, Award)
    except msgspec.ValidationError as error:
        raise Wrong(("steps", number), f"award: {error}") from None
