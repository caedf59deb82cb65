"""Whose journal is read: the store's own, or the primary's where there is failover."""

from __future__ import annotations

from holdfast.errors import ClosedError, DegradedError, EngineError, StateError
from holdfast.failover.breaker import says_away
from holdfast.failover.kernel import FailoverKernel
from holdfast.store.kernel import Kernel


def source_of(kernel: Kernel) -> Kernel:
    """Return the store whose journal counts.

    What a spill takes meanwhile is provisional: it is in no journal before it has been replayed.

    Raises:
        ClosedError: The store is closed.
        DegradedError: The primary is away.
    """
    if kernel.closed:
        raise ClosedError("the store is closed")
    if not isinstance(kernel, FailoverKernel):
        return kernel
    primary = kernel.primary
    if primary is None:
        raise DegradedError("the primary is away, and the journal is there")
    return primary


def is_absence(kernel: Kernel, error: StateError) -> bool:
    """Say whether an error only means that a primary is away, and will be back."""
    if not isinstance(kernel, FailoverKernel) or kernel.closed:
        return False
    return isinstance(error, DegradedError) or (isinstance(error, EngineError) and says_away(error))
