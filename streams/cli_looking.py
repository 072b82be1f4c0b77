"""Commands that people look with: why a member has what it has, and what another programme would give."""

from __future__ import annotations

import asyncio
import functools
import json
import multiprocessing
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from processors.output import Failure
from processors.programme import Rules, compile_programme
from schemas.words import LABELS, say
from streams.bootstrap import programme_text
from streams.cli_inspect import SNAPSHOTS, AsJson, time_machine, uncollected
from streams.cli_operations import bar
from streams.dead_letters import rule_failures
from streams.errors import UsageError
from streams.explain import Explainer, Line, Told, as_data
from streams.log_reader import LogReader
from streams.member_log import MemberLog
from streams.money import money_of
from streams.recorded import InClickHouse, InKafka, Recorded
from streams.simulate import Asked, Simulated, Simulation, check_facts
from streams.simulate_partition import EVERYBODY, Outcome, Task, begin_process, in_process
from streams.simulate_population import Given, Result
from streams.simulate_words import as_data as as_figures
from streams.simulate_words import made_words, otherwise_words, tables, worth_words
from streams.wiring import Invocation, run


class Language(StrEnum):
    """What people read."""

    EN = "en"
    ZH = "zh"


def register(app: typer.Typer) -> None:
    """Put the commands of this module onto the command line."""
    app.command()(explain)
    app.command()(simulate)


def explain(
    ctx: typer.Context,
    member_id: Annotated[str, typer.Argument(metavar="ID")],
    fact: Annotated[int, typer.Option(min=0, metavar="N", help="the record of this fact alone, by its number")] = 0,
    since: Annotated[str, typer.Option(metavar="MOMENT", help="from then on; without it, the horizon ago")] = "",
    limit: Annotated[int, typer.Option(min=1, help="so many of the newest")] = 40,
    lang: Annotated[Language, typer.Option(help="the language of the words")] = Language.EN,
    begin: Annotated[Path, typer.Option("--from", help="folder of snapshots to begin with")] = SNAPSHOTS,
    as_json: AsJson = False,
) -> None:
    """Why a member has its points, level and tiers, from action to ledger; and why something did not happen."""
    invocation: Invocation = ctx.obj
    with uncollected():
        told, now, log = run(_explain(invocation, member_id, fact, since, lang, begin))
    told = told if fact else told[-limit:]
    if as_json:
        print(json.dumps(as_data(told, log, now), ensure_ascii=False, indent=2))
        return
    for one in told:
        invocation.out.print(one.heading, highlight=False, soft_wrap=True)
        invocation.out.print(_grid(one.lines))
    if now:
        invocation.out.print(say(LABELS["now"], lang), highlight=False)
        invocation.out.print(_grid(now))


async def _explain(
    invocation: Invocation, member_id: str, fact: int, since: str, lang: Language, folder: Path
) -> tuple[list[Told], list[Line], MemberLog]:
    async with time_machine(invocation, folder) as machine:
        log, now, live = await machine.member_log(member_id, since, fact)
    explainer = Explainer(log, log.rules[max(log.rules)].calendar, lang)
    if fact:
        return [explainer.fact(fact)], [], log
    return explainer.tell(), explainer.now(now, live=live), log


def _grid(lines: list[Line]) -> Table:
    table = Table.grid(padding=(0, 2))
    for line in lines:
        table.add_row("", line.label, line.text)
    return table


# -- another programme --------------------------------------------------------------------------------------------


def simulate(
    ctx: typer.Context,
    programme: Annotated[Path | None, typer.Option(metavar="FILE", help="the other programme")] = None,
    against: Annotated[
        str, typer.Option(metavar="DAYS", help="they part so long before the end, as 30d; without it, at the beginning")
    ] = "",
    sample: Annotated[str, typer.Option(metavar="SHARE", help="of the members, as 10%")] = "100%",
    worth: Annotated[int, typer.Option(min=0, help="a proposed worth of a point, in 1/1,000 fen")] = 0,
    check: Annotated[
        bool, typer.Option("--check", help="first compare what is folded with every fact published")
    ] = False,
    begin: Annotated[Path | None, typer.Option("--from", help="folder of snapshots to begin with")] = None,
    from_clickhouse: Annotated[
        bool, typer.Option("--from-clickhouse", help="replay what a sink has stored of the log, not Kafka")
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, help="processes")] = os.cpu_count() or 1,
    as_json: AsJson = False,
) -> None:
    """What another programme would have given for the recorded actions, and at what cost; nothing live changes."""
    invocation: Invocation = ctx.obj
    text = programme_text(programme) if programme else ""
    if not (text or worth or check):
        raise UsageError("simulate what?", remedy="name --programme FILE, --worth N, or --check")
    asked = Asked(text, days_of(against), share_of(sample))
    if check and (asked.sample != EVERYBODY or asked.days):
        raise UsageError("--check is of everything", remedy="leave --sample and --against out")
    recorded = _recorded(invocation, from_clickhouse=from_clickhouse)
    done, live, facts = run(_simulate(invocation, recorded, asked, begin, jobs, worth, check=check))
    money = money_of(live, 0)
    proposed = money_of(compile_programme(text, 0, 0) if text else live, worth)
    if as_json:
        print(json.dumps(as_figures(done, money, proposed) | {"facts_checked": facts}, ensure_ascii=False, indent=2))
        return
    if check:
        print(f"equal: {facts:,} facts as folded and as published")
    if asked.sample != EVERYBODY:
        print(f"{asked.sample / EVERYBODY:.2%} of the members, by hash")
    if text:
        print(made_words(done))
    for table in tables(done, money, proposed) if text or worth else ():
        invocation.out.print(table)
    if proposed.proposed != proposed.now:
        print(worth_words(done, proposed))
    if text:
        print(otherwise_words(done))


