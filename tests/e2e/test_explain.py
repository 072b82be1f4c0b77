"""`memberflow explain` on a real log: one of each reason why something did not happen, in both languages."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from infra.stack import Stack
from streams.cli import default_programme
from tests.e2e.memberflow import Log
from tests.polling import eventually

pytestmark = pytest.mark.real

NOW = dt.datetime.now(dt.UTC)  # noqa: TID251 - as an app stamps what it sends
NOON = (NOW - dt.timedelta(days=1)).replace(hour=4, minute=0, second=0)  # in Shanghai: minutes stay in one day
GIFT = [{"sku": "s", "category": "gift", "amount": 9_900}]

Sent = tuple[str, float, dict[str, Any]]
"""An action: what, how many days before noon, and its fields."""


def order(ago: float, order_id: str, **fields: Any) -> Sent:
    return "purchase", ago, {"order_id": order_id, "amount": 9_900, "currency": "CNY"} | fields


def messages(count: int, apart: float, **fields: Any) -> list[Sent]:
    return [("message", -n * apart / 86_400, {"kind": "chat"} | fields) for n in range(count)]


REASONS: list[tuple[str, list[Sent], str, str]] = [
    ("cap", messages(11, 60), "daily cap of 10 messages reached at 12:09", "当日 10 条消息的上限于 12:09 已达到"),
    (
        "duplicate",
        [("check_in", 1, {"event_id": "d-1"}), ("check_in", 1, {"event_id": "d-1"})],
        "app sent d-1 before, record ",
        "app 已在记录 ",
    ),
    ("late", [("login", 0, {}), ("check_in", 31, {})], "it happened on ", "发生于 "),
    ("order_repeat", [order(2, "o-1"), order(2, "o-1")], "order o-1 was reported before", "订单 o-1 已上报过"),
    ("held", messages(7, 1), "held on suspicion until staff judge it", "存疑冻结，待人工判定"),
    (
        "excluded",
        [order(2, "o-2", lines=GIFT)],
        "everything in it is of an excluded category",
        "全部为不计分的品类",
    ),
    ("too_short", messages(1, 0, length=3), "shorter than 4 characters", "少于 4 个字符"),
    (
        "window_closed",
        [("check_in", 5, {})],
        "task icebreak is not done: its window closed on ",
        "任务 icebreak 未完成",
    ),
    (
        "not_first_order",
        [order(2, "o-3"), order(1, "o-4")],
        "not the first order: no x2 of it",
        "并非首单：不享受首单 ×2",
    ),
    (
        "paid_debt",
        [
            order(10, "o-5", amount=90_000),
            ("redeem", 0, {"redeem_id": "r-1", "points": 1_800, "reward": "cup"}),
            ("refund", 0, {"order_id": "o-5", "amount": 90_000, "currency": "CNY"}),
            ("check_in", 0, {}),
        ],
        "5 points paid debt",
        "5 分用于抵扣欠分",
    ),
    ("pending_until", [order(2, "o-6")], "198 points are pending until ", "198 分待生效，生效时间 "),
    ("not_in_tier", [("check_in", 1, {})], "not in yellow: counted from ", "不在 yellow：自 "),
    (
        "before_go_live",
        [("check_in", 1, {})],
        "not contacted: nobody is before go-live",
        "未联系：上线开放前不联系任何会员",
    ),
]


def actions() -> list[dict[str, Any]]:
    """What the members of the table do, each named after its reason."""
    sent = []
    for reason, steps, _, _ in REASONS:
        for number, (what, ago, fields) in enumerate(steps):
            head = {"action": what, "event_id": f"{reason}-{number}", "source": "app", "member_id": reason}
            sent.append(head | {"occurred_at": (NOON - dt.timedelta(days=ago)).isoformat()} | fields)
    return sent


@pytest.fixture(scope="module")
def log(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Log:
    log = Log(stack, tmp_path_factory.mktemp("explain"))
    text = default_programme().replace("excluded_categories: []", "excluded_categories: [gift]")
    (log.folder / "programme.yaml").write_text(text)
    log.ok("bootstrap", "programme.yaml")
    done = actions()
    with log.worker():
        log.send(done)
        told = ("applied", "duplicate", "late")
        assert eventually(lambda: sum(log.verdicts().get(one, 0) for one in told) >= len(done), within_s=60)
    return log


@pytest.mark.parametrize(("reason", "steps", "en", "zh"), REASONS, ids=[row[0] for row in REASONS])
def test_a_reason_is_told_in_both_languages(log: Log, reason: str, steps: list[Sent], en: str, zh: str) -> None:
    for lang, text in (("en", en), ("zh", zh)):
        told = json.loads(log.ok("explain", reason, "--lang", lang, "--json"))
        lines = [line["text"] for one in told["told"] for line in one["lines"]]
        assert [line for line in (*lines, *(line["text"] for line in told["now"])) if line.startswith(text)], told


def test_people_read_lines(log: Log) -> None:
    assert "no points  shorter than 4 characters" in log.ok("explain", "too_short")
    assert "无积分  少于 4 个字符" in log.ok("explain", "too_short", "--lang", "zh")
