"""From assignment to revocation: what a worker does about each way in which a partition can fail it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from processors.member import decide as rules_of
from schemas import member
from schemas.dead_letters import read_headers
from schemas.member import STATE_VERSION
from schemas.records import ProgrammeControl
from streams.app import OwnedPartitions
from streams.errors import LogMismatch, StateLost
from streams.ownership import CLOSE_SECONDS
from streams.store import PARTS, Acquired, Identity, Part
from tests.crash.traffic import control
from tests.doubles import instantly
from tests.processors.test_partition import ELSEWHERE, HERE, an_action
from tests.streams.site import ALL, IDENTITY, PARTITIONS, Site
from tests.streams.test_worker import Faults, in_no_time


async def running(site: Site, *partitions: int) -> Site:
    """The partitions are ours."""
    await site.bootstrap()
    site.ownership.assigned(partitions or (0,))
    await site.until(lambda: len(site.ownership.lanes) == len(partitions or (0,)))
    return site


async def committed(site: Site, offset: int, partition: int = 0) -> None:
    """Wait until the store stands there."""
    image = site.shared._partitions
    await site.until(lambda: image[partition].next_offset == offset)


@in_no_time
async def test_what_is_assigned_is_acquired_worked_and_let_go() -> None:
    site = await running(Site(), *range(PARTITIONS))
    for partition in range(PARTITIONS):
        await committed(site, 1, partition)
    await site.ownership.revoked([0, 2])
    assert set(site.ownership.lanes) == {1}
    assert site.consumer.hints[0] == site.consumer.hints[2] == 1
    await site.ownership.close()
    assert not site.ownership.lanes
    assert not site.errors


@in_no_time
async def test_a_revocation_waits_for_the_chunk_under_way() -> None:
    site = await running(Site())
    site.hand_out()
    assert site.ownership.busy(0)
    await site.ownership.revoked([0])
    assert await site.offset() == 1


@in_no_time
async def test_a_revocation_does_not_wait_for_ever() -> None:
    site = await running(Site())
    site.line.open.clear()
    site.hand_out()
    await site.ownership.revoked([0])
    assert await site.offset() == 0
    assert not site.ownership.busy(0)


@in_no_time
async def test_a_process_that_ends_waits_for_nobody_who_does_not_answer() -> None:
    site = await running(Site(), *range(PARTITIONS))
    site.line.open.clear()
    site.hand_out()
    began = asyncio.get_running_loop().time()
    await site.ownership.close()
    assert asyncio.get_running_loop().time() - began <= CLOSE_SECONDS
    assert not site.ownership.lanes
    site.line.open.set()
    await asyncio.sleep(10)
    assert not any(site.ownership.busy(partition) for partition in range(PARTITIONS))
    assert await site.offset() == 0


@in_no_time
async def test_a_kafka_that_takes_no_hint_holds_no_end_up() -> None:
    site = await running(Site())
    await committed(site, 1)

    async def away(offsets: dict[int, int]) -> bool:
        await asyncio.sleep(1e5)
        return False

    site.consumer.commit_hint = away  # type: ignore[method-assign]
    began = asyncio.get_running_loop().time()
    await site.ownership.close()
    assert asyncio.get_running_loop().time() - began <= CLOSE_SECONDS
    assert not site.ownership.lanes


@pytest.mark.parametrize(
    "fates", [{"acquire": "lost"}, {"acquire": "unanswered"}, {"commit": "unanswered"}, {"send": "lost"}], ids=str
)
def test_what_does_not_answer_is_tried_again(fates: dict[str, str]) -> None:
    async def run() -> None:
        site = Site()
        site.line = site.store.line = site.publisher.line = Faults(**fates)
        await running(site)
        await committed(site, 1)
        assert not site.errors
        assert not site.ownership.halted

    instantly(run())


@in_no_time
async def test_who_was_fenced_waits_until_kafka_takes_its_commit_again() -> None:
    site = await running(Site())
    await committed(site, 1)
    await site.shared.acquire(0, IDENTITY, state_version=STATE_VERSION)
    site.consumer.member = False
    site.add(an_action(1))
    await site.until(lambda: site.dropped("fenced") == 1)
    await asyncio.sleep(30)
    assert not site.ownership.lanes, "a zombie would fence the living owner"
    site.consumer.member = True
    await committed(site, 2)


@in_no_time
async def test_a_store_that_went_back_is_followed() -> None:
    site = await running(Site())
    await committed(site, 1)
    old = await site.shared.dump(0)
    assert old is not None
    site.add(an_action(1))
    await committed(site, 2)
    site.shared.rewind(0, old)
    site.add(an_action(2))
    await committed(site, 3)
    assert site.dropped("stale") == 1
    assert len(set(site.facts())) == 3


@in_no_time
async def test_lost_state_halts_and_is_never_begun_anew() -> None:
    site = await running(Site())
    await committed(site, 1)
    site.shared.clear()
    site.add(an_action(1))
    await site.until(lambda: 0 in site.ownership.halted)
    await asyncio.sleep(30)
    assert await site.offset() is None
    assert "restore it with `memberflow rebuild 0`" in (await site.shared.halted([0]))[0]


@in_no_time
async def test_a_halted_partition_waits_for_its_resume_and_the_others_go_on() -> None:
    site = Site()
    await site.shared.halt(0, "somebody looks")
    await site.bootstrap()
    site.ownership.assigned([0, 1])
    await committed(site, 1, 1)
    await site.until(lambda: site.ownership.halted == {0: "somebody looks"})
    await site.shared.resume(0)
    await committed(site, 1)
    assert site.ownership.halted == {}


@pytest.mark.parametrize("part", [*PARTS, "halted"])
def test_a_spoiled_key_halts_its_partition_and_the_others_go_on(part: Part) -> None:
    async def run() -> None:
        site = Site()
        await site.bootstrap()
        site.shared.spoil(0, part)
        site.ownership.assigned([0, 1])
        await committed(site, 1, 1)
        await site.until(lambda: 0 in site.ownership.halted)
        site.add(an_action(1, ELSEWHERE), 1)
        await committed(site, 2, 1)
        assert not site.errors
        halted = await site.shared.halted([0, 1])
        assert halted == site.ownership.halted
        assert f":{part} is a string" in halted[0]
        if part != "halted":
            assert "restore it with `memberflow rebuild 0`" in halted[0]
            site.shared.heal(0, part)
        await site.shared.resume(0)
        await committed(site, 1)
        assert site.ownership.halted == {}

    instantly(run())


@in_no_time
async def test_who_resumes_what_is_still_spoiled_is_told_again() -> None:
    site = Site()
    await site.bootstrap()
    site.shared.spoil(0, "states")
    site.ownership.assigned([0])
    await site.until(lambda: 0 in site.ownership.halted)
    await site.shared.resume(0)
    await asyncio.sleep(30)
    assert "`memberflow rebuild 0`" in (await site.shared.halted([0]))[0]
    assert not site.errors


@in_no_time
async def test_a_key_spoiled_in_the_midst_of_an_acquisition_halts_too() -> None:
    """Timers and buckets are read after the script."""
    site = Site()
    acquire = site.store.acquire

    async def torn(partition: int, *given: Any, **named: Any) -> Any:
        got = await acquire(partition, *given, **named)
        if partition == 0 and isinstance(got, Acquired):
            raise StateLost("a key has a wrong type")
        return got

    site.store.acquire = torn  # type: ignore[method-assign]
    await site.bootstrap()
    site.ownership.assigned([0, 1])
    await committed(site, 1, 1)
    await site.until(lambda: 0 in site.ownership.halted)
    assert "a key has a wrong type" in (await site.shared.halted([0]))[0]
    assert not site.errors


@in_no_time
async def test_what_nobody_owns_is_seen_in_the_gauges() -> None:
    site = Site()
    site.metrics.collect_from(OwnedPartitions(site.ownership, lambda: 0.0))
    value = site.metrics.registry.get_sample_value

    def shown() -> tuple[float | None, ...]:
        owned, halted = (value(f"memberflow_{name}_partitions") for name in ("owned", "halted"))
        return owned, halted, value("memberflow_log_partitions", {"log": IDENTITY.log})

    assert shown() == (0, 0, PARTITIONS)
    await site.bootstrap()
    site.shared.spoil(0, "states")
    site.ownership.assigned([0, 1])
    await site.until(lambda: site.ownership.halted and site.ownership.lanes)
    assert shown() == (1, 1, PARTITIONS)


@in_no_time
async def test_the_state_of_another_log_ends_the_process() -> None:
    site = Site()
    await site.shared.bootstrap(0, Identity("log-1", "another topic", PARTITIONS), "life")
    site.ownership.assigned([0])
    await site.until(lambda: site.errors)
    assert isinstance(site.errors[0], LogMismatch)
    assert site.errors[0].exit_code == 78


@in_no_time
async def test_an_offset_the_log_does_not_have_halts_there() -> None:
    site = await running(Site())
    site.ownership.on_out_of_range(0, 17)
    await site.until(lambda: 0 in site.ownership.halted)
    assert "offset 17 is not in the log" in (await site.shared.halted([0]))[0]


@in_no_time
async def test_a_control_record_that_is_not_understood_halts_right_before_it() -> None:
    site = await running(Site())
    await committed(site, 1)
    site.add(an_action(1))
    site.add(
        control(
            ProgrammeControl(
                id="programme",
                number=2,
                by="ann",
                approved_by="bob",
                text="rules: 99",
                holds_from=site.log.now + 70_000,
            )
        )
    )
    site.add(an_action(2))
    await site.until(lambda: 0 in site.ownership.halted)
    assert await site.offset() == 2, "what stands before it is committed"
    assert "not understood" in (await site.shared.halted([0]))[0]


@in_no_time
async def test_a_batch_refused_for_good_halts() -> None:
    site = Site()
    site.line = site.store.line = site.publisher.line = Faults(send="refused")
    await running(site)
    await site.until(lambda: 0 in site.ownership.halted)
    assert await site.offset() == 0
    await site.shared.resume(0)
    await committed(site, 1)


@pytest.fixture
def choking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule that raises on e-13 after it has changed something."""

    def decide(*given: Any) -> Any:
        if given[4].event_id == "f-13":
            given[3].state.issued += 1_000
            raise ZeroDivisionError("no rule")
        return rules_of(*given)

    monkeypatch.setattr("processors.partition.decide", decide)


