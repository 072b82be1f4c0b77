"""Looking at processes from outside: processor time, memory, disk, and what their own metrics say."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import psutil
from prometheus_client.parser import text_string_to_metric_families

from infra.stack import Stack

Watched = Mapping[str, psutil.Process]


def watch(stack: Stack, processes: Mapping[str, subprocess.Popen[bytes]]) -> dict[str, psutil.Process]:
    """Ours and the stack's, by name."""
    found = {name: psutil.Process(process.pid) for name, process in processes.items()}
    return found | {name: psutil.Process(stack.running(name).pid) for name in ("kafka", "redis")}


def cpu_seconds(watched: Watched) -> dict[str, float]:
    """Processor time so far, user and system."""
    times = {name: process.cpu_times() for name, process in watched.items()}
    return {name: found.user + found.system for name, found in times.items()}


def rss_bytes(watched: Watched) -> dict[str, int]:
    """Resident memory."""
    return {name: int(process.memory_info().rss) for name, process in watched.items()}


def threads_seconds(process: psutil.Process) -> list[float]:
    """Processor time by thread, the busiest first: the fetching thread takes turns with the one that decides."""
    return sorted((round(thread.user_time + thread.system_time, 2) for thread in process.threads()), reverse=True)


def stage_seconds(targets: Path) -> dict[str, float]:
    """Seconds spent in each stage so far, over all workers, from their own metrics."""
    spent: dict[str, float] = {}
    for path in targets.glob("worker-*.json"):
        address = json.loads(path.read_text())[0]["targets"][0]
        text = urllib.request.urlopen(f"http://{address}/metrics", timeout=10).read().decode()
        for family in text_string_to_metric_families(text):
            if family.name == "memberflow_stage_seconds":
                for sample in family.samples:
                    if sample.name.endswith("_sum"):
                        stage = sample.labels["stage"]
                        spent[stage] = spent.get(stage, 0.0) + sample.value
    return spent


def disk_bytes(folder: Path) -> int:
    """What a part's folder holds."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
