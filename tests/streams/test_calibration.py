"""P(alive) put to the test: from which day, by which fit, as which rows; and the process that repeats it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping

import pytest
from prometheus_client import generate_latest
from typer.testing import CliRunner

from processors.calendar import Calendar
from schemas import aggregates
from streams.analytics import Params, Probe, Row
from streams.calibration import HORIZONS, Asked, CalibrationMetrics, Comparison, Rounds, compared
from streams.cli import app
from streams.errors import AnalyticsUnavailable, UsageError
from streams.fit import fitted
from streams.metrics import Metrics
from tests.streams.test_fit import cdnow, same

CLOSED = 10_407  # 30 June 1998
CALENDAR = Calendar("America/New_York", 0)


class Purchases:
    """Answers as ClickHouse would, with the CDNOW sample after 39 weeks; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Mapping[str, object]] = []

    def query(self, sql: str, params: Params | None = None) -> list[Row]:
        asked = params or {}
        self.asked.append(asked)
        horizon = CALENDAR.day(int(str(asked["end"]))) - CALENDAR.day(int(str(asked["until"])))
        return [(row.repeats, row.recency, row.age, row.bought, row.customers) for row in cdnow(horizon)]

    def probe(self) -> Probe:
        raise AssertionError("nobody asks what it is")

    def close(self) -> None:
        raise AssertionError("it stays its owner's")


def asked(reader: Purchases) -> Asked:
    return Asked(reader, "cdnow-1", CALENDAR, 9_861, CLOSED, 900_000_000_000, None)


@pytest.mark.parametrize("horizon", HORIZONS)
@pytest.mark.parametrize("cut", [None, 10_134])
def test_it_is_foretold_from_the_end_of_a_day_by_what_was_known_then(horizon: int, cut: int | None) -> None:
    reader = Purchases()
    found = compared(asked(reader), horizon, cut)
    day = CLOSED - horizon if cut is None else cut
    assert (found.cut, found.horizon) == (day, horizon)
    (params,) = reader.asked
    assert (params["cut"], params["until"]) == (day, CALENDAR.day_start(day + 1))
    assert params["end"] == CALENDAR.day_start(day + horizon + 1)
    assert same(found.fit, fitted(cdnow()))
    assert sum(it.customers for it in found.deciles) == 2_357
    assert sum(it.bought for it in found.deciles) == sum(row.bought for row in cdnow(horizon))


def test_every_tenth_is_a_row() -> None:
    found = compared(asked(Purchases()), 30, None)
    rows = [aggregates.decode_calibration(message) for message in found.messages("cdnow-1", 77)]
    assert [(row.log, row.at, row.horizon, row.version) for row in rows] == [("cdnow-1", CLOSED - 30, 30, 77)] * 10
    assert [(row.decile, row.customers, row.bought, row.predicted) for row in rows] == [
        (number, it.customers, it.bought, it.predicted) for number, it in enumerate(found.deciles, 1)
    ]


async def test_a_round_that_fails_is_told_and_the_next_one_is_shown() -> None:
    tested, looked = compared(asked(Purchases()), 273, 10_134), 0
    metrics = Metrics("calibration")

    async def look() -> list[Comparison]:
        nonlocal looked
        looked += 1
        if looked == 1:
            raise AnalyticsUnavailable("away")
        if looked == 2:
            raise UsageError("too few")
        if looked == 4:
            rounds.stop()
        return [tested]

    rounds = Rounds(look, CalibrationMetrics(metrics, lambda: 100.0), every_s=0.001)
    await asyncio.wait_for(rounds.run(), 10)
    text = generate_latest(metrics.registry).decode()
    assert f'memberflow_calibration_gap_ratio{{horizon="273"}} {tested.gap}' in text
    assert text.count("memberflow_calibration_share_ratio{") == 20
    least = 'memberflow_calibration_share_ratio{decile="1",horizon="273",kind="foretold"}'
    assert f"{least} {tested.deciles[0].predicted_share}" in text
    assert "memberflow_calibration_finished_timestamp_seconds 100.0" in text


def test_before_the_first_comparison_no_gap_is_shown() -> None:
    assert "gap_ratio{" not in generate_latest(Metrics("calibration").registry).decode()


@pytest.mark.parametrize("more", [["--json"], ["--dry-run"], ["--cut", "1997-09-30"]], ids=str)
def test_who_stays_tells_by_metrics_alone(more: list[str]) -> None:
    told = CliRunner().invoke(app, ["calibration", "--every", "1h", *more])
    assert (told.exit_code, told.stdout) == (2, "")
    assert told.stderr == "memberflow: --every only tells by metrics; leave out --cut, --dry-run and --json\n"


@pytest.mark.parametrize(
    "command", [["fit"], ["fit", "--dry-run"], ["calibration"], ["calibration", "--every", "1h"]], ids=str
)
def test_without_scipy_a_command_says_so_before_it_asks_anybody(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "scipy"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "scipy", None)
    told = CliRunner().invoke(app, command)
    assert (told.exit_code, told.stdout) == (2, "")
    assert told.stderr == "memberflow: scipy is not installed; it is the extra `fit`: `pip install 'scipy>=1.17'`\n"
