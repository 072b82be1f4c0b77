"""Control records: who may say what, in which order, and what it changes."""

from __future__ import annotations

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from processors.control import AHEAD_MS, NotUnderstood, apply, judge
from processors.signature import public_text, seal
from processors.versions import Versions
from schemas import decoding, partition
from schemas.partition import PartitionState
from schemas.records import (
    MOMENT_MAX,
    Control,
    GoLive,
    Keys,
    Parameters,
    Pause,
    ProgrammeControl,
    Reference,
    SignedControl,
)
from schemas.verdicts import Reason, Rejected
from tests.crash.traffic import PROGRAMME, STAFF, STRANGER, first_programme

NOW = 1_772_380_800_000


def enveloped(body: Control, key: Ed25519PrivateKey = STAFF) -> SignedControl:
    return msgspec.json.decode(seal(SignedControl, "staff", key, msgspec.json.encode(body)), type=SignedControl)


def begun() -> PartitionState:
    state = PartitionState(clock=NOW)
    apply(state, Versions([], NOW), first_programme("log-1"))
    return state


def judged(
    body: Control, state: PartitionState | None = None, key: Ed25519PrivateKey = STAFF, partition: int = 0
) -> str:
    found = judge(state or begun(), enveloped(body, key), body, NOW, partition)
    return found.reason.value if isinstance(found, Rejected) else {True: "taken", None: "ignored"}[found]


def programme(number: int, ahead: int = AHEAD_MS, approved_by: str = "bob", text: str = PROGRAMME) -> ProgrammeControl:
    return ProgrammeControl(
        id="programme", number=number, by="ann", approved_by=approved_by, text=text, holds_from=NOW + ahead
    )


def keys(number: int, key: Ed25519PrivateKey = STRANGER) -> Keys:
    named = {"staff": public_text(key)}
    return Keys(id="keys", number=number, by="ann", approved_by="bob", staff_keys=named, worker_keys=named)


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        (programme(2), "taken"),
        (programme(1), "ignored"),  # not above the one in force
        (programme(2, ahead=AHEAD_MS - 1), Reason.INVALID.value),
        (programme(2, ahead=MOMENT_MAX - 1 - NOW), "taken"),
        (programme(2, ahead=MOMENT_MAX - NOW), Reason.INVALID.value),  # no table could hold its moment
        (programme(2, approved_by=""), Reason.ONE_PERSON.value),
        (programme(2, approved_by="ann"), Reason.ONE_PERSON.value),
        (GoLive(id="live", number=1, by="ann", approved_by="bob"), "taken"),
        (GoLive(id="live", number=1, by="ann"), Reason.ONE_PERSON.value),
        (keys(1), "taken"),
        (Pause(id="pause", number=1, by="ann"), "taken"),  # stopping needs nobody else
    ],
)
def test_a_record_of_staff_is_taken_ignored_or_refused(body: Control, verdict: str) -> None:
    assert judged(body) == verdict


@pytest.mark.parametrize("body", [programme(2), keys(1), GoLive(id="live", number=1, by="ann", approved_by="bob")])
def test_nobody_else_may_say_anything(body: Control) -> None:
    assert judged(body, key=STRANGER) == Reason.UNSIGNED


def test_a_log_begins_with_its_programme_and_nothing_else() -> None:
    empty = PartitionState()
    assert judged(first_programme("log-1"), empty) == "taken"
    assert judged(programme(1), empty) == Reason.NO_PROGRAMME
    assert judged(GoLive(id="live", number=1, by="ann", approved_by="bob"), empty) == Reason.NO_PROGRAMME


def test_the_first_programme_is_signed_with_a_key_it_names() -> None:
    assert judged(first_programme("log-1"), PartitionState(), STRANGER) == Reason.UNSIGNED


@pytest.mark.parametrize(("partition", "verdict"), [(0, "taken"), (1, Reason.INVALID.value)])
def test_reference_values_go_to_one_partition(partition: int, verdict: str) -> None:
    body = Reference(id="gmv", number=1, by="ann", day=1, region="east", channel="app", key="gmv", value=1.0)
    assert judged(body, partition=partition) == verdict


def test_new_keys_replace_the_old_ones() -> None:
    state = begun()
    apply(state, Versions(state.programmes, NOW), keys(1))
    assert judged(keys(2), state) == Reason.UNSIGNED
    assert judged(keys(2), state, STRANGER) == "taken"
    assert state.worker_keys == {"staff": public_text(STRANGER)}


def test_what_was_taken_is_ignored_when_it_comes_again() -> None:
    state = begun()
    live = GoLive(id="live", number=1, by="ann", approved_by="bob")
    _, fact = apply(state, Versions(state.programmes, NOW), live)
    assert state.live
    assert (fact.control, fact.id, fact.number, fact.by, fact.approved_by) == ("go_live", "live", 1, "ann", "bob")
    assert judged(live, state) == "ignored"


def test_the_first_programme_settles_what_the_log_stands_on() -> None:
    state = begun()
    assert (state.log, state.id_key) == ("log-1", bytes(16))
    apply(state, Versions(state.programmes, NOW), programme(2))
    assert [control.number for control in state.programmes] == [1, 2]
    assert state.log == "log-1"


def test_a_programme_that_is_not_understood_changes_nothing() -> None:
    state = begun()
    before = msgspec.msgpack.encode(state)
    with pytest.raises(NotUnderstood):
        apply(state, Versions(state.programmes, NOW), programme(2, text="rules: 99"))
    assert msgspec.msgpack.encode(state) == before


def fitted(number: int, r: float = 0.525) -> Parameters:
    return Parameters(
        id="parameters", number=number, by="ann", r=r, alpha=43.3, a=0.9, b=1.6, customers=2357, day=20_000
    )


def test_the_newest_parameters_are_kept_and_confirmed() -> None:
    state = begun()
    assert "parameters:parameters" not in state.numbers
    assert judged(fitted(1), state) == "taken", "one person is enough"
    _, fact = apply(state, Versions(state.programmes, NOW), fitted(1))
    assert (fact.control, fact.id, fact.number) == ("parameters", "parameters", 1)
    assert state.parameters == fitted(1)
    assert judged(fitted(1, r=0.6), state) == "ignored"
    apply(state, Versions(state.programmes, NOW), fitted(2, r=0.6))
    assert partition.decode(partition.encode(state)).parameters == fitted(2, r=0.6)


@pytest.mark.parametrize("name", ["r", "alpha", "a", "b"])
@pytest.mark.parametrize("value", [0, -1, 1e10])
def test_parameters_that_no_distribution_has_are_not_understood(name: str, value: float) -> None:
    """A rule would divide by them. Commands refuse what no partition understands before it is in the log."""
    body = msgspec.to_builtins(fitted(1)) | {name: value}
    found = decoding.decode(seal(SignedControl, "staff", STAFF, msgspec.json.encode(body)))
    assert isinstance(found, decoding.NotUnderstood)
    assert f"$.{name}" in found.detail
