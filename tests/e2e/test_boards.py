"""Boards on real parts: worker, sink and boards process; every board is what ClickHouse finds by sorting all facts."""

from __future__ import annotations

import asyncio
import datetime as dt
import http.client
import json
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from infra.process import free_ports
from infra.stack import Stack
from processors.boards import Span
from schemas.boards import BOARDS, Period
from streams.board_server import name_of
from streams.log_reader import LogReader
from tests.e2e.looking_back import Kept
from tests.e2e.memberflow import PARTITIONS, Running
from tests.polling import eventually

pytestmark = pytest.mark.real
ZONE = ZoneInfo("Asia/Shanghai")
FIRST, DAYS = dt.date(2025, 6, 2), 44  # a Monday
MEMBERS = 24
EPOCH = dt.date(1970, 1, 1)

# Of a week or month: everybody's sum by scope, and the place of each among all, by the engine alone.
SPOKEN = """
SELECT o.member_id AS member_id, group_id, weight AS value FROM (
    SELECT member_id, group_id, weight, effective_at, row_number() OVER (
        PARTITION BY member_id, toDate(fromUnixTimestamp64Milli(effective_at, 'Asia/Shanghai'))
        ORDER BY effective_at, source, event_id) AS number
    FROM told WHERE kind = 'ledger' AND rule = 'message' AND amends_offset = 0) AS o
LEFT JOIN closed AS c ON o.member_id = c.member_id
WHERE number <= 30 AND effective_at > closed_at AND effective_at >= %(start)s AND effective_at < %(end)s
"""
BOUGHT = """
SELECT o.member_id AS member_id, o.group_id AS group_id, t.spend AS value
FROM (SELECT * FROM told WHERE rule = 'purchase' AND spend > 0 AND amends_offset = 0) AS o
JOIN (SELECT src_partition, member_id, spend, if(amends_offset = 0, src_offset, amends_offset) AS at,
             if(amends_offset = 0, idx, amends_idx) AS of_idx FROM told WHERE spend != 0) AS t
ON o.src_partition = t.src_partition AND o.src_offset = t.at AND o.idx = t.of_idx
LEFT JOIN closed AS c ON o.member_id = c.member_id
WHERE o.effective_at > closed_at AND o.effective_at >= %(start)s AND o.effective_at < %(end)s
"""
PLACES = """
WITH told AS (SELECT * FROM facts FINAL WHERE log = %(log)s AND decided_at < %(final)s),
     closed AS (SELECT member_id, max(effective_at) AS closed_at FROM told WHERE kind = 'account.closed'
                GROUP BY member_id),
     counted AS ({counted}),
     homes AS (SELECT member_id, argMax(home, n) AS home FROM told WHERE kind = 'region.changed' GROUP BY member_id),
     scoped AS (
         SELECT '' AS region, '' AS grp, member_id, value FROM counted
         UNION ALL SELECT home, '', c.member_id AS member_id, value
             FROM counted AS c JOIN homes AS h ON c.member_id = h.member_id
         UNION ALL SELECT '', group_id, member_id, value FROM counted WHERE group_id != ''),
     sums AS (SELECT region, grp, member_id, sum(value) AS total FROM scoped GROUP BY region, grp, member_id)
SELECT region, grp, place, member_id, total FROM (
    SELECT *, rank() OVER (PARTITION BY region, grp ORDER BY total DESC) AS place FROM sums WHERE total > 0)
WHERE place <= 100 ORDER BY region, grp, place, member_id
"""
KEPT = """
SELECT region, group_id, place, member_id, value FROM boards FINAL
WHERE log = %(log)s AND board = %(board)s AND period = %(period)s AND at = %(at)s
ORDER BY region, group_id, place, member_id
"""


