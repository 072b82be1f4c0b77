"""One chunk in its seven steps: in their order, cut where members are missing, and dropped whole when any fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import wraps

import pytest

from processors.output import RuleFailed
from schemas import facts
from schemas.member import STATE_VERSION
from schemas.metrics import STAGES
from streams.errors import PublishFailed, PublishRefused, StoreUnavailable
from streams.failpoints import POINTS
from streams.lane import NotOurs, Refetch
from streams.store import Answer
from tests.doubles import Line, instantly
from tests.processors.test_partition import ELSEWHERE, HERE, an_action
from tests.streams.site import IDENTITY, Site

STEPS = tuple(point for point in POINTS if point.startswith(("chunk.", "publish.")))


def in_no_time(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """The test on a loop whose seconds cost nothing."""

    @wraps(test)
    def run(*given: object, **named: object) -> None:
        instantly(test(*given, **named))

    return run


class Faults(Line):
    """Calls that go wrong, by name; each once."""

    def __init__(self, **fates: str) -> None:
        super().__init__()
        self.fates, self.calls = fates, list[str]()

    def fate(self, call: str) -> str:
        self.calls.append(call)
        return self.fates.pop(call.split()[0], "ok")


async def begun(site: Site, line: Line | None = None) -> Site:
    """A few actions in the log, nothing read."""
    await site.bootstrap()
    if line is not None:
        site.line = site.store.line = site.publisher.line = line
    for number in range(6):
        site.add(an_action(number, HERE[number % 3]))
    return site


@in_no_time
async def test_a_chunk_passes_its_steps_in_order_and_is_committed() -> None:
    passed: list[str] = []
    site = await begun(Site(fail=passed.append))
    lane = await site.lane()
    await site.worker.chunk(lane, site.records())
    assert tuple(passed) == STEPS
    assert await site.offset() == lane.next_offset == 7
    assert [facts.decode(fact).n for fact in site.facts()] == list(range(1, 8))


@in_no_time
async def test_everything_is_acknowledged_before_the_commit_and_nothing_is_sent_on_doubt() -> None:
    line = Faults()
    site = await begun(Site(), line)
    await site.worker.chunk(await site.lane(), site.records())
    calls = list(dict.fromkeys(call.split()[0] for call in line.calls))
    assert calls == ["load", "ask", "send", "ack", "commit"]


@in_no_time
async def test_every_declared_stage_is_timed_and_no_time_counts_twice() -> None:
    site = await begun(Site())
    lane = await site.lane()
    inside: list[str] = []
    seen: list[tuple[str, ...]] = []
    timed = site.worker.timed

    @contextmanager
    def watched(stage: str) -> Iterator[None]:
        inside.append(stage)
        seen.append(tuple(inside))
        with timed(stage):
            yield
        inside.remove(stage)

    site.worker.timed = watched  # type: ignore[method-assign]
    await site.worker.chunk(lane, site.records())
    assert {stage for (stage,) in seen} == set(STAGES)
    for stage in STAGES:
        count = site.metrics.registry.get_sample_value("memberflow_stage_seconds_count", {"stage": stage})
        assert count == len([it for it in seen if it == (stage,)]) > 0


@in_no_time
async def test_a_warm_cache_asks_nothing() -> None:
    line = Faults()
    site = await begun(Site(), line)
    lane = await site.lane()
    await site.worker.chunk(lane, site.records())
    site.add(an_action(7, HERE[0]))
    line.calls.clear()
    await site.worker.chunk(lane, site.records(7))
    assert {call.split()[0] for call in line.calls} == {"send", "ack", "commit"}


@pytest.mark.parametrize("cache", [1, 2, 1_000])
def test_a_small_cache_cuts_no_fact(cache: int) -> None:
    async def run() -> None:
        site = await begun(Site(cache=cache))
        lane = await site.lane()
        await site.worker.chunk(lane, site.records())
        assert await site.offset() == 7
        assert len(site.facts()) == 7
        assert len(lane.fold.members) <= max(cache, 1)

    instantly(run())


@in_no_time
async def test_strays_go_to_their_own_partition_signed() -> None:
    site = await begun(Site())
    site.add(an_action(9, ELSEWHERE))
    await site.worker.chunk(await site.lane(), site.records())
    forwarded = site.records(1, partition=1)
    assert len(forwarded) == 1
    lane = await site.lane(1)
    await site.worker.chunk(lane, site.records(partition=1))
    assert any(facts.decode(fact).member_id == ELSEWHERE for fact in site.facts(1))


@pytest.mark.parametrize(
    ("fates", "raised"),
    [
        ({"send": "lost"}, PublishFailed),
        ({"send": "unanswered"}, PublishFailed),
        ({"send": "refused"}, PublishRefused),
        ({"commit": "lost"}, StoreUnavailable),
        ({"commit": "unanswered"}, StoreUnavailable),
        ({"ask": "lost"}, StoreUnavailable),
    ],
    ids=str,
)
def test_any_failure_is_an_exception_and_the_next_owner_says_the_same(
    fates: dict[str, str], raised: type[Exception]
) -> None:
    async def run() -> None:
        site = await begun(Site(), Faults(**fates))
        with pytest.raises(raised):
            await site.worker.chunk(await site.lane(), site.records())
        lane = await site.lane()
        if lane.next_offset < 7:
            await site.worker.chunk(lane, site.records())
        found = [facts.decode(fact) for fact in site.facts()]
        assert len({fact.n for fact in found}) == 7
        assert len(set(site.facts())) == 7, "the same bytes, however often"

    instantly(run())


@pytest.mark.parametrize("answer", [Answer.FENCED, Answer.STALE, Answer.LOST])
@pytest.mark.parametrize("warm", [False, True])
def test_what_was_read_in_another_time_never_gets_out(answer: Answer, warm: bool) -> None:  # noqa: FBT001
    """A cold worker asks before it publishes; a warm one decided on what it read while it was the owner."""

    async def run() -> None:
        site = await begun(Site())
        lane = await site.lane()
        old = await site.shared.dump(0)
        await site.worker.chunk(lane, site.records(end=4))
        said = len(site.facts())
        if not warm:
            lane.cache.clear()
        if answer is Answer.FENCED:
            await site.shared.acquire(0, IDENTITY, state_version=STATE_VERSION)
        elif answer is Answer.LOST:
            site.shared.clear()
        else:
            assert old is not None
            old.owner = lane.acquired.owner
            site.shared.rewind(0, old)
        with pytest.raises(NotOurs) as refused:
            await site.worker.chunk(lane, site.records(4))
        assert refused.value.answer is answer
        assert (len(site.facts()) > said) is warm

    instantly(run())


@in_no_time
async def test_a_gap_inside_a_chunk_is_fetched_again_after_what_stands_before_it() -> None:
    site = await begun(Site())
    lane = await site.lane()
    records = site.records()
    with pytest.raises(Refetch) as again:
        await site.worker.chunk(lane, [*records[:3], *records[5:]])
    assert again.value.offset == 3
    assert await site.offset() == 3


@in_no_time
async def test_records_are_counted_by_what_became_of_them() -> None:
    site = await begun(Site())
    site.add(b"{")
    site.add(an_action(0, HERE[0]))
    await site.worker.chunk(await site.lane(), site.records())
    count = site.metrics["memberflow_records"].labels
    found = {verdict: count(verdict)._value.get() for verdict in ("applied", "control", "dead_letter", "duplicate")}
    assert found == {"applied": 6, "control": 1, "dead_letter": 1, "duplicate": 1}


@pytest.mark.parametrize("warm", [False, True])
def test_a_rule_that_chokes_on_what_was_never_ours_is_nobodys_fault(
    *, warm: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decide(*_: object) -> None:
        raise ZeroDivisionError

    async def run() -> None:
        site = await begun(Site())
        lane = await site.lane()
        if not warm:
            await site.shared.acquire(0, IDENTITY, state_version=STATE_VERSION)
        monkeypatch.setattr("processors.partition.decide", decide)
        with pytest.raises(RuleFailed if warm else NotOurs):
            await site.worker.chunk(lane, site.records())

    instantly(run())
