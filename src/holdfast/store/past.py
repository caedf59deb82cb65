"""Reading versions: what stood at a place at a revision, rebuilt from full copies and deltas.

Every function works on one consistent view. The past is exact wherever it is readable; where
retention has trimmed it, that is an error and never "absent".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from holdfast.engines.base import View
from holdfast.errors import CorruptionError, HorizonError
from holdfast.store import layout, record
from holdfast.store.payload import Payloads
from holdfast.store.record import Record, parse

_CHUNK = 512


class Found:
    """A record of some moment with its encoded payload restored.

    Attributes:
        place: Where it stood.
        record: Its header fields.
        payload: The encoded value, decompressed and with deltas applied; b"" for tombstones.
    """

    __slots__ = ("payload", "place", "record")
    degraded = False  #: answered by a failover store's spill

    def __init__(self, place: bytes, record_: Record, payload: bytes) -> None:
        self.place = place
        self.record = record_
        self.payload = payload

    @property
    def checksum(self) -> bytes:
        """The checksum of the record as it stood in the data space."""
        return self.record.full_sum or self.record.checksum


UNKNOWN_TIME = -1  # of a revision whose header has been trimmed


class Moment:
    """A revision, and the time that expiry is judged by there.

    Attributes:
        revision: The highest that shows.
        time_ns: The time.
        heads: In a store of several partitions, what each had reached where that was not settled
            for all of them by `revision`; else None.
    """

    __slots__ = ("heads", "revision", "time_ns")

    def __init__(self, revision: int, time_ns: int, heads: Sequence[int] | None = None) -> None:
        self.revision = revision
        self.time_ns = time_ns
        self.heads = heads

    def within(self, partition: int) -> Moment:
        """Return the moment as one partition sees it."""
        return self if self.heads is None else Moment(self.heads[partition], self.time_ns)

    @property
    def lowest(self) -> int:
        """The revision that has to stay readable for the moment to."""
        return self.revision if self.heads is None else min(self.heads)

    def shows(self, found: Record) -> bool:
        """Say whether a record of this moment is a value that has not expired."""
        if found.kind not in (record.VALUE, record.DELTA):
            return False
        if found.expires_ns and self.time_ns == UNKNOWN_TIME:
            raise HorizonError(
                f"the journal no longer knows the time of revision {self.revision}, "
                "and a value of that moment had an expiry",
                hint="ask for a later revision, or for a time",
                requested=self.revision,
            )
        return not found.expires_ns or found.expires_ns > self.time_ns


def scope_horizon(view: View, owner: bytes) -> int:
    """Return the revision before which the scope's past may be incomplete; 0 if it is whole."""
    row = view.get(layout.scope_horizon_key(owner))
    return int.from_bytes(row[:8]) if row else 0


def refuse_before(horizon: int, revision: int, what: str) -> None:
    """Raise if `revision` lies before `horizon`.

    Raises:
        HorizonError: It does.
    """
    if revision < horizon:
        raise HorizonError(
            f"the past of {what} before revision {horizon} has been trimmed; "
            f"revision {revision} cannot be read",
            hint=f"ask for revision {horizon} or later",
            requested=revision,
            horizon=horizon,
        )


def find_at(view: View, payloads: Payloads, place: bytes, moment: Moment) -> Found | None:
    """Return what stood at `place` at `moment`; None if nothing did, or it had expired.

    Raises:
        HorizonError: That part of the past has been trimmed.
        CorruptionError: A record on the way is damaged.
    """
    raw = view.get(layout.DATA + place)
    if raw is not None:
        live = parse(place, raw)
        if live.revision <= moment.revision:
            if not moment.shows(live):
                return None
            return Found(place, live, payloads.restore(place, live))
    rows = view.scan(
        layout.VERSIONS + place,
        layout.version_key(place, moment.revision + 1),
        reverse=True,
        limit=1,
    )
    if not rows:
        horizon = scope_horizon(view, layout.owner_of(place))
        refuse_before(horizon, moment.revision, record.describe(place))
        return None
    found = parse_version(*rows[0])
    if not moment.shows(found):
        return None
    return restore_version(view, payloads, place, found)


def parse_version(key: bytes, row: bytes) -> Record:
    """Parse a version row and check that it stands under its own revision.

    Raises:
        CorruptionError: It does not.
    """
    place, revision = layout.version_parts(key)
    found = parse(place, row)
    if found.revision != revision:
        raise CorruptionError(
            f"version {revision} holds revision {found.revision}", where=record.describe(place)
        )
    return found


