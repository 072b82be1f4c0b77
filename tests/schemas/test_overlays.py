"""Overlays and pilots in the programme file: what a region may have otherwise, what may be tried, with every error."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.overlays import counted
from schemas.programme import ProgrammeError, parse
from schemas.programme_text import load

DEFAULT = Path("schemas/programmes/default.yaml").read_text()
LINES = len(DEFAULT.splitlines())
NAMES = "names: [points.check_in.points, points.message.points, points.share.points, points.comeback.points]"


def found(text: str) -> list[tuple[int, int, str, str]]:
    with pytest.raises(ProgrammeError) as caught:
        parse(text, "mine.yaml")
    return caught.value.errors


def test_a_region_may_override_what_is_on_the_list_by_path_or_as_a_tree() -> None:
    by_path = parse(DEFAULT + "overlays: {south: {points.share.points: 8}}\n")
    as_a_tree = parse(DEFAULT + "overlays: {south: {points: {share: {points: 8}}}}\n")
    assert by_path.overlays == {"south": {"points.share.points": 8}}
    assert as_a_tree.overlays == {"south": {"points": {"share": {"points": 8}}}}


PILOT = "overrides: {points.share.points: 8}"
WRONG = [
    # name, added at the end, column, path, part of the words
    (
        "a name that is not on the list",
        "overlays: {south: {points.purchase.per_unit: 2}}",
        20,
        "overlays.south.points.purchase.per_unit",
        "not on the list of overridable names",
    ),
    (
        "a misspelt name in a tree",
        "overlays: {south: {points: {share: {pionts: 8}}}}",
        37,
        "overlays.south.points.share.pionts",
        "not on the list of overridable names",
    ),
    (
        "a value that the rule cannot have",
        "overlays: {south: {points.share.points: -8}}",
        20,
        "overlays.south.points.share.points",
        "greater than or equal to 0",
    ),
    (
        "a fraction of a point in a tree",
        "overlays: {south: {points: {share: {points: 2.5}}}}",
        37,
        "overlays.south.points.share.points",
        "valid integer",
    ),
    ("a pilot of nobody", f"pilots: {{a: {{{PILOT}}}}}", 10, "pilots.a", "either region or percent"),
    (
        "a pilot of two kinds of members",
        f"pilots: {{a: {{{PILOT}, region: south, percent: 5}}}}",
        10,
        "pilots.a",
        "either region or percent",
    ),
    (
        "more than everybody",
        f"pilots: {{a: {{{PILOT}, percent: 101}}}}",
        51,
        "pilots.a.percent",
        "less than or equal to 100",
    ),
    (
        "an end that is no day",
        f"pilots: {{a: {{{PILOT}, percent: 5, end: soon}}}}",
        63,
        "pilots.a.end",
        "not a day such as 2026-06-01",
    ),
    (
        "what all members share",
        "pilots: {a: {overrides: {zone: UTC}, percent: 5}}",
        26,
        "pilots.a.overrides.zone",
        "zone is the same for all members",
    ),
    (
        "a name that there is not",
        "pilots: {a: {overrides: {points.shar.points: 8}, percent: 5}}",
        26,
        "pilots.a.overrides.points.shar.points",
        "names no leaf of this programme",
    ),
    (
        "a metric that nobody measures",
        f"pilots: {{a: {{{PILOT}, percent: 5, metric: joy}}}}",
        63,
        "pilots.a.metric",
        "'return', 'purchase', 'spend' or 'redemption'",
    ),
    (
        "the same name in two pilots",
        f"pilots: {{a: {{{PILOT}, percent: 5}}, b: {{{PILOT}, region: south}}}}",
        80,
        "pilots.b.overrides.points.share.points",
        "tried by pilot a too",
    ),
]


@pytest.mark.parametrize(("name", "added", "column", "path", "words"), WRONG, ids=[case[0] for case in WRONG])
def test_an_error_has_its_place(name: str, added: str, column: int, path: str, words: str) -> None:
    ((line, col, at, text),) = found(f"{DEFAULT}{added}\n")
    assert (line, col, at) == (LINES + 1, column, path)
    assert words in text


@pytest.mark.parametrize(("most", "right"), [(16, True), (15, False)])
def test_the_share_of_overridable_names_has_a_limit(most: int, right: bool) -> None:  # noqa: FBT001 - a table
    """4 names of as many leaves as the file names under points; a list is one leaf."""
    all_names = counted(load(DEFAULT, "").plain)
    assert {"points.check_in.streak.factor", "points.expiry.warning_days", "points.share.points"} < set(all_names)
    some = all_names[: len(all_names) * most // 100 + (0 if right else 1)]
    text = DEFAULT.replace(NAMES, f"names: [{', '.join(some)}]").replace("percent_max: 20", f"percent_max: {most}")
    if right:
        parse(text)
        return
    ((_, column, path, words),) = found(text)
    assert (column, path) == (3, "overridable.names")
    assert words == f"{len(some)} of {len(all_names)} named leaves are more than {most}%"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("points.share", "names no leaf of points, benefits, outreach"),
        ("points.share.pionts", "names no leaf"),
        ("activity.day_cap", "names no leaf"),
        ("points.share.points, points.share.points", "is named twice"),
    ],
)
def test_the_list_names_leaves_of_points_benefits_and_outreach_once(name: str, words: str) -> None:
    ((line, _, path, text),) = found(DEFAULT.replace(NAMES, f"names: [{name}]"))
    assert DEFAULT.splitlines()[line - 1].strip().startswith("names:")
    assert path.startswith("overridable.names.")
    assert words in text


def test_overrides_that_are_right_alone_and_wrong_together_are_told() -> None:
    """A level step that is remembered while it runs: one pilot makes it longer, the other remembers it shorter."""
    text = f"""{DEFAULT}pilots:
  longer: {{percent: 50, overrides: {{points.redeem.level_step.days: 150}}}}
  shorter: {{percent: 50, overrides: {{points.redeem.kept_days: 120}}}}
