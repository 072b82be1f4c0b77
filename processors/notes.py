"""What profile, join and leave say of a member."""

from __future__ import annotations

from typing import TYPE_CHECKING

from processors import beside, churn, factors, holds, levels, referral
from processors.decision import about
from processors.judgement import home_region
from schemas.actions import Action, Join, Leave, Profile
from schemas.facts import AccountClosed, Fact, RegionChanged
from schemas.member import NEVER, MemberState

if TYPE_CHECKING:
    from processors.decision import Moment
    from processors.programme import Rules


def profile(in_force: Rules, state: MemberState, action: Profile, moment: Moment, facts: list[Fact]) -> None:
    """The home region of the latest profile that names one, of two at one moment the greater name; the birthday."""
    factors.told(in_force, state, action, moment)
    if action.phone_hash:
        state.phone_hash = action.phone_hash
        holds.has_phone(state, in_force, action.phone_hash)
    if action.home_region and (moment.at, action.home_region) > (state.profile_at, state.profile_region):
        before = home_region(state)
        state.profile_at, state.profile_region = moment.at, action.home_region
        _moved(in_force, state, action, moment, before, facts)


def join(in_force: Rules, state: MemberState, action: Join, moment: Moment, facts: list[Fact]) -> None:
    """The region of the first join; of two at one moment the greater name."""
    at, first = moment.at, state.join_at
    if not first:
        referral.joined(in_force, state, action, moment, facts)
    if not first or at < first or (at == first and action.region > state.join_region):
        before = home_region(state)
        state.join_at, state.join_region = at, action.region
        state.tasks_until = NEVER  # it begins the tasks of who joined
        levels.look_again(state)
        _moved(in_force, state, action, moment, before, facts)


def _moved(in_force: Rules, state: MemberState, action: Action, moment: Moment, before: str, facts: list[Fact]) -> None:
    """Tell that the home region is another one now: boards take the member's sums along."""
    home = home_region(state)
    if home != before:
        fact = RegionChanged(
            member_id=action.member_id,
            effective_at=moment.at,
            decided_at=moment.clock,
            home=home,
            home_before=before,
        )
        facts.append(about(fact, in_force, action))


def leave(in_force: Rules, state: MemberState, action: Leave, moment: Moment, facts: list[Fact]) -> None:
    """Without a group the account is closed."""
    if not action.group_id:
        fact = AccountClosed(member_id=action.member_id, effective_at=moment.at, decided_at=moment.clock)
        facts.append(about(fact, in_force, action))
        churn.closed(in_force, state, action, moment, facts)
        beside.closed(in_force, state, action, moment, facts)
