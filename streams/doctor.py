"""What is wrong with this place, asked part by part: each finding says what was looked at and what to do about it."""

from __future__ import annotations

import asyncio
import platform
import socket
import stat
from collections.abc import Callable, Coroutine
from contextlib import closing
from importlib.metadata import version
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from processors.signature import public_text
from schemas.settings import ClickHouse
from schemas.verdicts import Verdict
from streams import topics as topic_admin
from streams.analytics import Probe, open_reader
from streams.errors import AnalyticsUnavailable, MemberflowError
from streams.keys import private_key, public_keys
from streams.programme_log import Standing, standing, standing_of
from streams.redis_store import RedisStore
from streams.wiring import Invocation, broker, refuse_two_owners

Health = Literal["ok", "warn", "fail"]
SKEW_S = 2.0
"""The broker may be ahead of this machine by so much; beyond it one of the clocks is wrong."""

QUIET_S = 10.0
"""A running worker writes a tick a second, so a clock that stands for longer says that none runs."""

STRAYS = 0.01
"""Above this share of the actions, a sender uses another partitioner."""


class Finding(NamedTuple):
    """One thing looked at."""

    what: str
    health: Health
    found: str
    remedy: str = ""


class Doctor:
    """Asks every part. A part that does not answer is a finding, never an exception."""

    def __init__(self, invocation: Invocation, store: RedisStore) -> None:
        self.invocation, self.settings, self.store = invocation, invocation.settings, store
        self.places: dict[int, Standing] = {}

    async def examine(self) -> list[Finding]:
        """Every check, in the order in which one depends on another."""
        checks: list[tuple[str, Callable[[], Coroutine[Any, Any, list[Finding]]]]] = [
            ("python", self.python),
            ("ports", self.ports),
            ("kafka", self.kafka),
            ("redis", self.redis),
            ("partitions", self.partitions),
            ("partitioner", self.partitioner),
            ("clock", self.clock),
            ("keys", self.keys),
            ("clickhouse", self.clickhouse),
        ]
        found: list[Finding] = []
        for name, check in checks:
            try:
                found += await check()
            except MemberflowError as error:
                found.append(Finding(name, "fail", error.what, error.advice))
        return found

    async def python(self) -> list[Finding]:
        """Versions of what we stand on, and that nobody else owns our names."""
        refuse_two_owners()
        names = ("faust-streaming", "aiokafka", "kafka-python", "redis", "msgspec")
        found = ", ".join(f"{name} {version(name)}" for name in names)
        return [Finding("python", "ok", f"{platform.python_version()}, memberflow {version('memberflow')}, {found}")]

    async def ports(self) -> list[Finding]:
        """Whether anybody listens where the settings say."""
        redis = urlsplit(self.settings.redis.url)
        places = [("kafka", server.strip()) for server in self.settings.kafka.bootstrap.split(",")]
        places.append(("redis", f"{redis.hostname or '127.0.0.1'}:{redis.port or 6379}"))
        found = []
        for name, place in places:
            if await asyncio.to_thread(listens, place):
                found.append(Finding(f"port of {name}", "ok", place))
            else:
                remedy = f"start it (on this machine `make stack-up`), or set MEMBERFLOW_{name.upper()}__*"
                found.append(Finding(f"port of {name}", "fail", f"nobody listens at {place}", remedy))
        return found

    async def kafka(self) -> list[Finding]:
        """The broker's version, and the topics as they are against the topics as declared."""
        return await asyncio.to_thread(self._kafka)

    def _kafka(self) -> list[Finding]:
        with broker(self.settings) as client:
            told = topic_admin.compare(client, self.invocation.topics.all())
            release = broker_release(client)
        found = [Finding("kafka", "ok", release)]
        for difference in told:
            found.append(_of_topic(difference))
        if not told:
            found.append(Finding("topics", "ok", f"{len(self.invocation.topics.all())} as declared"))
        return found

    async def redis(self) -> list[Finding]:
        """Version and policies."""
        release = await self.store.check()
        return [Finding("redis", "ok", f"{release}, noeviction, append-only file on")]

    async def partitions(self) -> list[Finding]:
        """Begun, of this very topic, not halted."""
        numbers = range(self.settings.partitions)
        headers, halted = await self.store.headers(numbers), await self.store.halted(numbers)
        if not any(headers.values()) and not halted:
            await standing(self.settings, self.store)  # a log that has not begun
        topic_id = await asyncio.to_thread(self.invocation.topic_id)
        found = []
        for partition, header in headers.items():
            if header is None:
                if partition not in halted:
                    remedy = f"`memberflow rebuild {partition}` restores what was lost"
                    found.append(Finding("partitions", "fail", f"partition {partition} has no state", remedy))
                continue
            self.places[partition] = standing_of(header)
            bound = header.identity
            if (bound.topic_id, bound.partitions) != (topic_id, self.settings.partitions):
                text = f"partition {partition} is bound to topic {bound.topic_id}, {bound.partitions} partitions"
                found.append(Finding("partitions", "fail", text, "a new topic needs a log name never used"))
        for partition, reason in halted.items():
            remedy = f"cure it, then `memberflow partition resume {partition}`"
            found.append(Finding("partitions", "fail", f"partition {partition} is halted: {reason}", remedy))
        return found or [Finding("partitions", "ok", f"{len(self.places)} of log {self.settings.log}, none halted")]

    async def partitioner(self) -> list[Finding]:
        """Whether senders put members where they belong: murmur2 over the member's id."""
        forwarded = self._sum(Verdict.FORWARDED)
        actions = forwarded + self._sum(Verdict.APPLIED) + self._sum(Verdict.DUPLICATE) + self._sum(Verdict.LATE)
        text = f"{forwarded} of {actions} actions came to a wrong partition and were forwarded"
        if forwarded > STRAYS * actions:
            remedy = "librdkafka clients: set partitioner=murmur2_random; key = member_id"
            return [Finding("partitioner", "warn", text, remedy)]
        return [Finding("partitioner", "ok", text)]

    async def clock(self) -> list[Finding]:
        """This machine's clock against the newest stamp in the log."""
        newest = max((place.state.clock for place in self.places.values()), default=0)
        if not newest:
            remedy = "start `memberflow worker`; one that has just started needs some seconds for its first commit"
            return [Finding("clock", "warn", "no worker has committed a record of this log yet", remedy)]
        behind = self.invocation.wall() - newest / 1000
        if behind < -SKEW_S:
            text = f"the broker's clock is {-behind:.1f} s ahead of this machine"
            return [Finding("clock", "fail", text, "synchronise both clocks")]
        if behind > QUIET_S:
            text = f"the newest record committed is {behind:.0f} s old"
            return [Finding("clock", "warn", text, "start `memberflow worker`, or synchronise both clocks")]
        return [Finding("clock", "ok", f"broker and this machine within {abs(behind):.1f} s, ticks included")]

    async def keys(self) -> list[Finding]:
        """Both private keys are there, nobody else may read them, and their public halves are in force."""
        settings, found = self.settings.keys, []
        in_force = next(iter(self.places.values())).state if self.places else None
        public_keys(self.settings)
        for role, name in (("worker_keys", settings.workers), ("staff_keys", settings.staff)):
            key_id, private = private_key(settings.folder, name)
            path = settings.folder / name
            known = getattr(in_force, role, None)
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                found.append(Finding("keys", "warn", f"others may read {path}", f"chmod 600 {path}"))
            if known and known.get(key_id) != public_text(private):
                text = f"{key_id} is not among the {role} in force ({', '.join(known)})"
                found.append(Finding("keys", "fail", text, "name the right folder with MEMBERFLOW_KEYS__FOLDER"))
        return found or [Finding("keys", "ok", f"{settings.workers} and {settings.staff} in {settings.folder}")]

    async def clickhouse(self) -> list[Finding]:
        """Whether SQL is answered: by the server, or by the sink where the engine is inside it."""
        settings = self.settings.clickhouse
        places = {"server": (settings.host, settings.port), "chdb": (settings.http_host, settings.http_port)}
        place = "{}:{}".format(*places[settings.adapter])
        try:
            found = await asyncio.to_thread(_probe, settings)
        except AnalyticsUnavailable as error:
            remedy = "start `memberflow sink`" if settings.adapter == "chdb" else "start the ClickHouse server"
            return [Finding("clickhouse", "fail", error.what, f"{remedy}, or set MEMBERFLOW_CLICKHOUSE__*")]
        return [Finding("clickhouse", "ok", f"{found.version} answers SQL at {place}")]

    def _sum(self, verdict: Verdict) -> int:
        return sum(place.state.verdicts.get(verdict.value, 0) for place in self.places.values())


def listens(place: str) -> bool:
    """Whether anybody listens at host:port."""
    host, _, port = place.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=2).close()
    except (OSError, ValueError):
        return False
    return True


def broker_release(client: Any) -> str:
    """Which release each broker is, as far as the protocol tells it."""
    ids = [it["broker_id"] for it in client.describe_cluster()["brokers"]]
    found = {client.get_broker_version_data(broker_id).broker_version for broker_id in ids}
    releases = ", ".join(".".join(map(str, release)) for release in sorted(found))
    return f"{releases} on {len(ids)} broker{'s' if len(ids) > 1 else ''}"


def _probe(settings: ClickHouse) -> Probe:
    with closing(open_reader(settings)) as reader:
        return reader.probe()


def _of_topic(it: topic_admin.Difference) -> Finding:
    if it.created:
        return Finding("topics", "fail", f"{it.topic} is missing", "`memberflow topics apply`")
    if it.what == "message.timestamp.type" and it.found == "CreateTime":
        remedy = "`memberflow import --finish` ends it"
        return Finding("topics", "warn", f"{it} (a history is being imported)", remedy)
    return Finding("topics", "fail", str(it), "set it by hand with the broker's tools; `topics apply` alters nothing")
