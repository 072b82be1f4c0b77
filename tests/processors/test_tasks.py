"""Tasks beyond their tables: progress, what a programme may declare, and that no order of arrival changes them."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors import tasks
from processors.lots import by_end
from processors.programme import Rules
from schemas.facts import BenefitPromised, TaskDone, TaskFact, TaskProgress
from schemas.programme import parse
from tests.processors.book import amended, check_sums, ledger, lines
from tests.processors.story import DAY, PROGRAMME, RULES, START, Story, an_action, told, when
from tests.strategies import HOUR_MS

SECOND = 1 / 86_400
Steps = list[tuple[Any, ...]]
IN_GROUP: dict[str, Any] = {"group_id": "g-1"}
COUPON: dict[str, Any] = {"coupon_id": "c-1"}


def step(what: str, happened: float, arrives: float | None = None, **fields: Any) -> tuple[Any, ...]:
    return (happened if arrives is None else arrives, what, happened, FIELDS.get(what, {}) | fields)


FIELDS: dict[str, dict[str, Any]] = {
    "event": {"activity_id": "a-1", "kind": "trial", "status": "joined"},
    "benefit_use": {"grant_id": "g", "benefit_id": "b", "kind": "coupon"},
}


def words(story: Story, task: str = "") -> list[str]:
    """Every fact about tasks in words: `icebreak 2/3`, `icebreak done on 2`, with `again` where it amends another."""
    return [_word(story, fact) for _, _, fact in story.facts if isinstance(fact, TaskFact) and task in ("", fact.rule)]


def _word(story: Story, fact: TaskFact) -> str:
    again = ""
    if fact.amends:
        (amended,) = [one for offset, index, one in story.facts if (offset, index) == fact.amends]
        assert isinstance(amended, TaskDone)
        assert amended.rule == fact.rule
        again = f", not on {when(amended.effective_at)}"
    if isinstance(fact, TaskDone):
        return f"{fact.rule} done on {when(fact.effective_at)}{again}"
    met = sum(value >= needed for value, needed in zip(fact.values, fact.needed, strict=True))
    return f"{fact.rule} {met}/{len(fact.values)}{again}"


def test_levels_read_what_is_done_since_when() -> None:
    story = told([step("join", 0), step("profile", 0), step("check_in", 1), step("message", 2)])
    assert tasks.levels_done(RULES, story.state) == {"explorer 2": START + 2 * DAY}
    assert tasks.done_at(story.state, "icebreak") == START + 2 * DAY
    assert tasks.done_at(story.state, "trial") == 0


def test_progress_says_what_is_missing_and_done_what_it_gives() -> None:
    story = told([step("join", 0), step("profile", 0), step("check_in", 1), step("message", 2)])
    first, second, last = (fact for _, _, fact in story.facts if isinstance(fact, TaskFact))
    assert isinstance(first, TaskProgress)
    assert (first.values, first.needed, first.begins, first.ends) == ((1, 0, 0), (1, 1, 1), START, START + 3 * DAY)
    assert first.because == "1 of 3: missing check_in, first message"
    assert second.because == "2 of 3: missing first message"
    assert last.because == "3-day icebreak done: gives explorer 2"


def test_a_member_past_its_windows_keeps_nothing_and_asks_one_number() -> None:
    story = told([step("join", 0), step("profile", 0), step("check_in", 1), step("message", 2)])
    assert story.state.tasks_until == START + 7 * DAY
    assert story.state.tasks
    story.tick(START + 33 * DAY - 1000)
    assert story.state.tasks
    story.tick(START + 33 * DAY)
    assert not story.state.tasks
    assert tasks.done_at(story.state, "icebreak") == START + 2 * DAY
    before = story.state.tasks_until
    story.act(an_action("message", START + 38 * DAY, 9), START + 38 * DAY)
    assert (story.state.tasks, story.state.tasks_until) == (b"", before)


def refund(story: Story, order: int, amount: int, day: float) -> None:
    """So much of an order comes back."""
    at = START + round(day * DAY)
    story.act(an_action("refund", at, 900, order_id=f"o-{order}", amount=amount, currency="CNY"), at)
    check_sums(story)


def declared(text: str) -> Rules:
    """The default programme with one task more, and no other that counts actions."""
    default = PROGRAMME.model_dump(mode="json")
    default["tasks"] = json.loads(text)
    return Rules(parse(json.dumps(default)), 1, 0)


WEEKLY = declared(
    """{"talker": {"title": "3 messages a week", "window": {"begins": "week"}, "resets": true,
    "conditions": [{"name": "messages", "measure": "count", "at_least": 3, "of": [{"action": "message"}]}],
    "reward": {"points": 20, "benefit": "tea"}}}"""
)
MONTHLY = declared(
    """{"spender": {"title": "300 yuan a month", "window": {"begins": "month"},
    "conditions": [{"name": "yuan", "measure": "amount", "at_least": 30000, "of": [{"action": "purchase"}]}],
    "reward": {"points": 30}}}"""
)
DAILY = declared(
    """{"watcher": {"title": "60 seconds a day", "window": {"begins": "day"}, "resets": true,
    "conditions": [{"name": "seconds", "measure": "seconds", "at_least": 60, "of": [{"action": "browse"}]}],
    "reward": {"points": 1}}}"""
)
BY_THIRTY = declared(
    """{"sharer": {"title": "2 shares in 30 days", "window": {"begins": "first_action", "days": 30}, "resets": true,
    "conditions": [{"name": "shares", "measure": "count", "at_least": 2, "of": [{"action": "share"}]}],
    "reward": {"points": 10}}}"""
)

DECLARED: list[tuple[str, Rules, Steps, list[str]]] = [
    ("three messages of a week", WEEKLY, [step("message", n) for n in (0, 3, 7 - SECOND)], ["task 20"]),
    ("the third falls into the next week", WEEKLY, [step("message", n) for n in (0, 3, 7)], []),
    ("more in the same week pay no more", WEEKLY, [step("message", n) for n in (0, 1, 2, 3, 4, 5, 6)], ["task 20"]),
    ("the next week begins anew", WEEKLY, [step("message", n) for n in (0, 1, 2, 7, 8, 9)], ["task 20", "task 20"]),
    (
        "a late message completes a week gone by",
        WEEKLY,
        [step("message", 0), step("message", 1), step("message", 2, arrives=20)],
        ["task 20"],
    ),
    (
        "an earlier third moves the moment",
        WEEKLY,
        [step("message", 0), step("message", 1), step("message", 5), step("message", 2, arrives=20)],
        ["task 20", "task -20 corrects day 5", "task 20"],
    ),
    ("300 yuan in a month", MONTHLY, [step("purchase", n, amount=15_000) for n in (0, 29)], ["task 30"]),
    ("a fen less", MONTHLY, [step("purchase", 0, amount=15_000), step("purchase", 1, amount=14_999)], []),
    ("over two months", MONTHLY, [step("purchase", n, amount=15_000) for n in (0, 30)], []),
    (
        "it is done once, in the first month",
        MONTHLY,
        [step("purchase", n, amount=30_000) for n in (0, 31)],
        ["task 30"],
    ),
    (
        "also when that comes to light late",
        MONTHLY,
        [step("purchase", 31, amount=30_000), step("purchase", 20, amount=30_000, arrives=32)],
        ["task 30", "task 30", "task -30 corrects day 31"],
    ),
    (
        "60 seconds of a day",
        DAILY,
        [step("browse", 0, item_id="i", seconds=59), step("browse", 0.9, item_id="i", seconds=1)],
        ["task 1"],
    ),
    ("59 seconds", DAILY, [step("browse", 0, item_id="i", seconds=59), step("browse", 1, item_id="i", seconds=1)], []),
    ("a window from the first action", BY_THIRTY, [step("share", n) for n in (0, 30 - SECOND)], ["task 10"]),
    ("and the next behind it", BY_THIRTY, [step("share", n) for n in (0, 30, 59)], ["task 10"]),
]


@pytest.mark.parametrize(("name", "rules", "steps", "expected"), DECLARED, ids=[case[0] for case in DECLARED])
def test_declared_tasks(name: str, rules: Rules, steps: Steps, expected: list[str]) -> None:
    story = told(sorted(steps, key=lambda one: one[0]), rules)
    assert lines(story, "task") == expected
    check_sums(story)


def test_a_refund_takes_back_what_the_task_paid() -> None:
    story = told([step("purchase", 0, amount=20_000), step("purchase", 1, amount=10_000)], MONTHLY)
    refund(story, 0, 1, 2)
    taken = ledger(story)[-1]
    assert (taken.entry, taken.rule, taken.points, taken.reversed) == ("reversed", "task", 0, 30)
    assert amended(story, taken).effective_at == START + DAY
    check_sums(story)
    assert words(story)[-1] == "spender 0/1, not on 1"


def test_a_benefit_is_promised_once_a_window() -> None:
    steps = [step("message", n) for n in (0, 1, 5)] + [step("message", 2, arrives=6)]
    story = told(steps, WEEKLY)
    (promise,) = [fact for _, _, fact in story.facts if isinstance(fact, BenefitPromised)]
    assert (promise.benefit, promise.rule, len(promise.promise_id)) == ("tea", "talker", 32)
    again = told(steps, WEEKLY)
    assert promise.promise_id in [fact.promise_id for _, _, fact in again.facts if isinstance(fact, BenefitPromised)]


NEWCOMER = ("join", "join", "login", "profile", "check_in", "message", "event", "benefit_use", "purchase")


def fields(what: str) -> st.SearchStrategy[dict[str, Any]]:
    varied: dict[str, st.SearchStrategy[dict[str, Any]]] = {
        "message": st.sampled_from([{}, IN_GROUP]),
        "purchase": st.sampled_from([{}, COUPON]),
        "event": st.sampled_from([{"status": "joined"}, {"status": "finished"}]),
    }
    return varied.get(what, st.just({})).map(lambda found: FIELDS.get(what, {}) | found)


acts = st.sampled_from(NEWCOMER).flatmap(
    lambda what: st.tuples(st.integers(0, 14 * 8).map(lambda n: n * 3 * HOUR_MS), st.just(what), fields(what))
)
hours = st.one_of(st.just(0), st.integers(0, 15 * 24))


@given(st.lists(acts, min_size=3, max_size=20), st.data())
@settings(deadline=None, max_examples=200)
def test_every_order_of_arrival_leaves_the_same_tasks_done(
    history: list[tuple[int, str, dict[str, Any]]], data: st.DataObject
) -> None:
    stories = []
    for _ in range(2):
        delays = data.draw(st.lists(hours, min_size=len(history), max_size=len(history)))
        story, order = Story(), sorted(range(len(history)), key=lambda n: history[n][0] + delays[n] * HOUR_MS)
        for number in order:
            happened, what, said = history[number]
            action = an_action(what, START + happened, number, **said)
            story.act(action, START + happened + delays[number] * HOUR_MS)
        stories.append(story)
    first, second = stories
    assert tasks.levels_done(RULES, first.state) == tasks.levels_done(RULES, second.state) == expected(history)
    for story in stories:
        assert said_last(story) == expected(history)


def said_last(story: Story) -> dict[str, int]:
    """What the facts leave done, each amended by those that name it."""
    amended = {fact.amends for _, _, fact in story.facts if isinstance(fact, TaskFact)}
    marks = {"icebreak": "explorer 2", "trial": "explorer 3"}
    return {
        marks[fact.rule]: fact.effective_at
        for offset, index, fact in story.facts
        if isinstance(fact, TaskDone) and (offset, index) not in amended
    }


def expected(history: list[tuple[int, str, dict[str, Any]]]) -> dict[str, int]:
    """By the definition, from the whole history at once.

    The window is that of the earliest join, else of the earliest action. A join that is far behind that leaves its
    window as it is, and makes one of its own for what was not done in it.
    """
    first = min(happened for happened, _, _ in history)
    join = min((happened for happened, what, _ in history if what == "join"), default=first)
    asked = {
        "explorer 2": (3 * DAY, (("profile",), ("check_in",), ("message",))),
        "explorer 3": (7 * DAY, (("benefit_use", "coupon"), ("group",), ("event",))),
    }
    found: dict[str, int] = {}
    for mark, (length, parts) in asked.items():
        for begin in (first, join) if join >= first + length + 30 * DAY else (join,):
            done = _done_in(history, begin, length, parts)
            if done >= 0 and mark not in found:
                found[mark] = START + done
    return found


def _done_in(history: list[Any], begin: int, length: int, parts: tuple[tuple[str, ...], ...]) -> int:
    within = [one for one in history if begin <= one[0] < begin + length]
    firsts = [min([h for h, what, said in within if _is(what, said, part)], default=-1) for part in parts]
    return max(firsts) if min(firsts) >= 0 else -1


def _is(what: str, said: dict[str, Any], part: tuple[str, ...]) -> bool:
    if "group" in part:
        return what == "message" and "group_id" in said
    if "coupon" in part and what == "purchase":
        return "coupon_id" in said
    return what in part and said.get("status") != "finished"


LENGTHS = (3, 7)
when_joined = st.one_of(
    st.integers(0, 90),
    st.sampled_from([30 + length + more for length in LENGTHS for more in (-1, 0, 1)]),
)


@st.composite
def lives(draw: st.DrawFn) -> tuple[list[tuple[int, str, dict[str, Any]]], list[list[int]]]:
    """What a member did about its first action and about its joins; delays, but for joins that may be far, two ways."""
    joins = sorted(draw(st.lists(when_joined, max_size=2)))
    about = [0, *joins]
    near = st.integers(0, 8 * 8).map(lambda n: n * 3 * HOUR_MS)
    history: list[tuple[int, str, dict[str, Any]]] = [(day * DAY, "join", {}) for day in joins]
    history.append((0, "login", {}))
    for begin in draw(st.lists(st.sampled_from(about), max_size=6)):
        for what, said in draw(st.lists(st.sampled_from(PARTS), max_size=6)):
            history.append((begin * DAY + draw(near), what, said))
    ways = [
        [0 if what == "join" and happened >= 33 * DAY else draw(late) for happened, what, _ in history]
        for _ in range(2)
    ]
    return history, ways


late = st.one_of(st.just(0), st.integers(0, 30 * 24))
PARTS: list[tuple[str, dict[str, Any]]] = [
    *(("profile", {}), ("check_in", {}), ("message", IN_GROUP), ("event", FIELDS["event"])),
    ("benefit_use", FIELDS["benefit_use"]),
]


@given(lives())
@settings(deadline=None, max_examples=400)
def test_a_late_join_leaves_the_same_tasks_done_however_late(
    told: tuple[list[tuple[int, str, dict[str, Any]]], list[list[int]]],
) -> None:
    history, ways = told
    for delays in ways:
        story = Story()
        for number in sorted(range(len(history)), key=lambda n: history[n][0] + delays[n] * HOUR_MS):
            happened, what, said = history[number]
            story.act(an_action(what, START + happened, number, **said), START + happened + delays[number] * HOUR_MS)
        assert tasks.levels_done(RULES, story.state) == said_last(story) == expected(history)
        story.tick(START + 200 * DAY)
        assert not story.state.tasks, "nothing is kept for ever"
        assert tasks.levels_done(RULES, story.state) == expected(history)


@pytest.mark.parametrize(
    ("name", "joined", "arrives", "done"),
    [
        ("a join that is not far undoes the first window", 33 - SECOND, 33, []),
        ("also one that comes at the last moment", 33 - SECOND, 63 - SECOND, []),
        ("a far one leaves it", 33, 33, [2]),
        ("also if it comes late", 33, 63, [2]),
    ],
)
def test_a_join_is_far_from_the_length_of_the_window_and_the_horizon_on(
    name: str, joined: float, arrives: float, done: list[float]
) -> None:
    steps = [step("profile", 0), step("check_in", 1), step("message", 2), step("join", joined, arrives)]
    story = told(sorted(steps, key=lambda one: one[0]))
    assert list(tasks.levels_done(RULES, story.state).values()) == [START + day * DAY for day in done]


@pytest.mark.parametrize(
    ("name", "acted", "joined", "done"),
    [
        ("before its record what is noted counts", 36 - SECOND, 35, True),
        ("later nothing is noted of who never joined", 36, 35, False),
        ("what comes after its record counts whenever it was", 36, 35.5, True),
    ],
)
def test_of_a_far_join_that_comes_late_counts_what_comes_after_it(
    name: str,
    acted: float,
    joined: float,
    done: bool,  # noqa: FBT001
) -> None:
    """The limit that decision 0017 names: two lengths of the window and the horizon after the first action."""
    steps = [step("login", 0)]
    arrives = 36 if joined == 35 else 35.5
    steps += [step(what, acted) for what in ("profile", "check_in", "message")]
    steps.append(step("join", 35, arrives))
    story = told(sorted(steps, key=lambda one: one[0]))
    assert bool(tasks.levels_done(RULES, story.state)) == done


def test_the_window_of_a_far_join_is_the_one_that_is_shown_and_missed() -> None:
    story = told([step("login", 0), step("profile", 1), step("join", 40), step("check_in", 41)])
    (icebreak, _) = (one for one in tasks.progress(RULES, story.state, START + 41 * DAY) if one.needed == (1, 1, 1))
    assert (icebreak.values, icebreak.until) == ((0, 1, 0), START + 43 * DAY)
    assert tasks.missed(RULES, story.state, START + 43 * DAY - 1) == {}
    assert tasks.missed(RULES, story.state, START + 43 * DAY) == {"icebreak": START + 43 * DAY}


@given(
    st.lists(st.integers(0, 20 * 12), min_size=3, max_size=25),
    st.data(),
)
@settings(deadline=None, max_examples=100)
def test_weekly_tasks_pay_the_same_in_any_order(moments: list[int], data: st.DataObject) -> None:
    weeks = Counter(moment * 2 // (7 * 24) for moment in moments)
    for _ in range(2):
        delays = data.draw(st.lists(hours, min_size=len(moments), max_size=len(moments)))
        story = Story(WEEKLY)
        for number in sorted(range(len(moments)), key=lambda n: moments[n] * 2 + delays[n]):
            at = START + moments[number] * 2 * HOUR_MS
            story.act(an_action("message", at, number, length=1), at + delays[number] * HOUR_MS)
            check_sums(story)
        paid = sum(entry.points for entry in ledger(story) if entry.rule == "task")
        assert paid == 20 * sum(count >= 3 for count in weeks.values()) == sum(by_end(story.state).values())


@pytest.mark.parametrize(
    ("name", "steps", "day", "expected"),
    [
        ("nothing yet", [], 0, {"check_in_7": "0/7", "spend_200": "0/20000"}),
        (
            "two of three of the icebreak",
            [step("join", 0), step("profile", 0), step("check_in", 1)],
            2,
            {"icebreak": "1/1 1/1 0/1", "trial": "0/1 0/1 0/1", "check_in_7": "1/7", "spend_200": "0/20000"},
        ),
        (
            "its window has closed",
            [step("join", 0), step("profile", 0), step("check_in", 1)],
            3,
            {"trial": "0/1 0/1 0/1", "check_in_7": "0/7", "spend_200": "0/20000"},
        ),
        (
            "done long ago",
            [step("join", 0), step("profile", 0), step("check_in", 1), step("message", 1), (50, "tick")],
            50,
            {"icebreak": "1/1 1/1 1/1", "check_in_7": "0/7", "spend_200": "0/20000"},
        ),
        (
            "a streak of seven is alive until a day ends without check-in",
            [step("check_in", n) for n in range(8)],
            8.9,
            {"check_in_7": "7/7", "spend_200": "0/20000"},
        ),
        ("then it is not", [step("check_in", n) for n in range(8)], 9, {"check_in_7": "0/7", "spend_200": "0/20000"}),
        (
            "199.99 yuan",
            [step("purchase", 0, amount=19_999), (30, "tick")],
            30,
            {"check_in_7": "0/7", "spend_200": "19999/20000"},
        ),
        (
            "200 yuan over two months",
            [step("purchase", 0, amount=10_000), step("purchase", 35, amount=10_000)],
            40,
            {"check_in_7": "0/7", "spend_200": "20000/20000"},
        ),
        (
            "of which one was 12 months ago",
            [step("purchase", 0, amount=10_000), step("purchase", 35, amount=10_000), (370, "tick")],
            370,
            {"check_in_7": "0/7", "spend_200": "10000/20000"},
        ),
        (
            "a part of it came back",
            [step("purchase", 0, amount=20_000), (1, "refund", 1, {"order_id": "o-0", "amount": 1})],
            20,
            {"check_in_7": "0/7", "spend_200": "19999/20000"},
        ),
    ],
)
def test_progress_is_visible(name: str, steps: Steps, day: float, expected: dict[str, str]) -> None:
    found = tasks.progress(RULES, told(steps).state, START + round(day * DAY))
    words = {
        one.name: " ".join(f"{value}/{needed}" for value, needed in zip(one.values, one.needed, strict=True))
        for one in found
    }
    assert words == expected
    for one in found:
        assert one.done == (one.values == one.needed)
        assert bool(one.done_at) == (one.done and one.name not in RULES.tasks.standing)  # nor a state
