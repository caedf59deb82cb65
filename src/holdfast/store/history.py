"""The journal, read: histories of keys, changes in order, differences, rewinding.

Everything here comes from headers and version rows; no second bookkeeping exists.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from holdfast.clock import from_ns
from holdfast.engines.base import View
from holdfast.errors import InvalidArgumentError
from holdfast.store import intent as wanted
from holdfast.store import layout, record
from holdfast.store.codec import decode
from holdfast.store.intent import Op
from holdfast.store.journal import MAX_REVISION, journal_horizon, touched_between
from holdfast.store.kernel import Kernel
from holdfast.store.paging import MOST, Wanted, read_page
from holdfast.store.past import Found, Moment, find_at, refuse_before, scan_at, scope_horizon
from holdfast.store.reader import PAGE, state_value
from holdfast.store.value import Change, Difference, Operation, StateClass, StateEvent

_OPERATIONS = {record.DELETED: Operation.DELETE, record.EXPIRED: Operation.EXPIRE}


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
    wanted = Wanted(start, stop, events, values)
    with kernel.pins.hold(since) as pin:
        while left is None or left > 0:
            most = MOST if left is None else min(left, MOST)
            with kernel.engine.read() as view:
                page = read_page(view, kernel, since, until, wanted, most=most)
            yield from page.items[:left]
            if not page.more:
                return
            since = page.reached
            if left is not None:
                left -= len(page.items)
            pin.renew()


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
