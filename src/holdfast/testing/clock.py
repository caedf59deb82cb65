"""A clock for tests: it moves when it is told to. It does not know what waits on it."""

from __future__ import annotations

import threading
from datetime import datetime

from holdfast.clock import to_ns

#: How often a waiting thread looks whether its event was set: an Event cannot tell the clock.
_GLANCE = 0.002


class FakeClock:
    """A `holdfast.clock.Clock` under a test's control, safe to use from several threads.

    It keeps two times, as an operating system does: the wall clock, which `set` can move either
    way, and the time that has passed, which only `advance` moves and by which `wait` measures.

    Args:
        start: The wall clock at the beginning: an aware datetime, or nanoseconds since the epoch.
    """

    def __init__(self, start: datetime | int = 1_700_000_000_000_000_000) -> None:
        self._wall = _ns(start)
        self._passed = 0
        self._waiting = 0
        self._moved = threading.Condition()

    def now_ns(self) -> int:
        """Return nanoseconds since the epoch."""
        with self._moved:
            return self._wall

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass; who waits for less wakes up.

        Raises:
            ValueError: `seconds` is negative (a clock that is put back is `set`).
        """
        if seconds < 0:
            raise ValueError("time does not pass backwards; use set() to put the clock back")
        step = round(seconds * 1e9)
        with self._moved:
            self._wall += step
            self._passed += step
            self._moved.notify_all()

    def set(self, moment: datetime | int) -> None:
        """Put the wall clock to `moment`, forwards or back, without letting time pass."""
        with self._moved:
            self._wall = _ns(moment)

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait until `event` is set or `seconds` have been advanced; return whether it is set."""
        with self._moved:
            deadline = self._passed + round(seconds * 1e9)
            self._waiting += 1
            self._moved.notify_all()
            try:
                while self._passed < deadline and not event.is_set():
                    self._moved.wait(_GLANCE)
            finally:
                self._waiting -= 1
            return event.is_set()

    def await_waiters(self, count: int = 1, *, timeout: float = 30.0) -> None:
        """Block until at least `count` threads are in `wait`, so that a test can then advance.

        Args:
            count: How many.
            timeout: Real seconds after which to give up.

        Raises:
            TimeoutError: They did not come.
        """
        with self._moved:
            if not self._moved.wait_for(lambda: self._waiting >= count, timeout):
                raise TimeoutError(f"{self._waiting} threads wait on the clock, not {count}")


def _ns(moment: datetime | int) -> int:
    return moment if isinstance(moment, int) else to_ns(moment)
