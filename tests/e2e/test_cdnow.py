"""18 months of real purchases through the real parts lead to what a few loops over the file say.

The oracle shares no code with the rules; states are read from Redis, facts by SQL.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from infra.stack import Stack
from processors.ladders import NAMES
from processors.lots import by_end
from processors.orders import spend_by_month
from schemas.member import PENDING
from streams.analytics import Row
from tests.e2e.looking_back import Kept
from tests.e2e.memberflow import PARTITIONS
from tests.oracles.cdnow import Expected, Spell, lot_ends, ms, oracle
from tests.polling import eventually

pytestmark = pytest.mark.real
PROGRAMME = Path("schemas/programmes/cdnow.yaml").resolve()
FILE = Path("tests/data/cdnow_sample.txt").resolve()
ORDERS, CUSTOMERS = 6_919, 2_357


class Played(NamedTuple):
    """The log after its import, with its sink still answering."""

    log: Kept
    expected: dict[str, Expected]
    said: str


@pytest.fixture(scope="module")
def played(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    log = Kept(stack, tmp_path_factory.mktemp("cdnow"))
    log.ok("bootstrap", "--history", "--history-from", "1996-12-31", str(PROGRAMME))
    with log.worker(), log.sink():
        said = log.patiently("import", "cdnow", str(FILE))
        assert "equal: Redis, the log replayed, and ClickHouse" in log.patiently("audit")
        yield Played(log, oracle(FILE), said)


def test_every_order_of_the_file_goes_in(played: Played) -> None:
    assert f"imported {ORDERS} actions of 546 days" in played.said
    assert len(played.expected) == CUSTOMERS
    counted = played.log.verdicts()
    assert counted["applied"] == ORDERS
    assert counted.keys() == {"applied", "tick", "control"}


async def test_the_states_hold_the_points_the_lots_and_the_spend(played: Played) -> None:
    states = await played.log.states()
    assert states.keys() == played.expected.keys()
    for member, expected in played.expected.items():
        state = states[member]
        balances = (state.issued, state.active, state.pending, state.expired)
        assert balances == (expected.issued, expected.active, expected.pending, expected.expired), member
        assert sum(row[2] for row in PENDING.iter_unpack(state.pendings)) == expected.pending, member
        ends = {ms(lot_ends(month)): points for month, points in sorted(expected.lots.items())}
        assert by_end(state) == ends, member
        assert spend_by_month(state) == expected.spend, member


async def test_the_states_hold_the_tiers_of_the_last_day_with_their_moments(played: Played) -> None:
    states = await played.log.states()
    for member, expected in played.expected.items():
        state = states[member]
        held = [(NAMES[state.buying], state.buying_at), (NAMES[state.presence], state.presence_at)]
        assert held == [last(expected.buying), last(expected.presence)], member


def test_clickhouse_holds_every_tier_entered_and_left_with_its_moments(played: Played) -> None:
    rows = ask(
        played,
        "SELECT member_id, dimension, kind, tier, effective_at FROM facts FINAL "
        "WHERE log = %(log)s AND kind LIKE 'tier.%%' ORDER BY member_id, dimension, n",
    )
    found: dict[tuple[str, str], list[tuple[str, int, int | None]]] = {}
    for member, dimension, kind, tier, at in rows:
        spells = found.setdefault((member, dimension), [])
        if kind == "tier.entered":
            spells.append((tier, at, None))
        else:
            assert kind == "tier.left"
            (entered,) = [spell for spell in spells if spell[2] is None]
            assert entered[0] == tier
            spells[spells.index(entered)] = (*entered[:2], at)
    for member, expected in played.expected.items():
        assert found.get((member, "buying"), []) == told(expected.buying), member
        assert found.get((member, "presence"), []) == told(expected.presence), member


def test_clickhouse_holds_the_ledger_the_lots_and_the_spend(played: Played) -> None:
    rows = ask(
        played,
        "SELECT member_id, month, sum(points), sum(active), sum(pending), sum(spend) FROM ledger_now "
        "WHERE log = %(log)s GROUP BY member_id, month",
    )
    by_member: dict[str, list[Row]] = {}
    for member, *rest in rows:
        by_member.setdefault(member, []).append(tuple(rest))
    for member, expected in played.expected.items():
        months = by_member[member]
        sums = tuple(sum(row[at] for row in months) for at in (1, 2, 3))
        assert sums == (expected.issued, expected.active, expected.pending), member
        assert {row[0]: row[2] for row in months if row[2]} == expected.lots, member
        spend = {month: amount for month, amount in expected.spend.items() if amount}
        assert {row[0]: row[4] for row in months if row[4]} == spend, member


def test_day_buckets_add_up_to_orders_points_and_spend(played: Played) -> None:
    ((actions, points, spend),) = ask(
        played, "SELECT sum(actions), sum(points), sum(spend) FROM agg_day_now WHERE log = %(log)s"
    )
    everybody = played.expected.values()
    assert actions == ORDERS
    assert points == sum(it.issued for it in everybody)
    assert spend == sum(sum(it.spend.values()) for it in everybody)


def test_importing_again_appends_nothing(played: Played) -> None:
    again = played.log.patiently("import", "cdnow", str(FILE))
    assert again == f"imported 0 actions of 0 days; {ORDERS} actions lie on days that were in the log already\n"


def test_a_member_is_told_in_words(played: Played) -> None:
    told = played.log.patiently("member", "show", "cdnow-00004")
    assert "198 issued = 140 active + 0 pending + 58 expired" in told
    assert "lost since 1998-02-11 12:00:00-05:00: 61 d without an own action" in told
    assert "64 active points end on 1998-09-01 00:00:00-04:00" in told


def test_p_alive_is_fitted_once_a_day_and_put_in_force(played: Played) -> None:
    """The log ends on 30 June 1998; its last closed day is that one. What is found is what lifetimes finds."""
    log = played.log
    assert "stand in all" not in log.patiently("fit", "--dry-run")
    said = log.patiently("fit", "--by", "op-1")
    assert "to 2,357 customers" in said
    assert f"parameters 1 of 1998-06-30 stand in all {PARTITIONS} partitions" in said
    in_force = "SELECT count() FROM facts WHERE log = %(log)s AND kind = 'in_force' AND control = 'parameters'"
    assert eventually(lambda: ask(played, in_force) == [(PARTITIONS,)], within_s=60)
    assert log.patiently("fit") == "the parameters of 1998-06-30 are in force already\n"


def test_p_alive_foretold_at_39_weeks_what_came(played: Played) -> None:
    """Limits: a mean gap of 0.02 for 30 days, of 0.07 for 39 weeks; the tenths lie in ClickHouse."""
    told = json.loads(played.log.patiently("calibration", "--cut", "1997-09-30", "--json"))
    assert [(it["horizon"], it["gap"] <= limit) for it, limit in zip(told, (0.02, 0.07), strict=True)] == [
        (30, True),
        (273, True),
    ]
    shown = (
        "SELECT horizon, count(), sum(customers), avg(gap) FROM calibration_now WHERE log = %(log)s GROUP BY horizon"
    )
    assert eventually(lambda: len(ask(played, shown)) == 2, within_s=60)
    for horizon, rows, many, gap in sorted(ask(played, shown)):
        (it,) = [it for it in told if it["horizon"] == horizon]
        assert (rows, many, it["fit"]["customers"]) == (10, CUSTOMERS, CUSTOMERS)
        assert gap == pytest.approx(it["gap"])
        fit = it["fit"]
        found = [round(value, 3) for value in (fit["r"], fit["alpha"] / 7, fit["a"], fit["b"])]
        assert found == [0.525, 6.183, 0.891, 1.614]
    table = played.log.patiently("calibration", "--dry-run")
    assert "foretold at the end of 1997-09-30 for 273 d, to 1998-06-30" in table
    assert "foretold at the end of 1998-05-31 for 30 d, to 1998-06-30" in table
    assert table.count("mean gap") == 2


def ask(played: Played, sql: str) -> list[Row]:
    return played.log.reader().query(sql, {"log": played.log.name})


def last(spells: list[Spell]) -> tuple[str, int]:
    held = [(spell.tier, ms(spell.entered)) for spell in spells if spell.left is None]
    return held[-1] if held else ("", 0)


def told(spells: list[Spell]) -> list[tuple[str, int, int | None]]:
    return [(it.tier, ms(it.entered), None if it.left is None else ms(it.left)) for it in spells]
