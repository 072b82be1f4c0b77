"""What becomes of a record, as values: nothing a sender can write makes the worker raise."""

from __future__ import annotations

import enum

from msgspec import Struct


class Reason(enum.StrEnum):
    """Why a record was refused. A closed set: it labels metrics, dead letters and the README's table."""

    NOT_JSON = "not_json"
    INVALID = "invalid"
    UNKNOWN_ACTION = "unknown_action"
    UNKNOWN_FIELD = "unknown_field"
    UNKNOWN_CUSTOM = "unknown_custom"
    TOO_DEEP = "too_deep"
    TOO_BIG = "too_big"
    TOO_EARLY = "too_early"
    PERSONAL = "personal"
    CURRENCY = "currency"
    UNSIGNED = "unsigned"
    ONE_PERSON = "one_person"
    STRAY = "stray"
    NO_PROGRAMME = "no_programme"
    RULE = "rule"


class Rejected(Struct, frozen=True):
    """A refused record: why, where in it (a JSON path), what the sender should do, and who sent it if known."""

    reason: Reason
    pointer: str = "$"
    detail: str = ""
    source: str = ""


class Verdict(enum.StrEnum):
    """What became of a record at an offset. Together they account for every offset of the log (oracle O8)."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    LATE = "late"
    DEAD_LETTER = "dead_letter"
    FORWARDED = "forwarded"
    DERIVED = "derived"
    DERIVED_IGNORED = "derived_ignored"
    TICK = "tick"
    CONTROL = "control"
    CONTROL_IGNORED = "control_ignored"
    MARKER = "marker"
