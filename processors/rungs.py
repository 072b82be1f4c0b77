"""The item ladder: browse, like, comment and buy one item in this order, within some days of the browse.

What a member did with an item is a row; an item that nothing else is known of costs a look and a row. Once a like
follows a browse there is a climb: it belongs to the week of that like, of which the items liked first are paid, each
item once. Rows are judged anew with each that joins an item known before: a late action heals, a refund takes its buy
away, and what was paid otherwise is corrected. A rung is paid by the version of the action that reached it, a climb is
measured by that of its like. An action is known with its place, so that a correction counts there.
"""

from __future__ import annotations

import functools
import struct
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import Struct

from processors import waiting
from processors.calendar import DAY_MS
from processors.ledger import entry, issue
from processors.told import Told
from processors.waiting import Due
from schemas.actions import Action, Browse, Comment, Like, Purchase
from schemas.facts import Fact, Ledger
from schemas.member import BOUGHT_ITEM, ITEM_SEEN, SETTLED_ITEM, MemberState
from schemas.programme import Programme

if TYPE_CHECKING:
    from processors.member import Moment
    from processors.programme import Rules
    from processors.refund import Counted

BROWSE, LIKE, COMMENT, BUY = range(4)
NAMES = ("browse", "like", "comment", "purchase")
RUNGS: dict[type[Action], int] = {Browse: BROWSE, Like: LIKE, Comment: COMMENT, Purchase: BUY}
PLACES_MAX = 256  # pairs of region and group that rows can name; those beyond are known as nowhere
NOWHERE = ("", "")
ITEM = struct.Struct("<I")


class Ladder:
    """What the programme says of the ladder, compiled."""

    __slots__ = (
        "bought_max",
        "items_per_week",
        "open_items",
        "points",
        "rows_max",
        "seen_max",
        "seen_ms",
        "within_days",
        "within_ms",
    )

    def __init__(self, programme: Programme) -> None:
        said = programme.ladder
        self.points = (said.browse + said.like, said.comment, said.buy)
        self.within_days = said.within_days
        self.within_ms = said.within_days * DAY_MS
        self.items_per_week = said.items_per_week
        self.open_items = said.open_items
        self.rows_max = said.open_items + programme.limits.ladder_rows
        self.seen_ms = programme.horizon_days * DAY_MS + 2 * self.within_ms + 7 * DAY_MS
        """How long a row counts: its own days, the week of a climb it may begin, and as long as something may be late.

        A week's rank can change until the last climb of the week is over, and so long all of them keep their rows.
        """
        self.seen_max, self.bought_max = self.rows_max * ITEM_SEEN.size, self.rows_max * BOUGHT_ITEM.size


class Row(NamedTuple):
    """An action with an item: `place` numbers its region and group, `order` is the offset of a purchase's entry."""

    at: int
    rung: int
    place: int
    order: int = 0


class Paid(Struct, array_like=True, gc=False):
    """What was said of one rung: the action that reached it, what it was paid, and where the entry stands."""

    row: Row
    points: int
    month: int
    said: tuple[int, int]


class Climb(Struct, array_like=True, gc=False):
    """An item liked within days of its browse. `ends` is when nothing more counts, `rungs` what was said of it.

    Of a fixed one the rows are gone: it stays as it is, but for a refund of what was bought.
    """

    item: int
    item_id: str
    liked: int
    ends: int
    rungs: list[Paid]
    fixed: bool = False


class Found(NamedTuple):
    """A climb as the rows tell it: the rows that reach its rungs, in order, the like first."""

    ends: int
    rows: tuple[Row, ...]


def note(rules: Rules, state: MemberState, action: Action, moment: Moment, facts: list[Fact]) -> None:
    """A browse, like, comment or purchase: a row, and what it completes."""
    rung = RUNGS[type(action)]
    if rung == BUY:
        assert isinstance(action, Purchase)
        for sku in dict.fromkeys([line.sku for line in action.lines]):
            _add(rules, state, sku, BUY, action, moment, facts)
    else:
        item_id: str = action.item_id  # type: ignore[attr-defined]  # all three have one
        _add(rules, state, item_id, rung, action, moment, facts)


def refunded(told: Told, in_force: Rules, counted: Counted) -> None:
    """A refund was counted: of an order refunded as a whole nothing was bought."""
    state = told.state
    if not (counted.whole and state.ladder_buys):
        return
    rows = list(BOUGHT_ITEM.iter_unpack(state.ladder_buys))
    items = dict.fromkeys(item for item, _, order, _ in rows if order == counted.order.offset)
    if not items:
        return
    state.ladder_buys = b"".join(BOUGHT_ITEM.pack(*row) for row in rows if row[2] != counted.order.offset)
    for item in items:
        _judge(told, item, "")


