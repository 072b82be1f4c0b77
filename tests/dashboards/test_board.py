"""The pipeline board: committed as generated, by the rules of boards, and of metrics that exist."""

import json
import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest

from dashboards import alerts, pipeline
from dashboards.generate import FOLDER, generated
from dashboards.panels import Panel
from schemas.metrics import BY_NAME, METRICS

BOARD: dict[str, Any] = json.loads(generated()["pipeline.json"])
PANELS = [panel for row in pipeline.ROWS for panel in row.panels]
# Units of Grafana that the board uses; another one must be looked up in its list of ids first.
UNITS = {"none", "short", "s", "cps", "rowsps", "percentunit", "bytes", "dtdurations"}
# By client and scrape, not declared by us.
FOREIGN = {"up", "process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "process_max_fds"}
# Shown in another form, or for queries by hand only.
NOT_ON_THE_BOARD = {
    "memberflow_last_record_processed_timestamp_seconds",
    "memberflow_end_offset",
    "memberflow_owned_partitions",
    "memberflow_log_partitions",
}


def drawn() -> Iterator[dict[str, Any]]:
    """Every panel of the rendered board."""
    for panel in BOARD["panels"]:
        if panel["type"] != "row":
            yield panel
        yield from panel.get("panels", ())


def filled(expr: str) -> str:
    """An expression as Grafana sends it, with its variables in."""
    return expr.replace("$__rate_interval", "1m").replace("$job", ".+").replace("$instance", ".+").replace(
        "$partition", ".+"
    ).replace("$source", ".+")  # fmt: skip


def names(expr: str) -> set[str]:
    """The metrics of an expression."""
    return set(re.findall(r"\b(?:memberflow|process)_[a-z_]+\b|\bup\b", re.sub(r'"[^"]*"', '""', expr)))


def base(shown: str) -> str:
    """The declared name behind the name of a series."""
    for metric in METRICS:
        if shown in (metric.shown, f"{metric.name}_sum", f"{metric.name}_bucket"):
            return metric.name
    return shown


@pytest.mark.parametrize("name", generated())
def test_the_committed_files_are_what_is_generated(name: str) -> None:
    assert (FOLDER / name).read_text() == generated()[name], "run `python -m dashboards.generate`"


def test_nothing_else_lies_beside_the_generated_files() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(generated())


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_a_panel_has_a_title_a_description_and_a_unit(panel: Panel) -> None:
    assert panel.title
    assert panel.description.endswith(".")
    assert panel.unit in UNITS
    assert len(panel.queries) == 1 or all(query.legend for query in panel.queries)


def test_titles_are_told_apart() -> None:
    assert len({panel.title for panel in PANELS}) == len(PANELS)


@pytest.mark.parametrize("expr", [*pipeline.expressions(), *(alert.expr for alert in alerts.ALERTS)])
def test_an_expression_is_promql_over_metrics_that_are_declared(expr: str) -> None:
    promql_parser.parse(filled(expr))
    used = names(expr)
    assert used
    for shown in used - FOREIGN:
        metric = BY_NAME[base(shown)]
        assert shown == metric.shown or metric.kind == "histogram"


@pytest.mark.parametrize("expr", [*pipeline.expressions(), *(alert.expr for alert in alerts.ALERTS)])
def test_rates_are_taken_of_counters_only(expr: str) -> None:
    for shown in re.findall(r"\b(?:rate|increase)\((\w+)", expr):
        assert shown.endswith(("_total", "_bucket", "_sum", "_count")), shown
        if shown not in FOREIGN:
            assert BY_NAME[base(shown)].kind in ("counter", "histogram")


@pytest.mark.parametrize("expr", pipeline.expressions())
def test_every_expression_follows_the_variables(expr: str) -> None:
    assert 'job=~"$job"' in expr
    assert "[5m]" not in expr
    assert "[30s]" not in expr


def test_every_metric_is_shown() -> None:
    used = {base(shown) for expr in pipeline.expressions() for shown in names(expr)}
    assert {metric.name for metric in METRICS} - used == NOT_ON_THE_BOARD


def test_the_board_is_found_read_only_and_moves_with_its_variables() -> None:
    assert (BOARD["uid"], BOARD["editable"], BOARD["refresh"]) == (pipeline.UID, False, "30s")
    assert BOARD["schemaVersion"] >= 36
    variables = {it["name"]: it for it in BOARD["templating"]["list"]}
    assert set(variables) == {"datasource", "job", "instance", "partition", "source"}
    assert all(it.get("allValue") == ".+" and it["multi"] for name, it in variables.items() if name != "datasource")
    (link,) = BOARD["links"]
    assert (link["tags"], link["includeVars"], link["keepTime"]) == (BOARD["tags"], True, True)


def test_every_panel_asks_the_chosen_data_source() -> None:
    panels = list(drawn())
    assert len(panels) == len(PANELS)
    for panel in panels:
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert [target["refId"] for target in panel["targets"]] == list("ABCDEF")[: len(panel["targets"])]


def test_no_panel_lies_on_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize(
    ("title", "steps"),
    [
        ("Seconds behind", [("green", None), ("yellow", 30), ("red", 120)]),
        ("Dead letters in the last hour", [("green", None), ("red", 1)]),
        ("Webhook success", [("red", None), ("yellow", 0.95), ("green", 0.99)]),
    ],
)
def test_colours_change_where_a_person_should_look(title: str, steps: list[tuple[str, float | None]]) -> None:
    panel = next(it for it in drawn() if it["title"] == title)
    found = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert [(step["color"], step.get("value")) for step in found] == steps
