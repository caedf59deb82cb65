"""What hooks are measured by: counts, and latencies in powers of two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

BUCKETS: Final = 64  # bucket n counts latencies of 2^(n-1) up to 2^n nanoseconds


@dataclass(frozen=True, slots=True)
class HookMetrics:
    """The figures of one hook since it was registered.

    Attributes:
        calls: Calls that were made, whatever became of them.
        failures: Calls that raised or took too long.
        timeouts: Those of them that took too long.
        vetoes: Writes that it refused.
        skipped: Calls that the breaker did not let through.
        total_seconds: Time spent in calls.
        p50, p95, p99: Seconds that so many per cent of the calls took at most, within a factor
            of two above; 0.0 before the first call.
    """

    calls: int = 0
    failures: int = 0
    timeouts: int = 0
    vetoes: int = 0
    skipped: int = 0
    total_seconds: float = 0.0
    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0


def percentile(buckets: Sequence[int], share: float) -> float:
    """Return seconds that a share of the calls took at most: the bound of the bucket."""
    total = sum(buckets)
    if not total:
        return 0.0
    wanted, seen = share * total, 0
    for number, count in enumerate(buckets):
        seen += count
        if seen >= wanted:
            return float(1 << number) / 1e9
    raise AssertionError("the last bucket reaches the total")
