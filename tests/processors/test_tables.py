"""Every case of every decision table, played over the real rules; and twice, since what arrives twice counts once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest

from tests.processors.tables import telling
from tests.processors.tables.playing import played
from tests.processors.tables.reading import FOLDER, SUFFIX, Case, read

CASES = [case for path in sorted(FOLDER.glob(f"*{SUFFIX}")) for case in read(path)]
TIMES = re.compile(r"(\d+) times (.+)")


def _param(case: Case) -> Any:
    """A case under its name; `xfail` says how the code differs from the handbook, until it does not."""
    marks = [pytest.mark.xfail(reason=case.xfail, strict=True)] if case.xfail else []
    return pytest.param(case, id=f"{case.file}: {case.title}", marks=marks)


@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
@pytest.mark.parametrize("case", [_param(case) for case in CASES])
def test_case(case: Case, *, twice: bool) -> None:
    story = played(case.deeds, case.rules, twice=twice)
    expected = case.then.model_dump(exclude_none=True)
    found: dict[str, Any] = {}
    for heading, value in expected.items():
        if heading in telling.HEADINGS:
            found[heading] = telling.lines(story, heading, case.only)
            expected[heading] = written_out(value)
        else:
            found[heading] = getattr(telling, heading)(story)
            if heading == "balances":
                found[heading] = {name: points for name, points in found[heading].items() if name in value}
    assert found == expected


def written_out(lines: Sequence[str]) -> list[str]:
    """`3 times message 2` as three lines."""
    found: list[str] = []
    for line in lines:
        times = TIMES.fullmatch(line)
        found += [times[2]] * int(times[1]) if times else [line]
    return found
