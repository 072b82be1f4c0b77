"""What a programme allows that nobody can have meant: each check is one function from a programme to warnings.

A warning is no error: the programme can be applied. Paths are those of the file. What a member can earn in one
programme day is an upper bound: every cap reached, a comeback, all tasks done, the whole ladder, the streak running;
and all it invited and is known for join and buy on that day.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import NamedTuple

from processors.activity import Weights
from processors.calendar import Calendar
from processors.standards import Levels, Standard, Sums
from schemas import cel
from schemas.levels import Level
from schemas.programme import Programme
from schemas.tasks import Counted, Task

Path = tuple[str | int, ...]


class Warned(NamedTuple):
    """A warning and where it stands."""

    path: Path
    text: str


class Liability(NamedTuple):
    """The most points that a member earns in one programme day, by rule, purchases aside; points for a unit of money.

    `referral` is what those it invited bring: all of a year join, and all that are known buy for the first time.

    `worth` is that of a point, in 1/1,000 of the smallest unit of money.
    """

    by_rule: dict[str, int]
    per_unit: Decimal
    worth: int
    minor_units: int

    @property
    def points(self) -> int:
        """All rules together."""
        return sum(self.by_rule.values())

    def money(self, points: int) -> int:
        """What points are worth, in the smallest unit of money, half up."""
        return (points * self.worth + 500) // 1_000


def warnings(programme: Programme) -> list[Warned]:
    """All warnings, check by check."""
    return [warned for check in CHECKS for warned in check(programme)]


def liability(programme: Programme) -> Liability:
    """What a member can earn at most in one programme day, and for a unit of money."""
    points, ladder, referral = programme.points, programme.ladder, programme.points.referral
    item = ladder.browse + ladder.like + ladder.comment + ladder.buy
    by_rule = {
        "check_in": points.check_in.points * most_factor(programme, "check_in"),
        "message": points.message.points * points.message.per_day * most_factor(programme, "message"),
        "share": points.share.points * points.share.per_day * most_factor(programme, "share"),
        "custom": sum(
            custom.earns.points * custom.earns.per_day * most_factor(programme, name)
            for name, custom in programme.custom.items()
            if custom.earns
        ),
        "comeback": points.comeback.points if points.comeback.per_year else 0,
        "ladder": item * ladder.items_per_week,
        "task": sum(task.reward.points or 0 for task in programme.tasks.values()),
        "referral": referral.accepted * referral.per_year
        + (referral.completed * referral.kept if referral.per_year else 0),
    }
    per_unit = points.purchase.per_unit * most_factor(programme, "purchase")
    return Liability(by_rule, per_unit, points.worth.now, programme.minor_units)


def most_factor(programme: Programme, action: str) -> int:
    """All factors that may apply to an action at once, all campaigns included, at most the ceiling."""
    factors = programme.points.factors
    most = programme.points.check_in.streak.factor if action == "check_in" else 1
    most *= factors.first_order.factor if action == "purchase" else 1
    named = [(factors.birthday.factor, factors.birthday.actions), (factors.paid.factor, factors.paid.actions)]
    for factor, actions in (*named, *((it.factor, it.actions) for it in factors.campaigns)):
        most *= factor if action in actions else 1
    return min(most, factors.ceiling)


def factors_above_the_ceiling(programme: Programme) -> Iterator[Warned]:
    """A factor that alone is more than the ceiling of their product."""
    factors, streak = programme.points.factors, programme.points.check_in.streak
    named: list[tuple[Path, int]] = [(("points", "check_in", "streak", "factor"), streak.factor)]
    for name in ("birthday", "first_order", "paid"):
        named.append((("points", "factors", name, "factor"), getattr(factors, name).factor))
    for place, campaign in enumerate(factors.campaigns):
        named.append((("points", "factors", "campaigns", place, "factor"), campaign.factor))
    for path, factor in named:
        if factor > factors.ceiling:
            yield Warned(path, f"never counts whole: the ceiling is {factors.ceiling}")


def unreachable_indexes(programme: Programme) -> Iterator[Warned]:
    """A badge for an activity index that the day's cap, held every day, does not reach."""
    weights = Weights(programme)
    every_day = sum(programme.activity.day_cap * decay for decay in weights.decay) // weights.decay[0]
    most = weights.index(every_day)
    for name, badge in programme.badges.items():
        if badge.index is not None and badge.index.at_least > most:
            text = f"never awarded: with {programme.activity.day_cap} thousandths every day the index is {most}"
            yield Warned(("badges", name, "index", "at_least"), text)


