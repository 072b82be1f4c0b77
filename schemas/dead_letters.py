"""A refused record on its way to the dead letters: original bytes, provenance in KIP-1034 headers, our reason."""

from __future__ import annotations

import hashlib

from msgspec import Struct

from schemas.verdicts import Reason, Rejected

VALUE_BYTES_MAX = 900 * 1024
"""What fits the topic with its headers; of anything bigger a hash and the position are kept."""


BESIDE_BYTES_MAX = 64 * 1024
"""What key and headers of the original may take together. They compress, so the log takes more of them than we can."""

Headers = tuple[tuple[str, bytes], ...]


def hashed(content: bytes) -> bytes:
    """What is kept of something too big to be kept."""
    return b"sha256:" + hashlib.sha256(content).hexdigest().encode()


def beside(key: bytes | None, headers: Headers) -> tuple[bytes | None, Headers]:
    """Key and headers of the original as far as they fit a letter: a refused record never stops a partition."""
    if key is not None and len(key) > BESIDE_BYTES_MAX // 2:
        key = hashed(key)
    if sum(len(name.encode()) + len(content) + 8 for name, content in headers) > BESIDE_BYTES_MAX // 2:
        headers = (("headers-dropped", hashed(repr(headers).encode())),)
    return key, headers


class DeadLetter(Struct, kw_only=True):
    """One refused record. `blanked` says that personal values were removed from it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    rejected: Rejected
    exception: str = ""
    stacktrace: str = ""
    blanked: bool = False

    def kafka_headers(self) -> list[tuple[str, bytes]]:
        """The original headers, then where the record stood and why it was refused."""
        own = {
            "__streams.errors.exception": self.exception or "Rejected",
            "__streams.errors.message": self.rejected.detail,
            "__streams.errors.stacktrace": self.stacktrace,
            "__streams.errors.topic": self.topic,
            "__streams.errors.partition": str(self.partition),
            "__streams.errors.offset": str(self.offset),
            "reason": self.rejected.reason.value,
            "pointer": self.rejected.pointer,
            "source": self.rejected.source,
        }
        if self.blanked:
            own["blanked"] = "true"
        return [*self.headers, *((name, text.encode(errors="replace")) for name, text in own.items())]


def read_headers(headers: tuple[tuple[str, bytes], ...]) -> tuple[Rejected, str, int, int]:
    """Reason, original topic, partition and offset, from the headers of a dead letter."""
    found = {name: (content or b"").decode(errors="replace") for name, content in headers}
    rejected = Rejected(
        Reason(found["reason"]), found["pointer"], found["__streams.errors.message"], found.get("source", "")
    )
    return (
        rejected,
        found["__streams.errors.topic"],
        int(found["__streams.errors.partition"]),
        int(found["__streams.errors.offset"]),
    )
