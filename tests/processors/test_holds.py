"""Points held on suspicion, as those who judge them would check it: one row, one case."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors import held, holds
from processors import ledger as ledger_rules
from processors.aggregate import Buckets
from processors.lots import by_end
from processors.member import Moment
from processors.programme import Rules
from schemas.actions import Adjust
from schemas.facts import Fact, Ledger, PointsHeld, PointsReleased
from schemas.member import DAY_COUNTS, PENDING
from schemas.programme import parse
from schemas.records import Cause, Referral
from tests.processors.book import check_sums, ledger
from tests.processors.story import DAY, DEFAULT, EPOCH, PROGRAMME, START, Story, an_action

SECOND = 1_000
MINUTE = 60 * SECOND
MARCH = 2026 * 12 + 2


def declared(**points: int) -> Rules:
    """The default programme; messages of a day are all paid, with other limits of points."""
    default = PROGRAMME.model_dump(mode="json")
    default["points"]["message"]["per_day"] = 255
    default["fraud"]["points"] |= points
    return Rules(parse(json.dumps(default)), 1, 0)


CALM = declared(day_over=60_000)
FEW_MESSAGES = Rules(parse(DEFAULT.replace("per_day: 300}", "per_day: 4}")), 1, 0)


def lived(
    moments: list[int], what: str = "message", rules: Rules = CALM, delays: dict[int, int] | None = None
) -> Story:
    """So many actions at these moments after the start, ms; some arrive later."""
    story = Story(rules, Buckets("live-1", 0))
    late = delays or {}
    for number in sorted(range(len(moments)), key=lambda n: moments[n] + late.get(n, 0)):
        at = START + moments[number]
        story.act(an_action(what, at, number), at + late.get(number, 0))
        check_sums(story)
    return story


def opened(story: Story) -> list[PointsHeld]:
    return [fact for _, _, fact in story.facts if isinstance(fact, PointsHeld)]


def ended(story: Story) -> list[PointsReleased]:
    return [fact for _, _, fact in story.facts if isinstance(fact, PointsReleased)]


def balances(story: Story) -> tuple[int, int]:
    return story.state.active, story.state.pending


def every(ms: int, count: int, start: int = 0) -> list[int]:
    return [start + ms * n for n in range(count)]


def days_of_shares(days: int, today: int, rules: Rules) -> Story:
    """One share (5 points) a day, then so many on the last."""
    moments = [n * DAY for n in range(days)] + [days * DAY + n * MINUTE for n in range(today)]
    return lived(moments, "share", rules)


MANY = {"times_mean": 3, "active_days_min": 7}
SHARES = json.loads(PROGRAMME.model_dump_json())
SHARES["points"]["share"]["per_day"] = 255
SHARES["fraud"]["points"] |= MANY
PAID = Rules(parse(json.dumps(SHARES)), 1, 0)


@pytest.mark.parametrize(
    ("name", "days", "today", "held_points"),
    [
        ("100 points are not over 100", 7, 20, 0),
        ("105 are, and the share that makes it so is held", 7, 21, 5),
        ("all that follow are held", 7, 24, 20),
        ("six active days before are too few", 6, 24, 0),
    ],
)
def test_points_of_a_day(name: str, days: int, today: int, held_points: int) -> None:
    story = days_of_shares(days, today, PAID)
    assert story.state.pending == held_points
    assert len(opened(story)) == (held_points > 0)


@pytest.mark.parametrize(("today", "held_points"), [(21, 0), (24, 0), (25, 5)])
def test_a_busy_member_may_earn_three_times_its_mean(today: int, held_points: int) -> None:
    """Eight shares a day are 40 points: 120 are three times that, 125 are more."""
    moments = [n * DAY + k * MINUTE for n in range(10) for k in range(8)]
    story = lived(moments + [10 * DAY + k * MINUTE for k in range(today)], "share", PAID)
    assert story.state.pending == held_points


def test_the_mean_is_that_of_the_last_30_active_days() -> None:
    """40 points a day long ago, 5 a day on the last 30 active ones, days of silence between: 105 are too many."""
    moments = [n * DAY + k * MINUTE for n in range(10) for k in range(8)]
    moments += [(10 + 2 * n) * DAY for n in range(30)]
    story = lived(moments + [80 * DAY + k * MINUTE for k in range(21)], "share", PAID)
    assert [fact.because for fact in opened(story)] == [
        "105 points in a programme day, over 100 and 3x the mean of 5.0 on the last 30 active days"
    ]


def test_purchases_neither_count_nor_are_held() -> None:
    story = days_of_shares(7, 21, PAID)
    at = START + 7 * DAY + 3_600 * SECOND
    story.act(an_action("purchase", at, 900, amount=50_000), at)
    check_sums(story)
    purchase = next(entry for entry in ledger(story) if entry.rule == "purchase")
    assert (purchase.points, purchase.reason) == (500, "")
    story.tick(at + 7 * DAY)
    assert balances(story) == (7 * 5 + 20 * 5 + 500, 5)


def test_late_points_of_other_days_are_not_those_of_the_day() -> None:
    story = days_of_shares(7, 10, PAID)
    for number in range(20):
        at = START + 3 * DAY + (number + 1) * MINUTE
        story.act(an_action("share", at, 500 + number), START + 7 * DAY + 3_600 * SECOND)
    assert not opened(story)


def test_a_held_entry_says_so_and_the_fact_shows_the_evidence() -> None:
    story = lived(every(9 * SECOND, 7))
    (fact,) = opened(story)
    assert fact.because == "7 messages within 54 s, over 6 in 60 s"
    assert (fact.scope, fact.until, len(fact.hold_id)) == ("messages", story.clock + 30 * DAY, 32)
    last = ledger(story)[-1]
    assert (last.reason, last.points, last.active, last.pending) == ("held", 2, 0, 2)
    assert last.pending_until == fact.until


def staff(story: Story, kind: str, hold_id: str, at: int) -> bool:
    """Staff judge a hold."""
    story.tick(at)
    action = Adjust(
        event_id="a-1",
        source="desk",
        member_id="m-1",
        occurred_at=EPOCH + dt.timedelta(milliseconds=at),
        kind=kind,  # type: ignore[arg-type]
        hold_id=hold_id,
        reason="looked at",
        operator="ann",
        approved_by="bob",
    )
    facts: list[Fact] = []
    found = holds.judge(
        story.rules, story.state, action, Moment(story.clock, story.clock, story.offset, story._index()), facts
    )
    first = story._index()
    story.facts.extend((story.offset, first + place, fact) for place, fact in enumerate(facts))
    check_sums(story)
    return found


def test_staff_release_a_hold_as_a_whole() -> None:
    story = lived([*every(9 * SECOND, 7), 3_600 * SECOND])
    assert staff(story, "release", opened(story)[0].hold_id, START + DAY)
    assert balances(story) == (16, 0)
    (end,) = ended(story)
    assert (end.points, end.reason, end.by, end.approved_by) == (4, "released", "ann", "bob")
    last = ledger(story)[-1]
    assert (last.rule, last.entry, last.active, last.pending, last.base) == ("message", "released", 4, -4, 4)
    assert by_end(story.state) == {story.rules.lot_ends[MARCH]: 16}


def test_staff_reverse_a_hold_as_a_whole() -> None:
    story = lived([*every(9 * SECOND, 7), 3_600 * SECOND])
    assert staff(story, "reverse", opened(story)[0].hold_id, START + DAY)
    assert (*balances(story), story.state.reversed) == (12, 0, 4)
    assert [(fact.points, fact.reason) for fact in ended(story)] == [(0, "reversed")]


def test_a_hold_is_judged_once_and_an_unknown_one_never() -> None:
    story = lived(every(9 * SECOND, 7))
    hold_id = opened(story)[0].hold_id
    assert not staff(story, "release", "0" * 32, START + DAY)
    assert staff(story, "release", hold_id, START + DAY)
    assert not staff(story, "release", hold_id, START + DAY)


@given(st.permutations([*range(0, 63, 9), *range(3_600, 86_400, 13_800)]), st.integers(0, 1))
@settings(deadline=None, max_examples=40)
def test_seven_in_a_minute_are_held_in_whatever_order_they_arrive(seconds: list[int], left_out: int) -> None:
    """Six others of the day arrive among them, each far from all."""
    story = Story(CALM, Buckets("live-1", 0))
    for number, second in enumerate(one for one in seconds if one or not left_out):
        story.act(an_action("message", START + second * SECOND, number), START + DAY + number * SECOND)
    assert [fact.because for fact in opened(story)] == ["7 messages within 54 s, over 6 in 60 s"] * (not left_out)


@given(numbers=st.permutations([0] * 4 + [1] * 3 + [17] * 4 + [29] * 4), more=st.booleans())
@settings(deadline=None, max_examples=40)
def test_the_messages_of_a_day_are_counted_in_whatever_order_days_arrive(numbers: list[int], *, more: bool) -> None:
    story = Story(FEW_MESSAGES, Buckets("live-1", 0))
    for number, day in enumerate([*numbers, 1, 1] if more else numbers):
        at = START + day * DAY + number * 10 * MINUTE
        story.act(an_action("message", at, number), START + 30 * DAY - SECOND)
    assert [fact.because for fact in opened(story)] == ["5 messages in a programme day, over 4"] * more


def test_messages_of_days_are_forgotten_with_the_horizon() -> None:
    story = lived([n * DAY for n in range(40)])
    assert len(story.state.messages_before) == 2 * (DAY_COUNTS - 1)
    story.act(an_action("message", START + 200 * DAY, 99), START + 200 * DAY)
    assert (story.state.messages_before, len(story.state.messages_near)) == (b"", 12 * 8)


def test_what_was_judged_raises_no_suspicion_again() -> None:
    story = lived(every(9 * SECOND, 7))
    staff(story, "release", opened(story)[0].hold_id, START + 56 * SECOND)
    for number, ms in enumerate((57, 58, 59)):
        story.act(an_action("message", START + ms * SECOND, 100 + number), START + ms * SECOND)
    assert len(opened(story)) == 1


@pytest.mark.parametrize(("left_days", "ends_in_days"), [(91, 91), (90, 90), (89, 90)])
def test_points_released_near_their_end_last_90_days(left_days: int, ends_in_days: int) -> None:
    """The lot's end is 1 April 2027; a hold may be judged that late only where its programme waits that long."""
    default = PROGRAMME.model_dump(mode="json")
    default["fraud"]["unjudged_days"] = 1_000
    story = lived(every(9 * SECOND, 7), rules=Rules(parse(json.dumps(default)), 1, 0))
    end = story.rules.lot_ends[MARCH]
    at = end - left_days * DAY
    staff(story, "release", opened(story)[0].hold_id, at)
    assert by_end(story.state)[at + ends_in_days * DAY] == (14 if left_days == ends_in_days else 2)


