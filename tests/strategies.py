"""Members, actions and histories for property tests: what could be sent, built from the contracts themselves.

Hypothesis prints how to repeat a failure; nothing here has a seed of its own.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, NamedTuple

import msgspec.inspect as inspect
from hypothesis import strategies as st

from schemas.actions import ACTIONS, NO_PHONE, Action
from schemas.decoding import looks_like_phone

MONEY_MAX = 10**13
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

ids = st.text(min_size=1, max_size=12)
instants = st.datetimes(
    min_value=dt.datetime(2000, 1, 2),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=dt.datetime(2099, 12, 30),  # noqa: DTZ001
    timezones=st.sampled_from([dt.UTC, dt.timezone(dt.timedelta(hours=8)), dt.timezone(dt.timedelta(hours=-5))]),
)


def of_type(kind: inspect.Type) -> st.SearchStrategy[Any]:
    """Values that a type of the contracts accepts, whatever its limits."""
    match kind:
        case inspect.Metadata(extra_json_schema={"pattern": pattern}) if pattern == NO_PHONE:
            return of_type(kind.type).filter(lambda text: not looks_like_phone(text))
        case inspect.Metadata():
            return of_type(kind.type)
        case inspect.StrType(pattern=str(pattern)) if pattern == NO_PHONE:
            return st.text(min_size=kind.min_length or 0, max_size=20).filter(lambda text: not looks_like_phone(text))
        case inspect.StrType(pattern=str(pattern)):
            return st.from_regex(pattern, fullmatch=True)
        case inspect.StrType():
            return st.text(min_size=kind.min_length or 0, max_size=min(kind.max_length or 20, 20))
        case inspect.BoolType():
            return st.booleans()
        case inspect.IntType():
            return st.integers(kind.ge if kind.ge is not None else 0, kind.le)
        case inspect.FloatType():
            return st.floats(kind.ge, kind.le, allow_nan=False, allow_infinity=False)
        case inspect.DateTimeType():
            return instants
        case inspect.DateType():
            return st.dates()
        case inspect.LiteralType():
            return st.sampled_from(kind.values)
        case inspect.NoneType():
            return st.none()
        case inspect.UnionType():
            return st.one_of([of_type(one) for one in kind.types])
        case inspect.VarTupleType():
            return st.lists(of_type(kind.item_type), max_size=3).map(tuple)
        case inspect.DictType():
            return st.dictionaries(of_type(kind.key_type), of_type(kind.value_type), max_size=3)
        case inspect.StructType():
            return st.builds(kind.cls, **{f.name: of_type(f.type) for f in kind.fields})
    raise NotImplementedError(kind)


def action_of(kind: type[Action]) -> st.SearchStrategy[Action]:
    """Any action of one kind that decodes."""
    return of_type(inspect.type_info(kind))


actions: st.SearchStrategy[Action] = st.one_of([action_of(kind) for kind in ACTIONS.values()])
"""Any action that decodes, of every kind."""


class Sent(NamedTuple):
    """An action of a history: what, when it happened and how much later it arrived (ms), and its fields."""

    what: str
    happened: int
    delay: int
    fields: tuple[tuple[str, Any], ...] = ()

    @property
    def arrives(self) -> int:
        """When it arrives."""
        return self.happened + self.delay


def fields_of(what: str) -> st.SearchStrategy[tuple[tuple[str, Any], ...]]:
    """Fields that matter to the rules, near their limits."""
    regions = st.sampled_from(["", "east", "west"])
    by_name: dict[str, dict[str, st.SearchStrategy[Any]]] = {
        "message": {
            "kind": st.sampled_from(["chat", "question", "answer", "experience"]),
            "length": st.sampled_from([None, 0, 3, 4, 5, 100]),
        },
        "purchase": {"amount": st.one_of(st.sampled_from([0, 99, 100, 101]), st.integers(0, MONEY_MAX))},
        "live": {"item_id": st.just("i-1"), "completion": st.floats(0, 1)},
        "join": {"region": regions},
        "profile": {"home_region": st.one_of(st.none(), regions)},
        "content": {"content_id": st.just("c-1"), "status": st.sampled_from(["seen", "clicked"])},
    }
    named = by_name.get(what, {})
    return st.tuples(*[st.tuples(st.just(name), value) for name, value in named.items()])


KINDS = (
    "check_in",
    "check_in",
    "message",
    "share",
    "purchase",
    "login",
    "live",
    "join",
    "profile",
    "content",
)


def sent(
    days: int, delay_days: int = 30, kinds: tuple[str, ...] = KINDS, step: int = HOUR_MS
) -> st.SearchStrategy[Sent]:
    """An action within so many days, on time or late by up to the horizon."""
    moments = st.integers(0, days * DAY_MS // step).map(lambda n: n * step)
    delays = st.one_of(st.just(0), st.integers(0, delay_days * DAY_MS // step).map(lambda n: n * step))
    return st.sampled_from(kinds).flatmap(lambda what: st.builds(Sent, st.just(what), moments, delays, fields_of(what)))


def histories(
    days: int, max_size: int = 30, kinds: tuple[str, ...] = KINDS, step: int = HOUR_MS, min_size: int = 0
) -> st.SearchStrategy[list[Sent]]:
    """What a member did over so many days, each action at a delay of its own."""
    return st.lists(sent(days, kinds=kinds, step=step), min_size=min_size, max_size=max_size)


def redelivered(history: list[Sent]) -> st.SearchStrategy[list[Sent]]:
    """The same actions, each late by another delay within the horizon."""
    hours = st.one_of(st.just(0), st.integers(0, 30 * 24))
    delays = st.lists(hours, min_size=len(history), max_size=len(history))
    return delays.map(lambda found: [one._replace(delay=n * HOUR_MS) for one, n in zip(history, found, strict=True)])
