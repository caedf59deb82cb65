"""Excerpts of the journal: what belongs to a correlation, a range of places, a time.

What carries a correlation id is found by its index rows, so that neither the journal's length nor
other work in the store costs anything. Where the journal has been trimmed, an excerpt says how far
that reaches into what was asked for, and never passes for whole.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Final

from holdfast.clock import from_ns, to_ns
from holdfast.correlation import check_text
from holdfast.engines.base import View
from holdfast.errors import InvalidArgumentError
from holdfast.store import layout
from holdfast.store.journal import (
    MAX_REVISION,
    CommitEntry,
    commits_at,
    headers_between,
    journal_horizon,
    revision_at,
)
from holdfast.store.kernel import Kernel
from holdfast.store.paging import Picked, show
from holdfast.store.value import Change, Operation, StateEvent

Found = Change | StateEvent
Keep = Callable[[Found], bool]

_INDEX_ROWS: Final = 64
_PAGE: Final = 512  # entries
_PAGE_COMMITS: Final = 4096  # looked at
_PAGE_BYTES: Final = 8 * 1024 * 1024
_LAST_NS: Final = (1 << 63) - 1
_revision = itemgetter(0)

_Commit = tuple[int, int, CommitEntry]  # revision, time, entry


@dataclass(frozen=True, slots=True)
class Excerpt:
    """What was found.

    Attributes:
        items: Changes and events in the journal's order.
        horizon: What was asked for reaches back before this revision, and there the journal has
            been trimmed; 0 where it has not.
        more: There is more behind the last item: the limit was reached.
    """

    items: list[Found]
    horizon: int
    more: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an excerpt is to hold.

    Attributes:
        start, stop: Half-open range of places; events by their owners.
        correlation: Only commits that carry this id.
        since: Behind this revision or time.
        until: Up to this one.
    """

    start: bytes
    stop: bytes
    correlation: str | None = None
    since: int | datetime | None = None
    until: int | datetime | None = None


def excerpt(kernel: Kernel, wanted: Wanted, keep: Keep, limit: int | None) -> Excerpt:
    """Return what the journal has of `wanted`, and what of it `keep` keeps.

    Raises:
        InvalidArgumentError: An argument is none.
    """
    if wanted.correlation is not None:
        check_text(wanted.correlation, "a correlation id")
    since, until = _moment(wanted.since, "since"), _moment(wanted.until, "until")
    reach = kernel.reader.settled()
    among = kernel.partitions.covering(wanted.start, wanted.stop)
    with kernel.pins.hold(0) as pin:  # nothing may be trimmed while this is read
        with kernel.engine.read() as view:
            lows = {p: _up_to(view, p, since, 0) for p in among}
            highs = {p: min(reach, _up_to(view, p, until, reach)) for p in among}
            horizons = {p: journal_horizon(view, p)[0] for p in among}
        cut = max(horizons[p] if lows[p] < horizons[p] else 0 for p in among)
        lows = {p: max(lows[p], horizons[p]) for p in among}
        items: list[Found] = []
        while True:
            with kernel.engine.read() as view:
                page, reached = _page(view, kernel, wanted, lows, highs)
            for item in filter(keep, page):
                if len(items) == limit:
                    return Excerpt(items, cut, more=True)
                items.append(item)
            if reached is None:
                return Excerpt(items, cut, more=False)
            lows = {p: max(low, reached) for p, low in lows.items()}
            pin.renew()


def _moment(moment: int | datetime | None, name: str) -> int | None:
    """Return a revision as it is, and a time as a negative number: it is looked up later."""
    if moment is None:
        return None
    if isinstance(moment, datetime):
        try:
            # Times shown are rounded down to microseconds: such a time means all of its own.
            return -1 - max(0, min(to_ns(moment) + 999, _LAST_NS))
        except ValueError as error:
            raise InvalidArgumentError(f"{name}: {error}") from None
    if type(moment) is not int or not 0 <= moment < MAX_REVISION:
        raise InvalidArgumentError(f"{name} must be a revision (0 or more) or an aware datetime")
    return moment


def _up_to(view: View, partition: int, moment: int | None, otherwise: int) -> int:
    """Return the last revision of a partition up to a moment.

    For a time before everything that the journal still has, that is 0: what was there is gone.
    """
    if moment is None:
        return otherwise
    if moment >= 0:
        return moment
    revision = revision_at(view, partition, -1 - moment)
    return 0 if revision <= journal_horizon(view, partition)[0] else revision


def _page(
    view: View, kernel: Kernel, wanted: Wanted, lows: dict[int, int], highs: dict[int, int]
) -> tuple[list[Found], int | None]:
    """Return a page, and the revision it reaches to; None if it is the last one."""
    streams = [_commits(view, wanted.correlation, p, lows[p], highs[p]) for p in lows]
    picked: list[Picked] = []
    size = 0
    reached: int | None = None
    merged = heapq.merge(*streams, key=_revision)
    for count, (revision, time_ns, commit) in enumerate(merged, 1):
        if reached is not None and revision > reached:
            break  # one commit is never torn between two pages
        for entry in commit.changes:
            inside = wanted.start <= entry.place < wanted.stop
            if inside and entry.operation != Operation.TRIM:
                picked.append((revision, from_ns(time_ns), commit, entry))
                size += entry.size
        for event in commit.events:
            if wanted.start <= event.owner < wanted.stop:
                picked.append((revision, from_ns(time_ns), commit, event))
                size += event.size
        if len(picked) >= _PAGE or count >= _PAGE_COMMITS or size >= _PAGE_BYTES:
            reached = revision
    else:
        reached = None
    return show(view, kernel, picked), reached


def _commits(
    view: View, correlation: str | None, partition: int, low: int, high: int
) -> Iterator[_Commit]:
    """Yield a partition's commits with ``low < revision <= high``: of a correlation, or all."""
    if correlation is None:
        for header in headers_between(view, partition, low, high):
            for revision in range(max(header.first, low + 1), min(header.last, high) + 1):
                yield revision, header.time_ns, header.commits[revision - header.first]
        return
    while low < high:
        start, stop = layout.correlation_range(partition, correlation, low, high)
        rows = view.scan(start, stop, limit=_INDEX_ROWS, keys_only=True)
        revisions: Sequence[int] = [layout.correlation_revision(key) for key, _ in rows]
        found = commits_at(view, partition, revisions)
        for revision in revisions:
            if revision in found:  # else its header is gone, and the row only left over
                yield revision, *found[revision]
        if len(rows) < _INDEX_ROWS:
            return
        low = revisions[-1]
