"""Referrals: what the referrer gets, when, how often, and what becomes of it when the first order moves or goes."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors import membership, referral
from schemas.facts import Ledger, LevelChanged, MembershipPaid, ReferralRefused
from schemas.records import Referral
from tests.processors.story import SECOND, START
from tests.processors.town import DAY, Town, members_of

TEXT = Path("schemas/programmes/default.yaml").read_text()
REFERRER = next(members_of(0))
HERE = list(zip(range(40), members_of(0), strict=False))[1][1]  # invited, of the referrer's own partition
INVITED = next(members_of(1))
OTHERS = [name for _, name in zip(range(8), members_of(2), strict=False)]
SECOND_OF_A_DAY = SECOND / DAY

Step = tuple[Any, ...]


def told(steps: list[Step], text: str = TEXT, repeats: int = 1, invited: str = INVITED) -> Town:
    """Play (day of arrival, what, [day it happened, [fields]]) of the invited member; the referrer is known before."""
    town = Town(text, repeats)
    town.act(REFERRER, "login")
    for step in steps:
        arrives, what = step[0], step[1]
        town.now = max(town.now, START + round(arrives * DAY))
        if what == "tick":
            town.until(arrives)
            continue
        fields = dict(step[3]) if len(step) > 3 else {}
        if what == "join" and "referrer_id" not in fields:
            fields["referrer_id"] = REFERRER
        town.act(fields.pop("by", invited), what, at=step[2] if len(step) > 2 else arrives, **fields)
    return town


def order(name: str, amount: int = 10_000) -> dict[str, Any]:
    return {"order_id": name, "amount": amount, "currency": "CNY"}


JOIN = (0, "join")
ACCEPTED = "earned points +200 pending +200 until 7"
ACCEPTED_ACTIVE = "activated active +200 pending -200"
COMPLETED = "earned points +500 pending +500"
COMPLETED_ACTIVE = "activated active +500 pending -500"

TABLE: list[tuple[str, list[Step], list[str]]] = [
    ("joined: pending for the days after", [JOIN], [ACCEPTED]),
    ("1 s before they are over", [JOIN, (7 - SECOND_OF_A_DAY, "tick")], [ACCEPTED]),
    ("from that moment on active", [JOIN, (7, "tick")], [ACCEPTED, ACCEPTED_ACTIVE]),
    ("a late join counts from its own moment", [(3, "join", 0), (7, "tick")], [ACCEPTED, ACCEPTED_ACTIVE]),
    ("one so late that its days are over", [(8, "join", 0)], [ACCEPTED, ACCEPTED_ACTIVE]),
    ("nobody is named", [(0, "join", 0, {"referrer_id": ""}), (1, "join")], []),
    ("the first join that arrives counts, whatever a later one names", [
        (1, "join", 1, {"referrer_id": OTHERS[0]}), (2, "join", 0),
    ], []),
    ("a join of a group is one too", [(0, "join", 0, {"group_id": "g-1"}), (1, "join")], [ACCEPTED]),
    ("the first order completes it, with its own points", [
        JOIN, (1, "purchase", 1, order("o-1")), (8 - SECOND_OF_A_DAY, "tick"),
    ], [ACCEPTED, f"{COMPLETED} until 8", ACCEPTED_ACTIVE]),
    ("active together with them", [
        JOIN, (1, "purchase", 1, order("o-1")), (8, "tick"),
    ], [ACCEPTED, f"{COMPLETED} until 8", ACCEPTED_ACTIVE, COMPLETED_ACTIVE]),
    ("an order without points completes it too", [
        JOIN, (1, "purchase", 1, order("o-1", 10)),
    ], [ACCEPTED, f"{COMPLETED} until 8"]),
    ("a second order gives nothing", [
        JOIN, (1, "purchase", 1, order("o-1")), (2, "purchase", 2, order("o-2")),
    ], [ACCEPTED, f"{COMPLETED} until 8"]),
    ("an order before the join completes it with the join", [
        (1, "purchase", 1, order("o-1")), (2, "join"),
    ], ["earned points +200 pending +200 until 9", f"{COMPLETED} until 8"]),
    ("an earlier order that comes late is the first one: the points move", [
        JOIN, (3, "purchase", 3, order("o-1")), (4, "purchase", 1, order("o-2")),
    ], [ACCEPTED, f"{COMPLETED} until 10", "corrected 0 until 8 moved"]),
    ("1 s before the days in which it moves are over", [
        JOIN, (2, "purchase", 2, order("o-1")), (32 - SECOND_OF_A_DAY, "purchase", 30, order("o-2")),
        (32 - SECOND_OF_A_DAY, "refund", 31, order("o-1")),
    ], [ACCEPTED, f"{COMPLETED} until 9", ACCEPTED_ACTIVE, COMPLETED_ACTIVE,
        "reversed active -500 reversed +500", f"{COMPLETED} until 37"]),
    ("then it stays, whatever becomes of that order", [
        JOIN, (2, "purchase", 2, order("o-1")), (31, "purchase", 31, order("o-2")),
        (33, "refund", 33, order("o-1")), (33, "tick"),
    ], [ACCEPTED, f"{COMPLETED} until 9", ACCEPTED_ACTIVE, COMPLETED_ACTIVE]),
    ("an order of part refunded is one still", [
        JOIN, (1, "purchase", 1, order("o-1")), (2, "refund", 2, order("o-1", 9_999)),
    ], [ACCEPTED, f"{COMPLETED} until 8"]),
    ("fully refunded, and none is left: undone while pending", [
        JOIN, (1, "purchase", 1, order("o-1")), (2, "refund", 2, order("o-1")),
    ], [ACCEPTED, f"{COMPLETED} until 8", "reversed pending -500 reversed +500"]),
    ("undone when active: taken back by the policy of refunds", [
        JOIN, (1, "purchase", 1, order("o-1")), (9, "refund", 9, order("o-1")),
    ], [ACCEPTED, f"{COMPLETED} until 8", ACCEPTED_ACTIVE, COMPLETED_ACTIVE, "reversed active -500 reversed +500"]),
    ("what was spent meanwhile is debt", [
        JOIN, (1, "purchase", 1, order("o-1")), (8, "redeem", 8, {
            "by": REFERRER, "redeem_id": "r-1", "points": 700, "reward": "mug"}), (9, "refund", 9, order("o-1")),
    ], [ACCEPTED, f"{COMPLETED} until 8", ACCEPTED_ACTIVE, COMPLETED_ACTIVE, "reversed reversed +500 debt +500"]),
    ("a later order completes it again", [
        JOIN, (1, "purchase", 1, order("o-1")), (2, "refund", 2, order("o-1")), (50, "purchase", 50, order("o-2")),
    ], [ACCEPTED, f"{COMPLETED} until 8", "reversed pending -500 reversed +500", ACCEPTED_ACTIVE,
        f"{COMPLETED} until 57"]),
    ("and so it does when the first order was one for good", [
        JOIN, (1, "purchase", 1, order("o-1")), (40, "refund", 40, order("o-1")), (50, "purchase", 50, order("o-2")),
    ], [ACCEPTED, f"{COMPLETED} until 8", ACCEPTED_ACTIVE, COMPLETED_ACTIVE, "reversed active -500 reversed +500",
        f"{COMPLETED} until 57"]),
    ("a refund before its order: never completed", [
        JOIN, (1, "refund", 1, order("o-1")), (2, "purchase", 1, order("o-1")),
    ], [ACCEPTED]),
    ("a join older than the horizon names nobody", [(40, "join", 9)], []),
]  # fmt: skip


@pytest.mark.parametrize("invited", [INVITED, HERE], ids=["another partition", "the same"])
@pytest.mark.parametrize(("name", "steps", "lines"), TABLE, ids=[row[0] for row in TABLE])
def test_what_the_referrer_gets(name: str, steps: list[Step], lines: list[str], invited: str) -> None:
    town = told(steps, invited=invited)
    assert town.lines(REFERRER) == lines
    _sums_hold(town)


@pytest.mark.parametrize(("name", "steps", "lines"), TABLE, ids=[row[0] for row in TABLE])
def test_a_derived_record_that_arrives_again_changes_nothing(name: str, steps: list[Step], lines: list[str]) -> None:
    once, thrice = told(steps), told(steps, repeats=3)
    assert thrice.lines(REFERRER) == lines
    assert thrice.state(REFERRER) == _as_of(once, thrice)


def _as_of(once: Town, thrice: Town) -> Any:
    """The same state, but for the offsets that its rows name: repeats take offsets too."""
    a, b = once.state(REFERRER), thrice.state(REFERRER)
    same = ("issued", "active", "pending", "spent", "expired", "reversed", "debt", "lots", "lot_points", "lot_end")
    assert [getattr(a, name) for name in same] == [getattr(b, name) for name in same]
    assert len(a.pendings) == len(b.pendings)
    return b


def _sums_hold(town: Town) -> None:
    """The ledger's sums are the balances, and what was issued is somewhere."""
    state = town.state(REFERRER)
    entries = [fact for fact in town.of(REFERRER) if isinstance(fact, Ledger)]
    assert state.issued == sum(entry.points for entry in entries)
    for name in ("active", "pending", "spent", "expired", "reversed", "debt"):
        assert getattr(state, name) == sum(getattr(entry, name) for entry in entries) >= 0, name
    assert state.issued == state.active + state.pending + state.spent + state.expired + state.reversed - state.debt
    places = {(fact.partition, fact.offset, fact.index) for fact in town.facts}
    for entry in entries:
        assert entry.amends is None or (entry.partition, *entry.amends) in places
        assert entry.because