def unreachable_badges(programme: Programme) -> Iterator[Warned]:
    """A badge that nothing gives, and one for a place of a board that gets no award."""
    given = {task.reward.badge for task in programme.tasks.values()}
    for name, badge in programme.badges.items():
        if badge.index is None and badge.actions is None and badge.award is None and name not in given:
            yield Warned(("badges", name), "never awarded: no index, actions, award or task gives it")
        if badge.award is not None and not programme.boards.awarded_places:
            yield Warned(("badges", name, "award"), "never awarded: boards.awarded_places is 0")


def unreachable_levels(programme: Programme) -> Iterator[Warned]:
    """A level that only money reaches though it asks for growth, one passed over, a floor or a bonus of nobody."""
    levels = Levels(programme, Calendar(programme.zone, programme.day_starts_at))
    most = most_growth(programme)
    for place, (step, standard) in enumerate(zip(programme.levels.steps, levels.standards, strict=True)):
        path: Path = ("levels", "steps", place)
        ways = ways_to(levels, standard)
        if ways and all(levels.best(sums, place) > place for sums in ways):
            higher = levels.names[min(levels.best(sums, place) for sums in ways)]
            yield Warned(path, f"passed over: whoever meets it meets {higher}")
        elif step.growth_from and step.growth_from > most and len(ways) == 1:
            text = f"reached by purchases alone: all caps held for {levels.months} months are a growth of {most}"
            yield Warned((*path, "growth_from"), text)
        if step.top and not any(map(programme.activity.weights.get, weighed(programme))):
            yield Warned((*path, "top"), "never met: no action of levels.top has a weight")
    yield from unreachable_floors(programme)
    yield from bonus_of_nobody(programme, levels)


def ways_to(levels: Levels, standard: Standard) -> list[Sums]:
    """The least that meets each alternative of a standard."""
    ways = []
    if standard.growth >= 0:
        ways.append(Sums(growth=standard.growth))
    if standard.spend >= 0:
        paced = standard.pace * min(levels.pace_months, levels.months - 1)
        ways.append(Sums(spend=standard.spend, growth=standard.spend, top=standard.top))
        ways.append(Sums(spend=paced, growth=paced, slowest=standard.pace, top=standard.top))
    if standard.streak:
        ways.append(Sums(streak=standard.streak))
    return ways


def weighed(programme: Programme) -> set[str]:
    """The weights that count for a place among the most active."""
    actions = set(programme.levels.top.actions)
    return actions - {"message"} | (MESSAGES if "message" in actions else set())


MESSAGES = {"chat", "question", "answer", "experience"}


def unreachable_floors(programme: Programme) -> Iterator[Warned]:
    """Floors of joining that no task gives, or that nobody stays on; tasks that give a level that is none of them."""
    floors = [step.level for step in programme.levels.steps if step.floor == "joining"]
    given = {task.reward.level for task in programme.tasks.values()}
    for place, name in enumerate(floors):
        if not programme.levels.tenure_months:
            yield Warned(("levels", "steps", place), "passed over: with tenure_months 0 the floor of tenure is at once")
        elif place and name not in given:
            yield Warned(("levels", "steps", place), "never reached: no task gives it")
    for name, task in programme.tasks.items():
        if task.reward.level and task.reward.level not in floors:
            yield Warned(("tasks", name, "reward", "level"), f"never given: the floors are {', '.join(floors)}")


