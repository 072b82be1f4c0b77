"""What a person gets wrong at a command of `infra` is one line that says what to do, exit code 2."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.process import StackError
from infra.stack import Stack

ROOT = Path(__file__).parent.parent.parent
WRONG = [
    ("stack", "upp", "No such command 'upp'"),
    ("stack", "up --portt 3", "No such option: --portt"),
    ("stack", "up --kafka-port many", "Invalid value for '--kafka-port'"),
    ("load", "live --rate fast", "Invalid value for '--rate'"),
    ("load", "history there.jsonl --zone Mars/North", "write an IANA name"),
    ("receiver", "--prot 3", "No such option: --prot"),
    ("receiver", "", "set RECEIVER_SECRET"),
]


@pytest.mark.parametrize(
    "state", ["{", "[]", '{"parts": [], "ports": {}, "wanted": []}', '{"parts": {}, "wanted": []}']
)
def test_a_damaged_state_of_the_stack_is_told(state: str, tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text(state)
    with pytest.raises(StackError, match="is not readable"):
        Stack(tmp_path).status()


@pytest.mark.parametrize(("name", "words", "told"), WRONG, ids=[f"{name} {words}" for name, words, _ in WRONG])
def test_it_is_one_line(name: str, words: str, told: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"infra.{name}", *words.split()],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert told in done.stderr
