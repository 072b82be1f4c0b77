"""The boards process without Kafka: what it does with numbers, gaps, programmes, its folder, and questions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import ClientSession
from aiokafka.structs import ConsumerRecord, TopicPartition
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from processors.boards import Boards, Bounds, Seasons
from processors.programme import compile_programme
from processors.ranking import Place as Line
from processors.signature import holds, public_text
from schemas import facts
from schemas.boards import BoardKey, BoardPlace
from schemas.decoding import Derived, decode
from schemas.facts import InForce, Ledger
from schemas.records import Award, ProgrammeControl
from schemas.settings import Boards as ListenAnywhere
from schemas.settings import Settings
from streams.board_checkpoint import Checkpoints
from streams.board_finals import Finals
from streams.board_server import BoardServer, key_of, name_of, shown, span_of
from streams.boards import BoardsProcess, Place
from streams.errors import InputInvalid
from streams.memory_store import MemoryStore
from streams.metrics import Metrics
from streams.sequence import LastSeen

TEXT = Path("schemas/programmes/default.yaml").read_text()
NOON = 1_772_596_800_000  # Wednesday 4 March 2026, noon in Shanghai
MONDAY = 20_514  # 2 March
FIRST = ProgrammeControl(id="programme", number=1, by="ops", text=TEXT, holds_from=0)
SIGN = ("workers", Ed25519PrivateKey.from_private_bytes(b"w" * 32))
WEEK = BoardKey("hot_talk", "week", MONDAY)
AT = TopicPartition("member.facts", 0)


class Reading:
    """The consumer, as far as the process asks it."""

    def __init__(self) -> None:
        self.paused: list[TopicPartition] = []

    def pause(self, *places: TopicPartition) -> None:
        self.paused += places

    def highwater(self, _: TopicPartition) -> int:
        return 10


def process(folder: Path, *, accept_gap: bool = False) -> BoardsProcess:
    """One partition of a log, at its beginning."""
    settings = Settings(log="live-1", partitions=2, boards={"folder": folder})
    made = BoardsProcess(settings, MemoryStore("live-1"), SIGN, Metrics("boards"), lambda: 0.0, accept_gap=accept_gap)
    made.programmes[1] = FIRST
    made.boards = Boards(made._seasons(), 2)
    made.places = {0: Place(0, LastSeen(n=0)), 1: Place(0, LastSeen(n=0))}
    made._consumer = Reading()
    return made


def record(offset: int, value: bytes) -> Any:
    return ConsumerRecord("member.facts", 0, offset, 0, 0, None, value, None, 0, len(value), ())


def message(n: int, member: str = "a", at: int = NOON) -> bytes:
    return facts.encode(
        Ledger(
            n=n, partition=0, offset=n, index=0, member_id=member, effective_at=at, decided_at=at, source="app",
            event_id=f"e{n}", rule="message", entry="earned", weight=1_000,
        )
    )  # fmt: skip


async def test_a_repeated_fact_counts_once(tmp_path: Path) -> None:
    boards = process(tmp_path)
    read = [record(0, message(1)), record(1, message(2)), record(2, message(1)), record(3, message(2))]
    assert await boards._take(AT, boards.places[0], read)
    assert boards.boards.table(WEEK) == [Line(1, "a", 2_000)]
    assert (boards.places[0].next_offset, boards.halted) == (4, [])


async def test_a_gap_stops_its_partition_and_nothing_after_it_counts(tmp_path: Path) -> None:
    boards = process(tmp_path)
    assert await boards._take(AT, boards.places[0], [record(0, message(1)), record(1, message(3))])
    assert (boards.halted, boards._consumer.paused) == ([0], [AT])
    assert boards.places[0].halt == "fact 3 at offset 1 follows fact 1"
    assert boards.boards.table(WEEK) == [Line(1, "a", 1_000)]
    assert boards.places[0].next_offset == 1


async def test_a_gap_that_a_person_accepts_leaves_a_week_that_is_not_whole(tmp_path: Path) -> None:
    boards = process(tmp_path, accept_gap=True)
    assert await boards._take(AT, boards.places[0], [record(0, message(1)), record(1, message(3))])
    assert boards.halted == []
    assert boards.boards.table(WEEK) == [Line(1, "a", 2_000)]
    assert not boards.boards.is_whole(("week", MONDAY))


async def test_what_is_no_fact_stops_its_partition(tmp_path: Path) -> None:
    boards = process(tmp_path)
    assert await boards._take(AT, boards.places[0], [record(0, b"{}"), record(1, message(1))])
    assert boards.halted == [0]
    assert "offset 0 cannot be read" in boards.places[0].halt


async def test_what_is_stored_while_boards_begin_anew_is_what_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder's timer may fire while Kafka is asked where to begin: new, empty boards are not yet those read."""
    boards = process(tmp_path)
    assert await boards._take(AT, boards.places[0], [record(0, message(1)), record(1, message(2))])
    changed = TEXT.replace("settle_days: 8", "settle_days: 9")
    boards.programmes[2] = ProgrammeControl(id="programme", number=2, by="ops", text=changed, holds_from=NOON + 60_000)
    old, sought = boards.boards.seasons.fingerprint, dict[int, int]()

    async def nowhere(*_: Any) -> dict[int, Any]:
        return {}

    async def beginning(places: list[TopicPartition]) -> dict[TopicPartition, int]:
        await boards._store(0)
        return dict.fromkeys(places, 0)

    async def end(places: list[TopicPartition]) -> dict[TopicPartition, int]:
        await boards._store(0)
        return dict.fromkeys(places, 10)

    monkeypatch.setattr("streams.boards.standing", nowhere)
    consumer = boards._consumer
    consumer.beginning_offsets, consumer.end_offsets = beginning, end
    consumer.assign = lambda places: None
    consumer.seek = lambda at, offset: sought.update({at.partition: offset})
    await boards._begin()
    stored = boards.checkpoints.read(0)
    assert stored is not None
    assert (stored.shape, stored.next_offset) == (old, 2)
    assert boards.boards.seasons.fingerprint != old
    assert sought == {0: 0, 1: 0}, "they are read anew"


