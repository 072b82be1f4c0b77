"""Why a member has what it has, from action to ledger, in both languages."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from functools import cache
from typing import Any

import pytest

from processors.output import Output
from schemas import facts as fact_codec
from schemas import words
from schemas.arithmetic import arithmetic
from schemas.facts import Fact, Ledger, TierEntered
from schemas.programme import RULES
from schemas.records import Record
from streams.errors import UsageError
from streams.explain import STATE, Explainer, as_data
from streams.member_log import MemberLog
from streams.replay import Replay, read_log
from tests.processors.golden import IDENTITY, log_file
from tests.processors.golden.recorded import PARTITION
from tests.schemas.test_words import Code
from tests.streams.life import SHANGHAI, TOPIC, Life


async def test_a_purchase_is_told_from_action_to_ledger_and_when_its_points_became_active() -> None:
    told, log, explainer = await Life([(0.5, "purchase"), (8, "tick")]).read("en")
    assert told[0].heading == "2026-03-02 12:00:00+08:00  purchase e-0 of app, record 1"
    assert [(line.label, line.text) for line in told[0].lines] == [
        ("record", "accepted"),
        ("rule", "purchase, programme 1"),
        ("arithmetic", "198 = 99 yuan x2 first order"),
        ("pending", "until 2026-03-09 12:00:00+08:00"),
        ("ledger", "fact 2: +198 issued, +198 pending; balances issued 198, active 0, pending 198"),
    ]
    (active,) = told[1:]
    assert active.heading.endswith("by itself, when its time came, record 2")
    assert [(line.label, line.text) for line in active.lines[:4]] == [
        ("rule", "purchase, programme 1"),
        ("arithmetic", "198 pending points became active: the return window has passed"),
        ("amends", "fact 2"),
        ("ledger", "fact 3: +198 active, -198 pending; balances issued 198, active 198, pending 0"),
    ]
    assert explainer.fact(2).lines[-1].text == "fact 3"
    assert as_data(told, log, [])["facts"][0]["points"] == 198


async def test_what_is_told_does_not_depend_on_how_far_back_is_looked() -> None:
    """Balances, and what was paid or repeated before the window, are those of the whole log."""
    steps = [(0.5, "purchase"), (1, "check_in"), (8, "tick"), (9, "check_in"), (40, "check_in"), (400, "tick")]
    life = Life([*steps, (401, "check_in"), (401.1, "check_in", 401.1, {"number": 6}), (401.2, "check_in")])
    whole, _, _ = await life.read("en")
    for days in (0, 1, 9, 300, 401.05, 402):
        told = await life.since(days)
        assert told == whole[len(whole) - len(told) :], days
    assert len(await life.since(300)) < len(whole)


async def test_the_same_in_chinese() -> None:
    told, _, _ = await Life([(0.5, "purchase"), (8, "tick")]).read("zh")
    assert told[0].heading == "2026-03-02 12:00:00+08:00  购买 e-0（来自 app），记录 1"
    assert [(line.label, line.text) for line in told[0].lines] == [
        ("记录", "已接受"),
        ("规则", "购买，方案 1"),
        ("算式", "198 = 99 元 ×2 首单"),
        ("待生效", "至 2026-03-09 12:00:00+08:00"),
        ("账目", "事实 2：+198 累计发放，+198 待生效；余额 累计发放 198，可用 0，待生效 198"),
    ]


async def test_tiers_are_told_as_they_came_and_went() -> None:
    told, _, _ = await Life([(0.5, "check_in"), (8, "tick"), (9, "check_in")]).read("en")
    lines = [line.text for one in told for line in one.lines if line.label == "tier"]
    assert lines == [
        "yellow (presence) entered on 2026-03-09 12:00:00+08:00: nothing since 2026-03-02 12:00:00+08:00",
        "yellow (presence) left on 2026-03-11 00:00:00+08:00: an own action",
    ]


BESIDE: list[tuple[str, list[tuple[Any, ...]], str, str]] = [
    (
        "mood",
        [(0.5, "nps", 0.5, {"score": 3}), (1, "nps", 1, {"score": 9})],
        "mood (mood) entered on 2026-03-02 12:00:00+08:00: a satisfaction of 30, under 40",
        "于 2026-03-02 12:00:00+08:00 进入 mood（情绪）：满意度 30，低于 40",
    ),
    (
        "complaint",
        [(0.5, "complaint", 0.5, {"case_id": "c", "severity": "serious", "status": "opened"}), (4, "tick")],
        "mood (mood) entered on 2026-03-05 12:00:00+08:00: serious complaint, not resolved in 72 h",
        "于 2026-03-05 12:00:00+08:00 进入 mood（情绪）：严重投诉 72 小时未解决",
    ),
    (
        "blue",
        [*((day + 0.5, "login") for day in range(14)), (24, "tick")],
        "blue (activity) entered on 2026-03-26 00:00:00+08:00: 4 active days of the last 14, 10 of the 14 before",
        "于 2026-03-26 00:00:00+08:00 进入 blue（活跃）：最近 14 天活跃 4 天，之前 14 天活跃 10 天",
    ),
    (
        "rhythm",
        [*((day + 0.5, "login") for day in range(21)), (24, "tick")],
        "rhythm (own rhythm) entered on 2026-03-26 00:00:00+08:00: 3 days without an own action, as long as 95% of "
        "the gaps before",
        "于 2026-03-26 00:00:00+08:00 进入 rhythm（自身节奏）：3 天无本人行为，已达此前 95% 的间隔",
    ),
    (
        "path",
        [
            (0.5, "add_to_cart", 0.5, {"item_id": "i"}),
            (1, "support", 1, {"case_id": "s", "severity": "ordinary", "status": "opened"}),
            (2, "support", 2, {"case_id": "s", "severity": "ordinary", "status": "unresolved"}),
        ],
        "path (path) entered on 2026-03-04 00:00:00+08:00: a support case is unresolved, and what was wanted before it "
        "was not bought",
        "于 2026-03-04 00:00:00+08:00 进入 path（路径）：客服工单未解决，且此前有意购买而未购买",
    ),
    (
        "order",
        [*((day, "purchase", day, {"amount": 30_000}) for day in range(5)), (35, "purchase", 35, {"amount": 20_999})],
        "value (value) entered on 2026-04-06 00:00:00+08:00: an order of 209.99 is under 70% of 300.00, the median of "
        "the 5 before",
        "于 2026-04-06 00:00:00+08:00 进入 value（价值）：订单 209.99，低于此前 5 单中位数 300.00 的 70%",
    ),
    (
        "month",
        [*((day, "purchase", day, {"amount": 100_000}) for day in (0, 31, 61)), (121, "tick")],
        "value (value) entered on 2026-07-01 00:00:00+08:00: a month of 0.00 is under 70% of 1000.00, the median of "
        "the 3 before",
        "于 2026-07-01 00:00:00+08:00 进入 value（价值）：月消费 0.00，低于此前 3 个月中位数 1000.00 的 70%",
    ),
]


@pytest.mark.parametrize(("name", "steps", "en", "zh"), BESIDE, ids=[row[0] for row in BESIDE])
async def test_why_a_tier_beside_the_ladders_was_entered(
    name: str, steps: list[tuple[Any, ...]], en: str, zh: str
) -> None:
    for lang, text in (("en", en), ("zh", zh)):
        told, _, _ = await Life(steps).read(lang)
        assert text in [line.text for one in told for line in one.lines], [line for one in told for line in one.lines]


async def test_a_fact_of_somebody_else_is_refused() -> None:
    _, _, explainer = await Life([(0.5, "check_in")]).read("en")
    with pytest.raises(UsageError, match="fact 99 is none of m-1"):
        explainer.fact(99)


# -- everything in a log of every kind of record


class Golden:
    """The golden log, folded once: every fact, and the records and facts of its busiest member."""

    def __init__(self) -> None:
        records = read_log(log_file(max(RULES)))
        self.facts: list[Fact] = []
        replay = Replay(IDENTITY, TOPIC, PARTITION, hear=self._hear)
        asyncio.run(self._fold(replay, records))
        times = Counter(fact.member_id for fact in self.facts if fact.member_id)
        self.log = MemberLog(Replay(IDENTITY, TOPIC, PARTITION), times.most_common(1)[0][0])
        asyncio.run(self._read(records))

    async def _fold(self, replay: Replay, records: list[Record]) -> None:
        await replay.begin()
        await replay.feed(records)

    async def _read(self, records: list[Record]) -> None:
        await self.log.replay.begin()
        await self.log.read(_Recorded(records), records[-1].offset + 1)

    def _hear(self, out: Output) -> None:
        self.facts += map(fact_codec.decode, out.facts)


class _Recorded:
    """A recorded log to read."""

    def __init__(self, records: list[Record]) -> None:
        self.records = records

    async def bounds(self, partition: int) -> tuple[int, int]:
        return self.records[0].offset, self.records[-1].offset + 1

    async def offset_at(self, partition: int, timestamp: int) -> int | None:
        return next((one.offset for one in self.records if one.timestamp >= timestamp), None)

    async def read(self, partition: int, start: int, end: int) -> AsyncIterator[list[Record]]:
        yield [one for one in self.records if start <= one.offset < end]


golden = cache(Golden)


def test_every_arithmetic_of_the_golden_log_has_chinese() -> None:
    said = {
        fact.because for fact in golden().facts if isinstance(fact, Ledger) and not (fact.reason and not fact.points)
    }
    assert len(said) > 50
    assert {text for text in said if not re.search(r"[\u4e00-\u9fff]", arithmetic(text, "zh"))} == set()


def test_every_reason_of_the_golden_log_was_found_in_the_code() -> None:
    """The list that words are checked against is that of `test_words`; what the rules said must be on it."""
    facts = (fact for fact in golden().facts if not isinstance(fact, TierEntered))
    said = {str(reason) for fact in facts if (reason := getattr(fact, "reason", ""))}
    assert len(said) > 10
    assert said - Code().reasons() == set()


def test_every_fact_of_a_member_is_told_once_and_its_verdicts_are_those_of_the_log() -> None:
    log = golden().log
    for lang in words.LANGUAGES:
        told = Explainer(log, SHANGHAI, lang).tell()
        numbers = [number for one in told for number in one.facts]
        assert numbers == [fact.n for fact in golden().facts if fact.member_id == log.member_id]
    verdicts = Counter(one.verdict for one in told)
    assert verdicts["applied"] > 20
    assert verdicts["duplicate"] > 0
    assert [one.offset for one in told] == sorted(one.offset for one in told)


def test_balances_told_are_the_balances_held() -> None:
    log = golden().log
    explainer = Explainer(log, SHANGHAI, "en")
    explainer.tell()
    member = asyncio.run(log.replay.member(log.member_id))
    assert member is not None
    held = {name: getattr(member.state, STATE.get(name, name), 0) for name in words.BALANCES}
    assert explainer.balances == held
    assert held["points"] > 0