def _recorded(invocation: Invocation, *, from_clickhouse: bool) -> Recorded:
    settings = invocation.settings
    if from_clickhouse:
        return InClickHouse(settings.clickhouse, settings.log)
    return InKafka(settings.kafka.bootstrap, invocation.topics.actions.name)


async def _simulate(
    invocation: Invocation, recorded: Recorded, asked: Asked, begin: Path | None, jobs: int, worth: int, *, check: bool
) -> tuple[Simulated, Rules, int]:
    settings, names = invocation.settings, invocation.topics

    async def skips(partition: int) -> dict[int, Failure]:
        return await rule_failures(settings.kafka.bootstrap, names.dead_letters.name, partition)

    spawn = multiprocessing.get_context("spawn")  # a fork would share our connections
    with (
        tempfile.TemporaryDirectory(prefix="simulate-") as folder,
        ProcessPoolExecutor(jobs, spawn, begin_process) as executor,
    ):
        async with invocation.store() as store, recorded.open() as source:
            with bar(invocation, "folding partitions", None) as advance:
                pool, where = Processes(executor, recorded, advance), recorded.lacking
                simulation = Simulation(settings, store, source, pool, skips, Path(folder), begin=begin, lacking=where)
                rules = await simulation.in_force()
                _check_worth(compile_programme(asked.text, 0, 0) if asked.text else rules, worth)
                lived = await simulation.lived(asked)
            facts = 0
            if check:
                async with LogReader(settings.kafka.bootstrap, names.facts.name) as published:
                    facts = await check_facts(lived, published)
            return await simulation.other(lived, asked), rules, facts


class Processes:
    """The work of a simulation over processes of our own."""

    def __init__(self, executor: Executor, recorded: Recorded, advance: Callable[[int], None]) -> None:
        self.executor, self.recorded, self.advance = executor, recorded, advance

    async def fold(self, tasks: Sequence[Task]) -> list[Outcome]:
        """Fold partitions of the log."""
        return await self.work(functools.partial(in_process, self.recorded), tasks)

    async def work(self, function: Callable[[Given], Result], given: Sequence[Given]) -> list[Result]:
        """A function of each of the given, at most one a process at a time."""
        loop = asyncio.get_running_loop()

        async def one(it: Given) -> Result:
            result = await loop.run_in_executor(self.executor, function, it)
            self.advance(1)
            return result

        return await asyncio.gather(*map(one, given))


def days_of(text: str) -> int:
    """`30d` as days; "" as 0. Raises `UsageError`."""
    if not text:
        return 0
    found = re.fullmatch(r"(\d{1,4})d", text)
    if not found or not int(found[1]):
        raise UsageError(f"--against {text} is no number of days", remedy="write 30d")
    return int(found[1])


def share_of(text: str) -> int:
    """`10%` as members of 10,000. Raises `UsageError`."""
    found = re.fullmatch(r"(\d{1,3}(?:\.\d{1,2})?)%", text)
    share = round(float(found[1]) * EVERYBODY / 100) if found else 0
    if not 0 < share <= EVERYBODY:
        raise UsageError(f"--sample {text} is no share of the members", remedy="write 10%")
    return share


def _check_worth(rules: Rules, worth: int) -> None:
    limits = rules.programme.points.worth
    if worth and not limits.least <= worth <= limits.most:
        what = f"a worth of {worth} lies outside of {limits.least} to {limits.most}"
        raise UsageError(what, remedy="the programme allows no other")