@pytest.mark.usefixtures("choking")
def test_a_rule_that_raises_costs_its_record_and_nothing_else() -> None:
    async def run() -> None:
        site = await running(Site())
        for number in (1, 13, 2):
            site.add(an_action(number))
        await committed(site, 4)
        (letter,) = site.log.read(ALL.dead_letters.name, 0)
        rejected, _, _, offset = read_headers(letter.headers)
        assert (rejected.reason.value, rejected.detail, offset) == ("rule", "no rule", 2)
        dump = await site.shared.dump(0)
        assert dump is not None
        assert member.decode(dump.states[HERE[0]]).issued == 0, "half a change is not kept"
        assert b"ZeroDivisionError" in dict(letter.headers)["__streams.errors.stacktrace"]
        assert site.dropped("rule") == 1

    instantly(run())


@in_no_time
async def test_what_nobody_thought_of_ends_the_process() -> None:
    site = Site(fail=lambda point: (_ for _ in ()).throw(KeyError(point)))
    await running(site)
    await site.until(lambda: site.errors)
    assert isinstance(site.errors[0], KeyError)


@in_no_time
async def test_who_waits_to_be_a_member_again_acquires_nothing_that_was_revoked_meanwhile() -> None:
    site = await running(Site())
    await committed(site, 1)
    living = await site.shared.acquire(0, IDENTITY, state_version=STATE_VERSION)
    site.consumer.member = False
    site.add(an_action(1))
    await site.until(lambda: site.dropped("fenced") == 1)
    revoking = asyncio.create_task(site.ownership.revoked([0]))
    await asyncio.sleep(0)
    site.consumer.member = True
    await revoking
    await asyncio.sleep(30)
    assert not site.ownership.lanes
    assert site.shared._partitions[0].owner == getattr(living, "owner", "")


