"""Load that behaves like members: the same seed is the same bytes, and the contract reads all it writes."""

import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from infra import load
from infra.history import History, Span
from infra.live import Live, Record, Silence
from infra.members import DAY_MS, Crowd, Wave
from infra.process import StackError
from infra.staff import Key, Staff
from infra.traffic import CLEAN, MIX, POISONS, Trouble, Writer
from processors import signature
from schemas import decoding
from schemas.actions import (
    Action,
    Adjust,
    Join,
    Login,
    Opening,
    Profile,
    Purchase,
    Redeem,
    RedeemCancel,
    Refund,
    StaffAction,
    name_of,
)
from schemas.decoding import decode
from schemas.verdicts import Reason, Rejected

SEED = 20261121
ZONE = "Asia/Shanghai"
NOON = 1_795_233_600_000  # 2026-11-21 04:00 UTC: noon in Shanghai, a Saturday
ROOT = Path(__file__).parent.parent.parent


def story(members: int = 300, days: int = 14, trouble: Trouble = CLEAN, *waves: Wave) -> History:
    return History(Crowd(members, SEED, waves), SEED, Span.of_days(NOON, days, ZONE, 2.0), trouble)


def stream(trouble: Trouble = CLEAN, *waves: Wave, silence: Silence | None = None) -> Live:
    crowd, writer = Crowd(300, SEED, waves), Writer(SEED, "l1")
    return Live(crowd, writer, trouble, ZONE, silence=silence or Silence())


def read(value: bytes) -> Action:
    action = decode(value)
    assert isinstance(action, Action), (value, action)
    return action


def at(action: Action) -> int:
    return round(action.occurred_at.timestamp() * 1000)


# -- the same bytes


