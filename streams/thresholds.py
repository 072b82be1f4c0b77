"""Population values of a programme day, from the facts in ClickHouse: the most active, quintiles of R, F, M, ABC cuts.

The engine counts how many members have each value; the cuts are taken here, in integers, so that both adapters and
every order of rows give the same record. A value without members is left out: nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from processors.programme import Rules
from schemas.records import Thresholds
from streams.analytics import Params, Reader

QUINTILES = (20, 40, 60, 80)

Counts = list[tuple[int, int]]
"""(value, members that have it), ascending."""

COMMUNITY = """
SELECT value, count() AS members FROM (
    SELECT member_id, sum(least(weights, %(cap)s)) AS value FROM (
        SELECT member_id, arraySum(start -> start <= effective_at, array%(starts)s) AS day, sum(weight) AS weights
        FROM facts FINAL
        WHERE log = %(log)s AND action IN %(actions)s AND amends_offset = 0 AND (kind = 'score' OR rule = action)
            AND kind IN ('ledger', 'score') AND effective_at >= %(since)s AND effective_at < %(until)s
        GROUP BY member_id, day
    ) GROUP BY member_id
) GROUP BY value ORDER BY value
"""

# What is asked of money: what was true by the day's end, of the months that count.
ASKED = "log = %(log)s AND effective_at < %(until)s AND month >= %(first)s AND month <= %(last)s"
# The last purchase that an opening brings along is an order too, the one without an id.
ORDERS_OF = """
    SELECT member_id, order_id, max(if(rule = 'purchase', effective_at, bought_at)) AS newest, sum(spend) AS net,
        sum(if(rule = 'purchase', spend, 0)) AS counted
    FROM facts FINAL
    WHERE {asked} AND (kind = 'ledger' AND rule IN ('purchase', 'refund') AND order_id != ''
        AND entry IN ('earned', 'reversed') OR kind = 'spend.brought' AND bought_at > 0)
    GROUP BY member_id, order_id
"""
ORDERS = ORDERS_OF.format(asked=ASKED)
# An order stands unless all that counted of it is refunded; one that never counted stands.
STANDS = "newest > 0 AND (net > 0 OR counted = 0)"
BUYERS = f"""
SELECT member_id, intDiv(%(until)s - max(newest), 86400000) AS recency, count() AS frequency
FROM ({ORDERS}) WHERE {STANDS} GROUP BY member_id
"""
SPENDERS = f"""
SELECT member_id, sum(spend) AS spent
FROM facts FINAL
WHERE {ASKED} AND kind IN ('ledger', 'spend.brought') AND spend != 0
GROUP BY member_id
"""
OF_BUYERS = f"SELECT {{}} AS value, count() AS members FROM ({BUYERS}) GROUP BY value ORDER BY value"
SPEND_OF_BUYERS = (
    f"SELECT spent AS value, count() AS members FROM ({SPENDERS}) "
    f"WHERE member_id IN (SELECT member_id FROM ({BUYERS})) GROUP BY value ORDER BY value"
)
SPEND = f"SELECT spent AS value, count() AS members FROM ({SPENDERS}) WHERE spent > 0 GROUP BY value ORDER BY value"


class Cuts(NamedTuple):
    """Values, and how many members they were taken from."""

    values: list[int]
    members: int


def taken(reader: Reader, log: str, rules: Rules, day: int) -> dict[str, Cuts]:
    """The population values of a closed programme day; community in thousandths, spend in minor units, recency in days.

    Raises what the store raises.
    """
    levels, calendar = rules.levels, rules.calendar
    first = day - levels.top_days + 1
    month = calendar.month(day)
    params: Params = {
        "log": log,
        "cap": levels.day_cap,
        "actions": sorted(rules.programme.levels.top.actions),
        "starts": [calendar.day_start(one) for one in range(first, day + 1)],
        "since": calendar.day_start(first),
        "until": calendar.day_start(day + 1),
        "first": month - levels.months + 1,
        "last": month,
    }

    def counts(sql: str) -> Counts:
        return [(int(value), int(members)) for value, members in reader.query(sql, params)]

    return cuts_of(
        {
            "community": counts(COMMUNITY),
            "recency": counts(OF_BUYERS.format("recency")),
            "frequency": counts(OF_BUYERS.format("frequency")),
            "spend": counts(SPEND_OF_BUYERS),
            "abc": counts(SPEND),
        },
        rules,
    )


def cuts_of(counts: Mapping[str, Counts], rules: Rules) -> dict[str, Cuts]:
    """The cuts of all that is counted; one that nobody has any of is left out."""
    found = {
        "community": top(counts["community"], rules.programme.levels.top.percent),
        "recency": quintiles(counts["recency"]),
        "frequency": quintiles(counts["frequency"]),
        "spend": quintiles(counts["spend"]),
        "abc": classes(counts["abc"], rules.programme.value.abc),
    }
    return {name: cuts for name, cuts in found.items() if cuts.members}


def record(found: dict[str, Cuts], rules: Rules, day: int, by: str, why: str) -> Thresholds:
    """The control record: community in weights, spend in whole units of currency; its number is given later."""
    units = {"community": 1000, "spend": rules.minor_units, "abc": rules.minor_units}
    return Thresholds(
        id="thresholds",
        number=1,
        by=by,
        why=why,
        day=day,
        values={name: [value / units.get(name, 1) for value in cuts.values] for name, cuts in found.items()},
        counts={name: cuts.members for name, cuts in found.items()},
    )


def top(counts: Counts, percent: int) -> Cuts:
    """The smallest value of a member that at most so many percent reach; above all of them if even the best do not."""
    members = sum(many for _, many in counts)
    reached, value = 0, counts[-1][0] + 1 if counts else 0
    for one, many in reversed(counts):
        reached += many
        if reached * 100 > members * percent:
            break
        value = one
    return Cuts([value], members)


def quintiles(counts: Counts) -> Cuts:
    """The 20th, 40th, 60th and 80th percentile, nearest rank."""
    members = sum(many for _, many in counts)
    return Cuts([_ranked(counts, -(-share * members // 100)) for share in QUINTILES] if members else [], members)


def classes(counts: Counts, shares: Sequence[int]) -> Cuts:
    """The least spend of class A and of class B: down to where the running sum reaches its share of all, in percent."""
    total = sum(value * many for value, many in counts)
    found: list[int] = []
    running = 0
    for value, many in reversed(counts):
        running += value * many
        while len(found) < len(shares) and running * 100 >= total * shares[len(found)]:
            found.append(value)
    return Cuts(found, sum(many for _, many in counts))


def behind(reader: Reader, log: str, written: dict[int, int]) -> Sequence[int]:
    """The partitions whose facts are not all in ClickHouse yet: `written` is the number of the last fact of each."""
    held = {int(partition): int(n) for partition, n in reader.query(HELD, {"log": log})}
    return [partition for partition, n in sorted(written.items()) if held.get(partition, 0) < n]


HELD = "SELECT src_partition, max(n) AS n FROM facts WHERE log = %(log)s GROUP BY src_partition"


def _ranked(counts: Counts, rank: int) -> int:
    passed = 0
    for value, many in counts:
        passed += many
        if passed >= rank:
            return value
    raise AssertionError("a rank beyond the members")