def test_a_release_pays_debt_first() -> None:
    story = lived(every(9 * SECOND, 7))
    story.state.debt, story.state.active = 1, 0
    story.state.spent = story.state.issued - story.state.pending + 1
    story.state.lot_points = 0
    facts: list[Fact] = []
    (hold,) = held.read(story.state)
    action = Adjust(
        event_id="a",
        source="desk",
        member_id="m-1",
        occurred_at=EPOCH,
        kind="release",
        hold_id=hold.id,
        reason="r",
        operator="ann",
        approved_by="bob",
    )
    assert holds.judge(story.rules, story.state, action, Moment(story.clock, story.clock, 9, 0), facts)
    assert (story.state.debt, *balances(story)) == (0, 1, 0)


def test_what_is_held_is_corrected_in_the_hold() -> None:
    """A weekly task paid into a hold, then found done at another moment, then no more."""
    default = json.loads(PROGRAMME.model_dump_json())
    default["tasks"] = {
        "buyer": {
            "title": "an order a week",
            "window": {"begins": "week"},
            "resets": True,
            "conditions": [{"name": "orders", "measure": "count", "at_least": 1, "of": [{"action": "purchase"}]}],
            "reward": {"points": 20},
        }
    }
    default["fraud"]["points"] |= {"day_over": 1, "active_days_min": 1, "times_mean": 1}
    story = Story(Rules(parse(json.dumps(default)), 1, 0), Buckets("live-1", 0))
    for number, (what, day) in enumerate((("login", 0), ("share", 1), ("purchase", 1.1))):
        at = START + round(day * DAY)
        story.act(an_action(what, at, number), at)
        check_sums(story)
    assert len(opened(story)) == 1
    assert held.read(story.state)[0].parts[1].points == 20
    at = START + 2 * DAY
    story.act(an_action("refund", at, 9, order_id="o-2", amount=9_900, currency="CNY"), at)
    check_sums(story)
    taken = next(entry for entry in ledger(story) if entry.rule == "task" and entry.entry == "reversed")
    assert (taken.pending, taken.reversed, taken.active) == (-20, 20, 0)
    assert [part.points for part in held.read(story.state)[0].parts] == [5]


