"""Every topic, declared once: name, partitions, how records are stamped, how long and how large they may be.

`topics(log)` gives the topics of one log. The default log has the plain names; any other log lives in the
same broker under its own name (`cdnow-1.member.actions`), so an import never meets live traffic.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

DEFAULT_LOG = "live-1"
# One number for all: facts go to the partition of the action they come from.
PARTITIONS = 12

DAY_MS = 86_400_000
FOR_EVER = -1
KIB = 1024

Stamp = Literal["LogAppendTime", "CreateTime"]


class Topic(Struct, frozen=True, kw_only=True):
    """One topic. Sizes are of a batch as the broker sees it, which for upstream means of a record."""

    name: str
    partitions: int
    stamp: Stamp
    retention_ms: int
    message_bytes_max: int

    @property
    def config(self) -> dict[str, str]:
        """What the broker is told. Nothing is compacted: offsets without holes are how loss is seen."""
        return {
            "cleanup.policy": "delete",
            "compression.type": "producer",
            "max.message.bytes": str(self.message_bytes_max),
            "message.timestamp.type": self.stamp,
            "retention.bytes": "-1",
            "retention.ms": str(self.retention_ms),
        }


class Topics(Struct, frozen=True, kw_only=True):
    """The topics of one log."""

    log: str
    actions: Topic
    facts: Topic
    aggregates: Topic
    dead_letters: Topic
    contacts: Topic
    boards: Topic

    def all(self) -> tuple[Topic, ...]:
        """All of them, the log itself first."""
        return (self.actions, self.facts, self.aggregates, self.dead_letters, self.contacts, self.boards)


def topics(log: str = DEFAULT_LOG, *, partitions: int = PARTITIONS, history: bool = False) -> Topics:
    """The topics of a log; with `history` its actions carry the times of the past until `import --finish`."""

    def topic(name: str, *, size: int, retention_ms: int, stamp: Stamp = "LogAppendTime") -> Topic:
        return Topic(
            name=name if log == DEFAULT_LOG else f"{log}.{name}",
            partitions=partitions,
            stamp=stamp,
            retention_ms=retention_ms,
            message_bytes_max=size,
        )

    return Topics(
        log=log,
        # The log is the truth and all else is computed from it, so it is kept: what retention deletes can
        # never be rebuilt or audited. It also goes by the record's stamp: 1997 would be gone in minutes.
        actions=topic(
            "member.actions",
            size=256 * KIB,
            retention_ms=FOR_EVER,
            stamp="CreateTime" if history else "LogAppendTime",
        ),
        # A chunk of 5,000 actions is one batch of facts; one refused for its size would halt a partition.
        # A month's boards take late actions for 8 days more, and a boards process may begin anew on any day of these.
        facts=topic("member.facts", size=8 * KIB * KIB, retention_ms=45 * DAY_MS),
        aggregates=topic("member.aggregates", size=8 * KIB * KIB, retention_ms=30 * DAY_MS),
        # The original bytes and room for the headers that say where it came from. Dead letters of reason
        # `rule` are part of the truth (a replay skips those offsets), so they are kept as long as the log.
        dead_letters=topic("member.actions.dlq", size=(1024 + 64) * KIB, retention_ms=FOR_EVER),
        # What the dispatcher meant to send and what came of it: known as long as the facts that caused it.
        contacts=topic("member.contacts.journal", size=KIB * KIB, retention_ms=30 * DAY_MS),
        # Which boards are final: longer known than the facts from which they could be made once more.
        boards=topic("member.boards", size=8 * KIB * KIB, retention_ms=60 * DAY_MS),
    )
