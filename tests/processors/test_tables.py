"""Every case of every decision table, played over the real rules; and twice, since what arrives twice counts once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.processors.tables.playing import played
from tests.processors.tables.reading import FOLDER, SUFFIX, Case, read
from tests.processors.tables.telling import outcome

CASES = [case for path in sorted(FOLDER.glob(f"*{SUFFIX}")) for case in read(path)]


def _param(case: Case) -> Any:
    """A case under its name; `xfail` says how the code differs from the handbook, until it does not."""
    marks = [pytest.mark.xfail(reason=case.xfail, strict=True)] if case.xfail else []
    return pytest.param(case, id=f"{case.file}: {case.title}", marks=marks)


@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
@pytest.mark.parametrize("case", [_param(case) for case in CASES])
def test_case(case: Case, *, twice: bool) -> None:
    assert outcome(played(case.deeds, case.rules, twice=twice), case.then, case.only) == case.then
