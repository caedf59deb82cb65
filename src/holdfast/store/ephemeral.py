"""Ephemeral state: values of this process only, never in the engine, the journal or a file.

They have no revision and are gone at restart. Each is kept encoded, so that what `get` returns
is the caller's own, exactly as with durable state.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable

from holdfast.store.intent import Prepared


class EphemeralEntry:
    """One ephemeral value: its encoding and what metadata it has."""

    __slots__ = ("created_ns", "expires_ns", "prepared", "updated_ns", "version")

    def __init__(
        self, prepared: Prepared, version: int, created_ns: int, updated_ns: int, expires_ns: int
    ) -> None:
        self.prepared = prepared
        self.version = version
        self.created_ns = created_ns
        self.updated_ns = updated_ns
        self.expires_ns = expires_ns


class Ephemeral:
    """The ephemeral values of one store in one process.

    Attributes:
        guard: Called before a value is written; it raises where nothing may be. None for no guard.
    """

    def __init__(self) -> None:
        self.guard: Callable[[], None] | None = None
        self.lock = threading.RLock()
        self.entries: dict[bytes, EphemeralEntry] = {}

    def get(self, place: bytes, now_ns: int) -> EphemeralEntry | None:
        """Return the entry at `place`, or None if there is none or it has expired."""
        entry = self.entries.get(place)
        if entry is None or (entry.expires_ns and entry.expires_ns <= now_ns):
            return None
        return entry

    def put(
        self, place: bytes, prepared: Prepared, now_ns: int, expires_ns: int | None
    ) -> EphemeralEntry:
        """Store a value; an `expires_ns` of None keeps the expiry that is there."""
        if self.guard is not None:
            self.guard()
        with self.lock:
            old = self.get(place, now_ns)
            if expires_ns is None:
                expires_ns = old.expires_ns if old is not None else 0
            entry = EphemeralEntry(
                prepared,
                1 if old is None else old.version + 1,
                now_ns if old is None else old.created_ns,
                now_ns,
                expires_ns,
            )
            self.entries[place] = entry
            return entry

    def pop(self, place: bytes, now_ns: int) -> bool:
        """Remove a value; return whether it was there."""
        if self.guard is not None and place in self.entries:
            self.guard()
        with self.lock:
            present = self.get(place, now_ns) is not None
            self.entries.pop(place, None)
            return present

    def within(self, start: bytes, stop: bytes, now_ns: int) -> list[bytes]:
        """Return the places of a half-open range, in order."""
        if not self.entries:
            return []
        with self.lock:
            places = sorted(self.entries)
            found = places[bisect_left(places, start) : bisect_left(places, stop)]
            return [place for place in found if self.get(place, now_ns) is not None]

    def sweep(self, now_ns: int) -> int:
        """Drop what has expired; return how many."""
        with self.lock:
            gone = [p for p, e in self.entries.items() if e.expires_ns and e.expires_ns <= now_ns]
            for place in gone:
                del self.entries[place]
            return len(gone)
