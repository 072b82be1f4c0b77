"""Load that behaves like members: a history as a file, or live traffic into Kafka.

    python -m infra.load history FILE --members 3000 --days 30
    python -m infra.load live --members 3000 --rate 500 --seconds 60
    python -m infra.load live --members 200000 --total 1000000      # as fast as the broker takes it

The same seed makes the same members and the same history, byte for byte; live traffic with the same seed comes
from the same members. The broker is found as all commands find it (MEMBERFLOW_KAFKA__BOOTSTRAP).
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector
from pydantic import ValidationError

from infra.command import run, wrong
from infra.history import PER_DAY, ZONE, History, Span
from infra.live import Live, Silence
from infra.members import DAY_MS, Crowd, Wave
from infra.pace import Limits, Run
from infra.process import StackError
from infra.sender import CODECS, Sender
from infra.staff import Key, Staff
from infra.traffic import CLEAN, Trouble, Writer
from schemas.settings import Metrics, Settings
from schemas.topics import topics

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)

Members = Annotated[int, typer.Option(min=1, max=10_000_000, help="size of the crowd")]
Seed = Annotated[int, typer.Option(help="same seed, same members, same history")]
Zone = Annotated[str, typer.Option(help="the zone whose hours and weekdays they live by")]
Share = Annotated[float, typer.Option(min=0, max=0.2, help="share of the records")]
Waves = Annotated[
    list[str] | None,
    typer.Option("--wave", metavar="SHARE:DAYS[:buying]", help="so many fall silent DAYS before the end"),
]


def now_ms() -> int:
    """The machine's clock: a generator stands for the world outside, which has one."""
    return time.time_ns() // 1_000_000  # noqa: TID251 - as the docstring says


@app.command()
def history(
    file: Annotated[Path, typer.Argument(help="JSON lines, for `memberflow import history`")],
    members: Members = 3_000,
    seed: Seed = 1,
    days: Annotated[int, typer.Option(min=1, max=4_000, help="how many")] = 30,
    until: Annotated[str, typer.Option(help="last day or moment, ISO 8601; default: now")] = "",
    per_day: Annotated[float, typer.Option(min=0.01, help="actions a member and day")] = PER_DAY,
    total: Annotated[int, typer.Option(min=0, help="about so many actions instead")] = 0,
    zone: Zone = ZONE,
    duplicates: Share = 0.01,
    late: Share = 0.005,
    poison: Share = 0.0,
    wave: Waves = None,
) -> None:
    """Write the past of a crowd as JSON lines, in order of arrival."""
    crowd = Crowd(members, seed, waves(wave))
    span = Span.of_days(moment(until, zone), days, zone, total / members / days if total else per_day)
    story = History(crowd, seed, span, Trouble(duplicates, late, 0, poison, 0))
    with file.open("wb") as output:
        output.writelines(value + b"\n" for value in story)
    print(json.dumps({"members": members, "since": span.since, "until": span.until, **story.counts}))


@app.command()
def live(
    members: Members = 3_000,
    seed: Seed = 1,
    rate: Annotated[float, typer.Option(min=0, help="records a second; 0 = as fast as it goes")] = 0,
    seconds: Annotated[float, typer.Option(min=0, help="stop after; 0 = no end")] = 0,
    total: Annotated[int, typer.Option(min=0, help="stop after so many records; 0 = no end")] = 0,
    zone: Zone = ZONE,
    uniform: Annotated[bool, typer.Option("--uniform", help="all members alike, at all hours")] = False,
    clean: Annotated[bool, typer.Option("--clean", help="no trouble at all")] = False,
    duplicates: Share = 0.01,
    late: Share = 0.005,
    beyond: Share = 0.0002,
    poison: Share = 0.0005,
    strays: Share = 0.0,
    staff: Annotated[float, typer.Option(min=0, max=0.2, help="share of staff's records; needs their key")] = 0.0,
    wave: Waves = None,
    silent_share: Annotated[float, typer.Option(min=0, max=1, help="members who stop altogether")] = 0.0,
    silent_after: Annotated[float, typer.Option(min=0, help="... after so many seconds")] = 0.0,
    incidents: Annotated[bool, typer.Option("--incidents", help="now and then a storm, a late batch, a burst")] = False,
    codec: Annotated[str, typer.Option(help=f"one of {', '.join(CODECS)}")] = "zstd",
) -> None:
    """Produce live traffic; when it ends (SIGTERM ends it) it prints what was sent as one JSON object."""
    if not (seconds or total or rate):
        raise StackError("this would never end and never rest: give --rate, --seconds or --total")
    settings = Settings()
    start = now_ms()
    writer = Writer(seed, f"l{seed}-{start:x}")
    key = Key.of(settings.keys.folder / settings.keys.staff) if staff else None
    stream = Live(
        Crowd(members, seed, waves(wave)),
        writer,
        CLEAN if clean else Trouble(duplicates, late, beyond, poison, strays),
        checked_zone(zone),
        uniform=uniform,
        silence=Silence(silent_share, start + int(silent_after * 1000)),
        staff=Staff(key, staff, writer.origin, writer.instant) if key else None,
    )
    sender = Sender(settings.kafka.bootstrap, topics(settings.log).actions.name, codec)
    run = Run(stream, sender, Limits(rate, seconds, total), now_ms, has_incidents=incidents)
    with served(run, settings.metrics):
        asyncio.run(run.run())
    print(json.dumps(run.summary()))


