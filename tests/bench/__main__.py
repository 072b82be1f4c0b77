"""`python -m tests.bench [--quick] [--only PART]`: measures, prints one table, writes build/bench.json."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec import Struct

from infra.stack import Stack
from tests.bench import bare, boards, growth, plain_faust, rules_alone, steady, throughput
from tests.bench.arena import Arena
from tests.bench.failed import BenchFailed
from tests.bench.figures import Section, machine, show, write
from tests.bench.population import Population
from tests.bench.throughput import Run

RESULTS = Path("build/bench.json")
PROFILES = Path("build/profiles")
ON_ONE_LOG = ("throughput", "bare", "faust")
PARTS = (*ON_ONE_LOG, "rules", "steady", "growth", "boards")


class Size(Struct, frozen=True):
    """How much is measured."""

    members: int = 200_000
    actions: int = 900_000
    repeats: int = 3
    faust_actions: int = 30_000
    rules_actions: int = 200_000
    steady_seconds: float = 180.0
    boards_seconds: float = 150.0
    growth_members: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    growth_actions: int = 600_000


QUICK = Size(
    members=20_000,
    actions=300_000,
    repeats=1,
    faust_actions=10_000,
    rules_actions=50_000,
    steady_seconds=20.0,
    boards_seconds=20.0,
    growth_members=(2_000, 10_000, 50_000),
    growth_actions=200_000,
)


class Bench:
    """One run of the parts that were asked for."""

    def __init__(self, size: Size, wanted: tuple[str, ...], profiles: Path | None) -> None:
        self.size, self.wanted, self.profiles = size, wanted, profiles
        self.sections: list[Section] = []

    async def run(self) -> None:
        """Each part on a stack of its own; what is compared with each other on one."""
        if set(ON_ONE_LOG) & set(self.wanted):
            await self._on_one_log()
        if "rules" in self.wanted:
            print("rules alone ...", flush=True)
            self.sections.append(rules_alone.measure(self.size.members, self.size.rules_actions, self.size.repeats))
        if "steady" in self.wanted:
            await self._apart("steady", self._steady)
        if "growth" in self.wanted:
            await self._apart("growth", self._growth)
        if "boards" in self.wanted:
            await self._apart("boards", self._boards)

    async def _on_one_log(self) -> None:
        size = self.size
        async with fresh("throughput") as stack:
            arena = Arena(stack, "bench", Population(size.members, 12), profiles=self.profiles)
            await arena.prepare(size.actions)
            ours: Run | None = None
            if "throughput" in self.wanted:
                section, middle = await throughput.measure(arena, size.repeats)
                self.sections.append(section)
                ours = middle[1]
            if "bare" in self.wanted:
                print("bare client ...", flush=True)
                self.sections.append(bare.measure(arena, ours))
            if "faust" in self.wanted:
                print("plain Faust ...", flush=True)
                self.sections.append(plain_faust.measure(arena, size.faust_actions, ours))
            await arena.close()

    async def _apart(self, name: str, part: Callable[[Stack], Coroutine[Any, Any, Section]]) -> None:
        async with fresh(name) as stack:
            self.sections.append(await part(stack))

    def _steady(self, stack: Stack) -> Coroutine[Any, Any, Section]:
        return steady.measure(stack, self.size.members, self.size.steady_seconds, self.profiles)

    def _growth(self, stack: Stack) -> Coroutine[Any, Any, Section]:
        return growth.measure(stack, self.size.growth_members, self.size.growth_actions, self.profiles)

    def _boards(self, stack: Stack) -> Coroutine[Any, Any, Section]:
        return boards.measure(stack, self.size.members, self.size.boards_seconds, self.profiles)


@asynccontextmanager
async def fresh(name: str) -> AsyncIterator[Stack]:
    """A stack with nothing in it, gone afterwards."""
    print(f"{name} ...", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, Stack(Path(folder)) as stack:
        yield stack


def main(
    *,
    quick: Annotated[bool, typer.Option("--quick", help="small and short: whether it works, not how fast")] = False,
    only: Annotated[list[str] | None, typer.Option(help=f"one of {', '.join(PARTS)}; may be repeated")] = None,
    profile: Annotated[bool, typer.Option("--profile", help=f"workers under cProfile, into {PROFILES}")] = False,
) -> None:
    """What the pipeline does on this machine."""
    unknown = set(only or ()) - set(PARTS)
    if unknown:
        raise typer.BadParameter(f"no part is called {', '.join(sorted(unknown))}: there are {', '.join(PARTS)}")
    here = machine()
    bench = Bench(QUICK if quick else Size(), tuple(only or PARTS), PROFILES if profile else None)
    try:
        asyncio.run(bench.run())
    except BenchFailed as error:
        print("\n".join((f"bench: {error}", *getattr(error, "__notes__", ()))), file=sys.stderr)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        done = ", ".join(section.title for section in bench.sections) or "no part"
        print(f"bench: interrupted; {done} was measured, {RESULTS} is as it was", file=sys.stderr)
        raise typer.Exit(130) from None
    show(bench.sections)
    write(RESULTS, bench.sections, here | {"quick": quick, "profiled": profile})
    if quick:
        print("quick: these figures say that it works, not how fast it is")
    print(f"{RESULTS} has all of it; load before: {here['load_before']}, {here['cores']} cores")


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
