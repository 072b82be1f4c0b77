"""Dead letters that are part of the truth: offsets a rule choked on are skipped by every replay and every owner."""

from __future__ import annotations

from aiokafka import ConsumerRecord

from processors.output import Failure
from schemas.dead_letters import read_headers
from schemas.verdicts import Reason
from streams.log_reader import LogReader


async def rule_failures(bootstrap: str, topic: str, partition: int, since: int | None = None) -> dict[int, Failure]:
    """Offsets of `member.actions` to skip in a partition, from its dead letters stamped at `since` (ms) or later.

    Dead letters of a partition stand in the partition of the same number.
    """
    found: dict[int, Failure] = {}
    async with LogReader(bootstrap, topic) as reader:
        start, end = await reader.bounds(partition)
        if since is not None:
            later = await reader.offset_at(partition, since)
            start = end if later is None else later
        async for records in reader.read(partition, start, end):
            for record in records:
                if failure := _failure(record):
                    found[failure[0]] = failure[1]
    return found


def _failure(record: ConsumerRecord) -> tuple[int, Failure] | None:
    """The offset and failure of a dead letter of reason `rule`; None for others, and for what no worker wrote."""
    headers = {name: content or b"" for name, content in record.headers}
    try:
        rejected, _, _, offset = read_headers(tuple(headers.items()))
    except (KeyError, ValueError):
        return None
    if rejected.reason is not Reason.RULE:
        return None
    return offset, Failure(
        exception=headers["__streams.errors.exception"].decode(errors="replace"),
        message=rejected.detail,
        stacktrace=headers["__streams.errors.stacktrace"].decode(errors="replace"),
        known=True,
    )
