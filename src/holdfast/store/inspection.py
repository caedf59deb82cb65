"""Looking at one record as it is stored: its header fields, and its place in the journal."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from holdfast.clock import from_ns
from holdfast.errors import InvalidArgumentError
from holdfast.store import layout, record
from holdfast.store.journal import (
    MAX_REVISION,
    Header,
    chain_hash,
    header_at,
    journal_horizon,
    row_digest,
)
from holdfast.store.kernel import Kernel
from holdfast.store.migrated import version_text
from holdfast.store.past import parse_version
from holdfast.store.record import Record, parse
from holdfast.store.value import Operation, StateClass

_KINDS: Final = {
    record.VALUE: "value",
    record.DELTA: "delta",
    record.DELETED: "deleted",
    record.EXPIRED: "expired",
}
_CODECS: Final = {0: "none", record.MSGPACK: "msgpack"}
_COMPRESSIONS: Final = {
    record.PLAIN: "none",
    record.ZSTD: "zstd",
    record.ZSTD_DICTIONARY: "zstd with dictionary",
    record.SAME: "same as before",
}
_FLAGS: Final = {
    record.EXPIRES: "expires",
    record.CORRELATION: "correlation",
    record.ACTOR: "actor",
    record.SCHEMA: "schema",
    record.ENCRYPTED: "encrypted",
    record.FULL_SUM: "full checksum",
}


@dataclass(frozen=True, slots=True)
class JournalPlace:
    """Where the journal has a version.

    Attributes:
        partition: Which journal.
        first, last: Revisions of the group that its commit belongs to; `last` is the header's.
        at: The group's commit time.
        position: The commit's place in the group, from 0.
        commits: The number of commits in the group.
        commit_id: Hex.
        change: The change's place in the commit, from 0; None where the commit does not name it.
        changes: The number of changes in the commit.
        operation: What the commit did.
        digest: Hex; of the version row, as the header has it.
        matches: Whether the version row has that digest; None where the row is gone.
        previous_hash: Hex; of the header before.
        chain_hash: Hex; of this header.
    """

    partition: int
    first: int
    last: int
    at: datetime
    position: int
    commits: int
    commit_id: str
    change: int | None
    changes: int
    operation: str | None
    digest: str | None
    matches: bool | None
    previous_hash: str
    chain_hash: str


@dataclass(frozen=True, slots=True)
class Inspection:
    """One record as it is stored.

    Attributes:
        format, kind, encoding, compression, flags: What its first bytes say.
        state_class: Its class.
        run: Deltas since the last full copy.
        revision, previous, version: See `StateMetadata`.
        created_at, updated_at, expires_at: Times.
        size: Bytes of the value before compression.
        stored: Bytes of the record.
        payload: Bytes of its payload.
        checksum: Hex.
        full_checksum: Hex; of a delta: of the record that it stands for.
        correlation_id, actor, schema_version, key_id: Where there.
        live: It is what stands there now.
        version_row: The version has a row of its own in the past.
        journal: Its place in the journal; None where that has been trimmed.
        horizon: The journal's horizon in that partition.
    """

    format: int
    kind: str
    encoding: str
    compression: str
    flags: tuple[str, ...]
    state_class: StateClass
    run: int
    revision: int
    previous: int
    version: int
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None
    size: int
    stored: int
    payload: int
    checksum: str
    full_checksum: str | None
    correlation_id: str | None
    actor: str | None
    schema_version: str | None
    key_id: str | None
    live: bool
    version_row: bool
    journal: JournalPlace | None
    horizon: int


def inspect_record(kernel: Kernel, place: bytes, revision: int | None) -> Inspection | None:
    """Return the record of a place, now or as a revision wrote it; None where none is stored.

    Raises:
        InvalidArgumentError: `revision` is none.
        CorruptionError: The record or its header is damaged.
    """
    if revision is not None and (type(revision) is not int or not 0 < revision < MAX_REVISION):
        raise InvalidArgumentError("revision must be an integer of 1 or more")
    partition = kernel.partitions.of(place)
    with kernel.engine.read() as view:
        raw = view.get(layout.DATA + place)
        live = parse(place, raw) if raw is not None else None
        if revision is None and live is None:
            return None
        wanted = revision if revision is not None else live.revision if live is not None else 0
        key = layout.version_key(place, wanted)
        row = view.get(key)
        if live is not None and live.revision == wanted and raw is not None:
            found, stored = live, raw
        elif row is not None:
            found, stored = parse_version(key, row), row
        else:
            return None
        header = header_at(view, partition, wanted)
        following = None
        if header is not None:
            following = view.get(layout.journal_key(partition, header.last))
        horizon, _ = journal_horizon(view, partition)
    journal = None
    if header is not None and following is not None:
        hash_ = chain_hash(following, kernel.settings.chain_key)
        journal = _place(header, hash_, place, wanted, row)
    return _inspection(found, stored, live is not None and found is live, row, journal, horizon)


def _place(
    header: Header, hash_: bytes, place: bytes, revision: int, row: bytes | None
) -> JournalPlace:
    commit = header.commits[revision - header.first]
    at = next((n for n, c in enumerate(commit.changes) if c.place == place), None)
    change = None if at is None else commit.changes[at]
    digest = None if change is None else change.digest
    return JournalPlace(
        partition=header.partition,
        first=header.first,
        last=header.last,
        at=from_ns(header.time_ns),
        position=revision - header.first,
        commits=len(header.commits),
        commit_id=commit.commit_id.hex(),
        change=at,
        changes=len(commit.changes),
        operation=None if change is None else Operation(change.operation).name.lower(),
        digest=None if digest is None else digest.hex(),
        matches=None if row is None or digest is None else row_digest(row) == digest,
        previous_hash=header.previous_hash.hex(),
        chain_hash=hash_.hex(),
    )


def _inspection(
    found: Record,
    stored: bytes,
    live: bool,
    row: bytes | None,
    journal: JournalPlace | None,
    horizon: int,
) -> Inspection:
    return Inspection(
        format=found.format,
        kind=_KINDS.get(found.kind, str(found.kind)),
        encoding=_CODECS.get(found.encoding & 15, str(found.encoding & 15)),
        compression=_COMPRESSIONS.get(found.encoding & 240, str(found.encoding >> 4)),
        flags=tuple(name for flag, name in _FLAGS.items() if found.flags & flag),
        state_class=StateClass(found.state_class),
        run=found.run,
        revision=found.revision,
        previous=found.previous,
        version=found.version,
        created_at=from_ns(found.created_ns),
        updated_at=from_ns(found.updated_ns),
        expires_at=from_ns(found.expires_ns) if found.expires_ns else None,
        size=found.size,
        stored=len(stored),
        payload=len(found.payload),
        checksum=found.checksum.hex(),
        full_checksum=None if found.full_sum is None else found.full_sum.hex(),
        correlation_id=found.correlation,
        actor=found.actor,
        schema_version=version_text(found.schema_version),
        key_id=found.key_id,
        live=live,
        version_row=row is not None,
        journal=journal,
        horizon=horizon,
    )
