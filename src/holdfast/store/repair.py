"""Repair: salvages all that is sound of a damaged store into a new one, and names what is lost.

The source is only read. Records, versions and headers are taken where they are sound; a record
that is damaged or was put back in an older state is restored from its version row. The journal
keeps its longest intact end; where nothing of it can be trusted, it begins anew behind the
highest revision seen. Keys that the journal says exist and that nothing can restore are recorded
as lost by a commit of the new store, which then verifies without a problem.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec
from msgspec.structs import replace

from holdfast.clock import Clock
from holdfast.engines.base import Batch, Durability, Engine, View
from holdfast.errors import DivergedError, EngineError, ReadOnlyError, StateError
from holdfast.keys import after, pack_text
from holdfast.store import cursors, layout, record
from holdfast.store import intent as wanted
from holdfast.store.committer import Committer
from holdfast.store.intent import Intent, Op
from holdfast.store.journal import (
    HEAD_SIZE,
    NO_HASH,
    Head,
    Header,
    chain_hash,
    pack_head,
    pack_journal_horizon,
    parse_head,
    parse_header,
    parse_whole,
)
from holdfast.store.kernel import STORE_FORMAT, Kernel, StoreInfo
from holdfast.store.partitions import Partitions
from holdfast.store.past import restore_version
from holdfast.store.payload import Payloads
from holdfast.store.position import Position, position_at, refuse_diverged
from holdfast.store.salvage import Salvage
from holdfast.store.transfer import Target, digests_of, pages
from holdfast.store.value import Operation
from holdfast.store.verify import Problem

_LOST_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What was salvaged.

    Attributes:
        records, versions, commits: How many were.
        lost: What was not, by name; empty where nothing is missing.
    """

    records: int
    versions: int
    commits: int
    lost: list[Problem] = field(default_factory=list)


def repair_store(
    source: Engine,
    target: Engine,
    clock: Clock,
    chain_key: bytes | None = None,
    progress: Callable[[int], None] | None = None,
) -> RepairReport:
    """Salvage `source` into the empty engine `target`; both stay open.

    Args:
        source: Open for reading.
        target: Empty.
        clock: For the commit that records losses.
        chain_key: Key of the journal's chain, if it has one.
        progress: Called with the number of rows read.
    """
    return _Repair(source, target, clock, chain_key, progress).run()


def repair_open_store(
    kernel: Kernel, target: Engine, progress: Callable[[int], None] | None = None
) -> RepairReport:
    """Salvage a store that may be written to; `target` and `progress` as of `repair_store`.

    It runs inside a write that changes nothing, where the engine can still open one: what came
    in meanwhile would have no journal in the new store.
    """
    begun = False
    report = RepairReport(0, 0, 0)
    source, chain_key = kernel.engine, kernel.settings.chain_key

    def salvage(_: View) -> Batch:
        nonlocal begun, report
        begun = True
        report = repair_store(source, target, kernel.clock, chain_key, progress)
        return Batch()

    try:
        source.write(Durability.OS, salvage, kernel.partitions.all)
    except (ReadOnlyError, EngineError):
        if begun:
            raise
        return repair_store(source, target, kernel.clock, chain_key, progress)
    return report


