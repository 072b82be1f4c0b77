"""What `because` and `reason` of facts say: as rules write it, and the same in Chinese, found by its English form."""

from __future__ import annotations

import re

ARITHMETIC = (
    (r"(-?\d+) = a check-in", "{0} = 一次签到"),
    (
        r"(\d+) = (\d+) x(\d+) birthday: message (\d+) of the day's (\d+)",
        "{0} = {1} ×{2} 生日：当日第 {3} 条消息（上限 {4}）",
    ),
    (
        r"(\d+) = (\d+) x(\d+) birthday: share (\d+) of the day's (\d+)",
        "{0} = {1} ×{2} 生日：当日第 {3} 次分享（上限 {4}）",
    ),
    (r"(\d+) = (\d+) (x.+): message (\d+) of the day's (\d+)", "{0} = {1} {2}：当日第 {3} 条消息（上限 {4}）"),
    (r"(\d+) = (\d+) (x.+): share (\d+) of the day's (\d+)", "{0} = {1} {2}：当日第 {3} 次分享（上限 {4}）"),
    (r"(\d+) = (\d+) (x.+): (\S+) (\d+) of the day's (\d+)", "{0} = {1} {2}：当日第 {4} 次 {3}（上限 {5}）"),
    (
        r"(\d+) of (\d+) come back: (\d+) of (\d+) of the order are refunded",
        "{1} 分中退回 {0} 分：订单的 {3} 中已退 {2}",
    ),
    (r"(\d+) = message (\d+) of the day's (\d+)", "{0} = 当日第 {1} 条消息（上限 {2}）"),
    (r"(\d+) = (\S+) (\d+) of the day's (\d+)", "{0} = 当日第 {2} 次 {1}（上限 {3}）"),
    (r"([+-]?\d+) to x(\d+): it is the first order now", "{0}，改为 ×{1}：现为首单"),
    (r"([+-]?\d+) to x(\d+): it is not the first order", "{0}，改为 ×{1}：并非首单"),
    (r"(\d+) = share (\d+) of the day's (\d+)", "{0} = 当日第 {1} 次分享（上限 {2}）"),
    (r"(\d+) = (\d+) x(\d+) streak of (\d+)", "{0} = {1} ×{2}（连续签到 {3} 天）"),
    (
        r"(\d+) = (\d+) x(\d+) streak of (\d+), less (\d+) paid before a late check-in",
        "{0} = {1} ×{2}（连续签到 {3} 天），减去迟到签到之前已发的 {4}",
    ),
    (r"(\d+) pending points became active: the return window has passed", "{0} 分由待生效转为可用：退货期已过"),
    (
        r"(\d+) pending points became active: the days after the join have passed",
        "{0} 分由待生效转为可用：加入后的等待期已过",
    ),
    (
        r"(\d+) pending points became active: the order's return window has passed",
        "{0} 分由待生效转为可用：该订单退货期已过",
    ),
    (r"(\d+) = (\S+) joined, number (\d+) of the year's (\d+)", "{0} = {1} 加入，当年第 {2} 位（上限 {3}）"),
    (r"(\d+) = the first order of (\S+)", "{0} = {1} 的首单"),
    (r"-(\d+): (\S+) has no order left that is not fully refunded", "-{0}：{1} 已无未全额退款的订单"),
    (r"-(\d+): another order is the first one of (\S+)", "-{0}：{1} 的首单已改为另一笔订单"),
    (r"-(\d+): of (\d+) points, (\d+) are left of the order", "-{0}：该订单的 {1} 分中保留 {2} 分"),
    (r"0: no point changes", "0：积分无变动"),
    (r"-(\d+): the order is older than the list, so plain", "-{0}：订单早于保留期，按原价计算"),
    (r"(\d+) of (\d+) active points for (.+)", "{1} 可用积分中使用 {0} 分，用于 {2}"),
    (r"(\d+) points of (\S+) go back to the lots they came from", "{1} 的 {0} 分退回原批次"),
    (r"(-?\d+) = task (.+) done", "{0} = 完成任务 {1}"),
    (r"-(\d+): task (.+) was done at another moment", "-{0}：任务 {1} 实际完成于另一时刻"),
    (r"-(\d+): task (.+) is not done", "-{0}：任务 {1} 未完成"),
    (r"(\d+) = (\S+) browsed and liked", "{0} = 浏览并点赞 {1}"),
    (r"(\d+) = (\S+) commented on", "{0} = 评论 {1}"),
    (r"(\d+) = (\S+) bought", "{0} = 购买 {1}"),
    (r"-(\d+): (\S+) did not reach this rung then", "-{0}：{1} 当时未到达此步"),
    # levels
    (r"([\d.,]+) more growth", "成长值还差 {0}"),
    (r"([\d.,]+) more net spend", "净消费还差 {0}"),
    (r"a streak of (\d+)", "连续签到 {0} 天"),
    (r"a place among the most active", "进入最活跃之列"),
    (r"net spend of ([\d.,]+) meets ([\d.,]+)", "净消费 {0} 达到 {1}"),
    (r"growth of ([\d.,]+) meets ([\d.,]+)", "成长值 {0} 达到 {1}"),
    (r"among the most active", "属最活跃之列"),
    (r"each of the last (\d+) closed months had ([\d.,]+) or more", "最近 {0} 个完整月每月不低于 {1}"),
    (r"(\d+) check-ins in a row", "连续签到 {0} 天"),
    (r"missed for (\d+) days", "连续 {0} 天未达标"),
    (r"the refunded amount made it", "当时靠已退款金额达成"),
    (r"a late action shows it never was", "迟到的行为表明其不成立"),
    (r"(\d+) months since joining", "加入满 {0} 个月"),
    (r"a task is done", "任务已完成"),
    (r"what gave it is no longer so", "其依据已不成立"),
    (r"(\d+) steps? of bonus, (\d+) before", "额外提升 {0} 级，此前 {1} 级"),
    (r"nothing", "无"),
    # holds
    (r"(\d+) messages in a programme day, over (\d+)", "单日 {0} 条消息，超过 {1}"),
    (r"(\d+) messages within ([\d.]+) s, over (\d+) in (\d+)", "{1} 秒内 {0} 条消息，超过 {3} 秒 {2} 条"),
    (r"(\d+) messages within ([\d.]+) s, over (\d+) in (\d+) s", "{1} 秒内 {0} 条消息，超过 {3} 秒 {2} 条"),
    (r"(\d+) steps of the level in (\d+) h without a purchase", "{1} 小时内未购买而升 {0} 级"),
    (r"(\d+) joins in a programme day, over (\d+)", "单日邀请 {0} 人，超过 {1}"),
    (r"the same (\S+) as the invited member", "与被邀请人的 {0} 相同"),
    (
        r"(\d+) of the last (\d+) invited fully refunded their first order",
        "最近被邀请的 {1} 人中 {0} 人首单全额退款",
    ),
    (
        r"(\d+) points in a programme day, over (\d+) and (\d+)x the mean of ([\d.]+) on the last (\d+) active days",
        "单日 {0} 分，超过 {1} 分及最近 {4} 个活跃日均值 {3} 的 {2} 倍",
    ),
    (r"-?(\d+) points of hold (\S+) .+", "冻结 {1} 的 {0} 分已处理"),
    (r"no hold (\S+) is open", "冻结 {0} 未在生效"),
    (r"no entry of (.+) is known", "没有 {0} 的账目"),
    (r"row (\d+) of batch (\S+) was booked already", "批次 {1} 第 {0} 行已入账"),
    (r"batch (\S+) was undone already", "批次 {0} 已撤销"),
    (r"(.+) was booked already", "{0} 已入账"),
    (r"(.+) was undone already", "{0} 已撤销"),
    (r"they end (\d+) days after", "此后 {0} 天到期"),
    # warnings beside the ladders
    (
        r"(\d+) active days of the last (\d+), (\d+) of the (\d+) before",
        "最近 {1} 天活跃 {0} 天，之前 {3} 天活跃 {2} 天",
    ),
    (r"a satisfaction of (\d+), under (\d+)", "满意度 {0}，低于 {1}"),
    (r"ordinary complaint, not resolved in (\d+) h", "一般投诉 {0} 小时未解决"),
    (r"complex complaint, not resolved in (\d+) h", "复杂投诉 {0} 小时未解决"),
    (r"serious complaint, not resolved in (\d+) h", "严重投诉 {0} 小时未解决"),
    (r"a complaint opened meanwhile", "其间又有投诉"),
    (
        r"a support case is unresolved, and what was wanted before it was not bought",
        "客服工单未解决，且此前有意购买而未购买",
    ),
    (
        r"an order of ([\d.]+) is under (\d+)% of ([\d.]+), the median of the (\d+) before",
        "订单 {0}，低于此前 {3} 单中位数 {2} 的 {1}%",
    ),
    (
        r"a month of ([\d.]+) is under (\d+)% of ([\d.]+), the median of the (\d+) before",
        "月消费 {0}，低于此前 {3} 个月中位数 {2} 的 {1}%",
    ),
    (r"an order under (\d+)% of the median before", "有订单低于此前中位数的 {0}%"),
    (r"a month under (\d+)% of the median before", "有月份消费低于此前中位数的 {0}%"),
    (
        r"(\d+) days without an own action, as long as (\d+)% of the gaps before",
        "{0} 天无本人行为，已达此前 {1}% 的间隔",
    ),
    # tasks and badges
    (r"missing (.+)", "缺 {0}"),
    (r"(\d+) of (\d+)", "{0}/{1}"),
    (r"(\d+) of (\d+) (.+)", "{0}/{1} {2}"),
    (r"the (\d+)th of what counts", "计数满 {0} 次"),
    (r"place (\d+) of (\S+) of the (\S+) in (.+)", "{3} {2} {1} 榜第 {0} 名"),
    (r"place (\d+) of (\S+) of the (\S+)", "{2} {1} 榜第 {0} 名"),
    (r"index of (\d+) or more at (\d+) day ends in a row", "指数连续 {1} 天不低于 {0}"),
    (r"done in an earlier window", "已在更早的窗口完成"),
    (r"gives (.+)", "给予 {0}"),
    (r"task (.+) done", "完成任务 {0}"),
    (r"task (.+) is not done", "任务 {0} 未完成"),
    (r"(\d+) active points expired: their lot has ended", "{0} 可用积分到期：该批次已截止"),
    (r"(-?\d+) by staff", "{0} 由人工调整"),
    (r"(-?\d+) undoes an entry of staff", "{0} 撤销一笔人工调整"),
    (r"(\d+) forgiven", "其中 {0} 免除"),
    (r"(\d+) points brought along", "带入 {0} 分"),
    (r"(\d+) debt brought along", "带入欠分 {0}"),
    (r"net spend of (\d+-\d+)", "{0} 净消费"),
    (r"(\d+) paid debt", "其中 {0} 抵扣欠分"),
    (r"(\d+) of it became debt", "其中 {0} 转为欠分"),
    (r"(\d+) = back after (\d+) days, number (\d+) of the year", "{0} = 时隔 {1} 天回归，当年第 {2} 次"),
    (r"-(\d+): a late action shows that the silence before it was shorter", "-{0}：迟到的行为表明此前的沉默更短"),
    (
        r"-(\d+): a late action shows that it is number (\d+) of the year, (\d+) are paid",
        "-{0}：迟到的行为表明这是当年第 {1} 次，仅发放 {2} 次",
    ),
    (
        r"(\d+) = ([\d.]+) (\w+)(?: x ([\d.]+))?(, floored)?(?: \(([\d.]+) excluded\))?",
        "{0} = {1} {unit}{times}{floored}{excluded}",
    ),
    (r"(.+) done", "{0} 已完成"),
)
"""What `because` of an entry says, as rules write it, and the same in Chinese."""

