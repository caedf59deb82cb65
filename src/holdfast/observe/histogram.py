"""Histograms of whole numbers: fixed buckets, four to each doubling. Pure.

A bucket's bounds are at most a quarter apart, so a quantile is off by less than that; what has a
bound of its own (each power of two) is counted exactly. One thread at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


def bucket_of(value: int) -> int:
    """Return the number of the bucket that counts `value`."""
    over = value - 1
    if over < 4:
        return max(over, 0)
    bits = over.bit_length()
    return ((bits - 2) << 2) | ((over >> (bits - 3)) & 3)


def bounds_of(bucket: int) -> tuple[int, int]:
    """Return between which numbers a bucket counts: more than the first, up to the second."""
    return _below(bucket), _below(bucket + 1)


def _below(bucket: int) -> int:
    if bucket < 4:
        return bucket
    return (4 | (bucket & 3)) << ((bucket >> 2) - 1)


@dataclass(frozen=True, slots=True)
class Distribution:
    """What a histogram says, in the unit of what was measured.

    Attributes:
        count: How many there were.
        mean: Exact.
        p50, p95, p99: Below which half, 95 % and 99 % of them are; within a quarter.
        highest: Exact.
    """

    count: int = 0
    mean: float = 0.0
    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    highest: float = 0.0


class Histogram:
    """Counts whole numbers of 0 or more.

    Attributes:
        count, total, highest: Of what was added.
    """

    __slots__ = ("_buckets", "count", "highest", "total")

    def __init__(self) -> None:
        self.count = self.total = self.highest = 0
        self._buckets: dict[int, int] = {}

    def add(self, value: int) -> None:
        """Count one number."""
        self.count += 1
        self.total += value
        if value > self.highest:
            self.highest = value
        bucket = bucket_of(value)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1

    def merge(self, other: Histogram) -> None:
        """Count all that another one has counted."""
        self.count += other.count
        self.total += other.total
        self.highest = max(self.highest, other.highest)
        for bucket, count in other._buckets.items():
            self._buckets[bucket] = self._buckets.get(bucket, 0) + count

    def quantile(self, share: float) -> float:
        """Return the number that a share of all are at or below; 0 where there is none."""
        rank, seen = share * self.count, 0
        for bucket in sorted(self._buckets):
            count = self._buckets[bucket]
            if seen + count >= rank:
                low, high = bounds_of(bucket)
                return min(low + (high - low) * (rank - seen) / count, float(self.highest))
            seen += count
        return float(self.highest)

    def cumulative(self, powers: Sequence[int]) -> list[int]:
        """Return for each power of two how many numbers are at or below it."""
        ends = [bucket_of(power) for power in powers]
        return [sum(n for bucket, n in self._buckets.items() if bucket <= end) for end in ends]

    def distribution(self, scale: float = 1.0) -> Distribution:
        """Return mean, quantiles and maximum, each times `scale`."""
        if not self.count:
            return Distribution()
        half, most, nearly_all = (self.quantile(share) * scale for share in (0.5, 0.95, 0.99))
        mean = self.total / self.count * scale
        return Distribution(self.count, mean, half, most, nearly_all, self.highest * scale)
