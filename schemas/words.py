"""What members and staff are told, in English and Chinese: each reason once in each language.

Rules name reasons by code; here is how a person reads them. `{...}` are filled by `streams.explain`: every field of the
fact, and what it works out beside them. A test fails for a reason, a kind of fact or an arithmetic without both.
"""

from __future__ import annotations

from typing import NamedTuple


class Words(NamedTuple):
    """One text in both languages."""

    en: str
    zh: str


LANGUAGES = Words._fields

LABELS = {
    "record": Words("record", "记录"),
    "rule": Words("rule", "规则"),
    "arithmetic": Words("arithmetic", "算式"),
    "ledger": Words("ledger", "账目"),
    "level": Words("level", "等级"),
    "tier": Words("tier", "预警层级"),
    "task": Words("task", "任务"),
    "badge": Words("badge", "徽章"),
    "told": Words("result", "结果"),
    "nothing": Words("no points", "无积分"),
    "not": Words("not", "未发生"),
    "pending": Words("pending", "待生效"),
    "amends": Words("amends", "更正"),
    "amended": Words("amended", "已被更正"),
    "now": Words("now", "当前"),
}
"""What stands before a line."""

VERDICTS = {
    "applied": Words("accepted", "已接受"),
    "duplicate": Words("a repeat: nothing happens twice", "重复上报：不会重复生效"),
    "conflict": Words("the same identity with other content: the first counts", "标识相同但内容不同：以首次为准"),
    "late": Words("older than the horizon: no effect", "超出可接受期限：无效"),
    "dead_letter": Words("refused", "被拒收"),
    "forwarded": Words("sent on to the member's own partition", "已转发到该会员所在分区"),
    "derived": Words("noted", "已记录"),
    "derived_ignored": Words("a repeat of a derived record: ignored", "派生记录重复：已忽略"),
}
"""What became of a record."""

