"""Failed operations and reads, as events in the journal.

They are queued on the commit lane and nobody waits for them: recording never blocks, never raises,
and never changes what the caller gets. The lane commits in order, so a later write of the same
scope comes after them, and closing the store waits for them.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Final

from holdfast.correlation import CorrelationContext
from holdfast.engines.base import Durability
from holdfast.errors import (
    ClosedError,
    FencedError,
    ForkedError,
    PoisonedError,
    ReadOnlyError,
    StateError,
)
from holdfast.store.address import Addressing
from holdfast.store.happening import emitted
from holdfast.store.intent import Intent
from holdfast.store.kernel import Kernel
from holdfast.store.options import belongs
from holdfast.store.scope import StateScope

FAILED: Final = "state.failed"
READ: Final = "state.read"

#: Errors that say that nothing can be written, or that nothing should be.
_SILENT = (ClosedError, ReadOnlyError)
_HOPELESS = (PoisonedError, FencedError, ForkedError)

#: With so many commits waiting already nothing is recorded: the queue is for the callers' own.
_MOST_WAITING: Final = 10_000

Correlation = str | CorrelationContext


class Recorder:
    """Writes events about operations.

    Attributes:
        recorded: How many were handed to the lane and committed, by name.
        lost: How many could not be recorded.
    """

    def __init__(self, kernel: Kernel, address: Addressing) -> None:
        self._kernel, self._address = kernel, address
        self.after_fork()

    def after_fork(self) -> None:
        """Begin at zero, with a lock of one's own."""
        self._mutex = threading.Lock()
        self.recorded = {FAILED: 0, READ: 0}
        self.lost = 0

    def failed(
        self,
        operation: str,
        scope: StateScope | None,
        told: str,
        key: Any,
        error: StateError,
        duration_ms: float | None,
        correlation: Correlation,
    ) -> None:
        """Record that an operation failed.

        Args:
            operation: The verb.
            scope: Where, if that is a scope at all.
            told: The scope's text.
            key: As given; left out if it is no key.
            error: Its code is recorded, and nothing else of it.
            duration_ms: How long it took, if that was measured.
            correlation: What it belongs to.
        """
        if isinstance(error, _SILENT) or not self._may():
            return
        if isinstance(error, _HOPELESS):
            self._lose()
            return
        data = {
            "operation": operation,
            "scope": told,
            "key": self._key(scope, key),
            "code": error.code,
            "duration_ms": duration_ms,
        }
        self._record(FAILED, [(scope or StateScope.GLOBAL, data)], correlation)

    def read(
        self,
        operation: str,
        events: Sequence[tuple[StateScope, dict[str, Any]]],
        correlation: Correlation,
    ) -> None:
        """Record that scopes were read; what is told of each holds no value."""
        if self._may():
            told = [(scope, {"operation": operation, **fields}) for scope, fields in events]
            self._record(READ, told, correlation)

    def _may(self) -> bool:
        """Say whether anything can be written here, and may be: in a dry run it may not."""
        if self._kernel.closed:
            return False
        try:
            self._kernel.admit_direct()
        except StateError:
            return False
        return True

    def _key(self, scope: StateScope | None, key: Any) -> str | None:
        try:
            self._address.place(self._address.owner(scope or StateScope.GLOBAL), key)
        except (StateError, TypeError, ValueError, AttributeError):
            return None
        return str(key)

    def _record(
        self,
        name: str,
        told: Sequence[tuple[StateScope, dict[str, Any]]],
        correlation: Correlation,
    ) -> None:
        kernel = self._kernel
        try:
            if kernel.lane.depth() >= _MOST_WAITING:
                self._lose()
                return
            intent = Intent([], Durability.OS)
            intent.events = [
                emitted(kernel.payloads, self._address, scope, name, data) for scope, data in told
            ]
            if isinstance(correlation, CorrelationContext):
                belongs(intent, correlation)
            else:
                intent.correlation = correlation
            intent.wake = lambda: self._ended(name, intent)
            kernel.admit(intent)
            if kernel.lane.submit_waking(intent):
                self._ended(name, intent)
        except Exception:  # noqa: BLE001 - whatever it is, the caller has an error of its own
            self._lose()

    def _ended(self, name: str, intent: Intent) -> None:
        if intent.error is not None:
            self._lose()
            return
        with self._mutex:
            self.recorded[name] += len(intent.events)

    def _lose(self) -> None:
        with self._mutex:
            self.lost += 1
