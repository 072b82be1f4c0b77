"""The fold of a partition: what a record of each kind leaves behind, and that nothing depends on where a chunk ends."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest

from processors.member import Member
from processors.member import decide as rules_of
from processors.output import Failure, Halt, Output, RuleFailed
from processors.partition import Partition
from processors.partitioner import partition_of
from processors.signature import seal
from schemas import facts
from schemas.decoding import decode
from schemas.member import MemberState
from schemas.partition import PartitionState
from schemas.records import (
    AnyDerived,
    Award,
    Cause,
    Echo,
    Feedback,
    Forward,
    GoLive,
    ProgrammeControl,
    Record,
    Referral,
    SignedDerived,
    tick,
)
from schemas.topics import topics
from schemas.verdicts import Reason
from streams.store import Identity
from tests.crash.fold import replay
from tests.crash.traffic import (
    PROGRAMME,
    STRANGER,
    WORKERS,
    Traffic,
    control,
    first_programme,
    instant,
)
from tests.doubles import MemoryLog
from tests.limits import limited

START = 1_772_380_800_000
DAY = 86_400_000
PARTITIONS = 3
ALL = topics("log-1", partitions=PARTITIONS)
HERE = [f"m-{n}" for n in range(200) if partition_of(f"m-{n}", PARTITIONS) == 0]
ELSEWHERE = next(f"m-{n}" for n in range(200) if partition_of(f"m-{n}", PARTITIONS) == 1)


class Bench:
    """Partition 0 of a log that begins with its programme, given record after record."""

    def __init__(self, text: str = PROGRAMME, skip: dict[int, Failure] | None = None) -> None:
        self.now = START
        self.offset = 0
        self.fold = Partition(ALL.actions.name, 0, PARTITIONS, PartitionState(), skip=skip)
        self.facts: list[facts.Fact] = []
        self.give(control(first_programme("log-1", text)))

    def give(self, value: bytes | None, *, after: int = 0, headers: tuple[tuple[str, bytes], ...] = ()) -> Output:
        """One record, `after` ms later; what it brought about."""
        self.now += after
        record = Record(self.offset, self.now, None, value, headers)
        item = decode(value, headers)
        while self.fold.run([record], [item]) == 0:
            self.load()
        self.offset += 1
        out = self.fold.take()
        for ordinal, name in out.pages.items():
            if ordinal.startswith("#"):
                self.fold.directory[int(ordinal[1:])] = name.decode()
        self.facts += [facts.decode(fact) for fact in out.facts]
        return out

    def load(self) -> None:
        """Whoever is needed is new, or was never forgotten."""
        ordinals = {member.state.ordinal: name for name, member in self.fold.members.items()}
        self.fold.directory.update((ordinal, ordinals[ordinal]) for ordinal in self.fold.needs.ordinals)
        for name in self.fold.needs.members:
            self.fold.members[name] = Member(name, MemberState())

    def act(self, member: str = HERE[0], what: str = "login", *, after: int = 0, **more: Any) -> Output:
        """An action that happens as it arrives."""
        action = {
            "action": what,
            "event_id": f"e-{self.offset}",
            "source": "app",
            "member_id": member,
            "occurred_at": instant(self.now + after),
            **more,
        }
        return self.give(msgspec.json.encode(action), after=after)

    @property
    def verdicts(self) -> dict[str, int]:
        """How many records ended as what."""
        return {verdict.value: count for verdict, count in self.fold.verdicts.items() if count}


def reasons(out: Output) -> list[str]:
    return [letter.rejected.reason.value for letter in out.letters]


def test_the_clock_is_the_highest_stamp_seen() -> None:
    bench = Bench()
    bench.give(tick(), after=5_000)
    bench.give(tick(), after=-3_000)
    assert bench.fold.state.clock == START + 5_000
    assert bench.verdicts == {"control": 1, "tick": 2}


def test_every_record_ends_as_one_verdict() -> None:
    bench = Bench()
    bench.act()
    bench.give(b"{")
    bench.give(tick())
    bench.act(ELSEWHERE)
    bench.fold.pass_markers(2)
    assert bench.verdicts == {"applied": 1, "control": 1, "dead_letter": 1, "forwarded": 1, "marker": 2, "tick": 1}
    assert sum(bench.verdicts.values()) == bench.offset + 2


def test_facts_carry_an_identity_and_a_number_without_gaps() -> None:
    bench = Bench()
    bench.act(what="check_in")
    bench.give(b"{")
    bench.act(HERE[1], "check_in", after=8 * DAY)
    places = [(fact.offset, fact.index, fact.n) for fact in bench.facts]
    assert places == [(0, 0, 1), (1, 0, 2), (1, 1, 3), (3, 0, 4), (3, 1, 5), (3, 2, 6)]
    assert {(fact.log, fact.partition) for fact in bench.facts} == {("log-1", 0)}


def test_who_is_due_is_woken_by_any_record_at_its_own_moment() -> None:
    bench = Bench()
    bench.act(what="check_in")
    bench.give(b"not even json", after=7 * DAY + 5)
    (fact,) = [fact for fact in bench.facts if fact.offset == 2]
    assert isinstance(fact, facts.TierEntered)
    assert (fact.effective_at, fact.decided_at) == (START + 7 * DAY, START + 7 * DAY + 5)


def test_a_record_wakes_no_more_than_the_programme_says_in_order_of_time_then_id() -> None:
    bench = Bench(limited(PROGRAMME, wakes_per_record=2))
    for member in (HERE[3], HERE[1], HERE[2]):
        bench.act(member)
    bench.act(HERE[0], after=1)
    bench.give(tick(), after=8 * DAY)
    bench.give(tick())
    woken = [(f.offset, f.member_id) for f in bench.facts if isinstance(f, facts.TierEntered)]
    first, second, third = sorted(HERE[1:4])
    assert woken == [(5, first), (5, second), (6, third), (6, HERE[0])]


def test_its_own_member_is_woken_first_and_outside_of_the_cap() -> None:
    bench = Bench(limited(PROGRAMME, wakes_per_record=1))
    for member in HERE[:3]:
        bench.act(member)
    first, _, last = sorted(HERE[:3])
    bench.act(last, after=8 * DAY)
    woken = [f.member_id for f in bench.facts if isinstance(f, facts.TierEntered)]
    assert woken == [last, first]


def test_whoever_a_record_will_wake_is_loaded_before_it_is_applied() -> None:
    bench = Bench(limited(PROGRAMME, wakes_per_record=1))
    for member in HERE[:3]:
        bench.act(member)
    first, second, _ = sorted(HERE[:3])
    bench.fold.members.clear()
    record = Record(bench.offset, START + 8 * DAY, None, an_action(1, first))
    assert bench.fold.run([record], [decode(record.value)]) == 0
    assert set(bench.fold.needs.members) == {first, second}, "its own is outside of the cap, so one more is due"
    assert bench.fold.state.clock == START, "nothing has begun"


def test_a_new_programme_reaches_silent_members_some_per_record() -> None:
    bench = Bench(limited(PROGRAMME, sweep_per_record=2))
    for member in HERE[:5]:
        bench.act(member, "check_in")
    body = ProgrammeControl(
        id="programme",
        number=2,
        by="ann",
        approved_by="bob",
        text=limited(PROGRAMME, sweep_per_record=2).replace("after_days: 7}", "after_days: 2}"),
        holds_from=START + 4 * DAY,
    )
    bench.give(control(body))
    for _ in range(4):
        bench.give(tick(), after=4 * DAY + 10 if bench.now == START else 1)
    entered = [(f.offset, f.member_id) for f in bench.facts if isinstance(f, facts.TierEntered)]
    at = bench.offset - 4
    assert entered == list(zip([at, at, at + 1, at + 1, at + 2], HERE[:5], strict=True))
    assert bench.fold.state.sweep_until == 0


def test_a_stray_is_forwarded_with_its_cause_and_changes_nothing_here() -> None:
    bench = Bench()
    out = bench.act(ELSEWHERE, "purchase", amount=100, currency="CNY", order_id="o-1")
    ((home, forward),) = out.forwards
    assert home == 1
    assert forward.cause == Cause("log-1", 0, 1, 0)
    assert forward.member_id == ELSEWHERE
    assert not out.touched
    assert not out.facts


def derived(offset: int, value: bytes, index: int = 0, key: Any = WORKERS, origin: int = 2) -> bytes:
    body = Forward(cause=Cause("log-1", origin, offset, index), member_id=HERE[0], value=value)
    return seal(SignedDerived, "workers", key, msgspec.json.encode(body))


def an_action(number: int, member: str = HERE[0]) -> bytes:
    head = {"action": "login", "event_id": f"f-{number}", "source": "app", "member_id": member}
    return msgspec.json.encode({**head, "occurred_at": instant(START)})


def test_a_derived_record_counts_once_per_cause_for_ever() -> None:
    bench = Bench()
    for offset, index in ((5, 0), (5, 1), (7, 0), (5, 1), (6, 9), (7, 0), (8, 0)):
        bench.give(derived(offset, an_action(offset * 10 + index), index), after=40 * DAY if index == 9 else 0)
    assert bench.verdicts == {"applied": 3, "control": 1, "derived_ignored": 3, "late": 1}
    bench.give(derived(1, an_action(99), origin=1))
    assert bench.fold.state.causes == {"log-1:2": (8, 0), "log-1:1": (1, 0)}


WITHOUT_EFFECT: list[tuple[AnyDerived, bool]] = [  # record, and whether a cause identifies it
    (Referral(Cause("log-1", 2, 5, 0), HERE[0], "moved", "m-9", active_at=START), True),
    (Echo(Cause("log-1", 2, 5, 0), HERE[0], "like", "m-9"), True),
    (Award(HERE[0], "hot_talk", "week", 20_000, 1, 900), False),
    (Feedback(HERE[0], "dispatcher", "c-1", "sent"), False),
]


@pytest.mark.parametrize(("body", "caused"), WITHOUT_EFFECT, ids=[type(it).__name__ for it, _ in WITHOUT_EFFECT])
def test_a_derived_record_without_a_rule_is_counted_and_changes_no_member(body: AnyDerived, *, caused: bool) -> None:
    bench = Bench()
    value = seal(SignedDerived, "workers", WORKERS, msgspec.json.encode(body))
    for _ in range(2):
        out = bench.give(value)
        assert (out.touched, out.facts, out.letters, out.pages) == ({}, [], [], {})
    ignored = {"derived_ignored": 1} if caused else {}
    assert bench.verdicts == {"control": 1, "derived": 2 - caused, **ignored}
    assert bench.fold.state.causes == ({"log-1:2": (5, 0)} if caused else {})
    assert reasons(bench.give(seal(SignedDerived, "workers", STRANGER, msgspec.json.encode(body)))) == [Reason.UNSIGNED]


def test_derived_records_of_every_kind_share_the_causes_of_their_origin() -> None:
    """A worker appends them in the order of its own log, so one below the highest seen is a repeat whatever it says."""
    bench = Bench()
    echo = Echo(Cause("log-1", 2, 7, 1), HERE[0], "like", "m-9")
    bench.give(seal(SignedDerived, "workers", WORKERS, msgspec.json.encode(echo)))
    bench.give(derived(7, an_action(1), 0))
    bench.give(derived(7, an_action(2), 2))
    assert bench.verdicts == {"applied": 1, "control": 1, "derived": 1, "derived_ignored": 1}


def test_a_forged_cause_silences_nobody() -> None:
    bench = Bench()
    assert reasons(bench.give(derived(10**9, an_action(1), key=STRANGER))) == [Reason.UNSIGNED]
    bench.give(derived(5, an_action(2)))
    assert bench.verdicts["applied"] == 1


def test_a_forwarded_record_that_is_still_a_stray_is_a_dead_letter() -> None:
    bench = Bench()
    assert reasons(bench.give(derived(5, an_action(1, ELSEWHERE)))) == [Reason.STRAY]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "not_json"),
        (b"", "not_json"),
        (b"\x80\x03", "not_json"),
        (b"[" * 900, "too_deep"),
        (b"x" * 1_048_300, "too_big"),
    ],
)
def test_refused_input_never_halts_and_keeps_its_bytes_or_a_hash(value: bytes | None, reason: str) -> None:
    bench = Bench()
    out = bench.give(value)
    assert reasons(out) == [reason]
    kept = out.letters[0].value
    assert kept == value or (kept or b"").startswith(b"sha256:")
    bench.act()
    assert bench.verdicts["applied"] == 1


def test_personal_values_are_blanked_on_their_way_to_the_dead_letters() -> None:
    out = Bench().act(name="Wang Xiaoming", phone="13812345678")
    assert reasons(out) == [Reason.PERSONAL]
    assert b"Wang" not in (out.letters[0].value or b"")
    assert b"13812345678" not in (out.letters[0].value or b"")


# -- rules that raise -----------------------------------------------------------------------------------------------


@pytest.fixture
def choking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule that raises on events called boom, after it has changed something."""

    def decide(*given: Any) -> Any:
        if given[4].event_id == "boom":
            given[3].state.issued += 1
            raise ZeroDivisionError("no rule")
        return rules_of(*given)

    monkeypatch.setattr("processors.partition.decide", decide)


