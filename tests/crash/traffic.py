"""What arrives in the log of a crashed run: every kind of record, well-meant or not, from one seed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from processors.partitioner import partition_of
from processors.signature import public_text, seal
from schemas import facts as fact_codec
from schemas.facts import PointsHeld
from schemas.records import (
    Cause,
    Control,
    Forward,
    GoLive,
    ProgrammeControl,
    SignedControl,
    SignedDerived,
    SignedStaff,
    tick,
)
from schemas.topics import Topics
from tests.doubles import MemoryLog
from tests.limits import limited, with_a_weekly_task

SECOND = 1_000
DAY = 86_400 * SECOND
STAFF = Ed25519PrivateKey.from_private_bytes(b"s" * 32)
WORKERS = Ed25519PrivateKey.from_private_bytes(b"w" * 32)
STRANGER = Ed25519PrivateKey.from_private_bytes(b"x" * 32)
PROGRAMME = limited(
    with_a_weekly_task(Path("schemas/programmes/default.yaml").read_text()),
    wakes_per_record=3,
    sweep_per_record=2,
    block_offsets=1_000,
    rule_letters=2,
    rule_window_offsets=100,
)
POISON = (
    b"{",
    b"",
    b"\xff\xfe",
    b'{"action":"purchase","amount":NaN}',
    b"[" * 900,
    b'{"action":"login","event_id":"x","source":"app","member_id":"m-1","occurred_at":"2026-03-02T00:00:00Z","name":"A"}',
    b'{"action":"jump","event_id":"x","source":"app","member_id":"m-1","occurred_at":"2026-03-02T00:00:00Z"}',
    b'{"record":"tick","owner":"a","more":1}',
    b'{"record":"control","key_id":"staff","signature":"AA==","body":{"control":"go_live"}}',
)
ITEM = {"sku": "i-1", "category": "tea", "amount": 300}
KINDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("check_in", {}),
    ("message", {"kind": "chat", "length": 5}),
    ("share", {"target": "content"}),
    ("purchase", {"amount": 9_950, "currency": "CNY"}),
    ("purchase", {"amount": 100, "currency": "XYZ"}),
    ("login", {}),
    ("browse", {"item_id": "i-1"}),
    ("like", {"item_id": "i-1"}),
    ("comment", {"item_id": "i-1"}),
    ("purchase", {"amount": 300, "currency": "CNY", "coupon_id": "k-1", "lines": [ITEM]}),
    ("event", {"activity_id": "a-1", "kind": "trial", "status": "joined"}),
    ("event", {"activity_id": "a-1", "kind": "trial", "status": "finished"}),
    ("join", {"region": "east"}),
    ("profile", {"home_region": "west"}),
    ("content", {"content_id": "c-1", "status": "seen"}),
    ("refund", {"currency": "CNY"}),
    ("redeem", {"reward": "cup"}),
    ("redeem_cancel", {}),
    ("leave", {}),
)

TO_OTHERS: dict[str, Callable[[str], dict[str, Any]]] = {
    "join": lambda other: {"referrer_id": other},
    "message": lambda other: {"reply_to": {"event_id": "e-0", "member_id": other}},
    "like": lambda other: {"author_id": other},
    "comment": lambda other: {"author_id": other},
    "share": lambda other: {"author_id": other},
}
"""What makes an action one that another member hears of."""


class Traffic:
    """Appends records to the actions of a log, and moves its clock."""

    def __init__(self, rnd: Random, log: MemoryLog, topics: Topics, text: str = PROGRAMME) -> None:
        self.rnd, self.log, self.topics, self.text = rnd, log, topics, text
        self.members = [f"m-{number}" for number in range(rnd.choice((3, 12, 40)))]
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.staffed: list[tuple[str, dict[str, Any]]] = []
        self.programmes = 1
        self.strays = 0
        for partition in range(topics.actions.partitions):
            self._append(partition, control(first_programme(topics.log, text)))

    def burst(self, count: int) -> None:
        """So many steps."""
        for _ in range(count):
            self.step()

    def step(self) -> None:
        """The clock moves, and something arrives."""
        rnd = self.rnd
        self.log.now += rnd.choices(
            (0, rnd.randrange(1_500), rnd.randrange(3_600 * SECOND), rnd.randrange(9 * DAY)), (30, 60, 8, 2)
        )[0]
        kinds = (
            self._act,
            self._repeat,
            self._conflict,
            self._poison,
            self._tick,
            self._mark,
            self._signed,
            self._staff,
            self._burst,
        )
        rnd.choices(kinds, (70, 8, 3, 6, 6, 2, 2, 4, 2))[0]()

    def change_programme(self) -> None:
        """Another version for all partitions, or for some of them now and for the others soon."""
        self.programmes += 1
        text = self.text.replace("points: 5", f"points: {5 + self.programmes}").replace(
            "after_days: 7}", f"after_days: {3 + self.programmes % 4}}}"
        )
        if self.rnd.random() < 0.5:
            text += self._overlays()
        body = ProgrammeControl(
            id="programme",
            number=self.programmes,
            by="ann",
            approved_by="bob",
            text=text,
            holds_from=self.log.now + 60_000 + self.rnd.randrange(3 * DAY),
        )
        for partition in range(self.topics.actions.partitions):
            self._append(partition, control(body))

    def _overlays(self) -> str:
        """A region with other points, and a pilot that ends within days, of what timers do too."""
        end = instant(self.log.now + self.rnd.randrange(1, 9) * DAY)[:10]
        steps = "[{tier: yellow, after_days: 2}, {tier: L1, after_days: 9}]"
        return (
            "overlays: {west: {points.share.points: 9}}\n"
            f"pilots: {{half: {{percent: 50, end: {end}, overrides: {{tiers.presence: {steps}}}}}}}\n"
        )

    def boom(self, *, member: str | None = None) -> None:
        """An action that a faulty rule chokes on."""
        self._act(event_id=f"boom-{len(self.sent)}", member=member)

    def to_the_block_end(self) -> None:
        """Aborted records up to the end of a block of offsets."""
        for partition in range(self.topics.actions.partitions):
            left = 1_000 - self.log.end(self.topics.actions.name, partition) % 1_000
            self.log.mark(self.topics.actions.name, partition, max(1, left - self.rnd.randrange(4)))

    def _act(self, *, event_id: str = "", member: str | None = None) -> None:
        rnd = self.rnd
        member = member or rnd.choice(self.members)
        name, fields = rnd.choice(KINDS[:-1] if rnd.random() < 0.97 else KINDS[-1:])
        ago = rnd.choices((0, rnd.randrange(2 * DAY), rnd.randrange(33 * DAY), -3_600 * SECOND), (75, 15, 8, 2))[0]
        number = len(self.sent)
        action = {
            "action": name,
            "event_id": event_id or f"e-{number}",
            "source": rnd.choice(("app", "shop")),
            "member_id": member,
            "occurred_at": instant(self.log.now - ago),
            "region": rnd.choice(("", "east", "west")),
            "group_id": rnd.choice(("", "g-1")),
            **fields,
        }
        if name in ("purchase", "refund"):
            action["order_id"] = f"o-{rnd.randrange(number // 2 + 1)}"
        if name == "refund":
            action["amount"] = rnd.choice((1, 4_975, 9_950, 9_951))
            if rnd.random() < 0.3:
                action["purchased_at"] = instant(self.log.now - rnd.randrange(400) * DAY)
            bought = [sent for by, sent in self.sent[-300:] if by == member and sent["action"] == "purchase"]
            if bought and rnd.random() < 0.5:
                first = rnd.choice(bought)
                action["order_id"], action["amount"] = first["order_id"], first["amount"]
        if name in ("redeem", "redeem_cancel"):
            action["redeem_id"] = f"r-{rnd.randrange(number // 4 + 1)}"
        if name == "redeem":
            action["points"] = rnd.choice((50, 100, 100, 200))
            if rnd.random() < 0.3:
                del action["reward"]
                action["order_id"] = f"o-{rnd.randrange(number // 2 + 1)}"
        if name in TO_OTHERS and rnd.random() < 0.7:
            action.update(TO_OTHERS[name](rnd.choice(self.members)))
        self._send(member, action)

    def _send(self, member: str, action: dict[str, Any]) -> None:
        self.sent.append((member, action))
        partition = self._home(member)
        if self.rnd.random() < 0.06:
            partition = self.rnd.randrange(self.topics.actions.partitions)
        self._append(partition, msgspec.json.encode(action), key=member.encode())

    def _burst(self) -> None:
        """More messages of a member within a minute than are believed."""
        member = self.rnd.choice(self.members)
        for _ in range(8):
            action = {
                "action": "message",
                "kind": "chat",
                "event_id": f"b-{len(self.sent)}",
                "source": "app",
                "member_id": member,
                "occurred_at": instant(self.log.now),
            }
            self._send(member, action)

    def _repeat(self) -> None:
        if self.sent:
            self._send(*self.rnd.choice(self.sent))

    def _conflict(self) -> None:
        if self.sent:
            member, action = self.rnd.choice(self.sent)
            self._send(member, {**action, "region": "other"})

    def _poison(self) -> None:
        self._append(self._any(), self.rnd.choice(POISON), key=b"poison")

    def _tick(self) -> None:
        self._append(self._any(), tick("somebody"))

    def _mark(self) -> None:
        self.log.mark(self.topics.actions.name, self._any(), self.rnd.choice((1, 1, 2, 9)))

    def _signed(self) -> None:
        """Control, staff and derived records by those who may not, and a control record by one who may."""
        member = self.rnd.choice(self.members)
        body = msgspec.json.encode(self._head(member) | BROUGHT)
        cause = Cause(self.topics.log, 0, 10**9, 0)
        forged = msgspec.json.encode(Forward(cause=cause, member_id=member, value=b"{}"))
        value = self.rnd.choice(
            (
                seal(SignedStaff, "staff", STRANGER, body),
                seal(SignedDerived, "workers", STRANGER, forged),
                control(GoLive(id="live", number=1, by="ann", approved_by="bob")),
                control(GoLive(id="live", number=2, by="ann", approved_by="ann")),
                control(GoLive(id="live", number=9, by="eve", approved_by="bob"), key=STRANGER),
            )
        )
        self._append(self._home(member), value)

    def _staff(self) -> None:
        """What two of staff decide: points, holds, entries and batches undone, members brought along; some twice."""
        rnd = self.rnd
        member = rnd.choice(self.members)
        made = (self._points, self._judged, self._reversed, self._undone, self._brought)
        member, said = rnd.choices(made, (4, 4, 2, 1, 2))[0](member)
        if self.staffed and rnd.random() < 0.1:
            member, body = rnd.choice(self.staffed)
        else:
            body = self._head(member) | said
            self.staffed.append((member, body))
        self._append(self._home(member), seal(SignedStaff, "staff", STAFF, msgspec.json.encode(body)))

    def _head(self, member: str) -> dict[str, Any]:
        return {
            "reason": "sorry",
            "operator": "ann",
            "approved_by": "bob",
            "event_id": f"a-{len(self.sent)}-{len(self.staffed)}",
            "source": "desk",
            "member_id": member,
            "occurred_at": instant(self.log.now),
        }

    def _points(self, member: str) -> tuple[str, dict[str, Any]]:
        """Given or taken, half of them as a row of a batch; a row that was booked comes again under another id."""
        batched = self._booked("batch_id")
        if batched and self.rnd.random() < 0.2:
            by, body = self.rnd.choice(batched)
            return by, {name: body[name] for name in ("action", "kind", "points", "batch_id", "row")}
        said: dict[str, Any] = {"action": "adjust", "kind": "points", "points": self.rnd.choice((5, 200, -30))}
        if self.rnd.random() < 0.5:
            said |= {"batch_id": f"b-{self.rnd.randrange(3)}", "row": len(self.staffed)}
        return member, said

    def _judged(self, member: str) -> tuple[str, dict[str, Any]]:
        """A hold that facts have told of, one of the last: perhaps it has ended since."""
        kind = self.rnd.choice(("release", "reverse"))
        if held := self._held():
            one = self.rnd.choice(held[-4:])
            return one.member_id, {"action": "adjust", "kind": kind, "hold_id": one.hold_id}
        return member, {"action": "adjust", "kind": kind, "hold_id": "0" * 32}

    def _held(self) -> list[PointsHeld]:
        """All holds so far, as whoever judges them reads it from the facts."""
        partitions = range(self.topics.actions.partitions)
        values = [record.value or b"" for p in partitions for record in self.log.read(self.topics.facts.name, p)]
        facts = [fact_codec.decode(value) for value in values if b'"points.held"' in value]
        return sorted((fact for fact in facts if isinstance(fact, PointsHeld)), key=lambda fact: fact.decided_at)

    def _reversed(self, member: str) -> tuple[str, dict[str, Any]]:
        """An entry of staff, now and then one that nobody knows."""
        booked = self._booked("points")
        if not booked or self.rnd.random() < 0.1:
            return member, {"action": "adjust", "kind": "reverse", "refers_to": "a-nobody"}
        by, body = self.rnd.choice(booked[-9:])
        return by, {"action": "adjust", "kind": "reverse", "refers_to": body["event_id"]}

    def _undone(self, member: str) -> tuple[str, dict[str, Any]]:
        """What a batch did to a member."""
        batched = self._booked("batch_id")
        by, batch = self.rnd.choice([(by, body["batch_id"]) for by, body in batched] or [(member, "b-0")])
        return by, {"action": "adjust", "kind": "undo_batch", "batch_id": batch}

    def _booked(self, field: str) -> list[tuple[str, dict[str, Any]]]:
        """Points of staff so far that have this field."""
        return [(by, body) for by, body in self.staffed if body.get("kind") == "points" and field in body]

    def _brought(self, member: str) -> tuple[str, dict[str, Any]]:
        return member, BROUGHT

    def _home(self, member: str) -> int:
        return partition_of(member, self.topics.actions.partitions)

    def _any(self) -> int:
        return self.rnd.randrange(self.topics.actions.partitions)

    def _append(self, partition: int, value: bytes, key: bytes | None = None) -> None:
        self.log.append(self.topics.actions.name, partition, value, key=key)


BROUGHT = {
    "action": "opening",
    "lots": [{"month": "2025-03", "points": 700}, {"month": "2025-12", "points": 300}],
    "debt": 20,
    "level": "silver",
    "level_since": "2025-06-01T00:00:00Z",
    "spend": {"2025-11": 12_000},
    "joined_at": "2024-06-01T00:00:00Z",
    "last_purchase_at": "2025-11-05T00:00:00Z",
    "last_action_at": "2025-11-20T00:00:00Z",
}
"""What a member brings along from an older programme."""


def first_programme(log: str, text: str = PROGRAMME) -> ProgrammeControl:
    """What bootstrap writes into each partition."""
    return ProgrammeControl(
        id="programme",
        number=1,
        by="ann",
        text=text,
        holds_from=0,
        log=log,
        staff_keys={"staff": public_text(STAFF)},
        worker_keys={"workers": public_text(WORKERS)},
        id_key="00" * 16,
    )


def control(body: Control, *, key: Ed25519PrivateKey = STAFF) -> bytes:
    """A control record in its envelope."""
    return seal(SignedControl, "staff", key, msgspec.json.encode(body))


def instant(ms: int) -> str:
    """A moment as senders write it."""
    return dt.datetime.fromtimestamp(ms / 1000, tz=dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
