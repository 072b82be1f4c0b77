"""Commands that look into the state or bring it back: member, audit, snapshot, rebuild, import."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from processors.calendar import Calendar
from processors.output import Failure
from schemas.programme import Programme
from schemas.topics import DEFAULT_LOG, topics
from streams import audit as auditing
from streams import histories, importer, member_words, snapshot
from streams import topics as topic_admin
from streams.analytics import open_reader
from streams.bootstrap import bootstrap
from streams.cli_operations import bar
from streams.dead_letters import rule_failures
from streams.errors import StateExists, TotalsDiffer, UsageError
from streams.keys import private_key
from streams.log_reader import LogReader
from streams.rebuild import Rebuilder, Rebuilt
from streams.store import StateStore
from streams.time_machine import TimeMachine
from streams.wiring import Invocation, broker, run

SNAPSHOTS = Path(".stack/snapshots")
AsJson = Annotated[bool, typer.Option("--json", help="for a machine")]

member = typer.Typer(no_args_is_help=True, help="One member.")
imports = typer.Typer(help="History into a log, before it opens to live traffic.")


def register(app: typer.Typer) -> None:
    """Put the commands of this module onto the command line."""
    app.add_typer(member, name="member")
    app.add_typer(imports, name="import")
    app.command()(audit)
    app.command("snapshot")(take_snapshot)
    app.command()(rebuild)


# -- a member -----------------------------------------------------------------------------------------------------


@member.command("show")
def member_show(
    ctx: typer.Context,
    member_id: Annotated[str, typer.Argument(metavar="ID")],
    at: Annotated[
        str, typer.Option(metavar="MOMENT", help="as it was then; of a moment to come, as timers alone will make it")
    ] = "",
    begin: Annotated[Path, typer.Option("--from", help="folder of snapshots, for the past")] = SNAPSHOTS,
    as_json: AsJson = False,
) -> None:
    """What is known of a member: points, score, tiers, since when, why, and what comes next."""
    invocation: Invocation = ctx.obj
    with uncollected():
        found = run(_member_at(invocation, member_id, at, begin) if at else _member(invocation, member_id))
    if as_json:
        print(json.dumps(member_words.as_data(found), ensure_ascii=False, indent=2))
        return
    table = Table.grid(padding=(0, 2))
    for label, text in member_words.words(found):
        table.add_row(label, text)
    invocation.out.print(table)


async def _member(invocation: Invocation, member_id: str) -> member_words.Shown:
    async with invocation.store() as store:
        return await member_words.look_up(invocation.settings, store, member_id)


async def _member_at(invocation: Invocation, member_id: str, at: str, folder: Path) -> member_words.Shown:
    async with time_machine(invocation, folder) as machine:
        return await machine.show(member_id, at)


@asynccontextmanager
async def time_machine(invocation: Invocation, folder: Path) -> AsyncIterator[TimeMachine]:
    """What looks into the past of the log."""
    settings, names = invocation.settings, invocation.topics

    async def skips(partition: int) -> dict[int, Failure]:
        return await rule_failures(settings.kafka.bootstrap, names.dead_letters.name, partition)

    async with invocation.store() as store, LogReader(settings.kafka.bootstrap, names.actions.name) as reader:
        with bar(invocation, "folding the log", None) as advance:
            yield TimeMachine(settings, store, reader, skips, folder=folder, progress=advance)


@contextmanager
def uncollected() -> Iterator[None]:
    """No search for cycles meanwhile: a fold makes none, and among a million buckets it is dear."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


# -- audit --------------------------------------------------------------------------------------------------------


def audit(
    ctx: typer.Context,
    as_json: AsJson = False,
    patience: Annotated[float, typer.Option(min=0, help="seconds to wait for the sink")] = auditing.PATIENCE_S,
) -> None:
    """Compare Redis, a replay of the log and ClickHouse at one offset per partition; exit code 3 if they differ."""
    invocation: Invocation = ctx.obj
    with uncollected():
        found = run(_audit(invocation, patience))
    if as_json:
        data = msgspec.to_builtins(found) | {"differences": found.differences}
        data |= {store: msgspec.to_builtins(found.total(store)) for store in ("redis", "replay", "clickhouse")}
        print(json.dumps(data, indent=2))
    else:
        for table in auditing.tables(found):
            invocation.out.print(table)
    if found.differences:
        more = f" (and {len(found.differences) - 1} more)" if len(found.differences) > 1 else ""
        raise TotalsDiffer(f"{found.differences[0]}{more}")
    if not as_json:
        print("equal: Redis, the log replayed, and ClickHouse")


