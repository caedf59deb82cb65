"""The journal's rows: one header per commit group, chained by SHA-256, and the head.

A header names every commit of its group and every change of each commit, with a digest of the
version row that holds the change. The head is one small row: where the chain ends, and the
running digest and count of all live records. Reading and writing rows is here; deciding what
goes into them is not.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

import msgspec

from holdfast.correlation import CorrelationContext
from holdfast.engines.base import View
from holdfast.errors import (
    CorruptionError,
    FormatVersionError,
    InvalidArgumentError,
    StateError,
)
from holdfast.keys import unpack_text
from holdfast.store import layout
from holdfast.store.intent import Emitted, Prepared
from holdfast.store.scope import unpack_scope
from holdfast.store.value import Operation

HEADER_FORMAT: Final = 1
_HEADERS: Final = 64  # read at once
DIGEST_MODULUS: Final = 1 << 128
MAX_REVISION: Final = (1 << 64) - 1
NO_HASH: Final = bytes(32)

#: Copying a hash that nothing went into costs half of what making one does.
_fresh = hashlib.sha256().copy
_SHORT: Final = slice(16)

_HEAD = struct.Struct(">QQ32s16sQQ")
HEAD_SIZE: Final = _HEAD.size
#: The bytes of the head row of the fields of a `Head` in their order; the digest as 16 bytes.
pack_head_row = _HEAD.pack
_unpack_head = _HEAD.unpack
_make = tuple.__new__
_from_bytes = int.from_bytes


class Head(NamedTuple):
    """Where the journal ends.

    Attributes:
        revision: Of the last commit; 0 in a new store.
        time_ns: Its commit time.
        hash: SHA-256 of the last header row.
        digest: Sum of the checksums of all live records, modulo 2^128.
        records: Number of live records.
        trimmed: The highest revision up to which version rows of live records were dropped.
    """

    revision: int
    time_ns: int
    hash: bytes
    digest: int
    records: int
    trimmed: int


EMPTY_HEAD: Final = Head(0, 0, NO_HASH, 0, 0, 0)


class ChangeEntry(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """One change in a header.

    Attributes:
        place: What changed; for a trim the scope's owner bytes, or empty for the journal itself.
        operation: Number of an `Operation`.
        version: The version made (of a delete: ended).
        previous: Revision of the version before; of a trim: the new horizon.
        state_class: Number of the class.
        size: Bytes of the version row.
        digest: SHA-256 of the version row, its first 16 bytes.
    """

    place: bytes
    operation: int
    version: int
    previous: int
    state_class: int
    size: int
    digest: bytes


class EventEntry(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """One event that a commit carries.

    Attributes:
        id: 16 bytes.
        owner: Packed tenant and scope.
        name: What happened.
        encoding, size: Of the payload, as in a record.
        payload: The event's data.
        causes: Ids of what led to it, beyond what the commit says.
    """

    id: bytes
    owner: bytes
    name: str
    encoding: int
    size: int
    payload: bytes
    causes: list[str]

    def again(self) -> Emitted:
        """Return the event as one that is to be committed, into another journal."""
        data = Prepared(self.encoding, self.payload, self.size)
        return Emitted(self.id, self.owner, self.name, data, self.causes)


class ContextEntry(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """The step that a commit belongs to: a `CorrelationContext` without its id."""

    span: str
    parent: str | None
    causes: list[str]
    component: str | None
    operation: str | None
    attributes: dict[str, str | int | float | bool]
    started_ns: int


class CommitEntry(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """One commit in a header. What most commits lack stands last, and is left out there."""

    commit_id: bytes
    given: bool  # the caller gave the id: it is indexed
    actor: str | None
    correlation: str | None
    cause: str | None
    changes: list[ChangeEntry]
    context: ContextEntry | None = None
    events: list[EventEntry] = []

    @property
    def step(self) -> CorrelationContext | None:
        """The step that the commit belongs to, where it said one.

        Raises:
            CorruptionError: It is none that could have been written.
        """
        entry = self.context
        if entry is None or self.correlation is None:
            return None
        try:
            return CorrelationContext(
                id=self.correlation,
                span=entry.span,
                parent=entry.parent,
                causes=tuple(entry.causes),
                component=entry.component,
                operation=entry.operation,
                attributes=entry.attributes,
                started_ns=entry.started_ns,
            )
        except InvalidArgumentError as error:
            raise CorruptionError(
                f"a step in the journal is none: {error.message}",
                where=f"commit {self.commit_id.hex()}",
            ) from None


class Header(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """One group of commits, with revisions `first` to ``first + len(commits) - 1``."""

    format: int
    partition: int
    first: int
    time_ns: int
    previous_hash: bytes
    digest: bytes
    count: int
    commits: list[CommitEntry]

    @property
    def last(self) -> int:
        """The group's last revision."""
        return self.first + len(self.commits) - 1


