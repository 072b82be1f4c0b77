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
from schemas.settings import Settings
from streams.board_server import Line, Shown, key_of, name_of
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
        found = _past(invocation.settings, key_of(None, name, asked))
    if places:
        found.places = [line for line in found.places if line.place <= places]
    if as_json:
        print(json.dumps(msgspec.to_builtins(found), indent=2, ensure_ascii=False))
        return
    unit, divisor = ("weight", 1000) if found.board == "hot_talk" else ("yuan", 100)
    where = found.region or found.group_id or "programme"
    told = "" if found.whole else ", its first facts are gone"
    if found.stopped_partitions:
        told += f", without partitions {', '.join(map(str, found.stopped_partitions))}"
    print(f"{found.board} {found.at} of {where}: {found.state}{told}")
    table = Table("place", "member", unit, box=None)
    for column in (table.columns[0], table.columns[2]):
        column.justify = "right"
    for line in found.places:
        table.add_row(str(line.place), line.member_id, f"{line.value / divisor:,.2f}")
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
    if status == 404:
        return None
    if status != 200:
        raise InputInvalid(msgspec.json.decode(body)["error"], remedy="")
    return msgspec.json.decode(body, type=Shown)


def _past(settings: Settings, key: BoardKey) -> Shown:
    """A final board, from ClickHouse. Raises `UsageError` where it has none."""
    from streams.analytics import open_reader

    reader = open_reader(settings.clickhouse)
    try:
        asked = msgspec.structs.asdict(key)
        rows = reader.query(PAST, {"log": settings.log, "group": asked.pop("group_id"), **asked})
    finally:
        reader.close()
    if not rows:
        what = f"nobody has a place on the {key.board} board of {name_of((key.period, key.at))}, or it is not final yet"
        raise UsageError(what, remedy="name another one with --at")
    return Shown(
        board=key.board,
        period=key.period,
        at=name_of((key.period, key.at)),
        region=key.region,
        group_id=key.group_id,
        state="final",
        whole=True,
        ended_at=rows[0][3],
        final_at=rows[0][4],
        as_of=rows[0][4],
        members=len(rows),
        stopped_partitions=[],
        places=[Line(*row[:3]) for row in rows],
    )