async def _audit(invocation: Invocation, patience: float) -> auditing.Audit:
    settings = invocation.settings
    reader = open_reader(settings.clickhouse)
    async with invocation.store() as store:
        try:
            await asyncio.to_thread(reader.probe)
            offsets = await store.offsets(range(settings.partitions))
            with bar(invocation, "replaying the log", sum(it or 0 for it in offsets.values())) as advance:
                return await auditing.Auditor(settings, store, reader, progress=advance, patience_s=patience).run()
        finally:
            reader.close()


# -- snapshot and rebuild -----------------------------------------------------------------------------------------


def take_snapshot(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(help="where the newest three of each partition are kept")] = SNAPSHOTS,
) -> None:
    """Write an image of every partition; workers go on meanwhile."""
    invocation: Invocation = ctx.obj
    for path, it in run(_snapshot(invocation, folder)):
        dump = it.dump
        print(f"{path}: partition {it.partition} at {dump.next_offset}, {len(dump.states)} members, digest {it.digest}")


async def _snapshot(invocation: Invocation, folder: Path) -> list[tuple[Path, snapshot.Snapshot]]:
    settings = invocation.settings
    async with invocation.store() as store:
        with bar(invocation, "taking images", settings.partitions) as advance:
            return await snapshot.take(store, settings.log, settings.partitions, folder, progress=advance)


def rebuild(
    ctx: typer.Context,
    partitions: Annotated[list[int] | None, typer.Argument(metavar="[P]...", help="without: all partitions")] = None,
    begin: Annotated[
        Path | None, typer.Option("--from", help="folder of snapshots to begin with; without, the log alone")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="also partitions that have state and are not halted")
    ] = False,
) -> None:
    """Make lost state again from the log, publishing nothing; workers take the partitions up by themselves."""
    invocation: Invocation = ctx.obj
    settings = invocation.settings
    wanted = sorted(set(partitions or range(settings.partitions)))
    if wanted[0] < 0 or wanted[-1] >= settings.partitions:
        raise UsageError(f"there is no partition {wanted[-1]}", remedy=f"the log has 0 to {settings.partitions - 1}")
    with uncollected():
        rebuilt = run(_rebuild(invocation, wanted, begin, replace=replace))
    for it in rebuilt:
        place = f"partition {it.partition} stands at {it.next_offset}, folded from {it.began_at}"
        print(f"{place}: {it.members} members, digest {it.digest}")


async def _rebuild(
    invocation: Invocation, partitions: list[int], folder: Path | None, *, replace: bool
) -> list[Rebuilt]:
    topic_id = await asyncio.to_thread(invocation.topic_id)
    async with invocation.store() as store:
        await store.check()
        with bar(invocation, "folding the log", None) as advance:
            rebuilder = Rebuilder(invocation.settings, store, topic_id, folder=folder, progress=advance)
            return await rebuilder.run(partitions, replace=replace)


# -- import -------------------------------------------------------------------------------------------------------


@imports.callback(invoke_without_command=True)
def import_finish(
    ctx: typer.Context,
    finish: Annotated[bool, typer.Option("--finish", help="end the import: open the log to live traffic")] = False,
) -> None:
    """History into a log, before it opens to live traffic."""
    invocation: Invocation = ctx.obj
    if ctx.invoked_subcommand is not None:
        if finish:
            raise UsageError("--finish stands alone", remedy="import first, then run `memberflow import --finish`")
        return
    if not finish:
        raise UsageError("import what?", remedy="see `memberflow import --help`")
    changed = run(_finish(invocation))
    told = "is open to live traffic" if changed else "was open already"
    print(f"log {invocation.settings.log} {told}: the broker's clock stamps what comes from now on")


