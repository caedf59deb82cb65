"""Deciding a commit group: from the state before and the intents to one batch. Pure.

For each intent in turn: check what it relies on, build its records, give it the next revision;
or note why it fails, which leaves no trace. Then one header for the group, the head, and the
index rows. The engine may call this again with another state before, so nothing here touches
an intent: outcomes are returned, and handed out only after the commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from holdfast.engines.base import Batch, View
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
from holdfast.store.intent import Intent
from holdfast.store.journal import (
    DIGEST_MODULUS,
    HEADER_FORMAT,
    MAX_REVISION,
    Head,
    chain_hash,
    header_at,
    headers_between,
    journal_horizon,
    pack_head,
    pack_journal_horizon,
    parse_head,
    row_digest,
)
from holdfast.store.partitions import Partitions
from holdfast.store.payload import Payloads
from holdfast.store.record import describe, parse
from holdfast.store.step import Step, conflict
from holdfast.store.value import MISSING, Operation

_encode = msgspec.msgpack.Encoder().encode
_from_bytes = int.from_bytes
PER_GROUP = 1024  # revisions that an engine's sequence number stands for; a group has fewer


class Outcome:
    """What became of one intent: a revision and results, or an error.

    Attributes:
        rests: The error may be due to what the same group changes: where that is not known to
            have happened, neither is the refusal known to be right.
    """

    __slots__ = ("error", "repeated", "rests", "results", "revision")

    def __init__(
        self,
        revision: int,
        results: list[Any],
        error: StateError | None = None,
        *,
        repeated: bool = False,
        rests: bool = False,
    ) -> None:
        self.revision = revision
        self.results = results
        self.error = error
        self.repeated = repeated
        self.rests = rests


class Tail:
    """The end of one partition's journal, as a group moves it.

    Attributes:
        partition: Which.
        head: Where it ended before.
        digest, count, trimmed: As in the head, so far.
        commits: The group's, encoded as `CommitEntry` is.
    """

    __slots__ = ("commits", "count", "digest", "head", "partition", "trimmed")

    def __init__(self, partition: int, head: Head) -> None:
        self.partition = partition
        self.head = head
        self.digest, self.count, self.trimmed = head.digest, head.records, head.trimmed
        self.commits: list[tuple[Any, ...]] = []


class GroupBuilder:
    """Decides one group on one view.

    Every commit of a group stands in the header of each of its partitions, with the changes that
    lie there; so the revisions of a header have no gaps.

    Args:
        view: The state before.
        now_ns: The clock's time.
        payloads: For transforms.
        chain_key: Key of the journal's chain, or None.
        partitions: The store's partitions.
        among: Those that the group reads or writes.
        sequence: A number that the engine has given this group alone, where it does.
        fence: Row key and value that must stand, or nothing is committed.

    Attributes:
        places: What the group changes, in order, for range checks.
        expiring: Something of it will expire.
    """

    def __init__(
        self,
        view: View,
        now_ns: int,
        payloads: Payloads,
        chain_key: bytes | None,
        partitions: Partitions,
        among: Sequence[int] = (0,),
        sequence: int | None = None,
        fence: tuple[bytes, bytes] | None = None,
    ) -> None:
        self._view = view
        self._clock_ns = now_ns
        self._payloads = payloads
        self._chain_key = chain_key
        self._partitions = partitions
        self._among = among
        self._sequence = sequence
        self._fence = fence
        self._rows: dict[bytes, bytes | None] = {}  # the state before, by row key
        self._live: dict[bytes, bytes | None] = {}  # places as this group leaves them
        self._index: dict[bytes, bytes | None] = {}  # other rows to put, or delete if None
        self._versions: dict[bytes, bytes] = {}
        self._filled: set[bytes] = set()  # owners that got a first record, perhaps
        self._emptied: set[bytes] = set()  # owners that lost one
        self._first = 0  # the revision of the group's first commit, once there is one
        self.places: list[bytes] = []
        self.expiring = False

    def decide(self, intents: Sequence[Intent]) -> tuple[Batch, list[Outcome]]:
        """Return the batch that commits what may be committed, and the outcome of each intent.

        Raises:
            FencedError: Another row stands where the fence should.
        """
        among = self._among
        keys = [layout.head_key(partition) for partition in among]
        owners: set[bytes] = set()  # few, while places are many
        for intent in intents:
            for op in intent.ops:
                keys.append(layout.DATA + op.place)
                owners.add(op.owner)
            if intent.given:
                keys.extend([layout.commit_key(p, intent.commit_id) for p in among])
            if intent.reads:
                keys.extend([layout.DATA + place for place in intent.reads])
        keys.extend([layout.SCOPES + owner for owner in owners])
        if self._partitions.count > 1:
            keys.append(layout.SEQUENCE)
        if self._fence is not None:
            keys.append(self._fence[0])
        self._rows = rows = dict(zip(keys, self._view.get_many(keys), strict=True))
        if self._fence is not None and rows[self._fence[0]] != self._fence[1]:
            raise FencedError("the store was fenced: a later epoch of this writer has begun")
        heads = [parse_head(rows[layout.head_key(p)]) for p in among]
        self._tails = {p: Tail(p, head) for p, head in zip(among, heads, strict=True)}
        self._only = self._tails[among[0]] if len(among) == 1 else None
        self._now = max(self._clock_ns, *[head.time_ns for head in heads])
        self._revision = max([head.revision for head in heads])
        self._floor = self._revision if self._partitions.count == 1 else self._begin()
        outcomes = []
        for intent in intents:
            try:
                outcomes.append(self._commit(intent))
            except StateError as error:
                outcomes.append(Outcome(0, [], error, rests=self._meets(intent)))
        return self._batch(), outcomes

    def _begin(self) -> int:
        """Return what the revisions of this group lie above: those of every group before it.

        An engine that runs writes of several partitions at once gives each a number of its own;
        with any other the last revision of the store stands in a row.
        """
        row = self._rows[layout.SEQUENCE]
        floor = _from_bytes(row) if row is not None else 0
        if self._sequence is not None:
            floor += self._sequence * PER_GROUP
        return max(floor, self._revision)

    def _meets(self, intent: Intent) -> bool:
        """Say whether an intent touches or has read anything that the group changes before it."""
        if not self._first:
            return False
        seen = [op.place for op in intent.ops] + list(intent.reads or ())
        return (
            bool(intent.ranges)
            or not self._live.keys().isdisjoint(seen)
            or any(layout.commit_key(p, intent.commit_id) in self._index for p in self._among)
        )

    def _commit(self, intent: Intent) -> Outcome:
        if intent.given:
            for partition in self._among:
                known = self._row(layout.commit_key(partition, intent.commit_id))
                if known is not None:
                    return self._repeat(intent, _from_bytes(known[:8]))
        if intent.reads:
            self._check_reads(intent.reads)
        if intent.ranges:
            self._check_ranges(intent.ranges, intent.since)
        revision, live, rows = self._floor + 1, self._live, self._rows
        steps: list[Step] = []
        results: list[Any] = []
        for op in intent.ops:
            raw = live.get(op.place, MISSING)
            if raw is MISSING:
                raw = rows[layout.DATA + op.place]
            try:
                step = Step(op, raw, intent, revision, self._now, self._payloads)
            except StateError as error:
                if not intent.loose:
                    raise
                results.append(error)
            else:
                results.append(step.result)
                if step.operation:
                    steps.append(step)
        if not steps and not intent.trims and not intent.given:
            return Outcome(self._revision, results)
        # From here on nothing can refuse: an intent is applied whole or not at all.
        if self._only is not None:
            self._record(intent, revision, self._only, steps)
        else:
            of = self._partitions.of
            for partition, tail in self._tails.items():
                own = [step for step in steps if of(step.op.place) == partition]
                self._record(intent, revision, tail, own)
        self._first = self._first or revision
        self._revision = self._floor = revision
        return Outcome(revision, results)

    def _record(self, intent: Intent, revision: int, tail: Tail, steps: list[Step]) -> None:
        """Apply a commit's steps in one partition, and enter it there."""
        partition = tail.partition
        entries = [self._apply(step, revision, tail) for step in steps]
        for owner, horizon in intent.trims or ():
            if partition == (self._partitions.of(owner) if owner else intent.partition):
                entries.append(self._trim(owner, horizon, tail))
        if intent.given:
            self._index[layout.commit_key(partition, intent.commit_id)] = revision.to_bytes(8)
        if intent.correlation is not None:
            self._index[layout.correlation_key(partition, intent.correlation, revision)] = b""
        tail.commits.append(
            (
                intent.commit_id,
                intent.given,
                intent.actor,
                intent.correlation,
                intent.cause,
                entries,
            )
        )

    def _repeat(self, intent: Intent, revision: int) -> Outcome:
        """Return what the commit that had the same id first did, as the journal tells it."""
        changed = self._changed_by(revision)
        tenants = {place[: place.index(0)] for place in changed}
        results: list[Any] = []
        for op in intent.ops:
            if tenants and op.place[: op.place.index(0)] not in tenants:
                raise InvalidArgumentError(
                    "this commit_id names a commit of something else",
                    hint="make ids that are unique in the whole store: uuid4().bytes",
                )
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

    def _changed_by(self, revision: int) -> set[bytes]:
        """Return the places that a commit of the journal, or of this group, changed."""
        at = revision - self._first
        if self._first and at >= 0:
            return {c[0] for tail in self._tails.values() for c in tail.commits[at][5]}
        headers = [header_at(self._view, partition, revision) for partition in self._among]
        found = [header.commits[revision - header.first] for header in headers if header]
        if not found:
            raise CorruptionError("an indexed commit is gone", where=f"journal/{revision}")
        return {change.place for commit in found for change in commit.changes}

    # --- preconditions --------------------------------------------------------------------

    def _check_reads(self, reads: dict[bytes, int]) -> None:
        for place, expected in reads.items():
            raw = self._live.get(place, MISSING)
            if raw is MISSING:
                raw = self._rows[layout.DATA + place]
            actual = 0
            if raw is not None:
                found = parse(place, raw)
                if not found.expires_ns or found.expires_ns > self._now:
                    actual = found.revision
            if actual != expected:
                error = conflict(place, expected, actual, "revision")
                error.reason = "revision"
                raise error

    def _check_ranges(self, ranges: list[tuple[bytes, bytes]], since: Sequence[int]) -> None:
        reached = {p for each in ranges for p in self._partitions.covering(*each)}
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
            if begun < self._tails[partition].head.revision:
                for touched in touched_since(self._view, partition, begun):
                    refuse_touched(touched, ranges)
        refuse_touched(self.places, ranges)

    # --- effects --------------------------------------------------------------------------

    def _apply(self, step: Step, revision: int, tail: Tail) -> tuple[Any, ...]:
        place, stored, live = step.op.place, step.stored, step.live
        self.places.append(place)
        self._live[place] = live
        digest, previous = tail.digest, 0
        if stored is not None:
            previous = stored.revision
            digest -= _from_bytes(stored.checksum)
            if stored.expires_ns:
                self._index[layout.expiry_key(tail.partition, stored.expires_ns, place)] = None
            if previous <= tail.trimmed and stored.run == 0:
                # Compaction may have dropped this version's row; from now on the past needs it.
                assert step.stored_raw is not None
                self._versions[layout.version_key(place, previous)] = step.stored_raw
        if live is not None:
            digest += _from_bytes(live[-16:])
            if step.expires_ns:
                self._index[layout.expiry_key(tail.partition, step.expires_ns, place)] = b""
                self.expiring = True
            if stored is None:
                tail.count += 1
                self._filled.add(step.op.owner)
        elif stored is not None:
            tail.count -= 1
            self._emptied.add(step.op.owner)
        tail.digest = digest % DIGEST_MODULUS
        row = step.row
        self._versions[layout.version_key(place, revision)] = row
        return (
            place,
            step.operation,
            step.version,
            previous,
            step.state_class,
            len(row),
            row_digest(row),
        )

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
            hash_ = chain_hash(row, self._chain_key)
            packed = pack_journal_horizon(horizon, hash_)
            self._index[layout.horizon_key(tail.partition)] = packed
        return (owner, int(Operation.TRIM), 0, horizon, 0, 0, b"")

    def _batch(self) -> Batch:
        batch = Batch()
        if not self._first:
            return batch
        puts, deletes = batch.puts, batch.deletes
        for tail in self._tails.values():
            header = _encode(
                (
                    HEADER_FORMAT,
                    tail.partition,
                    self._first,
                    self._now,
                    tail.head.hash,
                    tail.digest.to_bytes(16),
                    tail.count,
                    tail.commits,
                )
            )
            last = Head(
                self._revision,
                self._now,
                chain_hash(header, self._chain_key),
                tail.digest,
                tail.count,
                tail.trimmed,
            )
            puts.append((layout.head_key(tail.partition), pack_head(last)))
            puts.append((layout.journal_key(tail.partition, self._revision), header))
        if self._partitions.count > 1 and self._sequence is None:
            puts.append((layout.SEQUENCE, self._revision.to_bytes(8)))
        for place, live in self._live.items():
            if live is None:
                deletes.append(layout.DATA + place)
            else:
                puts.append((layout.DATA + place, live))
        puts.extend(self._versions.items())
        for key, value in self._index.items():
            if value is None:
                deletes.append(key)
            else:
                puts.append((key, value))
        if self._emptied or self._filled:
            self._directory(batch)
        return batch

    def _directory(self, batch: Batch) -> None:
        """Keep one directory row for each scope that has a record, and none for the others."""
        for owner in self._emptied:
            if not self._has_records(owner):
                batch.deletes.append(layout.SCOPES + owner)
                self._filled.discard(owner)
        for owner in self._filled:
            if self._row(layout.SCOPES + owner) is None:
                batch.puts.append((layout.SCOPES + owner, self._now.to_bytes(8)))

    def _has_records(self, owner: bytes) -> bool:
        live = self._live
        if any(raw is not None and place.startswith(owner) for place, raw in live.items()):
            return True
        start, stop = layout.DATA + owner, after(layout.DATA + owner)
        limit = 8
        while True:
            rows = self._view.scan(start, stop, limit=limit, keys_only=True)
            if any(key[1:] not in live for key, _ in rows):
                return True
            if len(rows) < limit:
                return False
            start, limit = rows[-1][0] + b"\0", min(limit * 8, 4096)

    def _row(self, key: bytes) -> bytes | None:
        if key in self._index:
            return self._index[key]
        return self._rows[key]


def touched_since(view: View, partition: int, since: int) -> Iterable[list[bytes]]:
    """Yield the places that each commit of a partition after `since` changed."""
    for header in headers_between(view, partition, since, MAX_REVISION):
        for at, commit in enumerate(header.commits):
            if header.first + at > since:
                yield [c.place for c in commit.changes if c.operation != Operation.TRIM]


def refuse_touched(places: Iterable[bytes], ranges: list[tuple[bytes, bytes]]) -> None:
    """Raise if one of `places` lies in one of `ranges`.

    Raises:
        ConflictError: With reason ``range``.
    """
    for place in places:
        for start, stop in ranges:
            if start <= place < stop:
                _, scope, key = layout.split_place(place)
                raise ConflictError(
                    f"{scope}/{key} changed in a range that the transaction scanned",
                    scope=str(scope),
                    key=key,
                    reason="range",
                )
