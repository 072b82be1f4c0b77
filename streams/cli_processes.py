"""Commands that stay: worker, sink, dispatcher. SIGTERM and SIGINT end each of them cleanly, with exit code 0.

What they are made of is imported when one is started: Faust and the embedded engine take seconds to load.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, Protocol

import structlog
import typer

from schemas.tables import DAY_MS
from streams.clients import kafka_answers
from streams.errors import LogMismatch, MemberflowError, UsageError
from streams.failpoints import Failpoints, freeze, parse
from streams.keys import private_key
from streams.logs import Outage, configure_logs
from streams.redis_store import RedisStore
from streams.store import Identity
from streams.wiring import Invocation, refuse_two_owners, run

log = structlog.get_logger()
sink = typer.Typer(help="Facts and aggregates into ClickHouse.")


def register(app: typer.Typer) -> None:
    """Put the commands of this module onto the command line."""
    app.command()(worker)
    app.add_typer(sink, name="sink", invoke_without_command=True)
    app.command()(dispatcher)


class Process(Protocol):
    """What stays until it is asked to stop, or until something it cannot cure."""

    async def run(self) -> None:
        """Until `stop`. Raises what ended it."""

    def stop(self) -> None:
        """Begin a clean stop."""


class Both:
    """Two that stay as one: when either ends, so does the other."""

    def __init__(self, first: Process, second: Process) -> None:
        self._both = (first, second)

    async def run(self) -> None:
        """Until `stop`. Raises what ended the first of them."""
        tasks = [asyncio.ensure_future(it.run()) for it in self._both]
        try:
            await asyncio.gather(*tasks)
        finally:
            self.stop()
            await asyncio.gather(*tasks, return_exceptions=True)

    def stop(self) -> None:
        """Begin a clean stop of both."""
        for it in self._both:
            it.stop()


# -- worker -----------------------------------------------------------------------------------------------------


def worker(ctx: typer.Context) -> None:
    """Run one worker: actions to points, scores and tiers."""
    run(_worker(ctx.obj, begin(ctx.obj)))


async def _worker(invocation: Invocation, begun: Begun) -> None:
    from streams.app import WorkerProcess
    from streams.metrics import Metrics

    settings, metrics = invocation.settings, Metrics()
    sign = private_key(settings.keys.folder, settings.keys.workers)
    async with invocation.store() as store:
        redis = await store.check()
        topic_id = await asyncio.to_thread(invocation.topic_id)
        await _same_log(store, Identity(settings.log, topic_id, settings.partitions))
        log.info("worker", log=settings.log, redis=redis, topic_id=topic_id)
        process = WorkerProcess(settings, store, topic_id, sign, metrics, invocation.wall, begun.fail)
        await stay(invocation, begun, "worker", process, metrics)


async def _same_log(store: RedisStore, ours: Identity) -> None:
    """Refuse another topic before the group gives us partitions of others. Raises `LogMismatch`."""
    for partition, header in (await store.headers(range(ours.partitions))).items():
        if header is not None and header.identity != ours:
            theirs = header.identity.topic_id
            what = f"partition {partition} is of the topic with the id {theirs}, the broker's has {ours.topic_id}"
            raise LogMismatch(what)


# -- sink -------------------------------------------------------------------------------------------------------


@sink.callback(invoke_without_command=True)
def run_sink(ctx: typer.Context) -> None:
    """Run the sink: facts and aggregates into ClickHouse, each exactly once in effect."""
    if ctx.invoked_subcommand is None:
        run(_sink(ctx.obj, begin(ctx.obj)))


async def _sink(invocation: Invocation, begun: Begun) -> None:
    from streams.archive import Archive
    from streams.landing import Source
    from streams.metrics import Metrics, SinkMetrics
    from streams.migrations import open_migrated
    from streams.sink import Sink

    settings, metrics = invocation.settings, Metrics("sink")
    await asyncio.to_thread(invocation.topic_id)
    store = await asyncio.to_thread(open_migrated, settings.clickhouse)
    source = Source(settings.log, settings.kafka.bootstrap)
    told = SinkMetrics(metrics, invocation.wall)
    process: Process = (facts := Sink(source, store, metrics=told, crash=begun.fail))
    if settings.clickhouse.actions:
        process = Both(facts, Archive(source, store, busy=lambda: facts.busy, metrics=told, crash=begun.fail))
    endpoint = None
    try:
        if settings.clickhouse.adapter == "chdb":
            from streams.chdb_server import SqlEndpoint

            own: Any = store
            endpoint = await SqlEndpoint(own, settings.clickhouse.http_host, settings.clickhouse.http_port).start()
            log.info("sql", address="{}:{}".format(*endpoint.address))
        await stay(invocation, begun, "sink", process, metrics)
    finally:
        if endpoint is not None:
            await endpoint.stop()
        await asyncio.to_thread(store.close)


@sink.command("resume")
def sink_resume(
    ctx: typer.Context,
    partitions: Annotated[list[int] | None, typer.Argument(min=0, help="without them: all that are stopped")] = None,
    accept_gap: Annotated[
        bool, typer.Option("--accept-gap", help="yes, the missing facts may stay missing; look with `reconcile` first")
    ] = False,
) -> None:
    """Let a sink that stopped at a gap pass it when it starts next. The sink must not be running."""
    from streams.sink_start import accept_gap as accept
    from streams.sink_start import gaps

    invocation: Invocation = ctx.obj
    where = (invocation.settings.kafka.bootstrap, invocation.settings.log)
    stopped = run(gaps(*where))
    if not stopped:
        raise UsageError("no partition is stopped at a gap", remedy="nothing was changed")
    for gap in stopped:
        print(f"partition {gap.partition}: facts {gap.last + 1} to {gap.found - 1} are missing")
    if not accept_gap:
        raise UsageError("nothing was changed", remedy="look with `memberflow reconcile`, then add --accept-gap")
    for gap in run(accept(*where, partitions or [gap.partition for gap in stopped])):
        print(f"partition {gap.partition} goes on with fact {gap.found} when the sink starts")


@sink.command("reland")
def sink_reland(
    ctx: typer.Context,
    partitions: Annotated[list[int] | None, typer.Argument(min=0, help="without them: all")] = None,
    from_offset: Annotated[int, typer.Option("--from-offset", min=0, help="read again from there on")] = 0,
) -> None:
    """Store recorded actions again when the sink starts next, as far as Kafka has them. It must not be running."""
    from streams.archive import group_of
    from streams.sink_start import begin_again

    invocation: Invocation = ctx.obj
    settings, count = invocation.settings, invocation.settings.partitions
    chosen = sorted(set(partitions or range(count)))
    if chosen[-1] >= count:
        raise UsageError(f"there is no partition {chosen[-1]}", remedy=f"there are 0 to {count - 1}")
    if not settings.clickhouse.actions:
        raise UsageError("recorded actions are not stored here", remedy="set MEMBERFLOW_CLICKHOUSE__ACTIONS=true")
    where, topic = settings.kafka.bootstrap, invocation.topics.actions.name
    run(begin_again(where, group_of(settings.log), topic, chosen, from_offset))
    print(f"partitions {', '.join(map(str, chosen))} are read again from offset {from_offset} when the sink starts")


@sink.command("forget")
def sink_forget(
    ctx: typer.Context,
    keep_days: Annotated[int, typer.Option("--keep-days", min=1, help="actions stamped in the last so many days stay")],
    apply: Annotated[bool, typer.Option("--apply", help="delete them; without it, only say what would go")] = False,
) -> None:
    """Delete old recorded actions from ClickHouse, not from Kafka. With chdb the sink must be stopped."""
    invocation: Invocation = ctx.obj
    for partition, offset in run(_forget(invocation, keep_days, apply=apply)).items():
        print(f"partition {partition}: {'deleted' if apply else 'would delete'} what lies before offset {offset}")
    if not apply:
        print("nothing was changed: add --apply")


async def _forget(invocation: Invocation, keep_days: int, *, apply: bool) -> dict[int, int]:
    from streams.analytics import open_store
    from streams.archive_age import forget, older

    settings = invocation.settings
    store = await asyncio.to_thread(open_store, settings.clickhouse)
    try:
        moment = invocation.now_ms() - keep_days * DAY_MS
        kept = await older(store, settings.log, range(settings.partitions), moment)
        if kept and apply:
            await forget(store, settings.log, kept)
        return kept
    finally:
        await asyncio.to_thread(store.close)


# -- dispatcher -------------------------------------------------------------------------------------------------


def dispatcher(ctx: typer.Context) -> None:
    """Run the dispatcher: facts about tiers to the configured endpoints, as signed webhooks."""
    run(_dispatcher(ctx.obj, begin(ctx.obj)))


async def _dispatcher(invocation: Invocation, begun: Begun) -> None:
    from streams.dispatcher import Dispatcher
    from streams.metrics import Metrics

    metrics = Metrics("dispatcher")
    await asyncio.to_thread(invocation.topic_id)
    process = Dispatcher(invocation.settings, metrics, invocation.wall, fail=begun.fail)
    await stay(invocation, begun, "dispatcher", process, metrics)


# -- all --------------------------------------------------------------------------------------------------------


class Begun(NamedTuple):
    """What was set up before anything else."""

    fail: Failpoints
    outage: Outage


def begin(invocation: Invocation) -> Begun:
    """What a process that stays does first: refuse a mixed installation, log as asked, arm its failpoints."""
    refuse_two_owners()
    outage = configure_logs(invocation.settings.log_level)
    crash, frozen = (invocation.environ.get(name, "") for name in ("CRASH_AT", "FREEZE_AT"))
    fail = Failpoints(parse(crash), frozen=Failpoints(parse(frozen, "FREEZE_AT"), freeze) if frozen else None)
    return Begun(fail, outage)


async def stay(invocation: Invocation, begun: Begun, job: Any, process: Process, metrics: Any) -> None:
    """Run until a signal, or until what cannot be cured in here."""
    settings = invocation.settings
    stop_on_signals(process.stop)
    try:
        port = metrics.serve(settings.metrics, job)
    except OSError as error:
        what = f"port {settings.metrics.port} for metrics cannot be used ({error.strerror})"
        raise UsageError(what, remedy="set MEMBERFLOW_METRICS__PORT, 0 for a free one") from error
    log.info(f"{job} starts", log=settings.log, metrics_port=port, pid=os.getpid())
    watching = asyncio.create_task(begun.outage.watch(lambda: kafka_answers(settings.kafka.bootstrap)))
    try:
        await process.run()
    except MemberflowError:
        raise
    except Exception as error:
        log.exception(f"{job} ends because of what it cannot cure")
        raise typer.Exit(1) from error
    finally:
        watching.cancel()
        if settings.metrics.targets is not None:  # Prometheus need not look for what ended in order
            (settings.metrics.targets / f"{job}-{os.getpid()}.json").unlink(missing_ok=True)
    log.info(f"{job} stopped", log=settings.log)


def stop_on_signals(stop: Callable[[], None]) -> None:
    """Let SIGTERM and SIGINT begin a clean stop."""
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop)
