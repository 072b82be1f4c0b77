"""The pure fold over the same kind of bytes without any I/O: what one core does when nothing is waited for."""

from __future__ import annotations

import gc
import secrets
import time
from importlib import resources
from itertools import islice
from statistics import median

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from processors.member import Member
from processors.partition import Partition
from processors.signature import public_text, seal
from schemas import member as member_codec
from schemas.decoding import decode
from schemas.partition import PartitionState
from schemas.records import ProgrammeControl, Record, SignedControl
from schemas.settings import Settings
from schemas.topics import topics
from streams.store import Identity
from tests.bench.figures import Figure, Section
from tests.bench.past import lived
from tests.bench.population import Population, wall

CHUNK_RECORDS = 5_000
PER_SECOND = 50_000 // 12
"""Records of one partition in a second of its clock."""

LOG = "bench-rules"
PARTS = ("decode", "decide", "encode state", "buckets and own state")


class Alone:
    """One partition's log and members, in memory."""

    def __init__(self, members: int, actions: int) -> None:
        population = Population(members, 1)
        self.first = first_record()
        self.members = population.by_partition[0]
        now = wall()
        rows = [*population.once_each(0, now), *population.uniform(0, actions, now)]
        start = self.first.timestamp
        self.records = [
            Record(at, start + at * 1000 // PER_SECOND, member.encode(), value)
            for at, (member, value) in enumerate(rows, 1)
        ]
        self.warm_from = len(self.members)

    def fold(self) -> tuple[dict[str, float], int, int]:
        """Microseconds an action by part, and facts, of the actions after everybody's first; their bytes."""
        identity = Identity(LOG, "", 1)
        dump = lived(0, identity, topics(LOG).actions.name, self.first, self.members)
        fold = Partition(
            topics(LOG).actions.name,
            0,
            1,
            PartitionState(),
            [(armed, member) for member, armed in dump.timers.items()],
        )
        fold.run([self.first], [decode(self.first.value)])
        fold.take()
        for member, state in dump.states.items():
            pages = b"".join(dump.pages[f"{member}:{page}"] for page in range(1, 4))
            fold.members[member] = Member(id=member, state=member_codec.decode(state), pages=pages)
        _run(fold, self.records[: self.warm_from])
        return _run(fold, self.records[self.warm_from :])


def _run(fold: Partition, records: list[Record]) -> tuple[dict[str, float], int, int]:
    spent, facts, size = dict.fromkeys(PARTS, 0.0), 0, 0
    each = iter(records)
    while chunk := list(islice(each, CHUNK_RECORDS)):
        marks = [time.process_time()]
        items = [decode(record.value, record.headers) for record in chunk]
        marks.append(time.process_time())
        assert fold.run(chunk, items) == len(chunk), "a member is missing"
        marks.append(time.process_time())
        out = fold.take()
        encoded = {member: member_codec.encode(it.state) for member, it in out.touched.items()}
        marks.append(time.process_time())
        fold.take_buckets(out)
        fold.encode_state()
        marks.append(time.process_time())
        for part, began, ended in zip(PARTS, marks, marks[1:], strict=False):
            spent[part] += ended - began
        facts, size = facts + len(out.facts), sum(map(len, encoded.values())) // len(encoded)
    return {part: took / max(1, len(records)) * 1e6 for part, took in spent.items()}, facts, size


def first_record() -> Record:
    key = Ed25519PrivateKey.generate()
    control = ProgrammeControl(
        id="programme",
        number=1,
        by="bench",
        text=(resources.files("schemas") / "programmes" / "default.yaml").read_text(),
        holds_from=0,
        log=LOG,
        staff_keys={"staff": public_text(key)},
        worker_keys={"workers": public_text(key)},
        id_key=secrets.token_hex(16),
    )
    value = seal(SignedControl, "staff", key, msgspec.json.encode(control))
    return Record(0, int(wall() * 1000), None, value)


def measure(members: int, actions: int, repeats: int) -> Section:
    """The median of several folds over the same bytes."""
    alone = Alone(members // Settings().partitions, actions)
    gc.collect()
    gc.disable()
    try:
        found = [alone.fold() for _ in range(repeats)]
    finally:
        gc.enable()
    by_part = {part: median(spent[part] for spent, _, _ in found) for part in PARTS}
    total = sum(by_part.values())
    size = sum(len(record.value or b"") for record in alone.records) / len(alone.records)
    figures = [Figure("rules alone, one core", 1e6 / total, "actions/s")]
    figures += [Figure(f"... {part}", us, "us/action") for part, us in by_part.items()]
    detail = {
        "runs": [spent for spent, _, _ in found],
        "facts_per_action": found[0][1] / actions,
        "state_bytes": found[0][2],
        "record_bytes": size,
    }
    note = f"{size:.0f} bytes a record, {found[0][2]} bytes a state, {found[0][1] / actions:.2f} facts an action"
    return Section("Rules alone", figures, detail, note)
