"""One partition of a log as a broker might hold it: members with habits, and everything that can go wrong.

`record(count, seed, rules)` gives the same records for the same numbers, on any machine. Besides actions there are
ticks, duplicates, conflicts, late and future ones, poison, strays, derived records, signed and forged staff records,
a second programme, a go-live, CloudEvents, and offsets without a record.
"""

from __future__ import annotations

import datetime as dt
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from processors.partitioner import partition_of
from processors.signature import public_text, seal
from schemas import records
from schemas.records import (
    Award,
    Cause,
    Caused,
    Echo,
    Forward,
    GoLive,
    ProgrammeControl,
    Record,
    SignedControl,
    SignedDerived,
    SignedStaff,
    tick,
)
from tests.limits import limited, with_a_weekly_task

LOG, PARTITION, PARTITIONS = "golden-1", 0, 2
START = int(dt.datetime(2026, 1, 4, 16, tzinfo=dt.UTC).timestamp() * 1000)  # 5 January in Shanghai
HOUR, DAY = 3_600_000, 86_400_000
DAYS = 150
STAFF, WORKERS = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2))
JSON = dict[str, Any]


def programme(number: int, rules: int) -> str:
    """The default programme with small limits, so that blocks end and wakes are put off; later ones are stricter."""
    text = with_a_weekly_task(Path("schemas/programmes/default.yaml").read_text())
    text = limited(text, wakes_per_record=7, sweep_per_record=3, block_offsets=3_000)
    text = re.sub(r"^rules: \d+", f"rules: {rules}", text, flags=re.MULTILINE)
    changes = {"tier: yellow, after_days: 7": "tier: yellow, after_days: 5", "per_day: 10": "per_day: 4"}
    for old, new in changes.items() if number > 1 else ():
        text = text.replace(old, new)
    return text


