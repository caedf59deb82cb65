"""The memory engine: one dict and a sorted list of its keys with a merged tail.

Nothing survives the process. A put of a known key touches only the dict; new keys go to an
unsorted tail that the next ordered read sorts and merges in (sorting an almost sorted list is
linear), so writers never pay for order. Deleted keys stay in the list until they are many.
"""

from __future__ import annotations

import os
import threading
import weakref
from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from holdfast.engines.base import Batch, Body, Durability, EngineTraits, View
from holdfast.errors import ClosedError


class _Space:
    """One space's pairs, ordered on demand."""

    __slots__ = ("dead", "order", "pairs", "size", "tail")

    def __init__(self) -> None:
        self.pairs: dict[bytes, bytes] = {}
        self.size = 0  # bytes of keys and values, counted as they change: `stats` is for health
        self.order: list[bytes] = []  # sorted; may hold keys that are gone
        self.tail: list[bytes] = []  # new keys, unsorted; may hold keys that are gone or repeat
        self.dead = 0

    def sorted_keys(self) -> list[bytes]:
        if len(self.tail) > 8:
            self.order.extend(self.tail)
            self.order.sort()
            self.tail.clear()
        elif self.tail:
            for key in self.tail:
                insort(self.order, key)
            self.tail.clear()
            # A key deleted and put again can stand twice; the scan drops equal neighbours.
        if self.dead * 4 > len(self.order) + 64:
            self.order = sorted(self.pairs)
            self.dead = 0
        return self.order


class MemoryEngine:
    """An engine that lives and dies with the process."""

    traits = EngineTraits(name="memory", persistent=False, shared=False, max_batch_bytes=1 << 40)

    def __init__(self) -> None:
        self._clear()
        self._lock = threading.RLock()
        _open_engines.add(self)
        self._closed = False
        self._slow = False  # a batch is being applied, or the engine is closed

    def _clear(self) -> None:
        self._spaces: list[_Space] = [_Space() for _ in range(256)]
        self._view = _MemoryView(self._spaces)

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, or None, with no lock unless a batch is being applied.

        One dict read is atomic. A get that began before the batch may see a key old or new; one
        that begins while the batch is applied waits, so nobody sees new and then old.
        """
        spaces = self._spaces  # before the flag: `close` sets the flag, then drops the spaces
        if self._slow:
            with self._lock:
                self._check()
                return self._spaces[key[0]].pairs.get(key)
        return spaces[key[0]].pairs.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of `keys` in one consistent read."""
        with self._lock:
            self._check()
            return self._view.get_many(keys)

    @contextmanager
    def read(self) -> Iterator[View]:
        """Hold the lock for the length of one call."""
        with self._lock:
            self._check()
            yield self._view

    def write(self, durability: Durability, body: Body, partitions: Sequence[int] = (0,)) -> None:
        """Run `body` under the lock and apply its batch; nothing can fail once it has returned."""
        with self._lock:
            if self._closed:
                self._check()
            batch = body(self._view)
            self._slow = True
            try:
                self._apply(batch)
            finally:
                self._slow = False

    def _apply(self, batch: Batch) -> None:
        spaces = self._spaces
        if batch.delete_ranges or batch.deletes:
            # A key that is put again goes from old to new: a `get` never finds it absent.
            kept = {key for key, _ in batch.puts}
            for start, stop in batch.delete_ranges:
                for key, _ in self._view.scan(start, stop, keys_only=True):
                    if key not in kept:
                        self._delete(key)
            for key in batch.deletes:
                if key not in kept:
                    self._delete(key)
        for key, value in batch.puts:
            space = spaces[key[0]]
            pairs = space.pairs
            old = pairs.get(key)
            if old is None:
                space.tail.append(key)
                space.size += len(key) + len(value)
            else:
                space.size += len(value) - len(old)
            pairs[key] = value

    def _delete(self, key: bytes) -> None:
        space = self._spaces[key[0]]
        old = space.pairs.pop(key, None)
        if old is not None:
            space.dead += 1
            space.size -= len(key) + len(old)

    def flush(self) -> None:
        """Do nothing: there is no disk."""
        self._check()

    def reclaim(self, budget: int | None = None) -> int:
        """Drop the places of deleted keys."""
        with self._lock:
            self._check()
            for space in self._spaces:
                if space.dead:
                    space.order, space.tail, space.dead = sorted(space.pairs), [], 0
        return 0

    def stats(self) -> Mapping[str, int | float | str]:
        """Return the number of rows and the bytes of keys and values."""
        with self._lock:
            self._check()
            rows = sum(len(space.pairs) for space in self._spaces)
            size = sum(space.size for space in self._spaces)
        return {"rows": rows, "memory_bytes": size}

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._closed = self._slow = True
            self._clear()

    def _check(self) -> None:
        if self._closed:
            raise ClosedError("the memory engine is closed")


class _MemoryView:
    """The live state, seen while its engine's lock is held."""

    __slots__ = ("_spaces",)

    def __init__(self, spaces: list[_Space]) -> None:
        self._spaces = spaces

    def get(self, key: bytes) -> bytes | None:
        return self._spaces[key[0]].pairs.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        spaces = self._spaces
        return [spaces[key[0]].pairs.get(key) for key in keys]

    def scan(
        self,
        start: bytes,
        stop: bytes,
        *,
        reverse: bool = False,
        limit: int | None = None,
        keys_only: bool = False,
    ) -> list[tuple[bytes, bytes]]:
        if start >= stop:
            return []
        found: list[tuple[bytes, bytes]] = []
        indexes = range(start[0] if start else 0, (stop[0] if stop else 255) + 1)
        for index in reversed(indexes) if reverse else indexes:
            if limit is not None and len(found) >= limit:
                break
            space = self._spaces[index]
            pairs, order = space.pairs, space.sorted_keys()
            low, high = bisect_left(order, start), bisect_left(order, stop)
            places = range(high - 1, low - 1, -1) if reverse else range(low, high)
            last: bytes | None = None
            for place in places:
                key = order[place]
                if key == last:
                    continue
                value = pairs.get(key)
                if value is None:
                    continue
                last = key
                found.append((key, b"" if keys_only else value))
                if limit is not None and len(found) >= limit:
                    break
        return found


_open_engines: weakref.WeakSet[MemoryEngine] = weakref.WeakSet()  # for fork only
_forking: list[MemoryEngine] = []


def _before_fork() -> None:
    # A child copied in the middle of another thread's write would hold half of it, and its lock.
    _forking[:] = list(_open_engines)
    for engine in _forking:
        engine._lock.acquire()


def _after_fork() -> None:
    while _forking:
        _forking.pop()._lock.release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