def _refusals(town: Town) -> list[tuple[str, str, str]]:
    return [(f.member_id, f.invited_member_id, f.reason) for f in town.facts if isinstance(f, ReferralRefused)]


def test_who_names_itself_is_told_why_it_gets_nothing() -> None:
    town = told([(0, "join", 0, {"referrer_id": INVITED}), (1, "join"), (2, "purchase", 2, order("o-1"))])
    assert _refusals(town) == [(INVITED, INVITED, "own_id")]
    assert not town.sent
    assert not town.lines(INVITED)


def test_a_referrer_whom_nobody_knows_is_told_of_and_never_paid() -> None:
    stranger = OTHERS[0]
    town = told([(0, "join", 0, {"referrer_id": stranger}), (1, "purchase", 1, order("o-1"))])
    assert _refusals(town) == [(stranger, INVITED, "unknown")]
    town.act(stranger, "login")
    town.act(INVITED, "refund", **order("o-1"))
    assert not town.lines(stranger)
    assert _refusals(town)[1:] == [(stranger, INVITED, "not_accepted")]
    assert town.state(stranger).issued == 0


def test_so_many_joins_are_paid_in_a_year_and_those_beyond_say_so() -> None:
    text = TEXT.replace("per_year: 200", "per_year: 2")
    steps: list[Step] = [(n / 10, "join", n / 10, {"by": name}) for n, name in enumerate(OTHERS[:3])]
    steps.append((1, "purchase", 1, {**order("o-1"), "by": OTHERS[2]}))
    steps.append((310, "join", 310, {"by": OTHERS[3]}))  # another calendar year
    town = told(steps, text)
    assert [line.partition(" until")[0] for line in town.lines(REFERRER)] == [
        "earned points +200 pending +200",
        "earned points +200 pending +200",
        "earned 0 cap",
        "earned 0 cap",
        "activated active +200 pending -200",
        "activated active +200 pending -200",
        "earned points +200 pending +200",
    ]
    _sums_hold(town)


