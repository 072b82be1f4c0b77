"""Poison, end to end: whatever a record holds it becomes a dead letter, and the next one is as if it had not been."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest
from aiokafka import AIOKafkaProducer, ConsumerRecord

from infra.stack import Stack
from processors.partitioner import partition_of
from schemas.dead_letters import read_headers
from schemas.decoding import decode
from schemas.facts import Ledger
from schemas.verdicts import Rejected
from streams.log_reader import LogReader
from tests.e2e.looking_back import Kept
from tests.e2e.memberflow import PARTITIONS, check_in
from tests.e2e.proof import Proof, Told

NOW = datetime.now(UTC).isoformat()  # noqa: TID251 - as an app stamps what it sends
HEAD = f'"event_id":"p-1","source":"shop","member_id":"m-1","occurred_at":"{NOW}"'


class Poison(NamedTuple):
    """What somebody sends, and why it is refused."""

    value: bytes | None
    reason: str
    pointer: str = "$"
    headers: tuple[tuple[str, bytes], ...] = ()


def an_order(amount: str) -> bytes:
    return b'{"action":"purchase",%s,"order_id":"o","currency":"CNY","amount":%s}' % (HEAD.encode(), amount.encode())


POISONS = {
    "no bytes at all": Poison(None, "not_json"),
    "an empty value": Poison(b"", "not_json"),
    "half of an object": Poison(b'{"action":"login",', "not_json"),
    "bytes that are no text": Poison(b"\xff\xfe\x00{", "not_json"),
    "a pickle": Poison(b"\x80\x04\x95\x0f\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94.", "not_json"),
    "NaN": Poison(an_order("NaN"), "not_json"),
    "Infinity": Poison(an_order("-Infinity"), "not_json"),
    "one above int64": Poison(an_order(str(2**63)), "invalid", "$.amount"),
    "an integer of 5,000 digits": Poison(an_order("9" * 5_000), "invalid", "$.amount"),
    "a float where money is": Poison(an_order("1.5"), "invalid", "$.amount"),
    "a lone surrogate": Poison(b'{"action":"login",%s,"region":"\\ud800"}' % HEAD.encode(), "not_json"),
    "lists 900 deep": Poison(b"[" * 900 + b"]" * 900, "too_deep"),
    "objects 900 deep": Poison(b'{"a":' * 900 + b"1" + b"}" * 900, "too_deep"),
    "900 deep in an event": Poison(b"[" * 900, "too_deep", headers=(("ce_id", b"1"), ("ce_type", b"x.login"))),
    "no such action": Poison(b'{"action":"jump",%s}' % HEAD.encode(), "unknown_action", "$.action"),
    "a field nobody knows": Poison(b'{"action":"login",%s,"amuont":1}' % HEAD.encode(), "unknown_field", "$.amuont"),
    "a name": Poison(b'{"action":"login",%s,"name":"Li Lei"}' % HEAD.encode(), "personal", "$.name"),
    "a phone": Poison(b'{"action":"login",%s,"phone":"13812345678"}' % HEAD.encode(), "personal", "$.phone"),
    "another currency": Poison(an_order("100").replace(b"CNY", b"XXX"), "currency", "$.currency"),
    "a time before the log": Poison(
        an_order("100").replace(NOW.encode(), b"1970-01-01T00:00:00Z"), "too_early", "$.occurred_at"
    ),
    "an unsigned programme": Poison(
        b'{"record":"control","key_id":"staff","signature":"AAAA","body":{"control":"go_live",'
        b'"id":"live","number":1,"by":"eve","approved_by":"bob"}}',
        "unsigned",
        "$.signature",
    ),
    "a record of a kind nobody knows": Poison(b'{"record":"eval","body":{}}', "invalid", "$.record"),
    "250 kB": Poison(b'{"action":"login","region":"' + b"x" * 250_000 + b'"}', "invalid", "$.region"),
    "600 kB, compressed": Poison(b'{"a":"' + b"x" * 600_000 + b'"}', "too_big"),
    "a header of 1 MB, compressed": Poison(b"{", "not_json", headers=(("x", b"x" * 1_048_300),)),
    "a header that lies about its place": Poison(b"{", "not_json", headers=(("__streams.errors.offset", b"0"),)),
    "1 MB, compressed": Poison(b'{"a":"' + b"x" * 1_048_300 + b'"}', "too_big"),
}
BLANKED = ("a name", "a phone")


# -- decoding alone -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("named", [name for name in POISONS if "unsigned" not in name and "time" not in name])
@pytest.mark.parametrize("stack_depth", [0, 300, 600])
def test_what_is_refused_does_not_depend_on_the_depth_of_the_stack(named: str, stack_depth: int) -> None:
    """A parser that recurses gives up earlier the deeper its caller stands; brackets are counted before it begins."""
    poison = POISONS[named]

    def at(depth: int) -> Any:
        return at(depth - 1) if depth else decode(poison.value, poison.headers)

    found = at(stack_depth)
    if poison.reason != "currency":  # that one needs the programme
        assert isinstance(found, Rejected), found
        assert found.reason == poison.reason
        assert found == decode(poison.value, poison.headers)


# -- through the worker ---------------------------------------------------------------------------------------------


class Played(NamedTuple):
    """The log after all poison, each followed by a good record of the same partition."""

    letters: dict[str, ConsumerRecord]
    at: dict[str, tuple[int, int]]
    told: dict[int, Told]


@pytest.fixture(scope="module")
def played(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    log = Kept(stack, tmp_path_factory.mktemp("poison"))
    log.ok("topics", "apply")
    log.ok("bootstrap")
    with log.worker():
        yield asyncio.run(play(log))


async def play(log: Kept) -> Played:
    """Send it all, wait, compare, and read the letters."""
    settings, proof, at = log.settings, Proof(log.settings), dict[str, tuple[int, int]]()
    async with AIOKafkaProducer(
        bootstrap_servers=settings.kafka.bootstrap, compression_type="zstd", max_request_size=4 * 1024 * 1024
    ) as producer:
        for number, (named, poison) in enumerate(POISONS.items()):
            member = f"after-{number}"
            partition = partition_of(member, PARTITIONS)
            sent = await producer.send_and_wait(
                log.topics.actions.name,
                poison.value,
                key=b"poison",
                partition=partition,
                headers=[*poison.headers, ("trace", b"t-1")],
            )
            at[named] = (partition, sent.offset)
            good = json.dumps(check_in(number, member, NOW)).encode()
            await producer.send_and_wait(log.topics.actions.name, good, key=member.encode())
    assert await proof.settled()
    told = await proof.holds()
    letters: dict[tuple[int, int], ConsumerRecord] = {}
    async with LogReader(settings.kafka.bootstrap, log.topics.dead_letters.name) as reader:
        async for records in reader.read_all(await reader.all_bounds(range(PARTITIONS))):
            for record in records:
                _, _, partition, offset = read_headers(tuple(record.headers))
                assert record.partition == partition
                letters[partition, offset] = record
    return Played({named: letters[place] for named, place in at.items()}, at, told)


@pytest.mark.real
@pytest.mark.parametrize("named", POISONS)
def test_poison_is_a_dead_letter_with_its_bytes_its_place_and_the_reason(played: Played, named: str) -> None:
    poison, letter = POISONS[named], played.letters[named]
    headers = {name: content.decode() for name, content in letter.headers}
    partition, offset = played.at[named]
    assert headers["reason"] == poison.reason
    assert headers["pointer"] == poison.pointer
    assert headers["__streams.errors.topic"].endswith("member.actions")
    assert (headers["__streams.errors.partition"], headers["__streams.errors.offset"]) == (str(partition), str(offset))
    assert headers["__streams.errors.exception"] == "Rejected"
    assert ("trace", b"t-1") in letter.headers or headers["headers-dropped"].startswith("sha256:")
    assert letter.key == b"poison"
    if named in BLANKED:
        assert headers["blanked"] == "true"
        assert b"***" in letter.value
        assert not [word for word in (b"Li Lei", b"13812345678") if word in letter.value]
    elif named.startswith("1 MB"):
        assert letter.value == b"sha256:" + hashlib.sha256(poison.value or b"").hexdigest().encode()
    else:
        assert letter.value == poison.value


@pytest.mark.real
def test_every_record_after_poison_counts_as_if_it_had_not_been(played: Played) -> None:
    facts = [fact for one in played.told.values() for fact in one.facts if isinstance(fact, Ledger)]
    assert sorted(fact.event_id for fact in facts) == sorted(f"e-{number}" for number in range(len(POISONS)))
    assert {fact.points for fact in facts} == {5}
    assert sum(one.verdicts.get("dead_letter", 0) for one in played.told.values()) == len(POISONS)
