"""Actions as upstream apps would write them, byte for byte: good ones, repeated, late, broken ones.

Templates instead of an encoder: a benchmark fills a log with them, faster than a worker can read it.
"""

from __future__ import annotations

import random
import re
from itertools import accumulate
from typing import NamedTuple

from infra.members import DAY_MS, HOUR_MS, Member

VARIANTS = 512
"""Ready-made endings per kind of action; drawing one is cheaper than drawing each of its fields."""

SOURCES = {
    "purchase": "shop",
    "refund": "shop",
    "add_to_cart": "shop",
    "browse": "shop",
    "message": "community",
    "live": "live",
}
MIX = {
    "browse": 26,
    "login": 15,
    "message": 17,
    "like": 11,
    "check_in": 9,
    "comment": 6,
    "share": 4,
    "add_to_cart": 4,
    "live": 3,
    "purchase": 2.5,
    "content": 2,
    "event": 0.3,
    "nps": 0.2,
    "redeem": 0.4,
    "refund": 0.2,
    "redeem_cancel": 0.04,
    "join": 0.3,
}
FOLLOWING = ("purchase", "refund", "redeem", "redeem_cancel", "join")
"""Kinds that name an order, a redemption or a member; a refund or a cancel means the member's last one."""

UNKNOWN = 0.03
"""Refunds and cancels of something that nobody has reported."""

REFUNDED = re.compile(r'"amount":(\d+),"currency"')
CATEGORIES = ("tea", "coffee", "ware", "books", "sweets")


class Trouble(NamedTuple):
    """Shares of actions that come as they should not."""

    duplicates: float = 0.01
    late: float = 0.005
    beyond: float = 0.0002
    poison: float = 0.0005
    strays: float = 0.0


CLEAN = Trouble(0, 0, 0, 0, 0)


class Writer:
    """Writes actions. Same seed, origin and calls, same bytes; an event_id is given once."""

    def __init__(self, seed: int, origin: str) -> None:
        self.rng = random.Random(f"traffic {seed} {origin}")
        self.origin = origin
        self.written = 0
        self._kinds, self._weights = list(MIX), list(accumulate(MIX.values()))
        self._tails = {kind: [_tail(kind, self.rng) for _ in range(VARIANTS)] for kind in MIX}
        self._day, self._date = -1, ""
        self._orders: dict[str, tuple[str, str]] = {}  # of each member the last one's id and fields
        self._redeemed: dict[str, str] = {}
        self._joined: set[str] = set()
        self._last, self._before = "", ""  # the last two members who acted

    def kind(self, member: Member) -> str:
        """What this member does next."""
        kind = self.rng.choices(self._kinds, cum_weights=self._weights)[0]
        if kind in FOLLOWING and not self._may(kind, member):
            return "browse"
        return kind

    def _may(self, kind: str, member: Member) -> bool:
        """Only who buys does; who is to fall silent after a purchase keeps it."""
        if kind == "refund":
            return member.wave < 0 and (member.id in self._orders or self.rng.random() < UNKNOWN)
        if kind == "redeem_cancel":
            return member.id in self._redeemed or self.rng.random() < UNKNOWN
        if kind == "join":
            return member.id not in self._joined
        return kind == "redeem" or member.buys

    def action(self, member: Member, at: int, kind: str) -> bytes:
        """One action of this kind, done at `at` (ms)."""
        self.written = number = self.written + 1
        tails = self._tails[kind]
        tail = tails[int(self.rng.random() * VARIANTS)]
        if kind in FOLLOWING:
            tail = self._following(member, number, kind, tail)
        if kind != "join":  # with a group it would be the group that is joined
            if member.id != self._last:
                self._last, self._before = member.id, self._last
            tail = f',"group_id":"{member.group}"{tail}'
        return (
            f'{{"action":"{kind}","event_id":"{self.origin}-{number:x}","source":"{SOURCES.get(kind, "app")}",'
            f'"member_id":"{member.id}","occurred_at":"{self.instant(at)}","region":"{member.region}",'
            f'"channel":"app"{tail}}}'
        ).encode()

    def _following(self, member: Member, number: int, kind: str, tail: str) -> str:
        """The fields of an action that names an order or a redemption."""
        order_id, redeem_id = f"o-{self.origin}-{number:x}", f"r-{self.origin}-{number:x}"
        match kind:
            case "purchase":
                self._orders[member.id] = (order_id, tail)
                return f',"order_id":"{order_id}"{tail}'
            case "refund":
                bought, fields = self._orders.get(member.id, (order_id, ',"amount":100,"currency"'))
                found = REFUNDED.search(fields)
                assert found, "an order names its amount"
                share = self.rng.choices((100, self.rng.randrange(1, 100), 120), (50, 45, 5))[0]
                return f',"order_id":"{bought}","amount":{int(found[1]) * share // 100},"currency":"CNY"'
            case "redeem":
                self._redeemed[member.id] = redeem_id
                return f',"redeem_id":"{redeem_id}"{tail}'
            case "join":
                self._joined.add(member.id)
                inviting = self._before if self._last == member.id else self._last
                return f',"referrer_id":"{inviting}"' if inviting else ""
        return f',"redeem_id":"{self._redeemed.pop(member.id, redeem_id)}"'

    def profile(self, member: Member, at: int) -> bytes:
        """What the CRM knows of a member."""
        self.written += 1
        return (
            f'{{"action":"profile","event_id":"{self.origin}-{self.written:x}","source":"crm",'
            f'"member_id":"{member.id}","occurred_at":"{self.instant(at)}","home_region":"{member.region}"}}'
        ).encode()

    def late_by(self) -> int:
        """How late a late action comes (ms): hours to days, inside the horizon."""
        return int(min(20 * DAY_MS, HOUR_MS * self.rng.paretovariate(0.7)))

    def beyond(self) -> int:
        """How late an action beyond the horizon comes (ms)."""
        return int((31 + 9 * self.rng.random()) * DAY_MS)

    def poison(self, good: bytes) -> bytes:
        """The same action as a sender with a bug writes it."""
        return self.rng.choice(POISONS)(good)

    def instant(self, at: int) -> str:
        """A moment (ms) as RFC 3339, UTC."""
        day, rest = divmod(at, DAY_MS)
        if day != self._day:
            self._day, self._date = day, _date(day)
        seconds, ms = divmod(rest, 1000)
        minutes, s = divmod(seconds, 60)
        return f"{self._date}T{minutes // 60:02d}:{minutes % 60:02d}:{s:02d}.{ms:03d}Z"