UNITS = {"yuan": "元"}


BETWEEN = (("; ", "；"), (", or ", "，或"), (", and ", "，且"), (" and ", "，且"), (": ", "："))
"""What stands between parts of a `because`, the widest first."""


def arithmetic(because: str, lang: str) -> str:
    """The arithmetic of a fact in a language; a part that has no Chinese yet stays as it was written."""
    return because if lang == "en" else _parts(because)


def _parts(because: str) -> str:
    whole = _in_chinese(because)
    if whole != because:
        return whole
    for separator, chinese in BETWEEN:
        if separator in because:
            return chinese.join(map(_parts, because.split(separator)))
    return because


FACTORS = {"first order": "首单", "birthday": "生日", "paid membership": "付费会员"}
"""Factors by their English names; campaigns have their own."""


def _in_chinese(part: str) -> str:
    whole = _matched(part)
    head, *factors = re.split(r" x(?=\d)", part)
    if whole != part or not factors:
        return whole
    told = [f"×{times} {FACTORS.get(name, name)}" for times, _, name in (it.partition(" ") for it in factors)]
    return " ".join((_matched(head), *told))


def _matched(part: str) -> str:
    for pattern, text in ARITHMETIC:
        if found := re.fullmatch(pattern, part):
            parts = found.groups(default="")
            if "{unit}" not in text:
                return text.format(*parts)
            _, _, unit, times, floored, excluded = parts
            return text.format(
                *parts,
                unit=UNITS.get(unit, unit),
                times=f" × {times}" if times else "",
                floored="，向下取整" if floored else "",
                excluded=f"（{excluded} 不计分）" if excluded else "",
            )
    return part
