"""The demo's totals: each store is added up by itself, cut at the same fact, and any difference is told."""

import asyncio
import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import pytest
import redis
from aiokafka import AIOKafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic
from rich.console import Console

from infra import demo_totals
from infra.demo import asked_seconds
from infra.demo_numbers import Process, Rates, lines, read
from infra.demo_totals import Facts, Totals
from infra.process import StackError
from infra.stack import Stack
from schemas import facts, member, partition
from schemas.facts import Fact, Ledger, Score, SpendBrought, TierEntered, TierLeft
from schemas.member import MemberState
from schemas.partition import PartitionState
from schemas.programme import TIERS
from schemas.settings import ClickHouse, Kafka, Redis, Settings

SAME = Totals(facts=4, issued=30, active=20, pending=10, spend=4_999, held={"yellow": 2, "red": 1})
MARCH = 2026 * 12 + 2


def told(**changed: Any) -> list[str]:
    other = SAME._replace(**changed)
    return demo_totals.differences({"Redis": SAME, "topic": SAME, "SQL": other})


# -- comparing


def test_equal_totals_have_no_difference() -> None:
    assert told() == []


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({"facts": 5}, "facts: Redis 4, topic 4, SQL 5"),
        ({"issued": 29}, "points issued: Redis 30, topic 30, SQL 29"),
        ({"active": 0}, "points active: Redis 20, topic 20, SQL 0"),
        ({"pending": 11}, "points pending: Redis 10, topic 10, SQL 11"),
        ({"spend": 5_000}, "spend (fen): Redis 4999, topic 4999, SQL 5000"),
        ({"held": {"yellow": 2}}, "members in red: Redis 1, topic 1, SQL 0"),
        ({"held": {"yellow": 2, "red": 1, "L1": 1}}, "members in L1: Redis 0, topic 0, SQL 1"),
    ],
)
def test_whatever_is_not_equal_is_told_with_each_stores_value(changed: dict[str, Any], difference: str) -> None:
    assert told(**changed) == [difference]


def test_the_table_says_which_line_differs() -> None:
    out = Console(width=120, record=True, file=None, quiet=False)
    with out.capture() as shown:
        out.print(demo_totals.shown({"Redis": SAME, "SQL": SAME._replace(issued=31)}))
    rows = {line for line in shown.get().splitlines() if "points" in line}
    assert [line for line in rows if "DIFFERENT" in line] == [line for line in rows if "issued" in line]


# -- facts as they are read


def ledger(n: int, points: int = 5) -> Ledger:
    return Ledger(
        member_id="m", effective_at=1, decided_at=1, n=n, rule="share", entry="earn", points=points, active=points
    )


def entered(n: int, tier: str) -> TierEntered:
    return TierEntered(
        member_id="m",
        effective_at=1,
        decided_at=1,
        n=n,
        dimension="presence",
        tier=tier,
        silent_since=0,
        reason="silence",
    )


def left(n: int, tier: str) -> TierLeft:
    return TierLeft(
        member_id="m", effective_at=1, decided_at=1, n=n, dimension="presence", tier=tier, entered_at=0, reason="own"
    )


def added(cut: int, *told: Fact) -> Totals:
    sums = Facts({0: cut})
    for fact in told:
        sums.add(0, demo_totals.read(facts.encode(fact)))
    return sums.totals()


def test_a_fact_published_twice_counts_once() -> None:
    assert added(3, ledger(1), ledger(2), ledger(1), ledger(2), ledger(3)).issued == 15


def test_spend_that_a_member_brought_along_is_spend() -> None:
    brought = SpendBrought(member_id="m", effective_at=1, decided_at=1, n=2, month=24_300, spend=9_900)
    assert added(2, ledger(1), brought) == Totals(2, 5, 5, 0, 9_900, {})


def test_a_fact_behind_the_cut_does_not_count() -> None:
    assert added(2, ledger(1), ledger(2), ledger(3)) == Totals(2, 10, 10, 0, 0, {})


def test_every_kind_of_fact_is_counted_and_only_ledger_entries_have_points() -> None:
    score = Score(member_id="m", effective_at=1, decided_at=1, n=2, score=7, activity_index=1)
    assert added(2, ledger(1), score)[:2] == (2, 5)


def test_members_in_a_tier_are_entered_less_left() -> None:
    story = (entered(1, "yellow"), left(2, "yellow"), entered(3, "L1"), entered(4, "yellow"))
    assert added(4, *story).held == {"yellow": 1, "L1": 1}


# -- each store alone


class Rows(NamedTuple):
    """What the stub of SQL answers, by a word of the question."""

    facts: int
    sums: list[int]
    tiers: list[tuple[str, int]]


