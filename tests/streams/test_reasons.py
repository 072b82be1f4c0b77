"""Why something did not happen, in both languages: one row, one reason."""

from __future__ import annotations

import pytest

from schemas import words
from schemas.words import REASONS
from tests.crash.traffic import instant
from tests.processors.story import DAY, START
from tests.streams.life import HOUR, TEXT, Life, Step

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

JOINED: Step = (0.5, "referral", 0.5, {"kind": "accepted"})
QUIZ = "custom: {quiz: {weight: 5, own: true, earns: {points: 3, per_day: 1, growth: false}}}\n"

ITEM = {"item_id": "i-1"}
SUSPECTED = "day_over: 100, times_mean: 3, active_days: 30, active_days_min: 7"
HELD = "8a637758895a9cd800ff5be81b260c3b"  # of a hold of points that begins with the third record's third fact

OTHER_PROGRAMMES: list[tuple[str, tuple[str, str], list[Step], str, str]] = [
    (
        "kept",
        ("policy: debt", "policy: pending_only"),
        [BOUGHT, (8, "tick"), (9, "refund", 9, {"order_id": "o-9", "amount": 9_900})],
        "active points stay with the member: the policy of refunds",
        "可用积分不收回：退款政策",
    ),
    (
        "hold_reversed",
        (SUSPECTED, SUSPECTED.replace("100", "2").replace("mean: 3", "mean: 1").replace("min: 7", "min: 1")),
        [
            (0.5, "login"),
            (1.5, "browse", 1.5, ITEM),
            (1.51, "like", 1.51, ITEM),
            (1.52, "comment", 1.52, ITEM),
            (
                1.53,
                "purchase",
                1.53,
                {"order_id": "o-9", "lines": [{"sku": "i-1", "category": "tea", "amount": 9_900}]},
            ),
            (2, "staff", 2, {"kind": "reverse", "hold_id": HELD}),
            (3, "refund", 3, {"order_id": "o-9", "amount": 9_900}),
        ],
        "staff took the points back with their hold",
        "积分已随冻结由人工撤销",
    ),
    (
        "ended",
        ("{months: 13,", "{months: 3,"),
        [BOUGHT, (8, "tick"), (91, "refund", 91, {"order_id": "o-9", "amount": 9_900})],
        "the lot has ended: nothing is owed",
        "该批次已到期：无需退还",
    ),
    (
        "cap",
        ("tasks:  ", QUIZ + "tasks:  "),
        [(0.5, "custom", 0.5, {"name": "quiz"}), (0.6, "custom", 0.6, {"name": "quiz"})],
        "the cap is reached at 12:00",
        "上限于 12:00 已达到",
    ),
    (
        "cap.referral",
        ("per_year: 200,", "per_year: 0,"),
        [POOR, JOINED],
        "the year's 0 invitations are reached",
        "当年 0 次邀请奖励已用完",
    ),
]

REASON_TABLE += [
    (
        "not_first_order",
        [RICH, (1, "purchase", 1, {"order_id": "o-10"})],
        "not the first order: no x2 of it",
        "并非首单：不享受首单 ×2",
    ),
    (
        "plain",
        [(0.5, "refund", 0.5, {"order_id": "o-0", "amount": 99, "purchased_at": instant(START - 200 * DAY)})],
        "an order older than those kept: no point comes back",
        "订单早于保留期：无积分退回",
    ),
    (
        "moved",
        [POOR, JOINED, (1, "referral", 1, {"kind": "completed"}), (2, "referral", 2, {"kind": "moved"})],
        "another order is the first one now",
        "首单已改为另一笔订单",
    ),
]

