"""A member's ledger in words, and the sums that must hold at every moment: shared by the tables of points."""

from __future__ import annotations

from collections import Counter

from processors.ledger import lots
from schemas.facts import Ledger
from schemas.member import PENDING
from tests.processors.story import Story, when


def ledger(story: Story) -> list[Ledger]:
    """Every entry, in order."""
    return [fact for _, _, fact in story.facts if isinstance(fact, Ledger)]


def lines(story: Story, rule: str = "") -> list[str]:
    """Entries in words: rule, points, and what is not plain: `check_in 10 x2`, `message 0 cap`."""
    return [_line(story, entry) for entry in ledger(story) if rule in ("", entry.rule)]


def _line(story: Story, entry: Ledger) -> str:
    text = f"{entry.rule} {entry.points}"
    if entry.factor != 1:
        text += f" x{entry.factor}"
    if entry.reason:
        text += f" {entry.reason}"
    if entry.entry == "activated":
        text = f"{entry.rule} active {entry.active} on {when(entry.effective_at)}"
    if entry.entry == "corrected":
        assert entry.amends
        text += f" corrects day {when(amended(story, entry).effective_at)}"
    return text


def amended(story: Story, entry: Ledger) -> Ledger:
    """The entry that a correction names."""
    for offset, index, fact in story.facts:
        if entry.amends == (offset, index):
            assert isinstance(fact, Ledger)
            return fact
    raise AssertionError(f"{entry.amends} names no fact")


def check_sums(story: Story) -> None:
    """The ledger's sums are the balances, in total and by lot; issued = active + pending; nothing below 0."""
    state, entries = story.state, ledger(story)
    assert state.issued == sum(entry.points for entry in entries)
    assert state.active == sum(entry.active for entry in entries)
    assert state.pending == sum(entry.pending for entry in entries)
    assert state.issued == state.active + state.pending
    by_month: Counter[int] = Counter()
    for entry in entries:
        by_month[entry.month] += entry.active
    assert lots(state) == {month: n for month, n in sorted(by_month.items()) if n}
    assert min([0, *lots(state).values()]) == 0
    assert state.pending == sum(row[2] for row in PENDING.iter_unpack(state.pendings))
    for entry in entries:
        if entry.amends:
            amended(story, entry)
        assert entry.because
        assert entry.points or entry.reason or entry.entry == "activated"
