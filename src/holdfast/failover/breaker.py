"""The circuit breaker, as values and pure decisions: which failures open it, when it is probed.

It knows no engine and no clock; whoever holds one tells it what happened and when.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from holdfast.errors import (
    BusyError,
    CorruptionError,
    DegradedError,
    EngineError,
    FencedError,
    ForkedError,
    FormatVersionError,
    NotAStoreError,
    OutcomeUnknownError,
    PoisonedError,
    UnsupportedPlatformError,
)

_THERE = (  # the primary answered, or would not answer differently a moment later
    BusyError,
    CorruptionError,
    DegradedError,
    FencedError,
    ForkedError,
    FormatVersionError,
    NotAStoreError,
    UnsupportedPlatformError,
)


class State(enum.Enum):
    """Where the store's calls go."""

    CLOSED = "closed"  #: to the primary
    OPEN = "open"  #: to the spill
    HALF_OPEN = "half-open"  #: to the spill, while the primary is tried and caught up


@dataclass(frozen=True, slots=True)
class Breaker:
    """The breaker at one moment.

    Attributes:
        state: Where calls go.
        since_ns: When it came to that.
        failures: Failures in a row while closed.
        wait: Seconds until the next probe, counted from `tried_ns`.
        tried_ns: When it opened, a probe that found nobody began, or a replay failed.
        code: Code of the last error, or None.
    """

    state: State = State.CLOSED
    since_ns: int = 0
    failures: int = 0
    wait: float = 0.0
    tried_ns: int = 0
    code: str | None = None


def says_away(error: BaseException) -> bool:
    """Say whether an error means that the primary is away, rather than what it answered."""
    return isinstance(error, EngineError) and not isinstance(error, _THERE)


def is_final(error: BaseException) -> bool:
    """Say whether an engine that raised this refuses to go on, however often it is asked."""
    return isinstance(error, OutcomeUnknownError | PoisonedError)


def succeeded(breaker: Breaker) -> Breaker:
    """Return the breaker after a call of the primary that went well."""
    return replace(breaker, failures=0) if breaker.failures else breaker


def failed(
    breaker: Breaker, error: EngineError, now_ns: int, threshold: int, wait: float
) -> Breaker:
    """Return the breaker after a call of the primary that says it is away."""
    if breaker.state is not State.CLOSED:
        return breaker
    failures = breaker.failures + 1
    if failures < threshold and not is_final(error):
        return replace(breaker, failures=failures, code=error.code)
    return opened(error.code, now_ns, wait)


def opened(code: str, now_ns: int, wait: float) -> Breaker:
    """Return a breaker that has just opened."""
    return Breaker(State.OPEN, now_ns, 0, wait, now_ns, code)


def due_in(breaker: Breaker, now_ns: int) -> float:
    """Return the seconds until the next probe of an open breaker; 0 if it is due.

    It is due if the clock was put back: how long ago the last one was, nobody knows then, and a
    wait until the clock has caught up could last for hours.
    """
    if breaker.state is not State.OPEN:
        return breaker.wait
    passed = now_ns - breaker.tried_ns
    return 0.0 if passed < 0 else max(0.0, breaker.wait - passed / 1e9)


def probing(breaker: Breaker, now_ns: int) -> Breaker:
    """Return the breaker while the primary is tried."""
    return replace(breaker, state=State.HALF_OPEN, since_ns=now_ns, tried_ns=now_ns)


def probe_failed(
    breaker: Breaker, code: str, tried_ns: int, opened_ns: int, most: float
) -> Breaker:
    """Return the breaker after a probe, or a replay, that failed: open, and waiting longer."""
    wait = min(most, breaker.wait * 2)
    return Breaker(State.OPEN, opened_ns, 0, wait, tried_ns, code)


def closed(now_ns: int) -> Breaker:
    """Return a closed breaker."""
    return Breaker(State.CLOSED, now_ns)
