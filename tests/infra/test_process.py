"""A child that is being started is known before a signal may end us: else it is left to nobody."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from infra.process import STOPS, known_before_a_signal


class Stopped(Exception):
    """What a handler raises."""


def stop(number: int, frame: object) -> None:
    raise Stopped(number)


@pytest.fixture
def stopping() -> Iterator[None]:
    before = {number: signal.signal(number, stop) for number in STOPS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("stopping")
@pytest.mark.parametrize("number", STOPS)
def test_a_signal_waits_until_the_child_is_known(number: signal.Signals) -> None:
    known = []

    def start() -> None:
        with known_before_a_signal():
            os.kill(os.getpid(), number)
            known.append("child")

    with pytest.raises(Stopped):
        start()
    assert known == ["child"]
    assert signal.getsignal(number) is stop


@pytest.mark.usefixtures("stopping")
def test_without_a_signal_nothing_is_changed_and_other_threads_may_start_children_too() -> None:
    with known_before_a_signal():
        pass
    found: list[object] = []

    def elsewhere() -> None:
        with known_before_a_signal():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert found == [stop]