STAFF_TABLE: list[tuple[str, list[Step], str, str]] = [
    (
        "unknown.adjust_refused",
        [POOR, (0.6, "staff", 0.6, {"kind": "release", "hold_id": "h-1"})],
        "ann's adjust has no effect: there is nothing it could act on, no hold h-1 is open",
        "ann 的调整无效：找不到对应的记录，冻结 h-1 未在生效",
    ),
    (
        "known",
        [POOR, *((0.6, "staff", 0.6, {"kind": "points", "points": 5, "batch_id": "b", "row": 1}),) * 2],
        "ann's adjust has no effect: a repeat, row 1 of batch b was booked already",
        "ann 的调整无效：重复提交，批次 b 第 1 行已入账",
    ),
    (
        "undone",
        [
            (0.5, "staff", 0.5, {"kind": "points", "points": 5, "batch_id": "b", "row": 1}),
            *((0.6, "staff", 0.6, {"kind": "undo_batch", "batch_id": "b"}),) * 2,
        ],
        "ann's adjust has no effect: a second undoing, batch b was undone already",
        "ann 的调整无效：重复撤销，批次 b 已撤销",
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

NOW_TABLE += [
    (
        "window_closed",
        [(0.5, "check_in"), (3.5, "tick")],
        "task icebreak is not done: its window closed on 2026-03-05 12:00:00+08:00",
        "任务 icebreak 未完成：时间窗口已于 2026-03-05 12:00:00+08:00 结束",
    ),
]

CART: Step = (0.5, "add_to_cart", 0.5, {"item_id": "i-1"})
SUPPORTED: list[Step] = [
    (at, "support", at, {"case_id": "s", "severity": "ordinary", "status": status})
    for at, status in ((1, "opened"), (2, "unresolved"))
]
REFUSES: Step = (
    *(0.6, "consent", 0.6),
    {"purpose": "profiling", "contact_channel": "all", "granted": False, "text_version": "v1"},
)

NOW_TABLE += [
    (
        "not_in_tier.profiling",
        [POOR, REFUSES],
        "no own rhythm tier: the member refused profiling",
        "无自身节奏层级：会员拒绝画像分析",
    ),
    (
        "not_in_tier.activity",
        [POOR],
        "not in blue: 1 active days of the last 14, 0 of the 14 before; of 6 or more it takes a fall to 50% or less",
        "不在 blue：最近 14 天活跃 1 天，之前 14 天活跃 0 天；须之前不少于 6 天且降至 50% 以下（含）",
    ),
    (
        "not_in_tier.mood",
        [POOR],
        "not in mood: no last satisfaction under 40, and no complaint is open",
        "不在 mood：最近满意度不低于 40 或无评分，且无未解决的投诉",
    ),
    ("not_in_tier.case", [POOR], "not in path: no support case is unresolved", "不在 path：无未解决的客服工单"),
    (
        "not_in_tier.wanted",
        [POOR, *SUPPORTED],
        "not in path: no cart and fewer than 3 browses in the 7 d before the case was opened",
        "不在 path：工单提出前 7 天内无加购，且浏览不足 3 次",
    ),
    (
        "not_in_tier.bought",
        [CART, *SUPPORTED, (3, "purchase")],
        "not in path: there was a purchase since",
        "不在 path：此后已有购买",
    ),
    (
        "not_in_tier.high",
        [(0.5, "purchase"), (31, "tick")],
        "not in value: not high-value, 33.00 a month is less than 500.00",
        "不在 value：非高价值会员，月均 33.00 低于 500.00",
    ),
    (
        "not_in_tier.value",
        [(0.5, "purchase", 0.5, {"amount": 150_000}), (31, "tick")],
        "not in value: neither an order nor a month was under 70% of enough others before it",
        "不在 value：没有订单或月份低于此前足够多的同类中位数的 70%",
    ),
    (
        "not_in_tier.gaps",
        [POOR],
        "not in rhythm: 0 gaps between active days are known, 20 are needed",
        "不在 rhythm：已知活跃间隔 0 个，须有 20 个",
    ),
]

REFUSED: list[tuple[str, list[Step], str, str]] = [
    (
        "refused",
        [(0.5, "check_in"), (0.6, "purchase", 0.6, {"currency": "XYZ"})],
        "a currency that the programme does not list: $.currency",
        "方案未列出的币种：$.currency",
    ),
]


@pytest.mark.parametrize(("reason", "steps", "en", "zh"), REASON_TABLE, ids=[row[0] for row in REASON_TABLE])
async def test_why_something_did_not_happen(reason: str, steps: list[Step], en: str, zh: str) -> None:
    for lang, text in (("en", en), ("zh", zh)):
        told, _, _ = await Life(steps).read(lang)
        assert text in [line.text for line in told[-1].lines], told[-1]


@pytest.mark.parametrize(
    ("reason", "changed", "steps", "en", "zh"), OTHER_PROGRAMMES, ids=[row[0] for row in OTHER_PROGRAMMES]
)
async def test_why_under_another_programme(
    reason: str, changed: tuple[str, str], steps: list[Step], en: str, zh: str
) -> None:
    assert changed[0] in TEXT
    for lang, text in (("en", en), ("zh", zh)):
        told, _, _ = await Life(steps, TEXT.replace(*changed, 1)).read(lang)
        assert text in [line.text for line in told[-1].lines], told[-1]


@pytest.mark.parametrize(("reason", "steps", "en", "zh"), STAFF_TABLE, ids=[row[0] for row in STAFF_TABLE])
async def test_why_what_staff_ask_for_has_no_effect(reason: str, steps: list[Step], en: str, zh: str) -> None:
    assert reason in words.WHY
    for lang, text in (("en", en), ("zh", zh)):
        told, _, _ = await Life(steps).read(lang)
        assert text in [line.text for line in told[-1].lines], told[-1]


async def test_a_repeat_of_what_lies_before_the_part_that_was_read() -> None:
    steps: list[Step] = [(0.5, "check_in", 0.5, {"number": 7}), (0.6, "check_in", 0.5, {"number": 7})]
    for lang, text in (("en", "app sent e-7 before"), ("zh", "app 此前已上报过 e-7")):
        told, _, _ = await Life(steps).read(lang, first=2)
        assert [line.text for line in told[-1].lines][1:] == [text]


async def test_a_window_that_is_open_or_done_is_not_told_as_closed() -> None:
    """To the moment: the window of 72 h begins with the joining and excludes its end."""
    done: list[Step] = [(0.5, "profile", 0.5, {"home_region": "east"}), (0.5, "check_in"), (0.6, "message")]
    told = "task icebreak is not done: its window closed on 2026-03-05 12:00:00+08:00"
    for steps, closed in (
        ([(0.5, "check_in"), (3.5 - 1e-8, "tick")], False),
        ([(0.5, "check_in"), (3.5, "tick")], True),
        ([*done, (4, "tick")], False),
    ):
        assert (told in await Life(steps).now("en")) == closed


@pytest.mark.parametrize(("reason", "steps", "en", "zh"), NOW_TABLE, ids=[row[0] for row in NOW_TABLE])
async def test_what_has_not_happened_yet(reason: str, steps: list[Step], en: str, zh: str) -> None:
    for lang, text in (("en", en), ("zh", zh)):
        assert text in await Life(steps).now(lang)


COMING: list[tuple[str, list[Step], str]] = [
    (
        "mood",
        [(0.5, "complaint", 0.5, {"case_id": "c", "severity": "complex", "status": "opened"})],
        "2026-03-02 12:00:00+08:00, it comes on 2026-03-04 12:00:00+08:00",
    ),
    (
        "rhythm",
        [(day + 0.5, "login") for day in range(21)],
        "2026-03-22 12:00:00+08:00, it comes on 2026-03-26 00:00:00+08:00",
    ),
    (
        "blue",
        [(day + 0.5, "login") for day in range(14)],
        "2026-03-15 12:00:00+08:00, it comes on 2026-03-26 00:00:00+08:00",
    ),
    (
        "value",
        [(day, "purchase", day, {"amount": 100_000}) for day in (0, 31, 61)] + [(92, "tick")],
        "2026-06-01 00:00:00+08:00, it comes on 2026-07-01 00:00:00+08:00",
    ),
]


@pytest.mark.parametrize(("tier", "steps", "text"), COMING, ids=[row[0] for row in COMING])
async def test_when_a_tier_beside_the_ladders_comes_is_told_in_advance(tier: str, steps: list[Step], text: str) -> None:
    assert f"not in {tier}: counted from {text} if nothing happens" in await Life(steps).now("en")


@pytest.mark.parametrize(("reason", "steps", "en", "zh"), REFUSED)
async def test_why_a_record_was_refused(reason: str, steps: list[Step], en: str, zh: str) -> None:
    for lang, text in (("en", en), ("zh", zh)):
        told, _, _ = await Life(steps).read(lang)
        assert told[-1].verdict == "dead_letter"
        assert [line.text for line in told[-1].lines if line.text.startswith(text)], told[-1]


def test_every_reason_of_the_catalogue_has_a_row() -> None:
    shown = {row[0] for row in (*REASON_TABLE, *NOW_TABLE, *REFUSED, *OTHER_PROGRAMMES)}
    assert set(REASONS) - shown == {"duplicate.earlier"}, "that has a test of its own"
