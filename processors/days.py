"""The rings of a member's recent programme days: bitmaps, counts for caps and weights, relative to `today`.

`today` is the newest programme day of an accepted action. `roll` moves every ring to a newer day; a late day
never rolls, it is reached by how many days it lies back. Rings are rows of two bytes a day, today first,
without the zeros at their end: a day that is absent is 0.
"""

from __future__ import annotations

import zlib

from processors.activity import Weights, settle
from schemas.member import ACTIVE_DAYS, CUSTOM, DAY_BITS, DAY_COUNTS, DAY_WEIGHTS, MemberState

MESSAGES, SHARES = 0, 1  # the slots of a day in `counts`
COUNT_MAX = 255
ALL_BITS = (1 << DAY_BITS) - 1
OLDER_BITS = (1 << ACTIVE_DAYS - DAY_BITS) - 1


def roll(weights: Weights, state: MemberState, day: int) -> None:
    """Make `day` the member's `today`; call it only when `day > state.today` (a first action has today 0)."""
    shift = day - state.today
    state.today = day
    if state.active_older or state.active_bits >> max(0, DAY_BITS - shift):
        _roll_older(state, shift)
    if shift > DAY_BITS:
        state.active_bits = state.check_in_bits = state.check_in_run = 0
    else:
        state.active_bits = state.active_bits << shift & ALL_BITS
        if state.check_in_bits or state.check_in_run:
            _roll_check_ins(state, shift)
    state.counts = moved(state.counts, shift, DAY_COUNTS)
    state.weights = moved(state.weights, shift, DAY_WEIGHTS)
    settle(weights, state)


def _roll_older(state: MemberState, shift: int) -> None:
    """Active days that leave the bitmap stand in the older one, until nobody asks for them."""
    if shift >= ACTIVE_DAYS:
        state.active_older = b""
        return
    days = int.from_bytes(state.active_older, "little") << DAY_BITS | state.active_bits
    older = (days << shift) >> DAY_BITS & OLDER_BITS
    state.active_older = older.to_bytes((older.bit_length() + 7) // 8, "little")


def _roll_check_ins(state: MemberState, shift: int) -> None:
    """Days that leave the bitmap go on in `check_in_run`, or break it."""
    wide = state.check_in_bits << shift
    run = _ones(wide >> DAY_BITS)
    state.check_in_run = run if run < shift else state.check_in_run + shift
    state.check_in_bits = wide & ALL_BITS


def moved(ring: bytes, shift: int, days: int) -> bytes:
    """A ring with `shift` empty days put before it, cut to its length."""
    if not ring or shift >= days:
        return b""
    kept = (bytes(2 * shift) + ring)[: 2 * days].rstrip(b"\0")
    return kept + b"\0" if len(kept) % 2 else kept


def _ones(bits: int) -> int:
    """How many ones stand at the low end."""
    return (~bits & (bits + 1)).bit_length() - 1


def counted(state: MemberState, day: int, slot: int) -> int:
    """How many messages or shares of a day were counted. A day older than the ring is full (255)."""
    place = 2 * (state.today - day) + slot
    if place < len(state.counts):
        return state.counts[place]
    return 0 if place < 2 * DAY_COUNTS else COUNT_MAX


def count(state: MemberState, day: int, slot: int) -> None:
    """Count one more message or share of a day (`day <= state.today`); it stops at the maximum."""
    place = 2 * (state.today - day) + slot
    if place >= 2 * DAY_COUNTS:
        return
    if place == MESSAGES and state.counts and state.counts[0] < COUNT_MAX:  # nearly always
        state.counts = (state.counts[0] + 1).to_bytes(1, "little") + state.counts[1:]
        return
    ring = bytearray(state.counts)
    if place >= len(ring):
        ring += bytes((place | 1) + 1 - len(ring))
    if ring[place] < COUNT_MAX:
        ring[place] += 1
    state.counts = bytes(ring)


def count_custom(state: MemberState, day: int, name: str, most: int) -> int:
    """Count one more custom action of a day, unless so many were; which one of the day it is, 0 = one too many."""
    key, oldest = zlib.crc32(name.encode()), state.today - DAY_COUNTS
    rows = {(row[0], row[1]): row[2] for row in CUSTOM.iter_unpack(state.customs) if row[1] > oldest}
    number: int = rows.get((key, day), 0) + 1
    if number > most:
        return 0
    rows[key, day] = number
    state.customs = b"".join(CUSTOM.pack(*place, counted) for place, counted in sorted(rows.items()))
    return number


def checked_in(state: MemberState, day: int) -> bool:
    """Was there a check-in on this day (`day <= state.today`)?"""
    return bool(state.check_in_bits >> (state.today - day) & 1)


def check_in(state: MemberState, day: int) -> None:
    """Note the check-in of a day (`day <= state.today`)."""
    back = state.today - day
    if back < DAY_BITS:
        state.check_in_bits |= 1 << back


def run_ending(state: MemberState, day: int) -> int:
    """The length of the run of check-ins that ends on this day; it may be longer than the ring."""
    back = state.today - day
    run = _ones(state.check_in_bits >> back)
    return run + state.check_in_run if run == DAY_BITS - back else run


def streak(state: MemberState, today: int) -> int:
    """The run of check-ins that is alive on a day: it ends with it or with the day before."""
    for day in (today, today - 1):
        if day <= state.today and state.today - day < DAY_BITS and checked_in(state, day):
            return run_ending(state, day)
    return 0


def run_after(state: MemberState, day: int) -> int:
    """How many days in a row directly after this one have a check-in: those that a late one joins on to."""
    back = state.today - day
    gaps = ~state.check_in_bits & ((1 << back) - 1)
    return back - gaps.bit_length()
