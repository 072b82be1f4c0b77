"""A log's first record in each partition, and its first state: the one way a log begins."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from processors import signature
from schemas.decoding import Controlled, decode
from schemas.programme import parse
from schemas.records import PROGRAMME_BYTES_MAX, ProgrammeControl
from schemas.settings import Settings
from schemas.topics import topics
from streams.errors import InputInvalid, StateExists, StateLost, UsageError
from streams.keys import Key, public_keys
from streams.log_reader import LogReader
from streams.programme_log import sealed, spread
from streams.store import Identity, StateStore

SERIES = "programme"
"""The id of the programme among control records."""


def programme_text(path: Path) -> str:
    """The text of a programme file that can be put in force. Raises `ProgrammeError` with every line:column."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8"
        raise UsageError(f"cannot read {path} ({why})", remedy="name a programme file") from error
    parse(text, str(path))
    if len(text.encode()) > PROGRAMME_BYTES_MAX:
        raise InputInvalid(f"{path} is longer than {PROGRAMME_BYTES_MAX} bytes", remedy="shorten its comments")
    return text


async def bootstrap(
    settings: Settings, store: StateStore, topic_id: str, text: str, sign: Key, *, by: str, history_from: int
) -> list[int]:
    """Write the first record of every partition, then its first state; returns the partitions begun.

    Repeating it finishes what was interrupted. Refuses a log that holds anything else, and one whose state was lost:
    to begin it anew would be to forget it.
    """
    names = topics(settings.log, partitions=settings.partitions)
    firsts = await first_values(settings, names.actions.name)
    headers = await store.headers(range(settings.partitions))
    missing = [partition for partition, header in headers.items() if header is None]
    empty = [partition for partition, value in firsts.items() if value is None]
    if not missing and not empty:
        raise StateExists(f"log {settings.log} has begun already", remedy="nothing was changed")
    _refuse_state_without_log(settings, empty, missing)
    await _refuse_lost_state(settings, names.facts.name, set(missing) - set(empty))
    begun = _value_begun(settings.log, firsts, text)
    value = begun or sealed(first_control(settings, text, by, history_from), sign)
    await spread(settings, names.actions.name, value, dict.fromkeys(empty, history_from))
    identity = Identity(settings.log, topic_id, settings.partitions)
    for partition in missing:
        await store.bootstrap(partition, identity, secrets.token_hex(8))
    return missing


async def first_values(settings: Settings, topic: str) -> dict[int, bytes | None]:
    """The value of each partition's first record, None for a partition in which nothing was ever written."""
    async with LogReader(settings.kafka.bootstrap, topic) as reader:
        bounds = await reader.all_bounds(range(settings.partitions))
        found: dict[int, bytes | None] = {p: None if end == 0 else b"" for p, (_, end) in bounds.items()}
        spans = {p: (0, 1) for p, (first, end) in bounds.items() if first == 0 and end > 0}
        async for records in reader.read_all(spans):
            found[records[0].partition] = records[0].value
    return found


def first_programme(value: bytes | None, log: str) -> ProgrammeControl | None:
    """What a log began with, if these bytes are it: signed, and with a key that it brought itself."""
    item = decode(value)
    if not (isinstance(item, Controlled) and isinstance(item.body, ProgrammeControl) and item.body.log == log):
        return None
    return item.body if signature.holds(item.envelope, item.body.staff_keys) else None


def first_control(settings: Settings, text: str, by: str, history_from: int) -> ProgrammeControl:
    """What a log begins with; the key of the hashes of ids is made here, once for the whole log."""
    keys = public_keys(settings)
    return ProgrammeControl(
        id=SERIES,
        number=1,
        by=by,
        why="the first programme",
        text=text,
        holds_from=0,
        log=settings.log,
        staff_keys=keys["staff_keys"],
        worker_keys=keys["worker_keys"],
        id_key=secrets.token_hex(16),
        history_from=history_from,
    )


def _value_begun(log: str, firsts: Mapping[int, bytes | None], text: str) -> bytes | None:
    """The first record that an interrupted bootstrap has left; the same bytes go on. None where nothing stands."""
    present = {value for value in firsts.values() if value is not None}
    if not present:
        return None
    programmes = [first_programme(value, log) for value in present]
    if len(present) > 1 or programmes[0] is None:
        what = f"the topic of log {log} begins with something else than one programme of this log"
        raise StateExists(what, remedy="begin a new log under a name that was never used (MEMBERFLOW_LOG)")
    if programmes[0].text != text:
        what = f"a bootstrap of log {log} with another programme was interrupted"
        raise StateExists(
            what, remedy="repeat it with that programme, then change it with `memberflow programme apply`"
        )
    return present.pop()


def _refuse_state_without_log(settings: Settings, empty: Iterable[int], missing: Iterable[int]) -> None:
    orphans = sorted(set(empty) - set(missing))
    if orphans:
        what = f"partitions {', '.join(map(str, orphans))} of log {settings.log} have state and an empty topic"
        raise StateExists(what, remedy="begin a new log under a name that was never used (MEMBERFLOW_LOG)")


async def _refuse_lost_state(settings: Settings, facts: str, partitions: Iterable[int]) -> None:
    """Facts without state say that there was a state: it is rebuilt, never begun anew."""
    async with LogReader(settings.kafka.bootstrap, facts) as reader:
        for partition, (_, end) in (await reader.all_bounds(partitions)).items():
            if end > 0:
                raise StateLost(f"partition {partition} of log {settings.log} has facts and no state")
