"""Badges: kept with their date. By a high index at day ends in a row, by so many actions, by a place on a final board.

They are given by arrival, on what was known then, and stay; one that a task gave goes with the task.

The day ends of a high index need no wake each day: a day's end is looked at by the first action of a later day, and a
timer stands only where the last of the row may come, were the member silent from its best day on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from processors import activity, waiting
from processors.conditions import counted_of, key_of, says
from processors.promises import promise
from processors.waiting import Due
from schemas.actions import Action
from schemas.facts import BadgeAwarded, BadgeUndone, Fact
from schemas.member import BADGE, BADGE_COUNT, TALENT, MemberState
from schemas.programme import Programme
from schemas.records import Award
from schemas.tasks import Badge, BadgeActions, BadgeIndex

if TYPE_CHECKING:
    from processors.activity import Weights
    from processors.member import Moment
    from processors.programme import Rules


class Talent(NamedTuple):
    """How many day ends up to `day` in a row had a high index; `at` is when the row may be complete, 0 = not soon."""

    day: int
    run: int
    at: int


class Badges:
    """The badges of a programme, compiled: by what gives them."""

    __slots__ = ("awards", "by_name", "cap", "of_kind", "talent", "weights")

    def __init__(self, programme: Programme, weights: Weights) -> None:
        self.by_name = programme.badges
        self.weights, self.cap = weights, weights.cap
        indexed = [(name, badge.index) for name, badge in programme.badges.items() if badge.index]
        self.talent: tuple[str, BadgeIndex] | None = indexed[0] if indexed else None
        self.awards = {name: badge.award for name, badge in programme.badges.items() if badge.award}
        by_kind: dict[type[Action], tuple[tuple[str, BadgeActions], ...]] = {}
        for name, badge in programme.badges.items():
            for kind in counted_of(badge.actions.of) if badge.actions else ():
                assert badge.actions
                by_kind[kind] = (*by_kind.get(kind, ()), (name, badge.actions))
        self.of_kind = by_kind

    def high(self, score: int) -> bool:
        """Whether a score makes a day's end count for the talent."""
        return self.talent is not None and self.weights.index(score) >= self.talent[1].at_least


def counted(rules: Rules, state: MemberState, action: Action, moment: Moment, facts: list[Fact]) -> None:
    """An action of a kind that badges count."""
    for name, wanted in rules.badges.of_kind[type(action)]:
        if held(state, name) or not any(says(action, one) for one in wanted.of):
            continue
        key, rows = key_of(name), dict(BADGE_COUNT.iter_unpack(state.badge_counts))
        count = rows.pop(key, 0) + 1
        if count < wanted.at_least:
            rows[key] = count
        state.badge_counts = b"".join(BADGE_COUNT.pack(*row) for row in sorted(rows.items()))
        if count >= wanted.at_least:
            place = (moment.offset, moment.index + len(facts))
            because = f"the {wanted.at_least}th of what counts"
            facts += _award(rules, state, action.member_id, name, 0, moment.at, moment.clock, place, because)


def won(rules: Rules, state: MemberState, award: Award, moment: Moment, facts: list[Fact]) -> None:
    """A place on a board that is final; the same award again changes nothing."""
    where = "region" if award.region else "group" if award.group_id else "programme"
    for name, wanted in rules.badges.awards.items():
        if (wanted.board, wanted.period, wanted.of) != (award.board, award.period, where) or award.place > wanted.place:
            continue
        which = key_of(f"{award.at}\x1f{award.region}\x1f{award.group_id}")
        if not held(state, name, which):
            place = (moment.offset, moment.index + len(facts))
            because = f"place {award.place} of {award.board} of the {award.period}"
            because += f" in {award.region or award.group_id}" if award.region or award.group_id else ""
            facts += _award(rules, state, award.member_id, name, which, moment.at, moment.clock, place, because)


def give(
    rules: Rules,
    state: MemberState,
    member_id: str,
    name: str,
    moment: Moment,
    at: int,
    facts: list[Fact],
    because: str,
) -> None:
    """A badge that something else gives, for instance a task; held already, it stays as it is."""
    if not held(state, name):
        place = (moment.offset, moment.index + len(facts))
        facts += _award(rules, state, member_id, name, 0, at, moment.clock, place, because)


def undo(
    rules: Rules, state: MemberState, action: Action, name: str, moment: Moment, facts: list[Fact], because: str
) -> None:
    """Take back what `give` gave; that its benefit was promised stays known."""
    for row in BADGE.iter_unpack(state.badges):
        key, which, since, offset, index = row
        if (key, which) == (key_of(name), 0) and since:
            state.badges = state.badges.replace(BADGE.pack(*row), BADGE.pack(key, which, 0, offset, index), 1)
            fact = BadgeUndone(
                member_id=action.member_id,
                effective_at=moment.at,
                decided_at=moment.clock,
                programme=rules.number,
                rules=rules.rules,
                source=action.source,
                event_id=action.event_id,
                rule=name,
                because=because,
                amends=(offset, index),
            )
            facts.append(fact)
            return


