"""A member's ledger in words, and the sums that must hold at every moment: shared by the tables of points."""

from __future__ import annotations

from collections import Counter

from processors.held import read
from processors.lots import by_end, held
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


def place(entry: Ledger) -> tuple[str, str, str]:
    """Where an entry counts."""
    return entry.action, entry.region, entry.group_id


def check_sums(story: Story) -> None:
    """The ledger's sums are the balances, in total and by lot; what was issued is somewhere; nothing is below 0."""
    state, entries = story.state, ledger(story)
    assert state.issued == sum(entry.points for entry in entries)
    for name in ("active", "pending", "spent", "expired", "reversed", "debt"):
        assert getattr(state, name) == sum(getattr(entry, name) for entry in entries) >= 0, name
    assert state.issued == state.active + state.pending + state.spent + state.expired + state.reversed - state.debt
    by_lot: Counter[int] = Counter()
    for entry in entries:
        if entry.lots:
            assert sum(points for _, points in entry.lots) in (entry.active, entry.active + entry.expired)
            by_lot.update({end: points for end, points in entry.lots if end > entry.decided_at or points < 0})
        elif entry.active:
            by_lot[story.rules.lot_ends[entry.month]] += entry.active
    assert by_end(state) == {end: n for end, n in sorted(by_lot.items()) if n}
    assert all(points > 0 for _, points, _ in held(state))
    assert sum(by_end(state).values()) == state.active
    waiting = sum(row[2] for row in PENDING.iter_unpack(state.pendings))
    in_holds = [(hold, part.points) for hold in read(state) for part in hold.parts]
    assert state.pending == waiting + sum(points for _, points in in_holds), (state.pending, waiting, in_holds)
    for entry in entries:
        if entry.amends:
            of = amended(story, entry)
            if entry.entry == "corrected":
                assert (entry.effective_at, entry.month, *place(entry)) == (of.effective_at, of.month, *place(of))
        assert entry.because
        assert entry.points or entry.reason or entry.entry != "earned"
