"""Consistent reads: a published state of the store, and views over it.

Points are read through a RocksDB snapshot. Ranges cannot be: the iterators that rocksdict 0.3.29
makes from a `Snapshot` do not use it and show later writes. But an iterator is pinned to the
moment of its own making. So a state keeps this invariant, guarded by the engine's gate:

    while `pinned` is None, the database holds exactly this state.

Whoever is about to change the database first pins an iterator to the state if somebody reads it
or may come to read it. Until then every range gets an iterator of its own (fast, and threads do
not meet); from then on the readers of the state share the pinned one, under its lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from itertools import islice, takewhile
from typing import Any

from holdfast.engines.rocksdb import library
from holdfast.errors import ClosedError, CorruptionError


class State:
    """One committed state of the store."""

    __slots__ = ("database", "gate", "lock", "pinned", "snapshot", "views")

    def __init__(self, database: library.Database, gate: threading.Condition) -> None:
        self.database: library.Database | None = database
        self.gate = gate
        self.snapshot: Any = database.snapshot()
        self.pinned: library.Iterator | None = None
        self.lock = threading.Lock()  # of the pinned iterator's position
        self.views = 0  # open ones; guarded by the gate

    def release(self) -> None:
        """Let go of RocksDB: nobody reads this state any more, though somebody may hold it."""
        self.snapshot = Dead(_over)
        self.pinned = None
        self.database = None

    def pin(self) -> None:
        """Keep this state readable over a change. Call it with the gate held, before the change."""
        if self.pinned is None and self.database is not None:
            self.pinned = self.database.iter()

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key` in this state, or None."""
        try:
            return self.snapshot[key]  # type: ignore[no-any-return]
        except Exception as error:  # noqa: BLE001 - rocksdict's own class
            if error.args == library.ABSENT:
                return None
            raise library.translate(error, "get") from None

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of `keys` in this state."""
        get = self.get
        return [get(key) for key in keys]

    def scan(
        self,
        start: bytes,
        stop: bytes,
        *,
        reverse: bool = False,
        limit: int | None = None,
        keys_only: bool = False,
    ) -> list[tuple[bytes, bytes]]:
        """Return the pairs of a range of this state.

        Raises:
            CorruptionError: RocksDB met damage in the range.
        """
        if start >= stop or limit == 0:
            return []
        try:
            with self.gate:
                if self.pinned is None:
                    source, check = self._own(start, stop, reverse, keys_only)
                else:
                    source = None
            if source is None:
                return self._scan_pinned(start, stop, reverse, limit, keys_only)
            found: list[Any]
            if reverse:
                low: Callable[[Any], bool]
                low = (lambda k: k >= start) if keys_only else (lambda p: p[0] >= start)
                source = takewhile(low, source)
            found = list(source if limit is None else islice(source, limit))
            if limit is None or len(found) < limit:
                last = None if not found else found[-1] if keys_only else found[-1][0]
                _check_end(check, start, stop, reverse, last)
            return [(key, b"") for key in found] if keys_only else found
        except Exception as error:  # noqa: BLE001 - rocksdict's own class
            raise library.translate(error, "scan") from None

    def _own(
        self, start: bytes, stop: bytes, reverse: bool, keys_only: bool
    ) -> tuple[Any, library.Iterator]:
        """Make an iterator for one scan, and one to look why it ended: both of this state."""
        if self.database is None:
            raise _over()
        options = library.bounded(stop)
        make = self.database.keys if keys_only else self.database.items
        # With the bound set, a reverse iterator without a first key begins just below it.
        source = make(reverse, None if reverse else start, options)
        return source, self.database.iter(options)

    def _scan_pinned(
        self, start: bytes, stop: bytes, reverse: bool, limit: int | None, keys_only: bool
    ) -> list[tuple[bytes, bytes]]:
        found: list[tuple[bytes, bytes]] = []
        left = -1 if limit is None else limit
        with self.lock:
            iterator = self.pinned
            if iterator is None:
                raise _over()
            if reverse:
                # There is no bound on the pinned iterator: it may stand on `stop` itself.
                iterator.seek_for_prev(stop)
                if iterator.valid() and iterator.key() == stop:
                    iterator.prev()
                step = iterator.prev
            else:
                iterator.seek(start)
                step = iterator.next
            key, value, valid = iterator.key, iterator.value, iterator.valid
            while left and valid():
                at = key()
                if at < start if reverse else at >= stop:
                    break
                found.append((at, b"" if keys_only else value()))
                left -= 1
                step()
            iterator.status()
        return found


def _check_end(
    iterator: library.Iterator, start: bytes, stop: bytes, reverse: bool, last: bytes | None
) -> None:
    """Raise unless the range really ends where a scan of it ended.

    rocksdict's fast iterators end at damage as they end at the end and do not tell which. So the
    last step is made again with one that does.
    """
    if last is not None:
        iterator.seek(last)
        if iterator.valid() and iterator.key() == last:
            iterator.prev() if reverse else iterator.next()
        elif iterator.valid():
            raise CorruptionError("a key vanished between two reads of one state", where="scan")
    elif reverse:
        iterator.seek_to_last()
    else:
        iterator.seek(start)
    iterator.status()
    if iterator.valid() and (not reverse or iterator.key() >= start):
        raise CorruptionError("a scan ended before the end of its range", where="scan")


def _over() -> Exception:
    return ClosedError("this view is closed", hint="read inside the with block")


class Dead:
    """What stands for a state once there is none to read: every read raises the same error."""

    __slots__ = ("error",)

    def __init__(self, error: Callable[[], Exception]) -> None:
        self.error = error

    def __getitem__(self, key: bytes) -> bytes:
        raise self.error()
