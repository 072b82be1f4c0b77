"""Commands of staff: points given and taken in bulk, what members bring along, and the lists to start from."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from processors.calendar import DAY_MS
from streams import adjusting, importer, openings, staff_lists
from streams import programme_log as control_log
from streams.analytics import open_reader
from streams.cli_analytics import caught_up
from streams.cli_inspect import imports
from streams.cli_operations import AsJson, bar
from streams.errors import InputInvalid, TotalsDiffer, UsageError
from streams.failpoints import Failpoints, parse
from streams.keys import private_key
from streams.money import Money, money_of
from streams.staff_records import Desk, Signer, read_lines
from streams.wiring import Invocation, broker, run

AsCsv = Annotated[bool, typer.Option("--csv", help="as a file for `memberflow adjust`")]
Reason = Annotated[str, typer.Option(help="why, for whoever reads the ledger later")]
Approve = Annotated[str, typer.Option(help="who has approved it: somebody else")]
By = Annotated[str, typer.Option(help="who decides it; without it, who runs this")]
Patience = Annotated[float, typer.Option(min=0, help="seconds to wait for workers, and for the sink")]
Days = Annotated[int, typer.Option(min=1, help="what was judged in the last so many days")]
Limit = Annotated[int, typer.Option(min=1, max=1_000_000, help="so many, the oldest first")]
LOOK_S = 0.5
SHOWN = ("member_id", "action", "source", "event_id", "happened", "order_id", "redeem_id", "amount")

late = typer.Typer(no_args_is_help=True, help="Actions that came too late to count.")
orphans = typer.Typer(no_args_is_help=True, help="Refunds and cancels whose order or redeem never came.")


def register(app: typer.Typer) -> None:
    """Put the commands of this module onto the command line."""
    app.add_typer(late, name="late")
    app.add_typer(orphans, name="orphans")
    app.command()(adjust)


# -- lists --------------------------------------------------------------------------------------------------------


@late.command("list")
def late_list(
    ctx: typer.Context, days: Days = 30, limit: Limit = 10_000, as_csv: AsCsv = False, as_json: AsJson = False
) -> None:
    """Actions older than the horizon: never paid, unless staff adjust."""
    _list(ctx.obj, staff_lists.LATE, days, limit, as_csv=as_csv, as_json=as_json)


@orphans.command("list")
def orphans_list(
    ctx: typer.Context, days: Days = 30, limit: Limit = 10_000, as_csv: AsCsv = False, as_json: AsJson = False
) -> None:
    """Refunds and cancels without effect: what they belong to never came."""
    _list(ctx.obj, staff_lists.ORPHANS, days, limit, as_csv=as_csv, as_json=as_json)


def _list(invocation: Invocation, kinds: Sequence[str], days: int, limit: int, *, as_csv: bool, as_json: bool) -> None:
    if as_csv and as_json:
        raise UsageError("--csv and --json exclude each other", remedy="choose one")
    reader = open_reader(invocation.settings.clickhouse)
    try:
        since = invocation.now_ms() - days * DAY_MS
        rows = staff_lists.listed(reader, invocation.settings.log, kinds, since, limit)
    finally:
        reader.close()
    if as_json:
        print(json.dumps([row._asdict() for row in rows], ensure_ascii=False, indent=2))
    elif as_csv:
        print(staff_lists.as_csv(rows), end="")
    else:
        table = Table(*SHOWN, box=SIMPLE_HEAD)
        for row in rows:
            table.add_row(*(getattr(row, name) for name in SHOWN))
        invocation.out.print(table if rows else f"none in the last {days} days")


# -- adjust -------------------------------------------------------------------------------------------------------


def adjust(
    ctx: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="CSV or JSON lines: member_id, points")] = None,
    reason: Reason = "",
    approve: Approve = "",
    by: By = "",
    undo: Annotated[str, typer.Option(metavar="BATCH", help="instead: undo this batch as a whole")] = "",
    apply: Annotated[bool, typer.Option("--apply", help="do it; without, only say what would be done")] = False,
    patience: Patience = 120.0,
) -> None:
    """Give and take points by a file's rows, each at most once; by two people. A batch can be undone as a whole."""
    invocation: Invocation = ctx.obj
    if (file is None) == (not undo):
        raise UsageError("adjust what?", remedy="name a file, or a batch with --undo")
    signer = _signer(invocation, reason, by, approve)
    if file is not None:
        run(_adjust(invocation, file, signer, patience, apply=apply))
    else:
        run(_undo(invocation, undo, signer, patience, apply=apply))


async def _adjust(invocation: Invocation, file: Path, signer: Signer, patience: float, *, apply: bool) -> None:
    lines = read_lines(file)
    rows = adjusting.rows_of(lines, signer)
    async with _desk(invocation, signer, patience) as (desk, money):
        await desk.caught_up()
        members = [row.member_id for row in rows]
        left = adjusting.left(rows, await desk.states(members), lines.digest)
        _tell_totals("would book" if not apply else "books", lines.digest, left, len(rows) - len(left), money)
        if not apply or not left:
            return
        with bar(invocation, "booking", len(left)) as advance:
            await desk.append([(row.member_id, row.value) for row in left], advance)
        missing = adjusting.left(rows, await desk.states(members), lines.digest)
    if missing:
        what = f"{len(missing)} rows were not booked, the first is row {missing[0].number}"
        raise TotalsDiffer(what, remedy="see `memberflow dlq list`, then run the same command again")
    print(f"booked; undo it with `memberflow adjust --undo {lines.digest}`")