REASONS = {
    # an action that earned nothing
    "cap.message": Words("daily cap of {cap} messages reached{reached}", "当日 {cap} 条消息的上限{reached}已达到"),
    "cap.share": Words("daily cap of {cap} shares reached{reached}", "当日 {cap} 次分享的上限{reached}已达到"),
    "cap.check_in": Words("the day's check-in was counted already{reached}", "当日签到{reached}已计分"),
    "cap.comeback": Words("the year's {cap} comebacks are reached", "当年 {cap} 次回归奖励已用完"),
    "cap": Words("the cap is reached{reached}", "上限{reached}已达到"),
    "too_short": Words("shorter than {shortest} characters", "少于 {shortest} 个字符"),
    "excluded": Words("everything in it is of an excluded category", "全部为不计分的品类"),
    "below_one": Words("it comes to less than one point", "不足 1 分"),
    "excluded.refund": Words("what came back is of excluded categories", "退回的均为不计分品类"),
    "cap.referral": Words("the year's {cap} invitations are reached", "当年 {cap} 次邀请奖励已用完"),
    "plain": Words("an order older than those kept: no point comes back", "订单早于保留期：无积分退回"),
    "moved": Words("another order is the first one now", "首单已改为另一笔订单"),
    "kept": Words("active points stay with the member: the policy of refunds", "可用积分不收回：退款政策"),
    "hold_reversed": Words("staff took the points back with their hold", "积分已随冻结由人工撤销"),
    "ended": Words("the lot has ended: nothing is owed", "该批次已到期：无需退还"),
    "cap.ladder": Words("the week's items are reached, or this rung gives none", "当周商品数已达上限，或此步无积分"),
    "held": Words("held on suspicion until staff judge it", "存疑冻结，待人工判定"),
    # a record without effect
    "duplicate": Words(
        "{source} sent {event_id} before, record {first}", "{source} 已在记录 {first} 上报过 {event_id}"
    ),
    "duplicate.earlier": Words("{source} sent {event_id} before", "{source} 此前已上报过 {event_id}"),
    "conflict": Words(
        "{source} sent {event_id} with other content before: the first counts",
        "{source} 此前已以其他内容上报过 {event_id}：以首次为准",
    ),
    "late": Words(
        "it happened on {effective_at}, more than {horizon} d before it arrived",
        "发生于 {effective_at}，到达时已超过 {horizon} 天",
    ),
    "order_repeat": Words("order {order_id} was reported before", "订单 {order_id} 已上报过"),
    "order_conflict": Words(
        "order {order_id} was reported before with {first_amount}, now with {amount}: the first counts",
        "订单 {order_id} 先前上报金额为 {first_amount}，本次为 {amount}：以首次为准",
    ),
    "above_amount": Words(
        "{amount} of order {order_id} cannot come back, {left} of {first_amount} are left",
        "订单 {order_id} 无法退回 {amount}，{first_amount} 中仅余 {left}",
    ),
    "orphan": Words(
        "order {order_id} never came, so the refund of {amount} has no effect",
        "订单 {order_id} 一直未出现，{amount} 的退款无效",
    ),
    "missing": Words("{missing} points are missing for {points}", "兑换 {points} 分，还差 {missing} 分"),
    "smallest": Words("{points} points are fewer than can be redeemed", "{points} 分低于最低兑换额"),
    "steps": Words("{points} points are no whole steps", "{points} 分不是整档"),
    "running": Words("a level step runs already", "已有等级提升在生效"),
    "cancelled": Words("{redeem_id} was cancelled before it came", "{redeem_id} 在到达之前已取消"),
    "late.redeem": Words("{redeem_id} came too late to be judged", "{redeem_id} 到达过晚，无法判定"),
    "refused.redeem_cancel": Words("the redeem was refused: nothing comes back", "该兑换曾被拒绝：无可退回"),
    "repeat": Words("it was cancelled already", "此前已取消"),
    "cancel_orphan": Words("{redeem_id} never came: nothing to cancel", "{redeem_id} 一直未出现：无可取消"),
    "refused": Words("{refused}: {detail}", "{refused}：{detail}"),
    # points that went elsewhere
    "paid_debt": Words("{paid} points paid debt", "{paid} 分用于抵扣欠分"),
    # what has not come true
    "not_first_order": Words("not the first order: no x{first_order} of it", "并非首单：不享受首单 ×{first_order}"),
    "pending_until": Words("{points} points are pending until {until}", "{points} 分待生效，生效时间 {until}"),
    "window_closed": Words(
        "task {task} is not done: its window closed on {until}", "任务 {task} 未完成：时间窗口已于 {until} 结束"
    ),
    "not_in_tier.none": Words(
        "no {dimension} tier: there is nothing to count from yet", "无{dimension}层级：尚无起算行为"
    ),
    "not_in_tier.closed": Words("no {dimension} tier: the account is closed", "无{dimension}层级：账户已关闭"),
    "not_in_tier": Words(
        "not in {tier}: counted from {since}, it comes on {at} if nothing happens",
        "不在 {tier}：自 {since} 起算，若无行为将于 {at} 进入",
    ),
    "not_in_tier.profiling": Words(
        "no {dimension} tier: the member refused profiling", "无{dimension}层级：会员拒绝画像分析"
    ),
    "not_in_tier.activity": Words(
        "not in blue: {recent} active days of the last {days}, {before} of the {days} before; of {least} or more it "
        "takes a fall to {percent}% or less",
        "不在 blue：最近 {days} 天活跃 {recent} 天，之前 {days} 天活跃 {before} 天；"
        "须之前不少于 {least} 天且降至 {percent}% 以下（含）",
    ),
    "not_in_tier.mood": Words(
        "not in mood: no last satisfaction under {below}, and no complaint is open",
        "不在 mood：最近满意度不低于 {below} 或无评分，且无未解决的投诉",
    ),
    "not_in_tier.case": Words("not in path: no support case is unresolved", "不在 path：无未解决的客服工单"),
    "not_in_tier.wanted": Words(
        "not in path: no cart and fewer than {browses} browses in the {days} d before the case was opened",
        "不在 path：工单提出前 {days} 天内无加购，且浏览不足 {browses} 次",
    ),
    "not_in_tier.bought": Words("not in path: there was a purchase since", "不在 path：此后已有购买"),
    "not_in_tier.high": Words(
        "not in value: not high-value, {mean} a month is less than {high}",
        "不在 value：非高价值会员，月均 {mean} 低于 {high}",
    ),
    "not_in_tier.value": Words(
        "not in value: neither an order nor a month was under {percent}% of enough others before it",
        "不在 value：没有订单或月份低于此前足够多的同类中位数的 {percent}%",
    ),
    "not_in_tier.gaps": Words(
        "not in rhythm: {gaps} gaps between active days are known, {needed} are needed",
        "不在 rhythm：已知活跃间隔 {gaps} 个，须有 {needed} 个",
    ),
    "before_go_live": Words("not contacted: nobody is before go-live", "未联系：上线开放前不联系任何会员"),
}
"""Why something did not happen: `reason.rule` before `reason`."""

