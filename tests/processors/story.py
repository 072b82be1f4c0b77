"""A member's life told as a list of steps, and what came of it told in words: for tables anybody can read.

A step is (when it arrives, what, [when it happened, [fields]]); times are days since the story's first
midnight. The stage does what a partition does: before each record the member is woken for what is due.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

from processors.aggregate import Buckets
from processors.member import Decision, Member, Moment, decide, hear, wake
from processors.programme import Rules
from schemas.actions import ACTIONS, Action
from schemas.facts import Fact, TierEntered, TierLeft, TierMoved, TierVoided
from schemas.member import MemberState
from schemas.programme import Programme, parse
from schemas.records import AnyDerived
from schemas.verdicts import Verdict

DAY = 86_400_000
SECOND = 1_000
START = int(dt.datetime(2026, 3, 1, 16, tzinfo=dt.UTC).timestamp() * 1000)  # Monday 2 March in Shanghai
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
KEY = bytes(16)

DEFAULT = Path("schemas/programmes/default.yaml").read_text()
PROGRAMME: Programme = parse(DEFAULT.replace("first_order: {factor: 2,", "first_order: {factor: 1,"))
"""The default programme, but that a first order counts once: tables of other rules need not think of it."""
RULES = Rules(PROGRAMME, 1, 0)

FIELDS: dict[str, dict[str, Any]] = {
    "message": {"kind": "chat"},
    "share": {"target": "content"},
    "purchase": {"amount": 9_900, "currency": "CNY"},
    "like": {"item_id": "i-1"},
    "refund": {"order_id": "o-0", "amount": 1, "currency": "CNY"},
}


class Story:
    """One member of a partition, alone with the rules; several may share its buckets."""

    def __init__(self, rules: Rules = RULES, buckets: Buckets | None = None, name: str = "m-1") -> None:
        self.rules, self.buckets = rules, buckets
        self.member = Member(name, MemberState())
        self.clock = START
        self.offset = 0
        self.wake_at = 0
        self.facts: list[tuple[int, int, Fact]] = []  # (offset, index, fact)
        self.verdicts: list[Verdict] = []
        self.heard: list[AnyDerived] = []

    @property
    def state(self) -> MemberState:
        return self.member.state

    def tick(self, at: int) -> None:
        """The clock moves; what is due is woken, as before every record."""
        self.offset += 1
        self.clock = max(self.clock, at)
        self._wake()

    def act(self, action: Action, arrives: int) -> Decision:
        """A record arrives at the clock `arrives`, or now if that has passed."""
        self.tick(arrives)
        at = min((action.occurred_at - EPOCH) // dt.timedelta(milliseconds=1), self.clock)
        moment = Moment(at, self.clock, self.offset, self._index())
        decision = decide(self.rules, self.rules, KEY, self.member, action, moment)
        self.verdicts.append(decision.verdict)
        if self.buckets and decision.verdict is Verdict.APPLIED:
            self.buckets.count(self.rules, self.state, action, at, self.offset, decision)
        self._take(decision)
        return decision

    def hear(self, body: AnyDerived, arrives: int) -> None:
        """A derived record arrives: what another member, or a board, says of this one."""
        self.tick(arrives)
        self.heard.append(body)
        moment = Moment(self.clock, self.clock, self.offset, self._index())
        self._take(hear(self.rules, self.member, body, moment))

    def _wake(self) -> None:
        if 0 < self.wake_at <= self.clock:
            decision = wake(self.rules, self.member, self.clock, self.offset, self._index())
            if self.buckets:
                self.buckets.count_facts(self.rules, self.offset, decision.facts)
            self._take(decision)

    def _index(self) -> int:
        return sum(offset == self.offset for offset, _, _ in self.facts)

    def _take(self, decision: Decision) -> None:
        first = self._index()
        self.facts.extend((self.offset, first + place, fact) for place, fact in enumerate(decision.facts))
        self.wake_at = decision.wake_at
        assert self.wake_at == 0 or self.wake_at > self.clock, "what is due is judged at once"


def an_action(named: str, happened: int, number: int = 0, /, **fields: Any) -> Action:
    """An action of the story's member; `happened` in ms since the epoch."""
    head: dict[str, Any] = {
        "event_id": f"e-{number}",
        "source": "app",
        "member_id": "m-1",
        "occurred_at": EPOCH + dt.timedelta(milliseconds=happened),
    }
    if named == "purchase":
        head["order_id"] = f"o-{number}"
    return ACTIONS[named](**{**head, **FIELDS.get(named, {}), **fields})


def told(steps: list[tuple[Any, ...]], rules: Rules = RULES) -> Story:
    """Play (arrives, what) or (arrives, what, happened), in days; `tick` lets only time pass."""
    story = Story(rules)
    for number, step in enumerate(steps):
        arrives, what = round(step[0] * DAY), step[1]
        if what == "tick":
            story.tick(START + arrives)
            continue
        happened = round(step[2] * DAY) if len(step) > 2 else arrives
        fields = step[3] if len(step) > 3 else {}
        story.act(an_action(what, START + happened, number, **fields), START + arrives)
    return story


def tiers(story: Story) -> list[str]:
    """Every fact about tiers, in words."""
    return [line for _, _, fact in story.facts if (line := _line(fact))]


def _line(fact: Fact) -> str:
    if isinstance(fact, TierEntered):
        return f"{fact.tier} from {when(fact.effective_at)}"
    if isinstance(fact, TierLeft):
        return f"{fact.tier} until {when(fact.effective_at)}: {fact.reason}"
    if isinstance(fact, TierVoided):
        return f"{fact.tier} of {when(fact.entered_at)} never was"
    if isinstance(fact, TierMoved):
        return f"{fact.tier} moved from {when(fact.entered_at)} to {when(fact.effective_at)}"
    return ""


def when(ms: int) -> str:
    """A moment as days of the story, and seconds beside a whole day: 7, 7-1s, 6.5."""
    seconds = (ms - START) / SECOND
    days = round(seconds / 86_400)
    rest = round(seconds - days * 86_400)
    if not rest:
        return f"{days}"
    return f"{days}{rest:+d}s" if abs(rest) < 3_600 else f"{seconds / 86_400:g}"
