"""The tiers held do not depend on the order in which actions arrive; the facts alone lead to the same."""

from __future__ import annotations

from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from processors.ladders import NAMES
from schemas.facts import Tier, TierEntered, TierLeft, TierMoved, TierVoided
from tests.processors.story import DAY, RULES, START, Story, an_action

HOUR = DAY // 24
LADDERS = {
    "presence": [(61, "lost"), (46, "L3"), (38, "L2"), (30, "L1"), (7, "yellow")],
    "buying": [(90, "heavy"), (60, "medium"), (30, "light"), (14, "red")],
}


class Sent(NamedTuple):
    """An action: what, when it happened and how much later it arrived, in hours."""

    what: str
    happened: int
    delay: int


sent = st.builds(
    Sent,
    st.sampled_from(["login", "purchase", "like", "refund", "leave", "join"]),
    st.integers(0, 120 * 24),
    st.one_of(st.just(0), st.integers(0, 30 * 24)),
)
histories = st.lists(sent, max_size=12)


def lived(history: list[Sent], end: int) -> Story:
    """The story of a history in its order of arrival, looked at on day `end`."""
    story = Story()
    numbered = sorted(enumerate(history), key=lambda pair: pair[1].happened + pair[1].delay)
    for number, one in numbered:
        action = an_action(one.what, START + one.happened * HOUR, number)
        story.act(action, START + (one.happened + one.delay) * HOUR)
    story.tick(START + end * DAY)
    return story


def held(story: Story) -> dict[str, tuple[str, int]]:
    state = story.state
    return {
        "presence": (NAMES[state.presence], state.presence_at),
        "buying": (NAMES[state.buying], state.buying_at),
    }


def expected(history: list[Sent], clock: int) -> dict[str, tuple[str, int]]:
    """The definition in five lines: the latest action, if newer than the closing, and the time since."""
    closed = max((one.happened for one in history if one.what == "leave"), default=-1)
    found = {}
    for dimension, ends in (("presence", {"login", "purchase", "like", "join"}), ("buying", {"purchase"})):
        last = max((one.happened for one in history if one.what in ends and one.happened > closed), default=None)
        found[dimension] = ("", 0)
        if last is not None:
            at = START + last * HOUR
            reached = [(t, at + n * DAY) for n, t in LADDERS[dimension] if at + n * DAY <= clock]
            found[dimension] = (reached or [("", 0)])[0]
    return found


@settings(max_examples=300)
@given(histories, st.integers(150, 260))
def test_the_tiers_held_are_those_of_the_latest_actions(history: list[Sent], end: int) -> None:
    story = lived(history, end)
    assert held(story) == expected(history, START + end * DAY)


@given(histories, st.integers(150, 260))
def test_late_and_on_time_lead_to_the_same_tiers(history: list[Sent], end: int) -> None:
    assert held(lived(history, end)) == held(lived([one._replace(delay=0) for one in history], end))


@given(histories, st.integers(150, 260), st.lists(st.integers(0, 250), max_size=20))
def test_how_often_the_clock_is_looked_at_changes_no_fact(history: list[Sent], end: int, looks: list[int]) -> None:
    def fields(story: Story) -> list[Any]:
        return [(f.effective_at, type(f), f.dimension, f.tier, f.overall) for f in tier_facts(story)]

    story = Story()
    stops = [(START + day * DAY, None) for day in looks]
    stops += [(START + (o.happened + o.delay) * HOUR, (n, o)) for n, o in enumerate(history)]  # type: ignore[misc]
    for at, one in sorted(stops, key=lambda stop: stop[0]):
        if one is None:
            story.tick(at)
        else:
            story.act(an_action(one[1].what, START + one[1].happened * HOUR, one[0]), at)
    story.tick(START + max([end, *looks]) * DAY)
    assert fields(story) == fields(lived(history, max([end, *looks])))


@given(histories, st.integers(0, 260))
def test_the_facts_alone_tell_the_tiers_held(history: list[Sent], end: int) -> None:
    story = lived(history, end)
    open_tiers: dict[str, tuple[str, int]] = {"presence": ("", 0), "buying": ("", 0)}
    for fact in tier_facts(story):
        if isinstance(fact, TierEntered):
            assert open_tiers[fact.dimension] == ("", 0), "at most one tier a ladder"
            open_tiers[fact.dimension] = (fact.tier, fact.effective_at)
        else:
            assert isinstance(fact, TierLeft | TierVoided | TierMoved)
            assert open_tiers[fact.dimension] == (fact.tier, fact.entered_at)
            moved = isinstance(fact, TierMoved)
            open_tiers[fact.dimension] = (fact.tier, fact.effective_at) if moved else ("", 0)
    assert open_tiers == held(story)


@given(histories, st.integers(0, 260))
def test_the_overall_tier_of_the_last_fact_is_the_gravest_held(history: list[Sent], end: int) -> None:
    story = lived(history, end)
    facts = tier_facts(story)
    gravity = ["", *RULES.programme.tiers.gravity]
    gravest = max(held(story).values(), key=lambda pair: gravity.index(pair[0]))
    if facts:
        assert (facts[-1].overall, facts[-1].overall_since) == gravest


@given(histories, st.integers(0, 260))
def test_facts_of_a_tier_stand_at_the_moments_they_speak_of(history: list[Sent], end: int) -> None:
    for fact in tier_facts(lived(history, end)):
        assert fact.effective_at <= fact.decided_at
        if isinstance(fact, TierEntered):
            assert fact.effective_at - fact.silent_since in {n * DAY for n, _ in LADDERS[fact.dimension]}
        if isinstance(fact, TierLeft):
            assert fact.entered_at <= fact.effective_at


def tier_facts(story: Story) -> list[Tier]:
    return [fact for _, _, fact in story.facts if isinstance(fact, Tier)]
