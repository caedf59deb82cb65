"""What there is to ask of a store as a whole, and to do to it: its state, its soundness, its past.

`StateReader` has what only looks, `StateManager` what changes something, too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from holdfast.correlation import CorrelationContext
from holdfast.engines.registry import new_engine
from holdfast.failover.report import FailoverReport, health_of, report_of
from holdfast.observe.analysis import analyze
from holdfast.observe.findings import Analysis
from holdfast.observe.metrics import Metrics
from holdfast.observe.observation import Observation
from holdfast.observe.scopes import ScopeStats
from holdfast.observe.telling import telling
from holdfast.store import status
from holdfast.store.compact import (
    CompactReport,
    compact,
    store_policies,
    stored_policies,
    train_dictionary,
)
from holdfast.store.repair import RepairReport, repair_open_store
from holdfast.store.retention import HistoryPolicy
from holdfast.store.scope import StateScope
from holdfast.store.status import Health
from holdfast.store.transfer import CopyReport, copy_store
from holdfast.store.verify import Problem, verify
from holdfast.streams.consumers import Consumers

if TYPE_CHECKING:
    from holdfast.store.address import Addressing
    from holdfast.store.kernel import Kernel
    from holdfast.store.listing import Listing
    from holdfast.streams.streams import Streams

Scope = StateScope | str
Correlation = str | CorrelationContext | None


@telling
class WholeReader:
    """The verbs that only look at the whole of a store."""

    _kernel: Kernel
    _address: Addressing
    _listing: Listing
    _observation: Observation
    _streams: Streams

    def info(self, *, correlation: Correlation = None) -> dict[str, Any]:
        """Return facts about the store, all of them JSON types; sizes in bytes."""
        return self._info()

    def _info(self) -> dict[str, Any]:
        return {"tenant": self._address.tenant_name} | status.info(self._kernel)

    def health(self, *, correlation: Correlation = None) -> Health:
        """Return the health of each component: ``"ok"``, ``"degraded"`` or ``"failed"``."""
        return self._health()

    def _health(self) -> Health:
        found = health_of(self._kernel)
        return Consumers(self._streams, self._address).judged(found)

    @property
    def metrics(self) -> Metrics:
        """The figures of this process and of the store."""
        return self._observation.metrics

    def stats(self, scope: Scope | None = None, *, correlation: Correlation = None) -> ScopeStats:
        """Return what this process has done in a scope, or in all: reads, writes, hits, latencies.

        Args:
            scope: One scope; None for all, with the figures of each that is kept.
            correlation: What the call belongs to.

        Raises:
            ConfigurationError: Nothing is counted: the store was opened without ``metrics=True``.
        """
        with self._streams.told("stats", correlation, scope):  # counted, it would see itself
            return self._observation.stats(scope)

    def analyze(
        self,
        scope: Scope | None = None,
        *,
        window: timedelta = timedelta(days=7),
        top: int = 10,
        correlation: Correlation = None,
    ) -> Analysis:
        """Report the hot, the cold and the growing scopes and keys, by journal and data.

        It walks the tenant's data and history in pages, and the journal back to the beginning of
        the window. Writers are not held up.

        Args:
            scope: Only this scope.
            window: Writes of this time, up to now, are counted.
            top: How many each list has at most.
            correlation: What the read belongs to.

        Raises:
            InvalidArgumentError: The window is not positive, or `top` is no count.
        """
        return analyze(self._kernel, self._listing.reach(scope, ""), window, top)

    @property
    def failover(self) -> FailoverReport:
        """Where a store with failover runs, and what its replays met.

        Raises:
            ConfigurationError: The store was opened without failover.
        """
        return report_of(self._kernel)

    def verify(
        self,
        *,
        progress: Callable[[int], None] | None = None,
        correlation: Correlation = None,
    ) -> list[Problem]:
        """Walk everything that the store holds, of every tenant, and return what is wrong.

        Checksums, keys, journal, chain, indexes, and the running digest, which notices a record
        that vanished or an older one put back. An empty list means that the store is sound.

        Args:
            progress: Called with the number of rows checked so far.
            correlation: What the call belongs to.
        """
        return verify(self._kernel, progress)

    def copy_to(
        self,
        target: str | os.PathLike[str],
        *,
        progress: Callable[[int, int], None] | None = None,
        correlation: Correlation = None,
    ) -> CopyReport:
        """Copy the whole store, of every tenant, with its history, to a new one.

        The copy is exact and of one revision, on any engine, while writers go on. It keeps the
        store's lineage: use it to move a store, not to have two.

        Args:
            target: Path or URL of the new store; it must not exist yet.
            progress: Called with records copied so far, and records in all.
            correlation: What the call belongs to.

        Raises:
            InvalidArgumentError: The target holds something.
            CorruptionError: Something of the source is damaged; use `repair`.
        """
        with closing(new_engine(target)) as engine:
            return copy_store(self._kernel, engine, progress)

    def retention(self, *, correlation: Correlation = None) -> list[HistoryPolicy]:
        """Return the history policies stored in the store."""
        return stored_policies(self._kernel)


@telling
class WholeKeeper(WholeReader):
    """The verbs that see to the whole of a store."""

    def sweep(self, *, correlation: Correlation = None) -> int:
        """Remove expired keys now instead of in the background; return how many."""
        return self._kernel.sweep()

    def set_retention(
        self, policies: Sequence[HistoryPolicy], *, correlation: Correlation = None
    ) -> None:
        """Store how much history is kept; every later `compact` without policies obeys it."""
        store_policies(self._kernel, policies)

    def compact(
        self,
        policies: Sequence[HistoryPolicy] | None = None,
        *,
        train: bool = False,
        correlation: Correlation = None,
    ) -> CompactReport:
        """Trim the past that policies give up, and return space to the disk.

        Current values never depend on what is trimmed. Reading what has been trimmed is a
        `HorizonError`, never "absent". Without any policy, no history goes.

        Args:
            policies: How much to keep; by default the stored policies.
            train: Train a compression dictionary on small values first, and use it from now on.
            correlation: What the trims that it commits belong to.
        """
        if train:
            train_dictionary(self._kernel)
        return compact(
            self._kernel, stored_policies(self._kernel) if policies is None else policies
        )

    def repair(
        self,
        into: str | os.PathLike[str],
        *,
        progress: Callable[[int], None] | None = None,
        correlation: Correlation = None,
    ) -> RepairReport:
        """Salvage all that is sound into a new store, and name what is lost.

        This store is only read, and writers wait meanwhile. For one that does not open, use
        `holdfast.repair`.

        Args:
            into: Path or URL of the new store; it must not exist yet.
            progress: Called with the number of rows read so far.
            correlation: What the call belongs to.
        """
        with closing(new_engine(into)) as target:
            return repair_open_store(self._kernel, target, progress)
