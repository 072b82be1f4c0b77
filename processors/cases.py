"""Complaints and support cases of a member, by `case_id`: opened, resolved, unresolved, in any order of arrival."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from processors import reasons, waiting
from processors.ladders import known, tidy
from processors.reasons import COMPLAINT, SUPPORT
from schemas.actions import Complaint, Support
from schemas.member import CASE, MemberState

if TYPE_CHECKING:
    from processors.programme import Rules

SEVERITIES = ("ordinary", "complex", "serious")


class Case(NamedTuple):
    """A case; `kind` is that of its reasons. Moments in ms, 0 = not yet; `wanted` is that of a cart or of browsing."""

    key: bytes
    kind: int
    severity: int = 0
    opened: int = 0
    resolved: int = 0
    unresolved: int = 0
    wanted: int = 0

    @property
    def open(self) -> bool:
        """Opened, and not resolved since."""
        return self.opened > self.resolved


def read(state: MemberState) -> list[Case]:
    """Every case that is kept."""
    return [Case._make(row) for row in CASE.iter_unpack(state.beside.cases)] if state.beside else []


def of(state: MemberState, action: Complaint | Support) -> Case:
    """The case that an action names, known or not."""
    key, kind = hashlib.sha256(action.case_id.encode()).digest()[:8], _kind(action)
    return next((it for it in read(state) if (it.key, it.kind) == (key, kind)), Case(key, kind))


def opened(case: Case, action: Complaint | Support, at: int) -> Case:
    """The case as opened; an open one is not opened again."""
    return case if case.open else case._replace(opened=at, severity=SEVERITIES.index(action.severity))


def keep(in_force: Rules, state: MemberState, case: Case, clock: int) -> None:
    """Write a case back. Resolved ones are kept for as long as something of them may come late.

    Beyond the programme's number the oldest go; those that a tier is held for go last.
    """
    since = clock - in_force.horizon_ms
    rows = [it for it in read(state) if (it.key, it.kind) != (case.key, case.kind)] + [case]
    rows = [it for it in rows if it.open or max(it.resolved, it.unresolved) >= since]
    many = len(rows) - in_force.warnings.case_rows
    if many > 0:
        held = {(it.key, it.kind) for it in reasons.all_of(state)}
        gone = sorted(rows, key=lambda it: ((it.key, it.kind) in held, max(it[3:6])))[:many]
        rows = [it for it in rows if it not in gone]
    _put(state, rows)


def closed(state: MemberState, at: int) -> None:
    """What was opened before the account was closed leads to nothing any more."""
    if state.beside is not None:
        _put(state, [it for it in read(state) if max(it[3:6]) > at])
        tidy(state)


def _put(state: MemberState, rows: list[Case]) -> None:
    known(state).cases = b"".join(CASE.pack(*it) for it in rows)
    waiting.changed(state)


def _kind(action: Complaint | Support) -> int:
    return COMPLAINT if type(action) is Complaint else SUPPORT
