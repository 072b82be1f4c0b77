"""The broker's jars are those that were tried, or nothing starts."""

import shutil
from pathlib import Path

import pytest

from infra.jars import HASHES, hashes, jars, refuse_strangers
from infra.process import StackError

pytestmark = pytest.mark.real


def test_the_jars_are_the_committed_ones() -> None:
    assert hashes(jars()) == HASHES.read_text()


def test_a_jar_with_other_bytes_is_refused(tmp_path: Path) -> None:
    first = Path(jars()[0])
    forged = tmp_path / first.name
    shutil.copy(first, forged)
    forged.write_bytes(forged.read_bytes() + b"more")

    with pytest.raises(StackError, match="is not the jar this was tried with"):
        refuse_strangers([str(forged)])


def test_a_jar_nobody_listed_is_refused(tmp_path: Path) -> None:
    stranger = tmp_path / "stranger-1.0.jar"
    stranger.write_bytes(b"")

    with pytest.raises(StackError, match=r"stranger-1\.0\.jar is not the jar"):
        refuse_strangers([str(stranger)])