def _add(
    rules: Rules, state: MemberState, item_id: str, rung: int, action: Action, moment: Moment, facts: list[Fact]
) -> None:
    item, at, place = zlib.crc32(item_id.encode()), moment.at, _place(state, action)
    key = ITEM.pack(item)
    known = state.ladder.rfind(key) >= 0 or state.ladder_buys.rfind(key) >= 0  # `in` takes three times as long
    if rung == BUY:
        if not state.ladder_buys:
            waiting.sooner(state, at + rules.orders_ms)
        state.ladder_buys += BOUGHT_ITEM.pack(item, at, moment.offset, place)
    else:
        if not state.ladder:
            waiting.sooner(state, at + rules.ladder.seen_ms)
        state.ladder += ITEM_SEEN.pack(item, at << 2 | rung, place)
    if len(state.ladder) > rules.ladder.seen_max:
        _forget_some(rules, state)
    if len(state.ladder_buys) > rules.ladder.bought_max:
        _forget_buys(rules, state)
    if known:
        _judge(Told(rules, state, action, moment, facts), item, item_id)


# -- what the rows tell -----------------------------------------------------------------------------------------


def _judge(told: Told, item: int, item_id: str) -> None:
    """Find the climbs of an item anew; say of every climb of those weeks what is no longer as it was said."""
    rules, state = told.rules, told.state
    if len(state.ladder) > rules.ladder.open_items * ITEM_SEEN.size:
        _forget_some(rules, state)
    climbs = _settle(rules, state, _read(state.ladder_climbs), told.moment.clock)
    wanted = [(climb, _left(state, climb) if climb.item == item else None) for climb in climbs if climb.fixed]
    wanted += [(climb, None) for climb in climbs if not climb.fixed and climb.item != item]
    known = [climb for climb in climbs if not climb.fixed and climb.item == item]
    begin = max((climb.ends for climb, _ in wanted if climb.item == item), default=0)
    found = [] if _is_settled(state, item) else list(_climbs(told, item, begin))
    for number, one in enumerate(found):
        climb = known[number] if number < len(known) else Climb(item, item_id, 0, 0, [])
        climb.item_id = climb.item_id or item_id
        climb.liked, climb.ends = one.rows[0].at, one.ends
        wanted.append((climb, one))
    for climb in known[len(found) :]:  # there is no such climb
        _say(told, climb, (), paid=False)
    wanted.sort(key=lambda pair: (pair[0].liked, pair[0].item))
    _rank(told, wanted)
    state.ladder_climbs = _encode([climb for climb, _ in wanted]) if wanted else b""


def _climbs(told: Told, item: int, begin: int) -> Iterator[Found]:
    """The climbs of an item: each begins with the first like within days of a browse, after the one before ended.

    Its days are counted from the latest browse before that like; equal moments are in order.
    """
    rows = sorted([*_seen(told.state, item), *_bought(told.state, item)])
    while True:
        browses = [row.at for row in rows if row.rung == BROWSE and row.at >= begin]
        for like in rows:
            browse = max((at for at in browses if at <= like.at), default=0)
            if like.rung == LIKE and browse:
                ends = browse + told.judging(like.at).ladder.within_ms
                if like.at < ends:
                    break
        else:
            return
        reached = [like]
        for rung in (COMMENT, BUY):
            following = [row for row in rows if row.rung == rung and reached[-1].at <= row.at < ends]
            if not following:
                break
            reached.append(following[0])
        yield Found(ends, tuple(reached))
        begin = ends


def _left(state: MemberState, climb: Climb) -> Found:
    """A fixed climb as refunds leave it: the first buy after its comment that is still one."""
    rows = [one.row for one in climb.rungs if one.row.rung != BUY]
    if len(climb.rungs) > len(rows):
        bought = sorted(row for row in _bought(state, climb.item) if rows[-1].at <= row.at < climb.ends)
        rows += bought[:1]
    return Found(climb.ends, tuple(rows))


def _rank(told: Told, wanted: list[tuple[Climb, Found | None]]) -> None:
    """Pay the climbs of each week whose like came first, and every item once."""
    calendar = told.rules.calendar
    counted: dict[int, int] = {}
    # asked, never walked through; the climbs that were paid for settled items are no longer here
    paid = {item for (item,) in SETTLED_ITEM.iter_unpack(told.state.ladder_items)}
    for climb, found in wanted:
        was = any(one.points for one in climb.rungs)
        if climb.item in paid:
            _say(told, climb, (), paid=False)
            continue
        week = calendar.week(calendar.day(climb.liked))
        per_week = told.judging(climb.liked).ladder.items_per_week
        allowed = was if climb.fixed else counted.get(week, 0) < per_week
        counted[week] = counted.get(week, 0) + allowed
        if allowed:
            paid.add(climb.item)
        if found is None and allowed != was:  # another one left or took its place
            found = _anew(told, climb, wanted)
        if found:
            _say(told, climb, found.rows if allowed else found.rows[:1], paid=allowed)