def heard(*bodies: Referral, known: tuple[tuple[str, dict[str, Any]], ...] = ()) -> Story:
    """Referrals heard at these clocks, one a minute, by a member who did some things before."""
    story = Story()
    for number, (what, fields) in enumerate((("login", {}), *known)):
        story.act(an_action(what, START, number, **fields), START)
    for body in bodies:
        hear_of(story, body)
    return story


def hear_of(story: Story, body: Referral) -> None:
    story.tick(story.clock + MINUTE)
    facts: list[Fact] = []
    moment = Moment(story.clock, story.clock, story.offset, story._index())
    holds.referred(story.rules, story.state, body, moment, facts)
    story.facts.extend((story.offset, moment.index + place, fact) for place, fact in enumerate(facts))


def referral(kind: Any = "accepted", invited: str = "m-9", **fields: Any) -> Referral:
    return Referral(Cause("live-1", 0, 1, 0), "m-1", kind, invited, **fields)


def test_refunds_that_staff_judged_do_not_count_again() -> None:
    refunded = [referral(kind, f"m-{n}") for n in range(3) for kind in ("accepted", "undone")]
    story = heard(*refunded)
    (hold,) = opened(story)
    assert hold.because == "3 of the last 3 invited fully refunded their first order"
    assert staff(story, "release", hold.hold_id, START + DAY)
    for body in (referral("accepted", "m-3"), referral("undone", "m-3"), referral("undone", "m-0")):
        hear_of(story, body)
    assert len(opened(story)) == 1
    hear_of(story, referral("moved", "m-1", refunded=True))
    assert len(opened(story)) == 2


def test_joins_of_another_day_count_anew() -> None:
    story = heard(*[referral(invited=f"m-{n}") for n in range(20)])
    story.tick(START + DAY)
    facts: list[Fact] = []
    holds.referred(story.rules, story.state, referral(), Moment(story.clock, story.clock, 99, 0), facts)
    assert facts == []


def test_points_that_wait_for_a_moment_wait_in_the_hold_instead() -> None:
    """As those of a referral: at their moment they do not become active."""
    story = heard(*[referral(invited=f"m-{n}") for n in range(21)])
    fact = Ledger(member_id="m-1", effective_at=START, decided_at=story.clock, rule="referral", entry="earned")
    fact.points, fact.base, fact.month, fact.because = 200, 200, MARCH, "200 = m-20 accepted"
    ledger_rules.wait(story.state, fact)
    story.state.pendings = PENDING.pack(START + 7 * DAY, MARCH, 200, 99, 0)
    holds.review(story.rules, story.state, "m-1", Moment(story.clock, story.clock, 99, 0), [fact])
    assert (story.state.pendings, fact.reason) == (b"", "held")
    assert balances(story) == (0, 200)
    story.tick(START + 10 * DAY)
    assert balances(story) == (0, 200)
