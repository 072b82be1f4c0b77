"""Which version judged: by the moment of an action, the clock of a timer, and what the log holds at an offset."""

from __future__ import annotations

import datetime as dt
from collections import Counter

import msgspec
import pytest

from schemas.facts import InForce, Ledger, TierEntered
from schemas.records import ProgrammeControl
from schemas.verdicts import Verdict
from tests.crash.traffic import PROGRAMME, control, instant
from tests.processors.test_partition import DAY, HERE, START, Bench

HOUR, MINUTE = 3_600_000, 60_000
SHANGHAI = dt.timezone(dt.timedelta(hours=8))
ME, SILENT = HERE[0], HERE[1]


def version(number: int, holds_from: int, text: str = PROGRAMME) -> bytes:
    """Version n pays 10 x n points for a share."""
    paid = text.replace("share: {points: 5", f"share: {{points: {10 * number}")
    assert paid != text
    return control(
        ProgrammeControl(id="programme", number=number, by="ann", approved_by="bob", text=paid, holds_from=holds_from)
    )


def shared(bench: Bench, happened: int) -> tuple[int, int]:
    """A share of that moment: its points, and the version that its entry names."""
    action = {"action": "share", "target": "content", "event_id": f"s-{bench.offset}", "source": "app"}
    action |= {"member_id": ME, "occurred_at": instant(happened)}
    bench.give(msgspec.json.encode(action))
    entry = next(fact for fact in reversed(bench.facts) if isinstance(fact, Ledger) and fact.rule == "share")
    return entry.points, entry.programme


@pytest.mark.parametrize(
    ("name", "arrives", "happened", "judged"),
    [
        ("before it holds", HOUR - 1, HOUR - 1, (5, 1)),
        ("as it begins to hold", HOUR, HOUR, (20, 2)),
        ("a millisecond before, told late", 3 * DAY, HOUR - 1, (5, 1)),
        ("at its moment, told late", 3 * DAY, HOUR, (20, 2)),
        ("as the next one begins", 3 * DAY, DAY, (30, 3)),
        ("before the next one begins", 3 * DAY, DAY - 1, (20, 2)),
    ],
)
def test_an_action_is_judged_by_the_version_of_its_moment(
    name: str, arrives: int, happened: int, judged: tuple[int, int]
) -> None:
    bench = Bench()
    bench.give(version(2, START + HOUR))
    bench.give(version(3, START + DAY))
    bench.now = START + arrives
    assert shared(bench, START + happened) == judged


def test_a_version_that_the_log_brings_later_judges_nothing_before_its_record() -> None:
    """The same moment, told before and after the record: what is not in the log yet judges nobody."""
    bench = Bench()
    assert shared(bench, START + MINUTE) == (5, 1)  # ahead of the clock by a minute, which is allowed
    bench.give(version(2, START + MINUTE))
    assert shared(bench, START + MINUTE) == (20, 2)


def test_of_two_that_hold_from_one_moment_the_later_record_counts() -> None:
    bench = Bench()
    bench.give(version(2, START + HOUR))
    bench.give(version(3, START + HOUR))
    bench.now = START + HOUR
    assert shared(bench, bench.now) == (30, 3)


def test_one_that_is_put_in_force_before_another_takes_its_place_between() -> None:
    bench = Bench()
    bench.give(version(2, START + 2 * HOUR))
    bench.give(version(3, START + HOUR))
    bench.now = START + 3 * HOUR
    assert [shared(bench, START + hours * HOUR) for hours in (0, 1, 2)] == [(5, 1), (30, 3), (20, 2)]


@pytest.mark.parametrize(("days", "happened"), [(29, HOUR - 1), (30, 0)])
def test_a_superseded_version_judges_until_the_horizon(days: int, happened: int) -> None:
    """Also when others have come since: what it judged may be told as late as an action may come."""
    bench = Bench()
    bench.give(version(2, START + HOUR))
    bench.now = START + days * DAY
    bench.give(version(3, bench.now + DAY))
    assert shared(bench, START + happened) == (5, 1)


def test_a_timer_is_judged_by_the_version_in_force_at_the_clock() -> None:
    """Silent for 5 days: the version of before says 7, that of the fourth day says 5."""
    bench = Bench()
    bench.act(SILENT)
    shorter = PROGRAMME.replace("yellow, after_days: 7", "yellow, after_days: 5")
    bench.give(version(2, START + 4 * DAY, shorter))
    bench.act(after=5 * DAY - 1)
    assert not [fact for fact in bench.facts if isinstance(fact, TierEntered)]
    bench.act(after=1)
    (entered,) = [fact for fact in bench.facts if isinstance(fact, TierEntered) and fact.member_id == SILENT]
    assert (entered.effective_at - START, entered.programme) == (5 * DAY, 2)


Acts = list[tuple[float, dict[str, object]]]
"""When, in days, and what of an action."""

SINCE = 4
"""The day from which on the second version holds."""