POLICIES = [("pending_only", "0 kept"), ("to_zero", "active -300 reversed +300"), ("debt", "")]


@pytest.mark.parametrize(("policy", "line"), POLICIES, ids=[policy for policy, _ in POLICIES])
def test_points_of_an_undone_completion_go_by_the_policy_of_refunds(policy: str, line: str) -> None:
    text = TEXT.replace("refund: {policy: debt", f"refund: {{policy: {policy}")
    redeem = {"by": REFERRER, "redeem_id": "r-1", "points": 400, "reward": "mug"}
    town = told(
        [JOIN, (1, "purchase", 1, order("o-1")), (8, "redeem", 8, redeem), (9, "refund", 9, order("o-1"))], text
    )
    assert town.lines(REFERRER)[-1] == f"reversed {line or 'active -300 reversed +500 debt +200'}"
    _sums_hold(town)


def test_the_record_says_what_fraud_is_found_by() -> None:
    phone = "ab" * 16
    town = told([(0, "profile", 0, {"phone_hash": phone}), (1, "join", 1, {"device_id": "d-1"})])
    ((_, body),) = town.sent
    assert isinstance(body, Referral)
    assert (body.kind, body.invited_member_id, body.phone_hash, body.device_id) == ("accepted", INVITED, phone, "d-1")
    assert body.active_at == START + 8 * DAY


