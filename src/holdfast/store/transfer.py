"""Copying a whole store to another engine: exact, with its history, while writers go on.

First every row is copied page by page, without regard to what happens meanwhile; then what has
changed since is caught up, the last round on one consistent view. Index rows are derived from
what they index. The identity row comes last, so a copy that was cut off is no store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from holdfast.engines.base import Batch, Durability, Engine, View
from holdfast.errors import InvalidArgumentError
from holdfast.keys import after
from holdfast.store import layout, record
from holdfast.store.journal import (
    DIGEST_MODULUS,
    Header,
    parse_header,
    read_heads,
)
from holdfast.store.kernel import Kernel
from holdfast.store.partitions import Partitions
from holdfast.store.record import parse
from holdfast.store.value import Operation

_ROWS = 500
_PAGE_BYTES = 8 * 1024 * 1024
_ROUNDS = 20
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What was copied.

    Attributes:
        records, versions, commits: How many.
        revision: The copy shows the source as of this revision.
    """

    records: int
    versions: int
    commits: int
    revision: int


class Target:
    """Rows on their way into an empty engine, written in bounded batches."""

    def __init__(self, engine: Engine, partitions: Partitions) -> None:
        self.engine = engine
        self._of = partitions.of
        self._batch = Batch()
        self._size = 0
        with engine.read() as view:
            if view.scan(b"\x00", b"\xff", limit=1, keys_only=True):
                raise InvalidArgumentError(
                    "the target is not empty", hint="name a path that does not exist yet"
                )
        # Until `finish`, this row stands where the identity should be: it is no store.
        engine.write(Durability.OS, lambda _: Batch(puts=[(layout.INCOMPLETE, b"")]))

    def put(self, key: bytes, value: bytes) -> None:
        """Add a row."""
        self._batch.puts.append((key, value))
        self._size += len(key) + len(value)
        if self._size > _PAGE_BYTES or len(self._batch.puts) >= 2000:
            self.flush()

    def record(self, place: bytes, raw: bytes) -> None:
        """Add a live record and its expiry row."""
        self.put(layout.DATA + place, raw)
        found = parse(place, raw)
        if found.expires_ns:
            self.put(layout.expiry_key(self._of(place), found.expires_ns, place), b"")

    def header(self, key: bytes, row: bytes) -> Header:
        """Add a header and its index rows."""
        self.put(key, row)
        header = parse_header(key, row)
        for at, commit in enumerate(header.commits):
            revision = header.first + at
            if commit.given:
                self.put(
                    layout.commit_key(header.partition, commit.commit_id), revision.to_bytes(8)
                )
            if commit.correlation is not None:
                text = commit.correlation
                self.put(layout.correlation_key(header.partition, text, revision), b"")
        return header

    def flush(self) -> None:
        """Write what has gathered; it is made durable once, at the end."""
        batch, self._batch, self._size = self._batch, Batch(), 0
        batch.puts = list(dict(batch.puts).items())  # the last one of a key
        if batch.puts:
            self.engine.write(Durability.RELAXED, lambda _: batch)

    def finish(self, identity: bytes) -> None:
        """Make the target a store, on disk."""
        self.flush()
        batch = Batch(puts=[(layout.STORE, identity)], deletes=[layout.INCOMPLETE])
        self.engine.flush()
        self.engine.write(Durability.SYNC, lambda _: batch)

    def replace(self, place: bytes, raw: bytes | None) -> None:
        """Bring a place that may have been copied already up to date."""
        self.flush()
        old = self.engine.get(layout.DATA + place)
        batch = Batch()
        if old is not None:
            expires = parse(place, old).expires_ns
            if expires:
                batch.deletes.append(layout.expiry_key(self._of(place), expires, place))
            batch.deletes.append(layout.DATA + place)
        self.engine.write(Durability.RELAXED, lambda _: batch)
        if raw is not None:
            self.record(place, raw)

    def directory(self) -> None:
        """Derive the scope directory from the records."""
        self.flush()
        position, end = layout.DATA, after(layout.DATA)
        while True:
            with self.engine.read() as view:
                rows = view.scan(position, end, limit=1)
            if not rows:
                return
            place = rows[0][0][1:]
            owner = layout.owner_of(place)
            self.put(layout.SCOPES + owner, parse(place, rows[0][1]).created_ns.to_bytes(8))
            position = after(layout.DATA + owner)


def pages(engine: Engine, start: bytes, stop: bytes) -> Iterator[list[tuple[bytes, bytes]]]:
    """Yield the rows of a range in pages, each from its own view."""
    while True:
        with engine.read() as view:
            rows = view.scan(start, stop, limit=_ROWS)
        if rows:
            yield rows
        if len(rows) < _ROWS:
            return
        start = rows[-1][0] + b"\0"