class Shown(Collector):
    """The generator's own counters; no other process counts into them."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Read when somebody asks."""
        yield CounterMetricFamily("load_records_acknowledged", "Records the broker took.", self.run.sender.acknowledged)
        trouble = CounterMetricFamily("load_trouble", "Records that are not as they should be.", labels=["kind"])
        for kind, count in sorted(self.run.stream.counts.items()):
            trouble.add_metric([kind], count)
        yield trouble


@contextmanager
def served(run: Run, settings: Metrics) -> Iterator[None]:
    """Metrics on loopback, the address left where Prometheus looks as long as it is true."""
    registry = CollectorRegistry()
    registry.register(Shown(run))
    server, _ = start_http_server(settings.port, addr=settings.host, registry=registry)
    if settings.targets is None:
        yield
        return
    settings.targets.mkdir(parents=True, exist_ok=True)
    target = [{"targets": [f"{settings.host}:{server.server_port}"], "labels": {"job": "memberflow-load"}}]
    path = settings.targets / f"load-{os.getpid()}.json"
    path.with_suffix(".tmp").write_text(json.dumps(target))
    path.with_suffix(".tmp").rename(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def waves(texts: Sequence[str] | None) -> list[Wave]:
    """SHARE:DAYS[:buying] to waves."""
    found = []
    for text in texts or []:
        share, _, rest = text.partition(":")
        days, _, what = rest.partition(":")
        try:
            wave = Wave(float(share), float(days), only_purchases=what == "buying")
        except ValueError:
            raise StackError(f"--wave {text}: write SHARE:DAYS or SHARE:DAYS:buying, as 0.05:7") from None
        if what not in ("", "buying") or not 0 < wave.share < 1 or wave.days <= 0:
            raise StackError(f"--wave {text}: a share between 0 and 1, days above 0, nothing or `buying`")
        found.append(wave)
    if sum(wave.share for wave in found) > 0.9:
        raise StackError("--wave: together at most 0.9 of the members, somebody has to go on")
    return found


def moment(text: str, zone: str) -> int:
    """The moment (ms) a text names; a bare day is its end in the zone, nothing is now."""
    local = ZoneInfo(checked_zone(zone))
    if not text:
        return now_ms()
    try:
        named = dt.datetime.fromisoformat(text)
    except ValueError:
        raise StackError(f"--until {text}: write 2026-11-21 or 2026-11-21T12:00:00Z") from None
    named = named if named.tzinfo else named.replace(tzinfo=local)
    return int(named.timestamp() * 1000) + (DAY_MS if len(text) == len("2026-11-21") else 0)


def checked_zone(zone: str) -> str:
    """The name of a zone that exists."""
    try:
        return ZoneInfo(zone).key
    except (ZoneInfoNotFoundError, ValueError):
        raise StackError(f"--zone {zone}: write an IANA name such as Asia/Shanghai") from None


def main() -> None:
    """Errors a person can do something about are one line, exit code 2."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # told in one line of our own
    try:
        run(app, "load")
    except ValidationError as error:
        told = "; ".join(f"MEMBERFLOW_{'__'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
        wrong("load", told)
    except OSError as error:
        wrong("load", f"{error.filename}: {error.strerror}")


if __name__ == "__main__":
    main()
