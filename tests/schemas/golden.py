"""The golden messages: what stands in `schemas/examples`, as a topic would carry it."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from schemas.tables import AGGREGATES

EXAMPLES = Path(__file__).parent.parent.parent / "schemas" / "examples"


class Golden(NamedTuple):
    """One example. `*.message.json` says key, headers and value; every other file is the value itself."""

    name: str
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()

    @property
    def content(self) -> Any:
        return json.loads(self.value)


def golden(topic: str) -> list[Golden]:
    """All examples of a topic, by name."""
    return [read(path) for path in sorted((EXAMPLES / topic).glob("*.json"))]


def read(path: Path) -> Golden:
    if not path.name.endswith(".message.json"):
        return Golden(path.stem, path.read_bytes())
    message = json.loads(path.read_bytes())
    headers = tuple((name, text.encode()) for name, text in message["headers"].items())
    return Golden(path.name.removesuffix(".message.json"), json.dumps(message["value"]).encode(), headers)


def buckets() -> list[Golden]:
    """The examples of member.aggregates that are buckets."""
    return [it for it in golden("member.aggregates") if it.name in AGGREGATES]


def named(example: Golden) -> str:
    return example.name
