"""What the spill can say of a key while the primary is away, and how it takes a key over.

Its own record counts if it is of this outage; else the mirrored one; else the key is unknown.
Before a key is first written it is *adopted*: a commit that the replay skips brings the spill's
own record to what the primary had, so that versions, classes and expiry go on from there.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

from holdfast.engines.base import Durability, View
from holdfast.errors import DegradedError
from holdfast.failover.mirror import mirrored
from holdfast.failover.rows import INSIDE, shown
from holdfast.failover.spill import Spill
from holdfast.store import intent as wanted
from holdfast.store import layout
from holdfast.store.intent import Intent, Op
from holdfast.store.record import Record, describe, parse, peek
from holdfast.store.value import Operation

_LAST = (1 << 63) - 1
_PENDING = 0  # as the revision of an adoption: on its way


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a place.

    Attributes:
        raw: The record; None where the place is known to hold nothing.
        spilled: It is of this outage: its revision is the spill's.
    """

    raw: bytes | None
    spilled: bool

    def revision(self, found: Record | None) -> int:
        """Return the revision that callers see."""
        if found is None:
            return 0
        return shown(found.revision) if self.spilled else found.revision


class Knowledge:
    """The keys that one spill can speak of."""

    def __init__(self, spill: Spill) -> None:
        self._spill = spill
        self._lock = threading.Lock()
        self._adopted: dict[bytes, int] = {}

    def resume(self) -> None:
        """Find out again what an outage that outlived its process has adopted."""
        spill = self._spill
        self._adopted.clear()
        if spill.outage is None or spill.identity is None:
            return
        since, more = spill.outage.start, True
        while more:
            page, more = spill.commits(since)
            for revision, _, commit in page:
                since = revision
                mark = commit.commit_id.startswith(spill.identity.mark)
                for change in commit.changes:
                    if change.operation != Operation.TRIM:
                        if mark:
                            self._adopted[change.place] = revision
                        else:
                            self._adopted.setdefault(change.place, -1)

    def forget(self) -> None:
        """Begin anew: the outage is over."""
        with self._lock:
            self._adopted.clear()

    def look(self, view: View, place: bytes) -> Known | None:
        """Return what is known of `place` in a view of the spill; None for nothing at all."""
        spill, outage = self._spill, self._spill.outage
        if outage is None:
            raise DegradedError("the primary came back over this read", hint="read again")
        start = outage.start
        raw = view.get(layout.DATA + place)
        newest = 0 if raw is None else peek(raw).revision
        adopted = self._adopted.get(place, -1)
        if raw is None and adopted != _PENDING:
            newest = self._newest(view, place, start)
        if newest > start and newest != adopted and adopted != _PENDING:
            return Known(raw, True)
        row = mirrored(view, place) if spill.mirror.knows(place) else None
        return None if row is None else Known(row or None, False)

    def wrote(self, view: View, place: bytes, revision: int) -> bool:
        """Say whether this outage has a version of `place` at or before a revision of the spill."""
        outage = self._spill.outage
        return outage is not None and self._newest(view, place, outage.start, revision + 1) > 0

    def _newest(self, view: View, place: bytes, start: int, stop: int = _LAST) -> int:
        key = layout.version_key
        if stop <= start + 1:
            return 0
        rows = view.scan(
            key(place, start + 1), key(place, stop), reverse=True, limit=1, keys_only=True
        )
        return layout.version_parts(rows[0][0])[1] if rows else 0

    def live(self, known: Known, place: bytes) -> Record | None:
        """Return the record of what is known, or None where it is nothing or has expired."""
        if known.raw is None:
            return None
        found = parse(place, known.raw)
        if found.expires_ns and found.expires_ns <= self._spill.clock.now_ns():
            return None
        return found

    def adopt(self, ops: Iterable[Op]) -> None:
        """Bring the spill's own records of what `ops` write to what the primary had.

        Raises:
            DegradedError: A touch of a key that is unknown here: whether it does anything only
                the primary can say.
        """
        with self._lock:
            fresh = [op for op in ops if op.place not in self._adopted]
            if not fresh:
                return
            with self._spill.engine.read() as view:
                adopting = [self._adoption(view, op) for op in fresh]
            changes = [op for op in adopting if op is not None]
            for op in fresh:
                self._adopted[op.place] = _PENDING
            revision = -1
            try:
                if changes:
                    revision = self._commit(changes)
            except BaseException:
                for op in fresh:
                    del self._adopted[op.place]
                raise
            changed = {op.place for op in changes}
            for op in fresh:
                self._adopted[op.place] = revision if op.place in changed else -1

    def _commit(self, changes: list[Op]) -> int:
        spill = self._spill
        assert spill.identity is not None
        carry = Intent(changes, Durability.OS)
        count = spill.kernel.head_revision() + 1
        carry.commit_id = spill.identity.mark + count.to_bytes(8)
        return spill.kernel.commit(carry).revision

    def _adoption(self, view: View, op: Op) -> Op | None:
        """Return what makes the spill's own record the primary's; None where nothing has to."""
        place, payloads = op.place, self._spill.kernel.payloads
        known = self.look(view, place)
        found = None if known is None else self.live(known, place)
        if known is None and op.kind == wanted.TOUCH:
            raise unknown(place)
        if found is not None:
            prepared = payloads.pack(payloads.restore(place, found))
        elif known is None and op.kind == wanted.DELETE:
            prepared = payloads.prepare(None)  # so that the delete is one, and is journaled
        elif view.get(layout.DATA + place) is not None:
            return Op(wanted.DELETE, op.owner, place)  # of an earlier outage
        else:
            return None
        made = Op(wanted.SET, op.owner, place, prepared)
        if found is not None:
            made.state_class, made.expires_ns = found.state_class, found.expires_ns
            made.schema_version = found.schema_version
        return made


def unknown(place: bytes) -> DegradedError:
    """Return the error for a key that the spill cannot speak of."""
    return DegradedError(
        f"the primary is away, and {describe(place)} is not known here",
        hint="only keys that this process read or wrote before can be read now; retry later",
    )


def inside(revision: int) -> int:
    """Return the number that transactions see of a revision of the spill."""
    return INSIDE + revision