@pytest.mark.parametrize(
    ("text", "anew"),
    [
        pytest.param(TEXT, False, id="the same"),
        pytest.param(TEXT.replace("{points: 2,", "{points: 3,"), False, id="other points"),
        pytest.param(TEXT.replace("settle_days: 8", "settle_days: 9"), True, id="other boards"),
    ],
)
async def test_a_programme_that_changes_boards_makes_them_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, *, anew: bool
) -> None:
    boards, begun = process(tmp_path), list[int]()
    second = ProgrammeControl(id="programme", number=2, by="ops", text=text, holds_from=NOON + 60_000)

    async def programme_at(partition: int, offset: int) -> ProgrammeControl:
        assert (partition, offset) == (0, 77)
        return second

    async def begin() -> None:
        begun.append(1)

    monkeypatch.setattr(boards, "_programme_at", programme_at)
    monkeypatch.setattr(boards, "_begin", begin)
    head = {"partition": 0, "index": 0, "member_id": "", "effective_at": NOON, "decided_at": NOON}
    told = InForce(n=1, offset=77, control="programme", id="programme", number=2, **head)  # type: ignore[arg-type]
    read = [record(0, facts.encode(told)), record(1, message(2))]
    assert await boards._take(AT, boards.places[0], read) is not anew
    assert begun == ([1] if anew else [])
    assert boards.boards.table(WEEK) == ([] if anew else [Line(1, "a", 1_000)])
    assert sorted(boards.programmes) == [1, 2]


async def test_what_was_stored_is_taken_up_again(tmp_path: Path) -> None:
    boards = process(tmp_path)
    await boards._take(AT, boards.places[0], [record(0, message(1)), record(1, message(2, "b"))])
    await boards._store(0)
    await boards._store(1)
    again = process(tmp_path)
    again._consumer.seek = lambda at, offset: None
    for partition in range(2):
        found = again.checkpoints.read(partition)
        again._take_up(TopicPartition("member.facts", partition), found, again._seasons(), 0, 5)
    assert again.places[0] == Place(2, LastSeen(n=2))
    assert again.boards.table(WEEK) == boards.boards.table(WEEK)
    assert again.boards.parts[0].clock == NOON


@pytest.mark.parametrize(
    ("first", "end"), [(3, 5), (0, 1)], ids=["facts after it are gone", "the topic ends before it"]
)
async def test_what_the_topic_does_not_go_on_from_is_read_anew(tmp_path: Path, first: int, end: int) -> None:
    boards = process(tmp_path)
    await boards._take(AT, boards.places[0], [record(0, message(1)), record(1, message(2))])
    await boards._store(0)
    again = process(tmp_path)
    again._consumer.seek = lambda at, offset: None
    again._take_up(AT, again.checkpoints.read(0), again._seasons(), first, end)
    assert again.places[0] == Place(first, LastSeen(n=None if first else 0))
    assert again.boards.table(WEEK) == []


async def test_a_file_of_another_log_or_a_spoiled_one_is_ignored(tmp_path: Path) -> None:
    boards = process(tmp_path)
    await boards._store(0)
    assert boards.checkpoints.read(0) is not None
    assert Checkpoints(tmp_path, "live-1", 3).read(0) is None
    assert Checkpoints(tmp_path, "live-2", 2).read(0) is None
    path = tmp_path / "live-1-0.msgpack"
    path.write_bytes(path.read_bytes()[:-1])
    assert boards.checkpoints.read(0) is None


def finals() -> Finals:
    return Finals(Settings(log="live-1", partitions=2), SIGN, Metrics("boards"), lambda _: None)