@in_no_time
async def test_a_chunk_that_fails_while_it_is_revoked_is_left_to_the_next_owner() -> None:
    site = Site()
    line = Faults()
    site.line = site.store.line = site.publisher.line = line
    await running(site)
    await committed(site, 1)
    site.add(an_action(1))
    line.fates["send"] = "lost"
    line.calls.clear()
    site.hand_out()
    await site.ownership.revoked([0])
    assert "acquire" not in line.calls
    assert await site.offset() == 1


@in_no_time
async def test_what_is_assigned_again_while_it_is_let_go_is_acquired_after_that() -> None:
    site = await running(Site())
    site.hand_out()
    revoking = asyncio.create_task(site.ownership.revoked([0]))
    await asyncio.sleep(0)
    site.ownership.assigned([0])
    await revoking
    await committed(site, 1)
    site.add(an_action(1))
    await committed(site, 2)
    await site.ownership.revoked([0])
    assert not site.ownership.lanes


@in_no_time
async def test_a_task_that_did_not_notice_its_end_touches_nothing() -> None:
    """`wait_for` may swallow a cancellation: the task goes on as if it still spoke for the partition."""
    site = await running(Site())
    chunk = site.worker.chunk

    async def deaf(lane: Any, records: Any) -> None:
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            await chunk(lane, records)

    site.worker.chunk = deaf  # type: ignore[method-assign]
    site.hand_out()
    await site.ownership.revoked([0])
    site.worker.chunk = chunk  # type: ignore[method-assign]
    site.ownership.assigned([0])
    await site.until(lambda: site.ownership.lanes)
    site.add(an_action(1))
    await committed(site, 2)
    assert not site.errors


@in_no_time
async def test_a_zombie_that_is_fenced_while_its_partitions_are_revoked_is_counted() -> None:
    site = await running(Site())
    site.hand_out()
    await site.shared.acquire(0, IDENTITY, state_version=STATE_VERSION)
    await site.ownership.revoked([0])
    assert site.dropped("fenced") == 1
