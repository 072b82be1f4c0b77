"""Boards: what counts, until when, for whom; and that they are a full sort of the facts however partitions mix."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.boards import Boards, Part, Seasons, Told, month_start
from processors.programme import Rules
from schemas.boards import BoardKey, Period
from schemas.programme import parse

ZONE = ZoneInfo("Asia/Shanghai")
DAY = 86_400_000
EPOCH = dt.date(1970, 1, 1)
TEXT = Path("schemas/programmes/default.yaml").read_text()
MONDAY = (dt.date(2026, 3, 2) - EPOCH).days
MARCH = 2026 * 12 + 2


def rules(number: int = 1, holds_from: int = 0, text: str = TEXT, **numbers: int) -> Rules:
    for name, value in numbers.items():
        before = next(line for line in text.splitlines() if line.strip().startswith(f"{name}:") and "#" in line)
        text = text.replace(before, f"{before.split(name)[0]}{name}: {value}")
    return Rules(parse(text), number, holds_from)


def at(text: str, ms: int = 0) -> int:
    """A moment in Shanghai."""
    return round(dt.datetime.fromisoformat(text).replace(tzinfo=ZONE).timestamp() * 1000) + ms


EVERYWHERE: tuple[dict[str, Any], ...] = ({}, {"region": "east"}, {"group_id": "g"})
WEEK: tuple[Period, int] = ("week", MONDAY)


class Site:
    """Boards of a few partitions, fed with facts in words."""

    def __init__(self, *versions: Rules, partitions: int = 1) -> None:
        self.boards = Boards(Seasons(versions or [rules()]), partitions)
        self.n: dict[int, int] = defaultdict(int)

    def add(self, kind: str, member: str, effective: int, decided: int = 0, partition: int = 0, **told: Any) -> Told:
        self.n[partition] += 1
        n = self.n[partition]
        fact = Told(kind, n, member, effective, decided or effective, n, 0, event_id=f"e{n}", source="app", **told)
        self.boards.add(partition, fact)
        return fact

    def talk(self, member: str, effective: int, decided: int = 0, weight: int = 1_000, **told: Any) -> Told:
        return self.add("ledger", member, effective, decided, rule="message", weight=weight, **told)

    def buy(self, member: str, effective: int, spend: int, decided: int = 0, **told: Any) -> Told:
        return self.add("ledger", member, effective, decided, rule="purchase", spend=spend, **told)

    def refund(self, order: Told, effective: int, spend: int, decided: int = 0) -> None:
        amends = (order.offset, order.index)
        self.add("ledger", order.member_id, effective, decided, rule="refund", spend=-spend, amends=amends)

    def board(self, board: str, period: str = "week", number: int = MONDAY, **where: str) -> list[tuple[int, str, int]]:
        key = BoardKey(board, period, number, **where)  # type: ignore[arg-type]
        return [tuple(place) for place in self.boards.table(key)]  # type: ignore[misc]


# -- tables ---------------------------------------------------------------------------------------------------------

WEEK_ENDS = at("2026-03-09")
FINAL = at("2026-03-17")  # 8 days after the week's end


@pytest.mark.parametrize(
    ("name", "effective", "decided", "counts"),
    [
        ("ordinary", at("2026-03-04 12:00"), 0, True),
        ("the week's first moment", at("2026-03-02"), 0, True),
        ("1 ms before the week", at("2026-03-02", -1), 0, False),
        ("the week's last ms", at("2026-03-09", -1), 0, True),
        ("the next week's first moment", at("2026-03-09"), 0, False),
        ("late, 1 s before the board is final", at("2026-03-04"), FINAL - 1_000, True),
        ("late, at the moment the board is final", at("2026-03-04"), FINAL, False),
        ("late, 1 s after it", at("2026-03-04"), FINAL + 1_000, False),
    ],
)
def test_what_counts_in_a_week(name: str, effective: int, decided: int, counts: bool) -> None:  # noqa: FBT001
    site = Site()
    site.talk("a", effective, decided)
    site.buy("a", effective, 700, decided)
    assert site.board("hot_talk") == ([(1, "a", 1_000)] if counts else [])
    assert site.board("spending") == ([(1, "a", 700)] if counts else [])


@pytest.mark.parametrize(
    ("name", "effective", "decided", "counts"),
    [
        ("the month's first moment", at("2026-03-01"), 0, True),
        ("1 ms before the month", at("2026-03-01", -1), 0, False),
        ("the month's last ms", at("2026-04-01", -1), 0, True),
        ("late, 1 s before the board is final", at("2026-03-20"), at("2026-04-09", -1_000), True),
        ("late, at the moment the board is final", at("2026-03-20"), at("2026-04-09"), False),
    ],
)
def test_what_counts_in_a_month(name: str, effective: int, decided: int, counts: bool) -> None:  # noqa: FBT001
    site = Site()
    site.talk("a", effective, decided)
    assert site.board("hot_talk", "month", MARCH) == ([(1, "a", 1_000)] if counts else [])


def test_the_first_30_messages_of_a_day_count_by_their_moment_whatever_their_arrival() -> None:
    site, noon = Site(), at("2026-03-04 12:00")
    for number in range(31):
        site.talk("a", noon + number, weight=1_000)
    assert site.board("hot_talk") == [(1, "a", 30_000)]
    site.talk("a", noon - 1, noon + 60_000, weight=3_000)  # late and earlier: the 30th counts no more
    assert site.board("hot_talk") == [(1, "a", 32_000)]
    site.talk("a", noon + 40, noon + 60_000, weight=3_000)  # late and after the 30th
    assert site.board("hot_talk") == [(1, "a", 32_000)]
    site.talk("a", at("2026-03-05"), weight=500)  # the next day counts anew
    assert site.board("hot_talk") == [(1, "a", 32_500)]


def test_messages_of_one_moment_are_ranked_by_source_and_event() -> None:
    site, noon = Site(rules(messages_per_day=1)), at("2026-03-04 12:00")
    site.add("ledger", "a", noon, rule="message", weight=3_000)
    first = site.boards.table(BoardKey("hot_talk", "week", MONDAY))
    fact = Told("ledger", 2, "a", noon, noon, 2, 0, event_id="a", source="app", rule="message", weight=2_000)
    site.boards.add(0, fact)
    assert [it.value for it in first] == [3_000]
    assert site.board("hot_talk") == [(1, "a", 2_000)]


def test_a_group_has_what_was_said_and_bought_there_and_a_region_all_of_its_members() -> None:
    site, noon = Site(), at("2026-03-04 12:00")
    site.talk("a", noon, home="east", group_id="g")
    site.talk("a", noon + 1, home="east")
    site.talk("b", noon, home="south", group_id="g", weight=3_000)
    site.buy("a", noon, 500, home="east", group_id="g")
    assert site.board("hot_talk") == [(1, "b", 3_000), (2, "a", 2_000)]
    assert site.board("hot_talk", region="east") == [(1, "a", 2_000)]
    assert site.board("hot_talk", region="south") == [(1, "b", 3_000)]
    assert site.board("hot_talk", group_id="g") == [(1, "b", 3_000), (2, "a", 1_000)]
    assert site.board("spending", group_id="g") == [(1, "a", 500)]


def test_members_with_equal_sums_share_a_place_over_partitions() -> None:
    site, noon = Site(partitions=2), at("2026-03-04 12:00")
    site.talk("a", noon, partition=0)
    site.talk("b", noon, partition=1)
    site.talk("c", noon, weight=500, partition=1)
    assert site.board("hot_talk") == [(1, "a", 1_000), (1, "b", 1_000), (3, "c", 500)]


@pytest.mark.parametrize(
    ("name", "decided", "week", "month"),
    [
        ("at once", at("2026-03-04 13:00"), 300, 300),
        ("after the week's end", at("2026-03-12"), 300, 300),
        ("1 s before the week is final", FINAL - 1_000, 300, 300),
        ("when the week is final, the month is not", FINAL, 1_000, 300),
    ],
)
def test_a_refund_counts_where_its_order_did(name: str, decided: int, week: int, month: int) -> None:
    site = Site()
    order = site.buy("a", at("2026-03-04 12:00"), 1_000, home="east", group_id="g")
    site.refund(order, decided, 700)
    for where in EVERYWHERE:
        assert site.board("spending", **where) == [(1, "a", week)]
        assert site.board("spending", "month", MARCH, **where) == [(1, "a", month)]


def test_what_is_wholly_refunded_has_no_place_and_a_refund_of_an_unknown_order_no_effect() -> None:
    site = Site()
    order = site.buy("a", at("2026-03-04 12:00"), 1_000)
    site.buy("b", at("2026-03-04 12:00"), 10)
    site.refund(order, at("2026-03-05"), 400)
    site.refund(order, at("2026-03-05"), 600)
    site.add("ledger", "b", at("2026-03-05"), rule="refund", spend=-5)  # plain: of an order older than any list
    site.add("ledger", "b", at("2026-03-05"), rule="refund", spend=-5, amends=(99, 9))
    assert site.board("spending") == [(1, "b", 10)]


@pytest.mark.parametrize(
    ("name", "decided", "week_home", "month_home"),
    [
        ("while both are open", at("2026-03-05"), "south", "south"),
        ("1 s before the week is final", FINAL - 1_000, "south", "south"),
        ("when the week is final", FINAL, "east", "south"),
        ("when both are final", at("2026-04-09"), "east", "east"),
    ],
)
def test_who_changes_region_takes_the_sum_along(name: str, decided: int, week_home: str, month_home: str) -> None:
    site = Site()
    site.talk("a", at("2026-03-04 12:00"), home="east")
    site.buy("a", at("2026-03-04 12:00"), 9, home="east")
    site.add("region.changed", "a", decided, home="south")
    for board, value in (("hot_talk", 1_000), ("spending", 9)):
        for home in ("east", "south"):
            assert site.board(board, region=home) == ([(1, "a", value)] if home == week_home else [])
            on_month = [(1, "a", value)] if home == month_home else []
            assert site.board(board, "month", MARCH, region=home) == on_month


@pytest.mark.parametrize(
    ("name", "decided", "week", "month"),
    [
        ("while both are open", at("2026-03-06"), [], []),
        ("1 s before the week is final", FINAL - 1_000, [], []),
        ("when the week is final", FINAL, [(1, "a", 1_000)], []),
        ("when both are final", at("2026-04-09"), [(1, "a", 1_000)], [(1, "a", 1_000)]),
    ],
)
def test_who_closes_the_account_leaves_the_open_boards(name: str, decided: int, week: Any, month: Any) -> None:
    site = Site()
    site.talk("a", at("2026-03-04 12:00"), home="east", group_id="g")
    site.add("account.closed", "a", decided)
    for where in EVERYWHERE:
        assert site.board("hot_talk", **where) == week
        assert site.board("hot_talk", "month", MARCH, **where) == month


def test_who_comes_back_begins_anew_and_what_comes_late_from_before_counts_no_more() -> None:
    site, noon = Site(), at("2026-03-04 12:00")
    site.talk("a", noon)
    site.talk("a", noon + 2)
    order = site.buy("a", noon, 700)
    site.add("account.closed", "a", noon + 1)
    assert site.board("hot_talk") == [(1, "a", 1_000)]
    assert site.board("spending") == []
    site.talk("a", noon - 5, noon + 10)  # late, of before
    site.refund(order, noon + 11, 700)
    site.buy("a", noon + 12, 5)
    assert site.board("hot_talk") == [(1, "a", 1_000)]
    assert site.board("spending") == [(1, "a", 5)]


def test_a_correction_of_a_message_is_no_message() -> None:
    site = Site()
    site.add("ledger", "a", at("2026-03-04"), rule="message", amends=(1, 0))
    assert site.boards.spans() == []


# -- final, whole, stored -------------------------------------------------------------------------------------------


def test_a_board_is_final_when_the_clock_of_every_partition_has_passed_its_last_moment() -> None:
    site, week = Site(partitions=2), WEEK
    site.talk("a", at("2026-03-04"), partition=0)
    assert site.boards.due(FINAL - 1) == []
    site.talk("a", FINAL, partition=0)
    assert site.boards.due(FINAL) == [(week, [1])]
    assert not site.boards.is_final(week)
    site.boards.passed(1, FINAL)
    assert site.boards.is_final(week)
    ((key, table),) = list(site.boards.boards_of(week))
    assert (key, table) == (BoardKey("hot_talk", "week", MONDAY), [(1, "a", 1_000)])
    site.boards.drop(week)
    assert site.board("hot_talk") == []
    assert site.board("hot_talk", "month", MARCH) == [(1, "a", 2_000)]


@pytest.mark.parametrize(("first_n", "decided", "whole"), [(1, "2026-03-04", True), (2, "2026-03-04", False)])
def test_a_week_whose_first_facts_are_gone_is_not_whole(first_n: int, decided: str, *, whole: bool) -> None:
    site = Site()
    site.n[0] = first_n - 1
    site.talk("a", at(decided))
    site.talk("a", at("2026-03-11"))
    assert site.boards.is_whole(("week", MONDAY)) is whole
    assert site.boards.is_whole(("week", MONDAY + 7))


def test_numbers_and_days_are_those_of_the_version_that_holds_when_they_end() -> None:
    later = rules(2, at("2026-03-09", -1), messages_per_day=1, settle_days=2)
    site, seasons = Site(rules(), later), Seasons([rules(), later])
    for number in range(3):
        site.talk("a", at("2026-03-07 12:00") + number)
        site.talk("b", at("2026-03-08 12:00") + number)
    assert site.board("hot_talk") == [(1, "a", 3_000), (2, "b", 1_000)]
    assert seasons.bounds(("week", MONDAY)) == (at("2026-03-02"), at("2026-03-09"), at("2026-03-11"))
    assert Seasons([rules()]).bounds(("week", MONDAY))[2] == FINAL
    assert seasons.fingerprint != Seasons([rules()]).fingerprint
    assert Seasons([rules(), rules(2, 77)]).fingerprint == Seasons([rules()]).fingerprint


@given(st.integers(0, 9_000 * 12))
def test_months_begin_where_the_calendar_says(month: int) -> None:
    date = dt.date(month // 12 or 1, month % 12 + 1, 1)
    assert month_start(date.year * 12 + date.month - 1) == (date - EPOCH).days


# -- any history ----------------------------------------------------------------------------------------------------

PARTITIONS = 3
SMALL = rules(messages_per_day=3, places=3)
BEGIN = at("2026-02-20")
encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Part).decode


class Deed(NamedTuple):
    """Something a member does, `late` ms before it is decided; `wait` ms after the deed before it."""

    member: int
    what: str
    wait: int
    late: int
    number: int


deeds = st.builds(
    Deed,
    st.integers(0, 8),
    st.sampled_from(["talk"] * 6 + ["buy"] * 3 + ["refund"] * 2 + ["move", "close"]),
    st.one_of(st.integers(0, 3_600_000), st.integers(0, 4 * DAY)),
    st.one_of(st.just(0), st.integers(0, 3 * DAY), st.integers(0, 30 * DAY)),
    st.integers(0, 5),
)


def histories(done: list[Deed]) -> list[list[Told]]:
    """The facts of each partition: what a worker would say of these deeds."""
    parts: list[list[Told]] = [[] for _ in range(PARTITIONS)]
    homes: dict[str, str] = {}
    orders: dict[str, list[Told]] = defaultdict(list)
    clock = BEGIN
    for deed in done:
        clock += deed.wait
        partition, member = deed.member % PARTITIONS, f"m{deed.member}"
        facts = parts[partition]
        moment, group = clock - deed.late, ["", "g", "h"][deed.number % 3]
        head = ("ledger", len(facts) + 1, member, moment, clock, 7 * len(facts), 1)
        names: dict[str, Any] = {"source": f"s{deed.number % 2}", "event_id": f"e{len(facts):03}"}
        home = homes.get(member, "")
        if deed.what == "talk":
            weight = deed.number * 500
            facts.append(Told(*head, **names, group_id=group, rule="message", weight=weight, home=home))
        elif deed.what == "buy":
            spend = deed.number * 100
            order = Told(*head, **names, group_id=group, rule="purchase", spend=spend, home=home)
            orders[member].append(order)
            facts.append(order)
        elif deed.what == "refund" and orders[member]:
            order = orders[member][deed.number % len(orders[member])]
            amends = (order.offset, order.index)
            facts.append(Told(*head, **names, rule="refund", spend=-order.spend // 2, amends=amends))
        elif deed.what == "move":
            homes[member] = home = ["east", "south"][deed.number % 2]
            facts.append(Told("region.changed", *head[1:], **names, home=home))
        elif deed.what == "close":
            facts.append(Told("account.closed", *head[1:], **names))
    return parts


def naive(parts: list[list[Told]]) -> dict[tuple[str, str, Any, str, str], list[tuple[int, str, int]]]:
    """Every board by sorting all the facts of its period once more; nothing of the fold is used."""

    def date(ms: int) -> dt.date:
        return dt.datetime.fromtimestamp(ms / 1000, ZONE).date()

    def name(period: str, day: dt.date) -> dt.date:
        return day - dt.timedelta(days=day.weekday()) if period == "week" else day.replace(day=1)

    def final(period: str, first: dt.date) -> int:
        after = first + dt.timedelta(days=7) if period == "week" else (first + dt.timedelta(days=31)).replace(day=1)
        return at((after + dt.timedelta(days=8)).isoformat())

    facts = [fact for part in parts for fact in part]
    firsts = {(period, name(period, date(it.effective_at))) for it in facts for period in ("week", "month")}
    sums: dict[tuple[str, str, dt.date, str, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for period, first in firsts:
        known = [it for it in facts if it.decided_at < final(period, first)]
        for member in {it.member_id for it in known}:
            own = [it for it in known if it.member_id == member]
            told = [it.home for it in own if it.kind == "region.changed"]
            home = told[-1] if told else ""
            closed = max((it.effective_at for it in own if it.kind == "account.closed"), default=0)
            spoken = [it for it in own if it.rule == "message"]
            spoken.sort(key=lambda it: (date(it.effective_at), it.effective_at, it.source, it.event_id))
            counted: list[tuple[str, int, str, int]] = []
            for number, it in enumerate(spoken):
                if number < 3 or date(spoken[number - 3].effective_at) != date(it.effective_at):
                    counted.append(("hot_talk", it.effective_at, it.group_id, it.weight))
            bought = {(it.offset, it.index): it for it in own if it.rule == "purchase"}
            for it in own:
                if it.spend and (order := bought.get(it.amends or (it.offset, it.index))):
                    counted.append(("spending", order.effective_at, order.group_id, it.spend))
            for board, moment, group, value in counted:
                if moment > closed and name(period, date(moment)) == first:
                    for region, of in {("", ""), (home, ""), ("", group)}:
                        sums[board, period, first, region, of][member] += value
    tables = {}
    for key, by_member in sums.items():
        ranked = [(1 + sum(v > value for v in by_member.values()), m, value) for m, value in by_member.items()]
        tables[key] = sorted(it for it in ranked if it[2] > 0 and it[0] <= 3)
    return {key: table for key, table in tables.items() if table}


@settings(max_examples=150, deadline=None)
@given(st.lists(deeds, max_size=70), st.randoms(use_true_random=False))
def test_every_board_is_a_full_sort_of_the_facts_however_partitions_mix(done: list[Deed], rnd: Any) -> None:
    parts = histories(done)
    boards = Boards(Seasons([SMALL]), PARTITIONS)
    left = [list(reversed(part)) for part in parts]
    while any(left):
        partition = rnd.choice([number for number, facts in enumerate(left) if facts])
        for _ in range(rnd.randrange(1, 6)):
            if left[partition]:
                boards.add(partition, left[partition].pop())
        if rnd.random() < 0.2:
            boards.sweep(partition)
        if rnd.random() < 0.1:  # the process dies, and what it had stored is taken up again
            again = Boards(Seasons([SMALL]), PARTITIONS)
            for number, part in boards.parts.items():
                again.load(number, decode(encode(part)))
            boards = again
    found = {}
    for span in boards.spans():
        for key, table in boards.boards_of(span):
            day = key.at if key.period == "week" else month_start(key.at)
            first = EPOCH + dt.timedelta(days=day)
            found[key.board, key.period, first, key.region, key.group_id] = [tuple(place) for place in table]
    assert found == naive(parts)
