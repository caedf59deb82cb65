"""Reading: single values, pages of keys, the past; each call on one consistent view.

Long listings come in pages. The first page fixes a moment, and every later page shows that same
moment, whatever is written meanwhile, without holding a view open between pages.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, cast

from holdfast.clock import Clock, from_ns, to_ns
from holdfast.engines.base import Batch, ClockedView, Durability, Engine, View
from holdfast.errors import HorizonError, InvalidArgumentError
from holdfast.store import layout, record
from holdfast.store.cache import ReadCache
from holdfast.store.codec import decode
from holdfast.store.ephemeral import Ephemeral, EphemeralEntry
from holdfast.store.journal import (
    header_at,
    journal_horizon,
    parse_head,
    parse_header,
    read_head,
    read_heads,
    revision_at,
)
from holdfast.store.migrated import migration_of, version_text
from holdfast.store.partitions import Partitions
from holdfast.store.past import (
    UNKNOWN_TIME,
    Found,
    Moment,
    find_at,
    refuse_before,
    scan_at,
    scope_horizon,
    versions_of,
)
from holdfast.store.payload import Payloads
from holdfast.store.pins import Pins
from holdfast.store.record import parse
from holdfast.store.value import StateClass, StateMetadata, StateValue

PAGE = 500
_DATA = layout.DATA
_START = slice(len(record.SIMPLE))
_SIMPLE, _simple_payload = record.SIMPLE, record.simple_payload
_FIRST_PAGE = 64
_LAST_NS = _LAST_REVISION = (1 << 63) - 1
_AT_ONCE = 1000  # a scan with a limit up to this is one page, and needs no pin


class Reader:
    """Reads one store. Places are packed; scopes and tenants are the caller's business."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        payloads: Payloads,
        pins: Pins,
        ephemeral: Ephemeral,
        partitions: Partitions,
        *,
        can_settle: bool,
    ) -> None:
        self.engine = engine
        self.clock = clock
        self.payloads = payloads
        self.pins = pins
        self.ephemeral = ephemeral
        self.partitions = partitions
        self._settles = can_settle and partitions.count > 1
        self._settled = (0, 0)
        self.cache: ReadCache | None = None

    # --- single places --------------------------------------------------------------------

    def value(self, place: bytes, default: Any) -> Any:
        """Return the durable value at `place`, or `default`. The hot path."""
        if self.cache is not None:
            return self._cached(self.cache, place, default)
        raw = self.engine.get(_DATA + place)
        if raw is None:
            return default
        if raw[_START] == _SIMPLE:
            return decode(_simple_payload(place, raw))
        found = parse(place, raw)
        if found.expires_ns and found.expires_ns <= self.present_ns(place):
            return default
        return self.payloads.value(place, found)

    def _cached(self, cache: ReadCache, place: bytes, default: Any) -> Any:
        payload, generation = cache.look(place)
        if payload is None:
            raw = self.engine.get(layout.DATA + place)
            if raw is None:
                return default
            found = parse(place, raw)
            if found.expires_ns and found.expires_ns <= self.present_ns(place):
                return default
            payload = self.payloads.restore(place, found)
            if not found.expires_ns:  # expiry is exact: such values are not kept
                cache.keep(place, payload, generation)
        return decode(payload)

    def current(self, place: bytes) -> Found | None:
        """Return the live durable record at `place`, or None."""
        return self.live(place, self.engine.get(layout.DATA + place))

    def present_ns(self, place: bytes) -> int:
        """Return the time that expiry is judged by: never before the last commit's."""
        row = self.engine.get(layout.head_key(self.partitions.of(place)))
        return max(self.clock.now_ns(), parse_head(row).time_ns)

    def live(self, place: bytes, raw: bytes | None) -> Found | None:
        """Parse what is stored at `place`; None where it is nothing, or has expired."""
        if raw is None:
            return None
        found = parse(place, raw)
        if found.expires_ns and found.expires_ns <= self.present_ns(place):
            return None
        return Found(place, found, self.payloads.restore(place, found))

    def at(self, place: bytes, as_of: int | datetime) -> Found | None:
        """Return what stood at `place` at a revision or a time."""
        self.settle(as_of)
        with self.engine.read() as view:
            return find_at(view, self.payloads, place, self.moment(view, as_of))

    def at_moment(self, place: bytes, moment: Moment) -> Found | None:
        """Return what stood at `place` at a moment."""
        moment = moment.within(self.partitions.of(place))
        with self.engine.read() as view:
            return find_at(view, self.payloads, place, moment)

    def settle(self, as_of: int | datetime) -> None:
        """Make sure that no commit will yet get a revision or time at or before `as_of`.

        To be called before a view is opened to read a past moment. With one partition that is so
        anyway. With several, a commit under way may have a lower revision than one that has been
        acknowledged: this waits for those, once for all that came before. A store that is open
        for reading only cannot wait; there such a commit may show up later.
        """
        if not self._settles:
            return
        revision, time_ns = self._settled
        if isinstance(as_of, datetime):
            if as_of.timestamp() * 1e9 < time_ns:
                return
        elif as_of <= revision:
            return
        self.settled()

    def settled(self) -> int:
        """Return the last revision, after every commit under way has ended."""

        def body(view: View) -> Batch:
            present = self.now(view)
            self._settled = (present.revision, present.time_ns)
            return Batch()

        if self._settles:
            self.engine.write(Durability.OS, body, self.partitions.all)
            return self._settled[0]
        with self.engine.read() as view:
            return self.now(view).revision

    def moment(self, view: View, as_of: int | datetime) -> Moment:
        """Turn a revision or a time, which has been settled, into a moment.

        A revision means that commit's time for expiry; a time means itself.

        Raises:
            InvalidArgumentError: It lies in the future, or is no revision.
            HorizonError: It lies before everything the journal still knows.
        """
        if isinstance(as_of, datetime):
            return self._moment_at(view, as_of)
        if isinstance(as_of, bool) or not isinstance(as_of, int) or as_of < 0:
            raise InvalidArgumentError("as_of must be a revision (0 or more) or an aware datetime")
        head = max(read_heads(view, self.partitions.all))
        if as_of > head.revision:
            raise InvalidArgumentError(
                f"revision {as_of} does not exist yet; the store is at {head.revision}"
            )
        if as_of == head.revision:
            return Moment(as_of, head.time_ns)
        return Moment(as_of, self._time_of(view, as_of))

    def _moment_at(self, view: View, time: datetime) -> Moment:
        try:
            time_ns = to_ns(time)
        except ValueError as error:
            raise InvalidArgumentError(f"as_of: {error}") from None
        # Times shown are rounded down to microseconds: such a time means all of its own, so
        # that a value is there as of its `updated_at`.
        time_ns = max(0, min(time_ns + 999, _LAST_NS))
        reached: list[int] = []
        for partition in self.partitions.all:
            revision = revision_at(view, partition, time_ns)
            horizon, _ = journal_horizon(view, partition)
            if horizon and revision <= horizon:
                raise HorizonError(
                    f"the journal begins after revision {horizon}; {time} lies before",
                    horizon=horizon,
                )
            reached.append(revision)
        heads = reached if self.partitions.count > 1 else None
        return Moment(max(reached), time_ns, heads)

    def _time_of(self, view: View, revision: int) -> int:
        """Return the time of the last commit up to `revision`, which may lie between two."""
        times = [0]
        for partition in self.partitions.all:
            header = header_at(view, partition, revision)
            if header is None and revision > journal_horizon(view, partition)[0]:
                start, _ = layout.journal_range(partition)
                stop = layout.journal_key(partition, revision)
                rows = view.scan(start, stop, reverse=True, limit=1)
                header = parse_header(*rows[0]) if rows else None
            if header is not None:
                times.append(header.time_ns)
        return max(times) or (UNKNOWN_TIME if revision else 0)

    def now(self, view: View, partition: int | None = None) -> Moment:
        """Return the present moment of `view`, as one partition sees it, or all."""
        one = partition is not None or self.partitions.count == 1
        if one:
            heads = [read_head(view, partition or 0)]
        else:
            heads = read_heads(view, self.partitions.all)
        clocked = self.engine.traits.clocked
        time_ns = cast(ClockedView, view).now_ns() if clocked else self.clock.now_ns()
        revisions = [head.revision for head in heads]
        time_ns = max(time_ns, *[head.time_ns for head in heads])
        return Moment(max(revisions), time_ns, None if one else revisions)

    # --- ranges ---------------------------------------------------------------------------

    def scan(
        self,
        start: bytes,
        stop: bytes,
        *,
        moment: Moment | None = None,
        limit: int | None = None,
        reverse: bool = False,
        keys_only: bool = False,
    ) -> Iterator[Found]:
        """Yield what stands in a range of places of one scope, page by page, as of one moment.

        Args:
            start, stop: The half-open range of places.
            moment: Which moment; the present of the first page by default.
            limit: At most so many.
            reverse: Descending.
            keys_only: Leave payloads empty (values are not read where the engine can avoid it).
        """
        size = _FIRST_PAGE if limit is None else min(limit, _AT_ONCE)
        left = limit
        if left == 0:
            return
        partition = self.partitions.of(start)
        with self.engine.read() as view:
            moment = self.now(view, partition) if moment is None else moment.within(partition)
            page, more = self.page(view, start, stop, moment, size, reverse, keys_only)
        if not more or (left is not None and len(page) >= left):
            yield from page[:left]
            return
        with self.pins.hold(moment.revision) as pin:
            while True:
                yield from page
                if left is not None:
                    left -= len(page)
                if not more or left == 0:
                    return
                if page:
                    start, stop = _rest(start, stop, page[-1].place, reverse)
                pin.renew()
                size = PAGE if left is None else min(left, PAGE)
                with self.engine.read() as view:
                    page, more = self.page(view, start, stop, moment, size, reverse, keys_only)

    def page(
        self,
        view: View,
        start: bytes,
        stop: bytes,
        moment: Moment,
        size: int,
        reverse: bool = False,
        keys_only: bool = False,
    ) -> tuple[list[Found], bool]:
        """Return one page and whether there may be more behind it.

        `moment` is as the range's partition sees it.
        """
        partition = self.partitions.of(start)
        if read_head(view, partition).revision > moment.revision:
            owner = layout.owner_of(start)
            refuse_before(scope_horizon(view, owner), moment.revision, "the scope")
            page = scan_at(
                view,
                self.payloads,
                start,
                stop,
                moment,
                limit=size,
                reverse=reverse,
                keys_only=keys_only,
            )
            return page, len(page) == size
        gone = self._expired(view, partition, moment.time_ns) if keys_only else set()
        page = []
        while True:
            rows = view.scan(
                layout.DATA + start,
                layout.DATA + stop,
                reverse=reverse,
                limit=size - len(page),
                keys_only=keys_only,
            )
            full = len(rows) == size - len(page)
            for key, raw in rows:
                place = key[1:]
                if keys_only:
                    if place not in gone:
                        page.append(Found(place, record.NOTHING, b""))
                elif raw[_START] == _SIMPLE:  # a value without an expiry
                    page.append(SimpleFound(place, raw))
                else:
                    found = parse(place, raw)
                    if moment.shows(found):
                        page.append(Found(place, found, self.payloads.restore(place, found)))
            if not full or len(page) == size:
                return page, full
            start, stop = _rest(start, stop, rows[-1][0][1:], reverse)

    def _expired(self, view: View, partition: int, now_ns: int) -> set[bytes]:
        """Return a partition's places that have expired and await the sweep."""
        rows = view.scan(*layout.expiry_range(partition, 0, now_ns), keys_only=True)
        return {layout.expiry_parts(key)[1] for key, _ in rows}

    def history(self, place: bytes, *, newest_first: bool, limit: int | None) -> Iterator[Found]:
        """Yield the versions of `place` that retention has kept, tombstones included.

        A live record whose version row compaction has dropped is yielded from the data space.
        """
        if limit is not None and (type(limit) is not int or limit < 0):
            raise InvalidArgumentError("limit must be an integer of 0 or more, or None")
        left = limit
        low, high = 0, _LAST_REVISION
        with self.engine.read() as view:
            raw = view.get(layout.DATA + place)
            live = parse(place, raw) if raw is not None else None
            tail: list[Found] = []
            if live is not None and view.get(layout.version_key(place, live.revision)) is None:
                tail.append(Found(place, live, self.payloads.restore(place, live)))
                high = live.revision - 1  # its writer puts the row back: not shown twice
        if newest_first:
            for found in tail[:left]:
                yield found
            left = None if left is None else left - len(tail)
        with self.pins.hold(0) as pin:
            while left is None or left > 0:
                with self.engine.read() as view:
                    page = self._versions(view, place, low, high, newest_first)
                if not page:
                    break
                for found in page[:left]:
                    yield found
                if left is not None:
                    left -= len(page)
                if newest_first:
                    high = page[-1].record.revision - 1
                else:
                    low = page[-1].record.revision + 1
                pin.renew()
        if not newest_first:
            for found in tail[:left]:
                yield found

    def _versions(
        self, view: View, place: bytes, low: int, high: int, newest_first: bool
    ) -> list[Found]:
        out = versions_of(view, self.payloads, place, low, high, _FIRST_PAGE, newest=newest_first)
        if newest_first:
            out.reverse()
        return out


