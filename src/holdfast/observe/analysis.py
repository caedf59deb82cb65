"""Walking a store for hot, cold and growing scopes and keys: in pages, without a view held open.

First the journal, back to the beginning of the window; then data and history side by side, in the
order of places. What is kept meanwhile is the keys that the window changed, the scopes, and the
lists. Pages are of different moments, so what changes meanwhile may be counted in part.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, NamedTuple

from holdfast.clock import from_ns
from holdfast.errors import CorruptionError, InvalidArgumentError
from holdfast.observe.findings import Analysis, KeyFigures, ScopeFigures, rankings
from holdfast.store import layout
from holdfast.store.journal import headers_between, journal_horizon, read_head, revision_at
from holdfast.store.kernel import Kernel
from holdfast.store.record import describe, parse
from holdfast.store.scope import StateScope
from holdfast.store.value import Operation

_PAGE = 256
_HEADERS = 64
_DAY_NS = 86_400 * 10**9

Range = tuple[bytes, bytes]


class Written(NamedTuple):
    """What the window did to a place."""

    writes: int
    size: int
    last_ns: int


_UNTOUCHED = Written(0, 0, 0)


class Sums:
    """What is summed up of a scope."""

    __slots__ = ("history_bytes", "keys", "last_ns", "size", "versions", "writes", "written")

    def __init__(self) -> None:
        self.keys = self.size = self.versions = self.history_bytes = 0
        self.writes = self.written = self.last_ns = 0

    def add(self, figures: KeyFigures, last_ns: int) -> None:
        """Add the figures of a key."""
        self.keys += figures.present
        self.size += figures.bytes
        self.versions += figures.versions
        self.history_bytes += figures.history_bytes
        self.writes += figures.writes
        self.written += figures.written_bytes
        self.last_ns = max(self.last_ns, last_ns)

    def figures(self, scope: StateScope | None, days: float) -> ScopeFigures:
        """Return the sums as callers see them."""
        return ScopeFigures(
            scope=scope,
            keys=self.keys,
            bytes=self.size,
            versions=self.versions,
            history_bytes=self.history_bytes,
            writes=self.writes,
            written_bytes=self.written,
            growth_per_day=self.written / days,
            last_write=from_ns(self.last_ns) if self.last_ns else None,
        )


def analyze(kernel: Kernel, reach: Range, window: timedelta, top: int) -> Analysis:
    """Report on the keys of a range of places; see `StateReader.analyze`."""
    if not isinstance(window, timedelta) or window <= timedelta(0):
        raise InvalidArgumentError("window must be a timedelta of more than 0")
    if isinstance(top, bool) or not isinstance(top, int) or not 1 <= top <= 10_000:
        raise InvalidArgumentError("top must be from 1 to 10000")
    now = kernel.clock.now_ns()
    since = now - window // timedelta(microseconds=1) * 1000
    revision, complete, written = _window(kernel, reach, since)
    # Less than a day tells nothing of a day's growth: what it wrote is taken for the day.
    days = max(now - max(since, kernel.info.created_ns), _DAY_NS) / _DAY_NS

    lists = rankings(top)
    scopes: dict[StateScope, Sums] = {}
    total = Sums()
    for place, parts in groupby(_merged(kernel, reach, written), key=itemgetter(0)):
        size = versions = history = last_ns = 0
        present = False
        for _, kind, amount, at_ns in parts:
            if kind == "data":
                present, size, last_ns = True, amount, at_ns
            elif kind == "version":
                versions, history = versions + 1, history + amount
        change = written.get(place, _UNTOUCHED)
        last_ns = max(last_ns, change.last_ns)
        try:
            _, scope, key = layout.split_place(place)
        except (ValueError, IndexError):
            where = describe(place)
            raise CorruptionError("the store names what cannot be", where=where) from None
        figures = KeyFigures(
            scope=scope,
            key=key,
            present=present,
            bytes=size,
            versions=versions,
            history_bytes=history,
            writes=change.writes,
            written_bytes=change.size,
            growth_per_day=change.size / days,
            last_write=from_ns(last_ns) if last_ns else None,
        )
        for name in ("hot_keys", "growing_keys", "cold_keys", "largest_keys", "longest_keys"):
            lists[name].offer(figures)
        scopes.setdefault(scope, Sums()).add(figures, last_ns)
        total.add(figures, last_ns)
    for scope, sums in scopes.items():
        for name in ("hot_scopes", "growing_scopes", "cold_scopes"):
            lists[name].offer(sums.figures(scope, days))
    made: dict[str, Any] = {name: ranking.items() for name, ranking in lists.items()}
    return Analysis(
        taken_at=from_ns(now),
        revision=revision,
        window=window,
        complete=complete,
        total=total.figures(None, days),
        **made,
    )


def _window(kernel: Kernel, reach: Range, since: int) -> tuple[int, bool, dict[bytes, Written]]:
    """Return the last revision, whether the journal reaches back, and what was written."""
    start, stop = reach
    found: dict[bytes, Written] = {}
    revision, complete = 0, True
    for partition in kernel.partitions.covering(start, stop):
        with kernel.engine.read() as view:
            last = read_head(view, partition).revision
            horizon = journal_horizon(view, partition)[0]
            low = revision_at(view, partition, since)
        # Trimmed, and nothing before the window is left: whether that was all, nobody knows.
        complete = complete and not 0 < horizon >= low
        low, revision = max(low, horizon), max(revision, last)
        while low < last:
            with kernel.engine.read() as view:
                page = list(islice(headers_between(view, partition, low, last), _HEADERS))
            for header in page:
                for commit in header.commits:
                    for entry in commit.changes:
                        if start <= entry.place < stop and entry.operation != Operation.TRIM:
                            old = found.get(entry.place, _UNTOUCHED)
                            found[entry.place] = Written(
                                old.writes + 1, old.size + entry.size, header.time_ns
                            )
            if not page:
                break
            low = page[-1].last
    return revision, complete, found


Part = tuple[bytes, str, int, int]  # place, which space, bytes, time


def _merged(kernel: Kernel, reach: Range, written: dict[bytes, Written]) -> Iterator[Part]:
    """Yield all that is stored of each place, and the places of which nothing is any more."""

    def data(row: tuple[bytes, bytes]) -> Part:
        place = row[0][1:]
        try:
            at_ns = parse(place, row[1]).updated_ns
        except CorruptionError:  # `verify` tells of it; its size counts all the same
            at_ns = 0
        return place, "data", len(row[1]), at_ns

    def version(row: tuple[bytes, bytes]) -> Part:
        return layout.version_parts(row[0])[0], "version", len(row[1]), 0

    touched = ((place, "written", 0, 0) for place in sorted(written))
    return heapq.merge(
        _pages(kernel, layout.DATA, reach, data),
        _pages(kernel, layout.VERSIONS, reach, version),
        touched,
        key=itemgetter(0),
    )


def _pages(
    kernel: Kernel, space: bytes, reach: Range, part: Callable[[tuple[bytes, bytes]], Part]
) -> Iterator[Part]:
    position, stop = space + reach[0], space + reach[1]
    while True:
        with kernel.engine.read() as view:
            rows = view.scan(position, stop, limit=_PAGE)
        yield from map(part, rows)
        if len(rows) < _PAGE:
            return
        position = rows[-1][0] + b"\0"
