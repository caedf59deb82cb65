"""Pages of the journal: changes and events in the order of commits, read quickly.

A page ends with a commit, never within one. Values come with one lookup for all of them.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

from holdfast.clock import from_ns
from holdfast.engines.base import View
from holdfast.errors import CorruptionError
from holdfast.keys import unpack_text
from holdfast.store import layout, record
from holdfast.store.codec import decode
from holdfast.store.journal import (
    ChangeEntry,
    CommitEntry,
    EventEntry,
    Header,
    chain_hash,
    journal_horizon,
    parse_header,
)
from holdfast.store.kernel import Kernel
from holdfast.store.past import parse_version, refuse_before, restore_version
from holdfast.store.payload import Payloads
from holdfast.store.position import diverged, hash_behind
from holdfast.store.scope import ScopeKind, StateScope, unpack_scope
from holdfast.store.value import Change, Operation, StateClass, StateEvent

Entry = ChangeEntry | EventEntry
Item = Change | StateEvent

MOST = 512  # items of a page, unless it is asked for fewer
_ROWS = 4096  # headers of a page that finds little: a view is not to stay open for long
_CHUNK, _LARGEST_CHUNK = 16, 512  # headers read at once
_PAGE_BYTES = 8 * 1024 * 1024
_revision = itemgetter(0)
_TRIM = int(Operation.TRIM)
_WRITTEN = (int(Operation.SET), int(Operation.TOUCH))
_OPERATIONS = {int(each): each for each in Operation}
_CLASSES = {int(each): each for each in StateClass}


class Wanted(NamedTuple):
    """What of the journal somebody wants to see.

    Attributes:
        start, stop: The half-open range of places.
        events: Events of the owners in that range, too.
        values: The values of changes, too.
    """

    start: bytes
    stop: bytes
    events: bool = False
    values: bool = True


class Page(NamedTuple):
    """A part of the journal.

    Attributes:
        items: What was wanted of it, in order.
        reached: It goes up to this revision.
        more: There may be more behind it.
        hashes: Hashes of the headers that hold the revisions of `items`, and `reached`.
        rows: How many headers it took.
    """

    items: list[Item]
    reached: int
    more: bool
    hashes: dict[int, bytes]
    rows: int


Picked = tuple[int, datetime, CommitEntry, Entry]
#: A commit: its revision, the header that holds it, its place in that, and the header's hash.
_Step = tuple[int, Header, CommitEntry, bytes]


def read_page(
    view: View,
    kernel: Kernel,
    since: int,
    until: int,
    wanted: Wanted,
    *,
    most: int = MOST,
    chunk: int = _CHUNK,
    ends: dict[int, bytes] | None = None,
) -> Page:
    """Return what was committed in ``since < revision <= until``, or the beginning of it.

    Args:
        view: Of the store.
        kernel: Its kernel.
        since, until: Revisions.
        wanted: What of it.
        most: About so many items; the commit that reaches this number is still whole.
        chunk: How many headers to read at first.
        ends: Of each partition that was read before: the hash of the last header that was read.
            It is kept up to date, and a journal that does not go on from there is refused.

    Raises:
        HorizonError: The journal no longer reaches back to `since`.
        DivergedError: It is not the journal that `ends` is of.
    """
    start, stop, events, _ = wanted
    picked: list[Picked] = []
    hashes: dict[int, bytes] = {}
    rows = size = 0
    reached, more, hash_ = until, False, b""
    moment, of, revision = from_ns(0), -1, since
    for revision, header, commit, hash_ in _steps(
        view, kernel, since, until, start, stop, chunk, ends or {}
    ):
        if more and revision > reached:
            break
        if ends is not None:
            ends[header.partition] = hash_
        if header.time_ns != of:
            of, moment = header.time_ns, from_ns(header.time_ns)
        before = len(picked)
        for entry in commit.changes:
            if start <= entry.place < stop and entry.operation != _TRIM:
                picked.append((revision, moment, commit, entry))
                size += entry.size
        if events:
            for event in commit.events:
                if start <= event.owner < stop:
                    picked.append((revision, moment, commit, event))
                    size += event.size
        if len(picked) > before:
            hashes[revision] = hash_
        rows += revision == header.last
        # Large values come in smaller pages; one commit is never torn between two.
        if len(picked) >= most or size > _PAGE_BYTES or rows >= _ROWS:
            reached, more = revision, True
            hashes[revision] = hash_
    if not more and revision == until:
        hashes[until] = hash_
    return Page(show(view, kernel, picked, wanted.values), reached, more, hashes, rows)


# --- headers ----------------------------------------------------------------------------------


def _steps(
    view: View,
    kernel: Kernel,
    since: int,
    until: int,
    start: bytes,
    stop: bytes,
    chunk: int,
    ends: Mapping[int, bytes],
) -> Iterator[_Step]:
    """Yield each commit, in one order over the partitions of a range."""
    streams = []
    for partition in kernel.partitions.covering(start, stop):
        refuse_before(journal_horizon(view, partition)[0], since, "the journal")
        known = ends.get(partition)
        streams.append(_commits(view, kernel, partition, since, until, chunk, known))
    return streams[0] if len(streams) == 1 else heapq.merge(*streams, key=_revision)


def _commits(
    view: View,
    kernel: Kernel,
    partition: int,
    since: int,
    until: int,
    chunk: int,
    known: bytes | None,
) -> Iterator[_Step]:
    key = kernel.settings.chain_key
    blind = kernel.info.keyed and key is None
    low = since
    while low < until:
        rows = view.scan(*layout.journal_range(partition, low), limit=chunk)
        for row_key, row in rows:
            header = parse_header(row_key, row)
            first = header.first
            if first > until:
                return
            last = header.last
            hash_ = hash_behind(view, partition, last) if blind else chain_hash(row, key)
            if known is not None and known != (header.previous_hash if first > since else hash_):
                raise diverged(first, "it does not continue what was read before")
            known, low = hash_, last
            if last == first:
                yield first, header, header.commits[0], hash_
                continue
            for at, commit in enumerate(header.commits, first):
                if since < at <= until:
                    yield at, header, commit, hash_
        if len(rows) < chunk:
            return
        chunk = min(chunk * 2, _LARGEST_CHUNK)


# --- what is shown ----------------------------------------------------------------------------


def show(view: View, kernel: Kernel, picked: Sequence[Picked], values: bool = True) -> list[Item]:
    """Return changes and events as callers see them; values with one lookup for all.

    Raises:
        CorruptionError: The journal is damaged.
    """
    try:
        return _shown(view, kernel, picked, values)
    except (ValueError, IndexError, KeyError):
        where = f"journal/{picked[0][0]}-{picked[-1][0]}"
        raise CorruptionError("the journal names what cannot be", where=where) from None


def _shown(view: View, kernel: Kernel, picked: Sequence[Picked], values: bool) -> list[Item]:
    payloads = kernel.payloads
    stored: Iterator[bytes | None] = iter(())
    if values:
        wrote = [
            (entry.place, revision)
            for revision, _, _, entry in picked
            if isinstance(entry, ChangeEntry) and entry.operation in _WRITTEN
        ]
        stored = iter(_payloads(view, payloads, wrote))
    items: list[Item] = []
    for revision, at, commit, entry in picked:
        if isinstance(entry, EventEntry):
            items.append(event(payloads, revision, at, commit, entry))
            continue
        payload = next(stored) if values and entry.operation in _WRITTEN else None
        items.append(change(revision, at, commit, entry, payload, values))
    return items


def _payloads(
    view: View, payloads: Payloads, wrote: Sequence[tuple[bytes, int]]
) -> list[bytes | None]:
    """Return the payload that each (place, revision) wrote; None for those that were trimmed."""
    found: list[bytes | None] = []
    simple = record.SIMPLE
    versions = layout.VERSIONS
    keys = [versions + place + revision.to_bytes(8) for place, revision in wrote]
    gone: list[int] = []
    for (place, revision), key, row in zip(wrote, keys, view.get_many(keys), strict=True):
        if row is None:
            gone.append(len(found))
            found.append(None)
        elif row[:4] == simple:
            if row[8:16] != key[-8:]:
                raise CorruptionError(
                    f"version {revision} holds another revision", where=record.describe(place)
                )
            found.append(record.simple_payload(place, row))
        else:
            version = parse_version(key, row)
            found.append(restore_version(view, payloads, place, version).payload)
    if gone:  # compaction may have kept the live row only
        rows = view.get_many([layout.DATA + wrote[at][0] for at in gone])
        for at, row in zip(gone, rows, strict=True):
            place, revision = wrote[at]
            live = record.parse(place, row) if row is not None else None
            if live is not None and live.revision == revision:
                found[at] = payloads.restore(place, live)
    return found


@lru_cache(4096)
def _scope(owner: bytes) -> StateScope:
    _, at = unpack_text(owner, 0)
    return unpack_scope(owner, at)[0]


def split(place: bytes) -> tuple[StateScope, str]:
    """Return scope and key of a sound place; scopes are made once for many keys."""
    cut = place.rfind(0, 0, -1) + 1
    if place[cut] == ScopeKind.GLOBAL:  # no key begins with a control character
        cut += 1
    if place[cut] >= 0x7F:  # perhaps the second byte of an escaped NUL
        _, scope, key = layout.split_place(place)
        return scope, key
    return _scope(place[:cut]), place[cut:-1].decode()


def change(
    revision: int,
    at: datetime,
    commit: CommitEntry,
    entry: ChangeEntry,
    payload: bytes | None,
    values: bool,
) -> Change:
    """Return a change as callers see it; `payload` is what it wrote, where that was looked up."""
    scope, key = split(entry.place)
    return Change(
        revision,
        scope,
        key,
        _OPERATIONS[entry.operation],
        entry.version,
        entry.previous,
        at,
        _CLASSES[entry.state_class],
        commit.commit_id.hex(),
        commit.actor,
        commit.correlation,
        commit.cause,
        commit.step if commit.context is not None else None,
        None if payload is None else decode(payload),
        payload is not None or not values or entry.operation not in _WRITTEN,
    )


def event(
    payloads: Payloads, revision: int, at: datetime, commit: CommitEntry, entry: EventEntry
) -> StateEvent:
    """Return an event as callers see it."""
    payload = payloads.unpack(entry.owner, entry.encoding, entry.payload, entry.size)
    return StateEvent(
        revision=revision,
        id=entry.id.hex(),
        scope=_scope(entry.owner),
        name=entry.name,
        at=at,
        data=decode(payload),
        causes=tuple(entry.causes),
        commit_id=commit.commit_id.hex(),
        actor=commit.actor,
        correlation_id=commit.correlation,
        cause=commit.cause,
        context=commit.step,
    )