class Boarded(Kept):
    """A log with boards."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        super().__init__(stack, folder)
        with free_ports(1) as (port,):
            pass
        self.port = port
        own = {"MEMBERFLOW_BOARDS__PORT": str(port), "MEMBERFLOW_BOARDS__FOLDER": str(folder / "boards")}
        self.own, self.env = self.own | own, self.env | own

    @contextmanager
    def boards(self, exit_code: int = 0, **env: Any) -> Iterator[Running]:
        """The boards process."""
        with self.process("boards", "boards starts", 1, env, exit_code) as running:
            assert exit_code or eventually(lambda: self.shown("/boards") != b"", within_s=60)
            yield running

    def shown(self, path: str) -> bytes:
        """What is served."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            return connection.getresponse().read()
        except OSError:
            return b""
        finally:
            connection.close()

    def awards(self) -> Counter[str]:
        """The award records of the log by content."""

        async def read() -> Counter[str]:
            found: Counter[str] = Counter()
            async with LogReader(self.env["MEMBERFLOW_KAFKA__BOOTSTRAP"], self.topics.actions.name) as reader:
                async for records in reader.read_all(await reader.all_bounds(range(PARTITIONS))):
                    for record in records:
                        if b'"derived":"award"' in (record.value or b""):
                            found[json.dumps(json.loads(record.value)["body"], sort_keys=True)] += 1
            return found

        return asyncio.run(read())


