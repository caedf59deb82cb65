"""Figures by scope: counts and latencies of the scopes used last, and of all others together.

Bounded: when there are more scopes than are kept, the one that was idle longest joins the others.
One thread at a time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from holdfast.observe.histogram import Distribution, Histogram
from holdfast.store.scope import StateScope

_SECOND = 1e-9


@dataclass(frozen=True, slots=True)
class ScopeStats:
    """What this process has done in a scope, or in all, since the store was opened.

    Attributes:
        reads: Calls of verbs that read; of `get_batch` each item.
        writes: Changes committed, by whatever verb, and ephemeral values set.
        conflicts: Operations that failed with a `ConflictError`; they are failures, too.
        failures: Operations that raised.
        hits, misses: Reads of one key that found it, or not.
        read_seconds, write_seconds: How long verbs took.
        scopes: Of all scopes: the figures of each that is kept, by its text.
        other: Of all scopes: those of the ones that are not kept, and of verbs without one scope.
    """

    reads: int = 0
    writes: int = 0
    conflicts: int = 0
    failures: int = 0
    hits: int = 0
    misses: int = 0
    read_seconds: Distribution = field(default_factory=Distribution)
    write_seconds: Distribution = field(default_factory=Distribution)
    scopes: Mapping[str, ScopeStats] = field(default_factory=dict)
    other: ScopeStats | None = None


class ScopeCounts:
    """The figures of one scope."""

    __slots__ = (
        "conflicts",
        "failures",
        "hits",
        "misses",
        "read_ns",
        "reads",
        "write_ns",
        "writes",
    )

    def __init__(self) -> None:
        self.reads = self.writes = self.conflicts = self.failures = self.hits = self.misses = 0
        self.read_ns, self.write_ns = Histogram(), Histogram()

    def merge(self, other: ScopeCounts) -> None:
        """Add the figures of another one."""
        for name in ("reads", "writes", "conflicts", "failures", "hits", "misses"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.read_ns.merge(other.read_ns)
        self.write_ns.merge(other.write_ns)

    def stats(
        self, scopes: Mapping[str, ScopeStats] | None = None, other: ScopeStats | None = None
    ) -> ScopeStats:
        """Return the figures as callers see them."""
        return ScopeStats(
            self.reads,
            self.writes,
            self.conflicts,
            self.failures,
            self.hits,
            self.misses,
            self.read_ns.distribution(_SECOND),
            self.write_ns.distribution(_SECOND),
            scopes or {},
            other,
        )


class ScopeTable:
    """The figures of the scopes used last.

    Args:
        most: How many scopes are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        # By packed form: bytes know their hash.
        self._kept: OrderedDict[bytes, tuple[StateScope, ScopeCounts]] = OrderedDict()
        self._other = ScopeCounts()

    def of(self, scope: StateScope | None) -> ScopeCounts:
        """Return the figures of a scope, to be added to."""
        if scope is None:
            return self._other
        packed = scope.packed
        kept = self._kept.get(packed)
        if kept is None:
            if len(self._kept) >= self._most:
                self._other.merge(self._kept.popitem(last=False)[1][1])
            kept = self._kept[packed] = scope, ScopeCounts()
        else:
            self._kept.move_to_end(packed)
        return kept[1]

    def stats(self, scope: StateScope | None) -> ScopeStats:
        """Return the figures of a scope (zeros for one that is not kept), or of all."""
        if scope is not None:
            kept = self._kept.get(scope.packed)
            return ScopeStats() if kept is None else kept[1].stats()
        total = ScopeCounts()
        total.merge(self._other)
        for _, counts in self._kept.values():
            total.merge(counts)
        known = {str(scope): counts.stats() for _, (scope, counts) in sorted(self._kept.items())}
        return total.stats(known, self._other.stats())
