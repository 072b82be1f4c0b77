"""What was measured: figures with their targets, the table for a person and the JSON for a machine."""

from __future__ import annotations

import operator
import platform
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import psutil
from msgspec import Struct
from rich.console import Console
from rich.table import Table

HOLDS = {">=": operator.ge, "<=": operator.le}


class Figure(Struct, omit_defaults=True):
    """One number. `target` is the goal, `must` how it compares."""

    name: str
    value: float
    unit: str = ""
    must: str = ""
    target: float = 0.0

    @property
    def holds(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        return HOLDS[self.must](self.value, self.target) if self.must else None

    def row(self) -> tuple[str, str, str, str]:
        """As the table shows it."""
        if self.holds is None:
            return self.name, f"{written(self.value)} {self.unit}", "", ""
        told = "[green]holds[/]" if self.holds else "[bold red]missed[/]"
        return self.name, f"{written(self.value)} {self.unit}", f"{self.must} {written(self.target)}", told


class Section(Struct):
    """One part of the bench: its figures, and everything else that was seen, for the JSON."""

    title: str
    figures: list[Figure]
    detail: dict[str, Any] = {}
    note: str = ""


def show(sections: Sequence[Section]) -> None:
    """One table for all parts."""
    table = Table(title="memberflow bench", title_justify="left")
    table.add_column("what", overflow="fold")
    table.add_column("figure", justify="right", no_wrap=True)
    table.add_column("target", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for section in sections:
        table.add_section()
        table.add_row(f"[bold]{section.title}[/]", "", "", "")
        for figure in section.figures:
            table.add_row(*figure.row())
        if section.note:
            table.add_row(f"[dim]{section.note}[/]", "", "", "")
    Console().print(table)


def write(path: Path, sections: Sequence[Section], machine: dict[str, Any]) -> None:
    """Everything as JSON."""
    told = {"machine": machine, "sections": [_told(section) for section in sections]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n")


def _told(section: Section) -> dict[str, Any]:
    figures = [{**msgspec.to_builtins(figure), "holds": figure.holds} for figure in section.figures]
    return {"title": section.title, "figures": figures, "detail": section.detail, "note": section.note}


def machine() -> dict[str, Any]:
    """Where this was measured, and what else ran there: absolute figures mean nothing without it."""
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "cores": psutil.cpu_count(),
        "load_before": [round(load, 2) for load in psutil.getloadavg()],
        "loop_ns": round(loop_ns(), 2),
    }


def loop_ns() -> float:
    """A turn of an empty Python loop: tells a slow or busy machine from a slow pipeline."""

    def once() -> float:
        began = time.perf_counter()
        for _ in range(1_000_000):
            pass
        return (time.perf_counter() - began) * 1e3

    return min(once() for _ in range(5))


def written(value: float) -> str:
    """Three digits that mean something."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of them do not exceed (nearest rank); nan where there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def mean(values: Iterable[float]) -> float:
    """Nan where there are none."""
    found = list(values)
    return sum(found) / len(found) if found else float("nan")
