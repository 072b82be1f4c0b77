"""Rows of panels to a Grafana board: classic JSON v1, file provisioning, the same bytes at every rendering."""

from __future__ import annotations

import json
from typing import Any

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import heatmap, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import DataSourceRef

from dashboards.panels import Panel, Query, Row

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
TAG = "memberflow"
HEIGHT = 7
KINDS: dict[str, Any] = {"stat": stat.Panel, "timeseries": timeseries.Panel, "heatmap": heatmap.Panel}
# Variable: the metric it reads its values from.
VARIABLES = {
    "job": "memberflow_build_info",
    "instance": 'memberflow_build_info{job=~"$job"}',
    "partition": "memberflow_lag_records",
    "source": "memberflow_refused_records_total",
}


def render(title: str, uid: str, rows: tuple[Row, ...], annotations: tuple[Query, ...]) -> str:
    """The board as the text of its file."""
    board = (
        builders.Dashboard(title)
        .uid(uid)
        .tags([TAG])
        .readonly()
        .refresh("30s")
        .time("now-1h", "now")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(
            builders.DashboardLink("Boards")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(as_dropdown=True)
            .include_vars(include_vars=True)
            .keep_time(keep_time=True)
        )
        .with_variable(builders.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )
    for name, metric in VARIABLES.items():
        board = board.with_variable(_variable(name, metric))
    for query in annotations:
        board = board.annotation(_annotation(query))
    for row in rows:
        board = board.with_row(builders.Row(row.title))
        for panel in row.panels:
            board = board.with_panel(_panel(panel))
    return json.dumps(board.build(), cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _variable(name: str, metric: str) -> Any:
    """Several may be chosen; all of them means whatever there is, also what comes later."""
    return (
        builders.QueryVariable(name)
        .datasource(SOURCE)
        .query(f"label_values({metric}, {name})")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".+")
        .current(models.VariableOption(text=["All"], value=["$__all"], selected=True))
    )


def _annotation(query: Query) -> Any:
    return (
        builders.AnnotationQuery()
        .name(query.legend.split()[0])
        .datasource(SOURCE)
        .enable(enable=True)
        .expr(query.expr)
        .title_format(query.legend)
        .icon_color("blue")
        .step("15s")
    )


def _panel(panel: Panel) -> Any:
    built = (
        KINDS[panel.kind]()
        .title(panel.title)
        .description(panel.description)
        .datasource(SOURCE)
        .unit(panel.unit)
        .span(panel.width)
        .height(HEIGHT)
        .min(0)
    )
    for query, name in zip(panel.queries, "ABCDEF", strict=False):
        target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend or "__auto").ref_id(name)
        built = built.with_target(target.format("heatmap") if panel.kind == "heatmap" else target)
    if panel.amber is not None or panel.red is not None:
        built = built.thresholds(_thresholds(panel))
    return built


def _thresholds(panel: Panel) -> Any:
    steps = [("yellow", panel.amber), ("red", panel.red)]
    found = [(colour, value) for colour, value in steps if value is not None]
    if panel.less_is_worse:  # red below the lowest value, green above the highest
        colours = [colour for colour, _ in reversed(found)] + ["green"]
        limits = [None, *(value for _, value in reversed(found))]
    else:
        colours = ["green"] + [colour for colour, _ in found]
        limits = [None, *(value for _, value in found)]
    thresholds = [models.Threshold(value=limit, color=colour) for colour, limit in zip(colours, limits, strict=True)]
    return builders.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(thresholds)
