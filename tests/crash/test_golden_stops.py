"""The golden log crashed after every step, and stopped and loaded again anywhere: the same bytes each time.

Seeds: golden log 7; where it is stopped 3.
"""

from random import Random

import msgspec
import pytest

from processors.output import Output
from schemas import aggregates
from schemas.programme import RULES
from schemas.records import Record
from streams.replay import CHUNK, Digests, Manner, Replay, digests_of, read_log
from streams.store import Dump
from tests.processors.golden import IDENTITY, digest_file, log_file
from tests.processors.golden.recorded import PARTITION
from tests.processors.golden.renew import RECORDS


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize(
    "manner",
    [
        Manner(crash=True),
        Manner(cache=1, crash=True),
        pytest.param(Manner(cache=1, ahead=False, crash=True), marks=pytest.mark.nightly),  # 20,000 crashes: minutes
    ],
    ids=str,
)
async def test_a_crash_after_every_step_of_a_full_chunk_changes_nothing(rules: int, manner: Manner) -> None:
    committed = msgspec.json.decode(digest_file(rules).read_bytes(), type=Digests)
    assert await digests_of(read_log(log_file(rules)), IDENTITY, PARTITION, CHUNK, manner) == committed


class Stage:
    """A golden log folded in several lives: each loads the image that the one before left, and nothing else."""

    def __init__(self) -> None:
        self.image: Dump | None = None
        self.facts: list[bytes] = []
        self.aggregates: list[bytes] = []
        self.letters: list[tuple[int, str, bytes | None]] = []
        self.forwards: list[bytes] = []

    async def live(self, records: list[Record], chunk: int) -> None:
        """Begin where the last life ended, fold these records in chunks of one size, leave an image."""
        replay = Replay(IDENTITY, "member.actions", PARTITION, manner=Manner(hash=False), hear=self._hear)
        await replay.begin(self.image)
        for at in range(0, len(records), chunk):
            await replay.feed(records[at : at + chunk])
        self.image = await replay.dump()

    def _hear(self, out: Output) -> None:
        self.facts += out.facts
        self.aggregates += [aggregates.encode(bucket) for bucket in out.buckets]
        self.letters += [(letter.offset, letter.rejected.reason, letter.value) for letter in out.letters]
        self.forwards += [msgspec.json.encode(record) for record in out.forwards]


@pytest.mark.parametrize("rules", RULES)
async def test_wherever_the_fold_is_stopped_and_loaded_again_it_gives_the_same_bytes(rules: int) -> None:
    records, whole, parts, rnd = read_log(log_file(rules)), Stage(), Stage(), Random(3)
    await whole.live(records, CHUNK)
    stops = sorted(rnd.sample(range(1, RECORDS), 12))
    for start, stop in zip([0, *stops], [*stops, RECORDS], strict=True):
        await parts.live(records[start:stop], rnd.choice((1, 7, CHUNK)))
    assert whole.image is not None
    assert parts.image is not None
    assert parts.image.digest() == whole.image.digest()
    for heard in ("facts", "aggregates", "letters", "forwards"):
        assert getattr(parts, heard) == getattr(whole, heard), heard
    committed = msgspec.json.decode(digest_file(rules).read_bytes(), type=Digests)
    assert (parts.image.digest(), len(parts.facts)) == (committed.state, committed.n)
