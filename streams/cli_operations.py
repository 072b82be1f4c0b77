"""Commands that run a log: its programme, its partitions, its dead letters, sending, and the doctor."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.box import SIMPLE_HEAD
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from processors.control import AHEAD_MS
from schemas.partition import PartitionState
from schemas.records import MOMENT_MAX, Control, GoLive, ProgrammeControl
from schemas.verdicts import Reason
from streams import programme_log as control_log
from streams.bootstrap import SERIES, programme_text
from streams.dlq import DeadLetters, Letter
from streams.doctor import Doctor
from streams.errors import InputInvalid, RefusedToStart, UsageError
from streams.keys import private_key
from streams.log_reader import LogReader
from streams.sender import BadLine, Sent, send
from streams.store import Header
from streams.terminal import visible
from streams.wiring import Invocation, run

AsJson = Annotated[bool, typer.Option("--json", help="for a machine")]
Why = Annotated[str, typer.Option(help="the reason, for whoever reads the log later")]
By = Annotated[str, typer.Option(help="who changes it")]
ApprovedBy = Annotated[str, typer.Option(help="who has approved it: somebody else")]
File = Annotated[Path, typer.Argument(help="a programme in YAML")]

programme = typer.Typer(no_args_is_help=True, help="The rules and numbers of the business.")
partition = typer.Typer(no_args_is_help=True, help="The partitions of the log.")
dlq = typer.Typer(no_args_is_help=True, help="Dead letters: what was refused.")
outreach = typer.Typer(no_args_is_help=True, help="Messages to members.")


def register(app: typer.Typer) -> None:
    """Put the commands of this module onto the command line."""
    for group, name in ((programme, "programme"), (partition, "partition"), (dlq, "dlq"), (outreach, "outreach")):
        app.add_typer(group, name=name)
    app.command("send")(send_file)
    app.command()(doctor)


@contextmanager
def bar(invocation: Invocation, what: str, total: int | None) -> Iterator[Any]:
    """A progress bar on stderr where a person watches; call what it yields with how much was done."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=invocation.err, transient=True, disable=not invocation.err.is_terminal) as shown:
        task = shown.add_task(what, total=total)
        yield lambda done=1: shown.advance(task, done)


# -- programme --------------------------------------------------------------------------------------------------


@programme.command("apply")
def programme_apply(
    ctx: typer.Context,
    file: File,
    why: Why,
    by: By,
    approved_by: ApprovedBy,
    holds_from: Annotated[
        str, typer.Option(help="2026-05-01T00:00:00+08:00, or from now on: +90s, +10m, +2h, +1d")
    ] = "+90s",
) -> None:
    """Put a programme into the log: signed, by two people, from a moment at least 60 s ahead."""
    invocation: Invocation = ctx.obj
    text = programme_text(file)
    control_log.check_two_people(by, approved_by)
    moment = moment_of(holds_from, invocation.now_ms())
    control = ProgrammeControl(
        id=SERIES, number=1, by=by, approved_by=approved_by, why=why, text=text, holds_from=moment
    )
    number = run(put_in_force(invocation, control))
    shown = datetime.fromtimestamp(moment / 1000, UTC).isoformat(timespec="seconds")
    print(f"programme {number} stands in all {invocation.settings.partitions} partitions and holds from {shown}")


@outreach.command("go-live")
def outreach_go_live(ctx: typer.Context, why: Why, by: By, approved_by: ApprovedBy) -> None:
    """Allow that members are contacted from now on: signed, by two people."""
    invocation: Invocation = ctx.obj
    control_log.check_two_people(by, approved_by)
    control = GoLive(id="outreach", number=1, by=by, approved_by=approved_by, why=why)
    number = run(put_in_force(invocation, control))
    print(f"go_live {number} stands in all {invocation.settings.partitions} partitions: members may be contacted")


async def put_in_force(invocation: Invocation, control: Control) -> int:
    """Number a control record, sign it, put it into every partition; returns its number."""

    settings, topic = invocation.settings, invocation.topics.actions.name
    sign = private_key(settings.keys.folder, settings.keys.staff)
    async with invocation.store() as store:
        at = await control_log.standing(settings, store)
    control_log.check_may_sign(at, sign)
    with bar(invocation, "reading what waits in the log", None) as advance:
        waiting = await control_log.unread(settings, topic, at, advance)
    number = control_log.next_number(control, at, waiting)
    control = msgspec.structs.replace(control, number=number)
    stamps = {partition: place.state.clock for partition, place in at.items()}
    with bar(invocation, "appending and reading back", settings.partitions) as advance:
        stamped = await control_log.spread(settings, topic, control_log.sealed(control, sign), stamps, advance)
    control_log.check_stamps(control, stamped)
    return number


