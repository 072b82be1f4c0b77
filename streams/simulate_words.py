"""A simulation in tables: what the other programme would have given, in points and in money, and to whom."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from processors.simulate import DIMENSIONS, Change, Pair, Sums
from streams.money import Money
from streams.simulate import Simulated

HEADINGS = {"region": "home region", "level": "level", "value": "value class"}


def as_data(it: Simulated, live: Money, new: Money) -> dict[str, Any]:
    """For `--json`."""
    difference = it.difference
    return {
        "records": it.records,
        "parted_at": it.parted_at,
        "until": it.until,
        "rounds": it.rounds,
        "rederived": it.rederived,
        "awards": it.awards,
        "thresholds": it.thresholds,
        "as_lived": list(it.live),
        "members_changed": difference.changed,
        "total": _pair(difference.total, live, new),
        "by": {
            name: {key: _pair(pair, live, new) for key, pair in sorted(groups.items())}
            for name, groups in difference.by.items()
        },
        "gain_most": [_change(one) for one in difference.gains],
        "lose_most": [_change(one) for one in difference.losses],
        "worth": {"live": live.now, "new": new.proposed, "cost": _cost(difference.total.new, new)},
        "currency": live.unit,
    }


def _pair(pair: Pair, live: Money, new: Money) -> dict[str, Any]:
    return {"live": _sums(pair.live, live, live.now), "new": _sums(pair.new, new, new.proposed)}


def _sums(sums: Sums, money: Money, worth: int) -> dict[str, int]:
    """Liability in the smallest unit of money."""
    return {
        "members": sums.members,
        "points_issued": sums.issued,
        "points_owed": sums.net,
        "liability": money.liability(sums.net, worth),
        "badges": sums.badges,
    }


def _cost(sums: Sums, money: Money) -> int:
    """What the proposed worth costs by itself: the same points at both."""
    return money.liability(sums.net, money.proposed) - money.liability(sums.net, money.now)


def _change(one: Change) -> dict[str, Any]:
    return {
        "member_id": one.member_id,
        "points_issued": one.issued,
        "points_owed": one.net,
        "level": one.level,
        "new_level": one.new_level,
    }


def tables(it: Simulated, live: Money, new: Money) -> list[Table]:
    """The totals, each dimension, and who gains and loses most."""
    found = [_groups("in all", {"": it.difference.total}, live, new)]
    found += [_groups(HEADINGS[name], it.difference.by[name], live, new) for name in DIMENSIONS]
    changes = Table("member", "points issued", "points owed", "level", title="most changed", title_justify="left")
    for one in (*it.difference.gains, *it.difference.losses):
        level = one.level if one.level == one.new_level else f"{one.level} -> {one.new_level}"
        changes.add_row(one.member_id, f"{one.issued:+,}", f"{one.net:+,}", level)
    _right(changes, 1, 3)
    return [*found, changes]


def _groups(title: str, groups: dict[str, Pair], live: Money, new: Money) -> Table:
    names = ("members", "issued", "would be", "", f"liability, {live.unit}", "would be", "", "badges", "would be")
    table = Table(title, *names, title_justify="left")
    for key, pair in sorted(groups.items()):
        owed, would = live.liability(pair.live.net, live.now), new.liability(pair.new.net, new.proposed)
        members = f"{pair.live.members:,}"
        if pair.live.members != pair.new.members:
            members += f" -> {pair.new.members:,}"
        table.add_row(
            key or ("" if title == "in all" else "none"),
            members,
            f"{pair.live.issued:,}",
            f"{pair.new.issued:,}",
            f"{pair.new.issued - pair.live.issued:+,}",
            live.text(owed),
            live.text(would),
            f"{(would - owed) / live.minor_units:+,.2f}",
            f"{pair.live.badges:,}",
            f"{pair.new.badges:,}",
        )
    _right(table, 1, len(names) + 1)
    return table


def _right(table: Table, first: int, end: int) -> None:
    for column in table.columns[first:end]:
        column.justify = "right"


def worth_words(it: Simulated, new: Money) -> str:
    """What a proposed worth would cost."""
    cost = _cost(it.difference.total.new, new)
    return (
        f"a worth of {new.proposed} instead of {new.now} thousandths costs {new.text(cost)} {new.unit} on "
        f"{it.difference.total.new.net:,} points owed"
    )


def made_words(it: Simulated) -> str:
    """What is made anew beside points and levels, and what stays as it was lived."""
    if not it.live:
        return "strays, what members bring about for each other, awards and thresholds are made anew"
    return (
        f"strays and what members bring about for each other are made anew; {' and '.join(it.live)} are the live ones"
    )


def otherwise_words(it: Simulated) -> str:
    """How many members differ, of how many records, and what these brought about otherwise."""
    found = f"{it.difference.changed:,} members differ; {it.records:,} records, {it.rederived:,} derived otherwise"
    return f"{found}, {it.awards:,} awards given otherwise, {it.thresholds:,} records of thresholds with other values"