def test_each_record_says_what_is_known_by_then() -> None:
    phone = "ab" * 16
    town = told([
        (0, "login", 0, {"device_id": "d-0"}), (0, "join", 0, {"device_id": "d-1"}),
        (1, "profile", 1, {"phone_hash": phone}), (2, "purchase", 2, {**order("o-1"), "device_id": "d-2"}),
        (3, "purchase", 3, order("o-2")), (4, "refund", 4, order("o-1")), (5, "refund", 5, order("o-2")),
    ])  # fmt: skip
    bodies = [body for _, body in town.sent if isinstance(body, Referral)]
    assert [(body.kind, body.refunded, body.phone_hash, body.device_id) for body in bodies] == [
        ("accepted", False, None, "d-1"),
        ("completed", False, phone, "d-2"),
        ("moved", True, phone, ""),
        ("undone", True, phone, ""),
    ]
    known = [zlib.crc32(one.encode()) for one in ("d-2", phone, "d-1", "d-0")]
    assert [list(body.known) for body in bodies] == [known[3:], known, known, known]


def test_a_first_order_refunded_too_late_to_move_is_told_of_once() -> None:
    town = told([
        JOIN, (2, "purchase", 2, order("o-1")), (31, "purchase", 31, order("o-2")), (33, "refund", 33, order("o-1")),
        (34, "purchase", 34, order("o-3")), (35, "refund", 35, order("o-3")), (36, "refund", 36, order("o-2")),
    ])  # fmt: skip
    bodies = [body for _, body in town.sent if isinstance(body, Referral)]
    assert [(body.kind, body.refunded, body.active_at) for body in bodies[2:]] == [
        ("moved", True, 0),
        ("undone", True, 0),
    ]
    assert town.lines(REFERRER)[-1] == "reversed active -500 reversed +500"


def test_entries_explain_themselves() -> None:
    town = told([JOIN, (1, "purchase", 1, order("o-1")), (8, "tick"), (9, "refund", 9, order("o-1"))])
    entries = [fact for fact in town.of(REFERRER) if isinstance(fact, Ledger)]
    assert [entry.because for entry in entries] == [
        f"200 = {INVITED} joined, number 1 of the year's 200",
        f"500 = the first order of {INVITED}",
        "200 pending points became active: the days after the join have passed",
        "500 pending points became active: the order's return window has passed",
        f"-500: {INVITED} has no order left that is not fully refunded",
    ]
    assert [bool(entry.amends) for entry in entries] == [False, False, True, True, True]


SAME_DEVICE: list[Step] = [
    (0, "login", 0, {"by": REFERRER, "device_id": "d-1"}),
    (0, "join", 0, {"device_id": "d-1"}),
]


def test_held_points_of_an_invitation_wait_for_the_end_of_the_hold_and_count_from_then_on() -> None:
    steps: list[Step] = [*SAME_DEVICE, (1, "purchase", 1, order("o-1")), (30 - SECOND_OF_A_DAY, "tick")]
    held = [f"earned points {points} pending {points} until 30 held" for points in ("+200", "+500")]
    town = told(steps)
    assert town.lines(REFERRER) == held
    assert referral.accepted_active(town.state(REFERRER)) == 0
    town.until(30)
    assert town.lines(REFERRER) == [*held, "released active +700 pending -700"]
    assert referral.accepted_active(town.state(REFERRER)) == 1
    _sums_hold(town)


