"""The fold of one partition: a record and the state so far in, facts and the next state out.

Worker, replay, rebuild, audit and crash machine run this one object. It reads nothing but its state and the records
it is given, so where a chunk ends, what is cached and who runs it cannot matter. A failed run leaves it half changed:
drop it and acquire again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from processors import control, signature
from processors.aggregate import Buckets
from processors.member import APPLIED, HEARD, Decision, Member, Moment, decide, hear, unheard, wake
from processors.output import Failure, Halt, Needs, Output, RecordLike, RuleFailed
from processors.partitioner import partition_of
from processors.refusal import JUDGED, personal_id, refusal
from processors.subjects import KINDS, subject
from processors.timers import Timers
from processors.versions import NEVER, NotUnderstood, versions_of
from schemas import decoding
from schemas import facts as fact_codec
from schemas import partition as partition_codec
from schemas.actions import Action
from schemas.dead_letters import VALUE_BYTES_MAX, DeadLetter, Headers, beside, hashed
from schemas.decoding import Controlled, Decoded, Derived, Staff, blank
from schemas.facts import Fact, PointsHeld, PointsReleased
from schemas.partition import PartitionState
from schemas.personal import blank_beside
from schemas.records import FORWARD_BYTES_MAX, AnyDerived, Cause, Caused, Forward, Tick
from schemas.verdicts import Reason, Rejected, Verdict

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
OF_HOLDS = frozenset((PointsHeld, PointsReleased))
WANTED_MAX = 5_000
"""How many due members are loaded ahead of a chunk; more are loaded when their record comes."""


class Partition:
    """One partition of the log, between two records."""

    def __init__(
        self,
        topic: str,
        number: int,
        partitions: int,
        state: PartitionState,
        timers: Iterable[tuple[int, str]] = (),
        buckets: Mapping[str, bytes] | None = None,
        skip: Mapping[int, Failure] | None = None,
    ) -> None:
        self.topic, self.number, self.partitions, self.state = topic, number, partitions, state
        self.members: dict[str, Member] = {}  # the cache: a member needed and not here ends the run
        self.directory: dict[int, str] = {}  # ordinal -> member, as far as a sweep has asked
        self.timers = Timers(timers)
        self.buckets = Buckets(state.log, number, state.block)
        self.buckets.load(buckets or {})
        self.stored_buckets = set(buckets or {})
        self.skip = dict(skip or {})
        self.versions = versions_of(state)
        self.verdicts = {verdict: state.verdicts.get(verdict.value, 0) for verdict in Verdict}
        self.out = Output()
        self.needs = Needs()
        self.offset = -1  # of the record at hand
        self.index = 0  # of its next fact or derived record
        self._quiet_until = 0  # below this clock, and before this offset, an action is all that happens at a record
        self._quiet_before = 0

    # -- running ------------------------------------------------------------------------------------------------

    def run(self, records: Sequence[RecordLike], items: Sequence[Decoded], start: int = 0) -> int:
        """Apply records from `start` on; return how far it came. Short of the end, `needs` says what to load.

        Raises `RuleFailed`, and `Halt` with everything before that record in `out`.
        """
        state, members = self.state, self.members
        for at in range(start, len(records)):
            record, item = records[at], items[at]
            clock = record.timestamp if record.timestamp > state.clock else state.clock
            if clock < self._quiet_until and record.offset < self._quiet_before and type(item) in KINDS:
                member_id = item.member_id  # type: ignore[union-attr]  # a kind of action
                member = members.get(member_id)
                if member is None:
                    self.needs = Needs(members=[member_id])
                    return at
                state.clock, self.offset, self.index = clock, record.offset, 0
                self._act(record, item, member)  # type: ignore[arg-type]
            elif self._ready(record, item):
                self._apply(record, item)
            else:
                return at
        return len(records)

    def wants(self, records: Sequence[RecordLike], items: Sequence[Decoded]) -> Needs:
        """What a whole chunk will probably need, so that it is loaded in one call; `needs` tells what it missed."""
        if not records:
            return Needs()
        ids = dict.fromkeys(map(subject, items))
        clock = max(self.state.clock, max(record.timestamp for record in records))
        ids.update(dict.fromkeys(self.timers.due(clock, WANTED_MAX)))
        ordinals: list[int] = []
        if self.state.sweep_until:
            step = len(self._sweep_step(clock)) * len(records)
            first = self.state.sweep_next
            ordinals = list(range(first, min(self.state.sweep_until, first + min(step, WANTED_MAX))))
        members = [m for m in ids if m is not None and m not in self.members]
        return Needs(members=members, ordinals=[o for o in ordinals if o not in self.directory])

    def take(self) -> Output:
        """The output since the last call; the next run begins an empty one."""
        out, self.out = self.out, Output()
        return out

    def encode_state(self) -> bytes:
        """The partition's own state, for the commit."""
        self.state.verdicts = {verdict.value: n for verdict, n in self.verdicts.items() if n}
        return partition_codec.encode(self.state)

    def take_buckets(self, out: Output) -> dict[str, bytes]:
        """The changed buckets for the commit; those of a closed block that are gone stay in `out.buckets_gone`."""
        put = self.buckets.take_dirty()
        out.buckets_gone.difference_update(put)
        self.stored_buckets.difference_update(out.buckets_gone)
        self.stored_buckets.update(put)
        return put

    def pass_markers(self, count: int) -> None:
        """Pass offsets that hold no record for us (transaction markers, aborted records): counted, nothing else."""
        self.verdicts[Verdict.MARKER] += count

    # -- one record ---------------------------------------------------------------------------------------------

    def _ready(self, record: RecordLike, item: Decoded) -> bool:
        """Whether everyone this record needs is in the cache; else fill `needs`."""
        member_id = subject(item)
        missing: list[str] = []
        if member_id is not None and member_id not in self.members:
            missing.append(member_id)
        clock = max(self.state.clock, record.timestamp)
        heap = self.timers.heap
        if heap and heap[0][0] <= clock:
            due = self.timers.due(clock, self._wake_cap(clock) + 1)  # one more: its own member is outside of the cap
            missing.extend(m for m in due if m not in self.members)
        ordinals: list[int] = []
        if self.state.sweep_until or clock >= self.versions.next_switch:
            step = self._sweep_step(clock)
            ordinals = [o for o in step if o not in self.directory]
            missing.extend(m for o in step if (m := self.directory.get(o)) and m not in self.members)
        if missing or ordinals:
            self.needs = Needs(members=missing, ordinals=ordinals)
            return False
        return True

    def _apply(self, record: RecordLike, item: Decoded) -> None:
        """The clock moves, buckets are published, those due are woken; then the record itself."""
        state = self.state
        self.offset, self.index = record.offset, 0
        if record.timestamp > state.clock:
            state.clock = record.timestamp
        clock = state.clock
        self._publish_buckets(clock, item)
        if clock >= self.versions.next_switch:
            self.versions.switch(clock)
            state.sweep_next, state.sweep_until = 1, state.ordinals + 1
        heap = self.timers.heap
        if heap and heap[0][0] <= clock:
            self._wake_due(subject(item), clock)
        if state.sweep_until:
            self._sweep(clock)
        if self.skip and record.offset in self.skip:
            self._skipped(record, self.skip[record.offset])
        elif isinstance(item, Action):
            self._act(record, item, self.members[item.member_id])
        else:
            self._other(record, item)
        self._look_ahead()

    def _look_ahead(self) -> None:
        """Until when nothing can happen but actions: no wake, no publication of buckets, no switch, no sweep."""
        state, rules = self.state, self.versions.in_force
        self._quiet_until = 0
        if rules is not None and not self.skip and not state.sweep_until:
            limits = rules.programme.limits
            self._quiet_until = min(self.timers.first() or NEVER, self.versions.next_switch)
            self._quiet_before = (state.block + 1) * limits.block_offsets
            many = state.published_offset + limits.bucket_offsets + 1
            if self.offset + 1 < many:
                self._quiet_before = min(self._quiet_before, many)
            else:
                self._quiet_until = min(self._quiet_until, (state.published_second + 1) * 1000)

    def _act(self, record: RecordLike, action: Action, member: Member, *, forwarded: bool = False) -> None:
        """An action: refused without state, forwarded to its partition, or decided by the rules."""
        state = self.state
        since = action.occurred_at - EPOCH
        at = (since.days * 86_400 + since.seconds) * 1_000 + since.microseconds // 1_000
        in_force = self.versions.in_force
        if in_force is not None and at > state.clock + in_force.future_ms:
            at = state.clock  # before a version is chosen: nobody earns by one that does not hold yet
        rules = self.versions.at(at)
        if rules is None or in_force is None:
            return self._reject(record, Rejected(Reason.NO_PROGRAMME, source=action.source))
        new = member.state.ordinal == 0
        if new or at < state.history_from or type(action) in JUDGED:
            refused = refusal(rules, action, at, state.history_from) or (personal_id(action) if new else None)
            if refused:
                return self._reject(record, refused)
        if new and (home := partition_of(member.id, self.partitions)) != self.number:
            return self._stray(record, action, home, forwarded=forwarded)
        try:
            moment = Moment(at, state.clock, self.offset, self.index, None, self.versions)
            decision = decide(rules, in_force, state.id_key, member, action, moment)
        except (MemoryError, RecursionError):
            raise  # the process is unwell, not the record
        except Exception as error:
            raise RuleFailed(self.offset, error) from error
        verdict = decision.verdict
        self.verdicts[verdict] += 1
        if verdict is APPLIED:
            self.buckets.count(rules, member.state, action, at, self.offset, decision)
        if decision.changed:
            if new:
                self._first_sight(member)
            self._take(member, decision)
            wake_at = decision.wake_at
            if wake_at and not 0 < member.state.armed <= wake_at:
                self._arm(member, wake_at)
        else:
            self._emit(decision.facts)
        if decision.derived:
            self._send(decision.derived)

    def _first_sight(self, member: Member) -> None:
        """Give a member its ordinal, and the directory its entry: sweeps go by it."""
        self.state.ordinals += 1
        member.state.ordinal = self.state.ordinals
        self.out.pages[f"#{self.state.ordinals}"] = member.id.encode()

    # -- wakes --------------------------------------------------------------------------------------------------

    def _wake_cap(self, clock: int) -> int:
        rules = self.versions.next_at(clock)
        return rules.programme.limits.wakes_per_record if rules else 1

    def _wake_due(self, own: str | None, clock: int) -> None:
        """Wake the record's own member first, outside of the cap, then the others due in the order (armed, id)."""
        if own is not None and 0 < self.timers.armed.get(own, 0) <= clock:
            self._wake(self.members[own], clock)
        for member_id in self.timers.due(clock, self._wake_cap(clock)):
            self._wake(self.members[member_id], clock)

    def _wake(self, member: Member, clock: int) -> None:
        """Judge what is due for a member; its entry then stands at its next moment, or is taken away."""
        rules = self.versions.in_force
        assert rules is not None, "a timer without a programme"
        try:
            decision = wake(rules, member, clock, self.offset, self.index)
        except (MemoryError, RecursionError):
            raise
        except Exception as error:
            raise Halt(self.offset, f"a rule raised in the wake of {member.id}: {error!r}") from error
        self.buckets.count_facts(rules, self.offset, decision.facts)
        if decision.changed:
            self._take(member, decision)
        if decision.wake_at:
            self._arm(member, decision.wake_at)
        elif member.state.armed:
            member.state.armed = 0
            self.out.touched[member.id] = member
            self.timers.disarm(member.id)
            self.out.timers.pop(member.id, None)
            self.out.timers_gone[member.id] = None

    def _arm(self, member: Member, at: int) -> None:
        if member.state.armed != at:
            member.state.armed = at
            self.out.touched[member.id] = member
            self.timers.arm(member.id, at)
            if at < self._quiet_until:
                self._quiet_until = at
            self.out.timers[member.id] = at
            self.out.timers_gone.pop(member.id, None)

    def _sweep_step(self, clock: int) -> range:
        """The ordinals that the next record shows the new programme to."""
        first, until = self.state.sweep_next, self.state.sweep_until
        if clock >= self.versions.next_switch:
            first, until = 1, self.state.ordinals + 1
        rules = self.versions.next_at(clock)
        step = rules.programme.limits.sweep_per_record if rules else 1
        return range(first, min(until, first + step))

    def _sweep(self, clock: int) -> None:
        """A new programme reaches silent members too, some per record."""
        step = self._sweep_step(clock)
        for ordinal in step:
            self._wake(self.members[self.directory.pop(ordinal)], clock)
        self.state.sweep_next = step.stop
        if step.stop >= self.state.sweep_until:
            self.state.sweep_next = self.state.sweep_until = 0

    # -- records that are no plain action -----------------------------------------------------------------------

    def _other(self, record: RecordLike, item: Decoded) -> None:
        if isinstance(item, Tick):
            self.out.ticks.append(item.owner)
            self.verdicts[Verdict.TICK] += 1
        elif isinstance(item, Rejected):
            self._reject(record, item)
        elif isinstance(item, Staff):
            if signature.holds(item.envelope, self.state.staff_keys):
                self._act(record, item.action, self.members[item.action.member_id])
            else:
                self._unsigned(record, item.action.source)
        elif isinstance(item, Derived):
            self._derived(record, item)
        elif isinstance(item, Controlled | decoding.NotUnderstood):
            self._control(record, item)

    def _derived(self, record: RecordLike, item: Derived) -> None:
        """What has a cause counts once per cause, for ever, however late it is repeated."""
        if not signature.holds(item.envelope, self.state.worker_keys):
            return self._unsigned(record)
        if isinstance(item.body, Caused):
            cause = item.body.cause
            origin = f"{cause.log}:{cause.partition}"
            if (cause.offset, cause.index) <= self.state.causes.get(origin, (-1, -1)):
                self.verdicts[Verdict.DERIVED_IGNORED] += 1
                return None
            self.state.causes[origin] = (cause.offset, cause.index)
        if item.action is None:
            self.verdicts[Verdict.DERIVED] += 1
            if type(item.body) in HEARD:
                self._hear(item.body, self.members[item.body.member_id])
            return None
        if isinstance(item.action, Rejected):
            return self._reject(record, item.action)
        return self._act(record, item.action, self.members[item.action.member_id], forwarded=True)

    def _hear(self, body: AnyDerived, member: Member) -> None:
        """What is said of a member of this partition; of one never seen here there is nothing to change."""
        in_force = self.versions.in_force
        if in_force is None:
            return
        clock = self.state.clock
        try:
            moment, seen = Moment(clock, clock, self.offset, self.index), member.state.ordinal
            decision = hear(in_force, member, body, moment) if seen else unheard(in_force, body, moment)
        except (MemoryError, RecursionError):
            raise
        except Exception as error:
            raise RuleFailed(self.offset, error) from error
        self.buckets.count_facts(in_force, self.offset, decision.facts)
        if decision.changed:
            self._take(member, decision)
        else:
            self._emit(decision.facts)
        if decision.wake_at and not 0 < member.state.armed <= decision.wake_at:
            self._arm(member, decision.wake_at)

    def _control(self, record: RecordLike, item: Controlled | decoding.NotUnderstood) -> None:
        if isinstance(item, decoding.NotUnderstood):
            if not signature.holds(item.envelope, self.state.staff_keys):
                return self._unsigned(record)
            raise Halt(self.offset, f"control record not understood: {item.detail}")
        judged = control.judge(self.state, item.envelope, item.body, record.timestamp, self.number)
        if isinstance(judged, Rejected):
            return self._reject(record, judged)
        if judged is None:
            self.verdicts[Verdict.CONTROL_IGNORED] += 1
            return None
        try:
            self.versions, fact = control.apply(self.state, self.versions, item.body)
        except NotUnderstood as error:
            raise Halt(self.offset, f"programme not understood: {error}") from None
        self.buckets.log = self.state.log
        self.verdicts[Verdict.CONTROL] += 1
        self._emit([fact])
        return None

    def _stray(self, record: RecordLike, action: Action, home: int, *, forwarded: bool) -> None:
        """A record that another partitioner put here goes to its own partition, once."""
        if forwarded:
            return self._reject(record, Rejected(Reason.STRAY, detail="forwarded, and still a stray"))
        headers = headers_of(record)
        if len(record.value or b"") + sum(len(n) + len(content) for n, content in headers) > FORWARD_BYTES_MAX:
            return self._reject(record, Rejected(Reason.STRAY, detail="too big to be forwarded; mind the partitioner"))
        self.out.forwards.append((home, Forward(self._cause(), action.member_id, record.value or b"", headers)))
        self.verdicts[Verdict.FORWARDED] += 1
        return None

    def _skipped(self, record: RecordLike, failure: Failure) -> None:
        """A record that a rule choked on: a dead letter, and too many of them halt the partition."""
        limits = self.versions.in_force.programme.limits if self.versions.in_force else None
        window = [o for o in self.state.rule_letters if limits and o > self.offset - limits.rule_window_offsets]
        if limits and len(window) >= limits.rule_letters and not failure.known:
            raise Halt(self.offset, f"more than {limits.rule_letters} rule failures: {failure.message}")
        self.state.rule_letters = [*window, self.offset]
        rejected = Rejected(Reason.RULE, "$", failure.message[:500])
        self._reject(record, rejected, failure)

    def _unsigned(self, record: RecordLike, source: str = "") -> None:
        self._reject(record, Rejected(Reason.UNSIGNED, "$.signature", "not signed with a key in force", source))

    def _reject(self, record: RecordLike, rejected: Rejected, failure: Failure | None = None) -> None:
        value, personal = record.value, rejected.reason is Reason.PERSONAL
        if value is not None and len(value) > VALUE_BYTES_MAX:
            value = hashed(value)
        elif personal and value is not None:
            value = blank(value)
        beside_it = beside(record.key, headers_of(record))
        key, headers = blank_beside(*beside_it)
        letter = DeadLetter(
            topic=self.topic,
            partition=self.number,
            offset=self.offset,
            key=key,
            value=value,
            headers=headers,
            rejected=rejected,
            exception=failure.exception if failure else "",
            stacktrace=failure.stacktrace if failure else "",
            blanked=personal or (key, headers) != beside_it,
        )
        self.out.letters.append(letter)
        self.verdicts[Verdict.DEAD_LETTER] += 1

    # -- what comes out -----------------------------------------------------------------------------------------

    def _publish_buckets(self, clock: int, item: Decoded) -> None:
        """A tick of a new second publishes what changed before it, as does a record after many others; and a block's
        end. History and backlogs, where every record is a new second, have no ticks between their records.
        """
        state, rules = self.state, self.versions.in_force
        if rules is None:
            return
        limits = rules.programme.limits
        block = self.offset // limits.block_offsets
        due = isinstance(item, Tick) or self.offset - state.published_offset > limits.bucket_offsets
        if block == state.block and not (due and clock // 1000 != state.published_second):
            return
        self.out.buckets.extend(self.buckets.changed(state.published_offset))
        state.published_second, state.published_offset = clock // 1000, self.offset - 1
        if block != state.block:
            self.out.buckets_gone.update(self.stored_buckets)
            self.buckets.clear(block)
            state.block = block

    def _take(self, member: Member, decision: Decision) -> None:
        """Note what a decision changed."""
        out, state = self.out, member.state
        out.touched[member.id] = member
        if decision.page:
            out.pages[f"{member.id}:{state.page_first + state.page_count - 1}"] = decision.page
        if decision.pages_gone:
            for number in range(state.page_first - decision.pages_gone, state.page_first):
                out.pages_gone.append(f"{member.id}:{number}")
        if decision.facts:
            self._emit(decision.facts)

    def _send(self, bodies: Sequence[Caused]) -> None:
        """Derived records to the partitions of the members they name, each with its cause."""
        for body in bodies:
            home = partition_of(body.member_id, self.partitions)
            self.out.forwards.append((home, msgspec.structs.replace(body, cause=self._cause())))

    def _cause(self) -> Cause:
        """The place of the next derived record, out of the same numbers as those of facts."""
        cause = Cause(self.state.log, self.number, self.offset, self.index)
        self.index += 1
        return cause

    def _emit(self, facts: Sequence[Fact]) -> None:
        """Give facts their place in the log and their numbers."""
        state, out = self.state, self.out
        for fact in facts:
            state.n += 1
            fact.log = state.log
            fact.partition = self.number
            fact.offset = self.offset
            fact.index = self.index
            fact.n = state.n
            self.index += 1
            out.facts.append(fact_codec.encode(fact))
            out.fact_keys.append(fact.member_id.encode())
            if type(fact) in OF_HOLDS:
                out.holds.append(fact.reason if type(fact) is PointsReleased else "opened")


def headers_of(record: RecordLike) -> Headers:
    """A record's headers, those without a value as empty ones."""
    return tuple((name, bytes(content or b"")) for name, content in record.headers)
