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

import sys
import threading
from collections.abc import Callable, Sequence
from itertools import islice, takewhile
from typing import Any

from holdfast.engines.rocksdb import library
from holdfast.errors import ClosedError, CorruptionError

#: Pairs that are read step by step before a second iterator pays.
_FEW = 16


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
            value: bytes = self.snapshot[key]
            return value
        except Exception as error:  # noqa: BLE001 - rocksdict's own class
            if error.args == library.ABSENT:
                return None
            raise library.translate(error, "get") from None

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of `keys` in this state."""
        snapshot, absent = self.snapshot, library.ABSENT
        found: list[bytes | None] = []
        for key in keys:
            try:
                found.append(snapshot[key])
            except Exception as error:  # noqa: BLE001 - rocksdict's own class
                if error.args != absent:
                    raise library.translate(error, "get_many") from None
                found.append(None)
        return found

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
        left = sys.maxsize if limit is None else limit
        try:
            with self.gate:
                own = self._own_iterator(stop) if self.pinned is None else None
            if own is None:
                with self.lock:
                    return _walk(self._shared(), start, stop, reverse, left, keys_only)
            # A few pairs by steps; a long range by rocksdict's fast iterator, which cannot be
            # asked why it ended, so that the first one is made to look.
            found = _walk(own, start, stop, reverse, min(left, _FEW), keys_only)
            if len(found) < _FEW or left <= _FEW:
                return found
            left -= _FEW
            with self.gate:
                fast = self._fast(own.key(), stop, reverse, keys_only) if own.valid() else None
            if fast is None:  # at the end of the range, or the state has been pinned meanwhile
                return found + _walk(own, None, stop, reverse, left, keys_only, low=start)
            rest = _collect(fast, start, reverse, left, keys_only)
            if len(rest) < left:
                last = (rest or found)[-1][0]
                _check_end(own, last, start, reverse)
            return found + rest
        except Exception as error:  # noqa: BLE001 - rocksdict's own class
            raise library.translate(error, "scan") from None

    def _own_iterator(self, stop: bytes) -> library.Iterator:
        if self.database is None:
            raise _over()
        return self.database.iter(library.bounded(stop))

    def _shared(self) -> library.Iterator:
        if self.pinned is None:
            raise _over()
        return self.pinned

    def _fast(self, first: bytes, stop: bytes, reverse: bool, keys_only: bool) -> Any:
        if self.pinned is not None or self.database is None:
            return None
        make = self.database.keys if keys_only else self.database.items
        return make(reverse, first, library.bounded(stop))


def _walk(
    iterator: library.Iterator,
    start: bytes | None,
    stop: bytes,
    reverse: bool,
    left: int,
    keys_only: bool,
    low: bytes = b"",
) -> list[tuple[bytes, bytes]]:
    """Collect up to `left` pairs step by step; from where the iterator stands if no `start`.

    It is left standing on the first pair that was not taken. `low` is the lower end of a range
    that is walked on.
    """
    if start is not None:
        low = start
        if not reverse:
            iterator.seek(start)
        else:
            # The pinned iterator has no bound: it may stand on `stop` itself.
            iterator.seek_for_prev(stop)
            if iterator.valid() and iterator.key() == stop:
                iterator.prev()
    step = iterator.prev if reverse else iterator.next
    key, value, valid = iterator.key, iterator.value, iterator.valid
    found: list[tuple[bytes, bytes]] = []
    while left and valid():
        at = key()
        if at < low if reverse else at >= stop:
            break
        found.append((at, b"" if keys_only else value()))
        left -= 1
        step()
    iterator.status()
    return found


def _collect(
    fast: Any, start: bytes, reverse: bool, left: int, keys_only: bool
) -> list[tuple[bytes, bytes]]:
    if keys_only:
        keys = takewhile(lambda key: key >= start, fast) if reverse else fast
        return [(key, b"") for key in islice(keys, left)]
    pairs = takewhile(lambda pair: pair[0] >= start, fast) if reverse else fast
    return list(islice(pairs, left))


def _check_end(iterator: library.Iterator, last: bytes, start: bytes, reverse: bool) -> None:
    """Raise unless the range really ends after `last`, by making the last step again."""
    iterator.seek(last)
    if iterator.valid() and iterator.key() == last:
        iterator.prev() if reverse else iterator.next()
        iterator.status()
        if not iterator.valid() or (reverse and iterator.key() < start):
            return
    iterator.status()
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
