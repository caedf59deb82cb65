"""Time as something injected: integer nanoseconds since the epoch, UTC.

Nothing in the store asks the operating system for the time except through a `Clock`, so that
tests step time instead of sleeping. It does not know revisions or stores.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """A source of wall-clock time and of waiting."""

    def now_ns(self) -> int:
        """Return nanoseconds since the epoch. MAY step backwards, as wall clocks do."""
        ...

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait until `event` is set or `seconds` have passed; MUST return whether it is set."""
        ...


class SystemClock:
    """The operating system's wall clock."""

    now_ns = staticmethod(time.time_ns)

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait for `event`, at most `seconds`."""
        return event.wait(seconds)


def to_ns(moment: datetime) -> int:
    """Convert an aware datetime to nanoseconds since the epoch, exactly.

    Raises:
        ValueError: `moment` has no time zone.
    """
    if moment.tzinfo is None:
        raise ValueError("a datetime without a time zone is not a moment; add tzinfo, e.g. UTC")
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def from_ns(ns: int) -> datetime:
    """Convert nanoseconds since the epoch to an aware UTC datetime (microseconds, rounded down)."""
    return _EPOCH + timedelta(microseconds=ns // 1000)
