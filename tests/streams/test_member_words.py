"""A member told in words: what is true at the partition's clock, and what comes if nothing happens."""

import datetime as dt

import msgspec
import pytest

from processors.partitioner import partition_of
from processors.programme import Rules
from schemas import member as member_codec
from schemas.actions import OpeningLot
from schemas.programme import parse
from schemas.settings import Settings
from streams.errors import StateLost, UsageError
from streams.level_words import level_words
from streams.member_words import Shown, as_data, look_up, plain, shown, words
from streams.memory_store import MemoryStore
from streams.replay import Replay
from streams.store import Identity
from tests.processors.golden.recorded import LOG, PARTITION, PARTITIONS, record
from tests.processors.story import DAY, DEFAULT, EPOCH, RULES, START, Story, told
from tests.processors.test_leaders import SPENT, chats, known
from tests.processors.test_levels import bought, redeeming


def at(story: Story, day: float) -> Shown:
    return shown("m-1", story.state, RULES, START + round(day * DAY), ("live-1", 3, story.offset + 1))


def line(it: Shown, label: str) -> str:
    return next(text for name, text in words(it) if name == label)


STREAK = [(day, "check_in") for day in range(8)]


@pytest.mark.parametrize(
    ("steps", "day", "label", "text"),
    [
        ([(0.5, "check_in")], 0.5, "points", "5 issued = 5 active + 0 pending"),
        ([(0.5, "purchase")], 0.5, "points", "99 issued = 0 active + 99 pending"),
        ([(0.5, "purchase"), (7.5, "tick")], 7.5, "points", "99 issued = 99 active + 0 pending"),
        ([(0.5, "check_in")], 0.5, "activity", "score 1.000, index 5 of 100"),
        ([(0.5, "check_in")], 7.5, "activity", "score 0.500, index 2 of 100"),
        ([(0.5, "check_in")], 0.5, "overall tier", "none"),
        (
            [(0.5, "check_in"), (7.5, "tick")],
            7.5,
            "overall tier",
            "yellow, since 2026-03-09 12:00:00+08:00",
        ),
        (
            [(0.5, "check_in")],
            0.5,
            "presence",
            "no tier. If nothing happens, yellow on 2026-03-09 12:00:00+08:00",
        ),
        (
            [(0.5, "check_in"), (7.5, "tick")],
            8,
            "presence",
            "yellow since 2026-03-09 12:00:00+08:00: 7 d without an own action; the last was "
            "2026-03-02 12:00:00+08:00. If nothing happens, L1 on 2026-04-01 12:00:00+08:00",
        ),
        (
            [(0.5, "purchase"), (100, "tick")],
            100,
            "buying",
            "heavy since 2026-05-31 12:00:00+08:00: 90 d without a purchase; the last was "
            "2026-03-02 12:00:00+08:00. No graver tier follows",
        ),
        ([(0.5, "check_in")], 0.5, "buying", "no tier"),
        ([(0.5, "check_in"), (9, "leave")], 9, "presence", "no tier"),
        (STREAK, 7, "streak", "8 days in a row with a check-in, the last on 2026-03-09"),
        (STREAK, 8.9, "streak", "8 days in a row with a check-in, the last on 2026-03-09"),
        (STREAK, 9, "streak", "none alive"),
        (
            [(0.5, "join"), (1, "check_in")],
            2,
            "task",
            "icebreak: 0/1, 1/1, 0/1, until 2026-03-05 12:00:00+08:00",
        ),
        ([(0.5, "message")] * 7, 0.5, "points", "14 issued = 12 active + 2 pending"),
        ([(0.5, "check_in")], 0.5, "orders", "none"),
        (
            [(0.5, "purchase"), (1.5, "purchase")],
            2,
            "orders",
            "2 orders known, the last on 2026-03-03 12:00:00+08:00",
        ),
    ],
)
def test_a_state_in_words(steps: list[tuple[float, str]], day: float, label: str, text: str) -> None:
    assert line(at(told(steps), day), label) == text


