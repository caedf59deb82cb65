"""The journal, read: histories of keys, changes in order, differences, rewinding.

Everything here comes from headers and version rows; no second bookkeeping exists.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from datetime import datetime
from operator import itemgetter

from holdfast.clock import from_ns
from holdfast.engines.base import View
from holdfast.errors import InvalidArgumentError
from holdfast.keys import unpack_text
from holdfast.store import intent as wanted
from holdfast.store import layout, record
from holdfast.store.codec import decode
from holdfast.store.intent import Op
from holdfast.store.journal import (
    MAX_REVISION,
    ChangeEntry,
    CommitEntry,
    EventEntry,
    Header,
    headers_between,
    journal_horizon,
    touched_between,
)
from holdfast.store.kernel import Kernel
from holdfast.store.past import (
    Found,
    Moment,
    find_at,
    parse_version,
    refuse_before,
    restore_version,
    scan_at,
    scope_horizon,
)
from holdfast.store.reader import PAGE, state_value
from holdfast.store.scope import unpack_scope
from holdfast.store.value import Change, Difference, Operation, StateClass, StateEvent

_OPERATIONS = {record.DELETED: Operation.DELETE, record.EXPIRED: Operation.EXPIRE}
_HEADERS = 64
_PAGE_BYTES = 8 * 1024 * 1024
_revision = itemgetter(0)


def version_change(found: Found) -> Change:
    """Return one version of a key as a change (without what only the header knows)."""
    _, scope, key = layout.split_place(found.place)
    stored = found.record
    value_kind = stored.kind in (record.VALUE, record.DELTA)
    return Change(
        revision=stored.revision,
        scope=scope,
        key=key,
        operation=_OPERATIONS.get(stored.kind, Operation.SET),
        version=stored.version,
        previous_revision=stored.previous,
        at=from_ns(stored.updated_ns),
        state_class=StateClass(stored.state_class),
        actor=stored.actor,
        correlation_id=stored.correlation,
        value=decode(found.payload) if value_kind else None,
    )


def changes(
    kernel: Kernel,
    *,
    since: int,
    until: int | None,
    start: bytes,
    stop: bytes,
    limit: int | None,
    values: bool,
    events: bool = False,
) -> Iterator[Change | StateEvent]:
    """Yield the changes after `since` of the places in a range, in commit order.

    With `events`, also the events of the owners in that range, behind the changes of their commit.

    Raises:
        HorizonError: The journal no longer reaches back to `since`.
    """
    for name, number in (("since", since), ("until", until), ("limit", limit)):
        if name == "since" or number is not None:
            if type(number) is not int or not 0 <= number < MAX_REVISION:
                raise InvalidArgumentError(f"{name} must be an integer of 0 or more")
    left = limit
    reach = kernel.reader.settled()
    until = reach if until is None else min(until, reach)
    with kernel.pins.hold(since) as pin:
        while left is None or left > 0:
            with kernel.engine.read() as view:
                page, since, more = changes_page(
                    view, kernel, since, until, start, stop, left, values, events
                )
            yield from page
            if not more:
                return
            if left is not None:
                left -= len(page)
            pin.renew()


Entry = ChangeEntry | EventEntry
Picked = tuple[int, int, CommitEntry, Entry]  # commit time, revision, and what stands there


def changes_page(
    view: View,
    kernel: Kernel,
    since: int,
    until: int,
    start: bytes,
    stop: bytes,
    left: int | None,
    values: bool,
    events: bool,
) -> tuple[list[Change | StateEvent], int, bool]:
    """Return a page of changes, the revision it reaches to, and whether there is more."""
    picked: list[Picked] = []
    size = headers = 0
    reached, more = until, False
    for revision, header in _merged(view, kernel, since, until, start, stop):
        if more and revision > reached:
            break
        commit = header.commits[revision - header.first]
        for entry in commit.changes:
            if start <= entry.place < stop and entry.operation != Operation.TRIM:
                picked.append((header.time_ns, revision, commit, entry))
                size += entry.size
        for event in commit.events if events else ():
            if start <= event.owner < stop:
                picked.append((header.time_ns, revision, commit, event))
                size += event.size
        headers += revision == header.last
        # Large values come in smaller pages; one commit is never torn between two.
        if headers >= _HEADERS or size > _PAGE_BYTES or (left is not None and len(picked) > left):
            reached, more = revision, True
    if left is not None:
        picked = picked[:left]
    return told(view, kernel, picked, values), reached, more


def told(
    view: View, kernel: Kernel, picked: Sequence[Picked], values: bool
) -> list[Change | StateEvent]:
    """Return entries of the journal as callers see them, changes with their values if asked."""
    wanted_ = [(e.place, revision) for _, revision, _, e in picked if isinstance(e, ChangeEntry)]
    stored = iter(_stored(view, kernel, wanted_) if values else [None] * len(wanted_))
    return [
        _change(time_ns, revision, commit, entry, next(stored), values)
        if isinstance(entry, ChangeEntry)
        else _event(kernel, time_ns, revision, commit, entry)
        for time_ns, revision, commit, entry in picked
    ]


def _merged(
    view: View, kernel: Kernel, since: int, until: int, start: bytes, stop: bytes
) -> Iterator[tuple[int, Header]]:
    """Yield each commit's revision and header, in one order over the partitions of a range.

    Raises:
        HorizonError: A journal no longer reaches back to `since`.
    """
    streams = []
    for partition in kernel.partitions.covering(start, stop):
        refuse_before(journal_horizon(view, partition)[0], since, "the journal")
        streams.append(_commits(headers_between(view, partition, since, until), since, until))
    yield from heapq.merge(*streams, key=_revision)


def _commits(headers: Iterator[Header], since: int, until: int) -> Iterator[tuple[int, Header]]:
    for header in headers:
        for revision in range(max(header.first, since + 1), min(header.last, until) + 1):
            yield revision, header


def _stored(view: View, kernel: Kernel, wrote: list[tuple[bytes, int]]) -> list[Found | None]:
    """Return the version that each (place, revision) wrote; None where retention trimmed it."""
    keys = [layout.version_key(place, revision) for place, revision in wrote]
    found: list[Found | None] = []
    for (place, revision), key, row in zip(wrote, keys, view.get_many(keys), strict=True):
        if row is not None:
            version = parse_version(key, row)
            found.append(restore_version(view, kernel.payloads, place, version))
            continue
        raw = view.get(layout.DATA + place)  # compaction may have kept the live row only
        live = record.parse(place, raw) if raw is not None else None
        if live is not None and live.revision == revision:
            found.append(Found(place, live, kernel.payloads.restore(place, live)))
        else:
            found.append(None)
    return found


def _change(
    time_ns: int,
    revision: int,
    commit: CommitEntry,
    entry: ChangeEntry,
    found: Found | None,
    values: bool,
) -> Change:
    _, scope, key = layout.split_place(entry.place)
    written = entry.operation in (Operation.SET, Operation.TOUCH)
    return Change(
        revision=revision,
        scope=scope,
        key=key,
        operation=Operation(entry.operation),
        version=entry.version,
        previous_revision=entry.previous,
        at=from_ns(time_ns),
        state_class=StateClass(entry.state_class),
        commit_id=commit.commit_id.hex(),
        actor=commit.actor,
        correlation_id=commit.correlation,
        cause=commit.cause,
        context=commit.step,
        value=decode(found.payload) if written and found is not None else None,
        readable=not (values and written and found is None),
    )


def _event(
    kernel: Kernel, time_ns: int, revision: int, commit: CommitEntry, entry: EventEntry
) -> StateEvent:
    _, at = unpack_text(entry.owner, 0)
    scope, _ = unpack_scope(entry.owner, at)
    payload = kernel.payloads.unpack(entry.owner, entry.encoding, entry.payload, entry.size)
    return StateEvent(
        revision=revision,
        id=entry.id.hex(),
        scope=scope,
        name=entry.name,
        at=from_ns(time_ns),
        data=decode(payload),
        causes=tuple(entry.causes),
        commit_id=commit.commit_id.hex(),
        actor=commit.actor,
        correlation_id=commit.correlation,
        cause=commit.cause,
        context=commit.step,
    )


def differences(
    kernel: Kernel, before: int | datetime, after: int | datetime | None, start: bytes, stop: bytes
) -> Iterator[Difference]:
    """Yield what differs in a range between two moments, in the order of places.

    Raises:
        HorizonError: The journal or a value on the way has been trimmed.
    """
    for each in (before, after):
        if each is not None:
            kernel.reader.settle(each)
    with kernel.engine.read() as view:
        first = kernel.reader.moment(view, before)
        last = kernel.reader.now(view) if after is None else kernel.reader.moment(view, after)
        if first.revision > last.revision:
            raise InvalidArgumentError("diff goes from an earlier to a later revision")
        # Expiry alone takes a key away, without a commit: the index names those that nobody has
        # written since, and every other was written between `first` and now.
        touched: set[bytes] = set()
        for partition in kernel.partitions.covering(start, stop):
            then = first.within(partition).revision
            refuse_before(journal_horizon(view, partition)[0], then, "the journal")
            touched.update(touched_between(view, partition, then, MAX_REVISION, start, stop))
            times = first.time_ns + 1, last.time_ns
            touched |= _expired_between(view, partition, *times, start, stop)
    with kernel.pins.hold(first.lowest) as pin:
        for place in sorted(touched):
            pin.renew()
            partition = kernel.partitions.of(place)
            with kernel.engine.read() as view:
                old = find_at(view, kernel.payloads, place, first.within(partition))
                new = find_at(view, kernel.payloads, place, last.within(partition))
            if old is None and new is None:
                continue
            if old is not None and new is not None and old.checksum == new.checksum:
                continue
            _, scope, key = layout.split_place(place)
            yield Difference(
                scope,
                key,
                state_value(old) if old is not None else None,
                state_value(new) if new is not None else None,
            )


def _expired_between(
    view: View, partition: int, first_ns: int, until_ns: int, start: bytes, stop: bytes
) -> set[bytes]:
    """Return the places of a range whose live record expires in ``first <= time <= until``."""
    rows = view.scan(*layout.expiry_range(partition, first_ns, until_ns), keys_only=True)
    places = {layout.expiry_parts(key)[1] for key, _ in rows}
    return {place for place in places if start <= place < stop}


def rewind_ops(
    kernel: Kernel, owner: bytes, start: bytes, stop: bytes, to: int | datetime
) -> list[Op]:
    """Return the operations that bring a range of one scope back to an earlier moment.

    Each checks that the key has not changed since this was read.
    """
    ops: list[Op] = []
    partition = kernel.partitions.of(owner)
    kernel.reader.settle(to)
    with kernel.engine.read() as view:
        moment = kernel.reader.moment(view, to).within(partition)
        refuse_before(scope_horizon(view, owner), moment.revision, "the scope")
        present = kernel.reader.now(view, partition)
        then = _all_at(view, kernel, start, stop, moment)
        now = _all_at(view, kernel, start, stop, present)
    for place in sorted(then.keys() | now.keys()):
        old, new = then.get(place), now.get(place)
        if old is not None and 0 < old.record.expires_ns <= present.time_ns:
            old = None  # what has run out since does not come back
        expected = new.record.revision if new is not None else 0
        if old is None and new is None:
            continue
        if old is None:
            ops.append(Op(wanted.DELETE, owner, place, if_revision=expected))
        elif new is None or not _alike(old, new):
            prepared = kernel.payloads.pack(old.payload)
            if new is not None:
                kernel.payloads.add_delta(place, prepared, new.record)
            op = Op(wanted.SET, owner, place, prepared, old.record.state_class, expected)
            op.expires_ns = old.record.expires_ns
            op.schema_version = old.record.schema_version
            ops.append(op)
    return ops


def _alike(old: Found, new: Found) -> bool:
    """Say whether two versions of a key differ in nothing that a rewind brings back."""
    one, other = old.record, new.record
    return (
        old.payload == new.payload
        and one.expires_ns == other.expires_ns
        and one.state_class == other.state_class
        and one.schema_version == other.schema_version
    )


def _all_at(
    view: View, kernel: Kernel, start: bytes, stop: bytes, moment: Moment
) -> dict[bytes, Found]:
    found: dict[bytes, Found] = {}
    while True:
        page = scan_at(view, kernel.payloads, start, stop, moment, limit=PAGE)
        found.update((item.place, item) for item in page)
        if len(page) < PAGE:
            return found
        start = layout.behind(page[-1].place)
