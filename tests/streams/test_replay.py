"""Nothing may depend on chunks, caches, crashes or the hash seed: the same log gives the same bytes.

Seeds: golden log 7; the small log below 11.
"""

import asyncio
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import msgspec
import pytest

from processors.output import Failure, Output
from schemas import facts, partition
from schemas.records import Record
from schemas.verdicts import Reason
from streams.errors import PartitionHalted
from streams.replay import CHUNK, Digests, Manner, Replay, digests_of, read_log, write_log
from streams.store import Identity
from tests.processors.golden import IDENTITY, digest_file, log_file
from tests.processors.golden.recorded import PARTITION, record

RULES = 1
SMALL = 800


@cache
def small() -> list[Record]:
    return record(SMALL, 11)


@cache
def expected() -> Digests:
    return asyncio.run(digests_of(small(), IDENTITY, PARTITION, CHUNK, Manner()))


def golden() -> Digests:
    return msgspec.json.decode(digest_file(RULES).read_bytes(), type=Digests)


@pytest.mark.parametrize(
    ("chunk", "manner"),
    [
        (1, Manner(cache=1, crash=True)),
        (7, Manner(crash=True)),
        (50, Manner(cache=0, ahead=False, crash=True)),
        (CHUNK, Manner(cache=1, ahead=False)),
    ],
    ids=str,
)
def test_a_crash_after_every_step_changes_nothing(chunk: int, manner: Manner) -> None:
    assert asyncio.run(digests_of(small(), IDENTITY, PARTITION, chunk, manner)) == expected()


@pytest.mark.parametrize(
    ("chunk", "arguments", "hash_seed"),
    [
        (1, (), "1"),
        (7, ("--cache", "1"), "2"),
        (101, ("--cache", "1", "--crash"), "random"),
        (5_000, (), "3"),
    ],
)
def test_another_process_with_another_hash_seed_finds_the_same_bytes(
    tmp_path: Path, chunk: int, arguments: tuple[str, ...], hash_seed: str
) -> None:
    out = tmp_path / "digests.json"
    command = [sys.executable, "-m", "streams.replay", "--log-file", str(log_file(RULES)), "--out", str(out)]
    subprocess.run(
        [*command, "--chunk", str(chunk), *arguments],
        check=True,
        timeout=300,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
    )
    assert msgspec.json.decode(out.read_bytes(), type=Digests) == golden()


async def test_a_replay_that_begins_with_an_image_ends_as_one_from_the_start() -> None:
    whole = Replay(IDENTITY, "member.actions", PARTITION)
    await whole.begin()
    await whole.feed(small()[:400])
    image = await whole.dump()
    late = Replay(IDENTITY, "member.actions", PARTITION)
    await late.begin(image)
    for replay in (whole, late):
        await replay.feed(small()[400:])
    assert (await late.dump()).digest() == (await whole.dump()).digest()
    assert (await whole.digests()) == expected()


async def test_every_offset_has_its_verdict_and_facts_number_without_gap() -> None:
    heard: list[bytes] = []

    def hear(out: Output) -> None:
        heard.extend(out.facts)

    replay = Replay(IDENTITY, "member.actions", PARTITION, hear=hear)
    await replay.begin()
    await replay.feed(small())
    own = partition.decode((await replay.dump()).partition_state)
    assert sum(own.verdicts.values()) == replay.next_offset == small()[-1].offset + 1
    assert [facts.decode(fact).n for fact in heard] == list(range(1, own.n + 1))


async def test_offsets_that_a_rule_choked_on_are_skipped() -> None:
    chosen = next(at for at, one in enumerate(small()) if at > 300 and b'"check_in"' in (one.value or b""))
    offset = small()[chosen].offset
    skipping = Replay(IDENTITY, "member.actions", PARTITION, skip={offset: Failure("ValueError", "no", known=True)})
    letters: list[tuple[int, Reason]] = []
    skipping.hear = lambda out: letters.extend((one.offset, one.rejected.reason) for one in out.letters)
    await skipping.begin()
    await skipping.feed(small())
    assert (offset, Reason.RULE) in letters
    assert (await skipping.digests()).state != expected().state
    assert skipping.failures == {}


async def test_what_would_halt_a_worker_halts_a_replay_with_its_place() -> None:
    strange = small()[0]._replace(value=(small()[0].value or b"").replace(b"rules: 1", b"rules: 9"))
    replay = Replay(IDENTITY, "member.actions", PARTITION)
    await replay.begin()
    await replay.feed([strange])  # its signature no longer holds: a dead letter, and no programme
    assert replay.own_state.log == ""
    replay = Replay(IDENTITY, "member.actions", PARTITION)
    await replay.begin()
    with pytest.raises(PartitionHalted, match="at 1: control record not understood"):
        await replay.feed([small()[0], not_understood()])


def not_understood() -> Record:
    from processors.signature import seal
    from schemas.records import SignedControl
    from tests.processors.golden.recorded import STAFF

    return Record(1, small()[0].timestamp, None, seal(SignedControl, "staff", STAFF, b'{"control":"magic"}'))


async def test_an_empty_partition_has_an_image_too() -> None:
    replay = Replay(Identity("empty-1", "t", 1), "member.actions", 0)
    await replay.begin()
    assert (await replay.dump()).next_offset == 0


def test_a_recorded_log_survives_its_file(tmp_path: Path) -> None:
    write_log(tmp_path / "log", small())
    assert read_log(tmp_path / "log") == small()
