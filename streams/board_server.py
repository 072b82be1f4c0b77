"""Boards as JSON on loopback: `GET /boards` says what is held, `GET /boards/NAME?period=&at=&region=&group=&places=`
shows one. `at` is 2026-W10 or 2026-03; without it the week or month of the newest fact is shown. Boards that are no
longer held are 404: ClickHouse has them.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler
from msgspec import Struct

from processors.boards import Boards, Span
from processors.programme import Rules
from schemas.boards import BOARDS, PERIODS, BoardKey, BoardName, Period
from schemas.part import THOUSANDTHS
from schemas.settings import Settings
from streams.errors import InputInvalid, RefusedToStart
from streams.loopback import refused_request
from streams.money import money_of

if TYPE_CHECKING:
    from streams.boards import BoardsProcess

EPOCH = dt.date(1970, 1, 1)
LINES_MAX = 1_000
"""Of an open board: on a Monday morning half of all members may share a place. A final board has everyone."""


class Line(Struct):
    """One place."""

    place: int
    member_id: str
    value: int


class Shown(Struct):
    """A board as it is shown, with how many `members` have a value on it.

    `state` is open, settling (late actions still count) or final (its places are known). `whole` is false where its
    first facts are gone; what `stopped_partitions` have to say is missing. `as_of` is the clock of the partition that
    is furthest behind. At most 1,000 lines are shown, so of many who share the last place the first by id.
    """

    board: BoardName
    period: Period
    at: str
    region: str
    group_id: str
    unit: str
    in_one: int  # so many of a value are one unit
    state: str
    whole: bool
    ended_at: int
    final_at: int
    as_of: int
    members: int
    stopped_partitions: list[int]
    places: list[Line]


def name_of(span: Span) -> str:
    """A week or month as people write it: 2026-W10, 2026-03."""
    period, at = span
    if period == "month":
        return f"{at // 12:04}-{at % 12 + 1:02}"
    year, week, _ = (EPOCH + dt.timedelta(days=at)).isocalendar()
    return f"{year:04}-W{week:02}"


def span_of(period: str, text: str) -> Span:
    """The week or month that a text names. Raises `InputInvalid`."""
    try:
        if period == "week" and (found := re.fullmatch(r"(\d{4})-W(\d{2})", text)):
            return "week", (dt.date.fromisocalendar(int(found[1]), int(found[2]), 1) - EPOCH).days
        if period == "month" and (found := re.fullmatch(r"(\d{4})-(\d{2})", text)):
            first = dt.date(int(found[1]), int(found[2]), 1)
            return "month", first.year * 12 + first.month - 1
    except ValueError:
        pass
    raise InputInvalid(f"{text} is no {period}", remedy="write 2026-W10 for a week, 2026-03 for a month")


def key_of(boards: Boards | None, name: str, asked: dict[str, str]) -> BoardKey:
    """The board that is asked for. Raises `InputInvalid`; `boards` knows which week it is."""
    board = next((it for it in BOARDS if it == name), None)
    period = next((it for it in PERIODS if it == asked.get("period", "week")), None)
    if board is None or period is None:
        known = f"boards: {', '.join(BOARDS)}; periods: {', '.join(PERIODS)}"
        raise InputInvalid(f"there is no {asked.get('period', 'week')} board {name}", remedy=known)
    region, group = asked.get("region", ""), asked.get("group", "")
    if region and group:
        raise InputInvalid("a board is of a region or of a group", remedy="leave one of them out")
    if text := asked.get("at", ""):
        at = span_of(period, text)[1]
    else:
        assert boards is not None
        at = boards.current(period)[1]
    return BoardKey(board, period, at, region, group)


def places_of(text: str) -> int:
    """How many places; 0 = all. Raises `InputInvalid`."""
    if not re.fullmatch(r"[0-9]{1,6}", text):
        raise InputInvalid(f"places is {text}, wanted is a whole number", remedy="")
    return int(text)


def unit_of(rules: Rules, board: BoardName) -> tuple[str, int]:
    """What the values of a board are counted in, and how many of them are one of it."""
    if board == "hot_talk":
        return "weight", THOUSANDTHS
    money = money_of(rules, 0)
    return money.unit, money.minor_units


class BoardServer:
    """The listening part."""

    def __init__(self, settings: Settings, process: BoardsProcess) -> None:
        self._own, self._process = settings.boards, process
        self._runner: web.AppRunner | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens; with port 0, the one that was given."""
        assert self._runner is not None
        host, port = self._runner.addresses[0][:2]
        return host, port

    async def start(self) -> None:
        """Begin to answer. A taken port is an error of one line."""
        app = web.Application(middlewares=[_of_this_machine])
        app.router.add_get("/boards", self._held)
        app.router.add_get("/boards/{name}", self._board)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._own.host, self._own.port).start()
        except OSError as error:
            what = f"port {self._own.port} on {self._own.host} is taken"
            raise RefusedToStart(what, remedy="set MEMBERFLOW_BOARDS__PORT to a free one") from error

    async def stop(self) -> None:
        """End listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _held(self, _: web.Request) -> web.Response:
        boards = self._process.boards
        return web.json_response([{"period": span[0], "at": name_of(span)} for span in boards.spans()])

    async def _board(self, request: web.Request) -> web.Response:
        boards, asked = self._process.boards, dict(request.query)
        try:
            key = key_of(boards, request.match_info["name"], asked)
            places = places_of(asked.get("places", "0"))
        except InputInvalid as error:
            return web.json_response({"error": str(error)}, status=400)
        span: Span = (key.period, key.at)
        if asked.get("at") and span not in boards.spans():
            return web.json_response(
                {"error": f"{name_of(span)} is not held: ClickHouse has what is final"}, status=404
            )
        board = shown(boards, key, places, self._process.halted)
        return web.Response(body=msgspec.json.encode(board), content_type="application/json")


@web.middleware
async def _of_this_machine(request: web.Request, handler: Handler) -> web.StreamResponse:
    refused = refused_request(request)
    return web.json_response({"error": refused}, status=403) if refused else await handler(request)


def shown(boards: Boards, key: BoardKey, places: int, stopped: list[int]) -> Shown:
    """A board as it stands."""
    span: Span = (key.period, key.at)
    bounds, clocks = boards.bounds(span), [part.clock for part in boards.parts.values()]
    state = "final" if boards.is_final(span) else "settling" if max(clocks) >= bounds.end else "open"
    unit, in_one = unit_of(boards.seasons.of_span(span), key.board)
    return Shown(
        board=key.board,
        period=key.period,
        at=name_of(span),
        region=key.region,
        group_id=key.group_id,
        unit=unit,
        in_one=in_one,
        state=state,
        whole=boards.is_whole(span),
        ended_at=bounds.end,
        final_at=bounds.final_at,
        as_of=min(clocks),
        members=boards.members(key),
        stopped_partitions=stopped,
        places=[Line(*line) for line in boards.table(key, places, LINES_MAX)],
    )
