"""Dead letters that are part of the truth: offsets a rule choked on are skipped by every replay and every owner."""

from __future__ import annotations

from processors.output import Failure
from schemas.dead_letters import read_headers
from schemas.verdicts import Reason
from streams.log_reader import LogReader


async def rule_failures(
    bootstrap: str, topic: str, partition: int, since: int | None = None
) -> dict[int, Failure]:
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
                rejected, _, _, offset = read_headers(tuple(record.headers))
                if rejected.reason is Reason.RULE:
                    headers = dict(record.headers)
                    found[offset] = Failure(
                        exception=headers["__streams.errors.exception"].decode(),
                        message=rejected.detail,
                        stacktrace=headers["__streams.errors.stacktrace"].decode(),
                        known=True,
                    )
    return found