def test_the_same_seed_writes_the_same_history_under_another_hash_seed() -> None:
    command = (
        "from tests.infra.test_load import *; import hashlib; print(hashlib.sha256(b''.join(story())).hexdigest())"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", command],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert told[0] == told[1]


def test_another_seed_writes_another_history() -> None:
    other = History(Crowd(300, 7), 7, Span.of_days(NOON, 14, ZONE, 2.0))
    assert set(story()) & set(other) == set()


def test_live_traffic_comes_from_the_members_of_the_history() -> None:
    members = {(m.id, m.region, m.group) for m in Crowd(300, SEED).members}
    in_history = grouped(story())
    live = grouped(record.value for record in stream().take(5_000, NOON))
    assert in_history <= members
    assert live <= members
    assert len(live & in_history) > 100


def grouped(values: Iterable[bytes]) -> set[tuple[str, str, str]]:
    """Members as their actions show them; who joins the programme does so in no group."""
    actions = [action for action in map(read, values) if not isinstance(action, Profile | Join)]
    return {(action.member_id, action.region, action.group_id) for action in actions}


# -- identity


def test_an_event_id_stands_for_one_action_however_often_it_is_sent() -> None:
    written = story(300, 14, Trouble(duplicates=0.05, late=0.05, beyond=0, poison=0, strays=0))
    by_id: dict[tuple[str, str], set[bytes]] = defaultdict(set)
    times: Counter[tuple[str, str]] = Counter()
    for value in written:
        action = read(value)
        by_id[action.source, action.event_id].add(value)
        times[action.source, action.event_id] += 1
    assert {len(values) for values in by_id.values()} == {1}
    repeated = sum(count - 1 for count in times.values())
    assert 0 < repeated <= written.counts["duplicates"]


def test_about_one_percent_of_live_records_are_repeats_of_recent_ones() -> None:
    live = stream(Trouble())
    values = [record.value for record in live.take(50_000, NOON)]
    repeats = len(values) - len(set(values))
    assert repeats == pytest.approx(500, rel=0.3)


def test_a_clean_run_repeats_nothing() -> None:
    values = [record.value for record in stream().take(20_000, NOON)]
    assert len(set(values)) == len(values)


def test_two_live_runs_of_one_seed_do_not_share_an_event_id() -> None:
    crowd = Crowd(50, SEED)
    runs = [Live(crowd, Writer(SEED, origin), CLEAN, ZONE).take(500, NOON) for origin in ("l1-a", "l1-b")]
    ids = [{read(record.value).event_id for record in run} for run in runs]
    assert ids[0].isdisjoint(ids[1])


def test_an_order_id_is_given_once() -> None:
    orders = [a.order_id for a in (read(r.value) for r in stream().take(20_000, NOON)) if isinstance(a, Purchase)]
    assert len(orders) > 100
    assert len(set(orders)) == len(orders)


def test_refunds_name_orders_of_their_member_whole_in_part_too_much_or_unknown() -> None:
    bought: dict[tuple[str, str], int] = {}
    shares: Counter[str] = Counter()
    for action in map(read, story(members=600, days=60)):
        if isinstance(action, Purchase):
            bought[action.member_id, action.order_id] = action.amount
        elif isinstance(action, Refund):
            amount = bought.get((action.member_id, action.order_id))
            shares["unknown" if amount is None else _share(action.amount, amount)] += 1
    assert set(shares) == {"whole", "part", "too much", "unknown"}, shares
    assert shares["unknown"] < 0.3 * shares.total()


def _share(refunded: int, amount: int) -> str:
    return "whole" if refunded == amount else "part" if refunded < amount else "too much"


def test_a_cancel_names_a_redemption_of_its_member() -> None:
    asked: set[tuple[str, str]] = set()
    cancelled: Counter[bool] = Counter()
    for action in map(read, story(days=60)):
        if isinstance(action, Redeem):
            asked.add((action.member_id, action.redeem_id))
        elif isinstance(action, RedeemCancel):
            cancelled[(action.member_id, action.redeem_id) in asked] += 1
    assert cancelled[True] > cancelled[False]


def test_a_member_joins_once_and_mostly_by_the_invitation_of_another() -> None:
    joins = [action for action in map(read, story(days=60)) if isinstance(action, Join)]
    invited = [join for join in joins if join.referrer_id]
    assert len({join.member_id for join in joins}) == len(joins) > 50
    assert len(invited) > 0.9 * len(joins)
    assert all(join.referrer_id != join.member_id and not join.group_id for join in invited)


# -- staff

PRIVATE = Ed25519PrivateKey.from_private_bytes(b"s" * 32)


def staffed(share: float = 0.05) -> Live:
    writer = Writer(SEED, "l1")
    staff = Staff(Key("staff", PRIVATE), share, writer.origin, writer.instant)
    return Live(Crowd(300, SEED, (Wave(0.2, 7),)), writer, CLEAN, ZONE, staff=staff)


def test_staff_give_points_take_them_back_and_bring_members_along_signed_by_two_people() -> None:
    live = staffed()
    brought: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    given: set[tuple[str, str]] = set()
    for record in live.take(10_000, NOON):
        item = decode(record.value)
        if not isinstance(item, decoding.Staff):
            continue
        assert signature.holds(item.envelope, {"staff": signature.public_text(PRIVATE)})
        action = item.action
        assert isinstance(action, StaffAction)
        assert action.operator != action.approved_by
        assert record.key.decode() == action.member_id == record.partition_of.id
        assert record.partition_of.wave < 0
        if isinstance(action, Opening):
            brought[action.member_id] += 1
        else:
            assert isinstance(action, Adjust)
            kinds[action.kind] += 1
            assert action.kind == "points" or (action.member_id, action.refers_to) in given
            given.add((action.member_id, action.event_id))
    assert live.counts["staff"] == kinds.total() + brought.total() > 300
    assert set(kinds) == {"points", "reverse"}
    assert max(brought.values()) > 1


def test_the_same_seed_makes_the_same_decisions_of_staff() -> None:
    one, two = ([record.value for record in staffed().take(500, NOON)] for _ in range(2))
    assert one == two


# -- what the contract reads


@pytest.mark.parametrize("kind", MIX)
def test_every_kind_of_action_is_what_the_contract_reads(kind: str) -> None:
    writer, member = Writer(SEED, "x"), Crowd(1, SEED).members[0]
    for _ in range(200):
        action = read(writer.action(member, NOON, kind))
        assert (name_of(action), at(action), action.member_id) == (kind, NOON, member.id)


@pytest.mark.parametrize("number", range(len(POISONS)))
def test_every_poison_is_refused_whatever_it_is_mixed_into(number: int) -> None:
    writer, member = Writer(SEED, "x"), Crowd(1, SEED).members[0]
    for kind in MIX:
        broken = POISONS[number](writer.action(member, NOON, kind))
        assert isinstance(decode(broken), Rejected), broken


def test_a_phone_number_is_among_the_poison() -> None:
    good = Writer(SEED, "x").action(Crowd(1, SEED).members[0], NOON, "login")
    reasons = {told.reason for told in (decode(poison(good)) for poison in POISONS) if isinstance(told, Rejected)}
    wanted = {Reason.PERSONAL, Reason.NOT_JSON, Reason.TOO_DEEP, Reason.INVALID, Reason.UNKNOWN_ACTION}
    assert wanted <= reasons


def test_the_key_of_a_record_is_its_member() -> None:
    for record in stream().take(2_000, NOON):
        assert record.key.decode() == read(record.value).member_id == record.partition_of.id


def test_a_stray_goes_to_the_partition_of_another_member() -> None:
    records = stream(CLEAN._replace(strays=0.1)).take(5_000, NOON)
    strays = [record for record in records if record.partition_of.id != read(record.value).member_id]
    assert len(strays) == pytest.approx(500, rel=0.3)


# -- behaviour


def test_history_lies_within_its_days_and_arrives_in_order() -> None:
    times = [at(read(value)) for value in story(days=14)]
    assert min(times) >= NOON - 14 * DAY_MS
    assert max(times) < NOON
    assert times == sorted(times)


def test_late_actions_arrive_after_later_ones() -> None:
    written = story(300, 14, CLEAN._replace(late=0.05))
    times = [at(read(value)) for value in written]
    after_later = sum(1 for i, moment in enumerate(times[1:], 1) if moment < times[i - 1])
    assert after_later > 0
    assert written.counts["late"] > 300


def test_what_is_late_live_is_hours_to_weeks_old_and_what_is_beyond_is_beyond_thirty_days() -> None:
    live = stream(CLEAN._replace(late=0.02, beyond=0.01))
    ages = [NOON - at(read(record.value)) for record in live.take(20_000, NOON)]
    assert sum(1 for age in ages if 3_600_000 <= age <= 20 * DAY_MS) == live.counts["late"] > 300
    assert sum(1 for age in ages if age > 30 * DAY_MS) == live.counts["beyond"] > 100
    assert max(age for age in ages if age < 3_600_000) <= 2_000


def test_days_have_quiet_and_busy_hours() -> None:
    hours = Counter((at(read(value)) // 3_600_000 + 8) % 24 for value in story(days=28))
    assert hours[20] > 5 * hours[4]


def test_some_members_act_often_and_some_hardly_ever() -> None:
    counts = Counter(a.member_id for a in map(read, story(days=28)) if not isinstance(a, Profile))
    most = [count for _, count in counts.most_common()]
    assert most[0] > 10 * most[len(most) // 2]
    assert len(most) < 300


def test_groups_are_few_large_and_many_small() -> None:
    sizes = [size for _, size in Counter(m.group for m in Crowd(3_000, SEED).members).most_common()]
    assert sizes[0] > 5 * sizes[len(sizes) // 2]


@pytest.mark.parametrize(("days", "only_purchases"), [(7, False), (14, True), (30, False)])
def test_a_wave_falls_silent_so_that_a_limit_is_crossed_right_after_the_end(days: int, only_purchases: bool) -> None:  # noqa: FBT001
    wave = Wave(0.2, days, 60.0, only_purchases)
    written = story(300, 31, CLEAN, wave)
    wave_members = {member.id for member in written.crowd.members if member.wave == 0}
    last: dict[str, int] = {}
    for action in map(read, written):
        if action.own and (isinstance(action, Purchase) or not only_purchases):
            last[action.member_id] = max(at(action), last.get(action.member_id, 0))
    assert len(wave_members) == pytest.approx(60, rel=0.4)
    for member in wave_members:
        assert NOON <= last[member] + days * DAY_MS < NOON + 60_000


def test_members_of_a_wave_stay_silent_live_but_for_a_few_who_return() -> None:
    live = stream(CLEAN, Wave(0.2, 7))
    gone = {member.id for member in live.crowd.members if member.wave == 0}
    records = live.take(20_000, NOON)
    returned = [record for record in records if read(record.value).member_id in gone]
    assert 0 < len(returned) < 60
    assert all(isinstance(read(record.value), Login) for record in returned)


def test_members_fall_silent_at_the_moment_that_was_asked_for() -> None:
    live = stream(silence=Silence(0.5, NOON))
    before, after = live.take(5_000, NOON - 1), live.take(5_000, NOON)
    assert len(before) == 5_000
    assert len(members(after)) < 0.7 * len(members(before))
    assert len(after) < 4_000


def members(records: list[Record]) -> set[str]:
    return {record.partition_of.id for record in records}


# -- the command line


def test_history_is_a_file_of_json_lines_and_a_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "history.jsonl"
    load.history(file, members=50, seed=SEED, days=5, until="2026-11-20", total=500, wave=["0.1:3"])
    lines = file.read_bytes().splitlines()
    told = msgspec.json.decode(capsys.readouterr().out)
    assert told["written"] == len(lines) == pytest.approx(550, rel=0.3)
    assert told["until"] == NOON - DAY_MS // 2
    assert max(at(read(line)) for line in lines) < told["until"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["live"], "give --rate, --seconds or --total"),
        (["live", "--total", "1", "--codec", "lzo"], "one of zstd, lz4"),
        (["live", "--total", "1", "--zone", "Mars/Base"], "IANA name"),
        (["live", "--total", "1", "--wave", "much"], "SHARE:DAYS"),
        (["live", "--total", "1", "--staff", "0.1"], "no key of staff in"),
        (["history", "x", "--until", "yesterday"], "2026-11-21"),
        (["history", "no/such/folder/x", "--members", "1"], "No such file"),
    ],
)
def test_what_a_person_can_get_wrong_is_one_line(arguments: list[str], told: str) -> None:
    command = [sys.executable, "-m", "infra.load", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert told in done.stderr


def test_waves_that_leave_nobody_are_refused() -> None:
    with pytest.raises(StackError, match="somebody has to go on"):
        load.waves(["0.5:7", "0.5:14"])
