"""The replay: the spill's commits of an outage, one after the other, into the primary.

Each goes under the id that it has, so that one which the primary has already is not done again.
What it writes is guarded by the revision that the primary has now, so nothing slips in between a
look and a write. Conflicts are settled by policy, and recorded before they are acted upon.
"""

from __future__ import annotations

import hashlib
import logging

from holdfast.clock import from_ns
from holdfast.engines.base import Batch, Durability
from holdfast.errors import ConflictError, CorruptionError, EngineError, StateError
from holdfast.failover import rows
from holdfast.failover.meanwhile import Meanwhile
from holdfast.failover.pending import Pending, read_pending
from holdfast.failover.settle import Change, Policy, Settled, refused, settle, yielded
from holdfast.failover.spill import Spill
from holdfast.keys import after
from holdfast.store import intent as wanted
from holdfast.store import layout
from holdfast.store.intent import Intent, Op
from holdfast.store.journal import CommitEntry
from holdfast.store.kernel import Kernel
from holdfast.store.past import Found
from holdfast.store.retrying import attempts, exhausted
from holdfast.store.value import Operation

PART = 200  #: commits carried over between two looks at the writers
_CARRIED = (Operation.SET, Operation.DELETE, Operation.TOUCH)
_CAUSE_BYTES = 255
_log = logging.getLogger("holdfast.failover")


