"""A member's life in a log of its own, folded and told: for tests of what people are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from processors.calendar import Calendar
from processors.signature import seal
from schemas.records import Cause, Referral, SignedDerived, SignedStaff, tick
from schemas.settings import Settings
from schemas.topics import topics
from streams.explain import Explainer, Told
from streams.member_log import MemberLog
from streams.memory_store import MemoryStore
from streams.replay import Replay
from streams.store import Identity
from streams.time_machine import TimeMachine
from tests.crash.traffic import STAFF, WORKERS, control, first_programme, instant
from tests.doubles import ListSource, MemoryLog
from tests.processors.story import DAY, START, an_action

LOG = "why-1"
TOPIC = topics(LOG, partitions=1).actions.name
SHANGHAI = Calendar("Asia/Shanghai", 0)
TEXT = (
    Path("schemas/programmes/default.yaml")
    .read_text()
    .replace("excluded_categories: []", "excluded_categories: [gift]")
)
HOUR = 1 / 24

Step = tuple[Any, ...]


class Life:
    """A log of one partition in which one member, m-1, lives; told as a story is, by days."""

    def __init__(self, steps: list[Step], text: str = TEXT) -> None:
        self.log = MemoryLog(START)
        self.log.append(TOPIC, 0, control(first_programme(LOG, text)))
        for number, (arrives, what, *more) in enumerate(steps):
            self.log.now = START + round(arrives * DAY)
            happened = more[0] if more else arrives
            fields = more[1] if len(more) > 1 else {}
            self.log.append(TOPIC, 0, self.value(what, number, START + round(happened * DAY), fields))

    @staticmethod
    def value(what: str, number: int, happened: int, fields: dict[str, Any]) -> bytes:
        if what == "tick":
            return tick()
        if what == "staff":
            people = {"reason": "a test", "operator": "ann", "approved_by": "bob", "member_id": "m-1"}
            head = {"action": "adjust", "event_id": f"a-{number}", "source": "desk", "occurred_at": instant(happened)}
            return seal(SignedStaff, "staff", STAFF, msgspec.json.encode(head | people | fields))
        if what == "referral":
            body = Referral(Cause(LOG, 1, number, 0), "m-1", fields["kind"], "m-9", active_at=happened + 7 * DAY)
            return seal(SignedDerived, "workers", WORKERS, msgspec.json.encode(body))
        named = dict(fields)
        number = named.pop("number", number)
        return msgspec.json.encode(an_action(what, happened, number, **named))

    async def read(self, lang: str, first: int = 0) -> tuple[list[Told], MemberLog, Explainer]:
        """Folded and told, from a record on."""
        replay = Replay(Identity(LOG, "topic-1", 1), TOPIC, 0)
        await replay.begin()
        await replay.feed([one for one in self.log.read(TOPIC, 0) if one.offset < first])
        log = MemberLog(replay, "m-1")
        await log.read(ListSource(self.log, TOPIC, 3), self.log.end(TOPIC, 0))
        explainer = Explainer(log, SHANGHAI, lang)
        return explainer.tell(), log, explainer

    async def now(self, lang: str) -> list[str]:
        """What has not happened yet."""
        log, shown, live = await (await self._machine()).member_log("m-1")
        return [line.text for line in Explainer(log, SHANGHAI, lang).now(shown, live=live)]

    async def since(self, days: float) -> list[Told]:
        """What is told from a day on, as the command reads it."""
        moment = instant(START + round(days * DAY))
        log, _, _ = await (await self._machine()).member_log("m-1", moment)
        return Explainer(log, SHANGHAI, "en").tell()

    async def _machine(self) -> TimeMachine:
        store = MemoryStore(LOG)
        replay = Replay(Identity(LOG, "topic-1", 1), TOPIC, 0)
        await replay.begin()
        await replay.feed(self.log.read(TOPIC, 0))
        await store.bootstrap(0, replay.identity, "life", dump=await replay.dump())

        async def none(partition: int) -> dict[int, Any]:
            return {}

        settings = Settings(log=LOG, partitions=1, _env_file=None)
        return TimeMachine(settings, store, ListSource(self.log, TOPIC, 100), none)