class _Repair:
    def __init__(
        self,
        source: Engine,
        target: Engine,
        clock: Clock,
        chain_key: bytes | None,
        progress: Callable[[int], None] | None,
    ) -> None:
        self._source = Salvage(source)
        self._clock = clock
        self._lost: list[Problem] = []
        self._info = self._identity(keyed=chain_key is not None)
        self._partitions = Partitions(self._info.partitions)
        self._target = Target(target, self._partitions)
        self._engine = target
        self._key = chain_key
        self._progress = progress or (lambda _: None)
        self._read = 0
        self._known: dict[bytes, tuple[int, int]] = {}  # place -> last revision and operation
        self._placed: dict[bytes, int] = {}  # place -> revision of the record salvaged
        self._holed: set[bytes] = set()  # owners that lost versions
        self._highest = [0] * self._partitions.count  # the highest revision seen in each
        self._versions = 0

    def run(self) -> RepairReport:
        for key, row in self._rows(layout.BLOBS):
            self._target.put(key, row)
        self._target.flush()
        self._payloads = Payloads(
            load_dictionary=lambda n: self._engine.get(layout.BLOBS + n.to_bytes(4))
        )
        headers = [self._headers(partition) for partition in self._partitions.all]
        self._salvage_versions()
        self._salvage_records()
        self._restore_records()
        commits = self._finish(headers)
        for start, stop in self._source.gaps:
            self._lose("unreadable", f"rows {start.hex()} to {stop.hex()}", "the engine refuses")
        return RepairReport(len(self._placed), self._versions, commits, self._lost)

    def _rows(self, start: bytes, stop: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        for row in self._source.rows(start, after(start) if stop is None else stop):
            self._read += 1
            if self._read % 1000 == 0:
                self._progress(self._read)
            yield row

    def _lose(self, code: str, where: str, detail: str) -> None:
        self._lost.append(Problem(code, where, detail))

    # --- the journal ----------------------------------------------------------------------

    def _see(self, place: bytes, revision: int) -> None:
        partition = self._partitions.of(place)
        self._highest[partition] = max(self._highest[partition], revision)

    def _headers(self, partition: int) -> list[tuple[bytes, bytes]]:
        """Return a journal's longest intact end; learn what keys there are from all of it."""
        alone = self._partitions.count == 1  # else others have revisions in between
        intact: list[tuple[bytes, bytes]] = []
        last: Header | None = None
        last_row = b""
        for key, row in self._rows(*layout.journal_range(partition)):
            try:
                header = parse_whole(key, row)
            except StateError as error:
                where = f"journal/{layout.journal_parts(key)[1]}"
                self._lose("header-damaged", where, str(error))
                intact, last = [], None
                continue
            linked = last is not None and (not alone or header.first == last.last + 1)
            if linked and header.previous_hash != chain_hash(last_row, self._key):
                linked = False
            if last is not None and not linked:
                self._lose("chain-broken", f"journal/{header.last}", "history before it is loose")
                intact = []
            intact.append((key, row))
            last, last_row = header, row
            self._learn(header)
        stored = self._source.get(layout.head_key(partition))
        head = parse_head(stored if stored is not None and len(stored) == HEAD_SIZE else None)
        if last is not None and head.revision > last.last:
            self._lose("journal-gap", f"journal/{head.revision}", "the last headers are gone")
            intact = []
        self._highest[partition] = max(self._highest[partition], head.revision)
        return intact

    def _learn(self, header: Header) -> None:
        self._highest[header.partition] = max(self._highest[header.partition], header.last)
        for at, commit in enumerate(header.commits):
            for change in commit.changes:
                if change.operation != Operation.TRIM:
                    self._known[change.place] = (header.first + at, change.operation)

    # --- versions and records -------------------------------------------------------------

    def _salvage_versions(self) -> None:
        """Keep every version that is sound and can be rebuilt from sound ones."""
        run_of, run = b"", 0  # the place whose delta run is intact so far, and how far
        for key, row in self._rows(layout.VERSIONS):
            place, revision = layout.version_parts(key)
            try:
                layout.split_place(place)
                found = record.parse(place, row)
                if found.revision != revision:
                    raise ValueError
                if found.kind == record.DELTA and (run_of != place or run != found.run - 1):
                    raise ValueError
                if found.kind == record.VALUE:
                    self._payloads.restore(place, found)
            except (StateError, ValueError, IndexError) as error:
                where = f"{record.describe(place)}@{revision}"
                self._lose("version-damaged", where, getattr(error, "message", "it or its run is"))
                self._hole(place)
                run_of = b""
                continue
            run_of, run = place, found.run
            self._see(place, revision)
            self._versions += 1
            self._target.put(key, row)

    def _hole(self, place: bytes) -> None:
        try:
            self._holed.add(layout.owner_of(place))
        except (ValueError, IndexError):
            return  # no scope can be told from it

    def _salvage_records(self) -> None:
        """Keep every live record that is sound and not older than the journal says."""
        for key, raw in self._rows(layout.DATA):
            place = key[1:]
            try:
                layout.split_place(place)
                found = record.parse(place, raw)
                self._payloads.restore(place, found)
            except (StateError, ValueError, IndexError) as error:
                if place not in self._known:
                    detail = getattr(error, "message", "not a record")
                    self._known[place] = (0, Operation.SET)
                    self._lose("record-damaged", record.describe(place), detail)
                continue
            revision, operation = self._known.get(place, (0, Operation.SET))
            self._see(place, found.revision)
            if found.revision < revision:
                self._lose("stale-record", record.describe(place), f"older than {revision}")
                continue
            if found.revision == revision and operation not in (Operation.SET, Operation.TOUCH):
                continue
            self._placed[place] = found.revision
            self._target.record(place, raw)
        self._target.flush()

    def _restore_records(self) -> None:
        """Bring back, from its versions, each key that should be there and is not."""
        for place, (revision, operation) in sorted(self._known.items()):
            if place in self._placed or operation not in (Operation.SET, Operation.TOUCH):
                continue
            newest = self._newest(place)
            if newest is None or newest.revision < revision:
                self._lose("lost", record.describe(place), "no sound copy of its last version")
                continue
            if newest.kind not in (record.VALUE, record.DELTA):
                continue
            raw = self._rebuild(place, newest)
            self._placed[place] = newest.revision
            self._target.record(place, raw)
        self._target.flush()

    def _newest(self, place: bytes) -> record.Record | None:
        with self._engine.read() as view:
            rows = view.scan(
                layout.VERSIONS + place,
                layout.version_key(place, (1 << 63) - 1),
                reverse=True,
                limit=1,
            )
        return record.parse(place, rows[0][1]) if rows else None

    def _rebuild(self, place: bytes, newest: record.Record) -> bytes:
        """Return a full record of a version; exact where the version is a full copy."""
        with self._engine.read() as view:
            found = restore_version(view, self._payloads, place, newest)
            if newest.kind == record.VALUE:
                row = view.get(layout.version_key(place, newest.revision))
                assert row is not None
                return row
        prepared = self._payloads.pack(found.payload)
        return record.build(
            place,
            record.VALUE,
            prepared.encoding,
            newest.state_class,
            newest.run,
            newest.revision,
            newest.previous,
            newest.version,
            newest.created_ns,
            newest.updated_ns,
            newest.size,
            prepared.payload,
            newest.expires_ns,
            newest.correlation,
            newest.actor,
            newest.schema_version,
            newest.key_id,
        )

    # --- the new store --------------------------------------------------------------------

    def _finish(self, headers: list[list[tuple[bytes, bytes]]]) -> int:
        ends: list[tuple[int, bytes]] = []  # of each journal: time and hash
        commits = 0
        for partition, rows in enumerate(headers):
            if rows and layout.journal_parts(rows[-1][0])[1] < self._highest[partition]:
                rows.clear()
            commits += sum(len(self._target.header(*row).commits) for row in rows)
            ends.append(self._end(partition, rows))
        self._horizons({partition for partition, rows in enumerate(headers) if not rows})
        retention = self._source.get(layout.RETENTION)
        if retention is not None:
            self._target.put(layout.RETENTION, retention)
        self._target.directory()
        self._target.flush()
        digests = digests_of(self._engine, self._partitions)
        for partition, (time_ns, hash_) in enumerate(ends):
            highest = self._highest[partition]
            head = Head(highest, time_ns, hash_, *digests[partition], highest)
            self._target.put(layout.head_key(partition), pack_head(head))
        if self._partitions.count > 1:
            self._target.put(layout.SEQUENCE, max(self._highest).to_bytes(8))
        self._target.flush()
        self._consumers()
        self._record_losses()
        self._target.finish(msgspec.msgpack.encode(self._info))
        return commits

    def _end(self, partition: int, headers: list[tuple[bytes, bytes]]) -> tuple[int, bytes]:
        """Say where a journal begins in the new store; return the time and hash of its end."""
        if headers:
            first = parse_header(*headers[0])
            last = parse_header(*headers[-1])
            horizon, before = first.first - 1, first.previous_hash
            end = last.time_ns, chain_hash(headers[-1][1], self._key)
        else:
            horizon, before = self._highest[partition], NO_HASH
            end = self._clock.now_ns() if horizon else 0, NO_HASH
        if before != NO_HASH or (not headers and horizon):
            key = layout.horizon_key(partition)
            self._target.put(key, pack_journal_horizon(horizon, before))
        return end

    def _horizons(self, anew: set[int]) -> None:
        """Keep the scopes' horizons, and move those of scopes that lost versions to the end.

        So too the horizons of all scopes of the partitions whose journals begin `anew`.
        """
        for key, row in self._source.rows(layout.SCOPE_HORIZON, after(layout.SCOPE_HORIZON)):
            self._target.put(key, row)
        owners = set(self._holed)
        for place in self._known:
            if place not in self._placed:
                owners.add(layout.owner_of(place))
        for place in self._placed:
            if self._partitions.of(place) in anew:
                owners.add(layout.owner_of(place))
        owners |= self._missing_versions()
        for owner in owners:
            highest = self._highest[self._partitions.of(owner)]
            self._target.put(layout.scope_horizon_key(owner), highest.to_bytes(8))

    def _missing_versions(self) -> set[bytes]:
        """Return the owners of changes that the journal names and no version row holds."""
        owners: set[bytes] = set()
        self._target.flush()
        for rows in pages(self._engine, layout.JOURNAL, after(layout.JOURNAL)):
            for key, row in rows:
                header = parse_header(key, row)
                for at, commit in enumerate(header.commits):
                    for change in commit.changes:
                        if change.operation == Operation.TRIM:
                            continue
                        version = layout.version_key(change.place, header.first + at)
                        if self._engine.get(version) is None:
                            owners.add(layout.owner_of(change.place))
        return owners

    def _identity(self, *, keyed: bool) -> StoreInfo:
        row = self._source.get(layout.STORE)
        try:
            info = msgspec.msgpack.decode(row or b"", type=StoreInfo)
        except (msgspec.MsgspecError, ValueError):
            self._lose("identity", "meta/store", "a new lineage was made")
            partitions = 1
            for key, _ in self._source.rows(layout.META, after(layout.META)):
                if key[3:] == layout.head_key(0)[3:]:
                    partitions = max(partitions, int.from_bytes(key[1:3]) + 1)
            info = StoreInfo(STORE_FORMAT, os.urandom(16), self._clock.now_ns(), partitions)
        return msgspec.structs.replace(info, keyed=keyed)

    def _consumers(self) -> None:
        """Keep the sound rows of consumers; a cursor that the journal has not got goes to its end.

        Nothing that exists is missed so: whoever was further has done all that is left.
        """
        found: dict[tuple[str, str], cursors.Cursor] = {}
        letters: dict[tuple[str, str], list[tuple[int, int, cursors.Letter]]] = {}
        for key, raw in self._rows(layout.CURSORS):
            try:
                _, kind, tenant, name, *item = cursors.key_parts(key)
                if kind == cursors.CURSOR:
                    found[tenant, name] = cursors.parse_cursor(key, raw)
                else:
                    letter = cursors.parse_letter(key, raw)
                    letters.setdefault((tenant, name), []).append((item[0], item[1], letter))
            except (StateError, ValueError) as error:
                detail = getattr(error, "message", "not a row of a consumer")
                self._lose("cursor-damaged", f"consumers/{key[4:].hex()}", detail)
        for (tenant, name), kept in letters.items():
            if (tenant, name) not in found:
                where = f"consumers/{tenant + '/' if tenant else ''}{name}"
                self._lose("stray-letter", where, f"{len(kept)} without a cursor")
        for (tenant, name), cursor in found.items():
            self._consumer(tenant, name, cursor, letters.get((tenant, name), []))
        self._target.flush()

    def _consumer(
        self,
        tenant: str,
        name: str,
        cursor: cursors.Cursor,
        letters: list[tuple[int, int, cursors.Letter]],
    ) -> None:
        packed, every = pack_text(tenant), self._partitions.all
        partition = cursors.partition_of(packed, pack_text(name), len(every))
        with self._engine.read() as view:
            try:
                refuse_diverged(view, every, Position(cursor.revision, cursor.hash))
            except DivergedError as error:
                where = f"consumers/{tenant + '/' if tenant else ''}{name}"
                self._lose("cursor-diverged", where, error.message)
                at = position_at(view, every, min(cursor.revision, max(self._highest)))
                cursor = replace(cursor, revision=at.revision, hash=at.hash, part=0, done=0)
        queued = sum(letter.queued for _, _, letter in letters)
        cursor = replace(cursor, dead=len(letters), queued=queued)
        key = cursors.cursor_key(partition, packed, name)
        self._target.put(key, cursors.pack(key, cursor))
        for revision, number, letter in letters:
            key = cursors.letter_key(partition, packed, name, revision, number)
            self._target.put(key, cursors.pack(key, letter))

    def _record_losses(self) -> None:
        """Commit to the new journal which keys were given up."""
        lost = [
            place
            for place, (_, operation) in self._known.items()
            if place not in self._placed and operation in (Operation.SET, Operation.TOUCH)
        ]
        if not lost:
            return
        committer = Committer(
            self._engine, self._clock, self._payloads, self._key, self._partitions
        )
        for low in range(0, len(lost), _LOST_AT_ONCE):
            part = lost[low : low + _LOST_AT_ONCE]
            ops = [Op(wanted.LOST, layout.owner_of(place), place) for place in part]
            intent = Intent(ops, Durability.SYNC)
            intent.cause = "repair"
            committer.commit([intent])
            if intent.error is not None:
                raise intent.error