def moment_of(text: str, now: int) -> int:
    """`--holds-from` as ms. Raises `UsageError` for what is no moment, or too near."""
    units = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
    if ahead := re.fullmatch(r"\+(\d{1,6})([smhd])", text):
        moment = now + int(ahead[1]) * units[ahead[2]]
    else:
        try:
            parsed = datetime.fromisoformat(text)
        except ValueError:
            parsed = None
        if parsed is None or parsed.tzinfo is None:
            what = f"--holds-from {text} is not a moment with an offset from UTC"
            raise UsageError(what, remedy="write 2026-05-01T00:00:00+08:00, or +90s, +10m, +2h, +1d")
        moment = round(parsed.timestamp() * 1000)
    if moment < now + AHEAD_MS:
        what = f"--holds-from {text} is not {AHEAD_MS // 1000} s ahead"
        raise UsageError(what, remedy="every partition must have the programme by then: choose a later moment")
    if moment >= MOMENT_MAX:
        raise UsageError(f"--holds-from {text} is after the year 2099", remedy="choose an earlier moment")
    return moment


# -- partitions -------------------------------------------------------------------------------------------------


@partition.command("list")
def partition_list(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Where each partition stands, and which are halted and why."""
    invocation: Invocation = ctx.obj
    rows = run(_partitions(invocation))
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    table = Table(
        "partition", "next offset", "log end", "behind", "clock (UTC)", "programme", "members", "state", box=SIMPLE_HEAD
    )
    for row in rows:
        clock = datetime.fromtimestamp(row["clock"] / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S") if row["clock"] else "-"
        well = f"no state: `memberflow rebuild {row['partition']}` restores it" if row["lost"] else "ok"
        halted = f"halted: {row['halted']}" if row["halted"] else well
        cells = [row[name] for name in ("partition", "next_offset", "end", "lag", "programme", "members")]
        cells = ["-" if cell is None else str(cell) for cell in cells]
        table.add_row(*cells[:4], clock, *cells[4:], halted)
    invocation.out.print(table)


async def _partitions(invocation: Invocation) -> list[dict[str, Any]]:
    settings = invocation.settings
    async with invocation.store() as store:
        headers = await store.headers(range(settings.partitions))
        halted = await store.halted(range(settings.partitions))
        if not any(headers.values()):
            await control_log.standing(settings, store)  # refuses a log that has not begun, or was lost whole
    async with LogReader(settings.kafka.bootstrap, invocation.topics.actions.name) as reader:
        bounds = await reader.all_bounds(headers)
    return [_row(it, head, bounds[it][1], halted.get(it)) for it, head in headers.items()]


def _row(number: int, header: Header | None, end: int, halted: str | None) -> dict[str, Any]:
    """A partition for the list; where it stands is not known of one whose state is lost."""
    place = control_log.standing_of(header) if header else None
    state = place.state if place else PartitionState()
    return {
        "partition": number,
        "next_offset": place.next_offset if place else None,
        "end": end,
        "lag": max(0, end - place.next_offset) if place else None,
        "clock": state.clock,
        "facts": state.n,
        "members": state.ordinals if place else None,
        "programme": state.numbers.get(f"programme:{SERIES}", 0) if place else None,
        "live": state.live,
        "verdicts": state.verdicts,
        "halted": halted,
        "lost": place is None,
    }


@partition.command("resume")
def partition_resume(ctx: typer.Context, number: Annotated[int, typer.Argument(min=0, help="the partition")]) -> None:
    """Let a halted partition go on, after its cause was cured; its owner takes it up within seconds."""
    invocation: Invocation = ctx.obj
    if number >= invocation.settings.partitions:
        last = invocation.settings.partitions - 1
        raise UsageError(f"there is no partition {number}", remedy=f"the log has 0 to {last}")
    if not run(_resume(invocation, number)):
        raise UsageError(f"partition {number} is not halted", remedy="see `memberflow partition list`")
    print(f"partition {number} goes on")


async def _resume(invocation: Invocation, number: int) -> bool:
    async with invocation.store() as store:
        return await store.resume(number)


# -- dead letters -----------------------------------------------------------------------------------------------


def reason_of(text: str | None) -> Reason | None:
    """A reason as it was typed. Raises `UsageError`."""
    try:
        return Reason(text) if text else None
    except ValueError:
        raise UsageError(f"there is no reason {text}", remedy=f"there are {', '.join(Reason)}") from None


@dlq.command("list")
def dlq_list(
    ctx: typer.Context,
    reason: Annotated[str | None, typer.Option(help="only these")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="the newest so many")] = 20,
    as_json: AsJson = False,
) -> None:
    """The newest dead letters. Show or replay one by its name, P:OFFSET."""
    invocation: Invocation = ctx.obj
    letters, count = run(_newest(invocation, limit, reason_of(reason)))
    if as_json:
        for letter in letters:
            print(json.dumps(letter.as_json(), ensure_ascii=False))
        return
    table = Table("letter", "when (UTC)", "from offset", "reason", "where", "source", "detail", box=SIMPLE_HEAD)
    for letter in letters:
        when = datetime.fromtimestamp(letter.timestamp / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        why = letter.rejected
        table.add_row(letter.name, when, str(letter.origin), why.reason, why.pointer, why.source, why.detail[:60])
    invocation.out.print(table if letters else "no dead letters")
    if letters and reason is None and count > len(letters):
        invocation.out.print(f"{count - len(letters)} older ones: --limit")


async def _newest(invocation: Invocation, limit: int, reason: Reason | None) -> tuple[list[Letter], int]:
    async with DeadLetters(invocation.settings) as letters:
        return await letters.newest(limit, reason), await letters.count()


@dlq.command("show")
def dlq_show(
    ctx: typer.Context, letter: Annotated[str, typer.Argument(metavar="P:OFFSET")], as_json: AsJson = False
) -> None:
    """One dead letter whole: why it was refused, its headers, its bytes."""
    invocation: Invocation = ctx.obj
    found = run(_letter(invocation, letter))
    if as_json:
        print(json.dumps(found.as_json() | {"headers": found.header}, ensure_ascii=False, indent=2))
        return
    key, value = ((content or b"").decode(errors="replace") for content in (found.key, found.value))
    lines = [f"{name}: {text}" for name, text in found.header.items()]
    print(visible("\n".join([*lines, f"key: {key}", "", value])))


async def _letter(invocation: Invocation, name: str) -> Letter:
    async with DeadLetters(invocation.settings) as letters:
        return await letters.get(name)


@dlq.command("replay")
def dlq_replay(
    ctx: typer.Context,
    letter: Annotated[str | None, typer.Argument(metavar="[P:OFFSET]", help="one letter")] = None,
    reason: Annotated[str | None, typer.Option(help="instead: all letters refused for this reason")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would be done")] = False,
) -> None:
    """Append the original bytes again as new records; what was accepted meanwhile counts once."""
    invocation: Invocation = ctx.obj
    if letter is None and reason is None:
        what = "no letter is named"
        raise UsageError(what, remedy="name one letter as P:OFFSET, or all of a reason with --reason")
    if letter is not None and reason is not None:
        raise UsageError(f"{letter} and --reason {reason} exclude each other", remedy="name the letter or the reason")
    replayed, refused = run(_replay(invocation, letter, reason_of(reason), dry_run=dry_run))
    if not replayed and not refused:
        raise UsageError(f"no dead letter was refused for {reason}", remedy="see `memberflow dlq list`")
    print(f"{'would replay' if dry_run else 'replayed'} {replayed}")
    for it in refused[:-1]:
        print(visible(f"memberflow: {it.name} is not replayed: {it.why_not_replayed()}", kept=""), file=sys.stderr)
    if refused:
        last = refused[-1]
        raise InputInvalid(f"{last.name} is not replayed", remedy=last.why_not_replayed())


async def _replay(
    invocation: Invocation, name: str | None, reason: Reason | None, *, dry_run: bool
) -> tuple[int, list[Letter]]:
    async with DeadLetters(invocation.settings) as letters:
        one = [await letters.get(name)] if name is not None else []
        found = one or [letter async for letter in letters.all(reason)]
        good = [letter for letter in found if not letter.why_not_replayed()]
        if good and not dry_run:
            with bar(invocation, "replaying", len(good)) as advance:
                await letters.replay(good, advance)
        return len(good), [letter for letter in found if letter.why_not_replayed()]


# -- sending ----------------------------------------------------------------------------------------------------


def send_file(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="one action as JSON per line; - for stdin", allow_dash=True)],
) -> None:
    """Send a file of actions into the log; lines that cannot be read are told by number, the others sent."""
    invocation: Invocation = ctx.obj
    done = run(_send(invocation, file))
    print(f"sent {done.sent}")
    if done.bad:
        raise InputInvalid(f"{done.bad} lines were not sent", remedy="correct them and send those lines again")


async def _send(invocation: Invocation, file: Path) -> Sent:
    def tell(bad: BadLine) -> None:
        print(visible(f"{file}: {bad}", kept=""), file=sys.stderr)

    settings, topic = invocation.settings, invocation.topics.actions.name
    await asyncio.to_thread(invocation.topic_id)
    try:
        source = sys.stdin.buffer if str(file) == "-" else file.open("rb")
        size = None if str(file) == "-" else file.stat().st_size
        with source, bar(invocation, f"sending {file.name}", size) as advance:
            return await send(settings.kafka.bootstrap, topic, settings.partitions, source, tell=tell, progress=advance)
    except OSError as error:
        raise UsageError(f"cannot read {file} ({error.strerror})", remedy="name a file of JSON lines") from error


# -- doctor -----------------------------------------------------------------------------------------------------


def doctor(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Ask every part whether it is there and as it must be; exit code 2 when one is not."""
    invocation: Invocation = ctx.obj
    found = run(_doctor(invocation))
    if as_json:
        print(json.dumps([it._asdict() for it in found], indent=2))
    else:
        colours = {"ok": "green", "warn": "yellow", "fail": "red"}
        table = Table("", "what", "found", "what to do", box=SIMPLE_HEAD)
        for it in found:
            table.add_row(Text(it.health, colours[it.health]), it.what, it.found, it.remedy)
        invocation.out.print(table)
    failed = [it.what for it in found if it.health == "fail"]
    if failed:
        raise RefusedToStart(f"not as it must be: {', '.join(dict.fromkeys(failed))}", remedy="see the table above")


async def _doctor(invocation: Invocation) -> list[Any]:
    async with invocation.store(look=False) as store:
        return await Doctor(invocation, store).examine()
