"""What tests read out of the logs of processes that are killed."""

from __future__ import annotations

import pytest

from tests.e2e.memberflow import log_lines

WHOLE = '{"event":"a"}\n{"event":"b"}\n'


@pytest.mark.parametrize("rest", ["", "{", '{"event":"c', '{"event":"c"}', "Trace"])
def test_a_last_line_that_was_cut_off_is_left_out(rest: str) -> None:
    assert [line["event"] for line in log_lines(WHOLE + rest)] == ["a", "b"]
    assert log_lines(rest) == []
    assert log_lines("memberflow: Kafka does not answer\n" + rest) == []


@pytest.mark.parametrize("odd", ['{"event":"c', "Traceback (most recent call last):", "", "3", '"x"'])
def test_any_other_line_that_is_no_json_is_a_fault(odd: str) -> None:
    for text in (f"{odd}\n{WHOLE}", f"{WHOLE}{odd}\n", f"{WHOLE}{odd}\n" + '{"eve'):
        with pytest.raises(AssertionError, match="no line of a log"):
            log_lines(text)
