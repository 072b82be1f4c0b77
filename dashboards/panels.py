"""A panel as a value: what it shows, in which unit, from when on it is amber or red. The board is built from these."""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["stat", "timeseries", "heatmap"]

# Processes chosen at the top of the board.
CHOSEN = 'job=~"$job",instance=~"$instance"'
# Partitions too, where a metric has them.
PARTITIONS = CHOSEN + ',partition=~"$partition"'
RATE = "[$__rate_interval]"


class Query(NamedTuple):
    """A PromQL expression, and how its series are called in the legend."""

    expr: str
    legend: str = ""


class Panel(NamedTuple):
    """One panel. `amber` and `red` colour it from these values upwards, or downwards where less is worse."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: Kind = "timeseries"
    width: int = 6
    amber: float | None = None
    red: float | None = None
    less_is_worse: bool = False


class Row(NamedTuple):
    """A row of the board: one question somebody has."""

    title: str
    panels: tuple[Panel, ...]


def rate(metric: str, by: str = "", where: str = CHOSEN) -> str:
    """Per second, summed over processes, kept apart by the labels of `by`."""
    return f"sum{_by(by)}(rate({metric}{{{where}}}{RATE}))"


def worst(metric: str, by: str = "", where: str = CHOSEN) -> str:
    """The highest value of a gauge."""
    return f"max{_by(by)}({metric}{{{where}}})"


def total(metric: str, by: str = "", where: str = CHOSEN) -> str:
    """The sum of a gauge."""
    return f"sum{_by(by)}({metric}{{{where}}})"


def quantile(q: float, metric: str, by: str = "", where: str = CHOSEN) -> str:
    """A quantile of a histogram."""
    labels = ", ".join(("le", *filter(None, [by])))
    return f"histogram_quantile({q}, sum by ({labels}) (rate({metric}_bucket{{{where}}}{RATE})))"


def _by(labels: str) -> str:
    return f" by ({labels}) " if labels else " "
