"""Conditions in CEL: what is refused when a programme is read, and where; what they say of an action."""

from __future__ import annotations

import datetime as dt
import json
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cel_expr_python import cel as cel_library
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import cel
from schemas.actions import ACTIONS, Action, Live, Message, Purchase
from schemas.programme import ProgrammeError, parse
from tests.processors.story import DEFAULT

HEAD: dict[str, Any] = {
    "event_id": "e-1",
    "source": "app",
    "member_id": "m-1",
    "occurred_at": dt.datetime(2026, 3, 2, tzinfo=dt.UTC),
}
BEFORE = "{action: purchase, where: {coupon_id: given}}"


def with_condition(text: str) -> str:
    """The default programme, in which a purchase counts as a coupon by a condition."""
    assert BEFORE in DEFAULT
    return DEFAULT.replace(BEFORE, f"{{action: purchase, cel: {json.dumps(text)}}}")


def purchase(**fields: Any) -> Purchase:
    said: dict[str, Any] = HEAD | {"order_id": "o-1", "amount": 9_900, "currency": "CNY"} | fields
    return Purchase(**said)


REFUSED = [
    # text, where in it, what is wrong
    ("amont > 1", "at 1:1: no such name: amont; purchase has ", "misspelt"),
    ('amount > "x"', "at 1:8: found no matching overload for '_>_' applied to '(int, string)'", "a word for a number"),
    ("amount > 1.5", "at 1:8: found no matching overload", "a broken number for a whole one"),
    ("amount", "it is INT, not true or false", "no condition"),
    ("amount >", "at 1:9: Syntax error", "half a condition"),
    ('channel == "app"\n  && amont > 1', "at 2:6: no such name: amont", "on the second line"),
    ("occurred_at > 1", "at 1:1: no such name: occurred_at", "a moment"),
    ("now() > 1", "at 1:1: no such name: now", "a clock"),
    ('timestamp("2026-01-01T00:00:00Z").getHours("Asia/Shanghai") == 8', "at 1:1: no such name: timestamp", "zones"),
    ("random() > 1", "at 1:1: no such name: random", "chance"),
    ('channel.matches("a+")', "at 1:9: no such name: matches", "a pattern"),
    ('string(amount) == "1"', "at 1:1: no such name: string", "how a number is written"),
    ("dyn(amount) > 1.5", "at 1:1: no such name: dyn", "no type"),
    ("[1, 2].exists(i, i == amount)", "at 1:8: no such name: exists", "what repeats"),
    ("lines.size() > 1", "at 1:1: no such name: lines", "a list of the action"),
    ('channel == r"a"', "at 1:12: no such name: r", "other texts"),
    ('channel == """a"""', "at 1:14: '\"' has no place here", "texts in three quotes"),
    ('channel == "a" // "\n', "at 1:16: '/' has no place here", "a comment"),
    ("`amount` > 1", "at 1:1: '`' has no place here", "an escaped name"),
    ("amount > 1 ;", "at 1:12: ';' has no place here", "another mark"),
    ('channel == "\\q"', "at 1:", "an escape that is none"),
    ("(" * 300, "", "too deep"),
    ("amount > 1 " + "|| amount > 1 " * 40, "String should have at most 500 characters", "too long"),
]


@pytest.mark.parametrize(("text", "words", "name"), REFUSED, ids=[row[2] for row in REFUSED])
def test_it_is_refused_where_it_stands_in_the_file(text: str, words: str, name: str) -> None:
    programme = with_condition(text)
    with pytest.raises(ProgrammeError) as caught:
        parse(programme, "bad.yaml")
    ((line, column, path, told),) = caught.value.errors
    assert path == "tasks.trial.conditions.0.of.1.cel"
    assert programme.splitlines()[line - 1][column - 1 :].startswith("cel: ")
    assert told.startswith(words), told
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"bad.yaml:{line}:{column}: {path}: ")