def _anew(told: Told, climb: Climb, wanted: list[tuple[Climb, Found | None]]) -> Found | None:
    """What the rows tell of a climb whose own item is not the one at hand."""
    begin = max((one.ends for one, _ in wanted if one.fixed and one.item == climb.item), default=0)
    found = _climbs(told, climb.item, begin)
    return next((one for one in found if one.ends == climb.ends), None)


def _say(told: Told, climb: Climb, rows: tuple[Row, ...], *, paid: bool) -> None:
    """Let what was said of a climb's rungs be what is true: take back first, then pay."""
    kept = 0
    for one, row in zip(climb.rungs, rows, strict=False):
        if one.row != row or (one.points and not paid):
            break
        if paid and not one.points and told.judging(row.at).ladder.points[kept]:
            break
        kept += 1
    for one in reversed(climb.rungs[kept:]):
        if one.points:
            _take_back(told, climb, one)
    climb.rungs = climb.rungs[:kept]
    for place, row in enumerate(rows[kept:], kept):
        climb.rungs.append(_pay(told, climb, place, row, paid=paid))


def _pay(told: Told, climb: Climb, place: int, row: Row, *, paid: bool) -> Paid:
    """The entry of a rung; the browse's point is paid with the like's."""
    rules = told.judging(row.at)
    points = rules.ladder.points[place] if paid else 0
    month, said = rules.calendar.month(rules.calendar.day(row.at)), told.place
    words = f"{climb.item_id} {('browsed and liked', 'commented on', 'bought')[place]}"
    if points:
        fact = _entry(told, rules, row, month, points, f"{points} = {words}")
        issue(rules, told.state, fact)
    else:
        limit = f"the week's {rules.ladder.items_per_week} items are reached"
        fact = _entry(
            told, rules, row, month, 0, f"0: {words}; {limit if rules.ladder.points[place] else 'it gives none'}"
        )
        fact.reason = "cap"
    told.facts.append(fact)
    return Paid(row, points, month, said)


def _take_back(told: Told, climb: Climb, one: Paid) -> None:
    why = f"-{one.points}: {climb.item_id} did not reach this rung then"
    told.take_back(_entry(told, told.rules, one.row, one.month, -one.points, why), one.points, one.said)


def _entry(told: Told, rules: Rules, row: Row, month: int, points: int, because: str) -> Ledger:
    """An entry that belongs to the action that reached the rung."""
    fact = entry(rules, told.state, told.action, told.moment, month, "ladder", points, because)
    fact.effective_at, fact.action = row.at, NAMES[row.rung]
    fact.region, fact.group_id = _places(told.state)[row.place]
    return fact


# -- what is kept -----------------------------------------------------------------------------------------------


def next_due(in_force: Rules, state: MemberState) -> int:
    """When the row that came first can count no more; 0 = there is none. One that came later may be older: it waits."""
    seen = ITEM_SEEN.unpack_from(state.ladder)[1] >> 2 if state.ladder else 0
    bought = BOUGHT_ITEM.unpack_from(state.ladder_buys)[1] if state.ladder_buys else 0
    moments = (seen + in_force.ladder.seen_ms if seen else 0, bought + in_force.orders_ms if bought else 0)
    return min((at for at in moments if at), default=0)


def fall_due(due: Due) -> None:
    """Forget rows that can count no more."""
    in_force, state = due.in_force, due.state
    climbs = _settle(in_force, state, _read(state.ladder_climbs), due.clock)
    state.ladder_climbs = _encode(climbs) if climbs else b""
    rows = [row for row in ITEM_SEEN.iter_unpack(state.ladder) if row[1] >> 2 > due.by - in_force.ladder.seen_ms]
    state.ladder = b"".join(ITEM_SEEN.pack(*row) for row in rows)
    bought = [row for row in BOUGHT_ITEM.iter_unpack(state.ladder_buys) if row[1] > due.by - in_force.orders_ms]
    state.ladder_buys = b"".join(BOUGHT_ITEM.pack(*row) for row in bought)
    if not state.ladder and not state.ladder_climbs:
        state.ladder_places = b"" if not bought else state.ladder_places
    waiting.changed(state)