def _rest(start: bytes, stop: bytes, last: bytes, reverse: bool) -> tuple[bytes, bytes]:
    """Return what remains of a range behind `last`."""
    return (start, last) if reverse else (layout.behind(last), stop)


class SimpleFound(Found):
    """A live record that starts with `record.SIMPLE`, checked; its fields are parsed on demand.

    Attributes:
        raw: Its bytes.
    """

    __slots__ = ("raw",)

    def __init__(self, place: bytes, raw: bytes) -> None:
        self.place = place
        self.payload = record.simple_payload(place, raw)
        self.raw = raw

    def __getattr__(self, name: str) -> record.Record:
        if name != "record":  # the slot is empty until somebody asks
            raise AttributeError(name)
        self.record = parse(self.place, self.raw)
        return self.record


def state_value(found: Found) -> StateValue:
    """Decode a found record into what callers see."""
    if type(found) is SimpleFound:
        stub = record.simple_stub(found.raw)
        return StateValue.deferring(decode(found.payload), _metadata_of_stub, stub)
    metadata = metadata_of(found.record, found.checksum, degraded=found.degraded)
    return StateValue(decode(found.payload), metadata)


def metadata_of(stored: record.Record, checksum: bytes, *, degraded: bool = False) -> StateMetadata:
    """Return the metadata that callers see."""
    return StateMetadata(
        revision=stored.revision,
        version=stored.version,
        previous_revision=stored.previous,
        created_at=from_ns(stored.created_ns),
        updated_at=from_ns(stored.updated_ns),
        expires_at=from_ns(stored.expires_ns) if stored.expires_ns else None,
        size_bytes=stored.size,
        state_class=StateClass(stored.state_class),
        schema_version=version_text(stored.schema_version),
        correlation_id=stored.correlation,
        actor=stored.actor,
        checksum=checksum.hex(),
        compressed=stored.encoding & 0xF0 != 0,
        encryption=stored.key_id,
        degraded=degraded,
        migration=migration_of(stored.schema_version),
    )


def _metadata_of_stub(stub: bytes) -> StateMetadata:
    fields = record.peek(stub)
    return StateMetadata(
        revision=fields.revision,
        version=fields.version,
        previous_revision=fields.previous,
        created_at=from_ns(fields.created_ns),
        updated_at=from_ns(fields.updated_ns),
        expires_at=None,
        size_bytes=fields.size,
        state_class=StateClass(fields.state_class),
        schema_version=None,
        correlation_id=None,
        actor=None,
        checksum=stub[-record.SUM_SIZE :].hex(),
    )


def ephemeral_value(entry: EphemeralEntry, payload: bytes) -> StateValue:
    """Return an ephemeral entry as callers see it."""
    metadata = StateMetadata(
        revision=0,
        version=entry.version,
        previous_revision=0,
        created_at=from_ns(entry.created_ns),
        updated_at=from_ns(entry.updated_ns),
        expires_at=from_ns(entry.expires_ns) if entry.expires_ns else None,
        size_bytes=entry.prepared.size,
        state_class=StateClass.EPHEMERAL,
        schema_version=None,
        correlation_id=None,
        actor=None,
        checksum="",
        ephemeral=True,
    )
    return StateValue(decode(payload), metadata)
