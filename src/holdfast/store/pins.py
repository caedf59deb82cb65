"""Pins: what keeps compaction from trimming the past that somebody is still reading.

Long reads come in pages, each as of the first page's revision; until they end, the versions they
need must stay. Inside a process a pin is an entry in a dict. Where several processes share a
store, long work also leases a row, which lapses by itself if its owner dies.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from holdfast.clock import Clock
from holdfast.engines.base import Batch, Durability, Engine, View
from holdfast.errors import ClosedError, EngineError, ReadOnlyError
from holdfast.keys import after
from holdfast.store import layout

LEASE_NS = 120 * 10**9


class Pins:
    """The pins of one process on one store."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._mutex = threading.Lock()
        self._held: dict[bytes, int] = {}

    def after_fork(self) -> None:
        """Take a fresh lock: a thread of the parent may have held it."""
        self._mutex = threading.Lock()

    @contextmanager
    def hold(self, revision: int) -> Iterator[Pin]:
        """Keep everything readable as of `revision` while the context is open."""
        pin = Pin(self, os.urandom(16), revision)
        with self._mutex:
            self._held[pin.name] = revision
        try:
            yield pin
        finally:
            with self._mutex:
                del self._held[pin.name]
            pin.release()

    def oldest(self, view: View, now_ns: int) -> int | None:
        """Return the lowest pinned revision, over all processes, or None."""
        with self._mutex:
            pinned = list(self._held.values())
        for _, row in view.scan(layout.PIN, after(layout.PIN)):
            if int.from_bytes(row[8:16]) > now_ns:
                pinned.append(int.from_bytes(row[:8]))
        return min(pinned, default=None)

    def lapsed(self, view: View, now_ns: int) -> list[bytes]:
        """Return the row keys of leases that have run out."""
        rows = view.scan(layout.PIN, after(layout.PIN))
        return [key for key, row in rows if int.from_bytes(row[8:16]) <= now_ns]


class Pin:
    """One pinned revision.

    Attributes:
        name: 16 random bytes.
        revision: What is pinned.
    """

    def __init__(self, pins: Pins, name: bytes, revision: int) -> None:
        self._pins = pins
        self.name = name
        self.revision = revision
        self._leased_until = 0

    def renew(self) -> None:
        """Lease a row in the store, or extend it; to be called before each page."""
        engine = self._pins._engine
        if not engine.traits.shared:
            return
        now = self._pins._clock.now_ns()
        if now < self._leased_until - LEASE_NS // 2:
            return
        until = now + LEASE_NS
        row = self.revision.to_bytes(8) + until.to_bytes(8)
        # A lease need not survive a power cut: the reader would not either.
        # Nor is it needed to read: without it a trim raises HorizonError, it never hides anything.
        with suppress(ReadOnlyError, EngineError):
            engine.write(Durability.OS, lambda _: Batch(puts=[(layout.PIN + self.name, row)]))
            self._leased_until = until

    def release(self) -> None:
        """Give the lease back."""
        if self._leased_until:
            key = layout.PIN + self.name
            self._leased_until = 0
            with suppress(ClosedError, EngineError):  # it lapses by itself
                self._pins._engine.write(Durability.OS, lambda _: Batch(deletes=[key]))