def held(state: MemberState, name: str, which: int = 0) -> int:
    """Since when a member has a badge, ms; 0 = it has not. `which` tells a board's months apart."""
    if not state.badges:
        return 0
    wanted = (key_of(name), which)
    return next((at for key, other, at, _, _ in BADGE.iter_unpack(state.badges) if (key, other) == wanted), 0)


def held_since(state: MemberState, name: str) -> list[int]:
    """Every moment since which a member has a badge, ms; those of boards may be several."""
    key = key_of(name)
    return [at for known, _, at, _, _ in BADGE.iter_unpack(state.badges) if known == key and at]


def many(state: MemberState) -> int:
    """How many badges a member has."""
    return sum(at > 0 for _, _, at, _, _ in BADGE.iter_unpack(state.badges))


# -- the index at day ends --------------------------------------------------------------------------------------


def new_day(rules: Rules, state: MemberState, day: int) -> None:
    """The first action of a newer programme day, before the rings of days move: look at the day ends gone by."""
    badges = rules.badges
    if badges.talent is None or held(state, badges.talent[0]):
        return
    score = activity.score(state)
    if not state.talent and not badges.high(score + badges.cap):
        return
    known = _talent(state, state.today - 1)
    run = _run(rules, state, known, day - 1)
    missing = badges.talent[1].day_ends - run
    last = day + missing - 1
    decay = rules.activity.decay
    start = activity.score_on(rules.activity, state, day) + badges.cap
    best = start * decay[missing - 1] // decay[0] + 1 if missing <= len(decay) else 0
    at = rules.calendar.day_start(last + 1) if badges.high(best) else 0
    _keep(state, Talent(day - 1, run, at))


def next_due(in_force: Rules, state: MemberState) -> int:
    """When the row of day ends may be complete; 0 = not without another day's actions."""
    return TALENT.unpack(state.talent)[2] if state.talent else 0


def fall_due(due: Due) -> None:
    """The end of the day that may complete the row."""
    rules, state = due.in_force, due.state
    talent = rules.badges.talent
    known = Talent._make(TALENT.unpack(state.talent))
    day = rules.calendar.day(known.at) - 1
    run = _run(rules, state, known, day)
    if talent is None or held(state, talent[0]):
        _keep(state, Talent(day, 0, 0))
        return
    if run >= talent[1].day_ends:
        place = (due.offset, due.index + len(due.facts))
        because = f"index of {talent[1].at_least} or more at {run} day ends in a row"
        due.facts += _award(rules, state, due.member_id, talent[0], 0, known.at, due.clock, place, because)
        run = 0
    _keep(state, Talent(day, run, 0))


def _run(rules: Rules, state: MemberState, known: Talent, until: int) -> int:
    """How many day ends in a row up to a day had a high index, going on from those known."""
    run = known.run
    for day in range(known.day + 1, until + 1):
        if rules.badges.high(activity.score_on(rules.activity, state, day)):
            run += 1
        else:
            run = 0
            if day >= state.today:  # without an action the index only falls
                break
    return run


def _talent(state: MemberState, day: int) -> Talent:
    return Talent._make(TALENT.unpack(state.talent)) if state.talent else Talent(day, 0, 0)


def _keep(state: MemberState, talent: Talent) -> None:
    before = state.talent
    state.talent = TALENT.pack(*talent) if talent.run or talent.at else b""
    if state.talent != before:
        waiting.changed(state)


def _award(
    rules: Rules,
    state: MemberState,
    member_id: str,
    name: str,
    which: int,
    at: int,
    clock: int,
    place: tuple[int, int],
    because: str,
) -> list[Fact]:
    badge: Badge = rules.badges.by_name[name]
    rows, mine = list(BADGE.iter_unpack(state.badges)), (key_of(name), which)
    kept = [BADGE.pack(*row) for row in rows if row[:2] != mine]
    state.badges = b"".join(kept) + BADGE.pack(*mine, at, *place)
    facts: list[Fact] = [
        BadgeAwarded(
            member_id=member_id,
            effective_at=at,
            decided_at=clock,
            programme=rules.number,
            rules=rules.rules,
            rule=name,
            title=badge.title,
            because=because,
        )
    ]
    if badge.benefit and len(kept) == len(rows):  # promised once, though it was taken back and given again
        facts.append(promise(rules, member_id, badge.benefit, "badge", name, which, at, clock))
    return facts
