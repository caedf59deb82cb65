"""Transactions: optimistic, serialisable, across any scopes; and snapshots.

Writes are buffered, reads are remembered. Nothing is locked while the caller's code runs. A read
that meets anything newer than the transaction's start conflicts at once, so no transaction ever
sees half of another; the commit checks every read again inside the writer.
"""

from __future__ import annotations

from holdfast.engines.base import View
from holdfast.errors import ConflictError, LimitExceededError
from holdfast.store import intent as wanted
from holdfast.store import layout
from holdfast.store.intent import Op
from holdfast.store.journal import journal_horizon, read_heads
from holdfast.store.kernel import Kernel
from holdfast.store.past import Found, scope_horizon
from holdfast.store.reader import PAGE
from holdfast.store.record import parse
from holdfast.store.step import conflict
from holdfast.store.touched import refuse_touched, touched_since


class Buffered:
    """A write that waits for its transaction: what a read inside it would see."""

    __slots__ = ("op", "payload")

    def __init__(self, op: Op, payload: bytes | None) -> None:
        self.op = op
        self.payload = payload  # encoded; None for a delete


class TransactionCore:
    """The bookkeeping of one transaction, on places.

    Attributes:
        starts: Per partition, the revision that all reads are as of; empty until the first read
            or write.
        reads: Place to the revision read; 0 for absent.
        ranges: Half-open ranges scanned.
        writes: Place to the buffered write.
        events: Events that the commit carries.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._of = kernel.partitions.of
        self.starts: list[int] = []
        self.reads: dict[bytes, int] = {}
        self.ranges: list[tuple[bytes, bytes]] = []
        self.writes: dict[bytes, Buffered] = {}
        self.events: list[wanted.Emitted] = []

    def begin(self) -> None:
        """Fix the start."""
        with self._kernel.engine.read() as view:
            self._begin(view)

    @property
    def start(self) -> int:
        """The highest revision that reads can see."""
        return max(self.starts, default=0)

    def _begin(self, view: View) -> None:
        if not self.starts:
            heads = read_heads(view, self._kernel.partitions.all)
            self.starts = [head.revision for head in heads]

    def read(self, place: bytes) -> Found | None:
        """Return the committed record at `place`, remembered for the commit's check.

        Raises:
            ConflictError: Somebody changed it after the transaction's start.
        """
        kernel = self._kernel
        with kernel.engine.read() as view:
            self._begin(view)
            partition = self._of(place)
            start = self.starts[partition]
            raw = view.get(layout.DATA + place)
            present = kernel.reader.now(view, partition)
            found = parse(place, raw) if raw is not None else None
            revision = found.revision if found is not None else 0
            if found is None and present.revision != start:
                revision = self._deleted_at(view, place, start)
                horizon = scope_horizon(view, layout.owner_of(place))
                if not revision and horizon > start:  # a delete since may have been trimmed
                    raise conflict(place, start, horizon, "too_old")
            if revision > start:
                outward = kernel.outward
                error = conflict(place, outward(start), outward(revision), "snapshot")
                error.reason = "snapshot"  # also where the store was empty at the start
                raise error
        if found is None or (found.expires_ns and found.expires_ns <= present.time_ns):
            self.reads.setdefault(place, 0)
            return None
        self.reads.setdefault(place, found.revision)
        return kernel.found(place, found, start)

    def _deleted_at(self, view: View, place: bytes, start: int) -> int:
        """Return the revision after `start` that removed `place`, or 0."""
        rows = view.scan(
            layout.version_key(place, start + 1),
            layout.version_key(place, (1 << 63) - 1),
            reverse=True,
            limit=1,
            keys_only=True,
        )
        return layout.version_parts(rows[0][0])[1] if rows else 0

    def scan(self, start: bytes, stop: bytes) -> list[Found]:
        """Return the committed records of a range, remembered for the commit's check.

        Raises:
            ConflictError: Somebody changed the range after the transaction's start, or the
                journal no longer reaches back to it.
        """
        kernel = self._kernel
        found: list[Found] = []
        self.ranges.append((start, stop))
        position, more = start, True
        partition = self._of(start)
        while more:
            with kernel.engine.read() as view:
                self._begin(view)
                begun = self.starts[partition]
                moment = kernel.reader.now(view, partition)
                if moment.revision != begun:
                    self._refuse_trimmed(view, partition, begun)
                    for touched in touched_since(view, partition, begun):
                        refuse_touched(touched, [(start, stop)])
                # The range is as it was at the start, so the present may be read instead.
                page, more = kernel.reader.page(view, position, stop, moment, PAGE)
            found += page
            if page:
                position = layout.behind(page[-1].place)
        for item in found:
            if item.record.expires_ns:  # time alone can take it away before the commit
                self.reads.setdefault(item.place, item.record.revision)
        return found

    def _refuse_trimmed(self, view: View, partition: int, begun: int) -> None:
        horizon, _ = journal_horizon(view, partition)
        if begun < horizon:
            raise ConflictError(
                f"the transaction started at revision {begun}, before the journal's horizon",
                reason="too_old",
                expected=begun,
                actual=horizon,
            )

    def write(self, op: Op, payload: bytes | None) -> None:
        """Buffer a write; the last one of a place wins."""
        limit = self._kernel.settings.max_commit_changes
        if len(self.writes) >= limit and op.place not in self.writes:
            raise LimitExceededError(
                f"a transaction may change at most {limit} keys",
                hint="split the work, or raise max_commit_changes",
                limit=limit,
                actual=limit + 1,
            )
        if not self.starts:
            self.begin()
        self.writes[op.place] = Buffered(op, payload)

    def intent(self, made: wanted.Intent) -> wanted.Intent:
        """Put this transaction's writes and checks on an empty intent."""
        made.events = self.events
        made.ops = [buffered.op for buffered in self.writes.values()]
        made.reads = self.reads
        made.ranges = self.ranges
        made.since = self.starts
        return made
