"""A member, or a whole partition, as it was at a moment of the past; a member as it will be if nobody acts.

"At a moment" is after the last record before the partition's clock passed it: what a worker had committed then, had
it committed after every record. The past is folded from the nearest image below it, or from the log's start; of the
future only timers are known. Nothing live is touched.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from processors.ahead import ahead
from processors.calendar import Calendar
from processors.output import Failure
from processors.partitioner import partition_of
from processors.programme import Rules
from processors.versions import versions_of
from schemas import partition as partition_codec
from schemas.partition import PartitionState
from schemas.records import MOMENT_MAX
from schemas.settings import Settings
from schemas.topics import topics
from schemas.zones import zone
from streams import snapshot
from streams.errors import NoState, StateLost, UsageError
from streams.loading import read_member
from streams.member_log import MemberLog
from streams.member_words import Shown, plain, shown, text_of
from streams.replay import Manner, Replay, Source, follow
from streams.store import Dump, Header, StateStore

WRITE = "write 2026-09-01T12:00, in the programme's zone, or 2026-09-01T12:00+08:00"

Skips = Callable[[int], Awaitable[Mapping[int, Failure]]]
"""The offsets of a partition that a rule choked on, as its dead letters say."""


class TimeMachine:
    """Looks at one log. `source` reads its actions, `folder` may hold images."""

    def __init__(
        self,
        settings: Settings,
        store: StateStore,
        source: Source,
        skips: Skips,
        *,
        folder: Path | None = None,
        progress: Callable[[int], None] = lambda count: None,
    ) -> None:
        self.settings, self.store, self.source, self.skips = settings, store, source, skips
        self.folder, self.progress = folder, progress
        self.topic = topics(settings.log, partitions=settings.partitions).actions.name

    async def show(self, member_id: str, text: str) -> Shown:
        """The member at the moment that `text` says. Raises `UsageError` for one that cannot be meant."""
        partition = partition_of(member_id, self.settings.partitions)
        header, own = await self._head(partition)
        at = moment_of(text, _in_force(own).calendar)
        until = await self.source.offset_at(partition, max(0, at + 1))
        if until is None:
            return await self._future(partition, member_id, header, own, at)
        replay = await self.past(partition, at)
        member = await replay.member(member_id)
        if member is None:
            raise UsageError(
                f"log {self.settings.log} had no member {member_id} at {text}", remedy="choose a later one"
            )
        own = replay.own_state
        return shown(member_id, member.state, _in_force(own), own.clock, self._place(partition, replay.next_offset))

    async def past(self, partition: int, at: int) -> Replay:
        """The partition as it stood when its clock was last at or below a moment that the log has passed."""
        until = await self.source.offset_at(partition, max(0, at + 1))
        assert until is not None, "of the future only members are known"
        header, own = await self._head(partition)
        calendar = _in_force(own).calendar
        if until == 0:
            raise UsageError(
                f"log {self.settings.log} began at {await self._beginning(partition, calendar)}, after that",
                remedy="choose a later moment",
            )
        replay = self._replay(header, partition, await self.skips(partition))
        await replay.begin(await self._image(partition, header, until))
        await follow(replay, self.source, until, self.progress)
        if replay.own_state.clock > at:  # the log begins later than that, and so does the image
            begins = plain(text_of(calendar, replay.own_state.clock))
            raise StateLost(f"partition {partition}: what is left of the log begins at {begins}", remedy="")
        return replay

    async def member_log(self, member_id: str, since: str = "", fact: int = 0) -> tuple[MemberLog, Shown, bool]:
        """A member's log up to what is committed, the member now, and whether members may be contacted yet.

        It begins at the nearest image below `since` (without it: the horizon ago), or below a fact of that number.
        """
        partition = partition_of(member_id, self.settings.partitions)
        header, own = await self._head(partition)
        rules = _in_force(own)
        at = moment_of(since, rules.calendar, "--since") if since else own.clock - rules.horizon_ms
        first = header.next_offset if fact else await self.source.offset_at(partition, max(0, at))
        image = self._file(partition, header.next_offset if first is None else first, fact)
        replay = self._replay(header, partition, await self.skips(partition))
        await replay.begin(image)
        log = MemberLog(replay, member_id)
        await log.read(self.source, max(replay.next_offset, header.next_offset), self.progress)
        member, own = await replay.member(member_id), replay.own_state
        if member is None:
            what = f"log {self.settings.log} has no member {member_id}"
            raise UsageError(what, remedy="check the id; its actions may wait in the log")
        if since or not fact:
            log.shown_from = at
        place = self._place(partition, replay.next_offset)
        return log, shown(member_id, member.state, _in_force(own), own.clock, place), own.live

    def _file(self, partition: int, until: int, fact: int) -> Dump | None:
        """The nearest image at an offset or below it, and below a fact of that number if there is one."""
        if self.folder is None:
            return None
        while (found := snapshot.nearest(self.folder, self.settings.log, partition, until)) is not None:
            if not fact or partition_codec.decode(found.dump.partition_state).n < fact:
                return found.dump
            until = found.dump.next_offset - 1
        return None

    def _replay(self, header: Header, partition: int, skip: Mapping[int, Failure]) -> Replay:
        return Replay(header.identity, self.topic, partition, skip=dict(skip), manner=Manner(hash=False))

    async def _future(self, partition: int, member_id: str, header: Header, own: PartitionState, at: int) -> Shown:
        """What timers alone will have made of a member."""
        member = await read_member(self.store, partition, member_id)
        if member is None:
            what = f"log {self.settings.log} has no member {member_id}"
            raise UsageError(what, remedy="check the id; its actions may wait in the log")
        versions, _ = ahead(own, member, at, header.next_offset)
        assert versions.in_force is not None, "a member without a programme"
        place = self._place(partition, header.next_offset)
        return shown(member_id, member.state, versions.in_force, at, place, foreseen=True)

    async def _head(self, partition: int) -> tuple[Header, PartitionState]:
        header = (await self.store.headers([partition]))[partition]
        if header is None or not header.partition_state:
            raise NoState(self.settings.log, partition)
        return header, partition_codec.decode(header.partition_state)

    async def _image(self, partition: int, header: Header, until: int) -> Dump | None:
        """The nearest image at an offset or below it: a file, or the live state where that is not past it yet."""
        image = self._file(partition, until, 0)
        if header.next_offset <= until and (image is None or image.next_offset < header.next_offset):
            live = await self.store.dump(partition)
            if live is not None and live.next_offset <= until:
                return live
        return image

    async def _beginning(self, partition: int, calendar: Calendar) -> str:
        async for records in self.source.read(partition, 0, 1):
            return plain(text_of(calendar, records[0].timestamp))
        raise StateLost(f"partition {partition} of log {self.settings.log} holds no record")

    def _place(self, partition: int, next_offset: int) -> tuple[str, int, int]:
        return self.settings.log, partition, next_offset


def moment_of(text: str, calendar: Calendar, option: str = "--at") -> int:
    """An option's moment as ms: in the programme's zone unless it has an offset. Raises `UsageError`."""
    try:
        parsed = dt.datetime.fromisoformat(text)
        if parsed.tzinfo is None:
            parsed = parsed.replace(tzinfo=zone(calendar.zone_name))
        moment = (parsed - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        raise UsageError(f"{option} {text} is no moment", remedy=WRITE) from None
    if moment >= MOMENT_MAX:
        raise UsageError(f"{option} {text} is after the year 2099", remedy="choose an earlier moment")
    return moment


def _in_force(own: PartitionState) -> Rules:
    rules = versions_of(own).in_force
    if rules is None:
        raise StateLost("the partition has no programme yet", remedy="choose a later moment")
    return rules
