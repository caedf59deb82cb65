"""What commits touched, beside the ranges that a transaction scanned. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.engines.base import View
from holdfast.errors import ConflictError
from holdfast.store import layout
from holdfast.store.journal import MAX_REVISION, headers_between
from holdfast.store.value import Operation


def touched_since(view: View, partition: int, since: int) -> Iterable[list[bytes]]:
    """Yield the places that each commit of a partition after `since` changed."""
    for header in headers_between(view, partition, since, MAX_REVISION):
        for at, commit in enumerate(header.commits):
            if header.first + at > since:
                yield [c.place for c in commit.changes if c.operation != Operation.TRIM]


def refuse_touched(places: Iterable[bytes], ranges: list[tuple[bytes, bytes]]) -> None:
    """Raise if one of `places` lies in one of `ranges`.

    Raises:
        ConflictError: With reason ``range``.
    """
    for place in places:
        for start, stop in ranges:
            if start <= place < stop:
                _, scope, key = layout.split_place(place)
                raise ConflictError(
                    f"{scope}/{key} changed in a range that the transaction scanned",
                    scope=str(scope),
                    key=key,
                    reason="range",
                )
