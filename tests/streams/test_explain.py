"""Why a member has what it has, from action to ledger, and why something did not happen, in both languages."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from processors.calendar import Calendar
from processors.output import Output
from schemas import facts as fact_codec
from schemas import words
from schemas.facts import Fact, Ledger
from schemas.programme import RULES
from schemas.records import Record, tick
from schemas.settings import Settings
from schemas.topics import topics
from schemas.words import REASONS
from streams.errors import UsageError
from streams.explain import STATE, Explainer, Told, as_data
from streams.member_log import MemberLog
from streams.memory_store import MemoryStore
from streams.replay import Replay, read_log
from streams.store import Identity
from streams.time_machine import TimeMachine
from tests.crash.traffic import control, first_programme
from tests.doubles import ListSource, MemoryLog
from tests.processors.golden import IDENTITY, log_file
from tests.processors.golden.recorded import PARTITION
from tests.processors.story import DAY, START, an_action

LOG = "why-1"
TOPIC = topics(LOG, partitions=1).actions.name
SHANGHAI = Calendar("Asia/Shanghai", 0)
TEXT = (
    Path("schemas/programmes/default.yaml")
    .read_text()
    .replace("excluded_categories: []", "excluded_categories: [gift]")
)
HOUR = 1 / 24

Step = tuple[Any, ...]


class Life:
    """A log of one partition in which one member, m-1, lives; told as a story is, by days."""

    def __init__(self, steps: list[Step]) -> None:
        self.log = MemoryLog(START)
        self.log.append(TOPIC, 0, control(first_programme(LOG, TEXT)))
        for number, (arrives, what, *more) in enumerate(steps):
            self.log.now = START + round(arrives * DAY)
            happened = more[0] if more else arrives
            fields = more[1] if len(more) > 1 else {}
            self.log.append(TOPIC, 0, self.value(what, number, START + round(happened * DAY), fields))

    @staticmethod
    def value(what: str, number: int, happened: int, fields: dict[str, Any]) -> bytes:
        if what == "tick":
            return tick()
        if what == "broken":
            return b'{"action":"purchase","event_id":"e-0","source":"app","member_id":"m-1","occurred_at":'
        named = dict(fields)
        number = named.pop("number", number)
        return msgspec.json.encode(an_action(what, happened, number, **named))

    async def read(self, lang: str) -> tuple[list[Told], MemberLog, Explainer]:
        """Folded and told."""
        replay = Replay(Identity(LOG, "topic-1", 1), TOPIC, 0)
        await replay.begin()
        log = MemberLog(replay, "m-1")
        await log.read(ListSource(self.log, TOPIC, 3), self.log.end(TOPIC, 0))
        explainer = Explainer(log, SHANGHAI, lang)
        return explainer.tell(), log, explainer

    async def now(self, lang: str) -> list[str]:
        """What has not happened yet."""
        store = MemoryStore(LOG)
        replay = Replay(Identity(LOG, "topic-1", 1), TOPIC, 0)
        await replay.begin()
        await replay.feed(self.log.read(TOPIC, 0))
        await store.bootstrap(0, replay.identity, "life", dump=await replay.dump())

        async def none(partition: int) -> dict[int, Any]:
            return {}

        settings = Settings(log=LOG, partitions=1, _env_file=None)
        machine = TimeMachine(settings, store, ListSource(self.log, TOPIC, 100), none)
        log, shown, live = await machine.member_log("m-1")
        return [line.text for line in Explainer(log, SHANGHAI, lang).now(shown, live=live)]


MESSAGES: list[Step] = [(0.5 + minute / 1440, "message") for minute in range(10)]

REASON_TABLE: list[tuple[str, list[Step], str, str]] = [
    (
        "cap.message",
        [*MESSAGES, (0.6, "message")],
        "daily cap of 10 messages reached at 12:09",
        "当日 10 条消息的上限于 12:09 已达到",
    ),
    (
        "cap.share",
        [(0.5 + n * HOUR, "share") for n in range(6)],
        "daily cap of 5 shares reached at 16:00",
        "当日 5 次分享的上限于 16:00 已达到",
    ),
    (
        "cap.check_in",
        [(0.25, "check_in"), (0.5, "check_in")],
        "the day's check-in was counted already at 06:00",
        "当日签到于 06:00 已计分",
    ),
    (
        "cap.comeback",
        [(30 * n, "login") for n in range(6)],
        "the year's 4 comebacks are reached",
        "当年 4 次回归奖励已用完",
    ),
    ("too_short", [(0.5, "message", 0.5, {"length": 3})], "shorter than 4 characters", "少于 4 个字符"),
    (
        "excluded",
        [(0.5, "purchase", 0.5, {"lines": [{"sku": "s", "category": "gift", "amount": 9_900}]})],
        "everything in it is of an excluded category",
        "全部为不计分的品类",
    ),
    ("below_one", [(0.5, "purchase", 0.5, {"amount": 99})], "it comes to less than one point", "不足 1 分"),
    (
        "duplicate",
        [(0.5, "check_in", 0.5, {"number": 7}), (0.6, "check_in", 0.5, {"number": 7})],
        "app sent e-7 before, record 1",
        "app 已在记录 1 上报过 e-7",
    ),
    (
        "conflict",
        [(0.5, "check_in", 0.5, {"number": 7}), (0.6, "check_in", 0.5, {"number": 7, "region": "east"})],
        "app sent e-7 with other content before: the first counts",
        "app 此前已以其他内容上报过 e-7：以首次为准",
    ),
    (
        "late",
        [(31, "login"), (31, "check_in", 0.5)],
        "it happened on 2026-03-02 12:00:00+08:00, more than 30 d before it arrived",
        "发生于 2026-03-02 12:00:00+08:00，到达时已超过 30 天",
    ),
    (
        "order_repeat",
        [(0.5, "purchase", 0.5, {"order_id": "o-9"}), (0.6, "purchase", 0.6, {"order_id": "o-9"})],
        "order o-9 was reported before",
        "订单 o-9 已上报过",
    ),
    (
        "order_conflict",
        [(0.5, "purchase", 0.5, {"order_id": "o-9"}), (0.6, "purchase", 0.6, {"order_id": "o-9", "amount": 5})],
        "order o-9 was reported before with 99.00, now with 0.05: the first counts",
        "订单 o-9 先前上报金额为 99.00，本次为 0.05：以首次为准",
    ),
]

GIFT = [{"sku": "s", "category": "gift", "amount": 5_000}]
BOUGHT = (0.5, "purchase", 0.5, {"order_id": "o-9"})

REASON_TABLE += [
    (
        "above_amount",
        [BOUGHT, (0.6, "refund", 0.6, {"order_id": "o-9", "amount": 9_901})],
        "99.01 of order o-9 cannot come back, 99.00 of 99.00 are left",
        "订单 o-9 无法退回 99.01，99.00 中仅余 99.00",
    ),
    (
        "excluded.refund",
        [
            (0.5, "purchase", 0.5, {"order_id": "o-9", "lines": GIFT}),
            (0.6, "refund", 0.6, {"order_id": "o-9", "amount": 5_000, "lines": GIFT}),
        ],
        "what came back is of excluded categories",
        "退回的均为不计分品类",
    ),
    (
        "orphan",
        [(0.5, "refund", 0.5, {"order_id": "o-0", "amount": 100}), (31, "tick")],
        "order o-0 never came, so the refund of 1.00 has no effect",
        "订单 o-0 一直未出现，1.00 的退款无效",
    ),
]


def redeem(at: float, points: int, happened: float | None = None, *, id: str = "r-1", reward: str = "cup") -> Step:
    return (at, "redeem", at if happened is None else happened, {"redeem_id": id, "points": points, "reward": reward})


def cancel(at: float) -> Step:
    return (at, "redeem_cancel", at, {"redeem_id": "r-1"})


REASON_TABLE += [
    (
        "held",
        [(0.5 + n / 17_280, "message") for n in range(8)],
        "held on suspicion until staff judge it",
        "存疑冻结，待人工判定",
    ),
]
CLIMB = ((0, "browse"), (1, "like"))
RICH: Step = (0.5, "purchase", 0.5, {"order_id": "o-9", "amount": 90_000})
POOR: Step = (0.5, "check_in")

REASON_TABLE += [
    (
        "missing",
        [POOR, redeem(0.6, 100)],
        "r-1 refused: 95 points are missing for 100",
        "r-1 被拒绝：兑换 100 分，还差 95 分",
    ),
    (
        "smallest",
        [POOR, redeem(0.6, 50)],
        "r-1 refused: 50 points are fewer than can be redeemed",
        "r-1 被拒绝：50 分低于最低兑换额",
    ),
    (
        "steps",
        [RICH, redeem(8, 150)],
        "r-1 refused: 150 points are no whole steps",
        "r-1 被拒绝：150 分不是整档",
    ),
    (
        "running",
        [RICH, redeem(8, 100, reward="level_step"), redeem(9, 100, id="r-2", reward="level_step")],
        "r-2 refused: a level step runs already",
        "r-2 被拒绝：已有等级提升在生效",
    ),
    (
        "cancelled",
        [RICH, cancel(8), redeem(9, 100)],
        "r-1 refused: r-1 was cancelled before it came",
        "r-1 被拒绝：r-1 在到达之前已取消",
    ),
    (
        "late.redeem",
        [(31, "login"), redeem(31, 100, 0.5)],
        "r-1 refused: r-1 came too late to be judged",
        "r-1 被拒绝：r-1 到达过晚，无法判定",
    ),
    (
        "refused.redeem_cancel",
        [POOR, redeem(0.6, 100), cancel(0.7)],
        "the redeem was refused: nothing comes back",
        "该兑换曾被拒绝：无可退回",
    ),
    ("repeat", [RICH, redeem(8, 100), cancel(9), cancel(10)], "it was cancelled already", "此前已取消"),
    ("cancel_orphan", [cancel(0.5), (31, "tick")], "r-1 never came: nothing to cancel", "r-1 一直未出现：无可取消"),
    (
        "cap.ladder",
        [(0.1 * n + 0.05 * m, what, 0.1 * n + 0.05 * m, {"item_id": f"i-{n}"}) for n in range(4) for m, what in CLIMB],
        "the week's items are reached, or this rung gives none",
        "当周商品数已达上限，或此步无积分",
    ),
    (
        "paid_debt",
        [RICH, redeem(8, 900), (9, "refund", 9, {"order_id": "o-9", "amount": 90_000}), (10, "check_in")],
        "5 points paid debt",
        "5 分用于抵扣欠分",
    ),
]

NOW_TABLE: list[tuple[str, list[Step], str, str]] = [
    (
        "pending_until",
        [(0.5, "purchase")],
        "198 points are pending until 2026-03-09 12:00:00+08:00",
        "198 分待生效，生效时间 2026-03-09 12:00:00+08:00",
    ),
    (
        "not_in_tier",
        [(0.5, "check_in")],
        "not in yellow: counted from 2026-03-02 12:00:00+08:00, it comes on 2026-03-09 12:00:00+08:00 if nothing "
        "happens",
        "不在 yellow：自 2026-03-02 12:00:00+08:00 起算，若无行为将于 2026-03-09 12:00:00+08:00 进入",
    ),
    (
        "not_in_tier.none",
        [(0.5, "check_in")],
        "no buying tier: there is nothing to count from yet",
        "无购买层级：尚无起算行为",
    ),
    (
        "not_in_tier.closed",
        [(0.5, "check_in"), (1, "leave")],
        "no presence tier: the account is closed",
        "无到访层级：账户已关闭",
    ),
    (
        "before_go_live",
        [(0.5, "check_in")],
        "not contacted: nobody is before go-live",
        "未联系：上线开放前不联系任何会员",
    ),
]

REFUSED: list[tuple[str, list[Step], str, str]] = [
    (
        "refused",
        [(0.5, "check_in"), (0.6, "purchase", 0.6, {"currency": "XYZ"})],
        "currency: $.currency",
        "currency：$.currency",
    ),
]


@pytest.mark.parametrize(("reason", "steps", "en", "zh"), REASON_TABLE, ids=[row[0] for row in REASON_TABLE])
async def test_why_something_did_not_happen(reason: str, steps: list[Step], en: str, zh: str) -> None:
    for lang, text in (("en", en), ("zh", zh)):
        told, _, _ = await Life(steps).read(lang)
        assert text in [line.text for line in told[-1].lines], told[-1]


@pytest.mark.parametrize(("reason", "steps", "en", "zh"), NOW_TABLE, ids=[row[0] for row in NOW_TABLE])
async def test_what_has_not_happened_yet(reason: str, steps: list[Step], en: str, zh: str) -> None:
    for lang, text in (("en", en), ("zh", zh)):
        assert text in await Life(steps).now(lang)


@pytest.mark.parametrize(("reason", "steps", "en", "zh"), REFUSED)
async def test_why_a_record_was_refused(reason: str, steps: list[Step], en: str, zh: str) -> None:
    for lang, text in (("en", en), ("zh", zh)):
        told, _, _ = await Life(steps).read(lang)
        assert told[-1].verdict == "dead_letter"
        assert [line.text for line in told[-1].lines if line.text.startswith(text)], told[-1]


def test_every_reason_of_the_catalogue_has_a_row() -> None:
    shown = {row[0] for row in (*REASON_TABLE, *NOW_TABLE, *REFUSED)}
    assert set(REASONS) - shown - GENERAL == set()


GENERAL = {"kept", "ended", "cap", "duplicate.earlier", "window_closed", "moved"}
"""A cap of a rule without words of its own; a first report that lies before what was read; other policies
of refunds; what is not built yet."""


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
    assert {text for text in said if not re.search(r"[\u4e00-\u9fff]", words.arithmetic(text, "zh"))} == set()


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