def restore_version(view: View, payloads: Payloads, place: bytes, found: Record) -> Found:
    """Give a parsed version its payload, reading the rest of its delta run where it has one.

    Raises:
        CorruptionError: The run is incomplete or damaged.
    """
    if found.kind == record.VALUE:
        return Found(place, found, payloads.restore(place, found))
    if found.kind != record.DELTA:
        return Found(place, found, b"")
    rows = view.scan(
        layout.VERSIONS + place,
        layout.version_key(place, found.revision + 1),
        reverse=True,
        limit=found.run + 1,
    )
    run = [parse_version(*row) for row in reversed(rows)]
    if run[0].kind != record.VALUE or len(run) != found.run + 1:
        raise CorruptionError(
            f"the delta run of revision {found.revision} is incomplete",
            where=record.describe(place),
        )
    payload = payloads.restore(place, run[0])
    for delta in run[1:]:
        payload = payloads.apply(place, payload, delta)
    return Found(place, found, payload)


def versions_of(
    view: View,
    payloads: Payloads,
    place: bytes,
    first: int,
    last: int,
    limit: int,
    *,
    newest: bool = False,
) -> list[Found]:
    """Return versions of `place` with ``first <= revision <= last``, ascending.

    The oldest `limit` of them, or the newest. Tombstones are included. A delta run is rebuilt
    once, not once per version.
    """
    rows = view.scan(
        layout.version_key(place, first),
        layout.version_key(place, last + 1),
        reverse=newest,
        limit=limit,
    )
    if newest:
        rows.reverse()
    out: list[Found] = []
    payload: bytes | None = None
    for key, row in rows:
        found = parse_version(key, row)
        if found.kind == record.DELTA and payload is not None:
            payload = payloads.apply(place, payload, found)
            out.append(Found(place, found, payload))
            continue
        out.append(restore_version(view, payloads, place, found))
        payload = out[-1].payload if found.kind in (record.VALUE, record.DELTA) else None
    return out


def scan_at(
    view: View,
    payloads: Payloads,
    start: bytes,
    stop: bytes,
    moment: Moment,
    of: Callable[[bytes], int] | None = None,
    *,
    limit: int,
    reverse: bool = False,
    keys_only: bool = False,
) -> list[Found]:
    """Return what stood in a range of places at `moment`, in order, at most `limit` of it.

    Merges the data space with the versions space, so that keys deleted since are found and keys
    created since are not. The caller has checked the scope's horizon. With `keys_only` payloads
    are left empty. `moment` is as the range's partition sees it, unless `of` tells each place's.
    """
    out: list[Found] = []
    data = _Stream(view, layout.DATA, start, stop, reverse, keys_only=False)
    past = _Stream(view, layout.VERSIONS, start, stop, reverse, keys_only=True)
    while len(out) < limit:
        place = data.place if past.place is None else past.place
        if place is None:
            break
        if data.place is not None:
            place = max(place, data.place) if reverse else min(place, data.place)
        last = moment.revision if of is None else moment.within(of(place)).revision
        live = None
        if data.place == place:
            live = parse(place, data.value)
            data.advance()
        newest = 0  # the newest version at or before the moment
        while past.place == place:
            if newest < past.revision <= last:
                newest = past.revision
            past.advance()
        found: Record | None = None
        if live is not None and live.revision <= last:
            found = live
        elif newest:
            row = view.get(layout.version_key(place, newest))
            assert row is not None, "the view is consistent"
            found = parse_version(layout.version_key(place, newest), row)
        if found is None or not moment.shows(found):
            continue
        if keys_only:
            out.append(Found(place, found, b""))
        else:
            out.append(restore_version(view, payloads, place, found))
    return out


class _Stream:
    """The rows of one space over a range of places, read in chunks from one view."""

    def __init__(
        self, view: View, space: bytes, start: bytes, stop: bytes, reverse: bool, keys_only: bool
    ) -> None:
        self._view, self._space = view, space
        self._start, self._stop = space + start, space + stop
        self._reverse, self._keys_only = reverse, keys_only
        self._rows: Iterator[tuple[bytes, bytes]] = iter(())
        self._more = True
        self._chunk = 64
        self.place: bytes | None = None
        self.revision = 0
        self.value = b""
        self.advance()

    def advance(self) -> None:
        """Step to the next row; `place` is None at the end."""
        row = next(self._rows, None)
        if row is None and self._more:
            rows = self._view.scan(
                self._start,
                self._stop,
                reverse=self._reverse,
                limit=self._chunk,
                keys_only=self._keys_only,
            )
            self._more = len(rows) == self._chunk
            self._chunk = _CHUNK
            if rows and self._reverse:
                self._stop = rows[-1][0]
            elif rows:
                self._start = rows[-1][0] + b"\0"
            self._rows = iter(rows)
            row = next(self._rows, None)
        if row is None:
            self.place = None
        elif self._space == layout.VERSIONS:
            self.place, self.revision = layout.version_parts(row[0])
        else:
            self.place, self.value = row[0][1:], row[1]
