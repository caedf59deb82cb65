"""Verification: walks everything there is, and says by name what does not agree.

Checked are every record's checksum, place and class of row; that data, versions, journal,
directory and index rows agree; the journal's chain; and the running digest and count of all live
records, which notice a record that vanished or an older one put back. Pages are read one by one,
each on a consistent view, so a store can be verified while writers go on; what only the whole
can show (digest and count) is summed as of one revision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import NamedTuple

from xxhash import xxh3_64_intdigest

from holdfast.engines.base import View
from holdfast.errors import CorruptionError, DivergedError, FormatVersionError, StateError
from holdfast.keys import after, pack_text
from holdfast.store import cursors, layout, record
from holdfast.store.journal import (
    DIGEST_MODULUS,
    CommitEntry,
    Head,
    Header,
    chain_hash,
    commits_at,
    journal_horizon,
    parse_whole,
    read_head,
    read_heads,
    row_digest,
)
from holdfast.store.kernel import Kernel
from holdfast.store.past import (
    Moment,
    parse_version,
    restore_version,
    scan_at,
    scope_horizon,
)
from holdfast.store.position import Position, refuse_diverged
from holdfast.store.record import parse
from holdfast.store.value import Operation

_ROWS = 200
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that does not agree.

    Attributes:
        code: What kind, e.g. ``"record-checksum"``, ``"missing-version"``, ``"chain-broken"``.
        where: Scope and key, a revision, or a row.
        detail: What was found.
    """

    code: str
    where: str
    detail: str


class _Row(NamedTuple):
    """Which row a problem is about; put into words only when there is one."""

    place: bytes
    revision: int | None = None

    def __str__(self) -> str:
        words = record.describe(self.place)
        return words if self.revision is None else f"{words}@{self.revision}"


def verify(kernel: Kernel, progress: Progress | None = None) -> list[Problem]:
    """Walk the whole store, of every tenant, and return the problems found; none: it is sound.

    Args:
        kernel: The store.
        progress: Called with the number of rows checked so far.
    """
    return _Verification(kernel, progress).run()


def _commit_at(view: View, partition: int, revision: int) -> CommitEntry | None:
    """Return the header's entry of a commit; None where there is none that can be read."""
    try:
        found = commits_at(view, partition, [revision])
    except (CorruptionError, FormatVersionError):
        return None  # reported by the walk over the journal
    return found[revision][1] if revision in found else None


