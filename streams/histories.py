"""Files of the past as entries of an import: CDNOW's purchases, and JSON lines of our own actions.

A file is read whole before anything is appended, and every line that is wrong is named.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path

import msgspec

from processors.calendar import Calendar
from processors.partitioner import partition_of
from processors.programme import compile_programme
from processors.refusal import personal_id, refusal
from schemas.actions import Action, Purchase
from schemas.decoding import decode
from schemas.records import ProgrammeControl
from schemas.verdicts import Reason, Rejected
from schemas.zones import zone
from streams.errors import UsageError
from streams.importer import BadLines, Entry

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
CDNOW_BEGINS = dt.date(1996, 12, 31)
CDNOW_BEGINS_MS = (CDNOW_BEGINS - dt.date(1970, 1, 1)).days * 86_400_000
CDNOW_ENDS = dt.date(1998, 7, 1)
CDNOW_FIELDS = ("customer", "customer in the sample", "date", "CDs", "dollars")
SOURCE = "cdnow"


def bytes_of(path: Path) -> bytes:
    """What a file holds. Raises `UsageError`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path} ({error.strerror})", remedy="name a file to import") from error


def cdnow(path: Path, calendar: Calendar, partitions: int) -> list[Entry]:
    """The purchases of the CDNOW sample: at noon of their day, in cents. Raises `InputInvalid`."""
    bad, found = BadLines(str(path)), []
    for number, line in enumerate(bytes_of(path).decode(errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        try:
            found.append(_purchase(line.split(), number, calendar))
        except ValueError as error:
            bad.add(number, str(error))
    bad.raise_any()
    return [_entry(action, msgspec.json.encode(action), partitions) for action in found]


def cdnow_end(entries: Iterable[Entry], calendar: Calendar) -> int:
    """The start of 1 July 1998, or of the day after the last purchase if that is later."""
    last = max((calendar.day(entry.at) for entry in entries), default=0)
    ends = (CDNOW_ENDS - dt.date(1970, 1, 1)).days
    return calendar.day_start(max(ends, last + 1))


def _purchase(fields: list[str], number: int, calendar: Calendar) -> Purchase:
    """One line as an action. Raises `ValueError` with what is wrong."""
    if len(fields) != len(CDNOW_FIELDS):
        raise ValueError(f"{len(fields)} columns, wanted are {len(CDNOW_FIELDS)}: {', '.join(CDNOW_FIELDS)}")
    customer, sample, date, discs, dollars = fields
    for name, text in (("customer", customer), ("customer in the sample", sample), ("CDs", discs)):
        if not (text.isascii() and text.isdigit()):
            raise ValueError(f"{name} is {text}, wanted is a number")
    if len(customer) != 5:
        raise ValueError(f"customer is {customer}, wanted are 5 digits")
    event_id = f"{customer}:{number}"
    return Purchase(
        event_id=event_id,
        source=SOURCE,
        member_id=f"cdnow-{customer}",
        occurred_at=_noon(date, calendar),
        order_id=event_id,
        amount=_cents(dollars),
        currency="USD",
    )


def _noon(date: str, calendar: Calendar) -> dt.datetime:
    try:
        day = dt.datetime.strptime(date, "%Y%m%d")  # noqa: DTZ007 - the zone is put on below
    except ValueError:
        raise ValueError(f"date is {date}, wanted is YYYYMMDD") from None
    if len(date) != 8 or day.date() <= CDNOW_BEGINS:
        raise ValueError(f"date is {date}, wanted is a day from 19970101 on")
    return day.replace(hour=12, tzinfo=zone(calendar.zone_name)).astimezone(dt.UTC)


def _cents(dollars: str) -> int:
    """Exact cents. Raises `ValueError`."""
    try:
        cents = Decimal(dollars) * 100
    except InvalidOperation:
        cents = Decimal("NaN")
    if not cents.is_finite() or cents < 0 or cents != cents.to_integral_value():
        raise ValueError(f"dollars is {dollars}, wanted is an amount such as 29.33")
    return int(cents)


def history(path: Path, begun: ProgrammeControl, partitions: int, now: int) -> list[Entry]:
    """JSON lines of actions, in any order, none later than now (ms). Raises `InputInvalid`.

    What the log would refuse anyway is refused here, by line, so that a history goes in whole or not at all.
    """
    rules = compile_programme(begun.text, begun.number, begun.holds_from)
    bad, found = BadLines(str(path)), []
    for number, line in enumerate(bytes_of(path).split(b"\n"), 1):
        if not (value := line.strip()):
            continue
        item = decode(value)
        if isinstance(item, Action):
            entry = _entry(item, value, partitions)
            refused = refusal(rules, item, entry.at, begun.history_from) or personal_id(item)
            if refused is None and entry.at > now:
                refused = Rejected(Reason.INVALID, "$.occurred_at", "it lies in the future")
            if refused is None:
                found.append(entry)
                continue
            item = refused
        bad.add(number, f"{item.pointer} {item.detail}" if isinstance(item, Rejected) else "is no action")
    bad.raise_any()
    return found


def _entry(action: Action, value: bytes, partitions: int) -> Entry:
    since = action.occurred_at - EPOCH
    at = (since.days * 86_400 + since.seconds) * 1_000 + since.microseconds // 1_000
    return Entry(at, _home(action.member_id, partitions), action.member_id.encode(), value)


@lru_cache(maxsize=1_000_000)
def _home(member_id: str, partitions: int) -> int:
    return partition_of(member_id, partitions)
