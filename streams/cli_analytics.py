"""Commands about ClickHouse: its migrations, and whether its rows are those of the facts topic."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table

from streams.errors import RefusedToStart
from streams.wiring import Invocation


def register(app: typer.Typer) -> None:
    """Put the commands of this module onto the command line."""
    app.command()(migrate)


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
