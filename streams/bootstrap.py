"""A log's first record in each partition, and its first state: the one way a log begins."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from processors.signature import seal
from schemas.programme import parse
from schemas.records import PROGRAMME_BYTES_MAX, Control, ProgrammeControl, SignedControl
from schemas.settings import Settings
from schemas.topics import topics
from streams.errors import BrokerUnavailable, InputInvalid, StateExists, UsageError
from streams.log_reader import LogReader
from streams.store import Identity, StateStore

Key = tuple[str, Ed25519PrivateKey]


def private_key(folder: Path, name: str) -> Key:
    """A private key of the keys folder and its id. Raises `UsageError`."""
    path = folder / name
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"no private key in {path} ({error})", remedy="set MEMBERFLOW_KEYS__FOLDER"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{path} is not an ed25519 key", remedy="make one with `python -m infra.stack up`")
    return path.stem, key


def public_keys(settings: Settings) -> dict[str, dict[str, str]]:
    """`worker_keys` and `staff_keys` of the keys folder. Raises `UsageError`."""
    path = settings.keys.folder / settings.keys.public
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, str]])
    except (OSError, msgspec.MsgspecError) as error:
        raise UsageError(
            f"no public keys in {path} ({error})", remedy="set MEMBERFLOW_KEYS__FOLDER"
        ) from error


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

    Repeating it finishes what was interrupted. Refuses a log that holds anything else.
    """
    names = topics(settings.log, partitions=settings.partitions)
    keys = public_keys(settings)
    first = ProgrammeControl(
        id="programme",
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
    empty = await _empty_partitions(settings, names.actions.name)
    if empty and len(empty) < settings.partitions:
        raise StateExists(
            f"partitions {empty} of {names.actions.name} are empty, others are not",
            remedy="begin a new log under a name that was never used",
        )
    await append(settings, names.actions.name, empty, first, sign)
    begun = []
    offsets = await store.offsets(range(settings.partitions))
    for partition in range(settings.partitions):
        if offsets[partition] is None:
            identity = Identity(settings.log, topic_id, settings.partitions)
            await store.bootstrap(partition, identity, secrets.token_hex(8))
            begun.append(partition)
    if not begun:
        raise StateExists(f"log {settings.log} has begun already", remedy="nothing was changed")
    return begun


async def append(settings: Settings, topic: str, partitions: Sequence[int], body: Control, sign: Key) -> None:
    """Append one signed control record to each of the partitions, acknowledged by all replicas."""
    key_id, private = sign
    value = seal(SignedControl, key_id, private, msgspec.json.encode(body))
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka.bootstrap, acks="all", enable_idempotence=True
    )
    try:
        await asyncio.wait_for(producer.start(), timeout=30)
        for partition in partitions:
            sent = producer.send_and_wait(
                topic, value, partition=partition, timestamp_ms=max(0, body_time(body))
            )
            await asyncio.wait_for(sent, timeout=30)
    except (KafkaError, OSError, TimeoutError) as error:
        raise BrokerUnavailable(f"control record not appended ({error!r})") from error
    finally:
        await producer.stop()


def body_time(body: Control) -> int:
    """The stamp of a control record in a log of history (ms); a live log is stamped by the broker."""
    return body.history_from if isinstance(body, ProgrammeControl) and body.log else 0


async def _empty_partitions(settings: Settings, topic: str) -> list[int]:
    async with LogReader(settings.kafka.bootstrap, topic) as reader:
        return [p for p in range(settings.partitions) if (await reader.bounds(p))[1] == 0]
