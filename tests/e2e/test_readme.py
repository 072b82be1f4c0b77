"""The README's "Use it" block, copied from the page and pasted into a shell, in a folder of its own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.real, pytest.mark.timeout(400)]
ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"## Use it\n+```sh\n(.+?)\n```", re.DOTALL)


def a_clone(folder: Path) -> Path:
    """What git tracks, as old as it is here, so that make finds the environment ready; commands find this code."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, listed.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


def test_what_the_page_says_runs_as_copied(tmp_path: Path) -> None:
    block = BLOCK.search((ROOT / "README.md").read_text())
    assert block
    env = {name: value for name, value in os.environ.items() if not name.startswith("MEMBERFLOW_")}
    folder = a_clone(tmp_path)
    shell = subprocess.Popen(
        ["bash", "-c", f"set -ex\n{block[1]}\nwait"],
        cwd=folder,
        env=env | {"PYTHONPATH": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        told = shell.communicate(timeout=300)[0].decode()
        assert shell.returncode == 0, told[-5_000:]
    finally:
        if shell.poll() is None:
            os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
        subprocess.run([sys.executable, "-m", "infra.stack", "down"], cwd=folder, env=env, check=True)
    assert "m0000001 in log live-1" in told
    assert "equal: Redis, the log replayed, and ClickHouse" in told
    assert re.search(r"equal: \d+ facts as folded and as published", told)
    for name in ("worker", "sink", "boards", "reconciler"):
        assert f'"event": "{name} stopped"' in told