FACTS = {
    "score": Words("activity score {score}, index {activity_index}", "活跃分 {score}，指数 {activity_index}"),
    "late": REASONS["late"],
    "conflict": REASONS["conflict"],
    "order_repeat": REASONS["order_repeat"],
    "order_conflict": REASONS["order_conflict"],
    "points.expiring": Words("{points} active points expire on {ends_at}", "{points} 可用积分将于 {ends_at} 到期"),
    "refund_refused": REASONS["above_amount"],
    "refund_orphan": REASONS["orphan"],
    "redeem_accepted": Words("{points} points redeemed by {redeem_id}", "{redeem_id} 兑换 {points} 分成功"),
    "redeem_refused": Words("{redeem_id} refused: {why_not}", "{redeem_id} 被拒绝：{why_not}"),
    "redeem_cancel_orphan": REASONS["cancel_orphan"],
    "task.progress": Words("task {rule}: {because}", "任务 {rule}：{because}"),
    "task.done": Words(
        "task {rule} done on {effective_at}: {because}", "任务 {rule} 于 {effective_at} 完成：{because}"
    ),
    "badge.awarded": Words(
        "badge {rule} since {effective_at}: {because}", "自 {effective_at} 起获得徽章 {rule}：{because}"
    ),
    "badge.undone": Words("badge {rule} taken back: {because}", "徽章 {rule} 已收回：{because}"),
    "benefit_promised": Words("{benefit} promised by {rule}", "{rule} 承诺权益 {benefit}"),
    "membership.paid": Words(
        "paid membership from {effective_at} until {until}: {because}",
        "付费会员 {effective_at} 至 {until}：{because}",
    ),
    "adjust_refused": Words(
        "{operator}'s adjust has no effect: {why}, {because}", "{operator} 的调整无效：{why}，{because}"
    ),
    "opening_refused": Words("a second opening has no effect: {because}", "再次期初导入无效：{because}"),
    "spend.brought": Words("{spend} brought along: {because}", "带入消费 {spend}：{because}"),
    "points.held": Words("points held ({scope}) until {until}: {because}", "积分冻结（{scope}）至 {until}：{because}"),
    "points.released": Words("hold {hold_id} ended: {why}, {points} points", "冻结 {hold_id} 结束：{why}，{points} 分"),
    "level.changed": Words(
        "{level_before} -> {level} since {effective_at}: {why}, {because}",
        "自 {effective_at} 起 {level_before} -> {level}：{why}，{because}",
    ),
    "level.warning": Words(
        "{level} falls to {next_level} on {falls_at} unless it is met again: {because}",
        "若仍未达标，{level} 将于 {falls_at} 降为 {next_level}：{because}",
    ),
    "region.changed": Words("home region is {home} now", "所属区域现为 {home}"),
    "referral_refused": Words(
        "invitation of {invited_member_id} gives nothing: {why}", "邀请 {invited_member_id} 无奖励：{why}"
    ),
    "account.closed": Words("the account was closed on {effective_at}", "账户于 {effective_at} 关闭"),
    "tier.entered": Words(
        "{tier} ({dimension}) entered on {effective_at}: nothing since {silent_since}",
        "于 {effective_at} 进入 {tier}（{dimension}）：自 {silent_since} 起无行为",
    ),
    "tier.entered.beside": Words(
        "{tier} ({dimension}) entered on {effective_at}: {said}", "于 {effective_at} 进入 {tier}（{dimension}）：{said}"
    ),
    "tier.left": Words(
        "{tier} ({dimension}) left on {effective_at}: {why}", "于 {effective_at} 离开 {tier}（{dimension}）：{why}"
    ),
    "tier.voided": Words(
        "{tier} ({dimension}) of {entered_at} was never true: a late record shows it",
        "{entered_at} 的 {tier}（{dimension}）不成立：迟到的记录所示",
    ),
    "tier.moved": Words(
        "{tier} ({dimension}) of {entered_at} began on {effective_at}: a late record shows it",
        "{entered_at} 的 {tier}（{dimension}）实际始于 {effective_at}：迟到的记录所示",
    ),
}
"""What a fact says that is no ledger entry; those are told as a chain."""

