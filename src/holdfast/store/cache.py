"""The read cache: encoded values of an engine that no other process writes.

Bounded in bytes and in age, the least recently used dropped first. It keeps encodings, because what
`get` returns is the caller's own. Off unless configured: docs/decisions/0005 says when it pays.

A reader looks, reads the engine, and keeps what it read only if no commit came in between; a
commit forgets its places before anybody is told that it happened. So no value outlives its
acknowledged replacement here.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

from holdfast.clock import Clock


class ReadCache:
    """Encoded values by place.

    Args:
        clock: For ages.
        capacity: Most bytes of places and values.
        max_age: Seconds after which an entry counts no more.
    """

    def __init__(self, clock: Clock, capacity: int, max_age: float) -> None:
        self._now = clock.now_ns
        self._capacity, self._max_age_ns = capacity, int(max_age * 1e9)
        self.after_fork()
        self._entries: OrderedDict[bytes, tuple[bytes, int]] = OrderedDict()
        self._bytes = 0
        self._generation = 0
        self.hits = self.misses = self.evicted = 0

    def after_fork(self) -> None:
        """Make the lock anew: a thread that is not here may hold it."""
        self._lock = threading.Lock()

    def look(self, place: bytes) -> tuple[bytes | None, int]:
        """Return the encoded value at `place`, or None and the generation to `keep` it under."""
        with self._lock:
            entry = self._entries.get(place)
            if entry is not None:
                # Also younger than now: a clock put back does not make an entry live longer.
                if 0 <= self._now() - entry[1] < self._max_age_ns:
                    self._entries.move_to_end(place)
                    self.hits += 1
                    return entry[0], 0
                self._drop(place)
            self.misses += 1
            return None, self._generation

    def keep(self, place: bytes, payload: bytes, generation: int) -> None:
        """Keep what was read, unless something was committed since `look`."""
        size = len(place) + len(payload)
        if size > self._capacity:
            return
        with self._lock:
            if generation != self._generation:
                return
            self._drop(place)
            self._entries[place] = (payload, self._now())
            self._bytes += size
            while self._bytes > self._capacity:
                self._drop(next(iter(self._entries)))
                self.evicted += 1

    def forget(self, places: Sequence[bytes]) -> None:
        """Drop what a commit has changed."""
        with self._lock:
            self._generation += 1
            for place in places:
                self._drop(place)

    def clear(self) -> None:
        """Drop everything: after a write whose outcome nobody knows."""
        with self._lock:
            self._generation += 1
            self._entries.clear()
            self._bytes = 0

    def figures(self) -> dict[str, int]:
        """Return hits, misses, evictions, and what is held."""
        return {
            "hits": self.hits,
            "misses": self.misses,
            "evicted": self.evicted,
            "entries": len(self._entries),
            "bytes": self._bytes,
        }

    def _drop(self, place: bytes) -> None:
        entry = self._entries.pop(place, None)
        if entry is not None:
            self._bytes -= len(place) + len(entry[0])
