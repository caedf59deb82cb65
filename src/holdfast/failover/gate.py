"""The gate of the spill: open while writes go there, shut while the switch back is made."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Gate:
    """Counts the writes inside, and lets one caller wait until there are none.

    A write that was let in ends before the switch; one that comes during it waits, and then
    learns that the spill is not where it should go. So none is left behind in the spill. While
    the primary is caught up, writes are let in more slowly than they are carried over.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._switching = False
        self._open = False
        self._places: int | None = None

    def open(self) -> None:
        """Let writes in."""
        with self._changed:
            self._open = True

    def shut(self) -> None:
        """Let no more in."""
        with self._changed:
            self._open = False
            self._changed.notify_all()

    def pace(self, places: int | None) -> None:
        """Let so many in before the next call of this; None for any number."""
        with self._changed:
            self._places = places
            self._changed.notify_all()

    def enter(self) -> bool:
        """Go in; False if writes do not go to the spill any more."""
        with self._changed:
            while self._open and (self._switching or self._places == 0):
                self._changed.wait()
            if self._open:
                if self._places is not None:
                    self._places -= 1
                self._inside += 1
            return self._open

    def leave(self) -> None:
        """Go out."""
        with self._changed:
            self._inside -= 1
            if not self._inside:
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until nobody is inside, and keep everybody out meanwhile."""
        with self._changed:
            self._switching = True
            while self._inside:
                self._changed.wait()
        try:
            yield
        finally:
            with self._changed:
                self._switching = False
                self._changed.notify_all()
