"""Echoes: whom a member answers is told so, once, and never oneself; the author's partition counts answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from processors import echoes
from processors.programme import Rules
from schemas.programme import parse
from schemas.records import Echo
from tests.processors.story import START
from tests.processors.town import DAY, Town, members_of

TEXT = Path("schemas/programmes/default.yaml").read_text()
RULES = Rules(parse(TEXT), 1, 0)
AUTHOR = next(members_of(0))
FANS = [name for _, name in zip(range(30), members_of(1), strict=False)]
FAN = FANS[0]
TO_AUTHOR: dict[str, Any] = {"reply_to": {"event_id": "x", "member_id": AUTHOR}}

TABLE: list[tuple[str, str, str, dict[str, Any], list[str]]] = [
    ("a message that answers", FAN, "message", {"kind": "answer", **TO_AUTHOR}, ["reply"]),
    ("a message to nobody", FAN, "message", {"kind": "chat"}, []),
    ("too short for points, yet an answer", FAN, "message", {"kind": "chat", "length": 1, **TO_AUTHOR}, ["reply"]),
    ("an answer to oneself", AUTHOR, "message", {"kind": "chat", **TO_AUTHOR}, []),
    ("a like", FAN, "like", {"item_id": "i-1", "author_id": AUTHOR}, ["like"]),
    ("a like of nobody's", FAN, "like", {"item_id": "i-1"}, []),
    ("a like of one's own", AUTHOR, "like", {"item_id": "i-1", "author_id": AUTHOR}, []),
    ("a comment", FAN, "comment", {"item_id": "i-1", "author_id": AUTHOR}, ["comment"]),
    ("a share", FAN, "share", {"target": "content", "author_id": AUTHOR}, ["share"]),
    ("a share of one's own", AUTHOR, "share", {"target": "content", "author_id": AUTHOR}, []),
]  # fmt: skip


@pytest.mark.parametrize(("name", "by", "what", "fields", "kinds"), TABLE, ids=[row[0] for row in TABLE])
def test_who_hears_what(name: str, by: str, what: str, fields: dict[str, Any], kinds: list[str]) -> None:
    town = Town(TEXT)
    town.act(AUTHOR, "login")
    town.act(by, what, group_id="g-1", **fields)
    bodies = [body for _, body in town.sent if isinstance(body, Echo)]
    assert [(body.kind, body.member_id, body.from_member_id, body.group_id) for body in bodies] == [
        (kind, AUTHOR, by, "g-1") for kind in kinds
    ]


def reply(town: Town, by: str, what: str = "comment") -> None:
    town.act(by, what, item_id="i-1", author_id=AUTHOR)


def counted(town: Town) -> tuple[int, int]:
    return tuple(echoes.replies(RULES, town.state(AUTHOR), RULES.calendar.day(town.now)))  # type: ignore[return-value]


def test_answers_are_counted_with_those_who_gave_them_and_likes_are_not() -> None:
    town = Town(TEXT, repeats=2)
    town.act(AUTHOR, "login")
    for by in (FANS[0], FANS[1], FANS[0]):
        reply(town, by)
    reply(town, FANS[2], "like")
    assert counted(town) == (3, 2)


def test_they_count_for_so_many_programme_days() -> None:
    town = Town(TEXT)
    town.act(AUTHOR, "login")
    reply(town, FANS[0])
    for days, expected in ((29, (1, 1)), (30 - 1 / 86_400, (1, 1)), (30, (0, 0))):
        town.until(days)
        assert counted(town) == expected
    reply(town, FANS[1])
    assert counted(town) == (1, 1)
    assert len(town.state(AUTHOR).echo_days) == 4


def test_of_many_who_answer_the_newest_are_told_apart() -> None:
    town = Town(TEXT)
    town.act(AUTHOR, "login")
    for by in FANS:
        reply(town, by)
    assert counted(town) == (30, 16)
    assert len(town.state(AUTHOR).echo_from) == 16 * 6


def test_an_author_whom_nobody_knows_hears_nothing() -> None:
    town = Town(TEXT)
    reply(town, FAN)
    assert AUTHOR not in town.folds[0].out.touched
    town.act(AUTHOR, "login")
    assert counted(town) == (0, 0)


def test_a_late_or_repeated_answer_is_told_once_or_not_at_all() -> None:
    town = Town(TEXT)
    town.act(AUTHOR, "login")
    town.now = START + 40 * DAY
    town.act(FAN, "like", item_id="i-1", author_id=AUTHOR, at=1)
    assert not town.sent
