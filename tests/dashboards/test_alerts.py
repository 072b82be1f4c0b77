"""The alert rules by promtool: they are valid, fire when they should, and are silent when they should be."""

import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from dashboards.alerts import ALERTS, render
from dashboards.pipeline import UID
from tests.conftest import on_path

CASES = Path(__file__).parent / "alerts_test.yml"


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "alerts.yml"
    path.write_text(render())
    return path


def test_promtool_accepts_the_rules(rules: Path) -> None:
    done = subprocess.run(
        [on_path("promtool"), "check", "rules", str(rules)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"{len(ALERTS)} rules found" in done.stdout


def test_the_alerts_fire_and_are_silent_as_told(rules: Path) -> None:
    cases = shutil.copy(CASES, rules.parent)
    done = subprocess.run(
        [on_path("promtool"), "test", "rules", str(cases)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_says_what_it_means_what_causes_it_and_what_to_do_first(rules: Path) -> None:
    (group,) = YAML(typ="safe").load(rules.read_text())["groups"]
    assert {rule["alert"] for rule in group["rules"]} == {"PipelineBehind", "DeadLettersSeen", "RowsDiffer"}
    for rule in group["rules"]:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert {"for", "keep_firing_for"} <= rule.keys()
        assert rule["annotations"]["dashboard"] == f"/d/{UID}"
        assert "First: `memberflow" in rule["annotations"]["description"]