def paid(acts: Acts, order: list[int], change: tuple[str, str]) -> Counter[tuple[str, int, int]]:
    """Points by rule, moment and version: the actions arrive in an order, none before it happened."""
    before, after = change
    assert before in PROGRAMME
    bench = Bench(PROGRAMME)
    bench.give(version(2, START + SINCE * DAY, PROGRAMME.replace(before, after)))
    for number in order:
        day, fields = acts[number]
        at = START + round(day * DAY)
        bench.now = max(bench.now, at)
        head = {"event_id": f"e-{number}", "source": "app", "member_id": ME, "occurred_at": instant(at)}
        bench.give(msgspec.json.encode({**head, **fields}))
    assert not bench.fold.verdicts[Verdict.DEAD_LETTER]
    found: Counter[tuple[str, int, int]] = Counter()
    for fact in bench.facts:
        if isinstance(fact, Ledger) and fact.entry in ("earned", "corrected"):
            found[fact.rule, fact.effective_at, 0] += fact.points
            if fact.points > 0:
                found[fact.rule, fact.effective_at, 1] = fact.programme
    return Counter({key: points for key, points in found.items() if found[(*key[:2], 0)]})


def item(action: str) -> dict[str, object]:
    return {"action": action, "item_id": "i-1"}


ORDER = {"action": "purchase", "order_id": "o-1", "amount": 50, "currency": "CNY"}
BUY = {**ORDER, "lines": [{"sku": "i-1", "category": "tea", "amount": 50}]}
CHECK_INS: Acts = [(day + 0.5, {"action": "check_in"}) for day in range(9)]
CLIMB: Acts = [(2 + rung / 10, item(what)) for rung, what in enumerate(("browse", "like", "comment"))] + [(5, BUY)]
LOGINS: Acts = [(0.5, {"action": "login"}), (3, {"action": "login"}), (6, {"action": "login"})]
JOINED: Acts = [(3, {"action": "join"}), (3.1, {"action": "check_in"}), (3.2, {"action": "profile", "need": "price"})]
ICEBREAK: Acts = [*JOINED, (5, {"action": "message", "kind": "chat"})]


@pytest.mark.parametrize(
    ("name", "acts", "change"),
    [
        ("streak", CHECK_INS, ("streak: {from_day: 7, factor: 2}", "streak: {from_day: 7, factor: 4}")),
        (
            "streak that begins sooner",
            CHECK_INS,
            ("streak: {from_day: 7, factor: 2}", "streak: {from_day: 3, factor: 2}"),
        ),
        ("ladder", CLIMB, ("buy: 20", "buy: 30")),
        ("ladder that pays no comment", CLIMB, ("comment: 5", "comment: 0")),
        ("ladder that pays comments less", CLIMB, ("comment: 5", "comment: 4")),
        ("shorter ladder", CLIMB, ("within_days: 7", "within_days: 1")),
        ("comeback", LOGINS, ("{points: 50, after_days: 30", "{points: 70, after_days: 2")),
        ("task", ICEBREAK, ("reward: {level: explorer 2}", "reward: {level: explorer 2, points: 9}")),
    ],
)
def test_what_a_late_action_repays_is_paid_by_the_version_of_its_own_moment(
    name: str, acts: Acts, change: tuple[str, str]
) -> None:
    numbers = list(range(len(acts)))
    in_time = paid(acts, numbers, change)
    for late in numbers:
        assert paid(acts, [*numbers[:late], *numbers[late + 1 :], late], change) == in_time, f"{late} comes last"
    assert paid(acts, numbers[::-1], change) == in_time


def test_a_streak_and_a_ladder_across_versions() -> None:
    """Check-ins of 9 days, those from the 5th on x4 at 7 in a row: the 7th, 8th and 9th. A buy of day 5 gives 30."""
    by_rule: Counter[str] = Counter()
    late_day = [0, 1, 2, 4, 5, 6, 7, 8, 3]
    for (rule, _, what), points in paid(
        CHECK_INS, late_day, ("from_day: 7, factor: 2", "from_day: 7, factor: 4")
    ).items():
        by_rule[rule] += 0 if what else points
    for (rule, _, what), points in paid(CLIMB, [0, 1, 3, 2], ("buy: 20", "buy: 30")).items():
        by_rule[rule] += 0 if what else points
    assert (by_rule["check_in"], by_rule["ladder"]) == (90, 38)


def test_the_end_of_a_pilot_reaches_silent_members() -> None:
    """Its members turn yellow after 20 days; at its end on the 10th day they have been yellow since the 7th."""
    end = dt.datetime.fromtimestamp((START + 10 * DAY) / 1000, SHANGHAI).date().isoformat()
    tiers = "tiers.presence: [{tier: yellow, after_days: 20}]"
    bench = Bench(PROGRAMME + f"pilots: {{calm: {{percent: 100, end: {end}, overrides: {{{tiers}}}}}}}\n")
    bench.act(SILENT)
    bench.act(after=9 * DAY)
    bench.act(after=12 * HOUR)
    assert not [fact for fact in bench.facts if isinstance(fact, TierEntered)]
    for _ in range(3):
        bench.act(after=8 * HOUR)
    entered = [fact for fact in bench.facts if isinstance(fact, TierEntered) and fact.member_id == SILENT]
    assert [(fact.tier, fact.effective_at - START) for fact in entered] == [("yellow", 7 * DAY)]


def test_each_partition_says_when_a_version_holds() -> None:
    bench = Bench()
    bench.give(version(2, START + HOUR))
    said = [fact for fact in bench.facts if isinstance(fact, InForce)]
    assert [(fact.number, fact.holds_from) for fact in said] == [(1, 0), (2, START + HOUR)]