@pytest.fixture
def without_the_extra(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    cel.condition.cache_clear()
    monkeypatch.setitem(sys.modules, "cel_expr_python", None)
    yield
    cel.condition.cache_clear()


@pytest.mark.usefixtures("without_the_extra")
def test_without_the_extra_one_line_says_what_to_install() -> None:
    with pytest.raises(ProgrammeError) as caught:
        parse(with_condition("amount > 1"), "p.yaml")
    (told,) = str(caught.value).splitlines()
    with pytest.raises(ProgrammeError) as caught:
        parse(DEFAULT.replace("of: [{action: profile}]", "of: [{action: profile, cel: 'need == \"price\"'}]"))
    assert len(caught.value.errors) == 1, "the only one of its list is not missing too"
    assert told.endswith("cel: CEL is an extra: install it with `pip install cel-expr-python==0.1.3`")
    parse(DEFAULT)


def test_what_it_says_to_install_is_what_the_extra_installs() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    (wanted,) = project["optional-dependencies"]["cel"]
    assert f"`pip install {wanted}`" in cel.REMEDY


HOLDS: list[tuple[str, Action, bool]] = [
    ("amount >= 9900", purchase(amount=9_900), True),
    ("amount >= 9900", purchase(amount=9_899), False),
    ('channel in ["app", "mini"] && amount > 5000', purchase(channel="mini"), True),
    ('channel in ["app", "mini"] && amount > 5000', purchase(channel="web"), False),
    ('channel == ""', purchase(), True),
    ('coupon_id.startsWith("NEW-") || amount > 10000', purchase(coupon_id="NEW-1"), True),
    ('coupon_id.startsWith("NEW-") || amount > 10000', purchase(amount=10_001), True),
    ('!(coupon_id == "x") && order_id.endsWith("1") && order_id.contains("-")', purchase(), True),
    ("size(order_id) == 3", purchase(), True),
    ("size(channel) == 2", purchase(channel="小店"), True),
    ("amount % 100 == 0 ? true : false", purchase(), True),
    ("completion >= 0.8", Live(**HEAD, item_id="i", completion=0.8), True),
    ("completion >= 0.8", Live(**HEAD, item_id="i", completion=0.79), False),
    ("length > 3", Message(**HEAD, kind="chat", length=4), True),
    # what cannot be told is not so, and takes nothing from what can
    ("length > 3", Message(**HEAD, kind="chat"), False),
    ("!(length > 3)", Message(**HEAD, kind="chat"), False),
    ('length > 3 || kind == "chat"', Message(**HEAD, kind="chat"), True),
    ("amount / 0 == 1", purchase(), False),
    ("amount + 9223372036854775807 > 0", purchase(), False),
]


@pytest.mark.parametrize(("text", "action", "holds"), HOLDS, ids=[f"{row[0]}: {row[2]}" for row in HOLDS])
def test_what_it_says_of_an_action(text: str, action: Action, *, holds: bool) -> None:
    kind = next(name for name, one in ACTIONS.items() if one is type(action))
    assert cel.condition(kind, text).holds(action) is holds


@given(st.integers(0, 10**13), st.integers(0, 10**13), st.sampled_from(["<", "<=", "==", "!=", ">=", ">"]))
def test_a_comparison_is_that_of_python(amount: int, limit: int, sign: str) -> None:
    wanted = {"<": amount < limit, "<=": amount <= limit, "==": amount == limit, "!=": amount != limit}
    wanted |= {">=": amount >= limit, ">": amount > limit}
    assert cel.condition("purchase", f"amount {sign} {limit}").holds(purchase(amount=amount)) is wanted[sign]


EVIL = b'"\x06\n\x04evil'
"""How a compiled expression names a variable `evil`; as a part of a text in quotes it is written otherwise."""
PIECES = (
    "evil",
    "channel",
    " == ",
    " && ",
    " || ",
    '"',
    "'",
    "\\",
    "\n",
    "//",
    '\\"',
    "\\'",
    "r",
    "b",
    "`",
    " ",
    "a",
    "true",
)


@cache
def environment() -> Any:
    return cel_library.NewEnv(variables={"channel": cel_library.Type.STRING, "evil": cel_library.Type.BOOL})


@settings(max_examples=1_000)
@given(
    st.lists(st.sampled_from(PIECES), max_size=10).map("".join),
    st.sampled_from(['channel == "', "channel == '", "channel == "]),
)
def test_what_stands_in_quotes_for_us_does_so_for_cel(text: str, before: str) -> None:
    """Nothing hides a name from our look at it: what is let in reads none but the known ones."""
    text = before + text
    try:
        cel.names("purchase", text, {"channel": "STRING"})
        compiled = environment().compile(text)
    except (ValueError, RuntimeError):
        return
    assert EVIL not in compiled.serialize()


def test_that_look_would_find_it() -> None:
    assert EVIL in environment().compile('channel == "evil" && evil').serialize()
    assert EVIL not in environment().compile('channel == "evil"').serialize()


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_can_be_asked(action: str) -> None:
    known = cel.fields(action)
    assert {"region", "group_id", "channel", "device_id"} <= known.keys()
    assert not known.keys() & (cel.FUNCTIONS | cel.WORDS)
    for name, kind in known.items():
        equal = {"INT": "1", "DOUBLE": "1.0", "STRING": '"a"', "BOOL": "true"}[kind]
        cel.condition(action, f"{name} == {equal}")