WHY = {
    "standard": Words("its standard is met", "已达标准"),
    "missed": Words("its standard was missed for too long", "长期未达标准"),
    "tenure": Words("long enough a member", "入会时间已满"),
    "opening": Words("brought along from the programme before", "由原计划带入"),
    "task": Words("a task is done", "任务已完成"),
    "recounted": Words("what came later shows that it was otherwise", "后到的记录表明实际并非如此"),
    "refund": Words("a refund took away what it stood on", "退款取消了其依据"),
    "bonus": Words("steps above the base level began or ended", "额外等级开始或结束"),
    "next": Words("the next tier began", "进入下一层级"),
    "closed": Words("the account was closed", "账户关闭"),
    "action": Words("an own action", "本人有行为"),
    "purchase": Words("a purchase", "购买"),
    "days": Words("the active days of the last weeks are no longer so few", "近期活跃天数已不再偏少"),
    "score": Words("a better score was given", "给出了更高的评分"),
    "resolved": Words("the case was resolved", "该工单已解决"),
    "order": Words("an order as large as usual", "订单恢复到平常金额"),
    "month": Words("a month of spend as usual", "月消费恢复到平常水平"),
    "over": Words("its time is over", "时限已过"),
    "profiling": Words("profiling was refused", "会员拒绝画像分析"),
    "own_id": Words("a member named itself as the one who invited", "邀请人填写的是本人"),
    "unknown": Words("nobody knows the one who invited", "邀请人不存在"),
    "not_accepted": Words("the joining was not accepted before", "此前的加入未被认可"),
    "released": Words("released by staff", "人工解冻"),
    "reversed": Words("reversed by staff", "人工收回"),
    "unjudged": Words("released, nobody judged it in time", "逾期未判定，自动解冻"),
    "known": Words("a repeat", "重复提交"),
    "undone": Words("a second undoing", "重复撤销"),
    "unknown.adjust_refused": Words("there is nothing it could act on", "找不到对应的记录"),
}
"""Why a tier was left, a level changed, a hold ended, an invitation gives nothing or staff's request has no effect.

`reason.kind` of fact before `reason`.
"""

REFUSED = {
    "not_json": Words("it is no JSON", "不是 JSON"),
    "invalid": Words("it is not what an action looks like", "不符合行为的格式"),
    "unknown_action": Words("no such action", "未知的行为"),
    "unknown_field": Words("a field that the action does not have", "该行为没有此字段"),
    "unknown_custom": Words("a custom action that the programme does not declare", "方案未声明的自定义行为"),
    "too_deep": Words("it is nested too deep", "嵌套过深"),
    "too_big": Words("it is too big", "内容过大"),
    "too_early": Words("it is said to have happened before the year 2000", "发生时间早于 2000 年"),
    "personal": Words("personal data in the clear", "含未加密的个人信息"),
    "currency": Words("a currency that the programme does not list", "方案未列出的币种"),
    "unsigned": Words("it is not signed by who may say it", "缺少有权者的签名"),
    "one_person": Words("it takes two people", "须由两人确认"),
    "stray": Words("it stood in another member's partition", "位于其他会员的分区"),
    "no_programme": Words("there was no programme yet", "当时尚无方案"),
    "rule": Words("a rule failed at it", "规则处理失败"),
}
"""Why a record was refused: every `schemas.verdicts.Reason`."""