def _date(day: int) -> str:
    """Days since 1970-01-01 as YYYY-MM-DD (H. Hinnant's civil_from_days)."""
    era, of_era = divmod(day + 719_468, 146_097)
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    shifted = (5 * of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    return f"{year + era * 400 + (month <= 2):04d}-{month:02d}-{of_year - (153 * shifted + 2) // 5 + 1:02d}"


def _tail(kind: str, rng: random.Random) -> str:
    """The fields of its own of one action, as the end of a JSON object."""
    item = f'"item_id":"i-{int(1000 * rng.random() ** 3):04d}"'  # cubed: a few items are looked at by everybody
    match kind:
        case "message":
            name = rng.choices(("chat", "question", "answer", "experience"), (70, 12, 12, 6))[0]
            return f',"kind":"{name}","length":{int(rng.lognormvariate(2.6, 0.9))}'
        case "purchase":
            return _order(rng)
        case "browse":
            return f',{item},"seconds":{int(rng.expovariate(1 / 40))}'
        case "like" | "add_to_cart":
            return f",{item}"
        case "comment":
            return f',{item},"length":{int(rng.lognormvariate(2.8, 0.8))}'
        case "share":
            return f',"target":"{rng.choice(("content", "product", "group"))}",{item}'
        case "live":
            return f',{item},"completion":{round(rng.betavariate(2, 1.2), 3)}'
        case "content":
            return f',"content_id":"c-{rng.randrange(90):03d}","status":"{rng.choice(("seen", "clicked"))}"'
        case "event":
            return f',"activity_id":"a-{rng.randrange(20):03d}","kind":"trial","status":"joined"'
        case "redeem":
            reward = rng.choices(("coupon", "cup", "level_step"), (6, 3, 1))[0]
            return f',"points":{100 * rng.choice((1, 1, 2, 5))},"reward":"{reward}"'
        case "nps":
            return f',"score":{min(10, int(11 * rng.betavariate(4, 1.5)))}'
    return ""


def _order(rng: random.Random) -> str:
    """An order of some yuan to some thousand; a third of them name their lines."""
    amount = int(100 * rng.lognormvariate(4.6, 0.8))
    lines = ""
    if rng.random() < 0.33:
        first = amount * rng.randrange(20, 80) // 100
        parts = [(first, rng.choice(CATEGORIES)), (amount - first, rng.choice(CATEGORIES))]
        told = (f'{{"sku":"s-{rng.randrange(400):03d}","category":"{c}","amount":{a}}}' for a, c in parts)
        lines = f',"lines":[{",".join(told)}]'
    return f',"amount":{amount},"currency":"CNY"{lines}'


# What senders with a bug write; every one of them must become a dead letter and nothing else.
POISONS = (
    lambda good: good[: len(good) // 2],
    lambda good: b"\xff\xfe" + good,
    lambda good: re.sub(rb'"action":"\w+"', b'"action":"comment","length":NaN', good, count=1),
    lambda good: good[:-1] + b',"group_id":"\\ud800"}',
    lambda good: good[:-1] + b',"extra":' + b"[" * 900 + b"]" * 900 + b"}",
    lambda good: good[:-1] + b',"phone":"13800138000"}',
    lambda good: good[:-1] + b',"amuont":100}',
    lambda good: good.replace(b'"action":"', b'"action":"un', 1),
    lambda good: good.replace(b'Z"', b'"', 1),  # a time without an offset
)