@pytest.fixture
def sql() -> Iterator[tuple[str, int]]:
    rows = Rows(3, [10, 10, 0, 0], [("yellow", 1)])

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["content-length"])).decode()
            found = (
                rows.tiers if "GROUP BY tier" in asked else [rows.sums] if "sum(points)" in asked else [[rows.facts]]
            )
            body = json.dumps({"data": found}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield "127.0.0.1", server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.real
async def test_redis_the_topic_and_sql_are_each_asked_and_found_equal(stack: Stack, sql: tuple[str, int]) -> None:
    settings = Settings(
        log="demo-totals",
        partitions=1,
        kafka=Kafka(bootstrap=stack.kafka),
        redis=Redis(url=stack.redis_url),
        clickhouse=ClickHouse(http_host=sql[0], http_port=sql[1]),
    )
    states = {
        "a": MemberState(issued=5, active=5, presence=1 + TIERS.index("yellow")),
        "b": MemberState(issued=5, active=5, spend=member.SPEND.pack(MARCH, 0)),
    }
    own = PartitionState(n=3, verdicts={"applied": 2, "duplicate": 1, "tick": 40, "forwarded": 1})
    with redis.Redis.from_url(stack.redis_url) as client:
        client.hset("{demo-totals:0}:header", "state", partition.encode(own))
        client.hset("{demo-totals:0}:states", mapping={name: member.encode(it) for name, it in states.items()})
    await publish(
        stack.kafka, "demo-totals.member.facts", [ledger(1), ledger(1), ledger(2), entered(3, "yellow"), ledger(4)]
    )

    of_states, cut = demo_totals.of_states(settings)
    found = {"states": of_states, "topic": await demo_totals.of_topic(settings, cut)}
    found["tables"] = await asyncio.to_thread(demo_totals.of_tables, settings, cut)

    assert cut == {0: 3}
    assert of_states == Totals(3, 10, 10, 0, 0, {"yellow": 1})
    assert demo_totals.differences(found) == []
    assert demo_totals.judged(settings) == 3


async def publish(bootstrap: str, topic: str, told: list[Fact]) -> None:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    finally:
        admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        for fact in told:
            await producer.send_and_wait(topic, facts.encode(fact), partition=0)
    finally:
        await producer.stop()


def test_sql_that_does_not_answer_is_one_line() -> None:
    settings = Settings(clickhouse=ClickHouse(http_port=1))
    with pytest.raises(StackError, match="no answer to SQL"):
        demo_totals.of_tables(settings, {0: 0})


# -- live numbers


PAGE = """\
# TYPE memberflow_records counter
memberflow_records_total{verdict="applied"} 90.0
memberflow_records_total{verdict="late"} 0.0
# TYPE memberflow_lag_records gauge
memberflow_lag_records{partition="0"} 3.0
memberflow_lag_records{partition="1"} 4.0
"""


def test_numbers_are_what_a_process_says_of_itself_and_rates_their_growth() -> None:
    worker = Process("worker", "worker-7", tuple(read(PAGE)))
    told = lines([worker], webhooks=2)
    assert ("worker-7", "... of them applied", 90.0) in told
    assert ("worker-7", "records behind", 7.0) in told
    assert not [line for line in told if "late" in line[1]]
    rates = Rates()
    rates.shown(told, at=10.0)
    grown = [(who, what, value + 20) for who, what, value in told]
    out = Console(width=120)
    with out.capture() as shown:
        out.print(rates.shown(grown, at=12.0))
    applied = next(line for line in shown.get().splitlines() if "applied" in line)
    behind = next(line for line in shown.get().splitlines() if "behind" in line)
    assert applied.split("│")[3:5] == [" 110 ", "       10 "]
    assert behind.split("│")[4].strip() == ""


# -- what a person asks for


@pytest.mark.parametrize(("text", "seconds"), [(None, None), ("", None), ("20", 20.0), ("1.5", 1.5)])
def test_demo_seconds_is_a_number_or_nothing(text: str | None, seconds: float | None) -> None:
    assert asked_seconds(text) == seconds


@pytest.mark.parametrize("text", ["soon", "0", "-3", "nan", "1e9"])
def test_demo_seconds_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(StackError, match=f"DEMO_SECONDS={text}"):
        asked_seconds(text)


def test_what_totals_read_of_a_fact_are_fields_of_facts() -> None:
    every = {field.name for kind in facts.KINDS.values() for field in msgspec.structs.fields(kind)}
    assert set(demo_totals.FactRead.__struct_fields__) - {"kind"} <= every