def history(seed: int) -> list[dict[str, Any]]:
    """Some weeks of members who join, speak, buy, return goods, move and leave."""
    rnd, found = random.Random(seed), list[dict[str, Any]]()

    def act(day: int, what: str, member: int, **more: Any) -> dict[str, Any]:
        moment = dt.datetime.combine(FIRST, dt.time(rnd.randrange(24), rnd.randrange(60), 7), ZONE)
        at = (moment + dt.timedelta(days=day)).isoformat()
        head = {"event_id": f"e-{len(found)}", "source": "app", "member_id": f"m-{member}", "occurred_at": at}
        found.append({"action": what, **head, **more})
        return found[-1]

    for member in range(MEMBERS):
        act(0, "join", member, region=rnd.choice(["east", "south"]))
    for day in range(1, DAYS):
        for member in range(MEMBERS):
            group = {"group_id": rnd.choice(["g-1", "g-2"])} if rnd.random() < 0.7 else {}
            for _ in range(34 if member == 3 and day % 9 == 4 else rnd.randrange(3)):
                kind = rnd.choice(["chat", "chat", "question", "answer"])
                act(day, "message", member, kind=kind, **group)
            if rnd.random() < 0.2:
                paid: dict[str, Any] = {"amount": rnd.choice([5_000, 10_000]), "currency": "CNY"}
                order = act(day, "purchase", member, order_id=f"o-{len(found)}", **paid, **group)
                if rnd.random() < 0.3:
                    back = paid | {"amount": paid["amount"] // rnd.choice([1, 2])}
                    act(min(DAYS - 1, day + rnd.randrange(1, 9)), "refund", member, order_id=order["order_id"], **back)
            if rnd.random() < 0.01:
                act(day, "profile", member, home_region=rnd.choice(["east", "south", "north"]))
            if (member, day) in ((5, 20), (6, 40)):
                act(day, "leave", member)
    return found


def moments(period: str, at: int) -> dict[str, int]:
    """Start, end and last moment of a week or month."""
    if period == "week":
        first = EPOCH + dt.timedelta(days=at)
        after = first + dt.timedelta(days=7)
    else:
        first = dt.date(at // 12, at % 12 + 1, 1)
        after = (first + dt.timedelta(days=31)).replace(day=1)
    days = {"start": first, "end": after, "final": after + dt.timedelta(days=8)}
    midnight = dt.time(tzinfo=ZONE)
    return {name: round(dt.datetime.combine(day, midnight).timestamp() * 1000) for name, day in days.items()}


WEEKS = [(FIRST - EPOCH).days + 7 * number for number in range(7)]
MONTHS = [2025 * 12 + 5, 2025 * 12 + 6]
# The history ends on 15 July: five weeks and June are final then.
FINAL: list[Span] = [("week", at) for at in WEEKS[:5]] + [("month", MONTHS[0])]
OPEN: list[Span] = [("week", at) for at in WEEKS[5:]] + [("month", MONTHS[1])]


def sorted_by_the_engine(log: Boarded, board: str, period: str, at: int) -> list[tuple[Any, ...]]:
    sql = PLACES.format(counted=SPOKEN if board == "hot_talk" else BOUGHT)
    return log.reader().query(sql, {"log": log.name, **moments(period, at)})


def kept(log: Boarded, board: str, period: str, at: int) -> list[tuple[Any, ...]]:
    return log.reader().query(KEPT, {"log": log.name, "board": board, "period": period, "at": at})


def served(log: Boarded, board: str, period: Period, at: int) -> list[tuple[Any, ...]]:
    """A board of all scopes as it is served; nothing where it is not held."""
    found = []
    for where in ("", "&region=east", "&region=south", "&region=north", "&group=g-1", "&group=g-2"):
        told = json.loads(log.shown(f"/boards/{board}?period={period}&at={name_of((period, at))}{where}"))
        if "places" in told:
            found += [(told["region"], told["group_id"], *line.values()) for line in told["places"]]
    return sorted(found)


def test_boards_are_a_full_sort_of_the_facts_and_winners_are_awarded_once(stack: Stack, tmp_path: Path) -> None:
    log = Boarded(stack, tmp_path)
    log.ok("bootstrap", "--history")
    path = tmp_path / "history.jsonl"
    path.write_text("".join(json.dumps(action) + "\n" for action in history(5)))
    with log.sink(), log.worker():
        log.ok("import", "history", str(path))
        for point in ("boards.awarded", "boards.published"):
            with log.boards(exit_code=-9, CRASH_AT=point) as running:
                assert running.process.wait(60) == -9
        with log.boards():
            assert eventually(lambda: all(kept(log, "hot_talk", *span) for span in FINAL), within_s=60)
            assert eventually(lambda: all(kept(log, "spending", *span) for span in FINAL), within_s=60)
            compared(log)
            before = {span: open_board(log, span) for span in OPEN}
            assert len(set(before.values())) == len(OPEN)
        finals_are_told_and_awarded(log)
        stored: dict[str, Any] = {}
        nothing: dict[str, Any] = {"MEMBERFLOW_BOARDS__FOLDER": str(tmp_path / "elsewhere")}  # all is read anew
        for env in (stored, nothing):
            with log.boards(**env):
                assert eventually(lambda: served(log, "spending", *OPEN[0]) != [], within_s=60)
                for span, told in before.items():
                    assert eventually(lambda: open_board(log, span) == told, within_s=60)  # noqa: B023
        finals_are_told_and_awarded(log)
        opened(log)


def open_board(log: Boarded, span: Span) -> bytes:
    """The programme's spending board, as it is served."""
    return log.shown(f"/boards/spending?period={span[0]}&at={name_of(span)}")


def opened(log: Boarded) -> None:
    """The log opens: ticks of today pass every last moment, in partitions that have nothing more to say."""
    log.ok("import", "--finish")
    with log.boards():
        for board in BOARDS:
            for span in OPEN:
                assert eventually(lambda: kept(log, board, *span) != [], within_s=60)  # noqa: B023
                assert kept(log, board, *span) == sorted_by_the_engine(log, board, *span), (board, span)
        late_ones_count_until_the_last_moment(log)


LATE_DAYS = (0, 1, 2, 4, 6, 8, 10, 13, 16, 20, 27, 32)


def late_actions(now: dt.datetime) -> list[dict[str, Any]]:
    """What arrives now and happened up to 32 days ago: in no order, with ties, refunds, repeats, and more of a day
    than counts."""
    rnd, found = random.Random(8), list[dict[str, Any]]()

    def act(what: str, member: int, at: dt.datetime, **more: Any) -> None:
        head = {"event_id": f"late-{len(found)}", "source": "app", "member_id": f"m-{member}"}
        found.append({"action": what, **head, "occurred_at": at.isoformat(), **more})

    for days in LATE_DAYS:
        at = now - dt.timedelta(days=days)
        for member in range(8, 14):  # none of whom has left
            group = {"group_id": rnd.choice(["g-1", "g-2"])}
            act("message", member, at, kind=rnd.choice(["chat", "question"]), **group)
            if rnd.random() < 0.5:
                paid: dict[str, Any] = {"amount": rnd.choice([5_000, 10_000]), "currency": "CNY"}
                act("purchase", member, at, order_id=f"late-o-{days}-{member}", **paid, **group)
                if rnd.random() < 0.5:
                    back = paid | {"amount": paid["amount"] // rnd.choice([1, 2])}
                    act("refund", member, now, order_id=f"late-o-{days}-{member}", **back)
    for number in rnd.sample(range(40), 40):
        at = now - dt.timedelta(days=3, seconds=61 * number)
        act("message", 3, at, kind=rnd.choice(["chat", "experience"]), group_id="g-1")
    refunds = [action for action in found if action["action"] == "refund"]
    others = [action for action in found if action["action"] != "refund"]
    rnd.shuffle(others)
    return others + refunds + others[:9]


def late_ones_count_until_the_last_moment(log: Boarded) -> None:
    """Open and settling boards take what happened in them; one that is final takes nothing more."""
    now = dt.datetime.now(ZONE)  # noqa: TID251 - as an app stamps what it sends
    log.send(late_actions(now))
    happened = [(now - dt.timedelta(days=days)).date() for days in LATE_DAYS]
    spans: set[Span] = {("week", (day - EPOCH).days - day.weekday()) for day in happened}
    spans |= {("month", day.year * 12 + day.month - 1) for day in happened}
    wanted = {(board, *span): True for board in BOARDS for span in spans}

    def all_equal() -> bool:
        for board, period, at in wanted:
            found = sorted(sorted_by_the_engine(log, board, period, at))
            wanted[board, period, at] = bool(found)
            if served(log, board, period, at) != found:
                return False
        return spoken(log) == len(LATE_DAYS) - 1  # the last is late by more than 30 days

    assert eventually(all_equal, within_s=90), wanted
    weeks = [counted for (board, period, _), counted in wanted.items() if board == "hot_talk" and period == "week"]
    assert any(weeks), "late ones count"
    assert not all(weeks), "a week that is final takes nothing more"


def spoken(log: Boarded) -> int:
    """How many messages of one of those who are late have counted as such."""
    sql = "SELECT count() FROM facts FINAL WHERE log = %(log)s AND kind = 'ledger' AND rule = 'message'"
    sql += " AND member_id = 'm-8' AND startsWith(event_id, 'late-')"
    return int(log.reader().query(sql, {"log": log.name})[0][0])


def compared(log: Boarded) -> None:
    ties = 0
    for board in BOARDS:
        for span in FINAL:
            found = kept(log, board, *span)
            assert found == sorted_by_the_engine(log, board, *span), (board, span)
            ties += len(found) - len({row[:3] for row in found})
        for span in OPEN:
            assert served(log, board, *span) == sorted(sorted_by_the_engine(log, board, *span)), (board, span)
    assert ties > 20
    refunds = log.reader().query("SELECT count() FROM facts WHERE log = %(log)s AND spend < 0", {"log": log.name})
    assert refunds[0][0] > 10


def finals_are_told_and_awarded(log: Boarded) -> None:
    """Every place 1 has its award; the one death between awards and places repeated some, with the same content."""
    winners = set()
    for board in BOARDS:
        for period, at in FINAL:
            for region, group, place, member, value in kept(log, board, period, at):
                if place == 1:
                    body = {"derived": "award", "member_id": member, "board": board, "period": period, "at": at}
                    body |= {"place": 1, "value": value, "region": region, "group_id": group}
                    winners.add(json.dumps(body, sort_keys=True))
    awards = log.awards()
    assert set(awards) == winners
    assert set(awards.values()) <= {1, 2}
    title = log.ok("board", "spending", "--at", name_of(("week", WEEKS[0])), "--region", "east")
    assert "spending 2025-W23 of east: final" in title