BIG_SPENDER = """
  big_spender:
    title: spend 150 in a week
    window: {begins: week}
    resets: true
    conditions: [{name: spent, measure: amount, at_least: 15000, of: [{action: purchase}]}]
    reward: {points: 5}

ladder:"""
SPENDING = Rules(parse(DEFAULT.replace("\n\nladder:", BIG_SPENDER)), 1, 0)


@pytest.mark.parametrize(
    ("steps", "day", "text"),
    [
        ([bought(1, 194.82)], 2, "spend_200: 194.82/200.00 yuan"),
        ([bought(1, 199.99)], 2, "spend_200: 199.99/200.00 yuan"),
        ([bought(1, 200)], 2, "spend_200: 200.00/200.00 yuan, done"),
        ([bought(1, 1_234_567)], 2, "spend_200: 200.00/200.00 yuan, done"),
        ([bought(1, 200), (9, "tick")], 9, "spend_200: 200.00/200.00 yuan, done"),
        (STREAK[:6], 5, "check_in_7: 6/7"),
        (STREAK[:7], 6, "check_in_7: 7/7, done"),
        ([bought(1, 60)], 2, "big_spender: 60.00/150.00 yuan, until 2026-03-09 00:00:00+08:00"),
        ([bought(1, 150)], 2, "big_spender: 150.00/150.00 yuan, done since 2026-03-03 00:00:00+08:00"),
    ],
)
def test_a_task_is_done_since_a_moment_that_is_known_and_money_is_money(
    steps: list[tuple[float, str]], day: float, text: str
) -> None:
    it = shown("m-1", told(steps, SPENDING).state, SPENDING, START + round(day * DAY), ("live-1", 3, 9))
    assert text in [told_as for _, told_as in words(it)]


def of_level(story: Story, day: float, rules: Rules = RULES) -> list[str]:
    it = shown("m-1", story.state, rules, START + round(day * DAY), ("live-1", 3, 9))
    return [text for _, text in level_words(it.level, plain)]


def test_a_step_of_bonus_is_told_beside_its_base_and_when_it_ends() -> None:
    first, *_, end, fall = of_level(redeeming(5_000), 30)
    assert first == (
        "contributor 1 (gold since 2026-03-03 00:00:00+08:00 and 1 step of bonus): growth of 5000 meets 2000"
    )
    assert end == "if nothing happens, gold on 2026-06-20 00:00:00+08:00 (1 step of bonus less)"
    assert fall.startswith("if nothing happens, silver on ")
    story = redeeming(5_000)
    story.tick(START + 110 * DAY)
    assert of_level(story, 110)[0] == "gold, since 2026-03-03 00:00:00+08:00: growth of 5000 meets 2000"


def test_what_comes_if_nothing_happens_counts_the_steps_of_bonus_that_run_then() -> None:
    step = (440, "redeem", 440, {"redeem_id": "r", "points": 100, "reward": "level_step"})
    first, *_, fall, end = of_level(told([bought(1, 6_000), bought(370, 500, "p"), step]), 441)
    assert first.startswith("contributor 2 (contributor 1 since 2026-03-03 00:00:00+08:00 and 1 step of bonus): ")
    assert fall == "if nothing happens, contributor 1 on 2027-05-30 00:00:00+08:00 (4500.01 more net spend)"
    assert end.startswith("if nothing happens, gold on 2027-08-14 ")


def test_a_place_among_the_most_active_comes_and_goes_if_nothing_happens() -> None:
    rules = RULES.knowing(known())
    story = told([SPENT, *chats(5, 1)], rules)
    assert of_level(story, 1.5, rules)[-1] == (
        "if nothing happens, leader 1 on 2026-03-04 00:00:00+08:00 "
        "(net spend of 10000.01 meets 10000.01 and among the most active)"
    )
    story.tick(START + 2 * DAY)
    assert of_level(story, 2, rules)[-1] == (
        "if nothing happens, contributor 3 on 2026-07-01 00:00:00+08:00 (a place among the most active)"
    )


