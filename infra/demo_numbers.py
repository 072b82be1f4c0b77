"""Live numbers as the running processes tell them: every figure is scraped, none is remembered here."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families
from rich.table import Table

JOB = "memberflow-"


class Sample(NamedTuple):
    """One value of one process."""

    name: str
    labels: Mapping[str, str]
    value: float


class Process(NamedTuple):
    """What one process says of itself; `label` is its job and pid."""

    job: str
    label: str
    samples: tuple[Sample, ...]

    def total(self, name: str, **labels: str) -> float:
        """The sum of a metric over its labels, or over those that match."""
        return sum(it.value for it in self._chosen(name, labels))

    def greatest(self, name: str) -> float:
        """The largest value of a metric."""
        return max((it.value for it in self._chosen(name, {})), default=0.0)

    def by(self, name: str, label: str) -> dict[str, float]:
        """The values of a metric above 0, by one of its labels."""
        found: dict[str, float] = {}
        for it in self._chosen(name, {}):
            found[it.labels.get(label, "")] = found.get(it.labels.get(label, ""), 0.0) + it.value
        return {key: value for key, value in sorted(found.items()) if value}

    def _chosen(self, name: str, labels: Mapping[str, str]) -> Iterator[Sample]:
        for it in self.samples:
            if it.name == name and labels.items() <= it.labels.items():
                yield it


def scrape(targets: Path) -> list[Process]:
    """All processes that left their address; one that ended meanwhile is not among them."""
    found = []
    for path in sorted(targets.glob("*.json")):
        try:
            target = json.loads(path.read_text())[0]
            with urllib.request.urlopen(f"http://{target['targets'][0]}/metrics", timeout=2) as answer:
                samples = tuple(read(answer.read().decode()))
        except (OSError, ValueError, LookupError):
            continue
        found.append(Process(target["labels"]["job"].removeprefix(JOB), path.stem, samples))
    return found


def read(text: str) -> Iterator[Sample]:
    """The samples of a page of metrics."""
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield Sample(sample.name, sample.labels, sample.value)


Line = tuple[str, str, float]


def lines(processes: list[Process], webhooks: int) -> list[Line]:
    """(who says so, what, how much)."""
    told: list[Line] = []
    for process in processes:
        told += [(process.label, what, amount) for what, amount in TELL.get(process.job, _nothing)(process)]
    return [*told, ("receiver", "webhooks with a valid signature", float(webhooks))]


def _nothing(_: Process) -> list[tuple[str, float]]:
    return []


def _load(process: Process) -> list[tuple[str, float]]:
    trouble = process.by("load_trouble_total", "kind")
    sent = ("records acknowledged by the broker", process.total("load_records_acknowledged_total"))
    return [sent, *((f"... of them {kind}", count) for kind, count in trouble.items())]


def _worker(process: Process) -> list[tuple[str, float]]:
    verdicts = process.by("memberflow_records_total", "verdict")
    return [
        ("records taken from the log", process.total("memberflow_chunk_records_sum")),
        *((f"... of them {verdict}", count) for verdict, count in verdicts.items()),
        ("facts published", process.total("memberflow_facts_published_total")),
        ("partitions owned", process.total("memberflow_owned_partitions")),
        ("timers waiting", process.total("memberflow_timers_pending")),
        ("records behind", process.total("memberflow_lag_records")),
        ("seconds behind", process.greatest("memberflow_freshness_seconds")),
    ]


def _sink(process: Process) -> list[tuple[str, float]]:
    rows = process.by("memberflow_sink_rows_total", "table")
    return [
        *((f"rows stored: {table}", count) for table, count in rows.items()),
        ("seconds behind", process.greatest("memberflow_sink_freshness_seconds")),
    ]


def _dispatcher(process: Process) -> list[tuple[str, float]]:
    return [
        (f"webhooks {outcome}", count)
        for outcome, count in process.by("memberflow_webhook_deliveries_total", "outcome").items()
    ]


def _boards(process: Process) -> list[tuple[str, float]]:
    return [
        ("facts in the boards", process.total("memberflow_boards_facts_total")),
        ("boards made final", process.total("memberflow_boards_final_total")),
        ("awards", process.total("memberflow_boards_awards_total")),
        ("facts behind", process.total("memberflow_boards_lag_records")),
    ]


TELL: Mapping[str, Callable[[Process], list[tuple[str, float]]]] = {
    "load": _load,
    "worker": _worker,
    "sink": _sink,
    "dispatcher": _dispatcher,
    "boards": _boards,
}
ORDER = ("load", "worker", "sink", "dispatcher", "boards")


class Rates:
    """How fast figures grow, from one look to the next."""

    def __init__(self) -> None:
        self._before: dict[tuple[str, str], float] = {}
        self._at = 0.0

    def shown(self, told: list[Line], at: float) -> Table:
        """The table of a moment."""
        table = Table(title="Live, from each process' own metrics", title_justify="left")
        table.add_column("who says so")
        table.add_column("what")
        table.add_column("now", justify="right")
        table.add_column("a second", justify="right")
        last = ""
        for who, what, amount in told:
            table.add_row("" if who == last else who, what, _number(amount), self._rate(who, what, amount, at))
            last = who
        self._before, self._at = {(who, what): amount for who, what, amount in told}, at
        return table

    def _rate(self, who: str, what: str, amount: float, at: float) -> str:
        before = self._before.get((who, what))
        if before is None or at <= self._at or what in STANDING or amount < before:
            return ""
        return _number((amount - before) / (at - self._at))


STANDING = ("partitions owned", "timers waiting", "records behind", "seconds behind", "facts behind")


def _number(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= 10 or amount == int(amount) else f"{amount:.2f}"
