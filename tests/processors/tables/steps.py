"""The steps of a case as deeds: what each says in words is an action as it would be sent, or a board's award."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from schemas.actions import ACTIONS
from schemas.records import Award
from tests.processors.story import EPOCH
from tests.processors.tables.moments import moment, nth, span
from tests.processors.tables.playing import MEMBER, Deed

Path_ = tuple[str | int, ...]


class Wrong(ValueError):
    """Something wrong at a path of the file."""

    def __init__(self, path: Path_, words: str) -> None:
        super().__init__(words)
        self.path, self.words = path, words


QUIET: dict[str, tuple[str, ...]] = {"tick": (), "boards": (), "threshold": ("value", "members")}
"""No record to the member: time passes, thresholds come, boards that can be final are made so. With what each says."""

SCHEDULE = ("at", "do", "times", "every")
ONLY_OF = {"hold": "adjust", "week": "award", "month": "award"}
"""Names that no other step knows; an action's own fields are looked at when it is made."""

HEAD = (
    *("at", "do", "happened", "by", "times", "every", "again", "hold"),
    *("yuan", "order", "referrer", "answers", "week", "month"),
)
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
    "opening": {
        **{"lots": {}, "debt": 0, "spend": {}, "level": "bronze", "level_since": "day -30", "joined_at": "day -400"},
        **{"reason": "moved", "operator": "ann", "approved_by": "bob"},
    },
}
"""What a step need not say; a purchase's `order_id` is its step's number, if none is named."""

MOMENTS = (
    *("paid_until", "purchased_at", "level_since", "joined_at"),
    *("last_purchase_at", "last_action_at", "occurred_at"),
)
"""Fields that are moments."""


def deeds(steps: Sequence[Mapping[str, Any]]) -> list[Deed]:
    """All that the steps of a case bring about, in their order. Raises `Wrong` with the step's place."""
    made: list[list[Deed]] = []
    for number, step in enumerate(steps):
        made.append(list(_step(step, number, made)))
    return [deed for step in made for deed in step]


def at_of(step: Mapping[str, Any], number: int, name: str = "at") -> int:
    """The moment (ms) that a step names. Raises `Wrong`."""
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
    at = at_of(step, number)
    if "again" in step:
        if set(step) != {"at", "again"} or not isinstance(step["again"], int) or not 1 <= step["again"] <= number:
            raise Wrong(("steps", number, "again"), "an earlier step by its number (from 1), with `at` and no more")
        yield from (deed._replace(arrives=at) for deed in before[step["again"] - 1])
        return
    what = step.get("do")
    _check_names(step, number, str(what))
    times, every = step.get("times", 1), 0
    if not isinstance(times, int) or not 1 <= times <= 1_000:
        raise Wrong(("steps", number, "times"), "from 1 to 1000")
    if times > 1:
        every = _words(span, step, number, "every")
    for one in range(times):
        if what in QUIET:
            yield Deed(at + one * every, None, settles=what == "boards")
        elif what == "award":
            yield Deed(at + one * every, _award(step, number))
        elif what in ACTIONS:
            happened = at_of(step, number, "happened") if "happened" in step else at
            body = _body(_counted(step, one), number, one, happened + one * every)
            yield Deed(at + one * every, _action(body, number), step.get("hold", 0), step=number + 1)
        else:
            known = ", ".join((*QUIET, "award", *ACTIONS))
            raise Wrong(("steps", number, *(("do",) if "do" in step else ())), f"`do` is one of {known}")


def _check_names(step: Mapping[str, Any], number: int, what: str) -> None:
    """Raises `Wrong` for a name that such a step does not read, and for one that it lacks."""
    if what in QUIET:
        known = (*SCHEDULE, *QUIET[what])
        if unknown := [name for name in step if name not in known]:
            raise Wrong(("steps", number, unknown[0]), f"{what} has no {unknown[0]}; it has {', '.join(known)}")
        if lacking := [name for name in QUIET[what] if name not in step]:
            raise Wrong(("steps", number), f"say `{lacking[0]}`")
        for name in QUIET[what]:
            _number(step, number, name)
    for name, of in ONLY_OF.items():
        if name in step and what != of:
            raise Wrong(("steps", number, name), f"{what} has no {name}, {of} has")
    if "hold" in step and (_number(step, number, "hold") < 1 or not isinstance(step["hold"], int)):
        raise Wrong(("steps", number, "hold"), "a hold by its place, from 1")


def _number(step: Mapping[str, Any], number: int, name: str) -> int | Decimal:
    value: Any = step[name]
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise Wrong(("steps", number, name), "a number")
    return value


def _counted(step: Mapping[str, Any], one: int) -> Mapping[str, Any]:
    """`friend-#` is friend-1, friend-2 ... of a step that happens so many times."""
    return {name: value.replace("#", str(one + 1)) if isinstance(value, str) else value for name, value in step.items()}


def _body(step: Mapping[str, Any], number: int, one: int, happened: int) -> dict[str, Any]:
    """The action as it would be sent."""
    what, by = str(step["do"]), str(step.get("by", MEMBER))
    said = DEFAULTS.get(what, {}) | {name: value for name, value in step.items() if name not in HEAD}
    body = {name: _plain(value, number, name) for name, value in said.items()}
    if "yuan" in step:
        body["amount"] = _fen(step["yuan"], number)
    if "referrer" in step:
        body["referrer_id"] = step["referrer"]
    if "answers" in step:
        body["reply_to"] = {"event_id": "asked", "member_id": step["answers"]}
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
    """A field's value: money inside of it in yuan, moments in words; lots by their months."""
    if name == "lots" and isinstance(value, dict):
        return [{"month": month, "points": points} for month, points in value.items()]
    if name == "spend" and isinstance(value, dict):
        return {month: _fen(yuan, number, name) for month, yuan in value.items()}
    if isinstance(value, list):
        return [_plain(one, number, name) for one in value]
    if isinstance(value, dict):
        return {
            "amount" if key == "yuan" else key: _fen(one, number) if key == "yuan" else _plain(one, number, key)
            for key, one in value.items()
        }
    if name in MOMENTS:
        return _stamp(_words(moment, {name: value}, number, name))
    return float(value) if isinstance(value, Decimal) else value


def _fen(yuan: Any, number: int, name: str = "yuan") -> int:
    if isinstance(yuan, bool) or not isinstance(yuan, int | Decimal):
        raise Wrong(("steps", number, name), "an amount such as 99 or 0.66")
    fen = Decimal(yuan) * 100
    if fen != int(fen):
        raise Wrong(("steps", number, name), "no more than two decimals")
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
    period = str(step.get("period"))
    body = {"member_id": MEMBER, "at": nth(period, step.get(period, 0)), "place": 1, "value": 1} | body
    try:
        return msgspec.convert(body | {"derived": "award"}, Award)
    except msgspec.ValidationError as error:
        raise Wrong(("steps", number), f"award: {error}") from None