"""
    ((line, _, path, words),) = found(text)
    assert (line, path) == (LINES + 3, "pilots.shorter")
    assert "with pilots.longer and pilots.shorter: points.redeem" in words


def test_pilots_of_two_regions_never_meet() -> None:
    parse(f"""{DEFAULT}pilots:
  longer: {{region: south, overrides: {{points.redeem.level_step.days: 150}}}}
  shorter: {{region: north, overrides: {{points.redeem.kept_days: 120}}}}
""")


def test_five_planted_errors_of_five_kinds_are_all_told_with_their_places() -> None:
    text = DEFAULT.replace("horizon_days: 30", "horizon_days: 90").replace("half_life_days: 7", "half_live_days: 7")
    text = text.replace("{tier: L2, after_days: 38}", "{tier: L2, after_days: 29}")
    text = text.replace("minor_units: 100 ", "minor_units: 100\nname: again ")
    text += "overlays: {south: {points.purchase.per_unit: 2}}\n"
    lines = text.splitlines()
    told = {path: (lines[line - 1][column - 1 :], words) for line, column, path, words in found(text)}
    assert {path: words for path, (_, words) in told.items()} == {
        "name": "said twice",
        "horizon_days": "Input should be less than or equal to 30",
        "activity.half_live_days": "no such name here; did you mean half_life_days?",
        "tiers.presence.2.after_days": "must ascend from step to step",
        "overlays.south.points.purchase.per_unit": "points.purchase.per_unit is not on the list of overridable names",
    }
    begins = {path: text for path, (text, _) in told.items()}
    assert begins["name"].startswith("name: again ")
    assert begins["overlays.south.points.purchase.per_unit"] == "points.purchase.per_unit: 2}}"
    for path in ("horizon_days", "activity.half_live_days", "tiers.presence.2.after_days"):
        assert begins[path].startswith(path.rpartition(".")[2])
