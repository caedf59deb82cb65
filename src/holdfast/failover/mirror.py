"""The mirror: what this process knows of the primary, kept beside the spill's own records.

A key is known here only while its row is the newest that this process wrote or read through the
primary. What the process wrote is mirrored before the write is acknowledged; a value newer than a
mirrored one replaces it at once; keys read for the first time are added in the background, within
a bound. Whatever cannot be kept up to date is forgotten: an unknown key is an error, a stale one
would be a lie.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable

from holdfast.engines.base import Batch, Durability, Engine, View
from holdfast.errors import StateError
from holdfast.failover import rows
from holdfast.failover.rows import Heads, KnownHead
from holdfast.keys import after
from holdfast.store import layout, record
from holdfast.store.journal import parse_head

_PAGE = 500
_HEAD_NAME = layout.head_key(0)[3:]
_ABSENT = 0  # as a revision: known not to be there

Portable = Callable[[bytes, bytes], bytes | None]


class Mirror:
    """Records of the primary, by place, in the spill's engine.

    Args:
        engine: The spill's.
        limit: The most keys.
        queue: The most keys that wait to be added.

    Attributes:
        heads: The primary's heads, by partition, as last seen.
        lost: Code of the error that kept the mirror from being written last, or None.
        portable: Rewrites a record so that it needs nothing of the primary's store to be read;
            None if that cannot be done yet.
    """

    def __init__(self, engine: Engine, limit: int, queue: int) -> None:
        self._engine = engine
        self._limit, self._queue = limit, queue
        self._lock = threading.RLock()
        self._index: OrderedDict[bytes, int] = OrderedDict()
        self._adding: dict[bytes, bytes] = {}
        self._generation = 0
        self.heads: Heads = {}
        self.lost: str | None = None
        self.portable: Portable = lambda _, raw: raw

    def load(self) -> None:
        """Read what is known."""
        row = self._engine.get(rows.HEAD)
        if row is not None:
            self.heads = rows.unpack_heads(row)
        start, stop = rows.MIRROR, after(rows.MIRROR)
        while True:
            with self._engine.read() as view:
                page = view.scan(start, stop, limit=_PAGE)
            for key, raw in page:
                self._index[key[2:]] = record.peek(raw).revision if raw else _ABSENT
            if len(page) < _PAGE:
                return
            start = page[-1][0] + b"\0"

    def clear(self) -> None:
        """Forget every key."""
        with self._lock:
            self._index.clear()
            self._adding.clear()
            span = rows.MIRROR, after(rows.MIRROR)
            self._engine.write(Durability.SYNC, lambda _: Batch(delete_ranges=[span]))

    def __len__(self) -> int:
        return len(self._index)

    # --- what the primary's engine tells -----------------------------------------------------

    def stamp(self) -> int:
        """Return a number to give to `saw` with what is read after this call."""
        return self._generation

    def saw(self, place: bytes, raw: bytes | None, stamp: int) -> None:
        """Note what a read of the primary returned."""
        known = self._index.get(place)
        revision = _ABSENT if raw is None else record.peek(raw).revision
        if known == revision:
            return
        with self._lock:
            known = self._index.get(place)
            if known is None:
                if len(self._adding) < self._queue and (
                    raw is not None or stamp == self._generation
                ):
                    self._adding[place] = b"" if raw is None else raw
                    self._index[place] = revision
                return
            if known >= revision and raw is not None:
                return
            if (raw is None or known == _ABSENT) and stamp != self._generation:
                self.forget([place])  # which of the two came first cannot be told
                return
            self._keep({place: b"" if raw is None else raw}, {place: revision})

    def wrote(self, batch: Batch) -> None:
        """Mirror what a commit of this process has done to the primary."""
        changed: dict[bytes, bytes] = {}
        revisions: dict[bytes, int] = {}
        for key, raw in batch.puts:
            if key[:1] == layout.DATA:
                changed[key[1:]] = raw
                revisions[key[1:]] = record.peek(raw).revision
            elif (partition := head_of(key)) is not None:
                self.note_head(partition, raw)
        for key in batch.deletes:
            if key[:1] == layout.DATA:
                changed[key[1:]], revisions[key[1:]] = b"", _ABSENT
        if changed:
            with self._lock:
                self._keep(changed, revisions)

    def note_head(self, partition: int, raw: bytes | None) -> bool:
        """Note a head of the primary that was seen; return whether it is a later one."""
        head = parse_head(raw)
        with self._lock:
            later = head.revision > self.reached(partition)
            if later:
                self.heads = {**self.heads, partition: KnownHead(head.revision, head.hash)}
        return later

    def reached(self, partition: int) -> int:
        """Return the last revision of a partition that was seen."""
        known = self.heads.get(partition)
        return 0 if known is None else known.revision

    def forget(self, places: Iterable[bytes]) -> None:
        """Make keys unknown."""
        with self._lock:
            self._generation += 1
            gone = [place for place in places if self._index.pop(place, None) is not None]
            for place in gone:
                self._adding.pop(place, None)
            if gone:
                self._write(Batch(deletes=[rows.MIRROR + place for place in gone]))

    # --- keeping ----------------------------------------------------------------------------

    def flush(self, durability: Durability = Durability.OS) -> None:
        """Write what waits to be added, and the known head."""
        with self._lock:
            adding, self._adding = self._adding, {}
            batch = Batch(puts=[(rows.HEAD, rows.pack(self.heads))])
            for place, raw in adding.items():
                self._carry(batch, place, raw)
            batch.deletes += self._evict(set(adding))
            self._write(batch, durability)

    def waiting(self) -> int:
        """Return how many keys wait to be added."""
        return len(self._adding)

    def knows(self, place: bytes) -> bool:
        """Say whether the place's row in the spill can be believed."""
        return place in self._index and place not in self._adding

    def _keep(self, changed: dict[bytes, bytes], revisions: dict[bytes, int]) -> None:
        self._generation += 1
        for place, revision in revisions.items():
            self._adding.pop(place, None)
            self._index[place] = revision
            self._index.move_to_end(place)
        batch = Batch(puts=[(rows.HEAD, rows.pack(self.heads))])
        for place, raw in changed.items():
            self._carry(batch, place, raw)
        batch.deletes += self._evict(set(changed))
        self._write(batch)

    def _evict(self, keep: set[bytes]) -> list[bytes]:
        """Drop the keys that were not written for longest; return their rows."""
        gone: list[bytes] = []
        while len(self._index) > self._limit:
            place = next(iter(self._index))
            if place in keep:
                if all(each in keep for each in self._index):
                    break
                self._index.move_to_end(place)
                continue
            del self._index[place]
            self._adding.pop(place, None)
            gone.append(rows.MIRROR + place)
        return gone

    def _carry(self, batch: Batch, place: bytes, raw: bytes) -> None:
        """Put a record into `batch`; one that is not portable yet waits, unknown until then."""
        row = self.portable(place, raw) if raw else raw
        if row is None:
            self._adding[place] = raw
            batch.deletes.append(rows.MIRROR + place)
        else:
            batch.puts.append((rows.MIRROR + place, row))

    def _write(self, batch: Batch, durability: Durability = Durability.OS) -> None:
        """Write rows; where that fails, what they are about becomes unknown.

        The primary's writes do not depend on the mirror, so its failure is never theirs.
        """
        try:
            self._engine.write(durability, lambda _: batch)
            self.lost = None
        except StateError as error:
            self.lost = error.code
            for key in [key for key, _ in batch.puts] + batch.deletes:
                if key[:2] == rows.MIRROR:
                    self._index.pop(key[2:], None)
                    self._adding.pop(key[2:], None)


def mirrored(view: View, place: bytes) -> bytes | None:
    """Return the mirrored record, b"" for one known to be absent, None for none."""
    return view.get(rows.MIRROR + place)


def head_of(key: bytes) -> int | None:
    """Return the partition whose head stands under a row key; None for any other row."""
    if key[:1] == layout.META and key[3:] == _HEAD_NAME:
        return int.from_bytes(key[1:3])
    return None
