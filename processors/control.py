"""Control records: what they change in a partition, and when they are refused."""

from __future__ import annotations

from processors import signature
from processors.versions import NotUnderstood, Versions, inserted
from schemas.facts import InForce
from schemas.partition import PartitionState
from schemas.records import Control, GoLive, Keys, ProgrammeControl, Reference, Signed
from schemas.verdicts import Reason, Rejected

AHEAD_MS = 60_000
"""A later programme holds at least this long after its record, so that every partition has it by then."""

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
    elif isinstance(body, Keys):
        state.staff_keys, state.worker_keys = dict(body.staff_keys), dict(body.worker_keys)
    elif isinstance(body, GoLive):
        state.live = True
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
