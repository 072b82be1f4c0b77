"""The bench fails on facts that are lost or others; it allows those that came again."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import msgspec
import pytest
import typer

from tests.bench.__main__ import Bench, main
from tests.bench.failed import BenchFailed
from tests.bench.published import Published, Standing, Tally, same, told

END = 100


def fact(n: int, offset: int, what: str = "x") -> bytes:
    return msgspec.json.encode({"n": n, "offset": offset, "what": what})


def run(*values: bytes, next_offset: int = END, n: int | None = None) -> Published:
    tally = Tally(0, END)
    for value in values:
        tally.take(value)
    return told({0: tally}, {0: Standing(next_offset, tally.n if n is None else n)})


def test_facts_that_came_again_and_those_of_ticks_are_told_apart() -> None:
    once = run(fact(1, 3), fact(2, 3), fact(3, 50))
    again = run(fact(1, 3), fact(2, 3), fact(2, 3), fact(3, 50), fact(4, END), next_offset=END + 1)
    assert (once.facts, once.beyond, once.again) == (3, 0, 0)
    assert (again.facts, again.beyond, again.again) == (3, 1, 1)
    same([once, again])


def test_a_fact_that_is_lost_fails() -> None:
    with pytest.raises(BenchFailed, match="fact 3 follows fact 1"):
        run(fact(1, 3), fact(3, 50))
    with pytest.raises(BenchFailed, match="1 facts up to the commit, the state says 2"):
        run(fact(1, 3), n=2)


def test_a_fact_that_no_state_knows_of_fails_unless_its_chunk_was_not_committed() -> None:
    with pytest.raises(BenchFailed, match="2 facts up to the commit, the state says 1"):
        run(fact(1, 3), fact(2, 50), n=1)
    assert run(fact(1, 3), fact(2, END), n=1).facts == 1


@pytest.mark.parametrize("other", [(fact(1, 3, "y"),), (fact(1, 4),), (fact(1, 3), fact(2, 3))])
def test_another_fact_in_another_run_fails(other: tuple[bytes, ...]) -> None:
    with pytest.raises(BenchFailed, match=r"differ in \[0\]"):
        same([run(fact(1, 3)), run(*other)])


def test_a_bench_that_failed_says_so_in_a_line_and_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail(bench: Bench) -> None:
        raise BenchFailed("partition 0: fact 3 follows fact 1, some are lost")

    monkeypatch.setattr(Bench, "run", fail)
    with pytest.raises(typer.Exit) as ended:
        main(quick=True, only=["throughput"])
    assert ended.value.exit_code == 1
    assert capsys.readouterr().err == "bench: partition 0: fact 3 follows fact 1, some are lost\n"


def test_a_bench_that_is_interrupted_says_so_in_a_line_and_ends_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(running: Coroutine[Any, Any, None]) -> None:
        running.close()
        raise KeyboardInterrupt

    monkeypatch.setattr(asyncio, "run", stopped)
    with pytest.raises(typer.Exit) as ended:
        main(quick=True, only=["throughput"])
    assert ended.value.exit_code == 130
    told = capsys.readouterr()
    assert told.err == "bench: interrupted; no part was measured, build/bench.json is as it was\n"
    assert "memberflow bench" not in told.out
