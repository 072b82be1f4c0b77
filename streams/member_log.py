"""Everything that a log holds of one member, record by record: what came, what became of it, what followed by itself.

A repeat leaves no fact, and a refused record none either, so facts alone cannot tell why something did not happen. The
partition is folded again, and each record that names the member is taken by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from processors.member import Member
from processors.output import Output, RecordLike
from processors.programme import Rules
from processors.subjects import subject
from processors.versions import compiled
from schemas import facts as fact_codec
from schemas.actions import Action
from schemas.decoding import Decoded, Derived, Staff, decode
from schemas.facts import Fact
from schemas.records import AnyDerived
from schemas.verdicts import Rejected, Verdict
from streams.replay import Replay, Source, follow


class Happened(Struct):
    """What one offset meant for a member. Without `item` nothing came: a timer fired, told at that offset."""

    offset: int
    stamped: int  # the record's timestamp, ms
    item: Action | AnyDerived | None = None
    verdict: Verdict | None = None
    refused: Rejected | None = None
    facts: list[Fact] = []


class MemberLog:
    """One member's part of a partition's log, from where a replay stands on."""

    def __init__(self, replay: Replay, member_id: str) -> None:
        self.replay, self.member_id = replay, member_id
        self.happened: list[Happened] = []
        self.before: Member | None = None  # as it stood where the replay began
        self.shown_from = 0  # ms; what came before is read for what it led to
        self.rules: dict[int, Rules] = {}  # by number of the programme
        self._here: dict[int, Happened] = {}
        self._refused: dict[int, Rejected] = {}
        replay.hear = self._hear

    async def read(self, source: Source, until: int, progress: Callable[[int], None] = lambda count: None) -> None:
        """Fold as far as `until`."""
        self.before = await self.replay.member(self.member_id)
        self._note_programmes()
        await follow(self.replay, source, until, progress, feed=self._feed)

    def rules_of(self, number: int) -> Rules:
        """The programme of a number; of one that came and went between two looks, the one before it."""
        return self.rules.get(number) or self.rules[max(n for n in self.rules if n < number)]

    async def _feed(self, records: Sequence[RecordLike]) -> None:
        """Records that name the member go alone, so that what becomes of each is seen."""
        start = 0
        for at, record in enumerate(records):
            item = decode(record.value, record.headers)
            if names(item) != self.member_id:
                continue
            await self.replay.feed(records[start:at])
            await self._alone(record, item)
            start = at + 1
        await self.replay.feed(records[start:])
        self._note_programmes()

    async def _alone(self, record: RecordLike, item: Decoded) -> None:
        before = dict(self.replay.own_state.verdicts)
        one = self._at(record.offset)
        one.stamped, one.item = record.timestamp, _said(item)
        await self.replay.feed([record])
        after = self.replay.own_state.verdicts
        one.verdict = next(it for it in Verdict if it is not Verdict.MARKER and after.get(it, 0) > before.get(it, 0))
        one.refused = self._refused.pop(record.offset, None)
        self._note_programmes()

    def _hear(self, out: Output) -> None:
        key = self.member_id.encode()
        for owner, raw in zip(out.fact_keys, out.facts, strict=True):
            if owner == key:
                fact = fact_codec.decode(raw)
                self._at(fact.offset, fact.decided_at).facts.append(fact)
        self._refused = {letter.offset: letter.rejected for letter in out.letters}

    def _at(self, offset: int, stamped: int = 0) -> Happened:
        one = self._here.get(offset)
        if one is None:
            one = self._here[offset] = Happened(offset, stamped, facts=[])
            self.happened.append(one)
        return one

    def _note_programmes(self) -> None:
        for control in self.replay.own_state.programmes:
            if control.number not in self.rules:
                self.rules[control.number] = compiled(control)


def names(item: Decoded) -> str | None:
    """The member that a record speaks of, derived ones too."""
    return item.body.member_id if isinstance(item, Derived) else subject(item)


def _said(item: Decoded) -> Action | AnyDerived | None:
    """What a record says, out of its envelope."""
    if isinstance(item, Staff):
        return item.action
    if isinstance(item, Derived):
        return item.action if isinstance(item.action, Action) else item.body
    return item if isinstance(item, Action) else None