class _Verification:
    def __init__(self, kernel: Kernel, progress: Progress | None) -> None:
        self._kernel = kernel
        self._progress = progress
        self._rows = 0
        self._problems: list[Problem] = []
        self._of = kernel.partitions.of
        # Sums of the row keys of versions between two revisions of their partition: those that
        # headers name, and those that are there.
        self._named = self._present = 0
        self._low: list[int] = []
        self._high: list[int] = []

    def run(self) -> list[Problem]:
        for walk in (
            self._data,
            self._directory,
            self._journal,
            self._versions,
            self._expiry,
            self._commits,
            self._correlations,
            self._cursors,
            self._totals,
        ):
            try:
                walk()
            except (CorruptionError, FormatVersionError) as error:
                # The engine itself found damage; what lies behind it cannot be walked.
                self._report("engine", error.__dict__.get("where") or walk.__name__, error.message)
        return self._problems

    def _report(self, code: str, where: str | _Row, detail: str) -> None:
        self._problems.append(Problem(code, str(where), detail))

    def _pages(self, start: bytes, stop: bytes) -> Iterator[tuple[View, list[tuple[bytes, bytes]]]]:
        """Yield each page of a range of rows with the view that it was read from."""
        while True:
            with self._kernel.engine.read() as view:
                rows = view.scan(start, stop, limit=_ROWS)
                if rows:
                    yield view, rows
            self._rows += len(rows)
            if self._progress is not None:
                self._progress(self._rows)
            if len(rows) < _ROWS:
                return
            start = rows[-1][0] + b"\0"

    # --- walks ----------------------------------------------------------------------------

    def _data(self) -> None:
        """Every live record: sound, of the newest version, indexed, in a listed scope."""
        for view, rows in self._pages(layout.DATA, after(layout.DATA)):
            heads = read_heads(view, self._kernel.partitions.all)
            owners: dict[bytes, bool] = {}
            for key, raw in rows:
                place = key[1:]
                where = _Row(place)
                try:
                    layout.split_place(place)
                    found = parse(place, raw)
                    self._kernel.payloads.restore(place, found)
                except ValueError:
                    self._report("bad-key", where, "the row's key is no place")
                    continue
                except StateError as error:
                    self._report("record-checksum", where, error.message)
                    continue
                if found.kind != record.VALUE:
                    self._report("record-kind", where, "a live record is no full copy")
                    continue
                partition = self._of(place)
                head = heads[partition]
                if found.revision > head.revision:
                    self._report("future-revision", where, f"revision {found.revision}")
                self._check_newest(view, place, raw, found, head.trimmed)
                if found.expires_ns:
                    if view.get(layout.expiry_key(partition, found.expires_ns, place)) is None:
                        self._report("missing-expiry", where, "the expiry index lacks the key")
                owner = layout.owner_of(place)
                if owner not in owners:
                    owners[owner] = view.get(layout.SCOPES + owner) is not None
                    if not owners[owner]:
                        self._report("missing-scope", where, "the scope directory lacks its scope")

    def _check_newest(
        self, view: View, place: bytes, raw: bytes, found: record.Record, trimmed: int
    ) -> None:
        where = _Row(place)
        newest = view.scan(
            layout.VERSIONS + place,
            layout.version_key(place, (1 << 63) - 1),
            reverse=True,
            limit=1,
        )
        if not newest or layout.version_parts(newest[0][0])[1] < found.revision:
            if found.revision > trimmed or found.run:
                self._report("missing-version", where, f"revision {found.revision} has no row")
            return
        key, row = newest[0]
        revision = layout.version_parts(key)[1]
        if revision > found.revision:
            self._report(
                "stale-record",
                where,
                f"the live record is of revision {found.revision}, the newest is {revision}",
            )
            return
        try:
            version = parse_version(key, row)
        except CorruptionError:
            return  # reported by the walk over versions
        if (version.full_sum or version.checksum) != raw[-record.SUM_SIZE :]:
            self._report("version-differs", where, f"revision {revision} holds another record")

    def _directory(self) -> None:
        """Every listed scope holds a record."""
        for view, rows in self._pages(layout.SCOPES, after(layout.SCOPES)):
            for key, _ in rows:
                start = layout.DATA + key[1:]
                if not view.scan(start, after(start), limit=1, keys_only=True):
                    self._report("empty-scope", key[1:].hex(), "a listed scope holds no record")

    def _journal(self) -> None:
        """Every partition's headers."""
        every = self._kernel.partitions.all
        with self._kernel.engine.read() as view:
            self._low = [journal_horizon(view, partition)[0] for partition in every]
            self._high = [head.revision for head in read_heads(view, every)]
        for partition in every:
            self._journal_of(partition)

    def _journal_of(self, partition: int) -> None:
        """Every header: whole, chained, contiguous; its versions present and undisturbed."""
        last: Header | None = None
        alone = self._kernel.partitions.count == 1  # else others have revisions in between
        expected = b""
        key = self._kernel.settings.chain_key
        checked = self._kernel.info.keyed == (key is not None)
        reach = layout.journal_range(partition)
        for view, rows in self._pages(*reach):
            for row_key, row in rows:
                where = f"journal/{layout.journal_parts(row_key)[1]}"
                try:
                    header = parse_whole(row_key, row)
                except StateError as error:
                    self._report("header-damaged", where, error.message)
                    last = None
                    continue
                if last is None and not expected:
                    horizon, expected = journal_horizon(view, partition)
                    if header.last <= horizon:
                        expected = b""  # left over from a compaction that was interrupted
                        continue
                    if alone and header.first != horizon + 1:
                        self._report("journal-gap", where, f"nothing from {horizon + 1} on")
                elif last is not None:
                    if header.first != last.last + 1 if alone else header.first <= last.last:
                        self._report("journal-gap", where, f"nothing from {last.last + 1} on")
                    if header.time_ns < last.time_ns:
                        self._report("time-reversed", where, "older than the commit before")
                if checked and expected and header.previous_hash != expected:
                    self._report("chain-broken", where, "does not continue the header before")
                self._check_changes(view, header)
                last, expected = header, chain_hash(row, key)
        with self._kernel.engine.read() as view:
            head = read_head(view, partition)
            end = view.scan(*reach, reverse=True, limit=1)
            horizon, _ = journal_horizon(view, partition)
        revision = layout.journal_parts(end[0][0])[1] if end else horizon
        if head.revision != revision:
            self._report("head-differs", "meta/head", f"{head.revision}, journal ends {revision}")
        elif end and checked and chain_hash(end[0][1], key) != head.hash:
            self._report("chain-broken", "meta/head", "the last header is not the one committed")

    def _check_changes(self, view: View, header: Header) -> None:
        partition = header.partition
        for at, commit in enumerate(header.commits):
            revision = header.first + at
            if commit.given and view.get(layout.commit_key(partition, commit.commit_id)) is None:
                self._report("missing-commit-id", f"revision {revision}", "not indexed")
            if commit.correlation is not None:
                key = layout.correlation_key(partition, commit.correlation, revision)
                if view.get(key) is None:
                    self._report("missing-correlation", f"revision {revision}", "not indexed")
            for change in commit.changes:
                if change.operation == Operation.TRIM:
                    continue
                row_key = layout.version_key(change.place, revision)
                row = view.get(row_key)
                where = _Row(change.place, revision)
                if row is None:
                    self._check_trimmed(view, change.place, revision, where)
                    continue
                if self._of(change.place) != partition:
                    self._report("wrong-partition", where, f"in the journal of {partition}")
                if self._low[partition] < revision <= self._high[partition]:
                    self._named += xxh3_64_intdigest(row_key)
                if row_digest(row) != change.digest:
                    self._report("version-edited", where, "not what the journal recorded")

    def _check_trimmed(self, view: View, place: bytes, revision: int, where: _Row) -> None:
        horizon = scope_horizon(view, layout.owner_of(place))
        if revision > horizon:
            self._report("missing-version", where, f"the scope's horizon is {horizon}")

    def _versions(self) -> None:
        """Every version row: sound, rebuildable, known to the journal."""
        for view, rows in self._pages(layout.VERSIONS, after(layout.VERSIONS)):
            heads = read_heads(view, self._kernel.partitions.all)
            for key, row in rows:
                place, revision = layout.version_parts(key)
                where = _Row(place, revision)
                partition = self._partition(place)
                if self._low[partition] < revision <= self._high[partition]:
                    self._present += xxh3_64_intdigest(key)
                try:
                    found = parse_version(key, row)
                    restore_version(view, self._kernel.payloads, place, found)
                except StateError as error:
                    self._report("version-damaged", where, error.message)
                    continue
                if revision > heads[partition].revision:
                    head = heads[partition].revision
                    self._report("future-revision", where, f"the head is at {head}")
        if self._named != self._present:
            self._unknown_versions()

    def _unknown_versions(self) -> None:
        """Every version row behind the journal's horizon is named by its commit's header."""
        for view, rows in self._pages(layout.VERSIONS, after(layout.VERSIONS)):
            for key, _ in rows:
                place, revision = layout.version_parts(key)
                partition = self._partition(place)
                low = journal_horizon(view, partition)[0]
                if low < revision <= self._high[partition]:
                    commit = _commit_at(view, partition, revision)
                    if commit is not None and place not in {c.place for c in commit.changes}:
                        where = _Row(place, revision)
                        self._report("unknown-version", where, "its commit does not name it")

    def _expiry(self) -> None:
        """Every expiry row names a live record with that expiry."""
        for view, rows in self._pages(layout.EXPIRY, after(layout.EXPIRY)):
            for key, _ in rows:
                time_ns, place = layout.expiry_parts(key)
                raw = view.get(layout.DATA + place)
                try:
                    stale = raw is None or parse(place, raw).expires_ns != time_ns
                except CorruptionError:
                    continue
                if stale:
                    self._report("stale-expiry", record.describe(place), "no such expiry")

    def _commits(self) -> None:
        """Every indexed commit id names its own commit."""
        for view, rows in self._pages(layout.COMMITS, after(layout.COMMITS)):
            for key, row in rows:
                partition = int.from_bytes(key[1:3])
                commit = _commit_at(view, partition, int.from_bytes(row[:8]))
                if len(row) != 8 or commit is None or commit.commit_id != key[3:]:
                    self._report("stale-commit-id", key[3:].hex(), "names no commit")

    def _correlations(self) -> None:
        """Every correlation row names a commit with that correlation."""
        for view, rows in self._pages(layout.CORRELATIONS, after(layout.CORRELATIONS)):
            for key, _row in rows:
                partition, revision = int.from_bytes(key[1:3]), int.from_bytes(key[-8:])
                commit = _commit_at(view, partition, revision)
                text = commit.correlation if commit is not None else None
                if text is None or key != layout.correlation_key(partition, text, revision):
                    self._report("stale-correlation", f"revision {revision}", "no such commit")

    def _cursors(self) -> None:
        """Every consumer's rows: sound, where they belong, of this history, none left over."""
        every = self._kernel.partitions.all
        for view, rows in self._pages(layout.CURSORS, after(layout.CURSORS)):
            for key, raw in rows:
                where = f"consumers/{key[4:].hex()}"
                try:
                    partition, kind, tenant, name, _, _ = cursors.key_parts(key)
                except ValueError as error:
                    self._report("bad-key", where, str(error))
                    continue
                where = f"consumers/{tenant + '/' if tenant else ''}{name}"
                packed = pack_text(tenant), pack_text(name)
                if partition != cursors.partition_of(*packed, len(every)):
                    self._report("wrong-partition", where, f"with partition {partition}")
                try:
                    if kind == cursors.LETTER:
                        cursors.parse_letter(key, raw)
                        if view.get(cursors.cursor_key(partition, packed[0], name)) is None:
                            self._report("stray-letter", where, "there is no such consumer")
                        continue
                    cursor = cursors.parse_cursor(key, raw)
                    refuse_diverged(view, every, Position(cursor.revision, cursor.hash))
                    letters = view.scan(*cursors.letters_of(partition, packed[0], name))
                    queued = [cursors.parse_letter(*letter).queued for letter in letters]
                except DivergedError as error:
                    self._report("cursor-diverged", where, error.message)
                except CorruptionError as error:
                    self._report("cursor-damaged", where, error.message)
                else:
                    if (len(queued), queued.count(True)) != (cursor.dead, cursor.queued):
                        self._report("letter-count", where, f"{len(queued)}, not {cursor.dead}")

    def _partition(self, place: bytes) -> int:
        """Return a place's partition, also where it is damaged: then its walk reports it."""
        try:
            return self._of(place)
        except (ValueError, IndexError):
            return 0

    def _totals(self) -> None:
        """The sums of all live records' checksums, and their number, are what the heads say."""
        kernel, every = self._kernel, self._kernel.partitions.all
        start, stop = b"\x00", b"\xff"
        with ExitStack() as held:
            with kernel.pins.hold(0):  # nothing may be trimmed between reading heads and pinning
                with kernel.engine.read() as view:
                    heads = read_heads(view, every)
                lowest = min(head.revision for head in heads)
                pin = held.enter_context(kernel.pins.hold(lowest))
            digests, records = [0] * len(heads), [0] * len(heads)
            while True:
                pin.renew()
                with kernel.engine.read() as view:
                    page = self._live_at(view, heads, start, stop)
                for place, checksum in page:
                    partition = self._partition(place)
                    digests[partition] += int.from_bytes(checksum)
                    records[partition] += 1
                if len(page) < _ROWS:
                    break
                start = layout.behind(page[-1][0])
        for partition, head in enumerate(heads):
            where = f"meta/head/{partition}" if partition else "meta/head"
            found = records[partition]
            if found != head.records:
                self._report("count", where, f"{found} records, the head says {head.records}")
            if digests[partition] % DIGEST_MODULUS != head.digest:
                self._report("digest", where, "the live records are not those committed")

    def _live_at(
        self, view: View, heads: list[Head], start: bytes, stop: bytes
    ) -> list[tuple[bytes, bytes]]:
        """Return places and checksums of the records that lived when the heads were read."""
        if read_heads(view, self._kernel.partitions.all) == heads:
            rows = view.scan(layout.DATA + start, layout.DATA + stop, limit=_ROWS)
            return [(key[1:], raw[-record.SUM_SIZE :]) for key, raw in rows]
        # Time 0: nothing has expired, as the digest counts.
        moment = Moment(0, 0, [head.revision for head in heads])
        page = scan_at(
            view,
            self._kernel.payloads,
            start,
            stop,
            moment,
            self._of,
            limit=_ROWS,
            keys_only=True,
        )
        return [(found.place, found.checksum) for found in page]
