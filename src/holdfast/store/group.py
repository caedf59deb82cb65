"""Deciding a commit group: from the state before and the intents to one batch. Pure.

For each intent in turn: check what it relies on, build its records, give it the next revision;
or note why it fails, which leaves no trace. Then one header for the group, the head, and the
index rows. The engine may call this again with another state before, so nothing here touches
an intent: outcomes are returned, and handed out only after the commit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec

from holdfast.correlation import CorrelationContext
from holdfast.engines.base import Batch, ClockedView, EngineTraits, SequencedView, View
from holdfast.errors import (
    ConflictError,
    CorruptionError,
    FencedError,
    InvalidArgumentError,
    RejectedError,
    StateError,
)
from holdfast.keys import after
from holdfast.store import layout
from holdfast.store.intent import Emitted, Intent
from holdfast.store.journal import (
    DIGEST_MODULUS,
    HEADER_FORMAT,
    Head,
    chain_hash,
    header_at,
    journal_horizon,
    pack_head_row,
    pack_journal_horizon,
    parse_head,
    row_digest,
)
from holdfast.store.partitions import Partitions
from holdfast.store.payload import Payloads
from holdfast.store.record import CHECKSUM, describe, parse
from holdfast.store.step import Step, moved
from holdfast.store.touched import refuse_touched, touched_since
from holdfast.store.value import Operation

_encode = msgspec.msgpack.Encoder().encode
_from_bytes = int.from_bytes
PER_GROUP = 1024  # revisions that an engine's sequence number stands for; a group has fewer


class Outcome:
    """What became of one intent: a revision, results and what it did, or an error.

    Attributes:
        happened: There was a commit, in this group and by this intent.
        rests: The error may be due to what the same group changes: where that is not known to
            have happened, neither is the refusal known to be right.
    """

    __slots__ = ("error", "happened", "repeated", "rests", "results", "revision", "steps")

    def __init__(
        self,
        revision: int,
        results: list[Any],
        error: StateError | None = None,
        steps: Sequence[Step] = (),
        happened: bool = False,
        repeated: bool = False,
        rests: bool = False,
    ) -> None:
        self.revision = revision
        self.results = results
        self.steps = steps
        self.error = error
        self.repeated = repeated
        self.happened = happened
        self.rests = rests


class Tail:
    """The end of one partition's journal, as a group moves it.

    Attributes:
        partition: Which.
        key: Of the row of its head.
        head: Where it ended before.
        digest, count, trimmed: As in the head, so far; the digest is not reduced yet.
        commits: The group's, encoded as `CommitEntry` is.
    """

    __slots__ = ("commits", "count", "digest", "head", "key", "partition", "trimmed")

    def __init__(self, partition: int, key: bytes, head: Head) -> None:
        self.partition = partition
        self.key = key
        self.head = head
        _, _, _, self.digest, self.count, self.trimmed = head
        self.commits: list[tuple[Any, ...]] = []


class Rules:
    """What all groups of a store are decided by.

    Args:
        now: The clock.
        payloads: For transforms.
        chain_key: Key of the journal's chain, or None.
        partitions: The store's partitions.
        traits: The engine's.
    """

    __slots__ = (
        "chain_key",
        "clocked",
        "head_keys",
        "now",
        "partitions",
        "payloads",
        "remote",
        "sequenced",
    )

    def __init__(
        self,
        now: Callable[[], int],
        payloads: Payloads,
        chain_key: bytes | None,
        partitions: Partitions,
        traits: EngineTraits,
    ) -> None:
        self.now = now
        self.payloads = payloads
        self.chain_key = chain_key
        self.partitions = partitions
        self.head_keys = [layout.head_key(partition) for partition in partitions.all]
        self.clocked = traits.clocked
        self.sequenced = partitions.count > 1 and traits.partitioned
        self.remote = traits.remote


class GroupBuilder:
    """Decides one group.

    Every commit of a group stands in the header of each of its partitions, with the changes that
    lie there; so the revisions of a header have no gaps.

    Args:
        rules: What it is decided by.
        intents: The group.
        among: The partitions that the group reads or writes.
        fence: Row key and value that must stand, or nothing is committed.

    Attributes:
        intents, among: As given.
        outcomes: Of each intent.
        expiring: Something of it will expire.
        time_ns: The commit time.
    """

    def __init__(
        self,
        rules: Rules,
        intents: Sequence[Intent],
        among: Sequence[int] = (0,),
        fence: tuple[bytes, bytes] | None = None,
    ) -> None:
        self._rules = rules
        self.intents = intents
        self.among = among
        self._fence = fence
        self.outcomes: list[Outcome] = []
        self._live: dict[bytes, bytes | None] = {}  # live rows as this group leaves them
        self.expiring = False
        self.time_ns = 0

    def decide(self, view: View) -> Batch:
        """Return the batch that commits what may be committed on the state of `view`.

        It is the body of an engine's write: calling it again begins anew.

        Raises:
            FencedError: Another row stands where the fence should.
        """
        rules, among = self._rules, self.among
        now = cast(ClockedView, view).now_ns() if rules.clocked else rules.now()
        self._view = view
        self._live = {}
        self._index: dict[bytes, bytes | None] = {}  # other rows to put, or delete if None
        self._versions: list[tuple[bytes, bytes]] = []
        self._filled: set[bytes] = set()  # owners that got a first record, perhaps
        self._emptied: set[bytes] = set()  # owners that lost one
        self._first = 0  # the revision of the group's first commit, once there is one
        self.expiring = False
        self._rows = rows = self._read(view)  # the state before, and so far
        self._tails: list[Tail] = []
        tails = self._tails
        revision = 0
        for partition in among:
            key = rules.head_keys[partition]
            head = parse_head(rows[key])
            tails.append(Tail(partition, key, head))
            if head.revision > revision:
                revision = head.revision
            if head.time_ns > now:
                now = head.time_ns
        self.time_ns = now
        self._revision = revision
        self._floor = revision if rules.partitions.count == 1 else self._begin(view)
        self.outcomes = outcomes = []
        for intent in self.intents:
            try:
                outcome = self._commit(intent)
            except StateError as error:
                outcome = Outcome(0, [], error, rests=self._meets(intent))
            outcomes.append(outcome)
        return self._batch() if self._first else Batch()

    @property
    def places(self) -> list[bytes]:
        """What the group changes, in the order of its first changes."""
        return [key[1:] for key in self._live]

    def _read(self, view: View) -> dict[bytes, bytes | None]:
        """Return the rows that the group depends on, in one read."""
        rules, among, fence = self._rules, self.among, self._fence
        keys = list(map(rules.head_keys.__getitem__, among))
        for intent in self.intents:
            for op in intent.ops:
                keys.append(op.row_key)
            if intent.given:
                keys.extend([layout.commit_key(p, intent.commit_id) for p in among])
            if intent.reads:
                keys.extend([layout.DATA + place for place in intent.reads])
        if rules.remote:  # reading a few in vain costs less than a round trip later
            owners = {op.owner for intent in self.intents for op in intent.ops}
            keys.extend([layout.SCOPES + owner for owner in owners])
        if rules.partitions.count > 1:
            keys.append(layout.SEQUENCE)
        if fence is not None:
            keys.append(fence[0])
        rows = dict(zip(keys, view.get_many(keys)))  # noqa: B905 - as many, by contract
        if fence is not None and rows[fence[0]] != fence[1]:
            raise FencedError("the store was fenced: a later epoch of this writer has begun")
        return rows

    def _begin(self, view: View) -> int:
        """Return what the revisions of this group lie above: those of every group before it.

        An engine that runs writes of several partitions at once gives each a number of its own;
        with any other the last revision of the store stands in a row.
        """
        row = self._rows[layout.SEQUENCE]
        floor = _from_bytes(row) if row is not None else 0
        if self._rules.sequenced:
            floor += cast(SequencedView, view).sequence() * PER_GROUP
        return max(floor, self._revision)

    def _meets(self, intent: Intent) -> bool:
        """Say whether an intent touches or has read anything that the group changes before it."""
        if not self._first:
            return False
        seen = [op.row_key for op in intent.ops]
        seen += [layout.DATA + place for place in intent.reads or ()]
        return (
            bool(intent.ranges)
            or not self._live.keys().isdisjoint(seen)
            or any(layout.commit_key(p, intent.commit_id) in self._index for p in self.among)
        )

    def _commit(self, intent: Intent) -> Outcome:
        if intent.given:
            for partition in self.among:
                known = self._row(layout.commit_key(partition, intent.commit_id))
                if known is not None:
                    return self._repeat(intent, _from_bytes(known[:8]))
        if intent.reads:
            self._check_reads(intent.reads)
        if intent.ranges:
            self._check_ranges(intent.ranges, intent.since)
        revision, now, rows = self._floor + 1, self.time_ns, self._rows
        payloads = self._rules.payloads
        steps: list[Step] = []
        results: list[Any] = []
        for op in intent.ops:
            try:
                step = Step(op, rows[op.row_key], intent, revision, now, payloads)
            except StateError as error:
                if not intent.loose:
                    raise
                results.append(error)
            else:
                results.append(step.result)
                if step.operation:
                    steps.append(step)
        if not (steps or intent.trims or intent.given or intent.events):
            return Outcome(self._revision, results)
        # From here on nothing can refuse: an intent is applied whole or not at all.
        if len(self._tails) == 1:
            self._record(intent, revision, self._tails[0], steps)
        else:
            of = self._rules.partitions.of
            for tail in self._tails:
                own = [step for step in steps if of(step.op.place) == tail.partition]
                self._record(intent, revision, tail, own)
        if not self._first:
            self._first = revision
        self._revision = self._floor = revision
        return Outcome(revision, results, None, steps, bool(steps or intent.events))

    def _record(self, intent: Intent, revision: int, tail: Tail, steps: list[Step]) -> None:
        """Apply a commit's steps in one partition, and enter it there."""
        partition = tail.partition
        entries: list[tuple[Any, ...]] = []
        if steps:
            self._apply(steps, revision, tail, entries)
        if intent.trims:
            for owner, horizon in intent.trims:
                if partition == (self._rules.partitions.of(owner) if owner else intent.partition):
                    entries.append(self._trim(owner, horizon, tail))
        if intent.given:
            self._index[layout.commit_key(partition, intent.commit_id)] = revision.to_bytes(8)
        if intent.correlation is not None:
            self._index[layout.correlation_key(partition, intent.correlation, revision)] = b""
        entry: tuple[Any, ...] = (
            intent.commit_id,
            intent.given,
            intent.actor,
            intent.correlation,
            intent.cause,
            entries,
        )
        if intent.context is not None or intent.events:
            of = self._rules.partitions.of
            events = [e for e in intent.events if of(e.owner) == partition]
            entry += (_context_entry(intent.context), [_event_entry(e) for e in events])
        tail.commits.append(entry)

    def _repeat(self, intent: Intent, revision: int) -> Outcome:
        """Return what the commit that had the same id first did, as the journal tells it."""
        changed, told = self._done_by(revision)
        tenants = {place[: place.index(0)] for place in changed | told}
        if intent.events and told.isdisjoint([event.owner for event in intent.events]):
            if changed.isdisjoint([op.place for op in intent.ops]):
                raise _something_else()
        results: list[Any] = []
        for op in intent.ops:
            if tenants and op.place[: op.place.index(0)] not in tenants:
                raise _something_else()
            if op.place in changed or not intent.loose:
                results.append(op.place in changed)
            else:
                results.append(
                    RejectedError(
                        f"{describe(op.place)} was refused by the commit that had this id first",
                        hint="send it again under another commit_id",
                    )
                )
        return Outcome(revision, results, repeated=True)

    def _done_by(self, revision: int) -> tuple[set[bytes], set[bytes]]:
        """Return the places that a commit of the journal, or of this group, changed.

        And the owners of its events.
        """
        at = revision - self._first
        if self._first and at >= 0:
            entries = [tail.commits[at] for tail in self._tails]
            told = {event[1] for entry in entries if len(entry) > 6 for event in entry[7]}
            return {change[0] for entry in entries for change in entry[5]}, told
        headers = [header_at(self._view, partition, revision) for partition in self.among]
        found = [header.commits[revision - header.first] for header in headers if header]
        if not found:
            raise CorruptionError("an indexed commit is gone", where=f"journal/{revision}")
        told = {event.owner for commit in found for event in commit.events}
        return {change.place for commit in found for change in commit.changes}, told

    # --- preconditions --------------------------------------------------------------------

    def _check_reads(self, reads: dict[bytes, int]) -> None:
        for place, expected in reads.items():
            raw = self._rows[layout.DATA + place]
            actual = 0
            if raw is not None:
                found = parse(place, raw)
                if not found.expires_ns or found.expires_ns > self.time_ns:
                    actual = found.revision
            if actual != expected:
                raise moved(place, expected, actual)

    def _check_ranges(self, ranges: list[tuple[bytes, bytes]], since: Sequence[int]) -> None:
        reached = {p for each in ranges for p in self._rules.partitions.covering(*each)}
        tails = {tail.partition: tail for tail in self._tails}
        for partition in sorted(reached):
            begun = since[partition]
            horizon, _ = journal_horizon(self._view, partition)
            if begun < horizon:
                raise ConflictError(
                    f"the transaction started at revision {begun}, before the journal's horizon "
                    f"{horizon}",
                    reason="too_old",
                    expected=begun,
                    actual=horizon,
                )
            if begun < tails[partition].head.revision:
                for touched in touched_since(self._view, partition, begun):
                    refuse_touched(touched, ranges)
        refuse_touched(self.places, ranges)

    # --- effects --------------------------------------------------------------------------

    def _apply(
        self, steps: list[Step], revision: int, tail: Tail, entries: list[tuple[Any, ...]]
    ) -> None:
        """Put the rows of a commit's steps, and add what its header says of each."""
        rows, live_rows, versions = self._rows, self._live, self._versions
        digest, suffix = tail.digest, revision.to_bytes(8)
        for step in steps:
            op, live, row, previous = step.op, step.live, step.row, step.previous
            place, key = op.place, op.row_key
            rows[key] = live_rows[key] = live
            raw = step.stored_raw
            if raw is not None:
                digest -= _from_bytes(raw[CHECKSUM])
                if step.stored_expires_ns:
                    expiry = layout.expiry_key(tail.partition, step.stored_expires_ns, place)
                    self._index[expiry] = None
                if previous <= tail.trimmed and step.stored_run == 0:
                    # Compaction may have dropped this version's row; now the past needs it.
                    versions.append((layout.version_key(place, previous), raw))
            if live is not None:
                digest += _from_bytes(live[CHECKSUM])
                if step.expires_ns:
                    expiry = layout.expiry_key(tail.partition, step.expires_ns, place)
                    self._index[expiry] = b""
                    self.expiring = True
                if raw is None:
                    tail.count += 1
                    self._filled.add(op.owner)
            elif raw is not None:
                tail.count -= 1
                self._emptied.add(op.owner)
            versions.append((layout.VERSIONS + place + suffix, row))
            entries.append(
                (
                    place,
                    step.operation,
                    step.version,
                    previous,
                    step.state_class,
                    len(row),
                    row_digest(row),
                )
            )
        tail.digest = digest

    def _trim(self, owner: bytes, horizon: int, tail: Tail) -> tuple[Any, ...]:
        # Horizons only go forwards: another compaction may have gone further meanwhile.
        if owner:
            key = layout.scope_horizon_key(owner)
            known = self._index.get(key) or self._view.get(key)
            horizon = max(horizon, _from_bytes(known[:8]) if known else 0)
            self._index[key] = horizon.to_bytes(8)
            tail.trimmed = max(tail.trimmed, horizon)
        elif horizon <= (known_horizon := journal_horizon(self._view, tail.partition)[0]):
            horizon = known_horizon
        else:
            row = self._view.get(layout.journal_key(tail.partition, horizon))
            assert row is not None, "the journal is trimmed at the end of a group"
            hash_ = chain_hash(row, self._rules.chain_key)
            packed = pack_journal_horizon(horizon, hash_)
            self._index[layout.horizon_key(tail.partition)] = packed
        return (owner, int(Operation.TRIM), 0, horizon, 0, 0, b"")

    def _batch(self) -> Batch:
        first, last = self._first, self._revision
        rules, now = self._rules, self.time_ns
        puts: list[tuple[bytes, bytes]] = []
        deletes: list[bytes] = []
        for tail in self._tails:
            partition = tail.partition
            digest = tail.digest % DIGEST_MODULUS
            packed = digest.to_bytes(16)
            previous_hash = tail.head.hash
            header = _encode(
                (
                    HEADER_FORMAT,
                    partition,
                    first,
                    now,
                    previous_hash,
                    packed,
                    tail.count,
                    tail.commits,
                )
            )
            hash_ = chain_hash(header, rules.chain_key)
            puts.append(
                (tail.key, pack_head_row(last, now, hash_, packed, tail.count, tail.trimmed))
            )
            puts.append((layout.journal_key(partition, last), header))
        if rules.partitions.count > 1 and not rules.sequenced:
            puts.append((layout.SEQUENCE, last.to_bytes(8)))
        _sort_out(self._live, puts, deletes)
        puts += self._versions
        if self._index:
            _sort_out(self._index, puts, deletes)
        if self._emptied or self._filled:
            self._directory(puts, deletes)
        return Batch(puts, deletes)

    def _directory(self, puts: list[tuple[bytes, bytes]], deletes: list[bytes]) -> None:
        """Keep one directory row for each scope that has a record, and none for the others."""
        for owner in self._emptied:
            if not self._has_records(owner):
                deletes.append(layout.SCOPES + owner)
                self._filled.discard(owner)
        keys = [layout.SCOPES + owner for owner in self._filled]
        if self._rules.remote:
            known = [self._rows[key] for key in keys]
        else:
            known = self._view.get_many(keys)
        for key, row in zip(keys, known, strict=True):
            if row is None:
                puts.append((key, self.time_ns.to_bytes(8)))

    def _has_records(self, owner: bytes) -> bool:
        live, start = self._live, layout.DATA + owner
        if any(raw is not None and key.startswith(start) for key, raw in live.items()):
            return True
        stop = after(start)
        limit = 8
        while True:
            rows = self._view.scan(start, stop, limit=limit, keys_only=True)
            if any(key not in live for key, _ in rows):
                return True
            if len(rows) < limit:
                return False
            start, limit = rows[-1][0] + b"\0", min(limit * 8, 4096)

    def _row(self, key: bytes) -> bytes | None:
        if key in self._index:
            return self._index[key]
        return self._rows[key]


def _sort_out(
    rows: dict[bytes, bytes | None], puts: list[tuple[bytes, bytes]], deletes: list[bytes]
) -> None:
    """Put each row, or delete it where it is None."""
    for pair in rows.items():
        if pair[1] is None:
            deletes.append(pair[0])
        else:
            puts.append(pair)  # type: ignore[arg-type]


def _something_else() -> InvalidArgumentError:
    return InvalidArgumentError(
        "this commit_id names a commit of something else",
        hint="make ids that are unique in the whole store: uuid4().bytes",
    )


def _event_entry(event: Emitted) -> tuple[Any, ...]:
    data = event.prepared
    return (
        event.id,
        event.owner,
        event.name,
        data.encoding,
        data.size,
        data.payload,
        list(event.causes),
    )


def _context_entry(context: CorrelationContext | None) -> tuple[Any, ...] | None:
    if context is None:
        return None
    return (
        context.span,
        context.parent,
        context.causes,
        context.component,
        context.operation,
        dict(context.attributes),
        context.started_ns,
    )