async def _finish(invocation: Invocation) -> bool:
    settings = invocation.settings
    await asyncio.to_thread(invocation.topic_id)
    programme, _ = await importer.first_programme(settings)
    async with invocation.store() as store, _importer(invocation, store, programme) as it:
        await it.caught_up()
    with broker(settings) as client:
        return importer.finish(settings, client)


@imports.command("cdnow")
def import_cdnow(ctx: typer.Context, file: Annotated[Path, typer.Argument(help="the CDNOW sample")]) -> None:
    """Real purchases of 1997 and 1998 into a log of their own, which is begun if it is not there."""
    invocation: Invocation = ctx.obj
    if invocation.settings.log == DEFAULT_LOG:
        what = f"{DEFAULT_LOG} is the live log, and an import that ends in the past needs one of its own"
        raise UsageError(what, remedy="set MEMBERFLOW_LOG=cdnow-1, and run a worker and a sink with the same")
    _tell(run(_cdnow(invocation, file)))


async def _cdnow(invocation: Invocation, file: Path) -> importer.Imported:
    settings = invocation.settings
    text = (resources.files("schemas") / "programmes" / "cdnow.yaml").read_text()
    shipped = importer.calendar_of(text)
    entries = histories.cdnow(file, shipped, settings.partitions)
    await _begin(invocation, text)
    programme, _ = await importer.first_programme(settings)
    if "USD" not in programme.currencies:
        what = f"log {settings.log} has begun with the programme {programme.name}, which does not list USD"
        raise UsageError(what, remedy="set MEMBERFLOW_LOG to a name that was never used")
    plan = importer.plan(entries, shipped, histories.cdnow_end(entries, shipped))
    return await _import(invocation, programme, plan)


async def _begin(invocation: Invocation, text: str) -> None:
    """Topics and first programme of a log of history, unless it has begun."""
    settings = invocation.settings
    sign = private_key(settings.keys.folder, settings.keys.staff)
    wanted = topics(settings.log, partitions=settings.partitions, history=True)
    with broker(settings) as client:
        topic_admin.apply(client, wanted.all(), replication=settings.kafka.replication)
    async with invocation.store() as store:
        await store.check()
        topic_id = await asyncio.to_thread(invocation.topic_id)
        by, since = invocation.user() or "import", histories.CDNOW_BEGINS_MS
        with suppress(StateExists):  # it has begun: the import goes on where it stopped
            await bootstrap(settings, store, topic_id, text, sign, by=by, history_from=since)


@imports.command("history")
def import_history(
    ctx: typer.Context, file: Annotated[Path, typer.Argument(help="actions as JSON lines, in any order")]
) -> None:
    """Actions of the past into a log that was begun with `bootstrap --history`; then `import --finish`."""
    invocation: Invocation = ctx.obj
    _tell(run(_history(invocation, file)))


async def _history(invocation: Invocation, file: Path) -> importer.Imported:
    settings, now = invocation.settings, invocation.now_ms()
    await asyncio.to_thread(invocation.topic_id)
    programme, begun = await importer.first_programme(settings)
    entries = histories.history(file, begun, settings.partitions, now)
    calendar = Calendar(programme.zone, programme.day_starts_at)
    last = max((entry.at for entry in entries), default=begun.history_from)
    end = min(calendar.day_start(calendar.day(last) + 1), now)
    return await _import(invocation, programme, importer.plan(entries, calendar, end))


async def _import(invocation: Invocation, programme: Programme, plan: importer.Plan) -> importer.Imported:
    with broker(invocation.settings) as client:
        importer.check_stamp(invocation.settings, client)
    async with invocation.store() as store, _importer(invocation, store, programme) as it:
        days = await it.remaining(plan)
        with bar(invocation, "importing days", len(days)) as advance:
            return await it.run(plan, days, progress=advance)


def _importer(invocation: Invocation, store: StateStore, programme: Programme) -> importer.Importer:
    calendar = Calendar(programme.zone, programme.day_starts_at)
    return importer.Importer(invocation.settings, store, calendar, notice=invocation.err.print)


def _tell(done: importer.Imported) -> None:
    skipped = f"; {done.skipped} actions lie on days that were in the log already" if done.skipped else ""
    print(f"imported {done.actions} actions of {done.days} days{skipped}")
