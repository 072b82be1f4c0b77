"""Commands about boards: the process that makes them, and looking at one."""

from __future__ import annotations

import asyncio
import http.client
import json
import urllib.parse
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from schemas.boards import BoardKey
from schemas.part import THOUSANDTHS
from schemas.settings import Settings
from streams import programme_log as control_log
from streams.board_server import Line, Shown, key_of, name_of, unit_of
from streams.cli_processes import Begun, begin, stay
from streams.errors import InputInvalid, UsageError
from streams.keys import private_key
from streams.wiring import Invocation, run

ANSWER_S = 10.0
PAST = """
SELECT place, member_id, value, ended_at, final_at FROM boards FINAL
WHERE log = %(log)s AND board = %(board)s AND period = %(period)s AND at = %(at)s AND region = %(region)s
      AND group_id = %(group)s
ORDER BY place, member_id
"""


def register(app: typer.Typer) -> None:
    """Put the commands of this module onto the command line."""
    app.command()(boards)
    app.command()(board)


def boards(
    ctx: typer.Context,
    accept_gap: Annotated[
        bool, typer.Option("--accept-gap", help="pass a gap: boards that began before it never become final")
    ] = False,
) -> None:
    """Run the boards process: facts to boards, shown on loopback, made final, winners awarded."""
    run(_boards(ctx.obj, begin(ctx.obj), accept_gap=accept_gap))


async def _boards(invocation: Invocation, begun: Begun, *, accept_gap: bool) -> None:
    from streams.boards import BoardsProcess
    from streams.metrics import Metrics

    settings, metrics = invocation.settings, Metrics("boards")
    await asyncio.to_thread(invocation.topic_id)
    sign = private_key(settings.keys.folder, settings.keys.workers)
    async with invocation.store() as store:
        await store.check()
        process = BoardsProcess(settings, store, sign, metrics, invocation.wall, accept_gap=accept_gap, fail=begun.fail)
        await stay(invocation, begun, "boards", process, metrics)


def board(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="hot_talk or spending")],
    period: Annotated[str, typer.Option(help="week or month")] = "week",
    at: Annotated[str, typer.Option(help="2026-W10 or 2026-03; without it the present one")] = "",
    region: Annotated[str, typer.Option(help="of the members at home there")] = "",
    group: Annotated[str, typer.Option(help="of what was said and bought there")] = "",
    places: Annotated[int, typer.Option(min=0, help="the first so many; 0 = all")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="for a machine")] = False,
) -> None:
    """Show a board: from the boards process while it is held there, else as it was made final."""
    invocation: Invocation = ctx.obj
    asked = {"period": period, "at": at, "region": region, "group": group}
    found = _held(invocation.settings, name, asked)
    if found is None:
        found = _past(invocation, key_of(None, name, asked))
    if places:
        found.places = [line for line in found.places if line.place <= places]
    if as_json:
        print(json.dumps(msgspec.to_builtins(found), indent=2, ensure_ascii=False))
        return
    where = found.region or found.group_id or "programme"
    told = "" if found.whole else ", its first facts are gone"
    if found.stopped_partitions:
        told += f", without partitions {', '.join(map(str, found.stopped_partitions))}"
    print(f"{found.board} {found.at} of {where}: {found.state}{told}")
    table = Table("place", "member", found.unit, box=None)
    for column in (table.columns[0], table.columns[2]):
        column.justify = "right"
    for line in found.places:
        table.add_row(str(line.place), line.member_id, f"{line.value / found.in_one:,.2f}")
    invocation.out.print(table)


def _held(settings: Settings, name: str, asked: dict[str, str]) -> Shown | None:
    """The board as the process holds it; None where it holds it no longer. Raises `UsageError`, `InputInvalid`."""
    own = settings.boards
    query = urllib.parse.urlencode({key: value for key, value in asked.items() if value})
    connection = http.client.HTTPConnection(own.host, own.port, timeout=ANSWER_S)
    try:
        connection.request("GET", f"/boards/{urllib.parse.quote(name, safe='')}?{query}")
        answer = connection.getresponse()
        status, body = answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        if asked["at"]:
            return None  # nobody answers, and what is final is elsewhere
        said = " ".join(str(error).split()) or type(error).__name__
        what = f"nobody answers for boards at {own.host}:{own.port} ({said})"
        raise UsageError(what, remedy="run `memberflow boards`, or name a past week with --at") from error
    finally:
        connection.close()
    if status == 404 and asked["at"]:
        return None
    try:
        if status == 200:
            return msgspec.json.decode(body, type=Shown)
        said = msgspec.json.decode(body, type=dict[str, str]).get("error", f"answer {status}")
    except msgspec.MsgspecError as error:
        what = f"{own.host}:{own.port} has no board {name!r}, or is no boards process"
        raise UsageError(what, remedy="name hot_talk or spending; see MEMBERFLOW_BOARDS__PORT") from error
    raise InputInvalid(said, remedy="")


def _past(invocation: Invocation, key: BoardKey) -> Shown:
    """A final board, from ClickHouse. Raises `UsageError` where it has none."""
    from streams.analytics import open_reader

    settings = invocation.settings
    reader = open_reader(settings.clickhouse)
    try:
        asked = msgspec.structs.asdict(key)
        rows = reader.query(PAST, {"log": settings.log, "group": asked.pop("group_id"), **asked})
    finally:
        reader.close()
    if not rows:
        what = f"nobody has a place on the {key.board} board of {name_of((key.period, key.at))}, or it is not final yet"
        raise UsageError(what, remedy="name another one with --at")
    unit, in_one = run(_unit(invocation)) if key.board == "spending" else ("weight", THOUSANDTHS)
    return Shown(
        board=key.board,
        period=key.period,
        at=name_of((key.period, key.at)),
        region=key.region,
        group_id=key.group_id,
        unit=unit,
        in_one=in_one,
        state="final",
        whole=True,
        ended_at=rows[0][3],
        final_at=rows[0][4],
        as_of=rows[0][4],
        members=len(rows),
        stopped_partitions=[],
        places=[Line(*row[:3]) for row in rows],
    )


async def _unit(invocation: Invocation) -> tuple[str, int]:
    """What a final place was spent in is not said there: the currency of the programme in force."""
    async with invocation.store() as store:
        return unit_of(control_log.in_force(await control_log.standing(invocation.settings, store)), "spending")
