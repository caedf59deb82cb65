"""Reading: single values, pages of keys, the past; each call on one consistent view.

Long listings come in pages. The first page fixes a moment, and every later page shows that same
moment, whatever is written meanwhile, without holding a view open between pages.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, cast

from holdfast.clock import Clock, from_ns, to_ns
from holdfast.engines.base import ClockedView, Engine, View
from holdfast.errors import HorizonError, InvalidArgumentError
from holdfast.store import layout, record
from holdfast.store.cache import ReadCache
from holdfast.store.codec import decode
from holdfast.store.ephemeral import Ephemeral, EphemeralEntry
from holdfast.store.journal import (
    header_at,
    journal_horizon,
    parse_head,
    read_head,
    revision_at,
)
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
_FIRST_PAGE = 64
_LAST_NS = _LAST_REVISION = (1 << 63) - 1
_AT_ONCE = 1000  # a scan with a limit up to this is one page, and needs no pin


class Reader:
    """Reads one store. Places are packed; scopes and tenants are the caller's business."""

    def __init__(
        self, engine: Engine, clock: Clock, payloads: Payloads, pins: Pins, ephemeral: Ephemeral
    ) -> None:
        self.engine = engine
        self.clock = clock
        self.payloads = payloads
        self.pins = pins
        self.ephemeral = ephemeral
        self.cache: ReadCache | None = None

    # --- single places --------------------------------------------------------------------

    def value(self, place: bytes, default: Any) -> Any:
        """Return the durable value at `place`, or `default`. The hot path."""
        if self.cache is not None:
            return self._cached(self.cache, place, default)
        raw = self.engine.get(layout.DATA + place)
        if raw is None:
            return default
        if raw[:4] == record.SIMPLE:
            return decode(record.simple_payload(place, raw))
        found = parse(place, raw)
        if found.expires_ns and found.expires_ns <= self.present_ns():
            return default
        return self.payloads.value(place, found)

    def _cached(self, cache: ReadCache, place: bytes, default: Any) -> Any:
        payload, generation = cache.look(place)
        if payload is None:
            raw = self.engine.get(layout.DATA + place)
            if raw is None:
                return default
            found = parse(place, raw)
            if found.expires_ns and found.expires_ns <= self.present_ns():
                return default
            payload = self.payloads.restore(place, found)
            if not found.expires_ns:  # expiry is exact: such values are not kept
                cache.keep(place, payload, generation)
        return decode(payload)

    def current(self, place: bytes) -> Found | None:
        """Return the live durable record at `place`, or None."""
        return self.live(place, self.engine.get(layout.DATA + place))

    def present_ns(self) -> int:
        """Return the time that expiry is judged by: never before the last commit's."""
        return max(self.clock.now_ns(), parse_head(self.engine.get(layout.HEAD)).time_ns)

    def live(self, place: bytes, raw: bytes | None) -> Found | None:
        """Parse what is stored at `place`; None where it is nothing, or has expired."""
        if raw is None:
            return None
        found = parse(place, raw)
        if found.expires_ns and found.expires_ns <= self.present_ns():
            return None
        return Found(place, found, self.payloads.restore(place, found))

    def at(self, place: bytes, as_of: int | datetime) -> Found | None:
        """Return what stood at `place` at a revision or a time."""
        with self.engine.read() as view:
            return find_at(view, self.payloads, place, self.moment(view, as_of))

    def at_moment(self, place: bytes, moment: Moment) -> Found | None:
        """Return what stood at `place` at a moment."""
        with self.engine.read() as view:
            return find_at(view, self.payloads, place, moment)

    def moment(self, view: View, as_of: int | datetime) -> Moment:
        """Turn a revision or a time into a moment.

        A revision means that commit's time for expiry; a time means itself.

        Raises:
            InvalidArgumentError: It lies in the future, or is no revision.
            HorizonError: It lies before everything the journal still knows.
        """
        head = read_head(view)
        if isinstance(as_of, datetime):
            try:
                time_ns = to_ns(as_of)
            except ValueError as error:
                raise InvalidArgumentError(f"as_of: {error}") from None
            # Times shown are rounded down to microseconds: such a time means all of its own, so
            # that a value is there as of its `updated_at`.
            time_ns = max(0, min(time_ns + 999, _LAST_NS))
            revision = revision_at(view, time_ns)
            horizon, _ = journal_horizon(view)
            if horizon and revision <= horizon:
                raise HorizonError(
                    f"the journal begins after revision {horizon}; {as_of} lies before",
                    horizon=horizon,
                )
            return Moment(revision, time_ns)
        if isinstance(as_of, bool) or not isinstance(as_of, int) or as_of < 0:
            raise InvalidArgumentError("as_of must be a revision (0 or more) or an aware datetime")
        if as_of > head.revision:
            raise InvalidArgumentError(
                f"revision {as_of} does not exist yet; the store is at {head.revision}"
            )
        if as_of == head.revision:
            return Moment(as_of, head.time_ns)
        return Moment(as_of, self._time_of(view, as_of))

    def _time_of(self, view: View, revision: int) -> int:
        header = header_at(view, revision)
        if header is None:
            return UNKNOWN_TIME if revision else 0
        return header.time_ns

    def now(self, view: View) -> Moment:
        """Return the present moment of `view`."""
        head = read_head(view)
        clocked = self.engine.traits.clocked
        time_ns = cast(ClockedView, view).now_ns() if clocked else self.clock.now_ns()
        return Moment(head.revision, max(time_ns, head.time_ns))

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
        with self.engine.read() as view:
            if moment is None:
                moment = self.now(view)
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
        """Return one page and whether there may be more behind it."""
        if read_head(view).revision != moment.revision:
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
        gone = self._expired(view, moment.time_ns) if keys_only else set()
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
                elif raw[:4] == record.SIMPLE:  # a value without an expiry
                    page.append(SimpleFound(place, raw))
                else:
                    found = parse(place, raw)
                    if moment.shows(found):
                        page.append(Found(place, found, self.payloads.restore(place, found)))
            if not full or len(page) == size:
                return page, full
            start, stop = _rest(start, stop, rows[-1][0][1:], reverse)

    def _expired(self, view: View, now_ns: int) -> set[bytes]:
        """Return the places that have expired and await the sweep."""
        begin = layout.EXPIRY + layout.PARTITION
        rows = view.scan(begin, begin + (now_ns + 1).to_bytes(8), keys_only=True)
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
        schema_version=stored.schema_version,
        correlation_id=stored.correlation,
        actor=stored.actor,
        checksum=checksum.hex(),
        compressed=stored.encoding & 0xF0 != 0,
        encryption=stored.key_id,
        degraded=degraded,
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
