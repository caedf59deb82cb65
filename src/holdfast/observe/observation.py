"""The observation of one open store: what `StateReader` and `StateManager` hold of this package.

Two ways of watching. Verbs always tell of their failures (`telling`): that costs a call outside of
a correlation, and no more. With metrics, tracing, logs or recorded reads, the manager's verbs are
wrapped one by one when it is made (`attach`), and a store without them never pays for that.
"""

from __future__ import annotations

import os
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from holdfast.errors import ConfigurationError, StateError
from holdfast.observe.logs import log_operation
from holdfast.observe.metrics import Metrics
from holdfast.observe.recorder import Recorder
from holdfast.observe.scopes import ScopeStats
from holdfast.observe.settings import ObserveSettings
from holdfast.observe.tally import Tally
from holdfast.observe.verbs import kind_of, scope_of
from holdfast.observe.watch import (
    Correlation,
    check_correlation,
    given_correlation,
    is_sensitive,
    key_text,
    level_of,
)
from holdfast.store.address import Addressing
from holdfast.store.kernel import Kernel
from holdfast.store.policy import Policies
from holdfast.store.scope import StateScope

if TYPE_CHECKING:
    from holdfast.observe.otel import Tracing


class Observation:
    """What is observed of one open store.

    Attributes:
        settings: What was asked for.
        engine: The engine's name.
        tally: Counts; None without metrics.
        tracing: Makes spans; None without tracing.
        metrics: What callers see of the figures.
        wraps: The verbs are wrapped, so that every call is watched.
    """

    def __init__(
        self,
        kernel: Kernel,
        address: Addressing,
        policies: Policies,
        settings: ObserveSettings | None = None,
    ) -> None:
        self.settings = settings or ObserveSettings()
        self._kernel, self._address, self._policies = kernel, address, policies
        self.engine: str = kernel.engine.traits.name
        self.recorder = Recorder(kernel, address)
        self.reads_recorded = policies.record_reads
        self.tracing: Tracing | None = None
        if self.settings.tracing:
            from holdfast.observe.otel import Tracing

            self.tracing = Tracing(self.engine)
        self.tally: Tally | None = None
        if self.settings.metrics:
            self.tally = Tally(address.tenant, self.settings.max_scopes)
            self._listen()
        self.metrics = Metrics(kernel, self.tally, self.recorder)
        self.wraps = bool(
            self.tally or self.tracing or self.settings.log_operations or self.reads_recorded
        )
        _observations.add(self)

    def _listen(self) -> None:
        assert self.tally is not None
        self._kernel.feed.subscribe(self.tally.commits)
        self._kernel.lane.told = self.tally.group

    def after_fork(self) -> None:
        """Count the child's own from zero."""
        self.recorder.after_fork()
        self.metrics.after_fork()
        if self.tally is not None:
            self.tally.reset()
            with suppress(StateError):  # a store with failover does not survive a fork
                self._listen()

    def stats(self, scope: StateScope | str | None) -> ScopeStats:
        """Return the figures of a scope, or of all.

        Raises:
            ConfigurationError: Nothing is counted.
        """
        if self.tally is None:
            raise ConfigurationError(
                "nothing is counted: metrics are off",
                hint="open the store with metrics=True, or set HOLDFAST_METRICS=1",
            )
        return self.tally.stats(None if scope is None else self._address.scope(scope))

    # --- failures -------------------------------------------------------------------------

    def told(
        self,
        operation: str,
        scope: Any,
        key: Any,
        error: StateError,
        correlation: Correlation,
        duration_ms: float | None = None,
        state_class: Any = None,
    ) -> None:
        """Hear of a failure from a verb that is not wrapped."""
        if not self.wraps:
            correlation = given_correlation({"correlation": correlation})
            sensitive = self.is_sensitive(scope_of(scope), state_class)
            self.record_failure(
                operation, scope, key, error, duration_ms, correlation, sensitive=sensitive
            )

    def heard(
        self, operation: str, scope: Any, error: StateError, correlation: Correlation
    ) -> None:
        """Hear of a failure of what is watched nowhere else."""
        self.record_failure(operation, scope, None, error, None, correlation, sensitive=False)

    def record_failure(
        self,
        operation: str,
        given: Any,
        key: Any,
        error: StateError,
        duration_ms: float | None,
        correlation: Correlation,
        *,
        sensitive: bool,
    ) -> None:
        """Log a failure, and record it if it belongs to a correlation. Never raises."""
        try:
            scope = scope_of(given)
            log_operation(
                level_of(error),
                operation,
                outcome=error.code,
                duration_ms=duration_ms,
                scope_kind=kind_of(scope),
                engine=self.engine,
                correlation=correlation,
                key=None if sensitive else key_text(key),
            )
            if correlation is not None and self.settings.record_failures:
                told = str(scope or StateScope.GLOBAL)
                self.recorder.failed(operation, scope, told, key, error, duration_ms, correlation)
        except Exception:  # noqa: BLE001 - a handler of logs that fails is not the caller's failure
            return

    def is_sensitive(self, scope: StateScope | None, state_class: Any) -> bool:
        """Say whether a call is about sensitive state, by its argument or by policy."""
        if state_class is not None or scope is None or not self._policies:
            return is_sensitive(state_class)
        return is_sensitive(self._policies.state_class(scope))

    # --- reads ----------------------------------------------------------------------------

    def records_reads(self, scope: StateScope | None) -> bool:
        """Say whether reads in `scope` are recorded."""
        return scope is not None and self._policies.records_reads(scope)

    def holds_ephemeral(self, scope: Any, key: Any) -> bool:
        """Say whether a key holds an ephemeral value."""
        kernel = self._kernel
        if not kernel.ephemeral.entries:
            return False
        try:
            place = self._address.place(self._address.owner(scope), key)
        except StateError:
            return False
        return kernel.ephemeral.get(place, kernel.clock.now_ns()) is not None

    def check(self, correlation: object) -> None:
        """Refuse a correlation that is none, as writes do."""
        check_correlation(correlation)


_observations: weakref.WeakSet[Observation] = weakref.WeakSet()  # for fork only


def _after_fork() -> None:
    for observation in list(_observations):
        observation.after_fork()


# The store's own handler was registered first, so the feed and the lane are anew by now.
os.register_at_fork(after_in_child=_after_fork)