def test_a_completion_that_is_undone_while_held_leaves_the_hold() -> None:
    steps: list[Step] = [*SAME_DEVICE, (1, "purchase", 1, order("o-1")), (2, "refund", 2, order("o-1")), (30, "tick")]
    town = told(steps)
    assert town.lines(REFERRER)[2:] == ["reversed pending -500 reversed +500", "released active +200 pending -200"]
    _sums_hold(town)


def test_each_full_three_who_joined_lengthen_the_paid_membership_when_their_points_become_active() -> None:
    town = told([(n, "join", n, {"by": name}) for n, name in enumerate(OTHERS[:4])])
    town.until(9 - SECOND_OF_A_DAY)
    assert membership.paid_until(town.state(REFERRER)) == 0
    town.until(9)
    assert membership.paid_until(town.state(REFERRER)) == START + 39 * DAY
    town.until(20)
    assert membership.paid_until(town.state(REFERRER)) == START + 39 * DAY
    paid = [fact for fact in town.of(REFERRER) if isinstance(fact, MembershipPaid)]
    assert [(fact.effective_at, fact.because) for fact in paid] == [
        (START + 9 * DAY, "30 d for each 3 invited who joined, now 3")
    ]


def _levels(town: Town) -> list[tuple[int, str, str]]:
    return [(f.effective_at, f.level, f.reason) for f in town.of(REFERRER) if isinstance(f, LevelChanged)]


def test_completions_that_stand_lift_the_level_and_are_known_by_their_moments() -> None:
    steps: list[Step] = [(n, "join", n, {"by": name}) for n, name in enumerate(OTHERS[:3])]
    steps += [(10 + n, "purchase", 10 + n, {**order(f"o-{n}"), "by": name}) for n, name in enumerate(OTHERS[:3])]
    town = told(steps)
    days = [START + n * DAY for n in (10, 11, 12)]
    assert referral.completed_at(town.state(REFERRER)) == days
    assert _levels(town)[-1] == (days[2], "explorer 2", "bonus")
    town.act(OTHERS[1], "refund", **order("o-1"))
    assert _levels(town)[-1] == (town.now, "explorer 1", "bonus")
    assert referral.completed_at(town.state(REFERRER)) == [days[0], days[2]]
    assert referral.accepted_active(town.state(REFERRER)) == 3


Deed = tuple[str, int, int, int]  # what, which order, day of the order, amount refunded
DEEDS = st.lists(
    st.one_of(
        st.tuples(st.just("purchase"), st.integers(0, 3), st.integers(0, 20), st.just(100)),
        st.tuples(st.just("refund"), st.integers(0, 3), st.just(0), st.sampled_from([40, 60, 100])),
    ),
    max_size=10,
)


@settings(deadline=None, max_examples=60)
@given(deeds=DEEDS, repeats=st.integers(1, 3), spent=st.booleans())
def test_whatever_the_invited_buys_and_returns_the_completion_is_paid_while_an_order_stands(
    *, deeds: list[Deed], repeats: int, spent: bool
) -> None:
    steps: list[Step] = [JOIN, (20, "tick")]
    left: dict[int, int] = {}
    waiting: dict[int, list[int]] = {}
    for what, number, day, amount in deeds:
        steps.append((20, what, day if what == "purchase" else 20, order(f"o-{number}", amount)))
        if what == "refund":
            waiting.setdefault(number, []).append(amount)
        else:
            left.setdefault(number, 100)
        for back in waiting.pop(number, []) if number in left else []:
            left[number] -= back if back <= left[number] else 0
    if spent:
        steps.append((20, "redeem", 20, {"by": REFERRER, "redeem_id": "r-1", "points": 200, "reward": "mug"}))
    steps.append((30, "tick"))
    town = told(steps, repeats=repeats)
    _sums_hold(town)
    state, completed = town.state(REFERRER), any(left.values())
    assert state.active + state.pending + state.spent - state.debt == 200 + 500 * completed
    assert len(referral.completed_at(state)) == completed
