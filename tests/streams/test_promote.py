"""Promoting a pilot: the next version is the file with what was tried made general, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from schemas.programme import parse
from streams.cli import app, default_programme
from streams.cli_programme import promoted
from streams.errors import UsageError

WHOLE = "metric: redemption, goal: 30% or more, end: 2026-06-01"
PEOPLE = ("--by", "ana", "--approved-by", "ben")


def with_pilot(said: str = WHOLE) -> str:
    return (
        default_programme()
        + f"pilots:\n  a: {{percent: 10, {said}, overrides: {{points: {{share: {{points: 8}}}}}}}}\n"
    )


def test_the_next_version_is_the_old_one_with_what_was_tried() -> None:
    before, after = parse(default_programme()), parse(promoted(with_pilot(), "a", "mine.yaml"))
    share = before.points.share.model_copy(update={"points": 8})
    assert after == before.model_copy(update={"points": before.points.model_copy(update={"share": share})})


def test_a_rate_is_promoted_as_it_was_written() -> None:
    text = with_pilot().replace("points: {share: {points: 8}}", "points.purchase.per_unit: 1.2")
    after = promoted(text, "a", "mine.yaml")
    assert "per_unit: 1.2 " in after
    assert parse(after).points.purchase.per_unit_thousandths == 1_200


def test_comments_stay() -> None:
    after = promoted(with_pilot(), "a", "mine.yaml")
    assert [line.split("#")[1] for line in after.splitlines() if "#" in line] == [
        line.split("#")[1] for line in default_programme().splitlines() if "#" in line
    ]


def test_other_pilots_stay() -> None:
    text = with_pilot() + "  b: {region: south, overrides: {points.message.points: 3}}\n"
    assert list(parse(promoted(text, "a", "mine.yaml")).pilots) == ["b"]


@pytest.mark.parametrize("missing", ["metric", "goal", "end"])
def test_without_metric_goal_and_end_it_is_refused(missing: str) -> None:
    said = ", ".join(part for part in WHOLE.split(", ") if not part.startswith(missing))
    with pytest.raises(UsageError, match=f"pilot a names no {missing}"):
        promoted(with_pilot(said), "a", "mine.yaml")


def test_a_pilot_that_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError, match=r"mine\.yaml has no pilot b"):
        promoted(with_pilot(), "b", "mine.yaml")


def test_two_people_promote_into_a_new_file(tmp_path: Path) -> None:
    mine, following = tmp_path / "mine.yaml", tmp_path / "next.yaml"
    mine.write_text(with_pilot())
    command = ["programme", "promote", "a", str(mine), "--to", str(following)]
    alone = CliRunner().invoke(app, [*command, "--by", "ana", "--approved-by", "ana"])
    assert (alone.exit_code, following.exists()) == (2, False)
    done = CliRunner().invoke(app, [*command, *PEOPLE])
    assert done.exit_code == 0, done.output
    assert parse(following.read_text()).points.share.points == 8
    assert CliRunner().invoke(app, [*command, *PEOPLE]).exit_code == 2  # it is there already