def _settle(rules: Rules, state: MemberState, climbs: list[Climb], clock: int) -> list[Climb]:
    """The climbs that are still of interest, those that only a refund can change fixed.

    Those of a week are fixed together: one that was gone alone would leave its place to another. Of the others an item
    that was paid is known, and never paid again.
    """
    left: list[Climb] = []
    calendar, ends = rules.calendar, dict[int, int]()
    for climb in climbs:
        week = calendar.week(calendar.day(climb.liked))
        ends[week] = max(climb.ends, ends.get(week) or calendar.day_start(week + 7))
    for climb in climbs:
        until = ends[calendar.week(calendar.day(climb.liked))] + rules.horizon_ms
        if until <= clock:
            if not climb.fixed:
                _drop(state, climb)
            climb.fixed = True
            until = max((one.row.at + rules.orders_ms for one in climb.rungs if one.row.rung == BUY), default=0)
        if until > clock:
            left.append(climb)
        elif any(one.points for one in climb.rungs):
            state.ladder_items += SETTLED_ITEM.pack(climb.item)
    return left


def _drop(state: MemberState, climb: Climb) -> None:
    """The rows of an item up to the end of its climb."""
    if ITEM.pack(climb.item) in state.ladder:
        rows = ITEM_SEEN.iter_unpack(state.ladder)
        kept = [row for row in rows if row[0] != climb.item or row[1] >> 2 >= climb.ends]
        state.ladder = b"".join(ITEM_SEEN.pack(*row) for row in kept)


def _remembered(rules: Rules, state: MemberState) -> dict[int, None]:
    """The items remembered: so many, those browsed last; one never browsed goes by its latest row."""
    newest: dict[int, tuple[bool, int]] = {}
    for item, packed, _ in ITEM_SEEN.iter_unpack(state.ladder):
        newest[item] = max((packed & 3 == BROWSE, packed), newest.get(item, (False, 0)))
    ranked = sorted(newest, key=lambda item: (newest[item][1], item), reverse=True)
    return dict.fromkeys(ranked[: rules.ladder.open_items])


def _forget_some(rules: Rules, state: MemberState) -> None:
    """Keep the rows of the items remembered, and of those the newest; a climb without its rows stays as it is."""
    remembered = _remembered(rules, state)
    rows = [row for row in ITEM_SEEN.iter_unpack(state.ladder) if row[0] in remembered]
    rows.sort(key=lambda row: row[1], reverse=True)
    keep = rows[: rules.ladder.open_items + (rules.ladder.rows_max - rules.ladder.open_items) // 2]
    gone = {row[0] for row in rows[len(keep) :]}
    state.ladder = b"".join(ITEM_SEEN.pack(*row) for row in reversed(keep))
    climbs = _read(state.ladder_climbs)
    for climb in climbs:
        climb.fixed = climb.fixed or climb.item in gone or climb.item not in remembered
    state.ladder_climbs = _encode(climbs) if climbs else b""


def _forget_buys(rules: Rules, state: MemberState) -> None:
    """Keep the newest buys, and those of items that are climbed."""
    climbed = {climb.item for climb in _read(state.ladder_climbs)}
    rows = sorted(BOUGHT_ITEM.iter_unpack(state.ladder_buys), key=lambda row: row[1])
    newest = rows[-rules.ladder.open_items :]
    kept = [row for row in rows[: -rules.ladder.open_items] if row[0] in climbed] + newest
    state.ladder_buys = b"".join(BOUGHT_ITEM.pack(*row) for row in kept)


def _seen(state: MemberState, item: int) -> list[Row]:
    return [
        Row(packed >> 2, packed & 3, place)
        for known, packed, place in ITEM_SEEN.iter_unpack(state.ladder)
        if known == item
    ]


def _bought(state: MemberState, item: int) -> list[Row]:
    return [
        Row(at, BUY, place, order)
        for known, at, order, place in BOUGHT_ITEM.iter_unpack(state.ladder_buys)
        if known == item
    ]


def _is_settled(state: MemberState, item: int) -> bool:
    return any(known == item for (known,) in SETTLED_ITEM.iter_unpack(state.ladder_items))


def _place(state: MemberState, action: Action) -> int:
    """The number of the action's region and group among those of the member."""
    pair = (action.region, action.group_id)
    places = _places(state)
    if pair in places:
        return places.index(pair)
    if len(places) >= PLACES_MAX:
        return 0
    if not places and pair != NOWHERE:
        places = (NOWHERE,)
    state.ladder_places = _encode((*places, pair))
    return len(places)


_encode = msgspec.msgpack.Encoder().encode
_decode_places = functools.lru_cache(maxsize=4096)(msgspec.msgpack.Decoder(tuple[tuple[str, str], ...]).decode)
"""Most members act in one place, and many in the same: their places are read once."""
_decode_climbs = msgspec.msgpack.Decoder(list[Climb]).decode


def _places(state: MemberState) -> tuple[tuple[str, str], ...]:
    return _decode_places(state.ladder_places) if state.ladder_places else ()


def _read(written: bytes) -> list[Climb]:
    return _decode_climbs(written) if written else []