class Outline(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """A header with its commits left as they are stored: for who wants few of many."""

    format: int
    partition: int
    first: int
    time_ns: int
    previous_hash: bytes
    digest: bytes
    count: int
    commits: list[msgspec.Raw]

    @property
    def last(self) -> int:
        """The group's last revision."""
        return self.first + len(self.commits) - 1


_Parsed = TypeVar("_Parsed", Header, Outline)
_decoder = msgspec.msgpack.Decoder(Header)
_outlines = msgspec.msgpack.Decoder(Outline)
_commits = msgspec.msgpack.Decoder(CommitEntry)


def chain_hash(row: bytes, key: bytes | None = None) -> bytes:
    """Return the hash of a header row: SHA-256, or HMAC-SHA-256 under a key."""
    if key is not None:
        return hmac.digest(key, row, "sha256")
    state = _fresh()
    state.update(row)
    return state.digest()


def row_digest(row: bytes) -> bytes:
    """Return the digest of a version row that headers carry."""
    state = _fresh()
    state.update(row)
    return state.digest()[_SHORT]


def parse_header(key: bytes, row: bytes) -> Header:
    """Parse a header row.

    Raises:
        CorruptionError: It is damaged, or stands under another revision.
        FormatVersionError: A newer format.
    """
    return _parse(_decoder, key, row)


def parse_whole(key: bytes, row: bytes) -> Header:
    """Parse a header row, and see that all it names can be: what readers find out one by one.

    Raises:
        CorruptionError, FormatVersionError: As `parse_header`, or it names what cannot be.
    """
    header = parse_header(key, row)
    try:
        for commit in header.commits:
            _ = commit.step
            for change in commit.changes:
                if Operation(change.operation) is not Operation.TRIM:
                    layout.split_place(change.place)
                elif change.place:
                    _check_owner(change.place)
            for event in commit.events:
                _check_owner(event.owner)
    except (ValueError, IndexError, StateError):
        raise CorruptionError(
            "a journal header names what cannot be", where=f"journal/{header.last}"
        ) from None
    return header


def _check_owner(owner: bytes) -> None:
    _, at = unpack_text(owner, 0)
    if unpack_scope(owner, at)[1] != len(owner):
        raise ValueError("bytes behind the scope")


def _parse(decoder: msgspec.msgpack.Decoder[_Parsed], key: bytes, row: bytes) -> _Parsed:
    partition, revision = layout.journal_parts(key)
    try:
        header = decoder.decode(row)
    except (msgspec.MsgspecError, ValueError):
        raise CorruptionError(
            "a journal header does not decode", where=f"journal/{revision}"
        ) from None
    if header.format > HEADER_FORMAT:
        raise FormatVersionError(f"journal format {header.format} is newer than {HEADER_FORMAT}")
    if header.last != revision or header.partition != partition or not header.commits:
        raise CorruptionError(
            "a journal header stands in a wrong place", where=f"journal/{revision}"
        )
    return header


def pack_head(head: Head) -> bytes:
    """Return the bytes of the head row."""
    revision, time_ns, hash_, digest, records, trimmed = head
    return pack_head_row(revision, time_ns, hash_, digest.to_bytes(16), records, trimmed)


def parse_head(row: bytes | None) -> Head:
    """Parse the head row; a missing one is the head of an empty store.

    Raises:
        CorruptionError: It has another length.
    """
    if row is None:
        return EMPTY_HEAD
    if len(row) != HEAD_SIZE:
        raise CorruptionError("the head of the journal is damaged", where="meta/head")
    revision, time_ns, hash_, digest, records, trimmed = _unpack_head(row)
    # A named tuple's own constructor is a function in Python.
    return _make(Head, (revision, time_ns, hash_, _from_bytes(digest), records, trimmed))


def read_head(view: View, partition: int) -> Head:
    """Return the head of a partition in `view`."""
    return parse_head(view.get(layout.head_key(partition)))


def read_heads(view: View, partitions: Sequence[int]) -> list[Head]:
    """Return the heads of several partitions in `view`."""
    return [parse_head(row) for row in view.get_many([layout.head_key(p) for p in partitions])]


def header_at(view: View, partition: int, revision: int) -> Header | None:
    """Return a partition's header of the group that holds `revision`; None if it has none."""
    if not revision:
        return None
    rows = view.scan(*layout.journal_range(partition, revision - 1), limit=1)
    if not rows:
        return None
    header = parse_header(*rows[0])
    return header if header.first <= revision else None


def commits_at(
    view: View, partition: int, revisions: Sequence[int]
) -> dict[int, tuple[int, CommitEntry]]:
    """Return the commits of a partition with some revisions, each with its time, where there.

    A header is read once, however many of them it holds, and only they are decoded.

    Raises:
        CorruptionError: A header is damaged.
    """
    found: dict[int, tuple[int, CommitEntry]] = {}
    asked = sorted(revisions, reverse=True)  # a header stands under the last revision of its group
    keys = [layout.journal_key(partition, revision) for revision in asked]
    outline: Outline | None = None
    for revision, key, row in zip(asked, keys, view.get_many(keys), strict=True):
        if outline is None or not outline.first <= revision <= outline.last:
            if row is None:
                rows = view.scan(*layout.journal_range(partition, revision - 1), limit=1)
                if not rows:
                    continue
                key, row = rows[0]
            outline = _parse(_outlines, key, row)
            if revision < outline.first:
                continue
        try:
            commit = _commits.decode(outline.commits[revision - outline.first])
        except (msgspec.MsgspecError, ValueError):
            raise CorruptionError(
                "a commit in a journal header does not decode", where=f"journal/{revision}"
            ) from None
        found[revision] = (outline.time_ns, commit)
    return found


def journal_horizon(view: View, partition: int) -> tuple[int, bytes]:
    """Return a partition's last trimmed revision (0 if none) and the hash of its header."""
    row = view.get(layout.horizon_key(partition))
    return (int.from_bytes(row[:8]), row[8:40]) if row else (0, NO_HASH)


def pack_journal_horizon(revision: int, hash_: bytes) -> bytes:
    """Return the bytes of the journal's horizon row."""
    return revision.to_bytes(8) + hash_


def revision_at(view: View, partition: int, time_ns: int) -> int:
    """Return the last revision of a partition committed at or before `time_ns`; 0 if none is.

    Times never run against a partition's revisions, so this searches by halves: about
    log2(groups) reads.
    """
    _, end = layout.journal_range(partition)
    last = view.scan(*layout.journal_range(partition), reverse=True, limit=1)
    if not last:
        return 0
    if (newest := parse_header(*last[0])).time_ns <= time_ns:
        return newest.last
    low, high = journal_horizon(view, partition)[0] + 1, newest.last  # the answer is below `high`
    found = low - 1
    while low < high:
        middle = (low + high) // 2
        rows = view.scan(layout.journal_key(partition, middle), end, limit=1)
        header = parse_header(*rows[0])
        if header.time_ns <= time_ns:
            found, low = header.last, header.last + 1
        else:
            # Between two groups of a partition lie revisions of others: the next one may begin
            # behind `middle`, and then nothing lies from there on.
            high = max(low, min(header.first, middle))
    return found


def headers_between(view: View, partition: int, low: int, high: int) -> Iterator[Header]:
    """Yield a partition's headers that hold a commit in ``low < revision <= high``, in order."""
    while low < high:
        rows = view.scan(*layout.journal_range(partition, low), limit=_HEADERS)
        for key, row in rows:
            header = parse_header(key, row)
            if header.first > high:
                return
            yield header
            low = header.last
        if len(rows) < _HEADERS:
            return


def touched_between(
    view: View, partition: int, low: int, high: int, start: bytes, stop: bytes
) -> dict[bytes, None]:
    """Return the places of a range that a partition changed in ``low < revision <= high``."""
    touched: dict[bytes, None] = {}
    for header in headers_between(view, partition, low, high):
        for at, commit in enumerate(header.commits):
            if low < header.first + at <= high:
                for entry in commit.changes:
                    if start <= entry.place < stop and entry.operation != Operation.TRIM:
                        touched[entry.place] = None
    return touched
