"""Commands about P(alive): fit its parameters and put them in force, and compare what it foretells with what comes."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import typer
from rich.table import Table

from streams import programme_log as control_log
from streams.calibration import HORIZONS, Asked, CalibrationMetrics, Comparison, Rounds, compared, publish
from streams.cli_analytics import caught_up, seconds_of
from streams.cli_operations import put_in_force
from streams.cli_processes import Begun, begin, stay
from streams.errors import UsageError
from streams.fit import Fit, NotFitted, fitted, required
from streams.wiring import Invocation, run

EPOCH = dt.date(1970, 1, 1)


def register(app: typer.Typer) -> None:
    """Put the commands of this module onto the command line."""
    app.command()(fit)
    app.command()(calibration)


def fit(
    ctx: typer.Context,
    by: Annotated[str, typer.Option(help="who fits")] = "",
    why: Annotated[str, typer.Option(help="why, if not for the day")] = "the daily fit",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only show what would be put in force")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="for a machine")] = False,
) -> None:
    """Fit P(alive) to all purchases in ClickHouse and put its parameters in force, once a programme day."""
    invocation: Invocation = ctx.obj
    found, day, number = run(_fit(invocation, by or invocation.user(), why, dry_run=dry_run))
    date = _date(day)
    if as_json:
        print(json.dumps({"number": number, "day": day, "fit": None if found is None else found._asdict()}))
    elif found is None:
        print(f"the parameters of {date} are in force already")
    else:
        print(_words(found))
        if number:
            print(f"parameters {number} of {date} stand in all {invocation.settings.partitions} partitions")


async def _fit(invocation: Invocation, by: str, why: str, *, dry_run: bool) -> tuple[Fit | None, int, int]:
    """The fit (None = one of the day is in force), its day, and its number in the log (0 = not asked for)."""
    required()
    async with _asked(invocation) as asked:
        if not dry_run and asked.warm is not None and asked.warm.day >= asked.closed:
            return None, asked.warm.day, 0
        rows = await asyncio.to_thread(asked.known, asked.closed)
        found = await asyncio.to_thread(fitted, rows, asked.warm)
    control = found.record(asked.closed, by, why)
    return found, asked.closed, 0 if dry_run else await put_in_force(invocation, control)


def calibration(
    ctx: typer.Context,
    cut: Annotated[
        dt.datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="foretell from the end of this day on; else up to the last closed day"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="do not store it in ClickHouse")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="for a machine")] = False,
    every: Annotated[
        str | None, typer.Option(help="stay, compare again after 30m, 12h ..., and tell by metrics instead")
    ] = None,
) -> None:
    """Compare the purchases that P(alive) foretold for 30 days and 39 weeks with those that came, by tenths."""
    invocation: Invocation = ctx.obj
    if every is not None:
        if dry_run or as_json or cut is not None:
            raise UsageError("--every only tells by metrics", remedy="leave out --cut, --dry-run and --json")
        required()
        return run(_rounds(invocation, seconds_of(every), begin(invocation)))
    day = None if cut is None else (cut.date() - EPOCH).days
    found, left_out = run(_calibrated(invocation, day, dry_run=dry_run))
    if as_json:
        print(json.dumps([_plain(it) for it in found], indent=2))
    for it in () if as_json else found:
        over = f"{it.horizon} d, to {_date(it.cut + it.horizon)}"
        print(f"foretold at the end of {_date(it.cut)} for {over}, by tenths of all customers from the least likely on")
        invocation.out.print(_table(it))
        print(f"mean gap {it.gap:.4f}; {_words(it.fit)}")
    for line in left_out:
        invocation.err.print(line)
    if not found:
        raise UsageError("nothing could be foretold", remedy="the log needs a longer past, or more customers")


async def _calibrated(invocation: Invocation, cut: int | None, *, dry_run: bool) -> tuple[list[Comparison], list[str]]:
    """Each horizon that the log is old enough for, and why others are left out."""
    required()
    found, left_out = [], []
    async with _asked(invocation) as asked:
        for horizon in HORIZONS:
            if cut is not None and cut + horizon > asked.closed:
                left_out.append(f"{horizon} d: they are not over; the last closed day is {_date(asked.closed)}")
                continue
            try:
                found.append(await asyncio.to_thread(compared, asked, horizon, cut))
            except (UsageError, NotFitted) as error:
                left_out.append(f"{horizon} d: {error.what}")
    if not dry_run:
        messages = [message for it in found for message in it.messages(asked.log, asked.clock)]
        await publish(invocation.settings, messages)
    return found, left_out


async def _rounds(invocation: Invocation, every_s: int, begun: Begun) -> None:
    from streams.metrics import Metrics

    async def look() -> list[Comparison]:
        return (await _calibrated(invocation, None, dry_run=False))[0]

    await asyncio.to_thread(invocation.topic_id)
    metrics = Metrics("calibration")
    rounds = Rounds(look, CalibrationMetrics(metrics, invocation.wall), every_s=every_s)
    await stay(invocation, begun, "calibration", rounds, metrics)


@asynccontextmanager
async def _asked(invocation: Invocation) -> AsyncIterator[Asked]:
    """Where the log stands, with somebody to ask who has all its facts. Raises `UsageError`."""
    settings = invocation.settings
    async with invocation.store() as store:
        at = await control_log.standing(settings, store)
    calendar, clock = control_log.in_force(at).calendar, control_log.clock_of(at)
    held = [place.state.parameters for place in at.values() if place.state.parameters is not None]
    warm = min(held, key=lambda it: it.number) if len(held) == len(at) else None
    first = calendar.day(at[0].state.history_from)
    async with caught_up(invocation, at) as reader:
        yield Asked(reader, settings.log, calendar, first, calendar.day(clock) - 1, clock, warm)


def _date(day: int) -> dt.date:
    return EPOCH + dt.timedelta(days=day)


def _words(it: Fit) -> str:
    shown = f"r {it.r:.4g}, alpha {it.alpha:.4g} d, a {it.a:.4g}, b {it.b:.4g}"
    return f"fitted {shown} to {it.customers:,} customers (log-likelihood {it.log_likelihood:,.1f})"


def _table(it: Comparison) -> Table:
    table = Table("tenth", "customers", "foretold", "bought", "gap", box=None)
    for decile, tenth in enumerate(it.deciles, 1):
        shares = (tenth.predicted_share, tenth.bought_share, tenth.gap)
        table.add_row(str(decile), f"{tenth.customers:,}", *(f"{share:.3f}" for share in shares))
    return table


def _plain(it: Comparison) -> dict[str, Any]:
    return {
        "cut": str(_date(it.cut)),
        "horizon": it.horizon,
        "gap": it.gap,
        "fit": it.fit._asdict(),
        "deciles": [tenth._asdict() for tenth in it.deciles],
    }
