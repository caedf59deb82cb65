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
        self._kept: tuple[weakref.ref[Tenure], ...] = ()
        self._thread: threading.Thread | None = None
        self._stir = threading.Event()

    def keep(self, tenure: Tenure) -> None:
        """Renew a lease from now on, as long as its holder is referred to."""
        if self._pid != os.getpid():  # the thread is the parent's
            self._begin()
        with self._mutex:
            others = tuple(each for each in self._kept if each() not in (None, tenure))
            self._kept = (*others, weakref.ref(tenure))
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(
                    target=self._serve, name="holdfast-leases", daemon=True
                )
                self._thread.start()
        self._stir.set()

    def drop(self, tenure: Tenure) -> None:
        """Renew a lease no more."""
        if self._pid == os.getpid():
            with self._mutex:
                self._kept = tuple(each for each in self._kept if each() not in (None, tenure))

    def close(self) -> None:
        """Give all leases back."""
        self._closed = True
        self._stir.set()
        if self._pid == os.getpid():
            for each in self._kept:
                tenure = each()
                if tenure is not None:
                    tenure.end()

    def _serve(self) -> None:
        while not self._closed:
            pause = _LONG
            for each in self._kept:
                tenure = each()
                due = None if tenure is None else tenure.due()
                if tenure is not None and due is not None and due <= 0:
                    tenure.renew()
                    due = tenure.due()
                pause = min(pause, _LONG if due is None else max(due, 0.001))
            tenure = None  # it lives as long as its owner wants
            self._clock.wait(self._stir, pause)
            self._stir.clear()
