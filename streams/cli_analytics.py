"""Commands about ClickHouse: its migrations, and whether its rows are those of the facts topic."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import typer
from rich.table import Table

from streams.cli_operations import bar
from streams.errors import RefusedToStart, TotalsDiffer
from streams.wiring import Invocation, run


def register(app: typer.Typer) -> None:
    """Put the commands of this module onto the command line."""
    app.command()(migrate)
    app.command()(reconcile)


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
) -> None:
    """Compare the rows in ClickHouse with the facts topic, block by block; exit code 3 when they differ."""
    invocation: Invocation = ctx.obj
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


async def _reconcile(invocation: Invocation, *, repair: bool) -> tuple[list[Any], int, list[Any]]:
    """The blocks that differ, how many numbers are missing in the table, and the blocks that still differ."""
    from streams.analytics import open_reader, open_store
    from streams.reconciler import Reconciler
    from streams.sink import Source

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
