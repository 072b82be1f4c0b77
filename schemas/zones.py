"""The time zones that exist: those of the pinned tzdata, never those that only this machine knows."""

from __future__ import annotations

import functools
import importlib.resources


@functools.lru_cache(maxsize=1)
def zones() -> frozenset[str]:
    """The names of all IANA zones, as senders and programmes may write them."""
    return frozenset((importlib.resources.files("tzdata") / "zones").read_text().split())