def test_points_on_their_way_and_lots_and_spend_stand_below_their_lines() -> None:
    it = at(told([(0.5, "purchase"), (8, "purchase"), (40, "check_in")]), 40)
    below = [text for name, text in words(it) if not name]
    assert (
        below
        == [
            "203 active points earned in 2026-03",
            "55 active points earned in 2026-04",
            "198.00 yuan spent in 2026-03",
        ]
        or below[-1] == "198.00 yuan spent in 2026-03"
    )
    waiting = at(told([(0.5, "purchase")]), 1)
    assert "99 become active on 2026-03-09 12:00:00+08:00" in [text for _, text in words(waiting)]


@pytest.mark.parametrize(("day", "days"), [(0.5, "1 day"), (29.9, "1 day"), (30, "0 days")])
def test_active_days_leave_the_last_thirty(day: float, days: str) -> None:
    story = told([(0.5, "check_in")])
    story.state.active_bits = 1  # buckets mark it, and a story has none
    assert line(at(story, day), "last action") == f"2026-03-02 12:00:00+08:00, active on {days} of the last 30"


def test_the_same_as_data() -> None:
    data = as_data(at(told([(0.5, "check_in"), (7.5, "tick")]), 8))
    assert data["tiers"][0] == {
        "dimension": "presence",
        "tier": "yellow",
        "since": "2026-03-09T12:00:00+08:00",
        "because": "7 d without an own action",
        "counted_from": "2026-03-02T12:00:00+08:00",
        "next_tier": "L1",
        "next_at": "2026-04-01T12:00:00+08:00",
        "ends_at": "",
        "why_not": "",
        "numbers": {},
    }
    assert data["as_of"] == dt.datetime.fromtimestamp((START + 8 * DAY) / 1000, RULES_ZONE).isoformat()
    assert msgspec.json.encode(data)


RULES_ZONE = dt.timezone(dt.timedelta(hours=8))


async def test_a_member_is_found_in_its_partition_without_owning_it() -> None:
    identity, store = Identity(LOG, "t", PARTITIONS), MemoryStore(LOG)
    replay = Replay(identity, "member.actions", PARTITION)
    await replay.begin()
    await replay.feed(record(600, 11))
    image = await replay.dump()
    await store.bootstrap(PARTITION, identity, "life", dump=image)
    settings = Settings(log=LOG, partitions=PARTITIONS, _env_file=None)
    busiest = max(image.states, key=lambda name: member_codec.decode(image.states[name]).issued)
    it = await look_up(settings, store, busiest)
    assert (it.member_id, it.partition, it.next_offset) == (busiest, PARTITION, image.next_offset)
    assert it.issued == member_codec.decode(image.states[busiest]).issued > 0
    assert (await store.dump(PARTITION)).owner == ""  # type: ignore[union-attr]
    with pytest.raises(UsageError, match=f"log {LOG} has no member nobody-"):
        await look_up(
            settings,
            store,
            next(n for n in map("nobody-{}".format, range(99)) if partition_of(n, PARTITIONS) == PARTITION),
        )


async def test_a_log_without_state_is_told_as_such() -> None:
    with pytest.raises(StateLost, match="partition 0 of log live-1 has no state"):
        await look_up(Settings(partitions=1, _env_file=None), MemoryStore("live-1"), "m-1")


def test_redemptions_and_what_was_brought_along_are_told() -> None:
    said = {"reason": "moved", "operator": "ann", "approved_by": "bob", "debt": 30, "level": "silver", "spend": {}}
    begun = EPOCH + dt.timedelta(milliseconds=START)
    said |= {"lots": (OpeningLot("2026-01", 400),), "level_since": begun, "joined_at": begun}
    asked = {"reward": "cup", "points": 200}
    story = told([(0, "opening", 0, said), *((1, "redeem", 1, asked | {"redeem_id": f"r-{n}"}) for n in (1, 2, 3))])
    lines = [text for _, text in words(shown("m-1", story.state, story.rules, story.clock, ("live-1", 0, 9)))]
    assert "400 points, 30 debt and level silver brought along on 2026-03-02 00:00:00+08:00 by e-0" in lines
    assert "r-1: 200 points for cup asked for on 2026-03-03 00:00:00+08:00, accepted" in lines
    assert "r-3: 200 points asked for on 2026-03-03 00:00:00+08:00, refused (missing)" in lines