def copy_store(kernel: Kernel, engine: Engine, progress: Progress | None = None) -> CopyReport:
    """Copy a whole store, of every tenant, into an empty engine.

    Args:
        kernel: The source; writers may go on.
        engine: The target; it stays open.
        progress: Called with records copied so far and records in all.

    Raises:
        InvalidArgumentError: The target holds something.
        CorruptionError: A record or header of the source is damaged; use repair.
    """
    target = Target(engine, kernel.partitions)
    source = kernel.engine
    with kernel.pins.hold(0) as pin:
        pin.renew()
        with source.read() as view:
            heads = read_heads(view, kernel.partitions.all)
        begun = [head.revision for head in heads]
        known = sum(head.records for head in heads)
        done = 0
        for rows in pages(source, layout.DATA, after(layout.DATA)):
            pin.renew()
            for key, raw in rows:
                target.record(key[1:], raw)
            done += len(rows)
            if progress is not None:
                progress(done, max(known, done))
        for rows in pages(source, layout.VERSIONS, after(layout.VERSIONS)):
            pin.renew()
            for key, raw in rows:
                target.put(key, raw)
        reached = [0] * len(begun)
        for _ in range(_ROUNDS):
            if not _catch_up(kernel, target, reached, begun):
                break
        report = _finish(kernel, target, reached, begun)
    if progress is not None:
        progress(report.records, report.records)
    return report


def _catch_up(kernel: Kernel, target: Target, reached: list[int], begun: list[int]) -> bool:
    """Copy headers behind `reached` and what they changed; move it, and say if there is more."""
    more = False
    for partition in kernel.partitions.all:
        with kernel.engine.read() as view:
            more |= _headers(view, target, partition, reached, begun[partition], limit=_ROWS)
    return more


def _headers(
    view: View, target: Target, partition: int, reached: list[int], begun: int, limit: int | None
) -> bool:
    rows = view.scan(*layout.journal_range(partition, reached[partition]), limit=limit)
    touched: dict[bytes, None] = {}
    for key, row in rows:
        header = target.header(key, row)
        reached[partition] = header.last
        if header.last <= begun:
            continue
        for at, commit in enumerate(header.commits):
            for change in commit.changes:
                if change.operation == Operation.TRIM:
                    continue
                touched[change.place] = None
                # Also the version before: compaction may have dropped its row, and this change
                # has put it back behind the copy's position.
                for revision in (change.previous, header.first + at):
                    version = layout.version_key(change.place, revision)
                    stored = view.get(version) if revision else None
                    if stored is not None:
                        target.put(version, stored)
    for place in touched:
        target.replace(place, view.get(layout.DATA + place))
    return limit is not None and len(rows) == limit


def _finish(kernel: Kernel, target: Target, reached: list[int], begun: list[int]) -> CopyReport:
    """Catch up for the last time on one view, and make the target a store."""
    with kernel.engine.read() as view:
        for partition in kernel.partitions.all:
            _headers(view, target, partition, reached, begun[partition], limit=None)
        revision = max(head.revision for head in read_heads(view, kernel.partitions.all))
        # Leases of readers of the source mean nothing elsewhere, nor what processes say of their
        # hooks there; all other meta rows go along.
        own = layout.PIN, layout.HOOKS, layout.SEQUENCE, layout.STORE
        for key, row in view.scan(layout.META, after(layout.META)):
            if not key.startswith(own):
                target.put(key, row)
        for key, row in view.scan(layout.BLOBS, after(layout.BLOBS)):  # trained meanwhile
            target.put(key, row)
        for key, row in view.scan(layout.CURSORS, after(layout.CURSORS)):
            target.put(key, row)
        identity = view.get(layout.STORE)
    target.directory()
    if kernel.partitions.count > 1:  # whatever counts in the target's engine goes on from here
        target.put(layout.SEQUENCE, revision.to_bytes(8))
    target.flush()
    records, versions, commits = _count(target.engine)
    assert identity is not None
    target.finish(identity)
    return CopyReport(records, versions, commits, revision)


def _count(engine: Engine) -> tuple[int, int, int]:
    records = sum(len(rows) for rows in pages(engine, layout.DATA, after(layout.DATA)))
    versions = sum(len(rows) for rows in pages(engine, layout.VERSIONS, after(layout.VERSIONS)))
    commits = 0
    for rows in pages(engine, layout.JOURNAL, after(layout.JOURNAL)):
        commits += sum(len(parse_header(*row).commits) for row in rows)
    return records, versions, commits


def digests_of(engine: Engine, partitions: Partitions) -> list[tuple[int, int]]:
    """Return, per partition, the sum of the checksums of its live records, and their number."""
    digests, records = [0] * partitions.count, [0] * partitions.count
    for rows in pages(engine, layout.DATA, after(layout.DATA)):
        for key, raw in rows:
            partition = partitions.of(key[1:])
            digests[partition] += int.from_bytes(raw[-record.SUM_SIZE :])
            records[partition] += 1
    return [(d % DIGEST_MODULUS, n) for d, n in zip(digests, records, strict=True)]
