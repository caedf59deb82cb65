"""Reading what is left of damaged storage: every row outside what cannot be read.

A scan that meets damage raises. Then the range is read from its other end, and what lies
between is probed at points in the middle, so that one destroyed page costs its own rows only.
"""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.engines.base import Engine
from holdfast.errors import CorruptionError, EngineError

_ROWS = 256
_PROBES = 7  # halvings of an unreadable range: 127 probes


class Salvage:
    """Reads an engine that may be damaged.

    Attributes:
        gaps: Ranges of row keys that could not be read.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.gaps: list[tuple[bytes, bytes]] = []

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a row, or None where there is none, or it cannot be read."""
        try:
            return self._engine.get(key)
        except EngineError:
            return None

    def rows(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield every readable row of a range, in order."""
        yield from self._range(start, stop, _PROBES)

    def _range(self, start: bytes, stop: bytes, probes: int) -> Iterator[tuple[bytes, bytes]]:
        position = start
        while True:
            rows = self._scan(position, stop, _ROWS)
            if rows is None:
                rows = self._scan_less(position, stop)
                yield from rows
                if rows:
                    position = rows[-1][0] + b"\0"
                break
            yield from rows
            if len(rows) < _ROWS:
                return
            position = rows[-1][0] + b"\0"
        yield from self._behind(position, stop, probes)

    def _behind(self, start: bytes, stop: bytes, probes: int) -> Iterator[tuple[bytes, bytes]]:
        """Read a range whose beginning cannot be read: from its end, then from its middle."""
        tail: list[tuple[bytes, bytes]] = []
        end, limit = stop, _ROWS
        while True:
            rows = self._scan(start, end, limit, reverse=True)
            if rows is None:
                if limit == 1:
                    break
                limit = max(1, limit // 4)
                continue
            tail += rows
            if len(rows) < limit:  # nothing is missing after all
                yield from reversed(tail)
                return
            end = rows[-1][0]
        middle = _middle(start, end)
        if probes and middle is not None:
            yield from self._probe(start, middle, probes - 1)
            yield from self._probe(middle, end, probes - 1)
        else:
            self.gaps.append((start, end))
        yield from reversed(tail)

    def _probe(self, start: bytes, stop: bytes, probes: int) -> Iterator[tuple[bytes, bytes]]:
        yield from self._range(start, stop, probes)

    def _scan(
        self, start: bytes, stop: bytes, limit: int, *, reverse: bool = False
    ) -> list[tuple[bytes, bytes]] | None:
        """Return a page, or None where it meets damage."""
        try:
            with self._engine.read() as view:
                return view.scan(start, stop, limit=limit, reverse=reverse)
        except CorruptionError:
            return None

    def _scan_less(self, start: bytes, stop: bytes) -> list[tuple[bytes, bytes]]:
        """Return the rows before the damage, read in ever smaller pages."""
        found: list[tuple[bytes, bytes]] = []
        limit = _ROWS // 4
        while limit:
            rows = self._scan(start, stop, limit)
            if rows is None:
                limit //= 4
                continue
            found += rows
            if len(rows) < limit:
                break
            start = rows[-1][0] + b"\0"
        return found


def _middle(start: bytes, stop: bytes) -> bytes | None:
    """Return a key about half way between two keys, or None where there is none."""
    width = max(len(start), len(stop)) + 2
    low = int.from_bytes(start.ljust(width, b"\0"))
    high = int.from_bytes(stop.ljust(width, b"\0"))
    middle = (low + high) // 2
    made = middle.to_bytes(width).rstrip(b"\0")
    return made if start < made < stop else None
