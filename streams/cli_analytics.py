"""Commands about ClickHouse: its migrations, and whether its rows are those of the facts topic."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from schemas.records import Thresholds
from streams import programme_log as control_log
from streams.cli_operations import bar, put_in_force
from streams.cli_processes import Begun, begin, stay
from streams.errors import RefusedToStart, TotalsDiffer, UsageError
from streams.wiring import Invocation, run

if TYPE_CHECKING:
    from streams.analytics import Reader

CAUGHT_UP_S, LOOK_S = 30.0, 0.2
"""How long facts may take into ClickHouse before a person is told, and how often is looked."""

EVERY_MIN_S, EVERY_MAX_S = 60, 43_200
"""A day without a comparison is an alert: a round must come well before."""


thresholds = typer.Typer(
    no_args_is_help=True, help="Population values of a programme day: the most active, quintiles, classes."
)


def register(app: typer.Typer) -> None:
    """Put the commands of this module onto the command line."""
    app.command()(migrate)
    app.command()(reconcile)
    app.add_typer(thresholds, name="thresholds")


def migrate(
    ctx: typer.Context,
    status: Annotated[bool, typer.Option("--status", help="only say what was applied and what is pending")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the statements that would be carried out")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="for a machine")] = False,
) -> None:
    """Bring ClickHouse's tables to what this release needs, by numbered SQL. The sink of chdb does it by itself."""
    from streams import migrations
    from streams.analytics import open_store

    invocation: Invocation = ctx.obj
    if status and dry_run:
        raise UsageError("--status and --dry-run exclude each other", remedy="--status changes nothing either")
    store = open_store(invocation.settings.clickhouse)
    try:
        found = migrations.status(store) if status else migrations.migrate(store, dry_run=dry_run)
        told = migrations.status(store) if as_json else found
    finally:
        store.close()
    if as_json:
        print(json.dumps([it._asdict() for it in told], indent=2))
    elif status:
        table = Table("number", "name", "state", box=None)
        for it in found:
            table.add_row(f"{it.version:04}", it.name, it.state)
        invocation.out.print(table)
    elif not found:
        print("nothing is pending")
    for it in () if status or as_json else found:
        print(f"{'would apply' if dry_run else 'applied'} {it.name}")
        if dry_run:
            print("".join(f"\n{statement};\n" for statement in migrations.statements(it.version)))
    wrong = [it for it in found if it.state not in ("applied", "pending")]
    if status and wrong:
        what = f"migration {wrong[0].version:04} ({wrong[0].name}) is {wrong[0].state}"
        raise RefusedToStart(what, remedy="restore the file, and correct it by a new migration")


def reconcile(
    ctx: typer.Context,
    repair: Annotated[
        bool, typer.Option("--repair", help="insert again what differs; with chdb the sink must be stopped")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="for a machine")] = False,
    every: Annotated[
        str | None, typer.Option(help="stay, compare again after 30m, 1h ..., and tell by metrics instead")
    ] = None,
) -> None:
    """Compare the rows in ClickHouse with the facts topic, block by block; exit code 3 when they differ."""
    invocation: Invocation = ctx.obj
    if every is not None:
        if repair or as_json:
            raise UsageError("--every only tells by metrics", remedy="leave out --repair and --json")
        return run(_rounds(invocation, seconds_of(every), begin(invocation)))
    found, missing, left = run(_reconcile(invocation, repair=repair))
    if as_json:
        print(json.dumps({"differ": [it._asdict() for it in found], "missing": missing, "left": len(left)}, indent=2))
    else:
        for it in found:
            print(it)
    if left:
        again = "insert them again with `memberflow reconcile --repair`"
        remedy = "rows that no fact has stay: look at them" if repair else again
        raise TotalsDiffer(f"{len(left)} blocks differ from the facts topic", remedy=remedy)
    if missing:
        raise TotalsDiffer(f"{missing} facts are missing in ClickHouse", remedy="is the sink running behind, or a gap?")
    if not as_json:
        print(f"{len(found)} blocks repaired" if found else "every row is a fact, every fact a row")


def seconds_of(text: str) -> int:
    """`--every` as seconds. Raises `UsageError`."""
    found = re.fullmatch(r"(\d{1,5})([mh])", text)
    seconds = int(found[1]) * {"m": 60, "h": 3_600}[found[2]] if found else 0
    if not EVERY_MIN_S <= seconds <= EVERY_MAX_S:
        raise UsageError(f"--every {text} is not between 1m and 12h", remedy="write 30m or 1h")
    return seconds