def bonus_of_nobody(programme: Programme, levels: Levels) -> Iterator[Warned]:
    """Steps of bonus that no member can get, or that lift nobody."""
    bonus, referral = programme.levels.bonus, programme.points.referral
    if not referral.per_year:
        yield Warned(("levels", "bonus", "referrals"), "never reached: points.referral.per_year is 0")
    elif bonus.referrals > referral.kept:
        text = f"never reached: {referral.kept} invitations are known (points.referral.kept)"
        yield Warned(("levels", "bonus", "referrals"), text)
    if levels.bonus_up_to <= levels.tenure:
        yield Warned(("levels", "bonus", "up_to"), "lifts nobody above the floors")


def most_growth(programme: Programme) -> int:
    """The most growth without purchases over the months that levels look at: every cap held on each day, all tasks."""
    points, ladder, months = programme.points, programme.ladder, programme.levels.months
    days = 31 * months
    a_day = points.check_in.points + points.message.points * points.message.per_day
    a_day += points.share.points * points.share.per_day
    a_day += sum(it.earns.points * it.earns.per_day for it in programme.custom.values() if it.earns and it.earns.growth)
    a_week = (ladder.browse + ladder.like + ladder.comment + ladder.buy) * ladder.items_per_week
    tasks = sum((task.reward.points or 0) * times(task, days) for task in programme.tasks.values())
    return a_day * days + a_week * (days // 7 + 2) + tasks


def times(task: Task, days: int) -> int:
    """How often a task can be done in so many days, at most."""
    window = task.window
    if window is None or not task.resets:
        return 1
    length = {"day": 24, "week": 24 * 7, "month": 24 * 28}.get(window.begins, 0)
    hours = length or (window.hours or 0) + 24 * (window.days or 0)
    return days * 24 // hours + 2


def caps_that_never_count(programme: Programme) -> Iterator[Warned]:
    """Points that a cap of 0 never pays, a cap on nothing, a weight above its day's cap."""
    points, ladder = programme.points, programme.ladder
    for name, rule, cap in (
        ("message", points.message, points.message.per_day),
        ("share", points.share, points.share.per_day),
        ("comeback", points.comeback, points.comeback.per_year),
    ):
        if rule.points and not cap:
            yield Warned(("points", name, "points"), f"never paid: the cap of {name} is 0")
        elif cap and not rule.points:
            yield Warned(("points", name), f"a cap of {cap} on what earns nothing")
    for action, weight in programme.activity.weights.items():
        if weight > programme.activity.day_cap:
            text = f"{weight} never counts whole: day_cap is {programme.activity.day_cap}"
            yield Warned(("activity", "weights", action), text)
    if points.message.per_day > programme.fraud.messages.per_day:
        text = (
            f"messages beyond {programme.fraud.messages.per_day} are held (fraud.messages.per_day), and would be paid"
        )
        yield Warned(("points", "message", "per_day"), text)
    if points.referral.per_year and points.referral.per_year > points.referral.kept:
        text = f"the year's first invitations are forgotten: {points.referral.kept} are known (kept)"
        yield Warned(("points", "referral", "per_year"), text)
    if ladder.items_per_week > ladder.open_items:
        text = f"{ladder.items_per_week} items of a week are never paid when touched at once: open_items is less"
        yield Warned(("ladder", "items_per_week"), text)


def campaigns_of_nothing(programme: Programme) -> Iterator[Warned]:
    """A campaign that names a custom action without points."""
    for place, campaign in enumerate(programme.points.factors.campaigns):
        for number, name in enumerate(campaign.actions):
            if name in programme.custom and programme.custom[name].earns is None:
                path = ("points", "factors", "campaigns", place, "actions", number)
                yield Warned(path, f"multiplies nothing: custom.{name} earns nothing")


def redemptions_that_contradict(programme: Programme) -> Iterator[Warned]:
    """What may be redeemed at least is no whole number of steps; warnings for what nobody can redeem."""
    redeem, expiry = programme.points.redeem, programme.points.expiry
    if redeem.smallest % redeem.steps:
        least = -(-redeem.smallest // redeem.steps) * redeem.steps
        text = f"no redemption is {redeem.smallest}: with steps of {redeem.steps} the smallest is {least}"
        yield Warned(("points", "redeem", "smallest"), text)
    if expiry.warning_days and expiry.warn_from < redeem.smallest:
        text = f"members are warned of {expiry.warn_from} points that they cannot redeem: redeem.smallest is more"
        yield Warned(("points", "expiry", "warn_from"), text)


def loops_that_print_points(programme: Programme) -> Iterator[Warned]:
    """Buying and giving back keeps points; buying earns what it cost; a daily task pays for what costs nothing."""
    points, per_unit = programme.points, programme.points.purchase.per_unit
    kept = {"pending_only": "what is active already", "to_zero": "what was spent already"}.get(points.refund.policy)
    if kept and per_unit:
        text = f"prints points: a refund does not take back {kept}; buying and giving back earns {per_unit} per unit"
        yield Warned(("points", "refund", "policy"), text)
    most = per_unit * most_factor(programme, "purchase")
    if most * points.worth.now >= 1_000 * programme.minor_units:
        yield Warned(("points", "purchase", "per_unit"), "prints points: a purchase earns back what it cost, or more")
    for name, task in programme.tasks.items():
        if task.reward.points and task.resets and not asks_money(task):
            text = f"prints points: {task.reward.points} in each window, for actions that cost nothing"
            yield Warned(("tasks", name, "reward"), text)


def asks_money(task: Task) -> bool:
    """Whether a condition needs a purchase."""
    return any(counted.action == "purchase" for condition in task.conditions for counted in condition.of)


def standards_beside_their_levels(programme: Programme) -> Iterator[Warned]:
    """A task that shows a level's standard, and asks for more or less than the level does."""
    steps = {step.level: step for step in programme.levels.steps}
    for name, task in programme.tasks.items():
        step = steps.get(task.reward.standard or "")
        for place, condition in enumerate(task.conditions if step else ()):
            asked = _asked(step, programme.minor_units).get(condition.measure) if step else None
            if asked != condition.at_least:
                text = f"not what levels.steps says of {task.reward.standard}: {asked or 'no standard of this measure'}"
                yield Warned(("tasks", name, "conditions", place, "at_least"), text)


def _asked(step: Level, minor_units: int) -> dict[str, int | None]:
    """What a level asks for, by measure; net spend in minor units."""
    spend = step.spend_above * minor_units + 1 if step.spend_above else (step.spend_from or 0) * minor_units
    return {"streak": step.streak, "net_spend": spend or None}


def conditions_of_nothing(programme: Programme) -> Iterator[Warned]:
    """A condition in CEL that looks at no field: it always holds, or never."""
    found: list[tuple[Path, Counted]] = []
    for name, task in programme.tasks.items():
        for place, condition in enumerate(task.conditions):
            found += [(("tasks", name, "conditions", place, "of", at), one) for at, one in enumerate(condition.of)]
    for name, badge in programme.badges.items():
        of = badge.actions.of if badge.actions else ()
        found += [(("badges", name, "actions", "of", at), one) for at, one in enumerate(of)]
    for path, counted in found:
        if counted.cel is not None and not cel.condition(counted.action, counted.cel).fields:
            yield Warned((*path, "cel"), f"looks at no field of {counted.action}: always the same answer")


def pilots_without_verdict(programme: Programme) -> Iterator[Warned]:
    """A pilot that could not be promoted as it stands."""
    for name, pilot in programme.pilots.items():
        if missing := [field for field in ("metric", "goal", "end") if getattr(pilot, field) is None]:
            yield Warned(("pilots", name), f"cannot be promoted: it names no {', '.join(missing)}")


CHECKS: tuple[Callable[[Programme], Iterator[Warned]], ...] = (
    unreachable_indexes,
    unreachable_badges,
    unreachable_levels,
    caps_that_never_count,
    campaigns_of_nothing,
    factors_above_the_ceiling,
    redemptions_that_contradict,
    loops_that_print_points,
    standards_beside_their_levels,
    conditions_of_nothing,
    pilots_without_verdict,
)