class Replay:
    """Carries one outage over.

    Args:
        spill: The spill.
        primary: The primary's store, open again under a new epoch.
        policy: Who wins a conflict.
    """

    def __init__(self, spill: Spill, primary: Kernel, policy: Policy) -> None:
        assert spill.outage is not None
        assert spill.identity is not None
        self._spill, self._primary, self._policy = spill, primary, policy
        self._identity = spill.identity
        self._given: set[bytes] = set()
        self._meanwhile = Meanwhile(spill.outage.known, spill.identity.prefix, self._given)
        self._altered: set[bytes] = set()  # places where what stands is not what the spill has
        self._last: dict[bytes, int] = {}  # the primary's revision of what is carried over
        self._position = spill.outage.start
        self.carried = 0

    def begin(self) -> None:
        """Check that the primary is the one that went away, and see what happened there.

        Raises:
            DivergedError: It is not.
        """
        outage = self._spill.outage
        assert outage is not None
        since, more = outage.start, True
        before: list[CommitEntry] = []
        while more:
            page, more = self._spill.commits(since)
            for since, _, commit in page:
                if commit.given:
                    self._given.add(commit.commit_id)
                if since <= outage.done:
                    before.append(commit)
        with self._primary.engine.read() as view:
            self._meanwhile.check(view, self._primary.settings.chain_key)
            self._meanwhile.look(view, self._primary.partitions.all)
        for commit in before:
            self._advance(commit, self._meanwhile.landed.get(commit.commit_id, 0))
        self._position = outage.done
        for key, row in self._spill_rows(rows.CONFLICT):
            if int.from_bytes(key[2:10]) > outage.start:
                conflict = rows.unpack_conflict(row)
                if conflict.resolution != "keep_ours":
                    self._altered.add(conflict.place)

    def _spill_rows(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        with self._spill.engine.read() as view:
            return view.scan(prefix, after(prefix))

    def step(self) -> bool:
        """Carry a part over; return whether there is more."""
        page, more = self._spill.commits(self._position)
        page = page[:PART]
        group: list[Pending] = []
        places: set[bytes] = set()
        for pending in read_pending(self._spill, page):
            touched = {change.place for change in pending.changes}
            alone = pending.note.based is not None
            if alone or not places.isdisjoint(touched):
                self._carry(group)
                group, places = [], set()
            group.append(pending)
            places |= touched
            if alone:
                self._carry(group)
                group, places = [], set()
        self._carry(group)
        if page:
            self._position = page[-1][0]
            self._primary.engine.flush()  # commits are not waited for one by one
            self._spill.replayed(self._position)
        return more or self._spill.kernel.head_revision() > self._position

    # --- writing the primary ------------------------------------------------------------------

    def _carry(self, group: list[Pending]) -> None:
        """Commit a group whose commits do not touch each other's places."""
        if not group:
            return
        current = self._current([c.place for pending in group for c in pending.changes])
        ready: list[tuple[Pending, Intent]] = []
        for pending in group:
            if self._is_landed(pending):
                continue
            intent = self._intent(pending, current)
            if intent is not None:
                ready.append((pending, intent))
        self._submit([intent for _, intent in ready])
        for pending, intent in ready:
            if isinstance(intent.error, ConflictError):  # somebody came between: look again
                intent = self._again(pending)
            if intent.error is not None:
                self._refused(pending, intent.error)
            else:
                self._carried(pending, intent)

    def _submit(self, intents: list[Intent]) -> None:
        """Commit intents as one group.

        In this thread: nobody else writes through this handle yet, and handing each group to the
        lane's thread costs more than committing it where the writers of the spill are busy.
        """
        if intents:
            self._primary.committer.commit(intents)

    def _again(self, pending: Pending) -> Intent:
        for _ in attempts():
            intent = self._intent(pending, self._current([c.place for c in pending.changes]))
            if intent is None:
                done = Intent([], Durability.SYNC)
                done.repeated = True
                return done
            self._submit([intent])
            if not isinstance(intent.error, ConflictError):
                return intent
        raise exhausted(pending.changes[0].place)

    def _carried(self, pending: Pending, intent: Intent) -> None:
        self.carried += 1
        places = [change.place for change in pending.changes]
        if intent.repeated:
            self._spill.mirror.forget(places)
        if intent.revision:
            self._advance(pending.entry, intent.revision)
            if self._primary.partitions.count == 1:
                self._meanwhile.did(0, intent.revision)
            ours = self._meanwhile.ours
            for place in places:
                ours[place] = max(intent.revision, ours.get(place, 0))
        if pending.note.based is not None and intent.revision:
            self._report(pending, {}, intent.revision)

    def _advance(self, commit: CommitEntry, revision: int) -> None:
        for change in commit.changes:
            self._last[change.place] = max(revision, self._last.get(change.place, 0))

    def _refused(self, pending: Pending, error: BaseException) -> None:
        """Record a commit that the primary will never take, and go on without it."""
        if not isinstance(error, StateError):
            raise error
        if isinstance(error, EngineError) and not isinstance(error, CorruptionError):
            raise error
        settled = [
            refused(change, pending.made_ns, pending.entry, error) for change in pending.changes
        ]
        self._record(pending, settled)
        if not settled:
            _log.error("the primary refuses a commit of events alone: %s", error.code)

    def _current(self, places: list[bytes]) -> dict[bytes, Found | None]:
        """Return what the primary has at each place, and see what others did until then."""
        every = self._primary.partitions.all
        keys = [layout.head_key(partition) for partition in every]
        keys += [layout.DATA + place for place in places]
        found = self._primary.engine.get_many(keys)
        if self._meanwhile.moved(found[: len(every)]):
            with self._primary.engine.read() as view:
                self._meanwhile.look(view, every)
        live, raws = self._primary.reader.live, found[len(every) :]
        return {place: live(place, raw) for place, raw in zip(places, raws, strict=True)}

    def _is_landed(self, pending: Pending) -> bool:
        """Say whether the primary has a commit already, with nothing of ours on top of it.

        A commit whose reply was lost may stand before others of ours that the spill has before
        it; then it is done again, so that the order is the one that was acknowledged.
        """
        found = self._meanwhile.landed.get(pending.entry.commit_id)
        if found is None and pending.note.since is not None:
            since = min(pending.note.since, self._primary.head_revision())
            found = self._primary.find_commit(pending.entry.commit_id, since)
        if found is None:
            return False
        places = [change.place for change in pending.changes]
        self._spill.mirror.forget(places)
        if pending.note.based is not None:
            if self._spill.engine.get(rows.PROVISIONAL + pending.revision.to_bytes(8)) is None:
                self._report(pending, {}, found)
        pending.again = True
        in_order = all(self._last.get(place, 0) <= found for place in places)
        self._advance(pending.entry, found)
        return in_order or pending.note.since is None

    def _intent(self, pending: Pending, current: dict[bytes, Found | None]) -> Intent | None:
        """Return what to commit at the primary; None where policy leaves it alone."""
        actual: dict[bytes, int] = {}
        guards: dict[bytes, int] = {}
        if pending.note.based is not None:
            actual, guards = self._premises(pending.note.based)
        settled = [
            self._settle(pending, change, current[change.place], bool(actual))
            for change in pending.changes
        ]
        if any(s.op is None for s in settled) and not pending.note.loose:
            # A commit is carried over whole or not at all: what yields takes the rest along.
            settled = [
                yielded(change, current[change.place], pending.made_ns, pending.entry, bool(actual))
                for change in pending.changes
            ]
        self._record(pending, settled)
        ops = [each.op for each in settled if each.op is not None]
        if actual and not ops:
            self._report(pending, actual, None)
        entry = pending.entry
        # Done for the second time, it has told its events already.
        events = [] if pending.again else [event.again() for event in entry.events]
        if not ops and not events and not (entry.given and not pending.changes):
            return None
        for op in ops:
            found = current[op.place]
            op.if_revision = 0 if found is None else found.record.revision
        intent = Intent(ops, Durability.OS)
        intent.commit_id, intent.given = self._commit_id(pending), True
        intent.actor, intent.correlation = entry.actor, entry.correlation
        intent.context, intent.events = entry.step, events
        intent.cause = stamped(entry.cause, pending.made_ns)
        if guards and not actual:
            intent.reads = guards
        if actual:
            self._report(pending, actual, None)
        return intent

    def _commit_id(self, pending: Pending) -> bytes:
        """Return the commit's id; another one, derived, where it is done for the second time."""
        own = pending.entry.commit_id
        if pending.again:
            return self._identity.prefix + hashlib.sha256(own).digest()[:8]
        return own

    def _premises(self, based: dict[bytes, int]) -> tuple[dict[bytes, int], dict[bytes, int]]:
        """Return the premises that do not hold at the primary, and the revisions that it has."""
        actual, now = {}, {}
        for place, found in self._current(list(based)).items():
            now[place] = revision = 0 if found is None else found.record.revision
            expected = based[place]
            if expected < 0:  # a write of this outage: ours must stand there, as it was made
                whole = place not in self._altered and not self._conflicts(place, revision)
                holds = whole and revision == self._meanwhile.ours.get(place, 0)
            elif expected == 0 and place in self._meanwhile.ours:  # deleted in this outage
                holds = revision == 0 and place not in self._altered
            else:
                holds = revision == expected
            if not holds:
                actual[place] = revision
        return actual, now

    def _conflicts(self, place: bytes, revision: int) -> bool:
        return self._meanwhile.conflicts(place, self._primary.partitions.of(place), revision)

    def _settle(
        self, pending: Pending, change: Change, found: Found | None, unproven: bool
    ) -> Settled:
        revision = 0 if found is None else found.record.revision
        if not unproven and not self._conflicts(change.place, revision):
            return Settled(self._op(pending, change, found))
        prepare = self._primary.payloads.prepare
        made = settle(
            self._policy, prepare, change, found, pending.made_ns, pending.entry, unproven
        )
        if made.resolution == "keep_ours":
            made.op = self._op(pending, change, found)
        elif made.resolution == "value":
            owner = layout.owner_of(change.place)
            made.op = Op(wanted.SET, owner, change.place, made.prepared)
            made.op.expires_ns = None
        elif made.resolution == "delete":
            made.op = Op(wanted.DELETE, layout.owner_of(change.place), change.place)
        return made

    def _op(self, pending: Pending, change: Change, found: Found | None) -> Op:
        """Return a change of the spill as an operation of the primary."""
        place = change.place
        owner = layout.owner_of(place)
        if change.found is None:
            return Op(wanted.DELETE, owner, place)
        ours = change.found.record
        if change.operation is Operation.TOUCH and found is not None:
            op = Op(wanted.TOUCH, owner, place)
        else:
            prepared = self._primary.payloads.pack(change.found.payload)
            if found is not None:
                self._primary.payloads.add_delta(place, prepared, found.record)
            kept = change.operation is Operation.TOUCH or place in pending.note.classes
            op = Op(wanted.SET, owner, place, prepared, ours.state_class if kept else None)
            op.schema_version = ours.schema_version
        op.expires_ns = ours.expires_ns
        return op

    # --- records --------------------------------------------------------------------------

    def _record(self, pending: Pending, settled: list[Settled]) -> None:
        """Write conflicts down before anything is done about them."""
        batch = Batch()
        for number, each in enumerate(settled):
            if each.row is None:
                continue
            key = rows.CONFLICT + pending.revision.to_bytes(8) + number.to_bytes(4)
            batch.puts.append((key, rows.pack(each.row)))
            if each.resolution != "keep_ours":
                self._altered.add(each.row.place)
        if batch.puts:
            self._spill.engine.write(Durability.SYNC, lambda _: batch)

    def _report(self, pending: Pending, actual: dict[bytes, int], revision: int | None) -> None:
        """Write down what became of a provisional commit."""
        key = rows.PROVISIONAL + pending.revision.to_bytes(8)
        known = self._spill.engine.get(key)
        if known is not None and not actual:
            actual = rows.unpack_provisional(known).actual
        row = rows.ProvisionalRow(
            [change.place for change in pending.changes],
            pending.made_ns,
            pending.entry.commit_id,
            not actual,
            pending.note.based or {},
            actual,
            revision,
        )
        batch = Batch(puts=[(key, rows.pack(row))])
        self._spill.engine.write(Durability.SYNC, lambda _: batch)


def stamped(cause: str | None, made_ns: int) -> str:
    """Return a commit's cause with the time at which it was really made, where that fits."""
    made = f"failover: made at {from_ns(made_ns).isoformat()}"
    if cause is None:
        return made
    both = f"{cause} ({made})"
    return both if len(both.encode()) <= _CAUSE_BYTES else cause