def test_the_places_of_a_board_are_the_same_bytes_whoever_writes_them() -> None:
    table = [Line(1, "a", 900), Line(1, "b", 900), Line(3, "c", 5)]
    rows = finals().rows(BoardKey("spending", "month", 24314, "east"), table, Bounds(1, 2, 3))
    assert rows == finals().rows(BoardKey("spending", "month", 24314, "east"), table, Bounds(1, 2, 3))
    assert [(it.place, it.member_id, it.value, it.ranked) for it in rows] == [
        (1, "a", 900, 3), (1, "b", 900, 3), (3, "c", 5, 3),
    ]  # fmt: skip
    assert {(it.region, it.group_id, it.ended_at, it.final_at) for it in rows} == {("east", "", 2, 3)}


def test_an_award_is_signed_by_the_workers_and_says_the_same_whenever_it_is_made() -> None:
    (row,) = finals().rows(WEEK, [Line(1, "a", 900)], Bounds(1, 2, 3))
    partition, key, value, stamp = finals().award(row)
    assert (key, stamp) == (b"a", 3)
    assert (partition, key, value, stamp) == finals().award(row)
    read = decode(value)
    assert isinstance(read, Derived)
    assert holds(read.envelope, {"workers": public_text(SIGN[1])})
    assert read.body == Award("a", "hot_talk", "week", MONDAY, 1, 900)


def test_a_board_is_known_once_all_its_places_are() -> None:
    known, crc = finals(), 7
    assert not known.is_known(WEEK)
    known._known[WEEK] = (2, {crc})
    assert not known.is_known(WEEK)
    known._known[WEEK][1].add(8)
    assert known.is_known(WEEK)


@pytest.mark.parametrize(
    ("span", "name"),
    [
        (("week", MONDAY), "2026-W10"),
        (("week", 20_451), "2026-W01"),  # begins on 29 December 2025
        (("week", 20_815), "2026-W53"),
        (("month", 2026 * 12 + 2), "2026-03"),
        (("month", 2026 * 12 + 11), "2026-12"),
    ],
)
def test_weeks_and_months_have_the_names_people_know(span: Any, name: str) -> None:
    assert name_of(span) == name
    assert span_of(span[0], name) == span


@pytest.mark.parametrize(
    ("name", "asked", "said"),
    [
        ("hot", {}, "there is no week board hot"),
        ("spending", {"period": "day"}, "there is no day board spending"),
        ("spending", {"at": "2026-03"}, "2026-03 is no week"),
        ("spending", {"at": "2025-W53"}, "2025-W53 is no week"),
        ("spending", {"period": "month", "at": "2026-13"}, "2026-13 is no month"),
        ("spending", {"region": "east", "group": "g"}, "of a region or of a group"),
    ],
)
def test_a_board_that_does_not_exist_is_one_line(name: str, asked: dict[str, str], said: str) -> None:
    boards = Boards(Seasons([compile_programme(TEXT, 1, 0)]), 1)
    with pytest.raises(InputInvalid, match=said):
        key_of(boards, name, asked)


async def test_a_board_says_what_it_is_worth(tmp_path: Path) -> None:
    boards = process(tmp_path)
    await boards._take(AT, boards.places[0], [record(0, message(1))])
    key = key_of(boards.boards, "hot_talk", {})
    found = shown(boards.boards, key, 0, [])
    assert (found.at, found.state, found.whole, found.as_of, found.members) == ("2026-W10", "open", True, 0, 1)
    assert msgspec.to_builtins(found.places) == [{"place": 1, "member_id": "a", "value": 1_000}]
    boards.boards.passed(0, found.ended_at)
    assert shown(boards.boards, key, 0, [1]).state == "settling"
    for partition in range(2):
        boards.boards.passed(partition, found.final_at)
    assert shown(boards.boards, key, 0, []).state == "final"
    assert isinstance(
        finals().rows(key, boards.boards.table(key), boards.boards.bounds(("week", key.at)))[0], BoardPlace
    )


async def test_boards_are_answered_to_this_machine_alone(tmp_path: Path) -> None:
    boards = process(tmp_path)
    await boards._take(AT, boards.places[0], [record(0, message(1))])
    server = BoardServer(boards.settings.model_copy(update={"boards": ListenAnywhere(port=0)}), boards)
    await server.start()
    at = "http://{}:{}/boards".format(*server.address)
    try:
        async with ClientSession() as session:
            for path, status, said in (
                ("", 200, '"2026-W10"'),
                ("/hot_talk", 200, '"member_id":"a","value":1000'),
                ("/hot_talk?period=month&at=2026-03", 200, '"at":"2026-03"'),
                ("/hot_talk?at=2026-W02", 404, "ClickHouse has what is final"),
                ("/hot_talk?places=some", 400, "error"),
                ("/hottest", 400, "there is no week board hottest"),
            ):
                async with session.get(at + path) as answer:
                    assert (answer.status, said in await answer.text()) == (status, True), path
            async with session.get(at, headers={"Origin": "https://example.com"}) as answer:
                assert answer.status == 403
    finally:
        await server.stop()
