"""A hook's circuit breaker, as values and pure decisions.

After so many failures in a row it opens, and the hook is left alone; after a while one call is
let through to try. It knows no hook and no clock. (The breaker of a failover counts what an
engine's errors mean, and probes with growing waits; the two share their words only.)
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace


class BreakerState(enum.Enum):
    """Whether a hook is called."""

    CLOSED = "closed"  #: it is
    OPEN = "open"  #: it is not
    HALF_OPEN = "half-open"  #: one call is under way to try it


@dataclass(frozen=True, slots=True)
class HookBreaker:
    """The breaker of one hook at one moment.

    Attributes:
        state: Whether the hook is called.
        failures: Failures in a row.
        since_ns: When it came to that state; 0 for the beginning.
    """

    state: BreakerState = BreakerState.CLOSED
    failures: int = 0
    since_ns: int = 0


CLOSED = HookBreaker()


def succeeded(breaker: HookBreaker, now_ns: int) -> HookBreaker:
    """Return the breaker after a call that went well."""
    if breaker.state is BreakerState.CLOSED:
        return replace(breaker, failures=0) if breaker.failures else breaker
    return HookBreaker(BreakerState.CLOSED, 0, now_ns)


def failed(breaker: HookBreaker, now_ns: int, threshold: int) -> HookBreaker:
    """Return the breaker after a call that failed."""
    failures = breaker.failures + 1
    if breaker.state is BreakerState.CLOSED and failures < threshold:
        return replace(breaker, failures=failures)
    if breaker.state is BreakerState.OPEN:  # a call from before it opened
        return replace(breaker, failures=failures)
    return HookBreaker(BreakerState.OPEN, failures, now_ns)


def asked(breaker: HookBreaker, now_ns: int, reset_ns: int) -> tuple[HookBreaker, bool]:
    """Return the breaker after somebody wants to call, and whether it lets them.

    A trial that never came back (its thread hangs) is given up after the same wait. A clock that
    was put back does not make anybody wait longer than that, either.
    """
    if breaker.state is BreakerState.CLOSED:
        return breaker, True
    if 0 <= now_ns - breaker.since_ns < reset_ns:
        return breaker, False
    return HookBreaker(BreakerState.HALF_OPEN, breaker.failures, now_ns), True
