"""The time zones that exist: those of the pinned tzdata, never those that only this machine knows."""

from __future__ import annotations

import functools
import importlib.resources
import zoneinfo


@functools.lru_cache(maxsize=1)
def zones() -> frozenset[str]:
    """The names of all IANA zones, as senders and programmes may write them."""
    return frozenset((importlib.resources.files("tzdata") / "zones").read_text().split())


@functools.lru_cache(maxsize=64)
def zone(name: str) -> zoneinfo.ZoneInfo:
    """An IANA zone from the pinned tzdata. Raises `ValueError` where that package has no such zone."""
    try:
        place = importlib.resources.files("tzdata").joinpath("zoneinfo", *name.split("/"))
        with place.open("rb") as file:
            return zoneinfo.ZoneInfo.from_file(file, key=name)
    except (OSError, ValueError):
        raise ValueError(f"{name}: not an IANA zone such as Asia/Shanghai") from None
