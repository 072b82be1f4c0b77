"""Why a tier beside the ladders is held: one or several reasons at once, each since a moment of its own.

Such a tier is entered with its first reason and left when none remains: at the moment the last one ended. A reason that
turns out never to have been is taken out; what stood on it alone is voided, or moved to where the next reason begins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from processors import waiting
from processors.judgement import Judgement
from processors.ladders import Aside, known, tidy
from schemas.member import REASON, MemberState

SATISFACTION, COMPLAINT, SUPPORT, ORDER, MONTH, GAPS = range(1, 7)
"""Kinds of reasons, as the state numbers them: new ones go last."""
ONE = bytes(8)
"""Which one, of a kind that there is one of."""


class Reason(NamedTuple):
    """Of which dimension, of which kind and which one of it; [since, until) in ms, 0 = until something ends it."""

    dimension: int
    kind: int
    key: bytes
    since: int
    until: int = 0


def all_of(state: MemberState) -> list[Reason]:
    """Every reason, in the order in which they came."""
    return [Reason._make(row) for row in REASON.iter_unpack(state.beside.reasons)] if state.beside else []


def has(state: MemberState, of: Aside, kind: int, key: bytes = ONE) -> Reason | None:
    """A reason of a dimension."""
    wanted = (of.number, kind, key)
    return next((it for it in all_of(state) if it[:3] == wanted), None)


def add(judgement: Judgement, of: Aside, reason: Reason, words: str, counted_from: int) -> None:
    """A reason is there: the tier is entered if it is not held. One that is there already lasts on."""
    state = judgement.state
    before = has(state, of, reason.kind, reason.key)
    if before is not None:
        reason = reason._replace(since=min(before.since, reason.since), until=max(before.until, reason.until))
    _put(state, [*(it for it in all_of(state) if it != before), reason])
    if not of.held(state).code:
        first = len(judgement.facts)
        judgement.enter(of, of.code, reason.since, counted_from, words, ends_at=reason.until)
        judgement.tell_overall(first)


def lift(judgement: Judgement, of: Aside, gone: Callable[[Reason], bool], at: int, reason: str) -> None:
    """Some reasons of a dimension ended at a moment, or never were: those that began later."""
    state = judgement.state
    rest = [it for it in all_of(state) if it.dimension != of.number or not gone(it)]
    lifted = [it for it in all_of(state) if it not in rest]
    if not lifted:
        return
    _put(state, rest)
    first, held = len(judgement.facts), of.held(state)
    ended = max([held.ended, *(at for it in lifted if it.since <= at)])
    left = [it.since for it in rest if it.dimension == of.number]
    if left and not ended and min(left) > held.at:
        judgement.move(of, held, min(left), min(left))
    elif left:
        of.hold(state, held._replace(ended=ended))
    elif ended:
        judgement.leave(of, held, ended, reason)
    else:
        judgement.void(of, held, at)
    judgement.tell_overall(first)
    tidy(state)


def shift(judgement: Judgement, of: Aside, reason: Reason, counted_from: int) -> None:
    """The only reason of a dimension is true, but since another moment."""
    state = judgement.state
    before = has(state, of, reason.kind, reason.key)
    _put(state, [reason if it == before else it for it in all_of(state)])
    first = len(judgement.facts)
    judgement.move(of, of.held(state), reason.since, counted_from)
    judgement.tell_overall(first)


def next_end(state: MemberState) -> int:
    """When the first reason ends by itself; 0 = none does."""
    return min((it.until for it in all_of(state) if it.until), default=0)


def _put(state: MemberState, reasons: list[Reason]) -> None:
    known(state).reasons = b"".join(REASON.pack(*it) for it in reasons)
    waiting.changed(state)
