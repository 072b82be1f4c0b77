"""Waiting for what comes by itself: asked again until a deadline, never a sleep of a guessed length."""

import time
from collections.abc import Callable


def eventually(check: Callable[[], bool], *, within_s: float = 10.0, every_s: float = 0.05) -> bool:
    """True as soon as the check holds; False when it still does not at the deadline."""
    deadline = time.monotonic() + within_s
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(every_s)
    return True