NAMES = {
    "check_in": Words("check-in", "签到"),
    "message": Words("message", "消息"),
    "share": Words("share", "分享"),
    "purchase": Words("purchase", "购买"),
    "comeback": Words("comeback", "回归奖励"),
    "expiry": Words("expiry", "到期"),
    "first_order": Words("first order", "首单"),
    "task": Words("task", "任务"),
    "ladder": Words("ladder of an item", "商品阶梯"),
    "refund": Words("refund", "退款"),
    "login": Words("login", "登录"),
    "browse": Words("browse", "浏览"),
    "add_to_cart": Words("add to cart", "加购"),
    "like": Words("like", "点赞"),
    "comment": Words("comment", "评论"),
    "live": Words("live", "直播"),
    "join": Words("join", "加入"),
    "leave": Words("leave", "退出"),
    "profile": Words("profile", "资料"),
    "redeem": Words("redeem", "兑换"),
    "redeem_cancel": Words("cancelled redeem", "取消兑换"),
    "subscribe": Words("subscription", "付费会员"),
    "content": Words("content", "内容"),
    "event": Words("event", "活动"),
    "benefit_grant": Words("benefit granted", "权益发放"),
    "benefit_use": Words("benefit used", "权益使用"),
    "nps": Words("score given", "评分"),
    "complaint": Words("complaint", "投诉"),
    "support": Words("support case", "客服工单"),
    "consent": Words("consent", "授权"),
    "opt_out": Words("opt-out", "退订"),
    "outreach_feedback": Words("contact feedback", "触达反馈"),
    "custom": Words("custom action", "自定义行为"),
    "adjust": Words("adjustment by staff", "人工调整"),
    "merge": Words("merge", "合并"),
    "erase": Words("erasure", "删除"),
    "opening": Words("opening balance", "期初余额"),
    "forward": Words("forwarded record", "转发记录"),
    "referral": Words("referral", "邀请"),
    "echo": Words("echo", "互动回响"),
    "award": Words("award", "榜单奖励"),
    "presence": Words("presence", "到访"),
    "buying": Words("buying", "购买"),
    "activity": Words("activity", "活跃"),
    "mood": Words("mood", "情绪"),
    "path": Words("path", "路径"),
    "value": Words("value", "价值"),
    "rhythm": Words("own rhythm", "自身节奏"),
    "timer": Words("by itself, when its time came", "到时自动发生"),
}
"""Rules, actions and dimensions. Tiers and levels have one name in every language."""

BALANCES = {
    "points": Words("issued", "累计发放"),
    "active": Words("active", "可用"),
    "pending": Words("pending", "待生效"),
    "spent": Words("spent", "已使用"),
    "expired": Words("expired", "已过期"),
    "reversed": Words("reversed", "已收回"),
    "debt": Words("debt", "欠分"),
}
"""The balances that an entry's fields change."""

PHRASES = {
    "head": Words(
        "{moment}  {action} {event_id} of {source}, record {offset}",
        "{moment}  {action} {event_id}（来自 {source}），记录 {offset}",
    ),
    "head.bare": Words("{moment}  {action}, record {offset}", "{moment}  {action}，记录 {offset}"),
    "rule": Words("{rule}, programme {programme}", "{rule}，方案 {programme}"),
    "reached": Words(" at {time}", "于 {time} "),
    "entry": Words("fact {n}: {changes}; balances {balances}", "事实 {n}：{changes}；余额 {balances}"),
    "comma": Words(", ", "，"),
    "no_change": Words("nothing", "无变动"),
    "pending": Words("until {until}", "至 {until}"),
    "fact": Words("fact {n}", "事实 {n}"),
    "earlier": Words("an entry of record {offset}", "记录 {offset} 的账目"),
}
"""Parts of lines."""


def say(words: Words, lang: str, **fields: object) -> str:
    """A text of the catalogue in a language, filled."""
    text: str = getattr(words, lang)
    return text.format(**fields)
