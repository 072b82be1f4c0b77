"""The state store in memory: the same answers as Redis, for tests, replay and the crash machine.

Besides the port it can be made to fail at named moments (`fail`), to go back (`rewind`), to lose
everything (`clear`) and to hold a key of a wrong type (`spoil`).
"""

import secrets
from collections.abc import Callable, Mapping, Sequence

from .errors import StateExists, StateLost
from .store import (
    PARTS,
    Acquired,
    Answer,
    Commit,
    Dump,
    Header,
    Identity,
    Part,
    Refusal,
    Refused,
    first_image,
    key,
)


def _random_token() -> str:
    return secrets.token_hex(8)


def _nothing_fails(moment: str) -> None:
    """The default failpoint."""


class MemoryStore:
    """A dict of partitions behind the port of `store.py`.

    `fail` is called with `before_commit` and `after_commit`; what it raises leaves the call, so an
    exception at `after_commit` is a lost reply.
    """

    def __init__(
        self,
        log: str,
        *,
        fail: Callable[[str], None] = _nothing_fails,
        token: Callable[[], str] | None = None,
    ) -> None:
        self.log = log
        self.fail = fail
        self._token = token or _random_token
        self._partitions: dict[int, Dump] = {}
        self._halted: dict[int, str] = {}
        self._spoiled: dict[tuple[int, str], str] = {}

    async def check(self) -> str:
        """Memory forgets only with the process."""
        return "memory"

    async def bootstrap(
        self,
        partition: int,
        identity: Identity,
        incarnation: str,
        *,
        dump: Dump | None = None,
        replace: bool = False,
    ) -> None:
        """Begin a partition, empty or from an image."""
        image = first_image(identity, incarnation, dump)
        spoiled = self._wrong_type(partition)
        if not replace and (partition in self._partitions or spoiled):
            raise StateExists(f"{key(self.log, partition, 'header')} exists")
        self._unspoil(partition)
        self._partitions[partition] = image

    async def acquire(self, partition: int, identity: Identity, *, state_version: int) -> Acquired | Refused:
        """Own the partition."""
        refused = self._refusal(partition, identity, state_version)
        if refused is not None:
            return refused
        image = self._partitions[partition]
        image.owner = self._token()
        image.state_version = state_version
        return Acquired(
            incarnation=image.incarnation,
            owner=image.owner,
            next_offset=image.next_offset,
            crc=image.crc,
            partition_state=image.partition_state,
            timers=sorted((armed, member) for member, armed in image.timers.items()),
            buckets=dict(image.buckets),
        )

    def _refusal(self, partition: int, identity: Identity, state_version: int) -> Refused | None:
        def refused(answer: Refusal, detail: str) -> Refused:
            return Refused(answer=answer, detail=detail)

        if reason := self._halt_of(partition):
            return refused("HALTED", reason)
        if wrong := self._wrong_type(partition):
            return refused("LOST", wrong)
        image = self._partitions.get(partition)
        if image is None:
            return refused("EMPTY", "")
        for name in ("log", "topic_id", "partitions"):
            ours, theirs = getattr(identity, name), getattr(image.identity, name)
            if ours != theirs:
                return refused("OTHER", f"{name} is {theirs}, not {ours}")
        if image.state_version > state_version:
            return refused("NEWER", f"state version {image.state_version} is above {state_version}")
        return None

    async def load(self, partition: int, members: Sequence[str]) -> list[bytes | None]:
        """States in the order asked."""
        return self._read(partition, "states", members)

    async def load_pages(self, partition: int, fields: Sequence[str]) -> list[bytes | None]:
        """Pages in the order asked."""
        return self._read(partition, "pages", fields)

    def _read(self, partition: int, part: Part, fields: Sequence[str]) -> list[bytes | None]:
        if (partition, part) in self._spoiled:
            raise StateLost(self._wrong_type(partition))
        image = self._partitions.get(partition)
        values: Mapping[str, bytes] = {} if image is None else getattr(image, part)
        return [values.get(field) for field in fields]

    async def commit(self, commit: Commit) -> tuple[Answer, str]:
        """Everything or nothing, in the order of `commit.lua`."""
        commit.check()
        self.fail("before_commit")
        image = self._partitions.get(commit.partition)
        answer = self._answer(commit.partition, commit.incarnation, commit.owner, commit.from_offset)
        if answer[0] in (Answer.OK, Answer.STALE) and image and image.commit_id == commit.commit_id:
            answer = (Answer.OK_DUPLICATE, "")
        if answer[0] is Answer.OK:
            _apply(self._partitions[commit.partition], commit)
        self.fail("after_commit")
        return answer

    async def ask(self, partition: int, incarnation: str, owner: str, offset: int) -> tuple[Answer, str]:
        """What a commit would be answered now."""
        return self._answer(partition, incarnation, owner, offset)

    def _answer(self, partition: int, incarnation: str, owner: str, offset: int) -> tuple[Answer, str]:
        if wrong := self._wrong_type(partition):
            return Answer.LOST, wrong
        image = self._partitions.get(partition)
        if image is None or image.incarnation != incarnation:
            return Answer.LOST, "" if image is None else image.incarnation
        if image.owner != owner:
            return Answer.FENCED, image.owner
        if image.next_offset != offset:
            return Answer.STALE, str(image.next_offset)
        return Answer.OK, ""

    async def dump(self, partition: int) -> Dump | None:
        """A copy of the partition."""
        if wrong := self._wrong_type(partition):
            raise StateLost(wrong)
        image = self._partitions.get(partition)
        return None if image is None else copy_of(image)

    async def offsets(self, partitions: Sequence[int]) -> dict[int, int | None]:
        """Next offset to read per partition."""
        images = {partition: self._head(partition) for partition in partitions}
        return {partition: image.next_offset if image else None for partition, image in images.items()}

    async def headers(self, partitions: Sequence[int]) -> dict[int, Header | None]:
        """The head of each partition."""
        images = {partition: self._head(partition) for partition in partitions}
        return {partition: _header(image) if image else None for partition, image in images.items()}

    def _head(self, partition: int) -> Dump | None:
        return None if (partition, "header") in self._spoiled else self._partitions.get(partition)

    async def halt(self, partition: int, reason: str) -> None:
        """Refuse the partition to every owner."""
        if (partition, "halted") in self._spoiled:
            raise StateLost(self._halt_of(partition))
        self._halted[partition] = reason

    async def halted(self, partitions: Sequence[int]) -> dict[int, str]:
        """The halted ones among these."""
        return {partition: reason for partition in partitions if (reason := self._halt_of(partition))}

    def _halt_of(self, partition: int) -> str:
        if kind := self._spoiled.get((partition, "halted")):
            return f"{key(self.log, partition, 'halted')} is a {kind}"
        return self._halted.get(partition, "")

    async def resume(self, partition: int) -> bool:
        """Take the halt away."""
        spoiled = self._spoiled.pop((partition, "halted"), None)
        return self._halted.pop(partition, None) is not None or spoiled is not None

    async def wipe(self, partition: int) -> None:
        """Forget the partition."""
        self._partitions.pop(partition, None)
        self._unspoil(partition)

    async def close(self) -> None:
        """Nothing to let go of."""

    def rewind(self, partition: int, dump: Dump) -> None:
        """Put an older image back, owner and commit id included: the store went back."""
        self._partitions[partition] = copy_of(dump)

    def clear(self) -> None:
        """FLUSHALL."""
        self._partitions.clear()
        self._halted.clear()
        self._spoiled.clear()

    def spoil(self, partition: int, part: Part) -> None:
        """Let one key hold a string from now on."""
        self._spoiled[partition, part] = "string"

    def heal(self, partition: int, part: Part) -> None:
        """Let that key be again what it was."""
        self._spoiled.pop((partition, part), None)

    def _wrong_type(self, partition: int) -> str:
        for part in PARTS:
            if (partition, part) in self._spoiled:
                return f"{key(self.log, partition, part)} is a {self._spoiled[partition, part]}"
        return ""

    def _unspoil(self, partition: int) -> None:
        for part in PARTS:
            self._spoiled.pop((partition, part), None)


def copy_of(image: Dump) -> Dump:
    """Another image that shares no dict with this one."""
    whole = first_image(image.identity, image.incarnation, image)
    whole.owner, whole.commit_id = image.owner, image.commit_id
    return whole


def _header(image: Dump) -> Header:
    return Header(image.identity, image.next_offset, image.state_version, image.partition_state)


def _apply(image: Dump, commit: Commit) -> None:
    image.states.update(commit.states)
    image.timers.update(commit.timers)
    image.buckets.update(commit.buckets)
    image.pages.update(commit.pages)
    for values, gone in (
        (image.states, commit.states_gone),
        (image.timers, commit.timers_gone),
        (image.buckets, commit.buckets_gone),
        (image.pages, commit.pages_gone),
    ):
        for field in gone:
            values.pop(field, None)
    image.partition_state, image.crc = commit.partition_state, commit.crc
    image.commit_id, image.next_offset = commit.commit_id, commit.next_offset
