"""The keeper: renews leases while their holders work or wait, and gives them back at the end."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol

from holdfast.clock import Clock

_LONG = 3600.0


class Tenure(Protocol):
    """A lease that somebody holds."""

    def due(self) -> float | None:
        """Return the seconds until it is to be renewed; None where it is not to be."""
        ...

    def renew(self) -> None:
        """Renew it. MUST NOT raise."""
        ...

    def end(self) -> None:
        """Give it back, and wake who waits. MUST NOT raise."""
        ...


class Keeper:
    """Keeps the leases of one store's consumers. Its thread starts with the first of them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._closed = False
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._mutex = threading.RLock()
        self._known: weakref.WeakSet[Tenure] = weakref.WeakSet()
        self._thread: threading.Thread | None = None
        self._stir = threading.Event()

    def add(self, tenure: Tenure) -> None:
        """Take note of who may get a lease, as long as it is referred to."""
        if self._pid != os.getpid():  # the thread is the parent's
            self._begin()
        with self._mutex:
            self._known.add(tenure)

    def keep(self, tenure: Tenure) -> None:
        """Renew a lease from now on."""
        self.add(tenure)
        with self._mutex:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(
                    target=self._serve, name="holdfast-leases", daemon=True
                )
                self._thread.start()
        self._stir.set()

    def close(self) -> None:
        """Have all leases given back, also those that are just being taken."""
        self._closed = True
        self._stir.set()
        if self._pid == os.getpid():
            for tenure in self._all():
                tenure.end()

    def _all(self) -> list[Tenure]:
        with self._mutex:
            return list(self._known)

    def _round(self) -> float:
        """Renew what is due; return the seconds until something is again."""
        pause = _LONG
        for tenure in self._all():
            due = tenure.due()
            if due is not None and due <= 0:
                tenure.renew()
                due = tenure.due()
            pause = min(pause, _LONG if due is None else max(due, 0.001))
        return pause

    def _serve(self) -> None:
        while not self._closed:
            pause = self._round()  # in a frame of its own: leases live as long as their owners
            self._clock.wait(self._stir, pause)
            self._stir.clear()