def _tell_totals(verb: str, batch: str, rows: Sequence[adjusting.Row], booked: int, money: Money) -> None:
    it = adjusting.totals((row.member_id, row.points) for row in rows)
    already = f", {booked} rows are booked already" if booked else ""
    print(f"batch {batch} {verb} {it.rows} rows of {it.members} members{already}")
    for what, points in (("given", it.given), ("taken", it.taken), ("net", it.given - it.taken)):
        print(f"{what}: {points:,} points, {money.words(points)}")


async def _undo(invocation: Invocation, batch: str, signer: Signer, patience: float, *, apply: bool) -> None:
    async with _desk(invocation, signer, patience) as (desk, money):
        await desk.caught_up()
        async with caught_up(invocation, await control_log.standing(invocation.settings, desk.store)) as reader:
            members = await asyncio.to_thread(adjusting.members_of, reader, invocation.settings.log, batch)
        if not members:
            what = f"ClickHouse has no entry of a batch {batch}"
            raise UsageError(what, remedy="check its name, and that the sink runs")
        before = adjusting.standing(await desk.states(members), batch)
        it = adjusting.totals(before)
        net = it.given - it.taken
        verb = "undoes" if apply else "would undo"
        print(f"batch {batch}: {verb} {it.rows} rows of {it.members} members")
        print(f"net: {-net:,} points, {money.words(-net)}")
        if not apply or not before:
            return
        standing = list(dict.fromkeys(member for member, _ in before))
        with bar(invocation, "undoing", len(standing)) as advance:
            await desk.append(adjusting.undoing(standing, batch, signer), advance)
        if left := adjusting.standing(await desk.states(members), batch):
            what = f"{len(left)} rows of batch {batch} still stand"
            raise TotalsDiffer(what, remedy="see `memberflow dlq list`, then run the same command again")
    print("undone")


# -- opening ------------------------------------------------------------------------------------------------------


@imports.command("opening")
def import_opening(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="CSV or JSON lines, one line a member")],
    approve: Approve,
    reason: Reason = "moved from the programme before",
    by: By = "",
    patience: Patience = 120.0,
) -> None:
    """Balances that members bring along from an older programme: once a member, to the point; by two people."""
    invocation: Invocation = ctx.obj
    run(_opening(invocation, file, _signer(invocation, reason, by, approve), patience))


async def _opening(invocation: Invocation, file: Path, signer: Signer, patience: float) -> None:
    lines = read_lines(file)
    rows = openings.rows_of(lines, signer)
    wanted = openings.totals_of(rows)
    print(f"{file}: {wanted.members:,} members, {wanted.points:,} points, {wanted.debt:,} debt")
    async with _desk(invocation, signer, patience) as (desk, _):
        await desk.caught_up()
        members = [row.member_id for row in rows]
        left, held, others = openings.sort_out(rows, await desk.states(members), lines.digest)
        if others:
            what = f"{len(others)} members have brought something along already, the first is {others[0]}"
            raise InputInvalid(what, remedy="take them out of the file: it is once a member")
        if held.members:
            print(f"{held.members:,} of them are in already")
        with bar(invocation, "importing members", len(left)) as advance:
            await desk.append([(row.member_id, row.value) for row in left], advance)
        _, held, _ = openings.sort_out(rows, await desk.states(members), lines.digest)
    _same("the members' states", held, wanted)
    await _in_clickhouse(invocation, lines.digest, wanted, patience)
    print("totals in the members' states and in ClickHouse are those of the file")


async def _in_clickhouse(invocation: Invocation, digest: str, wanted: openings.Totals, patience: float) -> None:
    """Wait until the sink has brought everything to ClickHouse."""
    loop = asyncio.get_running_loop()
    until = loop.time() + patience
    reader = open_reader(invocation.settings.clickhouse)
    try:
        while True:
            found = await asyncio.to_thread(openings.in_clickhouse, reader, invocation.settings.log, digest)
            if found == wanted or loop.time() > until:
                return _same("ClickHouse", found, wanted)
            await asyncio.sleep(LOOK_S)
    finally:
        reader.close()


def _same(where: str, found: openings.Totals, wanted: openings.Totals) -> None:
    if found != wanted:
        what = f"{where}: {found.members:,} members, {found.points:,} points, {found.debt:,} debt, not as in the file"
        raise TotalsDiffer(what, remedy="see `memberflow dlq list`; run the same command again, it does what is left")


# -- both ---------------------------------------------------------------------------------------------------------


def _signer(invocation: Invocation, reason: str, by: str, approve: str) -> Signer:
    """Who signs, with whose approval. Raises `UsageError` for one person alone, or no reason."""
    by = by or invocation.user()
    control_log.check_two_people(by, approve, "--approve")
    if not reason.strip():
        raise UsageError("there is no reason", remedy="say why with --reason")
    keys = invocation.settings.keys
    return Signer(
        private_key(keys.folder, keys.staff), reason.strip(), by.strip(), approve.strip(), invocation.now_ms()
    )


@asynccontextmanager
async def _desk(invocation: Invocation, signer: Signer, patience: float) -> AsyncIterator[tuple[Desk, Money]]:
    """The log and its states, and the worth of a point. Raises `UsageError` for a log that cannot be written yet."""
    settings = invocation.settings
    with broker(settings) as client:
        if importer.stamp_of(settings, client) != "LogAppendTime":
            what = f"log {settings.log} takes history still"
            raise UsageError(what, remedy="end the import first with `memberflow import --finish`")
    async with invocation.store() as store:
        at = await control_log.standing(settings, store)
        control_log.check_may_sign(at, signer.key)
        rules = control_log.in_force(at)
        fail = Failpoints(parse(invocation.environ.get("CRASH_AT", "")))
        desk = Desk(settings, invocation.topics.actions.name, store, patience, fail)
        yield desk, money_of(rules, 0)