class Recorder:
    """Writes the log record by record, with a clock of its own."""

    def __init__(self, seed: int, count: int, rules: int) -> None:
        self.rules, self.random, self.step = rules, random.Random(seed), DAYS * DAY // count
        self.records: list[Record] = []
        self.clock, self.offset, self.made, self.cause = START, 0, 0, 0
        self.sent: list[JSON] = []
        named = [f"m-{number:04}" for number in range(900)]
        self.members = [name for name in named if partition_of(name, PARTITIONS) == PARTITION]
        self.strangers = [name for name in named if partition_of(name, PARTITIONS) != PARTITION]
        self.begin()

    def append(self, value: bytes | None, key: bytes | None = None, headers: JSON | None = None) -> None:
        """The next record, stamped with the clock; now and then a clock of another broker is behind."""
        behind = 2_000 if self.random.random() < 0.01 else 0
        packed = tuple((name, content.encode()) for name, content in (headers or {}).items())
        self.records.append(Record(self.offset, self.clock - behind, key, value, packed))
        self.offset += 1

    def begin(self) -> None:
        """The first programme, with everything the log stands on."""
        self.control(
            ProgrammeControl(
                id="programme",
                number=1,
                by="staff",
                text=programme(1, self.rules),
                holds_from=0,
                log=LOG,
                staff_keys={"staff": public_text(STAFF)},
                worker_keys={"workers": public_text(WORKERS)},
                id_key="00112233445566778899aabbccddeeff",
            )
        )

    def control(self, body: records.Control, key: Ed25519PrivateKey = STAFF) -> None:
        """A control record in its envelope."""
        self.append(seal(SignedControl, "staff", key, msgspec.json.encode(body)))

    # -- what members do ----------------------------------------------------------------------------------------

    def action(self, member: str) -> JSON:
        """Something a member does, with the fields it needs. The first are often active, the last hardly ever."""
        pick = self.random
        kinds: list[tuple[str, JSON]] = [
            ("check_in", {}),
            ("message", {"kind": pick.choice(["chat", "question", "answer"]), "length": pick.randint(1, 40)}),
            ("message", {"kind": "chat"}),
            ("share", {"target": "content"}),
            ("browse", {"item_id": f"i-{pick.randint(1, 9)}"}),
            ("like", {"item_id": f"i-{pick.randint(1, 9)}"}),
            ("comment", {"item_id": f"i-{pick.randint(1, 9)}"}),
            ("live", {"item_id": "l-1", "completion": pick.randint(0, 100) / 100}),
            ("purchase", self.order()),
            ("purchase", self.order()),
            pick.choice(self.rarely()),
            *self.money(member),
        ]
        name, fields = pick.choice(kinds)
        self.made += 1
        common: JSON = {"action": name, "event_id": f"e-{self.made}", "source": pick.choice(["app", "shop"])}
        common |= {"member_id": member, "occurred_at": self.moment(self.late())}
        common |= {"region": pick.choice(["east", "west", ""]), "group_id": pick.choice(["g-1", "g-2", ""])}
        return common | fields

    def order(self) -> JSON:
        """An order; some ids come twice, some orders hold a line that is nothing special."""
        amount = self.random.randint(0, 60_000)
        lines = [{"sku": f"i-{self.random.randint(1, 9)}", "category": "tea", "amount": amount // 2}]
        order_id = f"o-{self.random.randint(1, 2_000)}"
        return {"order_id": order_id, "amount": amount, "currency": "CNY", "lines": lines}

    def money(self, member: str) -> list[tuple[str, JSON]]:
        """Refunds of an order sent, or of any: whole, in part, above the amount; points spent and given back."""
        pick = self.random
        mine = [it for it in self.sent[-2_000:] if it["member_id"] == member and it["action"] == "purchase"]
        order = pick.choice(mine) if mine else {"amount": 100}
        order_id = order.get("order_id", f"o-{pick.randint(1, 2_000)}")
        amount = order["amount"] * pick.choice((100, 100, 50, 33, 101)) // 100 or 1
        refund: JSON = {"order_id": order_id, "amount": amount, "currency": "CNY"}
        if pick.random() < 0.2:
            refund["purchased_at"] = self.moment(pick.randint(0, 250) * DAY)
        redeem: JSON = {"redeem_id": f"r-{pick.randint(1, 8)}", "points": pick.choice((100, 100, 300, 150))}
        redeem |= pick.choice(({"reward": "cup"}, {"reward": "level_step"}, {"order_id": order_id}))
        return [("refund", refund), ("redeem", redeem), ("redeem_cancel", {"redeem_id": f"r-{pick.randint(1, 8)}"})]

    def rarely(self) -> list[tuple[str, JSON]]:
        """Actions that these rules count and otherwise leave alone, or that belong to the member's papers."""
        case = {"case_id": "c-1", "severity": "ordinary", "status": self.random.choice(["opened", "resolved"])}
        return [
            ("login", {}),
            ("browse", {"item_id": "i-1"}),
            ("join", {}),
            ("join", {"referrer_id": "m-0001"}),
            ("leave", {}),
            ("leave", {"group_id": "g-1"}),
            ("profile", {"home_region": self.random.choice(["north", "south"]), "birthday": "02-29"}),
            ("nps", {"score": self.random.randint(0, 10)}),
            ("add_to_cart", {"item_id": "i-1"}),
            ("support", case | {"status": self.random.choice(["opened", "unresolved", "resolved"])}),
            ("consent", {"purpose": "profiling", "contact_channel": "all", "granted": True, "text_version": "v1"}),
            ("consent", {"purpose": "profiling", "contact_channel": "all", "granted": False, "text_version": "v1"}),
            ("complaint", case),
            ("subscribe", {"plan": "year", "paid_until": "2027-01-01T00:00:00Z", "auto_renewal": True}),
            ("content", {"content_id": "k-1", "status": "clicked"}),
            ("opt_out", {}),
            ("event", {"activity_id": "a-1", "kind": "trial", "status": "joined"}),
            ("event", {"activity_id": "a-1", "kind": "trial", "status": "finished"}),
            ("benefit_use", {"grant_id": "g-1", "benefit_id": "b-1", "kind": "coupon"}),
        ]

    def late(self) -> int:
        """How long before the clock it happened: mostly seconds, sometimes days, rarely beyond the horizon."""
        chance = self.random.random()
        if chance < 0.03:
            return self.random.randint(0, 29 * DAY)
        if chance < 0.033:
            return self.random.randint(29 * DAY, 40 * DAY)
        return -10 * 60_000 if chance < 0.036 else self.random.randint(0, 90_000)

    def moment(self, before: int) -> str:
        """A moment before the clock as senders write it."""
        return dt.datetime.fromtimestamp((self.clock - before) / 1000, dt.UTC).isoformat(timespec="milliseconds")

    # -- kinds of records ---------------------------------------------------------------------------------------

    def plain(self) -> None:
        """An action of a member, sometimes as a CloudEvent."""
        place = int(len(self.members) * self.random.random() ** 3)
        action = self.action(self.members[place])
        self.sent.append(action)
        chance = self.random.random()
        if chance < 0.02:
            self.as_cloud_event(action)
        else:
            self.append(msgspec.json.encode(action), action["member_id"].encode())

    def as_cloud_event(self, action: JSON) -> None:
        """In binary mode: attributes are headers, the rest is the body."""
        names = {"action": "ce_type", "event_id": "ce_id", "source": "ce_source", "occurred_at": "ce_time"}
        headers = {names[name]: action[name] for name in names} | {"ce_specversion": "1.0"}
        headers |= {"ce_subject": action["member_id"]}
        body = {name: value for name, value in action.items() if name not in names and name != "member_id"}
        self.append(msgspec.json.encode(body), None, headers)

    def again(self) -> None:
        """An action sent twice, one time in four with other content."""
        action = dict(self.random.choice(self.sent[-3_000:]))
        if self.random.random() < 0.25:
            action["region"] = "elsewhere"
        self.append(msgspec.json.encode(action))

    def poison(self) -> None:
        """Something that must become a dead letter and nothing else."""
        good = self.action(self.random.choice(self.members))
        head = {name: good[name] for name in ("event_id", "source", "member_id", "occurred_at")}
        bad: list[bytes | None] = [
            b"\xff\xfe",
            b'{"action": "check_in", ',
            b'{"action": "message", "score": NaN}',
            b"[" * 900 + b"]" * 900,
            msgspec.json.encode(good | {"action": "dance"}),
            msgspec.json.encode(good | {"full_name": "nobody"}),
            msgspec.json.encode(good | {"occurred_at": "1999-01-01T00:00:00Z"}),
            msgspec.json.encode(good | {"member_id": "13812345678"}),
            msgspec.json.encode(good | {"action": "custom", "name": "undeclared"}),
            msgspec.json.encode(good | {"action": "adjust"}),
            msgspec.json.encode(head | {"action": "redeem", "redeem_id": "r-2", "points": 100}),
            b'{"record": "tick", "owner": 7}',
            None,
        ]
        self.append(self.random.choice(bad))

    def burst(self) -> None:
        """More messages of a member within a minute than are believed, and what it earns after them."""
        member = self.random.choice(self.members)
        for kind in ["message"] * 8 + ["share"]:
            action = self.action(member)
            common = {name: action[name] for name in ("event_id", "source", "member_id", "region")}
            said: JSON = {"kind": "chat", "length": 9} if kind == "message" else {"target": "content"}
            self.append(msgspec.json.encode({"action": kind, "occurred_at": self.moment(0)} | common | said))

    def stray(self) -> None:
        """A member of the other partition, put here by another partitioner."""
        action = self.action(self.random.choice(self.strangers))
        self.append(msgspec.json.encode(action), action["member_id"].encode())

    def derived(self) -> None:
        """A stray of the other partition on its way home, or an echo; some come twice, some are forged."""
        chance = self.random.random()
        if chance > 0.2:
            self.cause += 3
        member = self.random.choice(self.members if chance < 0.95 else self.strangers)
        cause = Cause(LOG, 1, self.cause, 0)
        body: Caused | Award = Forward(cause, member, msgspec.json.encode(self.action(member)))
        if 0.35 < chance < 0.45:
            body = Echo(cause, member, "like", self.random.choice(self.strangers))
        if 0.45 < chance < 0.5:
            body = Award(member, "spending", "month", 2026 * 12 + self.random.randint(0, 2), 1, 900, region="east")
        key = STAFF if 0.3 < chance < 0.35 else WORKERS
        self.append(seal(SignedDerived, "workers", key, msgspec.json.encode(body)))

    def staff(self) -> None:
        """An adjustment by staff, its batch undone, or an opening; signed or forged, some come twice."""
        action = self.action(self.random.choice(self.members))
        common = {name: action[name] for name in ("event_id", "source", "member_id", "occurred_at")}
        body = common | {"action": "adjust", "kind": "points", "points": 5, "reason": "late"}
        body |= {"operator": "ann", "approved_by": self.random.choice(["bob", "ann"])}
        batch, row = f"b-{self.random.randint(1, 9)}", self.random.randint(1, 3)
        chance = self.random.random()
        if chance < 0.4:
            body |= {"points": self.random.choice([-40, 25]), "batch_id": batch, "row": row}
        elif chance < 0.6:
            body |= {"kind": "undo_batch", "points": None, "batch_id": batch}
        elif chance < 0.8:
            body = {name: body[name] for name in common | {"reason": "", "operator": "", "approved_by": ""}}
            body |= self.brought(body["occurred_at"])
        key = self.random.choice([STAFF, STAFF, WORKERS])
        self.append(seal(SignedStaff, "staff", key, msgspec.json.encode(body)))

    def brought(self, now: str) -> JSON:
        """What a member brings along from an older programme."""
        year = int(now[:4])
        lots = [{"month": f"{year - 1}-{month:02}", "points": 40} for month in self.random.sample(range(1, 13), 2)]
        return {
            "action": "opening",
            "lots": lots,
            "debt": self.random.choice([0, 15]),
            "level": "silver",
            "level_since": f"{year - 1}-06-01T00:00:00Z",
            "spend": {f"{year - 1}-11": 12_000},
            "joined_at": f"{year - 2}-06-01T00:00:00Z",
            "last_purchase_at": f"{year - 1}-11-05T00:00:00Z",
            "last_action_at": f"{year - 1}-11-20T00:00:00Z",
        }

    def tick(self) -> None:
        """Nothing but a time."""
        self.append(tick(self.random.choice(["owner-1", "owner-2", ""])))

    def hole(self) -> None:
        """Offsets that hold nothing for us: a transaction's marker, aborted records."""
        self.offset += self.random.randint(1, 3)
        self.tick()


def milestones(log: Recorder) -> dict[int, Callable[[], None]]:
    """What happens once, by the share of the log in percent."""

    def version(number: int, approved_by: str) -> Callable[[], None]:
        return lambda: log.control(
            ProgrammeControl(
                id="programme",
                number=number,
                by="ann",
                approved_by=approved_by,
                text=programme(number, log.rules),
                holds_from=log.clock + DAY,
            )
        )

    return {
        20: version(2, "ann"),  # one person: refused
        40: version(2, "bob"),
        45: version(2, "bob"),  # not above the number in force: ignored
        60: lambda: log.control(GoLive(id="live", number=1, by="ann", approved_by="bob")),
        70: lambda: log.control(GoLive(id="live", number=2, by="ann", approved_by="bob"), WORKERS),
        80: version(3, "bob"),
    }


def record(count: int, seed: int, rules: int = 1) -> list[Record]:
    """A log of so many records, under programmes of one number of rules."""
    log = Recorder(seed, count, rules)
    kinds = {log.plain: 880, log.again: 30, log.tick: 60, log.poison: 8, log.stray: 6, log.derived: 6}
    kinds |= {log.staff: 2, log.hole: 2, log.burst: 1}
    once = {count * percent // 100: do for percent, do in milestones(log).items()}
    log.plain()
    while len(log.records) < count:
        log.clock += log.random.randint(0, 2 * log.step)
        do = once.pop(len(log.records), None)
        (do or log.random.choices(list(kinds), list(kinds.values()))[0])()
    return log.records
