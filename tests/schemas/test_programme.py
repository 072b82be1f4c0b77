"""The programme file: what ships is valid, and every error says line, column, where and what."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.programme import Rules, compile_programme
from schemas.actions import ACTIONS, Action, Content, Custom, Login
from schemas.programme import MAY_BE_OWN, RULES, Part, ProgrammeError, parse

SHIPPED = sorted(Path("schemas/programmes").glob("*.yaml"))
DEFAULT = Path("schemas/programmes/default.yaml").read_text()
LINES = DEFAULT.splitlines()


def line_of(text: str) -> int:
    return next(number for number, line in enumerate(LINES, 1) if text in line)


@pytest.mark.parametrize("path", SHIPPED, ids=[path.name for path in SHIPPED])
def test_a_shipped_programme_is_valid_and_compiles(path: Path) -> None:
    rules = compile_programme(path.read_text(), 3, 77)
    assert rules.programme.name == path.stem
    assert (rules.number, rules.holds_from, rules.rules) == (3, 77, max(RULES))


def test_the_default_says_the_agreed_numbers() -> None:
    rules = Rules(parse(DEFAULT), 1, 0)
    assert (rules.check_in_points, rules.streak_from, rules.streak_factor) == (5, 7, 2)
    assert (rules.message_points, rules.messages_per_day, rules.message_length_min) == (2, 10, 4)
    assert (rules.share_points, rules.shares_per_day) == (5, 5)
    assert (rules.per_unit, rules.pending_days) == (1_000, 7)
    assert (rules.comeback_points, rules.comeback_days, rules.comebacks_per_year) == (50, 30, 4)
    assert (rules.orders_kept, rules.orders_ms) == (200, 180 * 86_400_000)
    assert (rules.horizon_ms, rules.future_ms) == (30 * 86_400_000, 300_000)


def test_the_same_text_is_compiled_once() -> None:
    assert compile_programme(DEFAULT, 1, 0) is compile_programme(DEFAULT, 1, 0)
    assert compile_programme(DEFAULT, 2, 0) is not compile_programme(DEFAULT, 1, 0)


WRONG = [
    # name, in the file, instead, column, path, part of the words
    ("a misspelt name", "horizon_days:", "horizon_dyas:", 1, "horizon_dyas", "no such name here"),
    ("a missing name", "horizon_days: 30", "# ", 1, "horizon_days", "Field required"),
    ("a word for a number", "future_minutes: 5", "future_minutes: five", 1, "future_minutes", "valid integer"),
    ("a truth for a number", "future_minutes: 5", "future_minutes: true", 1, "future_minutes", "valid integer"),
    ("a fraction of a point", "{points: 2,", "{points: 2.5,", 13, "points.message.points", "valid integer"),
    (
        "a limit that is too high",
        "per_day: 5}",
        "per_day: 256}",
        22,
        "points.share.per_day",
        "less than or equal to 255",
    ),
    (
        "negative points",
        "share: {points: 5",
        "share: {points: -5",
        11,
        "points.share.points",
        "greater than or equal to 0",
    ),
    ("a factor beyond 4", "factor: 2}", "factor: 5}", 27, "points.check_in.streak.factor", "less than or equal to 4"),
    ("a zone that is none", "zone: Asia/Shanghai", "zone: Asia/Shanghay", 1, "zone", "not an IANA zone"),
    ("rules the code does not know", "rules: 1 ", "rules: 9999 ", 1, "rules", "this release knows rules 1"),
    (
        "a weight of nothing known",
        "    login: 500",
        "    logn: 500",
        5,
        "activity.weights.logn",
        "no such action: logn",
    ),
    (
        "steps that do not climb",
        "{tier: L2, after_days: 38}",
        "{tier: L2, after_days: 29}",
        18,
        "tiers.presence.2.after_days",
        "must ascend",
    ),
    ("a tier without gravity", "L3, heavy, lost]", "L3, heavy]", 3, "tiers.gravity", "lost is missing in gravity"),
    ("more days of activity than a member remembers", "days: 57", "days: 58", 3, "activity.days", "equal to 57"),
    (
        "a half-life that is cut off",
        "days: 57",
        "days: 6",
        3,
        "activity.days",
        "fewer than half_life_days",
    ),
    (
        "a horizon that day counts do not survive",
        "horizon_days: 30",
        "horizon_days: 31",
        1,
        "horizon_days",
        "less than or equal to 30",
    ),
    ("a clock a day ahead", "future_minutes: 5", "future_minutes: 1440", 1, "future_minutes", "equal to 1200"),
    (
        "presence by no action",
        "# presence: {actions: [login]}",
        "presence: {actions: []}",
        12,
        "presence.actions",
        "at least 1 item",
    ),
    (
        "presence by one word",
        "# presence: {actions: [login]}",
        "presence: {actions: login}",
        12,
        "presence.actions",
        "valid tuple",
    ),
    (
        "presence by an action nobody knows",
        "# presence: {actions: [login]}",
        "presence: {actions: [login, logn]}",
        29,
        "presence.actions.1",
        "no such own action: logn; known: check_in, login, message",
    ),
    (
        "presence by what others do",
        "# presence: {actions: [login]}",
        "presence: {actions: [refund]}",
        22,
        "presence.actions.0",
        "no such own action: refund",
    ),
    (
        "a misspelt part of presence",
        "# presence: {actions: [login]}",
        "presence: {action: [login]}",
        12,
        "presence.action",
        "no such name here",
    ),
    (
        "a campaign of capped actions that begins within a day",
        "campaigns: []",
        'campaigns: [{name: noon, factor: 2, actions: [share], begins: "2026-03-04T12:00:00+08:00", '
        'ends: "2026-03-05T00:00:00+08:00"}]',
        59,
        "points.factors.campaigns.0.begins",
        "not 00:00 in Asia/Shanghai",
    ),
    (
        "a campaign of an action nobody knows",
        "campaigns: []",
        'campaigns: [{name: spring, factor: 2, actions: [share, quizz], begins: "2026-03-04T00:00:00+08:00", '
        'ends: "2026-03-05T00:00:00+08:00"}]',
        60,
        "points.factors.campaigns.0.actions.1",
        "no such action: quizz; known: check_in, message, share, purchase",
    ),
    (
        "a rate finer than thousandths",
        "per_unit: 1 ",
        "per_unit: 1.2345 ",
        5,
        "points.purchase.per_unit",
        "at most three decimals",
    ),
    (
        "a rate that no binary float tells from 1.2",
        "per_unit: 1 ",
        "per_unit: 1.20000000000000000000000001 ",
        5,
        "points.purchase.per_unit",
        "at most three decimals",
    ),
    ("a rate too high", "per_unit: 1 ", "per_unit: 1e999999999 ", 5, "points.purchase.per_unit", "equal to 1000"),
    ("a rate too fine", "per_unit: 1 ", "per_unit: 1e-999999999 ", 5, "points.purchase.per_unit", "three decimals"),
    ("a rate below nothing", "per_unit: 1 ", "per_unit: -0.5 ", 5, "points.purchase.per_unit", "equal to 0"),
    ("a rate in quotes", "per_unit: 1 ", "per_unit: '1.2' ", 5, "points.purchase.per_unit", "valid number"),
    ("a rate without end", "per_unit: 1 ", "per_unit: .inf ", 5, "points.purchase.per_unit", "valid number"),
    ("a truth for a rate", "per_unit: 1 ", "per_unit: true ", 5, "points.purchase.per_unit", "valid number"),
    ("no currency at all", "currencies: [CNY]", "currencies: []", 1, "currencies", "at least 1 item"),
    ("a day that there is not", "minor_units: 100", "minor_units: 2026-02-30", 1, "minor_units", "valid integer"),
    ("a number without end", "minor_units: 100", f"minor_units: {'9' * 5000}", 1, "minor_units", "valid integer"),
]


@pytest.mark.parametrize(("name", "old", "new", "column", "path", "words"), WRONG, ids=[case[0] for case in WRONG])
def test_an_error_has_line_column_path_and_words(
    name: str, old: str, new: str, column: int, path: str, words: str
) -> None:
    assert DEFAULT.count(old) == 1, old
    with pytest.raises(ProgrammeError) as caught:
        parse(DEFAULT.replace(old, new), "mine.yaml")
    places = {at: (line, col, text) for line, col, at, text in caught.value.errors}
    assert path in places, str(caught.value)
    line, col, text = places[path]
    assert words in text
    expected = line_of("name: default") if name == "a missing name" else line_of(old)
    assert (line, col) == (expected, column)
    assert f"mine.yaml:{line}:{col}: {path}: " in str(caught.value)


@pytest.mark.parametrize("name", ["wakes_per_record", "excluded_categories", "minor_units", "day_starts_at", "days"])
def test_what_is_left_out_is_told_where_it_belongs(name: str) -> None:
    left_out = "\n".join(line for line in LINES if not line.strip().startswith(f"{name}:"))
    with pytest.raises(ProgrammeError) as caught:
        parse(left_out)
    ((line, _, path, words),) = caught.value.errors
    assert (path.rpartition(".")[2], words) == (name, "Field required")
    part = path.rpartition(".")[0].rpartition(".")[2]
    assert left_out.splitlines()[line - 1].strip().startswith(f"{part}:" if part else "name:")


def test_no_number_has_a_value_in_code() -> None:
    """What a file may leave out is nothing at all: no action declared, no own action that does not count."""
    defaults = {
        f"{part.__name__}.{name}"
        for part in Part.__subclasses__()
        if part.__module__.startswith("schemas.")
        for name, field in part.model_fields.items()
        if not field.is_required() and field.default not in (None, False, (), {})
    }
    assert defaults == {"Programme.presence"}


@pytest.mark.parametrize("declared", ["{weight: 5}", "{own: true}"])
def test_a_custom_action_says_its_weight_and_whose_it_is(declared: str) -> None:
    with pytest.raises(ProgrammeError, match=rf"{len(LINES) + 1}:10: custom\.quiz\.(own|weight): Field required"):
        parse(f"{DEFAULT}custom: {{quiz: {declared}}}\n")


@pytest.mark.parametrize(
    ("written", "thousandths"),
    [
        *(("0", 0), ("1", 1_000), ("1.0", 1_000), ("1.2", 1_200), ("1.200", 1_200), ("0.5", 500)),
        *(("0.001", 1), ("1.001", 1_001), ("999.999", 999_999), ("1000", 1_000_000), ("1e2", 100_000)),
    ],
)
def test_a_rate_is_read_as_it_is_written(written: str, thousandths: int) -> None:
    programme = parse(DEFAULT.replace("per_unit: 1 ", f"per_unit: {written} "))
    assert Rules(programme, 1, 0).per_unit == thousandths
    assert parse(programme.model_dump_json()) == programme


QUIZ = "custom: {quiz: {weight: 0, own: true, earns: {points: 7, per_day: 2, growth: true}}}\n"


def with_campaign(begins: int, custom: str = QUIZ) -> str:
    begin = f"2026-03-04T{begins:02}:00:00+08:00"
    campaign = f'{{name: spring, factor: 2, actions: [quiz], begins: "{begin}", ends: "2026-03-05T00:00:00+08:00"}}'
    return DEFAULT.replace("campaigns: []", f"campaigns: [{campaign}]") + custom


def test_a_campaign_may_name_a_custom_action_on_whole_days() -> None:
    assert parse(with_campaign(0)).points.factors.campaigns[0].actions == ("quiz",)
    with pytest.raises(ProgrammeError, match=r"campaigns\.0\.begins: not 00:00 in Asia/Shanghai"):
        parse(with_campaign(12))


def test_all_that_is_wrong_with_a_campaign_is_told_at_once() -> None:
    with pytest.raises(ProgrammeError) as caught:
        parse(with_campaign(12, QUIZ.replace("quiz", "quizz")))
    told = {path.removeprefix("points.factors.campaigns.0."): words for _, _, path, words in caught.value.errors}
    assert told.keys() == {"begins", "actions.0"}
    assert told["actions.0"] == "no such action: quiz; known: check_in, message, share, purchase, quizz"


@pytest.mark.parametrize("taken", ["purchase", "custom", "refund"])
def test_a_custom_action_has_a_name_of_its_own(taken: str) -> None:
    with pytest.raises(ProgrammeError, match=rf"{len(LINES) + 1}:10: custom\.{taken}: {taken} is an action already"):
        parse(DEFAULT + QUIZ.replace("quiz", taken))


@pytest.mark.parametrize(
    ("presence", "kinds"),
    [
        ("", None),
        ("presence: {}", None),
        ("presence: {actions: [login]}", {Login}),
        ("presence:\n  actions:\n    - login\n    - content\n    - custom", {Login, Content, Custom}),
    ],
)
def test_presence_may_be_narrowed_to_some_own_actions(presence: str, kinds: set[type[Action]] | None) -> None:
    assert compile_programme(DEFAULT + presence, 1, 0).presence_kinds == kinds


def test_presence_knows_every_action_that_can_be_the_members_own() -> None:
    assert set(MAY_BE_OWN) == {name for name, kind in ACTIONS.items() if kind.own} | {
        *("subscribe", "content", "complaint", "support", "custom"),
    }


def test_all_errors_are_told_in_the_order_of_the_file() -> None:
    text = DEFAULT.replace("horizon_days: 30", "horizon_days: 90").replace("index_half: 20000", "index_half: 0")
    with pytest.raises(ProgrammeError) as caught:
        parse(text)
    assert [path for _, _, path, _ in caught.value.errors] == ["horizon_days", "activity.index_half"]
    assert len(str(caught.value).splitlines()) == 2


def test_rules_that_are_not_known_are_told_apart_from_other_errors() -> None:
    """A worker halts at them instead of refusing the text: a newer release would understand."""
    for old, new, unknown in (("rules: 1 ", "rules: 2 ", True), ("minutes: 5", "minutes: -5", False)):
        with pytest.raises(ProgrammeError) as caught:
            parse(DEFAULT.replace(old, new))
        assert caught.value.unknown_rules is unknown


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("name: [", 1, 8),
        ("name: a\nname: b\n", 1, 1),
        ("a:\n  - b\n c: d\n", 3, 2),
        ("just words", 1, 1),
        ("- a\n- b\n", 1, 1),
        ("", 1, 1),
        ("name: a\nzone: \x00", 2, 7),
        ("a: &a [*a]", 1, 1),
        ("a: " + "[" * 3000, 1, 1),
        ("rules: " + "9" * 5000, 1, 1),
        ("zone: 2026-02-30T99:99:99", 1, 1),
    ],
)
def test_what_is_no_yaml_is_an_error_with_a_place(text: str, line: int, column: int) -> None:
    with pytest.raises(ProgrammeError) as caught:
        parse(text)
    assert caught.value.errors[0][:2] == (line, column), str(caught.value)


@settings(deadline=None)
@given(st.text(max_size=60), st.integers(0, len(DEFAULT)), st.integers(0, 40))
def test_no_text_raises_anything_else(text: str, at: int, cut: int) -> None:
    for whole in (text, DEFAULT[:at] + text + DEFAULT[at + cut :]):
        try:
            compile_programme(whole, 1, 0)
        except ProgrammeError as error:
            assert error.errors  # noqa: PT017 - either is right, nothing else is


@pytest.mark.parametrize("zone", ["right/UTC", "localtime", "posix/Asia/Shanghai", "../UTC"])
def test_a_zone_that_only_this_machine_knows_is_refused_where_the_file_is_checked(zone: str) -> None:
    text = DEFAULT.replace("zone: Asia/Shanghai", f"zone: {zone}")
    assert text != DEFAULT
    with pytest.raises(ProgrammeError, match="not an IANA zone"):
        parse(text)


def test_every_zone_that_the_file_may_name_is_one_that_a_partition_can_read() -> None:
    for name in ("UTC", "Asia/Shanghai", "America/New_York", "EST5EDT", "Asia/Chongqing"):
        compile_programme(DEFAULT.replace("zone: Asia/Shanghai", f"zone: {name}"), 1, 0)


def test_many_brackets_side_by_side_are_not_deep() -> None:
    """A programme as JSON is one line; what closes inside of quotes or a comment closes nothing."""
    assert parse(parse(DEFAULT).model_dump_json()) == parse(DEFAULT)
    for shallow in ('"]"', "']'", "# ]\n"):
        with pytest.raises(ProgrammeError, match="nested deeper than 100"):
            parse("a: " + f"[{shallow} " * 101)
