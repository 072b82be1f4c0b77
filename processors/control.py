"""Control records: what they change in a partition, and when they are refused."""

from __future__ import annotations

from processors import signature
from processors.versions import NotUnderstood, Versions, inserted
from schemas.facts import InForce
from schemas.partition import PartitionState
from schemas.records import (
    MOMENT_MAX,
    Control,
    GoLive,
    Keys,
    Parameters,
    ProgrammeControl,
    Reference,
    Signed,
    Thresholds,
)
from schemas.verdicts import Reason, Rejected

AHEAD_MS = 60_000
"""A later programme holds at least this long after its record, so that every partition has it by then.

It belongs to the form of the record, not to the programme: whoever writes one keeps to it before any partition has
read it, and no version in force may shorten it for the next. As a result of code it changes with `rules` alone.
"""

TWO_PEOPLE = (ProgrammeControl, Keys, GoLive)


def judge(
    state: PartitionState, envelope: Signed, body: Control, timestamp: int, number: int
) -> Rejected | bool | None:
    """True: take it. None: ignore it, its number is not above the one in force. Else why it is refused.

    The first programme of an empty partition brings the keys that its own signature is checked with.
    """
    first = not state.programmes
    if first and not (isinstance(body, ProgrammeControl) and body.log and body.staff_keys):
        return Rejected(Reason.NO_PROGRAMME, detail="a log begins with its programme, written by `bootstrap`")
    keys = body.staff_keys if first and isinstance(body, ProgrammeControl) else state.staff_keys
    if not signature.holds(envelope, keys):
        return Rejected(Reason.UNSIGNED, "$.signature", "not signed with a key in force")
    if body.number <= state.numbers.get(series(body), 0):
        return None
    if isinstance(body, TWO_PEOPLE) and not first and body.approved_by in ("", body.by):
        return Rejected(Reason.ONE_PERSON, "$.body.approved_by", "two different people are needed")
    if isinstance(body, ProgrammeControl) and not first and body.holds_from < timestamp + AHEAD_MS:
        return Rejected(Reason.INVALID, "$.body.holds_from", f"at least {AHEAD_MS // 1000} s ahead")
    if isinstance(body, ProgrammeControl) and body.holds_from >= MOMENT_MAX:
        return Rejected(Reason.INVALID, "$.body.holds_from", "before the year 2100")
    if isinstance(body, Reference) and number != 0:
        return Rejected(Reason.INVALID, "$.body.control", "reference values go to partition 0 alone")
    return True


def apply(state: PartitionState, versions: Versions, body: Control) -> tuple[Versions, InForce]:
    """Let a control record take its place. Raises `NotUnderstood` before anything is changed."""
    holds_from = 0
    if isinstance(body, ProgrammeControl):
        holds_from = body.holds_from
        controls = inserted(state.programmes, body, state.clock)
        versions = Versions(controls, state.clock)
        if not state.programmes:
            _found(state, body)
        state.programmes = controls
        versions.show(tuple(state.tops), state.clock)
    elif isinstance(body, Keys):
        state.staff_keys, state.worker_keys = dict(body.staff_keys), dict(body.worker_keys)
    elif isinstance(body, GoLive):
        state.live = True
    elif isinstance(body, Thresholds):
        _show(state, body)
        versions.show(tuple(state.tops), state.clock)
    elif isinstance(body, Parameters):
        state.parameters = body
    state.numbers[series(body)] = body.number
    kind = str(body.__struct_config__.tag)
    fact = InForce(
        member_id="",
        effective_at=max(holds_from, state.clock),
        decided_at=state.clock,
        control=kind,
        id=body.id,
        number=body.number,
        holds_from=holds_from,
        by=body.by,
        approved_by=body.approved_by,
    )
    return versions, fact


def _show(state: PartitionState, body: Thresholds) -> None:
    """Thresholds hold from here on; silent members are shown the first ones by a sweep, later ones at day ends."""
    state.thresholds = body
    if values := body.values.get("community"):
        if not state.tops:
            state.sweep_next, state.sweep_until = 1, state.ordinals + 1
        row = (state.clock, round(values[0] * 1000), body.counts.get("community", 0))
        state.tops = [*state.tops[-1:], row]


def series(body: Control) -> str:
    """Numbers ascend per kind and id."""
    return f"{body.__struct_config__.tag}:{body.id}"


def _found(state: PartitionState, body: ProgrammeControl) -> None:
    """What the first programme settles for the whole log."""
    state.log = body.log
    state.id_key = bytes.fromhex(body.id_key)
    state.history_from = body.history_from
    state.staff_keys, state.worker_keys = dict(body.staff_keys), dict(body.worker_keys)


__all__ = ["NotUnderstood", "apply", "judge", "series"]
