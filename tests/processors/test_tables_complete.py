"""No rule, tier, level, task, badge, hold or alert without its cases; and that the test which says so can fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from dashboards.alerts import ALERTS
from schemas.programme import Programme, parse
from schemas.programme_text import ProgrammeError, load
from tests.processors.story import DEFAULT
from tests.processors.tables.limits import Limit, limits, unnoticed
from tests.processors.tables.listing import ELSEWHERE, listed, missing, unproved
from tests.processors.tables.playing import MEMBER, played
from tests.processors.tables.reading import ASPECTS, FOLDER, cases
from tests.processors.tables.telling import lines
from tests.processors.test_tables import CASES

PROGRAMME = parse(DEFAULT)
ITEMS = listed(PROGRAMME)
LIMITS = {limit.name: limit for limit in limits(PROGRAMME)}
ALERT_TESTS: list[dict[str, Any]] = YAML(typ="safe").load(Path("tests/dashboards/alerts_test.yml"))["tests"]


def test_everything_of_the_default_programme_has_its_cases() -> None:
    assert missing(PROGRAMME, CASES) == []


def test_every_name_of_the_programme_is_listed_or_said_to_stand_elsewhere() -> None:
    sections = {name.split(".")[0] for name in ITEMS} | ELSEWHERE.keys()
    # Without an action declared there is nothing to list; one that is declared is, below.
    assert set(Programme.model_fields) - sections == {"custom"}


@pytest.mark.parametrize("item", sorted(ITEMS))
def test_what_loses_its_cases_is_named_with_all_that_it_lacks(item: str) -> None:
    left = [case._replace(items=tuple(one for one in case.items if one != item)) for case in CASES]
    lacking = ", ".join(one for one in ASPECTS if one in ITEMS[item])
    assert missing(PROGRAMME, left) == [f"{item}: {lacking}"]


@pytest.mark.parametrize(
    ("title", "lacking"),
    [
        ("shares delivered again use up nothing of the cap", "points.share: duplicate"),
        ("eleven experiences of 3 are at most 30", "activity: cap"),
        ("a late event heals the trial", "tasks.trial: late"),
        ("the same one delivered again, within the horizon and long after", ""),
        ("a late message that is earlier takes the place of the day's 30th", ""),
        ("an answer delivered again is heard once", "echoes: duplicate"),
        ("in any order", ""),  # of the icebreak; it is ordinary, as others are
    ],
)
def test_a_case_that_is_removed_is_missed_where_no_other_holds_the_same(title: str, lacking: str) -> None:
    left = [case for case in CASES if case.title != title]
    assert missing(PROGRAMME, left) == ([lacking] if lacking else [])


@pytest.mark.parametrize("aspect", ASPECTS)
def test_an_aspect_that_is_lost_is_named(aspect: str) -> None:
    left = [case._replace(aspects=tuple(set(case.aspects) - {aspect})) for case in CASES]
    assert missing(PROGRAMME, left) == [f"{item}: {aspect}" for item, aspects in ITEMS.items() if aspect in aspects]


def test_a_case_under_other_numbers_of_a_rule_does_not_count_for_it() -> None:
    other = [case._replace(changed=("points.share.per_day",)) for case in CASES]
    assert [line.split(":")[0] for line in missing(PROGRAMME, other)] == ["points.share"]


def added(path: str, value: Any) -> Programme:
    """The default programme and one thing more, at the end of a list or under a name."""
    plain = load(DEFAULT, "default").plain
    *above, last = path.split(".")
    part = plain
    for key in above:
        part = part.setdefault(key, {})
    if isinstance(part.get(last), list):
        part[last].append(value)
    else:
        part[last] = value
    return Programme.model_validate(plain)


@pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)
def test_a_limit_that_moves_is_noticed_on_both_sides_and_one_of_time_to_the_second(limit: Limit) -> None:
    assert unnoticed(limit, CASES) == []


UNMOVED = ["moved by -1 no case at a limit notices it", "moved by +1 no case at a limit notices it"]


@pytest.mark.parametrize(
    ("name", "removed", "lacking"),
    [
        ("boards.settle_days", "1 s before ", UNMOVED[:1]),
        ("boards.places", "the 101st", UNMOVED[1:]),
        ("echoes.days", "1 s before the 30th", ["no two cases stand 1 s before and after it"]),
        ("echoes.members", "of 17", UNMOVED[1:]),
        ("ladder.open_items", "50 open items", UNMOVED[:1]),
        ("fraud.released_days", "released ", UNMOVED),
        ("activity.half_life_days", "1 s before 7 days", ["no two cases stand 1 s before and after it"]),
        ("levels.steps.silver.growth_from", "a cent of growth", UNMOVED[:1]),
    ],
)
def test_a_limit_is_named_that_loses_a_case_on_one_side(name: str, removed: str, lacking: list[str]) -> None:
    left = [case for case in CASES if not case.title.startswith(removed)]
    assert unnoticed(LIMITS[name], left) == lacking


MOMENTS = {"begins": "2026-11-11T00:00:00+08:00", "ends": "2026-11-12T00:00:00+08:00"}
CONDITION = {"name": "orders", "measure": "count", "at_least": 1, "of": [{"action": "purchase"}]}
ALWAYS = "ordinary, before, after, duplicate, late"


@pytest.mark.parametrize(
    ("path", "value", "lacking"),
    [
        (
            "custom.quiz",
            {"weight": 0, "own": True, "earns": {"points": 7, "per_day": 2, "growth": False}},
            "custom.quiz: ordinary, before, after, cap, duplicate, late",
        ),
        (
            "points.factors.campaigns",
            {"name": "double 11", "factor": 2, "actions": ["purchase"], **MOMENTS},
            f"points.factors.campaigns.double 11: {ALWAYS}, refund",
        ),
        ("tiers.presence", {"tier": "blue", "after_days": 100}, f"tiers.presence.blue: {ALWAYS}"),
        ("tiers.buying", {"tier": "blue", "after_days": 100}, f"tiers.buying.blue: {ALWAYS}, refund"),
        ("levels.steps", {"level": "star", "spend_above": 50_000}, f"levels.steps.star: {ALWAYS}, refund"),
        (
            "tasks.buyer",
            {"title": "an order", "window": {"begins": "week"}, "conditions": [CONDITION], "reward": {"points": 5}},
            f"tasks.buyer: {ALWAYS}, refund",
        ),
        (
            "badges.talker",
            {"title": "Talker", "actions": {"at_least": 5, "of": [{"action": "message"}]}},
            f"badges.talker: {ALWAYS}",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and ":" not in value else "",
)
def test_what_is_added_to_the_programme_is_missed(path: str, value: Any, lacking: str) -> None:
    assert missing(added(path, value), CASES) == [lacking]


def test_a_case_covers_what_its_own_programme_has() -> None:
    unknown = {
        f"{case.file}: {case.title}: {item}"
        for case in CASES
        for item in case.items
        if item not in listed(case.rules.programme)
    }
    assert not unknown


def test_every_alert_is_seen_silent_and_firing() -> None:
    assert unproved([alert.name for alert in ALERTS], ALERT_TESTS) == []


def test_an_alert_without_a_test_is_named() -> None:
    assert unproved(["NobodyTestsThis"], ALERT_TESTS) == ["NobodyTestsThis"]


def test_the_example_of_the_readme_is_a_table_that_holds() -> None:
    page = (FOLDER / "README.md").read_text()
    example = [line[4:] for line in page.split("\n\n", 2)[2].split("\n\n")[0].splitlines()]
    (case,) = cases("\n".join(example), "README.md")
    assert lines(played(case.deeds, case.rules).story(MEMBER), "ledger") == ["share 5"] * 5 + ["share 0 cap"]


# -- a file that is wrong -------------------------------------------------------------------------------------------

HEAD = "title: Shares\ncovers: points.share\ncases:\n"
CASE = """\
  - title: one
    aspects: [ordinary]
    steps:
      - {at: day 0, do: share}
    then:
      ledger: [share 5]
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CASE.replace("day 0", "day zero"), "t.yaml:7:10: cases.0.steps.0.at: no moment: 'day zero'"),
        (CASE.replace("share}", "shaer}"), "t.yaml:7:21: cases.0.steps.0.do: `do` is one of tick, boards"),
        (CASE.replace("share}", "share, taget: group}"), "t.yaml:7:9: cases.0.steps.0: share: Object contains unknown"),
        (CASE.replace("share}", "purchase, yuan: 0.001}"), "t.yaml:7:35: cases.0.steps.0.yuan: no more than two"),
        (CASE.replace("share}", "share, times: 3}"), "t.yaml:7:9: cases.0.steps.0: say `every`"),
        (
            CASE.replace("{at: day 0, do: share}", "{at: day 0, again: 1}"),
            "t.yaml:7:21: cases.0.steps.0.again: an earl",
        ),
        (CASE.replace("share}", "tick, happend: day 1}"), "t.yaml:7:31: cases.0.steps.0.happend: tick has no happend"),
        (CASE.replace("share}", "boards, times: two}"), "t.yaml:7:33: cases.0.steps.0.times: from 1 to 1000"),
        (
            CASE.replace("share}", "threshold, valeu: 1, members: 2}"),
            "t.yaml:7:36: cases.0.steps.0.valeu: threshold has",
        ),
        (CASE.replace("share}", "threshold, value: 1}"), "t.yaml:7:9: cases.0.steps.0: say `members`"),
        (CASE.replace("share}", "threshold, value: x, members: 2}"), "t.yaml:7:36: cases.0.steps.0.value: a number"),
        (CASE.replace("share}", "adjust, hold: 0}"), "t.yaml:7:33: cases.0.steps.0.hold: a hold by its place"),
        (CASE.replace("share}", "award, palce: 1}"), "t.yaml:7:9: cases.0.steps.0: award: Object contains unknown"),
        (CASE.replace("share}", "share, hold: 1}"), "t.yaml:7:32: cases.0.steps.0.hold: share has no hold, adjust"),
        (CASE.replace("share}", "share, month: 1}"), "t.yaml:7:32: cases.0.steps.0.month: share has no month, award"),
        (CASE.replace("ledger", "leger"), "t.yaml:9:7: cases.0.then.leger: Extra inputs are not permitted"),
        (CASE.replace("ordinary", "common"), "t.yaml:5:15: cases.0.aspects.0: Input should be 'ordinary'"),
        (CASE.replace("ordinary", "late"), "t.yaml:5:5: cases.0.aspects: no step of this case is late"),
        (CASE.replace("      ledger: [share 5]", "      {}"), "t.yaml:8:5: cases.0.then: name at least one of ledger"),
        (CASE + CASE, "t.yaml:10:5: cases.1.title: another case has this title"),
        (
            CASE.replace("    steps", "    programme: {points.shares.points: 8}\n    steps"),
            "t.yaml:6:17: cases.0.programme.points.shares.points: no such name in the programme",
        ),
    ],
)
def test_a_wrong_file_is_told_with_line_and_column(text: str, words: str) -> None:
    with pytest.raises(ProgrammeError) as error:
        cases(HEAD + text, "t.yaml")
    assert str(error.value).startswith(words)


def test_all_that_is_wrong_is_told_at_once() -> None:
    second = CASE.replace("title: one", "title: two").replace("day 0", "day 0 25:00")
    with pytest.raises(ProgrammeError) as error:
        cases(HEAD + CASE.replace("day 0", "noon") + second, "t.yaml")
    assert [line for line, *_ in error.value.errors] == [7, 13]


def test_a_hold_that_is_not_there_is_told_with_the_step() -> None:
    judged = CASE.replace("do: share}", "do: share}\n      - {at: day 1, do: adjust, kind: release, hold: 2}")
    (case,) = cases(HEAD + judged, "t.yaml")
    with pytest.raises(LookupError, match="step 2: hold 2: member has 0 by then"):
        played(case.deeds, case.rules)