@thresholds.command("publish")
def thresholds_publish(
    ctx: typer.Context,
    by: Annotated[str, typer.Option(help="who publishes them")] = "",
    why: Annotated[str, typer.Option(help="why, if not for the day")] = "the daily thresholds",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only show what would be published")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="for a machine")] = False,
) -> None:
    """Compute the thresholds of the last closed programme day from ClickHouse and put them in force, once a day."""
    invocation: Invocation = ctx.obj
    control, number = run(_publish(invocation, by or invocation.user(), why, dry_run=dry_run))
    if as_json:
        print(json.dumps({"number": number, "day": control.day, "values": control.values, "counts": control.counts}))
        return
    day = dt.date(1970, 1, 1) + dt.timedelta(days=control.day)
    for name, values in control.values.items():
        print(f"{name}: {', '.join(f'{value:g}' for value in values)} (of {control.counts[name]:,} members)")
    if not control.values:
        print("no member has any of them: no threshold, nothing is guessed")
    if number:
        print(f"thresholds {number} of {day} stand in all {invocation.settings.partitions} partitions")
    elif not dry_run:
        print(f"the thresholds of {day} are in force already")


async def _publish(invocation: Invocation, by: str, why: str, *, dry_run: bool) -> tuple[Thresholds, int]:
    """The record, and its number in the log; 0 = it was in force already, or not asked for."""
    from streams import thresholds as population

    settings = invocation.settings
    async with invocation.store() as store:
        at = await control_log.standing(settings, store)
    rules = control_log.in_force(at)
    day = rules.calendar.day(control_log.clock_of(at)) - 1
    held = [place.state.thresholds for place in at.values()]
    if not dry_run and all(one is not None and one.day >= day for one in held) and held[0]:
        return held[0], 0
    async with caught_up(invocation, at) as reader:
        found = await asyncio.to_thread(population.taken, reader, settings.log, rules, day)
    control = population.record(found, rules, day, by, why)
    return control, 0 if dry_run else await put_in_force(invocation, control)


@asynccontextmanager
async def caught_up(invocation: Invocation, at: Mapping[int, control_log.Standing]) -> AsyncIterator[Reader]:
    """Who has all facts that were published where the log stands. Raises `UsageError` where some do not come."""
    from streams.analytics import open_reader
    from streams.thresholds import behind

    settings = invocation.settings
    reader: Reader = await asyncio.to_thread(open_reader, settings.clickhouse)
    try:
        written = {partition: place.state.n for partition, place in at.items()}
        loop = asyncio.get_running_loop()
        until = loop.time() + CAUGHT_UP_S
        while late := await asyncio.to_thread(behind, reader, settings.log, written):
            if loop.time() > until:
                what = f"ClickHouse has not all facts of partitions {', '.join(map(str, late))} yet"
                raise UsageError(what, remedy="is the sink running? try again in some seconds")
            await asyncio.sleep(LOOK_S)
        yield reader
    finally:
        await asyncio.to_thread(reader.close)


async def _rounds(invocation: Invocation, every_s: int, begun: Begun) -> None:
    from streams.analytics import open_reader
    from streams.landing import Source
    from streams.metrics import Metrics, ReconcilerMetrics
    from streams.reconciler import Rounds

    settings, metrics = invocation.settings, Metrics("reconciler")
    await asyncio.to_thread(invocation.topic_id)
    reader = open_reader(settings.clickhouse)
    source = Source(settings.log, settings.kafka.bootstrap)
    told = ReconcilerMetrics(metrics, invocation.wall)
    try:
        await stay(invocation, begun, "reconciler", Rounds(source, reader, told, every_s=every_s), metrics)
    finally:
        await asyncio.to_thread(reader.close)


async def _reconcile(invocation: Invocation, *, repair: bool) -> tuple[list[Any], int, list[Any]]:
    """The blocks that differ, how many numbers are missing in the table, and the blocks that still differ."""
    from streams.analytics import open_reader, open_store
    from streams.landing import Source
    from streams.reconciler import Reconciler

    settings = invocation.settings
    store: Any = await asyncio.to_thread(open_store if repair else open_reader, settings.clickhouse)
    try:
        reconciler = Reconciler(Source(settings.log, settings.kafka.bootstrap), store)
        with bar(invocation, "comparing blocks", None) as advance:
            found = left = await reconciler.check()
            if repair and found:
                for mismatch in found:
                    await reconciler.repair(mismatch, store)
                    advance()
                left = await reconciler.check()
        return found, sum(it.missing for it in reconciler.completeness()), left
    finally:
        await asyncio.to_thread(store.close)