@pytest.mark.usefixtures("choking")
def test_a_rule_that_raises_names_its_record() -> None:
    bench = Bench()
    with pytest.raises(RuleFailed) as raised:
        bench.act(event_id="boom")
    assert raised.value.offset == 1
    assert isinstance(raised.value.cause, ZeroDivisionError)


@pytest.mark.parametrize("error", [MemoryError, RecursionError])
def test_an_unwell_process_is_not_the_records_fault(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def decide(*_: Any) -> Any:
        raise error

    bench = Bench()
    monkeypatch.setattr("processors.partition.decide", decide)
    with pytest.raises(error):
        bench.act()


def test_a_wake_that_raises_halts_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def wake(*_: Any) -> Any:
        raise ZeroDivisionError("no rule")

    bench = Bench()
    bench.act()
    monkeypatch.setattr("processors.partition.wake", wake)
    with pytest.raises(Halt) as halted:
        bench.give(tick(), after=8 * DAY)
    assert halted.value.offset == 2


def test_a_skipped_record_is_a_dead_letter_and_nothing_else() -> None:
    bench = Bench(skip={1: Failure("ZeroDivisionError", "no rule", "at line 1", known=True)})
    out = bench.act(what="check_in")
    (letter,) = out.letters
    assert (letter.rejected.reason, letter.exception, letter.stacktrace) == (
        Reason.RULE,
        "ZeroDivisionError",
        "at line 1",
    )
    assert not out.facts
    assert not out.touched
    assert bench.fold.state.rule_letters == [1]


@pytest.mark.parametrize(("known", "halts"), [(False, True), (True, False)])
def test_too_many_rule_letters_halt_there_unless_they_are_history(*, known: bool, halts: bool) -> None:
    skip = {offset: Failure("Error", "no rule", known=known) for offset in (1, 2, 3)}
    bench = Bench(skip=skip)  # its limit is 2 in 100 offsets
    bench.act()
    bench.act()
    if halts:
        with pytest.raises(Halt, match="more than 2 rule failures") as halted:
            bench.act()
        assert halted.value.offset == 3
    else:
        bench.act()
        assert bench.fold.state.rule_letters == [1, 2, 3]


def test_rule_letters_leave_the_window() -> None:
    bench = Bench(skip={offset: Failure("Error", "no rule") for offset in (1, 2, 101)})
    for _ in range(102):
        bench.act()
    assert bench.fold.state.rule_letters == [2, 101]


@pytest.mark.parametrize(
    "value",
    [
        control(GoLive(id="live", number=1, by="ann", approved_by="bob")).replace(b"go_live", b"go_dead"),
        control(first_programme("log-1", "rules: 99")).replace(b"x", b"x"),
    ],
    ids=["altered", "first again"],
)
def test_a_control_record_that_is_not_ours_never_halts(value: bytes) -> None:
    bench = Bench()
    bench.give(value)
    bench.act()
    assert bench.verdicts["applied"] == 1


def test_a_signed_control_record_that_is_not_understood_halts_and_is_never_skipped() -> None:
    bench = Bench()
    body = ProgrammeControl(
        id="programme", number=2, by="ann", approved_by="bob", text="rules: 99", holds_from=START + DAY
    )
    with pytest.raises(Halt, match="not understood") as halted:
        bench.give(control(body))
    assert halted.value.offset == 1


# -- blocks, and where a chunk ends -----------------------------------------------------------------------------------


def test_a_block_ends_with_the_first_record_of_the_next() -> None:
    bench = Bench()
    bench.act(region="east")
    assert bench.fold.state.block == 0
    bench.fold.pass_markers(998)
    bench.offset = 1_000
    out = bench.act(region="west")
    assert {bucket.block for bucket in out.buckets} == {0}
    assert {bucket.region for bucket in out.buckets if bucket.kind == "day"} == {"east"}
    assert bench.fold.state.block == 1


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("size", [1, 7, 5_000])
def test_where_a_chunk_ends_changes_nothing(seed: int, size: int) -> None:
    log, identity = MemoryLog(), Identity("log-1", "t", PARTITIONS)
    traffic = Traffic(Random(seed), log, ALL)
    traffic.burst(150)
    traffic.change_programme()
    traffic.burst(150)
    records = log.read(ALL.actions.name, 0)
    whole = replay(ALL.actions.name, 0, identity, records, len(records) + 10_000, {})
    image, found, at = None, list[bytes](), 0
    while at < len(records):
        until = records[min(at + size, len(records)) - 1].offset + 1
        part = replay(ALL.actions.name, 0, identity, records, until, {}, image)
        found += part.facts
        image, at = part.dump, at + size
    assert image is not None
    assert image.digest() == whole.dump.digest()
    assert found == whole.facts


# -- what is too big ------------------------------------------------------------------------------------------------


def test_key_and_headers_of_a_letter_are_bounded_too() -> None:
    bench = Bench()
    (letter,) = bench.give(b"{", headers=(("x", b"x" * 1_000_000), ("y", b""))).letters
    assert [name for name, _ in letter.headers] == ["headers-dropped"]
    (letter,) = bench.give(b"{", headers=(("x", b"x" * 1_000),)).letters
    assert letter.headers == (("x", b"x" * 1_000),)


@pytest.mark.parametrize(("size", "forwarded"), [(150_000, True), (180_000, False)])
def test_a_stray_that_would_not_fit_in_its_envelope_is_a_dead_letter(*, size: int, forwarded: bool) -> None:
    out = Bench().act(ELSEWHERE, "profile", attributes={"note": "x" * size})
    assert (len(out.forwards), reasons(out)) == ((1, []) if forwarded else (0, [Reason.STRAY]))
    for _, forward in out.forwards:
        assert len(seal(SignedDerived, "workers", WORKERS, msgspec.json.encode(forward))) < 256 * 1024


@pytest.mark.parametrize("ahead", [6 * 60_000, 31 * DAY, 9_000 * DAY])
def test_an_action_of_the_future_is_judged_by_the_version_of_the_clock(ahead: int) -> None:
    bench = Bench()
    text = PROGRAMME.replace("points: 5\n", "points: 500\n", 1)
    assert text != PROGRAMME
    later = START + 5 * 60_000 + 1
    bench.give(
        control(ProgrammeControl(id="programme", number=2, by="ann", approved_by="bob", text=text, holds_from=later))
    )
    bench.act(what="check_in", occurred_at=instant(START + ahead))
    (entry,) = [fact for fact in bench.facts if isinstance(fact, facts.Ledger)]
    assert (entry.effective_at, entry.programme, entry.points) == (START, 1, 5)
