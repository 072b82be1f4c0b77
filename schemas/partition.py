"""A partition's own state: everything that must move with the offset and belongs to no member."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from schemas.records import Parameters, ProgrammeControl, Thresholds


class PartitionState(Struct, array_like=True):
    """Small: it is written with every commit. A new field goes last, with a default."""

    clock: int = 0  # highest record timestamp seen, ms
    n: int = 0  # number of the last fact
    ordinals: int = 0  # members seen
    log: str = ""
    id_key: bytes = b""
    history_from: int = 0
    staff_keys: dict[str, str] = {}
    worker_keys: dict[str, str] = {}
    programmes: list[ProgrammeControl] = []  # in force now and within the horizon, oldest `holds_from` first
    numbers: dict[str, int] = {}  # highest number per control id
    causes: dict[str, tuple[int, int]] = {}  # "log:partition" -> highest cause (offset, index) seen
    published_second: int = -1  # the clock's second in which buckets were last published
    published_offset: int = -1  # buckets with a higher version are not published yet
    block: int = 0
    rule_letters: list[int] = []  # offsets of `rule` dead letters in the window
    verdicts: dict[str, int] = {}  # how many records ended as what; they sum to the offset
    live: bool = False  # a go_live record was seen
    sweep_next: int = 0  # the next ordinal a new programme is shown to
    sweep_until: int = 0  # where that sweep ends
    thresholds: Thresholds | None = None  # population values in force
    tops: list[tuple[int, int, int]] = []  # (moment from which, thousandths, members) of the two newest, oldest first
    parameters: Parameters | None = None  # those of P(alive) in force


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(PartitionState).decode
